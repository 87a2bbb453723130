//! What the store keeps of organisations: names, quotas, and how much they hold.

use std::time::SystemTime;

/// An organisation, which is a catalog with an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    pub id: String,
    pub name: String,
    pub domain: Option<String>,
    pub quota: Quota,
    pub usage: Usage,
    pub created: SystemTime,
}

/// The most that a catalog may hold; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    pub bytes: Option<u64>,
    pub repositories: Option<u64>,
}

/// What a catalog holds. A digest counts once, in however many of its repositories it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub bytes: u64,
    pub repositories: u64,
}

impl Quota {
    /// Whether something more fits beside what is there.
    pub fn admits(&self, usage: Usage, more: Usage) -> Result<(), CatalogRefusal> {
        match (self.bytes, self.repositories) {
            (Some(limit), _) if more.bytes > 0 && usage.bytes.saturating_add(more.bytes) > limit => {
                Err(CatalogRefusal::Bytes { limit })
            }
            (_, Some(limit)) if more.repositories > 0 && usage.repositories + more.repositories > limit => {
                Err(CatalogRefusal::Repositories { limit })
            }
            _ => Ok(()),
        }
    }
}

/// Why a catalog takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogRefusal {
    /// There is no such catalog.
    Unknown,
    Bytes {
        limit: u64,
    },
    Repositories {
        limit: u64,
    },
}

/// A change of an organisation; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrganisationChange {
    pub name: Option<String>,
    pub domain: Option<Option<String>>,
    pub quota_bytes: Option<Option<u64>>,
    pub quota_repositories: Option<Option<u64>>,
}

/// What came of writing an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOrganisation {
    Written(Organisation),
    /// The id is taken (when made), or there is none (when changed).
    Conflict,
    /// Another organisation has this domain.
    DomainTaken,
}

/// What came of deleting an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOrganisation {
    Deleted,
    Unknown,
    /// It still holds blobs or manifests.
    NotEmpty,
}
