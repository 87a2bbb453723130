//! Permissions: the six strings that roles and claims are made of, and sets of them.

use super::SYSTEM_CATALOG;

/// Read the plugins of an organisation.
pub const ORG_PLUGINS_READ: &str = "org:plugins:read";
/// Push, tag and delete in an organisation's catalog.
pub const ORG_PLUGINS_WRITE: &str = "org:plugins:write";
/// Hand out and revoke tokens of an organisation, set the rules of its tags, read its audit log.
pub const ORG_MEMBERS_WRITE: &str = "org:members:write";
/// Read the system catalog.
pub const SYSTEM_PLUGINS_READ: &str = "system:plugins:read";
/// Push, tag and delete in the system catalog.
pub const SYSTEM_PLUGINS_WRITE: &str = "system:plugins:write";
/// Manage organisations and all tokens.
pub const SYSTEM_ADMIN: &str = "system:admin";

/// What a grant may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    OrgPluginsRead,
    OrgPluginsWrite,
    OrgMembersWrite,
    SystemPluginsRead,
    SystemPluginsWrite,
    SystemAdmin,
}

impl Permission {
    pub const ALL: [Self; 6] = [
        Self::OrgPluginsRead,
        Self::OrgPluginsWrite,
        Self::OrgMembersWrite,
        Self::SystemPluginsRead,
        Self::SystemPluginsWrite,
        Self::SystemAdmin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrgPluginsRead => ORG_PLUGINS_READ,
            Self::OrgPluginsWrite => ORG_PLUGINS_WRITE,
            Self::OrgMembersWrite => ORG_MEMBERS_WRITE,
            Self::SystemPluginsRead => SYSTEM_PLUGINS_READ,
            Self::SystemPluginsWrite => SYSTEM_PLUGINS_WRITE,
            Self::SystemAdmin => SYSTEM_ADMIN,
        }
    }

    /// `None`: no permission of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text)
    }

    /// What reading a catalog needs.
    pub fn of_read(catalog: &str) -> Self {
        if catalog == SYSTEM_CATALOG { Self::SystemPluginsRead } else { Self::OrgPluginsRead }
    }

    /// What writing to a catalog needs.
    pub fn of_write(catalog: &str) -> Self {
        if catalog == SYSTEM_CATALOG { Self::SystemPluginsWrite } else { Self::OrgPluginsWrite }
    }

    /// Whether it is about an organisation; otherwise it is about the system.
    pub fn is_of_organisation(self) -> bool {
        match self {
            Self::OrgPluginsRead | Self::OrgPluginsWrite | Self::OrgMembersWrite => true,
            Self::SystemPluginsRead | Self::SystemPluginsWrite | Self::SystemAdmin => false,
        }
    }

    /// Whether it is about repositories, so that a credential narrowed to some of them may still carry it.
    pub fn is_about_repositories(self) -> bool {
        match self {
            Self::OrgPluginsRead
            | Self::OrgPluginsWrite
            | Self::SystemPluginsRead
            | Self::SystemPluginsWrite => true,
            Self::OrgMembersWrite | Self::SystemAdmin => false,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u8);

impl Permissions {
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < permissions.len() {
            bits |= permissions[index].bit();
            index += 1;
        }
        Self(bits)
    }

    pub fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(permission));
            let set = Permissions::of(&[permission]);
            assert_eq!(set.iter().collect::<Vec<_>>(), [permission]);
            assert_eq!(Permission::ALL.into_iter().filter(|other| set.contains(*other)).count(), 1);
        }
        assert_eq!(Permission::parse("org:plugins"), None);
        assert!(Permissions::default().is_empty());
    }
}
