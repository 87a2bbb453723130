//! Malformed headers, bodies and HTTP itself: refused by name, or the connection ends, and the server goes on.

use quire::digest::Sha256;

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{ADMIN_TOKEN, Server, image};
use crate::wire::Wire;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn malformed_content_ranges_leave_the_session_as_it_was() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let session = admin.open_session("acme/tool").await;
    let digest = Sha256::of(b"hello").to_string();
    for (range, status, code) in [
        ("", 400, "UNSUPPORTED"),
        ("x", 400, "UNSUPPORTED"),
        ("0", 400, "UNSUPPORTED"),
        ("0-", 400, "UNSUPPORTED"),
        ("-4", 400, "UNSUPPORTED"),
        ("4-0", 400, "UNSUPPORTED"),
        ("0-4/5", 400, "UNSUPPORTED"),
        ("bytes 0-4/5", 400, "UNSUPPORTED"),
        ("bytes=0-4", 400, "UNSUPPORTED"),
        ("0-4,5-9", 400, "UNSUPPORTED"),
        ("0x0-0x4", 400, "UNSUPPORTED"),
        ("0-18446744073709551615", 400, "UNSUPPORTED"),
        ("99999999999999999999999-99999999999999999999999", 400, "UNSUPPORTED"),
        ("0-5", 400, "SIZE_INVALID"),
        ("0-3", 400, "SIZE_INVALID"),
        ("1-5", 416, "BLOB_UPLOAD_INVALID"),
    ] {
        let headers = [("content-range", range)];
        let answer = admin.send("PATCH", &session, &headers, "hello").await;
        assert_refused(&answer, status, code, &format!("PATCH {range:?}"));
        let finish = format!("{session}?digest={digest}");
        let answer = admin.send("PUT", &finish, &headers, "hello").await;
        assert_refused(&answer, status, code, &format!("PUT {range:?}"));
        assert_eq!(admin.get(&session).await.header("range"), "0-0", "{range:?}");
    }
    assert_eq!(admin.get(&format!("/v2/acme/tool/blobs/{digest}")).await.status, 404);
    let answer = admin.send("PATCH", &session, &[("content-range", "0-4")], "hello").await;
    assert_eq!((answer.status.as_u16(), answer.header("range")), (202, "0-4"));
    assert_eq!(admin.delete(&session).await.status, 204);
    assert!(disk::blobs(&server).is_empty());
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn malformed_ranges_are_ignored() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_blob("acme/tool", "0123456789").await;
    for range in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=+1-2", "items=0-1", "0-1"]
    {
        let path = format!("/v2/acme/tool/blobs/{digest}");
        let answer = admin.send("GET", &path, &[("range", range)], "").await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"0123456789"[..]), "{range:?}");
    }
}

#[tokio::test]
async fn malformed_manifests_and_media_types() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob("acme/tool", "{}").await;
    let good = image(&config, 2, &[]).to_string();
    let before = disk::blobs(&server);
    let untyped = good.replace(&format!("\"mediaType\":\"{OCI_MANIFEST}\","), "");
    assert_ne!(untyped, good);
    let truncated = good[..good.len() - 1].to_owned();
    let twice = format!("{good} {good}");
    let not_utf8 = good.replace("schemaVersion", "schemaVersion\u{0}").into_bytes();
    for (content_type, body) in [
        (OCI_MANIFEST, Vec::new()),
        (OCI_MANIFEST, b"x".to_vec()),
        (OCI_MANIFEST, b"null".to_vec()),
        (OCI_MANIFEST, b"[]".to_vec()),
        (OCI_MANIFEST, b"{}".to_vec()),
        (OCI_MANIFEST, b"\"text\"".to_vec()),
        (OCI_MANIFEST, vec![0xff, 0xfe]),
        (OCI_MANIFEST, vec![0; 64]),
        (OCI_MANIFEST, truncated.into_bytes()),
        (OCI_MANIFEST, twice.into_bytes()),
        (OCI_MANIFEST, not_utf8),
        (OCI_MANIFEST, good.replace(&config, "sha256:short").into_bytes()),
        (OCI_MANIFEST, good.replace(&config, "latest").into_bytes()),
        ("json", good.clone().into_bytes()),
        ("", good.clone().into_bytes()),
        ("a/b/c", good.clone().into_bytes()),
        ("*/*", good.clone().into_bytes()),
        ("text/html", good.clone().into_bytes()),
        ("text/html", untyped.clone().into_bytes()),
        ("application/json", untyped.clone().into_bytes()),
    ] {
        let headers = [("content-type", content_type)];
        let answer = admin.send("PUT", "/v2/acme/tool/manifests/latest", &headers, body.clone()).await;
        assert_refused(&answer, 400, "MANIFEST_INVALID", &format!("{content_type} {body:?}"));
    }
    let answer = admin.send("PUT", "/v2/acme/tool/manifests/latest", &[], untyped).await;
    assert_refused(&answer, 400, "MANIFEST_INVALID", "no type at all");
    assert_eq!(admin.get("/v2/acme/tool/tags/list").await.json()["tags"], serde_json::json!([]));
    assert_eq!(disk::blobs(&server), before);
    disk::staging_is_empty(&server).await;
    let answer = admin.send("PUT", "/v2/acme/tool/manifests/latest", &[], good).await;
    assert_eq!(answer.status, 201, "the good one is good");
}

