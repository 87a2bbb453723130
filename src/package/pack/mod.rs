//! Packing a folder: the same files always become the same zip, on every machine.

mod left_out;
mod tree;
mod zip;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

pub use self::left_out::{LeftOut, TEMPORARY};
pub use self::tree::Tree;
use super::artifact::Artifact;
use super::check::check;
use super::finding::{Finding, Severity};
use super::plugin::{self, Plugin};
use super::structure::{ArchiveError, Limits};

/// Why a folder could not be read, or its package not written.
#[derive(Debug, Error)]
pub enum PackError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("the package could not be written: {0}")]
    Zip(io::Error),
}

/// What became of a folder.
pub struct Packed {
    /// `None`: refused, and what was written is worth nothing.
    pub plugin: Option<(Plugin, Artifact)>,
    /// Those of the folder, then those of the package that was made of it.
    pub findings: Vec<Finding>,
}

/// Writes the package of a folder into an empty file, and reads it back as any registry will.
pub fn pack(tree: &Tree, file: &File, limits: &Limits, patience: Duration) -> Result<Packed, PackError> {
    let mut findings = tree.findings().to_vec();
    if tree.is_too_large() {
        findings.extend(metadata(tree)?);
        return Ok(Packed { plugin: None, findings });
    }
    zip::write(tree, file)?;
    let package = check(file, limits, Instant::now() + patience)
        .map_err(|ArchiveError::Io(error)| PackError::Zip(error))?;
    let sound = package.archive.is_some();
    findings.extend(package.findings);
    if !sound {
        // The structure alone was looked at; the folder can say the rest.
        findings.extend(metadata(tree)?);
    }
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let plugin = package.plugin.filter(|_| !refused);
    let artifact = plugin.as_ref().map(|plugin| Artifact::of(plugin, file)).transpose();
    let artifact = artifact.map_err(PackError::Zip)?;
    Ok(Packed { plugin: plugin.zip(artifact), findings })
}

fn metadata(tree: &Tree) -> Result<Vec<Finding>, PackError> {
    let reading = plugin::read(tree);
    let reading = reading.map_err(|error| PackError::File { path: tree.root().to_owned(), error })?;
    Ok(reading.findings)
}
