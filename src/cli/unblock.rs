//! `quire unblock`: bytes that were blocked are served again.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{CommandError, EXIT_USAGE, block, remote, text, wants_json};
use crate::config::Environment;
use crate::digest::Sha256;

pub fn command() -> Command {
    remote::command("unblock", "Serve bytes again that were blocked").arg(block::digest())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let (Some(path), Some(digest)) = (block::path(matches), matches.get_one::<Sha256>("digest")) else {
        return Ok(EXIT_USAGE);
    };
    remote::ask(matches, environment, async |registry| {
        registry.delete(&path).await?;
        if wants_json(matches) {
            let report = json!({ "digest": digest.to_string(), "blocked": false });
            writeln!(anstream::stdout().lock(), "{}", text::json(&report))?;
        } else {
            remote::note(matches, &format!("{digest} is no longer blocked"))?;
        }
        Ok(0)
    })
}
