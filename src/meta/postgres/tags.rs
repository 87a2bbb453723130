//! Tags of a repository.

use std::collections::HashMap;

use super::db::Db;
use super::failure::Result;
use super::locks::{Lock, Mode};
use super::rows::{self, most, now, page};
use super::tag_rules::{self, Rules, Tombstone};
use super::transaction::Work;
use super::{plugin_versions, repositories};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{Change, ManifestRecord, PLUGIN_ARTIFACT_TYPE, Page, TagCondition, TagRefusal, TagRule};
use crate::name::{RepositoryName, Tag};
use crate::version::is_version;

pub(super) const RESOLVE: &str = "SELECT m.sha256, m.sha512, m.size, m.media_type
     FROM repositories AS r
     JOIN tags AS t ON t.repository = r.id
     JOIN manifests AS m ON m.repository = r.id AND m.sha256 = t.manifest
     WHERE r.name = $1 AND t.tag = $2 AND ($3 OR NOT EXISTS
         (SELECT 1 FROM plugin_versions AS v
          WHERE v.repository = r.id AND v.manifest = t.manifest AND v.yanked IS NOT NULL))";

/// What a pull by tag finds: a channel does not lead to a yanked version.
pub(super) async fn resolve(
    db: &Db,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<ManifestRecord>> {
    let row = db.row(RESOLVE, &[repository, tag, &is_version(tag)]).await?;
    row.as_ref().map(rows::manifest).transpose()
}

/// The locks under which tags of a repository are decided and written.
pub(super) fn locks(repository: &RepositoryName) -> [(Lock<'_>, Mode); 3] {
    [
        (Lock::Plugins, Mode::Shared),
        (Lock::Repository(repository), Mode::Alone),
        (Lock::Catalog(repository.catalog()), Mode::Shared),
    ]
}

/// What is to be done with a tag.
pub(super) struct Wish<'a> {
    pub repository: &'a RepositoryName,
    pub tag: &'a Tag,
    pub manifest: Sha256,
    pub condition: &'a TagCondition,
    pub may_move: bool,
}

/// How tags of a repository stand, read at once for all that are to be written.
#[derive(Default)]
pub(super) struct Standing {
    tags: HashMap<Tag, Stands>,
    /// A plugin was published there at some time.
    pub has_versions: bool,
    /// A manifest of a plugin is there, read or not: its versions stay.
    has_plugins: bool,
}

#[derive(Default)]
struct Stands {
    now: Option<ManifestRecord>,
    buried: Option<Tombstone>,
}

/// Whether a repository has a manifest of a plugin. A range of one and an order keep PostgreSQL on the index: where it
/// knows of many such rows, it would read the table until it meets one.
const HAS_PLUGINS: &str = "(SELECT 1 FROM manifests WHERE repository = $1 AND artifact_type >= $2
     AND artifact_type <= $2 ORDER BY artifact_type LIMIT 1) IS NOT NULL";

/// One row for each tag.
pub(super) fn standing_statement() -> String {
    format!(
        "SELECT m.sha256, m.sha512, m.size, m.media_type, wanted.tag, b.manifest, b.version,
             EXISTS (SELECT 1 FROM plugin_versions WHERE repository = $1), {HAS_PLUGINS}
         FROM unnest($3::text[]) AS wanted (tag)
         LEFT JOIN tags AS t ON t.repository = $1 AND t.tag = wanted.tag
         LEFT JOIN manifests AS m ON m.repository = $1 AND m.sha256 = t.manifest
         LEFT JOIN tombstones AS b ON b.repository = $1 AND b.tag = wanted.tag"
    )
}

impl Standing {
    /// Of a repository that is not there nothing stands.
    pub(super) async fn of(db: &Db, id: Option<i64>, tags: &[&Tag]) -> Result<Self> {
        let mut standing = Self::default();
        let Some(id) = id.filter(|_| !tags.is_empty()) else { return Ok(standing) };
        for row in db.rows(&standing_statement(), &[&id, &PLUGIN_ARTIFACT_TYPE, &tags]).await? {
            let now = match row.try_get::<_, Option<Sha256>>(0)? {
                Some(_) => Some(rows::manifest(&row)?),
                None => None,
            };
            let buried = match row.try_get(5)? {
                Some(manifest) => Some(Tombstone { manifest, version: row.try_get(6)? }),
                None => None,
            };
            standing.tags.insert(row.try_get(4)?, Stands { now, buried });
            standing.has_versions = row.try_get(7)?;
            standing.has_plugins = row.try_get(8)?;
        }
        Ok(standing)
    }

    /// What the tag points to.
    pub(super) fn now(&self, tag: &Tag) -> Option<&ManifestRecord> {
        self.tags.get(tag)?.now.as_ref()
    }

    pub(super) fn target(&self, tag: &Tag) -> Option<Sha256> {
        self.now(tag).map(|now| now.digests.sha256)
    }

    /// Whether the tag is a version, and its repository a plugin.
    fn is_plugin_version(&self, tag: &Tag) -> bool {
        self.has_plugins && is_version(tag)
    }

