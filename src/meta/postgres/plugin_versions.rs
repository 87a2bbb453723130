//! Versions of plugins: published with their manifest, in some state, and what `latest` names because of it.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::db::Db;
use super::failure::{Failure, Result};
use super::locks::{Lock, Mode};
use super::rows::{most, now, text, time, unsigned};
use super::tags::Standing;
use super::transaction::Work;
use super::{repositories, tag_rules, tags};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{
    Change, Deprecation, Findable, LATEST, NewPlugin, PAGE_BYTES, Page, PluginChange, PluginRecord,
    PutManifest, TagRefusal, TagRule, Which,
};
use crate::name::{RepositoryName, Tag};
use crate::version::{Version, is_version};

/// What [`record`] reads, with `v` the version and `k` its package, and the document and the plugin as given.
macro_rules! columns {
    ($name:literal, $metadata:literal, $is_latest:literal) => {
        concat!(
            "v.id, ",
            $name,
            " AS name, v.version, v.manifest, k.sha256 AS package, k.size, ",
            $metadata,
            " AS metadata, v.enabled, ",
            $is_latest,
            " AS is_latest, v.yanked, v.deprecated, v.successor, v.created_at,
             (SELECT b.reason FROM blocked_digests AS d JOIN blocks AS b ON b.sha256 = d.cause
              WHERE d.sha256 = v.manifest LIMIT 1) AS blocked"
        )
    };
}
pub(super) use columns;

/// The same, with `r` the repository and `p` the plugin of it.
const COLUMNS: &str = columns!("r.name", "v.metadata", "p.listed AND p.shown = v.id");
/// Where they come from, once `v` is there.
const JOINS: &str = "JOIN packages AS k ON k.id = v.package JOIN repositories AS r ON r.id = v.repository
     JOIN plugins AS p ON p.repository = v.repository AND v.deleted_at IS NULL";

pub(super) const SHOWN: &str = "WHERE r.name = $1 AND v.id = p.shown";
pub(super) const BY_VERSION: &str = "WHERE r.name = $1 AND v.precedence = $2";
pub(super) const BY_MANIFEST: &str = "WHERE r.name = $1 AND v.manifest = $2";
pub(super) const BY_CHANNEL: &str =
    "JOIN tags AS t ON t.repository = r.id AND t.manifest = v.manifest WHERE r.name = $1 AND t.tag = $2";
pub(super) const BY_ID: &str = "WHERE v.id = $1";

/// The statement that reads versions under a condition.
pub(super) fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM plugin_versions AS v {JOINS} {condition}")
}

/// The statement that reads the versions of a plugin below one, highest first, in the order of the index.
pub(super) fn page() -> String {
    let versions = format!(
        "SELECT found.* FROM repositories AS r JOIN plugins AS p ON p.repository = r.id CROSS JOIN LATERAL
             (SELECT {COLUMNS}, v.precedence FROM plugin_versions AS v JOIN packages AS k ON k.id = v.package
              WHERE v.repository = r.id AND v.deleted_at IS NULL AND v.precedence < $2
              ORDER BY v.precedence DESC LIMIT $3) AS found
         WHERE r.name = $1"
    );
    within_bytes(&versions, "precedence DESC", "$4")
}

