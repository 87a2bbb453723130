//! Whole packages: what is read from both files together, every rule, and the fixed bytes of the artifact.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::testing::Memory;
use super::*;
use crate::digest::Sha256;

fn read_files(files: &[(&str, &str)]) -> Reading {
    let files = files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec()));
    read(&Memory(files.collect())).unwrap()
}

fn rules(reading: &Reading) -> Vec<&'static str> {
    reading.findings.iter().map(|finding| finding.rule).collect()
}

/// The plugin of a `plugin.json` that nothing is found about, with more fields in it.
fn stated(more: Value) -> Reading {
    let mut fields =
        json!({"pid": "com.acme.tool", "name": "Tool", "version": "1.0", "description": "A tool."});
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    read_files(&[("plugin.json", &fields.to_string())])
}

const PYTHON: &str = r#"
class P(BasePlugin):
    def get_metadata(self):
        return PluginMetadata("com.acme.tool", "From Python", "1.0.0", "D", capabilities=["a"], stateless=False)
    def get_settings_schema(self):
        return [{"key": "k", "type": "str", "description": "K"}]
"#;

#[test]
fn the_least_that_a_plugin_says() {
    let plugin = stated(json!({})).plugin.unwrap();
    assert_eq!((plugin.pid.as_str(), plugin.version.as_str()), ("com.acme.tool", "1.0"));
    assert_eq!((plugin.name.as_str(), plugin.description.as_str()), ("Tool", "A tool."));
    assert!(plugin.stateless && !plugin.is_specialized && !plugin.is_scoped);
    assert_eq!(plugin.sdk_version, ">=2.0.0,<3.0.0");
    assert_eq!((plugin.tag, plugin.entrypoint, plugin.logo, plugin.readme), (None, None, None, None));
    assert!(
        plugin.capabilities.is_empty() && plugin.dependencies.is_empty() && plugin.settings_schema.is_empty()
    );
    assert!(plugin.extra.is_empty());
}

#[test]
fn everything_that_a_plugin_says() {
    let fields = json!({
        "tag": "beta", "capabilities": ["a", "b"], "dependencies": ["httpx>=0.27"], "is_specialized": true,
        "is_scoped": true, "stateless": false, "sdk_version": ">=2.1", "entrypoint": "tool:main",
        "settings_schema": [{"key": "k", "type": "int", "default": 3}, {"key": "s", "type": "str"}],
        "homepage": "https://acme.com", "nested": {"a": [1, null]},
    });
    let plugin = stated(fields).plugin.unwrap();
    assert_eq!(plugin.tag.as_deref(), Some("beta"));
    assert_eq!(plugin.capabilities, ["a", "b"]);
    assert_eq!(plugin.dependencies, ["httpx>=0.27"]);
    assert!(plugin.is_specialized && plugin.is_scoped && !plugin.stateless);
    assert_eq!((plugin.sdk_version.as_str(), plugin.entrypoint.as_deref()), (">=2.1", Some("tool:main")));
    assert_eq!(Value::Object(plugin.default_settings()), json!({"k": 3}));
    assert_eq!(
        Value::Object(plugin.extra),
        json!({"homepage": "https://acme.com", "nested": {"a": [1, null]}})
    );
}

