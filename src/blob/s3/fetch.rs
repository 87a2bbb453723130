//! Reading an object: pieces as they come, and the rest of it again when the connection breaks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::bucket::Bucket;
use super::failure::Failure;
use crate::staging::{Source, SourceError};

/// An object as a source. It ends after exactly the bytes that the server said it has.
pub struct ObjectSource {
    bucket: Arc<Bucket>,
    key: String,
    body: ByteStream,
    size: u64,
    /// Bytes that were given out.
    at: u64,
    /// How often it may still go on where a connection broke.
    resumes: u32,
    /// How long it may still wait for the server, all pieces together. The reader's own time does not count.
    patience: Duration,
}

impl ObjectSource {
    pub async fn open(bucket: Arc<Bucket>, key: String) -> Result<Self, Failure> {
        let incoming = bucket.get(&key, 0).await?;
        Ok(Self {
            key,
            body: incoming.body,
            size: incoming.size,
            at: 0,
            resumes: bucket.tuning.attempts.saturating_sub(1),
            patience: bucket.tuning.patience(bucket.stall, incoming.size),
            bucket,
        })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece of the body at hand; `None` when all of the object came.
    async fn piece(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.at == self.size {
            return Ok(None);
        }
        let begun = Instant::now();
        let piece = timeout(self.patience.min(self.bucket.stall), self.body.next()).await;
        self.patience = self.patience.saturating_sub(begun.elapsed());
        let piece = match piece {
            Err(_) => return Err(SourceError::Stalled),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, key = self.key, "a body from S3 broke off");
                return Err(SourceError::Broken);
            }
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => return Err(SourceError::Broken),
        };
        let at = self.at + piece.len() as u64;
        if at > self.size {
            // More than was said: nothing that could be gone on with.
            self.resumes = 0;
            return Err(SourceError::Broken);
        }
        self.at = at;
        Ok(Some(piece))
    }

    async fn resume(&mut self) -> bool {
        if self.resumes == 0 || self.patience.is_zero() {
            return false;
        }
        self.resumes -= 1;
        match self.bucket.get(&self.key, self.at).await {
            Ok(incoming) if incoming.size == self.size => {
                self.body = incoming.body;
                true
            }
            Ok(_) => false,
            Err(failure) => {
                tracing::debug!(?failure, key = self.key, "an object could not be read on");
                false
            }
        }
    }
}

#[async_trait]
impl Source for ObjectSource {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            match self.piece().await {
                Err(error) => {
                    self.bucket.calls.breaker.failed();
                    if !self.resume().await {
                        return Err(error);
                    }
                }
                piece => return piece,
            }
        }
    }
}
