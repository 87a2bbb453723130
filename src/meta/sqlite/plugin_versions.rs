//! Versions of plugins: published with their manifest, in some state, and what `latest` names because of it.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, ToSql};
use uuid::Uuid;

use super::events::Log;
use super::repositories::{self, name};
use super::rows::{damaged, millis, sha256, size, time};
use super::tag_rules;
use super::tags;
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{
    Change, Deprecation, Findable, LATEST, NewPlugin, PAGE_BYTES, PLUGIN_ARTIFACT_TYPE, PackageFile, Page,
    PluginChange, PluginRecord, PutManifest, TagRefusal, TagRule, Which,
};
use crate::name::{RepositoryName, Tag};
use crate::package::Method;
use crate::version::{Version, is_version};

/// What [`record`] reads, with `v` the version, `k` its package, `r` its repository and `p` its plugin.
pub(super) const COLUMNS: &str =
    "v.id, r.name, v.version, v.manifest, k.sha256, k.size, v.metadata, v.enabled,
     p.listed = 1 AND p.shown = v.id, v.yanked, v.deprecated, v.successor, v.created_at,
     (SELECT b.reason FROM blocked_digests AS d JOIN blocks AS b ON b.sha256 = d.cause
      WHERE d.sha256 = v.manifest LIMIT 1)";
/// Where they come from, once `v` is there.
pub(super) const JOINS: &str =
    "JOIN packages AS k ON k.id = v.package JOIN repositories AS r ON r.id = v.repository
     JOIN plugins AS p ON p.repository = v.repository AND v.deleted_at IS NULL";

pub(super) const SHOWN: &str = "WHERE r.name = ?1 AND v.id = p.shown";
pub(super) const BY_VERSION: &str = "WHERE r.name = ?1 AND v.precedence = ?2";
pub(super) const BY_CHANNEL: &str =
    "JOIN tags AS t ON t.repository = r.id AND t.manifest = v.manifest WHERE r.name = ?1 AND t.tag = ?2";
pub(super) const BY_ID: &str = "WHERE v.id = ?1";
pub(super) const PAGE: &str =
    "WHERE v.repository = ?1 AND v.precedence < ?2 ORDER BY v.precedence DESC LIMIT ?3";

/// The statement that reads versions under a condition.
pub(super) fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM plugin_versions AS v {JOINS} {condition}")
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<PluginRecord> {
    let deprecated: Option<String> = row.get(10)?;
    let successor: Option<String> = row.get(11)?;
    Ok(PluginRecord {
        id: row.get(0)?,
        repository: name(&row.get::<_, String>(1)?)?,
        version: version(&row.get::<_, String>(2)?)?,
        manifest: sha256(&row.get::<_, Vec<u8>>(3)?)?,
        package: sha256(&row.get::<_, Vec<u8>>(4)?)?,
        package_size: row.get(5)?,
        metadata: row.get(6)?,
        enabled: row.get(7)?,
        is_latest: row.get(8)?,
        yanked: row.get(9)?,
        deprecated: deprecated.map(|message| Deprecation { message, successor }),
        blocked: row.get(13)?,
        created: time(row.get(12)?),
    })
}

pub(super) fn version(text: &str) -> rusqlite::Result<Version> {
    text.parse().map_err(|_| damaged("a version"))
}

pub(super) fn find(
    db: &Connection,
    repository: &RepositoryName,
    which: &Which,
) -> rusqlite::Result<Option<PluginRecord>> {
    match which {
        Which::Shown => {
            db.prepare_cached(&select(SHOWN))?.query_row((repository.as_str(),), record).optional()
        }
        Which::Version(version) => db
            .prepare_cached(&select(BY_VERSION))?
            .query_row((repository.as_str(), version.sort_key()), record)
            .optional(),
        Which::Manifest(digest) => db
            .prepare_cached(&select("WHERE r.name = ?1 AND v.manifest = ?2"))?
            .query_row((repository.as_str(), digest.0), record)
            .optional(),
        Which::Channel(tag) => db
            .prepare_cached(&select(BY_CHANNEL))?
            .query_row((repository.as_str(), tag.as_str()), record)
            .optional(),
    }
}

