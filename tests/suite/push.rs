//! `quire push`: what ends up in the registry, what is told, and that an interrupted push goes on where it was.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use quire::digest::Sha256;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::client_commands::Person;
use crate::disk;
use crate::harness::{ADMIN_TOKEN, Server};

/// A package of a version with a file of so many bytes that nothing compresses. It is `hello.zip`.
fn make_package(person: &Person, version: &str, size: usize) -> Vec<u8> {
    let metadata = json!({"pid": "com.acme.hello", "name": "Hello", "version": version, "description": "x"});
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut state = size as u64 | 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..size).map(|_| noise()).collect();
    for (name, content) in [("plugin.json", metadata.to_string().as_bytes()), ("noise", &noise)] {
        zip.start_file(name, stored).expect("an entry");
        zip.write_all(content).expect("its content");
    }
    let bytes = zip.finish().expect("an archive").into_inner();
    fs::write(person.path("hello.zip"), &bytes).expect("a file");
    bytes
}

/// The file of the only upload that is remembered.
fn remembered(person: &Person) -> Option<PathBuf> {
    let folder = person.path(".local/state/quire/uploads");
    let files: Vec<_> = fs::read_dir(folder).ok()?.map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() < 2, "{files:?}");
    files.into_iter().next()
}

async fn tag(server: &Server, repository: &str, tag: &str) -> String {
    let answer = server.admin().get(&format!("/v2/{repository}/manifests/{tag}")).await;
    answer.header("docker-content-digest").to_owned()
}

#[tokio::test]
async fn a_package_becomes_an_artifact() {
    let server = Server::start(&[]);
    let publisher = server.token(&[("acme", "publisher")], json!({})).await;
    let person = Person::with_token(&server.url(""), &publisher);
    let bytes = make_package(&person, "1.2", 100_000);
    let zip = Sha256::of(&bytes);

    let pushed = person.done_json("push hello.zip --org acme --channel stable --channel beta");
    let manifest = pushed["manifest_digest"].as_str().expect("a digest").to_owned();
    let host = server.address;
    assert_eq!(
        pushed,
        json!({
            "accepted": true, "findings": [], "already_there": false, "channels": ["stable", "beta"],
            "reference": format!("{host}/acme/com.acme.hello:1.2"), "size": bytes.len(),
            "digest": zip.to_string(), "manifest_digest": manifest,
            "url": format!("http://{host}/blobs/sha256/{}", zip.hex()),
        })
    );
    let admin = server.admin();
    let pulled = admin.get(&format!("/blobs/sha256/{}", zip.hex())).await;
    assert!(pulled.status == 200 && pulled.body == bytes);
    for name in ["1.2", "stable", "beta"] {
        assert_eq!(tag(&server, "acme/com.acme.hello", name).await, manifest, "{name}");
    }
    let document = admin.get("/v2/acme/com.acme.hello/manifests/1.2").await.json();
    assert_eq!(document["artifactType"], "application/vnd.quire.plugin.v1");
    let config = document["config"]["digest"].as_str().expect("a digest");
    let config = admin.get(&format!("/v2/acme/com.acme.hello/blobs/{config}")).await.json();
    assert_eq!((&config["pid"], &config["version"]), (&json!("com.acme.hello"), &json!("1.2")));
    assert_eq!(remembered(&person), None);

    // Again, with a channel that was not there; and as text, without one.
    let again = person.done_json("push hello.zip --org acme --channel nightly");
    assert_eq!(
        (&again["already_there"], &again["manifest_digest"]),
        (&json!(true), &pushed["manifest_digest"])
    );
    assert_eq!(tag(&server, "acme/com.acme.hello", "nightly").await, manifest);
    let ended = person.run("push hello.zip --org acme");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "no progress in a pipe");
    let first = format!("reference  {host}/acme/com.acme.hello:1.2 (was already there)\n");
    assert!(ended.out.starts_with(&first) && ended.out.contains(&zip.to_string()), "{ended:?}");
    disk::staging_is_empty(&server).await;

    // Without an organisation it is the catalog of all, with the same digests.
    let system = Person::with_token(&server.url(""), ADMIN_TOKEN);
    make_package(&system, "1.2", 100_000);
    let pushed = system.done_json("push hello.zip");
    assert_eq!(pushed["reference"], format!("{host}/system/com.acme.hello:1.2"));
    assert_eq!(pushed["manifest_digest"], manifest);
}

