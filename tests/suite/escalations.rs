//! Attacks on who one is and what one was given, each called by what must not work.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::attacks::{ID, REPOSITORY, client, denied, index, issuer, of, put, rule, target, write_tags};
use crate::bad_input::assert_refused;
use crate::harness::{Client, Server};
use crate::isolation::told;
use crate::issuing::{self, Key, Kind, grants};
use crate::matrix::{Ids, made, rows};

#[tokio::test]
async fn a_jwt_that_brings_its_own_key_or_none() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let claims = |kind| issuing.claims(kind, grants(&[("acme", "publisher")]));
    let published = claims(Kind::Rs256);
    let (rsa, own) = (issuing::key(Kind::Rs256), Key::ed("own"));
    let id = rsa.jwk["kid"].clone();
    let mut tokens = Vec::new();
    // Its own key, in every place of the header that may hold one.
    for header in [
        json!({"jwk": own.jwk}),
        json!({"jwk": own.jwk, "kid": "own"}),
        json!({"jwk": own.jwk, "kid": issuing::key(Kind::EdDsa).jwk["kid"]}),
        json!({"jku": "http://127.0.0.1:1/keys.json", "kid": "own"}),
        json!({"x5u": "http://127.0.0.1:1/keys.pem", "x5c": [STANDARD.encode("x")], "kid": "own"}),
        json!({}),
    ] {
        tokens.push((format!("{header}"), own.sign(header, &published)));
    }
    // No signature, under whatever name.
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS256", "RS256"] {
        let header = json!({"alg": algorithm, "kid": id});
        let unsigned = format!("{}.{}.", issuing::part(&header), issuing::part(&published));
        tokens.push((format!("unsigned {algorithm}"), unsigned.clone()));
        tokens.push((format!("badly signed {algorithm}"), format!("{unsigned}AAAA")));
    }
    // What is published, taken for a secret: as it may stand in a file.
    let key = |label: &str| issuing::pem(label, &rsa.public);
    let modulus = rsa.jwk["n"].as_str().expect("a modulus");
    for secret in [
        key("PUBLIC KEY").into_bytes(),
        key("PUBLIC KEY").trim_end().as_bytes().to_vec(),
        key("RSA PUBLIC KEY").into_bytes(),
        rsa.public.clone(),
        rsa.jwk.to_string().into_bytes(),
        json!({"keys": [rsa.jwk]}).to_string().into_bytes(),
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).expect("base64"),
        Vec::new(),
    ] {
        let secret = EncodingKey::from_secret(&secret);
        for header in [json!({"alg": "HS256", "kid": id}), json!({"alg": "HS256"}), json!({"alg": "RS256"})] {
            let token = issuing::signed(&header, &published, &secret, Algorithm::HS256);
            tokens.push((format!("by what is published {header}"), token));
        }
    }
    // The keys of one issuer for the name of the other.
    let secret = claims(Kind::Hs256);
    tokens.push(("another's key".to_owned(), rsa.sign(json!({"kid": id}), &secret)));
    tokens.push(("another's key without a name".to_owned(), rsa.sign(json!({}), &secret)));
    tokens.push(("another's secret".to_owned(), issuing::key(Kind::Hs256).sign(json!({}), &published)));
    // A good signature over other claims.
    let good = issuing.token(Kind::Rs256, grants(&[("acme", "publisher")]));
    let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("a token") };
    let wider = issuing::part(&issuing.claims(Kind::Rs256, grants(&[("corp", "org_admin")])));
    tokens.push(("other claims".to_owned(), format!("{header}.{wider}.{signature}")));
    tokens.push(("other claims unsigned".to_owned(), format!("{header}.{wider}.")));

    assert_eq!(client(&server, &good).get("/api/whoami").await.status, 200, "this one is good");
    for (what, token) in tokens {
        let basic = format!("Basic {}", STANDARD.encode(format!("jwt:{token}")));
        for path in
            ["/v2/", "/v2/acme/tool/tags/list", "/token?scope=repository:acme/tool:push", "/api/whoami"]
        {
            assert_eq!(client(&server, &token).get(path).await.status, 401, "{what} {path}");
            let answer = server.anonymous().send("GET", path, &[("authorization", &basic)], "").await;
            assert_eq!(answer.status, 401, "{what} {path} as a password");
        }
    }
}

