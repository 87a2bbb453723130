//! Manifests, what they refer to, and who refers to them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension};

use super::events::Log;
use super::rows::{self, damaged, millis, size};
use super::tag_rules::Rules;
use super::{blobs, blocks, organisations, plugin_versions, repositories, tags};
use crate::access::Actor;
use crate::digest::{Digest, Sha256};
use crate::manifest::{ManifestReference, Target};
use crate::meta::{
    BlobRecord, Change, LATEST, ManifestRecord, NewManifest, Page, PutManifest, REFERRERS_PAGE,
    REFERRERS_PAGE_BYTES, Referrer, TagCondition, TagRefusal, Usage,
};
use crate::name::{RepositoryName, Tag};

pub(super) fn find(
    db: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
) -> rusqlite::Result<Option<ManifestRecord>> {
    match repositories::find(db, repository)? {
        Some(id) => find_in(db, id, digest),
        None => Ok(None),
    }
}

fn find_in(db: &Connection, repository: i64, digest: &Digest) -> rusqlite::Result<Option<ManifestRecord>> {
    let column = rows::column(digest);
    let sql = format!(
        "SELECT sha256, sha512, size, media_type FROM manifests WHERE repository = ?1 AND {column} = ?2"
    );
    db.prepare_cached(&sql)?.query_row((repository, digest.as_bytes()), rows::manifest).optional()
}

/// The SHA-256 of every target, in the order of the references; or why the manifest is refused.
fn resolve(
    db: &Connection,
    repository: Option<i64>,
    references: &[ManifestReference],
    coming: &[BlobRecord],
) -> rusqlite::Result<Result<Vec<Sha256>, PutManifest>> {
    let mut targets = Vec::with_capacity(references.len());
    let mut missing = Vec::new();
    for reference in references {
        let comes = |blob: &&BlobRecord| Digest::from(blob.digests.sha256) == reference.digest;
        let found = match (repository, reference.target) {
            (_, Target::Blob) if let Some(blob) = coming.iter().find(comes) => {
                Some((blob.digests.sha256, blob.size))
            }
            (None, _) => None,
            (Some(id), Target::Blob) => {
                blobs::find_in(db, id, &reference.digest)?.map(|blob| (blob.digests.sha256, blob.size))
            }
            (Some(id), Target::Manifest) => {
                find_in(db, id, &reference.digest)?.map(|child| (child.digests.sha256, child.size))
            }
        };
        match found {
            None => missing.push(reference.digest),
            Some((_, actual)) if actual != reference.size => {
                let (digest, declared) = (reference.digest, reference.size);
                return Ok(Err(PutManifest::WrongSize { digest, declared, actual }));
            }
            Some((sha256, _)) => targets.push(sha256),
        }
    }
    if missing.is_empty() { Ok(Ok(targets)) } else { Ok(Err(PutManifest::Missing(missing))) }
}

/// The targets of a manifest that may be stored, or why it may not.
fn decide(db: &Connection, new: &NewManifest) -> rusqlite::Result<Result<Vec<Sha256>, PutManifest>> {
    let NewManifest { repository, tags, condition, may_move, .. } = new;
    let (id, digest) = (repositories::find(db, repository)?, new.digests.sha256);
    let of_plugin = new.plugin.iter().flat_map(|plugin| {
        std::iter::once(plugin.package).chain(plugin.files.iter().map(|file| file.sha256))
    });
    if let Some(refusal) = blocks::refusal(db, std::iter::once(digest).chain(of_plugin))? {
        return Ok(Err(refusal));
    }
    if let Some(plugin) = &new.plugin
        && let Some(answer) = plugin_versions::decide(db, id, plugin, &digest)?
    {
        return Ok(Err(answer));
    }
    let more = Usage { bytes: added(db, new)?, repositories: id.is_none().into() };
    if let Err(refusal) = organisations::admit(db, repository.catalog(), more)? {
        return Ok(Err(PutManifest::Catalog(refusal)));
    }
    let rules = Rules::of(db, repository.catalog())?;
    let version = new.plugin.as_ref().map(|plugin| &plugin.version);
    let unasked = version_tag(new)?;
    let asked = tags.iter().map(|tag| (tag, condition));
    for (tag, condition) in asked.chain(unasked.iter().map(|tag| (tag, &TagCondition::Any))) {
        let refusal = match plugin_versions::tag_refusal(db, id, version, tag)? {
            // A push to `latest` is one of the version; what `latest` names then is decided there.
            Some(TagRefusal::Follows) if version.is_some() => {
                tags::unless_it_holds(condition, tags::find(db, repository, tag)?.as_ref())
            }
            Some(refusal) => Some(refusal),
            None => tags::refusal(db, &rules, repository, tag, &digest, condition, *may_move)?,
        };
        if let Some(refusal) = refusal {
            return Ok(Err(PutManifest::Tag { tag: tag.clone(), refusal }));
        }
    }
    let targets = match resolve(db, id, &new.manifest.references, &new.blobs)? {
        Ok(targets) => targets,
        refused => return Ok(refused),
    };
    // Asked last: of what a repository does not have, nobody is told here that it is blocked.
    Ok(match blocks::refusal(db, targets.iter().copied())? {
        Some(refusal) => Err(refusal),
        None => Ok(targets),
    })
}

