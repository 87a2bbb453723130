//! Rules that keep tags where they are, and several tags in one request.

use serde_json::{Value, json};

use crate::attacks::{client, denied, index, of, put, rule, target, write_tags};
use crate::harness::Server;
use crate::harness::package::{Package, artifact};
use crate::organisations::{RULES, good, refused, refused_whole, send};

const PLUGIN: &str = "acme/com.acme.tool";

#[tokio::test]
async fn a_rule_keeps_tags_where_they_are_until_it_is_taken_away() {
    let server = Server::start(&[]);
    let (admin, publisher) =
        (server.caller(&[("acme", "org_admin")]).await, server.caller(&[("acme", "publisher")]).await);
    let manifests = [index(1), index(2)];
    let [one, two] = [0, 1].map(|place: usize| of(&manifests[place].to_string()));
    for (manifest, reference) in [(0, "v1"), (0, "v2"), (0, "latest"), (1, "spare")] {
        assert_eq!(publisher.put_manifest("acme/tool", reference, &manifests[manifest]).await.status, 201);
        assert_eq!(publisher.put_manifest("acme/other", reference, &manifests[manifest]).await.status, 201);
    }
    let shown = async || good(&publisher.get("/api/catalogs/acme/tag-rules").await, 200);
    assert_eq!(shown().await, json!({"immutable": []}));
    let rules = json!({"immutable": [{"repositories": "acme/tool", "tags": "v*"}, {"repositories": "acme/x/**", "tags": "*"}]});
    let answer = send(&admin, RULES, &rules).await;
    assert_eq!((good(&answer, 200), shown().await), (rules.clone(), rules));
    let tag = |tag: &str, digest: &str| json!([{"repository": "acme/tool", "tag": tag, "digest": digest}]);
    let pushed = async |reference: &str, manifest: usize| {
        put(&publisher, &format!("acme/tool/manifests/{reference}"), &manifests[manifest], &[]).await
    };
    let kept = async |name: &str, at: &str| {
        let answer = pushed(name, 1).await;
        assert_eq!(denied(&answer), rule(403, "tag_immutable"));
        assert_eq!(answer.code(), "DENIED");
        let detail = json!({"rule": "tag_immutable", "tag": name, "digest": at});
        assert_eq!(answer.json()["errors"][0]["detail"], detail);
        let answer = write_tags(&publisher, tag(name, &two)).await;
        refused(&answer, 409, "tag_immutable", "tag_immutable:/0");
        // Nor does who manages the catalog move it.
        assert_eq!(
            denied(&put(&admin, &format!("acme/tool/manifests/{name}"), &manifests[1], &[]).await).0,
            403
        );
    };
    kept("v1", &one).await;
    assert_eq!(target(&server, "acme/tool", "v1").await, one);
    // What is there already, a new tag, another tag and another repository are as ever.
    assert_eq!(pushed("v1", 0).await.status, 201);
    assert_eq!(write_tags(&publisher, tag("v1", &one)).await.status, 204);
    assert_eq!(pushed("v3", 1).await.status, 201);
    assert_eq!(pushed("latest", 1).await.status, 201);
    assert_eq!(publisher.put_manifest("acme/other", "v1", &manifests[1]).await.status, 201);

    // Deleted, only the same comes back, also when it went with its manifest.
    assert_eq!(publisher.delete("/v2/acme/tool/manifests/v1").await.status, 202);
    kept("v1", &one).await;
    assert_eq!(target(&server, "acme/tool", "v1").await, "");
    assert_eq!(write_tags(&publisher, tag("v1", &one)).await.status, 204);
    assert_eq!(publisher.delete(&format!("/v2/acme/tool/manifests/{one}")).await.status, 202);
    kept("v1", &one).await;
    kept("v2", &one).await;
    assert_eq!(pushed("v1", 0).await.status, 201);

    // Without the rule both are free: the tag that is there and the one that is not.
    let other = json!({"immutable": [{"repositories": "acme/tool", "tags": "w*"}]});
    good(&send(&admin, RULES, &other).await, 200);
    assert_eq!(pushed("v1", 1).await.status, 201);
    assert_eq!(write_tags(&publisher, tag("v2", &two)).await.status, 204);
    assert_eq!(
        [target(&server, "acme/tool", "v1").await, target(&server, "acme/tool", "v2").await],
        [&*two, &*two]
    );
}

