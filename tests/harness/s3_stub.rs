//! An S3 server inside of the test, that goes wrong where it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use quire::blob::s3::Operation;
use quire::digest::{Algorithm, Hasher, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::seaweed::BUCKET;

/// A running stub; it ends with its runtime.
pub struct Stub {
    pub address: SocketAddr,
    state: Arc<State>,
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this status and code, before the body is read.
    Answer(u16, &'static str),
    /// The connection is closed without an answer.
    Reset,
    /// No answer comes.
    Hang,
    /// The body of the request is not read.
    HangBeforeBody,
    /// The answer's body ends after half of it.
    Cut,
    /// The answer's body stops after half of it.
    Stall,
    /// The answer's body comes a byte at a time, with this many milliseconds between.
    Drip(u64),
    /// The first byte of the object is another one, in the answer or in what is stored.
    WrongBytes,
    /// One byte less is stored.
    WrongLength,
    /// The work is done, and the connection is closed without an answer.
    ResetAfter,
}

/// How the server is as long as it lives.
#[derive(Clone, Debug)]
pub struct Manners {
    pub conditions: Treatment,
    pub checksums: Treatment,
    /// The body's framing stays in the object when it comes as `aws-chunked`.
    pub keeps_framing: bool,
    /// Bytes are counted, hashed by nobody, and forgotten.
    pub forgets_bytes: bool,
    /// What everybody is told who asks for something.
    pub denies: Option<(Operation, u16, &'static str)>,
    /// What is absent is refused, as to those who may not list.
    pub hides_absence: bool,
    /// Its clock, in seconds ahead of everybody else's; it refuses requests that are more than 15 minutes off.
    pub clock: i64,
}

/// What a server does with something optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    Honours,
    Ignores,
    /// With this status and code.
    Refuses(u16, &'static str),
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            conditions: Treatment::Honours,
            checksums: Treatment::Honours,
            keeps_framing: false,
            forgets_bytes: false,
            denies: None,
            hides_absence: false,
            clock: 0,
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub operation: Operation,
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a text"))
    }
}

#[derive(Default)]
struct State {
    manners: Mutex<Manners>,
    objects: Mutex<BTreeMap<String, Stored>>,
    uploads: Mutex<BTreeMap<String, Pending>>,
    faults: Mutex<VecDeque<(Operation, Fault)>>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    /// As said in answers; more than there are bytes when those were forgotten.
    size: u64,
    written: SystemTime,
}

struct Pending {
    key: String,
    begun: SystemTime,
    parts: BTreeMap<u32, Bytes>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Stub {
    /// Starts on a free port.
    pub async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, manners)
    }

    /// Starts on a listener that was there before.
    pub fn on(listener: TcpListener, manners: Manners) -> Self {
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State { manners: Mutex::new(manners), ..State::default() });
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket");
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, state }
    }

    /// The next request of this kind that has no fault yet goes wrong like this.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        lock(&self.state.faults).push_back((operation, fault));
    }

    /// The next so many requests of this kind go wrong like this.
    pub fn fail_times(&self, times: usize, operation: Operation, fault: Fault) {
        lock(&self.state.faults).extend(vec![(operation, fault); times]);
    }

    /// Faults that nobody met yet are taken back.
    pub fn heal(&self) {
        lock(&self.state.faults).clear();
    }

    pub fn set_manners(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut lock(&self.state.manners));
    }

    /// Forgets which requests came, and returns them.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.state.seen))
    }

    /// Forgets which requests came, and returns what they did.
    pub fn operations(&self) -> Vec<Operation> {
        self.seen().iter().map(|seen| seen.operation).collect()
    }

    pub fn object(&self, key: &str) -> Option<Bytes> {
        lock(&self.state.objects).get(key).map(|stored| stored.bytes.clone())
    }

    pub fn keys(&self) -> Vec<String> {
        lock(&self.state.objects).keys().cloned().collect()
    }

    /// Places an object behind the back of the store.
    pub fn place(&self, key: &str, bytes: impl Into<Bytes>) {
        self.place_at(key, bytes, SystemTime::now());
    }

    pub fn place_at(&self, key: &str, bytes: impl Into<Bytes>, written: SystemTime) {
        let bytes = bytes.into();
        let stored = Stored { size: bytes.len() as u64, bytes, written };
        lock(&self.state.objects).insert(key.to_owned(), stored);
    }

    /// Begins an upload in parts at a time, and leaves it.
    pub fn leave_upload(&self, id: &str, key: &str, begun: SystemTime) {
        let pending = Pending { key: key.to_owned(), begun, parts: BTreeMap::new() };
        lock(&self.state.uploads).insert(id.to_owned(), pending);
    }

    pub fn uploads(&self) -> Vec<String> {
        lock(&self.state.uploads).keys().cloned().collect()
    }
}

