//! `/token`: short tokens for clients that follow the registry's challenge.

use std::time::SystemTime;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::error::ApiError;
use super::query::TokenQuery;
use super::reply::{Freshness, Reply};
use crate::access::{Caller, Policy, Rule};
use crate::callers::Callers;
use crate::token::TOKEN_LIFE;

/// Answers with what the caller may do of what it asked for, which may be nothing.
pub fn issue(
    callers: &Callers,
    policy: &Policy,
    caller: &Caller,
    query: &TokenQuery,
) -> Result<Reply, ApiError> {
    // A short token is no credential here: its life would have no end.
    if let Caller::Scoped(_) = caller {
        return Err(ApiError::Denied(Rule::PermissionMissing));
    }
    let token = callers.issue(policy, caller, &query.scopes, query.lists_catalog);
    let token = token.map_err(ApiError::Unsigned)?;
    // It ends with the credential behind it, and so must what a client is told.
    let now = SystemTime::now();
    let left = |ends: SystemTime| ends.duration_since(now).unwrap_or_default().min(TOKEN_LIFE);
    let life = caller.principal().and_then(|principal| principal.expires).map_or(TOKEN_LIFE, left);
    let issued_at = jiff::Timestamp::try_from(now).unwrap_or_default();
    let body = json!({
        "token": token,
        "access_token": token,
        "expires_in": life.as_secs(),
        "issued_at": issued_at.to_string(),
    });
    let mut reply = Reply::bytes(StatusCode::OK, body.to_string().into(), Freshness::Secret);
    reply.header(CONTENT_TYPE, "application/json");
    Ok(reply)
}
