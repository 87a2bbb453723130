//! Credentials: the admin token, and the short tokens that `/token` hands out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::access::{Action, Grant, Scoped};
use crate::digest::Sha256;

/// How long a short token is good for.
pub const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// The name of this service in challenges and tokens.
pub const SERVICE: &str = "quire";

/// The admin token, kept as its SHA-256: what compares it needs no more.
#[derive(Clone, Debug)]
pub struct AdminToken {
    sha256: Sha256,
}

impl AdminToken {
    pub fn new(token: &str) -> Self {
        Self { sha256: Sha256::of(token.as_bytes()) }
    }

    /// Compares in constant time.
    pub fn matches(&self, candidate: &str) -> bool {
        Sha256::of(candidate.as_bytes()).0.ct_eq(&self.sha256.0).into()
    }

    /// Which token this is, without telling it. Short tokens carry it, and die when the token is replaced.
    pub fn fingerprint(&self) -> String {
        let tagged = [b"quire credential fingerprint\0".as_slice(), &self.sha256.0].concat();
        Sha256::of(&tagged).hex()[..16].to_owned()
    }
}

/// Reads the token of an earlier start, or makes one. The flag says whether it is new.
pub fn load_or_make_admin_token(path: &Path) -> io::Result<(String, bool)> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 20 => return Ok((text.trim().to_owned(), false)),
        Ok(_) => {
            return Err(io::Error::other("the admin token file holds no token; remove it to get a new one"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    let token = format!("quire_{}", URL_SAFE_NO_PAD.encode(random));
    // Written beside and renamed, so that a crash leaves either no token or a whole one.
    let beside = path.with_extension("token.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok((token, true))
}

/// Why a key or a token is no good.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("the token key is not an Ed25519 key in PKCS#8")]
    Key,
    #[error("the token is not valid here, or no longer")]
    Invalid,
}

/// The public half of a key that signed short tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// The first 16 hex digits of the SHA-256 of the public key.
    pub id: String,
    pub public: Vec<u8>,
}

/// The key that signs short tokens.
#[derive(Clone)]
pub struct SigningKey {
    verifying: VerifyingKey,
    encoding: Arc<EncodingKey>,
}

impl SigningKey {
    /// Makes a key; the bytes are its PKCS#8 form, to be kept.
    pub fn generate() -> Result<(Self, Vec<u8>), TokenError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| TokenError::Key)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| TokenError::Key)?.as_ref().to_vec();
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, TokenError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| TokenError::Key)?;
        let public = pair.public_key().as_ref().to_vec();
        let id = Sha256::of(&public).hex()[..16].to_owned();
        let encoding = Arc::new(EncodingKey::from_ed_der(pkcs8));
        Ok(Self { verifying: VerifyingKey { id, public }, encoding })
    }

    /// Reads the PEM form, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn from_pem(pem: &str) -> Result<Self, TokenError> {
        let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
        Self::from_pkcs8(&STANDARD.decode(body).map_err(|_| TokenError::Key)?)
    }

    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }
}

/// Signs and reads short tokens.
pub struct Tokens {
    signing: SigningKey,
    verifying: Vec<(String, DecodingKey)>,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    /// Which credential it was made from.
    credential: String,
    access: Vec<AccessClaim>,
}

#[derive(Serialize, Deserialize)]
struct AccessClaim {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Tokens {
    /// `earlier` are keys that were replaced but whose tokens may still live.
    pub fn new(signing: SigningKey, earlier: &[VerifyingKey]) -> Self {
        let keys = std::iter::once(signing.verifying()).chain(earlier);
        let verifying = keys.map(|key| (key.id.clone(), DecodingKey::from_ed_der(&key.public))).collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[SERVICE]);
        validation.set_issuer(&[SERVICE]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 5;
        Self { signing, verifying, validation }
    }

