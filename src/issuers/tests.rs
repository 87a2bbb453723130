//! Tokens from outside, from their text to the principal: what is accepted, and every way around it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::testing::{Answer, RSA, Stub, TestKey, eventually, key_set, part, seconds, signed};
use super::*;
use crate::access::{Action, Rule};

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.example";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

const FILE: &str = r#"
[[issuer]]
name = "github"
issuer = "https://token.actions.githubusercontent.com"
audiences = ["https://quire.example"]
algorithms = ["RS256"]
jwks_file = "keys.json"

[[issuer.rule]]
name = "release"
claims = { "/repository" = "acme/plugins", "/ref" = "refs/heads/main" }
catalog = "acme"
role = "publisher"
repositories = ["acme/com.acme.*"]

[[issuer]]
name = "gitlab"
issuer = "https://gitlab.example"
audiences = ["https://quire.example"]
algorithms = ["RS256", "ES256", "EdDSA"]
jwks_file = "keys.json"

[[issuer.rule]]
name = "tags"
claims = { "/project_path" = ["acme/plugins", "acme/tools"], "/ref_type" = "tag", "/ref_protected" = "true" }
catalog = "acme"
role = "contributor"

[[issuer]]
name = "login"
issuer = "login"
audiences = ["https://quire.example", "quire"]
algorithms = ["HS256"]
secret_file = "secret"
subject = "/user/id"
grants = "/quire/grants"
organisations = "/org_ids"
permissions = "/permissions"
"#;

fn github() -> Value {
    json!({
        "iss": GITHUB,
        "aud": "https://quire.example",
        "sub": "repo:acme/plugins:ref:refs/heads/main",
        "jti": "6f4c1e0a-31c5-4b0e-9b8f-3d9a7f3c1a55",
        "repository": "acme/plugins",
        "repository_owner": "acme",
        "repository_owner_id": "65",
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": "f05b138b3d5d9eb6e63ac0a1d1d1b2fd6d5b6c0e",
        "workflow": "release",
        "job_workflow_ref": "acme/plugins/.github/workflows/release.yml@refs/heads/main",
        "event_name": "push",
        "runner_environment": "github-hosted",
        "run_id": "30433642",
        "run_attempt": "1",
        "iat": seconds(0),
        "nbf": seconds(-5),
        "exp": seconds(300),
    })
}

fn gitlab() -> Value {
    json!({
        "iss": GITLAB,
        "aud": ["https://quire.example"],
        "sub": "project_path:acme/plugins:ref_type:tag:ref:v1.0.0",
        "namespace_id": "72",
        "namespace_path": "acme",
        "project_id": "20",
        "project_path": "acme/plugins",
        "user_login": "somebody",
        "pipeline_id": "574",
        "job_id": "302",
        "ref": "v1.0.0",
        "ref_type": "tag",
        "ref_protected": "true",
        "iat": seconds(0),
        "nbf": seconds(-5),
        "exp": seconds(300),
    })
}

fn with(claims: Value, name: &str, value: Value) -> Value {
    let mut claims = claims;
    claims[name] = value;
    claims
}

/// The issuers of `FILE`, whose published keys are these.
fn issuers(keys: &[&TestKey]) -> (Issuers, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("issuers.toml"), FILE).unwrap();
    fs::write(folder.path().join("keys.json"), key_set(keys)).unwrap();
    fs::write(folder.path().join("secret"), SECRET).unwrap();
    (Issuers::load(&folder.path().join("issuers.toml")).unwrap(), folder)
}

async fn shown(issuers: &Issuers, token: &str) -> Option<Result<Principal, Refusal>> {
    let answer = issuers.principal(token, SystemTime::now()).await;
    answer.map(|answer| answer.map_err(|error| error.refusal))
}

async fn refusal(issuers: &Issuers, token: &str) -> Option<Refusal> {
    shown(issuers, token).await.and_then(Result::err)
}

fn may(principal: &Principal, action: Action, repository: &str) -> Result<String, Rule> {
    principal.may(action, &repository.parse().unwrap()).map(|grant| grant.name.clone())
}

