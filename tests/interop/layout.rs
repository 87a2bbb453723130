//! OCI image layouts on disk: made with umoci out of real files, read back, and compared.

use std::collections::BTreeMap;
use std::fs;

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::tools::Desk;

/// Makes an image with two layers of files in a layout, which may exist already.
pub fn add_image(desk: &Desk, layout: &str, tag: &str, architecture: &str) {
    if !desk.path(layout).exists() {
        desk.run(&format!("umoci init --layout {layout}"));
    }
    let image = format!("{layout}:{tag}");
    desk.run(&format!("umoci new --image {image}"));
    let program = format!("#!/bin/sh\necho {architecture}\n").repeat(400);
    desk.write("files/bin/program", &program);
    desk.write("files/share/empty", "");
    desk.write("notes/read-me.txt", "Played by ear.\n");
    for (folder, target) in [("files", "/opt/tool"), ("notes", "/opt/notes")] {
        desk.run(&format!("umoci insert --rootless --image {image} {folder} {target}"));
    }
    let settings = "--config.entrypoint /opt/tool/bin/program --config.label opus=27";
    desk.run(&format!("umoci config --image {image} --architecture {architecture} {settings}"));
    desk.run(&format!("umoci gc --layout {layout}"));
}

/// The digest and media type under a tag of a layout.
pub fn tagged(desk: &Desk, layout: &str, tag: &str) -> Value {
    let index = desk.read_json(&format!("{layout}/index.json"));
    let manifests = index["manifests"].as_array().expect("a list of manifests");
    let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    manifests.iter().find(named).unwrap_or_else(|| panic!("no {tag} in {index}")).clone()
}

/// The digest under a tag of a layout.
pub fn digest(desk: &Desk, layout: &str, tag: &str) -> String {
    tagged(desk, layout, tag)["digest"].as_str().expect("a digest").to_owned()
}

/// Replaces the tags of a layout by one, for an index of everything that was tagged.
pub fn join_into_index(desk: &Desk, layout: &str, tag: &str, platforms: &[(&str, &str)]) -> String {
    let entries = platforms.iter().map(|(name, architecture)| {
        let mut entry = tagged(desk, layout, name);
        entry.as_object_mut().expect("a descriptor").remove("annotations");
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    });
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries.collect::<Vec<_>>()});
    let bytes = index.to_string();
    let sha256 = Sha256::of(bytes.as_bytes());
    desk.write(&format!("{layout}/blobs/sha256/{}", sha256.hex()), &bytes);
    let name = json!({"org.opencontainers.image.ref.name": tag});
    let (digest, size) = (sha256.to_string(), bytes.len());
    let entry = json!({"mediaType": media_type, "digest": digest, "size": size, "annotations": name});
    let root = json!({"schemaVersion": 2, "manifests": [entry]});
    desk.write(&format!("{layout}/index.json"), root.to_string());
    digest
}

/// Every blob of a layout by its name, which has to be its digest.
pub fn blobs(desk: &Desk, layout: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = fs::read_dir(desk.path(&format!("{layout}/blobs/sha256"))).expect("a folder of blobs");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a digest");
        let bytes = fs::read(entry.path()).expect("a blob");
        assert_eq!(Sha256::of(&bytes).hex(), name, "in {layout}");
        (name, bytes)
    };
    folder.map(read).collect()
}