#[tokio::test]
async fn foreign_ids_under_ones_own_organisation() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let digest = admin.push_artifact("corp/tool", "latest", "foreign").await;
    admin.push_artifact(REPOSITORY, "latest", "own").await;
    let (foreign, secret) = made(&admin, "corp", "publisher", json!({})).await;
    let both = json!({"name": "both", "grants": [
        {"catalog": "acme", "role": "publisher"}, {"catalog": "corp", "role": "publisher"},
    ]});
    let both = admin.send("POST", "/api/tokens", &[], both.to_string()).await.json();
    let shared = client(&server, both["token"].as_str().expect("a token"));
    let (on_system, _) = made(&admin, "system", "sys_admin", json!({})).await;
    let org_admin = server.caller(&[("acme", "org_admin")]).await;
    let jwt = client(&server, &issuing.token(Kind::Es256, grants(&[("acme", "org_admin")])));
    for client in [&org_admin, &jwt] {
        // Tokens of others.
        let unknown = told(client.delete(&format!("/api/tokens/{ID}")).await);
        for id in [&foreign, &on_system] {
            let answer = client.delete(&format!("/api/tokens/{id}")).await;
            assert_eq!(answer.problem(), rule(404, "not_found"));
            assert_eq!(told(answer), unknown, "as if there were none");
        }
        let listed = client.get("/api/tokens").await.json().to_string();
        assert!(!listed.contains(&foreign) && !listed.contains(&on_system), "{listed}");
        assert!(!listed.contains("corp"), "what a token may elsewhere is not theirs to know: {listed}");

        // Repositories of others below one's own path.
        for repository in ["corp/tool", "system/tool", "ghost/tool"] {
            let foreign = json!({"repository": repository, "tag": "taken", "digest": digest});
            let own = json!({"repository": REPOSITORY, "tag": "taken", "digest": digest});
            for tags in [json!([foreign]), json!([own, foreign])] {
                assert_eq!(write_tags(client, tags).await.problem(), rule(400, "invalid"), "{repository}");
            }
            let rules = json!({"immutable": [{"repositories": format!("{repository}*"), "tags": "*"}]});
            let path = "/api/catalogs/acme/tag-rules";
            let answer = client.send("PUT", path, &[], rules.to_string()).await;
            assert_eq!(answer.problem(), rule(400, "invalid"), "{repository}");
        }
        // A foreign manifest is none of one's own.
        let tag = json!([{"repository": REPOSITORY, "tag": "taken", "digest": digest}]);
        assert_eq!(write_tags(client, tag).await.problem(), rule(404, "manifest_unknown"));

        // Grants on others, alone or beside one's own; more than one has; and globs that reach further.
        let new = async |grants: &[(&str, &str)], more: Value| {
            let grants: Vec<Value> =
                grants.iter().map(|(on, role)| json!({"catalog": on, "role": role})).collect();
            let mut body = json!({"name": "new", "grants": grants});
            for (key, value) in more.as_object().expect("an object") {
                body[key] = value.clone();
            }
            client.send("POST", "/api/tokens", &[], body.to_string()).await.problem()
        };
        for other in ["corp", "ghost"] {
            for grants in [&[(other, "publisher")][..], &[("acme", "publisher"), (other, "org_member")]] {
                assert_eq!(new(grants, json!({})).await, rule(403, "not_a_member"), "{grants:?}");
            }
        }
        for grants in [
            &[("system", "sys_admin")][..],
            &[("system", "org_member")],
            &[("acme", "publisher"), ("system", "sys_admin")],
        ] {
            assert_eq!(new(grants, json!({})).await, rule(403, "permission_missing"), "{grants:?}");
        }
        assert_eq!(new(&[("acme", "sys_admin")], json!({})).await, rule(400, "invalid"));
        let globs = json!({"repositories": ["acme/**", "corp/**"]});
        assert_eq!(new(&[("acme", "publisher")], globs).await, rule(400, "invalid"));
    }
    assert_eq!(
        client(&server, &secret).get("/v2/corp/tool/tags/list").await.json()["tags"],
        json!(["latest"])
    );
    assert_eq!(target(&server, REPOSITORY, "taken").await, "");
    // Claims make no organisation.
    let ghost = client(&server, &issuing.token(Kind::Hs256, grants(&[("ghost", "org_admin")])));
    let push = ghost.send("POST", "/v2/ghost/tool/blobs/uploads/", &[], "").await;
    assert_eq!(denied(&push), rule(403, "not_a_member"));
    let token = json!({"name": "x", "grants": [{"catalog": "ghost", "role": "publisher"}]}).to_string();
    let answer = ghost.send("POST", "/api/tokens", &[], token).await;
    assert_eq!(answer.problem(), rule(403, "not_a_member"));
    // Of a shared token the admin of one organisation takes away what it may there, and no more.
    let path = format!("/api/tokens/{}", both["id"].as_str().expect("an id"));
    assert_eq!(shared.get("/v2/acme/tool/tags/list").await.status, 200);
    assert_eq!(org_admin.delete(&path).await.status, 204);
    assert_eq!(org_admin.delete(&path).await.problem(), rule(404, "not_found"));
    assert_eq!(denied(&shared.get("/v2/acme/tool/tags/list").await), rule(403, "not_a_member"));
    assert_eq!(shared.get("/v2/corp/tool/tags/list").await.status, 200);
}