#[test]
fn each_rule_by_itself() {
    for (field, value, rule) in [
        ("pid", json!("Com.Acme"), "plugin.pid"),
        ("pid", json!("acme"), "plugin.pid"),
        ("pid", json!(null), "plugin.pid"),
        ("pid", json!(7), "plugin.pid"),
        ("version", json!("v1.0"), "plugin.version"),
        ("version", json!("1.0+x"), "plugin.version"),
        ("version", json!(1.0), "plugin.version"),
        ("version", json!(""), "plugin.version"),
        ("name", json!("  "), "plugin.name"),
        ("name", json!("a\nb"), "plugin.name"),
        ("name", json!("a\u{202e}b"), "plugin.name"),
        ("name", json!("x".repeat(257)), "plugin.name"),
        ("name", json!("a\u{0}b"), "plugin.text"),
        ("description", json!(""), "plugin.description"),
        ("description", json!("x".repeat(8 * 1024 + 1)), "plugin.description"),
        ("description", json!("a\u{1b}[31m"), "plugin.description"),
        ("tag", json!(1), "plugin.tag"),
        ("tag", json!(""), "plugin.tag"),
        ("capabilities", json!("a"), "plugin.capabilities"),
        ("capabilities", json!(["a", 1]), "plugin.capabilities"),
        ("capabilities", json!([""]), "plugin.capabilities"),
        ("dependencies", json!({}), "plugin.dependencies"),
        ("dependencies", json!(vec!["x"; 257]), "plugin.dependencies"),
        ("sdk_version", json!(2), "plugin.sdk_version"),
        ("stateless", json!("yes"), "plugin.stateless"),
        ("is_specialized", json!(1), "plugin.is_specialized"),
        ("is_scoped", json!(0), "plugin.is_scoped"),
        ("entrypoint", json!([]), "plugin.entrypoint"),
        ("settings_schema", json!({}), "settings.list"),
        (
            "settings_schema",
            json!([{"key": "a", "type": "str", "description": "", "default": "\u{0}"}]),
            "plugin.text",
        ),
        ("logo", json!("../logo.png"), "plugin.logo"),
        ("logo", json!("logo.gif"), "plugin.logo"),
        ("logo", json!("none.png"), "plugin.logo"),
        ("readme", json!("/README.md"), "plugin.readme"),
        ("readme", json!("none.md"), "plugin.readme"),
        ("more", json!({"a": ["\u{0}"]}), "plugin.text"),
        ("a\u{0}", json!(1), "plugin.text"),
    ] {
        let reading = stated(json!({field: value}));
        assert_eq!(rules(&reading), [rule], "{field}");
        assert!(reading.plugin.is_none(), "{field}");
        assert_eq!(reading.findings[0].path.as_deref(), Some("plugin.json"));
    }
}

#[test]
fn the_edges_of_the_rules() {
    for (field, value) in [
        ("name", json!("x".repeat(256))),
        ("name", json!("\u{1f469}\u{200d}\u{1f4bb} tools")),
        ("description", json!("x".repeat(8 * 1024))),
        ("description", json!("a\r\n\tb")),
        ("capabilities", json!(null)),
        ("tag", json!(null)),
        ("stateless", json!(null)),
        ("settings_schema", json!(null)),
    ] {
        assert!(stated(json!({field: value})).plugin.is_some(), "{field}");
    }
}

#[test]
fn every_finding_at_once() {
    let reading = read_files(&[
        (
            "p/plugin.json",
            r#"{"pid": "X", "version": "v1", "capabilities": [1], "settings_schema": [{"key": ""}]}"#,
        ),
        ("p/logo.png", "GIF89a"),
    ]);
    assert_eq!(
        rules(&reading),
        [
            "plugin.logo",
            "plugin.pid",
            "plugin.name",
            "plugin.version",
            "plugin.description",
            "plugin.capabilities",
            "settings.key",
            "settings.type",
        ]
    );
    assert!(reading.findings.iter().all(|finding| finding.path.as_deref().unwrap().starts_with("p/")));
}

#[test]
fn metadata_that_is_not_there() {
    let reading = read_files(&[("requests/__init__.py", ""), ("requests-2.0.dist-info/METADATA", "")]);
    assert_eq!((rules(&reading), reading.findings[0].path.as_deref()), (vec!["plugin.metadata"], None));
    let reading = read_files(&[("a/b/plugin.py", "")]);
    assert_eq!(reading.findings[0].path.as_deref(), Some("a/b/plugin.py"));
    assert!(reading.findings[0].hint.as_deref().unwrap().contains("a/b/plugin.py"));
}

#[test]
fn a_plugin_in_python_alone() {
    let reading = read_files(&[("tool/plugin.py", PYTHON), ("tool/README.md", "# Tool"), ("__MACOSX/x", "")]);
    assert_eq!(reading.findings, []);
    let plugin = reading.plugin.unwrap();
    assert_eq!((plugin.name.as_str(), plugin.readme.as_deref()), ("From Python", Some("tool/README.md")));
    assert_eq!(plugin.settings_schema.len(), 1);
    assert!(!plugin.stateless);
}

