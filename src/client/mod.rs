//! The client side: the `/api` of a registry over HTTP, and the credential to ask it with.

mod answers;
mod auth_file;
mod connection;
mod credential;
mod credential_helper;
mod error;
mod lines;
mod pages;
mod registry_url;
mod secret;

pub use self::answers::{GrantOfToken, HeldGrant, Identity, Organisation, Quota, Ruling, Token, Usage, read};
pub use self::connection::Connection;
pub use self::credential::{CredentialStore, credential};
pub use self::error::{ClientError, Problem};
pub use self::lines::Lines;
pub use self::registry_url::RegistryUrl;
pub use self::secret::{Login, Secret};
