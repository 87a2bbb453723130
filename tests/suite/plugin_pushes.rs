//! Plugins that an OCI client pushes: what is accepted, what is refused with which findings, and what its tags do.

use std::time::{Duration, Instant};

use quire::digest::Sha256;
use quire::package::{ARTIFACT_TYPE, CONFIG_MEDIA_TYPE, Limits};
use serde_json::{Value, json};

use crate::attacks::{denied, index, of, rule, target};
use crate::harness::package::{Package, annotated, artifact};
use crate::harness::{Answer, Client, Server};
use crate::organisations::{good, send};

const PID: &str = "com.acme.tool";
const TOOL: &str = "acme/com.acme.tool";

fn zip(version: &str, text: &str) -> Vec<u8> {
    Package::new(PID, version).file("tool.py", text).bytes()
}

/// The digest of the manifest that pushes a zip.
fn manifest_of(zip: &[u8]) -> String {
    of(&artifact(zip).to_string())
}

async fn tags(client: &Client, repository: &str) -> Value {
    good(&client.get(&format!("/v2/{repository}/tags/list")).await, 200)["tags"].clone()
}

/// The rules of the findings that refused a package.
fn findings(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.refusal(), (400, "MANIFEST_INVALID".to_owned()), "{answer:?}");
    let findings = answer.json()["errors"][0]["detail"]["findings"].clone();
    let rule = |finding: &Value| {
        assert_eq!(finding["severity"], "error", "{finding}");
        assert!(finding["message"].as_str().is_some_and(|message| message.len() > 9), "{finding}");
        assert!(finding.get("hint").is_some() && finding.get("path").is_some(), "{finding}");
        finding["rule"].as_str().expect("a rule").to_owned()
    };
    findings.as_array().expect("findings").iter().map(rule).collect()
}

#[tokio::test]
async fn a_version_comes_by_its_tag_by_a_channel_or_by_digest() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let one = zip("1.0", "one");
    let answer = publisher.push_plugin(TOOL, "1.0", &one).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("docker-content-digest"), manifest_of(&one));
    assert_eq!(tags(&publisher, TOOL).await, json!(["1.0", "latest"]));
    for name in ["1.0", "latest"] {
        let pulled = publisher.get(&format!("/v2/{TOOL}/manifests/{name}")).await;
        assert_eq!(pulled.body, artifact(&one).to_string(), "{name}");
    }
    let layer = publisher.get(&format!("/v2/{TOOL}/blobs/{}", Sha256::of(&one))).await;
    assert_eq!(layer.body, one, "byte for byte");

    let two = zip("1.1", "two");
    assert_eq!(publisher.push_plugin(TOOL, "stable", &two).await.status, 201);
    assert_eq!(tags(&publisher, TOOL).await, json!(["1.0", "1.1", "latest", "stable"]));
    for name in ["1.1", "latest", "stable"] {
        assert_eq!(target(&server, TOOL, name).await, manifest_of(&two), "{name}");
    }
    // A lower one and a pre-release move nothing, by whatever reference they come.
    let lower = zip("1.0.5", "lower");
    assert_eq!(publisher.push_plugin(TOOL, &manifest_of(&lower), &lower).await.status, 201);
    assert_eq!(target(&server, TOOL, "1.0.5").await, manifest_of(&lower));
    let preview = zip("2.0-rc.1", "preview");
    assert_eq!(publisher.push_plugin(TOOL, "latest", &preview).await.status, 201);
    assert_eq!(target(&server, TOOL, "2.0-rc.1").await, manifest_of(&preview));
    let beta = zip("1.0.6", "beta");
    let reference = format!("{}?tag=beta&tag=1.0.6", manifest_of(&beta));
    let answer = publisher.push_plugin(TOOL, &reference, &beta).await;
    assert_eq!(answer.headers.get_all("oci-tag").iter().collect::<Vec<_>>(), ["beta", "1.0.6"], "{answer:?}");
    assert_eq!(target(&server, TOOL, "beta").await, manifest_of(&beta));
    assert_eq!(target(&server, TOOL, "latest").await, manifest_of(&two));

    // The same again is good, and changes nothing.
    let history = async || {
        let path = format!("/v2/{TOOL}/_quire/tags/1.0/history");
        good(&publisher.get(&path).await, 200)["history"].as_array().map(Vec::len)
    };
    for reference in ["1.0", "latest", &manifest_of(&one)] {
        assert_eq!(publisher.push_plugin(TOOL, reference, &one).await.status, 201);
    }
    assert_eq!(history().await, Some(1));
    assert_eq!(target(&server, TOOL, "latest").await, manifest_of(&two));

    // Each catalog has its own of the same name.
    let system = "system/com.acme.tool";
    assert_eq!(server.admin().push_plugin(system, "1.0", &one).await.status, 201);
    assert_eq!(target(&server, system, "latest").await, manifest_of(&one));
}

