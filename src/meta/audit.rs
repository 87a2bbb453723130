//! The audit log: who did what to which object, by which rule, from where.

use std::net::IpAddr;
use std::time::SystemTime;

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Grows with time; where a reader goes on.
    pub id: u64,
    pub at: SystemTime,
    pub entry: AuditEntry,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub actor: String,
    /// A word of the closed set in `spec/http.md`: `tag.set`, `token.create` and so on.
    pub action: String,
    /// `None`: about no catalog.
    pub catalog: Option<String>,
    /// The repository with tag or digest, the organisation, the token.
    pub object: String,
    pub outcome: Outcome,
    /// The grant that allowed it, or the code of the refusal.
    pub rule: String,
    pub address: Option<IpAddr>,
    pub request_id: String,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}
