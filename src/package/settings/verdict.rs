//! Whether the settings of one version still do for the next.

use std::collections::BTreeMap;
use std::fmt;

use super::{SettingType, SettingsItem};

/// What a change of settings means for the values that orchestrators already hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Compatible,
    Breaking {
        /// One for each change that breaks, in the order of the new schema, then what was removed.
        reasons: Vec<String>,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compatible => f.write_str("compatible"),
            Self::Breaking { reasons } => write!(f, "breaking: {}", reasons.join("; ")),
        }
    }
}

/// Judges `next` against `previous`. A change breaks when values that were complete and valid no longer are,
/// when a value is no longer used, or when a secret would come into the open.
pub fn verdict(previous: &[SettingsItem], next: &[SettingsItem]) -> Verdict {
    let before: BTreeMap<&str, &SettingsItem> = previous.iter().map(|item| (&*item.key, item)).collect();
    let after: BTreeMap<&str, &SettingsItem> = next.iter().map(|item| (&*item.key, item)).collect();
    let mut reasons = Vec::new();
    for item in next {
        match before.get(&*item.key) {
            Some(old) => changes(old, item, &mut reasons),
            None if item.needs_value() => {
                reasons.push(format!("added required key {:?} without a default", item.key));
            }
            None => {}
        }
    }
    for item in previous.iter().filter(|item| !after.contains_key(&*item.key)) {
        reasons.push(format!("removed key {:?}", item.key));
    }
    if reasons.is_empty() { Verdict::Compatible } else { Verdict::Breaking { reasons } }
}

fn changes(old: &SettingsItem, new: &SettingsItem, reasons: &mut Vec<String>) {
    let key = &new.key;
    // Every whole number is a float too.
    let widened = (old.kind, new.kind) == (SettingType::Int, SettingType::Float);
    if old.kind != new.kind && !widened {
        reasons.push(format!("type changed of {key:?} from {} to {}", old.kind, new.kind));
    }
    if new.needs_value() && !old.needs_value() {
        let why = if new.required && old.required {
            "lost its default"
        } else {
            "became required without a default"
        };
        reasons.push(format!("{key:?} {why}"));
    }
    if old.sensitive && !new.sensitive {
        reasons.push(format!("{key:?} is no longer sensitive"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::package::finding::{Findings, Place};
    use crate::package::settings::read_items;

    fn judged(previous: &Value, next: &Value) -> String {
        let items =
            |list| read_items(list, &Place::of("plugin.json"), &[], &mut Findings::default()).unwrap();
        verdict(&items(previous), &items(next)).to_string()
    }

    #[test]
    fn what_is_compatible_and_what_breaks() {
        let plain = || json!({"key": "a", "type": "str"});
        let with = |field: &str, value: Value| {
            let mut item = plain();
            item[field] = value;
            json!([item])
        };
        let a = || json!([plain()]);
        let required = || with("required", json!(true));
        let table = [
            (a(), a(), "compatible"),
            (json!([]), a(), "compatible"),
            (a(), with("default", json!("x")), "compatible"),
            (with("default", json!("x")), with("default", json!("y")), "compatible"),
            (with("default", json!("x")), a(), "compatible"),
            (a(), with("name", json!("A")), "compatible"),
            (a(), with("description", json!("A")), "compatible"),
            (a(), with("sensitive", json!(true)), "compatible"),
            (required(), a(), "compatible"),
            (required(), required(), "compatible"),
            (a(), json!([{"key": "a", "type": "str", "required": true, "default": "x"}]), "compatible"),
            (json!([]), json!([{"key": "a", "type": "str", "required": true, "default": "x"}]), "compatible"),
            (with("type", json!("int")), with("type", json!("float")), "compatible"),
            (
                json!([{"key": "a", "type": "str"}, {"key": "b", "type": "str"}]),
                json!([{"key": "b", "type": "str"}, {"key": "a", "type": "str"}]),
                "compatible",
            ),
            (json!([]), required(), "breaking: added required key \"a\" without a default"),
            (a(), json!([]), "breaking: removed key \"a\""),
            (a(), with("type", json!("int")), "breaking: type changed of \"a\" from str to int"),
            (
                with("type", json!("float")),
                with("type", json!("int")),
                "breaking: type changed of \"a\" from float to int",
            ),
            (a(), required(), "breaking: \"a\" became required without a default"),
            (
                json!([{"key": "a", "type": "str", "required": true, "default": "x"}]),
                required(),
                "breaking: \"a\" lost its default",
            ),
            (with("sensitive", json!(true)), a(), "breaking: \"a\" is no longer sensitive"),
            (
                json!([{"key": "a", "type": "str"}, {"key": "b", "type": "str"}]),
                json!([{"key": "c", "type": "int", "required": true}, {"key": "b", "type": "bool"}]),
                "breaking: added required key \"c\" without a default; type changed of \"b\" from str to bool; \
                 removed key \"a\"",
            ),
        ];
        for (previous, next, said) in table {
            assert_eq!(judged(&previous, &next), said, "{previous} {next}");
        }
    }
}
