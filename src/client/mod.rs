//! The client side: the `/api` of a registry over HTTP, pushes through its `/v2`, and the credential to ask it with.

mod answers;
mod auth_file;
mod checked_file;
mod connection;
mod credential;
mod credential_helper;
mod error;
mod lines;
mod list;
mod pages;
mod patience;
mod plugin_answers;
mod push;
mod registry_url;
mod secret;
mod upload;
mod upload_memory;

pub use self::answers::{GrantOfToken, HeldGrant, Identity, Organisation, Quota, Ruling, Token, Usage, read};
pub use self::checked_file::CheckedFile;
pub use self::connection::Connection;
pub use self::credential::{CredentialStore, credential};
pub use self::error::{ClientError, Problem};
pub use self::lines::Lines;
pub use self::list::List;
pub use self::plugin_answers::{
    BlockedDigest, Enablement, ListedFile, Plan, PlannedPlugin, PluginVersion, Setting, Unavailable,
    VersionDiff,
};
pub use self::push::{Event, Push, Pushed, Watch};
pub use self::registry_url::RegistryUrl;
pub use self::secret::{Login, Secret};
pub use self::upload_memory::UploadMemory;
