//! How commands name plugins: by pid, version, organisation and source.

use clap::{Arg, ArgMatches, value_parser};

use super::remote;
use crate::digest::{Digest, Sha256};
use crate::package::check_pid;
use crate::version::Version;

pub const SOURCES: [&str; 2] = ["system", "org"];

pub fn pid() -> Arg {
    let pid = Arg::new("pid").value_name("PID").required(true).value_parser(parse_pid);
    pid.help("The id of the plugin, as in com.acme.hello")
}

pub fn parse_pid(text: &str) -> Result<String, String> {
    check_pid(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// A version that is an argument of its own.
pub fn version(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).value_name(value).required(true).value_parser(value_parser!(Version))
}

pub fn org() -> Arg {
    let org = Arg::new("org").long("org").value_name("ORG").value_parser(remote::id);
    org.help(
        "The organisation whose plugins and the system's are looked at [default: the catalog system alone]",
    )
}

pub fn org_required() -> Arg {
    let org = Arg::new("org").long("org").value_name("ORG").required(true).value_parser(remote::id);
    org.help("The organisation")
}

/// Which of the two catalogs of an organisation's view.
pub fn source() -> Arg {
    let source = Arg::new("source").long("source").value_name("SOURCE").value_parser(SOURCES);
    source.requires_if("org", "org").help(
        "From which catalog [default: the organisation's own plugin if there is one, else the system's]",
    )
}

pub fn digest(text: &str) -> Result<Sha256, String> {
    match text.parse::<Digest>() {
        Ok(Digest::Sha256(sha256)) => Ok(sha256),
        Ok(Digest::Sha512(_)) => Err("a digest is named by its sha256 here".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// A flag or argument that is a text; empty where it was not given.
pub fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// The path that the plugins of the view are below.
pub fn base(matches: &ArgMatches) -> String {
    match matches.get_one::<String>("org") {
        Some(org) => format!("/api/orgs/{org}/plugins"),
        None => "/api/admin/plugins".to_owned(),
    }
}

/// The path of the plugin that is named.
pub fn path(matches: &ArgMatches) -> String {
    format!("{}/{}", base(matches), text(matches, "pid"))
}

/// The source as a query says it, if one is named.
pub fn source_query(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let source = matches.get_one::<String>("source");
    source.map(|source| ("source", source.clone())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_and_digests_are_checked_before_anything_is_sent() {
        assert_eq!(parse_pid("com.acme.hello").as_deref(), Ok("com.acme.hello"));
        for bad in ["", "hello", "Com.acme", "../tokens", "com.acme/../..", "com.acme?x", "com.acme%2f"] {
            assert!(parse_pid(bad).is_err(), "{bad}");
        }
        let good = Sha256::of(b"x");
        assert_eq!(digest(&good.to_string()), Ok(good));
        for bad in [String::new(), good.hex(), format!("sha512:{}", "0".repeat(128)), "sha256:x".into()] {
            assert!(digest(&bad).is_err(), "{bad}");
        }
    }
}