/// Who reads here and does more elsewhere does no more than read here.
#[tokio::test]
async fn a_right_carried_from_one_organisation_into_another() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let digest = server.admin().push_artifact(REPOSITORY, "latest", "layer").await;
    let roles = [("acme", "org_member"), ("corp", "org_admin"), ("system", "publisher")];
    let (token, jwt) = (server.caller(&roles).await, issuing.token(Kind::EdDsa, grants(&roles)));
    let tag = json!([{"repository": REPOSITORY, "tag": "taken", "digest": digest}]).to_string();
    let grant = json!({"name": "x", "grants": [{"catalog": "acme", "role": "org_member"}]}).to_string();
    for both in [token, client(&server, &jwt)] {
        assert_eq!(both.get(&format!("/v2/{REPOSITORY}/manifests/latest")).await.status, 200);
        both.push_blob("corp/tool", "own").await;
        both.push_blob("system/tool", "own").await;
        let short = both.short(&["acme/tool:pull,push,delete"]).await;
        for (method, path) in [
            ("POST", "blobs/uploads/"),
            ("PUT", "manifests/latest"),
            ("DELETE", "manifests/latest"),
            ("DELETE", &format!("blobs/{}", of("layer"))),
        ] {
            for client in [&both, &short] {
                let answer = client.send(method, &format!("/v2/{REPOSITORY}/{path}"), &[], "").await;
                assert_eq!(denied(&answer), rule(403, "permission_missing"), "{method} {path}");
            }
        }
        for (method, path, body) in [
            ("POST", "/api/catalogs/acme/tags", tag.as_str()),
            ("PUT", "/api/catalogs/acme/tag-rules", "{\"immutable\":[]}"),
            ("POST", "/api/tokens", &grant),
            ("GET", "/api/tokens?catalog=acme", ""),
            ("GET", "/api/audit?catalog=acme", ""),
        ] {
            let answer = both.send(method, path, &[], body.to_owned()).await;
            assert_eq!(answer.problem(), rule(403, "permission_missing"), "{method} {path}");
        }
        let told = both.get("/api/audit").await;
        let told = String::from_utf8_lossy(&told.body);
        assert!(!told.contains("\"catalog\":\"acme\"") && told.contains("\"catalog\":\"corp\""), "{told}");
    }
    assert_eq!(target(&server, REPOSITORY, "taken").await, "");
}

#[tokio::test]
async fn a_group_that_one_has_left() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    server.admin().push_artifact(REPOSITORY, "latest", "layer").await;
    let hex = Sha256::of(b"layer").hex().to_string();
    let permissions = "org:plugins:read org:plugins:write";
    let of_groups = |groups: &[&str]| {
        let claims = json!({"sub": "somebody", "organisations": groups, "permissions": permissions});
        client(&server, &issuing.token(Kind::Rs256, claims))
    };
    let before = of_groups(&["acme", "corp"]);
    let session = before.open_session(REPOSITORY).await;
    assert_eq!(before.send("PATCH", &session, &[], "0123").await.status, 202);
    let reads = [
        format!("/v2/{REPOSITORY}/manifests/latest"),
        format!("/blobs/sha256/{hex}"),
        "/api/orgs/acme".to_owned(),
    ];
    let scopes = ["acme/tool:pull,push,delete"];
    for (groups, code) in [(&["corp"][..], "not_a_member"), (&[], "permission_missing")] {
        for path in &reads {
            assert_eq!(before.get(path).await.status, 200, "{path} is warm");
        }
        let after = of_groups(groups);
        for path in &reads {
            let answer = after.get(path).await;
            assert_eq!(answer.status, 403, "{path} {groups:?} {answer:?}");
        }
        let end = format!("{session}?digest={}", of("0123"));
        for (method, path) in [("GET", &session), ("PATCH", &session), ("PUT", &end), ("DELETE", &session)] {
            assert_eq!(denied(&after.send(method, path, &[], "").await), rule(403, code), "{method}");
        }
        let short = after.short(&scopes).await;
        assert_eq!(denied(&short.get(&reads[0]).await), rule(403, code), "nor does a short token help");
        assert_eq!(denied(&short.get(&session).await), rule(403, code));
    }
    assert_eq!(before.get(&session).await.header("range"), "0-3", "nothing happened to it");
}

