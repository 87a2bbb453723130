//! `quire plan`: what the orchestrators of an organisation load, and what they cannot.

use std::io::{self, Write};

use clap::{ArgMatches, Command};

use super::text::{one_line, or_dash, plain, table};
use super::{CommandError, EXIT_NO, plugin_flags, remote};
use crate::client::{Plan, PlannedPlugin, Unavailable, read};
use crate::config::Environment;

pub fn command() -> Command {
    remote::command(
        "plan",
        "Print what the orchestrators of an organisation load; the exit code is 1 when some of it is unavailable",
    )
    .arg(plugin_flags::org_required())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let path = format!("/api/orgs/{}/orchestrator-plan", plugin_flags::text(matches, "org"));
    remote::ask(matches, environment, async |registry| {
        let answer = registry.get(&path, &[]).await?;
        remote::show(matches, registry, &answer, |out, plan: Plan| tell(out, &plan))?;
        let plan: Plan = read(registry.registry(), &answer)?;
        Ok(if plan.unavailable.is_empty() { 0 } else { EXIT_NO })
    })
}

fn tell(mut out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    let rows = plan.plugins.iter().map(loaded).chain(plan.unavailable.iter().map(missing));
    table(&mut out, ["PID", "VERSION", "SOURCE", "CHANNEL", "STATE", "DIGEST"], rows)?;
    for plugin in &plan.plugins {
        let name = format!("{} {}", plugin.pid, plugin.version);
        if let Some(held) = &plugin.held {
            let instead = held.version.as_ref().map(|version| format!(" at {version}")).unwrap_or_default();
            let text = format!("{name}: the channel{instead} is not followed: {}", one_line(&held.message));
            reasons(out, &format!("{text} [{}]", held.code), &held.reasons)?;
        }
        if let Some(reason) = &plugin.yanked {
            reasons(out, &format!("{name}: yanked: {}", one_line(reason)), &[])?;
        }
        if let Some(message) = &plugin.deprecated {
            reasons(out, &format!("{name}: deprecated: {}", one_line(message)), &[])?;
        }
    }
    for one in &plan.unavailable {
        let text = format!("{}: unavailable: {} [{}]", one.pid, one_line(&one.message), one.code);
        reasons(out, &text, &one.reasons)?;
    }
    Ok(())
}

fn reasons(out: &mut dyn Write, text: &str, reasons: &[String]) -> io::Result<()> {
    writeln!(out, "{}", plain(text))?;
    for reason in reasons {
        writeln!(out, "  {}", plain(&one_line(reason)))?;
    }
    Ok(())
}

fn loaded(plugin: &PlannedPlugin) -> [String; 6] {
    let words = [
        (plugin.held.is_some(), "held"),
        (plugin.yanked.is_some(), "yanked"),
        (plugin.deprecated.is_some(), "deprecated"),
    ];
    let words: Vec<_> = words.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect();
    let state = if words.is_empty() { "load".to_owned() } else { words.join(",") };
    let (version, channel) = (plugin.version.clone(), or_dash(plugin.channel.as_deref()));
    [plugin.pid.clone(), version, plugin.source.clone(), channel, state, plugin.digest.clone()]
}

fn missing(one: &Unavailable) -> [String; 6] {
    let (version, channel) = (or_dash(one.version.as_deref()), or_dash(one.channel.as_deref()));
    [one.pid.clone(), version, one.source.clone(), channel, "unavailable".to_owned(), "-".to_owned()]
}