#[test]
fn rules_name_the_place_in_python() {
    let text = "class P(BasePlugin):\n  def get_metadata(self):\n    return PluginMetadata(pid='x',\n      version=1.0,\n      capabilities=['a', 2])\n  def get_settings_schema(self):\n    return [{'key': 'a', 'type': 'str', 'description': ''},\n      {'key': 'a', 'type': 'int', 'description': ''}]\n";
    let reading = read_files(&[("plugin.py", text)]);
    let messages: Vec<&str> = reading.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "plugin.py:3:31: \"x\": a pid has at least two labels separated by dots",
            "plugin.py:3:12: name is missing",
            "plugin.py:4:15: version must be text, in quotes",
            "plugin.py:3:12: description is missing",
            "plugin.py:5:26: capabilities[1] must be text, in quotes",
            "plugin.py:8:7: settings_schema[1]: the key \"a\" appears twice",
        ]
    );
}

#[test]
fn both_files_agree_and_the_json_comes_first() {
    let json = r#"{"pid": "com.acme.tool", "name": "From JSON", "version": "1.0", "description": "J"}"#;
    let plugin = read_files(&[("plugin.json", json), ("plugin.py", PYTHON)]).plugin.unwrap();
    assert_eq!((plugin.name.as_str(), plugin.version.as_str()), ("From JSON", "1.0"));
    // What the JSON leaves out is taken from the Python.
    assert_eq!(plugin.capabilities, ["a"]);
    assert_eq!(plugin.settings_schema[0].key, "k");
    assert!(!plugin.stateless);

    let other = json.replace("com.acme.tool", "com.acme.other").replace("1.0", "1.1");
    let reading = read_files(&[("plugin.json", &other), ("plugin.py", PYTHON)]);
    assert_eq!(rules(&reading), ["plugin.agree", "plugin.agree"]);
    assert_eq!(
        reading.findings[0].message,
        "plugin.py:4:31: pid is \"com.acme.tool\" here and \"com.acme.other\" in plugin.json"
    );
    assert!(reading.plugin.is_none());
}

#[test]
fn a_json_stands_in_for_python_that_cannot_be_read() {
    let json = r#"{"pid": "com.acme.tool", "name": "T", "version": "1.0", "description": "J"}"#;
    for python in [
        "import x\nclass P(x.make()): pass\n",
        "this is no Python\n",
        PYTHON.replace("\"D\"", "f(1)").as_str(),
    ] {
        let reading = read_files(&[("plugin.json", json), ("plugin.py", python)]);
        assert!(reading.plugin.is_some(), "{python}");
        assert_eq!(reading.findings.len(), 1);
        assert_eq!(reading.findings[0].severity, Severity::Warning);
    }
    let reading = read_files(&[("plugin.json", "{"), ("plugin.py", PYTHON)]);
    assert_eq!(rules(&reading), ["plugin.json"]);
    assert!(reading.plugin.is_none());
}

#[derive(Deserialize)]
struct Vectors {
    accepted: Vec<Accepted>,
    refused: Vec<Refused>,
    verdicts: Vec<Judged>,
}

#[derive(Deserialize)]
struct Accepted {
    name: String,
    files: BTreeMap<String, String>,
    warnings: Vec<String>,
    config: String,
    config_digest: String,
    settings_digest: String,
    zip_digest: String,
    zip_size: u64,
    manifest: String,
    manifest_digest: String,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    files: BTreeMap<String, String>,
    rules: Vec<String>,
}

#[derive(Deserialize)]
struct Judged {
    previous: Value,
    next: Value,
    verdict: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/testdata/plugin-vectors.json")).unwrap()
}

fn read_vector(files: &BTreeMap<String, String>) -> Reading {
    read(&Memory(files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect()))
        .unwrap()
}

