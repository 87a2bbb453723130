//! `quire completions`: completion scripts for shells.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::{CommandError, EXIT_USAGE};

pub fn command() -> Command {
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell)).help("The shell");
    Command::new("completions").about("Print a completion script").arg(shell)
}

pub fn run(matches: &ArgMatches) -> Result<u8, CommandError> {
    let Some(shell) = matches.get_one::<Shell>("shell") else { return Ok(EXIT_USAGE) };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut super::command(), "quire", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(0)
}