/// Of the rows of a statement, those before which not yet so many bytes of config documents stand: the sizes are
/// known before any document is read.
pub(super) fn within_bytes(statement: &str, order: &str, bytes: &str) -> String {
    format!(
        "SELECT * FROM
             (SELECT *, sum(octet_length(metadata)) OVER
                  (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
              FROM ({statement}) AS rows) AS measured
         WHERE coalesce(bytes_before, 0) <= {bytes} ORDER BY {order}"
    )
}

pub(super) fn record(row: &Row) -> Result<PluginRecord> {
    let successor = row.try_get(11)?;
    let deprecated = row.try_get::<_, Option<String>>(10)?.map(|message| Deprecation { message, successor });
    Ok(PluginRecord {
        id: row.try_get(0)?,
        repository: row.try_get(1)?,
        version: row.try_get(2)?,
        manifest: row.try_get(3)?,
        package: row.try_get(4)?,
        package_size: unsigned(row, 5)?,
        metadata: row.try_get(6)?,
        enabled: row.try_get(7)?,
        is_latest: row.try_get(8)?,
        yanked: row.try_get(9)?,
        deprecated,
        blocked: row.try_get(13)?,
        created: time(row.try_get(12)?),
    })
}

pub(super) async fn find(
    db: &Db,
    repository: &RepositoryName,
    which: &Which,
) -> Result<Option<PluginRecord>> {
    let row = match which {
        Which::Shown => db.row(&select(SHOWN), &[repository]).await?,
        Which::Version(version) => db.row(&select(BY_VERSION), &[repository, &version.sort_key()]).await?,
        Which::Manifest(digest) => db.row(&select(BY_MANIFEST), &[repository, digest]).await?,
        Which::Channel(tag) => db.row(&select(BY_CHANNEL), &[repository, tag]).await?,
    };
    row.as_ref().map(record).transpose()
}

pub(super) async fn find_by_id(db: &Db, id: Uuid) -> Result<Option<PluginRecord>> {
    let row = db.row(&select(BY_ID), &[&id]).await?;
    row.as_ref().map(record).transpose()
}

pub(super) async fn list(
    db: &Db,
    repository: &RepositoryName,
    below: Option<&Version>,
    limit: usize,
) -> Result<Page<PluginRecord>> {
    // No key begins with a byte as high as that.
    let below = below.map_or_else(|| vec![u8::MAX], Version::sort_key);
    let limits = (most(limit.saturating_add(1)), most(PAGE_BYTES));
    let rows = db.rows(&page(), &[repository, &below, &limits.0, &limits.1]).await?;
    Ok(page_of(rows.iter().map(record).collect::<Result<_>>()?, limit))
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
pub(super) async fn version_of(db: &Db, repository: i64, manifest: &Sha256) -> Result<Option<Version>> {
    let sql = "SELECT version FROM plugin_versions
         WHERE repository = $1 AND manifest = $2 AND deleted_at IS NULL";
    let row = db.row(sql, &[&repository, manifest]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Why a tag may not be written in a repository: to a manifest that is the version given, or that is none.
pub(super) fn tag_refusal(standing: &Standing, version: Option<&Version>, tag: &Tag) -> Option<TagRefusal> {
    // Only of these two kinds of tags a plugin has anything to say.
    if tag.as_str() != LATEST && !is_version(tag) || version.is_none() && !standing.has_versions {
        return None;
    }
    if tag.as_str() == LATEST {
        return Some(TagRefusal::Follows);
    }
    let other = version.is_none_or(|version| version.as_str() != tag.as_str());
    other.then_some(TagRefusal::NotThisVersion)
}

/// Whether a plugin was ever published there.
async fn is_plugin(db: &Db, repository: i64) -> Result<bool> {
    db.exists("SELECT 1 FROM plugin_versions WHERE repository = $1 LIMIT 1", &[&repository]).await
}

/// The answer to publishing a plugin, if it is not that it may be.
pub(super) async fn decide(
    db: &Db,
    repository: i64,
    plugin: &NewPlugin,
    manifest: &Sha256,
) -> Result<Option<PutManifest>> {
    let there = db
        .row(
            "SELECT v.version, v.manifest, k.sha256 FROM plugin_versions AS v
             JOIN packages AS k ON k.id = v.package
             WHERE v.repository = $1 AND v.precedence = $2 AND v.deleted_at IS NULL",
            &[&repository, &plugin.version.sort_key()],
        )
        .await?;
    if let Some(row) = there {
        let (version, published, package): (Version, Sha256, _) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let same = version.as_str() == plugin.version.as_str() && published == *manifest;
        return Ok((!same).then_some(PutManifest::VersionTaken { version, package, manifest: published }));
    }
    // Nobody publishes it now, but a deleted version keeps its spelling, too.
    let Some(other) = plugin.version.other_spelling() else { return Ok(None) };
    let other: Tag = other.as_str().parse().map_err(|_| Failure::Damaged("a version"))?;
    let now = match tags::target(db, repository, &other).await? {
        Some(now) => Some(now),
        None => tag_rules::tombstone(db, repository, &other).await?.map(|buried| buried.manifest),
    };
    Ok(now.map(|now| PutManifest::Tag {
        tag: other,
        refusal: TagRefusal::Kept { rule: TagRule::Version, now: now.into() },
    }))
}

/// Makes the row of a version, or brings it back in the state that it was in. `false`: it is there.
pub(super) async fn publish(
    work: &Work,
    repository: i64,
    manifest: &Sha256,
    plugin: &NewPlugin,
) -> Result<bool> {
    if version_of(work, repository, manifest).await?.is_some() {
        return Ok(false);
    }
    let sql = "UPDATE plugin_versions SET deleted_at = NULL WHERE repository = $1 AND manifest = $2";
    if work.execute(sql, &[&repository, manifest]).await? > 0 {
        return Ok(true);
    }
    let package = super::packages::find_or_make(work, plugin).await?;
    work.execute(
        "INSERT INTO plugin_versions (id, repository, version, precedence, release, manifest, package, metadata,
             created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &Uuid::now_v7(),
            &repository,
            &plugin.version,
            &plugin.version.sort_key(),
            &!plugin.version.is_pre_release(),
            manifest,
            &package,
            &text(&plugin.metadata),
            &now(),
        ],
    )
    .await?;
    Ok(true)
}

/// Removes the versions that a manifest is.
pub(super) async fn withdraw_manifest(work: &Work, repository: i64, manifest: &Sha256) -> Result<()> {
    withdraw(work, "manifest = $2", repository, manifest).await
}

/// Removes the version that a tag named, if it was one.
pub(super) async fn withdraw_tag(work: &Work, repository: i64, tag: &Tag) -> Result<()> {
    withdraw(work, "version = $2", repository, tag).await
}

async fn withdraw(work: &Work, which: &str, repository: i64, one: &(dyn ToSql + Sync)) -> Result<()> {
    let sql = format!(
        "UPDATE plugin_versions SET deleted_at = $3 WHERE repository = $1 AND {which} AND deleted_at IS NULL"
    );
    work.execute(&sql, &[&repository, one, &now()]).await?;
    Ok(())
}

/// Removes everything that an organisation published, which holds nothing any more.
pub(super) async fn forget_catalog(work: &Work, catalog: &str) -> Result<()> {
    let rows = work
        .rows(
            "DELETE FROM plugin_versions
             WHERE repository = ANY (ARRAY (SELECT id FROM repositories WHERE catalog = $1)) RETURNING package",
            &[&catalog],
        )
        .await?;
    let packages: Vec<i64> = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?;
    work.execute(
        "DELETE FROM packages AS k WHERE k.id = ANY ($1)
         AND NOT EXISTS (SELECT 1 FROM plugin_versions AS v WHERE v.package = k.id)",
        &[&packages],
    )
    .await?;
    Ok(())
}

pub(super) async fn change(
    work: &mut Work,
    id: Uuid,
    change: &PluginChange,
    actor: &Actor,
) -> Result<Option<PluginRecord>> {
    let Some(seen) = find_by_id(work, id).await? else { return Ok(None) };
    work.lock([(Lock::Plugins, Mode::Shared), (Lock::Repository(&seen.repository), Mode::Alone)]).await?;
    let Some(now) = find_by_id(work, id).await? else { return Ok(None) };
    let enabled = change.enabled.unwrap_or(now.enabled);
    let yanked = change.yanked.clone().unwrap_or_else(|| now.yanked.clone());
    let deprecated = change.deprecated.clone().unwrap_or_else(|| now.deprecated.clone());
    if (enabled, &yanked, &deprecated) == (now.enabled, &now.yanked, &now.deprecated) {
        return Ok(Some(now));
    }
    let (message, successor) = match &deprecated {
        Some(Deprecation { message, successor }) => (Some(text(message)), successor.as_deref().map(text)),
        None => (None, None),
    };
    work.execute(
        "UPDATE plugin_versions SET enabled = $2, yanked = $3, deprecated = $4, successor = $5 WHERE id = $1",
        &[&id, &enabled, &yanked.as_deref().map(text), &message, &successor],
    )
    .await?;
    let repository = repositories::held(work, &now.repository).await?;
    let tag = now.version.as_str().parse().map_err(|_| Failure::Damaged("a version"))?;
    work.changed(&now.repository, Change::VersionChanged { tag, digest: now.manifest }, actor);
    refresh(work, repository, &now.repository, actor).await?;
    find_by_id(work, id).await
}

/// Of the versions `v`, those that may be `latest`.
pub(super) const USABLE: &str = "AND v.deleted_at IS NULL AND v.enabled AND v.yanked IS NULL
     AND NOT EXISTS (SELECT 1 FROM blocked_digests WHERE sha256 = v.manifest)";

/// A version that a list may show.
struct Candidate {
    id: Uuid,
    manifest: Sha256,
    metadata: String,
}

/// The statement that reads the highest of some versions of a plugin.
pub(super) fn select_highest(condition: &str) -> String {
    format!(
        "SELECT id, manifest, metadata FROM plugin_versions AS v WHERE repository = $1 {condition}
         ORDER BY release DESC, precedence DESC LIMIT 1"
    )
}

async fn highest(db: &Db, repository: i64, condition: &str) -> Result<Option<Candidate>> {
    let row = db.row(&select_highest(condition), &[&repository]).await?;
    row.map(|row| Ok(Candidate { id: row.try_get(0)?, manifest: row.try_get(1)?, metadata: row.try_get(2)? }))
        .transpose()
}

/// Decides again what a list shows of a plugin and what `latest` names. To be called by every write that could
/// change it, behind its own changes.
pub(super) async fn refresh(
    work: &mut Work,
    repository: i64,
    name: &RepositoryName,
    actor: &Actor,
) -> Result<()> {
    if !is_plugin(work, repository).await? {
        return Ok(());
    }
    let latest = highest(work, repository, USABLE).await?;
    point_latest(work, repository, name, latest.as_ref().map(|latest| latest.manifest), actor).await?;
    match latest {
        Some(latest) => show(work, repository, name, Some(latest), true).await,
        None => {
            let newest = highest(work, repository, "AND v.deleted_at IS NULL").await?;
            show(work, repository, name, newest, false).await
        }
    }
}

async fn point_latest(
    work: &mut Work,
    repository: i64,
    name: &RepositoryName,
    manifest: Option<Sha256>,
    actor: &Actor,
) -> Result<()> {
    let tag: Tag = LATEST.parse().map_err(|_| Failure::Damaged("a tag"))?;
    match manifest {
        Some(digest) => {
            let previous = tags::target(work, repository, &tag).await?;
            if previous != Some(digest) {
                tags::set(work, repository, &[&tag], &[digest]).await?;
                work.changed(name, Change::TagSet { tag, digest, previous }, actor);
            }
        }
        None => {
            if let Some(digest) = tags::target(work, repository, &tag).await? {
                tags::remove(work, repository, &tag).await?;
                work.changed(name, Change::TagDeleted { tag, digest }, actor);
            }
        }
    }
    Ok(())
}

async fn show(
    work: &Work,
    repository: i64,
    name: &RepositoryName,
    shown: Option<Candidate>,
    listed: bool,
) -> Result<()> {
    let (catalog, pid) = (name.catalog(), name.without_catalog());
    let row = work.row("SELECT shown, listed FROM plugins WHERE repository = $1", &[&repository]).await?;
    let before: Option<(Uuid, bool)> =
        row.map(|row| Ok::<_, Failure>((row.try_get(0)?, row.try_get(1)?))).transpose()?;
    if shown.as_ref().map(|shown| (shown.id, listed)) == before {
        return Ok(());
    }
    work.execute("DELETE FROM plugin_facets WHERE catalog = $1 AND pid = $2", &[&catalog, &pid]).await?;
    let Some(Candidate { id, metadata, .. }) = shown else {
        work.execute("DELETE FROM plugins WHERE repository = $1", &[&repository]).await?;
        return Ok(());
    };
    let Findable { tag, capabilities, text: words } =
        Findable::of(&metadata).ok_or(Failure::Damaged("a config document"))?;
    work.execute(
        "INSERT INTO plugins (repository, catalog, pid, shown, listed, search) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (repository) DO UPDATE
         SET shown = excluded.shown, listed = excluded.listed, search = excluded.search",
        &[&repository, &catalog, &pid, &id, &listed, &text(&words)],
    )
    .await?;
    let facets = tag.iter().map(|tag| ("tag", text(tag)));
    let facets = facets.chain(capabilities.iter().map(|capability| ("capability", text(capability))));
    let (kinds, values): (Vec<&str>, Vec<_>) = facets.unzip();
    work.execute(
        "INSERT INTO plugin_facets (catalog, listed, pid, kind, value)
         SELECT $1, $2, $3, f.* FROM unnest($4::text[], $5::text[]) AS f ON CONFLICT DO NOTHING",
        &[&catalog, &listed, &pid, &kinds, &values],
    )
    .await?;
    Ok(())
}
