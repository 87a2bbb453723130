//! The line that the log has of each request, without what may be a secret.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use percent_encoding::percent_decode_str;

use super::reply::Reply;
use crate::token::api::PREFIX;

/// Whether somebody may have pasted a secret where an id belongs: an API token, or a JWT.
pub(super) fn may_be_a_secret(text: &str) -> bool {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let is_id = |text: &str| text.parse::<uuid::Uuid>().is_ok();
    let token = text.strip_prefix("/api/tokens/").is_some_and(|id| !is_id(id));
    // The base 64 of `{"`, with which the header of every JWT begins.
    token || text.contains(PREFIX) || text.contains("eyJ")
}

/// Tells the log of a request that was answered. Reads that succeed are many, and told at debug level only. The query is left out: it may hold anything.
pub(super) fn log(
    method: &Method,
    uri: &http::Uri,
    client: Option<IpAddr>,
    id: &str,
    reply: &Reply,
    duration: Duration,
) {
    let status = reply.status.as_u16();
    let milliseconds = duration.as_secs_f64() * 1000.0;
    let path = if may_be_a_secret(uri.path()) { "(withheld)" } else { uri.path() };
    let client = client.map(tracing::field::display);
    if (method == Method::GET || method == Method::HEAD) && status < 400 {
        tracing::debug!(target: "quire::access", %method, path, status, client, milliseconds, request_id = id, "answered");
    } else {
        tracing::info!(target: "quire::access", %method, path, status, client, milliseconds, request_id = id, "answered");
    }
}
