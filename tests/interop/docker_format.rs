//! Images in Docker's own format, from before there was OCI.

use crate::harness::Server;
use crate::layout;
use crate::tools::Desk;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

#[tokio::test]
async fn an_image_in_docker_format_comes_back_unchanged() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::logged_in(&server, "skopeo", &["umoci"]) else { return };
    layout::add_image(&desk, "made", "1.0", "amd64");
    let remote = format!("docker://{}/acme/docker:1.0", server.address);
    desk.run(&format!("skopeo copy --format v2s2 oci:made:1.0 {remote}"));

    let answer = server.admin().get("/v2/acme/docker/manifests/1.0").await;
    assert_eq!(answer.header("content-type"), MANIFEST);
    let manifest = answer.json();
    assert_eq!(manifest["mediaType"], MANIFEST);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");

    desk.run(&format!("skopeo copy {remote} dir:plain"));
    assert_eq!(desk.read("plain/manifest.json"), answer.body);
    let made = layout::blobs(&desk, "made");
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 2);
    for layer in layers {
        assert_eq!(layer["mediaType"], LAYER);
        let hex = layer["digest"].as_str().expect("a digest").trim_start_matches("sha256:");
        assert_eq!(desk.read(&format!("plain/{hex}")), made[hex], "the layer of the original");
    }
}

#[tokio::test]
async fn a_manifest_list_of_docker_brings_all_its_images() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::logged_in(&server, "skopeo", &["umoci"]) else { return };
    let platforms = [("first", "amd64"), ("second", "arm64")];
    for (tag, architecture) in platforms {
        layout::add_image(&desk, "made", tag, architecture);
    }
    layout::join_into_index(&desk, "made", "1.0", &platforms);
    let remote = format!("docker://{}/acme/docker:1.0", server.address);
    desk.run(&format!("skopeo copy --all --format v2s2 oci:made:1.0 {remote}"));

    let list = server.admin().get("/v2/acme/docker/manifests/1.0").await;
    assert_eq!(list.header("content-type"), LIST);
    let entries = list.json()["manifests"].as_array().expect("manifests").clone();
    assert_eq!(entries.len(), 2);
    desk.run(&format!("skopeo copy --all {remote} dir:plain"));
    assert_eq!(desk.read("plain/manifest.json"), list.body);
    for entry in entries {
        let digest = entry["digest"].as_str().expect("a digest");
        let answer = server.admin().get(&format!("/v2/acme/docker/manifests/{digest}")).await;
        assert_eq!(answer.header("content-type"), MANIFEST);
        let name = format!("plain/{}.manifest.json", digest.trim_start_matches("sha256:"));
        assert_eq!(desk.read(&name), answer.body);
    }
}
