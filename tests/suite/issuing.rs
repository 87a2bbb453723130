//! Issuers of JWTs that a test plays itself: their keys, the file that names them, and tokens signed with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::Server;

/// What every token here is for.
pub const AUDIENCE: &str = "https://quire.test";

const SECRET: &str = "a secret of at least thirty-two bytes";

/// How a token is signed: HS256 by the issuer `secret`, the others by the issuer `published`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Kind {
    /// The claim `iss`.
    pub fn issuer(self) -> &'static str {
        match self {
            Self::Hs256 => "https://secret.test",
            Self::Rs256 | Self::Es256 | Self::EdDsa => "https://published.test",
        }
    }
}

/// A key that signs.
pub struct Key {
    pub algorithm: Algorithm,
    pub encoding: EncodingKey,
    /// What is published of it; `null` for the secret.
    pub jwk: Value,
    /// The public half of an RSA key as a SubjectPublicKeyInfo; empty for the others.
    pub public: Vec<u8>,
}

impl Key {
    fn new(algorithm: Algorithm, encoding: EncodingKey, id: &str) -> Self {
        let jwk = Jwk::from_encoding_key(&encoding, algorithm).expect("a key that can be published");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(id);
        Self { algorithm, encoding, jwk, public: Vec::new() }
    }

    /// A new RSA key, which takes a while.
    pub fn rsa(id: &str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der = pair.as_der().expect("its private half");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("its public half");
        let encoding = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes());
        let key = Self::new(Algorithm::RS256, encoding.expect("a key that signs"), id);
        Self { public: public.as_ref().to_vec(), ..key }
    }

    pub fn ec(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        Self::new(Algorithm::ES256, EncodingKey::from_ec_der(pkcs8.expect("a key").as_ref()), id)
    }

    pub fn ed(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).expect("a key");
        Self::new(Algorithm::EdDSA, EncodingKey::from_ed_der(pkcs8.as_ref()), id)
    }

    /// A token with any header besides its algorithm.
    pub fn sign(&self, mut header: Value, claims: &Value) -> String {
        header["alg"] = json!(self.algorithm);
        signed(&header, claims, &self.encoding, self.algorithm)
    }
}

/// Bytes in the form that key files have.
pub fn pem(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// One part of a token.
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token signed in a way that its header need not admit to.
pub fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("a signature");
    format!("{message}.{signature}")
}

/// Seconds since the epoch, `offset` from now.
pub fn seconds(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(now.as_secs()).expect("a time before the end") + offset
}

/// The key behind each kind of token, made once.
pub fn key(kind: Kind) -> &'static Key {
    static HS: LazyLock<Key> = LazyLock::new(|| {
        let encoding = EncodingKey::from_secret(SECRET.as_bytes());
        Key { algorithm: Algorithm::HS256, encoding, jwk: Value::Null, public: Vec::new() }
    });
    static RSA: LazyLock<Key> = LazyLock::new(|| Key::rsa("rsa-1"));
    static EC: LazyLock<Key> = LazyLock::new(|| Key::ec("ec-1"));
    static ED: LazyLock<Key> = LazyLock::new(|| Key::ed("ed-1"));
    match kind {
        Kind::Hs256 => &HS,
        Kind::Rs256 => &RSA,
        Kind::Es256 => &EC,
        Kind::EdDsa => &ED,
    }
}

/// Two issuers on disk: `secret` shares a secret, `published` has a key set. Both read grants from
/// `/quire/grants`, and groups from `/organisations` with `/permissions`.
pub struct Issuing {
    file: PathBuf,
}

impl Issuing {
    pub fn new(folder: &Path) -> Self {
        let keys: Vec<&Value> =
            [Kind::Rs256, Kind::Es256, Kind::EdDsa].into_iter().map(|kind| &key(kind).jwk).collect();
        let issuer = |name: &str, kind: Kind, keys: &str| {
            format!(
                "[[issuer]]\nname = \"{name}\"\nissuer = \"{}\"\naudiences = [\"{AUDIENCE}\"]\n{keys}\n\
                 grants = \"/quire/grants\"\norganisations = \"/organisations\"\npermissions = \"/permissions\"\n",
                kind.issuer()
            )
        };
        let text = [
            issuer("secret", Kind::Hs256, "algorithms = [\"HS256\"]\nsecret_file = \"secret\""),
            issuer(
                "published",
                Kind::Rs256,
                "algorithms = [\"RS256\", \"ES256\", \"EdDSA\"]\njwks_file = \"keys.json\"",
            ),
        ];
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a folder");
        write("secret", SECRET);
        write("keys.json", &json!({ "keys": keys }).to_string());
        write("issuers.toml", &text.join("\n"));
        Self { file: folder.join("issuers.toml") }
    }

    /// What a server needs to know, as variables without their `QUIRE_`.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("ISSUERS", self.file.display().to_string())]
    }

    /// Starts a server that accepts the tokens.
    pub fn start(&self, settings: &[(&str, &str)]) -> Server {
        let own = self.settings();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        Server::start(&settings.iter().copied().chain(own).collect::<Vec<_>>())
    }

    /// Claims that make a good token for ten minutes, with those given over them.
    pub fn claims(&self, kind: Kind, claims: Value) -> Value {
        let (issuer, subject) = (kind.issuer(), format!("somebody-{kind:?}"));
        let mut all = json!({ "iss": issuer, "aud": AUDIENCE, "sub": subject, "exp": seconds(600) });
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        all
    }

    /// A token of the issuer that signs in this way.
    pub fn token(&self, kind: Kind, claims: Value) -> String {
        let key = key(kind);
        let header = if key.jwk.is_null() { json!({}) } else { json!({ "kid": key.jwk["kid"] }) };
        key.sign(header, &self.claims(kind, claims))
    }
}

/// The claim that grants roles on catalogs, `("acme", "publisher")`.
pub fn grants(grants: &[(&str, &str)]) -> Value {
    let grant = |(catalog, role): &(&str, &str)| json!({ "catalog": catalog, "role": role });
    json!({ "quire": { "grants": grants.iter().map(grant).collect::<Vec<_>>() } })
}
