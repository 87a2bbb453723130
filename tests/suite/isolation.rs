//! Who sees what: the matrix of routes and callers, and that a stranger cannot tell what exists (P3).

use std::time::SystemTime;

use quire::digest::Sha256;
use serde_json::json;

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{Answer, Client, Server};
use crate::mint::Mint;

/// Every route that names a repository: method, path, and the action that its challenge asks for.
fn routes(repository: &str, digest: &str, session: &str) -> Vec<(&'static str, String, &'static str)> {
    let v2 = format!("/v2/{repository}");
    vec![
        ("GET", format!("{v2}/tags/list"), "pull"),
        ("GET", format!("{v2}/manifests/latest"), "pull"),
        ("GET", format!("{v2}/manifests/{digest}"), "pull"),
        ("GET", format!("{v2}/blobs/{digest}"), "pull"),
        ("GET", format!("{v2}/referrers/{digest}"), "pull"),
        ("PUT", format!("{v2}/manifests/latest"), "pull,push"),
        ("POST", format!("{v2}/blobs/uploads/"), "pull,push"),
        ("POST", format!("{v2}/blobs/uploads/?digest={digest}"), "pull,push"),
        ("POST", format!("{v2}/blobs/uploads/?mount={digest}&from=system/tool"), "pull,push"),
        ("GET", format!("{v2}/blobs/uploads/{session}"), "pull,push"),
        ("PATCH", format!("{v2}/blobs/uploads/{session}"), "pull,push"),
        ("PUT", format!("{v2}/blobs/uploads/{session}?digest={digest}"), "pull,push"),
        ("DELETE", format!("{v2}/blobs/uploads/{session}"), "pull,push"),
        ("DELETE", format!("{v2}/manifests/latest"), "delete"),
        ("DELETE", format!("{v2}/manifests/{digest}"), "delete"),
        ("DELETE", format!("{v2}/blobs/{digest}"), "delete"),
    ]
}

/// Everything of an answer that may not depend on what exists.
pub fn told(mut answer: Answer) -> (u16, String, String) {
    let id = answer.header("x-request-id").to_owned();
    let mut body = format!("{:?}", answer.body);
    // A problem tells the request id, so its length is that of the id more.
    if answer.header("content-type") == "application/problem+json" {
        let length = answer.header("content-length").parse::<usize>().expect("a length") - id.len();
        answer.headers.insert("content-length", length.into());
        body = body.replace(&id, "<id>");
    }
    for changing in ["x-request-id", "date"] {
        answer.headers.remove(changing);
    }
    (answer.status.as_u16(), format!("{:?}", answer.headers), body)
}

const ID: &str = "01976f4e-0000-7000-8000-000000000000";

#[tokio::test]
async fn the_matrix() {
    let mint = Mint::new();
    let now = SystemTime::now();
    let (wide, nobody) = (mint.admin(&[], now), mint.nobody());
    for rule in ["none", "system", "all"] {
        let server = mint.start(&[("ANONYMOUS_PULL", rule)]);
        let digest = server.admin().push_artifact("system/tool", "latest", "system").await;
        server.admin().push_artifact("acme/tool", "latest", "acme").await;
        let narrow = server.token(&[("acme", "org_member")], json!({"repositories": ["acme/tool"]})).await;
        let reader = Client::new(server.address, Some(&narrow));
        let callers = [
            ("anonymous", server.anonymous()),
            ("a token of nobody", Client::new(server.address, Some(&nobody))),
            ("a token without scopes", Client::new(server.address, Some(&wide))),
            ("a reader", reader.short(&["acme/tool:pull"]).await),
            ("a reader", reader),
            ("a bad token", Client::new(server.address, Some("quire_wrong"))),
        ];
        for repository in ["system/tool", "acme/tool", "acme/other"] {
            let public = rule == "all" || rule == "system" && repository == "system/tool";
            for (method, path, actions) in routes(repository, &digest, ID) {
                for (who, client) in &callers {
                    let what = format!("{rule}: {who} {method} {path}");
                    let answer = client.send(method, &path, &[], "").await;
                    let pulls = actions == "pull";
                    let bad = *who == "a bad token";
                    let reads = *who == "a reader" && repository == "acme/tool";
                    if pulls && (public || reads) && !bad {
                        let here = answer.status == 200 || answer.status == 404;
                        assert!(here && answer.header("www-authenticate").is_empty(), "{what} {answer:?}");
                        let audience = if public { "public" } else { "private" };
                        let cache = answer.header("cache-control");
                        assert!(answer.status == 404 || cache.starts_with(audience), "{what} {cache}");
                    } else if *who == "a reader" {
                        assert_refused(&answer, 403, "DENIED", &what);
                    } else {
                        assert_refused(&answer, 401, "UNAUTHORIZED", &what);
                        let challenge = format!(
                            "Bearer realm=\"{}\",service=\"quire\",scope=\"repository:{repository}:{actions}\"",
                            server.url("/token")
                        );
                        assert_eq!(answer.header("www-authenticate"), challenge, "{what}");
                    }
                }
            }
        }
        let kept = server.admin().get("/v2/system/tool/manifests/latest").await;
        assert_eq!(kept.header("docker-content-digest"), digest, "nobody changed anything");
    }
}

