//! The fields of the metadata, taken one by one out of what a file said, by the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::finding::{Findings, Place, is_hidden, quoted};
use super::pid::{PidError, check_pid};
use super::settings::{self, SettingsItem};
use crate::version::{Version, VersionError};

/// The range of SDK versions of a plugin that names none.
pub(super) const DEFAULT_SDK_VERSION: &str = ">=2.0.0,<3.0.0";

/// Most bytes of a description.
const DESCRIPTION_LIMIT: usize = 8 * 1024;
/// Most entries of a list, and most bytes of each.
const LIST_LIMIT: usize = 256;
const LINE_LIMIT: usize = 256;

/// What a file says, before the rules.
#[derive(Debug)]
pub(super) struct Draft {
    /// Where a field would stand that is missing.
    pub place: Place,
    pub fields: BTreeMap<String, Field>,
    /// Fields that are there and could not be read, which has been found already.
    pub unreadable: BTreeSet<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub value: Value,
    pub place: Place,
    /// Places of the elements of a list, when they are known.
    pub items: Vec<Place>,
}

/// Takes fields out of a draft. Each finding names its rule; what is left in the end means nothing here.
pub(super) struct Fields<'a> {
    pub draft: Draft,
    pub findings: &'a mut Findings,
}

impl Fields<'_> {
    /// `null` is as good as nothing.
    fn take(&mut self, field: &str) -> Option<Field> {
        self.draft.fields.remove(field).filter(|field| !field.value.is_null())
    }

    fn refuse(&mut self, place: &Place, rule: &'static str, message: impl fmt::Display) {
        self.findings.push(place.error(rule, message));
    }

    fn missing(&mut self, rule: &'static str, field: &'static str) {
        if !self.draft.unreadable.contains(field) {
            self.findings.push(self.draft.place.error(rule, format!("{field} is missing")));
        }
    }

    /// A text that may have several lines.
    fn text(&mut self, rule: &'static str, field: &'static str) -> Option<(String, Place)> {
        let Field { value, place, .. } = self.take(field)?;
        let Value::String(text) = value else {
            self.refuse(&place, rule, format!("{field} must be text, in quotes"));
            return None;
        };
        if text.contains('\0') {
            self.refuse(&place, "plugin.text", format!("{field} holds the character U+0000"));
            return None;
        }
        Some((text, place))
    }

    fn required_text(&mut self, rule: &'static str, field: &'static str) -> Option<(String, Place)> {
        if self.draft.fields.get(field).is_none_or(|field| field.value.is_null()) {
            self.missing(rule, field);
            return None;
        }
        let (text, place) = self.text(rule, field)?;
        if text.trim().is_empty() {
            self.refuse(&place, rule, format!("{field} is empty"));
            return None;
        }
        Some((text, place))
    }

    fn line(
        &mut self,
        rule: &'static str,
        field: &str,
        limit: usize,
        (text, place): (String, Place),
    ) -> Option<String> {
        let fault = if text.trim().is_empty() {
            "is empty".to_owned()
        } else if text.len() > limit {
            format!("has more than {limit} bytes")
        } else if text.chars().any(is_hidden) {
            "holds control characters or hidden characters".to_owned()
        } else {
            return Some(text);
        };
        self.refuse(&place, rule, format!("{field} {fault}"));
        None
    }

    /// A text of one line that must be there.
    pub fn required_line(&mut self, rule: &'static str, field: &'static str, limit: usize) -> Option<String> {
        let text = self.required_text(rule, field)?;
        self.line(rule, field, limit, text)
    }

    /// A text of one line, or nothing.
    pub fn optional_line(&mut self, rule: &'static str, field: &'static str, limit: usize) -> Option<String> {
        let text = self.text(rule, field)?;
        self.line(rule, field, limit, text)
    }

    pub fn pid(&mut self) -> Option<String> {
        let (pid, place) = self.required_text("plugin.pid", "pid")?;
        let Err(error) = check_pid(&pid) else {
            return Some(pid);
        };
        let finding = place.error("plugin.pid", format!("{:?}: {error}", quoted(&pid, 80)));
        self.findings.push(match error {
            PidError::Case => finding.hint(format!("write {:?}", quoted(&pid.to_lowercase(), 80))),
            PidError::Length | PidError::Labels | PidError::Grammar | PidError::First => {
                finding.hint("a reverse domain, such as com.example.my-plugin")
            }
        });
        None
    }

    pub fn version(&mut self) -> Option<Version> {
        let (text, place) = self.required_text("plugin.version", "version")?;
        let error = match text.parse() {
            Ok(version) => return Some(version),
            Err(error) => error,
        };
        let finding = place.error("plugin.version", format!("{:?}: {error}", quoted(&text, 80)));
        self.findings.push(match error {
            VersionError::LeadingV => finding.hint(format!("write {:?}", quoted(&text[1..], 80))),
            VersionError::Length | VersionError::Build | VersionError::Numbers | VersionError::PreRelease => {
                finding.hint("such as 1.0, 1.2.3 or 2.0.0-rc.1")
            }
        });
        None
    }

    pub fn description(&mut self) -> Option<String> {
        let (text, place) = self.required_text("plugin.description", "description")?;
        let shows = |character: char| matches!(character, '\n' | '\r' | '\t') || !character.is_control();
        if text.len() > DESCRIPTION_LIMIT {
            let message = format!("description has {} bytes, more than {DESCRIPTION_LIMIT}", text.len());
            self.findings.push(
                place.error("plugin.description", message).hint("put the long text into README.md beside it"),
            );
            return None;
        }
        if !text.chars().all(shows) {
            self.refuse(&place, "plugin.description", "description holds control characters");
            return None;
        }
        Some(text)
    }

    /// A list of texts of one line each.
    pub fn lines(&mut self, rule: &'static str, field: &'static str) -> Vec<String> {
        let Some(Field { value, place, items }) = self.take(field) else {
            return Vec::new();
        };
        let Value::Array(values) = value else {
            self.refuse(&place, rule, format!("{field} must be a list of texts"));
            return Vec::new();
        };
        if values.len() > LIST_LIMIT {
            self.refuse(&place, rule, format!("{field} has more than {LIST_LIMIT} entries"));
            return Vec::new();
        }
        let mut lines = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let place = items.get(index).unwrap_or(&place).clone();
            let entry = format!("{field}[{index}]");
            match value {
                Value::String(text) => lines.extend(self.line(rule, &entry, LINE_LIMIT, (text, place))),
                _ => self.refuse(&place, rule, format!("{entry} must be text, in quotes")),
            }
        }
        lines
    }

    pub fn flag(&mut self, rule: &'static str, field: &'static str, default: bool) -> bool {
        let Some(Field { value, place, .. }) = self.take(field) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.refuse(&place, rule, format!("{field} must be true or false"));
            default
        })
    }

    /// A path inside the package, relative to the metadata.
    pub fn path(&mut self, rule: &'static str, field: &'static str) -> Option<(String, Place)> {
        let (path, place) = self.text(rule, field)?;
        let component = |part: &str| !part.is_empty() && part != "." && part != "..";
        let path = path.strip_prefix("./").unwrap_or(&path);
        if path.split('/').all(component) && !path.contains('\\') && !path.chars().any(is_hidden) {
            return Some((path.to_owned(), place));
        }
        self.refuse(
            &place,
            rule,
            format!("{field} must be a path inside the package, beside or below the metadata"),
        );
        None
    }

    /// The settings; none when the field is missing.
    pub fn settings(&mut self) -> Option<Vec<SettingsItem>> {
        let Some(Field { value, place, items }) = self.take("settings_schema") else {
            return Some(Vec::new());
        };
        if holds_nul(&value) {
            self.refuse(&place, "plugin.text", "settings_schema holds the character U+0000");
            return None;
        }
        settings::read_items(&value, &place, &items, self.findings)
    }

    /// Everything that no rule is about.
    pub fn extra(&mut self) -> Map<String, Value> {
        let mut extra = Map::new();
        for (name, Field { value, place, .. }) in std::mem::take(&mut self.draft.fields) {
            if name.contains('\0') || holds_nul(&value) {
                let message = format!("{:?} holds the character U+0000", quoted(&name, 80));
                self.refuse(&place, "plugin.text", message);
            }
            extra.insert(name, value);
        }
        extra
    }
}

/// Databases cannot keep U+0000 in a text. Values are at most 64 levels deep.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
    }
}
