//! Short tokens that a test makes itself, of callers and times that no route hands out.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quire::access::{Action, Grant, Scoped};
use quire::token::{AdminToken, SigningKey, Tokens};

use crate::harness::{ADMIN_TOKEN, Server};

/// A key that signs short tokens, shared with the servers that it starts.
pub struct Mint {
    pem: String,
    tokens: Tokens,
}

impl Mint {
    pub fn new() -> Self {
        let (key, pkcs8) = SigningKey::generate().expect("a key");
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8));
        Self { pem, tokens: Tokens::new(key, &[]) }
    }

    pub fn start(&self, settings: &[(&str, &str)]) -> Server {
        Server::start(&[settings, &[("TOKEN_KEY", &self.pem)]].concat())
    }

    /// A token of a subject with grants, made at a time.
    pub fn token(&self, subject: &str, grants: &[(&str, &[Action])], at: SystemTime) -> String {
        let grant = |(name, actions): &(&str, &[Action])| Grant {
            repository: name.parse().expect("a name"),
            actions: actions.to_vec(),
        };
        let grants = grants.iter().map(grant).collect();
        let scoped = Scoped { subject: subject.to_owned(), grants, lists_catalog: false };
        self.tokens.sign(&scoped, &AdminToken::new(ADMIN_TOKEN).fingerprint(), at).expect("a token")
    }
}
