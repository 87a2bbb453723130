//! Writing several tags in one transaction.

use std::collections::{BTreeMap, HashMap};

use super::failure::{Failure, Result};
use super::manifests::{self, Tagged};
use super::tag_rules::Rules;
use super::tags::{self, Standing, Wish};
use super::transaction::Work;
use super::{plugin_versions, repositories};
use crate::access::Actor;
use crate::digest::{Digest, Sha256};
use crate::meta::{Change, TagRefusal, TagWrite, TagWriteRefusal, WriteTags};
use crate::name::{RepositoryName, Tag};

/// What is to be written in one repository.
struct Part<'a> {
    id: i64,
    /// With their places among all.
    writes: Vec<(usize, &'a TagWrite)>,
    /// What they are to point to.
    tagged: Vec<Option<Tagged>>,
    standing: Standing,
}

/// Writes several tags, all or none.
pub(super) async fn write_all(work: &mut Work, writes: &[TagWrite], actor: &Actor) -> Result<WriteTags> {
    work.lock(writes.iter().flat_map(|write| tags::locks(&write.repository))).await?;
    let mut by_repository: BTreeMap<&RepositoryName, Vec<(usize, &TagWrite)>> = BTreeMap::new();
    for (place, write) in writes.iter().enumerate() {
        by_repository.entry(&write.repository).or_default().push((place, write));
    }
    let mut rules: HashMap<&str, Rules> = HashMap::new();
    let (mut refused, mut decided) = (Vec::new(), Vec::new());
    for (repository, writes) in by_repository {
        let catalog = repository.catalog();
        if !rules.contains_key(catalog) {
            rules.insert(catalog, Rules::of(work, catalog).await?);
        }
        match part(work, repository, &writes).await? {
            Some(part) => match part.decide(&rules[catalog]) {
                refusals if refusals.is_empty() => decided.push((repository, part)),
                refusals => refused.extend(refusals),
            },
            None => {
                let unknown = |(place, _): &(usize, _)| (*place, TagWriteRefusal::ManifestUnknown);
                refused.extend(writes.iter().map(unknown));
            }
        }
    }
    if !refused.is_empty() {
        refused.sort_by_key(|(place, _)| *place);
        return Ok(WriteTags::Refused(refused));
    }
    let mut changes = Vec::new();
    for (repository, part) in &decided {
        changes.extend(part.write(work, repository).await?);
    }
    // The events are in the order that was asked for.
    changes.sort_by_key(|(place, ..)| *place);
    for (_, repository, change) in changes {
        work.changed(repository, change, actor);
    }
    Ok(WriteTags::Written)
}

/// `None`: there is no such repository.
async fn part<'a>(
    work: &Work,
    repository: &RepositoryName,
    writes: &[(usize, &'a TagWrite)],
) -> Result<Option<Part<'a>>> {
    let Some(id) = repositories::find(work, repository).await? else { return Ok(None) };
    let digests: Vec<Digest> = writes.iter().map(|(_, write)| write.digest).collect();
    let tags: Vec<&Tag> = writes.iter().map(|(_, write)| &write.tag).collect();
    let (tagged, standing) =
        tokio::try_join!(manifests::tagged(work, id, &digests), Standing::of(work, Some(id), &tags))?;
    Ok(Some(Part { id, writes: writes.to_vec(), tagged, standing }))
}

impl Part<'_> {
    /// Everything that stands in the way.
    fn decide(&self, rules: &Rules) -> Vec<(usize, TagWriteRefusal)> {
        let refusal = |((place, write), tagged): (&(usize, &TagWrite), &Option<Tagged>)| {
            let refusal = match tagged {
                None => Some(TagWriteRefusal::ManifestUnknown),
                Some(tagged) => self.refusal(rules, write, tagged).map(TagWriteRefusal::Tag),
            };
            refusal.map(|refusal| (*place, refusal))
        };
        self.writes.iter().zip(&self.tagged).filter_map(refusal).collect()
    }

    fn refusal(&self, rules: &Rules, write: &TagWrite, tagged: &Tagged) -> Option<TagRefusal> {
        let TagWrite { repository, tag, condition, may_move, .. } = write;
        let Tagged { sha256, version, of_plugin } = tagged;
        let of_plugin_refusal = plugin_versions::tag_refusal(&self.standing, version.as_ref(), tag);
        // A version's tag would name a plugin without bringing it back: its package was never read, or is
        // forgotten, and comes with a push only.
        let is_unread = version.is_none()
            && *of_plugin
            && crate::version::is_version(tag)
            && self.standing.target(tag) != Some(*sha256);
        let wish = Wish { repository, tag, manifest: *sha256, condition, may_move: *may_move };
        match of_plugin_refusal {
            Some(refusal) => Some(refusal),
            None if is_unread => Some(TagRefusal::NotThisVersion),
            None => self.standing.refusal(rules, &wish),
        }
    }

    /// Writes what moves, and gives the changes with their places.
    async fn write<'a>(
        &self,
        work: &Work,
        repository: &'a RepositoryName,
    ) -> Result<Vec<(usize, &'a RepositoryName, Change)>> {
        let mut tags: Vec<&Tag> = Vec::new();
        let mut manifests: Vec<Sha256> = Vec::new();
        let mut changes = Vec::new();
        for ((place, write), tagged) in self.writes.iter().zip(&self.tagged) {
            let digest = tagged.as_ref().ok_or(Failure::Damaged("no manifest"))?.sha256;
            let previous = self.standing.target(&write.tag);
            if previous != Some(digest) {
                tags.push(&write.tag);
                manifests.push(digest);
                changes.push((
                    *place,
                    repository,
                    Change::TagSet { tag: write.tag.clone(), digest, previous },
                ));
            }
        }
        tags::set(work, self.id, &tags, &manifests).await?;
        Ok(changes)
    }
}
