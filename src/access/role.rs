//! Roles, and the grants that they become on a catalog.

use super::SYSTEM_CATALOG;
use super::glob::RepositoryGlob;
use super::permission::{Permission, Permissions};
use crate::name::RepositoryName;

/// The built-in roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything, everywhere. Given on the system catalog.
    SysAdmin,
    OrgAdmin,
    OrgMember,
    Orchestrator,
    Publisher,
    /// Like a publisher, but a tag that is there stays where it is, and nothing is deleted.
    Contributor,
}

impl Role {
    pub const ALL: [Self; 6] = [
        Self::SysAdmin,
        Self::OrgAdmin,
        Self::OrgMember,
        Self::Orchestrator,
        Self::Publisher,
        Self::Contributor,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SysAdmin => "sys_admin",
            Self::OrgAdmin => "org_admin",
            Self::OrgMember => "org_member",
            Self::Orchestrator => "orchestrator",
            Self::Publisher => "publisher",
            Self::Contributor => "contributor",
        }
    }

    /// `None`: a word that no role has.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What the role carries on a catalog. `None`: it cannot be given there.
    pub fn permissions_on(self, catalog: &str) -> Option<Permissions> {
        use Permission::{
            OrgMembersWrite, OrgPluginsRead, OrgPluginsWrite, SystemPluginsRead, SystemPluginsWrite,
        };
        let system = catalog == SYSTEM_CATALOG;
        Some(match self {
            Self::SysAdmin if system => Permissions::of(&Permission::ALL),
            Self::OrgAdmin if !system => Permissions::of(&[OrgPluginsRead, OrgPluginsWrite, OrgMembersWrite]),
            Self::SysAdmin | Self::OrgAdmin => return None,
            Self::OrgMember | Self::Orchestrator if system => Permissions::of(&[SystemPluginsRead]),
            Self::OrgMember | Self::Orchestrator => Permissions::of(&[OrgPluginsRead]),
            Self::Publisher | Self::Contributor if system => {
                Permissions::of(&[SystemPluginsRead, SystemPluginsWrite])
            }
            Self::Publisher | Self::Contributor => Permissions::of(&[OrgPluginsRead, OrgPluginsWrite]),
        })
    }

    /// The grant of this role on a catalog. `None`: it cannot be given there.
    pub fn on(self, catalog: &str) -> Option<Grant> {
        Some(Grant {
            catalog: catalog.to_owned(),
            everywhere: self == Self::SysAdmin,
            permissions: self.permissions_on(catalog)?,
            moves_tags: self != Self::Contributor,
            name: self.as_str().to_owned(),
            only: None,
        })
    }
}

/// What a caller may do in one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub catalog: String,
    /// It counts in every catalog.
    pub everywhere: bool,
    pub permissions: Permissions,
    /// Without it, writing may create tags but neither move nor delete anything.
    pub moves_tags: bool,
    /// What it is called in answers and in the audit log: the role, or the issuer's rule that gave it.
    pub name: String,
    /// Only these repositories, and nothing that is not about repositories.
    pub only: Option<Vec<RepositoryGlob>>,
}

impl Grant {
    /// Narrows the grant to repositories.
    pub fn narrowed(self, only: Option<Vec<RepositoryGlob>>) -> Self {
        Self { only, ..self }
    }

    /// In words: `publisher on acme`.
    pub fn told(&self) -> String {
        format!("{} on {}", self.name, self.catalog)
    }

    /// Whether the grant holds a permission in some catalog.
    pub(super) fn holds(&self, permission: Permission) -> bool {
        // Every grant on an organisation implies reading the system catalog.
        let implied = permission == Permission::SystemPluginsRead && self.catalog != SYSTEM_CATALOG;
        let fits = self.only.is_none() || permission.is_about_repositories();
        let of_this = permission.is_of_organisation() || self.catalog == SYSTEM_CATALOG;
        fits && (implied || of_this && self.permissions.contains(permission))
    }

    /// Whether the grant is one on this catalog.
    pub(super) fn is_on(&self, catalog: &str) -> bool {
        self.everywhere || self.catalog == catalog
    }

    pub(super) fn covers(&self, repository: &RepositoryName) -> bool {
        self.only.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(repository)))
    }
}
