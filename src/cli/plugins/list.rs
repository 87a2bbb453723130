//! `quire plugins list`: every plugin of a catalog, or those that fit.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::state;
use crate::cli::text::words;
use crate::cli::{CommandError, plugin_flags, remote};
use crate::client::{List, PluginVersion};
use crate::config::Environment;
use crate::name::Tag;

/// Plugins of one page: few enough that the first ones are seen at once.
const PAGE: usize = 200;

pub fn command() -> Command {
    let filter = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(NonEmptyStringValueParser::new())
    };
    let channel = Arg::new("channel").long("channel").value_name("CHANNEL").value_parser(value_parser!(Tag));
    let disabled = Arg::new("include-disabled").long("include-disabled").action(ArgAction::SetTrue);
    remote::command("list", "List plugins, each with the latest version that is enabled")
        .arg(plugin_flags::org())
        .arg(filter("query", "WORDS").help("Only plugins in whose texts all of these words are"))
        .arg(filter("tag", "TAG").help("Only plugins whose package has this tag"))
        .arg(filter("capability", "CAPABILITY").help("Only plugins that can do this"))
        .arg(channel.help("The versions that this channel points to, in place of the latest"))
        .arg(disabled.help("Also plugins of which no version is enabled"))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let disabled = matches.get_flag("include-disabled");
    let mut query = vec![("limit", PAGE.to_string()), ("include_disabled", disabled.to_string())];
    for (flag, name) in [("query", "q"), ("tag", "tag"), ("capability", "capability")] {
        query.extend(matches.get_one::<String>(flag).map(|value| (name, value.clone())));
    }
    query.extend(matches.get_one::<Tag>("channel").map(|channel| ("channel", channel.to_string())));
    remote::ask(matches, environment, async |registry| {
        let list = List::of(registry, &plugin_flags::base(matches), &query);
        let head = ["PID", "VERSION", "SOURCE", "STATE", "NAME"];
        remote::show_pages(matches, registry, list, head, |one: PluginVersion| {
            let (state, name) = (state(&one), words(&one.name));
            [one.pid, one.version, one.source, state, name]
        })
        .await?;
        Ok(0)
    })
}
