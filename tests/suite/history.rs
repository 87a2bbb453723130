//! The history of a tag: every move in order, in pages, for those who may pull.

use serde_json::{Value, json};

use crate::harness::{Client, Server, image};

/// Pushes a manifest that no other call makes, and returns its digest.
async fn push(client: &Client, tag: &str, number: usize) -> String {
    let config = client.push_blob("system/tool", "{}").await;
    let mut manifest = image(&config, 2, &[]);
    manifest["annotations"] = json!({"number": number.to_string()});
    let answer = client.put_manifest("system/tool", tag, &manifest).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("docker-content-digest").to_owned()
}

async fn history(client: &Client, path: &str) -> (Vec<Value>, Option<String>) {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let next = answer.header("link").split_once('>').map(|(link, _)| link.trim_start_matches('<').to_owned());
    (answer.json()["history"].as_array().expect("a list").clone(), next)
}

#[tokio::test]
async fn every_move_is_told_newest_first() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let first = push(&admin, "latest", 1).await;
    let second = push(&admin, "latest", 2).await;
    push(&admin, "other", 3).await;
    assert_eq!(push(&admin, "latest", 2).await, second, "nothing moved, nothing is told");
    assert_eq!(admin.delete("/v2/system/tool/manifests/latest").await.status, 202);
    // Back to the first one: a rollback is a push like any other.
    assert_eq!(push(&admin, "latest", 1).await, first);

    let path = "/v2/system/tool/_quire/tags/latest/history";
    let (whole, next) = history(&server.anonymous(), path).await;
    let told: Vec<(&str, &str, &str)> = whole
        .iter()
        .map(|change| {
            let text = |key: &str| change[key].as_str().unwrap_or_default();
            assert!(text("at").ends_with('Z'), "{change}");
            (text("change"), text("digest"), text("previous"))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("set", first.as_str(), ""),
            ("deleted", second.as_str(), ""),
            ("set", second.as_str(), first.as_str()),
            ("set", first.as_str(), ""),
        ]
    );
    assert_eq!(next, None);

    let (mut paged, mut page) = (Vec::new(), Some(format!("{path}?n=3")));
    while let Some(path) = page {
        let (changes, next) = history(&admin, &path).await;
        paged.extend(changes);
        page = next;
    }
    assert_eq!(paged, whole);
}

#[tokio::test]
async fn an_unknown_tag_has_no_history_and_a_stranger_learns_nothing() {
    let server = Server::start(&[]);
    let admin = server.admin();
    push(&admin, "latest", 1).await;
    admin.push_artifact("acme/private", "latest", "layer").await;
    let unknown = admin.get("/v2/system/tool/_quire/tags/absent/history").await;
    assert_eq!(unknown.refusal(), (404, "MANIFEST_UNKNOWN".into()));
    let bad = admin.get("/v2/system/tool/_quire/tags/latest/history?before=x").await;
    assert_eq!(bad.refusal(), (400, "UNSUPPORTED".into()));
    let stranger = server.anonymous();
    for name in ["acme/private", "acme/absent"] {
        let answer = stranger.get(&format!("/v2/{name}/_quire/tags/latest/history")).await;
        assert_eq!(answer.refusal(), (401, "UNAUTHORIZED".into()), "{name}");
    }
}
