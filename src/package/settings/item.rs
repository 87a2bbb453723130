//! One setting, and reading a list of them with every finding.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::package::finding::{Findings, Place, is_hidden, quoted};
use crate::package::plugin_json::WHOLE_NUMBER_LIMIT;

/// Longest key in bytes.
const KEY_LIMIT: usize = 128;

/// What values a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingType {
    Str,
    Int,
    Float,
    Bool,
    List,
    Dict,
}

impl SettingType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::List => "list",
            Self::Dict => "dict",
        }
    }

    /// Whether a value is of this type. A whole number is a `float` as well; a truth value is no number.
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::Str => value.is_string(),
            Self::Int => is_whole(value),
            Self::Float => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Dict => value.is_object(),
        }
    }
}

fn is_whole(value: &Value) -> bool {
    let magnitude = value.as_u64().or_else(|| value.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude <= WHOLE_NUMBER_LIMIT)
}

impl FromStr for SettingType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "str" => Ok(Self::Str),
            "int" => Ok(Self::Int),
            "float" => Ok(Self::Float),
            "bool" => Ok(Self::Bool),
            "list" => Ok(Self::List),
            "dict" => Ok(Self::Dict),
            _ => Err(()),
        }
    }
}

impl fmt::Display for SettingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsItem {
    /// Unique in its schema.
    pub key: String,
    /// What people see; the key when the author gives no other.
    pub name: String,
    pub kind: SettingType,
    pub description: String,
    /// Of the declared type. `null` in the package means none.
    pub default: Option<Value>,
    pub required: bool,
    /// The value is a secret.
    pub sensitive: bool,
    /// Fields that mean nothing here and are kept.
    pub extra: Map<String, Value>,
}

impl SettingsItem {
    /// Whether an orchestrator without a value for it cannot load the plugin.
    pub fn needs_value(&self) -> bool {
        self.required && self.default.is_none()
    }
}

/// Reads a list of settings. `places` are those of the items, when they are known one by one; `None` when
/// anything was refused.
pub(in crate::package) fn read_items(
    list: &Value,
    place: &Place,
    places: &[Place],
    findings: &mut Findings,
) -> Option<Vec<SettingsItem>> {
    let Some(list) = list.as_array() else {
        findings.push(place.error("settings.list", "settings_schema must be a list of objects"));
        return None;
    };
    let mut keys = BTreeSet::new();
    let mut items = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let mut reader =
            ItemReader { index, place: places.get(index).unwrap_or(place), findings, refused: false };
        if let Some(item) = reader.read(value)
            && reader.unique(&item.key, &mut keys)
        {
            items.push(item);
        }
    }
    (items.len() == list.len()).then_some(items)
}

struct ItemReader<'a> {
    index: usize,
    place: &'a Place,
    findings: &'a mut Findings,
    refused: bool,
}

impl ItemReader<'_> {
    fn refuse(&mut self, rule: &'static str, message: impl fmt::Display, hint: Option<String>) {
        self.refused = true;
        let finding = self.place.error(rule, format!("settings_schema[{}]: {message}", self.index));
        self.findings.push(match hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
    }

    fn warn(&mut self, rule: &'static str, message: impl fmt::Display) {
        let message = format!("settings_schema[{}]: {message}", self.index);
        self.findings.push(self.place.warning(rule, message));
    }

    fn unique(&mut self, key: &str, keys: &mut BTreeSet<String>) -> bool {
        let new = keys.insert(key.to_owned());
        if !new {
            self.refuse("settings.key", format!("the key {:?} appears twice", quoted(key, 80)), None);
        }
        new
    }

    /// All findings about one item come from here; the item is there when it has none that refuses.
    fn read(&mut self, value: &Value) -> Option<SettingsItem> {
        let Some(fields) = value.as_object() else {
            self.refuse("settings.list", "each item is an object with key, type and description", None);
            return None;
        };
        let mut fields = fields.clone();
        let key = self.key(fields.remove("key"));
        let kind = self.kind(fields.remove("type"));
        let name = self.text("settings.name", "name", fields.remove("name"));
        let description = self.text("settings.description", "description", fields.remove("description"));
        let required = self.flag("settings.required", "required", fields.remove("required"));
        let sensitive = self.flag("settings.sensitive", "sensitive", fields.remove("sensitive"));
        let default = fields.remove("default").filter(|default| !default.is_null());
        if let (Some(kind), Some(default)) = (kind, &default)
            && !kind.admits(default)
        {
            let hint = (kind == SettingType::Int && default.is_number())
                .then(|| "a whole number within ±(2^53 - 1), without a decimal point".to_owned());
            self.refuse("settings.default", format!("the default is not of type {kind}"), hint);
        }
        if description.is_none() && !self.refused {
            self.warn("settings.description", "has no description");
        }
        if sensitive && default.as_ref().is_some_and(|default| *default != Value::String(String::new())) {
            self.warn(
                "settings.sensitive",
                "the default of a sensitive setting is seen by everyone who sees the plugin",
            );
        }
        let (key, kind) = (key?, kind?);
        if self.refused {
            return None;
        }
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| key.clone());
        let description = description.unwrap_or_default();
        Some(SettingsItem { key, name, kind, description, default, required, sensitive, extra: fields })
    }

    fn key(&mut self, value: Option<Value>) -> Option<String> {
        let Some(Value::String(key)) = value else {
            self.refuse("settings.key", "key is missing or no text", None);
            return None;
        };
        let fault = if key.trim().is_empty() {
            "key is empty"
        } else if key.len() > KEY_LIMIT {
            "key has more than 128 bytes"
        } else if key.trim() != key || key.chars().any(is_hidden) {
            "key has hidden characters, or blanks around it"
        } else {
            return Some(key);
        };
        self.refuse("settings.key", fault, None);
        None
    }

    fn kind(&mut self, value: Option<Value>) -> Option<SettingType> {
        let said = match &value {
            Some(Value::String(text)) => match text.parse() {
                Ok(kind) => return Some(kind),
                Err(()) => format!("type {:?} is unknown", quoted(text, 40)),
            },
            Some(_) => "type is no text".to_owned(),
            None => "type is missing".to_owned(),
        };
        let meant = value.as_ref().and_then(Value::as_str).and_then(meant_type);
        let hint = match meant {
            Some(meant) => format!("write {meant}"),
            None => "one of str, int, float, bool, list, dict".to_owned(),
        };
        self.refuse("settings.type", said, Some(hint));
        None
    }

    fn text(&mut self, rule: &'static str, field: &str, value: Option<Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.refuse(rule, format!("{field} is no text"), None);
                None
            }
        }
    }

    fn flag(&mut self, rule: &'static str, field: &str, value: Option<Value>) -> bool {
        match value {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.refuse(rule, format!("{field} is neither true nor false"), None);
                false
            }
        }
    }
}

