//! Refusals before a body was read: they arrive, cost nothing that was not asked for, and the connection goes on.

use bytes::Bytes;
use quire::digest::Sha256;

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{ADMIN_TOKEN, Server};
use crate::wire::Wire;

/// A client that sends everything first and reads afterwards must not find a reset connection.
#[tokio::test]
async fn a_refusal_reaches_who_is_still_sending() {
    let server = Server::start(&[("MAX_BLOB_BYTES", "1000000")]);
    let body = Bytes::from(vec![7; 8 * 1024 * 1024]);
    let digest = Sha256::of(&body).to_string();
    let (admin, anonymous) = (server.admin(), server.anonymous());
    let session = admin.open_session("acme/tool").await;
    for _ in 0..3 {
        for (client, method, path, status) in [
            (&anonymous, "POST", format!("/v2/acme/tool/blobs/uploads/?digest={digest}"), 401),
            (&anonymous, "PATCH", session.clone(), 401),
            (&anonymous, "PUT", "/v2/acme/tool/manifests/latest".to_owned(), 401),
            (&admin, "POST", format!("/v2/acme/tool/blobs/uploads/?digest={digest}"), 413),
            (&admin, "PATCH", session.clone(), 413),
            (&admin, "PUT", "/v2/acme/tool/manifests/latest".to_owned(), 413),
            (&admin, "PUT", "/v2/ACME/tool/manifests/latest".to_owned(), 400),
            (&admin, "POST", "/v2/".to_owned(), 405),
            (&admin, "PUT", "/nowhere".to_owned(), 404),
        ] {
            assert_eq!(client.send(method, &path, &[], body.clone()).await.status, status, "{method} {path}");
        }
    }
    assert!(disk::blobs(&server).is_empty());
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let server = Server::start(&[]);
    let mut wire = Wire::open(&server).await;
    let body = vec![b'x'; 300_000];
    for _ in 0..3 {
        let head = format!(
            "POST /v2/acme/tool/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        wire.write(head.as_bytes()).await;
        wire.write(&body).await;
        let refused = wire.head_of_answer().await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
        let length = refused.lines().find_map(|line| line.strip_prefix("content-length: "));
        wire.skip(length.and_then(|text| text.parse().ok()).expect("a length")).await;
    }
    wire.head("GET /livez", &[]).await;
    assert_eq!(wire.answer().await.expect("an answer").body, "ok\n");
}

/// Who asks before sending is told before sending.
#[tokio::test]
async fn expect_continue() {
    let server = Server::start(&[("MAX_BLOB_BYTES", "1000")]);
    let digest = Sha256::of(b"bytes").to_string();
    let line = format!("POST /v2/acme/tool/blobs/uploads/?digest={digest}");
    let expect = ("expect", "100-continue");
    let mut wire = Wire::admin(&server, &line, &[expect, ("content-length", "5")]).await;
    let interim = wire.head_of_answer().await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    wire.write(b"bytes").await;
    assert_eq!(wire.answer().await.expect("an answer").status, 201);

    let too_large = Wire::admin(&server, &line, &[expect, ("content-length", "1001")]).await;
    assert_refused(&too_large.answer().await.expect("an answer"), 413, "SIZE_INVALID", "too large");
    let mut stranger = Wire::open(&server).await;
    stranger.head(&line, &[expect, ("content-length", "5")]).await;
    assert_refused(&stranger.answer().await.expect("an answer"), 401, "UNAUTHORIZED", "a stranger");
}

#[tokio::test]
async fn trailers_are_no_bytes() {
    let server = Server::start(&[]);
    let digest = Sha256::of(b"bytes").to_string();
    let line = format!("POST /v2/acme/tool/blobs/uploads/?digest={digest}");
    let mut wire = Wire::admin(&server, &line, &[("transfer-encoding", "chunked"), ("trailer", "x")]).await;
    wire.write(b"2;ext=1\r\nby\r\n3\r\ntes\r\n0\r\nx: trailer\r\n\r\n").await;
    assert_eq!(wire.answer().await.expect("an answer").status, 201);
}

/// With two lengths in one head, a proxy may have seen the end of the body elsewhere: what follows is not
/// taken for a request.
#[tokio::test]
async fn a_smuggled_request_is_not_answered() {
    let server = Server::start(&[]);
    server.admin().push_artifact("system/tool", "latest", "layer").await;
    let tag = "/v2/system/tool/manifests/latest";
    let authorization = format!("authorization: Bearer {ADMIN_TOKEN}");
    let smuggled = format!("DELETE {tag} HTTP/1.1\r\nhost: x\r\n{authorization}\r\n\r\n");
    let length = format!("content-length: {}", smuggled.len() + 5);
    let chunked = "transfer-encoding: chunked".to_owned();
    for [first, second] in [[&length, &chunked], [&chunked, &length]] {
        let mut wire = Wire::open(&server).await;
        let head =
            format!("POST /livez HTTP/1.1\r\nhost: x\r\n{first}\r\n{second}\r\n\r\n0\r\n\r\n{smuggled}");
        wire.write(head.as_bytes()).await;
        wire.close_writing().await;
        let answers = String::from_utf8(wire.rest().await).expect("a text");
        assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{first}, {second}: {answers}");
        assert_eq!(server.anonymous().get(tag).await.status, 200, "{first}, {second}");
    }
}
