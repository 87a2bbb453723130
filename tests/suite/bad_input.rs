//! Malformed requests: each is refused with its status and code, and leaves nothing behind.

use crate::disk;
use crate::harness::{Answer, Server};
use crate::wire::Wire;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Sends a request of the admin without a body.
async fn send(server: &Server, line: &str) -> Answer {
    let mut headers = vec![];
    if !line.starts_with("GET") && !line.starts_with("HEAD") {
        headers.push(("content-length", "0"));
    }
    Wire::admin(server, line, &headers).await.answer().await.unwrap_or_else(|| panic!("no answer: {line}"))
}

/// What every refusal looks like, whatever was wrong.
pub fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.refusal(), (status, code.to_owned()), "{what}");
    assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{what}");
    let body = answer.json();
    assert_eq!(body["errors"].as_array().map(Vec::len), Some(1), "{what}");
    assert!(body["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{what}");
    assert!(!answer.header("x-request-id").is_empty(), "{what}");
    assert_eq!(answer.header("www-authenticate").is_empty(), status != 401, "{what}");
    assert_eq!(answer.header("allow").is_empty(), status != 405, "{what}");
}

/// Nothing of what was refused is there.
async fn assert_nothing_left(server: &Server) {
    let repositories = server.admin().get("/v2/_catalog").await;
    assert_eq!(repositories.json()["repositories"], serde_json::json!([]));
    let tags = server.admin().get("/v2/acme/tool/tags/list").await;
    assert_refused(&tags, 404, "NAME_UNKNOWN", "the repository");
    assert_eq!(disk::blobs(server), Vec::<std::path::PathBuf>::new());
    disk::staging_is_empty(server).await;
}

#[tokio::test]
async fn malformed_names() {
    let server = Server::start(&[]);
    let long = format!("a/{}", "b".repeat(199));
    let names = [
        "alone",
        "A/b",
        "a/B",
        "a//b",
        "/a/b",
        "a/b/",
        "a/.b",
        "a/b.",
        "a/b..c",
        "a/b___c",
        "a/b._c",
        "a/-b",
        "a/b-",
        "_a/b",
        "a/b%20c",
        "a/b+c",
        "a/b@c",
        "a/b:c",
        "a/%c3%a9",
        "a/%ff",
        "a%2fb",
        "a/%2e%2e/b",
        "a/../b",
        "a/./b",
        "a/b%00",
        "a%5cb/c",
        "a/b%0d%0ac",
        &long,
    ];
    for name in names {
        for rest in [
            "GET {}/tags/list",
            "HEAD {}/tags/list",
            "GET {}/manifests/latest",
            "PUT {}/manifests/latest",
            "DELETE {}/manifests/latest",
            "POST {}/blobs/uploads/",
            "GET {}/blobs/sha256:HEX",
            "GET {}/referrers/sha256:HEX",
            "PATCH {}/blobs/uploads/01976f4e-0000-7000-8000-000000000000",
        ] {
            let line = rest.replace("{}", &format!("/v2/{name}")).replace("HEX", HEX);
            let answer = send(&server, &line).await;
            if line.starts_with("HEAD") {
                assert_eq!(answer.status, 400, "{line}");
                assert!(answer.body.is_empty(), "{line}");
            } else {
                assert_refused(&answer, 400, "NAME_INVALID", &line);
            }
        }
    }
    // A source that cannot be is a source that is not there.
    for from in ["A/b", "alone", "..", ""] {
        let line = format!("POST /v2/acme/tool/blobs/uploads/?mount=sha256:{HEX}&from={from}");
        assert_eq!(send(&server, &line).await.status, 202, "{line}");
    }
    assert_nothing_left(&server).await;
}

