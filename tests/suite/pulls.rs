//! Pulling: immutable URLs, caching headers, conditions, and what a warm pull costs.

use crate::harness::Server;

/// P5, P6: with the caches warm a pull by digest touches neither database nor disk.
#[tokio::test]
async fn a_warm_pull_by_digest_touches_neither_database_nor_disk() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let layer = vec![7; 5000];
    let manifest = admin.push_artifact("system/tool", "1.0", layer.clone()).await;
    let blob = quire::digest::Sha256::of(&layer).to_string();
    let hex = blob.trim_start_matches("sha256:");
    let paths = [
        format!("/blobs/sha256/{hex}"),
        format!("/v2/system/tool/blobs/{blob}"),
        format!("/v2/system/tool/manifests/{manifest}"),
    ];
    let anonymous = server.anonymous();
    let work = async || {
        let metrics = admin.metrics().await;
        let sum = |name: &str| metrics.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, v)| v).sum();
        let (database, disk): (f64, f64) =
            (sum("quire_metadata_operations_total"), sum("quire_blob_store_operations_total"));
        (database, disk)
    };
    let cold = work().await;
    for path in &paths {
        assert_eq!(anonymous.get(path).await.status, 200, "{path}");
    }
    let warm = work().await;
    assert!(warm.0 > cold.0 && warm.1 > cold.1, "the counters count: {cold:?} {warm:?}");
    for path in &paths {
        for _ in 0..3 {
            let answer = anonymous.get(path).await;
            assert_eq!(answer.status, 200);
            let etag = answer.header("etag").to_owned();
            let again = anonymous.send("GET", path, &[("if-none-match", &etag)], "").await;
            assert_eq!(again.status, 304, "{path}");
            assert_eq!(anonymous.head(path).await.status, 200, "{path}");
        }
    }
    assert_eq!(work().await, warm, "database and disk were not asked again");
}
