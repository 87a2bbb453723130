//! `quire plugins set`: whether a version is enabled, yanked or deprecated.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};

use super::show::details;
use crate::cli::{CommandError, EXIT_USAGE, plugin_flags, remote};
use crate::client::{ClientError, PluginVersion, read};
use crate::config::Environment;
use crate::version::Version;

/// Each changes one thing; at least one of them is needed.
const CHANGES: [&str; 5] = ["enabled", "yank", "unyank", "deprecate", "undeprecate"];

pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let words = |name: &'static str, value: &'static str| {
        flag(name).value_name(value).value_parser(NonEmptyStringValueParser::new())
    };
    let switch = |name: &'static str| flag(name).action(ArgAction::SetTrue);
    let enabled = flag("enabled").value_name("true|false").value_parser(value_parser!(bool));
    let successor = flag("successor").value_name("PID").value_parser(plugin_flags::parse_pid);
    remote::command("set", "Enable, disable, yank or deprecate a version of the catalog that is named")
        .arg(plugin_flags::pid())
        .arg(plugin_flags::version("version", "VERSION").help("The version that changes"))
        .arg(enabled.help("Whether it may be loaded and can be the latest"))
        .arg(
            words("yank", "REASON").conflicts_with("unyank").help("It is not to be chosen any more, and why"),
        )
        .arg(switch("unyank").help("It may be chosen again"))
        .arg(
            words("deprecate", "MESSAGE")
                .conflicts_with("undeprecate")
                .help("Advise against it, and say why"),
        )
        .arg(
            successor
                .requires("deprecate")
                .conflicts_with("undeprecate")
                .help("What takes the place of the plugin"),
        )
        .arg(switch("undeprecate").help("Take the advice back"))
        .arg(
            plugin_flags::org().help("The organisation whose own plugin it is [default: the catalog system]"),
        )
        .group(ArgGroup::new("change").args(CHANGES).required(true).multiple(true))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let Some(version) = matches.get_one::<Version>("version") else { return Ok(EXIT_USAGE) };
    let source = if matches.contains_id("org") { "org" } else { "system" };
    let body = changes(matches);
    remote::ask(matches, environment, async |registry| {
        let path = format!("{}/versions/{version}", plugin_flags::path(matches));
        let found = registry.get(&path, &[("source", source.to_owned())]).await?;
        let found: PluginVersion = read(registry.registry(), &found)?;
        let id = remote::id(&found.id).map_err(|_| {
            let (url, reason) = (registry.registry().to_string(), "its answer has a broken id".to_owned());
            ClientError::Unexpected { url, reason }
        })?;
        let changed = registry.patch(&format!("{}/{id}", plugin_flags::base(matches)), &body).await?;
        remote::show(matches, registry, &changed, |out, changed| details(out, &changed))?;
        Ok(0)
    })
}

/// The body of the change: what is not named stays, and null takes away.
fn changes(matches: &ArgMatches) -> Value {
    let text = |name: &str| matches.get_one::<String>(name);
    let mut body = Map::new();
    if let Some(enabled) = matches.get_one::<bool>("enabled") {
        body.insert("enabled".into(), json!(enabled));
    }
    if let Some(reason) = text("yank") {
        body.insert("yanked".into(), json!({ "reason": reason }));
    }
    if let Some(message) = text("deprecate") {
        let mut deprecated = json!({ "message": message });
        if let Some(successor) = text("successor") {
            deprecated["successor"] = json!(successor);
        }
        body.insert("deprecated".into(), deprecated);
    }
    for (flag, part) in [("unyank", "yanked"), ("undeprecate", "deprecated")] {
        if matches.get_flag(flag) {
            body.insert(part.into(), Value::Null);
        }
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(arguments: &[&str]) -> Option<Value> {
        let arguments = [&["set", "com.acme.hello", "1.0"], arguments].concat();
        command().try_get_matches_from(arguments).ok().map(|matches| changes(&matches))
    }

    #[test]
    fn a_change_names_what_changes() {
        let deprecated = json!({ "deprecated": { "message": "old", "successor": "com.acme.new" } });
        for (arguments, expected) in [
            (&["--enabled", "true"][..], json!({ "enabled": true })),
            (&["--enabled", "false", "--unyank"], json!({ "enabled": false, "yanked": null })),
            (&["--yank", "a b"], json!({ "yanked": { "reason": "a b" } })),
            (&["--deprecate", "old"], json!({ "deprecated": { "message": "old" } })),
            (&["--deprecate", "old", "--successor", "com.acme.new"], deprecated),
            (&["--undeprecate"], json!({ "deprecated": null })),
        ] {
            assert_eq!(body(arguments), Some(expected), "{arguments:?}");
        }
        for arguments in [
            &[][..],
            &["--successor", "com.acme.new"],
            &["--undeprecate", "--successor", "com.acme.new"],
            &["--deprecate", "old", "--successor", "new"],
            &["--yank", "x", "--unyank"],
            &["--deprecate", "x", "--undeprecate"],
            &["--enabled", "perhaps"],
            &["--yank", ""],
            &["--org", "acme"],
        ] {
            assert_eq!(body(arguments), None, "{arguments:?}");
        }
    }
}
