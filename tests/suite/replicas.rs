//! Several nodes of one registry: upload sessions whose requests come to any of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use quire::digest::Sha256;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::relay::Way;
use crate::harness::replicas::{Replica, share};
use crate::harness::store::Stores;
use crate::harness::{ADMIN_TOKEN, Answer, Client};
use crate::uploads::{assert_pulls, range_of, sha512};
use crate::wire::Wire;

const REPOSITORY: &str = "acme/tool";
const UNKNOWN: &str = "BLOB_UPLOAD_UNKNOWN";

/// Everything of an answer but what differs between any two.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status.as_u16(), headers, String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test]
async fn each_request_of_a_session_may_come_to_another_node() {
    let replicas = Replica::start(3, &[]).await;
    let [a, b, c] = [0, 1, 2].map(|index: usize| replicas[index].admin());
    let bytes = b"0123456789".as_slice();
    for (digest, b) in [(Sha256::of(bytes).to_string(), b.clone()), (sha512(bytes), b.http2())] {
        let session = a.open_session(REPOSITORY).await;
        assert!(session.starts_with(&format!("/v2/{REPOSITORY}/")), "{session}");
        let ranged = async |client: &Client, range: &str, bytes: &'static str| {
            client.send("PATCH", &session, &[("content-range", range)], bytes).await
        };
        let first = ranged(&b, "0-3", "0123").await;
        assert_eq!((first.status.as_u16(), first.header("range")), (202, "0-3"), "{first:?}");
        assert_eq!(first.header("location"), session, "it stays relative");
        assert_eq!(ranged(&c, "4-6", "456").await.status, 202);
        for client in [&a, &b, &c] {
            assert_eq!(range_of(client, &session).await, "0-6");
            assert_eq!(client.head(&session).await.status, 204);
        }
        // Refusals come through as they are, and the session goes on.
        let refused = ranged(&c, "5-6", "56").await;
        assert_eq!(told(&refused), told(&ranged(&a, "5-6", "56").await));
        assert_eq!(refused.status, 416);
        let pushed = c.send("PUT", &format!("{session}?digest={digest}"), &[], "789").await;
        assert_eq!(pushed.status, 201, "{pushed:?}");
        assert_eq!(pushed.header("location"), format!("/v2/{REPOSITORY}/blobs/{digest}"));
        for client in [&a, &b, &c] {
            assert_pulls(client, &digest, bytes).await;
            assert_refused(&client.get(&session).await, 404, UNKNOWN, "ended");
        }
    }
    for replica in &replicas {
        disk::staging_is_empty(&replica.server).await;
    }
}

/// Whoever passes a request on answers as the node that has the session, in every header.
#[tokio::test]
async fn an_answer_that_was_passed_on_is_the_same() {
    let replicas = Replica::start(2, &[]).await;
    let (here, elsewhere) = (replicas[0].admin(), replicas[1].admin());
    let bytes = "some bytes";
    let digest = Sha256::of(bytes.as_bytes()).to_string();
    let wrong = Sha256::of(b"others").to_string();
    let mut answers = Vec::new();
    for client in [&here, &elsewhere] {
        let session = here.open_session(REPOSITORY).await;
        let mut told_of = Vec::new();
        for (method, query, body) in [
            ("PATCH", String::new(), "some "),
            ("GET", String::new(), ""),
            ("HEAD", String::new(), ""),
            ("PUT", format!("?digest={digest}&x=%27'"), "bytes"),
            ("PUT", format!("?digest={digest}"), "bytes"),
            ("DELETE", String::new(), ""),
        ] {
            let answer = client.send(method, &format!("{session}{query}"), &[], body).await;
            let (status, headers, body) = told(&answer);
            let same = |text: &str| text.replace(&session, "{session}");
            told_of.push((
                status,
                headers.iter().map(|(name, value)| (name.clone(), same(value))).collect::<Vec<_>>(),
                same(&body),
            ));
        }
        let session = here.open_session(REPOSITORY).await;
        for (method, query, body) in [("PUT", format!("?digest={wrong}"), bytes), ("GET", String::new(), "")]
        {
            told_of.push(told(&client.send(method, &format!("{session}{query}"), &[], body).await));
        }
        let session = here.open_session(REPOSITORY).await;
        told_of.push(told(&client.delete(&session).await));
        told_of.push(told(&client.delete(&session).await));
        answers.push(told_of);
    }
    let statuses: Vec<u16> = answers[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [202, 204, 204, 201, 404, 404, 400, 404, 204, 404]);
    for (here, elsewhere) in answers[0].iter().zip(&answers[1]) {
        assert_eq!(here, elsewhere);
    }
}