#[tokio::test]
async fn what_no_tag_rule_can_be() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let good_rule = json!({"repositories": "acme/**", "tags": "v*"});
    let rules = |more: &[(&str, &str)]| {
        let more =
            more.iter().map(|(repositories, tags)| json!({"repositories": repositories, "tags": tags}));
        let rules: Vec<Value> = [good_rule.clone()].into_iter().chain(more).collect();
        json!({ "immutable": rules })
    };
    good(&send(&admin, RULES, rules(&[])).await, 200);
    let (repositories, tags) = ("glob:/immutable/1/repositories", "glob:/immutable/1/tags");
    for (rule, expected) in [
        (("corp/**", "v*"), repositories),
        (("acme", "v*"), repositories),
        (("*/tool", "v*"), repositories),
        (("acme/***", "v*"), repositories),
        (("acme/**", "v/*"), tags),
        (("acme/**", ""), tags),
        (("acme/**", "**"), tags),
        (("", "v?"), &*format!("{repositories} {tags}")),
    ] {
        refused(&send(&admin, RULES, rules(&[rule])).await, 400, "invalid", expected);
    }
    let long = "x".repeat(257);
    let answer =
        send(&admin, RULES, rules(&[("corp/a", "a"), ("acme/a", &long), ("acme/a", "a"), ("x", "a")])).await;
    let expected = format!("{repositories} glob:/immutable/2/tags glob:/immutable/4/repositories");
    refused(&answer, 400, "invalid", &expected);
    let many = vec![("acme/a", "a"); 50];
    refused(&send(&admin, RULES, rules(&many)).await, 400, "invalid", "immutable:/immutable");
    let shown = async || good(&admin.get("/api/catalogs/acme/tag-rules").await, 200);
    assert_eq!(shown().await, rules(&[]), "nothing of it was set");
    good(&send(&admin, RULES, rules(&many[1..])).await, 200);
    assert_eq!(shown().await, rules(&many[1..]));
    for line in ["GET /api/catalogs/ghost/tag-rules", "PUT /api/catalogs/ghost/tag-rules"] {
        let body = if line.starts_with("PUT") { json!({"immutable": []}).to_string() } else { String::new() };
        refused_whole(&send(&admin, line, body).await, 404, "not_found");
    }
}

