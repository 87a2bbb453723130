//! Putting a blob: at once or in parts, and looking at what is there afterwards.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::bucket::{Bucket, Payload};
use super::failure::Failure;
use super::fetch::ObjectSource;
use crate::digest::{Algorithm, Hasher, Sha256};
use crate::staging::Source;

/// Bytes that are hashed in one go on a blocking thread.
const HASH_STEP: usize = 1024 * 1024;

/// A staged file on its way out.
#[derive(Clone)]
pub struct Outgoing {
    pub file: Arc<File>,
    pub size: u64,
    pub digest: Sha256,
}

impl Bucket {
    /// Puts a blob that is small enough for one request. S3 compares the bytes with the digest that signs them and
    /// with the checksum; the length is looked at for servers that do neither.
    pub async fn put_whole(&self, blob: &Outgoing) -> Result<(), Failure> {
        let key = self.key(&blob.digest);
        match self.put_if_new(&key, blob).await {
            Ok(()) => {}
            // It is there, or was a moment ago.
            Err(Failure::Conflict) => match self.head(&key).await {
                Ok(size) if size == blob.size => return Ok(()),
                Ok(size) => {
                    tracing::error!(digest = %blob.digest, size, "a blob in S3 had the wrong size and is replaced");
                    self.put_again(&key, blob).await?;
                }
                Err(Failure::Absent) => self.put_again(&key, blob).await?,
                Err(failure) => return Err(failure),
            },
            Err(failure) => return Err(failure),
        }
        self.check_length(&key, blob.size).await
    }

    async fn put_if_new(&self, key: &str, blob: &Outgoing) -> Result<(), Failure> {
        if !self.conditions.load(Ordering::Relaxed) {
            return self.put_again(key, blob).await;
        }
        let refusal = match self.put(key, blob.payload(), self.checksum(blob.digest), true).await {
            Err(Failure::Unsupported(refusal)) => refusal,
            other => return other,
        };
        self.put_again(key, blob).await?;
        tracing::warn!(refusal, "S3 takes no conditions: blobs are put without them from now on");
        self.conditions.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn put_again(&self, key: &str, blob: &Outgoing) -> Result<(), Failure> {
        self.put(key, blob.payload(), self.checksum(blob.digest), false).await
    }

    /// What was stored must have the length of what was sent; otherwise it goes again.
    async fn check_length(&self, key: &str, expected: u64) -> Result<(), Failure> {
        match self.head(key).await {
            Ok(stored) if stored == expected => Ok(()),
            Ok(stored) => {
                self.delete(key).await?;
                Err(Failure::Other(format!("put: of {expected} bytes {stored} were stored")))
            }
            Err(Failure::Absent) => Err(Failure::Unavailable("put: what was stored is not there".to_owned())),
            Err(failure) => Err(failure),
        }
    }

    /// Puts a blob in parts. Its checksum in S3 is one over checksums of parts and says nothing about the whole, so
    /// the whole is read back before it counts. One that is there is read instead of sent: nobody knows whether who
    /// sent it has looked yet.
    pub async fn put_in_parts(self: &Arc<Self>, blob: &Outgoing) -> Result<(), Failure> {
        let key = self.key(&blob.digest);
        let there = match self.head(&key).await {
            Ok(size) => size == blob.size && self.reads_back(&key, blob).await?,
            Err(Failure::Absent) => false,
            Err(failure) => return Err(failure),
        };
        if there {
            return Ok(());
        }
        let upload = self.create_upload(&key).await?;
        let upload = Upload { bucket: Arc::clone(self), key: key.clone(), id: Some(upload) };
        match upload.send(blob).await {
            // An upload that is gone was completed when the first answer was lost. The look will tell.
            Ok(()) | Err(Failure::Absent) => upload.completed(),
            Err(failure) => {
                upload.abort().await;
                return Err(failure);
            }
        }
        match self.reads_back(&key, blob).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.delete(&key).await?;
                Err(Failure::Other(format!("put: other bytes than those of {} were stored", blob.digest)))
            }
            Err(Failure::Absent) => Err(Failure::Unavailable("put: what was stored is not there".to_owned())),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the object has the bytes of the blob.
    async fn reads_back(self: &Arc<Self>, key: &str, blob: &Outgoing) -> Result<bool, Failure> {
        let mut source = ObjectSource::open(Arc::clone(self), key.to_owned()).await?;
        if source.size() != blob.size {
            return Ok(false);
        }
        let broke_off = |error| Failure::Unavailable(format!("get: {error}"));
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut gathered = 0;
        loop {
            let piece = source.next().await.map_err(broke_off)?;
            let end = piece.is_none();
            gathered += piece.as_ref().map_or(0, Bytes::len);
            pieces.extend(piece);
            if end || gathered >= HASH_STEP {
                let batch = std::mem::take(&mut pieces);
                gathered = 0;
                let hash = spawn_blocking(move || {
                    batch.iter().for_each(|piece| hasher.update(piece));
                    hasher
                });
                hasher = hash.await.map_err(ended)?;
            }
            if end {
                return Ok(hasher.finish().sha256 == blob.digest);
            }
        }
    }
}

impl Outgoing {
    fn payload(&self) -> Payload {
        Payload::of_file(Arc::clone(&self.file), 0, self.size, self.digest)
    }