#[tokio::test]
async fn a_version_stays_and_both_digests_are_told() {
    let server = Server::start(&[]);
    let admin = Person::with_token(&server.url(""), ADMIN_TOKEN);
    make_package(&admin, "1.2", 1_000);
    let first = admin.done_json("push hello.zip --org acme")["manifest_digest"].clone();
    let bytes = make_package(&admin, "1.2", 2_000);
    let told = async |there: &Value| {
        assert_eq!(admin.problem("push hello.zip --org acme"), (Some(1), "version_immutable".into()));
        let ended = admin.run("push hello.zip --org acme --output json");
        let problem: Value = serde_json::from_str(&ended.err).expect("a problem");
        assert_eq!(&problem["digest"], there);
        let words = admin.run("push hello.zip --org acme").err;
        let both = [there, &problem["pushed"]].map(|digest| digest.as_str().expect("a digest"));
        assert!(both[0] != both[1] && both.iter().all(|digest| words.contains(digest)), "{words}");
        assert!(words.starts_with("error: acme/com.acme.hello:1.2 is there with other bytes"), "{words}");
    };
    told(&first).await;
    // Nothing was sent for it.
    let blob = format!("/v2/acme/com.acme.hello/blobs/{}", Sha256::of(&bytes));
    assert_eq!(server.admin().head(&blob).await.status, 404);
    // A version that was deleted is as taken.
    assert_eq!(server.admin().delete("/v2/acme/com.acme.hello/manifests/1.2").await.status, 202);
    told(&first).await;
}

#[tokio::test]
async fn who_may_not_push_is_told_why() {
    let server = Server::start(&[]);
    let stranger = server.token(&[("other", "publisher")], json!({})).await;
    let reader = server.token(&[("acme", "org_member")], json!({})).await;
    for (person, line, code) in [
        (Person::with_token(&server.url(""), &stranger), "push hello.zip --org acme", "not_a_member"),
        (Person::with_token(&server.url(""), &stranger), "push hello.zip", "permission_missing"),
        (Person::with_token(&server.url(""), &reader), "push hello.zip --org acme", "permission_missing"),
        (Person::with_token(&server.url(""), "quire_wrong"), "push hello.zip --org acme", "UNAUTHORIZED"),
        (Person::at(&server.url("")), "push hello.zip --org acme", "UNAUTHORIZED"),
    ] {
        make_package(&person, "1.0", 10);
        assert_eq!(person.problem(line), (Some(1), code.into()), "{line}");
    }
    let admin = Person::with_token(&server.url(""), ADMIN_TOKEN);
    make_package(&admin, "1.0", 10);
    for line in ["push hello.zip --channel 1.0", "push hello.zip --org a/b", "push absent.zip", "push"] {
        assert_eq!(admin.run(line).code, Some(2), "{line}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let line = format!("push hello.zip --url http://{nobody}");
    assert_eq!(admin.problem(&line), (Some(3), "unreachable".into()));

    fs::write(admin.path("hello.zip"), "no zip").expect("a file");
    let ended = admin.run(&line);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "it is read before anybody is asked");
    assert!(ended.out.contains("[zip.magic]\n  hint: "), "{ended:?}");
    let report: Value =
        serde_json::from_str(&admin.run("push hello.zip --output json").out).expect("a report");
    assert_eq!((&report["accepted"], &report["findings"][0]["rule"]), (&json!(false), &json!("zip.magic")));
}

/// A registry that finds more in a package than the client did.
#[test]
fn findings_of_the_registry_are_told_like_our_own() {
    let finding = json!({"rule": "plugin.domain", "path": "plugin.json", "message": "not \u{1b}[2Jbelow com.acme",
        "hint": "begin with it", "severity": "error"});
    let refusal = json!({"errors": [{"code": "MANIFEST_INVALID", "message": "refused", "detail": {"findings": [finding]}}]});
    let answers = move |line: &str| match line.split(' ').next() {
        Some("HEAD") => "200 OK".to_owned(),
        Some("GET") => "404 Not Found".to_owned(),
        _ => format!("400 Bad Request\r\n{refusal}"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                request.extend(byte);
            }
            let answer = answers(&String::from_utf8_lossy(&request));
            let (status, body) = answer.split_once("\r\n").unwrap_or((&answer, ""));
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    let person = Person::at(&url);
    make_package(&person, "1.0", 10);
    let ended = person.run("push hello.zip");
    let expected =
        "error: plugin.json: not \u{fffd}[2Jbelow com.acme [plugin.domain]\n  hint: begin with it\n";
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), expected), "{ended:?}");
    let report: Value =
        serde_json::from_str(&person.run("push hello.zip --output json").out).expect("a report");
    assert_eq!(report["findings"][0]["rule"], "plugin.domain");
}