type Answer = Response<Pieces>;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let query = query(head.uri.query().unwrap_or_default());
    let path = head.uri.path().trim_start_matches('/');
    // The bucket is in the host of what comes through a proxy.
    let host = head.uri.host().and_then(|host| host.split('.').next());
    let (bucket, key) = match host {
        Some(bucket) => (bucket, path),
        None => path.split_once('/').unwrap_or((path, "")),
    };
    let operation = operation(&head.method, key, &query);
    let seen = Seen { operation, key: key.to_owned(), query, headers: head.headers };
    lock(&state.seen).push(seen.clone());
    let fault = {
        let mut faults = lock(&state.faults);
        let next = faults.iter().position(|(of, _)| *of == operation);
        next.and_then(|index| faults.remove(index)).map(|(_, fault)| fault)
    };
    match fault {
        Some(Fault::Answer(status, code)) => return Ok(state.refusal(status, code)),
        Some(Fault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::HangBeforeBody) => std::future::pending().await,
        _ => {}
    }
    let manners = lock(&state.manners).clone();
    if let Some((denied, status, code)) = manners.denies
        && denied == operation
    {
        return Ok(state.refusal(status, code));
    }
    if bucket != BUCKET {
        return Ok(state.refusal(404, "NoSuchBucket"));
    }
    if state.is_skewed(&seen, manners.clock) {
        return Ok(state.refusal(403, "RequestTimeTooSkewed"));
    }
    let (body, size, digest) = read(body, manners.forgets_bytes).await?;
    if fault == Some(Fault::Hang) {
        std::future::pending::<()>().await;
    }
    if let Some(refusal) = state.body_refusal(&seen, &manners, digest) {
        return Ok(refusal);
    }
    let body = if manners.keeps_framing { body } else { unframed(&seen, body) };
    let answer = state.run(&seen, &manners, Received { body, size }, fault);
    if fault == Some(Fault::ResetAfter) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(answer) }
}

/// The bytes of a request, unless they were forgotten.
struct Received {
    body: Bytes,
    size: u64,
}

async fn read(mut body: Incoming, forget: bool) -> io::Result<(Bytes, u64, Option<Sha256>)> {
    let (mut bytes, mut size, mut hasher) = (Vec::new(), 0, Hasher::new(Algorithm::Sha256));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        size += data.len() as u64;
        if !forget {
            hasher.update(&data);
            bytes.extend_from_slice(&data);
        }
    }
    Ok((bytes.into(), size, (!forget).then(|| hasher.finish().sha256)))
}

fn operation(method: &Method, key: &str, query: &BTreeMap<String, String>) -> Operation {
    let has = |name: &str| query.contains_key(name);
    match *method {
        Method::PUT if has("uploadId") => Operation::PutPart,
        Method::PUT => Operation::Put,
        Method::POST if has("uploads") => Operation::CreateUpload,
        Method::POST => Operation::CompleteUpload,
        Method::DELETE if has("uploadId") => Operation::AbortUpload,
        Method::DELETE => Operation::Delete,
        Method::HEAD => Operation::Head,
        Method::GET if key.is_empty() && has("uploads") => Operation::ListUploads,
        Method::GET if key.is_empty() => Operation::List,
        Method::GET => Operation::Get,
        _ => panic!("{method} is nothing that a store sends"),
    }
}