#[tokio::test]
async fn channels_move_on_conditions_and_latest_follows() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let contributor = server.caller(&[("acme", "contributor")]).await;
    let zips = ["1.0", "1.1", "1.2"].map(|version| zip(version, version));
    let push = async |client: &Client, zip: &[u8], header: (&str, &str)| {
        client.push_package(TOOL, zip).await;
        let headers = [header, ("content-type", "application/vnd.oci.image.manifest.v1+json")];
        let path = format!("/v2/{TOOL}/manifests/stable");
        client.send("PUT", &path, &headers, artifact(zip).to_string()).await
    };
    assert_eq!(push(&publisher, &zips[0], ("if-none-match", "*")).await.status, 201);
    let quoted = format!("\"{}\"", manifest_of(&zips[0]));
    assert_eq!(push(&publisher, &zips[1], ("if-match", &quoted)).await.status, 201);
    for name in ["1.1", "stable", "latest"] {
        assert_eq!(target(&server, TOOL, name).await, manifest_of(&zips[1]), "{name}");
    }
    let late = push(&publisher, &zips[2], ("if-match", &quoted)).await;
    assert_eq!(late.status, 412, "{late:?}");
    assert_eq!(target(&server, TOOL, "1.2").await, "", "nothing of it");
    // Who may make tags and not move them publishes versions, which `latest` follows.
    let refused = contributor.push_plugin(TOOL, "stable", &zips[2]).await;
    assert_eq!(denied(&refused), rule(403, "create_only"));
    assert_eq!(contributor.push_plugin(TOOL, "latest", &zips[2]).await.status, 201);
    assert_eq!(target(&server, TOOL, "latest").await, manifest_of(&zips[2]));
    let refused = publisher.put_manifest(TOOL, "latest", &index(1)).await;
    assert_eq!(denied(&refused), rule(403, "latest_follows"));
    assert_eq!(publisher.put_manifest(TOOL, "beta", &index(1)).await.status, 201, "a channel may name it");
}

#[tokio::test]
async fn a_package_that_is_none_is_refused_with_its_findings() {
    let server = Server::start(&[]);
    let admin = server.admin();
    send(&admin, "PATCH /api/orgs/corp", &json!({"domain": "corp.example"})).await;
    let mut cut = zip("1.0", "text");
    cut.truncate(cut.len() - 1);
    let mut prefixed = zip("1.0", "text");
    prefixed.insert(0, b'#');
    let bad = Package::new("Tool", "v1.0").field("name", json!(7)).field("description", Value::Null);
    let settings = json!([{"key": "a", "type": "int", "default": "x"}, {"key": "a", "type": "strange"}]);
    for (bytes, expected) in [
        (b"no zip at all".to_vec(), vec!["zip.magic"]),
        (prefixed, vec!["zip.prefix"]),
        (cut, vec!["zip.end-record"]),
        (bad.bytes(), vec!["plugin.pid", "plugin.name", "plugin.version", "plugin.description"]),
        (Package::new(PID, "1.0").file("../evil", "").bytes(), vec!["name.dots"]),
        (Package::new(PID, "1.0").settings(settings).bytes(), vec!["settings.default", "settings.type"]),
    ] {
        for reference in ["1.0", "stable", &manifest_of(&bytes)] {
            let answer = admin.push_plugin(TOOL, reference, &bytes).await;
            assert_eq!(findings(&answer), expected, "{reference}");
        }
        let pulled = admin.get(&format!("/v2/{TOOL}/manifests/{}", manifest_of(&bytes))).await;
        assert_eq!(pulled.status, 404);
    }
    assert_eq!(tags(&admin, TOOL).await, json!([]), "the blobs are there, and no tag");

    // A pid of an organisation with a domain starts with it.
    let foreign = admin.push_plugin("corp/com.acme.tool", "1.0", &zip("1.0", "")).await;
    assert_eq!(findings(&foreign), ["plugin.domain"]);
    let own = Package::new("example.corp.tool", "1.0").bytes();
    assert_eq!(admin.push_plugin("corp/example.corp.tool", "1.0", &own).await.status, 201);
}

