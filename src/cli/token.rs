//! `quire token`: tokens for machines and people, with the least that they need.

use std::io::Write;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;

use super::text::{or_dash, plain, table};
use super::{CommandError, EXIT_USAGE, remote, text, wants_json};
use crate::access::{RepositoryGlob, Role};
use crate::client::{ClientError, Token, read};
use crate::config::Environment;

/// A role on a catalog, as `--grant` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedGrant {
    catalog: String,
    role: Role,
}

pub fn command() -> Command {
    let name = Arg::new("name").long("name").value_name("NAME").required(true);
    let grant = Arg::new("grant").long("grant").value_name("CATALOG:ROLE").required(true);
    let expires_in = Arg::new("expires-in").long("expires-in").value_name("30d|12h|3600");
    let repository = Arg::new("repository").long("repository").value_name("GLOB");
    let catalog = Arg::new("catalog").long("catalog").value_name("CATALOG").value_parser(remote::id);
    let id = Arg::new("id").value_name("ID").required(true).value_parser(remote::id);
    let roles = Role::ALL.map(Role::as_str).join(", ");
    Command::new("token")
        .about("Make, list and revoke tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            remote::command("create", "Make a token, and print its secret alone: it is never shown again")
                .arg(name.value_parser(NonEmptyStringValueParser::new()).help("What it is for"))
                .arg(grant.action(ArgAction::Append).value_parser(parse_grant).help(format!(
                    "A role on a catalog, as in acme:publisher; may be repeated. Roles: {roles}"
                )))
                .arg(expires_in.value_parser(seconds).help("How long it is good; a number alone is seconds"))
                .arg(
                    repository
                        .action(ArgAction::Append)
                        .value_parser(value_parser!(RepositoryGlob))
                        .help("Only these repositories, as in acme/com.acme.*; may be repeated"),
                ),
        )
        .subcommand(
            remote::command("list", "List tokens, without their secrets")
                .arg(catalog.help("Only tokens with a grant on this catalog")),
        )
        .subcommand(
            remote::command("revoke", "End a token for good").arg(id.help("As `token list` shows it")),
        )
}

pub fn run(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    match matches.subcommand() {
        Some(("create", matches)) => create(matches, environment),
        Some(("list", matches)) => list(matches, environment),
        Some(("revoke", matches)) => revoke(matches, environment),
        _ => Ok(EXIT_USAGE),
    }
}

fn create(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let grants = matches.get_many::<WantedGrant>("grant").into_iter().flatten();
    let grants = grants.map(|grant| json!({ "catalog": grant.catalog, "role": grant.role.as_str() }));
    let name = matches.get_one::<String>("name");
    let mut body = json!({ "name": name, "grants": grants.collect::<Vec<_>>() });
    if let Some(seconds) = matches.get_one::<u64>("expires-in") {
        body["expires_in"] = json!(seconds);
    }
    if let Some(globs) = matches.get_many::<RepositoryGlob>("repository") {
        body["repositories"] = globs.map(RepositoryGlob::as_str).collect();
    }
    remote::ask(matches, environment, async |registry| {
        let made = registry.post("/api/tokens", &body).await?;
        if wants_json(matches) {
            writeln!(anstream::stdout().lock(), "{}", text::json(&made))?;
            return Ok(0);
        }
        let made: Token = read(registry.registry(), &made)?;
        let [id, name, grants, only, _, expires] = row(&made);
        let Some(secret) = made.token else {
            let (url, reason) = (registry.registry().to_string(), "its answer has no token".to_owned());
            return Err(ClientError::Unexpected { url, reason }.into());
        };
        let only = if only == "-" { String::new() } else { format!(", only {only}") };
        remote::note(matches, &format!("made {name} ({id}): {grants}{only}, expires {expires}"))?;
        writeln!(anstream::stdout().lock(), "{}", plain(secret.expose()))?;
        Ok(0)
    })
}