#[tokio::test]
async fn malformed_digests() {
    let server = Server::start(&[]);
    let digests = [
        "sha256:short".to_owned(),
        "sha256:".to_owned(),
        ":".to_owned(),
        format!("sha256:{}", &HEX[1..]),
        format!("sha256:{HEX}0"),
        format!("sha256:{}", HEX.to_uppercase()),
        format!("sha256:{}g", &HEX[1..]),
        format!("SHA256:{HEX}"),
        format!("md5:{}", &HEX[..32]),
        format!("sha384:{HEX}"),
        format!("sha512:{HEX}"),
        format!("sha256+b64:{HEX}"),
        format!("sha256:{HEX}:x"),
        format!("sha256:%20{}", &HEX[1..]),
        format!("sha256%253A{HEX}%3A"),
        format!("sha256:{HEX}%0a"),
    ];
    let id = "01976f4e-0000-7000-8000-000000000000";
    for digest in &digests {
        for line in [
            format!("GET /v2/acme/tool/blobs/{digest}"),
            format!("DELETE /v2/acme/tool/blobs/{digest}"),
            format!("GET /v2/acme/tool/manifests/{digest}"),
            format!("PUT /v2/acme/tool/manifests/{digest}"),
            format!("DELETE /v2/acme/tool/manifests/{digest}"),
            format!("GET /v2/acme/tool/referrers/{digest}"),
            format!("POST /v2/acme/tool/blobs/uploads/?digest={digest}"),
            format!("POST /v2/acme/tool/blobs/uploads/?mount={digest}&from=acme/other"),
            format!("POST /v2/acme/tool/blobs/uploads/?mount={digest}"),
            format!("PUT /v2/acme/tool/blobs/uploads/{id}?digest={digest}"),
        ] {
            assert_refused(&send(&server, &line).await, 400, "DIGEST_INVALID", &line);
        }
    }
    for line in [
        format!("GET /v2/acme/tool/blobs/{HEX}"),
        format!("GET /v2/acme/tool/blobs/sha256-{HEX}"),
        "GET /v2/acme/tool/blobs/".to_owned(),
        "GET /v2/acme/tool/referrers/latest".to_owned(),
        "POST /v2/acme/tool/blobs/uploads/?digest=".to_owned(),
        "POST /v2/acme/tool/blobs/uploads/?mount=".to_owned(),
        "POST /v2/acme/tool/blobs/uploads/?digest-algorithm=md5".to_owned(),
        "POST /v2/acme/tool/blobs/uploads/?digest-algorithm=".to_owned(),
        format!("PUT /v2/acme/tool/blobs/uploads/{id}"),
        format!("PUT /v2/acme/tool/blobs/uploads/{id}?digest="),
        "GET /blobs/sha256/".to_owned(),
        format!("GET /blobs/sha256/{}", &HEX[1..]),
        format!("GET /blobs/sha256/{}", HEX.to_uppercase()),
        format!("GET /blobs/sha256/{HEX}0"),
    ] {
        assert_refused(&send(&server, &line).await, 400, "DIGEST_INVALID", &line);
    }
    assert_nothing_left(&server).await;
}

