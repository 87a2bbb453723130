//! What an answer says about itself: how long it may be kept, what it is, and that a browser shows none of it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Version};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::rt::TokioExecutor;
use quire::digest::Sha256;
use serde_json::json;

use crate::bad_input::assert_refused;
use crate::harness::{ADMIN_TOKEN, Answer, Client, Server, image};
use crate::uploads::sha512;

/// One year, and never asked about again.
const BY_DIGEST: &str = "max-age=31536000, immutable";

fn assert_hardened(answer: &Answer, what: &str) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{what}");
    assert!(!answer.header("x-request-id").is_empty(), "{what}");
    assert!(!answer.header("cache-control").is_empty(), "{what}");
}

#[tokio::test]
async fn every_kind_of_pull_says_who_may_keep_it() {
    let server = Server::start(&[]);
    let admin = server.admin();
    for (repository, audience) in [("system/tool", "public"), ("acme/tool", "private")] {
        // Other bytes in each, as bytes that a public repository has too are public.
        let layer = format!("layer of {repository}");
        let manifest = admin.push_artifact(repository, "latest", layer.clone()).await;
        let blob = Sha256::of(layer.as_bytes()).to_string();
        let reader = if audience == "public" { server.anonymous() } else { server.admin() };
        let immutable = |digest: &str| format!("/blobs/sha256/{}", digest.trim_start_matches("sha256:"));
        for (path, digest, content_type, freshness) in [
            (format!("/v2/{repository}/blobs/{blob}"), &blob, "application/octet-stream", BY_DIGEST),
            (immutable(&blob), &blob, "application/octet-stream", BY_DIGEST),
            (immutable(&manifest), &manifest, "application/octet-stream", BY_DIGEST),
            (
                format!("/v2/{repository}/manifests/{manifest}"),
                &manifest,
                "application/vnd.oci.image.manifest.v1+json",
                BY_DIGEST,
            ),
            (
                format!("/v2/{repository}/manifests/latest"),
                &manifest,
                "application/vnd.oci.image.manifest.v1+json",
                "no-cache",
            ),
        ] {
            let got = reader.get(&path).await;
            assert_eq!(got.status, 200, "{path}");
            assert_eq!(got.header("cache-control"), format!("{audience}, {freshness}"), "{path}");
            assert_eq!(got.header("content-type"), content_type, "{path}");
            assert_eq!(got.header("etag"), format!("\"{digest}\""), "{path}");
            assert_eq!(got.header("docker-content-digest"), digest, "{path}");
            assert_eq!(got.header("accept-ranges"), "bytes", "{path}");
            let (algorithm, encoded) = got.header("repr-digest").split_once('=').expect("a digest");
            assert_eq!(algorithm, "sha-256");
            let encoded = encoded.trim_matches(':');
            let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded);
            assert_eq!(Sha256::from_slice(&decoded.expect("base64")), Some(Sha256::of(&got.body)), "{path}");
            assert_hardened(&got, &path);
            assert_head_is_get(&reader, &path).await;
            for etag in ["\"DIGEST\"", "W/\"DIGEST\"", "\"x\", \"DIGEST\"", "*"] {
                let etag = etag.replace("DIGEST", digest);
                let conditions = [("if-none-match", etag.as_str()), ("range", "bytes=0-1")];
                for method in ["GET", "HEAD"] {
                    let answer = reader.send(method, &path, &conditions, "").await;
                    assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{path} {etag}");
                    for header in ["etag", "cache-control", "docker-content-digest"] {
                        assert_eq!(answer.header(header), got.header(header), "{path}");
                    }
                    assert_hardened(&answer, &path);
                }
            }
            let other = reader.send("GET", &path, &[("if-none-match", "\"x\"")], "").await;
            assert_eq!((other.status.as_u16(), &other.body), (200, &got.body), "{path}");
        }
        for path in ["tags/list", &format!("referrers/{manifest}")] {
            let path = format!("/v2/{repository}/{path}");
            let list = reader.get(&path).await;
            assert_eq!(list.header("cache-control"), format!("{audience}, no-cache"), "{path}");
            assert_head_is_get(&reader, &path).await;
        }
    }
}

