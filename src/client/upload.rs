//! One blob by an upload session that goes on after a failure, in this run or the next.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, Url};

use super::connection::{Connection, TIMEOUT};
use super::error::ClientError;
use super::patience::Patience;
use super::push::{Event, Watch};
use super::upload_memory::UploadMemory;
use crate::digest::Sha256;
use crate::package::ReadAt;

/// Sent in one request, and held in memory.
const CHUNK: u64 = 8 << 20;
/// Handed to the connection at once.
const STEP: usize = 64 << 10;
/// Slower than this in bytes per second, a chunk is given up; what has arrived of it counts all the same.
const SLOWEST: u64 = 16 << 10;
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(super) struct Upload<'a> {
    pub connection: Connection,
    pub repository: &'a str,
    pub digest: Sha256,
    pub source: &'a dyn ReadAt,
    pub size: u64,
    pub memory: &'a UploadMemory,
    pub watch: Watch,
}

impl Upload<'_> {
    /// Ends when the repository has the blob.
    pub async fn run(&self) -> Result<(), ClientError> {
        let mut patience = Patience::default();
        let mut farthest = 0;
        // Held here as well: there may be no place to remember it.
        let mut session = self.memory.recall().and_then(|location| self.connection.place(&location).ok());
        loop {
            let mut durable = 0;
            let result = self.attempt(&mut session, &mut durable).await;
            if durable > farthest {
                farthest = durable;
                patience.restore();
            }
            let error = match result {
                Ok(()) => {
                    self.memory.forget();
                    return Ok(());
                }
                Err(error) => error,
            };
            if matches!(&error, ClientError::Problem(problem) if problem.code == "DIGEST_INVALID") {
                // The session ended with it.
                self.memory.forget();
                session = None;
            }
            patience.bear(error, &self.watch).await?;
        }
    }

    /// Goes on with the session that there is, or begins one. `durable` is what the registry says it has.
    async fn attempt(&self, session: &mut Option<Url>, durable: &mut u64) -> Result<(), ClientError> {
        let blob =
            self.connection.registry().at(&format!("/v2/{}/blobs/{}", self.repository, self.digest), &[]);
        if self.connection.has(blob).await? {
            return Ok(());
        }
        let resumed = match session {
            Some(url) => self.resume(url).await?,
            None => None,
        };
        let (url, mut offset) = match resumed {
            Some((url, offset)) => (session.insert(url), offset),
            None => (session.insert(self.begin().await?), 0),
        };
        let mut corrected = false;
        while offset < self.size {
            *durable = offset;
            (self.watch)(Event::At(offset));
            let chunk = self.chunk(offset)?;
            let next = offset + chunk.len() as u64;
            match self.append(url, offset, chunk).await {
                Ok(answer) => {
                    *url = self.location(&answer)?;
                    offset = next;
                }
                // One byte and none look the same in a range, so the first offset may be wrong by one.
                Err(ClientError::Problem(problem)) if problem.status == 416 && !corrected => {
                    let told = problem.more()["offset"].as_u64().filter(|&told| told <= self.size);
                    offset = told.ok_or(ClientError::Problem(problem))?;
                    corrected = true;
                }
                Err(error) => return Err(error),
            }
        }
        *durable = offset;
        (self.watch)(Event::At(offset));
        self.finish(url.clone()).await
    }

    /// How far a session is. `None`: it is gone.
    async fn resume(&self, session: &Url) -> Result<Option<(Url, u64)>, ClientError> {
        // An empty chunk waits until the registry has saved what it still receives of the last one. A mere
        // look would see less, and what it saves meanwhile would be sent again.
        let asked = self.connection.send_body(Method::PATCH, session.clone(), HeaderMap::new(), "", TIMEOUT);
        match asked.await {
            Ok(answer) => {
                let range = answer.headers().get(RANGE).and_then(|range| range.to_str().ok());
                let offset = range.and_then(offset_of).filter(|&offset| offset <= self.size);
                let offset = offset
                    .ok_or_else(|| self.connection.unexpected("it does not say how far an upload is"))?;
                Ok(Some((self.location(&answer)?, offset)))
            }
            Err(ClientError::Problem(problem)) if problem.status == 404 => {
                self.memory.forget();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn begin(&self) -> Result<Url, ClientError> {
        let url = self.connection.registry().at(&format!("/v2/{}/blobs/uploads/", self.repository), &[]);
        let answer = self.connection.send_body(Method::POST, url, HeaderMap::new(), "", TIMEOUT).await?;
        let session = self.location(&answer)?;
        if let Err(error) = self.memory.keep(session.as_str()) {
            (self.watch)(Event::NotRemembered(&error));
        }
        Ok(session)
    }

    async fn append(&self, session: &Url, offset: u64, chunk: Bytes) -> Result<Response, ClientError> {
        let length = chunk.len() as u64;
        let range = format!("{offset}-{}", offset + length - 1);
        let range =
            HeaderValue::try_from(range).map_err(|_| self.connection.unexpected("its offset is none"))?;
        let headers = HeaderMap::from_iter([(CONTENT_RANGE, range), (CONTENT_TYPE, OCTETS)]);
        let body = reqwest::Body::wrap(Chunk { rest: chunk, at: offset, watch: Arc::clone(&self.watch) });
        let timeout = TIMEOUT + Duration::from_secs(length / SLOWEST);
        self.connection.send_body(Method::PATCH, session.clone(), headers, body, timeout).await
    }

    async fn finish(&self, mut session: Url) -> Result<(), ClientError> {
        session.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        // The registry makes all of it durable before it answers.
        let timeout = TIMEOUT + Duration::from_secs(self.size / SLOWEST);
        self.connection.send_body(Method::PUT, session, HeaderMap::new(), "", timeout).await.map(drop)
    }

    fn location(&self, answer: &Response) -> Result<Url, ClientError> {
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let location =
            location.ok_or_else(|| self.connection.unexpected("it does not say where an upload goes on"))?;
        self.connection.place(location)
    }

    fn chunk(&self, offset: u64) -> Result<Bytes, ClientError> {
        let length = CHUNK.min(self.size - offset);
        let mut chunk = vec![0; length as usize];
        let mut filled = 0;
        while filled < chunk.len() {
            match self.source.read_at(offset + filled as u64, &mut chunk[filled..]) {
                Ok(0) => return Err(ClientError::Source(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::Source(error)),
            }
        }
        Ok(chunk.into())
    }
}

/// Reads `0-<last>`, with `bytes=` in front or not. Nothing and one byte are both `0-0`.
fn offset_of(range: &str) -> Option<u64> {
    let (first, last) = range.trim_start_matches("bytes=").split_once('-')?;
    match (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// A body that tells how much of it was taken.
struct Chunk {
    rest: Bytes,
    /// Offset of what is left.
    at: u64,
    watch: Watch,
}

impl Body for Chunk {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(STEP);
        let part = self.rest.split_to(length);
        self.at += length as u64;
        (self.watch)(Event::At(self.at));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_session_is() {
        for (range, offset) in [("0-0", Some(0)), ("0-1", Some(2)), ("bytes=0-99", Some(100))] {
            assert_eq!(offset_of(range), offset, "{range}");
        }
        for range in ["", "0", "1-5", "-5", "0-", "0-18446744073709551615", "a-b"] {
            assert_eq!(offset_of(range), None, "{range}");
        }
    }
}