/// The type that an author means who knows it by another name.
fn meant_type(text: &str) -> Option<SettingType> {
    match text.to_ascii_lowercase().as_str() {
        "str" | "string" | "text" | "password" | "secret" => Some(SettingType::Str),
        "int" | "integer" => Some(SettingType::Int),
        "float" | "number" | "double" => Some(SettingType::Float),
        "bool" | "boolean" => Some(SettingType::Bool),
        "list" | "array" | "tuple" => Some(SettingType::List),
        "dict" | "object" | "map" | "json" => Some(SettingType::Dict),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::package::finding::{Finding, Severity};

    fn read(list: &Value) -> (Option<Vec<SettingsItem>>, Vec<Finding>) {
        let mut findings = Findings::default();
        let items = read_items(list, &Place::of("plugin.json"), &[], &mut findings);
        (items, findings.into_vec())
    }

    fn rules(list: &Value) -> Vec<&'static str> {
        let (items, findings) = read(list);
        assert!(items.is_none(), "{list}");
        findings.iter().filter(|finding| finding.severity == Severity::Error).map(|f| f.rule).collect()
    }

    #[test]
    fn an_item_and_its_defaults() {
        let (items, findings) = read(&json!([
            {"key": "url", "type": "str", "description": "Where to"},
            {"key": "n", "type": "int", "description": "", "name": "Count", "default": 3, "required": true, "unit": "s"},
        ]));
        let items = items.unwrap();
        assert_eq!(findings, []);
        assert_eq!((&*items[0].name, items[0].required, items[0].default.as_ref()), ("url", false, None));
        assert_eq!((&*items[1].name, items[1].default.as_ref()), ("Count", Some(&json!(3))));
        assert_eq!(items[1].extra["unit"], "s");
        assert!(!items[1].needs_value());
    }

    #[test]
    fn every_rule_is_found_at_once() {
        assert_eq!(
            rules(&json!([
                {"key": "", "type": "text", "name": 1, "description": [], "required": 1, "sensitive": "yes"},
                7,
                {"key": "a", "type": "str", "description": "", "default": 1},
                {"key": "b", "type": "str", "description": ""},
                {"key": "b", "type": "int", "description": ""},
            ])),
            [
                "settings.key",
                "settings.type",
                "settings.name",
                "settings.description",
                "settings.required",
                "settings.sensitive",
                "settings.list",
                "settings.default",
                "settings.key",
            ]
        );
        assert_eq!(rules(&json!({"key": "a"})), ["settings.list"]);
    }

    #[test]
    fn a_default_is_of_its_type() {
        let table = [
            ("str", json!("x"), true),
            ("str", json!(1), false),
            ("int", json!(-1), true),
            ("int", json!(1.0), false),
            ("int", json!(true), false),
            ("int", json!(9_007_199_254_740_992_u64), false),
            ("float", json!(1), true),
            ("float", json!(0.5), true),
            ("float", json!("0.5"), false),
            ("bool", json!(false), true),
            ("bool", json!(0), false),
            ("list", json!([1, "a"]), true),
            ("list", json!({}), false),
            ("dict", json!({"a": []}), true),
            ("dict", json!([]), false),
            ("int", json!(null), true),
        ];
        for (kind, default, good) in table {
            let list = json!([{"key": "a", "type": kind, "description": "", "default": default}]);
            assert_eq!(read(&list).0.is_some(), good, "{list}");
        }
    }

    #[test]
    fn hints_name_what_was_meant() {
        let (_, findings) = read(&json!([{"key": "a", "type": "Boolean", "description": ""}]));
        assert_eq!(findings[0].hint.as_deref(), Some("write bool"));
        let (_, findings) = read(&json!([{"key": "a", "type": "date", "description": ""}]));
        assert_eq!(findings[0].hint.as_deref(), Some("one of str, int, float, bool, list, dict"));
    }

    #[test]
    fn what_is_only_warned_about() {
        let (items, findings) =
            read(&json!([{"key": "a", "type": "str", "sensitive": true, "default": "x"}]));
        assert!(items.is_some());
        assert_eq!(
            findings.iter().map(|finding| (finding.rule, finding.severity)).collect::<Vec<_>>(),
            [("settings.description", Severity::Warning), ("settings.sensitive", Severity::Warning)]
        );
    }
}
