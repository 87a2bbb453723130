//! What the orchestrators of an organisation load: its enablements, and the plan that follows from them.

use serde_json::Value;

use super::{Refusal, Registry, RegistryError};
use crate::access::{Action, Permission, Requester, Rule, SYSTEM_CATALOG};
use crate::meta::{Change, Choice, Enabled, Enablement, NewEnablement, PluginRecord, SetEnablement, Which};
use crate::name::RepositoryName;
use crate::package::{self, SettingsItem};

/// How far back a channel is followed for something that can be loaded.
const HISTORY: usize = 50;

/// One enablement, and what is to be loaded because of it.
#[derive(Debug, Clone)]
pub struct Planned {
    pub enablement: Enablement,
    /// `None`: nothing that it leads to can be loaded.
    pub load: Option<PluginRecord>,
    /// Why it is not what the choice leads to now.
    pub held: Option<Held>,
}

/// A choice that leads to what is not loaded.
#[derive(Debug, Clone)]
pub struct Held {
    pub reason: HeldReason,
    /// What it leads to.
    pub candidate: Option<PluginRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldReason {
    /// The version or channel is not there any more, or its package isn't.
    Missing,
    Disabled,
    /// All that is enabled says more than fits into one plan.
    TooLarge,
    Yanked(String),
    Blocked(String),
    /// Its settings break with those that were accepted, for these reasons.
    Breaking(Vec<String>),
}

impl Registry {
    /// Everything that an organisation enabled, with what each choice leads to.
    pub async fn enablements(&self, organisation: &str) -> Result<Vec<Enabled>, RegistryError> {
        Ok(self.meta.enablements(organisation).await?)
    }

    pub async fn enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
    ) -> Result<Option<Enabled>, RegistryError> {
        Ok(self.meta.enablement(organisation, plugin).await?)
    }

    pub async fn set_enablement(
        &self,
        requester: &Requester,
        organisation: &str,
        new: NewEnablement,
    ) -> Result<SetEnablement, RegistryError> {
        self.may_enable(requester, organisation, &new.plugin)?;
        let set = self.meta.set_enablement(organisation, new, &requester.actor()).await;
        self.cache.plugin_written();
        Ok(set?)
    }

    /// `false`: it was not enabled.
    pub async fn delete_enablement(
        &self,
        requester: &Requester,
        organisation: &str,
        plugin: &RepositoryName,
    ) -> Result<bool, RegistryError> {
        self.may_enable(requester, organisation, plugin)?;
        let deleted = self.meta.delete_enablement(organisation, plugin, &requester.actor()).await;
        self.cache.plugin_written();
        Ok(deleted?)
    }

    /// Of its own plugins, those that the caller may change; of the system's, only by a grant on the whole
    /// organisation.
    fn may_enable(
        &self,
        requester: &Requester,
        organisation: &str,
        plugin: &RepositoryName,
    ) -> Result<(), RegistryError> {
        if plugin.catalog() != SYSTEM_CATALOG {
            return self.may(&requester.caller, Action::Delete, plugin);
        }
        let principal = requester.caller.principal();
        let whole = principal
            .is_some_and(|principal| principal.holds_on_all_of(Permission::OrgPluginsWrite, organisation));
        if whole { Ok(()) } else { Err(Refusal::Denied(Rule::PermissionMissing).into()) }
    }

    /// What the orchestrators of an organisation load now. What one plugin suffers touches no other.
    pub async fn plan(&self, organisation: &str) -> Result<Vec<Planned>, RegistryError> {
        let mut planned = Vec::new();
        for enabled in self.meta.enablements(organisation).await? {
            planned.push(self.planned(enabled).await?);
        }
        Ok(planned)
    }

    async fn planned(&self, enabled: Enabled) -> Result<Planned, RegistryError> {
        let Enabled { enablement, now } = enabled;
        let reason = match (&now, &enablement.choice) {
            (None, _) => Some(HeldReason::Missing),
            (Some(record), _) if record.metadata.is_empty() => {
                let held = Some(Held { reason: HeldReason::TooLarge, candidate: None });
                return Ok(Planned { enablement, load: None, held });
            }
            (Some(record), choice) => match held(&enablement, choice, record) {
                None if !self.has_package(record).await? => Some(HeldReason::Missing),
                reason => reason,
            },
        };
        let Some(reason) = reason else { return Ok(Planned { enablement, load: now, held: None }) };
        let load = match enablement.choice {
            // A version is that version or nothing.
            Choice::Version(_) => None,
            Choice::Channel(_) => self.before(&enablement).await?,
        };
        Ok(Planned { enablement, load, held: Some(Held { reason, candidate: now }) })
    }

    /// What the channel led to last that can be loaded, or else what was accepted.
    async fn before(&self, enablement: &Enablement) -> Result<Option<PluginRecord>, RegistryError> {
        let Enablement { plugin, choice: Choice::Channel(channel), .. } = enablement else { return Ok(None) };
        for event in self.meta.tag_history(plugin, channel, None, HISTORY).await?.items {
            if let Change::TagSet { digest, .. } = event.change
                && let Some(record) = self.meta.plugin(plugin, &Which::Manifest(digest)).await?
                && held(enablement, &enablement.choice, &record).is_none()
                && self.has_package(&record).await?
            {
                return Ok(Some(record));
            }
            // Further back is what its administrators had before they chose this.
            if event.at < enablement.updated {
                break;
            }
        }
        let accepted = self.meta.plugin(plugin, &Which::Version(enablement.accepted.clone())).await?;
        let Some(accepted) = accepted.filter(|accepted| {
            accepted.package == enablement.accepted_package
                && held(enablement, &enablement.choice, accepted).is_none()
        }) else {
            return Ok(None);
        };
        Ok(if self.has_package(&accepted).await? { Some(accepted) } else { None })
    }

    /// Whether orchestrators get the bytes: a blob can be deleted while its version stays.
    async fn has_package(&self, record: &PluginRecord) -> Result<bool, RegistryError> {
        match self.blob(&record.repository, &record.package.into()).await {
            Ok(found) => Ok(found.is_some()),
            // Blocked in this moment.
            Err(RegistryError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Why a record is not loaded for a choice, if so. A version that was chosen by name is loaded also when it is
/// yanked since.
fn held(enablement: &Enablement, choice: &Choice, record: &PluginRecord) -> Option<HeldReason> {
    if let Some(reason) = &record.blocked {
        return Some(HeldReason::Blocked(reason.clone()));
    }
    if !record.enabled {
        return Some(HeldReason::Disabled);
    }
    if matches!(choice, Choice::Version(_)) {
        return None;
    }
    if let Some(reason) = &record.yanked {
        return Some(HeldReason::Yanked(reason.clone()));
    }
    if record.package == enablement.accepted_package {
        return None;
    }
    match package::verdict(&settings(&enablement.accepted_metadata), &settings(&record.metadata)) {
        package::Verdict::Compatible => None,
        package::Verdict::Breaking { reasons } => Some(HeldReason::Breaking(reasons)),
    }
}

/// The settings of a config document.
pub fn settings(metadata: &str) -> Vec<SettingsItem> {
    let document: Value = serde_json::from_str(metadata).unwrap_or_default();
    package::settings_of(&document["settings_schema"])
}
