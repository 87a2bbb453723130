//! The routes below `/api/` about organisations, API tokens, and who one is.

use serde_json::{Value, json};

use crate::attacks::{client, issuer};
use crate::harness::{Answer, Client, Server};
use crate::issuing::{Kind, grants, seconds};
use crate::matrix::made;

pub async fn send(client: &Client, line: &str, body: impl ToString) -> Answer {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    client.send(method, path, &[], body.to_string()).await
}

/// A good answer with a JSON body.
pub fn good(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    let cached = match (status, answer.json().get("token")) {
        (200, None) => ["private, no-cache", "no-store"],
        _ => ["no-store"; 2],
    };
    assert!(cached.contains(&answer.header("cache-control")), "{answer:?}");
    answer.json()
}

/// Takes a time out of a body, and checks that it is one, so many seconds from now.
fn take_time(body: &mut Value, name: &str, from_now: i64) {
    let at = body.as_object_mut().and_then(|body| body.remove(name)).expect("a time");
    let at = at.as_str().expect("a text");
    assert_eq!((at.len(), at.ends_with('Z')), (24, true), "{at}: UTC in milliseconds");
    let at = at.parse::<jiff::Timestamp>().expect("a time");
    assert!((at.as_second() - seconds(from_now)).abs() < 30, "{name} {at}");
}

/// Every finding of a refusal, its code and where it is.
pub fn findings(answer: &Answer) -> String {
    let body = answer.json();
    let errors = body["errors"].as_array().expect("findings");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for error in errors {
        assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    }
    let told = errors.iter().map(|error| format!("{}:{}", text(&error["code"]), text(&error["pointer"])));
    told.collect::<Vec<_>>().join(" ")
}

/// A refusal is told whole, with a finding for each part that is wrong.
/// `expected` are the codes, each with the pointer behind it: `name:/name`.
pub fn refused(answer: &Answer, status: u16, code: &str, expected: &str) {
    assert_eq!(answer.problem(), (status, code.to_owned()), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["title"], answer.status.canonical_reason().expect("a title"));
    assert_eq!(body["requestId"], answer.header("x-request-id"));
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(findings(answer), expected, "{body}");
}

/// A refusal that is about nothing in the body.
pub fn refused_whole(answer: &Answer, status: u16, code: &str) {
    refused(answer, status, code, &format!("{code}:"));
    assert_eq!(answer.json()["errors"][0].get("pointer"), None);
}

/// The `Link` to the next page.
fn next(answer: &Answer) -> Option<&str> {
    let link = answer.header("link");
    (!link.is_empty()).then(|| {
        let path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        path.unwrap_or_else(|| panic!("{link}"))
    })
}

/// The ids on each page of a list.
async fn pages(client: &Client, path: &str) -> Vec<Vec<String>> {
    let (mut path, mut pages) = (path.to_owned(), Vec::new());
    loop {
        let answer = client.get(&path).await;
        let items = good(&answer, 200);
        let ids = items.as_array().expect("a list").iter();
        pages.push(ids.map(|item| item["id"].as_str().expect("an id").to_owned()).collect());
        assert!(pages.len() < 20, "the list ends");
        match next(&answer) {
            None => return pages,
            Some(next) => path = next.to_owned(),
        }
    }
}

