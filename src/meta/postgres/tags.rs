//! Tags of a repository.

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

async fn find(db: &Db, repository: i64, tag: &Tag) -> Result<Option<ManifestRecord>> {
    let row = db
        .row(
            "SELECT m.sha256, m.sha512, m.size, m.media_type FROM tags AS t
             JOIN manifests AS m ON m.repository = t.repository AND m.sha256 = t.manifest
             WHERE t.repository = $1 AND t.tag = $2",
            &[&repository, tag],
        )
        .await?;
    row.as_ref().map(rows::manifest).transpose()
}

/// What a pull by tag finds: a channel does not lead to a yanked version.
pub(super) async fn resolve(
    db: &Db,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<ManifestRecord>> {
    let row = db
        .row(
            "SELECT m.sha256, m.sha512, m.size, m.media_type
             FROM repositories AS r
             JOIN tags AS t ON t.repository = r.id
             JOIN manifests AS m ON m.repository = r.id AND m.sha256 = t.manifest
             WHERE r.name = $1 AND t.tag = $2 AND ($3 OR NOT EXISTS
                 (SELECT 1 FROM plugin_versions AS v
                  WHERE v.repository = r.id AND v.manifest = t.manifest AND v.yanked IS NOT NULL))",
            &[repository, tag, &is_version(tag)],
        )
        .await?;
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
    /// Its row, if there is one.
    pub id: Option<i64>,
    pub tag: &'a Tag,
    pub manifest: Sha256,
    pub condition: &'a TagCondition,
    pub may_move: bool,
}

/// Why the tag may not be pointed to a manifest, if so. The condition first: who gave one wants to be told.
pub(super) async fn refusal(db: &Db, rules: &Rules, wish: &Wish<'_>) -> Result<Option<TagRefusal>> {
    let Wish { repository, id, tag, manifest, condition, may_move } = *wish;
    let now = match id {
        Some(id) => find(db, id, tag).await?,
        None => None,
    };
    if let Some(moved) = unless_it_holds(condition, now.as_ref()) {
        return Ok(Some(moved));
    }
    let Some(id) = id else { return Ok(None) };
    let buried = match &now {
        Some(_) => None,
        None => tag_rules::tombstone(db, id, tag).await?,
    };
    let bound = now.as_ref().map(|now| now.digests.sha256).or(buried.as_ref().map(|buried| buried.manifest));
    let Some(bound) = bound.filter(|bound| *bound != manifest) else { return Ok(None) };
    let version = match &buried {
        Some(buried) => buried.version,
        None => is_plugin_version(db, id, tag).await?,
    };
    let rule = if version {
        TagRule::Version
    } else if rules.keep(repository, tag) {
        TagRule::Immutable
    } else if now.is_some() && !may_move {
        TagRule::CreateOnly
    } else {
        return Ok(None);
    };
    let now = now.map_or(bound.into(), |now| now.digest());
    Ok(Some(TagRefusal::Kept { rule, now }))
}

/// The refusal of a push to `latest` whose condition does not hold.
pub(super) async fn moved(
    db: &Db,
    id: Option<i64>,
    tag: &Tag,
    condition: &TagCondition,
) -> Result<Option<TagRefusal>> {
    let now = match id {
        Some(id) => find(db, id, tag).await?,
        None => None,
    };
    Ok(unless_it_holds(condition, now.as_ref()))
}

fn unless_it_holds(condition: &TagCondition, now: Option<&ManifestRecord>) -> Option<TagRefusal> {
    (!condition.holds(now)).then(|| TagRefusal::Moved { now: now.map(ManifestRecord::digest) })
}

/// Whether the tag is a version, and its repository a plugin: one that has a manifest of that type.
async fn is_plugin_version(db: &Db, repository: i64, tag: &Tag) -> Result<bool> {
    if !is_version(tag) {
        return Ok(false);
    }
    // The type is written out, as the index is one of these manifests alone.
    let sql = format!(
        "SELECT 1 FROM manifests WHERE repository = $1 AND artifact_type = '{PLUGIN_ARTIFACT_TYPE}' LIMIT 1"
    );
    db.exists(&sql, &[&repository]).await
}

/// Points the tag to a manifest of the repository, and returns what it pointed to before.
pub(super) async fn set(
    work: &Work,
    repository: i64,
    tag: &Tag,
    manifest: &Sha256,
) -> Result<Option<Sha256>> {
    let row = work
        .row(
            "WITH written AS (
                 INSERT INTO tags AS t (repository, tag, manifest, updated_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (repository, tag) DO UPDATE
                 SET manifest = excluded.manifest, updated_at = excluded.updated_at
                 WHERE t.manifest <> excluded.manifest)
             SELECT manifest FROM tags WHERE repository = $1 AND tag = $2",
            &[&repository, tag, manifest, &now()],
        )
        .await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
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
