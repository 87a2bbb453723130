//! Uploads: every way to send a blob, what ends a session and what does not.

use quire::digest::{Algorithm, Digest, Hasher, Sha256};

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{Client, Server};
use crate::wire::Wire;

const REPOSITORY: &str = "acme/tool";

pub fn sha512(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(bytes);
    Digest::Sha512(hasher.finish().sha512.expect("a SHA-512")).to_string()
}

/// The session's offset as its range tells it. One byte and none look the same there.
pub async fn range_of(client: &Client, session: &str) -> String {
    let answer = client.get(session).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(answer.header("location").starts_with(session), "{answer:?}");
    answer.header("range").to_owned()
}

pub async fn assert_pulls(client: &Client, digest: &str, bytes: &[u8]) {
    let pulled = client.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
    assert_eq!(pulled.status, 200, "{pulled:?}");
    assert!(pulled.body == bytes, "other bytes");
    assert_eq!(pulled.header("docker-content-digest"), digest);
}

async fn assert_ended(client: &Client, session: &str) {
    for method in ["GET", "PATCH", "DELETE"] {
        assert_refused(&client.send(method, session, &[], "").await, 404, "BLOB_UPLOAD_UNKNOWN", method);
    }
}

#[tokio::test]
async fn every_way_to_send_a_blob() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let bytes = b"0123456789".as_slice();
    let digest = Sha256::of(bytes).to_string();
    let location = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let pieces = |ranges: &[(&'static str, &'static str)]| ranges.to_vec();
    // Chunks by PATCH, then what the closing PUT carries; an empty range is left out.
    for (chunks, last) in [
        (pieces(&[("0-3", "0123"), ("4-6", "456"), ("7-9", "789")]), ("", "")),
        (pieces(&[("0-3", "0123"), ("4-6", "456")]), ("7-9", "789")),
        (pieces(&[("0-3", "0123")]), ("", "456789")),
        (pieces(&[("", "0123"), ("", "456789")]), ("", "")),
        (pieces(&[("", ""), ("", "0123456789")]), ("", "")),
        (pieces(&[]), ("", "0123456789")),
        (pieces(&[]), ("0-9", "0123456789")),
    ] {
        let session = admin.open_session(REPOSITORY).await;
        let mut sent = 0;
        for (range, body) in &chunks {
            let headers: Vec<_> =
                Some(("content-range", *range)).filter(|_| !range.is_empty()).into_iter().collect();
            let answer = admin.send("PATCH", &session, &headers, *body).await;
            sent += body.len();
            assert_eq!(answer.status, 202, "{answer:?}");
            assert_eq!(answer.header("range"), format!("0-{}", sent.saturating_sub(1)));
            assert_eq!(range_of(&admin, &session).await, answer.header("range"));
        }
        let headers: Vec<_> =
            Some(("content-range", last.0)).filter(|(_, range)| !range.is_empty()).into_iter().collect();
        let answer = admin.send("PUT", &format!("{session}?digest={digest}"), &headers, last.1).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (201, location.as_str()),
            "{chunks:?}"
        );
        assert_eq!(answer.header("docker-content-digest"), digest);
        assert_pulls(&admin, &digest, bytes).await;
        assert_ended(&admin, &session).await;
        assert_eq!(admin.delete(&location).await.status, 202);
        assert_eq!(admin.get(&location).await.status, 404);
    }
    disk::staging_is_empty(&server).await;
    let empty = admin.push_blob(REPOSITORY, "").await;
    assert_pulls(&admin, &empty, b"").await;
}

/// As docker and podman send: no length, no range.
#[tokio::test]
async fn chunked_encoding_streams() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    let digest = Sha256::of(&bytes).to_string();
    let streamed = async |line: String, pieces: &[u8]| {
        let mut wire = Wire::admin(&server, &line, &[("transfer-encoding", "chunked")]).await;
        for piece in pieces.chunks(70_001) {
            wire.chunk(piece).await;
        }
        wire.chunk(b"").await;
        wire.answer().await.expect("an answer")
    };
    let session = admin.open_session(REPOSITORY).await;
    let answer = streamed(format!("PATCH {session}"), &bytes[..2_000_000]).await;
    assert_eq!((answer.status.as_u16(), answer.header("range")), (202, "0-1999999"));
    let answer = streamed(format!("PUT {session}?digest={digest}"), &bytes[2_000_000..]).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_pulls(&admin, &digest, &bytes).await;

    let whole = bytes.repeat(2);
    let digest = Sha256::of(&whole).to_string();
    let answer = streamed(format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={digest}"), &whole).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_pulls(&admin, &digest, &whole).await;
}