#[tokio::test]
async fn an_organisation_is_made_shown_changed_and_deleted() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let whole = json!({"id": "initech", "name": "Initech ☂", "domain": "initech.test"});
    let answer = send(&admin, "POST /api/orgs", &whole).await;
    assert_eq!(answer.header("location"), "/api/orgs/initech");
    let made = good(&answer, 201);
    let mut body = made.clone();
    take_time(&mut body, "created_at", 0);
    let none = json!({"bytes": null, "repositories": null});
    let mut expected = json!({
        "id": "initech", "name": "Initech ☂", "domain": "initech.test", "quota": none,
        "usage": {"bytes": 0, "repositories": 0},
    });
    assert_eq!(body, expected);
    let shown = async || {
        let mut body = good(&admin.get("/api/orgs/initech").await, 200);
        body.as_object_mut().expect("an object").remove("created_at");
        body
    };
    assert_eq!(good(&admin.get("/api/orgs/initech").await, 200), made);
    let least = good(&send(&admin, "POST /api/orgs", json!({"id": "a.b-c_d", "domain": null})).await, 201);
    assert_eq!((&least["name"], &least["domain"]), (&json!("a.b-c_d"), &Value::Null));

    // What is left out stays; null takes away.
    for (change, pointer, value) in [
        (json!({}), "/name", json!("Initech ☂")),
        (json!({"name": "Initrode"}), "/name", json!("Initrode")),
        (json!({"name": null, "quota": {}}), "/name", json!("Initrode")),
        (json!({"quota": {"bytes": 7, "repositories": 0}}), "/quota", json!({"bytes": 7, "repositories": 0})),
        (json!({"quota": {"bytes": null}}), "/quota/bytes", Value::Null),
        (json!({"quota": {"bytes": i64::MAX}}), "/quota/bytes", json!(i64::MAX)),
        (json!({"domain": null, "quota": {"repositories": null}}), "/domain", Value::Null),
        (json!({"name": "x", "quota": {"bytes": null}}), "/quota", none.clone()),
        (json!({"domain": "initech.test"}), "/domain", json!("initech.test")),
        // Its own is not taken.
        (json!({"domain": "initech.test"}), "/domain", json!("initech.test")),
    ] {
        for key in ["name", "domain"] {
            if let Some(value) = change.get(key).filter(|value| key == "domain" || !value.is_null()) {
                expected[key] = value.clone();
            }
        }
        for key in ["bytes", "repositories"] {
            if let Some(value) = change.pointer(&format!("/quota/{key}")) {
                expected["quota"][key] = value.clone();
            }
        }
        let mut changed = good(&send(&admin, "PATCH /api/orgs/initech", &change).await, 200);
        assert_eq!(changed["created_at"], made["created_at"]);
        changed.as_object_mut().expect("an object").remove("created_at");
        assert_eq!(changed.pointer(pointer), Some(&value), "{change}");
        assert_eq!((&changed, shown().await), (&expected, expected.clone()), "{change}");
    }

    // It is deleted when it is empty, and never comes again.
    let member = server.caller(&[("initech", "org_admin")]).await;
    let digest = member.push_blob("initech/tool", "bytes").await;
    let usage = json!({"bytes": 5, "repositories": 1});
    assert_eq!(shown().await["usage"], usage);
    refused_whole(&send(&admin, "DELETE /api/orgs/initech", "").await, 409, "org_not_empty");
    assert_eq!(member.delete(&format!("/v2/initech/tool/blobs/{digest}")).await.status, 202);
    let deleted = send(&admin, "DELETE /api/orgs/initech", "").await;
    assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
    assert_eq!(deleted.header("cache-control"), "no-store");
    for line in ["GET /api/orgs/initech", "PATCH /api/orgs/initech", "DELETE /api/orgs/initech"] {
        let body = if line.starts_with("PATCH") { "{}" } else { "" };
        refused_whole(&send(&admin, line, body).await, 404, "not_found");
    }
    assert_eq!(good(&member.get("/api/orgs").await, 200), json!([]), "its grants went with it");
    let push = member.send("POST", "/v2/initech/tool/blobs/uploads/", &[], "").await;
    assert_eq!(push.status, 403);
    refused_whole(&send(&admin, "POST /api/orgs", &whole).await, 409, "org_exists");
    let heir = json!({"id": "initech2", "domain": "initech.test"});
    good(&send(&admin, "POST /api/orgs", &heir).await, 201);
}