/// The tag of a plugin's version, where it is not among those that were asked for.
fn version_tag(new: &NewManifest) -> rusqlite::Result<Option<Tag>> {
    let Some(plugin) = &new.plugin else { return Ok(None) };
    let tag: Tag = plugin.version.as_str().parse().map_err(|_| damaged("a version"))?;
    Ok((!new.tags.contains(&tag)).then_some(tag))
}

/// The bytes by which the catalog grows.
fn added(db: &Connection, new: &NewManifest) -> rusqlite::Result<u64> {
    let catalog = new.repository.catalog();
    let mut bytes = if is_counted(db, catalog, &new.digests.sha256)? { 0 } else { new.size };
    for blob in &new.blobs {
        bytes += if blobs::is_counted(db, catalog, &blob.digests.sha256)? { 0 } else { blob.size };
    }
    Ok(bytes)
}

/// Whether some repository of the catalog has the manifest already, so that it counts no more.
fn is_counted(db: &Connection, catalog: &str, sha256: &Sha256) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM manifests WHERE sha256 = ?1 AND catalog = ?2 LIMIT 1")?
        .exists((sha256.0, catalog))
}

pub(super) fn check(db: &Connection, new: &NewManifest) -> rusqlite::Result<PutManifest> {
    // All of it as of one moment: else what somebody publishes meanwhile is half there.
    let _snapshot = db.unchecked_transaction()?;
    Ok(decide(db, new)?.map_or_else(|refused| refused, |_| PutManifest::Stored))
}

pub(super) fn put(db: &Connection, new: &NewManifest) -> rusqlite::Result<PutManifest> {
    let targets = match decide(db, new)? {
        Ok(targets) => targets,
        Err(refused) => return Ok(refused),
    };
    for blob in &new.blobs {
        if let Err(refusal) = blobs::link(db, &new.repository, blob, None, &new.actor)? {
            return Ok(PutManifest::Catalog(refusal));
        }
    }
    let id = match repositories::find_or_make(db, &new.repository, added(db, new)?)? {
        Ok(id) => id,
        Err(refusal) => return Ok(PutManifest::Catalog(refusal)),
    };
    let digest = new.digests.sha256;
    let mut log = Log::new(&new.repository, &new.actor);
    if find_in(db, id, &digest.into())?.is_none() {
        insert(db, id, new, &targets)?;
        log.add(Change::ManifestPushed { digest });
    } else if let Some(sha512) = &new.digests.sha512 {
        db.prepare_cached("UPDATE manifests SET sha512 = ?3 WHERE repository = ?1 AND sha256 = ?2")?
            .execute((id, digest.0, sha512.as_slice()))?;
    }
    let follows = |tag: &&Tag| new.plugin.is_some() && tag.as_str() == LATEST;
    for tag in new.tags.iter().filter(|tag| !follows(tag)).chain(&version_tag(new)?) {
        let previous = tags::set(db, id, tag, &digest)?;
        if previous != Some(digest) {
            log.add(Change::TagSet { tag: tag.clone(), digest, previous });
        }
    }
    if let Some(plugin) = &new.plugin {
        let made = plugin_versions::publish(db, id, &digest, plugin)?;
        plugin_versions::refresh(db, id, &mut log)?;
        if !made && log.is_empty() {
            return Ok(PutManifest::Present);
        }
    }
    log.write(db)?;
    Ok(PutManifest::Stored)
}

