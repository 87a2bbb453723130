//! What a verified token may do: its claims, and the rules of its issuer, turned into grants.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::claim_pointer::ClaimPointer;
use crate::access::{Grant, Permission, Permissions, RepositoryGlob, Role, SYSTEM_CATALOG};
use crate::name::RepositoryName;

/// Most elements that are used of one list in a token.
const LIST_LIMIT: usize = 100;
/// The name of grants that come from permission claims.
const CLAIMS_GRANT: &str = "claims";

/// How the tokens of one issuer become grants. What is malformed in a token gives nothing: each entry that
/// is not understood wholly is passed over, and nothing is read into it.
pub(super) struct Mapping {
    /// Where a token lists grants: `[{catalog, role, repositories?}]`.
    pub grants: Option<ClaimPointer>,
    /// Where a token names organisations.
    pub organisations: Option<ClaimPointer>,
    /// Where a token lists permissions.
    pub permissions: Option<ClaimPointer>,
    pub rules: Vec<ClaimRule>,
    /// Whether claims may make a system administrator.
    pub may_grant_sys_admin: bool,
}

/// A grant for whoever has certain claims.
pub(super) struct ClaimRule {
    /// Each claim with the values that it may have. All must hold; there is at least one.
    pub claims: Vec<(ClaimPointer, Vec<String>)>,
    pub grant: Grant,
}

impl ClaimRule {
    fn holds(&self, claims: &Value) -> bool {
        self.claims.iter().all(|(pointer, values)| {
            let claim = pointer.find(claims);
            claim.is_some_and(|claim| values.iter().any(|value| equals(claim, value)))
        })
    }
}

/// Whether a claim is a value, or a list with it.
fn equals(claim: &Value, value: &str) -> bool {
    let is = |one: &Value| match one {
        Value::String(text) => text == value,
        Value::Number(number) => number.to_string() == value,
        Value::Bool(truth) => truth.to_string() == value,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match claim {
        Value::Array(elements) => elements.iter().any(is),
        one => is(one),
    }
}

impl Mapping {
    pub fn grants(&self, claims: &Value) -> Vec<Grant> {
        let holding = self.rules.iter().filter(|rule| rule.holds(claims));
        let mut grants: Vec<Grant> = holding.map(|rule| rule.grant.clone()).collect();
        grants.extend(self.listed(claims));
        grants.extend(self.permitted(claims));
        grants
    }

    fn listed(&self, claims: &Value) -> Vec<Grant> {
        let entries = self.grants.as_ref().and_then(|pointer| pointer.find(claims));
        let entries = entries.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        entries.iter().take(LIST_LIMIT).filter_map(|entry| self.entry(entry)).collect()
    }

    fn entry(&self, entry: &Value) -> Option<Grant> {
        // A list would be taken for the fields in their order.
        let entry = GrantClaim::deserialize(entry.as_object()?).ok()?;
        let role = Role::parse(&entry.role)?;
        if role == Role::SysAdmin && !self.may_grant_sys_admin {
            return None;
        }
        match entry.repositories {
            Some(globs) if globs.len() > LIST_LIMIT => None,
            Some(globs) => grant(role, &entry.catalog, Some(&globs)).ok(),
            None => grant(role, &entry.catalog, None).ok(),
        }
    }

    /// The grants of permission claims: one on each organisation, and one on the system catalog.
    fn permitted(&self, claims: &Value) -> Vec<Grant> {
        let words = |pointer: &Option<ClaimPointer>, split: fn(&str) -> Vec<&str>| -> Vec<String> {
            let claim = pointer.as_ref().and_then(|pointer| pointer.find(claims));
            match claim {
                Some(Value::String(text)) => split(text).into_iter().map(str::to_owned).collect(),
                Some(Value::Array(list)) => {
                    list.iter().take(LIST_LIMIT).filter_map(Value::as_str).map(str::to_owned).collect()
                }
                _ => Vec::new(),
            }
        };
        let permissions = words(&self.permissions, |text| text.split(' ').take(LIST_LIMIT).collect());
        let known = || permissions.iter().filter_map(|text| Permission::parse(text));
        let of_organisation: Permissions = known().filter(|one| one.is_of_organisation()).collect();
        let may = |one: &Permission| *one != Permission::SystemAdmin || self.may_grant_sys_admin;
        let of_system: Permissions = known().filter(|one| !one.is_of_organisation()).filter(may).collect();

        let organisations = words(&self.organisations, |text| vec![text]);
        let organisations =
            organisations.into_iter().filter(|text| is_catalog(text) && text != SYSTEM_CATALOG);
        let on_organisations = organisations.map(|catalog| (catalog, of_organisation));
        let on_system = (SYSTEM_CATALOG.to_owned(), of_system);
        let all = on_organisations.chain([on_system]).filter(|(_, permissions)| !permissions.is_empty());
        all.map(|(catalog, permissions)| Grant {
            catalog,
            // Also with system:admin: it manages the registry, and is a member of nothing.
            everywhere: false,
            permissions,
            moves_tags: true,
            name: CLAIMS_GRANT.to_owned(),
            only: None,
        })
        .collect()
    }
}

/// One entry of a grants claim. A key that we don't know may have been meant to narrow, so it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantClaim {
    catalog: String,
    role: String,
    #[serde(default, deserialize_with = "some")]
    repositories: Option<Vec<String>>,
}

