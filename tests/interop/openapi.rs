//! The API tried out against its own description: by schemathesis, which makes requests of it and reads the answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::package::Package;
use crate::harness::{ADMIN_TOKEN, Client, Server};
use crate::tools::{Desk, finish, have, transcript};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Half a minute on an idle machine, so a few on a busy one.
const PATIENCE: &str = "600";

/// Fills a server, so that most of what is asked for is there. Returns the ids of the versions that may be changed,
/// of an organisation and of the system.
async fn fill(admin: &Client) -> [String; 2] {
    let hello = |version: &str| {
        let settings =
            json!([{"key": "greeting", "type": "str", "default": "Hello"}, {"key": "name", "type": "str"}]);
        Package::new("com.acme.hello", version)
            .field("tag", json!("demo"))
            .field("capabilities", json!(["greeting"]))
            .settings(settings)
            .file("README.md", format!("# Hello {version}\n\n[Where](plugin.json)\n"))
            .file("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>")
    };
    for (catalog, version, channel) in [
        ("orgs/acme", "1.0.0", "stable"),
        ("orgs/acme", "1.1", "stable"),
        ("orgs/acme", "2.0-rc.1", "next"),
        ("admin", "1.0.0", "stable"),
        ("admin", "1.1", "next"),
    ] {
        publish(admin, catalog, channel, &hello(version)).await;
    }
    publish(admin, "admin", "stable", &Package::new("com.acme.world", "1.0.0").file("README.md", "World"))
        .await;
    publish(admin, "admin", "next", &Package::new("com.acme.world", "1.1").file("README.md", "Worlds")).await;
    for (plugin, body) in [
        ("org/com.acme.hello", json!({"version": "1.0.0"})),
        ("system/com.acme.hello", json!({"channel": "next"})),
        ("system/com.acme.world", json!({"channel": "stable"})),
    ] {
        let path = format!("/api/orgs/acme/enablements/{plugin}");
        let answer = admin.send("PUT", &path, &[], body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let path = format!("/api/admin/blocked-digests/sha256:{}", "a".repeat(64));
    let answer = admin.send("PUT", &path, &[], json!({"reason": "It was found."}).to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let spare = Package::new("com.acme.spare", "1.0");
    [publish(admin, "orgs/acme", "stable", &spare).await, publish(admin, "admin", "stable", &spare).await]
}

async fn publish(admin: &Client, catalog: &str, channel: &str, package: &Package) -> String {
    let path = format!("/api/{catalog}/plugins/upload?channel={channel}");
    let answer = admin.send("POST", &path, &[("content-type", "application/zip")], package.bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// The names of the operations below `/api/`.
fn operations() -> BTreeSet<String> {
    let document = fs::read(Path::new(ROOT).join("spec/openapi.json")).expect("a file");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let of_api = paths.iter().filter(|(path, _)| path.starts_with("/api/"));
    let described = of_api.flat_map(|(_, item)| item.as_object().expect("a path").values());
    described.filter_map(|operation| operation["operationId"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_server_does_what_its_description_says() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::new(&server, &["schemathesis"]) else { return };
    let [of_acme, of_system] = fill(&server.admin()).await;
    let folder = Path::new(ROOT).join("tests/interop");
    let config = fs::read_to_string(folder.join("schemathesis.toml")).expect("a file");
    let config = config.replace("VERSION_OF_ACME", &of_acme).replace("VERSION_OF_SYSTEM", &of_system);
    desk.write("schemathesis.toml", config);
    desk.write("schemathesis_hooks.py", fs::read(folder.join("schemathesis_hooks.py")).expect("a file"));

    // What the server says of itself is what is tried out.
    let document = server.url("/api/openapi.json");
    let line = "schemathesis --config-file schemathesis.toml run --no-color --include-path-regex ^/api/";
    let mut command = desk.patient_command(&format!("{line} {document}"), PATIENCE);
    command.env("QUIRE_URL", server.url("")).env("QUIRE_TOKEN", ADMIN_TOKEN);
    let output = finish(command, "");
    let text = transcript(&output);
    assert!(output.status.success(), "{text}");
    for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"] {
        assert!(text.contains(&format!("✅ {phase}")), "{phase} was not tried out:\n{text}");
    }
    let answers = String::from_utf8(desk.read("answers.txt")).expect("a text");
    let done = answers.lines().filter_map(|line| line.split_once(" 2"));
    let done: BTreeSet<String> = done.map(|(operation, _)| operation.to_owned()).collect();
    let never: Vec<String> = operations().difference(&done).cloned().collect();
    assert!(never.is_empty(), "nothing but refusals came from {never:?}:\n{text}");
}

/// The server answers with `spec/openapi.json`, and people change `spec/openapi.yaml`.
#[tokio::test]
async fn the_document_is_made_of_what_people_write() {
    let server = Server::start(&[]);
    let answer = server.anonymous().get("/api/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, fs::read(Path::new(ROOT).join("spec/openapi.json")).expect("a file"));

    let Some(desk) = Desk::new(&server, &["python3"]) else { return };
    let mut yaml = desk.command("python3 -c");
    yaml.arg("import yaml");
    if !have("the Python library yaml", finish(yaml, "").status.success()) {
        return;
    }
    let output = finish(desk.command(&format!("python3 {ROOT}/tests/make-openapi.py --check")), "");
    assert!(output.status.success(), "{}", transcript(&output));
}