#[tokio::test]
async fn a_ci_job_on_the_right_branch_publishes() {
    let (issuers, _folder) = issuers(&[&RSA]);
    let principal = shown(&issuers, &RSA.token(&github())).await.unwrap().unwrap();
    assert_eq!(principal.subject, "jwt:github:repo:acme/plugins:ref:refs/heads/main");
    assert_eq!(principal.credential, "issuer:github");
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(github()["exp"].as_u64().unwrap() + 60);
    assert!(principal.expires.unwrap() <= expires);
    assert!(principal.expires.unwrap() > expires - Duration::from_secs(5));
    assert_eq!(may(&principal, Action::Push, "acme/com.acme.tool"), Ok("rule release".to_owned()));
    assert!(may(&principal, Action::Push, "acme/tool").is_err());
    assert!(may(&principal, Action::Push, "corp/com.acme.tool").is_err());

    let principal = shown(&issuers, &RSA.token(&gitlab())).await.unwrap().unwrap();
    assert_eq!(may(&principal, Action::Push, "acme/tool"), Ok("rule tags".to_owned()));
    assert_eq!(may(&principal, Action::Delete, "acme/tool"), Err(Rule::CreateOnly));
}

#[tokio::test]
async fn a_ci_job_elsewhere_is_known_and_may_nothing() {
    let (issuers, _folder) = issuers(&[&RSA]);
    for claims in [
        with(github(), "ref", json!("refs/heads/feature")),
        with(github(), "ref", json!("refs/heads/main2")),
        with(github(), "ref", json!("refs/pull/1/merge")),
        with(github(), "ref", Value::Null),
        with(github(), "repository", json!("acme/plugins-fork")),
        with(github(), "repository", json!({ "acme/plugins": true })),
        with(gitlab(), "ref_type", json!("branch")),
        with(gitlab(), "ref_protected", json!("false")),
        with(gitlab(), "project_path", json!("evil/acme/plugins")),
        // A rule of one issuer is nothing to the tokens of another.
        with(github(), "iss", json!(GITLAB)),
    ] {
        let principal = shown(&issuers, &RSA.token(&claims)).await.unwrap().unwrap();
        assert_eq!(principal.grants, [], "{claims}");
    }
    let listed = with(gitlab(), "project_path", json!(["other/x", "acme/tools"]));
    let listed = with(listed, "ref_protected", json!(true));
    assert_eq!(shown(&issuers, &RSA.token(&listed)).await.unwrap().unwrap().grants.len(), 1);
}

#[tokio::test]
async fn every_algorithm_has_its_own_keys() {
    let (ec, ed) = (TestKey::ec("ec-1"), TestKey::ed("ed-1"));
    let (issuers, _folder) = issuers(&[&RSA, &ec, &ed]);
    for key in [&*RSA, &ec, &ed] {
        assert!(shown(&issuers, &key.token(&gitlab())).await.unwrap().is_ok(), "{:?}", key.algorithm);
        assert!(shown(&issuers, &key.token_with(json!({}), &gitlab())).await.unwrap().is_ok());
    }
    assert_eq!(refusal(&issuers, &ec.token(&github())).await, Some(Refusal::Algorithm));
    let crossed = ec.token_with(json!({ "kid": "ed-1" }), &gitlab());
    assert_eq!(refusal(&issuers, &crossed).await, Some(Refusal::Signature));
}

