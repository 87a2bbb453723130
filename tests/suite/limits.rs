//! Limits on requests and on wrong credentials: whom they stop, whom they do not, and when it is over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::bad_input::assert_refused;
use crate::disk::eventually;
use crate::harness::{Answer, Client, Server};

/// What every caller with a role may ask for, and nobody else.
const ASKED: &str = "/v2/acme/tool/tags/list";
const HEALTH: [&str; 3] = ["/livez", "/readyz", "/metrics"];
const PUBLISHER: &[(&str, &str)] = &[("acme", "publisher")];

/// Asks until it is too much, and returns that refusal. A limit of `rate` lets ten times as many pass at once,
/// and `rate` more for each second that this takes. `spent` were asked before.
async fn exhaust(client: &Client, path: &str, rate: usize, spent: usize) -> Answer {
    let (started, mut passed) = (Instant::now(), 0);
    loop {
        let answer = client.get(path).await;
        if answer.status == 429 {
            assert!(passed + spent >= 10 * rate, "{passed}");
            return answer;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        passed += 1;
        let most = 10 * rate + rate * (started.elapsed().as_secs() as usize + 1);
        assert!(passed <= most, "{passed} in {:?}", started.elapsed());
    }
}

fn assert_too_many(answer: &Answer) {
    assert_refused(answer, 429, "TOOMANYREQUESTS", &format!("{answer:?}"));
    let wait: u64 = answer.header("retry-after").parse().expect("whole seconds");
    assert!((1..=2).contains(&wait), "{wait}");
}

/// Waits as long as a refusal asks for.
async fn wait_as_told(refusal: &Answer) {
    let wait = refusal.header("retry-after").parse().expect("whole seconds");
    tokio::time::sleep(Duration::from_secs(wait)).await;
}

/// A server with a repository that can be asked for.
async fn server(settings: &[(&str, &str)]) -> Server {
    let server = Server::start(settings);
    server.admin().push_blob("acme/tool", "layer").await;
    server
}

#[tokio::test]
async fn a_caller_has_a_rate_of_their_own() {
    let server = server(&[("CALLER_RATE", "2"), ("ANONYMOUS_PULL", "all")]).await;
    let token = server.token(PUBLISHER, json!({})).await;
    let (one, other) = (Client::new(server.address, Some(&token)), server.caller(PUBLISHER).await);
    let refusal = exhaust(&one, ASKED, 2, 0).await;
    assert_too_many(&refusal);
    assert_eq!(refusal.header("retry-after"), "1");
    let problem = exhaust(&one, "/api/orgs/acme", 2, 20).await;
    assert_eq!(problem.problem(), (429, "too_many_requests".to_owned()));
    assert_eq!(problem.header("retry-after"), "1");
    // A client of its own is the same caller, and a write is a request too.
    let again = Client::new(server.address, Some(&token));
    eventually("a write is refused", async || {
        let answer = again.send("POST", "/v2/acme/tool/blobs/uploads/", &[], "").await;
        assert!([202, 429].contains(&answer.status.as_u16()), "{answer:?}");
        answer.status == 429
    })
    .await;

    // Others are not stopped, and who has no name is not counted.
    for _ in 0..15 {
        assert_eq!(other.get(ASKED).await.status, 200);
    }
    for _ in 0..50 {
        assert_eq!(server.anonymous().get(ASKED).await.status, 200);
    }
    assert_eq!(server.admin().get(ASKED).await.status, 200);

    // Who waits as told is served, at the rate and no more.
    let refusal = exhaust(&one, ASKED, 2, 20).await;
    wait_as_told(&refusal).await;
    assert_eq!(one.get(ASKED).await.status, 200);
    assert_too_many(&exhaust(&one, ASKED, 2, 20).await);
}

#[tokio::test]
async fn what_is_not_allowed_is_told_before_what_is_too_much() {
    let server = server(&[("CALLER_RATE", "1")]).await;
    let reader = server.caller(&[("acme", "org_member")]).await;
    assert_too_many(&exhaust(&reader, ASKED, 1, 0).await);
    for _ in 0..5 {
        let denied = reader.send("POST", "/v2/acme/tool/blobs/uploads/", &[], "").await;
        assert_refused(&denied, 403, "DENIED", "a reader who pushes");
        let denied = reader.get("/v2/corp/tool/tags/list").await;
        assert_refused(&denied, 403, "DENIED", "a stranger who pulls");
        let denied = reader.get("/api/audit").await;
        assert_eq!(denied.problem(), (403, "permission_missing".to_owned()));
        let unknown = Client::new(server.address, Some("quire_unknown")).get(ASKED).await;
        assert_refused(&unknown, 401, "UNAUTHORIZED", "a wrong credential");
        assert_refused(&server.anonymous().get(ASKED).await, 401, "UNAUTHORIZED", "no credential");
    }
    assert_too_many(&exhaust(&reader, ASKED, 1, 10).await);
}

#[tokio::test]
async fn what_was_refused_by_a_rate_did_nothing() {
    let server = server(&[("CALLER_RATE", "1")]).await;
    let token = server.token(PUBLISHER, json!({})).await;
    let publisher = Client::new(server.address, Some(&token));
    assert_too_many(&exhaust(&publisher, ASKED, 1, 0).await);
    // Now and then one passes: the rate goes on.
    let mut opened = 0;
    for number in 0..5 {
        let path = format!("/v2/acme/r{number}/blobs/uploads/?digest={}", quire::digest::Sha256::of(b"x"));
        let answer = publisher.send("POST", &path, &[], "x").await;
        match answer.status.as_u16() {
            201 => opened += 1,
            _ => assert_too_many(&answer),
        }
    }
    let organisation = server.admin().get("/api/orgs/acme").await;
    assert_eq!(organisation.json()["usage"]["repositories"], 1 + opened, "{organisation:?}");
    assert!(opened < 5, "a rate that stops nobody");
}

#[tokio::test]
async fn short_tokens_spend_what_their_owner_has() {
    let server = server(&[("CALLER_RATE", "2")]).await;
    let owner = server.caller(PUBLISHER).await;
    let (one, two) = (owner.short(&["acme/tool:pull"]).await, owner.short(&["acme/tool:pull,push"]).await);
    for _ in 0..6 {
        assert_eq!(two.get(ASKED).await.status, 200);
    }
    // Two made the tokens, and six came by the other one.
    assert_too_many(&exhaust(&one, ASKED, 2, 8).await);
    // A moment may have given one back.
    assert_too_many(&exhaust(&two, ASKED, 2, 20).await);
    assert_too_many(&exhaust(&owner, ASKED, 2, 20).await);
    assert_too_many(&exhaust(&owner, "/token?scope=repository:acme/tool:pull", 2, 20).await);
    // Somebody else's are somebody else's.
    let other = server.caller(PUBLISHER).await.short(&["acme/tool:pull"]).await;
    assert_eq!(other.get(ASKED).await.status, 200);
}

/// Sends one request from an address of this machine, and returns the status.
async fn status_from(server: &Server, address: [u8; 4], path: &str) -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((address, 0))).expect("an address of this machine");
    let mut stream = socket.connect(server.address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: registry.test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test]
