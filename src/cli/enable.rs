//! `quire enable`: makes the orchestrators of an organisation load a plugin.

use std::io::{self, Write};

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use super::text::record;
use super::{CommandError, plugin_flags, remote};
use crate::client::{ClientError, Connection, Enablement, PluginVersion, read};
use crate::config::Environment;
use crate::digest::Sha256;
use crate::name::Tag;
use crate::version::Version;

pub fn command() -> Command {
    let version = Arg::new("version").long("version").value_name("VERSION");
    let channel = Arg::new("channel").long("channel").value_name("CHANNEL");
    let digest = Arg::new("digest").long("digest").value_name("DIGEST").value_parser(plugin_flags::digest);
    remote::command("enable", "Make the orchestrators of an organisation load a plugin")
        .arg(plugin_flags::pid())
        .arg(plugin_flags::org_required())
        .arg(plugin_flags::source())
        .arg(
            version
                .value_parser(value_parser!(Version))
                .conflicts_with("channel")
                .help("This version and no other"),
        )
        .arg(
            channel
                .value_parser(value_parser!(Tag))
                .help("What this channel points to, also when it moves [default: latest]"),
        )
        .arg(digest.help("Only if it leads to the package with this digest, as in sha256:0123…"))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let mut body = match (matches.get_one::<Version>("version"), matches.get_one::<Tag>("channel")) {
        (Some(version), _) => json!({ "version": version.as_str() }),
        (None, Some(channel)) => json!({ "channel": channel.to_string() }),
        (None, None) => json!({ "channel": "latest" }),
    };
    if let Some(digest) = matches.get_one::<Sha256>("digest") {
        body["digest"] = json!(digest.to_string());
    }
    remote::ask(matches, environment, async |registry| {
        let (org, pid) = (plugin_flags::text(matches, "org"), plugin_flags::text(matches, "pid"));
        let source = match matches.get_one::<String>("source") {
            Some(source) => source.clone(),
            None => found_in(matches, registry).await?,
        };
        let enabled = registry.put(&format!("/api/orgs/{org}/enablements/{source}/{pid}"), &body).await?;
        remote::show(matches, registry, &enabled, details)?;
        Ok(0)
    })
}

/// Where the plugin is: the registry looks into the organisation's own catalog first.
async fn found_in(matches: &ArgMatches, registry: &Connection) -> Result<String, CommandError> {
    let answer = registry.get(&plugin_flags::path(matches), &[]).await?;
    let found: PluginVersion = read(registry.registry(), &answer)?;
    if plugin_flags::SOURCES.contains(&&*found.source) {
        return Ok(found.source);
    }
    let reason = "its answer names no source".to_owned();
    Err(ClientError::Unexpected { url: registry.registry().to_string(), reason }.into())
}

fn details(mut out: &mut dyn Write, one: Enablement) -> io::Result<()> {
    let follows = match (&one.version, &one.channel) {
        (Some(version), _) => format!("version {version}"),
        (None, channel) => format!("channel {}", channel.as_deref().unwrap_or("-")),
    };
    record(
        &mut out,
        &[
            ("pid", one.pid),
            ("source", one.source),
            ("follows", follows),
            ("version", one.accepted_version),
            ("digest", one.accepted_digest),
            ("by", one.updated_by),
            ("at", one.updated_at),
        ],
    )
}
