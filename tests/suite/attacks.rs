//! Attacks on bytes, sessions, tags and names, each called by what must not work.

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::disk::{self, eventually};
use crate::harness::package::{Package, annotated, artifact};
use crate::harness::{ADMIN_TOKEN, Answer, Client, Server, image};
use crate::isolation::told;
use crate::issuing::{Issuing, Kind, grants};
use crate::matrix::{CALLERS, World, rows};
use crate::wire::Wire;

pub const REPOSITORY: &str = "acme/tool";
/// The id of nothing.
pub const ID: &str = "01976f4e-0000-7000-8000-000000000000";

pub fn client(server: &Server, token: &str) -> Client {
    Client::new(server.address, Some(token))
}

pub fn of(bytes: &str) -> String {
    Sha256::of(bytes.as_bytes()).to_string()
}

/// A manifest that needs nothing.
pub fn index(number: impl ToString) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
        "annotations": {"number": number.to_string()},
    })
}

pub async fn put(client: &Client, at: &str, manifest: &Value, headers: &[(&str, &str)]) -> Answer {
    let media_type = manifest["mediaType"].as_str().expect("a media type");
    let headers = [headers, &[("content-type", media_type)]].concat();
    client.send("PUT", &format!("/v2/{at}"), &headers, manifest.to_string()).await
}

pub async fn write_tags(client: &Client, tags: Value) -> Answer {
    client.send("POST", "/api/catalogs/acme/tags", &[], tags.to_string()).await
}

/// Where a tag points; empty if there is none.
pub async fn target(server: &Server, repository: &str, tag: &str) -> String {
    let answer = server.admin().head(&format!("/v2/{repository}/manifests/{tag}")).await;
    answer.header("docker-content-digest").to_owned()
}

/// Status and rule of a refusal in the protocol's form.
pub fn denied(answer: &Answer) -> (u16, String) {
    let rule = answer.json()["errors"][0]["detail"]["rule"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), rule)
}

pub fn rule(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// An answer with what a request made up taken out of it.
fn told_without(answer: Answer, made_up: &str) -> (u16, String, String) {
    let (status, headers, body) = told(answer);
    (status, headers.replace(made_up, "<id>"), body.replace(made_up, "<id>"))
}

pub fn issuer() -> (tempfile::TempDir, Issuing) {
    let folder = tempfile::tempdir().expect("a folder");
    let issuing = Issuing::new(folder.path());
    (folder, issuing)
}

#[tokio::test]
async fn another_callers_upload_session() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let owner = server.caller(&[("acme", "publisher")]).await;
    let other = server.caller(&[("acme", "publisher")]).await;
    let session = owner.open_session(REPOSITORY).await;
    assert_eq!(owner.send("PATCH", &session, &[], "0123").await.status, 202);
    let digest = of("01234567");
    let elsewhere = session.replace(REPOSITORY, "acme/elsewhere");
    let never = format!("/v2/{REPOSITORY}/blobs/uploads/{ID}");
    let jwt = issuing.token(Kind::EdDsa, grants(&[("acme", "publisher")]));
    for (who, path, client) in [
        ("another publisher", &session, other.clone()),
        ("a short token of another", &session, other.short(&["acme/tool:pull,push"]).await),
        ("the organisation's admin", &session, server.caller(&[("acme", "org_admin")]).await),
        ("a JWT", &session, client(&server, &jwt)),
        ("the admin", &session, server.admin()),
        ("the owner, in another repository", &elsewhere, owner.clone()),
    ] {
        for (method, query, body) in [
            ("GET", String::new(), ""),
            ("HEAD", String::new(), ""),
            ("PATCH", String::new(), "evil"),
            ("PUT", format!("?digest={digest}"), "4567"),
            ("PUT", format!("?digest={}", of("evil")), "evil"),
            ("DELETE", String::new(), ""),
        ] {
            let answer = client.send(method, &format!("{path}{query}"), &[], body).await;
            if method != "HEAD" {
                assert_refused(&answer, 404, "BLOB_UPLOAD_UNKNOWN", &format!("{who} {method}"));
            }
            let absent = client.send(method, &format!("{never}{query}"), &[], body).await;
            assert_eq!(told(answer), told(absent), "{who} {method}: as if there were none");
        }
    }
    let short = owner.short(&["acme/tool:push"]).await;
    assert_eq!(short.get(&session).await.header("range"), "0-3", "the owner's short token is the owner");
    let end = owner.send("PUT", &format!("{session}?digest={digest}"), &[], "4567").await;
    assert_eq!(end.status, 201, "{end:?}");
    assert_eq!(owner.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await.body, "01234567");

    // Also while its owner writes nobody waits, and nobody is told to come back.
    let session = server.admin().open_session(REPOSITORY).await;
    let mut slow = Wire::admin(&server, &format!("PATCH {session}"), &[("content-length", "4")]).await;
    slow.write(b"01").await;
    eventually("the owner writes", async || !disk::staged(&server).is_empty()).await;
    assert_refused(&other.delete(&session).await, 404, "BLOB_UPLOAD_UNKNOWN", "while it is written to");
    slow.write(b"23").await;
    assert_eq!(slow.answer().await.expect("an answer").status, 202);
}

