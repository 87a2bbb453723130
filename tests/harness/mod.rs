//! The server under test as a process of its own, and a small client to talk to it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod package;
#[cfg(feature = "postgres")]
pub mod pgbouncer;
pub mod plugin_api;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod relay;
pub mod replicas;
#[cfg(feature = "s3")]
pub mod s3_stub;
#[cfg(feature = "s3")]
pub mod seaweed;
pub mod store;
#[cfg(feature = "postgres")]
pub mod valve;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use quire::digest::Sha256;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use self::store::Place;

/// A token that every test server accepts.
pub const ADMIN_TOKEN: &str = "quire_test-token-0123456789";

/// Organisations that every test server has.
const ORGANISATIONS: [&str; 7] = ["a", "acme", "c", "conf", "corp", "other", "x"];

/// A running `quire serve`. It ends by its pid when it is dropped.
pub struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
    pub data: PathBuf,
    folder: Option<tempfile::TempDir>,
    pub place: Place,
}

impl Server {
    /// Starts on a free port with a fresh folder. `settings` are variables without their `QUIRE_`; those of AWS are
    /// written out.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::of(folder.path());
        let mut server = Self::start_with(folder.path(), &place, settings, Stdio::inherit());
        server.place = place;
        server.folder = Some(folder);
        server
    }

    /// Starts on a folder that stays when the server ends.
    pub fn start_in(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_staying(folder, settings, Stdio::inherit())
    }

    /// Starts on a folder that stays, with the log lines in the file `log` of it.
    pub fn start_logging_in(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        Self::start_staying(folder, settings, log.into())
    }

    fn start_staying(folder: &Path, settings: &[(&str, &str)], log: Stdio) -> Self {
        let place = Place::of(folder);
        let server = Self::start_with(folder, &place, settings, log);
        place.keep();
        server
    }

    fn start_with(folder: &Path, place: &Place, settings: &[(&str, &str)], log: Stdio) -> Self {
        let data = folder.join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUIRE_")) {
            command.env_remove(name);
        }
        command.env("QUIRE_ADMIN_TOKEN", ADMIN_TOKEN).env("QUIRE_LOG", "warn");
        // Tests show wrong credentials all the time, from one address.
        command.env("QUIRE_FAILED_LOGINS", "1000000");
        let elsewhere = place.settings.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in elsewhere.chain(settings.iter().copied()) {
            let own = if name.starts_with("AWS_") { name.to_owned() } else { format!("QUIRE_{name}") };
            command.env(own, value);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the server starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let line = (&mut output)
            .lines()
            .find_map(|line| line.ok().filter(|line| line.contains("listens on")))
            .expect("the server says where it listens");
        let address = line.rsplit("http://").next().and_then(|text| text.parse().ok()).expect("an address");
        let token =
            settings.iter().find(|(name, _)| *name == "ADMIN_TOKEN").map_or(ADMIN_TOKEN, |(_, token)| token);
        make_organisations(address, token);
        Self { child, output, address, data, folder: None, place: Place::default() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a running server");
        self.child.wait().expect("its end");
    }

    /// Asks the server to stop, and returns without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Has the server stand still, as one does whose machine hangs.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("a running server");
    }

    /// Waits for the server's end, and says whether it was a good one.
    pub fn wait(&mut self) -> bool {
        self.child.wait().expect("its end").success()
    }

    /// What the server printed besides its log since it said where it listens. For one that has ended.
    pub fn output(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("its output");
        text
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client with the admin token.
    pub fn admin(&self) -> Client {
        Client::new(self.address, Some(ADMIN_TOKEN))
    }

    /// A client with an API token that has roles on catalogs, `("acme", "publisher")`.
    pub async fn caller(&self, grants: &[(&str, &str)]) -> Client {
        Client::new(self.address, Some(&self.token(grants, json!({})).await))
    }

    /// An API token that has roles on catalogs; `more` are further fields of the request.
    pub async fn token(&self, grants: &[(&str, &str)], more: Value) -> String {
        let grant = |(catalog, role): &(&str, &str)| json!({"catalog": catalog, "role": role});
        let mut body = json!({"name": "test", "grants": grants.iter().map(grant).collect::<Vec<_>>()});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let made = self.admin().send("POST", "/api/tokens", &[], body.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["token"].as_str().expect("a token").to_owned()
    }

    /// A client without a credential.
    pub fn anonymous(&self) -> Client {
        Client::new(self.address, None)
    }
}

/// Makes the organisations that are not there yet. One that only reads has what it was given.
fn make_organisations(address: SocketAddr, token: &str) {
    let mut stream = BufReader::new(TcpStream::connect(address).expect("a connection"));
    for id in ORGANISATIONS {
        let body = json!({"id": id}).to_string();
        let request = format!(
            "POST /api/orgs HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(request.as_bytes()).expect("a request");
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line).expect("an answer");
        assert!([" 201 ", " 409 ", " 405 "].iter().any(|status| line.contains(status)), "{line}");
        while !line.trim().is_empty() {
            line.clear();
            stream.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        stream.read_exact(&mut vec![0; length]).expect("the body");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP client that keeps to one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    authorization: Option<String>,
    hyper: Hyper<HttpConnector, Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The code of the first error in the body.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().expect("an error body").to_owned()
    }

    /// Status and code of a problem together, for one assertion.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16(), "{body}");
        (self.status.as_u16(), body["code"].as_str().expect("a code").to_owned())
    }

    /// Status and code together, for one assertion.
    pub fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.code())
    }
}

