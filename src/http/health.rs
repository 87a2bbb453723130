//! Liveness, readiness and metrics.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::error::ApiError;
use super::reply::{Freshness, Reply};
use crate::digest::Digest;
use crate::registry::{Failing, Readiness, Registry, SyncState};
use crate::telemetry::Telemetry;

pub fn live() -> Reply {
    text("ok\n")
}

/// Ready while the database answers, no stop was asked for, and as much is near as the operator wants.
pub async fn ready(registry: &Registry, stopping: bool, headers: &HeaderMap) -> Result<Reply, ApiError> {
    if stopping {
        return Err(ApiError::NotReady("stopping"));
    }
    if let Err(error) = registry.probe().await {
        tracing::warn!(%error, "not ready");
        return Err(ApiError::NotReady("the metadata store does not answer"));
    }
    let Some(readiness) = registry.readiness() else { return Ok(text("ready\n")) };
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let mut reply = if accepts.is_some_and(|accept| accept.contains("application/json")) {
        let body = as_json(&readiness).to_string();
        let mut reply = Reply::bytes(StatusCode::OK, body.into(), Freshness::Operation);
        reply.header(CONTENT_TYPE, "application/json");
        reply
    } else {
        text(&as_text(&readiness))
    };
    if !readiness.is_ready {
        reply.status = StatusCode::SERVICE_UNAVAILABLE;
        reply.header(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(reply)
}

fn as_json(readiness: &Readiness) -> Value {
    let list = |list: &SyncState| json!({"seen": list.seen, "missing": list.missing, "ended": list.ended});
    let failing = |failing: &Failing| {
        json!({
            "digest": Digest::from(failing.digest).to_string(),
            "reason": failing.reason,
            "tries": failing.tries,
        })
    };
    json!({
        "ready": readiness.is_ready,
        "sync": {
            "phase": readiness.phase.label(),
            "near_full": readiness.is_full,
            "hot": list(&readiness.hot),
            "all": list(&readiness.all),
            "failing": readiness.failing.iter().map(failing).collect::<Vec<_>>(),
            "failing_total": readiness.failing_total,
        },
    })
}

fn as_text(readiness: &Readiness) -> String {
    let list = |name: &str, list: &SyncState| {
        let ended = if list.ended { "" } else { " so far" };
        format!("{name}: {} of {}{ended} missing\n", list.missing, list.seen)
    };
    let mut text = if readiness.is_ready { "ready\n" } else { "not ready\n" }.to_owned();
    text.push_str(&format!("sync: {}\n", readiness.phase.label()));
    text.push_str(&list("hot", &readiness.hot));
    text.push_str(&list("all", &readiness.all));
    if readiness.is_full {
        text.push_str("near is full\n");
    }
    if readiness.failing_total > 0 {
        text.push_str(&format!("failing: {}\n", readiness.failing_total));
    }
    for Failing { digest, reason, tries } in &readiness.failing {
        text.push_str(&format!("{}: {reason} ({tries} tries)\n", Digest::from(*digest)));
    }
    text
}

pub fn metrics(telemetry: &Telemetry) -> Reply {
    let mut reply = text(&telemetry.render());
    reply.header(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    reply
}

fn text(body: &str) -> Reply {
    let mut reply = Reply::bytes(StatusCode::OK, body.to_owned().into(), Freshness::Operation);
    reply.header(CONTENT_TYPE, "text/plain; charset=utf-8");
    reply
}
