//! Servers as processes of their own in front of S3: killed, started without credentials, grown from a folder alone.
//!
//! The stub runs beside the thread that waits for a server's start, so every test has two threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quire::blob::s3::Operation;
use quire::digest::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::bytes;
use crate::crash::{Attempts, push_until_killed, verify};
use crate::disk::{self, eventually};
use crate::harness::s3_stub::{Fault, Manners, Seen, Stub};
use crate::harness::seaweed::{BUCKET, KEY_ID, SECRET, seaweed};
use crate::harness::{ADMIN_TOKEN, Client, Server, image};
use crate::wire::Wire;

const MIB: usize = 1024 * 1024;

/// Variables of a server in front of S3 at an address.
struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    fn new(address: std::net::SocketAddr, mode: &str) -> Self {
        let nowhere = || "/dev/null".to_owned();
        Self(BTreeMap::from([
            ("S3_BUCKET", BUCKET.to_owned()),
            ("S3_ENDPOINT", format!("http://{address}")),
            ("S3_PREFIX", format!("{}/", uuid::Uuid::now_v7())),
            ("S3_MODE", mode.to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", nowhere()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere()),
        ]))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.insert(name, value.to_owned());
        self
    }

    fn without_credentials(mut self) -> Self {
        self.0.retain(|name, _| !["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(name));
        self
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn key(&self, digest: &Sha256) -> String {
        format!("{}blobs/sha256/{}", self.0["S3_PREFIX"], digest.hex())
    }
}

fn near(server: &Server, digest: &Sha256) -> std::path::PathBuf {
    let hex = digest.hex();
    server.data.join("blobs/sha256").join(&hex[..2]).join(&hex)
}

fn outbox(server: &Server) -> usize {
    fs::read_dir(server.data.join("outbox")).expect("a folder").count()
}

/// P2: whenever a server is killed, what it acknowledged is there, from the bucket alone in the end.
async fn killed_again_and_again(mode: &str) {
    let stub = Stub::start(Manners::default()).await;
    let settings = Settings::new(stub.address, mode);
    let folder = tempfile::tempdir().expect("a folder");
    let attempts = Attempts::default();
    for round in 0..3u64 {
        let mut server = Server::start_in(folder.path(), &settings.pairs());
        let mut clients = JoinSet::new();
        for number in 0..4 {
            clients.spawn(push_until_killed(server.admin(), round, number, Arc::clone(&attempts)));
        }
        let done = || attempts.lock().unwrap().values().filter(|(_, done)| *done).count();
        let enough = done() + 3;
        eventually("some are acknowledged", async || done() >= enough).await;
        tokio::time::sleep(Duration::from_millis((round * 37) % 50)).await;
        server.kill();
        while let Some(client) = clients.join_next().await {
            client.expect("a client that did not panic");
        }
    }
    let mut server = Server::start_in(folder.path(), &settings.pairs());
    let (acknowledged, _) = verify(&server.anonymous(), &attempts).await;
    assert!(acknowledged > 0);
    eventually("everything is shipped", async || outbox(&server) == 0).await;
    server.kill();
    for file in disk::blobs(&server) {
        fs::remove_file(file).expect("a file");
    }
    let server = Server::start_in(folder.path(), &settings.pairs());
    assert_eq!(verify(&server.anonymous(), &attempts).await.0, acknowledged);
}

/// P2: with `required`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_kill_loses_nothing_that_far_acknowledged() {
    killed_again_and_again("required").await;
}

/// P2: with `async`, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_kill_loses_nothing_that_near_acknowledged() {
    killed_again_and_again("async").await;
}

/// P2: a server that is killed between near and far has acknowledged nothing, and the push can be repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_kill_between_near_and_far() {
    let stub = Stub::start(Manners::default()).await;
    for mode in ["required", "auto"] {
        let settings = Settings::new(stub.address, mode);
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::start_in(folder.path(), &settings.pairs());
        stub.fail_times(10, Operation::Put, Fault::HangBeforeBody);
        let (blob, client) = (bytes(100_000, 1), server.admin());
        let digest = Sha256::of(&blob);
        let path = format!("/v2/acme/tool/blobs/uploads/?digest={digest}");
        let push = tokio::spawn({
            let (path, blob) = (path.clone(), blob.clone());
            async move { client.try_send("POST", &path, &[], blob).await }
        });
        eventually("near has it", async || near(&server, &digest).is_file()).await;
        eventually("far was asked", async || {
            stub.seen()
                .iter()
                .any(|seen| seen.operation == Operation::Put && seen.key == settings.key(&digest))
        })
        .await;
        server.kill();
        assert!(push.await.expect("a client").is_none(), "nothing was acknowledged");
        stub.heal();
        let server = Server::start_in(folder.path(), &settings.pairs());
        let pull = format!("/v2/acme/tool/blobs/{digest}");
        assert_eq!(server.admin().get(&pull).await.status, 404);
        assert_eq!(server.admin().send("POST", &path, &[], blob.clone()).await.status, 201);
        assert!(stub.object(&settings.key(&digest)).expect("an object") == blob);
    }
}

