//! The outside of the server: requests become values, values become answers. The only folder that names hyper.

mod authenticate;
mod blobs;
mod delivery;
mod dispatch;
mod error;
mod file_body;
mod health;
mod lists;
mod manifests;
pub mod query;
mod range;
mod reply;
mod request_body;
pub mod route;
pub mod serve;
mod token_endpoint;
mod uploads;

pub use self::authenticate::Credentials;
pub use self::dispatch::Server;
pub use self::range::{ByteRange, parse as parse_range};