/// A list that may be absent, but not null: null could be read as "all" and as "none".
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

/// The grant of a role on a catalog, or what is wrong with it: the key, and why.
pub(super) fn grant(
    role: Role,
    catalog: &str,
    repositories: Option<&[String]>,
) -> Result<Grant, (&'static str, String)> {
    if !is_catalog(catalog) {
        return Err(("catalog", format!("{catalog:?} is no name of a catalog")));
    }
    let whole = role.on(catalog);
    let whole = whole.ok_or_else(|| ("role", format!("{} cannot be given on {catalog}", role.as_str())))?;
    let Some(repositories) = repositories else { return Ok(whole) };
    if repositories.is_empty() {
        return Err(("repositories", "the list is empty".to_owned()));
    }
    let mut globs = Vec::with_capacity(repositories.len());
    for text in repositories {
        let glob: RepositoryGlob =
            text.parse().map_err(|error| ("repositories", format!("{text:?}: {error}")))?;
        if glob.catalog() != catalog {
            return Err(("repositories", format!("{text:?} is not in the catalog {catalog}")));
        }
        globs.push(glob);
    }
    Ok(whole.narrowed(Some(globs)))
}

/// Whether a text can be the first component of a repository name.
fn is_catalog(text: &str) -> bool {
    let name = format!("{text}/x").parse::<RepositoryName>();
    name.is_ok_and(|name| name.catalog() == text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Option<ClaimPointer> {
        Some(ClaimPointer::try_from(text.to_owned()).unwrap())
    }

    fn mapping(may_grant_sys_admin: bool) -> Mapping {
        Mapping {
            grants: pointer("/quire/grants"),
            organisations: pointer("/org_ids"),
            permissions: pointer("/permissions"),
            rules: Vec::new(),
            may_grant_sys_admin,
        }
    }

    /// Grants in short: `name@catalog`.
    fn told(mapping: &Mapping, claims: Value) -> Vec<String> {
        let grants = mapping.grants(&claims);
        grants.iter().map(|grant| format!("{}@{}", grant.name, grant.catalog)).collect()
    }

    #[test]
    fn listed_grants() {
        let listed = json!({ "quire": { "grants": [
            { "catalog": "acme", "role": "publisher", "repositories": ["acme/com.acme.*"] },
            { "catalog": "system", "role": "orchestrator" },
        ] } });
        let grants = mapping(false).grants(&listed);
        let globs = vec!["acme/com.acme.*".parse().unwrap()];
        assert_eq!(
            grants,
            [
                Role::Publisher.on("acme").unwrap().narrowed(Some(globs)),
                Role::Orchestrator.on("system").unwrap(),
            ]
        );
    }

    #[test]
    fn malformed_entries_give_nothing_and_spoil_nothing() {
        let good = json!({ "catalog": "acme", "role": "org_member" });
        for bad in [
            json!({ "catalog": "acme", "role": "owner" }),
            json!({ "catalog": "acme", "role": "Publisher" }),
            json!({ "catalog": "acme", "role": ["publisher"] }),
            json!({ "catalog": "acme" }),
            json!({ "role": "publisher" }),
            json!({ "catalog": "*", "role": "publisher" }),
            json!({ "catalog": "acme/x", "role": "publisher" }),
            json!({ "catalog": "ACME", "role": "publisher" }),
            json!({ "catalog": "", "role": "publisher" }),
            json!({ "catalog": ["acme"], "role": "publisher" }),
            json!({ "catalog": "system", "role": "org_admin" }),
            json!({ "catalog": "system", "role": "sys_admin" }),
            json!({ "catalog": "acme", "role": "sys_admin" }),
            json!({ "catalog": "system", "role": "sys_admin", "repositories": ["system/a"] }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": [] }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": null }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": "acme/**" }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": ["other/**"] }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": ["acme/a", "**"] }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": ["acme/a", 1] }),
            json!({ "catalog": "acme", "role": "publisher", "repositories": vec!["acme/a"; 101] }),
            json!({ "catalog": "acme", "role": "publisher", "repository": ["acme/a"] }),
            json!("acme:publisher"),
            json!(["acme", "publisher"]),
            json!(null),
        ] {
            let claims = json!({ "quire": { "grants": [bad.clone(), good.clone()] } });
            assert_eq!(told(&mapping(false), claims), ["org_member@acme"], "{bad}");
        }
        for shape in [json!(null), json!("x"), json!(7), good.clone(), json!([[good.clone()]])] {
            let claims = json!({ "quire": { "grants": shape } });
            assert!(told(&mapping(false), claims).is_empty());
        }
        let many = json!({ "quire": { "grants": vec![good; 500] } });
        assert_eq!(told(&mapping(false), many).len(), 100);
    }

    #[test]
    fn permissions_meet_organisations() {
        let both = json!({
            "org_ids": ["acme", "corp"],
            "permissions": ["org:plugins:read", "org:plugins:write", "system:plugins:read", "other:thing"],
        });
        let grants = mapping(false).grants(&both);
        assert_eq!(told(&mapping(false), both), ["claims@acme", "claims@corp", "claims@system"]);
        let reads_and_writes = Permissions::of(&[Permission::OrgPluginsRead, Permission::OrgPluginsWrite]);
        assert_eq!(grants[1].permissions, reads_and_writes);
        assert_eq!(grants[2].permissions, Permissions::of(&[Permission::SystemPluginsRead]));
        assert!(grants.iter().all(|grant| grant.moves_tags && !grant.everywhere && grant.only.is_none()));
        for (organisations, permissions, expected) in [
            (json!("acme"), json!("org:plugins:read openid"), vec!["claims@acme"]),
            (json!("acme corp"), json!("org:plugins:read"), vec![]),
            (json!("acme"), json!(["org:plugins:read org:plugins:write"]), vec![]),
            (json!("acme"), json!("system:plugins:read"), vec!["claims@system"]),
            (json!("acme"), json!("system:admin"), vec![]),
            (json!("acme"), json!([["org:plugins:read"], { "a": 1 }, null, 3]), vec![]),
            (json!("acme"), json!({ "org:plugins:read": true }), vec![]),
            (json!("acme"), json!("ORG:PLUGINS:READ org:*"), vec![]),
            (json!(["system", "*", "", "a/b", "Acme", 1, ["acme"], null]), json!("org:plugins:read"), vec![]),
            (json!({ "acme": true }), json!("org:plugins:read"), vec![]),
            (json!(vec!["acme"; 500]), json!("org:plugins:read"), vec!["claims@acme"; 100]),
        ] {
            let claims = json!({ "org_ids": organisations, "permissions": permissions });
            assert_eq!(told(&mapping(false), claims.clone()), expected, "{claims}");
        }
        let only = |claims| told(&mapping(false), claims);
        assert!(only(json!({ "org_ids": ["acme"] })).is_empty());
        assert!(only(json!({ "permissions": ["org:plugins:read"] })).is_empty());
        assert!(only(json!([])).is_empty() && only(json!(null)).is_empty());
    }

    #[test]
    fn system_administrators_need_the_setting() {
        let claims = json!({
            "org_ids": "acme",
            "permissions": "system:admin",
            "quire": { "grants": [{ "catalog": "system", "role": "sys_admin" }] },
        });
        assert!(told(&mapping(false), claims.clone()).is_empty());
        assert_eq!(told(&mapping(true), claims.clone()), ["sys_admin@system", "claims@system"]);
        let by_permission = &mapping(true).grants(&claims)[1];
        assert_eq!(by_permission.permissions, Permissions::of(&[Permission::SystemAdmin]));
        assert!(!by_permission.everywhere, "it gives no membership");
    }

    #[test]
    fn values_of_claims() {
        for (claim, value, expected) in [
            (json!("refs/heads/main"), "refs/heads/main", true),
            (json!("refs/heads/main2"), "refs/heads/main", false),
            (json!("Refs/heads/main"), "refs/heads/main", false),
            (json!(["a", "b"]), "b", true),
            (json!([["b"]]), "b", false),
            (json!([]), "", false),
            (json!(17), "17", true),
            (json!(17.5), "17.5", true),
            (json!(true), "true", true),
            (json!("true"), "true", true),
            (json!(null), "null", false),
            (json!({ "a": "b" }), r#"{"a":"b"}"#, false),
            (json!(["a"]), r#"["a"]"#, false),
        ] {
            assert_eq!(equals(&claim, value), expected, "{claim} {value}");
        }
    }
}
