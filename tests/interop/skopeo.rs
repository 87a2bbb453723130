//! skopeo: images and indexes there and back, inspection, long lists of tags, deletion.

use serde_json::Value;

use crate::harness::{ADMIN_TOKEN, Server};
use crate::layout;
use crate::tools::Desk;

fn desk(server: &Server) -> Option<Desk> {
    Desk::logged_in(server, "skopeo", &["umoci"])
}

#[tokio::test]
async fn an_image_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    layout::add_image(&desk, "made", "1.0", "amd64");
    let digest = layout::digest(&desk, "made", "1.0");
    let made = layout::blobs(&desk, "made");
    assert_eq!(made.len(), 4, "a manifest, a configuration and two layers");

    let remote = format!("docker://{}/acme/image", server.address);
    desk.run(&format!("skopeo copy oci:made:1.0 {remote}:1.0"));
    let manifest = server.admin().get(&format!("/v2/acme/image/manifests/{digest}")).await;
    assert_eq!(manifest.body.as_ref(), made[digest.trim_start_matches("sha256:")], "the very bytes");

    for (reference, back) in [(":1.0".to_owned(), "by-tag"), (format!("@{digest}"), "by-digest")] {
        desk.run(&format!("skopeo copy {remote}{reference} oci:{back}:1.0"));
        assert_eq!(layout::digest(&desk, back, "1.0"), digest, "{back}");
        assert_eq!(layout::blobs(&desk, back), made, "{back}");
    }
}

#[test]
fn inspection_shows_what_was_pushed() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    layout::add_image(&desk, "made", "1.0", "arm64");
    let remote = format!("docker://{}/acme/image", server.address);
    for tag in ["1.0", "stable"] {
        desk.run(&format!("skopeo copy oci:made:1.0 {remote}:{tag}"));
    }
    let seen = desk.run_json(&format!("skopeo inspect {remote}:stable"));
    assert_eq!(seen["Digest"], layout::digest(&desk, "made", "1.0"));
    assert_eq!(seen["Architecture"], "arm64");
    assert_eq!(seen["Labels"]["opus"], "27");
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(2));
    assert_eq!(seen["RepoTags"], serde_json::json!(["1.0", "stable"]));
    let raw = desk.run(&format!("skopeo inspect --raw {remote}@{}", seen["Digest"].as_str().unwrap()));
    let made = layout::blobs(&desk, "made");
    assert!(made.values().any(|blob| blob == raw.as_bytes()), "{raw}");
}

#[test]
fn an_index_brings_all_its_images_and_one_can_be_chosen() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    let platforms = [("first", "amd64"), ("second", "arm64")];
    for (tag, architecture) in platforms {
        layout::add_image(&desk, "made", tag, architecture);
    }
    let arm = layout::digest(&desk, "made", "second");
    let index = layout::join_into_index(&desk, "made", "1.0", &platforms);
    let made = layout::blobs(&desk, "made");

    let remote = format!("docker://{}/acme/multi:1.0", server.address);
    desk.run(&format!("skopeo copy --all oci:made:1.0 {remote}"));
    desk.run(&format!("skopeo copy --all {remote} oci:back:1.0"));
    assert_eq!(layout::digest(&desk, "back", "1.0"), index);
    assert_eq!(layout::blobs(&desk, "back"), made);

    desk.run(&format!("skopeo --override-os linux --override-arch arm64 copy {remote} oci:one:1.0"));
    assert_eq!(layout::digest(&desk, "one", "1.0"), arm);
    assert_eq!(layout::blobs(&desk, "one").len(), 4, "one image only");
}

#[tokio::test]
async fn a_list_of_tags_longer_than_a_page_is_whole() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    let admin = server.admin();
    let digest = admin.push_artifact("acme/tagged", "t0000", "a layer").await;
    let path = format!("/v2/acme/tagged/manifests/{digest}");
    let manifest = admin.get(&path).await;
    let mut expected: Vec<_> = (0..1300).map(|number| format!("t{number:04}")).collect();
    for tags in expected.chunks(64) {
        let url = format!("{path}?tag={}", tags.join("&tag="));
        let media_type = [("content-type", manifest.header("content-type"))];
        let answer = admin.send("PUT", &url, &media_type, manifest.body.clone()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let first = admin.get("/v2/acme/tagged/tags/list").await;
    assert!(first.header("link").contains("rel=\"next\""), "one page is not enough: {first:?}");

    let listed = desk.run_json(&format!("skopeo list-tags docker://{}/acme/tagged", server.address));
    let mut tags: Vec<_> = listed["Tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    tags.sort_unstable();
    expected.sort_unstable();
    assert_eq!(tags, expected);
}

#[tokio::test]
async fn a_deleted_image_is_gone_with_all_its_tags() {
    let server = Server::start(&[]);
    let Some(desk) = desk(&server) else { return };
    layout::add_image(&desk, "made", "kept", "amd64");
    layout::add_image(&desk, "made", "dropped", "arm64");
    let remote = format!("docker://{}/acme/image", server.address);
    for (image, tag) in [("kept", "1.0"), ("dropped", "2.0"), ("dropped", "latest")] {
        desk.run(&format!("skopeo copy oci:made:{image} {remote}:{tag}"));
    }
    // skopeo resolves the tag, and deletes the manifest.
    desk.run(&format!("skopeo delete {remote}:2.0"));
    for reference in ["2.0", "latest", &layout::digest(&desk, "made", "dropped")] {
        let answer = server.admin().get(&format!("/v2/acme/image/manifests/{reference}")).await;
        assert_eq!(answer.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()), "{reference}");
    }
    let complaint = desk.fail(&format!("skopeo inspect {remote}:latest"));
    assert!(complaint.contains("manifest unknown"), "{complaint}");
    let left = desk.run_json(&format!("skopeo list-tags {remote}"));
    assert_eq!(left["Tags"], serde_json::json!(["1.0"]));
    desk.run(&format!("skopeo copy {remote}:1.0 oci:back:1.0"));
    assert_eq!(layout::digest(&desk, "back", "1.0"), layout::digest(&desk, "made", "kept"));
}

#[test]
fn without_the_right_credential_nothing_is_pushed() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::new(&server, &["skopeo", "umoci"]) else { return };
    layout::add_image(&desk, "made", "1.0", "amd64");
    let login = format!("skopeo login --username anyone --password-stdin {}", server.address);
    let complaint = desk.fail_with_input(&login, "not-the-token");
    assert!(complaint.contains("invalid username/password"), "{complaint}");
    for repository in ["system/image", "acme/image"] {
        let push = format!("skopeo copy oci:made:1.0 docker://{}/{repository}:1.0", server.address);
        let complaint = desk.fail(&push);
        assert!(complaint.contains("unauthorized"), "{complaint}");
        desk.run(&format!("{push} --dest-creds anyone:{ADMIN_TOKEN}"));
    }
    // What is public needs no login to be pulled.
    desk.run(&format!("skopeo copy docker://{}/system/image:1.0 oci:back:1.0", server.address));
    assert_eq!(layout::blobs(&desk, "back"), layout::blobs(&desk, "made"));
}
