//! `quire plugins show`: everything that is known about one version of a plugin.

use std::io::{self, Write};

use clap::{Arg, ArgMatches, Command, value_parser};

use super::state;
use crate::cli::text::{one_line, or_dash, record, table, words};
use crate::cli::{CommandError, plugin_flags, remote};
use crate::client::{PluginVersion, Setting};
use crate::config::Environment;
use crate::version::Version;

pub fn command() -> Command {
    let version = Arg::new("version").long("version").value_name("VERSION");
    remote::command("show", "Show one version of a plugin, with its settings")
        .arg(plugin_flags::pid())
        .arg(
            version
                .value_parser(value_parser!(Version))
                .help("Which one [default: as plugins list shows it]"),
        )
        .arg(plugin_flags::org())
        .arg(plugin_flags::source())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let mut path = plugin_flags::path(matches);
    if let Some(version) = matches.get_one::<Version>("version") {
        path = format!("{path}/versions/{version}");
    }
    remote::ask(matches, environment, async |registry| {
        let one = registry.get(&path, &plugin_flags::source_query(matches)).await?;
        remote::show(matches, registry, &one, |out, one| details(out, &one))?;
        Ok(0)
    })
}

pub(super) fn details(mut out: &mut dyn Write, one: &PluginVersion) -> io::Result<()> {
    let mut parts = vec![
        ("pid", one.pid.clone()),
        ("version", one.version.clone()),
        ("source", one.source.clone()),
        ("state", state(one)),
    ];
    parts.extend(one.blocked.as_ref().map(|blocked| ("blocked", one_line(&blocked.reason))));
    parts.extend(one.yanked.as_ref().map(|yanked| ("yanked", one_line(&yanked.reason))));
    parts.extend(one.deprecated.as_ref().map(|deprecated| {
        let successor = deprecated.successor.as_ref();
        let successor = successor.map(|pid| format!(" (successor: {pid})")).unwrap_or_default();
        ("deprecated", format!("{}{successor}", one_line(&deprecated.message)))
    }));
    parts.extend([
        ("name", words(&one.name)),
        ("description", words(&one.description)),
        ("tag", words(&one.tag)),
        ("capabilities", words(&one.capabilities)),
        ("dependencies", words(&one.dependencies)),
        ("entrypoint", words(&one.entrypoint)),
        ("sdk version", words(&one.sdk_version)),
        ("specialized", words(&one.is_specialized)),
        ("scoped", words(&one.is_scoped)),
        ("stateless", words(&one.stateless)),
        ("digest", one.digest.clone()),
        ("manifest", one.manifest_digest.clone()),
        ("size", one.size.to_string()),
        ("url", one.url.clone()),
        ("readme", or_dash(one.readme.as_deref())),
        ("logo", or_dash(one.logo_image.as_deref())),
        ("created", one.created_at.clone()),
        ("id", one.id.clone()),
    ]);
    record(&mut out, &parts)?;
    let settings = one.settings_schema.as_deref().unwrap_or_default();
    if settings.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table(&mut out, ["SETTING", "TYPE", "DEFAULT", "", "DESCRIPTION"], settings.iter().map(row))
}

fn row(setting: &Setting) -> [String; 5] {
    let marks = match (setting.required, setting.sensitive) {
        (true, true) => "required,sensitive",
        (true, false) => "required",
        (false, true) => "sensitive",
        (false, false) => "",
    };
    let default = if setting.default.is_null() { "-".to_owned() } else { setting.default.to_string() };
    let description = or_dash(setting.description.as_deref().map(one_line).as_deref());
    [setting.key.clone(), setting.kind.clone(), default, marks.to_owned(), description]
}
