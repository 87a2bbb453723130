//! What stays out of a package: what tools leave behind, and what `.quireignore` names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::PackError;

/// The file that names more, at the root of the folder, as git's `.gitignore` does.
const NAMES: &str = ".quireignore";
const NAMES_LIMIT: u64 = 1 << 20;

/// How the file begins that a package is written to before it gets its name.
pub const TEMPORARY: &str = ".quire-pack-";

/// No plugin needs any of these. `!name` in `.quireignore` takes one in all the same. What is changed here changes
/// digests: `docs/adr/0013-canonical-packages.md`.
const ALWAYS: [&str; 25] = [
    // Version control.
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    ".jj",
    ".sl",
    "_darcs/",
    "CVS/",
    // What Python makes.
    "__pycache__",
    "*.py[co]",
    ".venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    // What desktops make.
    ".DS_Store",
    "__MACOSX",
    "._*",
    "Thumbs.db",
    "desktop.ini",
    // What editors make while a file is open.
    "*.sw[op]",
    "*~",
    ".#*",
    "\\#*#",
    // Our own.
    NAMES,
    ".quire-pack-*",
];

/// A file, or a folder with all that is in it, that stays out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// From the root of the folder, fit for a terminal; a folder ends with `/`.
    pub path: String,
    /// The pattern that names it, or what it is.
    pub reason: String,
}

pub(super) struct Patterns(Gitignore);

impl Patterns {
    pub fn of(root: &Path) -> Result<Self, PackError> {
        let path = root.join(NAMES);
        let broken = |error| PackError::File { path: path.clone(), error };
        let invalid = |reason: String| broken(io::Error::new(io::ErrorKind::InvalidData, reason));
        // Paths are given from the root.
        let mut patterns = GitignoreBuilder::new(".");
        for pattern in ALWAYS {
            patterns.add_line(None, pattern).map_err(|error| invalid(error.to_string()))?;
        }
        let named = read(&path).map_err(broken)?.unwrap_or_default();
        for (index, line) in named.trim_start_matches('\u{feff}').lines().enumerate() {
            let line_number = index + 1;
            let added = patterns.add_line(None, line);
            added.map_err(|error| invalid(format!("line {line_number}: {error}")))?;
        }
        patterns.build().map(Self).map_err(|error| invalid(error.to_string()))
    }

    /// The pattern that keeps something out; `path` is from the root.
    pub fn against(&self, path: &Path, is_folder: bool) -> Option<&str> {
        match self.0.matched(path, is_folder) {
            Match::Ignore(pattern) => Some(pattern.original()),
            Match::None | Match::Whitelist(_) => None,
        }
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    // Neither through a link nor from a pipe, which might never end.
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("is not a regular file"));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    if file.take(NAMES_LIMIT + 1).read_to_string(&mut text)? as u64 > NAMES_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {NAMES_LIMIT} bytes"),
        ));
    }
    Ok(Some(text))
}
