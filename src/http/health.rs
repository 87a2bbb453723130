//! Liveness, readiness and metrics.

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::error::ApiError;
use super::reply::{Freshness, Reply};
use crate::registry::Registry;
use crate::telemetry::Telemetry;

pub fn live() -> Reply {
    text("ok\n")
}

/// Ready while the database answers and no stop was asked for.
pub async fn ready(registry: &Registry, stopping: bool) -> Result<Reply, ApiError> {
    if stopping {
        return Err(ApiError::NotReady("stopping"));
    }
    match registry.probe().await {
        Ok(()) => Ok(text("ready\n")),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(ApiError::NotReady("the metadata store does not answer"))
        }
    }
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
