//! A real browser: a form that uploads plugins, and pages of plugins in which nothing is executed.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use crate::harness::package::Package;
use crate::harness::plugin_api::ACME;
use crate::harness::{ADMIN_TOKEN, Server};
use crate::tools::{Desk, find, finish, have, transcript};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/browser.mjs");
const PID: &str = "com.acme.mail";
/// One pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";
const SVG: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="document.documentElement.setAttribute('data-ran', 'onload')">
<title>quiet</title>
<script>document.title = "ran"; document.documentElement.setAttribute("data-ran", "script")</script>
<rect width="9" height="9"/></svg>"#;

fn playwright() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node/node_modules/playwright-core")
}

/// A server, and a desk for the browser.
fn start() -> Option<(Server, Desk)> {
    let server = Server::start(&[]);
    let desk = Desk::new(&server, &["node", "chromium"])?;
    have("playwright-core", playwright().is_dir()).then_some((server, desk))
}

/// Does these steps, and returns what was seen after each.
fn browse(desk: &Desk, steps: &[Value]) -> Vec<Value> {
    let plan = json!({"token": ADMIN_TOKEN, "executable": find("chromium"), "steps": steps});
    desk.write("steps.json", plan.to_string());
    let mut command = desk.command("node");
    command.arg(SCRIPT).arg(playwright()).arg("steps.json");
    let output = finish(command, "");
    assert!(output.status.success(), "{}", transcript(&output));
    let text = String::from_utf8(output.stdout).expect("a text");
    let seen: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"))).collect();
    assert_eq!(seen.len(), steps.len(), "{text}");
    seen
}

/// A page of somebody else's with a form that uploads to the server, for as long as the test runs.
fn serve_form(action: &str) -> SocketAddr {
    let page = format!(
        "<!doctype html><title>A form</title><form method=post enctype=multipart/form-data action=\"{action}\">\
         <input type=hidden name=note value=beside><input type=file name=file><button>Upload</button></form>"
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            // The request ends with an empty line.
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let head =
                format!("content-type: text/html\r\ncontent-length: {}\r\nconnection: close", page.len());
            // The browser may have gone.
            let _ = write!(reader.get_mut(), "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{page}");
        }
    });
    address
}

/// The JSON that a page shows.
fn shown(seen: &Value) -> Value {
    let text = seen["text"].as_str().expect("a text");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {seen}"))
}

#[tokio::test]
async fn a_form_uploads_a_plugin() {
    let Some((server, desk)) = start() else { return };
    let zip = Package::new(PID, "1.0").file("mail.py", "print()").bytes();
    let other = Package::new(PID, "1.1").file("mail.py", "print()").bytes();
    let strange = "my \"best\" plüg-in 日本.zip";
    for (name, content) in
        [("plugin.zip", &zip), (strange, &other), ("notes.txt", &zip), ("bad.zip", &b"no zip".to_vec())]
    {
        desk.write(name, content);
    }
    let upload = server.url(&format!("{ACME}/upload"));
    let page = format!("http://{}/", serve_form(&upload));
    let files = ["plugin.zip", "plugin.zip", strange, "notes.txt", "bad.zip"];
    let steps: Vec<Value> = files.map(|file| json!({"page": page, "file": desk.path(file)})).into();
    let seen = browse(&desk, &steps);
    let statuses: Vec<&Value> = seen.iter().map(|seen| &seen["status"]).collect();
    assert_eq!(statuses, [201, 200, 201, 400, 400], "{seen:#?}");
    for (seen, version) in seen.iter().zip(["1.0", "1.0", "1.1"]) {
        assert_eq!((&seen["url"], &seen["type"]), (&json!(upload), &json!("application/json")));
        let plugin = shown(seen);
        assert_eq!((&plugin["pid"], &plugin["version"]), (&json!(PID), &json!(version)));
        let id = plugin["id"].as_str().expect("an id");
        let stored = server.admin().read(&format!("{ACME}/{id}")).await;
        assert_eq!(stored["digest"], plugin["digest"]);
    }
    let [.., text, bad] = &seen[..] else { panic!("{seen:?}") };
    for (seen, word) in [(text, ".zip"), (bad, "zip.magic")] {
        let findings = shown(seen)["errors"].to_string();
        assert!(findings.contains(word), "{word}: {seen}");
    }
}

#[tokio::test]
async fn nothing_of_a_plugin_is_executed() {
    let Some((server, desk)) = start() else { return };
    let readme = "# Mail\n\n<script>document.title = 'ran'</script>\n\n<img src=x onerror=\"document.title='ran'\">\n\n\
                  [a link](javascript:document.title='ran')\n\n![logo](logo.svg)\n";
    let package = |pid: &str| Package::new(pid, "1.0").file("README.md", readme);
    let admin = server.admin();
    let vector = admin.publish(ACME, &package(PID).file("logo.svg", SVG)).await;
    let pixels = admin.publish(ACME, &package("com.acme.other").file("logo.png", PNG)).await;
    // The same picture where nothing forbids scripts: there it would run, so that its silence says something.
    desk.write("free.svg", SVG);
    let url = |plugin: &Value, field: &str| server.url(plugin[field].as_str().expect("a path"));
    let steps = [
        json!({"visit": url(&vector, "readme")}),
        json!({"visit": url(&vector, "logo_image")}),
        json!({"visit": url(&pixels, "logo_image")}),
        json!({"visit": format!("file://{}", desk.path("free.svg").display())}),
    ];
    let seen = browse(&desk, &steps);
    let [readme, vector, pixels, free] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&free["title"], &free["marks"]), (&json!("ran"), &json!("onload")), "{free}");

    for (seen, content_type, root) in [
        (readme, "text/html; charset=utf-8", "html"),
        (vector, "image/svg+xml", "svg"),
        (pixels, "image/png", "html"),
    ] {
        assert_eq!((&seen["status"], &seen["type"]), (&json!(200), &json!(content_type)), "{seen}");
        assert_eq!(seen["root"], root, "{seen}");
        assert_ne!(seen["title"], "ran", "{seen}");
        assert_eq!(seen["marks"], Value::Null, "{seen}");
        assert_eq!(seen["origin"], "null", "in a sandbox: {seen}");
    }
    assert!(readme["text"].as_str().is_some_and(|text| text.contains("Mail")), "{readme}");
    assert_eq!(vector["title"], "quiet");
    assert_eq!(pixels["width"], 1, "the picture is shown");
    let told = vector["errors"].to_string();
    assert!(told.contains("sandboxed") || told.contains("Content Security Policy"), "{vector}");
}
