//! How far a node has to be for a read, and how far a write took its catalog.

use http::{HeaderMap, HeaderName};

use super::error::ApiError;
use super::reply::Reply;
use crate::registry::Registry;

static AFTER: HeaderName = HeaderName::from_static("quire-after");
static SEQUENCE: HeaderName = HeaderName::from_static("quire-sequence");

/// The sequence that a read has to be behind. `None`: it is content with what there is.
pub fn after(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(&AFTER).iter();
    let malformed = ApiError::BadHeader { name: "Quire-After", reason: "is not one whole number" };
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed),
        (Some(value), None) => {
            let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            text.and_then(|text| text.parse().ok()).map(Some).ok_or(malformed)
        }
    }
}

/// Waits until this node has seen the sequence of the catalog.
pub async fn wait(registry: &Registry, catalog: &str, sequence: u64) -> Result<(), ApiError> {
    match registry.has_seen(catalog, sequence).await {
        true => Ok(()),
        false => Err(ApiError::NotSeenYet),
    }
}

/// Tells how far the catalog is after a write. Whoever reads behind this sees what was written.
pub async fn tell(registry: &Registry, catalog: &str, reply: &mut Reply) {
    if !reply.status.is_success() {
        return;
    }
    match registry.sequence(catalog).await {
        Ok(sequence) => reply.header(&SEQUENCE, sequence.to_string()),
        // The write is done, and that is what was asked for.
        Err(error) => tracing::warn!(%error, catalog, "the sequence of a write could not be told"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_one_whole_number() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&AFTER, value.parse().unwrap());
            }
            after(&headers)
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["0"]).unwrap(), Some(0));
        assert_eq!(read(&["18446744073709551615"]).unwrap(), Some(u64::MAX));
        for malformed in
            [&[""][..], &["-1"], &["+1"], &["1.0"], &["x"], &["18446744073709551616"], &["1", "1"], &["1, 1"]]
        {
            assert!(read(malformed).is_err(), "{malformed:?}");
        }
    }
}
