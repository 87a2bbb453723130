//! What the store keeps of plugins: versions and their state, what organisations enable, and what is blocked.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::Deserialize;
use uuid::Uuid;

use super::{MetaError, Page};
use crate::access::{Actor, CatalogScope};
use crate::digest::Sha256;
use crate::name::{RepositoryName, Tag};
use crate::package::{Member, Method};
use crate::version::Version;

/// The tag that always names the highest version of a plugin that is neither disabled, yanked nor blocked; a
/// pre-release only where there is nothing else.
pub const LATEST: &str = "latest";
/// Most plugins that an organisation enables: all of them stand in one plan.
pub const ENABLEMENTS: usize = 1000;
/// Most bytes of config documents in one page of plugins or versions; one alone may have more.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of config documents that the enablements of an organisation may have together.
pub const ENABLEMENT_BYTES: usize = 32 * 1024 * 1024;
/// Most bytes of config documents in one plan.
pub const PLAN_BYTES: usize = 64 * 1024 * 1024;
/// Most digests that may be blocked: every node keeps them in memory.
pub const BLOCKED: usize = 100_000;

/// Metadata of plugins, at the level of whole operations.
///
/// Every implementation keeps these laws, beside those of [`super::MetaStore`]; `tests/suite/plugin_laws.rs`,
/// `plugin_state_laws.rs` and `plugin_list_laws.rs` run them:
///
/// 13. A version appears and goes in the transaction of its manifest and its tag. When it comes back, it is as
///     disabled, yanked and deprecated as it was.
/// 14. `latest` names the highest enabled version that is neither yanked nor blocked, before every
///     acknowledgement of a write that could change that.
/// 15. A version has one package and one spelling for ever.
/// 16. Nothing that is blocked, or that has a blocked file in it, is published.
/// 17. Lists are in the order of their keys, a page behind `after` begins where the one before it ended, whatever
///     was written between them.
#[async_trait]
pub trait PluginStore: Send + Sync + 'static {
    /// Plugins by id, each with the version that a list shows. Of one id, an organisation's comes before the
    /// system's.
    async fn plugins(&self, query: &PluginQuery) -> Result<Page<PluginRecord>, MetaError>;

    /// How many plugins of each tag, capability and catalog a query finds.
    async fn plugin_facets(&self, query: &PluginQuery) -> Result<Facets, MetaError>;

    /// The versions of a plugin, highest first, below one if it is given.
    async fn plugin_versions(
        &self,
        repository: &RepositoryName,
        below: Option<&Version>,
        limit: usize,
    ) -> Result<Page<PluginRecord>, MetaError>;

    async fn plugin(
        &self,
        repository: &RepositoryName,
        which: &Which,
    ) -> Result<Option<PluginRecord>, MetaError>;

    async fn plugin_by_id(&self, id: Uuid) -> Result<Option<PluginRecord>, MetaError>;

    /// The files of a package, by path.
    async fn package_files(&self, package: &Sha256) -> Result<Vec<PackageFile>, MetaError>;

    async fn package_file(&self, package: &Sha256, path: &str) -> Result<Option<PackageFile>, MetaError>;

    /// Changes the state of a version. `None`: there is no such version.
    async fn change_plugin(
        &self,
        id: Uuid,
        change: PluginChange,
        actor: &Actor,
    ) -> Result<Option<PluginRecord>, MetaError>;

    /// Makes the orchestrators of an organisation load a plugin.
    async fn set_enablement(
        &self,
        organisation: &str,
        new: NewEnablement,
        actor: &Actor,
    ) -> Result<SetEnablement, MetaError>;

    /// Ends that. `false`: they did not load it.
    async fn delete_enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
        actor: &Actor,
    ) -> Result<bool, MetaError>;

    /// One of them, and what its choice leads to now.
    async fn enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
    ) -> Result<Option<Enabled>, MetaError>;

    /// Everything that the orchestrators of an organisation load, by id and catalog, and what each choice leads
    /// to now. At most [`ENABLEMENTS`].
    async fn enablements(&self, organisation: &str) -> Result<Vec<Enabled>, MetaError>;

    /// Blocks a digest, and every package and manifest that has it in it.
    async fn block(&self, digest: Sha256, reason: &str, actor: &Actor) -> Result<SetBlock, MetaError>;

    /// Takes a block away. `false`: there was none.
    async fn unblock(&self, digest: &Sha256, actor: &Actor) -> Result<bool, MetaError>;

    /// Blocks by digest.
    async fn blocks(&self, after: Option<Sha256>, limit: usize) -> Result<Page<Block>, MetaError>;

    /// Every digest that is refused now, with the reason of one block of it.
    async fn blocked_digests(&self) -> Result<Vec<(Sha256, Arc<str>)>, MetaError>;
}

/// A plugin as its manifest brings it in: everything here was read out of the package.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPlugin {
    pub version: Version,
    /// The config document.
    pub metadata: String,
    pub package: Sha256,
    pub package_size: u64,
    pub files: Vec<PackageFile>,
}

/// Where the bytes of a file lie in its package, and what comes out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    pub path: String,
    pub data_offset: u64,
    pub compressed_size: u64,
    pub size: u64,
    pub method: Method,
    pub sha256: Sha256,
    pub executable: bool,
}