#[tokio::test]
async fn forged_tokens() {
    let attacker = TestKey::rsa("rsa-1");
    let (issuers, _folder) = issuers(&[&RSA]);
    let unsigned =
        |alg: &str| format!("{}.{}.", part(&json!({ "alg": alg, "kid": "rsa-1" })), part(&github()));
    for alg in ["none", "None", "NONE", "nOnE"] {
        assert_eq!(refusal(&issuers, &unsigned(alg)).await, Some(Refusal::Algorithm), "{alg}");
    }
    assert_eq!(refusal(&issuers, &unsigned("RS256")).await, Some(Refusal::Signature));

    // What is public taken as a secret.
    let modulus = RSA.jwk["n"].as_str().unwrap();
    for secret in [RSA.jwk.to_string(), modulus.to_owned(), key_set(&[&RSA])] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        for (alg, expected) in [("HS256", Refusal::Algorithm), ("RS256", Refusal::Signature)] {
            let header = json!({ "alg": alg, "kid": "rsa-1" });
            let token = signed(&header, &github(), &key, Algorithm::HS256);
            assert_eq!(refusal(&issuers, &token).await, Some(expected));
        }
    }

    // A key that the token brings along, and one that only has the right name.
    let brought = json!({ "jwk": attacker.jwk, "jku": "https://evil.example/keys", "x5c": ["AAAA"] });
    assert_eq!(refusal(&issuers, &attacker.token_with(brought, &github())).await, Some(Refusal::UnknownKey));
    let named = json!({ "jwk": attacker.jwk, "kid": "rsa-1" });
    assert_eq!(refusal(&issuers, &attacker.token_with(named, &github())).await, Some(Refusal::Signature));
    let good = RSA.token_with(json!({ "kid": "rsa-1", "jwk": attacker.jwk }), &github());
    assert!(shown(&issuers, &good).await.unwrap().is_ok(), "it is ignored, not believed");
    let critical = RSA.token_with(json!({ "kid": "rsa-1", "crit": ["exp"] }), &github());
    assert_eq!(refusal(&issuers, &critical).await, Some(Refusal::CriticalHeader));

    // Other claims under a good signature.
    let good = RSA.token(&github());
    let (header, signature) = (good.split('.').next().unwrap(), good.rsplit('.').next().unwrap());
    let other = with(github(), "repository", json!("acme/other"));
    let altered = format!("{header}.{}.{signature}", part(&other));
    assert_eq!(refusal(&issuers, &altered).await, Some(Refusal::Signature));
    assert_eq!(refusal(&issuers, &format!("{good}A")).await, Some(Refusal::Signature));
    let long = RSA.token(&with(github(), "more", json!("x".repeat(16 * 1024))));
    assert_eq!(refusal(&issuers, &long).await, Some(Refusal::Length));
}

#[tokio::test]
async fn other_times_audiences_and_subjects() {
    let (issuers, _folder) = issuers(&[&RSA]);
    for (name, value, expected) in [
        ("exp", json!(seconds(-30)), None),
        ("exp", json!(seconds(-61)), Some(Refusal::Expired)),
        ("exp", json!(seconds(20 * 365 * 86400)), None),
        ("exp", json!("tomorrow"), Some(Refusal::Malformed)),
        ("nbf", json!(seconds(30)), None),
        ("nbf", json!(seconds(90)), Some(Refusal::NotYetValid)),
        ("aud", json!("https://other.example"), Some(Refusal::Audience)),
        ("aud", json!(["https://other.example", "https://quire.example"]), None),
        ("aud", Value::Null, Some(Refusal::Audience)),
        ("sub", json!("a\r\nb"), Some(Refusal::Subject)),
        ("sub", json!(["repo"]), Some(Refusal::Subject)),
    ] {
        let token = RSA.token(&with(github(), name, value.clone()));
        assert_eq!(refusal(&issuers, &token).await, expected, "{name} {value}");
    }
    let mut endless = github();
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(refusal(&issuers, &RSA.token(&endless)).await, Some(Refusal::NoExpiry));
    let later = SystemTime::now() + Duration::from_secs(400);
    let error = issuers.principal(&RSA.token(&github()), later).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "issuer github: the token has expired");
}

#[tokio::test]
async fn tokens_of_nobody_we_know() {
    let (issuers, _folder) = issuers(&[&RSA]);
    for claims in [
        with(github(), "iss", json!("https://token.actions.githubusercontent.com/")),
        with(github(), "iss", json!("HTTPS://TOKEN.ACTIONS.GITHUBUSERCONTENT.COM")),
        with(github(), "iss", json!([GITHUB])),
        with(github(), "iss", Value::Null),
    ] {
        assert!(shown(&issuers, &RSA.token(&claims)).await.is_none(), "{claims}");
    }
    for text in ["", "quire_token", "a.b.c", "..", "é.é.é"] {
        assert!(shown(&issuers, text).await.is_none(), "{text}");
    }
    assert!(shown(&Issuers::none(), &RSA.token(&github())).await.is_none());
}

