//! Tags of a repository.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension};

use super::events::Log;
use super::rows::{self, damaged, millis, page, sha256};
use super::tag_rules::{self, Rules, Tombstone};
use super::{plugin_versions, repositories};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{Change, ManifestRecord, PLUGIN_ARTIFACT_TYPE, Page, TagCondition, TagRefusal, TagRule};
use crate::name::{RepositoryName, Tag};
use crate::version::is_version;

pub(super) fn find(
    db: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
) -> rusqlite::Result<Option<ManifestRecord>> {
    db.prepare_cached(
        "SELECT m.sha256, m.sha512, m.size, m.media_type
         FROM repositories AS r
         JOIN tags AS t ON t.repository = r.id
         JOIN manifests AS m ON m.repository = r.id AND m.sha256 = t.manifest
         WHERE r.name = ?1 AND t.tag = ?2",
    )?
    .query_row((repository.as_str(), tag.as_str()), rows::manifest)
    .optional()
}

/// What a pull by tag finds: a channel does not lead to a yanked version.
pub(super) fn resolve(
    db: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
) -> rusqlite::Result<Option<ManifestRecord>> {
    let Some(found) = find(db, repository, tag)? else { return Ok(None) };
    let yanked = !is_version(tag)
        && db
            .prepare_cached(
                "SELECT 1 FROM repositories AS r JOIN plugin_versions AS v ON v.repository = r.id
                 WHERE r.name = ?1 AND v.manifest = ?2 AND v.yanked IS NOT NULL",
            )?
            .exists((repository.as_str(), found.digests.sha256.0))?;
    Ok((!yanked).then_some(found))
}

/// Why the tag may not be pointed to a manifest, if so. The condition first: who gave one wants to be told.
pub(super) fn refusal(
    db: &Connection,
    rules: &Rules,
    repository: &RepositoryName,
    tag: &Tag,
    manifest: &Sha256,
    condition: &TagCondition,
    may_move: bool,
) -> rusqlite::Result<Option<TagRefusal>> {
    let now = find(db, repository, tag)?;
    if let Some(moved) = unless_it_holds(condition, now.as_ref()) {
        return Ok(Some(moved));
    }
    let Some(id) = repositories::find(db, repository)? else { return Ok(None) };
    let buried = match &now {
        Some(_) => None,
        None => tag_rules::tombstone(db, id, tag)?,
    };
    let bound = now.as_ref().map(|now| now.digests.sha256).or(buried.as_ref().map(|buried| buried.manifest));
    let Some(bound) = bound.filter(|bound| bound != manifest) else { return Ok(None) };
    let version = match &buried {
        Some(buried) => buried.version,
        None => is_plugin_version(db, id, tag)?,
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

/// The refusal of a condition that does not hold.
pub(super) fn unless_it_holds(condition: &TagCondition, now: Option<&ManifestRecord>) -> Option<TagRefusal> {
    (!condition.holds(now)).then(|| TagRefusal::Moved { now: now.map(ManifestRecord::digest) })
}

/// Whether the tag is a version, and its repository a plugin: one that has a manifest of that type.
fn is_plugin_version(db: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<bool> {
    if !is_version(tag) {
        return Ok(false);
    }
    // The type is written out, as the index is one of these manifests alone.
    db.prepare_cached(&format!(
        "SELECT 1 FROM manifests WHERE repository = ?1 AND artifact_type = '{PLUGIN_ARTIFACT_TYPE}' LIMIT 1"
    ))?
    .exists((repository,))
}

/// Points the tag to a manifest of the repository, and returns what it pointed to before.
pub(super) fn set(
    db: &Connection,
    repository: i64,
    tag: &Tag,
    manifest: &Sha256,
) -> rusqlite::Result<Option<Sha256>> {
    let previous = target(db, repository, tag)?;
    if previous != Some(*manifest) {
        db.prepare_cached(
            "INSERT INTO tags (repository, tag, manifest, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository, tag)
             DO UPDATE SET manifest = excluded.manifest, updated_at = excluded.updated_at",
        )?
        .execute((repository, tag.as_str(), manifest.0, millis(SystemTime::now())))?;
    }
    Ok(previous)
}

pub(super) fn target(db: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<Option<Sha256>> {
    db.prepare_cached("SELECT manifest FROM tags WHERE repository = ?1 AND tag = ?2")?
        .query_row((repository, tag.as_str()), |row| row.get::<_, Vec<u8>>(0))
        .optional()?
        .map(|bytes| sha256(&bytes))
        .transpose()
}

pub(super) fn delete(
    db: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
    actor: &Actor,
) -> rusqlite::Result<bool> {
    let Some(id) = repositories::find(db, repository)? else { return Ok(false) };
    let Some(digest) = target(db, id, tag)? else { return Ok(false) };
    let rules = Rules::of(db, repository.catalog())?;
    let version = is_plugin_version(db, id, tag)?;
    if version || rules.keep(repository, tag) {
        tag_rules::bury(db, id, tag, &Tombstone { manifest: digest, version })?;
    }
    remove(db, id, tag)?;
    let mut log = Log::new(repository, actor);
    log.add(Change::TagDeleted { tag: tag.clone(), digest });
    plugin_versions::withdraw_tag(db, id, tag)?;
    plugin_versions::refresh(db, id, &mut log)?;
    log.write(db)?;
    Ok(true)
}

pub(super) fn remove(db: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM tags WHERE repository = ?1 AND tag = ?2")?
        .execute((repository, tag.as_str()))?;
    Ok(())
}

/// Deletes every tag of a manifest, and returns them in order.
pub(super) fn delete_all_of(
    db: &Connection,
    name: &RepositoryName,
    repository: i64,
    manifest: &Sha256,
) -> rusqlite::Result<Vec<Tag>> {
    let mut statement =
        db.prepare_cached("SELECT tag FROM tags WHERE repository = ?1 AND manifest = ?2 ORDER BY tag")?;
    let rows = statement.query_map((repository, manifest.0), |row| row.get::<_, String>(0))?;
    let tags = rows.map(|row| parse(&row?)).collect::<rusqlite::Result<Vec<_>>>()?;
    let rules = Rules::of(db, name.catalog())?;
    for tag in &tags {
        let version = is_plugin_version(db, repository, tag)?;
        if version || rules.keep(name, tag) {
            tag_rules::bury(db, repository, tag, &Tombstone { manifest: *manifest, version })?;
        }
    }
    db.prepare_cached("DELETE FROM tags WHERE repository = ?1 AND manifest = ?2")?
        .execute((repository, manifest.0))?;
    Ok(tags)
}

pub(super) fn list(
    db: &Connection,
    repository: &RepositoryName,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Option<Page<Tag>>> {
    let Some(id) = repositories::find(db, repository)? else { return Ok(None) };
    let mut statement =
        db.prepare_cached("SELECT tag FROM tags WHERE repository = ?1 AND tag > ?2 ORDER BY tag LIMIT ?3")?;
    let rows = statement.query_map((id, after, limit.saturating_add(1)), |row| row.get::<_, String>(0))?;
    let tags = rows.map(|row| parse(&row?)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Some(page(tags, limit)))
}

fn parse(text: &str) -> rusqlite::Result<Tag> {
    text.parse().map_err(|_| damaged("a tag"))
}
