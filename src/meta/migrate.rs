//! Migrations: which of the embedded steps a database still needs, and when it must be refused.

use thiserror::Error;

use crate::digest::Sha256;

/// One step of a schema. Released steps are never changed.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

impl Migration {
    /// The hash that is kept beside an applied step.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.sql.as_bytes())
    }
}

/// A step that a database says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub version: i64,
    pub sha256: String,
}

/// Why a database is not opened.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MigrateError {
    #[error("the database has schema version {found}, this program knows up to {known}: use a newer program")]
    Newer { found: i64, known: i64 },
    #[error("schema version {version} of the database was made by another text than this program's")]
    Changed { version: i64 },
    #[error("the database lacks schema version {version} but has later ones")]
    Gap { version: i64 },
}

/// The steps that are still to run, in order. `known` is in the order of its versions, as is `applied`.
pub fn pending<'a>(known: &'a [Migration], applied: &[Applied]) -> Result<&'a [Migration], MigrateError> {
    for (index, have) in applied.iter().enumerate() {
        let Some(step) = known.get(index) else {
            let known = known.last().map_or(0, |step| step.version);
            return Err(MigrateError::Newer { found: have.version, known });
        };
        if step.version != have.version {
            return Err(MigrateError::Gap { version: step.version });
        }
        if step.sha256().hex() != have.sha256 {
            return Err(MigrateError::Changed { version: have.version });
        }
    }
    Ok(&known[applied.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Migration; 2] = [
        Migration { version: 1, name: "one", sql: "SELECT 1" },
        Migration { version: 2, name: "two", sql: "SELECT 2" },
    ];

    fn applied(version: i64, sql: &str) -> Applied {
        Applied { version, sha256: Sha256::of(sql.as_bytes()).hex() }
    }

    #[test]
    fn only_what_is_missing_runs() {
        assert_eq!(pending(&STEPS, &[]).unwrap().len(), 2);
        let rest = pending(&STEPS, &[applied(1, "SELECT 1")]).unwrap();
        assert_eq!(rest.iter().map(|step| step.version).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn strange_databases_are_refused() {
        let newer = [applied(1, "SELECT 1"), applied(2, "SELECT 2"), applied(3, "SELECT 3")];
        assert_eq!(pending(&STEPS, &newer).unwrap_err(), MigrateError::Newer { found: 3, known: 2 });
        let changed = [applied(1, "SELECT 7")];
        assert_eq!(pending(&STEPS, &changed).unwrap_err(), MigrateError::Changed { version: 1 });
        let gap = [applied(2, "SELECT 2")];
        assert_eq!(pending(&STEPS, &gap).unwrap_err(), MigrateError::Gap { version: 1 });
    }
}
