//! Conditional pushes: `If-Match` and `If-None-Match` on a manifest's tags.

use serde_json::{Value, json};

use crate::disk;
use crate::harness::{Answer, Client, Server, image};

async fn put(client: &Client, reference: &str, manifest: &Value, headers: &[(&str, &str)]) -> Answer {
    let media_type = manifest["mediaType"].as_str().expect("a media type");
    let headers = [headers, &[("content-type", media_type)]].concat();
    client.send("PUT", &format!("/v2/a/b/manifests/{reference}"), &headers, manifest.to_string()).await
}

/// Two manifests that differ, over the same config.
async fn manifests(client: &Client) -> (Value, Value) {
    let config = client.push_blob("a/b", "{}").await;
    let mut second = image(&config, 2, &[]);
    second["annotations"] = json!({"version": "2"});
    (image(&config, 2, &[]), second)
}

/// P4: a tag is created only where there is none, and moved only from where the client thinks it is.
#[tokio::test]
async fn a_tag_moves_only_from_where_it_is_expected() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let (first, second) = manifests(&admin).await;
    let created = put(&admin, "v1", &first, &[("if-none-match", "*")]).await;
    assert_eq!(created.status, 201, "{created:?}");
    let now = created.header("docker-content-digest").to_owned();
    let quoted = format!("\"{now}\"");

    let again = put(&admin, "v1", &second, &[("if-none-match", "*")]).await;
    assert_eq!(again.refusal(), (412, "DENIED".into()));
    assert_eq!(again.header("etag"), quoted);
    assert_eq!(again.json()["errors"][0]["detail"], json!({"tag": "v1", "digest": now}));

    let stale = format!("\"sha256:{}\"", "0".repeat(64));
    let moved = put(&admin, "v1", &second, &[("if-match", &stale)]).await;
    assert_eq!(moved.refusal(), (412, "DENIED".into()));
    assert_eq!(admin.head("/v2/a/b/manifests/v1").await.header("etag"), quoted, "nothing moved");

    let listed = format!("{stale}, {quoted}");
    assert_eq!(put(&admin, "v1", &second, &[("if-match", &listed)]).await.status, 201);
    assert_eq!(put(&admin, "v1", &first, &[("if-match", "*")]).await.status, 201);
    let missing = put(&admin, "v2", &first, &[("if-match", "*")]).await;
    assert_eq!(missing.refusal(), (412, "DENIED".into()));
    assert_eq!(missing.header("etag"), "");
    assert_eq!(admin.get("/v2/a/b/manifests/v2").await.status, 404);
}

/// With several tags the condition holds for all of them, or none is written.
#[tokio::test]
async fn a_condition_holds_for_every_tag_or_none_is_written() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let (first, second) = manifests(&admin).await;
    assert_eq!(put(&admin, "taken", &first, &[]).await.status, 201);
    let digest = quire::digest::Sha256::of(second.to_string().as_bytes());
    let reference = format!("{digest}?tag=free&tag=taken");
    let before = disk::blobs(&server);
    let refused = put(&admin, &reference, &second, &[("if-none-match", "*")]).await;
    assert_eq!(refused.refusal(), (412, "DENIED".into()));
    assert_eq!(disk::blobs(&server), before, "nothing is left behind");
    for reference in ["free".to_owned(), digest.to_string()] {
        assert_eq!(admin.get(&format!("/v2/a/b/manifests/{reference}")).await.status, 404, "{reference}");
    }
}

#[tokio::test]
async fn conditions_that_make_no_sense_are_refused() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let (first, _) = manifests(&admin).await;
    let digest = quire::digest::Sha256::of(first.to_string().as_bytes()).to_string();
    let quoted = format!("\"{digest}\"");
    for (reference, headers) in [
        ("v1", &[("if-match", quoted.as_str()), ("if-none-match", "*")][..]),
        ("v1", &[("if-none-match", &quoted)]),
        ("v1", &[("if-match", &digest)]),
        ("v1", &[("if-match", "\"latest\"")]),
        (&digest, &[("if-none-match", "*")]),
    ] {
        let refused = put(&admin, reference, &first, headers).await;
        assert_eq!(refused.refusal(), (400, "UNSUPPORTED".into()), "{reference} {headers:?}");
    }
    assert_eq!(admin.get("/v2/a/b/manifests/v1").await.status, 404);
    // A condition that is not decided must not be ignored.
    assert_eq!(put(&admin, "v1", &first, &[]).await.status, 201);
    for headers in [("if-match", quoted.as_str()), ("if-none-match", "*")] {
        let refused = admin.send("DELETE", "/v2/a/b/manifests/v1", &[headers], "").await;
        assert_eq!(refused.refusal(), (400, "UNSUPPORTED".into()), "{headers:?}");
    }
    assert_eq!(admin.get("/v2/a/b/manifests/v1").await.status, 200);
}
