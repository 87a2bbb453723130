//! `quire logout`: forgets a login.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::login::{authfile, authfile_flag, named_registry, registry_argument};
use super::{CommandError, remote, wants_json};
use crate::client::CredentialStore;
use crate::config::Environment;

pub fn command() -> Command {
    remote::command("logout", "Forget the credential that is kept for a registry")
        .arg(registry_argument())
        .arg(authfile_flag())
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let registry = named_registry(matches, environment)?;
    let store = CredentialStore::of(environment, authfile(matches));
    remote::block_on(async {
        let removed = store.remove(&registry).await?;
        let host = registry.host();
        if wants_json(matches) {
            let report = json!({ "registry": host, "removed": removed });
            writeln!(anstream::stdout().lock(), "{report:#}")?;
        }
        let told = if removed { format!("logged out of {host}") } else { format!("not logged in to {host}") };
        remote::note(matches, &told)?;
        if let Some(path) = store.hidden_by(&registry).await? {
            let path = path.display();
            remote::note(matches, &format!("warning: {path} still has a login for {host}"))?;
        }
        Ok(0)
    })
}
