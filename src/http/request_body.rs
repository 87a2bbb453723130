//! A request's body as a source of bytes, with a limit on how long it may stand still.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::ApiError;
use crate::registry::Refusal;
use crate::staging::{Source, SourceError};

/// Longest wait for the next piece of a body.
const IDLE: Duration = Duration::from_secs(60);

/// The body of a request.
pub struct RequestBody(pub Incoming);

#[async_trait]
impl Source for RequestBody {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let frame = tokio::time::timeout(IDLE, self.0.frame()).await.map_err(|_| SourceError::Stalled)?;
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(SourceError::Broken),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl RequestBody {
    /// The whole body in memory; `None` when it has more than `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Option<Bytes>, ApiError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await.map_err(|error| ApiError::Refused(Refusal::Body(error)))? {
            if whole.len() + piece.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }
}