    /// A part, with a digest of its own.
    async fn part(&self, from: u64, to: u64) -> Result<Payload, Failure> {
        let file = Arc::clone(&self.file);
        let hash = spawn_blocking(move || hash_part(&file, from, to));
        let digest = hash.await.map_err(ended)?;
        let digest = digest.map_err(|error| Failure::Other(format!("put_part: staging: {error}")))?;
        Ok(Payload::of_file(Arc::clone(&self.file), from, to, digest))
    }
}

fn hash_part(file: &File, from: u64, to: u64) -> std::io::Result<Sha256> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; HASH_STEP];
    let mut at = from;
    while at < to {
        let step = usize::try_from(to - at).unwrap_or(HASH_STEP).min(HASH_STEP);
        file.read_exact_at(&mut buffer[..step], at)?;
        hasher.update(&buffer[..step]);
        at += step as u64;
    }
    Ok(hasher.finish().sha256)
}

fn ended(error: JoinError) -> Failure {
    Failure::Other(format!("a task ended: {error}"))
}

/// An upload in parts. When it is dropped before its end, as with a caller that went away, it is aborted.
struct Upload {
    bucket: Arc<Bucket>,
    key: String,
    /// `None` when there is nothing to abort any more.
    id: Option<String>,
}

impl Upload {
    /// Sends all parts, some at a time, and makes the object of them.
    async fn send(&self, blob: &Outgoing) -> Result<(), Failure> {
        let id = self.id.as_deref().unwrap_or_default();
        let part_size = self.bucket.tuning.part_size(blob.size);
        let mut parts: Vec<CompletedPart> = Vec::new();
        let mut sending = JoinSet::new();
        let mut from = 0;
        for number in 1.. {
            if from >= blob.size {
                break;
            }
            if sending.len() >= self.bucket.tuning.parts_at_once.max(1) {
                parts.extend(sent(&mut sending).await?);
            }
            let to = (from + part_size).min(blob.size);
            let (bucket, blob) = (Arc::clone(&self.bucket), blob.clone());
            let (key, id) = (self.key.clone(), id.to_owned());
            sending.spawn(async move {
                let payload = blob.part(from, to).await?;
                bucket.put_part(&key, &id, number, payload).await
            });
            from = to;
        }
        while let Some(part) = sent(&mut sending).await? {
            parts.push(part);
        }
        parts.sort_by_key(|part| part.part_number);
        self.bucket.complete_upload(&self.key, id, parts, blob.size).await
    }

    fn completed(mut self) {
        self.id = None;
    }

    async fn abort(mut self) {
        if let Some(id) = self.id.take() {
            abort(&self.bucket, &self.key, &id).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            let (bucket, key) = (Arc::clone(&self.bucket), std::mem::take(&mut self.key));
            runtime.spawn(async move { abort(&bucket, &key, &id).await });
        }
    }
}

async fn abort(bucket: &Bucket, key: &str, id: &str) {
    if let Err(failure) = bucket.abort_upload(key, id).await {
        tracing::warn!(?failure, key, "an upload to S3 could not be aborted; a sweep drops it in a day");
    }
}

/// The next part that is done; a failure ends the others when the set is dropped.
async fn sent(
    sending: &mut JoinSet<Result<CompletedPart, Failure>>,
) -> Result<Option<CompletedPart>, Failure> {
    match sending.join_next().await {
        None => Ok(None),
        Some(part) => part.map_err(ended)?.map(Some),
    }
}
