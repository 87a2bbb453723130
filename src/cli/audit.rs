//! `quire audit`: what happened, one JSON line for each event, as they come.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{CommandError, remote};
use crate::client::Lines;
use crate::config::Environment;

pub fn command() -> Command {
    let catalog = Arg::new("catalog").long("catalog").value_name("CATALOG").value_parser(remote::id);
    let after = Arg::new("after").long("after").value_name("ID").value_parser(value_parser!(u64));
    let limit = Arg::new("limit").long("limit").value_name("N").value_parser(value_parser!(u64).range(1..));
    remote::command("audit", "Print the audit log as JSON lines, the oldest event first")
        .arg(catalog.help("Only events of this catalog"))
        .arg(after.help("Only events after this one"))
        .arg(limit.help("At most so many events"))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let text = |name: &'static str| matches.get_one::<String>(name).map(|value| (name, value.clone()));
    let number = |name: &'static str| matches.get_one::<u64>(name).map(|value| (name, value.to_string()));
    let limit = matches.get_one::<u64>("limit").copied();
    let query: Vec<_> = text("catalog").into_iter().chain(number("after")).chain(number("limit")).collect();
    remote::ask(matches, environment, async |registry| {
        let mut lines = Lines::of(registry, "/api/audit", &query);
        let mut left = limit.unwrap_or(u64::MAX);
        while left > 0
            && let Some(line) = lines.next().await?
        {
            // One at a time: whoever reads them need not wait for more.
            let mut out = anstream::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
            left -= 1;
        }
        Ok(0)
    })
}