pub(super) fn find_by_id(db: &Connection, id: Uuid) -> rusqlite::Result<Option<PluginRecord>> {
    db.prepare_cached(&select(BY_ID))?.query_row((id,), record).optional()
}

pub(super) fn list(
    db: &Connection,
    repository: &RepositoryName,
    below: Option<&Version>,
    limit: usize,
) -> rusqlite::Result<Page<PluginRecord>> {
    let Some(id) = repositories::find(db, repository)? else {
        return Ok(Page { items: Vec::new(), more: false });
    };
    let mut statement = db.prepare_cached(&select(PAGE))?;
    // No key begins with a byte as high as that.
    let below = below.map_or_else(|| vec![u8::MAX], Version::sort_key);
    let mut rows = statement.query((id, below, limit.saturating_add(1)))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while bytes <= PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let record = record(row)?;
        bytes += record.metadata.len();
        found.push(record);
    }
    Ok(page_of(found, limit))
}

/// Cuts a list that was read with one too many, or with more bytes than a page has.
pub(super) fn page_of(mut found: Vec<PluginRecord>, limit: usize) -> Page<PluginRecord> {
    let mut bytes = 0;
    let mut fits = |record: &&PluginRecord| {
        bytes += record.metadata.len();
        bytes <= PAGE_BYTES
    };
    let fitting = found.iter().take(limit).take_while(&mut fits).count().max(limit.min(1));
    let more = found.len() > fitting;
    found.truncate(fitting);
    Page { items: found, more }
}

/// The version of the plugin that a manifest is.
pub(super) fn version_of(
    db: &Connection,
    repository: Option<i64>,
    manifest: &Sha256,
) -> rusqlite::Result<Option<Version>> {
    let text: Option<String> = db
        .prepare_cached("SELECT version FROM plugin_versions WHERE repository = ?1 AND manifest = ?2 AND deleted_at IS NULL")?
        .query_row((repository, manifest.0), |row| row.get(0))
        .optional()?;
    text.map(|text| version(&text)).transpose()
}

/// Why a tag may not be written in a repository of a plugin: to a manifest that is the version given, or that is
/// none.
pub(super) fn tag_refusal(
    db: &Connection,
    repository: Option<i64>,
    version: Option<&Version>,
    tag: &Tag,
) -> rusqlite::Result<Option<TagRefusal>> {
    if version.is_none() && !is_plugin(db, repository)? {
        return Ok(None);
    }
    if tag.as_str() == LATEST {
        return Ok(Some(TagRefusal::Follows));
    }
    let other = is_version(tag) && version.is_none_or(|version| version.as_str() != tag.as_str());
    Ok(other.then_some(TagRefusal::NotThisVersion))
}

/// Whether a version's tag would name a plugin without bringing it back: its package was never read, or is
/// forgotten, and comes with a push only.
pub(super) fn is_unread(
    db: &Connection,
    repository: Option<i64>,
    tag: &Tag,
    manifest: &Sha256,
) -> rusqlite::Result<bool> {
    let Some(id) = repository.filter(|_| is_version(tag)) else { return Ok(false) };
    if tags::target(db, id, tag)? == Some(*manifest) {
        return Ok(false);
    }
    db.prepare_cached("SELECT 1 FROM manifests WHERE repository = ?1 AND sha256 = ?2 AND artifact_type = ?3")?
        .exists((id, manifest.0, PLUGIN_ARTIFACT_TYPE))
}

/// Whether a plugin was ever published there.
fn is_plugin(db: &Connection, repository: Option<i64>) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM plugin_versions WHERE repository = ?1 LIMIT 1")?.exists((repository,))
}