#[tokio::test]
async fn chunks_out_of_order_are_refused_and_the_session_goes_on() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let session = admin.open_session(REPOSITORY).await;
    let finish = format!("{session}?digest={}", Sha256::of(b"0123456789"));
    let send = async |method: &str, range: &str, body: &'static str| {
        let path = if method == "PUT" { &finish } else { &session };
        admin.send(method, path, &[("content-range", range)], body).await
    };
    let refused = send("PATCH", "4-6", "456").await;
    assert_refused(&refused, 416, "BLOB_UPLOAD_INVALID", "the first chunk is not the first");
    assert_eq!(refused.json()["errors"][0]["detail"]["offset"], 0);
    assert_eq!(send("PATCH", "0-3", "0123").await.status, 202);
    for (what, method, range, body) in [
        ("sent again", "PATCH", "0-3", "0123"),
        ("a gap", "PATCH", "7-9", "789"),
        ("an overlap", "PATCH", "3-6", "3456"),
        ("the last one after a gap", "PUT", "7-9", "789"),
        ("the last one sent again", "PUT", "0-3", "0123"),
    ] {
        let refused = send(method, range, body).await;
        assert_refused(&refused, 416, "BLOB_UPLOAD_INVALID", what);
        assert_eq!(refused.json()["errors"][0]["detail"]["offset"], 4, "{what}");
        assert_eq!(range_of(&admin, &session).await, "0-3", "{what}");
    }
    // Streamed, so that only counting shows the difference.
    for (what, body) in [("too little", "45"), ("too much", "45678")] {
        let headers = [("content-range", "4-6"), ("transfer-encoding", "chunked")];
        let mut wire = Wire::admin(&server, &format!("PATCH {session}"), &headers).await;
        wire.chunk(body.as_bytes()).await;
        wire.chunk(b"").await;
        assert_refused(&wire.answer().await.expect("an answer"), 400, "SIZE_INVALID", what);
        assert_eq!(range_of(&admin, &session).await, "0-3", "{what}");
    }
    assert_eq!(send("PATCH", "4-6", "456").await.status, 202);
    assert_eq!(send("PUT", "7-9", "789").await.status, 201);
    assert_pulls(&admin, &Sha256::of(b"0123456789").to_string(), b"0123456789").await;
}

/// P1: nothing enters under a digest that its bytes do not have.
#[tokio::test]
async fn p1_a_wrong_digest_stores_nothing_and_ends_the_session() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let claimed = Sha256::of(b"claimed").to_string();
    let computed = Sha256::of(b"sent").to_string();
    let whole = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={claimed}");
    let refused = admin.send("POST", &whole, &[], "sent").await;
    assert_refused(&refused, 400, "DIGEST_INVALID", "whole");
    let wrong512 = sha512(b"claimed");
    for (claimed, first, last) in
        [(&claimed, "sent", ""), (&claimed, "", "sent"), (&claimed, "se", "nt"), (&wrong512, "se", "nt")]
    {
        let session = admin.open_session(REPOSITORY).await;
        assert_eq!(admin.send("PATCH", &session, &[], first).await.status, 202);
        let refused = admin.send("PUT", &format!("{session}?digest={claimed}"), &[], last).await;
        assert_refused(&refused, 400, "DIGEST_INVALID", claimed);
        assert_ended(&admin, &session).await;
    }
    for digest in [&claimed, &computed, &wrong512] {
        let pull = admin.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
        assert_refused(&pull, 404, "BLOB_UNKNOWN", digest);
    }
    assert!(disk::blobs(&server).is_empty());
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn sessions_end_and_belong_to_their_repository() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let session = admin.open_session(REPOSITORY).await;
    let elsewhere = session.replace("/acme/tool/", "/acme/other/");
    assert_ne!(session, elsewhere);
    let digest = Sha256::of(b"bytes").to_string();
    for (method, path) in [
        ("GET", elsewhere.clone()),
        ("PATCH", elsewhere.clone()),
        ("PUT", format!("{elsewhere}?digest={digest}")),
        ("DELETE", elsewhere.clone()),
    ] {
        let refused = admin.send(method, &path, &[], if method == "GET" { "" } else { "bytes" }).await;
        assert_refused(&refused, 404, "BLOB_UPLOAD_UNKNOWN", method);
    }
    assert_eq!(admin.send("PATCH", &session, &[], "bytes").await.status, 202, "and it is unharmed");
    disk::eventually("one staged file", async || disk::staged(&server).len() == 1).await;
    let cancelled = admin.delete(&session).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.body.len()), (204, 0));
    assert_ended(&admin, &session).await;
    disk::staging_is_empty(&server).await;
    assert!(disk::blobs(&server).is_empty());
}

