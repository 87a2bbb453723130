//! Pulls that are sent to the far store: who is sent, and who is not.

use quire::digest::Sha256;

use super::{Running, bytes};
use crate::harness::Client;

/// P3: only who may read is told where, and only of a GET of a blob.
#[tokio::test]
async fn p3_a_pull_is_sent_away_after_it_was_allowed() {
    let server = Running::start(&[("S3_REDIRECT", "true")]).await;
    let blob = bytes(100_000, 1);
    let digest = Sha256::of(&blob);
    server.client.push_blob("acme/tool", blob.clone()).await;
    server.client.push_blob("system/tool", blob.clone()).await;
    let pull = format!("/v2/acme/tool/blobs/{digest}");
    let sent = server.client.get(&pull).await;
    assert_eq!(sent.status, 307, "{sent:?}");
    assert_eq!(sent.header("location"), format!("https://far.test/{}?signature=x", digest.hex()));
    assert_eq!(sent.header("docker-content-digest"), digest.to_string());
    assert_eq!(sent.header("vary"), "quire-no-redirect");
    let life = |answer: &crate::harness::Answer, audience: &str| {
        let value = answer.header("cache-control").to_owned();
        let seconds = value.strip_prefix(&format!("{audience}, max-age=")).map(str::parse::<u64>);
        assert!(matches!(seconds, Some(Ok(500..600))), "{value}");
    };
    life(&sent, "private");
    let public = format!("/v2/system/tool/blobs/{digest}");
    let anonymous = Client::new(server.address, None);
    life(&anonymous.get(&public).await, "public");
    assert_eq!(anonymous.get(&pull).await.status, 401);

    // Who asks otherwise gets what there was before.
    let bytes_of = [
        server.client.send("GET", &pull, &[("quire-no-redirect", "1")], "").await,
        server.client.get(&format!("/blobs/sha256/{}", digest.hex())).await,
    ];
    for answer in bytes_of {
        assert!(answer.status == 200 && answer.body == blob);
    }
    let head = server.client.head(&pull).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "100000"));
    let etag = format!("\"{digest}\"");
    let same = server.client.send("GET", &pull, &[("if-none-match", &etag)], "").await;
    assert_eq!(same.status, 304);
    // A part, too: the client sends its Range there.
    assert_eq!(server.client.send("GET", &pull, &[("range", "bytes=0-9")], "").await.status, 307);

    // Neither what is small nor manifests.
    let manifest = server.client.push_artifact("acme/tool", "v1", "layer").await;
    for path in ["manifests/v1", &format!("manifests/{manifest}"), &format!("blobs/{}", Sha256::of(b"layer"))]
    {
        assert_eq!(server.client.get(&format!("/v2/acme/tool/{path}")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn nobody_is_sent_to_where_nothing_is() {
    let server = Running::start(&[("S3_REDIRECT", "true")]).await;
    let (lost, other, down) = (bytes(100_000, 2), bytes(100_000, 3), bytes(100_000, 4));
    for blob in [&lost, &other, &down] {
        server.client.push_blob("acme/tool", blob.clone()).await;
    }
    server.far.remove_quietly(&Sha256::of(&lost));
    server.far.has(Sha256::of(&other), b"of another length");
    for (blob, is_down) in [(&lost, false), (&other, false), (&down, true)] {
        server.far.is_down(is_down);
        let answer = server.client.get(&format!("/v2/acme/tool/blobs/{}", Sha256::of(blob))).await;
        assert_eq!(answer.header("vary"), "quire-no-redirect");
        assert!(answer.status == 200 && answer.body == blob);
    }
}

#[tokio::test]
async fn nobody_is_sent_away_unasked() {
    let server = Running::start(&[]).await;
    let blob = bytes(100_000, 5);
    server.client.push_blob("acme/tool", blob.clone()).await;
    let answer = server.client.get(&format!("/v2/acme/tool/blobs/{}", Sha256::of(&blob))).await;
    assert_eq!((answer.status.as_u16(), answer.header("vary")), (200, ""));
}
