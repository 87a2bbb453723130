//! The routes below `/api/`: JSON in, JSON or a problem out.

pub mod audit;
pub mod blocks;
pub mod enablements;
pub mod kept;
pub mod openapi;
pub mod organisations;
pub mod plugins;
pub mod tags;
pub mod tokens;
pub mod whoami;

use std::time::SystemTime;

use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};
use percent_encoding::utf8_percent_encode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::ApiError;
use super::lists::QUERY;
use super::problem::Finding;
use super::reply::{Audience, Freshness, Reply};
use super::request_body::RequestBody;
use crate::access::Principal;
use crate::registry::Registry;
use crate::strict_json::{self, ANY, Object};

/// Longest body of a request.
const BODY_LIMIT: usize = 1024 * 1024;
/// Longest name of anything, in characters.
const NAME_LIMIT: usize = 128;

/// Reads a JSON body into its type.
async fn read<T: DeserializeOwned>(body: RequestBody) -> Result<T, ApiError> {
    let bytes = body.collect(BODY_LIMIT).await?.ok_or(ApiError::BodyTooLarge { limit: BODY_LIMIT })?;
    let invalid = |error: serde_json::Error| ApiError::Invalid(vec![Finding::new("body", "", error)]);
    strict_json::check(&bytes, &ANY).map_err(invalid)?;
    serde_json::from_slice(&bytes).map_err(invalid)
}

/// Collects everything that is wrong with a body.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: &'static str, pointer: impl ToString, detail: impl ToString) {
        self.0.push(Finding::new(code, pointer, detail));
    }

    /// A name that people read: not empty, not long, nothing that moves a cursor.
    fn check_name(&mut self, pointer: &str, name: &str) {
        if name.trim().is_empty() || name.chars().count() > NAME_LIMIT || name.chars().any(char::is_control) {
            let detail = format!("a name has 1 to {NAME_LIMIT} characters and no control characters");
            self.add("name", pointer, detail);
        }
    }

    fn done(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.0)) }
    }
}

/// The catalogs that somebody manages and that are there; `None`: every one.
async fn managed(registry: &Registry, principal: &Principal) -> Result<Option<Vec<String>>, ApiError> {
    let Some(named) = principal.managed() else { return Ok(None) };
    let mut there = Vec::new();
    for catalog in named {
        if registry.catalog(&catalog).await?.is_some() {
            there.push(catalog);
        }
    }
    Ok(Some(there))
}

/// Tells `null` from nothing at all.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

fn json(status: StatusCode, value: &impl Serialize, freshness: Freshness) -> Reply {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut reply = Reply::bytes(status, body.into(), freshness);
    reply.header(CONTENT_TYPE, "application/json");
    reply
}

fn shown(value: &impl Serialize) -> Reply {
    json(StatusCode::OK, value, Freshness::List(Audience::Private))
}

/// A page of a list; `next` is where the one behind it begins.
fn page(items: &impl Serialize, path: &str, limit: usize, next: Option<&str>) -> Reply {
    let mut reply = shown(items);
    if let Some(next) = next {
        let join = if path.contains('?') { '&' } else { '?' };
        let next = utf8_percent_encode(next, QUERY);
        reply.header(LINK, format!("<{path}{join}limit={limit}&after={next}>; rel=\"next\""));
    }
    reply
}

/// RFC 3339 in UTC, in milliseconds.
fn time(time: SystemTime) -> String {
    let timestamp = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{timestamp:.3}")
}
