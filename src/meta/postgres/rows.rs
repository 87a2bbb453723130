//! Columns in and out: the vocabulary as PostgreSQL's types, times, sizes, and the rows that several nouns share.

use std::borrow::Cow;
use std::error::Error;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, private::BytesMut, to_sql_checked};

use super::failure::{Failure, Result};
use crate::digest::{Digest, Digests, Sha256};
use crate::meta::{ManifestRecord, Page};
use crate::name::{RepositoryName, Tag};
use crate::version::Version;

/// Milliseconds since 1970; times before that do not occur.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn now() -> i64 {
    millis(SystemTime::now())
}

pub(super) fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.try_into().unwrap_or(0))
}

pub(super) fn size(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Failure::Damaged("a size"))
}

/// How many rows a statement may return. More than fit in a number are as good as all.
pub(super) fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A column with a number that is never below 0.
pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| Failure::Damaged("a number"))
}

/// Of two statements, the first for a SHA-256 and the second for a SHA-512, the one for this digest.
pub(super) fn by(digest: &Digest, [sha256, sha512]: [&'static str; 2]) -> &'static str {
    match digest {
        Digest::Sha256(_) => sha256,
        Digest::Sha512(_) => sha512,
    }
}

/// Cuts a list that was read with one row too many.
pub(super) fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

/// Reads the columns `sha256, sha512` from a place on.
pub(super) fn digests(row: &Row, from: usize) -> Result<Digests> {
    let sha512: Option<&[u8]> = row.try_get(from + 1)?;
    let sha512 = sha512.map(|bytes| bytes.try_into().map_err(|_| Failure::Damaged("a SHA-512")));
    Ok(Digests { sha256: row.try_get(from)?, sha512: sha512.transpose()? })
}

/// Reads the columns `sha256, sha512, size, media_type`.
pub(super) fn manifest(row: &Row) -> Result<ManifestRecord> {
    Ok(ManifestRecord { digests: digests(row, 0)?, size: unsigned(row, 2)?, media_type: row.try_get(3)? })
}

/// Text that somebody wrote. PostgreSQL stores no NUL character: U+FFFD stands for it.
#[derive(Debug)]
pub(super) struct Text<'a>(Cow<'a, str>);

pub(super) fn text(text: &str) -> Text<'_> {
    Text(if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() })
}

/// Where a list goes on behind a text that nothing stored can be equal to: what holds a NUL character.
pub(super) fn before_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Several of them.
pub(super) fn texts<T: AsRef<str>>(all: &[T]) -> Vec<Text<'_>> {
    all.iter().map(|one| text(one.as_ref())).collect()
}

type Outcome<T> = std::result::Result<T, Box<dyn Error + Sync + Send>>;

impl ToSql for Text<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Outcome<IsNull> {
        (&*self.0).to_sql(kind, out)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

impl ToSql for Sha256 {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Outcome<IsNull> {
        (&self.0[..]).to_sql(kind, out)
    }

    accepts!(BYTEA);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Sha256 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Outcome<Self> {
        Self::from_slice(raw).ok_or_else(|| "not a SHA-256".into())
    }

    accepts!(BYTEA);
}

/// Types of ours that are texts which were checked.
macro_rules! stored_as_text {
    ($($name:ident)*) => {$(
        impl ToSql for $name {
            fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Outcome<IsNull> {
                self.as_str().to_sql(kind, out)
            }

            accepts!(TEXT);
            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $name {
            fn from_sql(kind: &Type, raw: &'a [u8]) -> Outcome<Self> {
                let text = <&str as FromSql>::from_sql(kind, raw)?;
                $name::from_str(text).map_err(|_| concat!("not a ", stringify!($name)).into())
            }

            accepts!(TEXT);
        }
    )*};
}

stored_as_text! { RepositoryName Tag Version }
