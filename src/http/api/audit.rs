//! `/api/audit`: the audit log as JSON lines, streamed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{managed, time};
use crate::access::Principal;
use crate::http::error::ApiError;
use crate::http::query::AuditQuery;
use crate::http::reply::{Audience, Body, Freshness, Reply};
use crate::meta::{AuditEntry, AuditRecord};
use crate::registry::Registry;

/// Lines that are read at once.
const BATCH: usize = 500;
/// Longest wait for a reader to take the next batch.
const PATIENCE: Duration = Duration::from_secs(60);
/// Batches that wait for a slow reader; then reading waits too.
const AHEAD: usize = 2;

#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    at: String,
    actor: &'a str,
    action: &'a str,
    catalog: Option<&'a str>,
    object: &'a str,
    outcome: &'static str,
    rule: &'a str,
    address: Option<String>,
    request_id: &'a str,
}

impl<'a> Line<'a> {
    fn of(record: &'a AuditRecord) -> Self {
        let AuditEntry { actor, action, catalog, object, outcome, rule, address, request_id } = &record.entry;
        Self {
            id: record.id,
            at: time(record.at),
            actor,
            action,
            catalog: catalog.as_deref(),
            object,
            outcome: outcome.as_str(),
            rule,
            address: address.map(|address| address.to_string()),
            request_id,
        }
    }
}

/// Streams the lines behind an id, of one catalog or of all that the caller manages.
pub async fn stream(
    registry: Arc<Registry>,
    principal: &Principal,
    query: AuditQuery,
) -> Result<Reply, ApiError> {
    let AuditQuery { catalog, mut after, limit } = query;
    let catalogs = match catalog {
        Some(catalog) => Some(vec![catalog]),
        None => managed(&registry, principal).await?,
    };
    let (lines, body) = mpsc::channel(AHEAD);
    // What is written meanwhile is for the next request: who asks it may not be allowed any more by then.
    let begun = SystemTime::now();
    tokio::spawn(async move {
        let mut left = limit.unwrap_or(u64::MAX);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH);
            let records = match registry.audit(catalogs.as_deref(), after, most).await {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(%error, "the audit log could not be read");
                    // An answer that just ended would look complete.
                    drop(lines.send(Err(std::io::Error::other("the audit log could not be read"))).await);
                    return;
                }
            };
            let Some(last) = records.last() else { return };
            after = last.id;
            left -= records.len() as u64;
            let ended = records.len() < most || last.at > begun;
            let mut text = Vec::with_capacity(records.len() * 256);
            for record in &records {
                if serde_json::to_writer(&mut text, &Line::of(record)).is_ok() {
                    text.push(b'\n');
                }
            }
            let sent = tokio::time::timeout(PATIENCE, lines.send(Ok(Bytes::from(text)))).await;
            if !matches!(sent, Ok(Ok(()))) || ended {
                return;
            }
        }
    });
    let mut reply = Reply::empty(StatusCode::OK, Freshness::List(Audience::Private));
    reply.body = Body::Stream(body);
    reply.header(CONTENT_TYPE, "application/x-ndjson");
    Ok(reply)
}
