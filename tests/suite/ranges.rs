//! Parts of blobs: from memory and from a file, and what is no range.

use quire::digest::Sha256;

use crate::harness::Server;

#[tokio::test]
async fn parts_of_small_and_large_blobs() {
    let server = Server::start(&[]);
    let admin = server.admin();
    // Not a multiple of anything that is read at once.
    let large: Vec<u8> = (0..5 * 1024 * 1024 + 13u32).map(|n| (n / 5) as u8).collect();
    for bytes in [large, (0..100).collect()] {
        let size = bytes.len();
        let digest = admin.push_blob("system/tool", bytes.clone()).await;
        let etag = format!("\"{digest}\"");
        for path in [
            format!("/v2/system/tool/blobs/{digest}"),
            format!("/blobs/sha256/{}", digest.trim_start_matches("sha256:")),
        ] {
            let anonymous = server.anonymous();
            for (range, first, last) in [
                ("bytes=0-0".to_owned(), 0, 0),
                ("bytes=0-49".to_owned(), 0, 49),
                ("bytes=7-".to_owned(), 7, size - 1),
                ("bytes=-1".to_owned(), size - 1, size - 1),
                ("bytes=-60".to_owned(), size - 60, size - 1),
                ("bytes=-99999999999999999999999".to_owned(), 0, size - 1),
                (format!("bytes={}-{}", size - 1, size + 9), size - 1, size - 1),
                (format!("bytes=1-{}", size - 2), 1, size - 2),
                ("bytes=1-99999999999999999999999".to_owned(), 1, size - 1),
            ] {
                for condition in [None, Some(etag.as_str())] {
                    let mut headers = vec![("range", range.as_str())];
                    headers.extend(condition.map(|etag| ("if-range", etag)));
                    let part = anonymous.send("GET", &path, &headers, "").await;
                    assert_eq!(part.status, 206, "{range}");
                    assert!(part.body == bytes[first..=last], "{range}: other bytes");
                    assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/{size}"));
                    assert_eq!(part.header("content-length"), (last - first + 1).to_string());
                    assert_eq!(part.header("etag"), etag);
                    assert_eq!(part.header("docker-content-digest"), digest, "of the whole");
                    assert_eq!(part.header("cache-control"), "public, max-age=31536000, immutable");
                }
            }
            let weak = format!("W/{etag}");
            for (what, headers) in [
                ("several ranges", vec![("range", "bytes=0-1,4-5")]),
                ("another unit", vec![("range", "pages=1-2")]),
                ("other bytes by now", vec![("range", "bytes=0-1"), ("if-range", "\"other\"")]),
                ("a weak comparison", vec![("range", "bytes=0-1"), ("if-range", &weak)]),
                ("a date", vec![("range", "bytes=0-1"), ("if-range", "Wed, 21 Oct 2015 07:28:00 GMT")]),
            ] {
                let whole = anonymous.send("GET", &path, &headers, "").await;
                assert_eq!(whole.status, 200, "{what}");
                assert!(whole.body == bytes, "{what}: other bytes");
                assert_eq!(whole.header("content-range"), "", "{what}");
            }
            for range in [format!("bytes={size}-"), "bytes=-0".to_owned(), "bytes=5-4".to_owned()] {
                let refused = anonymous.send("GET", &path, &[("range", &range)], "").await;
                assert_eq!(refused.status, 416, "{range}");
                assert_eq!(refused.header("content-range"), format!("bytes */{size}"), "{range}");
                assert_eq!(refused.header("cache-control"), "no-store", "{range}");
            }
            // RFC 9110 has ranges for GET alone.
            let head = anonymous.send("HEAD", &path, &[("range", "bytes=0-1")], "").await;
            assert_eq!((head.status.as_u16(), head.header("content-length")), (200, &*size.to_string()));
        }
    }
}

#[tokio::test]
async fn the_parts_make_the_whole() {
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n / 11) as u8).collect();
    let digest = server.admin().push_blob("system/tool", bytes.clone()).await;
    let path = format!("/v2/system/tool/blobs/{digest}");
    let mut whole = Vec::new();
    while whole.len() < bytes.len() {
        let range = format!("bytes={}-{}", whole.len(), whole.len() + 123_456);
        let part = server.anonymous().send("GET", &path, &[("range", &range)], "").await;
        assert_eq!(part.status, 206);
        whole.extend_from_slice(&part.body);
    }
    assert_eq!(Sha256::of(&whole).to_string(), digest);
}

#[tokio::test]
async fn an_empty_blob_has_no_parts() {
    let server = Server::start(&[]);
    let digest = server.admin().push_blob("system/tool", "").await;
    let path = format!("/v2/system/tool/blobs/{digest}");
    let whole = server.anonymous().get(&path).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-length")), (200, "0"));
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let refused = server.anonymous().send("GET", &path, &[("range", range)], "").await;
        assert_eq!((refused.status.as_u16(), refused.header("content-range")), (416, "bytes */0"), "{range}");
    }
}
