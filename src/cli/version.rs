//! `quire version`: what this program is.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{CommandError, output_flag, wants_json};

pub fn command() -> Command {
    Command::new("version").about("Print the version and the protocol that it speaks").arg(output_flag())
}

pub fn run(matches: &ArgMatches) -> Result<u8, CommandError> {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = anstream::stdout().lock();
    if wants_json(matches) {
        writeln!(out, "{}", json!({ "version": version, "distribution_spec": "1.1" }))?;
    } else {
        writeln!(out, "quire {version} (OCI distribution 1.1)")?;
    }
    Ok(0)
}