fn query(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// What a body is without the framing `aws-chunked`, for a body of one chunk.
fn unframed(seen: &Seen, body: Bytes) -> Bytes {
    if seen.header("content-encoding") != Some("aws-chunked") {
        return body;
    }
    let length = seen.header("x-amz-decoded-content-length").and_then(|text| text.parse().ok());
    let start = body.windows(2).position(|window| window == b"\r\n").map_or(0, |at| at + 2);
    body.slice(start..start + length.unwrap_or(0usize))
}

impl State {
    fn is_skewed(&self, seen: &Seen, clock: i64) -> bool {
        let date = seen.header("x-amz-date").or(seen.query.get("X-Amz-Date").map(String::as_str));
        let Some(date) = date else { return false };
        let iso: String = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &date[..4],
            &date[4..6],
            &date[6..8],
            &date[9..11],
            &date[11..13],
            &date[13..15]
        );
        let signed: jiff::Timestamp = iso.parse().expect("a time");
        let expires = seen.query.get("X-Amz-Expires").and_then(|text| text.parse::<i64>().ok());
        let ahead = signed.as_second() - (jiff::Timestamp::now().as_second() + clock);
        ahead > 900 || ahead < -expires.unwrap_or(900)
    }

    /// What a server says to bodies that are not what their headers say.
    fn body_refusal(&self, seen: &Seen, manners: &Manners, digest: Option<Sha256>) -> Option<Answer> {
        let digest = digest?;
        let signed = seen.header("x-amz-content-sha256").and_then(|hex| Sha256::from_hex(hex).ok());
        if signed.is_some_and(|signed| signed != digest) {
            return Some(self.refusal(400, "XAmzContentSHA256Mismatch"));
        }
        let checksum = seen.header("x-amz-checksum-sha256")?;
        match manners.checksums {
            Treatment::Ignores => None,
            Treatment::Refuses(status, code) => Some(self.refusal(status, code)),
            Treatment::Honours => {
                use base64::Engine;
                let right = base64::engine::general_purpose::STANDARD.encode(digest.0);
                (checksum != right).then(|| self.refusal(400, "BadDigest"))
            }
        }
    }

    fn run(&self, seen: &Seen, manners: &Manners, received: Received, fault: Option<Fault>) -> Answer {
        let id = seen.query.get("uploadId").cloned().unwrap_or_default();
        match seen.operation {
            Operation::Put => self.put(seen, manners, received, fault),
            Operation::Get => self.get(seen, manners, fault, true),
            Operation::Head => self.get(seen, manners, fault, false),
            Operation::Delete => {
                lock(&self.objects).remove(&seen.key);
                self.plain(204, String::new())
            }
            Operation::List => self.list(seen),
            Operation::CreateUpload => {
                let id = uuid::Uuid::now_v7().to_string();
                let (key, begun) = (seen.key.clone(), SystemTime::now());
                lock(&self.uploads).insert(id.clone(), Pending { key, begun, parts: BTreeMap::new() });
                let text = format!("<UploadId>{id}</UploadId>");
                self.plain(
                    200,
                    format!("<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>"),
                )
            }
            Operation::PutPart => {
                let number = seen.query["partNumber"].parse().expect("a number");
                let body = damaged(received.body, fault);
                match lock(&self.uploads).get_mut(&id) {
                    None => return self.refusal(404, "NoSuchUpload"),
                    Some(pending) => pending.parts.insert(number, body),
                };
                let mut answer = self.plain(200, String::new());
                answer.headers_mut().insert("etag", format!("\"{number}\"").parse().expect("a tag"));
                answer
            }
            Operation::CompleteUpload => {
                let Some(pending) = lock(&self.uploads).remove(&id) else {
                    return self.refusal(404, "NoSuchUpload");
                };
                let parts: Vec<Bytes> = pending.parts.into_values().collect();
                self.store(&pending.key, damaged(parts.concat().into(), fault), None);
                self.plain(200, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>".to_owned())
            }
            Operation::AbortUpload => match lock(&self.uploads).remove(&id) {
                None => self.refusal(404, "NoSuchUpload"),
                Some(_) => self.plain(204, String::new()),
            },
            Operation::ListUploads => self.list_uploads(seen),
        }
    }

    fn put(&self, seen: &Seen, manners: &Manners, received: Received, fault: Option<Fault>) -> Answer {
        if seen.header("if-none-match").is_some() {
            match manners.conditions {
                Treatment::Refuses(status, code) => return self.refusal(status, code),
                Treatment::Honours if lock(&self.objects).contains_key(&seen.key) => {
                    return self.refusal(412, "PreconditionFailed");
                }
                Treatment::Honours | Treatment::Ignores => {}
            }
        }
        let forgotten = manners.forgets_bytes.then_some(received.size);
        self.store(&seen.key, damaged(received.body, fault), forgotten);
        self.plain(200, String::new())
    }

    fn store(&self, key: &str, bytes: Bytes, forgotten: Option<u64>) {
        let size = forgotten.unwrap_or(bytes.len() as u64);
        lock(&self.objects).insert(key.to_owned(), Stored { bytes, size, written: SystemTime::now() });
    }

    fn get(&self, seen: &Seen, manners: &Manners, fault: Option<Fault>, with_body: bool) -> Answer {
        let Some(stored) = lock(&self.objects).get(&seen.key).cloned() else {
            return if manners.hides_absence {
                self.refusal(403, "AccessDenied")
            } else {
                self.refusal(404, "NoSuchKey")
            };
        };
        let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let from: usize = range.map_or(0, |from| from.parse().expect("an offset"));
        let total = stored.size;
        let bytes = damaged(stored.bytes, fault.filter(|fault| *fault == Fault::WrongBytes));
        let length = total - from as u64;
        let mut answer = Response::new(if with_body {
            Pieces::with_fault(bytes.slice(from..), fault)
        } else {
            Pieces::nothing(length)
        });
        if range.is_some() {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {from}-{}/{total}", total.saturating_sub(1));
            answer.headers_mut().insert("content-range", range.parse().expect("a header"));
        }
        answer.headers_mut().insert("content-length", length.into());
        self.dated(answer)
    }

    fn list(&self, seen: &Seen) -> Answer {
        let get = |name: &str| seen.query.get(name).cloned().unwrap_or_default();
        let (prefix, after) = (get("prefix"), get("start-after"));
        let limit: usize = get("max-keys").parse().unwrap_or(1000);
        let objects = lock(&self.objects);
        let mut found = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let contents: String = (&mut found)
            .take(limit)
            .map(|(key, stored)| {
                let (size, time) = (stored.size, iso(stored.written));
                format!("<Contents><Key>{key}</Key><LastModified>{time}</LastModified><Size>{size}</Size></Contents>")
            })
            .collect();
        let more = found.next().is_some();
        let text = format!("<IsTruncated>{more}</IsTruncated>{contents}");
        self.plain(200, format!("<ListBucketResult>{text}</ListBucketResult>"))
    }

    fn list_uploads(&self, seen: &Seen) -> Answer {
        let prefix = seen.query.get("prefix").cloned().unwrap_or_default();
        let uploads = lock(&self.uploads);
        let found = uploads.iter().filter(|(_, pending)| pending.key.starts_with(&prefix));
        let text: String = found
            .map(|(id, pending)| {
                let (key, begun) = (&pending.key, iso(pending.begun));
                format!(
                    "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>"
                )
            })
            .collect();
        self.plain(200, format!("<ListMultipartUploadsResult>{text}</ListMultipartUploadsResult>"))
    }

    fn refusal(&self, status: u16, code: &str) -> Answer {
        let text = format!("<Error><Code>{code}</Code><Message>as planned</Message></Error>");
        let mut answer = self.plain(status, text);
        // What was not read of the request would be taken for the next one.
        answer.headers_mut().insert("connection", "close".parse().expect("a header"));
        answer
    }

    fn plain(&self, status: u16, text: String) -> Answer {
        let mut answer = Response::new(Pieces::with_fault(text.into(), None));
        *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
        self.dated(answer)
    }

    fn dated(&self, mut answer: Answer) -> Answer {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(lock(&self.manners).clock);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
        answer.headers_mut().insert("date", date.expect("a date").parse().expect("a header"));
        answer
    }
}

fn iso(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).expect("a time").to_string()
}