/// P3: what is foreign is mounted like what is nowhere.
#[tokio::test]
async fn a_mount_from_a_foreign_repository() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let foreign = server.admin().push_blob("acme/secret", "secret").await;
    let publisher = server.caller(&[("corp", "publisher")]).await;
    let jwt = issuing.token(Kind::Rs256, grants(&[("corp", "publisher")]));
    let scopes = ["corp/own:pull,push", "acme/secret:pull"];
    for client in [publisher.short(&scopes).await, publisher, client(&server, &jwt)] {
        let mut answers = Vec::new();
        for (digest, from) in [
            (of("nowhere"), "&from=acme/secret"),
            (of("nowhere"), "&from=ghost/secret"),
            (of("nowhere"), ""),
            (foreign.clone(), "&from=acme/secret"),
            (foreign.clone(), "&from=corp/own"),
            (foreign.clone(), "&from=ghost/secret"),
            (foreign.clone(), ""),
        ] {
            let path = format!("/v2/corp/own/blobs/uploads/?mount={digest}{from}");
            let answer = client.send("POST", &path, &[], "").await;
            assert_eq!(answer.status, 202, "{path}");
            let id = answer.header("docker-upload-uuid").to_owned();
            assert_eq!(answer.header("location"), format!("/v2/corp/own/blobs/uploads/{id}"));
            answers.push(told_without(answer, &id));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
}

/// P3: nothing about foreign bytes changes when they come, nor when they are warm.
#[tokio::test]
async fn a_digest_as_an_oracle() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let config = admin.push_blob("corp/own", "{}").await;
    let member = server.caller(&[("corp", "org_admin")]).await;
    let jwt = client(&server, &issuing.token(Kind::Es256, grants(&[("corp", "org_admin")])));
    let scopes = ["corp/own:pull,push,delete", "acme/tool:pull,push"];
    let strangers = [member.short(&scopes).await, jwt.short(&scopes).await, member, jwt, server.anonymous()];
    let layer = of("layer");
    let manifest = image(&config, 2, &[(&layer, 5)]);
    let manifest = of(&manifest.to_string());
    let mut paths = Vec::new();
    for digest in [&layer, &manifest] {
        paths.push(format!("/blobs/{}", digest.replace(':', "/")));
        for repository in [REPOSITORY, "corp/own"] {
            for kind in ["blobs", "manifests", "referrers"] {
                paths.push(format!("/v2/{repository}/{kind}/{digest}"));
            }
        }
    }
    for rest in ["manifests/latest", "tags/list", "_quire/tags/latest/history"] {
        paths.push(format!("/v2/{REPOSITORY}/{rest}"));
    }
    let (layer_tag, manifest_tag) = (format!("\"{layer}\""), format!("\"{manifest}\""));
    let headers: [&[(&str, &str)]; 6] = [
        &[],
        &[("range", "bytes=0-0")],
        &[("range", "bytes=999999-")],
        &[("if-none-match", &layer_tag)],
        &[("if-none-match", &manifest_tag)],
        &[("accept", "text/html")],
    ];
    let ask = async || {
        let mut answers = Vec::new();
        for (who, client) in strangers.iter().enumerate() {
            for path in &paths {
                for headers in headers {
                    for method in ["GET", "HEAD"] {
                        let answer = client.send(method, path, headers, "").await;
                        answers.push((format!("{who} {method} {path} {headers:?}"), told(answer)));
                    }
                }
            }
            // A manifest of one's own over foreign bytes.
            for (kind, digest) in [("layer", &layer), ("subject", &manifest)] {
                let mut own = image(&config, 2, &[(digest, 5)]);
                own["annotations"] = json!({"who": who.to_string()});
                let answer = put(client, "corp/own/manifests/x", &own, &[]).await;
                assert!([401, 404].contains(&answer.status.as_u16()), "{answer:?}");
                answers.push((format!("{who} PUT over a {kind}"), told(answer)));
            }
            // What is deleted without being there.
            for kind in ["blobs", "manifests"] {
                let path = format!("/v2/corp/own/{kind}/{layer}");
                answers.push((format!("{who} DELETE {path}"), told(client.delete(&path).await)));
            }
        }
        answers
    };
    let before = ask().await;
    assert_eq!(admin.push_artifact(REPOSITORY, "latest", "layer").await, manifest);
    let cold = ask().await;
    let readable = paths.iter().filter(|path| !path.contains("corp/own"));
    for path in readable.chain(&[format!("/v2/{REPOSITORY}/manifests/latest")]) {
        let answer = admin.get(path).await;
        assert!([200, 404].contains(&answer.status.as_u16()), "{path} {answer:?}");
    }
    for (((what, before), (_, cold)), (_, warm)) in before.iter().zip(&cold).zip(&ask().await) {
        assert_eq!(before, cold, "{what}: before and after the push");
        assert_eq!(cold, warm, "{what}: cold and warm");
    }
}