impl Client {
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).build_http();
        Self { address, authorization: token.map(|token| format!("Bearer {token}")), hyper }
    }

    /// A client that shows `user:password`, encoded already.
    pub fn basic(address: SocketAddr, encoded: &str) -> Self {
        Self { authorization: Some(format!("Basic {encoded}")), ..Self::new(address, None) }
    }

    /// The same from another address of this machine.
    pub fn from(&self, address: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address.parse().expect("an address")));
        Self { hyper: Hyper::builder(TokioExecutor::new()).build(connector), ..self.clone() }
    }

    /// The same over HTTP/2.
    pub fn http2(&self) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { hyper, ..self.clone() }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.expect("an answer")
    }

    /// `None` when the server went away before the whole answer was there.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method.parse::<Method>().expect("a method"))
            .uri(format!("http://{}{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = tokio::time::timeout(Duration::from_secs(60), self.hyper.request(request));
        let (parts, body) = response.await.expect("an answer in time").ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// A client with the short token that `/token` gives this one for scopes, `acme/tool:pull,push`.
    pub async fn short(&self, scopes: &[&str]) -> Client {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("scope=repository:{scope}")).collect();
        let answer = self.get(&format!("/token?{}", scopes.join("&"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self::new(self.address, answer.json()["token"].as_str())
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// Pushes a blob in one request, and returns its digest.
    pub async fn push_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = Sha256::of(&bytes).to_string();
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.send("POST", &path, &[], bytes).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Opens an upload session, and returns its path.
    pub async fn open_session(&self, repository: &str) -> String {
        let answer = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Pushes a manifest under a reference, and returns the answer.
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &serde_json::Value,
    ) -> Answer {
        let media_type = manifest["mediaType"].as_str().expect("a media type").to_owned();
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.send("PUT", &path, &[("content-type", &media_type)], manifest.to_string()).await
    }

    /// Pushes an artifact with one layer under a tag, and returns the digest of its manifest.
    pub async fn push_artifact(&self, repository: &str, tag: &str, layer: impl Into<Bytes>) -> String {
        let layer = layer.into();
        let size = layer.len();
        let layer = self.push_blob(repository, layer).await;
        let config = self.push_blob(repository, "{}").await;
        let answer = self.put_manifest(repository, tag, &image(&config, 2, &[(&layer, size)])).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("docker-content-digest").to_owned()
    }

    /// The numbers of `/metrics`, by series.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.get("/metrics").await;
        let text = String::from_utf8(answer.body.to_vec()).expect("a text");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.to_owned(), value.parse().expect("a number")))
            .collect()
    }
}

/// An image manifest over a config and layers, each a digest and a size.
pub fn image(config: &str, config_size: usize, layers: &[(&str, usize)]) -> serde_json::Value {
    let layer = |(digest, size): &(&str, usize)| serde_json::json!({"mediaType": "application/zip", "digest": digest, "size": size});
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": config_size
        },
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}