/// P3: a session is its subject's, whichever node is asked; and the node that has it hears of nobody else.
#[tokio::test]
async fn p3_a_session_of_somebody_else_is_unknown_everywhere() {
    let replicas = Replica::start(2, &[]).await;
    let session = replicas[0].admin().open_session(REPOSITORY).await;
    let publisher =
        replicas[0].server.token(&[("acme", "publisher")], Value::Object(Default::default())).await;
    let reader = replicas[0].server.token(&[("acme", "org_member")], Value::Object(Default::default())).await;
    replicas[0].relay.listen_in();
    for (token, status) in
        [(Some(publisher.as_str()), 404), (Some(&reader), 403), (Some("nobody"), 401), (None, 401)]
    {
        let client = Client::new(replicas[1].server.address, token);
        for method in ["GET", "PATCH", "DELETE"] {
            assert_eq!(client.send(method, &session, &[], "").await.status, status, "{method} {token:?}");
        }
    }
    assert_eq!(replicas[0].relay.heard(), "");
    // A short token of its subject is as good there as here.
    let short = replicas[1].admin().short(&[&format!("{REPOSITORY}:pull,push")]).await;
    assert_eq!(short.send("PATCH", &session, &[], "bytes").await.status, 202);
    assert_eq!(range_of(&replicas[0].admin(), &session).await, "0-4");
}

#[tokio::test]
async fn a_node_that_is_gone_has_its_client_start_again() {
    let mut replicas = Replica::start(3, &[]).await;
    let (b, c) = (replicas[1].admin(), replicas[2].admin());
    // Not the one whose folder has the database.
    let session = b.open_session(REPOSITORY).await;
    assert_eq!(c.send("PATCH", &session, &[], "01234").await.status, 202);
    // In the middle of a body that has no length, and then whenever it is asked for.
    let mut wire =
        Wire::admin(&replicas[2].server, &format!("PATCH {session}"), &[("transfer-encoding", "chunked")])
            .await;
    wire.chunk(&[b'5'; 3 << 20]).await;
    disk::eventually("it arrives", async || {
        disk::staged(&replicas[1].server)
            .iter()
            .any(|file| file.metadata().is_ok_and(|file| file.len() > 1 << 20))
    })
    .await;
    replicas[1].kill();
    let broken = wire.answer().await.expect("an answer");
    assert_refused(&broken, 503, "UNAVAILABLE", "broken off");
    assert_eq!(broken.header("retry-after"), "1");
    for method in ["GET", "PATCH", "DELETE"] {
        assert_refused(&c.send(method, &session, &[], "x").await, 404, UNKNOWN, method);
    }
    // A push that starts again is done without it.
    let digest = Sha256::of(b"0123456789").to_string();
    let again = c.open_session(REPOSITORY).await;
    let a = replicas[0].admin();
    assert_eq!(a.send("PATCH", &again, &[], "01234").await.status, 202);
    assert_eq!(a.send("PUT", &format!("{again}?digest={digest}"), &[], "56789").await.status, 201);
    assert_pulls(&c, &digest, b"0123456789").await;
    // The node was only away: it has kept what was durable.
    replicas[1].restart();
    assert_eq!(range_of(&a, &session).await, "0-4");
    assert_eq!(a.send("PUT", &format!("{session}?digest={digest}"), &[], "56789").await.status, 201);
    // And comes back at another address as the same.
    let session = replicas[1].admin().open_session(REPOSITORY).await;
    assert_eq!(a.send("PATCH", &session, &[], "01234").await.status, 202);
    replicas[1].kill();
    replicas[1].restart_elsewhere().await;
    assert_eq!(c.send("PUT", &format!("{session}?digest={digest}"), &[], "56789").await.status, 201);
}

#[tokio::test]
async fn a_node_without_an_address_is_named_in_the_log() {
    let first = Replica::start(1, &[]).await.pop().unwrap();
    let mut bare = first.beside(&[]).await;
    bare.kill();
    bare.server = crate::harness::Server::start_logging_in(bare.folder.path(), &[]);
    let session = bare.admin().open_session(REPOSITORY).await;
    assert_refused(&first.admin().get(&session).await, 404, UNKNOWN, "no address");
    assert!(first.log().contains("QUIRE_NODE_URL"), "{}", first.log());
    assert_eq!(range_of(&bare.admin(), &session).await, "0-0");
}