#[tokio::test]
async fn what_an_organisation_cannot_be() {
    let server = Server::start(&[]);
    let admin = server.admin();
    good(&send(&admin, "POST /api/orgs", json!({"id": "globex", "domain": "globex.test"})).await, 201);
    let before = good(&admin.get("/api/orgs").await, 200);
    let long = "x".repeat(65);
    for id in ["", "A", "a/b", "a b", "-a", "a.", "a..b", "ä", "..", &long] {
        let answer = send(&admin, "POST /api/orgs", json!({"id": id, "name": "A name"})).await;
        refused(&answer, 400, "invalid", "id:/id");
    }
    for name in ["", "  ", "a\nb", "\u{1b}[2J", &"x".repeat(129)] {
        let answer = send(&admin, "POST /api/orgs", json!({"id": "new", "name": name})).await;
        refused(&answer, 400, "invalid", "name:/name");
        let answer = send(&admin, "PATCH /api/orgs/globex", json!({"name": name})).await;
        refused(&answer, 400, "invalid", "name:/name");
    }
    let label = format!("{}.test", "x".repeat(64));
    for domain in
        ["", "host", "A.test", "a..test", ".test", "a.test.", "-a.test", "a-.test", "a b.test", &label]
    {
        let answer = send(&admin, "POST /api/orgs", json!({"id": "new", "domain": domain})).await;
        refused(&answer, 400, "invalid", "domain:/domain");
        let answer = send(&admin, "PATCH /api/orgs/globex", json!({"domain": domain})).await;
        refused(&answer, 400, "invalid", "domain:/domain");
    }
    // Everything at once.
    let answer = send(&admin, "POST /api/orgs", json!({"id": "A", "name": "\0", "domain": "?"})).await;
    refused(&answer, 400, "invalid", "id:/id name:/name domain:/domain");
    let too_much = json!({"bytes": u64::MAX, "repositories": u64::MAX});
    let answer =
        send(&admin, "PATCH /api/orgs/globex", json!({"name": "", "domain": "?", "quota": too_much})).await;
    refused(
        &answer,
        400,
        "invalid",
        "name:/name domain:/domain quota:/quota/bytes quota:/quota/repositories",
    );

    for (line, body, status, code) in [
        ("POST /api/orgs", json!({"id": "acme"}), 409, "org_exists"),
        ("POST /api/orgs", json!({"id": "system"}), 409, "org_exists"),
        ("POST /api/orgs", json!({"id": "new", "domain": "globex.test"}), 409, "domain_taken"),
        ("PATCH /api/orgs/acme", json!({"domain": "globex.test"}), 409, "domain_taken"),
        ("PATCH /api/orgs/system", json!({"name": "x"}), 404, "not_found"),
        ("DELETE /api/orgs/system", Value::Null, 404, "not_found"),
        ("GET /api/orgs/system", Value::Null, 404, "not_found"),
        ("PATCH /api/orgs/ghost", json!({}), 404, "not_found"),
        ("GET /api/orgs/", Value::Null, 404, "not_found"),
        ("GET /api/nothing", Value::Null, 404, "name_unknown"),
    ] {
        refused_whole(&send(&admin, line, &body).await, status, code);
    }
    assert_eq!(good(&admin.get("/api/orgs").await, 200), before, "nothing of it came to be");
}

