//! `quire can-i`: whether the credential allows something, and by which rule.

use clap::{Arg, ArgMatches, Command, value_parser};

use super::text::plain;
use super::{CommandError, EXIT_NO, EXIT_USAGE, remote};
use crate::access::Action;
use crate::client::{Ruling, read};
use crate::config::Environment;
use crate::name::RepositoryName;

pub fn command() -> Command {
    let action = Arg::new("action").value_name("ACTION").required(true).value_parser(action);
    let repository = Arg::new("repository").value_name("REPOSITORY").required(true);
    remote::command("can-i", "Say whether the credential allows something: the exit code is 0 or 1")
        .arg(action.help("pull, push or delete"))
        .arg(repository.value_parser(value_parser!(RepositoryName)).help("As in acme/tool"))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let action = matches.get_one::<Action>("action");
    let repository = matches.get_one::<RepositoryName>("repository");
    let (Some(action), Some(repository)) = (action, repository) else { return Ok(EXIT_USAGE) };
    let query = [("action", action.as_str().to_owned()), ("repository", repository.to_string())];
    remote::ask(matches, environment, async |registry| {
        let answer = registry.get("/api/can-i", &query).await?;
        remote::show(matches, registry, &answer, |out, ruling: Ruling| {
            let word = if ruling.allowed { "yes" } else { "no" };
            writeln!(out, "{word}: {}", plain(&ruling.rule))
        })?;
        let ruling: Ruling = read(registry.registry(), &answer)?;
        Ok(if ruling.allowed { 0 } else { EXIT_NO })
    })
}

fn action(word: &str) -> Result<Action, &'static str> {
    Action::parse(word).ok_or("an action is pull, push or delete")
}
