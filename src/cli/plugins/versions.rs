//! `quire plugins versions`: every version of a plugin, the newest first.

use clap::{ArgMatches, Command};

use super::state;
use crate::cli::{CommandError, plugin_flags, remote};
use crate::client::{List, PluginVersion};
use crate::config::Environment;

pub fn command() -> Command {
    remote::command("versions", "List every version of a plugin, the newest first")
        .arg(plugin_flags::pid())
        .arg(plugin_flags::org())
        .arg(plugin_flags::source())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let path = format!("{}/versions", plugin_flags::path(matches));
    remote::ask(matches, environment, async |registry| {
        let list = List::of(registry, &path, &plugin_flags::source_query(matches));
        let head = ["VERSION", "SOURCE", "STATE", "SIZE", "CREATED", "DIGEST"];
        remote::show_pages(matches, registry, list, head, |one: PluginVersion| {
            let (state, size) = (state(&one), one.size.to_string());
            [one.version, one.source, state, size, one.created_at, one.digest]
        })
        .await?;
        Ok(0)
    })
}
