//! A real S3 server, SeaweedFS, started once for the test process and ended with it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use quire::blob::s3::{CredentialSource, S3Settings};

/// The bucket that all tests share; each has a prefix of its own.
pub const BUCKET: &str = "quire-tests";
pub const KEY_ID: &str = "quire-test-key";
pub const SECRET: &str = "quire-test-secret";

/// A running server.
pub struct Seaweed {
    pub address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    /// Its input stays open for as long as this process lives.
    _watcher: Child,
}

/// The server of this process, or `None` where it is not installed: that is told, and a failure under `CI=true`.
pub fn seaweed() -> Option<&'static Seaweed> {
    static SERVER: OnceLock<Option<Seaweed>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

impl Seaweed {
    /// Settings with a prefix that no other test has.
    pub fn settings(&self) -> S3Settings {
        let prefix = format!("{}/", uuid::Uuid::now_v7());
        settings(self.address, &prefix)
    }

    /// The plain SDK, to look at what stands in the bucket.
    pub fn client(&self) -> Client {
        client(self.address)
    }

    /// Blocks until a future of the harness is done, on a runtime that outlives every test.
    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.runtime.spawn(async move { sender.send(future.await) });
        receiver.recv().expect("a result")
    }
}

/// Settings for a server on loopback.
pub fn settings(address: SocketAddr, prefix: &str) -> S3Settings {
    S3Settings {
        bucket: BUCKET.to_owned(),
        endpoint: Some(format!("http://{address}")),
        region: None,
        prefix: prefix.to_owned(),
        path_style: None,
        checksums: true,
        connect_timeout: Duration::from_secs(3),
        stall_timeout: Duration::from_secs(20),
    }
}

/// The credentials that the server knows.
pub fn credentials() -> CredentialSource {
    CredentialSource::Fixed { key_id: KEY_ID.to_owned(), secret: SECRET.to_owned() }
}

/// The plain SDK for a server on loopback.
pub fn client(address: SocketAddr) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(KEY_ID, SECRET, None, None, "test"));
    Client::from_conf(config.build())
}

fn start() -> Option<Seaweed> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/weed");
    if !program.is_file() {
        let text = "SKIPPED tests with an S3 server: run tests/install-tools.sh";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
        println!("{text}");
        return None;
    }
    // Another process may take a port between its being found free and its being bound.
    Some((0..3).find_map(|_| try_start(&program)).expect("an S3 server that starts"))
}

fn try_start(program: &Path) -> Option<Seaweed> {
    let (address, watcher) = spawn(program);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let server = Seaweed { address, runtime: runtime.expect("a runtime"), _watcher: watcher };
    let client = server.client();
    // The port listens before the server behind it has found its parts.
    let made = server.block_on(async move {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if client.create_bucket().bucket(BUCKET).send().await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    });
    if made {
        return Some(server);
    }
    // A runtime must not be waited for on a thread of another one.
    server.runtime.shutdown_background();
    None
}

/// Starts the server behind a shell that waits for the end of its input, which comes when this process ends in
/// whatever way, and then ends the server by its pid and removes its folder.
/// Keys that end the tests from a terminal reach the shell, too, so it does not hear them.
fn spawn(program: &Path) -> (SocketAddr, Child) {
    const WATCHER: &str = r#"trap '' INT TERM HUP; folder="$1"; shift; "$@" & pid=$!; cat >/dev/null; kill -9 "$pid"; wait "$pid"; rm -rf "$folder""#;
    let folder = tempfile::Builder::new().prefix("quire-seaweed-").tempdir().expect("a folder").keep();
    let identity = serde_json::json!({"identities": [{
        "name": "tests",
        "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }]});
    let config = folder.join("s3.json");
    std::fs::write(&config, identity.to_string()).expect("a file");
    let ports = free_ports(8);
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let mut command = Command::new("sh");
    command.args(["-c", WATCHER, "sh"]).arg(&folder).arg(program).arg("server");
    command.arg(format!("-dir={}", folder.display())).arg(format!("-s3.config={}", config.display()));
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-master.telemetry=false"]);
    command.args([
        "-master.volumeSizeLimitMB=128",
        "-volume.max=200",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]);
    let names = ["s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc"];
    for (name, port) in names.iter().zip(&ports) {
        let flag = match name.split_once('.') {
            None => format!("-{name}.port={port}"),
            Some((name, kind)) => format!("-{name}.port.{kind}={port}"),
        };
        command.arg(flag);
    }
    // What it is told by its surroundings would come in between.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &folder);
    let log_too = log.try_clone().expect("a file");
    let child = command.stdin(Stdio::piped()).stdout(log).stderr(log_too).spawn().expect("a shell");
    (SocketAddr::from(([127, 0, 0, 1], ports[0])), child)
}

/// Ports that are free at the same time.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address").port()).collect()
}
