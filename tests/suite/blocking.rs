//! Blocked digests: refused by every way in and out, told to those who may know, and gone when they are unblocked.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::harness::package::{Package, artifact};
use crate::harness::plugin_api::{ACME, SYSTEM, each};
use crate::harness::{Answer, Client, Server, image, store};
use crate::isolation::told;

const MAIL: &str = "com.acme.mail";
const REPOSITORY: &str = "acme/com.acme.mail";
const REASON: &str = "It sends passwords away.";
const STOLEN: &str = "import stolen";

fn bad_package() -> Package {
    Package::new(MAIL, "2.0")
        .file("code.py", STOLEN)
        .file("README.md", "# Mail")
        .field("readme", json!("README.md"))
}

fn digest_of(value: &Value, field: &str) -> String {
    value[field].as_str().expect("a digest").to_owned()
}

fn immutable(digest: &str) -> String {
    format!("/blobs/{}", digest.replace(':', "/"))
}

/// An organisation with a good version 1.0 and a bad one 2.0, both enabled by `latest`.
struct World {
    server: Server,
    admin: Client,
    good: Value,
    bad: Value,
    zip: Vec<u8>,
}

impl World {
    async fn start() -> Self {
        let server = Server::start(&[]);
        let admin = server.admin();
        let good = admin.publish_version(ACME, MAIL, "1.0").await;
        let zip = bad_package().bytes();
        let bad = admin.upload_with(ACME, "?channel=stable", zip.clone()).await.json();
        let body = json!({"channel": "latest"}).to_string();
        let enabled = format!("/api/orgs/acme/enablements/org/{MAIL}");
        assert_eq!(admin.send("PUT", &enabled, &[], body).await.status, 200);
        Self { server, admin, good, bad, zip }
    }

    /// Every way by which the bad version comes out.
    fn reads(&self) -> Vec<String> {
        let (zip, manifest) = (digest_of(&self.bad, "digest"), digest_of(&self.bad, "manifest_digest"));
        let v2 = format!("/v2/{REPOSITORY}");
        let version = format!("{ACME}/{MAIL}/versions/2.0");
        vec![
            format!("{v2}/blobs/{zip}"),
            format!("{v2}/manifests/2.0"),
            format!("{v2}/manifests/stable"),
            format!("{v2}/manifests/{manifest}"),
            immutable(&zip),
            immutable(&manifest),
            format!("{version}/files/code.py"),
            format!("{version}/files/plugin.json"),
            format!("{version}/readme"),
        ]
    }

    async fn latest(&self) -> String {
        digest_of(&self.admin.read(&format!("{ACME}/{MAIL}")).await, "version")
    }

    async fn loaded(&self) -> Vec<String> {
        let plan = self.admin.read("/api/orgs/acme/orchestrator-plan").await;
        each(&plan["plugins"], "version").into_iter().map(str::to_owned).collect()
    }
}

/// A refusal that says why, in the form that its path has.
fn assert_blocked(answer: &Answer, what: &str) {
    if answer.header("content-type") == "application/problem+json" {
        assert_eq!(answer.problem(), (403, "blocked".to_owned()), "{what}");
        assert_eq!(answer.json()["context"]["reason"], REASON, "{what}");
    } else {
        assert_refused(answer, 403, "DENIED", what);
        let detail = &answer.json()["errors"][0]["detail"];
        assert_eq!((&detail["rule"], &detail["reason"]), (&json!("blocked"), &json!(REASON)), "{what}");
    }
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
}

