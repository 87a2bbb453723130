//! Plugins by the clients that are there anyway: curl uploads them, oras pushes them, skopeo copies them.

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::harness::package::Package;
use crate::harness::plugin_api::{ACME, each};
use crate::harness::{ADMIN_TOKEN, Server};
use crate::tools::{Desk, transcript};

const PID: &str = "com.acme.mail";
const CORP: &str = "/api/orgs/corp/plugins";
const ARTIFACT: &str = "application/vnd.quire.plugin.v1";

fn zip(version: &str) -> Vec<u8> {
    Package::new(PID, version).file("mail.py", "print('mail')\n".repeat(5_000)).bytes()
}

/// A server with a limit of 100 KB for plugins, and a desk with a plugin in two versions.
fn start(programs: &[&str]) -> Option<(Server, Desk)> {
    let server = Server::start(&[("MAX_PLUGIN_UPLOAD_BYTES", "100000")]);
    let desk = Desk::new(&server, programs)?;
    for program in programs.iter().filter(|program| **program != "curl") {
        desk.log_in(program);
    }
    desk.write("token", format!("header = \"Authorization: Bearer {ADMIN_TOKEN}\"\n"));
    desk.write("plugin.zip", zip("1.0"));
    desk.write("next.zip", zip("1.1"));
    Some((server, desk))
}

/// What curl is told by the server, its status, and how many bytes of a body it sent.
fn curl(desk: &Desk, server: &Server, options: &str, path: &str, input: &[u8]) -> (Value, u16, usize) {
    let write_out = "--write-out \\n%{http_code}\\n%{size_upload}";
    let line =
        format!("curl --silent --show-error --config token {write_out} {options} {}", server.url(path));
    desk.write("input", input);
    let mut command = desk.command(&line);
    command.stdin(std::fs::File::open(desk.path("input")).expect("a file"));
    let output = command.output().expect("a program that starts");
    assert!(output.status.success(), "{line}\n{}", transcript(&output));
    let text = String::from_utf8(output.stdout).expect("a text");
    let mut lines = text.rsplitn(3, '\n');
    let mut number = || lines.next().and_then(|line| line.parse::<usize>().ok()).expect("a number");
    let (sent, status) = (number(), number());
    let body = lines.next().expect("a body");
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    (body, status as u16, sent)
}

/// Pushes a file as a plugin, and returns the digest of the manifest.
fn push(desk: &Desk, target: &str, file: &str) -> Value {
    desk.run_json(&push_line(target, file))["digest"].clone()
}

fn push_line(target: &str, file: &str) -> String {
    format!("oras push --plain-http --format json --artifact-type {ARTIFACT} {target} {file}:application/zip")
}

#[tokio::test]
async fn every_way_of_curl_and_oras_carries_the_same_plugin() {
    let Some((server, desk)) = start(&["oras", "curl"]) else { return };
    let bytes = desk.read("plugin.zip");
    let digest = Sha256::of(&bytes).to_string();
    let upload = format!("{ACME}/upload");
    let raw = "--header Content-Type:application/zip";
    for (what, options, input, status) in [
        ("a form", "--form file=@plugin.zip".to_owned(), &b""[..], 201),
        ("a form with a type", "--form file=@plugin.zip;type=application/zip".to_owned(), b"", 200),
        (
            "a form in chunks",
            "--header Transfer-Encoding:chunked --form file=@plugin.zip".to_owned(),
            b"",
            200,
        ),
        ("its bytes", format!("--data-binary @plugin.zip {raw}"), b"", 200),
        ("chunks", format!("--upload-file - --request POST {raw}"), &bytes, 200),
        (
            "chunks by a header",
            format!("--data-binary @plugin.zip {raw} --header Transfer-Encoding:chunked"),
            b"",
            200,
        ),
        ("after a pause", format!("--data-binary @plugin.zip {raw} --header Expect:100-continue"), b"", 200),
        ("HTTP/2", format!("--http2-prior-knowledge --data-binary @plugin.zip {raw}"), b"", 200),
        ("HTTP/1.0", format!("--http1.0 --data-binary @plugin.zip {raw}"), b"", 200),
    ] {
        let (plugin, told, sent) = curl(&desk, &server, &options, &upload, input);
        assert_eq!((told, &plugin["digest"]), (status, &json!(digest)), "{what}: {plugin}");
        assert!(sent >= bytes.len(), "{what}: {sent}");
    }

    let target = format!("{}/corp/{PID}", server.address);
    let by_version = push(&desk, &format!("{target}:1.0"), "plugin.zip");
    push(&desk, &format!("{target}:stable"), "next.zip");
    let next = Sha256::of(&desk.read("next.zip")).to_string();
    curl(&desk, &server, "--form file=@next.zip", &upload, b"");

    // Uploaded there and pushed here, it is the same.
    let client = server.admin();
    for plugins in [ACME, CORP] {
        let listed = client.read(&format!("{plugins}/{PID}/versions")).await;
        let mut digests = each(&listed, "digest");
        digests.sort_unstable();
        let mut expected = [&*digest, &*next];
        expected.sort_unstable();
        assert_eq!(digests, expected, "{plugins}");
        let list = client.read(plugins).await;
        assert_eq!(each(&list, "digest"), [&*next], "{plugins}: the latest of each");
    }
    let listed = client.read(&format!("{CORP}/{PID}/versions")).await;
    let first = listed.as_array().expect("a list").iter().find(|version| version["version"] == "1.0");
    let first = first.expect("the version");
    assert_eq!(first["manifest_digest"], by_version);

    // Either client gets what either has brought.
    for (reference, file) in [("corp", "plugin.zip"), ("acme", "1.0.zip")] {
        let source = format!("{}/{reference}/{PID}:1.0", server.address);
        desk.run(&format!("oras pull --plain-http --output {reference} {source}"));
        let pulled = std::fs::read_dir(desk.path(reference)).expect("a folder");
        let pulled: Vec<_> = pulled.map(|entry| entry.expect("an entry").path()).collect();
        assert_eq!(pulled.len(), 1, "{pulled:?} {file}");
        assert!(std::fs::read(&pulled[0]).expect("a file") == bytes, "{reference}");
    }
    let url = server.url(first["url"].as_str().expect("a path"));
    desk.run(&format!("curl --silent --show-error --fail --config token --output by-url {url}"));
    assert!(desk.read("by-url") == bytes);
}