/// P6: what was revoked or expired stops at once, and with it what was made from it.
#[tokio::test]
async fn a_token_that_was_revoked() {
    let server = Server::start(&[]);
    let admin = server.admin();
    admin.push_artifact(REPOSITORY, "latest", "layer").await;
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let immutable = format!("/blobs/sha256/{}", Sha256::of(b"layer").hex());
    let revokers = [admin.clone(), server.caller(&[("acme", "org_admin")]).await];
    for (number, by_itself) in [(0, false), (1, false), (0, true)] {
        let (id, token) = made(&admin, "acme", "publisher", json!({})).await;
        let owner = client(&server, &token);
        let shorts = [
            owner.short(&["acme/tool:pull"]).await,
            owner.short(&["acme/tool:pull,push,delete", "acme/other:pull"]).await,
        ];
        let session = owner.open_session(REPOSITORY).await;
        for _ in 0..2 {
            for client in shorts.iter().chain([&owner]) {
                assert_eq!(client.get(&path).await.status, 200);
                assert_eq!(client.get(&immutable).await.status, 200);
            }
        }
        // One that is not warm either.
        let cold = owner.short(&["acme/tool:pull"]).await;
        let revoker = if by_itself { &owner } else { &revokers[number] };
        assert_eq!(revoker.delete(&format!("/api/tokens/{id}")).await.status, 204);
        for client in shorts.iter().chain([&owner, &cold]) {
            for path in [&path, &immutable, &session] {
                assert_refused(&client.get(path).await, 401, "UNAUTHORIZED", path);
            }
            assert_eq!(client.get("/token").await.status, 401);
        }
        assert_eq!(owner.get("/api/whoami").await.problem(), rule(401, "unauthorized"));
        assert_eq!(revokers[0].delete(&format!("/api/tokens/{id}")).await.status, 404, "only once");
    }
    let (_, token) = made(&admin, "acme", "publisher", json!({"expires_in": 3})).await;
    let owner = client(&server, &token);
    let issued = owner.get("/token?scope=repository:acme/tool:pull").await.json();
    assert!(issued["expires_in"].as_u64().is_some_and(|seconds| seconds <= 3), "{issued}");
    let short = client(&server, issued["token"].as_str().expect("a token"));
    assert_eq!((owner.get(&path).await.status.as_u16(), short.get(&path).await.status.as_u16()), (200, 200));
    tokio::time::sleep(Duration::from_millis(3100)).await;
    for client in [owner, short] {
        assert_refused(&client.get(&path).await, 401, "UNAUTHORIZED", "what expired");
    }
}