/// Whichever part of a version is blocked, none of it comes out, and everything does again afterwards.
#[tokio::test]
async fn a_version_is_blocked_by_each_of_its_parts() {
    let world = World::start().await;
    let World { server, admin, bad, zip, good } = &world;
    let member = server.caller(&[("acme", "org_member")]).await;
    let publisher = server.caller(&[("acme", "publisher")]).await;
    for (part, digest, refused) in [
        ("zip", digest_of(bad, "digest"), 2),
        ("manifest", digest_of(bad, "manifest_digest"), 2),
        ("member", Sha256::of(STOLEN.as_bytes()).to_string(), 3),
    ] {
        for path in world.reads() {
            assert_eq!(member.get(&path).await.status, 200, "before: {part} {path}");
        }
        assert_eq!((world.latest().await, world.loaded().await), ("2.0".to_owned(), vec!["2.0".to_owned()]));

        let made = admin.block(&digest, REASON).await;
        assert_eq!(made.status, 201, "{part} {made:?}");
        assert_eq!(made.json()["digests"], refused, "{part}");
        for path in world.reads() {
            let what = format!("{part} {path}");
            let answer = member.get(&path).await;
            assert_blocked(&answer, &what);
            assert_eq!(member.head(&path).await.status, 403, "{what}");
            let etag = format!("\"{}\"", path.rsplit('/').next().expect("a name"));
            for etag in [&etag, "*"] {
                let known = member.send("GET", &path, &[("if-none-match", etag)], "").await;
                assert_blocked(&known, &what);
            }
            assert_blocked(&member.send("GET", &path, &[("range", "bytes=0-1")], "").await, &what);
        }
        assert_eq!((world.latest().await, world.loaded().await), ("1.0".to_owned(), vec!["1.0".to_owned()]));
        let shown = member.read(&format!("{ACME}/{MAIL}/versions/2.0")).await;
        assert_eq!(
            (&shown["blocked"]["reason"], &shown["is_latest"]),
            (&json!(REASON), &json!(false)),
            "{part}"
        );
        let latest = member.get(&format!("/v2/{REPOSITORY}/manifests/latest")).await;
        assert_eq!(latest.header("docker-content-digest"), good["manifest_digest"], "{part}");
        assert_eq!(member.read(&format!("{ACME}?channel=stable")).await, json!([]), "{part}");

        // By no way does it come in again, there or elsewhere.
        for (plugins, zip) in [(ACME, zip), (SYSTEM, zip), ("/api/orgs/corp/plugins", zip)] {
            assert_blocked(
                &admin.upload(plugins, zip.clone()).await,
                &format!("{part} uploaded to {plugins}"),
            );
            assert_blocked(&admin.upload_form(plugins, "a.zip", zip).await, part);
        }
        if part == "member" {
            let another = Package::new(MAIL, "3.0").file("sub/code.py", STOLEN).bytes();
            assert_blocked(&publisher.upload(ACME, another).await, "another package with that file");
            let push = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
            assert_blocked(&publisher.send("POST", &push, &[], STOLEN).await, "the file as a blob");
        } else {
            let digest = digest_of(bad, "digest");
            let push = format!("/v2/acme/other/blobs/uploads/?digest={digest}");
            assert_blocked(&publisher.send("POST", &push, &[], zip.clone()).await, part);
            let session = publisher.open_session("acme/other").await;
            let end = format!("{session}?digest={digest}");
            assert_blocked(&publisher.send("PUT", &end, &[], zip.clone()).await, part);
            let usage = admin.read("/api/orgs/acme").await["usage"].clone();
            for from in ["", &format!("&from={REPOSITORY}")] {
                let mount = format!("/v2/acme/mounted/blobs/uploads/?mount={digest}{from}");
                assert_blocked(&publisher.send("POST", &mount, &[], "").await, &format!("{part} mounted"));
            }
            assert_eq!(admin.read("/api/orgs/acme").await["usage"], usage, "{part}: nothing was linked");
        }
        let manifest = artifact(zip);
        assert_blocked(
            &publisher.put_manifest(REPOSITORY, "mine", &manifest).await,
            &format!("{part} pushed"),
        );

        assert_eq!(admin.unblock(&digest).await.status, 204, "{part}");
        for path in world.reads() {
            assert_eq!(member.get(&path).await.status, 200, "after: {part} {path}");
        }
        assert_eq!((world.latest().await, world.loaded().await), ("2.0".to_owned(), vec!["2.0".to_owned()]));
        assert_eq!(admin.upload(ACME, zip.clone()).await.status, 200, "{part}");
    }
}

#[tokio::test]
async fn a_blob_of_no_plugin_is_blocked_as_well() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let manifest = admin.push_artifact("system/tool", "latest", "layer").await;
    let layer = Sha256::of(b"layer").to_string();
    let anonymous = server.anonymous();
    let blob = [format!("/v2/system/tool/blobs/{layer}"), immutable(&layer)];
    for path in &blob {
        assert_eq!(anonymous.get(path).await.status, 200);
    }
    assert_eq!(admin.block(&layer, REASON).await.status, 201);
    for path in &blob {
        assert_blocked(&anonymous.get(path).await, path);
    }
    // Its manifest says what it was made of, and that is all.
    assert_eq!(anonymous.get(&format!("/v2/system/tool/manifests/{manifest}")).await.status, 200);
    let config = Sha256::of(b"{}").to_string();
    let again = image(&config, 2, &[(&layer, 5)]);
    assert_blocked(&admin.put_manifest("system/tool", "again", &again).await, "another manifest of it");
    assert_eq!(admin.unblock(&layer).await.status, 204);
    for path in &blob {
        assert_eq!(anonymous.get(path).await.status, 200);
    }
}