    /// Why the tag may not be pointed to a manifest, if so. The condition first: who gave one wants to be told.
    pub(super) fn refusal(&self, rules: &Rules, wish: &Wish<'_>) -> Option<TagRefusal> {
        let Wish { repository, tag, manifest, condition, may_move } = *wish;
        if let Some(moved) = self.moved(tag, condition) {
            return Some(moved);
        }
        let now = self.now(tag);
        let buried = match now {
            Some(_) => None,
            None => self.tags.get(tag)?.buried.as_ref(),
        };
        let bound = now.map(|now| now.digests.sha256).or(buried.map(|buried| buried.manifest));
        let bound = bound.filter(|bound| *bound != manifest)?;
        let version = buried.map_or_else(|| self.is_plugin_version(tag), |buried| buried.version);
        let rule = if version {
            TagRule::Version
        } else if rules.keep(repository, tag) {
            TagRule::Immutable
        } else if now.is_some() && !may_move {
            TagRule::CreateOnly
        } else {
            return None;
        };
        Some(TagRefusal::Kept { rule, now: now.map_or(bound.into(), ManifestRecord::digest) })
    }

    /// The refusal of a condition that does not hold.
    pub(super) fn moved(&self, tag: &Tag, condition: &TagCondition) -> Option<TagRefusal> {
        let now = self.now(tag);
        (!condition.holds(now)).then(|| TagRefusal::Moved { now: now.map(ManifestRecord::digest) })
    }
}

/// Whether the tag is a version, and its repository a plugin: one that has a manifest of that type.
async fn is_plugin_version(db: &Db, repository: i64, tag: &Tag) -> Result<bool> {
    if !is_version(tag) {
        return Ok(false);
    }
    let row = db.row(&format!("SELECT {HAS_PLUGINS}"), &[&repository, &PLUGIN_ARTIFACT_TYPE]).await?;
    row.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

pub(super) const SET: &str = "INSERT INTO tags AS t (repository, tag, manifest, updated_at)
     SELECT $1, w.tag, w.manifest, $2 FROM unnest($3::text[], $4::bytea[]) AS w (tag, manifest)
     ON CONFLICT (repository, tag) DO UPDATE
     SET manifest = excluded.manifest, updated_at = excluded.updated_at
     WHERE t.manifest <> excluded.manifest";

/// Points tags, each named once, to manifests of the repository.
pub(super) async fn set(work: &Work, repository: i64, tags: &[&Tag], manifests: &[Sha256]) -> Result<()> {
    if !tags.is_empty() {
        work.execute(SET, &[&repository, &now(), &tags, &manifests]).await?;
    }
    Ok(())
}

pub(super) async fn target(db: &Db, repository: i64, tag: &Tag) -> Result<Option<Sha256>> {
    let sql = "SELECT manifest FROM tags WHERE repository = $1 AND tag = $2";
    let row = db.row(sql, &[&repository, tag]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

pub(super) async fn delete(
    work: &mut Work,
    repository: &RepositoryName,
    tag: &Tag,
    actor: &Actor,
) -> Result<bool> {
    work.lock(locks(repository)).await?;
    let Some(id) = repositories::find(work, repository).await? else { return Ok(false) };
    let Some(digest) = target(work, id, tag).await? else { return Ok(false) };
    let rules = Rules::of(work, repository.catalog()).await?;
    let version = is_plugin_version(work, id, tag).await?;
    if version || rules.keep(repository, tag) {
        tag_rules::bury(work, id, tag, &Tombstone { manifest: digest, version }).await?;
    }
    remove(work, id, tag).await?;
    work.changed(repository, Change::TagDeleted { tag: tag.clone(), digest }, actor);
    plugin_versions::withdraw_tag(work, id, tag).await?;
    plugin_versions::refresh(work, id, repository, actor).await?;
    Ok(true)
}

pub(super) async fn remove(work: &Work, repository: i64, tag: &Tag) -> Result<()> {
    work.execute("DELETE FROM tags WHERE repository = $1 AND tag = $2", &[&repository, tag]).await?;
    Ok(())
}

/// Deletes every tag of a manifest, and returns them in order.
pub(super) async fn delete_all_of(
    work: &Work,
    name: &RepositoryName,
    repository: i64,
    manifest: &Sha256,
) -> Result<Vec<Tag>> {
    let sql = "SELECT tag FROM tags WHERE repository = $1 AND manifest = $2 ORDER BY tag";
    let rows = work.rows(sql, &[&repository, manifest]).await?;
    let tags: Vec<Tag> = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?;
    let rules = Rules::of(work, name.catalog()).await?;
    for tag in &tags {
        let version = is_plugin_version(work, repository, tag).await?;
        if version || rules.keep(name, tag) {
            tag_rules::bury(work, repository, tag, &Tombstone { manifest: *manifest, version }).await?;
        }
    }
    work.execute("DELETE FROM tags WHERE repository = $1 AND manifest = $2", &[&repository, manifest])
        .await?;
    Ok(tags)
}

pub(super) async fn list(
    db: &Db,
    repository: &RepositoryName,
    after: &str,
    limit: usize,
) -> Result<Option<Page<Tag>>> {
    // A row without a tag says that the repository is there.
    let rows = db
        .rows(
            "SELECT found.tag FROM repositories AS r LEFT JOIN LATERAL
                 (SELECT t.tag FROM tags AS t WHERE t.repository = r.id AND t.tag > $2 ORDER BY t.tag LIMIT $3)
                 AS found ON true
             WHERE r.name = $1 ORDER BY found.tag",
            &[repository, &rows::before_nul(after), &most(limit.saturating_add(1))],
        )
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let tags: Vec<Option<Tag>> = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?;
    Ok(Some(page(tags.into_iter().flatten().collect(), limit)))
}