/// Whatever reads a body reads it strictly.
#[tokio::test]
async fn bodies_that_are_not_read() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let large = format!("{}\"{}\"", " ".repeat(10), "x".repeat(1 << 20));
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for (line, body, status) in [
        ("POST /api/orgs", r#"{"id": "new"}"#, 201),
        ("PATCH /api/orgs/acme", r#"{"name": "new"}"#, 200),
        ("POST /api/tokens", r#"{"name": "x", "grants": [{"catalog": "acme", "role": "publisher"}]}"#, 201),
        ("POST /api/catalogs/acme/tags", r#"[{"repository": "acme/a", "tag": "a", "digest": "?"}]"#, 400),
        (RULES, r#"{"immutable": [{"repositories": "acme/a", "tags": "a"}]}"#, 200),
    ] {
        let unknown = body.replacen("{\"", "{\"more\": 1, \"", 1);
        let (key, _) = body[body.find('"').expect("a key")..].split_once(':').expect("a value");
        let doubled = body.replacen(key, &format!("{key}: \"y\", {key}"), 1);
        let escaped = doubled.replacen(&key[1..2], &format!("\\u{:04x}", key.as_bytes()[1]), 1);
        let (cut, more, quoted) = (&body[..body.len() - 1], format!("{body}x"), body.replace('"', "'"));
        for bad in [
            "",
            "null",
            "1",
            "\"x\"",
            "{\"x\"",
            "[1]",
            "{}{}",
            "\u{feff}{}",
            &unknown,
            &doubled,
            &escaped,
            cut,
            &more,
            &quoted,
        ] {
            refused(&send(&admin, line, bad).await, 400, "invalid", "body:");
        }
        let answer = send(&admin, line, &deep).await;
        refused(&answer, 400, "invalid", "body:");
        let detail = &answer.json()["errors"][0]["detail"];
        assert!(detail.as_str().is_some_and(|detail| detail.contains("deeper than 64")), "{detail}");
        let (method, path) = line.split_once(' ').expect("a path");
        let latin = body.bytes().map(|byte| if byte == b'a' { 0xe9 } else { byte }).collect::<Vec<_>>();
        let latin = [&latin[..], b"\xe9"].concat();
        refused(&admin.send(method, path, &[], latin).await, 400, "invalid", "body:");
        refused_whole(&send(&admin, line, &large).await, 413, "body_too_large");
        // As much as may be is read, whatever it calls itself.
        let padded = format!("{body}{}", " ".repeat((1 << 20) - body.len()));
        let read = admin.send(method, path, &[("content-type", "text/plain")], padded).await;
        assert_eq!(read.status, status, "{line} {read:?}");
        assert!(status != 400 || findings(&read) == "digest:/0/digest");
    }
    for (line, body) in [
        ("POST /api/orgs", json!({"id": 1})),
        // A list is no object, whatever it holds.
        ("POST /api/orgs", json!(["new2", "x", null])),
        ("PATCH /api/orgs/acme", json!(["x"])),
        ("PATCH /api/orgs/acme", json!({"quota": [1, 2]})),
        ("POST /api/tokens", json!(["x", [["acme", "publisher"]], null, null])),
        ("POST /api/tokens", json!({"name": "x", "grants": [["acme", "publisher"]]})),
        ("POST /api/catalogs/acme/tags", json!([["acme/a", "a", "x", null]])),
        (RULES, json!([[]])),
        (RULES, json!({"immutable": [["acme/a", "a"]]})),
        ("POST /api/orgs", json!({"id": "new2", "name": ["x"]})),
        ("PATCH /api/orgs/acme", json!({"quota": null})),
        ("PATCH /api/orgs/acme", json!({"quota": {"bytes": -1}})),
        ("PATCH /api/orgs/acme", json!({"quota": {"bytes": 1.5}})),
        ("PATCH /api/orgs/acme", json!({"quota": {"bytes": "1"}})),
        ("PATCH /api/orgs/acme", json!({"quota": {"files": 1}})),
        ("PATCH /api/orgs/acme", json!({"id": "other"})),
        ("POST /api/tokens", json!({"name": "x", "grants": {"catalog": "acme", "role": "publisher"}})),
        ("POST /api/tokens", json!({"name": "x", "grants": [{"catalog": "acme"}]})),
        ("POST /api/tokens", json!({"name": "x", "grants": [], "expires_in": -1})),
        ("POST /api/tokens", json!({"name": "x", "grants": [], "expires_in": 1.5})),
        ("POST /api/tokens", json!({"name": "x", "grants": [], "repositories": "acme/**"})),
        ("POST /api/catalogs/acme/tags", json!([{"repository": "acme/a", "tag": "a"}])),
        ("POST /api/catalogs/acme/tags", json!([{"repository": "acme/a", "tag": "a", "digest": null}])),
        ("PUT /api/catalogs/acme/tag-rules", json!({})),
        ("PUT /api/catalogs/acme/tag-rules", json!({"immutable": [{"repositories": "acme/a"}]})),
    ] {
        refused(&send(&admin, line, &body).await, 400, "invalid", "body:");
    }
}

#[tokio::test]
async fn lists_go_on_behind_their_link() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let all = ["a", "acme", "c", "conf", "corp", "other", "x"];
    let paged = pages(&admin, "/api/orgs?limit=3").await;
    assert_eq!(paged, [&all[..3], &all[3..6], &all[6..]]);
    let member =
        server.caller(&[("corp", "publisher"), ("acme", "org_admin"), ("system", "publisher")]).await;
    assert_eq!(pages(&member, "/api/orgs?limit=1").await, [["acme"], ["corp"]]);
    let first = admin.get("/api/orgs?limit=3").await;
    assert_eq!(next(&first), Some("/api/orgs?limit=3&after=c"));
    assert_eq!(pages(&admin, "/api/orgs?limit=7").await, [all], "a full page is the last one");
    assert_eq!(pages(&admin, "/api/orgs?limit=0").await.len(), 7, "a page has at least one");
    assert_eq!(pages(&admin, "/api/orgs?limit=99999999999999999999").await, [all]);
    assert_eq!(pages(&admin, "/api/orgs?after=corp").await, [["other", "x"]]);
    assert_eq!(pages(&admin, "/api/orgs?after=").await, [all]);
    assert_eq!(pages(&admin, "/api/orgs?after=zzz").await, [[] as [&str; 0]]);

    let mut tokens = Vec::new();
    for number in 0..8 {
        let catalog = if number % 2 == 0 { "acme" } else { "corp" };
        tokens.push(made(&admin, catalog, "publisher", json!({})).await.0);
    }
    let own = pages(&member, "/api/tokens?limit=2").await;
    assert_eq!(own.len(), 3, "that of the caller and four others");
    assert_eq!(own.concat()[1..], [&*tokens[0], &tokens[2], &tokens[4], &tokens[6]], "oldest first");
    let of_corp = pages(&admin, "/api/tokens?catalog=corp&limit=2").await;
    assert_eq!(of_corp.len(), 3);
    assert_eq!(of_corp.concat()[1..], [&*tokens[1], &tokens[3], &tokens[5], &tokens[7]]);
    let first = admin.get("/api/tokens?catalog=corp&limit=2").await;
    assert_eq!(next(&first), Some(&*format!("/api/tokens?catalog=corp&limit=2&after={}", tokens[1])));
    let all = pages(&admin, "/api/tokens?limit=4").await;
    assert_eq!((all.len(), all.concat()[1..].to_vec()), (3, tokens.clone()));
    assert_eq!(pages(&admin, &format!("/api/tokens?after={}", tokens[5])).await, [&tokens[6..]]);
    for path in ["/api/orgs", "/api/tokens"] {
        for query in ["limit=x", "limit=-1", "limit=", "limit=1&limit=2", "after=a&after=b", "after=%ff"] {
            refused_whole(&admin.get(&format!("{path}?{query}")).await, 400, "unsupported");
        }
    }
}

#[tokio::test]
async fn a_token_is_made_shown_once_listed_and_revoked() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let (manager, secret) = made(&admin, "acme", "org_admin", json!({"name": "The manager"})).await;
    let org_admin = client(&server, &secret);
    let body = json!({
        "name": "ci ☂", "grants": [{"catalog": "acme", "role": "publisher"}, {"catalog": "acme", "role": "org_member"}],
        "repositories": ["acme/com.acme.*", "system/**"], "expires_in": 3600,
    });
    let answer = send(&org_admin, "POST /api/tokens", &body).await;
    let mut whole = good(&answer, 201);
    let id = whole["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), format!("/api/tokens/{id}"));
    let secret = whole.as_object_mut().and_then(|whole| whole.remove("token")).expect("a token");
    let secret = secret.as_str().expect("a text");
    assert!(secret.len() == 55 && secret.starts_with("quire_"), "{}", secret.len());
    let listed = good(&org_admin.get("/api/tokens").await, 200);
    let mut expected = body.clone();
    for (key, value) in [("id", json!(id)), ("created_by", json!(format!("token:{manager}")))] {
        expected[key] = value;
    }
    expected.as_object_mut().expect("an object").remove("expires_in");
    let sorted = json!([{"catalog": "acme", "role": "org_member"}, {"catalog": "acme", "role": "publisher"}]);
    let mut shown = listed[1].clone();
    for (body, grants) in [(&mut whole, &body["grants"]), (&mut shown, &sorted)] {
        take_time(body, "created_at", 0);
        take_time(body, "expires_at", 3600);
        expected["grants"] = grants.clone();
        assert_eq!(*body, expected);
    }
    let mut first = listed[0].clone();
    take_time(&mut first, "created_at", 0);
    let grants = json!([{"catalog": "acme", "role": "org_admin"}]);
    let expected = json!({
        "id": manager, "name": "The manager", "grants": grants, "repositories": null, "created_by": "admin",
        "expires_at": null,
    });
    assert_eq!(first, expected);
    let made_it = client(&server, secret);
    assert_eq!(made_it.get("/api/whoami").await.status, 200);
    let path = format!("DELETE /api/tokens/{id}");
    let revoked = send(&org_admin, &path, "").await;
    assert_eq!((revoked.status.as_u16(), revoked.body.len()), (204, 0));
    refused_whole(&made_it.get("/api/whoami").await, 401, "unauthorized");
    assert_eq!(good(&org_admin.get("/api/tokens").await, 200), json!([listed[0]]));
    for id in [&*id, "01976f4e-0000-7000-8000-000000000000", "no-id"] {
        refused_whole(&send(&org_admin, &format!("DELETE /api/tokens/{id}"), "").await, 404, "not_found");
    }
}

#[tokio::test]
async fn what_a_token_cannot_be() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let before = pages(&admin, "/api/tokens").await;
    let grant = |catalog: &str, role: &str| json!({"catalog": catalog, "role": role});
    let publisher = json!([grant("acme", "publisher")]);
    let many: Vec<Value> = (0..65).map(|number| grant(&format!("o{number}"), "publisher")).collect();
    for (more, expected) in [
        (json!({"grants": []}), "grants:/grants"),
        (json!({"grants": many, "name": ""}), "name:/name grants:/grants"),
        (json!({"grants": [grant("acme", "owner")]}), "role:/grants/0/role"),
        (
            json!({"grants": [grant("acme", "sys_admin"), grant("system", "org_admin"), grant("acme", "")]}),
            "role:/grants/0/role role:/grants/1/role role:/grants/2/role",
        ),
        (json!({"grants": [publisher[0], publisher[0]]}), "role:/grants/1/role"),
        (json!({"grants": [grant("ghost", "publisher")]}), "catalog:/grants"),
        (json!({"expires_in": 0}), "expires_in:/expires_in"),
        (json!({"expires_in": 316_224_001}), "expires_in:/expires_in"),
        (json!({"expires_in": u64::MAX}), "expires_in:/expires_in"),
        (json!({"repositories": []}), "repositories:/repositories"),
        (json!({"repositories": vec!["acme/**"; 65]}), "repositories:/repositories"),
        (
            json!({"repositories": ["acme/**", "corp/tool", "acme", "*/x", "acme/[a]"]}),
            "repositories:/repositories/1 repositories:/repositories/2 repositories:/repositories/3 repositories:/repositories/4",
        ),
        (
            json!({"name": "", "grants": [grant("acme", "x")], "expires_in": 0, "repositories": ["x"]}),
            "name:/name role:/grants/0/role expires_in:/expires_in repositories:/repositories/0",
        ),
    ] {
        let mut body = json!({"name": "ci", "grants": publisher});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        refused(&send(&admin, "POST /api/tokens", &body).await, 400, "invalid", expected);
    }
    // Where it would be good stands in the finding.
    for (catalog, role, hint) in [("acme", "sys_admin", "system"), ("system", "org_admin", "organisations")] {
        let body = json!({"name": "x", "grants": [grant(catalog, role)]});
        let answer = send(&admin, "POST /api/tokens", &body).await;
        let detail = answer.json()["errors"][0]["detail"].clone();
        assert!(
            detail.as_str().is_some_and(|detail| detail.contains(role) && detail.contains(hint)),
            "{detail}"
        );
    }
    let unknown =
        send(&admin, "POST /api/tokens", json!({"name": "x", "grants": [grant("acme", "x")]})).await;
    for role in ["sys_admin", "org_admin", "org_member", "orchestrator", "publisher", "contributor"] {
        assert!(unknown.json()["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains(role)));
    }
    assert_eq!(pages(&admin, "/api/tokens").await, before, "none was made");
    // Who may not hand out tokens there learns that before what else is wrong.
    let org_admin = server.caller(&[("acme", "org_admin")]).await;
    for (grants, code) in [
        (json!([grant("corp", "nonsense")]), "not_a_member"),
        (json!([grant("acme", "publisher"), grant("ghost", "publisher")]), "not_a_member"),
        (json!([grant("system", "org_member")]), "permission_missing"),
    ] {
        let body = json!({"name": "", "grants": grants});
        refused_whole(&send(&org_admin, "POST /api/tokens", &body).await, 403, code);
    }
    for life in [1, 316_224_000] {
        let made = good(
            &send(&admin, "POST /api/tokens", json!({"name": "x", "grants": publisher, "expires_in": life}))
                .await,
            201,
        );
        take_time(&mut made.clone(), "expires_at", life);
    }
}

#[tokio::test]
async fn who_one_is_and_what_one_may() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let admin = server.admin();
    let publishing = ["org:plugins:read", "org:plugins:write"];
    let grant = |catalog: &str, name: &str, permissions: &[&str], moves_tags: bool| {
        let none = Value::Null;
        json!({"catalog": catalog, "name": name, "permissions": permissions, "repositories": none, "moves_tags": moves_tags})
    };
    let all = [
        "org:plugins:read",
        "org:plugins:write",
        "org:members:write",
        "system:plugins:read",
        "system:plugins:write",
        "system:admin",
    ];
    let whole =
        json!({"subject": "admin", "grants": [grant("*", "sys_admin", &all, true)], "expires_at": null});
    assert_eq!(good(&admin.get("/api/whoami").await, 200), whole);

    let globs = json!(["acme/com.acme.*"]);
    let (id, secret) =
        made(&admin, "acme", "contributor", json!({"repositories": globs, "expires_in": 600})).await;
    let contributor = client(&server, &secret);
    let mut whole = good(&contributor.get("/api/whoami").await, 200);
    take_time(&mut whole, "expires_at", 600);
    let mut narrow = grant("acme", "contributor", &publishing, false);
    narrow["repositories"] = globs;
    assert_eq!(whole, json!({"subject": format!("token:{id}"), "grants": [narrow]}));

    let jwt = client(&server, &issuing.token(Kind::Es256, grants(&[("acme", "publisher")])));
    let mut whole = good(&jwt.get("/api/whoami").await, 200);
    // Its issuer's clock may be a minute off.
    take_time(&mut whole, "expires_at", 660);
    let expected = [grant("acme", "publisher", &publishing, true)];
    assert_eq!(whole, json!({"subject": "jwt:published:somebody-Es256", "grants": expected}));

    let nobody = client(&server, &issuing.token(Kind::Es256, json!({})));
    assert_eq!(good(&nobody.get("/api/whoami").await, 200)["grants"], json!([]));
    for (client, action, repository, allowed, rule) in [
        (&admin, "delete", "acme/tool", true, "sys_admin on system"),
        (&admin, "push", "ghost/tool", false, "not_a_member"),
        (&admin, "pull", "ghost/tool", true, "sys_admin on system"),
        (&contributor, "push", "acme/com.acme.tool", true, "contributor on acme"),
        (&contributor, "delete", "acme/com.acme.tool", false, "create_only"),
        (&contributor, "push", "acme/tool", false, "permission_missing"),
        (&contributor, "pull", "system/tool", true, "public"),
        (&jwt, "push", "acme/tool", true, "publisher on acme"),
        (&jwt, "push", "corp/tool", false, "not_a_member"),
        (&jwt, "push", "system/tool", false, "permission_missing"),
        (&nobody, "pull", "acme/tool", false, "permission_missing"),
    ] {
        let answer = client.get(&format!("/api/can-i?action={action}&repository={repository}")).await;
        assert_eq!(good(&answer, 200), json!({"allowed": allowed, "rule": rule}), "{action} {repository}");
    }
    for query in [
        "",
        "?action=pull",
        "?repository=acme/tool",
        "?action=PULL&repository=acme/tool",
        "?action=tag&repository=acme/tool",
        "?action=pull&repository=acme",
        "?action=pull&repository=Acme/tool",
        "?action=pull&action=pull&repository=acme/tool",
    ] {
        refused_whole(&admin.get(&format!("/api/can-i{query}")).await, 400, "unsupported");
    }
    for path in [
        "/api/whoami",
        "/api/can-i?action=pull&repository=acme/tool",
        "/api/orgs",
        "/api/orgs/acme",
        "/api/tokens",
        "/api/catalogs/acme/tag-rules",
    ] {
        let (get, head) = (admin.get(path).await, admin.head(path).await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for header in ["content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(header), get.header(header), "{path} {header}");
        }
        let short = admin.short(&["acme/tool:pull"]).await;
        refused_whole(&short.get(path).await, 401, "unauthorized");
        refused_whole(&server.anonymous().get(path).await, 401, "unauthorized");
        assert_eq!(server.anonymous().head(path).await.status, 401);
    }
}

/// The end of a token, in seconds since the epoch.
fn end(token: &Value) -> Option<f64> {
    let at = token["expires_at"].as_str()?.parse::<jiff::Timestamp>().expect("a time");
    Some(at.as_duration().as_secs_f64())
}

#[tokio::test]
async fn a_token_never_outlives_the_one_that_made_it() {
    let (_folder, issuing) = issuer();
    let server = issuing.start(&[]);
    let make = async |client: &Client, more: Value| {
        let mut body = json!({"name": "x", "grants": [{"catalog": "acme", "role": "org_admin"}]});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        good(&send(client, "POST /api/tokens", &body).await, 201)
    };
    let parent = make(&server.admin(), json!({"expires_in": 600})).await;
    let its_end = end(&parent).expect("an end");
    let maker = client(&server, parent["token"].as_str().expect("a token"));
    for more in [json!({}), json!({"expires_in": 601}), json!({"expires_in": 316_224_000})] {
        let child = make(&maker, more.clone()).await;
        let difference = end(&child).expect("an end") - its_end;
        assert!((-5.0..0.05).contains(&difference), "{more} {difference}");
        let grandchild = make(&client(&server, child["token"].as_str().expect("a token")), more).await;
        assert!(end(&grandchild).expect("an end") < its_end + 0.05, "{grandchild}");
    }
    let shorter = end(&make(&maker, json!({"expires_in": 60})).await).expect("an end");
    assert!(shorter < its_end - 500.0);
    // Who has no end makes what has none, and so does who was vouched for.
    let endless = make(&server.admin(), json!({})).await;
    let endless = client(&server, endless["token"].as_str().expect("a token"));
    let jwt = client(&server, &issuing.token(Kind::EdDsa, grants(&[("acme", "org_admin")])));
    for maker in [endless, jwt] {
        assert_eq!(end(&make(&maker, json!({})).await), None);
        assert!(end(&make(&maker, json!({"expires_in": 3600})).await).is_some());
    }
}

pub const RULES: &str = "PUT /api/catalogs/acme/tag-rules";
