//! `quire disable`: the orchestrators of an organisation load a plugin no longer.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{CommandError, plugin_flags, remote, text, wants_json};
use crate::client::{Connection, Enablement, read};
use crate::config::Environment;

pub fn command() -> Command {
    remote::command("disable", "Stop the orchestrators of an organisation from loading a plugin")
        .arg(plugin_flags::pid())
        .arg(plugin_flags::org_required())
        .arg(plugin_flags::source().help("Which one [default: the one that is enabled, if it is one]"))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let (org, pid) = (plugin_flags::text(matches, "org"), plugin_flags::text(matches, "pid"));
    remote::ask(matches, environment, async |registry| {
        let source = match matches.get_one::<String>("source") {
            Some(source) => source.as_str(),
            None => enabled_from(registry, org, pid).await?,
        };
        registry.delete(&format!("/api/orgs/{org}/enablements/{source}/{pid}")).await?;
        if wants_json(matches) {
            let report = json!({ "org": org, "source": source, "pid": pid, "enabled": false });
            writeln!(anstream::stdout().lock(), "{}", text::json(&report))?;
        } else {
            remote::note(matches, &format!("{org} no longer loads {pid} ({source})"))?;
        }
        Ok(0)
    })
}

/// The only source that the plugin is enabled from. What is not enabled at all the registry refuses.
async fn enabled_from(registry: &Connection, org: &str, pid: &str) -> Result<&'static str, CommandError> {
    let enabled = registry.get(&format!("/api/orgs/{org}/enablements"), &[]).await?;
    let enabled: Vec<Enablement> = read(registry.registry(), &enabled)?;
    let is_from = |source: &str| enabled.iter().any(|one| one.pid == pid && one.source == source);
    match (is_from("org"), is_from("system")) {
        (true, true) => Err(CommandError::Usage(format!("{pid} is enabled twice; choose one with --source"))),
        (false, true) => Ok("system"),
        (_, false) => Ok("org"),
    }
}
