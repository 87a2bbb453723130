//! The files of a folder that go into its package, in their order, and what speaks against the others.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::PackError;
use super::left_out::{LeftOut, Patterns};
use crate::package::files::{Files, PLUGIN_JSON, PLUGIN_PY, locate};
use crate::package::finding::Finding;
use crate::package::structure::{Limits, Rule, refusal, shown};
use crate::package::{Plugin, plugin};
use crate::version::Version;

/// The owner may execute it.
const OWNER_EXECUTES: u32 = 0o100;

/// A file that goes in.
#[derive(Debug)]
pub(super) struct Member {
    /// From the root, with `/` between folders. Perhaps not UTF-8: the check of the package will say so.
    pub name: Vec<u8>,
    pub size: u64,
    pub executable: bool,
}

/// A folder as it is packed. Its files stay on disk.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    members: Vec<Member>,
    left_out: Vec<LeftOut>,
    findings: Vec<Finding>,
    too_large: bool,
}

impl Tree {
    /// Looks through a folder. `output` is where the package will be: it is no part of itself.
    pub fn read(root: &Path, output: Option<&Path>, limits: &Limits) -> Result<Self, PackError> {
        let patterns = Patterns::of(root)?;
        let root = root.to_owned();
        let (members, left_out, findings) = Default::default();
        let mut tree = Self { root, members, left_out, findings, too_large: false };
        tree.walk(&patterns, limits)?;
        if let Some(output) = output {
            tree.leave_out_output(output)?;
        }
        tree.leave_out_packages()?;
        tree.limit_size(limits);
        tree.sort();
        Ok(tree)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether it is beyond a limit already, so that it need not be written.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(name))
    }

    /// Opens a file that was regular when the folder was looked through, and fails if it is a link now.
    pub(super) fn open(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(self.path_of(name))
    }

    fn walk(&mut self, patterns: &Patterns, limits: &Limits) -> Result<(), PackError> {
        let mut folders = vec![Vec::new()];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            let path = self.path_of(&folder);
            let in_folder = |error| PackError::File { path: path.clone(), error };
            for entry in fs::read_dir(&path).map_err(in_folder)? {
                let entry = entry.map_err(in_folder)?;
                let mut name = folder.clone();
                if !name.is_empty() {
                    name.push(b'/');
                }
                name.extend(entry.file_name().as_bytes());
                let kind = entry.file_type().map_err(in_folder)?;
                if let Some(pattern) = patterns.against(Path::new(OsStr::from_bytes(&name)), kind.is_dir()) {
                    let slash = if kind.is_dir() { "/" } else { "" };
                    let path = format!("{}{slash}", shown(&name));
                    self.left_out.push(LeftOut { path, reason: pattern.to_owned() });
                    continue;
                }
                seen += 1;
                if seen > limits.entries {
                    let message = format!("more than {} files and folders", limits.entries);
                    self.refuse_size(Rule::Entries, message);
                    return Ok(());
                }
                if kind.is_dir() {
                    folders.push(name);
                } else if kind.is_file() {
                    let metadata = entry.metadata().map_err(in_folder)?;
                    let executable = metadata.mode() & OWNER_EXECUTES != 0;
                    self.members.push(Member { name, size: metadata.len(), executable });
                } else {
                    self.findings.push(refuse_kind(kind, &name));
                }
            }
        }
        Ok(())
    }

    fn refuse_size(&mut self, rule: Rule, message: String) {
        self.too_large = true;
        self.findings.push(Finding::error(rule.id(), None, message).hint(rule.hint()));
    }

    fn limit_size(&mut self, limits: &Limits) {
        let size = self.members.iter().fold(0_u64, |size, member| size.saturating_add(member.size));
        if size > limits.unpacked {
            let message = format!("the files have {size} bytes, at most {} are allowed", limits.unpacked);
            self.refuse_size(Rule::Unpacked, message);
        }
    }

    fn leave_out(&mut self, reason: &str, is_out: impl Fn(&Member) -> bool) {
        let (out, members) = std::mem::take(&mut self.members).into_iter().partition(is_out);
        self.members = members;
        let out: Vec<Member> = out;
        let tell = |member: Member| LeftOut { path: shown(&member.name), reason: reason.to_owned() };
        self.left_out.extend(out.into_iter().map(tell));
    }

    fn leave_out_output(&mut self, output: &Path) -> Result<(), PackError> {
        let whole = |path: &Path| {
            fs::canonicalize(path).map_err(|error| PackError::File { path: path.to_owned(), error })
        };
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (folder, root) = (whole(folder.unwrap_or(Path::new(".")))?, whole(&self.root)?);
        if let (Ok(inside), Some(name)) = (folder.strip_prefix(&root), output.file_name()) {
            let inside = inside.join(name);
            self.leave_out("the output", |member| member.name == inside.as_os_str().as_bytes());
        }
        Ok(())
    }

    /// Packages of this plugin that an earlier run left at the root: `<pid>-<version>.zip`.
    fn leave_out_packages(&mut self) -> Result<(), PackError> {
        let reading = plugin::read(self);
        let reading = reading.map_err(|error| PackError::File { path: self.root.clone(), error })?;
        if let Some(Plugin { pid, .. }) = reading.plugin {
            let version = |member: &Member| -> Option<Version> {
                let name = std::str::from_utf8(&member.name).ok()?;
                name.strip_prefix(&pid)?.strip_prefix('-')?.strip_suffix(".zip")?.parse().ok()
            };
            self.leave_out("a package of this plugin", |member| version(member).is_some());
        }
        Ok(())
    }

    /// The metadata first, so that a reader of a stream has it early; then by the bytes of the names.
    fn sort(&mut self) {
        let metadata: BTreeSet<Vec<u8>> = match locate(self) {
            Ok(base) => [PLUGIN_JSON, PLUGIN_PY].map(|name| base.join(name).into_bytes()).into(),
            Err(_) => BTreeSet::new(),
        };
        let place = |member: &Member| (!metadata.contains(&member.name), member.name.clone());
        self.members.sort_by_cached_key(place);
        self.left_out.sort_by(|one, other| one.path.cmp(&other.path));
        // Stable, and only those of single files have a path.
        self.findings.sort_by(|one, other| one.path.cmp(&other.path));
    }
}

impl Files for Tree {
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter_map(|member| std::str::from_utf8(&member.name).ok())
    }

    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        if !self.members.iter().any(|member| member.name == path.as_bytes()) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read =
            self.open(path.as_bytes()).and_then(|file| file.take(limit as u64).read_to_end(&mut bytes));
        read.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        Ok(Some(bytes))
    }
}

fn refuse_kind(kind: FileType, name: &[u8]) -> Finding {
    let what = if kind.is_symlink() {
        return refusal(Rule::Link, name, "a symbolic link");
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    refusal(Rule::Special, name, what)
}