/// Its address is another program's by now, which says yes to everything and would like to know the credential.
#[tokio::test]
async fn nothing_is_told_to_a_stranger_and_nothing_believed() {
    let replicas = Replica::start(3, &[]).await;
    let session = replicas[1].admin().open_session(REPOSITORY).await;
    let (address, heard) = yes_man().await;
    let a = replicas[0].admin();
    let digest = Sha256::of(b"x").to_string();
    let put = format!("{session}?digest={digest}");
    replicas[1].relay.set(Way::To(address));
    replicas[1].relay.cut();
    assert_refused(&a.send("PUT", &put, &[], "x").await, 404, UNKNOWN, "a stranger");
    // Another node of the same registry is not the one meant, either.
    replicas[1].relay.set(Way::To(replicas[2].server.address));
    replicas[1].relay.cut();
    assert_refused(&a.send("PUT", &put, &[], "x").await, 404, UNKNOWN, "another node");
    replicas[1].relay.set(Way::To(replicas[1].server.address));
    replicas[1].relay.cut();
    assert_eq!(a.send("PUT", &put, &[], "x").await.status, 201);
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(heard.starts_with("GET /node?challenge="), "{heard}");
    assert!(!heard.contains(ADMIN_TOKEN) && !heard.contains("PUT"), "{heard}");
}

/// A server that says yes to everything, and what it has heard.
async fn yes_man() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 8192];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                hearing.lock().unwrap().extend_from_slice(&buffer[..read]);
                let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nOK";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    (address, heard)
}

/// What a node writes on a request that it passes on is of no use to anybody else.
#[tokio::test]
async fn the_mark_of_a_node_is_nobody_elses() {
    let replicas = Replica::start(2, &[]).await;
    let (a, b) = (replicas[0].admin(), replicas[1].admin());
    let session = a.open_session(REPOSITORY).await;
    for forged in ["", "-", "192.0.2.1 1-1 AAAA", "- - -"] {
        for client in [&a, &b] {
            for path in [session.as_str(), "/v2/", "/livez"] {
                let answer = client.send("GET", path, &[("quire-forwarded", forged)], "").await;
                assert_refused(&answer, 400, "UNSUPPORTED", forged);
            }
        }
    }
    replicas[0].relay.listen_in();
    assert_eq!(b.send("PATCH", &session, &[], "01234").await.status, 202);
    let heard = replicas[0].relay.heard();
    let mark = heard.lines().find_map(|line| line.strip_prefix("quire-forwarded: ")).expect("a mark").trim();
    let marked = [("quire-forwarded", mark)];
    let other = replicas[0].server.caller(&[("acme", "publisher")]).await;
    for (client, method, path) in [
        (&a, "PUT", session.as_str()),
        (&a, "PATCH", &format!("{session}?x")),
        (&a, "PATCH", "/v2/acme/other/blobs/uploads/"),
        (&other, "PATCH", &session),
        (&replicas[0].server.anonymous(), "PATCH", &session),
        (&b, "PATCH", &session),
    ] {
        assert_refused(&client.send(method, path, &marked, "x").await, 400, "UNSUPPORTED", "not meant");
    }
    // Who has the credential can do what they can without it.
    assert_eq!(a.send("PATCH", &session, &marked, "5").await.status, 202);
    assert_eq!(range_of(&a, &session).await, "0-5");
}

/// The audit log names the client and one request id, whichever nodes a request went through.
#[tokio::test]
async fn the_audit_log_tells_of_the_client() {
    let replicas = Replica::start(2, &[]).await;
    let (a, b) = (replicas[0].admin(), replicas[1].admin());
    let session = a.open_session(REPOSITORY).await;
    let client = b.from("127.0.0.7");
    let put = format!("{session}?digest={}", Sha256::of(b"x"));
    let pushed = client.send("PUT", &put, &[], "x").await;
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let log = a.get("/api/audit?catalog=acme").await;
    let log = String::from_utf8(log.body.to_vec()).unwrap();
    let line = log.lines().last().expect("a line");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["action"], "blob.push", "{line}");
    assert_eq!(line["address"], "127.0.0.7", "{line}");
    assert_eq!(line["request_id"], pushed.header("x-request-id"), "{line}");
}

