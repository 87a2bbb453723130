//! The outside of the server: requests become values, values become answers. The only folder that names hyper.

mod access_log;
mod api;
mod authenticate;
mod blobs;
mod delivery;
mod dispatch;
mod error;
mod forward;
mod guard;
mod health;
mod lists;
mod manifests;
pub mod multipart;
mod origin;
pub mod plugin_query;
mod problem;
pub mod query;
mod range;
mod rates;
mod reply;
mod request_body;
pub mod route;
mod sequence;
pub mod serve;
mod token_endpoint;
mod uploads;

pub use self::api::kept::KeptAnswers;
pub use self::dispatch::Server;
pub use self::forward::Forwarder;
pub use self::range::{ByteRange, parse as parse_range};
pub use self::rates::RateLimits;
