//! A layer of one gibibyte, there and back: what it costs the server in memory, and what it leaves behind.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::Path;

use quire::digest::{Algorithm, Hasher, Sha256};
use serde_json::json;

use crate::harness::Server;
use crate::tools::Desk;

const MEBIBYTE: usize = 1 << 20;
const SIZE_IN_MEBIBYTES: u32 = 1024;
const MEMORY_IN_KIBIBYTES: u64 = 150 << 10;

/// Writes the layer, no two mebibytes of it alike, and returns its digest.
fn generate(path: &Path) -> Sha256 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut block: Vec<u8> = (0..MEBIBYTE / 8).flat_map(|_| next()).collect();
    let mut file = File::create(path).expect("a file");
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for number in 0..SIZE_IN_MEBIBYTES {
        block[..4].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).expect("room on the disk");
        hasher.update(&block);
    }
    hasher.finish().sha256
}

/// The digest of a file, read in parts.
fn hash(path: &Path) -> Sha256 {
    let mut file = BufReader::with_capacity(MEBIBYTE, File::open(path).expect("a file"));
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut block = vec![0; MEBIBYTE];
    loop {
        let count = file.read(&mut block).expect("bytes");
        if count == 0 {
            return hasher.finish().sha256;
        }
        hasher.update(&block[..count]);
    }
}

/// Asserts what the server needed at most, and that no upload left anything.
fn assert_frugal(server: &Server, what: &str) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a running server");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("kibibytes");
    println!("{what}: at most {} MiB in memory", peak >> 10);
    assert!(peak < MEMORY_IN_KIBIBYTES, "{what}: {peak} KiB");
    let staging = fs::read_dir(server.data.join("staging")).expect("the staging folder");
    let left: Vec<_> = staging.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.is_empty(), "{what}: {left:?}");
}

/// oras sends a blob as one request of known length.
#[test]
fn a_gibibyte_in_one_request_needs_little_memory() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let server = Server::start_in(room.path(), &[]);
    let Some(desk) = Desk::logged_in(&server, "oras", &[]) else { return };
    let layer = generate(&desk.path("layer"));
    let target = format!("{}/acme/large:1.0", server.address);
    desk.run(&format!("oras push --no-tty --plain-http {target} layer:application/octet-stream"));
    fs::remove_file(desk.path("layer")).expect("the file");
    assert_frugal(&server, "pushed by oras");
    desk.run(&format!("oras pull --no-tty --plain-http --output back {target}"));
    assert_eq!(hash(&desk.path("back/layer")), layer);
    assert_frugal(&server, "pulled by oras");
}

/// skopeo compresses as it goes: it opens a session and streams into it, and can't say how much will come.
#[tokio::test]
async fn a_gibibyte_in_a_stream_of_unknown_length_needs_little_memory() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let server = Server::start_in(room.path(), &[]);
    let Some(desk) = Desk::logged_in(&server, "skopeo", &[]) else { return };
    let layer = write_image(&desk, "made");
    let target = format!("docker://{}/acme/large:1.0", server.address);
    desk.run(&format!("skopeo copy dir:made {target}"));
    let pushed = server.admin().get("/v2/acme/large/manifests/1.0").await.json()["layers"][0].clone();
    assert_eq!(
        pushed["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip",
        "its length was not known"
    );
    assert!(pushed["size"].as_u64() > Some(1 << 29), "compression leaves it large: {pushed}");
    fs::remove_dir_all(desk.path("made")).expect("the folder");
    assert_frugal(&server, "pushed by skopeo");
    desk.run(&format!("skopeo copy --dest-decompress {target} dir:back"));
    assert_eq!(hash(&desk.path(&format!("back/{}", layer.hex()))), layer);
    assert_frugal(&server, "pulled by skopeo");
}

/// Writes an image with the layer as skopeo's `dir:` has it, and returns the layer's digest.
fn write_image(desk: &Desk, folder: &str) -> Sha256 {
    fs::create_dir(desk.path(folder)).expect("a folder");
    let unnamed = desk.path(&format!("{folder}/layer"));
    let layer = generate(&unnamed);
    fs::rename(&unnamed, desk.path(&format!("{folder}/{}", layer.hex()))).expect("a name");
    let root = json!({"type": "layers", "diff_ids": [layer.to_string()]});
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": root}).to_string();
    let config_digest = Sha256::of(config.as_bytes());
    desk.write(&format!("{folder}/{}", config_digest.hex()), &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest.to_string(),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.to_string(),
            "size": u64::from(SIZE_IN_MEBIBYTES) << 20,
        }],
    });
    desk.write(&format!("{folder}/manifest.json"), manifest.to_string());
    desk.write(&format!("{folder}/version"), "Directory Transport Version: 1.1\n");
    layer
}
