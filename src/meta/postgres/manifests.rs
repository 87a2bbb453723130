//! Manifests, what they refer to, and who refers to them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::db::{Db, Parameters};
use super::failure::{Failure, Result};
use super::locks::{Lock, Mode};
use super::rows::{self, by, now, size, text, unsigned};
use super::tag_rules::Rules;
use super::tags::{Standing, Wish};
use super::transaction::Work;
use super::{blobs, blocks, organisations, plugin_versions, repositories, tags};
use crate::access::Actor;
use crate::digest::{Digest, Sha256};
use crate::manifest::{ManifestReference, Target};
use crate::meta::{
    BlobRecord, CatalogRefusal, Change, LATEST, ManifestRecord, NewManifest, PLUGIN_ARTIFACT_TYPE, Page,
    PutManifest, REFERRERS_PAGE, REFERRERS_PAGE_BYTES, Referrer, TagCondition, TagRefusal, Usage,
};
use crate::name::{RepositoryName, Tag};
use crate::version::Version;

/// By each of the two algorithms.
pub(super) const FIND: [&str; 2] = [
    "SELECT m.sha256, m.sha512, m.size, m.media_type FROM repositories AS r
     JOIN manifests AS m ON m.repository = r.id WHERE r.name = $1 AND m.sha256 = $2",
    "SELECT m.sha256, m.sha512, m.size, m.media_type FROM repositories AS r
     JOIN manifests AS m ON m.repository = r.id WHERE r.name = $1 AND m.sha512 = $2",
];

