//! Answers: status, headers, body, and how long anybody may keep them.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, IntoHeaderName};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::blob::file_body::FileBody;

/// Who may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// It needed no credential, so shared caches may.
    Public,
    Private,
}

impl Audience {
    pub fn of(public: bool) -> Self {
        if public { Self::Public } else { Self::Private }
    }
}

/// What an answer is, as far as keeping it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Named by its digest: never changes.
    ByDigest(Audience),
    /// Named by a tag: may be kept, and has to be asked about each time.
    ByTag(Audience),
    /// A list.
    List(Audience),
    /// The way to a URL that can be used for so many seconds.
    Redirect(Audience, u64),
    /// The state of an upload, or the outcome of a write.
    Write,
    /// A token.
    Secret,
    /// Whatever went wrong may be right in a moment, a missing digest above all.
    Error,
    /// Liveness, readiness, metrics.
    Operation,
}

impl Freshness {
    /// All caching rules.
    pub fn cache_control(self) -> Cow<'static, str> {
        let fixed = match self {
            Self::Redirect(Audience::Public, seconds) => return format!("public, max-age={seconds}").into(),
            Self::Redirect(Audience::Private, seconds) => {
                return format!("private, max-age={seconds}").into();
            }
            Self::ByDigest(Audience::Public) => "public, max-age=31536000, immutable",
            Self::ByDigest(Audience::Private) => "private, max-age=31536000, immutable",
            Self::ByTag(Audience::Public) | Self::List(Audience::Public) => "public, no-cache",
            Self::ByTag(Audience::Private) | Self::List(Audience::Private) => "private, no-cache",
            Self::Write | Self::Secret | Self::Error | Self::Operation => "no-store",
        };
        Cow::Borrowed(fixed)
    }

    fn header(self) -> HeaderValue {
        match self.cache_control() {
            Cow::Borrowed(fixed) => HeaderValue::from_static(fixed),
            Cow::Owned(text) => HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store")),
        }
    }
}

/// An answer under construction.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

impl Reply {
    fn new(status: StatusCode, freshness: Freshness, body: Body) -> Self {
        // As many as the answer with a blob has.
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CACHE_CONTROL, freshness.header());
        Self { status, headers, body }
    }

    pub fn empty(status: StatusCode, freshness: Freshness) -> Self {
        Self::new(status, freshness, Body::Empty)
    }

    pub fn bytes(status: StatusCode, bytes: Bytes, freshness: Freshness) -> Self {
        Self::new(status, freshness, Body::Bytes(Some(bytes)))
    }

    /// Sets a header. A value that is no header value is left out: it can only have come from a client.
    pub fn header(&mut self, name: impl IntoHeaderName, value: impl TryInto<HeaderValue>) {
        if let Ok(value) = value.try_into() {
            self.headers.insert(name, value);
        }
    }

    /// Adds a header beside others of its name.
    pub fn add_header(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
    }

    /// Takes the body away and keeps its length, for HEAD.
    pub fn without_body(&mut self) {
        if let Some(length) = http_body::Body::size_hint(&self.body).exact()
            && !self.headers.contains_key(CONTENT_LENGTH)
            && self.status != StatusCode::NO_CONTENT
            && self.status != StatusCode::NOT_MODIFIED
        {
            self.headers.insert(CONTENT_LENGTH, length.into());
        }
        self.body = Body::Empty;
    }

    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The body of an answer.
pub enum Body {
    Empty,
    Bytes(Option<Bytes>),
    File(FileBody),
    /// Pieces that another task makes; an error cuts the answer off.
    Stream(mpsc::Receiver<std::io::Result<Bytes>>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(
                bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
            ),
            Self::File(file) => file.poll_next(context).map(|piece| piece.map(|read| read.map(Frame::data))),
            Self::Stream(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::File(file) => file.remaining() == 0,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::File(file) => SizeHint::with_exact(file.remaining()),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_digest_names_is_kept_unasked() {
        use Audience::{Private, Public};
        for freshness in [
            Freshness::ByTag(Public),
            Freshness::ByTag(Private),
            Freshness::List(Public),
            Freshness::List(Private),
            Freshness::Write,
            Freshness::Secret,
            Freshness::Error,
            Freshness::Operation,
        ] {
            let value = freshness.cache_control();
            assert!(value.contains("no-cache") || value == "no-store", "{freshness:?}");
        }
        for freshness in [Freshness::ByDigest(Private), Freshness::ByTag(Private), Freshness::List(Private)] {
            assert!(freshness.cache_control().starts_with("private"), "{freshness:?}");
        }
        assert_eq!(Freshness::Redirect(Private, 7).cache_control(), "private, max-age=7");
    }
}
