//! `quire blocked`: every digest that is blocked, and why.

use clap::{ArgMatches, Command};

use super::text::one_line;
use super::{CommandError, remote};
use crate::client::{BlockedDigest, List};
use crate::config::Environment;

pub fn command() -> Command {
    remote::command("blocked", "List the digests that are blocked")
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    remote::ask(matches, environment, async |registry| {
        let list = List::of(registry, "/api/admin/blocked-digests", &[]);
        let head = ["DIGEST", "REFUSED", "BY", "AT", "REASON"];
        remote::show_pages(matches, registry, list, head, |one: BlockedDigest| {
            let reason = one_line(&one.reason);
            [one.digest, one.digests.to_string(), one.blocked_by, one.created_at, reason]
        })
        .await?;
        Ok(0)
    })
}
