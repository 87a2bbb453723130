//! What the store keeps of API tokens: everything but their secrets.

use std::time::SystemTime;

use uuid::Uuid;

use crate::access::{RepositoryGlob, Role};
use crate::digest::Sha256;

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: Uuid,
    pub name: String,
    /// Of the secret.
    pub sha256: Sha256,
    /// Each a catalog and a role on it. Grants on an organisation go when it does.
    pub grants: Vec<(String, Role)>,
    /// `None`: not narrowed.
    pub repositories: Option<Vec<RepositoryGlob>>,
    pub created_by: String,
    pub created: SystemTime,
    pub expires: Option<SystemTime>,
}

/// What came of making a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateToken {
    Created,
    /// There is no such catalog to grant a role on.
    CatalogUnknown(String),
}