#[test]
fn nothing_is_sent_of_what_is_too_large() {
    let Some((server, desk)) = start(&["curl"]) else { return };
    desk.write("large.zip", vec![0; 300_000]);
    let upload = format!("{ACME}/upload");
    for options in
        ["--data-binary @large.zip --header Content-Type:application/zip", "--form file=@large.zip"]
    {
        let options = format!("{options} --header Expect:100-continue --expect100-timeout 60");
        let (problem, status, sent) = curl(&desk, &server, &options, &upload, b"");
        assert_eq!((status, sent), (413, 0), "{options}: {problem}");
        assert_eq!(problem["status"], 413, "{problem}");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("100000"), "{problem}");
    }
    // Who does not say how much it will be is stopped on the way.
    let options = "--upload-file - --request POST --header Content-Type:application/zip";
    let (problem, status, _) = curl(&desk, &server, options, &upload, &desk.read("large.zip"));
    assert_eq!((status, &problem["status"]), (413, &json!(413)), "{problem}");
}

#[tokio::test]
async fn oras_shows_what_is_wrong_with_a_package() {
    let Some((server, desk)) = start(&["oras"]) else { return };
    let bad = Package::new(PID, "1.0").field("name", json!(7)).file("logo.png", "no picture");
    desk.write("bad.zip", bad.bytes());
    desk.write("text.zip", "This is no archive.\n");
    let target = format!("{}/acme/{PID}:1.0", server.address);
    for (file, expected) in [
        ("bad.zip", &["plugin.name", "plugin.logo", "logo.png is not a PNG image"][..]),
        ("text.zip", &["zip.magic"]),
    ] {
        let told = desk.fail(&push_line(&target, file));
        for text in expected {
            assert!(told.contains(text), "{file}: no {text} in {told}");
        }
    }
    assert_eq!(server.admin().read(ACME).await, json!([]), "nothing came in");
}

#[tokio::test]
async fn skopeo_copies_a_plugin_to_another_organisation() {
    let Some((server, desk)) = start(&["skopeo", "curl"]) else { return };
    let upload = format!("{ACME}/upload");
    let (plugin, status, _) = curl(&desk, &server, "--form file=@plugin.zip", &upload, b"");
    assert_eq!(status, 201, "{plugin}");
    let at =
        |organisation: &str, tag: &str| format!("docker://{}/{organisation}/{PID}:{tag}", server.address);
    desk.run(&format!("skopeo copy --preserve-digests {} {}", at("acme", "1.0"), at("corp", "1.0")));
    desk.run(&format!("skopeo copy {} {}", at("acme", "latest"), at("other", "stable")));
    for organisation in ["corp", "other"] {
        let plugins = server.admin().read(&format!("/api/orgs/{organisation}/plugins")).await;
        assert_eq!(plugins.as_array().map(Vec::len), Some(1), "{plugins}");
        for field in ["pid", "version", "digest", "manifest_digest", "size"] {
            assert_eq!(plugins[0][field], plugin[field], "{organisation} {field}");
        }
    }
    let digest = plugin["manifest_digest"].as_str().expect("a digest");
    let seen = desk.run(&format!("skopeo inspect --raw {}", at("corp", "1.0")));
    assert_eq!(Sha256::of(seen.as_bytes()).to_string(), digest);
    // To a repository of another name it is no plugin.
    let wrong = format!("docker://{}/corp/com.acme.other:1.0", server.address);
    let told = desk.fail(&format!("skopeo copy {} {wrong}", at("acme", "1.0")));
    assert!(told.contains("the package is com.acme.mail, so its repository has that name"), "{told}");
}
