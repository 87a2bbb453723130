//! Writing several tags in one transaction.

use std::collections::HashMap;

use super::failure::Result;
use super::tag_rules::Rules;
use super::tags::Wish;
use super::transaction::Work;
use super::{manifests, plugin_versions, repositories, tags};
use crate::access::Actor;
use crate::meta::{Change, TagRefusal, TagWrite, TagWriteRefusal, WriteTags};

/// Writes several tags, all or none.
pub(super) async fn write_all(work: &mut Work, writes: &[TagWrite], actor: &Actor) -> Result<WriteTags> {
    work.lock(writes.iter().flat_map(|write| tags::locks(&write.repository))).await?;
    let mut rules: HashMap<&str, Rules> = HashMap::new();
    let mut refused = Vec::new();
    let mut decided = Vec::with_capacity(writes.len());
    for (place, write) in writes.iter().enumerate() {
        let TagWrite { repository, tag, digest, condition, may_move } = write;
        let Some(manifest) = manifests::find(work, repository, digest).await? else {
            refused.push((place, TagWriteRefusal::ManifestUnknown));
            continue;
        };
        let catalog = repository.catalog();
        if !rules.contains_key(catalog) {
            rules.insert(catalog, Rules::of(work, catalog).await?);
        }
        let manifest = manifest.digests.sha256;
        let id = repositories::held(work, repository).await?;
        let version = plugin_versions::version_of(work, id, &manifest).await?;
        let wish = Wish { repository, id: Some(id), tag, manifest, condition, may_move: *may_move };
        let refusal = match plugin_versions::tag_refusal(work, Some(id), version.as_ref(), tag).await? {
            Some(refusal) => Some(refusal),
            None if version.is_none() && plugin_versions::is_unread(work, id, tag, &manifest).await? => {
                Some(TagRefusal::NotThisVersion)
            }
            None => tags::refusal(work, &rules[catalog], &wish).await?,
        };
        match refusal {
            Some(refusal) => refused.push((place, TagWriteRefusal::Tag(refusal))),
            None => decided.push((repository, id, tag, manifest)),
        }
    }
    if !refused.is_empty() {
        return Ok(WriteTags::Refused(refused));
    }
    for (repository, id, tag, digest) in decided {
        let previous = tags::set(work, id, tag, &digest).await?;
        if previous != Some(digest) {
            work.changed(repository, Change::TagSet { tag: tag.clone(), digest, previous }, actor);
        }
    }
    Ok(WriteTags::Written)
}