/// P2: with `async`, each acknowledged push is noted before, and shipped by whichever process finds the note.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_killed_server_leaves_its_outbox() {
    let stub = Stub::start(Manners::default()).await;
    let settings = Settings::new(stub.address, "async");
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &settings.pairs());
    stub.set_manners(|manners| manners.denies = Some((Operation::Put, 503, "SlowDown")));
    let admin = server.admin();
    let config = admin.push_blob("acme/tool", "{}").await;
    for n in 0..5 {
        let layer = bytes(200_000, n);
        let digest = admin.push_blob("acme/tool", layer.clone()).await;
        let manifest = image(&config, 2, &[(&digest, layer.len())]);
        assert_eq!(admin.put_manifest("acme/tool", &format!("v{n}"), &manifest).await.status, 201);
    }
    server.kill();
    assert_eq!(outbox(&server), 11);
    stub.set_manners(|manners| manners.denies = None);
    let server = Server::start_in(folder.path(), &settings.pairs());
    eventually("all is shipped", async || outbox(&server) == 0).await;
    for n in 0..5 {
        let layer = bytes(200_000, n);
        assert!(stub.object(&settings.key(&Sha256::of(&layer))).expect("an object") == layer);
    }
}

/// What a server says that does not start, with its exit code.
fn refused_start(folder: &Path, settings: &Settings) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    for (name, value) in settings.pairs() {
        let own = if name.starts_with("AWS_") { name.to_owned() } else { format!("QUIRE_{name}") };
        command.env(own, value);
    }
    let output = command.output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Without credentials that work, `auto` says what it skips and goes on alone; `required` does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_credentials_keeps_its_folder() {
    let stub = Stub::start(Manners::default()).await;
    for refuses in [false, true] {
        let settings = |mode: &str| {
            let settings = Settings::new(stub.address, mode);
            if refuses { settings } else { settings.without_credentials() }
        };
        if refuses {
            stub.set_manners(|manners| manners.denies = Some((Operation::Put, 403, "InvalidAccessKeyId")));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start_logging_in(folder.path(), &settings("auto").pairs());
        let log = fs::read_to_string(folder.path().join("log")).expect("a log");
        let warned = log.lines().find(|line| line.contains("S3 is skipped")).expect("a warning");
        assert!(warned.contains("WARN") && warned.contains(BUCKET), "{warned}");
        let digest = server.admin().push_artifact("acme/tool", "v1", "layer").await;
        assert_eq!(
            server.admin().get("/v2/acme/tool/manifests/v1").await.header("docker-content-digest"),
            digest
        );

        for mode in ["required", "async"] {
            let folder = tempfile::tempdir().expect("a folder");
            let (code, said) = refused_start(folder.path(), &settings(mode));
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(BUCKET), "{said}");
        }
    }
    assert!(stub.keys().iter().all(|key| !key.contains("blobs/")));
}

/// A bucket that is merely down never makes a server go alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_waits_for_a_bucket_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let settings = Settings::new(address, "auto").with("S3_TIMEOUT", "2");
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_logging_in(folder.path(), &settings.pairs());
    let push = format!("/v2/acme/tool/blobs/uploads/?digest={}", Sha256::of(b"x"));
    let answer = server.admin().send("POST", &push, &[], "x").await;
    assert_eq!(answer.refusal(), (503, "UNAVAILABLE".to_owned()));
    assert_eq!(server.admin().get("/readyz").await.status, 200);
    let stub = Stub::on(TcpListener::bind(address).await.expect("the same port"), Manners::default());
    eventually("pushes are taken", async || server.admin().send("POST", &push, &[], "x").await.status == 201)
        .await;
    assert!(stub.object(&settings.key(&Sha256::of(b"x"))).is_some());
}

