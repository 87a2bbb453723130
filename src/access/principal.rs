//! Somebody who is known, and how their grants decide.

use std::time::SystemTime;

use super::permission::Permission;
use super::role::{Grant, Role};
use super::scope::{CatalogScope, ReadScope};
use super::{Action, SYSTEM_CATALOG};
use crate::name::RepositoryName;

/// The subject of everything that the admin token does.
pub const ADMIN_SUBJECT: &str = "admin";

/// How the credentials of callers begin whom an issuer vouched for; its name follows.
pub const ISSUER_CREDENTIAL: &str = "issuer:";

/// Why somebody who is known may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    PermissionMissing,
    NotAMember,
    /// The grant creates tags, and neither moves nor deletes.
    CreateOnly,
}

impl Rule {
    /// The stable code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::PermissionMissing => "permission_missing",
            Self::NotAMember => "not_a_member",
            Self::CreateOnly => "create_only",
        }
    }
}

/// Somebody who showed a credential of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `admin`, `token:<id>`, or `jwt:<issuer>:<subject>`.
    pub subject: String,
    pub grants: Vec<Grant>,
    /// What short tokens name that are made from this credential; while it is live, they are.
    pub credential: String,
    /// When the credential stops working by itself.
    pub expires: Option<SystemTime>,
}

impl Principal {
    /// Who holds the admin token; `credential` is its fingerprint.
    pub fn admin(credential: String) -> Self {
        let grants = Role::SysAdmin.on(SYSTEM_CATALOG).into_iter().collect();
        Self { subject: ADMIN_SUBJECT.to_owned(), grants, credential, expires: None }
    }

    /// Whether an issuer vouched for them, so that nobody here can look their grants up.
    pub fn is_vouched_for(&self) -> bool {
        self.credential.starts_with(ISSUER_CREDENTIAL)
    }