fn insert(db: &Connection, repository: i64, new: &NewManifest, targets: &[Sha256]) -> rusqlite::Result<()> {
    let annotations = serde_json::to_string(&new.manifest.annotations).map_err(|_| damaged("annotations"))?;
    db.prepare_cached(
        "INSERT INTO manifests (repository, catalog, sha256, sha512, size, media_type, artifact_type, subject,
             annotations, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        repository,
        new.repository.catalog(),
        new.digests.sha256.0,
        new.digests.sha512.as_ref().map(|bytes| bytes.as_slice()),
        size(new.size)?,
        new.manifest.media_type.as_str(),
        &new.manifest.artifact_type,
        new.manifest.subject.map(|subject| subject.to_string()),
        annotations,
        millis(SystemTime::now()),
    ))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO manifest_references (repository, manifest, target, kind) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?;
    for (reference, target) in new.manifest.references.iter().zip(targets) {
        let kind = match reference.target {
            Target::Blob => "blob",
            Target::Manifest => "manifest",
        };
        insert.execute((repository, new.digests.sha256.0, target.0, kind))?;
    }
    Ok(())
}

pub(super) fn delete(
    db: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    actor: &Actor,
) -> rusqlite::Result<bool> {
    let Some(id) = repositories::find(db, repository)? else { return Ok(false) };
    let Some(manifest) = find_in(db, id, digest)? else { return Ok(false) };
    let digest = manifest.digests.sha256;
    let mut log = Log::new(repository, actor);
    for tag in tags::delete_all_of(db, repository, id, &digest)? {
        log.add(Change::TagDeleted { tag, digest });
    }
    plugin_versions::withdraw_manifest(db, id, &digest)?;
    db.prepare_cached("DELETE FROM manifests WHERE repository = ?1 AND sha256 = ?2")?
        .execute((id, digest.0))?;
    if !is_counted(db, repository.catalog(), &digest)? {
        organisations::count(db, repository.catalog(), -size(manifest.size)?, 0)?;
    }
    log.add(Change::ManifestDeleted { digest });
    plugin_versions::refresh(db, id, &mut log)?;
    log.write(db)?;
    repositories::forget_if_empty(db, repository, id)?;
    Ok(true)
}

pub(super) fn referrers(
    db: &Connection,
    repository: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<Sha256>,
) -> rusqlite::Result<Page<Referrer>> {
    let Some(id) = repositories::find(db, repository)? else {
        return Ok(Page { items: Vec::new(), more: false });
    };
    // Each from an index of its own, also when the filter matches nothing. Left to itself SQLite walks through
    // the manifests of the whole repository.
    let (index, filter) = match artifact_type {
        Some(_) => ("manifests_by_subject_and_type", "artifact_type = ?4"),
        None => ("manifests_by_subject", "?4 IS NULL"),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT sha256, sha512, size, media_type, artifact_type, annotations
         FROM manifests INDEXED BY {index}
         WHERE repository = ?1 AND subject = ?2 AND sha256 > ?3 AND {filter} ORDER BY sha256"
    ))?;
    let after = after.map_or(Vec::new(), |sha256| sha256.0.to_vec());
    let mut rows = statement.query((id, subject.to_string(), after, artifact_type))?;
    let mut items = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let annotations: String = row.get(5)?;
        let artifact_type: Option<String> = row.get(4)?;
        bytes += annotations.len() + artifact_type.as_ref().map_or(0, String::len);
        if !items.is_empty() && (bytes > REFERRERS_PAGE_BYTES || items.len() == REFERRERS_PAGE) {
            return Ok(Page { items, more: true });
        }
        let annotations: BTreeMap<String, String> =
            serde_json::from_str(&annotations).map_err(|_| damaged("annotations"))?;
        items.push(Referrer { record: rows::manifest(row)?, artifact_type, annotations });
    }
    Ok(Page { items, more: false })
}
