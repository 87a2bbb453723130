//! `quire plugins files`: what is in the package of a version, as a list or one file of it.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, Command, value_parser};

use super::file;
use crate::cli::text::table;
use crate::cli::{CommandError, EXIT_USAGE, plugin_flags, remote};
use crate::client::ListedFile;
use crate::config::Environment;
use crate::version::Version;

pub fn command() -> Command {
    let path = Arg::new("path").long("path").value_name("FILE");
    let to = Arg::new("to").short('o').long("to").value_name("OUT").requires("path");
    remote::command("files", "List the files of a package, or fetch one of them")
        .arg(plugin_flags::pid())
        .arg(plugin_flags::version("version", "VERSION").help("The version whose package it is"))
        .arg(path.value_parser(NonEmptyStringValueParser::new()).help(
            "Fetch this file, as the list names it. Nothing is written before its digest was checked against the list's",
        ))
        .arg(
            to.value_parser(value_parser!(PathBuf))
                .help("Where to write it; a file that is there is replaced [default: standard output]"),
        )
        .arg(plugin_flags::org())
        .arg(plugin_flags::source())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let Some(version) = matches.get_one::<Version>("version") else { return Ok(EXIT_USAGE) };
    let path = format!("{}/versions/{version}/files", plugin_flags::path(matches));
    let query = plugin_flags::source_query(matches);
    file::check_flags(matches)?;
    remote::ask(matches, environment, async |registry| {
        if let Some(wanted) = matches.get_one::<String>("path") {
            return file::fetch(matches, registry, &path, &query, wanted).await;
        }
        let listed = registry.get(&path, &query).await?;
        remote::show(matches, registry, &listed, |mut out, files: Vec<ListedFile>| {
            let rows = files.into_iter().map(|file| {
                let mark = if file.executable { "x" } else { "" };
                [file.size.to_string(), mark.to_owned(), file.digest, file.path]
            });
            table(&mut out, ["SIZE", "", "DIGEST", "PATH"], rows)
        })?;
        Ok(0)
    })
}