fn list(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let catalog = matches.get_one::<String>("catalog").map(|catalog| ("catalog", catalog.clone()));
    remote::ask(matches, environment, async |registry| {
        let all = registry.list("/api/tokens", catalog.as_slice()).await?;
        remote::show(matches, registry, &all.into(), |mut out, all: Vec<Token>| {
            table(&mut out, ["ID", "NAME", "GRANTS", "ONLY", "MADE BY", "EXPIRES"], all.iter().map(row))
        })?;
        Ok(0)
    })
}

fn revoke(matches: &ArgMatches, environment: &Environment) -> Result<u8, CommandError> {
    let id = matches.get_one::<String>("id").map_or("", String::as_str);
    remote::ask(matches, environment, async |registry| {
        registry.delete(&format!("/api/tokens/{id}")).await?;
        remote::note(matches, &format!("revoked {id}"))?;
        Ok(0)
    })
}

fn row(token: &Token) -> [String; 6] {
    let grants: Vec<_> =
        token.grants.iter().map(|grant| format!("{}:{}", grant.catalog, grant.role)).collect();
    let only = token.repositories.as_ref().map(|globs| globs.join(" "));
    let expires = token.expires_at.as_deref().unwrap_or("never").to_owned();
    let (id, name, by) = (token.id.clone(), token.name.clone(), token.created_by.clone());
    [id, name, grants.join(" "), or_dash(only.as_deref()), by, expires]
}

/// Reads `<catalog>:<role>`.
fn parse_grant(text: &str) -> Result<WantedGrant, String> {
    let (catalog, word) = text.split_once(':').ok_or("a grant is CATALOG:ROLE, as in acme:publisher")?;
    let catalog = remote::id(catalog)?;
    let role = Role::parse(word).ok_or_else(|| {
        format!("{word:?} is no role; the roles are {}", Role::ALL.map(Role::as_str).join(", "))
    })?;
    match role.permissions_on(&catalog) {
        Some(_) => Ok(WantedGrant { catalog, role }),
        None => Err(format!("{word} cannot be given on {catalog}")),
    }
}

/// Reads a time such as `30d`, `12h`, `90m`, `45s` and `3600`.
fn seconds(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = match text.strip_suffix(['d', 'h', 'm', 's']) {
        Some(number) => (number, text.bytes().last()),
        None => (text, None),
    };
    let unit = match unit {
        Some(b'd') => 86_400,
        Some(b'h') => 3_600,
        Some(b'm') => 60,
        _ => 1,
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|number| digits && *number > 0);
    number.and_then(|number| number.checked_mul(unit)).ok_or("a time is a number and one of d, h, m and s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, expected) in
            [("3600", 3600), ("45s", 45), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "d", "0", "0d", "-1", "+1", "1.5h", "1w", "1 d", "12hh", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(seconds("999999999999999999d").is_err(), "more seconds than a number holds");
    }

    #[test]
    fn grants_are_checked_before_anything_is_sent() {
        let grant = parse_grant("acme:publisher").unwrap();
        assert_eq!(grant, WantedGrant { catalog: "acme".into(), role: Role::Publisher });
        for text in [
            "acme",
            "acme:",
            ":publisher",
            "acme:king",
            "a/b:publisher",
            "acme:sys_admin",
            "system:org_admin",
        ] {
            assert!(parse_grant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_needs_a_name_and_a_grant() {
        let parses = |arguments: &[&str]| {
            command().try_get_matches_from([&["token", "create"], arguments].concat()).is_ok()
        };
        assert!(parses(&["--name", "ci", "--grant", "acme:publisher", "--grant", "system:orchestrator"]));
        assert!(!parses(&["--name", "ci"]));
        assert!(!parses(&["--grant", "acme:publisher"]));
        assert!(!parses(&["--name", "ci", "--grant", "acme:publisher", "--repository", "*/x"]));
    }
}