/// The same package has the same config and the same manifest on every registry, in every release.
#[test]
fn the_vectors_hold() {
    let vectors = vectors();
    for vector in &vectors.accepted {
        let reading = read_vector(&vector.files);
        assert_eq!(rules(&reading), vector.warnings, "{}", vector.name);
        let plugin = reading.plugin.unwrap();
        let config = plugin.config().unwrap();
        assert_eq!(std::str::from_utf8(&config).unwrap(), vector.config, "{}", vector.name);
        assert_eq!(Sha256::of(&config).to_string(), vector.config_digest, "{}", vector.name);
        let settings = schema_digest(&plugin.settings_schema).unwrap().to_string();
        assert_eq!(settings, vector.settings_digest, "{}", vector.name);
        let zip = Sha256::from_hex(vector.zip_digest.strip_prefix("sha256:").unwrap()).unwrap();
        let config = (Sha256::of(&config), config.len() as u64);
        let manifest = manifest(&plugin, config, (zip, vector.zip_size)).unwrap();
        assert_eq!(std::str::from_utf8(&manifest).unwrap(), vector.manifest, "{}", vector.name);
        assert_eq!(Sha256::of(&manifest).to_string(), vector.manifest_digest, "{}", vector.name);
    }
    for vector in &vectors.refused {
        let reading = read_vector(&vector.files);
        assert!(reading.plugin.is_none(), "{}", vector.name);
        assert_eq!(rules(&reading), vector.rules, "{}", vector.name);
    }
    for vector in &vectors.verdicts {
        let items = |list: &Value| stated(json!({"settings_schema": list})).plugin.unwrap().settings_schema;
        let said = verdict(&items(&vector.previous), &items(&vector.next)).to_string();
        assert_eq!(said, vector.verdict, "{} {}", vector.previous, vector.next);
    }
}

/// Every rule that a source names is in the table of the specification, and the other way round.
#[test]
fn the_specification_lists_every_rule() {
    let sources = [
        include_str!("plugin.rs"),
        include_str!("plugin_json.rs"),
        include_str!("fields.rs"),
        include_str!("finding.rs"),
        include_str!("pid.rs"),
        include_str!("logo.rs"),
        include_str!("readme.rs"),
        include_str!("settings/item.rs"),
        include_str!("python/mod.rs"),
        include_str!("python/declarations.rs"),
    ];
    let is_rule = |text: &&str| {
        let (area, rule) = text.split_once('.').unwrap_or_default();
        ["plugin", "settings", "python"].contains(&area)
            && !["py", "png"].contains(&rule)
            && !rule.is_empty()
            && rule.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    let code = |source: &'static str| source.split("#[cfg(test)]").next().unwrap();
    let named: BTreeSet<&str> =
        sources.iter().flat_map(|source| code(source).split('"')).filter(is_rule).collect();
    let page = include_str!("../../spec/plugin.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<&str> = rows.filter(is_rule).collect();
    assert_eq!(named, listed);
    assert!(named.len() > 30);
}

proptest! {
    /// Whatever a file holds, reading it ends in findings or in a plugin whose config is what it says.
    #[test]
    fn any_text_is_read(json in "\\PC{0,60}", python in "[a-zA-Z0-9_ ()\\[\\]{}'\",.:=+\\-\\\\\n\t@#*]{0,200}") {
        let reading = read_files(&[("plugin.json", &json)]);
        prop_assert!(reading.plugin.is_some() || !reading.findings.is_empty());
        let reading = read_files(&[("plugin.py", &python)]);
        prop_assert!(reading.plugin.is_some() || !reading.findings.is_empty());
    }

    /// The config of a plugin is canonical: parsing and writing it again gives the same bytes.
    #[test]
    fn a_config_is_canonical(name in "[a-z\u{20}-\u{7e}é😀]{1,20}", number in -1e9..1e9, whole in -9_007_199_254_740_991_i64..=9_007_199_254_740_991) {
        prop_assume!(!name.trim().is_empty());
        let reading = stated(json!({"name": name, "x": number, "y": whole, "é": 1, "😀": {"b": 1, "a": 2}}));
        let config = reading.plugin.unwrap().config().unwrap();
        let parsed: Value = serde_json::from_slice(&config).unwrap();
        prop_assert_eq!(serde_json_canonicalizer::to_vec(&parsed).unwrap(), config);
        prop_assert_eq!(parsed["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(parsed["extra"]["x"].as_f64(), Some(number));
        prop_assert_eq!(parsed["extra"]["y"].as_f64(), Some(whole as f64));
    }
}
