//! The oras command: artifacts that are not images, what refers to them, and copies within the server.

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::tools::Desk;
use crate::zip;

const ARTIFACT: &str = "application/vnd.quire.test.v1";
const SIGNATURE: &str = "application/vnd.quire.test.signature.v1";

/// A server, and a desk with oras logged in and other programs, `tool.zip`, and its digest.
fn start(others: &[&str]) -> Option<(Server, Desk, Sha256)> {
    let server = Server::start(&[]);
    let desk = Desk::logged_in(&server, "oras", others)?;
    let archive = zip::stored("plugin.py", "print('hello')\n".repeat(5000).as_bytes());
    desk.write("tool.zip", &archive);
    Some((server, desk, Sha256::of(&archive)))
}

/// Pushes the archive, and returns the digest of the manifest.
fn push(desk: &Desk, target: &str) -> String {
    let options = format!("--plain-http --format json --artifact-type {ARTIFACT}");
    let pushed = desk.run_json(&format!("oras push {options} {target} tool.zip:application/zip"));
    pushed["digest"].as_str().expect("a digest").to_owned()
}

async fn tags(server: &Server, repository: &str) -> Value {
    server.admin().get(&format!("/v2/{repository}/tags/list")).await.json()["tags"].clone()
}

#[tokio::test]
async fn an_artifact_comes_back_byte_for_byte() {
    let Some((server, desk, zip)) = start(&[]) else { return };
    let target = format!("{}/acme/tool", server.address);
    let digest = push(&desk, &format!("{target}:1.0"));

    let text = desk.run(&format!("oras manifest fetch --plain-http {target}:1.0"));
    assert_eq!(Sha256::of(text.as_bytes()).to_string(), digest);
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["artifactType"], ARTIFACT);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/zip");
    assert_eq!(manifest["layers"][0]["digest"], zip.to_string());

    for (reference, folder) in [(":1.0".to_owned(), "by-tag"), (format!("@{digest}"), "by-digest")] {
        desk.run(&format!("oras pull --plain-http --output {folder} {target}{reference}"));
        assert_eq!(desk.read(&format!("{folder}/tool.zip")), desk.read("tool.zip"), "{folder}");
    }
    desk.run(&format!("oras blob fetch --plain-http --output blob {target}@{zip}"));
    assert_eq!(desk.read("blob"), desk.read("tool.zip"));
}

#[tokio::test]
async fn what_is_attached_is_found_without_a_fallback_tag() {
    let Some((server, desk, _)) = start(&[]) else { return };
    let target = format!("{}/acme/tool", server.address);
    let digest = push(&desk, &format!("{target}:1.0"));
    desk.write("seal", "a seal\n");
    desk.write("list", "a list of parts\n");
    let attach = |artifact_type: &str, file: &str| {
        let options = format!("--plain-http --format json --artifact-type {artifact_type}");
        desk.run_json(&format!("oras attach {options} {target}:1.0 {file}:text/plain"))["digest"].clone()
    };
    let seal = attach(SIGNATURE, "seal");
    attach("application/vnd.quire.test.parts.v1", "list");

    let discover = "oras discover --plain-http --distribution-spec v1.1-referrers-api --format json";
    let found = desk.run_json(&format!("{discover} {target}:1.0"));
    assert_eq!(found["digest"], digest);
    assert_eq!(found["referrers"].as_array().map(Vec::len), Some(2), "{found}");
    let found = desk.run_json(&format!("{discover} --artifact-type {SIGNATURE} {target}@{digest}"));
    let referrers = found["referrers"].as_array().expect("a list");
    assert_eq!(referrers.iter().map(|entry| &entry["digest"]).collect::<Vec<_>>(), [&seal]);
    assert_eq!(tags(&server, "acme/tool").await, json!(["1.0"]), "no tag stands for the referrers");

    let reference = format!("{target}@{}", seal.as_str().expect("a digest"));
    desk.run(&format!("oras pull --plain-http --output back {reference}"));
    assert_eq!(desk.read("back/seal"), b"a seal\n");
}

#[tokio::test]
async fn a_copy_within_the_server_sends_no_blob() {
    let Some((server, desk, _)) = start(&[]) else { return };
    let (source, target) =
        (format!("{}/acme/tool:1.0", server.address), format!("{}/other/deep/tool:2.0", server.address));
    let digest = push(&desk, &source);
    desk.write("seal", "a seal\n");
    let options = format!("--plain-http --artifact-type {SIGNATURE}");
    desk.run(&format!("oras attach {options} {source} seal:text/plain"));

    let copy = "oras copy --no-tty --recursive --from-plain-http --to-plain-http";
    let told = desk.run(&format!("{copy} {source} {target}"));
    // The archive, the empty configuration that both manifests share, and the seal.
    assert_eq!(told.matches("Mounted").count(), 3, "{told}");
    let manifests = told.lines().filter(|line| line.starts_with("Copied") && line.contains("manifest"));
    assert_eq!(manifests.count(), 2, "{told}");

    let found = desk.run_json(&format!("oras discover --plain-http --format json {target}"));
    assert_eq!(found["digest"], digest);
    assert_eq!(found["referrers"][0]["artifactType"], SIGNATURE);
    desk.run(&format!("oras pull --plain-http --output back {target}"));
    assert_eq!(desk.read("back/tool.zip"), desk.read("tool.zip"));
}

#[tokio::test]
async fn lists_show_public_and_private_repositories_to_who_is_logged_in() {
    let Some((server, desk, _)) = start(&[]) else { return };
    for name in ["system/tool:1.0", "system/tool:latest", "acme/tool:1.0"] {
        push(&desk, &format!("{}/{name}", server.address));
    }
    let tags = desk.run(&format!("oras repo tags --plain-http {}/system/tool", server.address));
    assert_eq!(tags.lines().collect::<Vec<_>>(), ["1.0", "latest"]);
    let list = format!("oras repo ls --plain-http {}", server.address);
    assert_eq!(desk.run(&list).lines().collect::<Vec<_>>(), ["acme/tool", "system/tool"]);
    desk.run(&format!("oras logout {}", server.address));
    assert_eq!(desk.run(&list).lines().collect::<Vec<_>>(), ["system/tool"]);
    desk.fail(&format!("oras repo tags --plain-http {}/acme/tool", server.address));
}

#[tokio::test]
async fn a_deleted_manifest_is_gone() {
    let Some((server, desk, _)) = start(&[]) else { return };
    let target = format!("{}/acme/tool", server.address);
    let digest = push(&desk, &format!("{target}:1.0"));
    desk.run(&format!("oras manifest delete --plain-http --force {target}@{digest}"));
    let complaint = desk.fail(&format!("oras manifest fetch --plain-http {target}:1.0"));
    assert!(complaint.contains("not found"), "{complaint}");
    assert_eq!(tags(&server, "acme/tool").await, json!([]));
}

#[test]
fn the_immutable_url_of_a_public_archive_needs_no_client_of_its_own() {
    let Some((server, desk, zip)) = start(&["curl"]) else { return };
    let fetch = |zip: &Sha256| {
        let url = server.url(&format!("/blobs/sha256/{}", zip.hex()));
        format!("curl --silent --show-error --fail --output fetched {url}")
    };
    push(&desk, &format!("{}/acme/tool:1.0", server.address));
    let complaint = desk.fail(&fetch(&zip));
    assert!(complaint.contains("401"), "a private archive: {complaint}");
    push(&desk, &format!("{}/system/tool:1.0", server.address));
    desk.run(&fetch(&zip));
    assert_eq!(desk.read("fetched"), desk.read("tool.zip"));
}
