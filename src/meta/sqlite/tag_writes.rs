//! Writing several tags in one transaction.

use std::collections::HashMap;

use rusqlite::Connection;

use super::events::Log;
use super::rows::damaged;
use super::tag_rules::Rules;
use super::{manifests, plugin_versions, repositories, tags};
use crate::access::Actor;
use crate::meta::{Change, TagRefusal, TagWrite, TagWriteRefusal, WriteTags};

/// Writes several tags, all or none.
pub(super) fn write_all(db: &Connection, writes: &[TagWrite], actor: &Actor) -> rusqlite::Result<WriteTags> {
    let mut rules: HashMap<&str, Rules> = HashMap::new();
    let mut refused = Vec::new();
    let mut decided = Vec::with_capacity(writes.len());
    for (place, write) in writes.iter().enumerate() {
        match manifests::find(db, &write.repository, &write.digest)? {
            None => refused.push((place, TagWriteRefusal::ManifestUnknown)),
            Some(manifest) => {
                let sha256 = manifest.digests.sha256;
                let TagWrite { repository, tag, condition, may_move, .. } = write;
                let catalog = repository.catalog();
                if !rules.contains_key(catalog) {
                    rules.insert(catalog, Rules::of(db, catalog)?);
                }
                let of_catalog = &rules[catalog];
                let id = repositories::find(db, repository)?;
                let version = plugin_versions::version_of(db, id, &sha256)?;
                let refusal = match plugin_versions::tag_refusal(db, id, version.as_ref(), tag)? {
                    Some(refusal) => Some(refusal),
                    None if version.is_none() && plugin_versions::is_unread(db, id, tag, &sha256)? => {
                        Some(TagRefusal::NotThisVersion)
                    }
                    None => tags::refusal(db, of_catalog, repository, tag, &sha256, condition, *may_move)?,
                };
                match refusal {
                    Some(refusal) => refused.push((place, TagWriteRefusal::Tag(refusal))),
                    None => decided.push((write, sha256)),
                }
            }
        }
    }
    if !refused.is_empty() {
        return Ok(WriteTags::Refused(refused));
    }
    for (TagWrite { repository, tag, .. }, digest) in decided {
        let id = repositories::find(db, repository)?.ok_or_else(|| damaged("a manifest of no repository"))?;
        let previous = tags::set(db, id, tag, &digest)?;
        if previous != Some(digest) {
            let mut log = Log::new(repository, actor);
            log.add(Change::TagSet { tag: tag.clone(), digest, previous });
            log.write(db)?;
        }
    }
    Ok(WriteTags::Written)
}
