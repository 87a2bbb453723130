//! The shapes of the answers of `/api`, as far as they are shown to people.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ClientError;
use super::registry_url::RegistryUrl;
use super::secret::Secret;

#[derive(Debug, Deserialize)]
pub struct Organisation {
    pub id: String,
    pub name: Option<String>,
    pub domain: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    pub quota: Quota,
    pub usage: Usage,
}

/// `None`: no limit.
#[derive(Debug, Deserialize)]
pub struct Quota {
    pub bytes: Option<u64>,
    pub repositories: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct Usage {
    pub bytes: u64,
    pub repositories: u64,
}

#[derive(Debug, Deserialize)]
pub struct Token {
    pub id: String,
    /// Only in the answer that made it.
    #[serde(default)]
    pub token: Option<Secret>,
    pub name: String,
    pub grants: Vec<GrantOfToken>,
    /// `None`: every repository of its catalogs.
    pub repositories: Option<Vec<String>>,
    pub created_by: String,
    /// RFC 3339, as is the end; `None`: it has none.
    pub created_at: String,
    pub expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct GrantOfToken {
    pub catalog: String,
    pub role: String,
}

/// Who a credential stands for.
#[derive(Debug, Deserialize)]
pub struct Identity {
    pub subject: String,
    pub grants: Vec<HeldGrant>,
    pub expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct HeldGrant {
    pub catalog: String,
    /// The role, or the rule of an issuer that gave it.
    pub name: String,
    pub permissions: Vec<String>,
    /// `None`: all of the catalog.
    pub repositories: Option<Vec<String>>,
    pub moves_tags: bool,
}

/// The answer to "may I?".
#[derive(Debug, Deserialize)]
pub struct Ruling {
    pub allowed: bool,
    /// The grant that allows it, or the rule that does not.
    pub rule: String,
}

/// Reads an answer of a registry into its shape. Parts that are not known here are let by.
pub fn read<T: DeserializeOwned>(registry: &RegistryUrl, answer: &Value) -> Result<T, ClientError> {
    T::deserialize(answer).map_err(|error| {
        // The message of serde shows values of a wrong type, and one of them may be a secret.
        let kind = if error.is_data() { "lacks a part or has one of another type" } else { "is broken" };
        ClientError::Unexpected { url: registry.to_string(), reason: format!("its answer {kind}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn more_than_is_known_is_let_by_and_less_is_not() {
        let registry = RegistryUrl::parse("http://localhost:5000").unwrap();
        let ruling: Ruling =
            read(&registry, &json!({ "allowed": true, "rule": "public", "later": 1 })).unwrap();
        assert!(ruling.allowed && ruling.rule == "public");
        let error = read::<Ruling>(&registry, &json!({ "allowed": "hidden", "rule": "x" })).unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
        assert!(read::<Ruling>(&registry, &json!([])).is_err());
    }
}
