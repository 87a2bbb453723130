//! The settings of a plugin: what an orchestrator asks its administrators for.

mod item;
mod json_schema;
mod verdict;

pub use item::{SettingType, SettingsItem};
pub use json_schema::{schema_digest, schema_value, to_json_schema};
pub use verdict::{Verdict, verdict};

pub(super) use item::read_items;
