//! The requests that are made to a bucket, one method each, and the names of its objects.

use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::{io, time::Duration};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MultipartUpload, Object};
use aws_smithy_types::base64::encode as encode_base64;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::calls::Calls;
use super::client::SignedBody;
use super::counters::Operation;
use super::credentials::KnownCredentials;
use super::failure::Failure;
use super::settings::S3Tuning;
use super::watch::ServerClock;
use crate::blob::file_body::FileBody;
use crate::digest::Sha256;

/// The media type of every object: what it is stands in manifests.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// A bucket with the part of it that is ours, and what was found out about its server.
pub struct Bucket {
    pub client: Client,
    pub name: String,
    pub prefix: String,
    pub calls: Calls,
    pub tuning: S3Tuning,
    pub stall: Duration,
    pub clock: Arc<ServerClock>,
    pub credentials: KnownCredentials,
    /// Whether the server takes `x-amz-checksum-sha256`.
    pub checksums: AtomicBool,
    /// Whether the server takes `If-None-Match`.
    pub conditions: AtomicBool,
}

/// Bytes to send, with the digest that signs them.
pub struct Payload {
    body: SdkBody,
    size: u64,
    digest: Sha256,
}

impl Payload {
    /// A part of a file, read anew for each attempt.
    pub fn of_file(file: Arc<File>, from: u64, to: u64, digest: Sha256) -> Self {
        let body = SdkBody::retryable(move || {
            SdkBody::from_body_1_x(FilePart(FileBody::new(Arc::clone(&file), from, to)))
        });
        Self { body, size: to - from, digest }
    }

    pub fn of_bytes(bytes: Bytes) -> Self {
        Self { size: bytes.len() as u64, digest: Sha256::of(&bytes), body: SdkBody::from(bytes) }
    }
}

/// An object that is on its way.
pub struct Incoming {
    /// The size of the whole object.
    pub size: u64,
    pub body: ByteStream,
}

impl Bucket {
    /// Where all blobs stand.
    pub fn blobs(&self) -> String {
        format!("{}blobs/sha256/", self.prefix)
    }

    pub fn key(&self, digest: &Sha256) -> String {
        format!("{}{}", self.blobs(), digest.hex())
    }

    pub fn small(&self) -> Duration {
        self.tuning.patience(self.stall, 0)
    }

    /// Writes an object. With `only_new` an object that is there is a [`Failure::Conflict`], if the server knows how.
    pub async fn put(
        &self,
        key: &str,
        payload: Payload,
        checksum: Option<Sha256>,
        only_new: bool,
    ) -> Result<(), Failure> {
        let request = self.client.put_object().bucket(&self.name).key(key).content_type(OCTET_STREAM);
        let request = request
            .set_if_none_match(only_new.then(|| "*".to_owned()))
            .set_checksum_sha256(checksum.map(|checksum| encode_base64(checksum.0)))
            .content_length(length(payload.size)?)
            .body(ByteStream::new(payload.body));
        let call = request.customize().interceptor(SignedBody(payload.digest)).send();
        let patience = self.tuning.patience(self.stall, payload.size);
        self.calls.run(Operation::Put, patience, call).await.map(drop)
    }

    /// The checksum to send with bytes of this digest, if the server takes any.
    pub fn checksum(&self, digest: Sha256) -> Option<Sha256> {
        self.checksums.load(Ordering::Relaxed).then_some(digest)
    }

