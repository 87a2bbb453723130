//! The file of issuers: its keys, their checks, and the issuers that it becomes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::algorithm::SigningAlgorithm;
use super::claim_pointer::ClaimPointer;
use super::fetch::{Fetcher, Patience};
use super::grants::{self, ClaimRule, Mapping};
use super::key_set::KeySet;
use super::key_source::{Freshness, KeySource, Place, read_bounded, read_key_file};
use super::{Issuer, Keys};
use crate::access::Role;
use crate::token::SERVICE;

/// Fewest bytes of a secret: as many as its hash has, from RFC 7518, section 3.2.
const SECRET_BYTES: usize = 32;
/// Longest name of an issuer or a rule.
const NAME_LIMIT: usize = 64;

/// Why the issuers cannot be used.
#[derive(Debug, Error)]
pub enum IssuersError {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{path}: issuer {issuer:?}: {key}: {reason}")]
    Issuer { path: PathBuf, issuer: String, key: String, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuersFile {
    #[serde(default)]
    issuer: Vec<IssuerTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerTable {
    name: String,
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<SigningAlgorithm>,
    jwks_url: Option<String>,
    jwks_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    allow_private_addresses: bool,
    #[serde(default = "ClaimPointer::subject")]
    subject: ClaimPointer,
    grants: Option<ClaimPointer>,
    organisations: Option<ClaimPointer>,
    permissions: Option<ClaimPointer>,
    #[serde(default)]
    may_grant_sys_admin: bool,
    #[serde(default)]
    rule: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    name: String,
    claims: BTreeMap<ClaimPointer, ClaimValues>,
    catalog: String,
    role: String,
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum ClaimValues {
    One(String),
    Any(Vec<String>),
}

/// A key of the file, and what is wrong with its value.
struct Wrong {
    key: String,
    reason: String,
}

fn wrong<T>(key: impl Into<String>, reason: impl ToString) -> Result<T, Wrong> {
    Err(Wrong { key: key.into(), reason: reason.to_string() })
}

/// Reads and checks the file, and those that it names.
pub(super) fn load(path: &Path, freshness: Freshness) -> Result<Vec<Issuer>, IssuersError> {
    let broken = |reason: String| IssuersError::File { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| broken(error.to_string()))?;
    let file: IssuersFile = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut issuers: Vec<Issuer> = Vec::new();
    for table in file.issuer {
        let name = table.name.clone();
        let checked = unique(&table, &issuers).and_then(|()| issuer(table, folder, freshness));
        issuers.push(checked.map_err(|Wrong { key, reason }| IssuersError::Issuer {
            path: path.to_owned(),
            issuer: name,
            key,
            reason,
        })?);
    }
    Ok(issuers)
}

fn unique(table: &IssuerTable, others: &[Issuer]) -> Result<(), Wrong> {
    if others.iter().any(|other| other.name == table.name) {
        return wrong("name", "another issuer has it");
    }
    if others.iter().any(|other| other.claim == table.issuer) {
        return wrong("issuer", "another issuer has it");
    }
    Ok(())
}

fn issuer(table: IssuerTable, folder: &Path, freshness: Freshness) -> Result<Issuer, Wrong> {
    check_name("name", &table.name)?;
    if table.issuer.is_empty() {
        return wrong("issuer", "it is empty");
    }
    if table.issuer == SERVICE {
        return wrong("issuer", format!("{SERVICE:?} is what our own tokens say"));
    }
    if table.audiences.is_empty() || table.audiences.iter().any(String::is_empty) {
        return wrong("audiences", "at least one is needed, and none may be empty");
    }
    if table.organisations.is_some() && table.permissions.is_none() {
        return wrong("organisations", "they give nothing without permissions");
    }
    let keys = keys(&table, folder, freshness)?;
    let mut rules = Vec::with_capacity(table.rule.len());
    for (index, rule) in table.rule.iter().enumerate() {
        let place = format!("rule {:?}", rule.name);
        if table.rule[..index].iter().any(|other| other.name == rule.name) {
            return wrong(place, "another rule has this name");
        }
        let checked = claim_rule(rule, table.may_grant_sys_admin);
        rules.push(checked.or_else(|inner| wrong(format!("{place}: {}", inner.key), inner.reason))?);
    }
    Ok(Issuer {
        name: table.name,
        claim: table.issuer,
        audiences: table.audiences,
        algorithms: table.algorithms,
        keys,
        subject: table.subject,
        mapping: Mapping {
            grants: table.grants,
            organisations: table.organisations,
            permissions: table.permissions,
            rules,
            may_grant_sys_admin: table.may_grant_sys_admin,
        },
    })
}

fn check_name(key: &str, name: &str) -> Result<(), Wrong> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(known) {
        return wrong(key, format!("it is made of a-z, 0-9 and '-', at most {NAME_LIMIT} of them"));
    }
    Ok(())
}

/// A secret and published keys never go together: a token could be signed with what is public as if it were
/// the secret.
fn check_algorithms(table: &IssuerTable) -> Result<(), Wrong> {
    let mut symmetric = table.algorithms.iter().map(|algorithm| algorithm.is_symmetric());
    let Some(first) = symmetric.next() else {
        return wrong("algorithms", "at least one is needed");
    };
    if symmetric.any(|other| other != first) {
        return wrong("algorithms", "HS256 cannot stand beside algorithms with public keys");
    }
    match (first, table.secret_file.is_some()) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => wrong("algorithms", "HS256 needs secret_file"),
        (false, true) => wrong("algorithms", "a secret is for HS256 only"),
    }
}

fn keys(table: &IssuerTable, folder: &Path, freshness: Freshness) -> Result<Keys, Wrong> {
    check_algorithms(table)?;
    if table.allow_private_addresses && table.jwks_url.is_none() {
        return wrong("allow_private_addresses", "it is about jwks_url only");
    }
    let place = match (&table.jwks_url, &table.jwks_file, &table.secret_file) {
        (None, None, Some(file)) => return secret(&folder.join(file)).map(Keys::Secret),
        (None, Some(file), None) => Place::File(folder.join(file)),
        (Some(url), None, None) => {
            match Fetcher::new(url, table.allow_private_addresses, Patience::default()) {
                Ok(fetcher) => Place::Url(fetcher),
                Err(error) => return wrong("jwks_url", error),
            }
        }
        _ => return wrong("jwks_url", "exactly one of jwks_url, jwks_file and secret_file is needed"),
    };
    let known = match &place {
        Place::Url(_) => None,
        Place::File(path) => match read_key_file(path) {
            Ok(keys) if keys.fits(&table.algorithms) => Some(keys),
            Ok(_) => return wrong("jwks_file", "no key in it fits the algorithms"),
            Err(error) => return wrong("jwks_file", format!("{}: {error}", path.display())),
        },
    };
    Ok(Keys::Published(KeySource::new(&table.name, place, freshness, known)))
}

fn secret(path: &Path) -> Result<KeySet, Wrong> {
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => return wrong("secret_file", format!("{}: {error}", path.display())),
    };
    // Editors end a file with a line break, which is not part of the secret.
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() < SECRET_BYTES {
        return wrong("secret_file", format!("the secret has fewer than {SECRET_BYTES} bytes"));
    }
    Ok(KeySet::of_secret(secret))
}

fn claim_rule(rule: &RuleTable, may_grant_sys_admin: bool) -> Result<ClaimRule, Wrong> {
    check_name("name", &rule.name)?;
    if rule.claims.is_empty() {
        return wrong("claims", "at least one is needed: without any, every token of the issuer would fit");
    }
    let mut claims = Vec::with_capacity(rule.claims.len());
    for (pointer, values) in &rule.claims {
        let values = match values {
            ClaimValues::One(value) => vec![value.clone()],
            ClaimValues::Any(values) => values.clone(),
        };
        if values.is_empty() {
            return wrong("claims", format!("{}: the list of values is empty", pointer.as_str()));
        }
        claims.push((pointer.clone(), values));
    }
    let Some(role) = Role::parse(&rule.role) else {
        let known = Role::ALL.map(Role::as_str).join(", ");
        return wrong("role", format!("{:?} is none of {known}", rule.role));
    };
    if role == Role::SysAdmin && !may_grant_sys_admin {
        return wrong("role", "sys_admin needs may_grant_sys_admin = true at the issuer");
    }
    match grants::grant(role, &rule.catalog, rule.repositories.as_deref()) {
        Ok(mut grant) => {
            grant.name = format!("rule {}", rule.name);
            Ok(ClaimRule { claims, grant })
        }
        Err((key, reason)) => wrong(key, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Issuers;
    use super::super::testing::{TestKey, key_set};
    use super::*;

    const GOOD: &str = r#"
[[issuer]]
name = "github"
issuer = "https://token.actions.githubusercontent.com"
audiences = ["https://quire.example"]
algorithms = ["ES256"]
jwks_file = "keys.json"

[[issuer.rule]]
name = "release"
claims = { "/repository" = "acme/plugins", "/ref" = ["refs/heads/main", "refs/heads/next"] }
catalog = "acme"
role = "publisher"
repositories = ["acme/com.acme.*"]
"#;

    /// Loads a file beside a key set, a long secret and a short one.
    fn load_text(text: &str) -> Result<Issuers, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("issuers.toml", text);
        write("keys.json", &key_set(&[&TestKey::ec("ec-1")]));
        write("no-set.json", "[]");
        write("secret", "0123456789abcdef0123456789abcdef\n");
        write("short", "0123456789abcdef0123456789abcde\r\n");
        Issuers::load(&folder.path().join("issuers.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn good_files() {
        assert!(load_text("").unwrap().is_empty());
        assert!(!load_text(GOOD).unwrap().is_empty());
        assert!(Issuers::none().is_empty());
        let secret =
            GOOD.replace("ES256", "HS256").replace("jwks_file = \"keys.json\"", "secret_file = \"secret\"");
        assert!(load_text(&secret).is_ok());
        let fetched = |url: &str| GOOD.replace("jwks_file = \"keys.json\"", &format!("jwks_url = {url:?}"));
        assert!(load_text(&fetched("https://issuer.example/keys")).is_ok());
        let private = fetched("http://10.0.0.1/keys")
            .replace("algorithms", "allow_private_addresses = true\nalgorithms");
        assert!(load_text(&private).is_ok());
        let second = GOOD.replace("github", "other");
        assert!(load_text(&format!("{GOOD}{second}")).is_ok());
        let admin = GOOD.replace("audiences", "may_grant_sys_admin = true\naudiences");
        let admin = admin.replace("\"publisher\"", "\"sys_admin\"").replace("\"acme\"", "\"system\"");
        assert!(load_text(&admin.replace("acme/com.acme.*", "system/*")).is_ok());
    }

    #[test]
    fn files_that_are_refused() {
        for (from, to, expected) in [
            // What does not fit the shape is told with its line.
            ("audiences", "audience", "unknown field `audience`"),
            ("catalog = \"acme\"", "catalogue = \"acme\"", "unknown field `catalogue`"),
            ("[[issuer]]", "extra = 1\n[[issuer]]", "unknown field `extra`"),
            ("name = \"github\"\n", "", "missing field `name`"),
            ("[\"ES256\"]", "[\"none\"]", "unknown variant `none`"),
            ("\"/ref\"", "\"ref\"", "no JSON pointer"),
            ("[\"refs/heads/main\", \"refs/heads/next\"]", "true", "a string or a list of strings"),
            // What is wrong in itself is told with the issuer and the key.
            ("\"github\"", "\"Git Hub\"", "\"Git Hub\": name: it is made of"),
            ("\"github\"", "\"\"", "name: it is made of"),
            ("\"https://token.actions.githubusercontent.com\"", "\"\"", "issuer: it is empty"),
            ("\"https://token.actions.githubusercontent.com\"", "\"quire\"", "our own tokens"),
            ("[\"https://quire.example\"]", "[]", "\"github\": audiences: at least one"),
            ("[\"https://quire.example\"]", "[\"\"]", "audiences: at least one"),
            ("[\"ES256\"]", "[]", "algorithms: at least one"),
            ("[\"ES256\"]", "[\"HS256\"]", "algorithms: HS256 needs secret_file"),
            ("[\"ES256\"]", "[\"HS256\", \"ES256\"]", "algorithms: HS256 cannot stand beside"),
            ("[\"ES256\"]", "[\"RS256\", \"EdDSA\"]", "jwks_file: no key in it fits"),
            ("jwks_file = \"keys.json\"", "", "exactly one of"),
            (
                "jwks_file = \"keys.json\"",
                "jwks_file = \"a\"\njwks_url = \"https://a.example\"",
                "exactly one of",
            ),
            ("jwks_file = \"keys.json\"", "secret_file = \"secret\"", "a secret is for HS256 only"),
            ("keys.json", "absent.json", "absent.json: No such file"),
            ("keys.json", "no-set.json", "no-set.json: no JWK set"),
            ("jwks_file", "jwks_url", "jwks_url: it is no URL"),
            ("jwks_file = \"keys.json\"", "jwks_url = \"http://a.example\"", "must begin with https://"),
            ("jwks_file = \"keys.json\"", "jwks_url = \"https://[::1]/\"", "no public address"),
            ("algorithms", "allow_private_addresses = true\nalgorithms", "about jwks_url only"),
            ("algorithms", "organisations = \"/o\"\nalgorithms", "organisations: they give nothing"),
            ("\"release\"", "\"the release\"", "rule \"the release\": name: it is made of"),
            (
                "{ \"/repository\" = \"acme/plugins\", ",
                "{ \"/repository\" = [], ",
                "/repository: the list of values",
            ),
            (
                "\"publisher\"",
                "\"owner\"",
                "rule \"release\": role: \"owner\" is none of sys_admin, org_admin",
            ),
            ("\"publisher\"", "\"sys_admin\"", "role: sys_admin needs may_grant_sys_admin"),
            ("catalog = \"acme\"", "catalog = \"Acme\"", "catalog: \"Acme\" is no name"),
            ("catalog = \"acme\"", "catalog = \"acme/x\"", "is no name of a catalog"),
            ("\"acme/com.acme.*\"", "\"other/*\"", "repositories: \"other/*\" is not in the catalog acme"),
            ("\"acme/com.acme.*\"", "\"acme/[a]\"", "repositories: \"acme/[a]\": a glob is"),
            ("[\"acme/com.acme.*\"]", "[]", "repositories: the list is empty"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = load_text(&text).err().unwrap_or_default();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
            assert!(error.contains("issuers.toml"), "{error}");
        }
        let (head, rule) = GOOD.split_at(GOOD.find("[[issuer.rule]]").unwrap());
        let no_claims =
            rule.lines().map(|line| if line.starts_with("claims") { "claims = {}" } else { line });
        for (text, expected) in [
            (format!("{head}{}", no_claims.collect::<Vec<_>>().join("\n")), "claims: at least one"),
            (
                format!("{head}{}", rule.replace("publisher", "org_admin").replace("acme", "system")),
                "cannot be given",
            ),
            (format!("{GOOD}{rule}"), "rule \"release\": another rule"),
            (format!("{GOOD}{GOOD}"), "name: another issuer"),
            (format!("{GOOD}{}", GOOD.replacen("\"github\"", "\"other\"", 1)), "issuer: another issuer"),
            (
                GOOD.replace("ES256", "HS256")
                    .replace("jwks_file = \"keys.json\"", "secret_file = \"short\""),
                "32 bytes",
            ),
        ] {
            let error = load_text(&text).err().unwrap_or_default();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(Issuers::load(Path::new("/absent/issuers.toml")).is_err());
    }
}