/// One command, one folder; later one variable, and a real bucket has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_grows_into_a_bucket() {
    let Some(seaweed) = seaweed() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let layer = bytes(3_000_000, 1);
    let manifest = server.admin().push_artifact("acme/tool", "v1", layer.clone()).await;
    server.kill();
    let settings = Settings::new(seaweed.address, "auto").with("READY", "all");
    let mut server = Server::start_in(folder.path(), &settings.pairs());
    let synced = |phase: &'static str, server: &Server| {
        let client = server.admin();
        async move {
            eventually("the sync is done", async || {
                let answer = client.send("GET", "/readyz", &[("accept", "application/json")], "").await;
                answer.status == 200 && answer.json()["sync"]["phase"] == phase
            })
            .await;
        }
    };
    synced("done", &server).await;
    server.kill();
    for file in disk::blobs(&server) {
        fs::remove_file(file).expect("a file");
    }
    let server = Server::start_in(folder.path(), &settings.pairs());
    let pulled = server.admin().get(&format!("/v2/acme/tool/blobs/{}", Sha256::of(&layer))).await;
    assert!(pulled.status == 200 && pulled.body == layer);
    let tag = server.admin().get("/v2/acme/tool/manifests/v1").await;
    assert_eq!(tag.header("docker-content-digest"), manifest);
    synced("done", &server).await;
}

/// Kilobytes of a process, by the kernel's name for them.
fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Memory stays flat while sixteen clients push and then pull large blobs, half a gibibyte each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_between_near_and_far() {
    const LARGE: usize = 32 * MIB;
    let stub = Stub::start(Manners::default()).await;
    let settings = Settings::new(stub.address, "required").with("SYNC_FETCHES", "0");
    let server = Server::start(&settings.pairs());
    let base = bytes(LARGE, 1);
    let blobs: Vec<bytes::Bytes> = (0..8u8)
        .map(|n| {
            let mut blob = base.clone();
            blob[0] ^= n;
            blob.into()
        })
        .collect();
    let digests: Vec<Sha256> = blobs.iter().map(|blob| Sha256::of(blob)).collect();
    server.admin().push_blob("acme/tool", "warm").await;
    let before = memory(server.pid(), "VmRSS");
    let mut pushes = JoinSet::new();
    for client in 0..16 {
        let (admin, blob) = (Client::new(server.address, Some(ADMIN_TOKEN)), blobs[client % 8].clone());
        pushes.spawn(async move { admin.push_blob(&format!("acme/r{client}"), blob).await });
    }
    while let Some(push) = pushes.join_next().await {
        push.expect("a push");
    }
    let pushed = memory(server.pid(), "VmHWM").saturating_sub(before);
    for digest in &digests {
        fs::remove_file(near(&server, digest)).expect("a near copy");
    }
    let mut pulls = JoinSet::new();
    for client in 0..16 {
        let (address, digest) = (server.address, digests[client % 8]);
        pulls.spawn(async move {
            let mut wire = Wire::to(address).await;
            let authorization = format!("Bearer {ADMIN_TOKEN}");
            let headers = [("authorization", authorization.as_str())];
            wire.head(&format!("GET /v2/acme/r{client}/blobs/{digest}"), &headers).await;
            assert!(wire.head_of_answer().await.starts_with("HTTP/1.1 200"));
            for _ in 0..LARGE / MIB {
                wire.skip(MIB).await;
            }
        });
    }
    while let Some(pull) = pulls.join_next().await {
        pull.expect("a pull");
    }
    let pulled = memory(server.pid(), "VmHWM").saturating_sub(before);
    println!("{pushed} kB more after the pushes, {pulled} kB after the pulls");
    assert!(pulled < 128 * 1024, "{pushed} kB more after the pushes, {pulled} kB after the pulls");
    let is_fetch = |seen: &&Seen| seen.operation == Operation::Get && seen.key.contains("/blobs/");
    assert_eq!(stub.seen().iter().filter(is_fetch).count(), 8, "one fetch for each blob");
}