/// P3: strangers are told the same as before, whatever is blocked.
#[tokio::test]
async fn p3_a_block_tells_strangers_nothing() {
    let world = World::start().await;
    let World { server, admin, bad, zip, .. } = &world;
    let stranger = server.caller(&[("corp", "publisher")]).await;
    let strangers = [server.anonymous(), stranger.short(&["corp/own:pull,push"]).await, stranger];
    let (digest, member) = (digest_of(bad, "digest"), Sha256::of(STOLEN.as_bytes()).to_string());
    let config = Sha256::of(b"{}").to_string();
    admin.push_blob("corp/own", "{}").await;
    let mut asked: Vec<(&str, String, String)> =
        world.reads().into_iter().map(|path| ("GET", path, String::new())).collect();
    for digest in [&digest, &member] {
        asked.push(("GET", immutable(digest), String::new()));
        asked.push(("HEAD", immutable(digest), String::new()));
        asked.push(("GET", format!("/v2/corp/own/blobs/{digest}"), String::new()));
        let mount = format!("/v2/corp/own/blobs/uploads/?mount={digest}");
        asked.push(("POST", format!("{mount}&from={REPOSITORY}"), String::new()));
        asked.push(("POST", mount, String::new()));
        // A manifest over what they do not have.
        let manifest = image(&config, 2, &[(digest, zip.len())]).to_string();
        asked.push(("PUT", "/v2/corp/own/manifests/new".to_owned(), manifest));
    }
    asked.push(("PUT", "/v2/corp/own/manifests/plugin".to_owned(), artifact(zip).to_string()));
    asked.push(("GET", "/api/orgs/corp/plugins".to_owned(), String::new()));
    asked.push(("GET", "/api/admin/blocked-digests".to_owned(), String::new()));
    let ask = async || {
        let typed = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
        let mut answers = Vec::new();
        for client in &strangers {
            for (method, path, body) in &asked {
                let headers = if *method == "PUT" { &typed[..] } else { &[] };
                let answer = client.send(method, path, headers, body.clone()).await;
                let (status, mut headers, mut body) = told(answer);
                // A session has an id of its own.
                if status == 202 {
                    (headers, body) = (String::new(), String::new());
                }
                answers.push((format!("{method} {path}"), status, headers, body));
            }
        }
        answers
    };
    let before = ask().await;
    for digest in [&digest, &member] {
        assert_eq!(admin.block(digest, REASON).await.status, 201);
        for (before, after) in before.iter().zip(ask().await) {
            assert_eq!(before, &after, "{digest}");
        }
    }
}

