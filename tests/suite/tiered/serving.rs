//! A server in front of a far store, as clients see it: streams, cuts, outages, and what it does not keep.

use quire::digest::Sha256;

use super::{Running, bytes};
use crate::bad_input::assert_refused;
use crate::disk::eventually;
use crate::harness::package::Package;
use crate::harness::{ADMIN_TOKEN, Answer, Client, image};
use crate::wire::Wire;

const SIZE: usize = 3_000_000;

/// A failure tells no more than where the bytes differ.
fn assert_pulled(answer: &Answer, bytes: &[u8]) {
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, bytes.len()));
    assert_eq!(answer.body.iter().zip(bytes).position(|(got, wanted)| got != wanted), None);
}

/// Starts a pull, and reads the head of the answer.
async fn begin_pull(server: &Running, digest: &Sha256, range: Option<&str>) -> (Wire, String) {
    let mut wire = Wire::to(server.address).await;
    let authorization = format!("Bearer {ADMIN_TOKEN}");
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(range.map(|range| ("range", range)));
    wire.head(&format!("GET /v2/acme/tool/blobs/{digest}"), &headers).await;
    let head = wire.head_of_answer().await;
    (wire, head)
}

/// P1: clients read while it is fetched, and get the end when it was found to be right.
#[tokio::test]
async fn p1_a_pull_streams_what_is_fetched() {
    let server = Running::start(&[]).await;
    let blob = bytes(SIZE, 1);
    let digest = server.push_elsewhere("acme/tool", &blob).await;
    server.far.let_through(1_500_000);
    let (mut whole, head) = begin_pull(&server, &digest, None).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains(&format!("content-length: {SIZE}")), "{head}");
    whole.skip(1_500_000).await;
    let (mut part, head) = begin_pull(&server, &digest, Some("bytes=100000-1599999")).await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    part.skip(1_300_000).await;
    server.far.let_through(u64::MAX);
    assert!(whole.rest().await == blob[1_500_000..]);
    assert!(part.rest().await == blob[1_400_000..1_600_000]);
    let pull = format!("/v2/acme/tool/blobs/{digest}");
    assert_pulled(&server.client.get(&pull).await, &blob);
    assert_eq!(server.far.fetches(), 1);

    // From now on far is not asked, not even when it is gone.
    eventually("it is kept", async || server.path(&digest).is_file()).await;
    server.far.is_down(true);
    let metrics = server.client.metrics().await;
    assert_eq!(metrics[r#"quire_fills_total{outcome="done"}"#], 1.0);
    for client in [&server.client, &server.client.http2()] {
        assert_pulled(&client.get(&pull).await, &blob);
        assert_pulled(&client.get(&format!("/blobs/sha256/{}", digest.hex())).await, &blob);
    }
    assert_eq!(server.far.fetches(), 1);
}

/// P1: over both protocols wrong bytes never end well, and what was opened then is not kept open.
#[tokio::test]
async fn p1_wrong_bytes_are_cut_off() {
    let server = Running::start(&[]).await;
    let blob = bytes(SIZE, 2);
    let digest = server.push_elsewhere("acme/tool", &blob).await;
    let mut wrong = blob.clone();
    wrong[SIZE / 2] ^= 1;
    server.far.has(digest, &wrong);
    let pull = format!("/v2/acme/tool/blobs/{digest}");
    server.far.let_through(1_000_000);
    let get = async |client: &Client, range: &str| {
        client.try_send("GET", &pull, &[("range", range)], "").await.map(|answer| answer.status.as_u16())
    };
    let http2 = server.client.http2();
    let opened = async {
        eventually("all have begun", async || server.far.fetches() == 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        server.far.let_through(u64::MAX);
    };
    let (one, two, three, _) = tokio::join!(
        get(&server.client, "bytes=0-"),
        get(&http2, "bytes=0-"),
        get(&server.client, "bytes=2999000-"),
        opened
    );
    for ended in [one, two, three] {
        // Who came a moment later was told at once.
        assert!(ended.is_none_or(|status| status == 500), "{ended:?}");
    }
    assert!(!server.path(&digest).exists());
    assert_refused(&server.client.get(&pull).await, 500, "INTERNAL_ERROR", "wrong bytes in far");
    let metrics = server.client.metrics().await;
    assert!(metrics[r#"quire_fills_total{outcome="wrong_bytes"}"#] >= 1.0);

    server.far.has(digest, &blob);
    let mut pulled = Vec::new();
    eventually("what was repaired is served", async || {
        let answer = server.client.get(&pull).await;
        pulled = answer.body.to_vec();
        answer.status == 200
    })
    .await;
    assert!(pulled == blob);
}

/// P1: small blobs and manifests are whole before the first byte is sent.
#[tokio::test]
async fn p1_what_is_small_is_refused_instead_of_cut_off() {
    let server = Running::start(&[]).await;
    let digest = server.push_elsewhere("acme/tool", b"right").await;
    let long = server.push_elsewhere("acme/tool", &bytes(100_000, 3)).await;
    server.far.has(digest, b"wrong");
    // A blob of another length is not even begun.
    server.far.has(long, &bytes(200_000, 3));
    for digest in [digest, long] {
        let answer = server.client.get(&format!("/v2/acme/tool/blobs/{digest}")).await;
        assert_refused(&answer, 500, "INTERNAL_ERROR", "wrong bytes in far");
        assert!(!server.path(&digest).exists());
    }
}

/// P6: while far is down, what is near is served; what is not, and pushes, are to come back.
#[tokio::test]
async fn p6_pulls_go_on_while_far_is_down() {
    let server = Running::start(&[]).await;
    let near = server.client.push_artifact("acme/tool", "v1", bytes(SIZE, 4)).await;
    let small = server.push_elsewhere("acme/tool", b"small").await;
    let large = server.push_elsewhere("acme/tool", &bytes(SIZE, 5)).await;
    server.far.is_down(true);
    let pulled = server.client.get("/v2/acme/tool/manifests/v1").await;
    assert_eq!((pulled.status.as_u16(), pulled.header("docker-content-digest")), (200, near.as_str()));
    let layer = format!("/v2/acme/tool/blobs/{}", Sha256::of(&bytes(SIZE, 4)));
    assert_pulled(&server.client.get(&layer).await, &bytes(SIZE, 4));
    for digest in [small, large] {
        let answer = server.client.get(&format!("/v2/acme/tool/blobs/{digest}")).await;
        assert_refused(&answer, 503, "UNAVAILABLE", "a blob that is far only");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let digest = Sha256::of(b"new");
    let push = format!("/v2/acme/tool/blobs/uploads/?digest={digest}");
    let answer = server.client.send("POST", &push, &[], "new").await;
    assert_refused(&answer, 503, "UNAVAILABLE", "a push");
    assert_eq!(server.client.head(&format!("/v2/acme/tool/blobs/{digest}")).await.status, 404);
    // A session keeps its bytes, and is finished later with the same request.
    let session = server.client.open_session("acme/tool").await;
    assert_eq!(server.client.send("PATCH", &session, &[], "ne").await.status, 202);
    let finish = format!("{session}?digest={digest}");
    assert_eq!(server.client.send("PUT", &finish, &[], "w").await.status, 503);

    server.far.is_down(false);
    assert_eq!(server.client.send("PUT", &finish, &[], "w").await.status, 201);
    assert!(server.far.holds(&digest));
    for digest in [small, large] {
        let pull = format!("/v2/acme/tool/blobs/{digest}");
        eventually("it is served again", async || server.client.get(&pull).await.status == 200).await;
    }
}

/// P2: with `async`, a push needs near alone, and is shipped when far is back, by whichever process.
#[tokio::test]
async fn p2_an_asynchronous_push_is_shipped_later() {
    let settings = [("S3_BUCKET", "b"), ("S3_MODE", "async")];
    let server = Running::start(&settings).await;
    server.far.is_down(true);
    server.client.push_artifact("acme/tool", "v1", bytes(SIZE, 6)).await;
    eventually("the metrics tell of it", async || server.client.metrics().await["quire_outbox_blobs"] == 3.0)
        .await;
    let server = server.restart(&settings).await;
    server.far.is_down(false);
    eventually("it is shipped", async || server.far.holds(&Sha256::of(&bytes(SIZE, 6)))).await;
    eventually("the metrics tell of it", async || {
        let metrics = server.client.metrics().await;
        metrics["quire_outbox_blobs"] == 0.0 && metrics["quire_outbox_oldest_seconds"] == 0.0
    })
    .await;
}

/// P1: a near copy that turns out to be damaged is fetched again, within the same request.
#[tokio::test]
async fn p1_a_damaged_near_copy_is_replaced() {
    for (size, cut) in [(10, 10), (100_000, 99_999)] {
        let server = Running::start(&[]).await;
        let blob = bytes(size, 7);
        server.client.push_blob("acme/tool", blob.clone()).await;
        let digest = Sha256::of(&blob);
        std::fs::remove_file(server.path(&digest)).unwrap();
        std::fs::write(server.path(&digest), vec![0; cut]).unwrap();
        let pulled = server.client.get(&format!("/v2/acme/tool/blobs/{digest}")).await;
        assert_pulled(&pulled, &blob);
        eventually("near has it again", async || {
            std::fs::read(server.path(&digest)).is_ok_and(|read| read == blob)
        })
        .await;
    }
}

/// A package that another replica took in is read here, when its manifest comes and when one of its files is asked for.
#[tokio::test]
async fn packages_are_read_from_far() {
    let server = Running::start(&[]).await;
    let large = bytes(300_000, 8);
    let zip = Package::new("com.acme.tool", "1.0").file("data.bin", large.clone()).stored().bytes();
    let repository = "acme/com.acme.tool";
    server.client.push_package(repository, &zip).await;
    let digest = Sha256::of(&zip);
    let pushed = async |what: &str| {
        std::fs::remove_file(server.path(&digest)).unwrap_or_else(|error| panic!("{what}: {error}"));
        server.client.push_plugin(repository, "1.0", &zip).await
    };
    // The push of a plugin pushes its blobs as well, which brings them near again.
    assert_eq!(pushed("first").await.status, 201);
    std::fs::remove_file(server.path(&digest)).unwrap();
    let file = "/api/orgs/acme/plugins/com.acme.tool/versions/1.0/files/data.bin";
    assert_pulled(&server.client.get(file).await, &large);
    assert_eq!(server.far.fetches(), 1);
}

/// A client that goes away in the middle costs nobody else the fill.
#[tokio::test]
async fn a_client_that_goes_away_ends_no_fill() {
    let server = Running::start(&[]).await;
    let blob = bytes(SIZE, 9);
    let digest = server.push_elsewhere("acme/tool", &blob).await;
    server.far.let_through(1_000_000);
    let (mut wire, _) = begin_pull(&server, &digest, None).await;
    wire.skip(500_000).await;
    drop(wire);
    server.far.let_through(u64::MAX);
    eventually("it is kept", async || server.path(&digest).is_file()).await;
    assert_pulled(&server.client.get(&format!("/v2/acme/tool/blobs/{digest}")).await, &blob);
    assert_eq!(server.far.fetches(), 1);
}

/// P2: what is acknowledged is in far, the manifest and what it refers to.
#[tokio::test]
async fn p2_images_are_whole_in_far() {
    let server = Running::start(&[]).await;
    let config = server.client.push_blob("acme/tool", "{}").await;
    let manifest = image(&config, 2, &[]);
    assert_eq!(server.client.put_manifest("acme/tool", "v1", &manifest).await.status, 201);
    assert!(server.far.holds(&Sha256::of(b"{}")));
    assert!(server.far.holds(&Sha256::of(manifest.to_string().as_bytes())));
}
