//! The Python library oras: pushing with Basic, pulling with Basic and with short tokens.

use serde_json::json;

use crate::harness::{ADMIN_TOKEN, Server};
use crate::tools::{Desk, finish, have, transcript};
use crate::zip;

/// The library keeps its first token even when the server asks for a wider one, so it pushes with Basic only.
const PUSH: &str = r#"
import os
import oras.client
target, token = os.environ["TARGET"], os.environ["TOKEN"]
client = oras.client.OrasClient(insecure=True, auth_backend="basic")
client.auth.set_basic_auth("anyone", token)
answer = client.push(target=target, files=["tool.zip:application/zip"], manifest_annotations={"opus": "29"})
assert answer.status_code == 201, answer.text
assert client.get_tags(target) == ["1.0"]
"#;

const PULL: &str = r#"
import os, zipfile
import oras.client
target, token, backend = os.environ["TARGET"], os.environ["TOKEN"], os.environ["BACKEND"]
client = oras.client.OrasClient(insecure=True, auth_backend=backend)
if token:
    client.auth.set_basic_auth("anyone", token)
assert client.get_manifest(target)["annotations"] == {"opus": "29"}
[path] = client.pull(target=target, outdir="pulled-" + backend)
assert zipfile.ZipFile(path).testzip() is None
"#;

fn start() -> Option<(Server, Desk)> {
    let server = Server::start(&[]);
    let desk = Desk::new(&server, &["python3"])?;
    // Ours is found first, and the machine's own when there is none of ours.
    let library = finish(desk.command("python3 -m oras.version"), "").status.success();
    if !have("the Python library oras", library) {
        return None;
    }
    desk.write("push.py", PUSH);
    desk.write("pull.py", PULL);
    desk.write("tool.zip", zip::stored("plugin.py", &b"print('hello')\n".repeat(5000)));
    Some((server, desk))
}

/// Runs one of the scripts, and returns its complaint: nothing when it succeeded.
fn run(desk: &Desk, server: &Server, script: &str, repository: &str, token: &str, backend: &str) -> String {
    let mut command = desk.command(&format!("python3 {script}"));
    let target = format!("{}/{repository}:1.0", server.address);
    command.env("TARGET", target).env("TOKEN", token).env("BACKEND", backend);
    let output = finish(command, "");
    if output.status.success() { String::new() } else { transcript(&output) }
}

#[tokio::test]
async fn an_archive_comes_back_byte_for_byte() {
    let Some((server, desk)) = start() else { return };
    assert_eq!(run(&desk, &server, "push.py", "acme/tool", ADMIN_TOKEN, "basic"), "");
    let manifest = server.admin().get("/v2/acme/tool/manifests/1.0").await.json();
    assert_eq!(manifest["layers"][0]["mediaType"], "application/zip");
    assert_eq!(manifest["annotations"], json!({"opus": "29"}));
    for backend in ["basic", "token"] {
        assert_eq!(run(&desk, &server, "pull.py", "acme/tool", ADMIN_TOKEN, backend), "", "{backend}");
        assert_eq!(desk.read(&format!("pulled-{backend}/tool.zip")), desk.read("tool.zip"), "{backend}");
    }
}

#[test]
fn a_stranger_gets_what_is_public_and_nothing_else() {
    let Some((server, desk)) = start() else { return };
    for repository in ["system/tool", "acme/tool"] {
        assert_eq!(run(&desk, &server, "push.py", repository, ADMIN_TOKEN, "basic"), "");
    }
    assert_eq!(run(&desk, &server, "pull.py", "system/tool", "", "token"), "");
    assert_eq!(desk.read("pulled-token/tool.zip"), desk.read("tool.zip"));
    let complaint = run(&desk, &server, "pull.py", "acme/tool", "", "token");
    assert!(complaint.contains("Unauthorized"), "{complaint}");
    let complaint = run(&desk, &server, "push.py", "system/tool", "not-the-token", "basic");
    assert!(complaint.contains("not known here"), "{complaint}");
}