/// Two processes on copies of one data folder take each other for themselves. Their bytes never meet.
#[tokio::test]
async fn a_copied_data_folder_gets_no_session_wrong() {
    let mut replicas = Replica::start(2, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    share(replicas[0].folder.path(), folder.path());
    std::fs::copy(replicas[1].server.data.join("node"), folder.path().join("data/node")).unwrap();
    let before = replicas[1].admin().open_session(REPOSITORY).await;
    assert_eq!(replicas[1].admin().send("PATCH", &before, &[], "AAAAA").await.status, 202);
    replicas.push(Replica::start_in(folder, &[]).await);
    let [original, copy] = [1, 2].map(|index: usize| replicas[index].admin());
    // One of them has the id now; what the other had is lost, and told so.
    assert_refused(
        &original.send("PATCH", &before, &[], "BBB").await,
        404,
        UNKNOWN,
        "its bytes are not there",
    );
    assert!(replicas[1].log().contains("one data folder is a copy"), "{}", replicas[1].log());
    for opened in [&original, &copy] {
        let session = opened.open_session(REPOSITORY).await;
        assert_eq!(original.send("PATCH", &session, &[], "01234").await.status, 202);
        assert_eq!(copy.send("PATCH", &session, &[], "56789").await.status, 202);
        let digest = Sha256::of(b"0123456789").to_string();
        assert_eq!(original.send("PUT", &format!("{session}?digest={digest}"), &[], "").await.status, 201);
        assert_pulls(&replicas[0].admin(), &digest, b"0123456789").await;
        assert_eq!(copy.delete(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await.status, 202);
    }
    // Each of two that no process serves by now knows that it is not meant: no request goes round.
    let session = copy.open_session(REPOSITORY).await;
    replicas[0].sql("UPDATE nodes SET run = id");
    for client in [&original, &copy] {
        assert_refused(&client.get(&session).await, 404, UNKNOWN, "round in circles");
    }
}

/// A body without a length whose client was lost is not taken for whole.
#[tokio::test]
async fn what_a_lost_client_sent_is_never_a_whole_blob() {
    let replicas = Replica::start(2, &[]).await;
    let (a, b) = (replicas[0].admin(), replicas[1].admin());
    let digest = Sha256::of(b"0123").to_string();
    let session = a.open_session(REPOSITORY).await;
    for (replica, client) in [(&replicas[1], &b), (&replicas[0], &a)] {
        let put = format!("PUT {session}?digest={digest}");
        let mut wire = Wire::admin(&replica.server, &put, &[("transfer-encoding", "chunked")]).await;
        if client.get(&session).await.header("range") == "0-0" {
            wire.chunk(b"0123").await;
        }
        drop(wire);
        disk::eventually("what came is kept", async || range_of(client, &session).await == "0-3").await;
        let absent = a.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
        assert_eq!(absent.status, 404, "{absent:?}");
    }
    assert_eq!(b.send("PUT", &format!("{session}?digest={digest}"), &[], "").await.status, 201);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked() {
    let replicas = Replica::start(2, &[]).await;
    let session = replicas[0].admin().open_session(REPOSITORY).await;
    let headers = [("expect", "100-continue"), ("content-length", "5")];
    let mut wire = Wire::admin(&replicas[1].server, &format!("PATCH {session}"), &headers).await;
    assert!(wire.head_of_answer().await.starts_with("HTTP/1.1 100"));
    wire.write(b"01234").await;
    assert_eq!(wire.answer().await.expect("an answer").status, 202);
}

/// Rows of a node that never comes back go by their age, from whichever node is there; those of one that is only away
/// stay.
#[tokio::test]
async fn sessions_of_dead_nodes_end_with_time() {
    let mut replicas = Replica::start(2, &[("UPLOAD_EXPIRY", "3600")]).await;
    let (dead, away) = {
        let client = replicas[1].admin();
        (client.open_session(REPOSITORY).await, client.open_session(REPOSITORY).await)
    };
    let own = replicas[0].admin().open_session(REPOSITORY).await;
    replicas.iter_mut().for_each(Replica::kill);
    let hours_ago = |session: &str, hours: u64| {
        let id = session.rsplit('/').next().unwrap().replace('-', "");
        let id = match Stores::asked() {
            Stores::Near => format!("x'{id}'"),
            Stores::Far => format!("'{id}'"),
        };
        let back = hours * 3_600_000;
        replicas[0].sql(&format!("UPDATE uploads SET touched_at = touched_at - {back} WHERE id = {id}"));
    };
    hours_ago(&dead, 4);
    hours_ago(&away, 2);
    hours_ago(&own, 2);
    let left = |replica: &Replica| replica.sql("SELECT count(*) FROM uploads");
    replicas[0].restart();
    disk::eventually("two of three are gone", async || left(&replicas[0]) == "1").await;
    replicas[1].restart();
    // It is away no more, and ends its own at once.
    disk::eventually("the last is gone", async || left(&replicas[0]) == "0").await;
}