/// Nothing is public here, so that reading `system` is a right like another.
#[tokio::test]
async fn a_narrowed_token_that_reaches_further() {
    let server = Server::start(&[("ANONYMOUS_PULL", "none")]);
    let admin = server.admin();
    let layer = of("layer");
    for repository in ["acme/com.acme.tool", REPOSITORY, "system/tool", "corp/tool"] {
        admin.push_artifact(repository, "latest", "layer").await;
        admin.push_blob(repository, format!("only in {repository}")).await;
    }
    let elsewhere = of("only in acme/tool");
    let inside = "/v2/acme/com.acme.tool";
    let (id, _) = made(&admin, "acme", "publisher", json!({})).await;
    for (catalog, role, outside) in [
        ("acme", "org_admin", "not_a_member"),
        ("acme", "publisher", "not_a_member"),
        ("system", "sys_admin", "permission_missing"),
    ] {
        let (_, token) = made(&admin, catalog, role, json!({"repositories": ["acme/com.acme.*"]})).await;
        let narrow = client(&server, &token);
        assert_eq!(narrow.get(&format!("{inside}/manifests/latest")).await.status, 200, "{role}");
        narrow.push_blob("acme/com.acme.new", "new").await;
        assert_eq!(
            narrow.get("/v2/_catalog").await.json()["repositories"],
            json!(["acme/com.acme.new", "acme/com.acme.tool"])
        );

        // Nothing outside is read, written, listed, mounted or asked for by digest.
        let wide = "repository:system/tool:pull repository:acme/tool:pull,push,delete registry:catalog:*";
        let issued = narrow.get(&format!("/token?scope={}", wide.replace(' ', "%20"))).await.json();
        let short = client(&server, issued["token"].as_str().expect("a token"));
        for asker in [&narrow, &short] {
            for (repository, code) in [
                (REPOSITORY, "permission_missing"),
                ("system/tool", "permission_missing"),
                ("corp/tool", outside),
            ] {
                for (method, rest) in [
                    ("GET", "manifests/latest".to_owned()),
                    ("GET", format!("blobs/{layer}")),
                    ("GET", "tags/list".to_owned()),
                    ("POST", "blobs/uploads/".to_owned()),
                    ("PUT", "manifests/latest".to_owned()),
                    ("DELETE", "manifests/latest".to_owned()),
                    ("DELETE", format!("blobs/{layer}")),
                ] {
                    let answer = asker.send(method, &format!("/v2/{repository}/{rest}"), &[], "").await;
                    // What writes `system` nobody of an organisation has.
                    let code = if repository == "system/tool" { "permission_missing" } else { code };
                    assert_eq!(denied(&answer), rule(403, code), "{role} {method} {repository} {rest}");
                }
            }
            let immutable = format!("/blobs/{}", elsewhere.replace(':', "/"));
            assert_eq!(denied(&asker.get(&immutable).await), rule(403, "permission_missing"), "{role}");
            let listed = asker.get("/v2/_catalog").await.json()["repositories"].clone();
            assert_eq!(listed, json!(["acme/com.acme.new", "acme/com.acme.tool"]), "{role}");
        }
        for from in ["&from=acme/tool", "&from=system/tool", ""] {
            for digest in [&elsewhere, &of("only in system/tool"), &of("only in corp/tool")] {
                let path = format!("{inside}/blobs/uploads/?mount={digest}{from}");
                assert_eq!(narrow.send("POST", &path, &[], "").await.status, 202, "{role} {path}");
            }
        }

        // Nor is anything done that is not about repositories.
        for (method, path, body) in [
            (
                "POST",
                "/api/tokens",
                json!({"name": "x", "grants": [{"catalog": "acme", "role": "publisher"}]}),
            ),
            (
                "POST",
                "/api/tokens",
                json!({
                    "name": "x", "grants": [{"catalog": "acme", "role": "publisher"}], "repositories": ["acme/com.acme.*"],
                }),
            ),
            (
                "POST",
                "/api/tokens",
                json!({"name": "x", "grants": [{"catalog": "system", "role": "sys_admin"}]}),
            ),
            ("GET", "/api/tokens", json!(null)),
            ("GET", "/api/tokens?catalog=acme", json!(null)),
            ("DELETE", &format!("/api/tokens/{id}"), json!(null)),
            ("GET", "/api/audit", json!(null)),
            ("GET", "/api/audit?catalog=acme", json!(null)),
            ("PUT", "/api/catalogs/acme/tag-rules", json!({"immutable": []})),
            ("POST", "/api/orgs", json!({"id": "new"})),
            ("PATCH", "/api/orgs/acme", json!({"quota": {"bytes": null}})),
            ("DELETE", "/api/orgs/acme", json!(null)),
        ] {
            let answer = narrow.send(method, path, &[], body.to_string()).await;
            assert_eq!(answer.problem(), rule(403, "permission_missing"), "{role} {method} {path}");
        }
        let tags = json!([{"repository": REPOSITORY, "tag": "taken", "digest": layer}]);
        assert_eq!(write_tags(&narrow, tags).await.problem(), rule(403, "permission_missing"), "{role}");
    }
    assert_eq!(target(&server, REPOSITORY, "taken").await, "");
}