async fn an_address_has_a_rate_of_its_own() {
    let server = server(&[("ADDRESS_RATE", "3"), ("ANONYMOUS_PULL", "all")]).await;
    let (known, reader) = (server.caller(PUBLISHER).await, server.caller(&[("acme", "org_member")]).await);
    for client in [&known, &reader] {
        assert_eq!(client.get(ASKED).await.status, 200);
    }
    // The start of the server and the lines above came from here as well, so it is less than a whole burst.
    let anonymous = server.anonymous();
    let refusal = exhaust(&anonymous, ASKED, 3, 20).await;
    assert_too_many(&refusal);

    // Whoever comes from there: with a name or without, admin or not.
    let admin = server.admin();
    eventually("all are refused in one moment", async || {
        let answers: [Answer; 4] =
            tokio::join!(known.get(ASKED), reader.get(ASKED), admin.get(ASKED), anonymous.get(ASKED)).into();
        answers.iter().filter(|answer| answer.status == 429).for_each(assert_too_many);
        answers.iter().all(|answer| answer.status == 429)
    })
    .await;
    eventually("a problem tells it", async || {
        let answer = known.get("/api/orgs/acme").await;
        answer.status == 429 && answer.problem() == (429, "too_many_requests".to_owned())
    })
    .await;
    // Those who are known learn first what they may not do.
    for _ in 0..10 {
        let denied = reader.send("POST", "/v2/acme/tool/blobs/uploads/", &[], "").await;
        assert_refused(&denied, 403, "DENIED", "a reader who pushes");
        let unnamed = anonymous.send("POST", "/v2/acme/tool/blobs/uploads/", &[], "").await;
        assert_refused(&unnamed, 401, "UNAUTHORIZED", "who pushes without a credential");
    }
    // Nobody is looked up for a credential that is not known.
    eventually("an unknown credential is not looked up", async || {
        let answer = Client::new(server.address, Some("quire_unknown")).get(ASKED).await;
        match answer.status.as_u16() {
            429 => assert_too_many(&answer),
            _ => assert_refused(&answer, 401, "UNAUTHORIZED", "a wrong credential"),
        }
        answer.status == 429
    })
    .await;
    // Other addresses go on.
    for _ in 0..20 {
        assert_eq!(status_from(&server, [127, 0, 0, 2], ASKED).await, 200);
    }
    wait_as_told(&refusal).await;
    assert_eq!(anonymous.get(ASKED).await.status, 200);
}

