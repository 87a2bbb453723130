//! Files of a package, served one by one out of the zip that was uploaded.

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::disk;
use crate::harness::Server;
use crate::harness::package::Package;
use crate::harness::plugin_api::{ACME, SYSTEM, each};

const PID: &str = "com.acme.mail";
const FILES: &str = "/api/orgs/acme/plugins/com.acme.mail/versions/1.0/files";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and no more";

/// Text that compresses well, of more bytes than are kept in memory.
fn long() -> Vec<u8> {
    (0..20_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect()
}

fn package() -> Package {
    let long = long();
    assert!(long.len() > 64 * 1024);
    Package::new(PID, "1.0")
        .file("src/code.py", "print()")
        .file("src/long.txt", long)
        .file("logo.png", PNG)
        .file("a b/ü.txt", "in a folder")
}

#[tokio::test]
async fn each_file_comes_out_as_it_went_in() {
    for (kind, package) in [("deflated", package()), ("stored", package().stored())] {
        let server = Server::start(&[]);
        let admin = server.admin();
        let member = server.caller(&[("acme", "org_member")]).await;
        let plugin = admin.publish(ACME, &package).await;
        let listed = member.read(FILES).await;
        assert_eq!(
            each(&listed, "path"),
            ["a b/ü.txt", "logo.png", "plugin.json", "src/code.py", "src/long.txt"],
            "{kind}"
        );
        for (path, content, content_type) in [
            ("src/code.py", b"print()".to_vec(), "application/octet-stream"),
            ("src/long.txt", long(), "application/octet-stream"),
            ("logo.png", PNG.to_vec(), "image/png"),
            ("a%20b/%C3%BC.txt", b"in a folder".to_vec(), "application/octet-stream"),
        ] {
            let what = format!("{kind} {path}");
            let url = format!("{FILES}/{path}");
            let digest = Sha256::of(&content).to_string();
            // Twice, as the second time it may be kept.
            for _ in 0..2 {
                let file = member.get(&url).await;
                assert_eq!((file.status.as_u16(), &file.body[..]), (200, &content[..]), "{what}");
                assert_eq!(file.header("etag"), format!("\"{digest}\""), "{what}");
                assert_eq!(file.header("content-type"), content_type, "{what}");
                assert_eq!(file.header("cache-control"), "private, no-cache", "{what}");
            }
            let digests: Vec<&Value> = listed
                .as_array()
                .expect("a list")
                .iter()
                .filter(|file| file["digest"] == json!(digest))
                .collect();
            assert_eq!(digests.len(), 1, "{what}");
            assert_eq!(digests[0]["size"], content.len(), "{what}");

            let head = member.head(&url).await;
            assert_eq!(head.status, 200, "{what}");
            assert_eq!(head.header("content-length"), content.len().to_string(), "{what}");
            let etag = format!("\"{digest}\"");
            for (headers, status, part) in [
                (vec![("if-none-match", &*etag)], 304, &content[..0]),
                (vec![("if-none-match", "\"x\"")], 200, &content[..]),
                (vec![("range", "bytes=2-4")], 206, &content[2..=4]),
                (vec![("range", "bytes=-3")], 206, &content[content.len() - 3..]),
                (vec![("range", "bytes=2-"), ("if-range", &*etag)], 206, &content[2..]),
                (vec![("range", "bytes=2-"), ("if-range", "\"x\"")], 200, &content[..]),
            ] {
                let answer = member.send("GET", &url, &headers, "").await;
                assert_eq!(answer.status.as_u16(), status, "{what} {headers:?}");
                assert_eq!(answer.body[..], *part, "{what} {headers:?}");
            }
            let beyond = [("range", &*format!("bytes={}-", content.len()))];
            assert_eq!(member.send("GET", &url, &beyond, "").await.status, 416, "{what}");
        }
        // Where the plugin says that its logo is.
        let logo = plugin["logo_image"].as_str().expect("a path");
        assert_eq!(member.get(logo).await.body[..], *PNG, "{logo}");
        disk::staging_is_empty(&server).await;
    }
}

#[tokio::test]
async fn paths_lead_nowhere_but_into_the_package() {
    let server = Server::start(&[]);
    let admin = server.admin();
    admin.publish(ACME, &package()).await;
    for (path, status) in [
        ("", 404),
        ("src", 404),
        ("src/", 404),
        ("/src/code.py", 404),
        ("src//code.py", 404),
        ("SRC/code.py", 404),
        ("code.py", 404),
        ("plugin.json/", 404),
        ("src/code.py/", 404),
        ("..", 400),
        ("../files/plugin.json", 400),
        ("src/../plugin.json", 400),
        ("%2e%2e/plugin.json", 400),
        ("src/%2E%2E/plugin.json", 400),
        ("./plugin.json", 400),
        ("src%2Fcode.py", 400),
        ("src%5Ccode.py", 400),
        ("%2Fetc%2Fpasswd", 400),
        ("..%2F..%2Fquire.db", 400),
        ("plugin.json%00", 400),
        ("%ff", 400),
        ("src%252Fcode.py", 404),
        ("plugin.json%20", 404),
    ] {
        let answer = admin.get(&format!("{FILES}/{path}")).await;
        let code = if status == 404 { "not_found" } else { "name_invalid" };
        let told = answer.problem();
        assert_eq!(told.0, status, "{path:?} {answer:?}");
        assert!(told.1 == code, "{path:?} {told:?}");
    }
}

#[tokio::test]
async fn files_go_with_what_they_are_in() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let package = package().field("readme", json!("README.md")).file("README.md", "# Mail");
    let plugin = admin.publish(ACME, &package).await;
    let readme = plugin["readme"].as_str().expect("a path");
    let paths = [format!("{FILES}/src/code.py"), format!("{FILES}/src/long.txt"), readme.to_owned()];
    for path in &paths {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    // Another organisation has the same bytes, and its own right to them.
    admin.publish("/api/orgs/corp/plugins", &package).await;
    let theirs = FILES.replace("acme/plugins", "corp/plugins");
    let member = server.caller(&[("corp", "org_member")]).await;
    let blob = format!("/v2/acme/{PID}/blobs/{}", plugin["digest"].as_str().expect("a digest"));
    assert_eq!(admin.delete(&blob).await.status, 202);
    for path in &paths {
        let etag = format!("\"{}\"", Sha256::of(b"print()"));
        for headers in [vec![], vec![("if-none-match", &*etag)]] {
            let answer = admin.send("GET", path, &headers, "").await;
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{path}");
        }
        assert_eq!(admin.head(path).await.status, 404, "{path}");
    }
    assert_eq!(member.get(&format!("{theirs}/src/code.py")).await.status, 200);
    assert_eq!(member.get(&paths[0]).await.problem(), (403, "not_a_member".to_owned()));

    // The same package again brings back what was deleted of it, also for OCI clients.
    let manifest = admin.read(&format!("/v2/acme/{PID}/manifests/1.0")).await;
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    let config = format!("/v2/acme/{PID}/blobs/{config}");
    assert_eq!(admin.delete(&config).await.status, 202);
    let again = admin.upload(ACME, package.bytes()).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &plugin["id"]));
    for path in paths.iter().chain([&blob, &config]) {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }

    assert_eq!(admin.delete(&format!("/v2/corp/{PID}/manifests/1.0")).await.status, 202);
    assert_eq!(member.get(&format!("{theirs}/src/code.py")).await.status, 404);
    assert_eq!(member.get(&theirs).await.status, 404);
}

#[tokio::test]
async fn urls_are_absolute_where_the_server_knows_its_own() {
    let server = Server::start(&[("PUBLIC_URL", "https://plugins.example/")]);
    let admin = server.admin();
    let package = package().field("readme", json!("README.md")).file("README.md", "# Mail");
    for (plugins, view) in [(ACME, "orgs/acme"), (SYSTEM, "admin")] {
        let plugin = admin.publish(plugins, &package).await;
        for field in ["url", "logo_image", "readme"] {
            let url = plugin[field].as_str().expect("a URL");
            let path = url.strip_prefix("https://plugins.example").unwrap_or_else(|| panic!("{url}"));
            assert_eq!(admin.get(path).await.status, 200, "{view} {path}");
        }
    }
    let seen = admin.read(&format!("{ACME}/{PID}?source=system")).await;
    let logo = seen["logo_image"].as_str().expect("a URL").trim_start_matches("https://plugins.example");
    assert_eq!(server.caller(&[("acme", "org_member")]).await.get(logo).await.body[..], *PNG);
}