/// P4: of many who write a tag under a condition, one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_race_with_two_winners() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let writers = [
        publisher.short(&["acme/tool:pull,push"]).await,
        publisher,
        client(&server, &issuing.token(Kind::Hs256, grants(&[("acme", "publisher")]))),
        server.admin(),
    ];
    for number in 0..16 {
        let answer = put(&server.admin(), "acme/tool/manifests/any", &index(number), &[]).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    for by_push in [true, false] {
        let tag = format!("raced-{by_push}");
        // First it is created, and then moved twice from where it is.
        for _ in 0..3 {
            let now = target(&server, REPOSITORY, &tag).await;
            let writes: Vec<_> = (0..16)
                .map(|number| {
                    // A short token is good for pushes alone.
                    let writer = writers[if by_push { number % 4 } else { 1 + number % 3 }].clone();
                    let (tag, now) = (tag.clone(), now.clone());
                    tokio::spawn(async move {
                        let manifest = index(number);
                        if by_push {
                            let quoted = format!("\"{now}\"");
                            let condition = match now.as_str() {
                                "" => ("if-none-match", "*"),
                                _ => ("if-match", quoted.as_str()),
                            };
                            put(&writer, &format!("acme/tool/manifests/{tag}"), &manifest, &[condition]).await
                        } else {
                            let expected = if now.is_empty() { Value::Null } else { json!(now) };
                            let digest = of(&manifest.to_string());
                            let tag = json!([{
                                "repository": REPOSITORY, "tag": tag, "digest": digest, "expected": expected,
                            }]);
                            write_tags(&writer, tag).await
                        }
                    })
                })
                .collect();
            let mut winners = Vec::new();
            for (number, write) in writes.into_iter().enumerate() {
                let answer = write.await.expect("an answer");
                // Whose manifest is there already changes nothing, and need not lose before the others win.
                let digest = of(&index(number).to_string());
                match answer.status.as_u16() {
                    201 | 204 if digest == now => {}
                    201 | 204 => winners.push(digest),
                    412 if by_push => assert_refused(&answer, 412, "DENIED", "a push that lost"),
                    _ => assert_eq!(answer.problem(), rule(412, "tag_moved"), "{answer:?}"),
                }
            }
            assert_eq!(winners, [target(&server, REPOSITORY, &tag).await], "one winner: {by_push}");
        }
    }
}

