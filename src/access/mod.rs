//! Who may do what: callers, actions, and the one place that decides.

mod glob;
mod permission;
mod principal;
mod role;
mod scope;

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::name::RepositoryName;

pub use self::glob::{GlobError, RepositoryGlob, TagGlob};
pub use self::permission::{
    ORG_MEMBERS_WRITE, ORG_PLUGINS_READ, ORG_PLUGINS_WRITE, Permission, Permissions, SYSTEM_ADMIN,
    SYSTEM_PLUGINS_READ, SYSTEM_PLUGINS_WRITE,
};
pub use self::principal::{ADMIN_SUBJECT, ISSUER_CREDENTIAL, Principal, Rule};
pub use self::role::{Grant, Role};
pub use self::scope::{CatalogScope, ReadScope};

/// The catalog that everybody sees unless configured otherwise.
pub const SYSTEM_CATALOG: &str = "system";

/// What may be pulled without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousPull {
    None,
    System,
    All,
}

impl FromStr for AnonymousPull {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" => Ok(Self::None),
            "system" => Ok(Self::System),
            "all" => Ok(Self::All),
            _ => Err(()),
        }
    }
}

/// What a caller wants to do to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// The word of the token scopes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// `None`: a word that no action has.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pull, Self::Push, Self::Delete].into_iter().find(|action| action.as_str() == word)
    }
}

/// What a short token carries for one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenScope {
    pub repository: RepositoryName,
    pub actions: Vec<Action>,
}

/// Who asks, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    /// Somebody who showed a credential of their own.
    Known(Arc<Principal>),
    /// A short token: its owner, narrowed to the scopes asked for.
    Scoped(Arc<Scoped>),
}

/// Somebody with a short token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoped {
    /// Their grants are those of now and not of when the token was made.
    pub owner: Arc<Principal>,
    pub scopes: Vec<TokenScope>,
    /// The scope `registry:catalog:*`: may list everything that the owner may read.
    pub lists_catalog: bool,
}

impl Scoped {
    fn carries(&self, action: Action, repository: &RepositoryName) -> bool {
        let fits = |scope: &&TokenScope| scope.repository == *repository;
        self.scopes.iter().filter(fits).any(|scope| scope.actions.contains(&action))
    }

    fn may_push(&self) -> bool {
        self.scopes.iter().any(|scope| {
            scope.actions.contains(&Action::Push) && self.owner.may(Action::Push, &scope.repository).is_ok()
        })
    }
}

impl Caller {
    /// Who an upload session belongs to; the same for a credential and the short tokens made from it.
    pub fn subject(&self) -> &str {
        self.principal().map_or("", |principal| &principal.subject)
    }

    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }

    /// Whose grants count.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        match self {
            Self::Anonymous => None,
            Self::Known(principal) => Some(principal),
            Self::Scoped(scoped) => Some(&scoped.owner),
        }
    }
}

/// Who does something, from where, by which rule, in which request: what the audit log tells of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub subject: String,
    /// The grant or rule by which it was allowed.
    pub rule: String,
    pub address: Option<IpAddr>,
    pub request_id: String,
}

impl Actor {
    /// Somebody inside of the program.
    pub fn internal(subject: &str) -> Self {
        Self { subject: subject.to_owned(), rule: String::new(), address: None, request_id: String::new() }
    }
}

/// A caller in a request of theirs.
#[derive(Debug, Clone)]
pub struct Requester {
    pub caller: Caller,
    /// The grant that allows what they do, in words; empty where nothing is changed.
    pub rule: String,
    pub address: Option<IpAddr>,
    pub request_id: String,
}

impl Requester {
    /// What a write is recorded with.
    pub fn actor(&self) -> Actor {
        Actor {
            subject: self.caller.subject().to_owned(),
            rule: self.rule.clone(),
            address: self.address,
            request_id: self.request_id.clone(),
        }
    }
}

/// The answer to "may they?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Nobody said who they are.
    Unauthenticated,
    /// The short token does not carry it, but its owner may: another token will do.
    NarrowToken,
    /// We know who they are, and they may not.
    Denied(Rule),
}

