//! The two kinds of load: `wrk` for pulls, and blocking clients of our own for pushes.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quire::digest::Sha256;

use super::connection::{Answer, Connection};
use super::servers::TOKEN;

/// Connections of the pulls.
const PULL_CONNECTIONS: &str = "16";
/// No two pushed blobs are the same, whichever server they go to.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Repeats one GET, and returns the requests per second. `wrk` stays on the core of this process.
pub fn pull(address: SocketAddr, path: &str, headers: &[(&str, String)], seconds: u64) -> io::Result<f64> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c", PULL_CONNECTIONS, &format!("-d{seconds}s")]);
    for (name, value) in headers {
        wrk.args(["-H", &format!("{name}: {value}")]);
    }
    wrk.arg(format!("http://{address}{path}"));
    let output = wrk.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.contains("Non-2xx") || text.contains("Socket errors");
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    match rate {
        Some(rate) if output.status.success() && !failed => Ok(rate),
        _ => Err(io::Error::other(format!("{path}: {text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// How a blob is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// POST, then PUT with the bytes.
    Session,
    /// One POST with the bytes.
    Whole,
}

/// A stream of pushes, each of a blob that the server has never seen.
#[derive(Debug, Clone, Copy)]
pub struct Pushes {
    pub address: SocketAddr,
    pub flow: Flow,
    pub bytes: usize,
    pub clients: usize,
}

impl Pushes {
    /// Pushes per second. Only the time inside of requests counts, not the making and hashing of the bytes.
    pub fn run(&self, duration: Duration) -> io::Result<f64> {
        // What the server before this one has left to write is not this one's work.
        rustix::fs::sync();
        let end = Instant::now() + duration;
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(move || self.client(end))).collect();
            let rates = clients.into_iter().map(|client| {
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client ended in a panic")))
            });
            rates.sum()
        })
    }

    fn client(&self, end: Instant) -> io::Result<f64> {
        let mut connection = Connection::open(self.address)?;
        let mut bytes = noise(self.bytes);
        let mut busy = Duration::ZERO;
        let mut pushed = 0.0;
        while Instant::now() < end {
            bytes[..8].copy_from_slice(&SERIAL.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            let digest = Sha256::of(&bytes).to_string();
            let started = Instant::now();
            push(&mut connection, self.flow, &digest, &bytes)?;
            busy += started.elapsed();
            pushed += 1.0;
        }
        Ok(pushed / busy.as_secs_f64())
    }
}

/// Pushes one blob to the repository of the bench.
pub fn push(connection: &mut Connection, flow: Flow, digest: &str, bytes: &[u8]) -> io::Result<()> {
    const UPLOADS: &str = "/v2/system/bench/blobs/uploads/";
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/octet-stream")];
    let pushed = match flow {
        Flow::Whole => connection.request("POST", &format!("{UPLOADS}?digest={digest}"), &headers, bytes)?,
        Flow::Session => {
            let opened = connection.request("POST", UPLOADS, &headers[..1], &[])?;
            let location = check(opened, 202)?.location;
            let location = location.ok_or_else(|| io::Error::other("an upload without a Location"))?;
            let separator = if location.contains('?') { '&' } else { '?' };
            connection.request("PUT", &format!("{location}{separator}digest={digest}"), &headers, bytes)?
        }
    };
    check(pushed, 201).map(drop)
}

/// Pushes a manifest under a tag.
pub fn push_manifest(
    connection: &mut Connection,
    tag: &str,
    media_type: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", media_type)];
    let path = format!("/v2/system/bench/manifests/{tag}");
    check(connection.request("PUT", &path, &headers, bytes)?, 201).map(drop)
}

fn check(answer: Answer, status: u16) -> io::Result<Answer> {
    if answer.status == status {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&answer.body);
    Err(io::Error::other(format!("{} where {status} was expected: {text}", answer.status)))
}

/// A private copy of a blob in an organisation of its own, and the credentials of somebody who may pull it:
/// an API token, and the short token that a client gets for it.
pub fn private_copy(connection: &mut Connection, digest: &str, bytes: &[u8]) -> io::Result<[String; 2]> {
    let admin = format!("Bearer {TOKEN}");
    let mut send = |method, path: &str, credential: &str, body: &[u8], status| {
        check(connection.request(method, path, &[("Authorization", credential)], body)?, status)
    };
    send("POST", "/api/orgs", &admin, br#"{"id": "acme"}"#, 201)?;
    send("POST", &format!("/v2/acme/bench/blobs/uploads/?digest={digest}"), &admin, bytes, 201)?;
    let body = br#"{"name": "bench", "grants": [{"catalog": "acme", "role": "orchestrator"}]}"#;
    let token = member(&send("POST", "/api/tokens", &admin, body, 201)?.body)?;
    let path = "/token?service=quire&scope=repository:acme/bench:pull";
    let short = member(&send("GET", path, &format!("Bearer {token}"), &[], 200)?.body)?;
    Ok([token, short])
}

/// The member `token` of an answer.
fn member(body: &[u8]) -> io::Result<String> {
    let body: serde_json::Value = serde_json::from_slice(body)?;
    let token = body["token"].as_str().ok_or_else(|| io::Error::other("an answer without a token"))?;
    Ok(token.to_owned())
}

/// Bytes that do not compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; length];
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[4];
    }
    bytes
}