#[tokio::test]
async fn blocks_are_listed_changed_and_ended() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let mut digests: Vec<String> = (0..5).map(|number: u8| Sha256::of(&[number]).to_string()).collect();
    for digest in &digests {
        assert_eq!(admin.block(digest, "Because.").await.status, 201);
    }
    digests.sort();
    let path = "/api/admin/blocked-digests";
    let list = admin.read(path).await;
    assert_eq!(each(&list, "digest"), digests);
    assert_eq!(each(&list, "reason"), ["Because."; 5]);
    assert_eq!(each(&list, "blocked_by"), ["admin"; 5]);
    let mut pages = Vec::new();
    let mut next = format!("{path}?limit=2");
    while !next.is_empty() {
        let page = admin.get(&next).await;
        pages.push(page.json().as_array().map_or(0, Vec::len));
        let link = page.header("link");
        next = link.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
    }
    assert_eq!(pages, [2, 2, 1]);

    let again = admin.block(&digests[0], "Because.").await;
    assert_eq!((again.status.as_u16(), &again.json()), (200, &list[0]));
    let changed = admin.block(&digests[0], "For another reason.").await;
    assert_eq!((changed.status.as_u16(), &changed.json()["reason"]), (200, &json!("For another reason.")));
    assert_eq!(admin.unblock(&digests[0]).await.status, 204);
    assert_eq!(admin.unblock(&digests[0]).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(each(&admin.read(path).await, "digest"), digests[1..]);

    let digest = &digests[0];
    for body in [
        json!({}),
        json!([]),
        json!({"reason": ""}),
        json!({"reason": " \n"}),
        json!({"reason": "x".repeat(1001)}),
        json!({"reason": "a\u{0}"}),
        json!({"reason": 7}),
        json!({"reason": "a", "more": 1}),
    ] {
        let answer = admin.send("PUT", &format!("{path}/{digest}"), &[], body.to_string()).await;
        assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{body}");
    }
    // What is in everything would block everything.
    for common in [&b""[..], b"{}"] {
        let answer = admin.block(&Sha256::of(common).to_string(), "Because.").await;
        assert_eq!(answer.problem(), (400, "invalid".to_owned()));
        assert_eq!(answer.json()["errors"][0]["code"], "digest");
    }
    let hex = digest.trim_start_matches("sha256:");
    for wrong in [hex, "sha256:short", "md5:00", &format!("sha512:{hex}{hex}"), &digest.to_uppercase()] {
        assert_eq!(
            admin.block(wrong, "Because.").await.problem(),
            (400, "digest_invalid".to_owned()),
            "{wrong}"
        );
    }
    assert_eq!(each(&admin.read(path).await, "digest").len(), 4);
}

/// What is blocked before it ever came is refused when it comes.
#[tokio::test]
async fn a_digest_is_blocked_that_nobody_has_yet() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let zip = bad_package().bytes();
    for (digest, bytes) in
        [(Sha256::of(&zip).to_string(), &zip), (Sha256::of(STOLEN.as_bytes()).to_string(), &zip)]
    {
        assert_eq!(admin.block(&digest, REASON).await.json()["digests"], 1);
        assert_blocked(&admin.upload(ACME, bytes.clone()).await, &digest);
        crate::disk::staging_is_empty(&server).await;
        assert_eq!(crate::disk::blobs(&server).len(), 0, "{digest}");
        assert_eq!(admin.unblock(&digest).await.status, 204);
    }
    assert_eq!(admin.upload(ACME, zip).await.status, 201);
}