    /// The grant by which they may use a permission on a catalog, and on a repository of it if one is named:
    /// the permission first, then the membership, then the permission there.
    pub fn decide(
        &self,
        permission: Permission,
        catalog: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<&Grant, Rule> {
        let holding = || self.grants.iter().filter(|grant| grant.holds(permission));
        if holding().next().is_none() {
            return Err(Rule::PermissionMissing);
        }
        // The system catalog has no members: whoever holds a permission on it holds it there.
        let here = |grant: &&Grant| !permission.is_of_organisation() || grant.is_on(catalog);
        if permission.is_of_organisation() && !self.grants.iter().any(|grant| grant.is_on(catalog)) {
            return Err(Rule::NotAMember);
        }
        let covers = |grant: &&Grant| match repository {
            Some(repository) => grant.covers(repository),
            None => true,
        };
        let mut fitting = holding().filter(here).filter(covers).peekable();
        let first = fitting.peek().copied();
        // Of several, the one that may do most.
        fitting.find(|grant| grant.moves_tags).or(first).ok_or(Rule::PermissionMissing)
    }

    /// Whether a grant that is narrowed to nothing holds a permission on a catalog, and moves tags.
    pub fn holds_on_all_of(&self, permission: Permission, catalog: &str) -> bool {
        let whole = |grant: &Grant| {
            grant.only.is_none() && grant.moves_tags && grant.is_on(catalog) && grant.holds(permission)
        };
        self.grants.iter().any(whole)
    }

    /// The grant by which they may do something to a repository.
    pub fn may(&self, action: Action, repository: &RepositoryName) -> Result<&Grant, Rule> {
        let grant = self.decide(action.permission(repository), repository.catalog(), Some(repository))?;
        if action == Action::Delete && !grant.moves_tags {
            return Err(Rule::CreateOnly);
        }
        Ok(grant)
    }

    /// Whether they may manage the members, tokens and rules of a catalog, or of any if none is named.
    pub fn manages(&self, catalog: Option<&str>) -> Result<&Grant, Rule> {
        match (self.decide(Permission::SystemAdmin, SYSTEM_CATALOG, None), catalog) {
            (Ok(grant), _) => Ok(grant),
            (Err(rule), Some(SYSTEM_CATALOG)) => Err(rule),
            (Err(_), Some(catalog)) => self.decide(Permission::OrgMembersWrite, catalog, None),
            (Err(rule), None) => {
                let mut holding = self.grants.iter().filter(|grant| grant.holds(Permission::OrgMembersWrite));
                holding.next().ok_or(rule)
            }
        }
    }

    /// The organisations that their grants name; `None`: every one.
    pub fn organisations(&self) -> Option<Vec<String>> {
        if self.decide(Permission::SystemAdmin, SYSTEM_CATALOG, None).is_ok() {
            return None;
        }
        let named = self.grants.iter().filter(|grant| grant.catalog != SYSTEM_CATALOG);
        let mut organisations: Vec<String> = named.map(|grant| grant.catalog.clone()).collect();
        organisations.sort_unstable();
        organisations.dedup();
        Some(organisations)
    }

    /// The catalogs whose members they may manage; `None`: every one.
    pub fn managed(&self) -> Option<Vec<String>> {
        if self.decide(Permission::SystemAdmin, SYSTEM_CATALOG, None).is_ok() {
            return None;
        }
        let managing = self.grants.iter().filter(|grant| grant.holds(Permission::OrgMembersWrite));
        let mut catalogs: Vec<String> = managing.map(|grant| grant.catalog.clone()).collect();
        catalogs.sort_unstable();
        catalogs.dedup();
        Some(catalogs)
    }

    /// Everything that they may read.
    pub fn readable(&self) -> ReadScope {
        let mut scope = ReadScope::nothing();
        for grant in &self.grants {
            match &grant.only {
                None if grant.everywhere => return ReadScope::Everything,
                None => {
                    if grant.holds(Permission::SystemPluginsRead) {
                        scope.add(CatalogScope::whole(SYSTEM_CATALOG));
                    }
                    if grant.permissions.contains(Permission::OrgPluginsRead) {
                        scope.add(CatalogScope::whole(&grant.catalog));
                    }
                }
                Some(globs) => {
                    for glob in globs {
                        let catalog = glob.catalog();
                        let reads = if catalog == SYSTEM_CATALOG {
                            grant.holds(Permission::SystemPluginsRead)
                        } else {
                            grant.is_on(catalog) && grant.permissions.contains(Permission::OrgPluginsRead)
                        };
                        if reads {
                            scope.add(CatalogScope::matching(glob));
                        }
                    }
                }
            }
        }
        scope
    }
}

impl Action {
    /// What an action on a repository needs.
    pub fn permission(self, repository: &RepositoryName) -> Permission {
        match self {
            Self::Pull => Permission::of_read(repository.catalog()),
            Self::Push | Self::Delete => Permission::of_write(repository.catalog()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(grants: &[(&str, Role, &[&str])]) -> Principal {
        let grant = |(catalog, role, globs): &(&str, Role, &[&str])| {
            let only = (!globs.is_empty()).then(|| globs.iter().map(|glob| glob.parse().unwrap()).collect());
            role.on(catalog).unwrap().narrowed(only)
        };
        Principal {
            subject: "token:x".into(),
            grants: grants.iter().map(grant).collect(),
            credential: String::new(),
            expires: None,
        }
    }

    fn may(caller: &Principal, action: Action, name: &str) -> Result<(), Rule> {
        let repository: RepositoryName = name.parse().unwrap();
        let decided = caller.may(action, &repository).map(|_| ());
        if action == Action::Pull {
            assert_eq!(caller.readable().contains(&repository), decided.is_ok(), "{caller:?} {name}");
        }
        decided
    }

    #[test]
    fn roles_on_their_catalogs() {
        use Action::{Delete, Pull, Push};
        use Rule::{CreateOnly, NotAMember, PermissionMissing};
        let acme = |role| principal(&[("acme", role, &[])]);
        let on_system = |role| principal(&[("system", role, &[])]);
        for (caller, action, name, expected) in [
            (acme(Role::Publisher), Push, "acme/a", Ok(())),
            (acme(Role::Publisher), Delete, "acme/a", Ok(())),
            (acme(Role::Publisher), Push, "other/a", Err(NotAMember)),
            (acme(Role::Publisher), Pull, "other/a", Err(NotAMember)),
            (acme(Role::Publisher), Pull, "system/a", Ok(())),
            (acme(Role::Publisher), Push, "system/a", Err(PermissionMissing)),
            (acme(Role::OrgMember), Pull, "acme/a", Ok(())),
            (acme(Role::OrgMember), Push, "acme/a", Err(PermissionMissing)),
            (acme(Role::OrgMember), Push, "other/a", Err(PermissionMissing)),
            (acme(Role::Orchestrator), Pull, "system/a", Ok(())),
            (acme(Role::Contributor), Push, "acme/a", Ok(())),
            (acme(Role::Contributor), Delete, "acme/a", Err(CreateOnly)),
            (acme(Role::OrgAdmin), Delete, "acme/a", Ok(())),
            (on_system(Role::Publisher), Push, "system/a", Ok(())),
            (on_system(Role::Publisher), Pull, "acme/a", Err(PermissionMissing)),
            (on_system(Role::Orchestrator), Push, "system/a", Err(PermissionMissing)),
            (on_system(Role::SysAdmin), Delete, "acme/a", Ok(())),
        ] {
            assert_eq!(may(&caller, action, name), expected, "{caller:?} {action:?} {name}");
        }
        let two = principal(&[("acme", Role::OrgMember, &[]), ("corp", Role::Publisher, &[])]);
        assert_eq!(
            may(&two, Push, "acme/a"),
            Err(PermissionMissing),
            "a member, but not with that right here"
        );
        assert_eq!(may(&two, Push, "corp/a"), Ok(()));
        let both = principal(&[("acme", Role::Contributor, &[]), ("acme", Role::Publisher, &[])]);
        assert_eq!(may(&both, Delete, "acme/a"), Ok(()), "the stronger of two grants counts");
        assert!(Role::OrgAdmin.on("system").is_none() && Role::SysAdmin.on("acme").is_none());
    }

    #[test]
    fn narrowing_takes_everything_else_away() {
        use Action::{Pull, Push};
        let narrow = principal(&[("acme", Role::OrgAdmin, &["acme/com.acme.*", "other/**"])]);
        assert_eq!(may(&narrow, Push, "acme/com.acme.tool"), Ok(()));
        assert_eq!(may(&narrow, Push, "acme/tool"), Err(Rule::PermissionMissing));
        assert_eq!(may(&narrow, Pull, "system/tool"), Err(Rule::PermissionMissing));
        assert_eq!(may(&narrow, Pull, "other/x"), Err(Rule::NotAMember), "a glob gives no membership");
        let members = narrow.decide(Permission::OrgMembersWrite, "acme", None);
        assert_eq!(members.map(|_| ()), Err(Rule::PermissionMissing), "nor may it hand out tokens");
        let admin = principal(&[("system", Role::SysAdmin, &["acme/a", "system/**"])]);
        assert_eq!(may(&admin, Push, "acme/a"), Ok(()));
        assert_eq!(may(&admin, Pull, "system/x"), Ok(()));
        assert_eq!(may(&admin, Pull, "acme/b"), Err(Rule::PermissionMissing));
        assert!(admin.decide(Permission::SystemAdmin, "system", None).is_err());
        assert_eq!(admin.organisations(), Some(vec![]));
    }
}
