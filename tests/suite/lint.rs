//! `quire lint`: what the server would say about a package, without a server.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn package(folder: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = folder.join(name);
    let mut zip = ZipWriter::new(fs::File::create(&path).expect("a file"));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(content.as_bytes()).expect("its content");
    }
    zip.finish().expect("an archive");
    path
}

fn lint(arguments: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quire")).arg("lint").args(arguments).arg(path).output().expect("its end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a text")
}

const METADATA: &str =
    r#"{"pid": "com.acme.hello", "name": "Hello", "version": "1.2", "description": "Says hello."}"#;

#[test]
fn a_good_package_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let python = "
class Hello(BasePlugin):
    def get_metadata(self):
        return PluginMetadata('com.acme.hello', name='Hello', version='1.2', description='Says ' 'hello.')
    def create_agent(self):
        return Agent()
class Agent(BaseScopedAgent):
    pass
";
    for (name, files) in [
        ("json.zip", vec![("plugin.json", METADATA), ("main.py", "pass")]),
        ("folder.zip", vec![("hello/plugin.json", METADATA), ("hello/main.py", "pass")]),
        ("python.zip", vec![("plugin.py", python)]),
        ("both.zip", vec![("plugin.py", python), ("plugin.json", METADATA)]),
    ] {
        let path = package(folder.path(), name, &files);
        let said = lint(&[], &path);
        assert_eq!(said.status.code(), Some(0), "{name}: {said:?}");
        assert_eq!(text(&said.stdout), "com.acme.hello 1.2 would be accepted\n", "{name}");
        let report: Value = serde_json::from_slice(&lint(&["--output", "json"], &path).stdout).expect("JSON");
        let plugin = json!({"pid": "com.acme.hello", "version": "1.2", "name": "Hello"});
        assert_eq!(report, json!({"accepted": true, "plugin": plugin, "findings": []}), "{name}");
    }
}

#[test]
fn every_finding_is_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let metadata =
        r#"{"pid": "Hello", "name": "", "version": "v1", "description": "x", "settings_schema": [{}]}"#;
    let path = package(folder.path(), "bad.zip", &[("plugin.json", metadata)]);
    let said = lint(&["--output", "json"], &path);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let report: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!((&report["accepted"], &report["plugin"]), (&json!(false), &Value::Null));
    let findings = report["findings"].as_array().expect("a list");
    for rule in ["plugin.pid", "plugin.name", "plugin.version", "settings.key", "settings.type"] {
        let told = findings.iter().find(|finding| finding["rule"] == rule);
        let told = told.unwrap_or_else(|| panic!("{rule} is not among {report:#}"));
        assert_eq!((&told["severity"], &told["path"]), (&json!("error"), &json!("plugin.json")), "{told}");
        assert!(told["message"].as_str().is_some_and(|message| message.len() > 10), "{told}");
    }
    let shown = text(&lint(&[], &path).stdout);
    assert!(shown.contains("error: plugin.json: ") && shown.contains("[plugin.pid]\n  hint: "), "{shown}");

    // What is wrong with the archive itself comes first, and alone: nothing in it can be believed then.
    let whole = fs::read(package(folder.path(), "good.zip", &[("plugin.json", METADATA)])).expect("a file");
    let cut = folder.path().join("cut.zip");
    fs::write(&cut, &whole[..whole.len() - 1]).expect("a file");
    let said = lint(&[], &cut);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stdout).contains("[zip.end-record]"), "{said:?}");
}

#[test]
fn what_cannot_be_read_is_no_finding() {
    let said = lint(&[], Path::new("no/such/file.zip"));
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(text(&said.stderr).contains("no/such/file.zip"), "{said:?}");
    assert_eq!(text(&said.stdout), "");
}