/// The answer to publishing a plugin, if it is not that it may be.
pub(super) fn decide(
    db: &Connection,
    repository: Option<i64>,
    plugin: &NewPlugin,
    manifest: &Sha256,
) -> rusqlite::Result<Option<PutManifest>> {
    let Some(id) = repository else { return Ok(None) };
    let there = db
        .prepare_cached(
            "SELECT v.version, v.manifest, k.sha256 FROM plugin_versions AS v JOIN packages AS k ON k.id = v.package
             WHERE v.repository = ?1 AND v.precedence = ?2 AND v.deleted_at IS NULL",
        )?
        .query_row((id, plugin.version.sort_key()), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    if let Some((text, published, package)) = there {
        let (published, package) = (sha256(&published)?, sha256(&package)?);
        let same = text == plugin.version.as_str() && published == *manifest;
        let taken = PutManifest::VersionTaken { version: version(&text)?, package, manifest: published };
        return Ok((!same).then_some(taken));
    }
    // Nobody publishes it now, but a deleted version keeps its spelling, too.
    let Some(other) = plugin.version.other_spelling() else { return Ok(None) };
    let other: Tag = other.as_str().parse().map_err(|_| damaged("a version"))?;
    let buried = tag_rules::tombstone(db, id, &other)?.map(|buried| buried.manifest);
    let now = tags::target(db, id, &other)?.or(buried);
    Ok(now.map(|now| PutManifest::Tag {
        tag: other,
        refusal: TagRefusal::Kept { rule: TagRule::Version, now: now.into() },
    }))
}

/// Makes the row of a version, or brings it back in the state that it was in. `false`: it is there.
pub(super) fn publish(
    db: &Connection,
    repository: i64,
    manifest: &Sha256,
    plugin: &NewPlugin,
) -> rusqlite::Result<bool> {
    if version_of(db, Some(repository), manifest)?.is_some() {
        return Ok(false);
    }
    let back = db
        .prepare_cached(
            "UPDATE plugin_versions SET deleted_at = NULL WHERE repository = ?1 AND manifest = ?2",
        )?
        .execute((repository, manifest.0))?;
    if back > 0 {
        return Ok(true);
    }
    let package = package(db, plugin)?;
    db.prepare_cached(
        "INSERT INTO plugin_versions (id, repository, version, precedence, release, manifest, package, metadata,
             created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        Uuid::now_v7(),
        repository,
        plugin.version.as_str(),
        plugin.version.sort_key(),
        !plugin.version.is_pre_release(),
        manifest.0,
        package,
        &plugin.metadata,
        millis(SystemTime::now()),
    ))?;
    Ok(true)
}

