//! `quire block`: bytes that nobody is to get any more.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::text::{one_line, record};
use super::{CommandError, EXIT_USAGE, plugin_flags, remote};
use crate::client::BlockedDigest;
use crate::config::Environment;
use crate::digest::Sha256;

pub fn command() -> Command {
    let reason = Arg::new("reason").long("reason").value_name("TEXT").required(true);
    remote::command("block", "Block bytes by their digest: nobody gets them, and nobody may bring them in")
        .arg(digest())
        .arg(reason.value_parser(NonEmptyStringValueParser::new()).help("Why; whoever asks for them is told"))
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let Some(path) = path(matches) else { return Ok(EXIT_USAGE) };
    let body = json!({ "reason": plugin_flags::text(matches, "reason") });
    remote::ask(matches, environment, async |registry| {
        let blocked = registry.put(&path, &body).await?;
        remote::show(matches, registry, &blocked, |mut out, one: BlockedDigest| {
            let parts = [
                ("digest", one.digest),
                ("reason", one_line(&one.reason)),
                ("refused", format!("{} digests", one.digests)),
                ("by", one.blocked_by),
                ("at", one.created_at),
            ];
            record(&mut out, &parts)
        })?;
        Ok(0)
    })
}

pub fn digest() -> Arg {
    let digest = Arg::new("digest").value_name("DIGEST").required(true);
    digest.value_parser(plugin_flags::digest).help("Of a package, a manifest or any blob, as in sha256:0123…")
}

/// Where the digest that is named is blocked.
pub fn path(matches: &ArgMatches) -> Option<String> {
    let digest = matches.get_one::<Sha256>("digest")?;
    Some(format!("/api/admin/blocked-digests/{digest}"))
}
