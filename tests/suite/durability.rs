//! Uploads across broken connections, killed servers and time: what was durable stays, what nobody wants goes.

use std::fs;

use quire::digest::Sha256;

use crate::bad_input::assert_refused;
use crate::disk::{self, eventually};
use crate::harness::Server;
use crate::uploads::{assert_pulls, range_of};
use crate::wire::Wire;

const REPOSITORY: &str = "acme/tool";
const MEBIBYTE: usize = 1024 * 1024;

#[tokio::test]
async fn a_broken_connection_keeps_what_came() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let bytes: Vec<u8> = (0..2_500_000u32).map(|n| (n / 3) as u8).collect();
    let digest = Sha256::of(&bytes).to_string();
    for encoding in [("content-length", "2500000"), ("transfer-encoding", "chunked")] {
        let session = admin.open_session(REPOSITORY).await;
        let mut wire = Wire::admin(&server, &format!("PATCH {session}"), &[encoding]).await;
        let sent = &bytes[..1_234_567];
        if encoding.1 == "chunked" {
            wire.chunk(sent).await
        } else {
            wire.write(sent).await
        }
        drop(wire);
        eventually("what came is durable", async || range_of(&admin, &session).await == "0-1234566").await;
        let rest = &bytes[1_234_567..];
        let answer =
            admin.send("PATCH", &session, &[("content-range", "1234567-2499999")], rest.to_vec()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(admin.send("PUT", &format!("{session}?digest={digest}"), &[], "").await.status, 201);
        assert_pulls(&admin, &digest, &bytes).await;
    }
    // A push in one request has nothing to go on from: it is absent.
    let whole = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={}", Sha256::of(b"other"));
    let mut wire = Wire::admin(&server, &whole, &[("content-length", "3000000")]).await;
    wire.write(&bytes).await;
    eventually("the push has begun", async || !disk::staged(&server).is_empty()).await;
    drop(wire);
    disk::staging_is_empty(&server).await;
}

/// P2: after a crash a session has exactly what was acknowledged.
#[tokio::test]
async fn p2_a_killed_server_goes_on_from_what_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let session = server.admin().open_session(REPOSITORY).await;
    let untouched = server.admin().open_session(REPOSITORY).await;
    let first = server.admin().send("PATCH", &session, &[], "0123").await;
    assert_eq!(first.status, 202);
    server.kill();
    // Bytes that nobody acknowledged, as a crash in the middle of a write leaves them.
    let [staged] = &disk::staged(&server)[..] else { panic!("one staged file") };
    fs::write(staged, "0123garbage").expect("a write");

    let server = Server::start_in(folder.path(), &[]);
    let admin = server.admin();
    assert_eq!(range_of(&admin, &session).await, "0-3");
    assert_eq!(range_of(&admin, &untouched).await, "0-0");
    assert_eq!(admin.send("PATCH", &session, &[("content-range", "4-6")], "456").await.status, 202);
    let digest = Sha256::of(b"0123456789").to_string();
    let done =
        admin.send("PUT", &format!("{session}?digest={digest}"), &[("content-range", "7-9")], "789").await;
    assert_eq!(done.status, 201, "{done:?}");
    assert_pulls(&admin, &digest, b"0123456789").await;
    let digest = Sha256::of(b"other").to_string();
    assert_eq!(admin.send("PUT", &format!("{untouched}?digest={digest}"), &[], "other").await.status, 201);
    disk::staging_is_empty(&server).await;
}

/// P2: also in the middle of one long request.
#[tokio::test]
async fn p2_a_server_killed_in_a_long_chunk_goes_on_from_a_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let session = server.admin().open_session(REPOSITORY).await;
    let bytes: Vec<u8> = (0..72 * MEBIBYTE).map(|n| (n >> 4) as u8).collect();
    let length = (bytes.len() + 1).to_string();
    let mut wire = Wire::admin(&server, &format!("PATCH {session}"), &[("content-length", &length)]).await;
    wire.write(&bytes).await;
    let admin = server.admin();
    eventually("a checkpoint", async || range_of(&admin, &session).await != "0-0").await;
    server.kill();
    drop(wire);

    let server = Server::start_in(folder.path(), &[]);
    let admin = server.admin();
    let range = range_of(&admin, &session).await;
    let offset = range.strip_prefix("0-").and_then(|last| last.parse::<usize>().ok()).expect("a range") + 1;
    assert!((64 * MEBIBYTE..=bytes.len()).contains(&offset), "{offset}");
    let rest = format!("{offset}-{}", bytes.len() - 1);
    let answer = admin.send("PATCH", &session, &[("content-range", &rest)], bytes[offset..].to_vec()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let digest = Sha256::of(&bytes).to_string();
    assert_eq!(admin.send("PUT", &format!("{session}?digest={digest}"), &[], "").await.status, 201);
    assert_pulls(&admin, &digest, &bytes).await;
}

#[tokio::test]
async fn sessions_that_rest_expire_with_their_bytes() {
    let server = Server::start(&[("UPLOAD_EXPIRY", "3")]);
    let admin = server.admin();
    let session = admin.open_session(REPOSITORY).await;
    assert_eq!(admin.send("PATCH", &session, &[], "bytes").await.status, 202);
    assert_eq!(disk::staged(&server).len(), 1);
    disk::staging_is_empty(&server).await;
    assert_refused(&admin.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN", "an expired session");
    let append = admin.send("PATCH", &session, &[], "bytes").await;
    assert_refused(&append, 404, "BLOB_UPLOAD_UNKNOWN", "an expired session");
    assert_eq!(disk::staged(&server).len(), 0);
}

/// A session that something is written to does not rest, however slowly that comes.
#[tokio::test]
async fn a_slow_chunk_does_not_expire() {
    let server = Server::start(&[("UPLOAD_EXPIRY", "2")]);
    let session = server.admin().open_session(REPOSITORY).await;
    let mut wire = Wire::admin(&server, &format!("PATCH {session}"), &[("content-length", "6")]).await;
    for byte in "slowly".bytes() {
        wire.write(&[byte]).await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    }
    let answer = wire.answer().await.expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.header("range")), (202, "0-5"));
}

#[tokio::test]
async fn what_a_crash_left_in_staging_goes_and_sessions_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let session = server.admin().open_session(REPOSITORY).await;
    assert_eq!(server.admin().send("PATCH", &session, &[], "bytes").await.status, 202);
    let whole = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={}", Sha256::of(b"other"));
    let mut wire = Wire::admin(&server, &whole, &[("content-length", "3000000")]).await;
    wire.write(&vec![1; 2 * MEBIBYTE]).await;
    eventually("the push has begun", async || disk::staged(&server).len() == 2).await;
    server.kill();
    assert_eq!(disk::staged(&server).len(), 2, "a crash cleans up nothing");

    // At once, as a supervisor restarts it.
    let server = Server::start_in(folder.path(), &[]);
    eventually("the file of no session is gone", async || disk::staged(&server).len() == 1).await;
    assert_eq!(range_of(&server.admin(), &session).await, "0-4");
    let digest = Sha256::of(b"bytes").to_string();
    let done = server.admin().send("PUT", &format!("{session}?digest={digest}"), &[], "").await;
    assert_eq!(done.status, 201, "{done:?}");
}