#[tokio::test]
async fn a_manifest_says_what_its_package_does() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let package = Package::new(PID, "1.0").field("capabilities", json!(["mail"]));
    let (bytes, more) = (package.bytes(), b"more".to_vec());
    let source = &*bytes;
    let read = quire::package::check(&source, &Limits::default(), Instant::now() + Duration::from_secs(10));
    let config = read.expect("a package").plugin.expect("a plugin").config().expect("a document");
    let other = "acme/com.acme.other";
    for repository in [TOOL, other] {
        admin.push_package(repository, &bytes).await;
        admin.push_blob(repository, config.clone()).await;
        admin.push_blob(repository, more.clone()).await;
    }
    let good = artifact(&bytes);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest
    };
    let with_config = |media_type: &str, bytes: &[u8]| {
        let config = json!({
            "mediaType": media_type, "digest": Sha256::of(bytes).to_string(), "size": bytes.len(),
        });
        with(&|manifest| manifest["config"] = config.clone())
    };
    let mut list = index(1);
    list["artifactType"] = json!(ARTIFACT_TYPE);
    let layer = good["layers"][0].clone();
    for (repository, reference, manifest, expected) in [
        (other, "stable", good.clone(), &["artifact.repository"][..]),
        (other, "1.1", good.clone(), &["artifact.repository", "artifact.tag"]),
        (TOOL, "1.1", good.clone(), &["artifact.tag"]),
        (TOOL, "1.0.0", good.clone(), &["artifact.tag"]),
        (TOOL, "1.0?tag=1.0-rc.1&tag=2.0&tag=beta", good.clone(), &["artifact.tag", "artifact.tag"]),
        (TOOL, "1.0", with(&|it| it["layers"] = json!([layer, layer])), &["artifact.layers"]),
        (TOOL, "1.0", with(&|it| it["layers"] = json!([])), &["artifact.layers"]),
        (
            TOOL,
            "1.0",
            with(&|it| it["layers"][0]["mediaType"] = json!("application/gzip")),
            &["artifact.layers"],
        ),
        (TOOL, "1.0", list, &["artifact.kind"]),
        (TOOL, "1.0", with_config(CONFIG_MEDIA_TYPE, &more), &["artifact.config"]),
        (TOOL, "1.0", with_config("application/vnd.oci.image.config.v1+json", &config), &["artifact.config"]),
        (
            other,
            "1.1",
            with_config(ARTIFACT_TYPE, b"{}"),
            &["artifact.repository", "artifact.tag", "artifact.config"],
        ),
    ] {
        let answer = match reference.split_once('?') {
            None => admin.put_manifest(repository, reference, &manifest).await,
            Some((_, query)) => {
                let by_digest = format!("{}?{query}", of(&manifest.to_string()));
                admin.put_manifest(repository, &by_digest, &manifest).await
            }
        };
        assert_eq!(findings(&answer), expected, "{repository}:{reference} {manifest}");
        assert_eq!(tags(&admin, repository).await, json!([]));
    }
    // The other way round a config that says the same is as good as one that says nothing.
    let full = with_config(CONFIG_MEDIA_TYPE, &config);
    assert_eq!(admin.put_manifest(TOOL, "1.0", &full).await.status, 201);
    assert_eq!(target(&server, TOOL, "latest").await, of(&full.to_string()));
}