#[tokio::test]
async fn health_is_never_too_much() {
    let server = server(&[("CALLER_RATE", "1"), ("ADDRESS_RATE", "2"), ("ANONYMOUS_PULL", "all")]).await;
    let caller = server.caller(PUBLISHER).await;
    for path in HEALTH {
        for client in [&caller, &server.anonymous()] {
            for _ in 0..40 {
                let answer = client.get(path).await;
                assert_eq!(answer.status, 200, "{path}: {answer:?}");
            }
        }
    }
    // They spent nothing either: what is left of the burst is what others have not taken.
    assert_eq!(caller.get(ASKED).await.status, 200);
    let anonymous = server.anonymous();
    assert_too_many(&exhaust(&anonymous, ASKED, 2, 15).await);
    for path in HEALTH {
        for _ in 0..40 {
            assert_eq!(anonymous.get(path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn without_a_setting_there_is_no_rate() {
    let server = server(&[]).await;
    let caller = server.caller(PUBLISHER).await;
    for _ in 0..300 {
        assert_eq!(caller.get(ASKED).await.status, 200);
    }
}

/// How long a request takes with a credential, and what came.
async fn timed(client: &Client) -> (u16, Duration) {
    let started = Instant::now();
    let answer = client.get(ASKED).await;
    (answer.status.as_u16(), started.elapsed())
}

fn wrong(server: &Server, number: usize) -> Client {
    Client::new(server.address, Some(&format!("quire_wrong-{number}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_wait_and_good_ones_do_not() {
    const AT_ONCE: Duration = Duration::from_millis(500);
    let server = server(&[("FAILED_LOGINS", "2")]).await;
    let (known, unseen) = (server.caller(PUBLISHER).await, server.caller(PUBLISHER).await);
    assert_eq!(known.get(ASKED).await.status, 200);
    for number in 0..2 {
        let (status, took) = timed(&wrong(&server, number)).await;
        assert_eq!(status, 401);
        assert!(took < AT_ONCE, "failure {number}: {took:?}");
    }
    // The third waits, whatever it is that is wrong, and meanwhile good ones are answered.
    let slowed = tokio::spawn({
        let wrong = wrong(&server, 2);
        async move { timed(&wrong).await }
    });
    let admin = server.admin();
    let good: [_; 3] = tokio::join!(timed(&known), timed(&unseen), timed(&admin)).into();
    for (status, took) in good {
        assert_eq!(status, 200);
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert!(!slowed.is_finished(), "the wrong one waits still");
    let (status, took) = slowed.await.expect("an answer");
    assert_eq!(status, 401);
    assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&took), "{took:?}");

    let unreadable = async |header: &'static str| {
        let started = Instant::now();
        let answer = server.anonymous().send("GET", ASKED, &[("authorization", header)], "").await;
        assert_refused(&answer, 401, "UNAUTHORIZED", header);
        assert!(started.elapsed() >= Duration::from_millis(900), "{header}: {:?}", started.elapsed());
    };
    tokio::join!(
        unreadable("Basic !"),
        unreadable("Basic cXVpcmU6d3Jvbmc="),
        unreadable("Digest x"),
        unreadable("Bearer quire_wrong-2")
    );
    // Who shows no credential has not failed, and another address has failures of its own.
    let (status, took) = timed(&server.anonymous()).await;
    assert!(status == 401 && took < AT_ONCE, "{status}: {took:?}");
    let started = Instant::now();
    assert_eq!(status_from(&server, [127, 0, 0, 2], ASKED).await, 401);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

/// No more than some wait: the rest is sent away at once, and good credentials still are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_credentials_is_sent_away() {
    let server = server(&[("FAILED_LOGINS", "0")]).await;
    let good = server.caller(PUBLISHER).await;
    assert_eq!(good.get(ASKED).await.status, 200);
    let flood: Vec<_> = (0..600)
        .map(|number| {
            let wrong = wrong(&server, number);
            tokio::spawn(async move {
                let started = Instant::now();
                (wrong.get(ASKED).await, started.elapsed())
            })
        })
        .collect();
    let (mut slowed, mut sent_away) = (0, 0);
    for (number, request) in flood.into_iter().enumerate() {
        if number % 100 == 0 {
            assert_eq!(good.get(ASKED).await.status, 200);
        }
        let (answer, took) = request.await.expect("an answer");
        if answer.status == 429 {
            assert_too_many(&answer);
            sent_away += 1;
        } else {
            assert_refused(&answer, 401, "UNAUTHORIZED", "a wrong credential");
            assert!(took >= Duration::from_millis(900), "{took:?}");
            slowed += 1;
        }
    }
    assert!(slowed >= 256, "{slowed} waited, {sent_away} were sent away");
    assert!(sent_away > 0, "{slowed} waited");
}