/// Header values that are no text, and more of a header than one.
#[tokio::test]
async fn headers_that_are_no_text() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let session = admin.open_session("acme/tool").await;
    let authorization = format!("authorization: Bearer {ADMIN_TOKEN}");
    for (line, header, status) in [
        ("PUT /v2/acme/tool/manifests/latest".to_owned(), &b"content-type: \xff\xfe"[..], 400),
        (format!("PATCH {session}"), b"content-range: \xff", 400),
        ("GET /v2/acme/tool/tags/list".to_owned(), b"range: bytes=\xff", 404),
        ("GET /v2/acme/tool/tags/list".to_owned(), b"if-none-match: \xff", 404),
        ("GET /v2/acme/tool/tags/list".to_owned(), b"authorization: Bearer x", 401),
    ] {
        let mut wire = Wire::open(&server).await;
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\r\n");
        let request = [head.as_bytes(), header, b"\r\ncontent-length: 0\r\n\r\n"].concat();
        wire.write(&request).await;
        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer: {line}"));
        assert_eq!(answer.status, status, "{line} {answer:?}");
    }
}

#[tokio::test]
async fn malformed_http_is_no_fault_of_the_server() {
    let server = Server::start(&[]);
    let long = format!("GET /v2/{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    let large = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(600_000));
    let many = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let put = format!("PUT /v2/acme/tool/manifests/x HTTP/1.1\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n");
    for request in [
        b"\r\n\r\n\r\n\r\nx\r\n\r\n".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /v2/ HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /v2/\x00 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n".to_vec(),
        b"GET /v2/ HTTP/1.1\r\nhost: x\r\nx: \x00\r\n\r\n".to_vec(),
        b"GET v2 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        long.into_bytes(),
        large.into_bytes(),
        many.into_bytes(),
        format!("{put}content-length: -1\r\n\r\n").into_bytes(),
        format!("{put}content-length: 1\r\ncontent-length: 2\r\n\r\nxx").into_bytes(),
        format!("{put}content-length: 99999999999999999999\r\n\r\nxx").into_bytes(),
        format!("{put}transfer-encoding: chunked\r\n\r\nzz\r\nxx\r\n").into_bytes(),
        format!("{put}transfer-encoding: gzip\r\n\r\nxx").into_bytes(),
    ] {
        let mut wire = Wire::open(&server).await;
        wire.write(&request).await;
        // What is cut short gets no answer: the other end has to stop first.
        wire.close_writing().await;
        if let Some(answer) = wire.answer().await {
            let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
            assert!(answer.status.is_client_error(), "{shown:?} {answer:?}");
        }
    }
    // No Host, an older version, and a target with a scheme are no errors.
    for request in [
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET http://elsewhere.test/livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ] {
        let mut wire = Wire::open(&server).await;
        wire.write(request.as_bytes()).await;
        assert_eq!(wire.answer().await.expect("an answer").status, 200, "{request}");
    }
    assert!(disk::blobs(&server).is_empty());
    disk::staging_is_empty(&server).await;
}