#[tokio::test]
async fn a_package_has_to_be_there_and_not_too_large() {
    let large = Package::new(PID, "1.0").file("noise", Sha256::of(b"").0.repeat(100)).bytes();
    let small = zip("1.1", "small");
    let server = Server::start(&[("MAX_PLUGIN_UPLOAD_BYTES", &(small.len()).to_string())]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let refused = async |reference: &str, manifest: &Value, status: u16, code: &str| {
        let answer = publisher.put_manifest(TOOL, reference, manifest).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{manifest}");
    };
    assert!(large.len() > small.len());
    publisher.push_package(TOOL, &large).await;
    refused("1.0", &artifact(&large), 413, "SIZE_INVALID").await;
    let mut lying = artifact(&large);
    lying["layers"][0]["size"] = json!(small.len());
    refused("1.0", &lying, 400, "SIZE_INVALID").await;

    // Blobs of another repository are none of this one's.
    let tool = artifact(&small);
    publisher.push_package("acme/elsewhere", &small).await;
    refused("1.1", &tool, 404, "MANIFEST_BLOB_UNKNOWN").await;
    let answer = publisher.put_manifest(TOOL, "1.1", &tool).await;
    let digests = answer.json()["errors"][0]["detail"]["digests"].clone();
    assert_eq!(digests, json!([Sha256::of(&small).to_string()]));
    assert_eq!(tags(&publisher, TOOL).await, json!([]));
    assert_eq!(publisher.push_plugin(TOOL, "1.1", &small).await.status, 201, "just as large as it may be");
    // The empty config is a blob as well.
    let elsewhere = "acme/com.acme.other";
    let other = Package::new("com.acme.other", "1.0").bytes();
    publisher.push_blob(elsewhere, other.clone()).await;
    let answer = publisher.put_manifest(elsewhere, "1.0", &artifact(&other)).await;
    assert_eq!(answer.refusal(), (404, "MANIFEST_BLOB_UNKNOWN".to_owned()));
}

/// P4: the first package of a version is its only one.
#[tokio::test]
async fn other_bytes_under_a_version_are_refused_with_both_digests() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let (one, other) = (zip("1.0", "one"), zip("1.0", "other"));
    let longer = zip("1.0.0", "one");
    assert_eq!(publisher.push_plugin(TOOL, "1.0", &one).await.status, 201);
    for (bytes, manifest) in
        [(&other, artifact(&other)), (&one, annotated(&one, "again")), (&longer, artifact(&longer))]
    {
        publisher.push_package(TOOL, bytes).await;
        let own = of(&manifest.to_string());
        let spelled = if *bytes == longer { "1.0.0" } else { "1.0" };
        for reference in [spelled, "stable", "latest", &own] {
            let answer = publisher.put_manifest(TOOL, reference, &manifest).await;
            assert_eq!(answer.refusal(), (403, "DENIED".to_owned()), "{reference} {answer:?}");
            let error = &answer.json()["errors"][0];
            let (package, ours) = (Sha256::of(&one).to_string(), Sha256::of(bytes).to_string());
            let detail = json!({
                "rule": "version_immutable", "tag": "1.0", "digest": manifest_of(&one), "package": package,
                "refused": ours,
            });
            assert_eq!(error["detail"], detail);
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(&package) && message.contains(&ours), "{message}");
        }
        assert_eq!(publisher.get(&format!("/v2/{TOOL}/manifests/{own}")).await.status, 404);
    }
    assert_eq!(tags(&publisher, TOOL).await, json!(["1.0", "latest"]));

    // Deleted by its tag or with its manifest, it stays what it was, in either spelling.
    let kept = manifest_of(&one);
    for path in ["1.0", &kept] {
        let path = format!("/v2/{TOOL}/manifests/{path}");
        assert_eq!(publisher.delete(&path).await.status, 202);
        assert_eq!(target(&server, TOOL, "latest").await, "", "nothing to name");
        for (reference, bytes) in [("1.0", &other), ("stable", &other), ("1.0.0", &longer), ("beta", &longer)]
        {
            let answer = publisher.push_plugin(TOOL, reference, bytes).await;
            let detail = json!({"rule": "version_immutable", "tag": "1.0", "digest": kept});
            assert_eq!(answer.refusal(), (403, "DENIED".to_owned()), "{reference}");
            assert_eq!(answer.json()["errors"][0]["detail"], detail, "{reference}");
        }
        let again = publisher.push_annotated(TOOL, "1.0", &one, "again").await;
        assert_eq!(denied(&again), rule(403, "version_immutable"));
        assert_eq!(publisher.push_plugin(TOOL, "1.0", &one).await.status, 201, "the same comes back");
        assert_eq!(target(&server, TOOL, "latest").await, kept);
    }
}

