//! Credentials: the challenge, Basic and Bearer, and what the short tokens of `/token` carry.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use quire::access::Action;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::harness::{ADMIN_TOKEN, Answer, Client, Server};
use crate::mint::Mint;
use crate::wire::Wire;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What a token says that it carries.
fn access(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token"], body["access_token"]);
    assert!(body["expires_in"].as_u64().is_some_and(|seconds| (60..=3600).contains(&seconds)), "{body}");
    let claims = body["token"].as_str().and_then(|token| token.split('.').nth(1)).expect("claims");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
    claims["access"].clone()
}

fn bearer(server: &Server, answer: &Answer) -> Client {
    Client::new(server.address, answer.json()["token"].as_str())
}

#[tokio::test]
async fn the_base_always_asks_for_a_credential() {
    for rule in ["none", "system", "all"] {
        let server = Server::start(&[("ANONYMOUS_PULL", rule)]);
        for path in ["/v2/", "/v2"] {
            let challenge = format!("Bearer realm=\"{}\",service=\"quire\"", server.url("/token"));
            let answer = server.anonymous().get(path).await;
            assert_refused(&answer, 401, "UNAUTHORIZED", path);
            assert_eq!(answer.header("www-authenticate"), challenge);
            let head = server.anonymous().head(path).await;
            assert_eq!((head.status.as_u16(), head.header("www-authenticate")), (401, challenge.as_str()));
            assert_eq!(server.admin().get(path).await.status, 200);
        }
        // What the challenge leads to is enough, also for nobody.
        let token = server.anonymous().get("/token?service=quire").await;
        assert_eq!(access(&token), json!([]));
        assert_eq!(bearer(&server, &token).get("/v2/").await.status, 200);
    }
}

#[tokio::test]
async fn the_realm_is_where_the_client_came_from() {
    let server = Server::start(&[]);
    let realm = async |server: &Server, request: &str| {
        let mut wire = Wire::open(server).await;
        wire.write(request.replace('\n', "\r\n").as_bytes()).await;
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 401);
        let challenge = answer.header("www-authenticate").to_owned();
        let realm = challenge.strip_prefix("Bearer realm=\"").and_then(|rest| rest.split_once("\",service="));
        realm.unwrap_or_else(|| panic!("{challenge}")).0.to_owned()
    };
    for (request, expected) in [
        ("GET /v2/ HTTP/1.1\nhost: r.test\nconnection: close\n\n", "http://r.test/token"),
        ("GET /v2/ HTTP/1.1\nhost: r.test:5000\nconnection: close\n\n", "http://r.test:5000/token"),
        ("GET /v2/ HTTP/1.1\nhost: [::1]:5000\nconnection: close\n\n", "http://[::1]:5000/token"),
        ("GET http://a.test/v2/ HTTP/1.1\nhost: b.test\nconnection: close\n\n", "http://a.test/token"),
        ("GET /v2/ HTTP/1.0\n\n", "http://localhost/token"),
        ("GET /v2/ HTTP/1.1\nhost: a\",service=\"evil\nconnection: close\n\n", "http://localhost/token"),
    ] {
        assert_eq!(realm(&server, request).await, expected, "{request:?}");
    }
    let server = Server::start(&[("PUBLIC_URL", "https://quire.test/")]);
    let request = "GET /v2/ HTTP/1.1\nhost: evil.test\nconnection: close\n\n";
    assert_eq!(realm(&server, request).await, "https://quire.test/token");
}

#[tokio::test]
async fn a_credential_is_good_or_refused() {
    let server = Server::start(&[]);
    server.admin().push_artifact("system/tool", "latest", "layer").await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    for good in [
        bearer.clone(),
        format!("bearer {ADMIN_TOKEN}"),
        format!("BEARER   {ADMIN_TOKEN}"),
        basic("", ADMIN_TOKEN),
        basic("anybody", ADMIN_TOKEN),
    ] {
        for path in ["/v2/", "/v2/acme/tool/blobs/uploads/01976f4e-0000-7000-8000-000000000000"] {
            let answer = server.anonymous().send("GET", path, &[("authorization", &good)], "").await;
            assert!([200, 404].contains(&answer.status.as_u16()), "{good} {path} {answer:?}");
        }
    }
    let admin_and_more = format!("{bearer}x");
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic !!!",
        "Digest x",
        ADMIN_TOKEN,
        "Bearer a.b.c",
        "Bearer ..",
        &admin_and_more,
        &basic("admin", ""),
        &basic("admin", "wrong"),
        &basic(ADMIN_TOKEN, "wrong"),
        &format!("Basic {}", STANDARD.encode(ADMIN_TOKEN)),
        &format!("Basic {}", STANDARD.encode([0xff, b':', 0xff])),
    ] {
        // Also where no credential at all would do.
        for path in ["/v2/", "/v2/_catalog", "/v2/system/tool/manifests/latest", "/token"] {
            let answer = server.anonymous().send("GET", path, &[("authorization", bad)], "").await;
            assert_refused(&answer, 401, "UNAUTHORIZED", &format!("{bad} {path}"));
            assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"http://"), "{bad} {path}");
        }
    }
    let two = server.admin().send("GET", "/v2/", &[("authorization", &bearer)], "").await;
    assert_refused(&two, 401, "UNAUTHORIZED", "two credentials");
}