/// The rules of this server.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub anonymous_pull: AnonymousPull,
}

impl Policy {
    /// What everybody may read without saying who they are.
    pub fn public(&self) -> ReadScope {
        match self.anonymous_pull {
            AnonymousPull::None => ReadScope::nothing(),
            AnonymousPull::System => ReadScope::catalog(SYSTEM_CATALOG),
            AnonymousPull::All => ReadScope::Everything,
        }
    }

    /// Whether answers about this repository may be kept by shared caches.
    pub fn is_public(&self, repository: &RepositoryName) -> bool {
        match self.anonymous_pull {
            AnonymousPull::None => false,
            AnonymousPull::System => repository.catalog() == SYSTEM_CATALOG,
            AnonymousPull::All => true,
        }
    }

    /// Decides from the names alone, so that the answer is the same whether or not anything exists (P3).
    pub fn may(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> Verdict {
        if action == Action::Pull && self.is_public(repository) {
            return Verdict::Allowed;
        }
        let Some(principal) = caller.principal() else { return Verdict::Unauthenticated };
        match (principal.may(action, repository), caller) {
            (Err(rule), _) => Verdict::Denied(rule),
            (Ok(_), Caller::Scoped(scoped)) if !scoped.carries(action, repository) => Verdict::NarrowToken,
            (Ok(_), _) => Verdict::Allowed,
        }
    }

    /// The grant that allows it, or the rule that does not, in words.
    pub fn explain(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> String {
        match self.may(caller, action, repository) {
            Verdict::Allowed => match caller.principal().map(|principal| principal.may(action, repository)) {
                Some(Ok(grant)) => grant.told(),
                Some(Err(_)) | None => "public".to_owned(),
            },
            Verdict::Unauthenticated => "unauthenticated".to_owned(),
            Verdict::NarrowToken => "token_scope".to_owned(),
            Verdict::Denied(rule) => rule.code().to_owned(),
        }
    }

    /// Whether they may move and delete tags there, and not only create them.
    pub fn may_move_tags(&self, caller: &Caller, repository: &RepositoryName) -> bool {
        let grant = caller.principal().map(|principal| principal.may(Action::Push, repository));
        matches!(grant, Some(Ok(grant)) if grant.moves_tags)
    }

    /// Everything that a caller may read.
    pub fn readable(&self, caller: &Caller) -> ReadScope {
        match caller {
            Caller::Anonymous => self.public(),
            Caller::Known(principal) => principal.readable().union(self.public()),
            Caller::Scoped(scoped) => {
                let pulls = scoped.scopes.iter().filter(|scope| scope.actions.contains(&Action::Pull));
                let own = pulls.map(|scope| &scope.repository);
                let own = own.filter(|repository| scoped.owner.may(Action::Pull, repository).is_ok());
                let repositories = own.cloned().collect();
                ReadScope::Only { catalogs: Vec::new(), repositories }.union(self.public())
            }
        }
    }

    /// Where a blob may be mounted from. A short token names the repository that is pushed to, and cannot
    /// name a source that its owner leaves open; so with the right to push goes the right to mount from
    /// whatever the owner may read (`docs/adr/0006-mounting-with-short-tokens.md`).
    pub fn mountable(&self, caller: &Caller) -> ReadScope {
        match caller {
            Caller::Scoped(scoped) if scoped.may_push() => scoped.owner.readable().union(self.public()),
            Caller::Anonymous | Caller::Known(_) | Caller::Scoped(_) => self.readable(caller),
        }
    }

    /// What `/v2/_catalog` lists for a caller.
    pub fn listable(&self, caller: &Caller) -> ReadScope {
        match caller {
            Caller::Scoped(scoped) if scoped.lists_catalog => scoped.owner.readable().union(self.public()),
            Caller::Anonymous | Caller::Known(_) | Caller::Scoped(_) => self.readable(caller),
        }
    }

    /// Which of the actions asked for a caller gets in a short token.
    pub fn granted(&self, caller: &Caller, repository: &RepositoryName, asked: &[Action]) -> Vec<Action> {
        let mut granted = Vec::new();
        for &action in asked {
            if self.may(caller, action, repository) == Verdict::Allowed && !granted.contains(&action) {
                granted.push(action);
            }
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> RepositoryName {
        name.parse().unwrap()
    }

    fn known(subject: &str, grants: &[(&str, Role)]) -> Arc<Principal> {
        Arc::new(Principal {
            subject: subject.into(),
            grants: grants.iter().map(|(catalog, role)| role.on(catalog).unwrap()).collect(),
            credential: String::new(),
            expires: None,
        })
    }

    fn scoped(owner: &Arc<Principal>, scopes: &[(&str, &[Action])]) -> Caller {
        Caller::Scoped(Arc::new(Scoped {
            owner: Arc::clone(owner),
            scopes: scopes
                .iter()
                .map(|(name, actions)| TokenScope { repository: repository(name), actions: actions.to_vec() })
                .collect(),
            lists_catalog: false,
        }))
    }

    #[test]
    fn the_matrix() {
        use Action::{Delete, Pull, Push};
        use Verdict::{Allowed, Denied, NarrowToken, Unauthenticated};
        let admin = Arc::new(Principal::admin(String::new()));
        let reader = known("somebody", &[("acme", Role::OrgMember)]);
        let token = scoped(&admin, &[("acme/a", &[Pull, Push])]);
        let stranger = scoped(&reader, &[("acme/a", &[Pull, Push]), ("corp/a", &[Pull])]);
        let (admin, anonymous) = (Caller::Known(admin), Caller::Anonymous);
        let policy = |anonymous_pull| Policy { anonymous_pull };
        for (rule, caller, action, name, verdict) in [
            (AnonymousPull::System, &anonymous, Pull, "system/a", Allowed),
            (AnonymousPull::System, &anonymous, Pull, "acme/a", Unauthenticated),
            (AnonymousPull::System, &anonymous, Push, "system/a", Unauthenticated),
            (AnonymousPull::None, &anonymous, Pull, "system/a", Unauthenticated),
            (AnonymousPull::All, &anonymous, Pull, "acme/a", Allowed),
            (AnonymousPull::All, &anonymous, Delete, "acme/a", Unauthenticated),
            (AnonymousPull::None, &admin, Delete, "acme/a", Allowed),
            (AnonymousPull::System, &token, Push, "acme/a", Allowed),
            (AnonymousPull::System, &token, Delete, "acme/a", NarrowToken),
            (AnonymousPull::System, &token, Pull, "acme/b", NarrowToken),
            (AnonymousPull::System, &token, Pull, "system/b", Allowed),
            (AnonymousPull::None, &token, Pull, "system/b", NarrowToken),
            (AnonymousPull::System, &stranger, Pull, "acme/a", Allowed),
            (AnonymousPull::System, &stranger, Pull, "acme/b", NarrowToken),
            // What the owner lost since the token was made is lost to the token.
            (AnonymousPull::System, &stranger, Push, "acme/a", Denied(Rule::PermissionMissing)),
            (AnonymousPull::System, &stranger, Pull, "corp/a", Denied(Rule::NotAMember)),
        ] {
            let answer = policy(rule).may(caller, action, &repository(name));
            assert_eq!(answer, verdict, "{rule:?} {caller:?} {action:?} {name}");
            let readable = policy(rule).readable(caller).contains(&repository(name));
            if action == Pull {
                assert_eq!(readable, verdict == Allowed, "{rule:?} {caller:?} {name}");
            }
        }
        let policy = policy(AnonymousPull::System);
        assert!(!policy.mountable(&stranger).contains(&repository("corp/b")));
        assert_eq!(policy.explain(&admin, Push, &repository("acme/a")), "sys_admin on system");
        assert_eq!(policy.explain(&anonymous, Pull, &repository("system/a")), "public");
        assert_eq!(policy.explain(&stranger, Pull, &repository("corp/a")), "not_a_member");
    }
}
