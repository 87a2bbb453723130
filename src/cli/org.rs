//! `quire org`: organisations, their names and quotas.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::text::{or_dash, record, table};
use super::{CommandError, EXIT_USAGE, remote};
use crate::client::{Organisation, Quota};
use crate::config::Environment;

/// Each changes one thing; `update` needs at least one of them.
const CHANGES: [&str; 5] = ["name", "domain", "no-domain", "quota-bytes", "quota-repositories"];

pub fn command() -> Command {
    Command::new("org")
        .about("Make, show, change and delete organisations")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(remote::command("create", "Make an organisation").arg(id()).arg(name()).arg(domain()))
        .subcommand(remote::command("list", "List the organisations that the credential may see"))
        .subcommand(remote::command("show", "Show one organisation").arg(id()))
        .subcommand(
            remote::command("update", "Change the name, domain or quota of an organisation")
                .arg(id())
                .arg(name())
                .arg(domain().conflicts_with("no-domain"))
                .arg(
                    Arg::new("no-domain")
                        .long("no-domain")
                        .action(ArgAction::SetTrue)
                        .help("Take its domain away"),
                )
                .arg(quota("quota-bytes").help("The most bytes it may store"))
                .arg(quota("quota-repositories").help("The most repositories it may have"))
                .group(ArgGroup::new("change").args(CHANGES).required(true).multiple(true)),
        )
        .subcommand(
            remote::command("delete", "Delete an organisation that holds no blobs and no manifests")
                .arg(id()),
        )
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    match matches.subcommand() {
        Some(("create", matches)) => create(matches, environment),
        Some(("list", matches)) => list(matches, environment),
        Some(("show", matches)) => show(matches, environment),
        Some(("update", matches)) => update(matches, environment),
        Some(("delete", matches)) => delete(matches, environment),
        _ => Ok(EXIT_USAGE),
    }
}

fn id() -> Arg {
    Arg::new("id").value_name("ID").required(true).value_parser(remote::id).help("As in acme")
}

fn name() -> Arg {
    let name = Arg::new("name").long("name").value_name("NAME").help("What people call it");
    name.value_parser(NonEmptyStringValueParser::new())
}

fn domain() -> Arg {
    let domain = Arg::new("domain").long("domain").value_name("DOMAIN").help("As in acme.example");
    domain.value_parser(NonEmptyStringValueParser::new())
}

fn quota(flag: &'static str) -> Arg {
    Arg::new(flag).long(flag).value_name("N|none").value_parser(limit)
}

/// `None`: no limit.
fn limit(text: &str) -> Result<Option<u64>, &'static str> {
    match text {
        "none" => Ok(None),
        number => number.parse().map(Some).map_err(|_| "a quota is a number or none"),
    }
}

fn path(matches: &ArgMatches) -> String {
    let id = matches.get_one::<String>("id").map_or("", String::as_str);
    format!("/api/orgs/{id}")
}

fn create(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let mut body = Map::new();
    for part in ["id", "name", "domain"] {
        if let Some(value) = matches.get_one::<String>(part) {
            body.insert(part.into(), value.as_str().into());
        }
    }
    remote::ask(matches, environment, async |registry| {
        let made = registry.post("/api/orgs", &body.into()).await?;
        remote::show(matches, registry, &made, |mut out, made| details(&mut out, made))?;
        Ok(0)
    })
}

fn list(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    remote::ask(matches, environment, async |registry| {
        let all = registry.list("/api/orgs", &[]).await?;
        remote::show(matches, registry, &all.into(), |mut out, all: Vec<Organisation>| {
            let rows = all.into_iter().map(|one| {
                let bytes = used(one.usage.bytes, one.quota.bytes);
                let repositories = used(one.usage.repositories, one.quota.repositories);
                let (name, domain) = (or_dash(one.name.as_deref()), or_dash(one.domain.as_deref()));
                [one.id, name, domain, repositories, bytes]
            });
            table(&mut out, ["ID", "NAME", "DOMAIN", "REPOSITORIES", "BYTES"], rows)
        })?;
        Ok(0)
    })
}

fn show(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    remote::ask(matches, environment, async |registry| {
        let one = registry.get(&path(matches), &[]).await?;
        remote::show(matches, registry, &one, |mut out, one| details(&mut out, one))?;
        Ok(0)
    })
}

fn update(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let body = changes(matches);
    remote::ask(matches, environment, async |registry| {
        let changed = registry.patch(&path(matches), &body).await?;
        remote::show(matches, registry, &changed, |mut out, changed| details(&mut out, changed))?;
        Ok(0)
    })
}

fn delete(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    remote::ask(matches, environment, async |registry| {
        registry.delete(&path(matches)).await?;
        let id = matches.get_one::<String>("id").map_or("", String::as_str);
        remote::note(matches, &format!("deleted {id}"))?;
        Ok(0)
    })
}

/// The body of an update: what is not named stays, and null takes away.
fn changes(matches: &ArgMatches) -> Value {
    let mut body = Map::new();
    for part in ["name", "domain"] {
        if let Some(value) = matches.get_one::<String>(part) {
            body.insert(part.into(), value.as_str().into());
        }
    }
    if matches.get_flag("no-domain") {
        body.insert("domain".into(), Value::Null);
    }
    let mut quota = Map::new();
    for (flag, part) in [("quota-bytes", "bytes"), ("quota-repositories", "repositories")] {
        if let Some(limit) = matches.get_one::<Option<u64>>(flag) {
            quota.insert(part.into(), json!(limit));
        }
    }
    if !quota.is_empty() {
        body.insert("quota".into(), quota.into());
    }
    body.into()
}

fn details(mut out: &mut dyn std::io::Write, one: Organisation) -> std::io::Result<()> {
    let Quota { bytes, repositories } = one.quota;
    record(
        &mut out,
        &[
            ("id", one.id),
            ("name", or_dash(one.name.as_deref())),
            ("domain", or_dash(one.domain.as_deref())),
            ("created", one.created_at),
            ("repositories", used(one.usage.repositories, repositories)),
            ("bytes", used(one.usage.bytes, bytes)),
        ],
    )
}

fn used(used: u64, limit: Option<u64>) -> String {
    limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(arguments: &[&str]) -> Option<Value> {
        let matches = command().try_get_matches_from([&["org", "update", "acme"], arguments].concat());
        matches.ok().and_then(|matches| matches.subcommand().map(|(_, update)| changes(update)))
    }

    #[test]
    fn an_update_names_what_changes() {
        for (arguments, expected) in [
            (&["--name", "Acme"][..], json!({ "name": "Acme" })),
            (&["--domain", "acme.test"], json!({ "domain": "acme.test" })),
            (&["--no-domain"], json!({ "domain": null })),
            (&["--quota-bytes", "0"], json!({ "quota": { "bytes": 0 } })),
            (
                &["--quota-bytes", "none", "--quota-repositories", "7"],
                json!({ "quota": { "bytes": null, "repositories": 7 } }),
            ),
        ] {
            assert_eq!(body(arguments), Some(expected), "{arguments:?}");
        }
        for arguments in [
            &[][..],
            &["--domain", "acme.test", "--no-domain"],
            &["--quota-bytes", "-1"],
            &["--quota-bytes", "many"],
            &["--name", ""],
        ] {
            assert_eq!(body(arguments), None, "{arguments:?}");
        }
    }
}
