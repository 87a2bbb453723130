//! Writing tags by themselves, and the rules that make them immutable.

use super::{Registry, RegistryError};
use crate::access::Requester;
use crate::meta::{ImmutableTags, TagWrite, WriteTags};

impl Registry {
    /// Points tags, each named once, to manifests that their repositories have, all or none.
    pub async fn write_tags(
        &self,
        requester: &Requester,
        tags: Vec<TagWrite>,
    ) -> Result<WriteTags, RegistryError> {
        let written = self.meta.write_tags(tags.clone(), &requester.actor()).await;
        for tag in &tags {
            self.cache.tag_written(&tag.repository);
        }
        Ok(written?)
    }

    pub async fn tag_rules(&self, catalog: &str) -> Result<Vec<ImmutableTags>, RegistryError> {
        Ok(self.meta.tag_rules(catalog).await?)
    }

    /// Replaces the rules of a catalog. `false`: there is no such catalog.
    pub async fn set_tag_rules(
        &self,
        requester: &Requester,
        catalog: &str,
        rules: Vec<ImmutableTags>,
    ) -> Result<bool, RegistryError> {
        let written = self.meta.set_tag_rules(catalog, rules, &requester.actor()).await?;
        // An answer that was lost may stand for a change that was made; the poll sees that one.
        self.changes.raise();
        Ok(written)
    }
}