#[tokio::test]
async fn grants_on_an_organisation_that_was_deleted() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[("ANONYMOUS_PULL", "none")]);
    let admin = server.admin();
    admin.push_artifact("system/tool", "latest", "layer").await;
    let organisation = json!({"id": "gone"}).to_string();
    assert_eq!(admin.send("POST", "/api/orgs", &[], organisation.clone()).await.status, 201);
    let publisher = server.caller(&[("gone", "publisher")]).await;
    let both = server.caller(&[("gone", "publisher"), ("acme", "org_member")]).await;
    let org_admin = server.caller(&[("gone", "org_admin")]).await;
    let short = publisher.short(&["gone/tool:pull,push,delete", "system/tool:pull"]).await;
    let jwt = client(&server, &issuing.token(Kind::EdDsa, grants(&[("gone", "publisher")])));
    let session = publisher.open_session("gone/tool").await;
    assert_eq!(publisher.send("PATCH", &session, &[], "0123").await.status, 202);
    let system = "/v2/system/tool/manifests/latest";
    for client in [&publisher, &both, &org_admin, &short] {
        assert_eq!(client.get("/v2/gone/tool/tags/list").await.status, 404, "warm, and allowed");
        assert_eq!(client.get(system).await.status, 200, "warm, and allowed");
    }
    assert_eq!(admin.delete("/api/orgs/gone").await.status, 204);
    for again in [false, true] {
        if again {
            let answer = admin.send("POST", "/api/orgs", &[], organisation.clone()).await;
            assert_eq!(answer.problem(), rule(409, "org_exists"), "an id is given out once");
        }
        for (client, read, write) in [
            (&publisher, "permission_missing", "permission_missing"),
            (&org_admin, "permission_missing", "permission_missing"),
            (&short, "permission_missing", "permission_missing"),
            (&both, "not_a_member", "permission_missing"),
        ] {
            assert_eq!(denied(&client.get("/v2/gone/tool/tags/list").await), rule(403, read), "{again}");
            for (method, path) in [
                ("POST", "/v2/gone/tool/blobs/uploads/"),
                ("PATCH", &session),
                ("PUT", &format!("{session}?digest={}", of("0123"))),
                ("DELETE", "/v2/gone/tool/manifests/latest"),
            ] {
                assert_eq!(
                    denied(&client.send(method, path, &[], "").await),
                    rule(403, write),
                    "{again} {path}"
                );
            }
        }
        assert_eq!(
            denied(&publisher.get(system).await),
            rule(403, "permission_missing"),
            "nor what it implied"
        );
        assert_eq!(both.get(system).await.status, 200, "another grant goes on");
        assert_eq!(publisher.get("/api/whoami").await.json()["grants"], json!([]));
        assert_eq!(both.get("/api/whoami").await.json()["grants"].as_array().map(Vec::len), Some(1));
        let made = json!({"name": "x", "grants": [{"catalog": "gone", "role": "publisher"}]}).to_string();
        let made = org_admin.send("POST", "/api/tokens", &[], made).await;
        assert_eq!(made.problem(), rule(403, "permission_missing"), "{again}");
        // The claims of a JWT are the issuer's; they make nothing here while there is no organisation.
        let push = jwt.send("POST", "/v2/gone/tool/blobs/uploads/", &[], "").await;
        assert_eq!(denied(&push), rule(403, "not_a_member"));
    }
    let listed = admin.get("/api/tokens?catalog=gone").await.json();
    assert_eq!(listed, json!([]), "no token has a grant there any more");
}

