//! What plugins cost beside plain blobs: reading a package that comes in, and lists of a large catalog.

use std::io::{self, Cursor, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quire::digest::Sha256;
use serde_json::json;
use zip::write::SimpleFileOptions;

use super::catalog::{self, ORGANISATION, PLUGINS};
use super::connection::{Answer, Connection};
use super::load::{Flow, noise, pull, push};
use super::rounds::{Contender, Row, Workload};
use super::servers::{Server, TOKEN};

/// Seconds of one measurement.
const SECONDS: u64 = 1;
/// Files of the package that is uploaded, and bytes of each.
const FILES: usize = 300;
const FILE: usize = 17_000;
/// Plugins on a page.
const PAGE: u32 = 50;
/// Asking again is as cheap as asking again for a manifest.
const AGAINST_MANIFEST: Option<f64> = Some(0.95);

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A server with a large catalog.
pub fn start(folder: &Path) -> io::Result<Server> {
    {
        let server = Server::quire(folder)?;
        let headers = [("Authorization", authorization())];
        let body = json!({ "id": ORGANISATION }).to_string();
        let mut connection = Connection::open(server.address)?;
        expect(&connection.request("POST", "/api/orgs", &borrowed(&headers), body.as_bytes())?, 201)?;
    }
    catalog::seed(&folder.join("quire.db"))?;
    Server::quire(folder)
}

fn authorization() -> String {
    format!("Bearer {TOKEN}")
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn expect(answer: &Answer, status: u16) -> io::Result<()> {
    match answer.status == status {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{} where {status} was expected: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ))),
    }
}

/// One client uploads packages of 5 MB with 300 files, or pushes as many bytes as a blob.
pub fn uploads(server: &Server) -> Workload {
    let address = server.address;
    let contenders = vec![
        Contender::new("as a plugin", move || {
            repeat(address, |connection, zip| {
                let headers =
                    [("Authorization", authorization()), ("Content-Type", "application/zip".to_owned())];
                let answer =
                    connection.request("POST", "/api/admin/plugins/upload", &borrowed(&headers), zip)?;
                expect(&answer, 201)
            })
        }),
        Contender::new("as a blob", move || {
            repeat(address, |connection, zip| {
                push(connection, Flow::Session, &Sha256::of(zip).to_string(), zip)
            })
        }),
    ];
    let rows = vec![Row { ours: "as a plugin", peer: "as a blob", goal: None }];
    Workload { name: "upload 5 MB, 300 files", contenders, rows }
}

/// Uploads per second. Only the time inside of requests counts, not the making of packages.
fn repeat(address: SocketAddr, send: impl Fn(&mut Connection, &[u8]) -> io::Result<()>) -> io::Result<f64> {
    rustix::fs::sync();
    let mut connection = Connection::open(address)?;
    let (mut busy, mut sent) = (Duration::ZERO, 0.0);
    while busy < Duration::from_secs(SECONDS) {
        let zip = package(SERIAL.fetch_add(1, Ordering::Relaxed))?;
        let started = Instant::now();
        send(&mut connection, &zip)?;
        busy += started.elapsed();
        sent += 1.0;
    }
    Ok(sent / busy.as_secs_f64())
}

/// No two are the same: each is a version of its own.
fn package(serial: u64) -> io::Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_level(Some(1));
    let about = json!({
        "pid": "com.example.bench", "name": "Bench", "version": format!("1.0.{serial}"),
        "description": "Is uploaded again and again.",
    });
    zip.start_file("plugin.json", options)?;
    zip.write_all(about.to_string().as_bytes())?;
    let content = noise(FILE);
    for number in 0..FILES {
        zip.start_file(format!("files/{number:03}"), options)?;
        zip.write_all(&number.to_le_bytes())?;
        zip.write_all(&content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// A page that nobody asked for before, and one that the client has already, each beside a manifest.
pub fn lists(large: &Server, small: &Server, manifest: &str) -> io::Result<Workload> {
    let path = format!("/api/orgs/{ORGANISATION}/plugins?limit={PAGE}");
    let mut connection = Connection::open(large.address)?;
    let headers = vec![("Authorization", authorization())];
    let answer = connection.request("GET", &path, &borrowed(&headers), &[])?;
    expect(&answer, 200)?;
    let etag = format!("\"{}\"", Sha256::of(&answer.body).hex());
    let known = |etag: String| {
        let mut headers = headers.clone();
        headers.push(("If-None-Match", etag));
        headers
    };
    let (big, other, manifest) = (large.address, small.address, manifest.to_owned());
    let of_manifest = known(format!("\"{}\"", manifest.rsplit('/').next().unwrap_or_default()));
    let of_list = known(etag);
    let contenders = vec![
        Contender::new("a new page", move || {
            let mut connection = Connection::open(big)?;
            let (started, mut asked) = (Instant::now(), 0.0);
            while started.elapsed() < Duration::from_secs(SECONDS) {
                // Far apart, so that each comes from another place of the index.
                let after = SERIAL.fetch_add(7919, Ordering::Relaxed) % u64::from(PLUGINS);
                let path = format!("{path}&after=com.big.p{after:06}:org");
                expect(&connection.request("GET", &path, &borrowed(&headers), &[])?, 200)?;
                asked += 1.0;
            }
            Ok(asked / started.elapsed().as_secs_f64())
        }),
        Contender::new("304", {
            let path = format!("/api/orgs/{ORGANISATION}/plugins?limit={PAGE}");
            move || pull(big, &path, &of_list, SECONDS)
        }),
        Contender::new("304 of a manifest", move || pull(other, &manifest, &of_manifest, SECONDS)),
    ];
    let rows = vec![
        Row { ours: "304", peer: "304 of a manifest", goal: AGAINST_MANIFEST },
        Row { ours: "a new page", peer: "304 of a manifest", goal: None },
    ];
    Ok(Workload { name: "list 50 of 100,000 plugins", contenders, rows })
}
