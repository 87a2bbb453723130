//! Secrets and tokens: the admin token, API tokens, the short tokens that `/token` hands out, and how nodes know each
//! other. Pure.

mod admin;
pub mod api;
mod key;
pub mod node;
mod short;

use std::time::Duration;

use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::digest::Sha256;

pub use self::admin::{AdminToken, load_or_make_admin_token};
pub use self::key::{SigningKey, VerifyingKey};
pub use self::short::{Owner, ShortToken, Tokens};

/// How long a short token is good for.
pub const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// The name of this service in challenges and tokens.
pub const SERVICE: &str = "quire";

/// Compares digests of secrets in constant time.
pub fn is_same_digest(one: &Sha256, other: &Sha256) -> bool {
    one.0.ct_eq(&other.0).into()
}

/// Compares secrets in a time that depends on their lengths alone.
pub fn is_same_secret(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Why a key or a token is no good.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("the token key is not an Ed25519 key in PKCS#8")]
    Key,
    #[error("the token is not valid here, or no longer")]
    Invalid,
    #[error("the system has no random bytes")]
    Random,
}