/// Two processes on one database and one blob store, as two nodes would be.
#[tokio::test]
async fn a_block_outlives_the_process_and_reaches_others_in_time() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut first = Server::start_in(one.path(), &[]);
    let admin = first.admin();
    let bad = admin.publish(ACME, &bad_package()).await;
    let digest = digest_of(&bad, "digest");
    let data = two.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    symlink(first.data.join("blobs"), data.join("blobs")).expect("a link");
    store::share(one.path(), two.path());
    let second = Server::start_in(two.path(), &[]);
    let elsewhere = second.admin();
    let paths = [immutable(&digest), format!("{ACME}/{MAIL}/versions/2.0/files/code.py")];
    for path in &paths {
        assert_eq!(elsewhere.get(path).await.status, 200, "{path}");
    }
    let listed = async |client: &Client| client.read(ACME).await.as_array().map_or(0, Vec::len);
    assert_eq!(listed(&elsewhere).await, 1);

    let in_time = Duration::from_secs(2);
    for (blocked, expected, count) in [(true, 403, 0), (false, 200, 1)] {
        let begun = Instant::now();
        let status = if blocked { admin.block(&digest, REASON).await } else { admin.unblock(&digest).await };
        assert!(status.status.is_success(), "{status:?}");
        for path in &paths {
            assert_eq!(admin.get(path).await.status, expected, "at once where it was said");
        }
        while elsewhere.get(&paths[0]).await.status != expected
            || elsewhere.get(&paths[1]).await.status != expected
            || listed(&elsewhere).await != count
        {
            assert!(begun.elapsed() < in_time, "the other process goes on as before: {blocked}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(admin.block(&digest, REASON).await.status, 201);
    drop(second);
    first.kill();
    let again = Server::start_in(one.path(), &[]);
    for path in &paths {
        assert_blocked(&again.admin().get(path).await, path);
    }
    assert_eq!(listed(&again.admin()).await, 0);
}

/// The lines of the audit log since a number, as action, catalog, object and outcome.
async fn audited(client: &Client, after: &mut u64) -> Vec<[String; 4]> {
    let answer = client.get(&format!("/api/audit?after={after}")).await;
    let text = String::from_utf8(answer.body.to_vec()).expect("a text");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        *after = line["id"].as_u64().expect("a number");
        ["action", "catalog", "object", "outcome"].map(|field| line[field].as_str().unwrap_or("-").to_owned())
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn what_is_done_to_plugins_is_told_to_the_audit_log() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let mut after = 0;
    audited(&admin, &mut after).await;
    let contributor = server.caller(&[("acme", "contributor")]).await;
    audited(&admin, &mut after).await;
    let mut tells = async |what: &str, expected: &[[&str; 4]]| {
        assert_eq!(audited(&admin, &mut after).await, expected, "{what}");
    };
    let zip = bad_package().bytes();
    let plugin = admin.upload(ACME, zip.clone()).await.json();
    let (manifest, package) = (digest_of(&plugin, "manifest_digest"), digest_of(&plugin, "digest"));
    let config = admin.read(&format!("/v2/{REPOSITORY}/manifests/2.0")).await;
    let config = digest_of(&config["config"], "digest");
    let at = |digest: &str| format!("{REPOSITORY}@{digest}");
    let (pushed, version) = (at(&manifest), format!("{REPOSITORY}:2.0@{manifest}"));
    let latest = format!("{REPOSITORY}:latest@{manifest}");
    tells(
        "an upload",
        &[
            ["blob.push", "acme", &at(&config), "done"],
            ["blob.push", "acme", &at(&package), "done"],
            ["manifest.push", "acme", &pushed, "done"],
            ["tag.set", "acme", &version, "done"],
            ["tag.set", "acme", &latest, "done"],
        ],
    )
    .await;
    admin.upload(ACME, zip.clone()).await;
    tells("the same again", &[]).await;
    admin.upload(ACME, Package::new(MAIL, "2.0").bytes()).await;
    tells("other bytes", &[["plugin.upload", "acme", "acme", "refused"]]).await;
    let path = format!("{ACME}/{}", plugin["id"].as_str().expect("an id"));
    contributor.delete(&path).await;
    let id = format!("plugin:{}", plugin["id"].as_str().expect("an id"));
    tells("what is not allowed", &[["version.change", "acme", &id, "refused"]]).await;

    admin.change(ACME, &plugin, json!({"yanked": {"reason": "slow"}})).await;
    let gone = format!("{REPOSITORY}:latest@{manifest}");
    tells("yanking", &[["version.change", "acme", &version, "done"], ["tag.delete", "acme", &gone, "done"]])
        .await;
    admin.change(ACME, &plugin, json!({"yanked": {"reason": "slow"}})).await;
    tells("the same again", &[]).await;
    admin.change(ACME, &plugin, json!({"yanked": null})).await;
    tells(
        "the end of that",
        &[["version.change", "acme", &version, "done"], ["tag.set", "acme", &latest, "done"]],
    )
    .await;

    let enablement = format!("/api/orgs/acme/enablements/org/{MAIL}");
    let (body, object) = (json!({"channel": "latest"}).to_string(), format!("{REPOSITORY}:latest"));
    for expected in [&[["enablement.set", "acme", &object, "done"]][..], &[]] {
        admin.send("PUT", &enablement, &[], body.clone()).await;
        tells("enabling", expected).await;
    }
    for expected in [&[["enablement.delete", "acme", REPOSITORY, "done"]][..], &[]] {
        admin.delete(&enablement).await;
        tells("no longer", expected).await;
    }
    admin.block(&package, REASON).await;
    tells(
        "a block",
        &[
            ["version.change", "acme", &version, "done"],
            ["tag.delete", "acme", &gone, "done"],
            ["block.set", "system", &package, "done"],
        ],
    )
    .await;
    admin.upload(ACME, zip).await;
    tells("what is blocked", &[["plugin.upload", "acme", "acme", "refused"]]).await;
    contributor.delete(&format!("/api/admin/blocked-digests/{package}")).await;
    tells("not for everybody", &[["block.delete", "system", &package, "refused"]]).await;
    admin.unblock(&package).await;
    tells(
        "the end of a block",
        &[
            ["version.change", "acme", &version, "done"],
            ["tag.set", "acme", &latest, "done"],
            ["block.delete", "system", &package, "done"],
        ],
    )
    .await;
}
