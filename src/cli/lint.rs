//! `quire lint`: what the server would say about a package, without a server.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use super::{CommandError, EXIT_NO, findings, output_flag, wants_json};
use crate::package::{ArchiveError, Limits, check};

/// Longest time that reading a package takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn command() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf));
    Command::new("lint")
        .about("Check a plugin package: every finding at once, by the rules of the server")
        .arg(file.help("The zip of the plugin"))
        .arg(output_flag())
        .after_help(
            "Exit code 0: it would be accepted. 1: some finding is an error. 2: it could not be read.",
        )
}

pub fn run(matches: &ArgMatches) -> Result<u8, CommandError> {
    let path = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let in_file = |error| CommandError::File { path: path.clone(), error };
    let file = File::open(&path).map_err(in_file)?;
    let deadline = Instant::now() + PATIENCE;
    let package = check(&file, &Limits::default(), deadline);
    let package = package.map_err(|ArchiveError::Io(error)| in_file(error))?;
    let mut out = anstream::stdout().lock();
    if wants_json(matches) {
        let plugin = package.plugin.as_ref().map(
            |plugin| json!({ "pid": plugin.pid, "version": plugin.version.as_str(), "name": plugin.name }),
        );
        let accepted = !package.is_refused();
        let report = json!({ "accepted": accepted, "plugin": plugin, "findings": package.findings });
        writeln!(out, "{report:#}")?;
    } else {
        findings::tell(&mut out, &package.findings)?;
        if let Some(plugin) = &package.plugin {
            writeln!(out, "{} {} would be accepted", plugin.pid, plugin.version.as_str())?;
        }
    }
    Ok(if package.is_refused() { EXIT_NO } else { 0 })
}
