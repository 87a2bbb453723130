//! Short tokens that a test makes itself, of callers and times that no route hands out.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quire::access::{Action, Principal, TokenScope};
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

    /// A token of the admin with scopes, made at a time.
    pub fn admin(&self, scopes: &[(&str, &[Action])], at: SystemTime) -> String {
        let admin = Principal::admin(AdminToken::new(ADMIN_TOKEN).credential());
        self.sign(Some(&admin), scopes, at)
    }

    /// A token of nobody.
    pub fn nobody(&self) -> String {
        self.sign(None, &[], SystemTime::now())
    }

    fn sign(&self, owner: Option<&Principal>, scopes: &[(&str, &[Action])], at: SystemTime) -> String {
        let scope = |(name, actions): &(&str, &[Action])| TokenScope {
            repository: name.parse().expect("a name"),
            actions: actions.to_vec(),
        };
        let scopes: Vec<TokenScope> = scopes.iter().map(scope).collect();
        self.tokens.sign(owner, &scopes, false, at).expect("a token")
    }
}