async fn assert_head_is_get(client: &Client, path: &str) {
    let (mut get, mut head) = (client.get(path).await, client.head(path).await);
    assert!(head.body.is_empty(), "{path}");
    for changing in ["x-request-id", "date"] {
        get.headers.remove(changing);
        head.headers.remove(changing);
    }
    assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
    assert_eq!((head.status, head.headers), (get.status, get.headers), "{path}");
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let manifest = admin.push_artifact("system/tool", "latest", "layer").await;
    let blob = Sha256::of(b"layer").to_string();
    let session = admin.open_session("system/tool").await;
    let absent = Sha256::of(b"absent").to_string();
    for (method, path, headers, status) in [
        ("GET", "/v2/".to_owned(), None, 200),
        ("GET", "/token".to_owned(), None, 200),
        ("GET", "/v2/_catalog".to_owned(), None, 200),
        ("GET", "/livez".to_owned(), None, 200),
        ("GET", "/readyz".to_owned(), None, 200),
        ("GET", "/metrics".to_owned(), None, 200),
        ("GET", format!("/v2/system/tool/blobs/{blob}"), Some(("range", "bytes=0-1")), 206),
        ("GET", format!("/v2/system/tool/blobs/{blob}"), Some(("range", "bytes=9-")), 416),
        ("GET", format!("/v2/system/tool/blobs/{absent}"), None, 404),
        ("HEAD", format!("/v2/system/tool/blobs/{absent}"), None, 404),
        ("GET", "/v2/".to_owned(), Some(("authorization", "Bearer twice")), 401),
        ("POST", "/v2/".to_owned(), None, 405),
        ("GET", session.clone(), None, 204),
        ("PATCH", session.clone(), None, 202),
        ("DELETE", session.clone(), None, 204),
        ("DELETE", format!("/v2/system/tool/manifests/{manifest}"), None, 202),
    ] {
        let headers: Vec<_> = headers.into_iter().collect();
        let answer = admin.send(method, &path, &headers, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_hardened(&answer, &format!("{method} {path}"));
        let kept = status == 206 || path == "/v2/_catalog";
        assert_eq!(answer.header("cache-control") == "no-store", !kept, "{method} {path}");
    }
    let ids = [admin.get("/livez").await, admin.get("/livez").await];
    assert_ne!(ids[0].header("x-request-id"), ids[1].header("x-request-id"));
}

/// P5: a tag is kept in memory, and what was written is read all the same.
#[tokio::test]
async fn p5_a_tag_that_moved_is_seen_at_once() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob("system/tool", "{}").await;
    let manifests = ["a", "b"].map(|text| {
        let mut manifest = image(&config, 2, &[]);
        manifest["annotations"] = json!({"text": text});
        manifest
    });
    let anonymous = server.anonymous();
    let path = "/v2/system/tool/manifests/latest";
    let mut etag = "\"none\"".to_owned();
    for round in 0..200 {
        let manifest = &manifests[round % 2];
        assert_eq!(admin.put_manifest("system/tool", "latest", manifest).await.status, 201);
        let moved = anonymous.send("GET", path, &[("if-none-match", &etag)], "").await;
        assert_eq!(moved.status, 200, "{round}");
        assert_eq!(moved.body, manifest.to_string(), "{round}");
        etag = moved.header("etag").to_owned();
        let kept = anonymous.send("GET", path, &[("if-none-match", &etag)], "").await;
        assert_eq!(kept.status, 304, "{round}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_remembered() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob("system/tool", "{}").await;
    let manifest = image(&config, 2, &[]);
    let digest = Sha256::of(manifest.to_string().as_bytes()).to_string();
    let hex = digest.trim_start_matches("sha256:");
    let blob = Sha256::of(b"blob").to_string();
    let paths = [
        (format!("/v2/system/tool/manifests/{digest}"), "MANIFEST_UNKNOWN"),
        ("/v2/system/tool/manifests/latest".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/system/tool/blobs/{blob}"), "BLOB_UNKNOWN"),
        (format!("/blobs/sha256/{hex}"), "BLOB_UNKNOWN"),
    ];
    for (path, code) in &paths {
        for _ in 0..2 {
            // Nobody may keep a 404, or a CDN would go on with it after the push.
            assert_refused(&admin.get(path).await, 404, code, path);
        }
    }
    assert_refused(&server.anonymous().get(&paths[3].0).await, 401, "UNAUTHORIZED", "a stranger");
    admin.push_blob("system/tool", "blob").await;
    assert_eq!(admin.put_manifest("system/tool", "latest", &manifest).await.status, 201);
    for (path, _) in &paths {
        for client in [&admin, &server.anonymous()] {
            assert_eq!(client.get(path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn answers_are_in_the_algorithm_that_was_asked_for() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob("system/tool", "{}").await;
    let body = image(&config, 2, &[]).to_string();
    let (long, short) = (sha512(body.as_bytes()), Sha256::of(body.as_bytes()).to_string());
    let path = |reference: &str| format!("/v2/system/tool/manifests/{reference}");
    let typed = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    let pushed = admin.send("PUT", &format!("{}?tag=latest", path(&long)), &typed, body.clone()).await;
    assert_eq!((pushed.status.as_u16(), pushed.header("docker-content-digest")), (201, long.as_str()));
    assert_eq!(pushed.header("location"), path(&long));
    for (reference, digest) in [(long.as_str(), &long), (&short, &short), ("latest", &long)] {
        let pulled = server.anonymous().get(&path(reference)).await;
        assert_eq!((pulled.status.as_u16(), &pulled.body), (200, &Bytes::from(body.clone())), "{reference}");
        assert_eq!(pulled.header("docker-content-digest"), digest, "{reference}");
        assert_eq!(pulled.header("etag"), format!("\"{digest}\""), "{reference}");
        let algorithm = if digest == &long { "sha-512=:" } else { "sha-256=:" };
        assert!(pulled.header("repr-digest").starts_with(algorithm), "{reference}");
    }
    assert_eq!(admin.delete(&path(&long)).await.status, 202);
    for reference in [&long, &short, "latest"] {
        assert_eq!(admin.get(&path(reference)).await.status, 404, "{reference}");
    }
}

#[tokio::test]
async fn http_2_without_an_upgrade() {
    let server = Server::start(&[]);
    let bytes = vec![3; 700_000];
    let digest = server.admin().push_blob("system/tool", bytes.clone()).await;
    let client: Hyper<_, Full<Bytes>> = Hyper::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(server.url(path))
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
    };
    let get =
        request("GET", &format!("/v2/system/tool/blobs/{digest}")).body(Full::default()).expect("a request");
    let answer = client.request(get).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), bytes);
    let pushed = vec![4; 700_000];
    let path = format!("/v2/system/tool/blobs/uploads/?digest={}", Sha256::of(&pushed));
    let post = request("POST", &path).body(Full::from(pushed)).expect("a request");
    assert_eq!(client.request(post).await.expect("an answer").status(), 201);
    let stranger = Request::builder().uri(server.url("/v2/")).body(Full::default()).expect("a request");
    let answer = client.request(stranger).await.expect("an answer");
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().expect("a text").to_owned();
    assert_eq!(challenge, format!("Bearer realm=\"{}\",service=\"quire\"", server.url("/token")));
}
