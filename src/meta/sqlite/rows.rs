//! Columns in and out: times, digests, sizes, and the rows that several nouns share.

use std::time::{Duration, SystemTime};

use rusqlite::Row;

use crate::digest::{Digest, Digests, Sha256};
use crate::meta::{ManifestRecord, Page};

/// Milliseconds since 1970; times before that do not occur.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.try_into().unwrap_or(0))
}

/// A row holds what no write of ours puts there.
pub(super) fn damaged(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(format!("a row holds {what} that is not valid").into())
}

/// The column that a digest of this algorithm stands in.
pub(super) fn column(digest: &Digest) -> &'static str {
    match digest {
        Digest::Sha256(_) => "sha256",
        Digest::Sha512(_) => "sha512",
    }
}

pub(super) fn sha256(bytes: &[u8]) -> rusqlite::Result<Sha256> {
    Sha256::from_slice(bytes).ok_or_else(|| damaged("a SHA-256"))
}

pub(super) fn sha512(bytes: Option<Vec<u8>>) -> rusqlite::Result<Option<[u8; 64]>> {
    bytes.map(|bytes| bytes.try_into().map_err(|_| damaged("a SHA-512"))).transpose()
}

pub(super) fn size(bytes: u64) -> rusqlite::Result<i64> {
    i64::try_from(bytes).map_err(|_| damaged("a size"))
}

/// Cuts a list that was read with one row too many.
pub(super) fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

/// Reads the columns `sha256, sha512, size, media_type`.
pub(super) fn manifest(row: &Row<'_>) -> rusqlite::Result<ManifestRecord> {
    Ok(ManifestRecord {
        digests: Digests { sha256: sha256(&row.get::<_, Vec<u8>>(0)?)?, sha512: sha512(row.get(1)?)? },
        size: row.get(2)?,
        media_type: row.get(3)?,
    })
}