#[tokio::test]
async fn a_short_token_carries_what_was_asked_for_and_allowed() {
    let server = Server::start(&[]);
    let (admin, anonymous) = (server.admin(), server.anonymous());
    admin.push_artifact("system/tool", "latest", "layer").await;
    admin.push_artifact("acme/tool", "latest", "layer").await;
    let scope = "service=quire&scope=repository:system/tool:pull,push,delete&scope=repository:acme/tool:*";
    let nobody = anonymous.get(&format!("/token?{scope}")).await;
    assert_eq!(access(&nobody), json!([{"type": "repository", "name": "system/tool", "actions": ["pull"]}]));
    let nobody = bearer(&server, &nobody);
    assert_eq!(nobody.get("/v2/system/tool/manifests/latest").await.status, 200);
    for (method, path) in [
        ("GET", "/v2/acme/tool/manifests/latest"),
        ("POST", "/v2/system/tool/blobs/uploads/"),
        ("DELETE", "/v2/system/tool/manifests/latest"),
    ] {
        assert_refused(&nobody.send(method, path, &[], "").await, 401, "UNAUTHORIZED", path);
    }

    // As docker does: Basic at `/token`, then the short token alone.
    let credential = basic("admin", ADMIN_TOKEN);
    let asked = "/token?account=admin&scope=repository:acme/tool:pull,push%20repository:acme/other:pull";
    let token = anonymous.send("GET", asked, &[("authorization", &credential)], "").await;
    let expected = json!([
        {"type": "repository", "name": "acme/tool", "actions": ["pull", "push"]},
        {"type": "repository", "name": "acme/other", "actions": ["pull"]},
    ]);
    assert_eq!(access(&token), expected);
    let narrow = bearer(&server, &token);
    let session = narrow.open_session("acme/tool").await;
    assert_eq!(admin.get(&session).await.status, 204, "the session is its owner's");
    assert_eq!(narrow.get("/v2/acme/tool/manifests/latest").await.status, 200);
    assert_eq!(narrow.get("/v2/acme/other/manifests/latest").await.status, 404);
    for (method, path, actions) in [
        ("DELETE", "/v2/acme/tool/manifests/latest", "repository:acme/tool:delete"),
        ("POST", "/v2/acme/other/blobs/uploads/", "repository:acme/other:pull,push"),
        ("GET", "/v2/acme/third/tags/list", "repository:acme/third:pull"),
    ] {
        let answer = narrow.send(method, path, &[], "").await;
        assert_refused(&answer, 401, "UNAUTHORIZED", path);
        assert!(answer.header("www-authenticate").ends_with(&format!("scope=\"{actions}\"")), "{path}");
    }
    let again = narrow.get("/token?scope=repository:acme/tool:pull").await;
    assert_refused(&again, 403, "DENIED", "a short token makes no tokens");
    let password = basic("x", token.json()["token"].as_str().expect("a token"));
    let answer = anonymous.send("GET", "/token", &[("authorization", &password)], "").await;
    assert_refused(&answer, 403, "DENIED", "nor as a password");

    for nothing in
        ["repository:acme/tool:fly", "repository:A/b:pull", "repository:acme/tool", "x", "", "a:b:c"]
    {
        let token = admin.get(&format!("/token?scope={nothing}")).await;
        assert_eq!(access(&token), json!([]), "{nothing}");
    }
}

#[tokio::test]
async fn expired_altered_and_foreign_tokens_are_refused() {
    let mint = Mint::new();
    let server = mint.start(&[]);
    let grants: &[(&str, &[Action])] = &[("acme/tool", &[Action::Pull])];
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let good = mint.admin(grants, now);
    let tags = "/v2/acme/tool/tags/list";
    assert_eq!(Client::new(server.address, Some(&good)).get(tags).await.status, 404, "this one is good");
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("a token") };
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("a text");
    let wider = URL_SAFE_NO_PAD.encode(text.replace("[\"pull\"]", "[\"pull\",\"push\"]"));
    let none = URL_SAFE_NO_PAD.encode("{\"alg\":\"none\",\"typ\":\"JWT\"}");
    for (what, token) in [
        ("expired", mint.admin(grants, now - hour)),
        ("not yet valid", mint.admin(grants, now + hour)),
        ("of another server", Mint::new().admin(grants, now)),
        ("wider than it was", format!("{header}.{wider}.{signature}")),
        ("without a signature", format!("{header}.{claims}.")),
        ("signed by nobody", format!("{none}.{claims}.")),
        ("garbage", "x".repeat(5000)),
    ] {
        let answer = Client::new(server.address, Some(&token)).get(tags).await;
        assert_refused(&answer, 401, "UNAUTHORIZED", what);
    }
}

#[tokio::test]
async fn a_short_token_dies_with_the_token_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    server.admin().push_artifact("acme/tool", "latest", "layer").await;
    let token = server.admin().get("/token?scope=repository:acme/tool:pull").await;
    let path = "/v2/acme/tool/manifests/latest";
    assert_eq!(bearer(&server, &token).get(path).await.status, 200);
    server.kill();
    let mut server = Server::start_in(folder.path(), &[]);
    assert_eq!(bearer(&server, &token).get(path).await.status, 200, "a restart alone changes nothing");
    server.kill();
    let server = Server::start_in(folder.path(), &[("ADMIN_TOKEN", "quire_another-token-0123456789")]);
    assert_refused(&bearer(&server, &token).get(path).await, 401, "UNAUTHORIZED", "a short token");
    assert_refused(&server.admin().get(path).await, 401, "UNAUTHORIZED", "the old token itself");
    let replaced = Client::new(server.address, Some("quire_another-token-0123456789"));
    assert_eq!(replaced.get(path).await.status, 200);
}
