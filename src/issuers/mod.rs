//! Issuers of tokens that are not ours: JWTs of CI systems and identity providers, and what they may do here.

mod address;
mod algorithm;
mod claim_pointer;
mod config;
mod fetch;
mod grants;
mod json_web_token;
mod key_set;
mod key_source;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;

use self::algorithm::SigningAlgorithm;
use self::claim_pointer::ClaimPointer;
use self::grants::Mapping;
use self::json_web_token::JsonWebToken;
use self::key_set::{KeySet, SignatureCheck};
use self::key_source::{Freshness, KeySource};
use crate::access::Principal;

pub use self::config::IssuersError;
pub use self::json_web_token::Refusal;

/// Why a token of one of our issuers is refused. For the log: it names nothing out of the token.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
#[error("issuer {issuer}: {refusal}")]
pub struct JwtError {
    /// The name of the issuer in our configuration.
    pub issuer: String,
    pub refusal: Refusal,
}

/// Every issuer whose tokens are accepted.
pub struct Issuers {
    issuers: Vec<Issuer>,
}

struct Issuer {
    name: String,
    /// The claim `iss`, letter by letter.
    claim: String,
    audiences: Vec<String>,
    algorithms: Vec<SigningAlgorithm>,
    keys: Keys,
    subject: ClaimPointer,
    mapping: Mapping,
}

enum Keys {
    Secret(KeySet),
    Published(Arc<KeySource>),
}

impl Issuers {
    /// Accepts no tokens but our own.
    pub fn none() -> Self {
        Self { issuers: Vec::new() }
    }

    /// Reads and checks the file of issuers, and the files that it names (relative to its own folder). Key
    /// sets behind a URL are not fetched before they are used.
    pub fn load(path: &Path) -> Result<Self, IssuersError> {
        Ok(Self { issuers: config::load(path, Freshness::default())? })
    }

    /// Whether an issuer of this name is one of ours.
    pub fn is_configured(&self, name: &str) -> bool {
        self.issuers.iter().any(|issuer| issuer.name == name)
    }

    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Who shows this token. `None`: it is no JWT of one of our issuers.
    ///
    /// The principal expires 60 s after the token does: clocks differ, and so much leeway is given to `exp`
    /// and to `nbf`. A token that no rule and no claim gives anything is still somebody's.
    pub async fn principal(&self, token: &str, now: SystemTime) -> Option<Result<Principal, JwtError>> {
        let token = JsonWebToken::split(token)?;
        let claim = token.claimed_issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.claim == claim)?;
        let principal = issuer.principal(token, now).await;
        Some(principal.map_err(|refusal| JwtError { issuer: issuer.name.clone(), refusal }))
    }
}

impl Issuer {
    async fn principal(&self, token: JsonWebToken<'_>, now: SystemTime) -> Result<Principal, Refusal> {
        let (algorithm, key_id) = token.signer(&self.algorithms)?;
        self.check_signature(token, algorithm, key_id.as_deref()).await?;
        let claims = token.claims()?;
        json_web_token::check_audience(&claims, &self.audiences)?;
        let expires = json_web_token::check_times(&claims, now)?;
        let subject = json_web_token::subject(&claims, &self.subject)?;
        Ok(Principal {
            subject: format!("jwt:{}:{subject}", self.name),
            grants: self.mapping.grants(&claims),
            credential: format!("issuer:{}", self.name),
            expires: Some(expires),
        })
    }

    async fn check_signature(
        &self,
        token: JsonWebToken<'_>,
        algorithm: SigningAlgorithm,
        key_id: Option<&str>,
    ) -> Result<(), Refusal> {
        let check = |keys: &KeySet, key_id| keys.check(algorithm, key_id, token.message, token.signature);
        let outcome = match &self.keys {
            // There is one, so whatever a token calls it does not matter.
            Keys::Secret(secret) => match check(secret, None) {
                SignatureCheck::UnknownKey => SignatureCheck::Bad,
                known => known,
            },
            Keys::Published(source) => {
                let keys = source.current().await.ok_or(Refusal::NoKeys)?;
                match check(&keys, key_id) {
                    SignatureCheck::UnknownKey => {
                        let renewed = source.renewed().await.ok_or(Refusal::NoKeys)?;
                        if Arc::ptr_eq(&keys, &renewed) {
                            SignatureCheck::UnknownKey
                        } else {
                            check(&renewed, key_id)
                        }
                    }
                    known => known,
                }
            }
        };
        match outcome {
            SignatureCheck::Good => Ok(()),
            SignatureCheck::Bad => Err(Refusal::Signature),
            SignatureCheck::UnknownKey => Err(Refusal::UnknownKey),
        }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