    /// Signs what a caller was granted. `credential` is empty for an anonymous caller.
    pub fn sign(&self, scoped: &Scoped, credential: &str, now: SystemTime) -> Result<String, TokenError> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| TokenError::Invalid)?.as_secs();
        let mut access: Vec<AccessClaim> = scoped
            .grants
            .iter()
            .map(|grant| AccessClaim {
                kind: "repository".into(),
                name: grant.repository.to_string(),
                actions: grant.actions.iter().map(|action| action.as_str().to_owned()).collect(),
            })
            .collect();
        if scoped.lists_catalog {
            access.push(AccessClaim {
                kind: "registry".into(),
                name: "catalog".into(),
                actions: vec!["*".into()],
            });
        }
        let claims = Claims {
            iss: SERVICE.into(),
            aud: SERVICE.into(),
            sub: scoped.subject.clone(),
            iat: seconds,
            nbf: seconds,
            exp: seconds + TOKEN_LIFE.as_secs(),
            credential: credential.to_owned(),
            access,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.signing.verifying().id.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing.encoding).map_err(|_| TokenError::Key)
    }

    /// Reads a token that one of our keys signed. `is_live` tells whether the credential behind it still works.
    pub fn verify(&self, token: &str, is_live: impl Fn(&str) -> bool) -> Result<Scoped, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = self.verifying.iter().find(|(id, _)| header.kid.as_ref() == Some(id));
        let (_, key) = key.ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if !claims.sub.is_empty() && !is_live(&claims.credential) {
            return Err(TokenError::Invalid);
        }
        let mut scoped = Scoped { subject: claims.sub, grants: Vec::new(), lists_catalog: false };
        for access in claims.access {
            match (access.kind.as_str(), access.name.parse()) {
                ("repository", Ok(repository)) => scoped.grants.push(Grant {
                    repository,
                    actions: access.actions.iter().filter_map(|word| Action::parse(word)).collect(),
                }),
                ("registry", _) if access.name == "catalog" => scoped.lists_catalog = true,
                _ => return Err(TokenError::Invalid),
            }
        }
        Ok(scoped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped() -> Scoped {
        Scoped {
            subject: "admin".into(),
            grants: vec![Grant { repository: "acme/a".parse().unwrap(), actions: vec![Action::Pull] }],
            lists_catalog: true,
        }
    }

    #[test]
    fn what_was_signed_is_read() {
        let tokens = Tokens::new(SigningKey::generate().unwrap().0, &[]);
        let token = tokens.sign(&scoped(), "abc", SystemTime::now()).unwrap();
        assert_eq!(tokens.verify(&token, |credential| credential == "abc").unwrap(), scoped());
        assert!(tokens.verify(&token, |_| false).is_err(), "the credential behind it is gone");
    }

    #[test]
    fn a_replaced_key_verifies_while_it_is_listed() {
        let (old, _) = SigningKey::generate().unwrap();
        let token = Tokens::new(old.clone(), &[]).sign(&scoped(), "", SystemTime::now()).unwrap();
        let (new, _) = SigningKey::generate().unwrap();
        let listed = Tokens::new(new.clone(), &[old.verifying().clone()]);
        assert!(listed.verify(&token, |_| true).is_ok());
        assert!(Tokens::new(new, &[]).verify(&token, |_| true).is_err());
    }

    #[test]
    fn altered_and_expired_tokens_are_refused() {
        let tokens = Tokens::new(SigningKey::generate().unwrap().0, &[]);
        let long_ago = SystemTime::now() - TOKEN_LIFE - Duration::from_secs(60);
        let expired = tokens.sign(&scoped(), "", long_ago).unwrap();
        assert!(tokens.verify(&expired, |_| true).is_err());
        let token = tokens.sign(&scoped(), "", SystemTime::now()).unwrap();
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
        let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let altered = URL_SAFE_NO_PAD.encode(
            String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap().replace("acme/a", "acme/b"),
        );
        for forged in [
            format!("{unsigned}.{claims}."),
            format!("{header}.{altered}.{signature}"),
            format!("{header}.{claims}."),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(tokens.verify(&forged, |_| true).is_err(), "{forged}");
        }
    }

    #[test]
    fn a_pem_key_is_read() {
        let (key, pkcs8) = SigningKey::generate().unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8));
        assert_eq!(SigningKey::from_pem(&pem).unwrap().verifying(), key.verifying());
        assert!(SigningKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n").is_err());
    }

    #[test]
    fn the_admin_token_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let (first, new) = load_or_make_admin_token(&path).unwrap();
        assert!(new);
        assert_eq!(load_or_make_admin_token(&path).unwrap(), (first.clone(), false));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let admin = AdminToken::new(&first);
        assert!(admin.matches(&first) && !admin.matches("quire_other"));
        fs::write(&path, "").unwrap();
        assert!(load_or_make_admin_token(&path).is_err());
    }
}
