//! The Ed25519 keys that sign short tokens.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;

use super::TokenError;
use crate::digest::Sha256;

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
    pub(super) encoding: Arc<EncodingKey>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_key_is_read() {
        let (key, pkcs8) = SigningKey::generate().unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8));
        assert_eq!(SigningKey::from_pem(&pem).unwrap().verifying(), key.verifying());
        assert!(SigningKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n").is_err());
    }
}
