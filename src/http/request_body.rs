//! A request's body as a source of bytes, with limits on how long it may stand still and outlive its answer.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::EXPECT;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::error::ApiError;
use crate::registry::Refusal;
use crate::staging::{Source, SourceError};

/// Longest wait for the next piece of a body.
const IDLE: Duration = Duration::from_secs(60);

/// What is still read of a body after the answer to it is known, and for how long.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);

/// The body of a request.
pub struct RequestBody {
    state: State,
    /// The client sends nothing before it got `100 Continue`, which it gets with the first reading.
    waits: bool,
    /// An HTTP/1 body has the connection to itself; a stream of HTTP/2 ends without its connection.
    owns_connection: bool,
}

enum State {
    Coming(Incoming),
    Ended,
    Broken,
}

impl RequestBody {
    pub fn new(parts: &Parts, incoming: Incoming) -> Self {
        let waits = parts.headers.contains_key(EXPECT);
        Self { state: State::Coming(incoming), waits, owns_connection: parts.version < Version::HTTP_2 }
    }
}

impl RequestBody {
    /// How many bytes it has, where that is known before they come.
    pub fn length(&self) -> Option<u64> {
        match &self.state {
            State::Coming(incoming) => incoming.size_hint().exact(),
            State::Ended => Some(0),
            State::Broken => None,
        }
    }
}

/// A connection that is closed while its client still sends is reset, and the answer may be lost with it.
/// So after an early refusal some of what comes is read and dropped.
impl Drop for RequestBody {
    fn drop(&mut self) {
        let State::Coming(mut incoming) = std::mem::replace(&mut self.state, State::Broken) else { return };
        if self.waits || !self.owns_connection || incoming.is_end_stream() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(LINGER, async move {
            let mut dropped = 0;
            while let Some(Ok(frame)) = incoming.frame().await {
                dropped += frame.data_ref().map_or(0, Bytes::len);
                if dropped > LINGER_BYTES {
                    return;
                }
            }
        }));
    }
}

#[async_trait]
impl Source for RequestBody {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let incoming = match &mut self.state {
                State::Coming(incoming) => incoming,
                State::Ended => return Ok(None),
                State::Broken => return Err(SourceError::Broken),
            };
            self.waits = false;
            let frame =
                tokio::time::timeout(IDLE, incoming.frame()).await.map_err(|_| SourceError::Stalled)?;
            match frame {
                None => self.state = State::Ended,
                Some(Err(_)) => self.state = State::Broken,
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
