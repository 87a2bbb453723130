//! `/api/orgs/{org}/enablements` and `…/orchestrator-plan`: what the orchestrators of an organisation load.

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kept::Answer;
use super::plugins::{Desk, default_settings, metadata, plugin_name, url};
use super::{Findings, Object, json, read, time};
use crate::access::{Requester, SYSTEM_CATALOG};
use crate::digest::{Digest, Sha256};
use crate::http::error::ApiError;
use crate::http::plugin_query::Source;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::meta::{Choice, ENABLEMENTS, Enabled, Enablement, NewEnablement, PluginRecord, SetEnablement};
use crate::name::RepositoryName;
use crate::package::schema_digest;
use crate::registry::{Held, HeldReason, Planned, settings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    version: Option<String>,
    channel: Option<String>,
    digest: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    source: &'static str,
    pid: &'a str,
    version: Option<&'a str>,
    channel: Option<&'a str>,
    accepted_version: &'a str,
    accepted_digest: String,
    settings_schema_digest: Option<String>,
    updated_by: &'a str,
    updated_at: String,
    now: Option<Now<'a>>,
}

/// What a choice leads to.
#[derive(Serialize)]
struct Now<'a> {
    version: &'a str,
    digest: String,
    enabled: bool,
    yanked: Option<&'a str>,
    blocked: Option<&'a str>,
}

impl<'a> Now<'a> {
    fn of(record: &'a PluginRecord) -> Self {
        Self {
            version: record.version.as_str(),
            digest: Digest::from(record.package).to_string(),
            enabled: record.enabled,
            yanked: record.yanked.as_deref(),
            blocked: record.blocked.as_deref(),
        }
    }
}

impl<'a> Shown<'a> {
    fn of(desk: &Desk<'_>, enabled: &'a Enabled) -> Self {
        let Enabled { enablement, now } = enabled;
        let (version, channel) = chosen(&enablement.choice);
        Self {
            source: desk.source(&enablement.plugin).as_str(),
            pid: enablement.plugin.without_catalog(),
            version,
            channel,
            accepted_version: enablement.accepted.as_str(),
            accepted_digest: Digest::from(enablement.accepted_package).to_string(),
            settings_schema_digest: digest_of_settings(&enablement.accepted_metadata),
            updated_by: &enablement.actor,
            updated_at: time(enablement.updated),
            now: now.as_ref().map(Now::of),
        }
    }
}

fn chosen(choice: &Choice) -> (Option<&str>, Option<&str>) {
    match choice {
        Choice::Version(version) => (Some(version.as_str()), None),
        Choice::Channel(channel) => (None, Some(channel.as_str())),
    }
}

fn digest_of_settings(metadata: &str) -> Option<String> {
    schema_digest(&settings(metadata)).ok().map(|digest| Digest::from(digest).to_string())
}

#[derive(Serialize)]
struct Plan<'a> {
    org_id: &'a str,
    /// What is to be loaded.
    plugins: Vec<Load<'a>>,
    /// What was enabled and cannot be loaded.
    unavailable: Vec<Unavailable<'a>>,
}

#[derive(Serialize)]
struct Load<'a> {
    source: &'static str,
    pid: &'a str,
    version: &'a str,
    /// The channel that led to it, if one was chosen.
    channel: Option<&'a str>,
    digest: String,
    manifest_digest: String,
    size: u64,
    url: String,
    entrypoint: Value,
    sdk_version: Value,
    dependencies: Value,
    is_specialized: Value,
    is_scoped: Value,
    stateless: Value,
    settings_schema: Value,
    settings_schema_digest: Option<String>,
    default_settings: Map<String, Value>,
    yanked: Option<&'a str>,
    deprecated: Option<&'a str>,
    /// The channel leads elsewhere, and that is not loaded.
    held: Option<ShownHeld<'a>>,
}

#[derive(Serialize)]
struct ShownHeld<'a> {
    code: &'static str,
    message: String,
    reasons: &'a [String],
    /// What the channel leads to.
    version: Option<&'a str>,
    digest: Option<String>,
}

#[derive(Serialize)]
struct Unavailable<'a> {
    source: &'static str,
    pid: &'a str,
    version: Option<&'a str>,
    channel: Option<&'a str>,
    code: &'static str,
    message: String,
    reasons: &'a [String],
}