#[tokio::test]
async fn a_shared_secret_and_mapped_claims() {
    let (issuers, _folder) = issuers(&[&RSA]);
    let claims = json!({
        "iss": "login",
        "aud": "quire",
        "exp": seconds(60),
        "user": { "id": "u-17" },
        "org_ids": ["acme"],
        "permissions": "org:plugins:read openid",
        "quire": { "grants": [{ "catalog": "corp", "role": "publisher" }, { "catalog": "corp", "role": "root" }] },
    });
    let token = |header: Value, secret: &str| {
        signed(&header, &claims, &EncodingKey::from_secret(secret.as_bytes()), Algorithm::HS256)
    };
    for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "kid": "whatever" })] {
        let principal = shown(&issuers, &token(header, SECRET)).await.unwrap().unwrap();
        assert_eq!(principal.subject, "jwt:login:u-17");
        assert_eq!(may(&principal, Action::Push, "corp/a"), Ok("publisher".to_owned()));
        assert_eq!(may(&principal, Action::Pull, "acme/a"), Ok("claims".to_owned()));
        assert_eq!(may(&principal, Action::Push, "acme/a"), Err(Rule::PermissionMissing));
    }
    let wrong = token(json!({ "alg": "HS256" }), &SECRET.replace('0', "1"));
    assert_eq!(refusal(&issuers, &wrong).await, Some(Refusal::Signature));
    assert_eq!(refusal(&issuers, &RSA.token(&claims)).await, Some(Refusal::Algorithm));
}

/// One issuer with its keys behind a URL.
fn fetching(stub: &Stub, freshness: Freshness) -> Issuers {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("issuers.toml");
    fs::write(
        &path,
        format!(
            "[[issuer]]\nname = \"gitlab\"\nissuer = \"{GITLAB}\"\naudiences = [\"https://quire.example\"]\n\
         algorithms = [\"EdDSA\"]\njwks_url = \"{}\"\nallow_private_addresses = true\n",
            stub.url("/oauth/discovery/keys"),
        ),
    )
    .unwrap();
    load_with(&path, freshness)
}

fn load_with(path: &Path, freshness: Freshness) -> Issuers {
    Issuers { issuers: config::load(path, freshness).unwrap() }
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once() {
    let (old, new, never) = (TestKey::ed("old"), TestKey::ed("new"), TestKey::ed("never"));
    let (before, after) = (key_set(&[&old]), key_set(&[&old, &new]));
    let stub = Stub::start(move |request| Answer::ok(if request == 0 { &before } else { &after }));
    let floor = Duration::from_secs(1);
    let issuers = fetching(&stub, Freshness { floor, ..Freshness::default() });
    for _ in 0..3 {
        assert!(shown(&issuers, &old.token(&gitlab())).await.unwrap().is_ok());
    }
    assert_eq!(stub.requests(), 1, "the keys are kept");
    assert_eq!(refusal(&issuers, &new.token(&gitlab())).await, Some(Refusal::UnknownKey), "too soon");
    tokio::time::sleep(floor).await;
    assert!(shown(&issuers, &new.token(&gitlab())).await.unwrap().is_ok());
    assert_eq!(stub.requests(), 2);
    for index in 0..50 {
        let random = never.token_with(json!({ "kid": format!("random-{index}") }), &gitlab());
        assert_eq!(refusal(&issuers, &random).await, Some(Refusal::UnknownKey));
    }
    let unnamed = never.token_with(json!({}), &gitlab());
    assert_eq!(refusal(&issuers, &unnamed).await, Some(Refusal::UnknownKey));
    assert_eq!(stub.requests(), 2, "what is in tokens does not make us fetch");
}

#[tokio::test]
async fn keys_outlive_their_issuer() {
    let key = TestKey::ed("one");
    let set = key_set(&[&key]);
    let stub =
        Stub::start(move |request| if request == 0 { Answer::ok(&set) } else { Answer::unavailable() });
    let freshness = Freshness { refresh_after: Duration::ZERO, floor: Duration::from_millis(1) };
    let issuers = fetching(&stub, freshness);
    for round in 1..4 {
        assert!(shown(&issuers, &key.token(&gitlab())).await.unwrap().is_ok());
        eventually(|| stub.requests() >= round).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let key = TestKey::ed("one");
    let set = key_set(&[&key]);
    let stub =
        Stub::start(move |request| if request == 0 { Answer::unavailable() } else { Answer::ok(&set) });
    let floor = Duration::from_secs(1);
    let issuers = fetching(&stub, Freshness { floor, ..Freshness::default() });
    assert_eq!(refusal(&issuers, &key.token(&gitlab())).await, Some(Refusal::NoKeys));
    assert_eq!(refusal(&issuers, &key.token(&gitlab())).await, Some(Refusal::NoKeys));
    assert_eq!(stub.requests(), 1);
    tokio::time::sleep(floor).await;
    assert!(shown(&issuers, &key.token(&gitlab())).await.unwrap().is_ok());
}