/// P3: the answer to a stranger is the same before and after there is something.
#[tokio::test]
async fn p3_a_stranger_cannot_tell_what_exists() {
    let mint = Mint::new();
    for (rule, repository) in [("system", "acme/tool"), ("none", "acme/tool")] {
        let server = mint.start(&[("ANONYMOUS_PULL", rule)]);
        let stranger = server.caller(&[("other", "org_admin")]).await;
        let strangers = [
            server.anonymous(),
            Client::new(server.address, Some(&mint.nobody())),
            stranger.short(&["other/own:pull,push,delete"]).await,
            stranger,
            Client::new(server.address, Some("quire_wrong")),
        ];
        let layer = Sha256::of(b"layer").to_string();
        let config = Sha256::of(b"{}").to_string();
        let manifest = crate::harness::image(&config, 2, &[(&layer, 5)]);
        let manifest = Sha256::of(manifest.to_string().as_bytes()).to_string();
        // A session that is open, and one that never was, are told apart by nobody else.
        let session = server.admin().open_session("acme/sessions").await;
        let id = session.rsplit('/').next().expect("an id").to_owned();
        let mut paths = routes(repository, &layer, ID);
        paths.extend(routes(repository, &manifest, ID));
        paths.extend(routes("acme/sessions", &layer, &id));
        for digest in [&layer, &manifest] {
            let hex = digest.trim_start_matches("sha256:");
            paths.push(("GET", format!("/blobs/sha256/{hex}"), ""));
            paths.push(("HEAD", format!("/blobs/sha256/{hex}"), ""));
        }
        paths.push(("GET", "/v2/_catalog".to_owned(), ""));
        let ask = async || {
            let mut answers = Vec::new();
            for client in &strangers {
                for (method, path, _) in &paths {
                    answers
                        .push((format!("{method} {path}"), told(client.send(method, path, &[], "").await)));
                }
            }
            answers
        };
        let before = ask().await;
        assert_eq!(server.admin().push_artifact(repository, "latest", "layer").await, manifest);
        server.admin().delete(&session).await;
        // Warm in every memory.
        for path in [
            format!("/blobs/sha256/{}", layer.trim_start_matches("sha256:")),
            format!("/v2/{repository}/manifests/latest"),
        ] {
            assert_eq!(server.admin().get(&path).await.status, 200);
        }
        let after = ask().await;
        for ((what, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!(before, after, "{rule}: {what}");
            assert!(
                [401, 403].contains(&before.0) || what.ends_with("_catalog"),
                "{rule}: {what} {before:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_mount_from_what_one_cannot_read_finds_nothing() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_blob("acme/secret", "bytes").await;
    let somebody = server.caller(&[("other", "publisher")]).await.short(&["other/own:pull,push"]).await;
    let start = "/v2/other/own/blobs/uploads/";
    let absent = Sha256::of(b"absent").to_string();
    for query in [
        format!("?mount={digest}&from=acme/secret"),
        format!("?mount={digest}"),
        format!("?mount={absent}&from=acme/secret"),
        format!("?mount={absent}&from=acme/never"),
        format!("?mount={absent}"),
    ] {
        let answer = somebody.send("POST", &format!("{start}{query}"), &[], "").await;
        assert_eq!(answer.status, 202, "{query}");
        let session = answer.header("location").to_owned();
        assert!(session.starts_with(start), "{query}");
        let foreign = admin.get(&session).await;
        assert_refused(&foreign, 404, "BLOB_UPLOAD_UNKNOWN", "a session of somebody else");
        assert_eq!(somebody.delete(&session).await.status, 204);
    }
    let pull = somebody.get(&format!("/v2/other/own/blobs/{digest}")).await;
    assert_refused(&pull, 404, "BLOB_UNKNOWN", "nothing was linked");
    for query in [format!("?mount={digest}&from=acme/secret"), format!("?mount={digest}")] {
        let answer = admin.send("POST", &format!("{start}{query}"), &[], "").await;
        assert_eq!(answer.status, 201, "{query}: who may read it may mount it");
        assert_eq!(admin.delete(answer.header("location")).await.status, 202);
    }
    admin.push_blob("system/shared", "shared").await;
    let shared = Sha256::of(b"shared").to_string();
    let mounted = somebody.send("POST", &format!("{start}?mount={shared}"), &[], "").await;
    assert_eq!(mounted.status, 201, "what is public may be mounted by anybody");
}

#[tokio::test]
async fn the_catalog_lists_what_the_caller_may_see() {
    let mint = Mint::new();
    for (rule, public) in [
        ("none", &[][..]),
        ("system", &["system/a", "system/b"]),
        ("all", &["acme/a", "acme/b", "system/a", "system/b"]),
    ] {
        let server = mint.start(&[("ANONYMOUS_PULL", rule)]);
        let admin = server.admin();
        let all = ["acme/a", "acme/b", "system/a", "system/b"];
        for repository in all {
            admin.push_blob(repository, "bytes").await;
        }
        let member = server.caller(&[("acme", "publisher")]).await;
        let somebody = member.short(&["acme/b:pull", "acme/a:push"]).await;
        let nobody = Client::new(server.address, Some(&mint.nobody()));
        let mut seen: Vec<&str> = [public, &["acme/b"]].concat();
        seen.sort_unstable();
        seen.dedup();
        for (who, client, expected) in
            [("admin", &admin, &all[..]), ("nobody", &nobody, public), ("somebody", &somebody, &seen)]
        {
            let whole = client.get("/v2/_catalog").await;
            assert_eq!(whole.json(), json!({"repositories": expected}), "{rule} {who}");
            assert_eq!(whole.header("cache-control"), "private, no-cache");
            assert_eq!(whole.header("link"), "");
            let mut path = "/v2/_catalog?n=1".to_owned();
            for (number, name) in expected.iter().enumerate() {
                let page = client.get(&path).await;
                assert_eq!(page.json(), json!({"repositories": [name]}), "{rule} {who}");
                let link = page.header("link");
                assert_eq!(link.is_empty(), number + 1 == expected.len(), "{rule} {who}: {link}");
                path = link.trim_start_matches('<').trim_end_matches(">; rel=\"next\"").to_owned();
            }
            assert_eq!(client.get("/v2/_catalog?n=0").await.json(), json!({"repositories": []}));
            let behind = client.get("/v2/_catalog?last=system%2Fa").await.json();
            let rest: Vec<_> = expected.iter().filter(|name| **name > "system/a").collect();
            assert_eq!(behind, json!({"repositories": rest}), "{rule} {who}");
        }
    }
}

#[tokio::test]
async fn a_read_only_server_refuses_every_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let digest = server.admin().push_artifact("system/tool", "latest", "layer").await;
    let session = server.admin().open_session("system/tool").await;
    let id = session.rsplit('/').next().expect("an id").to_owned();
    server.kill();
    let server = Server::start_in(folder.path(), &[("READ_ONLY", "true")]);
    let before = disk::blobs(&server);
    for (method, path, actions) in routes("system/tool", &digest, &id) {
        let answer = server.admin().send(method, &path, &[], "{}").await;
        if method == "GET" {
            assert_ne!(answer.status, 405, "{path}");
        } else {
            assert_refused(&answer, 405, "UNSUPPORTED", &format!("{method} {path} {actions}"));
            let anonymous = server.anonymous().send(method, &path, &[], "{}").await;
            assert_refused(&anonymous, 401, "UNAUTHORIZED", "who may not write at all");
        }
    }
    assert_eq!(server.anonymous().get("/v2/system/tool/manifests/latest").await.status, 200);
    assert_eq!(server.admin().get("/v2/system/tool/tags/list").await.json()["tags"], json!(["latest"]));
    assert_eq!(server.admin().get(&session).await.status, 204);
    assert_eq!(disk::blobs(&server), before);
}
