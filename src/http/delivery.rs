//! Sending bytes that a digest names: conditions, ranges, and the headers that let anybody verify and keep them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, HeaderName, StatusCode};

use super::error::ApiError;
use super::range::{self, ByteRange};
use super::reply::{Body, Freshness, Reply};
use crate::blob::file_body::FileBody;
use crate::blob::{Blob, Content};
use crate::digest::Digest;
use crate::registry::{Found, RegistryError};

pub(super) static CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a client already has, and which part it wants.
pub struct Conditions<'a> {
    pub headers: &'a HeaderMap,
    pub head: bool,
}

impl Conditions<'_> {
    fn text(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the client has these very bytes. Weak and strong tags are the same to a digest.
    pub(super) fn has(&self, etag: &str) -> bool {
        let mut values = self.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        values.any(|list| {
            list.split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
        })
    }

    fn range(&self, etag: &str, size: u64) -> ByteRange {
        // RFC 9110 defines ranges for GET alone. With an If-Range of other bytes the whole is wanted.
        let other = self.headers.contains_key(IF_RANGE) && self.text(IF_RANGE) != Some(etag);
        if self.head || other { ByteRange::Whole } else { range::parse(self.text(RANGE), size) }
    }
}

/// Answers with what was found. `load` runs only when bytes are really sent.
pub async fn deliver<L>(
    conditions: &Conditions<'_>,
    found: &Found,
    content_type: &str,
    freshness: Freshness,
    load: L,
) -> Result<Reply, ApiError>
where
    L: Future<Output = Result<Blob, RegistryError>>,
{
    let digest = found.digest.to_string();
    let etag = ["\"", &digest, "\""].concat();
    if conditions.has(&etag) {
        let mut reply = Reply::empty(StatusCode::NOT_MODIFIED, freshness);
        reply.header(ETAG, etag);
        reply.header(&CONTENT_DIGEST, digest);
        return Ok(reply);
    }
    let (status, first, end) = match conditions.range(&etag, found.size) {
        ByteRange::Whole => (StatusCode::OK, 0, found.size),
        ByteRange::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        ByteRange::Unsatisfiable => return Err(ApiError::RangeNotSatisfiable { size: found.size }),
    };
    let mut reply = Reply::empty(status, freshness);
    if !conditions.head {
        reply.body = part(load.await?, first, end);
    }
    reply.headers.insert(CONTENT_LENGTH, (end - first).into());
    if status == StatusCode::PARTIAL_CONTENT {
        reply.header(CONTENT_RANGE, format!("bytes {first}-{}/{}", end - 1, found.size));
    }
    reply.header(CONTENT_TYPE, content_type);
    reply.header(ETAG, etag);
    reply.header(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    reply.header(&CONTENT_DIGEST, digest);
    reply.header(&REPR_DIGEST, repr_digest(&found.digest));
    Ok(reply)
}

fn part(blob: Blob, first: u64, end: u64) -> Body {
    match blob.content {
        Content::Memory(bytes) => {
            let bound = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            Body::Bytes(Some(bytes.slice(bound(first)..bound(end))))
        }
        Content::File(file) => Body::File(FileBody::new(file, first, end)),
        Content::Filling(filling) => Body::File(FileBody::arriving(filling, first, end)),
    }
}

/// RFC 9530: the digest of the whole representation, also beside a part of it.
fn repr_digest(digest: &Digest) -> String {
    let algorithm = match digest {
        Digest::Sha256(_) => "sha-256=:",
        Digest::Sha512(_) => "sha-512=:",
    };
    [algorithm, &STANDARD.encode(digest.as_bytes()), ":"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn a_repr_digest_is_base64() {
        let empty = Digest::Sha256(Sha256::of(b""));
        assert_eq!(repr_digest(&empty), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
    }

    #[test]
    fn if_none_match_takes_lists_and_weak_tags() {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, "\"other\", W/\"mine\"".parse().unwrap());
        let conditions = Conditions { headers: &headers, head: false };
        assert!(conditions.has("\"mine\"") && !conditions.has("\"theirs\""));
    }
}
