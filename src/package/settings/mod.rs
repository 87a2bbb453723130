//! The settings of a plugin: what an orchestrator asks its administrators for.

mod item;
mod json_schema;
mod verdict;

pub use item::{SettingType, SettingsItem};
pub use json_schema::{schema_digest, schema_value, to_json_schema};
pub use verdict::{Verdict, verdict};

pub(super) use item::read_items;

/// The settings in a config document, which were checked when its package was read.
pub fn settings_of(list: &serde_json::Value) -> Vec<SettingsItem> {
    let place = super::finding::Place::default();
    read_items(list, &place, &[], &mut super::finding::Findings::default()).unwrap_or_default()
}