/// What a proxy does when so many bytes have gone to the server.
#[derive(Clone, Copy)]
enum Trouble {
    /// It cuts the connection.
    Cut,
    /// It lets nothing more through.
    Stall,
}

/// A TCP proxy in front of a server, that counts what goes there.
struct Proxy {
    address: SocketAddr,
    counted: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<(u64, Trouble)>>>,
    reached: Receiver<()>,
}

impl Proxy {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (counted, trouble) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let (reaches, reached) = channel();
        let link = (Arc::clone(&counted), Arc::clone(&trouble));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                let server = TcpStream::connect(server).expect("the server");
                let (mut back, mut to) =
                    (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let (counted, trouble, reaches) = (Arc::clone(&link.0), Arc::clone(&link.1), reaches.clone());
                std::thread::spawn(move || forward(client, &server, &counted, &trouble, &reaches));
            }
        });
        Self { address, counted, trouble, reached }
    }

    /// After so many bytes more, once.
    fn make(&self, trouble: Trouble, after: u64) {
        *self.trouble.lock().expect("a lock") = Some((self.count() + after, trouble));
    }

    fn count(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }
}

fn forward(
    mut client: TcpStream,
    mut server: &TcpStream,
    counted: &AtomicU64,
    trouble: &Mutex<Option<(u64, Trouble)>>,
    reaches: &Sender<()>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let before = counted.load(Ordering::SeqCst);
        let due = {
            let mut trouble = trouble.lock().expect("a lock");
            trouble.take_if(|(at, _)| before + read as u64 >= *at)
        };
        let through = due.map_or(read, |(at, _)| (at - before.min(at)) as usize);
        if server.write_all(&buffer[..through]).is_err() {
            break;
        }
        counted.fetch_add(through as u64, Ordering::SeqCst);
        match due {
            None => {}
            Some((_, Trouble::Cut)) => {
                reaches.send(()).expect("a test that waits");
                break;
            }
            Some((_, Trouble::Stall)) => {
                reaches.send(()).expect("a test that waits");
                // Until the client is gone, whatever it still sends.
                while client.read(&mut buffer).is_ok_and(|read| read > 0) {}
            }
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

const LARGE: usize = 20 << 20;
const CUT: u64 = 13 << 20;
/// Requests and what belongs to them, beside the bytes of the package.
const TALK: u64 = 64 << 10;

#[tokio::test]
async fn a_cut_connection_costs_nothing_that_arrived() {
    let server = Server::start(&[]);
    // Also where nothing can be remembered for the next run.
    for (state, note) in [("state", false), ("hello.zip", true)] {
        let proxy = Proxy::before(server.address);
        let person = Person::with_token(&format!("http://{}", proxy.address), ADMIN_TOKEN);
        let state = person.path(state).display().to_string();
        let person = person.with("XDG_STATE_HOME", &state);
        let bytes = make_package(&person, "1.0", LARGE + usize::from(note));
        proxy.make(Trouble::Cut, CUT);
        let ended = person.run(&format!("push hello.zip --org {}", if note { "other" } else { "acme" }));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        proxy.reached.try_recv().expect("the connection was cut");
        assert!(ended.err.contains("trying again"), "{ended:?}");
        assert_eq!(ended.err.contains("cannot be kept"), note, "{ended:?}");
        let sent = proxy.count();
        assert!(sent < bytes.len() as u64 + TALK, "{sent} bytes were sent for {}", bytes.len());
        let pulled = server.admin().get(&format!("/blobs/sha256/{}", Sha256::of(&bytes).hex())).await;
        assert!(pulled.body == bytes);
    }
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn the_next_run_goes_on_where_a_killed_one_was() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address);
    let person = Person::with_token(&format!("http://{}", proxy.address), ADMIN_TOKEN);
    let bytes = make_package(&person, "1.0", LARGE);
    proxy.make(Trouble::Stall, CUT);
    let mut child = person.command("push hello.zip --org acme").spawn().expect("the program runs");
    proxy.reached.recv().expect("it got so far");
    child.kill().expect("a running program");
    child.wait().expect("its end");
    let file = remembered(&person).expect("a session");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
    assert!(!fs::read_to_string(&file).expect("a text").contains(ADMIN_TOKEN));

    person.done("push hello.zip --org acme");
    let sent = proxy.count();
    assert!(sent < bytes.len() as u64 + TALK, "{sent} bytes were sent for {}", bytes.len());
    let pulled = server.admin().get(&format!("/blobs/sha256/{}", Sha256::of(&bytes).hex())).await;
    assert!(pulled.body == bytes);
    assert_eq!(remembered(&person), None);
}

/// The session that is remembered may have ended meanwhile, or lead elsewhere.
#[tokio::test]
async fn a_session_that_is_gone_is_begun_again() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address);
    let person = Person::with_token(&format!("http://{}", proxy.address), ADMIN_TOKEN);
    let bytes = make_package(&person, "1.0", 1 << 20);
    proxy.make(Trouble::Stall, 1 << 19);
    let mut child = person.command("push hello.zip --org acme").spawn().expect("the program runs");
    proxy.reached.recv().expect("it got so far");
    child.kill().expect("a running program");
    child.wait().expect("its end");
    let file = remembered(&person).expect("a session");
    let mut state: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");

    let location = state["location"].as_str().and_then(|location| location.split_once("/v2/"));
    let path = format!("/v2/{}", location.expect("a session").1);
    assert_eq!(server.admin().delete(&path).await.status, 204);
    person.done("push hello.zip --org acme");
    let pulled = server.admin().get(&format!("/blobs/sha256/{}", Sha256::of(&bytes).hex())).await;
    assert!(pulled.body == bytes);
    assert_eq!(remembered(&person), None);

    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    state["location"] = json!(format!("http://{}/v2/x", elsewhere.local_addr().expect("an address")));
    fs::write(&file, state.to_string()).expect("a file");
    for place in ["manifests/1.0", &format!("blobs/{}", Sha256::of(&bytes))] {
        assert_eq!(server.admin().delete(&format!("/v2/acme/com.acme.hello/{place}")).await.status, 202);
    }
    person.done("push hello.zip --org acme");
    elsewhere.set_nonblocking(true).expect("a socket");
    assert!(elsewhere.accept().is_err(), "the credential goes to no other server");
}
