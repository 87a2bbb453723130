//! Who may do what: callers, actions, and the one place that decides.

use std::str::FromStr;
use std::sync::Arc;

use crate::name::RepositoryName;

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
pub struct Grant {
    pub repository: RepositoryName,
    pub actions: Vec<Action>,
}

/// Who asks, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    /// The admin token itself.
    Admin,
    /// A short token: what its owner was allowed when it was made, narrowed to the scopes asked for.
    Scoped(Arc<Scoped>),
}

/// The content of a short token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoped {
    pub subject: String,
    pub grants: Vec<Grant>,
    /// The scope `registry:catalog:*`: may list everything that the subject may read.
    pub lists_catalog: bool,
}

impl Scoped {
    fn may_push(&self) -> bool {
        self.grants.iter().any(|grant| grant.actions.contains(&Action::Push))
    }
}

/// The subject of everything that the admin token does.
pub const ADMIN_SUBJECT: &str = "admin";

impl Caller {
    /// Who an upload session belongs to; the same for a token and the short tokens made from it.
    pub fn subject(&self) -> &str {
        match self {
            Self::Anonymous => "",
            Self::Admin => ADMIN_SUBJECT,
            Self::Scoped(scoped) => &scoped.subject,
        }
    }

    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
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
    Denied,
}

/// A set of repositories that a caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadScope {
    Everything,
    Only { catalogs: Vec<String>, repositories: Vec<RepositoryName> },
}

impl ReadScope {
    /// Reads nothing.
    pub fn nothing() -> Self {
        Self::Only { catalogs: Vec::new(), repositories: Vec::new() }
    }

    pub fn contains(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Everything => true,
            Self::Only { catalogs, repositories } => {
                catalogs.iter().any(|catalog| catalog == repository.catalog())
                    || repositories.contains(repository)
            }
        }
    }
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
            AnonymousPull::System => {
                ReadScope::Only { catalogs: vec![SYSTEM_CATALOG.to_owned()], repositories: Vec::new() }
            }
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
        let allowed = match caller {
            Caller::Anonymous => false,
            Caller::Admin => true,
            Caller::Scoped(scoped) => scoped
                .grants
                .iter()
                .any(|grant| grant.repository == *repository && grant.actions.contains(&action)),
        };
        match caller {
            _ if allowed => Verdict::Allowed,
            _ if caller.is_anonymous() => Verdict::Unauthenticated,
            Caller::Scoped(scoped) if scoped.subject == ADMIN_SUBJECT => Verdict::NarrowToken,
            Caller::Anonymous | Caller::Admin | Caller::Scoped(_) => Verdict::Denied,
        }
    }

    /// Everything that a caller may read.
    pub fn readable(&self, caller: &Caller) -> ReadScope {
        let public = self.public();
        let scoped = match caller {
            Caller::Anonymous => return public,
            Caller::Admin => return ReadScope::Everything,
            Caller::Scoped(scoped) => scoped,
        };
        match public {
            ReadScope::Everything => ReadScope::Everything,
            ReadScope::Only { catalogs, mut repositories } => {
                let pulls = scoped.grants.iter().filter(|grant| grant.actions.contains(&Action::Pull));
                repositories.extend(pulls.map(|grant| grant.repository.clone()));
                ReadScope::Only { catalogs, repositories }
            }
        }
    }

    /// Where a blob may be mounted from. A short token names the repository that is pushed to, and cannot
    /// name a source that its owner leaves open; so with the right to push goes the right to mount from
    /// whatever the owner may read (`docs/adr/0006-mounting-with-short-tokens.md`).
    pub fn mountable(&self, caller: &Caller) -> ReadScope {
        match caller {
            Caller::Scoped(scoped) if scoped.subject == ADMIN_SUBJECT && scoped.may_push() => {
                ReadScope::Everything
            }
            Caller::Anonymous | Caller::Admin | Caller::Scoped(_) => self.readable(caller),
        }
    }

    /// What `/v2/_catalog` lists for a caller.
    pub fn listable(&self, caller: &Caller) -> ReadScope {
        match caller {
            Caller::Scoped(scoped) if scoped.lists_catalog && scoped.subject == ADMIN_SUBJECT => {
                ReadScope::Everything
            }
            Caller::Anonymous | Caller::Admin | Caller::Scoped(_) => self.readable(caller),
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

    fn scoped(subject: &str, grants: &[(&str, &[Action])]) -> Caller {
        Caller::Scoped(Arc::new(Scoped {
            subject: subject.into(),
            grants: grants
                .iter()
                .map(|(name, actions)| Grant { repository: repository(name), actions: actions.to_vec() })
                .collect(),
            lists_catalog: false,
        }))
    }

    #[test]
    fn the_matrix() {
        use Action::{Delete, Pull, Push};
        use Verdict::{Allowed, Denied, NarrowToken, Unauthenticated};
        let token = scoped(ADMIN_SUBJECT, &[("acme/a", &[Pull, Push])]);
        let stranger = scoped("somebody", &[("acme/a", &[Pull])]);
        let anonymous = Caller::Anonymous;
        let policy = |anonymous_pull| Policy { anonymous_pull };
        for (rule, caller, action, name, verdict) in [
            (AnonymousPull::System, &anonymous, Pull, "system/a", Allowed),
            (AnonymousPull::System, &anonymous, Pull, "acme/a", Unauthenticated),
            (AnonymousPull::System, &anonymous, Push, "system/a", Unauthenticated),
            (AnonymousPull::None, &anonymous, Pull, "system/a", Unauthenticated),
            (AnonymousPull::All, &anonymous, Pull, "acme/a", Allowed),
            (AnonymousPull::All, &anonymous, Delete, "acme/a", Unauthenticated),
            (AnonymousPull::None, &Caller::Admin, Delete, "acme/a", Allowed),
            (AnonymousPull::System, &token, Push, "acme/a", Allowed),
            (AnonymousPull::System, &token, Delete, "acme/a", NarrowToken),
            (AnonymousPull::System, &token, Pull, "acme/b", NarrowToken),
            (AnonymousPull::System, &stranger, Pull, "acme/a", Allowed),
            (AnonymousPull::System, &stranger, Push, "acme/a", Denied),
            (AnonymousPull::System, &stranger, Pull, "acme/b", Denied),
            (AnonymousPull::System, &token, Pull, "system/b", Allowed),
            (AnonymousPull::None, &token, Pull, "system/b", NarrowToken),
        ] {
            let answer = policy(rule).may(caller, action, &repository(name));
            assert_eq!(answer, verdict, "{rule:?} {caller:?} {action:?} {name}");
            let readable = policy(rule).readable(caller).contains(&repository(name));
            if action == Pull {
                assert_eq!(readable, verdict == Allowed, "{rule:?} {caller:?} {name}");
            }
        }
    }
}
