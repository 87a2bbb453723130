//! The settings as they are served: the list, its digest, and JSON Schema 2020-12.

use serde_json::{Map, Value, json};

use super::{SettingType, SettingsItem};
use crate::digest::Sha256;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The list of items with every field written out, so that two spellings of a schema are one.
pub fn schema_value(items: &[SettingsItem]) -> Value {
    Value::Array(items.iter().map(item_value).collect())
}

fn item_value(item: &SettingsItem) -> Value {
    let mut fields = item.extra.clone();
    fields.insert("key".into(), json!(item.key));
    fields.insert("name".into(), json!(item.name));
    fields.insert("type".into(), json!(item.kind.as_str()));
    fields.insert("description".into(), json!(item.description));
    fields.insert("required".into(), json!(item.required));
    fields.insert("sensitive".into(), json!(item.sensitive));
    if let Some(default) = &item.default {
        fields.insert("default".into(), default.clone());
    }
    Value::Object(fields)
}

/// SHA-256 of the list as RFC 8785 canonical JSON. The order of the items counts: forms show it.
pub fn schema_digest(items: &[SettingsItem]) -> Result<Sha256, serde_json::Error> {
    Ok(Sha256::of(&serde_json_canonicalizer::to_vec(&schema_value(items))?))
}

/// A schema for one object with a value for each setting. Other keys are left alone, as values of a setting
/// that a later version dropped may still be there.
pub fn to_json_schema(items: &[SettingsItem]) -> Value {
    let properties: Map<String, Value> =
        items.iter().map(|item| (item.key.clone(), property(item))).collect();
    let required: Vec<&str> =
        items.iter().filter(|item| item.needs_value()).map(|item| item.key.as_str()).collect();
    json!({"$schema": DIALECT, "type": "object", "properties": properties, "required": required})
}

fn property(item: &SettingsItem) -> Value {
    let mut fields = Map::new();
    let kind = match item.kind {
        SettingType::Str => "string",
        SettingType::Int => "integer",
        SettingType::Float => "number",
        SettingType::Bool => "boolean",
        SettingType::List => "array",
        SettingType::Dict => "object",
    };
    fields.insert("type".into(), json!(kind));
    fields.insert("title".into(), json!(item.name));
    if !item.description.is_empty() {
        fields.insert("description".into(), json!(item.description));
    }
    if let Some(default) = &item.default {
        fields.insert("default".into(), default.clone());
    }
    if item.sensitive {
        // A form doesn't show the value again, and hides it while it is typed.
        fields.insert("writeOnly".into(), json!(true));
        if item.kind == SettingType::Str {
            fields.insert("format".into(), json!("password"));
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::finding::{Findings, Place};
    use crate::package::settings::read_items;

    fn items(list: &Value) -> Vec<SettingsItem> {
        read_items(list, &Place::of("plugin.json"), &[], &mut Findings::default()).unwrap()
    }

    #[test]
    fn a_schema_of_every_type() {
        let items = items(&json!([
            {"key": "s", "type": "str", "description": "S", "required": true, "sensitive": true},
            {"key": "i", "type": "int", "default": 1, "required": true},
            {"key": "f", "type": "float"}, {"key": "b", "type": "bool"},
            {"key": "l", "type": "list"}, {"key": "d", "type": "dict", "name": "D", "sensitive": true},
        ]));
        assert_eq!(
            to_json_schema(&items),
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "s": {"type": "string", "title": "s", "description": "S", "writeOnly": true, "format": "password"},
                    "i": {"type": "integer", "title": "i", "default": 1},
                    "f": {"type": "number", "title": "f"},
                    "b": {"type": "boolean", "title": "b"},
                    "l": {"type": "array", "title": "l"},
                    "d": {"type": "object", "title": "D", "writeOnly": true},
                },
                "required": ["s"],
            })
        );
    }

    #[test]
    fn the_digest_is_of_what_the_schema_says() {
        let short = items(&json!([{"key": "a", "type": "float", "default": 1.0}]));
        let long = items(&json!([{"required": false, "name": "a", "default": 1, "sensitive": false,
            "description": "", "type": "float", "key": "a"}]));
        assert_eq!(schema_digest(&short).unwrap(), schema_digest(&long).unwrap());
        assert_ne!(schema_digest(&short).unwrap(), schema_digest(&[]).unwrap());
        assert_eq!(schema_digest(&[]).unwrap(), Sha256::of(b"[]"));
    }
}