#[tokio::test]
async fn malformed_references_parameters_and_paths() {
    let server = Server::start(&[]);
    let long_tag = "a".repeat(129);
    let many = (0..101).map(|n| format!("scope=repository:a/b{n}:pull")).collect::<Vec<_>>().join("&");
    let tags = (0..65).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
    let long = "x".repeat(17 * 1024);
    let id = "01976f4e-0000-7000-8000-000000000000";
    let repository = "/v2/acme/tool";
    for (line, status, code) in [
        (format!("GET {repository}/manifests/.x"), 400, "MANIFEST_INVALID"),
        (format!("PUT {repository}/manifests/-x"), 400, "MANIFEST_INVALID"),
        (format!("GET {repository}/manifests/"), 400, "MANIFEST_INVALID"),
        (format!("GET {repository}/manifests/a%20b"), 400, "MANIFEST_INVALID"),
        (format!("GET {repository}/manifests/%c3%a9"), 400, "MANIFEST_INVALID"),
        (format!("DELETE {repository}/manifests/{long_tag}"), 400, "MANIFEST_INVALID"),
        (format!("PUT {repository}/manifests/latest?tag=.x"), 400, "MANIFEST_INVALID"),
        (format!("PUT {repository}/manifests/latest?tag="), 400, "MANIFEST_INVALID"),
        (format!("PUT {repository}/manifests/latest?tag=%ff"), 400, "UNSUPPORTED"),
        (format!("PUT {repository}/manifests/latest?{tags}"), 414, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=-1"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n="), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=1.5"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=%2B1"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=0x1"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=1&n=1"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=%d9%a1"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?last=%ff"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?last=%00"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?last=a&last=b"), 400, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?n=99999999999999999999999"), 404, "NAME_UNKNOWN"),
        ("GET /v2/_catalog?n=x".to_owned(), 400, "UNSUPPORTED"),
        ("GET /v2/_catalog?last=%00".to_owned(), 400, "UNSUPPORTED"),
        (format!("GET {repository}/referrers/sha256:{HEX}?artifactType=%ff"), 400, "UNSUPPORTED"),
        (
            format!("GET {repository}/referrers/sha256:{HEX}?artifactType=a&artifactType=b"),
            400,
            "UNSUPPORTED",
        ),
        (format!("GET {repository}/referrers/sha256:{HEX}?after=x"), 400, "DIGEST_INVALID"),
        (format!("POST {repository}/blobs/uploads/?mount=sha256:{HEX}&from=%ff"), 400, "UNSUPPORTED"),
        (
            format!("POST {repository}/blobs/uploads/?digest=sha256:{HEX}&digest=sha256:{HEX}"),
            400,
            "UNSUPPORTED",
        ),
        (format!("GET /token?{many}"), 400, "UNSUPPORTED"),
        ("GET /token?scope=%ff".to_owned(), 400, "UNSUPPORTED"),
        (format!("GET {repository}/blobs/uploads/17"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("PATCH {repository}/blobs/uploads/{id}x"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("GET {repository}/blobs/uploads/{id}"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("PATCH {repository}/blobs/uploads/{id}"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("DELETE {repository}/blobs/uploads/{id}"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("PUT {repository}/blobs/uploads/{id}?digest=sha256:{HEX}"), 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET /".to_owned(), 404, "NAME_UNKNOWN"),
        ("OPTIONS *".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET /v1/".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET //v2/".to_owned(), 404, "NAME_UNKNOWN"),
        (format!("GET {repository}"), 404, "NAME_UNKNOWN"),
        (format!("GET {repository}/tags"), 404, "NAME_UNKNOWN"),
        (format!("GET {repository}/tags/list/"), 404, "NAME_UNKNOWN"),
        (format!("GET {repository}/manifests/a/b"), 404, "NAME_UNKNOWN"),
        (format!("GET /blobs/sha512/{HEX}"), 404, "NAME_UNKNOWN"),
        (format!("GET /blobs/sha256/{HEX}/"), 404, "NAME_UNKNOWN"),
        ("GET /blobs/sha256/../../quire.db".to_owned(), 400, "NAME_INVALID"),
        ("GET /blobs/sha256/..%2f..%2fquire.db".to_owned(), 400, "NAME_INVALID"),
        ("GET /%00".to_owned(), 400, "NAME_INVALID"),
        (format!("GET /v2/{long}/tags/list"), 414, "UNSUPPORTED"),
        (format!("GET {repository}/tags/list?last={long}"), 414, "UNSUPPORTED"),
    ] {
        let what = &line[..line.len().min(200)];
        assert_refused(&send(&server, &line).await, status, code, what);
    }
    assert_nothing_left(&server).await;
}

#[tokio::test]
async fn methods_that_a_path_does_not_take() {
    let server = Server::start(&[]);
    let id = "01976f4e-0000-7000-8000-000000000000";
    for (path, methods) in [
        ("/v2/".to_owned(), &["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"][..]),
        ("/v2/_catalog".to_owned(), &["POST", "PUT", "DELETE"]),
        ("/v2/acme/tool/tags/list".to_owned(), &["POST", "PUT", "PATCH", "DELETE"]),
        (format!("/v2/acme/tool/blobs/sha256:{HEX}"), &["POST", "PUT", "PATCH", "OPTIONS"]),
        ("/v2/acme/tool/manifests/latest".to_owned(), &["POST", "PATCH", "OPTIONS"]),
        (format!("/v2/acme/tool/referrers/sha256:{HEX}"), &["POST", "PUT", "DELETE"]),
        ("/v2/acme/tool/blobs/uploads/".to_owned(), &["GET", "PUT", "PATCH", "DELETE"]),
        (format!("/v2/acme/tool/blobs/uploads/{id}"), &["POST", "OPTIONS"]),
        (format!("/blobs/sha256/{HEX}"), &["POST", "PUT", "DELETE"]),
        ("/token".to_owned(), &["POST", "DELETE"]),
        ("/livez".to_owned(), &["POST"]),
        ("/readyz".to_owned(), &["PUT"]),
        ("/metrics".to_owned(), &["DELETE"]),
    ] {
        for method in methods {
            let line = format!("{method} {path}");
            let answer = send(&server, &line).await;
            assert_refused(&answer, 405, "UNSUPPORTED", &line);
            assert!(!answer.header("allow").split(", ").any(|allowed| allowed == *method), "{line}");
        }
    }
    assert_nothing_left(&server).await;
}