#[tokio::test]
async fn several_tags_are_written_all_or_none() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let contributor = server.caller(&[("acme", "contributor")]).await;
    let zip = Package::new("com.acme.tool", "1.0").bytes();
    let (one, two, absent) = (of(&artifact(&zip).to_string()), of(&index(2).to_string()), of("absent"));
    for reference in ["1.0", "beta", "v1"] {
        assert_eq!(publisher.push_plugin(PLUGIN, reference, &zip).await.status, 201);
    }
    assert_eq!(publisher.put_manifest(PLUGIN, "stable", &index(2)).await.status, 201);
    let rules = json!({"immutable": [{"repositories": "acme/**", "tags": "v*"}]});
    good(&send(&server.admin(), RULES, &rules).await, 200);
    let tag = |tag: &str, digest: &str| json!({"repository": PLUGIN, "tag": tag, "digest": digest});
    let expecting = |name: &str, digest: &str, expected: Value| {
        let mut tag = tag(name, digest);
        tag["expected"] = expected;
        tag
    };
    let path = format!("/v2/{PLUGIN}/tags/list");
    let listed = async || good(&publisher.get(&path).await, 200)["tags"].clone();
    let tags = listed().await;
    assert_eq!(tags, json!(["1.0", "beta", "latest", "stable", "v1"]));

    // Every one that stands in the way is told, and the first decides.
    let fine = tag("new", &two);
    let stands = [
        (tag("a", &absent), ("manifest_unknown", "/digest"), 404),
        (expecting("beta", &two, json!(two)), ("tag_moved", ""), 412),
        (expecting("beta", &two, Value::Null), ("tag_moved", ""), 412),
        (expecting("nowhere", &two, json!(one)), ("tag_moved", ""), 412),
        (tag("1.0", &two), ("not_this_version", ""), 409),
        (tag("1.0.0", &one), ("not_this_version", ""), 409),
        (tag("latest", &one), ("latest_follows", ""), 409),
        (tag("v1", &two), ("tag_immutable", ""), 409),
    ];
    for first in 0..stands.len() {
        let mut rotated = stands.clone();
        rotated.rotate_left(first);
        // A tag stands in a request once.
        let mut seen = Vec::new();
        let once = rotated.into_iter().filter(|(tag, ..)| {
            let new = !seen.contains(&tag["tag"]);
            seen.push(tag["tag"].clone());
            new
        });
        let once: Vec<_> = once.collect();
        let body: Vec<&Value> = std::iter::once(&fine).chain(once.iter().map(|(tag, ..)| tag)).collect();
        let told = |((_, (code, field), _), place): (&(Value, (&str, &str), u16), u8)| {
            format!("{code}:/{place}{field}")
        };
        let expected: Vec<String> = once.iter().zip(1..).map(told).collect();
        assert_eq!(expected.len(), 7);
        let answer = write_tags(&publisher, json!(body)).await;
        refused(&answer, stands[first].2, stands[first].1.0, &expected.join(" "));
    }
    let answer = write_tags(&contributor, json!([fine, tag("beta", &two), tag("stable", &one)])).await;
    refused(&answer, 409, "create_only", "create_only:/1 create_only:/2");
    assert_eq!(listed().await, tags, "nothing was written");

    // A channel goes forward and is rolled back, by who knows where it is.
    for (from, to) in [(&one, &two), (&two, &one), (&one, &one)] {
        let answer = write_tags(&publisher, json!([expecting("beta", to, json!(from))])).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
        assert_eq!(&target(&server, PLUGIN, "beta").await, to);
    }
    let fresh = json!([expecting("fresh", &two, Value::Null), tag("fresh-too", &two)]);
    assert_eq!(write_tags(&contributor, fresh.clone()).await.status, 204);
    assert_eq!(target(&server, PLUGIN, "fresh").await, two);
    let answer = write_tags(&contributor, fresh).await;
    refused(&answer, 412, "tag_moved", "tag_moved:/0");

    let corp = json!({"repository": "corp/tool", "tag": "a", "digest": one});
    let bad = json!([
        corp, {"repository": "acme", "tag": ".", "digest": "sha256:x", "expected": "x"}, tag("ok", &one), tag("ok", &two),
    ]);
    let findings = "repository:/0/repository repository:/1/repository tag:/1/tag digest:/1/digest \
                    digest:/1/expected tag:/3";
    refused(&write_tags(&publisher, bad).await, 400, "invalid", findings);
    let narrow = server.token(&[("acme", "publisher")], json!({"repositories": [PLUGIN]})).await;
    let elsewhere = json!([fine, {"repository": "acme/other", "tag": "a", "digest": one}]);
    refused_whole(&write_tags(&client(&server, &narrow), elsewhere).await, 403, "permission_missing");
    assert_eq!(target(&server, PLUGIN, "new").await, "");

    let many =
        |count: usize| json!((0..count).map(|number| tag(&format!("t{number}"), &one)).collect::<Vec<_>>());
    refused(&write_tags(&publisher, many(1001)).await, 400, "invalid", "tags:");
    assert_eq!(target(&server, PLUGIN, "t0").await, "");
    assert_eq!(write_tags(&publisher, many(1000)).await.status, 204);
    assert_eq!(target(&server, PLUGIN, "t999").await, one);
    // Of very many findings a hundred are told.
    let unknown: Vec<Value> = (0..1000).map(|number| tag(&format!("u{number}"), &absent)).collect();
    let answer = write_tags(&publisher, json!(unknown)).await;
    assert_eq!(answer.problem(), (404, "manifest_unknown".to_owned()));
    assert_eq!(answer.json()["errors"].as_array().map(Vec::len), Some(100));
}
