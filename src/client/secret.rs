//! Secrets that no message shows.

use std::fmt;

use serde::Deserialize;

/// A token or password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a request, an auth file or a helper.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What an auth file or a helper keeps for a registry. Quire reads the secret alone; other clients send both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Without a colon: that ends a user name in the auth files.
    pub user: String,
    pub secret: Secret,
}
