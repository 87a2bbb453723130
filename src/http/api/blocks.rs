//! `/api/admin/blocked-digests`: bytes that nobody gets and nobody may bring in.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Findings, Object, json, page, read, time};
use crate::access::Requester;
use crate::digest::{Digest, Sha256};
use crate::http::error::ApiError;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::meta::{BLOCKED, Block, SetBlock};
use crate::registry::Registry;

/// Longest reason, in characters.
const REASON_LIMIT: usize = 1000;
/// What is in so much that blocking it would block everything: nothing, and the empty config.
const COMMON: [&[u8]; 2] = [b"", b"{}"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    reason: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    digest: String,
    reason: &'a str,
    blocked_by: &'a str,
    created_at: String,
    /// How many digests are refused because of it.
    digests: u64,
}

impl<'a> Shown<'a> {
    fn of(block: &'a Block) -> Self {
        Self {
            digest: Digest::from(block.digest).to_string(),
            reason: &block.reason,
            blocked_by: &block.actor,
            created_at: time(block.created),
            digests: block.digests,
        }
    }
}

pub async fn list(registry: &Registry, after: Option<Sha256>, limit: usize) -> Result<Reply, ApiError> {
    let found = registry.blocks(after, limit).await?;
    let next = found.items.last().filter(|_| found.more).map(|last| Digest::from(last.digest).to_string());
    let items: Vec<Shown<'_>> = found.items.iter().map(Shown::of).collect();
    Ok(page(&items, "/api/admin/blocked-digests", limit, next.as_deref()))
}

pub async fn set(
    registry: &Registry,
    requester: &Requester,
    digest: Sha256,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let Object(New { reason }) = read(body).await?;
    let mut findings = Findings::default();
    if reason.trim().is_empty() || reason.chars().count() > REASON_LIMIT || reason.contains('\0') {
        findings.add("reason", "/reason", format!("has 1 to {REASON_LIMIT} characters"));
    }
    if COMMON.iter().any(|common| Sha256::of(common) == digest) {
        findings.add("digest", "", "is in so much that everything would be blocked");
    }
    findings.done()?;
    match registry.block(requester, digest, &reason).await? {
        SetBlock::Set { block, made } => {
            let status = if made { StatusCode::CREATED } else { StatusCode::OK };
            Ok(json(status, &Shown::of(&block), Freshness::Write))
        }
        SetBlock::TooMany => {
            let message = format!("more than {BLOCKED} digests would be blocked");
            Err(ApiError::Conflict { code: "too_many_blocked", message })
        }
    }
}

pub async fn delete(registry: &Registry, requester: &Requester, digest: &Sha256) -> Result<Reply, ApiError> {
    match registry.unblock(requester, digest).await? {
        true => Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write)),
        false => Err(ApiError::Unknown("block")),
    }
}