/// P4: who may only create tags moves none.
#[tokio::test]
async fn a_tag_moved_by_who_only_creates() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let (first, second) = (index(1), index(2));
    let (now, other) = (of(&first.to_string()), of(&second.to_string()));
    for (tag, manifest) in [("taken", &first), ("other", &second)] {
        assert_eq!(put(&admin, &format!("acme/tool/manifests/{tag}"), manifest, &[]).await.status, 201);
    }
    let quoted = format!("\"{now}\"");
    let contributor = server.caller(&[("acme", "contributor")]).await;
    let jwt = issuing.token(Kind::EdDsa, grants(&[("acme", "contributor")]));
    for (number, (client, short)) in [
        (contributor.short(&["acme/tool:pull,push,delete"]).await, true),
        (contributor, false),
        (client(&server, &jwt), false),
    ]
    .into_iter()
    .enumerate()
    {
        let by_digest = format!("acme/tool/manifests/{other}?tag=taken");
        let beside = format!("acme/tool/manifests/free-{number}?tag=taken");
        for push in ["acme/tool/manifests/taken", &by_digest, &beside] {
            for headers in [&[][..], &[("if-match", quoted.as_str())], &[("if-match", "*")]] {
                let answer = put(&client, push, &second, headers).await;
                assert_eq!(denied(&answer), rule(403, "create_only"), "{push} {headers:?}");
            }
        }
        let tag = json!({"repository": REPOSITORY, "tag": "taken", "digest": other});
        let expected = json!({"repository": REPOSITORY, "tag": "taken", "digest": other, "expected": now});
        for tag in [tag, expected] {
            let code = if short { rule(401, "unauthorized") } else { rule(409, "create_only") };
            assert_eq!(write_tags(&client, json!([tag])).await.problem(), code);
        }
        for path in ["manifests/taken".to_owned(), format!("manifests/{now}"), format!("blobs/{now}")] {
            let answer = client.delete(&format!("/v2/{REPOSITORY}/{path}")).await;
            // The scope was asked for and not granted, so the token says nothing about it.
            assert_eq!(denied(&answer), rule(403, "create_only"), "{path}");
        }
        let again = put(&client, "acme/tool/manifests/taken", &second, &[]).await;
        assert_eq!(denied(&again), rule(403, "create_only"), "after the delete that did nothing");
        assert_eq!(target(&server, REPOSITORY, "taken").await, now);
        assert_eq!(target(&server, REPOSITORY, &format!("free-{number}")).await, "");
        let same = put(&client, "acme/tool/manifests/taken", &first, &[]).await;
        assert_eq!(same.status, 201, "where it is it may stay");
        let new = put(&client, &format!("acme/tool/manifests/new-{number}"), &second, &[]).await;
        assert_eq!(new.status, 201, "and a new one may be made");
    }
}