/// The row of a package, made with its files if it was not there.
fn package(db: &Connection, plugin: &NewPlugin) -> rusqlite::Result<i64> {
    let known = db
        .prepare_cached("SELECT id FROM packages WHERE sha256 = ?1")?
        .query_row((plugin.package.0,), |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let id = db
        .prepare_cached("INSERT INTO packages (sha256, size) VALUES (?1, ?2) RETURNING id")?
        .query_row((plugin.package.0, size(plugin.package_size)?), |row| row.get(0))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO package_files (package, path, data_offset, compressed_size, size, method, sha256, executable)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for file in &plugin.files {
        let method = match file.method {
            Method::Stored => "stored",
            Method::Deflate => "deflate",
        };
        insert.execute((
            id,
            &file.path,
            size(file.data_offset)?,
            size(file.compressed_size)?,
            size(file.size)?,
            method,
            file.sha256.0,
            file.executable,
        ))?;
    }
    Ok(id)
}

const FILE_COLUMNS: &str =
    "f.path, f.data_offset, f.compressed_size, f.size, f.method, f.sha256, f.executable
     FROM packages AS k JOIN package_files AS f ON f.package = k.id";

fn file(row: &Row<'_>) -> rusqlite::Result<PackageFile> {
    Ok(PackageFile {
        path: row.get(0)?,
        data_offset: row.get(1)?,
        compressed_size: row.get(2)?,
        size: row.get(3)?,
        method: match row.get::<_, String>(4)?.as_str() {
            "stored" => Method::Stored,
            "deflate" => Method::Deflate,
            _ => return Err(damaged("a method")),
        },
        sha256: sha256(&row.get::<_, Vec<u8>>(5)?)?,
        executable: row.get(6)?,
    })
}

pub(super) fn files(db: &Connection, package: &Sha256) -> rusqlite::Result<Vec<PackageFile>> {
    db.prepare_cached(&format!("SELECT {FILE_COLUMNS} WHERE k.sha256 = ?1 ORDER BY f.path"))?
        .query_map((package.0,), file)?
        .collect()
}

pub(super) fn find_file(
    db: &Connection,
    package: &Sha256,
    path: &str,
) -> rusqlite::Result<Option<PackageFile>> {
    db.prepare_cached(&format!("SELECT {FILE_COLUMNS} WHERE k.sha256 = ?1 AND f.path = ?2"))?
        .query_row((package.0, path), file)
        .optional()
}

/// Removes the versions that a manifest is.
pub(super) fn withdraw_manifest(db: &Connection, repository: i64, manifest: &Sha256) -> rusqlite::Result<()> {
    withdraw(db, "manifest = ?2", (repository, manifest.0))
}

/// Removes the version that a tag named, if it was one.
pub(super) fn withdraw_tag(db: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<()> {
    withdraw(db, "version = ?2", (repository, tag.as_str()))
}

fn withdraw(db: &Connection, which: &str, (repository, one): (i64, impl ToSql)) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "UPDATE plugin_versions SET deleted_at = ?3 WHERE repository = ?1 AND {which} AND deleted_at IS NULL"
    ))?
    .execute((repository, one, millis(SystemTime::now())))?;
    Ok(())
}

/// Removes everything that an organisation published, which holds nothing any more.
pub(super) fn forget_catalog(db: &Connection, catalog: &str) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached(
        "DELETE FROM plugin_versions WHERE repository IN (SELECT id FROM repositories WHERE catalog = ?1)
         RETURNING package",
    )?;
    let packages = delete.query_map((catalog,), |row| row.get::<_, i64>(0))?;
    let packages = packages.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut forget = db.prepare_cached(
        "DELETE FROM packages WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM plugin_versions WHERE package = ?1)",
    )?;
    for package in packages {
        forget.execute((package,))?;
    }
    Ok(())
}

pub(super) fn change(
    db: &Connection,
    id: Uuid,
    change: &PluginChange,
    actor: &Actor,
) -> rusqlite::Result<Option<PluginRecord>> {
    let Some(now) = find_by_id(db, id)? else { return Ok(None) };
    let enabled = change.enabled.unwrap_or(now.enabled);
    let yanked = change.yanked.clone().unwrap_or_else(|| now.yanked.clone());
    let deprecated = change.deprecated.clone().unwrap_or_else(|| now.deprecated.clone());
    if (enabled, &yanked, &deprecated) == (now.enabled, &now.yanked, &now.deprecated) {
        return Ok(Some(now));
    }
    let (message, successor) = match deprecated {
        Some(Deprecation { message, successor }) => (Some(message), successor),
        None => (None, None),
    };
    db.prepare_cached(
        "UPDATE plugin_versions SET enabled = ?2, yanked = ?3, deprecated = ?4, successor = ?5 WHERE id = ?1",
    )?
    .execute((id, enabled, yanked, message, successor))?;
    let repository = repositories::find(db, &now.repository)?.ok_or_else(|| damaged("no repository"))?;
    let mut log = Log::new(&now.repository, actor);
    let tag = now.version.as_str().parse().map_err(|_| damaged("a version"))?;
    log.add(Change::VersionChanged { tag, digest: now.manifest });
    refresh(db, repository, &mut log)?;
    log.write(db)?;
    find_by_id(db, id)
}

/// Of the versions `v`, those that may be `latest`.
pub(super) const USABLE: &str = "AND v.deleted_at IS NULL AND v.enabled = 1 AND v.yanked IS NULL
     AND NOT EXISTS (SELECT 1 FROM blocked_digests WHERE sha256 = v.manifest)";

