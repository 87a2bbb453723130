//! Advisory locks: what a transaction holds before it decides, always in one order.

use super::db::Db;
use super::failure::Result;
use crate::digest::Sha256;
use crate::name::RepositoryName;

/// What a transaction locks before it decides, in this order. Those of one kind come in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock<'a> {
    /// Who makes or deletes organisations holds it alone.
    Organisations,
    /// Shared by those who write manifests and tags; who blocks digests or forgets a catalog holds it alone.
    Plugins,
    /// The manifests and tags of a repository.
    Repository(&'a RepositoryName),
    /// What an organisation enables.
    Enablements(&'a str),
    Keys(&'a str),
    /// Shared by those who write to a catalog, except where it has a quota: there each decides alone.
    Catalog(&'a str),
    /// Whether a digest counts in a catalog as a blob.
    Blob(&'a str, Sha256),
    /// Or as a manifest.
    Manifest(&'a str, Sha256),
    /// Shared by those who are about to write lines of the audit log, and held by nobody else for long.
    Audit,
}

impl Lock<'_> {
    pub(super) fn key(&self) -> i64 {
        let name = match self {
            Self::Organisations => "organisations".to_owned(),
            Self::Plugins => "plugins".to_owned(),
            Self::Repository(name) => format!("repository {name}"),
            Self::Enablements(organisation) => format!("enablements {organisation}"),
            Self::Keys(purpose) => format!("keys {purpose}"),
            Self::Catalog(catalog) => format!("catalog {catalog}"),
            Self::Blob(catalog, digest) => format!("blob {catalog} {digest}"),
            Self::Manifest(catalog, digest) => format!("manifest {catalog} {digest}"),
            Self::Audit => "audit".to_owned(),
        };
        advisory_key(&name)
    }
}

/// The number of an advisory lock. Other programs that use the same database take others.
pub(super) fn advisory_key(name: &str) -> i64 {
    let digest = Sha256::of(format!("quire {name}").as_bytes()).0;
    i64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Shared,
    /// Of a catalog: alone if it has a quota.
    Writer,
    Alone,
}

/// Takes locks in the order that they are given in, and says which of them are held alone.
const TAKE: &str = "
    SELECT wanted.is_alone,
        CASE WHEN wanted.is_alone THEN pg_advisory_xact_lock(wanted.key)
             ELSE pg_advisory_xact_lock_shared(wanted.key) END
    FROM (SELECT l.key, l.place, l.alone OR EXISTS
              (SELECT 1 FROM catalogs AS c WHERE c.id = l.catalog
               AND (c.quota_bytes IS NOT NULL OR c.quota_repositories IS NOT NULL)) AS is_alone
          FROM unnest($1::bigint[], $2::boolean[], $3::text[]) WITH ORDINALITY AS l (key, alone, catalog, place)
          ORDER BY l.place OFFSET 0) AS wanted";

/// Takes all the locks of a transaction, and says whether a quota may be decided under them.
pub(super) async fn take(db: &Db, mut locks: Vec<(Lock<'_>, Mode)>) -> Result<bool> {
    // Of two modes of one lock the stronger comes first.
    locks.sort_unstable_by(|(left, how), (right, other)| left.cmp(right).then(other.cmp(how)));
    locks.dedup_by(|(next, _), (kept, _)| next == kept);
    let keys: Vec<i64> = locks.iter().map(|(lock, _)| lock.key()).collect();
    let alone: Vec<bool> = locks.iter().map(|(_, mode)| *mode == Mode::Alone).collect();
    let writes_to = |(lock, mode): &(Lock<'_>, Mode)| match lock {
        Lock::Catalog(catalog) if *mode == Mode::Writer => Some((*catalog).to_owned()),
        _ => None,
    };
    let writes_to: Vec<Option<String>> = locks.iter().map(writes_to).collect();
    let taken = db.rows(TAKE, &[&keys, &alone, &writes_to]).await?;
    let mut decides_quota = false;
    for (row, (lock, _)) in taken.iter().zip(&locks) {
        decides_quota |= matches!(lock, Lock::Catalog(_)) && row.try_get::<_, bool>(0)?;
    }
    Ok(decides_quota)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deadlocks are shut out by one order for all, so no two locks may share a key or change places.
    #[test]
    fn locks_have_an_order_and_keys_of_their_own() {
        let name: RepositoryName = "a/b".parse().unwrap();
        let digest = Sha256::of(b"x");
        let locks = [
            Lock::Organisations,
            Lock::Plugins,
            Lock::Repository(&name),
            Lock::Enablements("a"),
            Lock::Keys("a"),
            Lock::Catalog("a"),
            Lock::Blob("a", digest),
            Lock::Manifest("a", digest),
            Lock::Audit,
        ];
        assert!(locks.is_sorted());
        let mut keys: Vec<i64> = locks.iter().map(Lock::key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), locks.len());
    }
}
