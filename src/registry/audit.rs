//! The audit log: reading it, and telling it about refusals. Changes tell it themselves.

use super::{PAGE_LIMIT, Registry, RegistryError};
use crate::meta::{AuditEntry, AuditRecord};

impl Registry {
    /// Lines behind an id, in order: about one of the catalogs, or all.
    pub async fn audit(
        &self,
        catalogs: Option<&[String]>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, RegistryError> {
        Ok(self.meta.audit(catalogs, after, limit.min(PAGE_LIMIT)).await?)
    }

    /// Tells about something that was refused.
    pub async fn tell_audit(&self, entry: AuditEntry) -> Result<(), RegistryError> {
        Ok(self.meta.record(entry).await?)
    }
}