/// P4: what a version of a plugin means once, it means for ever and for everybody.
#[tokio::test]
async fn a_version_of_a_plugin_that_changes() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let callers = [
        server.caller(&[("acme", "publisher")]).await,
        server.caller(&[("acme", "org_admin")]).await,
        server.caller(&[("system", "sys_admin")]).await,
        client(&server, &issuing.token(Kind::Rs256, grants(&[("acme", "publisher")]))),
        admin.clone(),
    ];
    let (plugin, config) = ("acme/com.acme.tool", of("{}"));
    let zip =
        |version: &str, text: &str| Package::new("com.acme.tool", version).file("tool.py", text).bytes();
    let digest = |manifest: &Value| of(&manifest.to_string());
    let mut other_type = image(&config, 2, &[]);
    other_type["artifactType"] = json!("application/vnd.example");
    let no_plugins = [other_type, image(&config, 2, &[]), index(1)];
    admin.push_blob(plugin, "{}").await;
    for manifest in &no_plugins {
        assert_eq!(put(&admin, &format!("{plugin}/manifests/beta"), manifest, &[]).await.status, 201);
    }
    let next = zip("9.9", "next");
    assert_eq!(admin.push_plugin(plugin, "9.9", &next).await.status, 201);

    // Every way to another manifest, whether the tag is there or was deleted.
    let refused = async |client: &Client, tag: &str, there: bool| {
        let (same, changed) = (zip(tag, "as it is"), zip(tag, "changed"));
        let kept = digest(&artifact(&same));
        let quoted = format!("\"{kept}\"");
        let condition = if there { ("if-match", quoted.as_str()) } else { ("if-none-match", "*") };
        client.push_package(plugin, &changed).await;
        let (immutable, not_this) = (rule(403, "version_immutable"), rule(403, "not_this_version"));
        let plugins = [artifact(&changed), annotated(&changed, "2"), annotated(&same, "2")];
        let others = plugins.iter().map(|other| (other, &immutable));
        for (other, expected) in others.chain(no_plugins.iter().map(|other| (other, &not_this))) {
            let by_digest = format!("{plugin}/manifests/{}?tag={tag}", digest(other));
            for at in [&format!("{plugin}/manifests/{tag}"), &by_digest] {
                for headers in [&[][..], &[condition]] {
                    let answer = put(client, at, other, headers).await;
                    assert_eq!(denied(&answer), *expected, "{at} {headers:?}");
                }
            }
        }
        let answer = client.put_manifest(plugin, tag, &artifact(&next)).await;
        assert_refused(&answer, 400, "MANIFEST_INVALID", "a plugin of another version");
        let expected = if there { json!(kept) } else { Value::Null };
        for (other, code) in plugins.iter().map(|other| (other, rule(404, "manifest_unknown"))).chain(
            no_plugins.iter().chain([&artifact(&next)]).map(|other| (other, rule(409, "not_this_version"))),
        ) {
            let write = json!({"repository": plugin, "tag": tag, "digest": digest(other)});
            let mut conditional = write.clone();
            conditional["expected"] = expected.clone();
            for write in [write, conditional] {
                let free = json!({"repository": plugin, "tag": "free", "digest": digest(&no_plugins[0])});
                let answer = write_tags(client, json!([free, write])).await;
                assert_eq!(answer.problem(), code, "{write}");
            }
        }
        let now = target(&server, plugin, tag).await;
        assert_eq!(now, if there { kept.as_str() } else { "" });
        assert_eq!(target(&server, plugin, "free").await, "", "all or none");
    };
    let mut versions = vec![artifact(&next)];
    // A version of its own for each caller and way, so that no earlier deletion remembers it.
    for (number, client) in callers.iter().enumerate() {
        for tag in [format!("1.{number}"), format!("2.0.{number}-rc.1")] {
            let (at, zip) = (format!("{plugin}/manifests/{tag}"), zip(&tag, "as it is"));
            assert_eq!(client.push_plugin(plugin, &tag, &zip).await.status, 201);
            let version = artifact(&zip);
            refused(client, &tag, true).await;
            let deleted = match tag.contains("rc") {
                true => format!("/v2/{plugin}/manifests/{}", digest(&version)),
                false => format!("/v2/{at}"),
            };
            for _ in 0..2 {
                assert_eq!(client.delete(&deleted).await.status, 202, "{deleted}");
                refused(client, &tag, false).await;
                assert_eq!(put(client, &at, &version, &[]).await.status, 201, "the same comes back");
            }
            versions.push(version);
        }
    }
    let channel = format!("{plugin}/manifests/beta");
    for version in [&versions[1], &versions[2], &versions[1]] {
        assert_eq!(put(&callers[0], &channel, version, &[]).await.status, 201, "a channel moves");
        assert_eq!(target(&server, plugin, "beta").await, digest(version));
    }

    // Nor when nothing of the plugin is left: its tombstones are.
    for manifest in &versions {
        let path = format!("/v2/{plugin}/manifests/{}", digest(manifest));
        assert_eq!(admin.delete(&path).await.status, 202);
    }
    for other in &no_plugins {
        let answer = put(&admin, &format!("{plugin}/manifests/1.0"), other, &[]).await;
        assert_eq!(denied(&answer), rule(403, "not_this_version"));
        let write = json!([{"repository": plugin, "tag": "1.0", "digest": digest(other)}]);
        assert_eq!(write_tags(&admin, write).await.problem(), rule(409, "not_this_version"));
    }
    let changed = admin.push_plugin(plugin, "1.0", &zip("1.0", "changed")).await;
    assert_eq!(denied(&changed), rule(403, "version_immutable"));

    // Nor when its organisation goes: no other ever gets that name.
    for manifest in &no_plugins {
        let path = format!("/v2/{plugin}/manifests/{}", digest(manifest));
        assert_eq!(admin.delete(&path).await.status, 202);
    }
    let blobs =
        versions.iter().map(|version| version["layers"][0]["digest"].as_str().expect("a digest").to_owned());
    let changed = callers
        .iter()
        .enumerate()
        .flat_map(|(number, _)| [format!("1.{number}"), format!("2.0.{number}-rc.1")]);
    let changed = changed.map(|version| Sha256::of(&zip(&version, "changed")).to_string());
    for blob in blobs.chain(changed).chain([config]) {
        assert_eq!(admin.delete(&format!("/v2/{plugin}/blobs/{blob}")).await.status, 202);
    }
    assert_eq!(admin.delete("/api/orgs/acme").await.status, 204);
    let again = admin.send("POST", "/api/orgs", &[], json!({"id": "acme"}).to_string()).await;
    assert_eq!(again.problem(), (409, "org_exists".to_owned()));
    let at = format!("{plugin}/manifests/1.0");
    assert_eq!(denied(&put(&admin, &at, &no_plugins[0], &[]).await), rule(403, "not_a_member"));
}