fn told(reason: &HeldReason) -> (&'static str, String, &[String]) {
    match reason {
        HeldReason::Missing => ("missing", "it is not there any more".to_owned(), &[]),
        HeldReason::TooLarge => ("too_large", "the plan would have more than 64 MiB".to_owned(), &[]),
        HeldReason::Disabled => ("disabled", "it is disabled".to_owned(), &[]),
        HeldReason::Yanked(reason) => ("yanked", format!("it is yanked: {reason}"), &[]),
        HeldReason::Blocked(reason) => ("blocked", format!("it is blocked: {reason}"), &[]),
        HeldReason::Breaking(reasons) => {
            let message = "its settings break with those that were accepted; enable it again to accept them";
            ("breaking", message.to_owned(), reasons)
        }
    }
}

impl Desk<'_> {
    pub async fn enablements(&self, organisation: &str) -> Result<Reply, ApiError> {
        self.check_organisation(organisation).await?;
        let all = self.registry.enablements(organisation).await?;
        let seen = all.iter().filter(|enabled| self.may_read(&enabled.enablement.plugin));
        Ok(self.shown(&seen.map(|enabled| Shown::of(self, enabled)).collect::<Vec<_>>()))
    }

    pub async fn enablement(&self, organisation: &str, source: Source, pid: &str) -> Result<Reply, ApiError> {
        self.check_organisation(organisation).await?;
        let plugin = self.enabled_name(organisation, source, pid)?;
        let found = self.registry.enablement(organisation, &plugin).await?;
        Ok(self.shown(&Shown::of(self, &found.ok_or(NOT_ENABLED)?)))
    }

    fn enabled_name(
        &self,
        organisation: &str,
        source: Source,
        pid: &str,
    ) -> Result<RepositoryName, ApiError> {
        let catalog = match source {
            Source::System => SYSTEM_CATALOG,
            Source::Org => organisation,
        };
        let name = plugin_name(catalog, pid).filter(|name| self.may_read(name));
        name.ok_or(ApiError::Unknown("plugin"))
    }

    pub async fn enable(
        &self,
        requester: &Requester,
        organisation: &str,
        source: Source,
        pid: &str,
        body: RequestBody,
    ) -> Result<Reply, ApiError> {
        self.check_organisation(organisation).await?;
        let Object(new): Object<New> = read(body).await?;
        let (choice, expected) = checked(&new)?;
        let plugin = self.enabled_name(organisation, source, pid)?;
        let new = NewEnablement { plugin, choice, expected };
        match self.registry.set_enablement(requester, organisation, new).await? {
            SetEnablement::Set(enabled) => {
                Ok(json(StatusCode::OK, &Shown::of(self, &enabled), Freshness::Write))
            }
            SetEnablement::Unknown => Err(ApiError::Unknown("version or channel of a plugin")),
            SetEnablement::Unusable(record) => Err(unusable(&record)),
            SetEnablement::Differs(record) => {
                let now = Digest::from(record.package);
                let message = format!("this leads to version {} with the package {now}", record.version);
                Err(ApiError::Conflict { code: "digest_differs", message })
            }
            SetEnablement::Full => {
                let message = format!(
                    "an organisation enables at most {ENABLEMENTS} plugins, which say at most 32 MiB together"
                );
                Err(ApiError::Conflict { code: "too_many_enablements", message })
            }
        }
    }

    pub async fn no_longer_enable(
        &self,
        requester: &Requester,
        organisation: &str,
        source: Source,
        pid: &str,
    ) -> Result<Reply, ApiError> {
        self.check_organisation(organisation).await?;
        let plugin = self.enabled_name(organisation, source, pid)?;
        match self.registry.delete_enablement(requester, organisation, &plugin).await? {
            true => Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write)),
            false => Err(NOT_ENABLED),
        }
    }

    pub async fn plan(&self, organisation: &str) -> Result<Reply, ApiError> {
        let scopes = self.scopes_of(organisation);
        let whole = scopes.len() == 2 && scopes.iter().all(|scope| scope.only.is_none());
        let asked = format!("plan {organisation}");
        let written = self.registry.plugins_written();
        if whole && let Some(answer) = self.kept.get(&asked, written) {
            return Ok(self.tagged(&answer));
        }
        let _alone = if whole { Some(self.kept.alone(&asked).await) } else { None };
        if whole && let Some(answer) = self.kept.get(&asked, written) {
            return Ok(self.tagged(&answer));
        }
        self.check_organisation(organisation).await?;
        let mut planned = self.registry.plan(organisation).await?;
        planned.retain(|planned| self.may_read(&planned.enablement.plugin));
        let mut plan = Plan { org_id: organisation, plugins: Vec::new(), unavailable: Vec::new() };
        for Planned { enablement, load, held } in &planned {
            match (load, held) {
                (Some(load), held) => plan.plugins.push(self.load(enablement, load, held.as_ref())),
                (None, Some(held)) => plan.unavailable.push(self.unavailable(enablement, &held.reason)),
                (None, None) => plan.unavailable.push(self.unavailable(enablement, &HeldReason::Missing)),
            }
        }
        let answer = Arc::new(Answer::json(&plan, None));
        if whole {
            self.kept.keep(asked, written, &answer);
        }
        Ok(self.tagged(&answer))
    }

    fn load<'a>(
        &self,
        enablement: &'a Enablement,
        record: &'a PluginRecord,
        held: Option<&'a Held>,
    ) -> Load<'a> {
        let mut metadata = metadata(record);
        let mut take = |field: &str| metadata.remove(field).unwrap_or_default();
        let settings_schema = take("settings_schema");
        Load {
            source: self.source(&record.repository).as_str(),
            pid: record.repository.without_catalog(),
            version: record.version.as_str(),
            channel: chosen(&enablement.choice).1,
            digest: Digest::from(record.package).to_string(),
            manifest_digest: Digest::from(record.manifest).to_string(),
            size: record.package_size,
            url: url(self, &record.package),
            entrypoint: take("entrypoint"),
            sdk_version: take("sdk_version"),
            dependencies: take("dependencies"),
            is_specialized: take("is_specialized"),
            is_scoped: take("is_scoped"),
            stateless: take("stateless"),
            default_settings: default_settings(&settings_schema),
            settings_schema,
            settings_schema_digest: digest_of_settings(&record.metadata),
            yanked: record.yanked.as_deref(),
            deprecated: record.deprecated.as_ref().map(|deprecated| &*deprecated.message),
            held: held.map(|held| {
                let (code, message, reasons) = told(&held.reason);
                let candidate = held.candidate.as_ref();
                ShownHeld {
                    code,
                    message,
                    reasons,
                    version: candidate.map(|candidate| candidate.version.as_str()),
                    digest: candidate.map(|candidate| Digest::from(candidate.package).to_string()),
                }
            }),
        }
    }

    fn unavailable<'a>(&self, enablement: &'a Enablement, reason: &'a HeldReason) -> Unavailable<'a> {
        let (code, message, reasons) = told(reason);
        let (version, channel) = chosen(&enablement.choice);
        let source = self.source(&enablement.plugin).as_str();
        let pid = enablement.plugin.without_catalog();
        Unavailable { source, pid, version, channel, code, message, reasons }
    }
}

