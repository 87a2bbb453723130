//! Migrations: which of the embedded steps a database still needs, and when it must be refused.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::digest::Sha256;

/// A version of the program. A pre-release counts as its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Program {
    /// This very program.
    pub const THIS: Self = Self {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        patch: number(env!("CARGO_PKG_VERSION_PATCH")),
    };

    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

const fn number(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        // Cargo refuses a package with such a version.
        Err(_) => 0,
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Program {
    type Err = MigrateError;

    fn from_str(text: &str) -> Result<Self, MigrateError> {
        let numbers: Vec<u32> = text.split('.').map_while(|digits| digits.parse().ok()).collect();
        match numbers[..] {
            [major, minor, patch] if text.split('.').count() == 3 => Ok(Self { major, minor, patch }),
            _ => Err(MigrateError::NoVersion(text.to_owned())),
        }
    }
}

/// One step of a schema. Released steps are never changed.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
    /// The oldest program that can use the database once this step has run. A step that only adds has that of the
    /// step before; one that takes away what some program uses has the first that does without.
    pub oldest_program: Program,
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
    pub name: String,
    pub sha256: String,
    /// As the program that ran the step recorded it. `None`: it ran before this was recorded.
    pub oldest_program: Option<Program>,
}

/// Why a database is not opened.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MigrateError {
    #[error(
        "the database was migrated (step {step}) for quire {oldest} and newer ones, and this is quire {this}: \
         use {oldest} or newer"
    )]
    ProgramTooOld { step: i64, oldest: Program, this: Program },
    #[error("schema version {version} of the database was made by another text than this program's")]
    Changed { version: i64 },
    #[error("the database lacks schema version {version} but has later ones")]
    Gap { version: i64 },
    #[error(
        "the database has schema version {version} and does not say which programs know it: use a newer program"
    )]
    Unknown { version: i64 },
    #[error("the database names {0:?} as the oldest program, which is no version")]
    NoVersion(String),
}

/// The steps that are still to run, in order. `known` is in the order of its versions, as is `applied`.
///
/// A database may have steps behind those that are known: newer programs ran them, and each says which programs can
/// go on beside it. So a newer version can be rolled out while the one before still serves.
pub fn pending<'a>(
    known: &'a [Migration],
    applied: &[Applied],
    this: Program,
) -> Result<&'a [Migration], MigrateError> {
    let needs = |have: &Applied| Some((have.oldest_program?, have.version));
    if let Some((oldest, step)) = applied.iter().filter_map(needs).max()
        && oldest > this
    {
        return Err(MigrateError::ProgramTooOld { step, oldest, this });
    }
    for (step, have) in known.iter().zip(applied) {
        if step.version != have.version {
            return Err(MigrateError::Gap { version: step.version });
        }
        if step.sha256().hex() != have.sha256 {
            return Err(MigrateError::Changed { version: have.version });
        }
    }
    let mut newer = applied.iter().skip(known.len());
    if let Some(untold) = newer.find(|have| have.oldest_program.is_none()) {
        return Err(MigrateError::Unknown { version: untold.version });
    }
    Ok(known.get(applied.len()..).unwrap_or_default())
}

/// A database as it stands to this program.
#[derive(Debug)]
pub struct Schema {
    pub applied: Vec<Applied>,
    /// What is still to run before the database can be used.
    pub pending: &'static [Migration],
}

impl Schema {
    /// Compares what a database says with the steps of this program.
    pub fn of(known: &'static [Migration], applied: Vec<Applied>) -> Result<Self, MigrateError> {
        let pending = pending(known, &applied, Program::THIS)?;
        Ok(Self { applied, pending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Program = Program::new(1, 0, 0);
    const THIS: Program = Program::new(1, 1, 0);
    const STEPS: [Migration; 2] = [
        Migration { version: 1, name: "one", sql: "SELECT 1", oldest_program: OLD },
        Migration { version: 2, name: "two", sql: "SELECT 2", oldest_program: OLD },
    ];

    fn applied(version: i64, sql: &str, oldest_program: Option<Program>) -> Applied {
        Applied { version, name: "step".into(), sha256: Sha256::of(sql.as_bytes()).hex(), oldest_program }
    }

    fn both() -> Vec<Applied> {
        vec![applied(1, "SELECT 1", None), applied(2, "SELECT 2", Some(OLD))]
    }

    #[test]
    fn only_what_is_missing_runs() {
        assert_eq!(pending(&STEPS, &[], THIS).unwrap().len(), 2);
        let rest = pending(&STEPS, &both()[..1], THIS).unwrap();
        assert_eq!(rest.iter().map(|step| step.version).collect::<Vec<_>>(), [2]);
        assert!(pending(&STEPS, &both(), THIS).unwrap().is_empty());
    }

    #[test]
    fn newer_steps_are_used_by_programs_that_they_allow() {
        for oldest in [OLD, THIS] {
            let mut newer = both();
            newer.push(applied(3, "SELECT 3", Some(oldest)));
            assert!(pending(&STEPS, &newer, THIS).unwrap().is_empty());
        }
        let next = Program::new(1, 2, 0);
        let mut contracted = both();
        contracted.push(applied(3, "SELECT 3", Some(next)));
        // A step behind it that only added.
        contracted.push(applied(4, "SELECT 4", Some(THIS)));
        let error = pending(&STEPS, &contracted, THIS).unwrap_err();
        assert_eq!(error, MigrateError::ProgramTooOld { step: 3, oldest: next, this: THIS });
        assert!(error.to_string().ends_with("this is quire 1.1.0: use 1.2.0 or newer"), "{error}");
    }

    #[test]
    fn strange_databases_are_refused() {
        let changed = [applied(1, "SELECT 7", None)];
        assert_eq!(pending(&STEPS, &changed, THIS).unwrap_err(), MigrateError::Changed { version: 1 });
        let gap = [applied(2, "SELECT 2", None)];
        assert_eq!(pending(&STEPS, &gap, THIS).unwrap_err(), MigrateError::Gap { version: 1 });
        let mut untold = both();
        untold.push(applied(3, "SELECT 3", None));
        assert_eq!(pending(&STEPS, &untold, THIS).unwrap_err(), MigrateError::Unknown { version: 3 });
    }

    #[test]
    fn versions_of_programs_are_ordered_by_their_numbers() {
        let version = |text: &str| text.parse::<Program>();
        assert!(version("0.10.0").unwrap() > version("0.9.12").unwrap());
        assert_eq!(version("1.2.3").unwrap().to_string(), "1.2.3");
        assert_eq!(version(&Program::THIS.to_string()), Ok(Program::THIS));
        for text in ["", "1", "1.2", "1.2.x", "1.2.3.4", "1.2.3-rc.1", "v1.2.3"] {
            assert_eq!(version(text), Err(MigrateError::NoVersion(text.into())), "{text}");
        }
    }
}