#[tokio::test]
async fn a_short_token_where_it_does_not_belong() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let jwt = client(&server, &issuing.token(Kind::Hs256, grants(&[("acme", "org_admin")])));
    let scopes = ["acme/tool:pull,push,delete", "system/tool:pull,push,delete"];
    for (who, owner) in [
        ("the admin", admin.clone()),
        ("a system administrator", server.caller(&[("system", "sys_admin")]).await),
        ("an organisation's admin", server.caller(&[("acme", "org_admin")]).await),
        ("a JWT", jwt),
        ("nobody", server.anonymous()),
    ] {
        let scopes = scopes.map(|scope| format!("scope=repository:{scope}")).join("&");
        let issued = owner.get(&format!("/token?{scopes}&scope=registry:catalog:*")).await.json();
        let token = issued["token"].as_str().expect("a token");
        let (short, basic) =
            (client(&server, token), format!("Basic {}", STANDARD.encode(format!("x:{token}"))));
        assert_eq!(short.get("/v2/").await.status, 200, "{who}");
        for row in rows() {
            let (path, body) = row.request("admin", &Ids::default());
            // What describes the API is for everybody.
            if path.starts_with("/api/") && path != "/api/openapi.json" {
                let answer = short.send(row.method, &path, &[], body.clone()).await;
                assert_eq!(answer.problem(), rule(401, "unauthorized"), "{who} {} {path}", row.method);
                let answer =
                    server.anonymous().send(row.method, &path, &[("authorization", &basic)], body).await;
                assert_eq!(answer.problem(), rule(401, "unauthorized"), "{who} {} {path}", row.method);
            }
        }
        let again = short.get("/token?scope=repository:acme/tool:pull").await;
        match who {
            "nobody" => assert_eq!(again.status, 200, "nobody gets what nobody has"),
            _ => assert_refused(&again, 403, "DENIED", "a short token makes no tokens"),
        }
    }
    assert_eq!(admin.get("/api/orgs/acme").await.status, 200, "nothing was deleted");
}

#[tokio::test]
async fn a_short_token_that_is_worth_more_than_its_jwt() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[("ANONYMOUS_PULL", "none")]);
    let admin = server.admin();
    for repository in ["acme/com.acme.tool", REPOSITORY, "system/tool", "corp/tool"] {
        assert_eq!(put(&admin, &format!("{repository}/manifests/latest"), &index(1), &[]).await.status, 201);
    }
    let mut claims = grants(&[("acme", "contributor")]);
    claims["quire"]["grants"][0]["repositories"] = json!(["acme/com.acme.*"]);
    claims["sub"] = json!("somebody");
    let narrow = client(&server, &issuing.token(Kind::EdDsa, claims));
    // The same subject, and warm: nothing of this one flows into the other.
    let wide = grants(&[("acme", "org_admin"), ("corp", "org_admin")]);
    let mut wide_claims = wide;
    wide_claims["sub"] = json!("somebody");
    let wide = client(&server, &issuing.token(Kind::EdDsa, wide_claims));
    let scopes = ["acme/com.acme.tool", REPOSITORY, "system/tool", "corp/tool"];
    let scopes = scopes.map(|name| format!("{name}:pull,push,delete"));
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let wide = wide.short(&scopes).await;
    assert_eq!(wide.get("/v2/corp/tool/tags/list").await.status, 200);
    let short = narrow.short(&scopes).await;
    for (path, code) in [
        (REPOSITORY, "permission_missing"),
        ("system/tool", "permission_missing"),
        ("corp/tool", "not_a_member"),
    ] {
        assert_eq!(denied(&short.get(&format!("/v2/{path}/tags/list")).await), rule(403, code), "{path}");
        let push = put(&short, &format!("{path}/manifests/new"), &index(2), &[]).await;
        assert_eq!(denied(&push), rule(403, code), "{path}");
    }
    let own = "acme/com.acme.tool/manifests";
    assert_eq!(short.get(&format!("/v2/{own}/latest")).await.status, 200);
    assert_eq!(
        denied(&put(&short, &format!("{own}/latest"), &index(2), &[]).await),
        rule(403, "create_only")
    );
    assert_eq!(denied(&short.delete(&format!("/v2/{own}/latest")).await), rule(403, "create_only"));
    assert_eq!(put(&short, &format!("{own}/new"), &index(2), &[]).await.status, 201);

    // A JWT that ended 56 s ago is good for 4 s more, for clocks that differ.
    let mut ending = grants(&[("acme", "publisher")]);
    ending["exp"] = json!(issuing::seconds(-56));
    let ending = client(&server, &issuing.token(Kind::Es256, ending));
    let issued = ending.get("/token?scope=repository:acme/tool:pull").await.json();
    assert!(issued["expires_in"].as_u64().is_some_and(|seconds| seconds <= 4), "{issued}");
    let short = client(&server, issued["token"].as_str().expect("a token"));
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let started = Instant::now();
    let ends = async |who: &Client| {
        while who.get(&path).await.status == 200 {
            assert!(started.elapsed() < Duration::from_secs(11), "it does not end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_refused(&who.get(&path).await, 401, "UNAUTHORIZED", "what ended");
        started.elapsed()
    };
    assert!(ends(&ending).await < Duration::from_secs(6), "the JWT");
    // Short tokens have a leeway of 5 s of their own.
    ends(&short).await;
}
