//! The command line: one file per command, flags made from the table of settings.

mod audit;
mod block;
mod blocked;
mod can_i;
mod check_config;
mod completions;
mod disable;
mod enable;
mod findings;
mod lint;
mod login;
mod logout;
mod man;
mod migrate;
mod org;
mod pack;
mod plan;
mod plugin_flags;
mod plugins;
mod push;
mod remote;
mod serve;
mod text;
mod token;
mod unblock;
mod version;
mod whoami;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use thiserror::Error;

use crate::app::StartError;
use crate::client::ClientError;
use crate::config::{self, ConfigError, Environment, Resolution, SETTINGS};
use crate::package::PackError;

/// The registry said no: refused, denied, unknown.
pub const EXIT_NO: u8 = 1;
/// Wrong usage, or a configuration that cannot be used.
pub const EXIT_USAGE: u8 = 2;
/// The registry could not be reached, or could not answer; or a server did not reach what it needs.
pub const EXIT_UNREACHABLE: u8 = 3;

/// Why a command did not do its work.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}")]
    Logging(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What the table of arguments cannot tell.
    #[error("{0}")]
    Usage(String),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl CommandError {
    /// What a process ends with that could not do its work.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Problem(problem)) if problem.status < 500 => EXIT_NO,
            Self::Client(ClientError::Problem(_) | ClientError::Unreachable { .. }) => EXIT_UNREACHABLE,
            Self::Start(error) if error.is_unavailable() => EXIT_UNREACHABLE,
            Self::Client(
                ClientError::Unexpected { .. }
                | ClientError::Url
                | ClientError::AuthFile { .. }
                | ClientError::Helper { .. }
                | ClientError::NoAuthFile
                | ClientError::Credential
                | ClientError::Source(_)
                | ClientError::Config(_),
            )
            | Self::Config(_)
            | Self::Start(_)
            | Self::Logging(_)
            | Self::Usage(_)
            | Self::File { .. }
            | Self::Pack(_)
            | Self::Io(_) => EXIT_USAGE,
        }
    }
}

/// The whole command line, for parsing, completions and the man page.
pub fn command() -> Command {
    Command::new("quire")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A content-addressed registry for plugin artifacts")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(check_config::command())
        .subcommand(migrate::command())
        .subcommand(login::command())
        .subcommand(logout::command())
        .subcommand(whoami::command())
        .subcommand(can_i::command())
        .subcommand(org::command())
        .subcommand(token::command())
        .subcommand(plugins::command())
        .subcommand(enable::command())
        .subcommand(disable::command())
        .subcommand(plan::command())
        .subcommand(block::command())
        .subcommand(unblock::command())
        .subcommand(blocked::command())
        .subcommand(audit::command())
        .subcommand(completions::command())
        .subcommand(man::command())
        .subcommand(lint::command())
        .subcommand(pack::command())
        .subcommand(push::command())
        .subcommand(version::command())
}

/// Parses the arguments and runs the command. The result is the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<u8, CommandError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            error.print()?;
            return Ok(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches, environment),
        Some(("check-config", matches)) => check_config::run(matches, environment),
        Some(("migrate", matches)) => remote::finish(matches, migrate::run(matches, environment)),
        Some(("login", matches)) => remote::finish(matches, login::run(matches, environment)),
        Some(("logout", matches)) => remote::finish(matches, logout::run(matches, environment)),
        Some(("whoami", matches)) => remote::finish(matches, whoami::run(matches, environment)),
        Some(("can-i", matches)) => remote::finish(matches, can_i::run(matches, environment)),
        Some(("org", matches)) => remote::finish(matches, org::run(matches, environment)),
        Some(("token", matches)) => remote::finish(matches, token::run(matches, environment)),
        Some(("plugins", matches)) => remote::finish(matches, plugins::run(matches, environment)),
        Some(("enable", matches)) => remote::finish(matches, enable::run(matches, environment)),
        Some(("disable", matches)) => remote::finish(matches, disable::run(matches, environment)),
        Some(("plan", matches)) => remote::finish(matches, plan::run(matches, environment)),
        Some(("block", matches)) => remote::finish(matches, block::run(matches, environment)),
        Some(("unblock", matches)) => remote::finish(matches, unblock::run(matches, environment)),
        Some(("blocked", matches)) => remote::finish(matches, blocked::run(matches, environment)),
        Some(("audit", matches)) => remote::finish(matches, audit::run(matches, environment)),
        Some(("completions", matches)) => completions::run(matches),
        Some(("man", _)) => man::run(),
        Some(("lint", matches)) => lint::run(matches),
        Some(("pack", matches)) => pack::run(matches),
        Some(("push", matches)) => remote::finish(matches, push::run(matches, environment)),
        Some(("version", matches)) => version::run(matches),
        _ => Ok(EXIT_USAGE),
    }
}

/// One flag per setting. Secrets have none: flags can be read in the list of processes.
fn setting_flags() -> Vec<Arg> {
    let open = SETTINGS.iter().filter(|setting| !setting.secret);
    open.map(|setting| {
        let default = setting.default.map(|default| format!(", default: {default}")).unwrap_or_default();
        Arg::new(setting.name).long(setting.flag()).value_name(setting.value).help(format!(
            "{} [{}{default}]",
            setting.about,
            setting.variable()
        ))
    })
    .collect()
}

/// The secrets have no flags, so the help tells their variables.
fn secrets_help() -> String {
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    let lines = secrets.map(|setting| format!("  {0}, {0}_FILE  {1}\n", setting.variable(), setting.about));
    format!("Secrets come from the environment:\n{}", lines.collect::<String>())
}

fn resolve(matches: &ArgMatches, environment: &Environment) -> Result<Resolution, ConfigError> {
    let mut flags = BTreeMap::new();
    for setting in SETTINGS.iter().filter(|setting| !setting.secret) {
        if let Some(value) = matches.get_one::<String>(setting.name) {
            flags.insert(setting.name, value.clone());
        }
    }
    config::resolve(&flags, environment)
}

/// `--output text|json`
fn output_flag() -> Arg {
    Arg::new("output")
        .long("output")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("Output format")
}

fn wants_json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("output").is_some_and(|format| format == "json")
}
