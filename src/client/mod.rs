//! The client side: the `/api` of a registry over HTTP, pushes through its `/v2`, and the credential to ask it with.

mod answers;
mod auth_file;
mod connection;
mod credential;
mod credential_helper;
mod error;
mod lines;
mod pages;
mod patience;
mod push;
mod registry_url;
mod secret;
mod upload;
mod upload_memory;

pub use self::answers::{GrantOfToken, HeldGrant, Identity, Organisation, Quota, Ruling, Token, Usage, read};
pub use self::connection::Connection;
pub use self::credential::{CredentialStore, credential};
pub use self::error::{ClientError, Problem};
pub use self::lines::Lines;
pub use self::push::{Event, Push, Pushed, Watch};
pub use self::registry_url::RegistryUrl;
pub use self::secret::{Login, Secret};
pub use self::upload_memory::UploadMemory;
