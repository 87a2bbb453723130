//! `quire plugins`: the catalog of plugins, and the state of their versions.

mod diff;
mod file;
mod files;
mod list;
mod set;
mod show;
mod versions;

use clap::{ArgMatches, Command};

use super::{CommandError, EXIT_USAGE};
use crate::client::PluginVersion;
use crate::config::Environment;

pub fn command() -> Command {
    Command::new("plugins")
        .about("List, show, compare and change plugins and their versions")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list::command())
        .subcommand(show::command())
        .subcommand(versions::command())
        .subcommand(files::command())
        .subcommand(diff::command())
        .subcommand(set::command())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    match matches.subcommand() {
        Some(("list", matches)) => list::run(matches, environment),
        Some(("show", matches)) => show::run(matches, environment),
        Some(("versions", matches)) => versions::run(matches, environment),
        Some(("files", matches)) => files::run(matches, environment),
        Some(("diff", matches)) => diff::run(matches, environment),
        Some(("set", matches)) => set::run(matches, environment),
        _ => Ok(EXIT_USAGE),
    }
}

/// The state of a version in a few words.
fn state(version: &PluginVersion) -> String {
    let words = [
        (version.is_latest, "latest"),
        (version.blocked.is_some(), "blocked"),
        (!version.enabled, "disabled"),
        (version.yanked.is_some(), "yanked"),
        (version.deprecated.is_some(), "deprecated"),
    ];
    let words: Vec<_> = words.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect();
    if words.is_empty() { "enabled".to_owned() } else { words.join(",") }
}