impl PackageFile {
    pub fn member(&self) -> Member {
        let Self { data_offset, compressed_size, size, method, sha256, .. } = *self;
        Member { data_offset, compressed_size, size, method, sha256 }
    }
}

/// A version of a plugin as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRecord {
    pub id: Uuid,
    /// Its name is the plugin's id.
    pub repository: RepositoryName,
    pub version: Version,
    pub manifest: Sha256,
    pub package: Sha256,
    pub package_size: u64,
    /// The config document.
    pub metadata: String,
    pub enabled: bool,
    /// Whether `latest` names it.
    pub is_latest: bool,
    /// Why it is yanked.
    pub yanked: Option<String>,
    pub deprecated: Option<Deprecation>,
    /// Why it is blocked.
    pub blocked: Option<String>,
    pub created: SystemTime,
}

impl PluginRecord {
    /// Whether channels lead to it, and orchestrators may begin to load it.
    pub fn is_usable(&self) -> bool {
        self.enabled && self.yanked.is_none() && self.blocked.is_none()
    }
}

/// What to do instead of using a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    pub message: String,
    /// The id of the plugin that takes its place.
    pub successor: Option<String>,
}

/// Which version of a plugin is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// What a list shows: the latest, or the highest of all where none is enabled.
    Shown,
    /// In any spelling.
    Version(Version),
    /// What a channel points to, whatever its state.
    Channel(Tag),
    Manifest(Sha256),
}

/// Which plugins a list is to show. Words, tag and capability are looked for in what the shown version says, also
/// where a channel leads to another.
#[derive(Debug, Clone, Default)]
pub struct PluginQuery {
    /// Catalogs and what of them is read.
    pub scopes: Vec<CatalogScope>,
    /// Texts in lower case that all have to be found.
    pub words: Vec<String>,
    pub tag: Option<String>,
    pub capability: Option<String>,
    /// Not the latest version, but the one that this channel points to.
    pub channel: Option<Tag>,
    /// Also plugins without any version that can be `latest`.
    pub with_disabled: bool,
    /// Behind this id in this catalog.
    pub after: Option<(String, String)>,
    pub limit: usize,
}

/// How many plugins there are of each kind, most first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facets {
    pub tags: Vec<(String, u64)>,
    pub capabilities: Vec<(String, u64)>,
    pub catalogs: Vec<(String, u64)>,
}

/// What of a config document is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findable {
    pub tag: Option<String>,
    /// Each once.
    pub capabilities: Vec<String>,
    /// Its texts in lower case, a line each.
    pub text: String,
}

impl Findable {
    /// `None`: it is no config document.
    pub fn of(metadata: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Config {
            pid: String,
            name: String,
            description: String,
            tag: Option<String>,
            capabilities: Vec<String>,
        }
        let Config { pid, name, description, tag, mut capabilities } = serde_json::from_str(metadata).ok()?;
        capabilities.sort();
        capabilities.dedup();
        let mut text = [&*pid, &name, &description].join("\n");
        for word in tag.iter().chain(&capabilities) {
            text.push('\n');
            text.push_str(word);
        }
        Some(Self { tag, capabilities, text: text.to_lowercase() })
    }
}

/// A change of the state of a version; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PluginChange {
    pub enabled: Option<bool>,
    pub yanked: Option<Option<String>>,
    pub deprecated: Option<Option<Deprecation>>,
}

/// What an organisation chose of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Version(Version),
    Channel(Tag),
}

/// A plugin that an organisation's orchestrators are to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnablement {
    pub plugin: RepositoryName,
    pub choice: Choice,
    /// The package that the choice has to lead to now.
    pub expected: Option<Sha256>,
}

/// A plugin that an organisation's orchestrators load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enablement {
    pub plugin: RepositoryName,
    pub choice: Choice,
    /// What the choice led to when it was made.
    pub accepted: Version,
    pub accepted_package: Sha256,
    /// The config document of that version: its administrators know the settings in it.
    pub accepted_metadata: String,
    pub actor: String,
    pub updated: SystemTime,
}

/// An enablement and what its choice leads to now, whatever the state of that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enabled {
    pub enablement: Enablement,
    /// In a list its config document is empty where all of them would have more than [`PLAN_BYTES`].
    pub now: Option<PluginRecord>,
}

/// What came of enabling a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetEnablement {
    Set(Box<Enabled>),
    /// There is no such version or channel in the system's catalog or the organisation's own.
    Unknown,
    /// It is there and can't be loaded: disabled, yanked or blocked.
    Unusable(Box<PluginRecord>),
    /// It leads to another package than expected.
    Differs(Box<PluginRecord>),
    /// The organisation has as many as it may, or they say too much together.
    Full,
}

/// A digest that an administrator blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub digest: Sha256,
    pub reason: String,
    pub actor: String,
    pub created: SystemTime,
    /// How many digests are refused because of it.
    pub digests: u64,
}

/// What came of blocking a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBlock {
    Set {
        block: Block,
        made: bool,
    },
    /// More digests would be blocked than may be.
    TooMany,
}