#[tokio::test]
async fn sha512_announced_or_late() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let whole = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", sha512(b"whole"));
    assert_eq!(admin.send("POST", &whole, &[], "whole").await.status, 201);
    assert_pulls(&admin, &sha512(b"whole"), b"whole").await;
    assert_pulls(&admin, &Sha256::of(b"whole").to_string(), b"whole").await;
    for (query, bytes) in [("?digest-algorithm=sha512", "announced"), ("", "late")] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/{query}");
        let opened = admin.send("POST", &path, &[], "").await;
        assert_eq!(opened.status, 202, "{opened:?}");
        let session = opened.header("location").to_owned();
        assert_eq!(admin.send("PATCH", &session, &[], &bytes[..2]).await.status, 202);
        let digest = sha512(bytes.as_bytes());
        let done = admin.send("PUT", &format!("{session}?digest={digest}"), &[], &bytes[2..]).await;
        assert_eq!((done.status.as_u16(), done.header("docker-content-digest")), (201, digest.as_str()));
        assert_pulls(&admin, &digest, bytes.as_bytes()).await;
    }
    // Announced as one, finished as the other: SHA-256 is always known.
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm=sha512");
    let session = admin.send("POST", &path, &[], "").await.header("location").to_owned();
    let digest = Sha256::of(b"other").to_string();
    assert_eq!(admin.send("PUT", &format!("{session}?digest={digest}"), &[], "other").await.status, 201);
    assert_pulls(&admin, &digest, b"other").await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let server = Server::start(&[("MAX_BLOB_BYTES", "1000")]);
    let admin = server.admin();
    let (limit, over) = (vec![1; 1000], vec![1; 1001]);
    let digest = Sha256::of(&over).to_string();
    let whole = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    let session = admin.open_session(REPOSITORY).await;
    let second = admin.open_session(REPOSITORY).await;
    assert_eq!(admin.send("PATCH", &second, &[], vec![1; 600]).await.status, 202);
    for line in [whole, format!("PATCH {session}"), format!("PUT {session}?digest={digest}")] {
        // Announced: refused before a byte of it is sent.
        let wire = Wire::admin(&server, &line, &[("content-length", "1001")]).await;
        assert_refused(&wire.answer().await.expect("an answer"), 413, "SIZE_INVALID", &line);
    }
    let ranged = [("content-range", "600-1000")];
    let refused = admin.send("PATCH", &second, &ranged, vec![1; 401]).await;
    assert_refused(&refused, 413, "SIZE_INVALID", "by where the chunk ends");
    for line in [format!("PATCH {session}"), format!("PATCH {second}")] {
        let mut wire = Wire::admin(&server, &line, &[("transfer-encoding", "chunked")]).await;
        wire.chunk(&over[..700]).await;
        wire.chunk(&over[700..]).await;
        wire.chunk(b"").await;
        assert_refused(&wire.answer().await.expect("an answer"), 413, "SIZE_INVALID", &line);
    }
    assert!(disk::blobs(&server).is_empty());
    disk::staging_is_empty(&server).await;
    let digest = admin.push_blob(REPOSITORY, limit.clone()).await;
    assert_pulls(&admin, &digest, &limit).await;
}
