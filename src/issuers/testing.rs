//! What the tests of issuers share: keys, tokens, and a server that answers by script.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A key that signs, with the JWK of its public half.
pub(super) struct TestKey {
    pub algorithm: Algorithm,
    pub encoding: EncodingKey,
    pub jwk: Value,
}

impl TestKey {
    fn new(algorithm: Algorithm, encoding: EncodingKey, id: &str) -> Self {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&encoding, algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        Self { algorithm, encoding, jwk }
    }

    pub fn rsa(id: &str) -> Self {
        let der: Pkcs8V1Der = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let body = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        Self::new(Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), id)
    }

    pub fn ec(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::new(Algorithm::ES256, EncodingKey::from_ec_der(pkcs8.as_ref()), id)
    }

    pub fn ed(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        Self::new(Algorithm::EdDSA, EncodingKey::from_ed_der(pkcs8.as_ref()), id)
    }

    /// The same key under another id.
    pub fn named(&self, id: &str) -> Self {
        Self::new(self.algorithm, self.encoding.clone(), id)
    }

    /// A token with the id of this key in its header.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(json!({ "kid": self.jwk["kid"] }), claims)
    }

    /// A token with anything in its header besides the algorithm.
    pub fn token_with(&self, header: Value, claims: &Value) -> String {
        let mut header = header;
        header["alg"] = serde_json::to_value(self.algorithm).unwrap();
        signed(&header, claims, &self.encoding, self.algorithm)
    }
}

/// Made once: it takes a while.
pub(super) static RSA: LazyLock<TestKey> = LazyLock::new(|| TestKey::rsa("rsa-1"));

/// A token signed in a way that its header need not admit to.
pub(super) fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// One part of a token.
pub(super) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A key set of these keys.
pub(super) fn key_set(keys: &[&TestKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk.clone()).collect::<Vec<_>>() }).to_string()
}

/// Seconds since the epoch, `offset` from now.
pub(super) fn seconds(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + offset
}

/// Waits until something has happened in another task.
pub(super) async fn eventually(happened: impl Fn() -> bool) {
    for _ in 0..200 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

/// What the stub answers.
pub(super) struct Answer {
    bytes: Vec<u8>,
    held: bool,
}

impl Answer {
    pub fn ok(body: &str) -> Self {
        let length = body.len();
        Self::raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
    }

    pub fn unavailable() -> Self {
        Self::raw("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), held: false }
    }

    /// The connection stays open, and nothing more comes.
    pub fn held(self) -> Self {
        Self { held: true, ..self }
    }
}

/// An HTTP server that answers its n-th request, counted from 0, as it is told.
pub(super) struct Stub {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Stub {
    pub fn start(answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stub = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (Arc::clone(&stub.connections), Arc::clone(&stub.requests));
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                if head.ends_with(b"\r\n\r\n") {
                    let answer = answer(requests.fetch_add(1, Ordering::SeqCst));
                    // The client may have left already.
                    let _ = stream.write_all(&answer.bytes);
                    open.extend(answer.held.then_some(stream));
                }
            }
        });
        stub
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
