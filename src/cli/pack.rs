//! `quire pack`: one zip for one folder, the same on every machine.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;
use tempfile::NamedTempFile;

use super::text::{plain, record};
use super::{CommandError, EXIT_NO, findings, output_flag, wants_json};
use crate::package::{Artifact, LeftOut, Limits, Packed, Plugin, TEMPORARY, Tree, hash, pack};

/// Longest time that reading the package back takes.
const PATIENCE: Duration = Duration::from_secs(10);

const HELP: &str = "\
Left out are folders of version control, caches of Python, .venv, and what desktops and editors leave behind; and what \
the file .quireignore in DIR names, in the syntax of .gitignore. `!name` in it takes in what would be left out.

Exit codes: 0 written, or the same package is there already; 1 some finding is an error; 2 it could not be read or \
written.";

pub fn command() -> Command {
    let path = || value_parser!(PathBuf);
    Command::new("pack")
        .about("Make the package of a folder: the same files give the same bytes, on every machine")
        .arg(
            Arg::new("folder")
                .value_name("DIR")
                .required(true)
                .value_parser(path())
                .help("The folder of the plugin"),
        )
        .arg(
            Arg::new("to")
                .short('o')
                .long("to")
                .value_name("FILE")
                .value_parser(path())
                .help("Where to write it [default: <pid>-<version>.zip]"),
        )
        .arg(switch("force").help("Replace a file that is there"))
        .arg(switch("verbose").short('v').help("Tell what is left out"))
        .arg(output_flag())
        .after_help(HELP)
}

fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

pub fn run(matches: &ArgMatches) -> Result<u8, CommandError> {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let to = matches.get_one::<PathBuf>("to");
    // The name of the package is known when it is made, its folder before.
    let target = match to {
        Some(to) if to.is_dir() => Target { folder: to.clone(), name: None },
        Some(to) => Target { folder: parent(to), name: to.file_name().map(PathBuf::from) },
        None => Target { folder: PathBuf::new(), name: None },
    };
    let limits = Limits::default();
    let output = target.name.as_ref().map(|name| target.folder.join(name));
    let tree = Tree::read(&folder, output.as_deref(), &limits)?;
    if matches.get_flag("verbose") && !wants_json(matches) {
        tell_left_out(tree.left_out())?;
    }
    let in_target = |error| CommandError::File { path: target.folder.clone(), error };
    // Beside its place, so that it gets its name in one step; with the permissions that any new file gets.
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(here(&target.folder))
        .map_err(in_target)?;
    let Packed { plugin, findings } = pack(&tree, temporary.as_file(), &limits, PATIENCE)?;
    let mut out = anstream::stdout().lock();
    let Some((plugin, artifact)) = plugin else {
        match wants_json(matches) {
            true => writeln!(out, "{:#}", findings::refusal(json!(findings)))?,
            false => findings::tell(&mut out, &findings)?,
        }
        return Ok(EXIT_NO);
    };
    let name =
        target.name.unwrap_or_else(|| format!("{}-{}.zip", plugin.pid, plugin.version.as_str()).into());
    let path = target.folder.join(name);
    let written = place(temporary, &path, &artifact, matches.get_flag("force"));
    let written = written.map_err(|error| CommandError::File { path: path.clone(), error })?;
    if wants_json(matches) {
        let left_out = tree.left_out().iter();
        let report = json!({
            "accepted": true,
            "plugin": { "pid": plugin.pid, "version": plugin.version.as_str(), "name": plugin.name },
            "findings": findings,
            "path": path.to_string_lossy(),
            "written": written,
            "size": artifact.zip_size,
            "digest": artifact.zip_digest.to_string(),
            "manifest_digest": artifact.manifest_digest.to_string(),
            "left_out": left_out.map(|out| json!({ "path": out.path, "reason": out.reason })).collect::<Vec<_>>(),
        });
        writeln!(out, "{report:#}")?;
    } else {
        findings::tell(&mut out, &findings)?;
        show(&mut out, &path, written, &plugin, &artifact)?;
    }
    Ok(0)
}

struct Target {
    /// Empty: the current one.
    folder: PathBuf,
    /// `None`: named after the plugin.
    name: Option<PathBuf>,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Gives the package its name. False: it was there already, byte for byte.
fn place(temporary: NamedTempFile, path: &Path, artifact: &Artifact, force: bool) -> io::Result<bool> {
    if let Ok(there) = File::open(path)
        && there.metadata()?.len() == artifact.zip_size
        && hash(&there)?.0 == artifact.zip_digest
    {
        return Ok(false);
    }
    temporary.as_file().sync_all()?;
    if force {
        temporary.persist(path)?;
        return Ok(true);
    }
    match temporary.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let message = "it is there, and is another one; --force replaces it";
            Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
        }
        Err(error) => Err(error.error),
    }
}

fn show(
    out: &mut impl Write,
    path: &Path,
    written: bool,
    plugin: &Plugin,
    artifact: &Artifact,
) -> io::Result<()> {
    let there = if written { "" } else { " (was there already)" };
    record(
        out,
        &[
            ("file", format!("{}{there}", path.display())),
            ("pid", plugin.pid.clone()),
            ("version", plugin.version.as_str().to_owned()),
            ("size", artifact.zip_size.to_string()),
            ("digest", artifact.zip_digest.to_string()),
            ("manifest", artifact.manifest_digest.to_string()),
        ],
    )
}

fn tell_left_out(left_out: &[LeftOut]) -> io::Result<()> {
    let mut err = anstream::stderr().lock();
    for LeftOut { path, reason } in left_out {
        writeln!(err, "left out: {path} [{}]", plain(reason))?;
    }
    Ok(())
}
