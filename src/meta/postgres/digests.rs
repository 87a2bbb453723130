//! Every digest that some repository has, in byte order, and which of them a tag leads to.

use super::db::Db;
use super::failure::Result;
use super::rows::{most, unsigned};
use crate::digest::Sha256;

/// Digests that one look takes up, however few of them are hot.
const LOOK: usize = 1000;

/// The first digest behind another, as a blob or as a manifest.
macro_rules! next {
    ($after:literal) => {
        concat!(
            "SELECT first.sha256, first.size FROM (
                 (SELECT sha256, size FROM blob_links WHERE sha256 > ",
            $after,
            " ORDER BY sha256 LIMIT 1)
                 UNION ALL (SELECT sha256, size FROM manifests WHERE sha256 > ",
            $after,
            " ORDER BY sha256 LIMIT 1)
             ) AS first ORDER BY first.sha256 LIMIT 1"
        )
    };
}

/// The digests behind `$1`, at most `$2`. However many repositories have a digest, it is stepped over at once.
macro_rules! listed {
    () => {
        concat!(
            "listed (sha256, size, place) AS (
                 SELECT first.sha256, first.size, 1 FROM (",
            next!("$1"),
            ") AS first WHERE $2::bigint > 0
                 UNION ALL
                 SELECT next.sha256, next.size, listed.place + 1 FROM listed CROSS JOIN LATERAL (",
            next!("listed.sha256"),
            ") AS next WHERE listed.place < $2::bigint)"
        )
    };
}

pub(super) const LIST: &str =
    concat!("WITH RECURSIVE ", listed!(), " SELECT sha256, size FROM listed ORDER BY place");

/// The same with whether each is hot. The cheap questions come first: of a digest that everything refers to, such as
/// the empty config, one of them answers, and nobody gathers all that refers to it.
pub(super) const LIST_HOT: &str = concat!(
    "WITH RECURSIVE ",
    listed!(),
    " SELECT sha256, size, CASE
          WHEN EXISTS (
              SELECT FROM manifests AS m JOIN tags AS t ON t.repository = m.repository AND t.manifest = m.sha256
              WHERE m.sha256 = listed.sha256) THEN true
          WHEN EXISTS (
              SELECT FROM (SELECT repository FROM blob_links AS b WHERE b.sha256 = listed.sha256
                           UNION ALL SELECT repository FROM manifests AS m WHERE m.sha256 = listed.sha256) AS holding
              JOIN manifest_references AS r ON r.repository = holding.repository AND r.target = listed.sha256
              JOIN tags AS t ON t.repository = r.repository AND t.manifest = r.manifest) THEN true
          ELSE EXISTS (
              WITH RECURSIVE above (repository, manifest) AS (
                  SELECT r.repository, r.manifest
                  FROM (SELECT repository FROM blob_links AS b WHERE b.sha256 = listed.sha256
                        UNION ALL SELECT repository FROM manifests AS m WHERE m.sha256 = listed.sha256) AS holding
                  JOIN manifest_references AS r ON r.repository = holding.repository AND r.target = listed.sha256
                  UNION SELECT r.repository, r.manifest FROM above
                  JOIN manifest_references AS r ON r.repository = above.repository AND r.target = above.manifest)
              SELECT FROM above
              JOIN tags AS t ON t.repository = above.repository AND t.manifest = above.manifest)
      END FROM listed ORDER BY place"
);

/// At most `limit` digests behind one, with their sizes.
pub(super) async fn list(db: &Db, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>> {
    let after = after.map_or(Vec::new(), |after| after.0.to_vec());
    let rows = db.rows(LIST, &[&after, &most(limit)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, unsigned(row, 1)?))).collect()
}

/// What one look found, and where the next goes on.
pub(super) struct Found {
    pub digests: Vec<(Sha256, u64)>,
    /// `None`: the end was reached.
    pub seen: Option<Sha256>,
}

/// At most `limit` hot digests among the next ones.
pub(super) async fn list_hot(db: &Db, after: Option<Sha256>, limit: usize) -> Result<Found> {
    let start = after.map_or(Vec::new(), |after| after.0.to_vec());
    let rows = db.rows(LIST_HOT, &[&start, &most(LOOK)]).await?;
    let (mut digests, mut seen) = (Vec::new(), after);
    for row in &rows {
        if digests.len() == limit {
            return Ok(Found { digests, seen });
        }
        let digest = row.try_get(0)?;
        seen = Some(digest);
        if row.try_get(2)? {
            digests.push((digest, unsigned(row, 1)?));
        }
    }
    Ok(Found { digests, seen: seen.filter(|_| rows.len() == LOOK) })
}