/// P3: an organisation that does not exist is refused as a foreign one is, byte for byte.
#[tokio::test]
async fn an_unknown_organisation_told_from_a_foreign_one() {
    let world = World::start().await;
    let (foreign, unknown) = ("corp", "curp");
    let extra = [
        ("GET", "/api/can-i?action=pull&repository=corp/tool", json!(null)),
        ("GET", "/api/orgs?after=corp", json!(null)),
        ("POST", "/api/tokens", json!({"name": "x", "grants": [{"catalog": "corp", "role": "org_admin"}]})),
        ("POST", "/api/tokens", json!({"name": "", "grants": [{"catalog": "corp", "role": "nothing"}]})),
        (
            "POST",
            "/api/catalogs/acme/tags",
            json!([{"repository": "corp/tool", "tag": "x", "digest": of("")}]),
        ),
        ("POST", "/api/catalogs/corp/tags", json!([])),
        (
            "PUT",
            "/api/catalogs/acme/tag-rules",
            json!({"immutable": [{"repositories": "corp/*", "tags": "*"}]}),
        ),
        ("PUT", "/v2/corp/tool/manifests/x?tag=y", index(1)),
        ("GET", "/v2/corp/tool/blobs/sha256:short", json!(null)),
    ];
    let mut asked = 0;
    for (who, client) in world.callers() {
        if ["stranger", "sys-admin", "admin"].contains(&who) {
            continue;
        }
        let mut requests: Vec<(&str, String, String)> = Vec::new();
        for row in rows() {
            let (path, body) = row.request(who, &world.ids);
            requests.push((row.method, path, body));
        }
        for (method, path, body) in &extra {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            requests.push((method, (*path).to_owned(), body));
        }
        for (method, path, body) in requests {
            if !path.contains(foreign) && !body.contains(foreign) {
                continue;
            }
            let heads = if method == "GET" { &["GET", "HEAD"][..] } else { &[method][..] };
            for method in heads {
                let exists = told(client.send(method, &path, &[], body.clone()).await);
                let (path, body) = (path.replace(foreign, unknown), body.replace(foreign, unknown));
                let (status, headers, text) = told(client.send(method, &path, &[], body).await);
                let absent = (status, headers.replace(unknown, foreign), text.replace(unknown, foreign));
                assert_eq!(exists, absent, "{who} {method} {path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 30 * (CALLERS.len() - 3), "only {asked} were asked");
}

/// Sends a request whose every word about where it came from is a lie.
async fn lying(server: &Server, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut text = format!(
        "{line} HTTP/1.1\r\nhost: evil.test\r\nx-forwarded-host: evil.test\r\nx-forwarded-proto: gopher\r\n\
         x-forwarded-for: evil.test\r\nx-forwarded-prefix: /evil\r\nx-original-url: /evil\r\n\
         forwarded: host=evil.test;proto=gopher\r\norigin: http://evil.test\r\n\
         authorization: Bearer {ADMIN_TOKEN}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("\r\n{body}"));
    let mut wire = Wire::open(server).await;
    wire.write(text.as_bytes()).await;
    let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer: {line}"));
    assert!(!answer.status.is_redirection(), "{line} {answer:?}");
    for (name, value) in &answer.headers {
        let value = value.to_str().expect("a text");
        let evil = value.contains("evil") || value.contains("gopher");
        // The challenge says how the client came here, and nothing else does.
        assert!(!evil || name == "www-authenticate", "{line}: {name}: {value}");
        if name == "location" || name == "link" {
            let path = value.trim_start_matches('<');
            assert!(path.starts_with("/v2/") || path.starts_with("/api/"), "{line}: {name}: {value}");
        }
    }
    let body = String::from_utf8_lossy(&answer.body);
    assert!(!body.contains("evil") && !body.contains("gopher"), "{line}: {body}");
    answer
}

#[tokio::test]
async fn a_location_or_link_that_leads_elsewhere() {
    let server = Server::start(&[]);
    let admin = server.admin();
    for tag in ["a", "b"] {
        assert_eq!(put(&admin, &format!("acme/tool/manifests/{tag}"), &index(tag), &[]).await.status, 201);
        assert_eq!(put(&admin, "acme/tool/manifests/moved", &index(tag), &[]).await.status, 201);
    }
    let layer = admin.push_blob("acme/other", "layer").await;
    let manifest = index("new").to_string();
    let media_type = [("content-type", "application/vnd.oci.image.index.v1+json")];
    for (number, base) in
        ["", "http://evil.test", "https://evil.test:443", "http://user@evil.test"].iter().enumerate()
    {
        for path in [
            "/v2/acme/tool/tags/list?n=1",
            "/v2/acme/tool/_quire/tags/moved/history?n=1",
            "/v2/_catalog?n=1",
            "/api/orgs?limit=1",
            "/api/tokens?limit=1",
        ] {
            let answer = lying(&server, &format!("GET {base}{path}"), &[], "").await;
            assert_eq!(answer.status, 200, "{base}{path}");
            assert_eq!(
                answer.header("link").is_empty(),
                path.contains("tokens") && number == 0,
                "{base}{path}"
            );
        }
        let organisation = json!({"id": format!("new-{number}")}).to_string();
        let token = json!({"name": "x", "grants": [{"catalog": "acme", "role": "publisher"}]}).to_string();
        let mount = format!("/v2/acme/tool/blobs/uploads/?mount={layer}&from=acme/other");
        let whole = format!("/v2/acme/tool/blobs/uploads/?digest={layer}");
        let mut session = String::new();
        for (method, path, headers, body) in [
            ("POST", "/v2/acme/tool/blobs/uploads/", &[][..], ""),
            ("POST", "/v2/acme/tool/blobs/uploads/?mount=sha256:0&from=//evil.test/x", &[], ""),
            ("PATCH", "{session}", &[], "lay"),
            ("GET", "{session}", &[], ""),
            ("PUT", "{session}", &[], "er"),
            ("POST", &mount, &[], ""),
            ("POST", &whole, &[], "layer"),
            ("PUT", "/v2/acme/tool/manifests/new", &media_type, &manifest),
            ("POST", "/api/orgs", &[], &organisation),
            ("POST", "/api/tokens", &[], &token),
            ("POST", "/api/tokens", &[], &token),
        ] {
            let query = if method == "PUT" && path == "{session}" {
                format!("?digest={layer}")
            } else {
                String::new()
            };
            let path = path.replace("{session}", &session);
            let answer = lying(&server, &format!("{method} {base}{path}{query}"), headers, body).await;
            let refused = path.contains("evil");
            assert_eq!(answer.status.is_success(), !refused, "{method} {base}{path}{query} {answer:?}");
            assert_eq!(answer.header("location").is_empty(), refused, "{method} {base}{path}{query}");
            if session.is_empty() {
                session = answer.header("location").to_owned();
            }
        }
    }
    // Paths that a careless client or proxy could take for another host.
    for path in
        ["//evil.test/v2/", "/\\evil.test/v2/", "//evil.test/%2e%2e/v2", "/v2//evil.test/tags/list", "/v2"]
    {
        let answer = lying(&server, &format!("GET {path}"), &[], "").await;
        assert_eq!(answer.header("location"), "", "{path}");
    }
}