#[tokio::test]
async fn latest_is_right_after_every_push_and_every_deletion() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let pull = async |name: &str| publisher.get(&format!("/v2/{TOOL}/manifests/{name}")).await;
    // A `+` pushes a version, a `-` deletes its tag, a `!` its manifest; behind it what `latest` is then.
    for step in [
        "+1.0 1.0",
        "+2.0-rc.1 1.0",
        "+1.10 1.10",
        "+1.9 1.10",
        "-1.10 1.9",
        "+1.10 1.10",
        "!1.10 1.9",
        "!1.9 1.0",
        "-1.0 2.0-rc.1",
        "!2.0-rc.1 none",
        "+1.9 1.9",
        "+2.0-rc.1 1.9",
        "-1.9 2.0-rc.1",
        "+2.0 2.0",
        "+1.0 2.0",
    ] {
        let (what, latest) = step.split_once(' ').expect("two words");
        let (what, version) = what.split_at(1);
        let bytes = zip(version, "text");
        match what {
            "+" => assert_eq!(publisher.push_plugin(TOOL, version, &bytes).await.status, 201, "{step}"),
            deleted => {
                let digest = manifest_of(&bytes);
                let path = if deleted == "-" { version } else { &digest };
                let answer = publisher.delete(&format!("/v2/{TOOL}/manifests/{path}")).await;
                assert_eq!(answer.status, 202, "{step}");
            }
        }
        let pulled = pull("latest").await;
        match latest {
            "none" => assert_eq!(pulled.status, 404, "{step}"),
            latest => assert_eq!(pulled.body, artifact(&zip(latest, "text")).to_string(), "{step}"),
        }
    }
    // It can't be deleted while there is something that it names.
    assert_eq!(publisher.delete(&format!("/v2/{TOOL}/manifests/latest")).await.status, 202);
    assert_eq!(pull("latest").await.body, artifact(&zip("2.0", "text")).to_string());
}

#[tokio::test]
async fn one_of_many_pushes_of_a_version_wins() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    for round in 0..3 {
        let mut pushes = tokio::task::JoinSet::new();
        for writer in 0..12 {
            let publisher = publisher.clone();
            let version = format!("{round}.{}", if writer % 2 == 0 { "1" } else { "1.0" });
            let bytes = zip(&version, &writer.to_string());
            let reference = if writer % 3 == 0 { "stable".to_owned() } else { version };
            pushes.spawn(async move { (publisher.push_plugin(TOOL, &reference, &bytes).await, bytes) });
        }
        let answers = pushes.join_all().await;
        let winners: Vec<&(Answer, Vec<u8>)> =
            answers.iter().filter(|(answer, _)| answer.status == 201).collect();
        let [(_, winner)] = winners[..] else { panic!("{answers:?}") };
        let package = Sha256::of(winner).to_string();
        for (answer, bytes) in answers.iter().filter(|(_, bytes)| bytes != winner) {
            assert_eq!(denied(answer), rule(403, "version_immutable"));
            let detail = answer.json()["errors"][0]["detail"].clone();
            assert_eq!(detail["package"], package);
            assert_eq!(detail["refused"], Sha256::of(bytes).to_string());
        }
        assert_eq!(target(&server, TOOL, "latest").await, manifest_of(winner));
    }
}
