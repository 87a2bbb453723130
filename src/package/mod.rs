//! Reading a plugin package: its structure, what its files say, and every finding at once. Nothing of it is extracted or
//! run. The server, `quire lint` and the tests use the same code, so that they can never disagree. And, in `pack/`, making one.

mod artifact;
mod check;
mod fields;
mod files;
mod finding;
mod logo;
mod pack;
mod pid;
mod plugin;
mod plugin_json;
mod python;
mod readme;
mod readme_html;
mod settings;
mod structure;

pub use self::artifact::{ARTIFACT_TYPE, Artifact, CONFIG_MEDIA_TYPE, LAYER_MEDIA_TYPE, hash, manifest};
pub use self::check::{Package, check};
pub use self::files::Files;
pub use self::finding::{Finding, Severity};
pub use self::pack::{LeftOut, PackError, Packed, TEMPORARY, Tree, pack};
pub use self::pid::{PidError, belongs_to_domain, check_domain, check_pid};
pub use self::plugin::{Plugin, Reading, read};
pub use self::readme_html::readme_html;
pub use self::settings::{
    SettingType, SettingsItem, Verdict, schema_digest, schema_value, settings_of, to_json_schema, verdict,
};
pub use self::structure::{
    Archive, ArchiveError, Entry, Kind, Limits, Member, Method, ReadAt, ReadError, unpack_member,
};

#[cfg(test)]
mod tests;