pub(super) async fn find(
    db: &Db,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<ManifestRecord>> {
    let row = db.row(by(digest, FIND), &[repository, &digest.as_bytes()]).await?;
    row.as_ref().map(rows::manifest).transpose()
}

/// What tags are to point to: whether it is there, as which version of a plugin, and whether it is a plugin's.
pub(super) struct Tagged {
    pub sha256: Sha256,
    pub version: Option<Version>,
    pub of_plugin: bool,
}

pub(super) const TAGGED: &str = "
    SELECT coalesce(a.sha256, b.sha256), v.version, coalesce(a.artifact_type, b.artifact_type)
    FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS wanted (sha256, sha512, place)
    LEFT JOIN manifests AS a ON a.repository = $1 AND a.sha256 = wanted.sha256
    LEFT JOIN manifests AS b ON b.repository = $1 AND b.sha512 = wanted.sha512
    LEFT JOIN plugin_versions AS v ON v.repository = $1 AND v.manifest = coalesce(a.sha256, b.sha256)
        AND v.deleted_at IS NULL
    ORDER BY wanted.place";

/// The manifests of a repository under some digests, in their order.
pub(super) async fn tagged(db: &Db, id: i64, digests: &[Digest]) -> Result<Vec<Option<Tagged>>> {
    let (sha256, sha512) = columns(digests);
    let rows = db.rows(TAGGED, &[&id, &sha256, &sha512]).await?;
    let tagged = |row: &tokio_postgres::Row| {
        let Some(sha256) = row.try_get(0)? else { return Ok(None) };
        let of_plugin = row.try_get::<_, Option<&str>>(2)? == Some(PLUGIN_ARTIFACT_TYPE);
        Ok(Some(Tagged { sha256, version: row.try_get(1)?, of_plugin }))
    };
    rows.iter().map(tagged).collect()
}

/// Digests of one algorithm in their places.
type Column<'a> = Vec<Option<&'a [u8]>>;

/// Digests in a column for each algorithm.
fn columns(digests: &[Digest]) -> (Column<'_>, Column<'_>) {
    let of = |wanted: fn(&Digest) -> bool| {
        digests.iter().map(|digest| wanted(digest).then(|| digest.as_bytes())).collect::<Column<'_>>()
    };
    (of(|digest| matches!(digest, Digest::Sha256(_))), of(|digest| matches!(digest, Digest::Sha512(_))))
}

/// What a repository has under a digest: its SHA-256 and its size.
type Held = Option<(Sha256, u64)>;

macro_rules! held {
    ($table:literal) => {
        concat!(
            "SELECT coalesce(a.sha256, b.sha256), coalesce(a.size, b.size)
             FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS wanted (sha256, sha512, place)
             LEFT JOIN ",
            $table,
            " AS a ON a.repository = $1 AND a.sha256 = wanted.sha256 LEFT JOIN ",
            $table,
            " AS b ON b.repository = $1 AND b.sha512 = wanted.sha512 ORDER BY wanted.place"
        )
    };
}
pub(super) const HELD_BLOBS: &str = held!("blob_links");
pub(super) const HELD_MANIFESTS: &str = held!("manifests");

/// What a repository has of one kind, for each of some digests.
async fn held(db: &Db, id: i64, target: Target, digests: &[Digest]) -> Result<Vec<Held>> {
    let statement = match target {
        Target::Blob => HELD_BLOBS,
        Target::Manifest => HELD_MANIFESTS,
    };
    let (sha256, sha512) = columns(digests);
    let rows = db.rows(statement, &[&id, &sha256, &sha512]).await?;
    let held = |row: &tokio_postgres::Row| match row.try_get(0)? {
        Some(sha256) => Ok(Some((sha256, unsigned(row, 1)?))),
        None => Ok(None),
    };
    rows.iter().map(held).collect()
}

/// The SHA-256 of every target, in the order of the references; or why the manifest is refused.
async fn resolve(
    db: &Db,
    repository: Option<i64>,
    references: &[ManifestReference],
    coming: &[BlobRecord],
) -> Result<std::result::Result<Vec<Sha256>, PutManifest>> {
    let mut there = HashMap::new();
    for target in [Target::Blob, Target::Manifest] {
        let wanted = references.iter().filter(|reference| reference.target == target);
        let wanted: Vec<Digest> = wanted.map(|reference| reference.digest).collect();
        if let Some(id) = repository.filter(|_| !wanted.is_empty()) {
            let held = held(db, id, target, &wanted).await?;
            there.extend(wanted.into_iter().map(|digest| (target, digest)).zip(held));
        }
    }
    let mut targets = Vec::with_capacity(references.len());
    let mut missing = Vec::new();
    for reference in references {
        let comes = |blob: &&BlobRecord| {
            reference.target == Target::Blob && Digest::from(blob.digests.sha256) == reference.digest
        };
        let found = match coming.iter().find(comes) {
            Some(blob) => Some((blob.digests.sha256, blob.size)),
            None => there.get(&(reference.target, reference.digest)).copied().flatten(),
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

/// What is written of a manifest that may be stored.
struct Decision {
    targets: Vec<Sha256>,
    /// The bytes by which the catalog grows.
    added: u64,
    standing: Standing,
}

/// Whether a manifest may be stored in a repository, or why not. `id` is the row of that, if there is one.
async fn decide(
    db: &Db,
    id: Option<i64>,
    new: &NewManifest,
) -> Result<std::result::Result<Decision, PutManifest>> {
    let digest = new.digests.sha256;
    let catalog = new.repository.catalog();
    let of_plugin = new.plugin.iter().flat_map(|plugin| {
        std::iter::once(plugin.package).chain(plugin.files.iter().map(|file| file.sha256))
    });
    let named: Vec<Sha256> = std::iter::once(digest).chain(of_plugin).collect();
    let published = async {
        match (&new.plugin, id) {
            (Some(plugin), Some(id)) => plugin_versions::decide(db, id, plugin, &digest).await,
            _ => Ok(None),
        }
    };
    let unasked = version_tag(new)?;
    let tags: Vec<&Tag> = new.tags.iter().chain(&unasked).collect();
    // All of it is asked in one go; the first answer that says no counts.
    let (blocked, published, added, room, rules, standing, resolved) = tokio::try_join!(
        blocks::refusal(db, &named),
        published,
        added(db, new),
        organisations::room(db, catalog),
        Rules::of(db, catalog),
        Standing::of(db, id, &tags),
        resolve(db, id, &new.manifest.references, &new.blobs),
    )?;
    if let Some(refusal) = blocked.or(published) {
        return Ok(Err(refusal));
    }
    let more = Usage { bytes: added, repositories: id.is_none().into() };
    let admitted = match room {
        Some(room) => room.admits(db, more)?,
        None => Err(CatalogRefusal::Unknown),
    };
    if let Err(refusal) = admitted {
        return Ok(Err(PutManifest::Catalog(refusal)));
    }
    if let Some((tag, refusal)) = tag_refusal(new, unasked.as_ref(), &rules, &standing) {
        return Ok(Err(PutManifest::Tag { tag: tag.clone(), refusal }));
    }
    let targets = match resolved {
        Ok(targets) => targets,
        Err(refused) => return Ok(Err(refused)),
    };
    // Asked last: of what a repository does not have, nobody is told here that it is blocked.
    Ok(match blocks::refusal(db, &targets).await? {
        Some(refusal) => Err(refusal),
        None => Ok(Decision { targets, added, standing }),
    })
}

/// The first tag that may not be written, and why.
fn tag_refusal<'a>(
    new: &'a NewManifest,
    unasked: Option<&'a Tag>,
    rules: &Rules,
    standing: &Standing,
) -> Option<(&'a Tag, TagRefusal)> {
    let NewManifest { repository, condition, may_move, .. } = new;
    let version = new.plugin.as_ref().map(|plugin| &plugin.version);
    let asked = new.tags.iter().map(|tag| (tag, condition));
    asked.chain(unasked.map(|tag| (tag, &TagCondition::Any))).find_map(|(tag, condition)| {
        let refusal = match plugin_versions::tag_refusal(standing, version, tag) {
            // A push to `latest` is one of the version; what `latest` names then is decided there.
            Some(TagRefusal::Follows) if version.is_some() => standing.moved(tag, condition),
            Some(refusal) => Some(refusal),
            None => {
                let (manifest, may_move) = (new.digests.sha256, *may_move);
                standing.refusal(rules, &Wish { repository, tag, manifest, condition, may_move })
            }
        };
        refusal.map(|refusal| (tag, refusal))
    })
}

/// The tag of a plugin's version, where it is not among those that were asked for.
fn version_tag(new: &NewManifest) -> Result<Option<Tag>> {
    let Some(plugin) = &new.plugin else { return Ok(None) };
    let tag: Tag = plugin.version.as_str().parse().map_err(|_| Failure::Damaged("a version"))?;
    Ok((!new.tags.contains(&tag)).then_some(tag))
}

/// The bytes by which the catalog grows.
async fn added(db: &Db, new: &NewManifest) -> Result<u64> {
    let catalog = new.repository.catalog();
    let mut bytes = if is_counted(db, catalog, &new.digests.sha256).await? { 0 } else { new.size };
    if !new.blobs.is_empty() {
        let sizes: BTreeMap<Sha256, u64> =
            new.blobs.iter().map(|blob| (blob.digests.sha256, blob.size)).collect();
        let digests: Vec<Sha256> = sizes.keys().copied().collect();
        for digest in blobs::uncounted(db, catalog, &digests).await? {
            bytes += sizes[&digest];
        }
    }
    Ok(bytes)
}

/// Whether some repository of the catalog has the manifest already, so that it counts no more.
async fn is_counted(db: &Db, catalog: &str, sha256: &Sha256) -> Result<bool> {
    // A range of one, as an order keeps PostgreSQL on the index; see `held_in_scope`.
    let sql = "SELECT 1 FROM manifests WHERE sha256 = $1 AND catalog >= $2 AND catalog <= $2
         ORDER BY catalog LIMIT 1";
    db.exists(sql, &[sha256, &catalog]).await
}

/// To be asked of a snapshot: else what somebody publishes meanwhile is half there.
pub(super) async fn check(db: &Db, new: &NewManifest) -> Result<PutManifest> {
    let id = repositories::find(db, &new.repository).await?;
    Ok(decide(db, id, new).await?.map_or_else(|refused| refused, |_| PutManifest::Stored))
}

pub(super) async fn put(work: &mut Work, new: &NewManifest) -> Result<PutManifest> {
    let NewManifest { repository, actor, .. } = new;
    let (catalog, digest) = (repository.catalog(), new.digests.sha256);
    let counted = new.blobs.iter().map(|blob| (Lock::Blob(catalog, blob.digests.sha256), Mode::Alone));
    let own = [(Lock::Catalog(catalog), Mode::Writer), (Lock::Manifest(catalog, digest), Mode::Alone)];
    work.lock(tags::locks(repository).into_iter().chain(own).chain(counted)).await?;
    let known = repositories::hold(work, repository).await?;
    let Decision { targets, added, standing } = match decide(work, known, new).await? {
        Ok(decision) => decision,
        Err(refused) => return Ok(refused),
    };
    let before = work.changes();
    let id = repositories::make(work, repository, known).await?;
    work.count(catalog, size(added)?, 0);
    let follows = |tag: &&Tag| new.plugin.is_some() && tag.as_str() == LATEST;
    let unasked = version_tag(new)?;
    let mut moved: Vec<&Tag> = new.tags.iter().filter(|tag| !follows(tag)).chain(&unasked).collect();
    let mut seen = HashSet::new();
    moved.retain(|tag| standing.target(tag) != Some(digest) && seen.insert(*tag));
    if write(work, id, new, &targets, &moved).await? {
        work.changed(repository, Change::ManifestPushed { digest }, actor);
    }
    for tag in moved {
        let previous = standing.target(tag);
        work.changed(repository, Change::TagSet { tag: tag.clone(), digest, previous }, actor);
    }
    if let Some(plugin) = &new.plugin {
        let made = plugin_versions::publish(work, id, &digest, plugin).await?;
        plugin_versions::refresh(work, id, repository, actor).await?;
        if !made && work.changes() == before {
            return Ok(PutManifest::Present);
        }
    }
    Ok(PutManifest::Stored)
}

/// Writes the row of a manifest, or the SHA-512 that it lacked. A row that was there and is changed has a
/// transaction in `xmax`; a new one has none.
const INSERT: &str = "INSERT INTO manifests AS m (repository, catalog, sha256, sha512, size, media_type,
         artifact_type, subject, annotations, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (repository, sha256) DO UPDATE
     SET sha512 = excluded.sha512
     WHERE excluded.sha512 IS NOT NULL AND m.sha512 IS DISTINCT FROM excluded.sha512
     RETURNING m.xmax = 0";
const INSERT_REFERENCES: &str = "INSERT INTO manifest_references (repository, manifest, target, kind)
     SELECT $1, $2, r.* FROM unnest($3::bytea[], $4::text[]) AS r ON CONFLICT DO NOTHING";

/// Writes a manifest with its blobs, its references and its tags, in one go. `false`: the manifest was there.
async fn write(
    work: &mut Work,
    repository: i64,
    new: &NewManifest,
    targets: &[Sha256],
    tags: &[&Tag],
) -> Result<bool> {
    let digest = new.digests.sha256;
    let annotations =
        serde_json::to_string(&new.manifest.annotations).map_err(|_| Failure::Damaged("annotations"))?;
    let kind = |reference: &ManifestReference| match reference.target {
        Target::Blob => "blob",
        Target::Manifest => "manifest",
    };
    let kinds: Vec<&str> = new.manifest.references.iter().map(kind).collect();
    let manifests = vec![digest; tags.len()];
    let sha512 = new.digests.sha512.as_ref().map(|bytes| bytes.as_slice());
    // They run in the order that they are polled in first, as none of them has to be prepared any more.
    let row = work.prepare(INSERT).await?;
    let references = work.prepare(INSERT_REFERENCES).await?;
    let pointing = work.prepare(tags::SET).await?;
    let parameters: Parameters<'_> = &[
        &repository,
        &new.repository.catalog(),
        &digest,
        &sha512,
        &size(new.size)?,
        &text(new.manifest.media_type.as_str()),
        &new.manifest.artifact_type.as_deref().map(text),
        &new.manifest.subject.map(|subject| subject.to_string()),
        &annotations,
        &now(),
    ];
    let referred: Parameters<'_> = &[&repository, &digest, &targets, &kinds];
    let (at, tags) = (now(), tags.to_vec());
    let pointed: Parameters<'_> = &[&repository, &at, &tags, &manifests];
    let (written, referring, pointed, linked) = tokio::join!(
        biased;
        work.rows_prepared(&row, parameters),
        work.execute_prepared(&references, referred),
        work.execute_prepared(&pointing, pointed),
        blobs::insert(work, repository, &new.repository, &new.blobs),
    );
    let (written, _, _, linked) = (written?, referring?, pointed?, linked?);
    blobs::tell(work, &new.repository, &linked, "blob.push", &new.actor);
    Ok(written.first().map(|row| row.try_get(0)).transpose()? == Some(true))
}

pub(super) async fn delete(
    work: &mut Work,
    repository: &RepositoryName,
    digest: &Digest,
    actor: &Actor,
) -> Result<bool> {
    let Some(seen) = find(work, repository, digest).await? else { return Ok(false) };
    let (catalog, digest) = (repository.catalog(), seen.digests.sha256);
    let counted = [(Lock::Manifest(catalog, digest), Mode::Alone)];
    work.lock(tags::locks(repository).into_iter().chain(counted)).await?;
    let Some(id) = repositories::find(work, repository).await? else { return Ok(false) };
    if find(work, repository, &digest.into()).await?.is_none() {
        return Ok(false);
    }
    for tag in tags::delete_all_of(work, repository, id, &digest).await? {
        work.changed(repository, Change::TagDeleted { tag, digest }, actor);
    }
    plugin_versions::withdraw_manifest(work, id, &digest).await?;
    work.execute("DELETE FROM manifests WHERE repository = $1 AND sha256 = $2", &[&id, &digest]).await?;
    if !is_counted(work, catalog, &digest).await? {
        work.count(catalog, -size(seen.size)?, 0);
    }
    work.changed(repository, Change::ManifestDeleted { digest }, actor);
    plugin_versions::refresh(work, id, repository, actor).await?;
    repositories::forget_if_empty(work, repository, id).await?;
    Ok(true)
}

/// In the order of the index. The bytes before a row are known before any annotation is sent.
macro_rules! referrers {
    ($filter:literal) => {
        concat!(
            "SELECT * FROM
                 (SELECT found.*, sum(octet_length(annotations) + coalesce(octet_length(artifact_type), 0))
                      OVER (ORDER BY sha256 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
                  FROM repositories AS r CROSS JOIN LATERAL
                      (SELECT m.sha256, m.sha512, m.size, m.media_type, m.artifact_type, m.annotations
                       FROM manifests AS m
                       WHERE m.repository = r.id AND m.subject = $2 AND m.sha256 > $3 AND ",
            $filter,
            " ORDER BY m.sha256 LIMIT $5) AS found
                  WHERE r.name = $1) AS measured
             WHERE coalesce(bytes_before, 0) <= $6 ORDER BY sha256"
        )
    };
}
pub(super) const REFERRERS: &str = referrers!("$4::text IS NULL");
pub(super) const REFERRERS_OF_TYPE: &str = referrers!("m.artifact_type = $4");

pub(super) async fn referrers(
    db: &Db,
    repository: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<Sha256>,
) -> Result<Page<Referrer>> {
    let after = after.map_or(Vec::new(), |sha256| sha256.0.to_vec());
    let statement = match artifact_type {
        Some(_) => REFERRERS_OF_TYPE,
        None => REFERRERS,
    };
    let rows = db
        .rows(
            statement,
            &[
                repository,
                &subject.to_string(),
                &after,
                &artifact_type.map(text),
                &rows::most(REFERRERS_PAGE + 1),
                &rows::most(REFERRERS_PAGE_BYTES),
            ],
        )
        .await?;
    let mut items = Vec::new();
    let mut bytes = 0;
    for row in &rows {
        let (artifact_type, annotations): (Option<String>, &str) = (row.try_get(4)?, row.try_get(5)?);
        bytes += annotations.len() + artifact_type.as_ref().map_or(0, String::len);
        if !items.is_empty() && (bytes > REFERRERS_PAGE_BYTES || items.len() == REFERRERS_PAGE) {
            return Ok(Page { items, more: true });
        }
        let annotations = serde_json::from_str(annotations).map_err(|_| Failure::Damaged("annotations"))?;
        items.push(Referrer { record: rows::manifest(row)?, artifact_type, annotations });
    }
    Ok(Page { items, more: false })
}