const NOT_ENABLED: ApiError = ApiError::Unknown("enablement");

fn unusable(record: &PluginRecord) -> ApiError {
    let version = &record.version;
    let (code, message) = match (&record.blocked, record.enabled, &record.yanked) {
        (Some(reason), _, _) => ("version_blocked", format!("version {version} is blocked: {reason}")),
        (None, false, _) => ("version_disabled", format!("version {version} is disabled")),
        (None, true, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            ("version_yanked", format!("version {version} is yanked: {reason}"))
        }
    };
    ApiError::Conflict { code, message }
}

fn checked(new: &New) -> Result<(Choice, Option<Sha256>), ApiError> {
    let mut findings = Findings::default();
    let choice = match (&new.version, &new.channel) {
        (Some(version), None) => {
            let parsed = version.parse().map_err(|error| findings.add("version", "/version", error));
            parsed.ok().map(Choice::Version)
        }
        (None, Some(channel)) => {
            let parsed = channel.parse().map_err(|error| findings.add("channel", "/channel", error));
            parsed.ok().map(Choice::Channel)
        }
        (Some(_), Some(_)) | (None, None) => {
            findings.add("choice", "", "names either a version or a channel");
            None
        }
    };
    if let Some(Choice::Channel(channel)) = &choice
        && crate::version::is_version(channel)
    {
        findings.add("channel", "/channel", "is a version; name it as one");
    }
    let expected = new.digest.as_ref().and_then(|text| match text.parse::<Digest>() {
        Ok(Digest::Sha256(sha256)) => Some(sha256),
        Ok(Digest::Sha512(_)) => {
            findings.add("digest", "/digest", "a package is named by its sha256");
            None
        }
        Err(error) => {
            findings.add("digest", "/digest", error);
            None
        }
    });
    findings.done()?;
    choice.map(|choice| (choice, expected)).ok_or(ApiError::Unknown("choice"))
}
