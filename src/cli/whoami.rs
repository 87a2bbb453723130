//! `quire whoami`: who the credential stands for, and what it may do.

use clap::{ArgMatches, Command};

use super::text::{or_dash, record, table};
use super::{CommandError, remote};
use crate::client::Identity;
use crate::config::Environment;

pub fn command() -> Command {
    remote::command("whoami", "Show who the credential stands for, and its grants")
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    remote::ask(matches, environment, async |registry| {
        let answer = registry.get("/api/whoami", &[]).await?;
        remote::show(matches, registry, &answer, |mut out, identity: Identity| {
            let expires = identity.expires_at.unwrap_or_else(|| "never".into());
            record(&mut out, &[("subject", identity.subject), ("expires", expires)])?;
            if identity.grants.is_empty() {
                return Ok(());
            }
            writeln!(out)?;
            let rows = identity.grants.into_iter().map(|grant| {
                let only = grant.repositories.map(|globs| globs.join(" "));
                let tags = if grant.moves_tags { "move" } else { "stay" };
                let permissions = grant.permissions.join(" ");
                [grant.catalog, grant.name, or_dash(only.as_deref()), tags.into(), permissions]
            });
            table(&mut out, ["CATALOG", "GRANT", "ONLY", "TAGS", "PERMISSIONS"], rows)
        })?;
        Ok(0)
    })
}