    /// Starts reading an object at an offset.
    pub async fn get(&self, key: &str, from: u64) -> Result<Incoming, Failure> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        let call = request.set_range((from > 0).then(|| format!("bytes={from}-"))).send();
        let answer = self.calls.run(Operation::Get, self.small(), call).await?;
        let size = match &answer.content_range {
            None if from == 0 => answer.content_length.and_then(|length| u64::try_from(length).ok()),
            None => None,
            Some(range) => size_behind(range, from),
        };
        let Some(size) = size else {
            let (length, range) = (answer.content_length, answer.content_range);
            return Err(Failure::Other(format!("get: from {from} came {range:?} of {length:?} bytes")));
        };
        Ok(Incoming { size, body: answer.body })
    }

    /// The size of an object.
    pub async fn head(&self, key: &str) -> Result<u64, Failure> {
        let call = self.client.head_object().bucket(&self.name).key(key).send();
        let answer = self.calls.run(Operation::Head, self.small(), call).await?;
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok());
        length.ok_or_else(|| Failure::Other("head: an answer without a length".to_owned()))
    }

    /// Removes an object. S3 does not tell whether it was there.
    pub async fn delete(&self, key: &str) -> Result<(), Failure> {
        let call = self.client.delete_object().bucket(&self.name).key(key).send();
        match self.calls.run(Operation::Delete, self.small(), call).await {
            Err(Failure::Absent) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Objects behind a key, in the order of keys, and whether there are more.
    pub async fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<Object>, bool), Failure> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let request = request.set_start_after((!after.is_empty()).then(|| after.to_owned()));
        let call = request.max_keys(i32::try_from(limit).unwrap_or(i32::MAX)).send();
        let answer = self.calls.run(Operation::List, self.small(), call).await?;
        Ok((answer.contents.unwrap_or_default(), answer.is_truncated.unwrap_or_default()))
    }

    /// Begins an upload in parts, and returns its id.
    pub async fn create_upload(&self, key: &str) -> Result<String, Failure> {
        let request = self.client.create_multipart_upload().bucket(&self.name).key(key);
        let sha256 = self.checksums.load(Ordering::Relaxed);
        let algorithm = sha256.then_some(aws_sdk_s3::types::ChecksumAlgorithm::Sha256);
        let call = request.content_type(OCTET_STREAM).set_checksum_algorithm(algorithm).send();
        let answer = self.calls.run(Operation::CreateUpload, self.small(), call).await?;
        answer.upload_id.ok_or_else(|| Failure::Other("create_upload: an answer without an id".to_owned()))
    }

    /// Sends a part; parts count from 1.
    pub async fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        payload: Payload,
    ) -> Result<CompletedPart, Failure> {
        let checksum = self.checksum(payload.digest).map(|checksum| encode_base64(checksum.0));
        let request = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload);
        let request = request
            .part_number(number)
            .set_checksum_sha256(checksum.clone())
            .content_length(length(payload.size)?)
            .body(ByteStream::new(payload.body));
        let call = request.customize().interceptor(SignedBody(payload.digest)).send();
        let patience = self.tuning.patience(self.stall, payload.size);
        let answer = self.calls.run(Operation::PutPart, patience, call).await?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag);
        Ok(part.set_checksum_sha256(checksum).build())
    }

    /// Makes an object of parts, in their order.
    pub async fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
        size: u64,
    ) -> Result<(), Failure> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.name).key(key);
        let call = request.upload_id(upload).multipart_upload(parts).send();
        // Some servers put the parts together while the client waits.
        let patience = self.tuning.patience(self.stall, size);
        self.calls.run(Operation::CompleteUpload, patience, call).await.map(drop)
    }

    /// Drops an upload and its parts.
    pub async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let request = self.client.abort_multipart_upload().bucket(&self.name).key(key);
        match self.calls.run(Operation::AbortUpload, self.small(), request.upload_id(upload).send()).await {
            Err(Failure::Absent) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Uploads of blobs that are under way, at most a thousand.
    pub async fn list_uploads(&self) -> Result<Vec<MultipartUpload>, Failure> {
        let request = self.client.list_multipart_uploads().bucket(&self.name).prefix(self.blobs());
        let answer = self.calls.run(Operation::ListUploads, self.small(), request.send()).await?;
        Ok(answer.uploads.unwrap_or_default())
    }
}

fn length(size: u64) -> Result<i64, Failure> {
    i64::try_from(size).map_err(|_| Failure::Other(format!("{size} bytes are too many")))
}

/// The size of the whole out of `bytes <from>-<to>/<size>`.
fn size_behind(range: &str, from: u64) -> Option<u64> {
    let (range, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    let first: u64 = range.split_once('-')?.0.parse().ok()?;
    if first == from { size.parse().ok() } else { None }
}

/// A part of a file as a body.
struct FilePart(FileBody);

impl Body for FilePart {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(ready!(self.0.poll_next(context)).map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.remaining())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_the_size_of_the_whole() {
        assert_eq!(size_behind("bytes 5-9/10", 5), Some(10));
        for other in ["bytes 0-9/10", "bytes 5-9/*", "bytes */10", "5-9/10", "bytes 5/10"] {
            assert_eq!(size_behind(other, 5), None, "{other}");
        }
    }
}