/// What a fault makes of bytes.
fn damaged(bytes: Bytes, fault: Option<Fault>) -> Bytes {
    match fault {
        Some(Fault::WrongBytes) if !bytes.is_empty() => {
            let mut bytes = bytes.to_vec();
            bytes[0] ^= 1;
            bytes.into()
        }
        Some(Fault::WrongLength) => bytes.slice(..bytes.len().saturating_sub(1)),
        _ => bytes,
    }
}

/// A body that comes from a task, at its speed and with its end.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Pieces {
    /// No body, of a length that is said all the same.
    fn nothing(length: u64) -> Self {
        Self { pieces: mpsc::channel(1).1, left: length }
    }

    fn with_fault(bytes: Bytes, fault: Option<Fault>) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let left = bytes.len() as u64;
        tokio::spawn(async move {
            let half = bytes.slice(..bytes.len() / 2);
            match fault {
                Some(Fault::Cut) => {
                    let _ = sender.send(Ok(half)).await;
                    let _ = sender.send(Err(io::ErrorKind::ConnectionReset.into())).await;
                }
                Some(Fault::Stall) => {
                    let _ = sender.send(Ok(half)).await;
                    sender.closed().await;
                }
                Some(Fault::Drip(pause)) => {
                    for at in 0..bytes.len() {
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                        if sender.send(Ok(bytes.slice(at..=at))).await.is_err() {
                            return;
                        }
                    }
                }
                _ => {
                    // Whoever asked may have gone.
                    let _ = sender.send(Ok(bytes)).await;
                }
            }
        });
        Self { pieces, left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(context).map(|piece| {
            let piece = piece?;
            Some(piece.map(|bytes| {
                self.left -= bytes.len() as u64;
                Frame::data(bytes)
            }))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