/// A version that a list may show.
struct Candidate {
    id: Uuid,
    manifest: Sha256,
    metadata: String,
}

/// The statement that reads the highest version under a condition.
pub(super) fn select_highest(condition: &str) -> String {
    format!(
        "SELECT id, manifest, metadata FROM plugin_versions AS v WHERE repository = ?1 {condition}
         ORDER BY release DESC, precedence DESC LIMIT 1"
    )
}

fn highest(db: &Connection, repository: i64, condition: &str) -> rusqlite::Result<Option<Candidate>> {
    db.prepare_cached(&select_highest(condition))?
        .query_row((repository,), |row| {
            let manifest = sha256(&row.get::<_, Vec<u8>>(1)?)?;
            Ok(Candidate { id: row.get(0)?, manifest, metadata: row.get(2)? })
        })
        .optional()
}

/// Decides again what a list shows of a plugin and what `latest` names. To be called by every write that could
/// change it, with the log of that write.
pub(super) fn refresh(db: &Connection, repository: i64, log: &mut Log<'_>) -> rusqlite::Result<()> {
    let newest = highest(db, repository, "AND v.deleted_at IS NULL")?;
    if newest.is_none() && !is_plugin(db, Some(repository))? {
        return Ok(());
    }
    let latest = highest(db, repository, USABLE)?;
    point_latest(db, repository, latest.as_ref().map(|latest| latest.manifest), log)?;
    let listed = latest.is_some();
    show(db, repository, log.repository(), latest.or(newest), listed)
}

fn point_latest(
    db: &Connection,
    repository: i64,
    manifest: Option<Sha256>,
    log: &mut Log<'_>,
) -> rusqlite::Result<()> {
    let tag: Tag = LATEST.parse().map_err(|_| damaged("a tag"))?;
    match manifest {
        Some(digest) => {
            let previous = tags::set(db, repository, &tag, &digest)?;
            if previous != Some(digest) {
                log.add(Change::TagSet { tag, digest, previous });
            }
        }
        None => {
            if let Some(digest) = tags::target(db, repository, &tag)? {
                tags::remove(db, repository, &tag)?;
                log.add(Change::TagDeleted { tag, digest });
            }
        }
    }
    Ok(())
}

fn show(
    db: &Connection,
    repository: i64,
    name: &RepositoryName,
    shown: Option<Candidate>,
    listed: bool,
) -> rusqlite::Result<()> {
    let (catalog, pid) = (name.catalog(), name.without_catalog());
    let before = db
        .prepare_cached("SELECT shown, listed FROM plugins WHERE repository = ?1")?
        .query_row((repository,), |row| Ok((row.get::<_, Uuid>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    if shown.as_ref().map(|shown| (shown.id, listed)) == before {
        return Ok(());
    }
    db.prepare_cached("DELETE FROM plugin_facets WHERE catalog = ?1 AND pid = ?2")?
        .execute((catalog, pid))?;
    let Some(Candidate { id, metadata, .. }) = shown else {
        db.prepare_cached("DELETE FROM plugins WHERE repository = ?1")?.execute((repository,))?;
        return Ok(());
    };
    let Findable { tag, capabilities, text } =
        Findable::of(&metadata).ok_or_else(|| damaged("a config document"))?;
    db.prepare_cached(
        "INSERT INTO plugins (repository, catalog, pid, shown, listed, search) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (repository) DO UPDATE
         SET shown = excluded.shown, listed = excluded.listed, search = excluded.search",
    )?
    .execute((repository, catalog, pid, id, listed, text))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO plugin_facets (catalog, listed, kind, value, pid) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let tags = tag.iter().map(|tag| ("tag", tag));
    for (kind, value) in tags.chain(capabilities.iter().map(|capability| ("capability", capability))) {
        insert.execute((catalog, listed, kind, value, pid))?;
    }
    Ok(())
}
