//! What the catalog shows of plugins: lists, facets, versions, settings, differences, and to whom.

use serde_json::{Value, json};

use crate::harness::package::Package;
use crate::harness::plugin_api::{ACME, SYSTEM, each};
use crate::harness::{Answer, Client, Server};

const MAIL: &str = "com.acme.mail";

/// The path in a `Link`, if there is one.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    assert_eq!(path.is_none(), link.is_empty(), "{link}");
    path.map(str::to_owned)
}

/// Every page of a list, followed to its end, in one list. No page but the last has fewer than the limit.
async fn all_pages(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let join = if path.contains('?') { '&' } else { '?' };
    let mut path = format!("{path}{join}limit={limit}");
    let mut all = Vec::new();
    loop {
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        let page = answer.json();
        let page = page.as_array().expect("a list");
        all.extend_from_slice(page);
        match next(&answer) {
            Some(next) => {
                assert_eq!(page.len(), limit, "{path}");
                path = next;
            }
            None => return all,
        }
    }
}

/// Pids and where they are from, as a list has them.
fn told(list: &Value) -> Vec<(String, String, String)> {
    let text = |item: &Value, field: &str| item[field].as_str().expect("a text").to_owned();
    let list = list.as_array().expect("a list");
    list.iter().map(|item| (text(item, "pid"), text(item, "source"), text(item, "version"))).collect()
}

fn is(list: &Value, expected: &[(&str, &str, &str)], what: &str) {
    let owned = |(pid, source, version): &(&str, &str, &str)| {
        ((*pid).to_owned(), (*source).to_owned(), (*version).to_owned())
    };
    assert_eq!(told(list), expected.iter().map(owned).collect::<Vec<_>>(), "{what}");
}

/// Seven plugins of the organisation and the system, one of them in both.
async fn filled(settings: &[(&str, &str)]) -> (Server, Client) {
    let server = Server::start(settings);
    let admin = server.admin();
    for (plugins, pid, version, tag, capabilities) in [
        (ACME, MAIL, "1.0", "mail", json!(["send", "receive"])),
        (ACME, "com.acme.sms", "1.0", "phone", json!(["send"])),
        (ACME, "com.acme.sms", "2.0", "phone", json!(["send", "bulk"])),
        (ACME, "net.tool", "0.1", "tools", json!([])),
        (SYSTEM, "com.acme.mail", "3.0", "mail", json!(["send"])),
        (SYSTEM, "com.quire.echo", "1.0", "tools", json!(["echo"])),
        (SYSTEM, "org.other", "1.0-rc.1", "tools", json!(["echo", "send"])),
    ] {
        let package = Package::new(pid, version).field("tag", json!(tag));
        let package = package.field("description", json!(format!("For {tag}; Grüße an {pid}")));
        admin.publish(plugins, &package.field("capabilities", capabilities)).await;
    }
    admin.publish_version("/api/orgs/corp/plugins", "com.corp.secret", "1.0").await;
    let member = server.caller(&[("acme", "org_member")]).await;
    (server, member)
}

const EVERYTHING: [(&str, &str, &str); 6] = [
    (MAIL, "org", "1.0"),
    (MAIL, "system", "3.0"),
    ("com.acme.sms", "org", "2.0"),
    ("com.quire.echo", "system", "1.0"),
    ("net.tool", "org", "0.1"),
    ("org.other", "system", "1.0-rc.1"),
];

#[tokio::test]
async fn a_list_has_what_is_one_s_own_and_the_system_s() {
    let (server, member) = filled(&[]).await;
    is(&member.read(ACME).await, &EVERYTHING, "all");
    for limit in 1..=7 {
        let pages = all_pages(&member, ACME, limit).await;
        is(&Value::Array(pages), &EVERYTHING, &format!("in pages of {limit}"));
        let pages = all_pages(&member, &format!("{ACME}?q=send&include_disabled=true"), limit).await;
        let sending = [EVERYTHING[0], EVERYTHING[1], EVERYTHING[2], EVERYTHING[5]];
        is(&Value::Array(pages), &sending, &format!("what sends in pages of {limit}"));
    }
    let system = [EVERYTHING[1], EVERYTHING[3], EVERYTHING[5]];
    is(&member.read(SYSTEM).await, &system, "the system's");
    is(&Value::Array(all_pages(&member, SYSTEM, 1).await), &system, "the system's, one by one");
    let stranger = server.caller(&[("corp", "org_member")]).await;
    let seen = stranger.read("/api/orgs/corp/plugins").await;
    assert_eq!(each(&seen, "pid"), [MAIL, "com.corp.secret", "com.quire.echo", "org.other"]);
    is(&member.read(&format!("{ACME}?limit=0")).await, &EVERYTHING[..1], "the least");
    is(&member.read(&format!("{ACME}?limit=1001")).await, &EVERYTHING, "the most");
    for limit in ["-1", "x", ""] {
        let answer = member.get(&format!("{ACME}?limit={limit}")).await;
        assert_eq!(answer.problem(), (400, "unsupported".to_owned()), "{limit}");
    }
    for after in ["x", "x:y", "x%3Aother", ":"] {
        let answer = member.get(&format!("{ACME}?after={after}")).await;
        assert_eq!(answer.problem(), (400, "unsupported".to_owned()), "{after}");
    }
}

#[tokio::test]
async fn filters_find_what_has_all_of_it() {
    let (server, member) = filled(&[]).await;
    let admin = server.admin();
    let [mail, system_mail, sms, echo, tool, other] = EVERYTHING;
    for (query, expected) in [
        ("?q=", &EVERYTHING[..]),
        ("?q=MAIL", &[mail, system_mail]),
        ("?q=acme+bulk", &[sms]),
        ("?q=gr%C3%BCsse", &[]),
        ("?q=GR%C3%9C%C3%9FE+echo", &[echo, other]),
        ("?q=nothing+of+that", &[]),
        ("?q=%25", &[]),
        ("?q=_", &[]),
        ("?tag=tools", &[echo, tool, other]),
        ("?tag=Tools", &[]),
        ("?capability=send", &[mail, system_mail, sms, other]),
        ("?capability=send&tag=mail", &[mail, system_mail]),
        ("?capability=send&tag=tools&q=other", &[other]),
        ("?capability=receive&capability=", &[]),
    ] {
        let answer = member.get(&format!("{ACME}{query}")).await;
        if query.matches("capability").count() > 1 {
            assert_eq!(answer.problem(), (400, "unsupported".to_owned()), "{query}");
            continue;
        }
        assert_eq!(answer.status, 200, "{query} {answer:?}");
        is(&answer.json(), expected, query);
    }

    // A channel shows what it points to, as long as that can be used.
    let repository = "/v2/acme/com.acme.sms";
    let manifest = admin.get(&format!("{repository}/manifests/1.0")).await;
    let typed = [("content-type", manifest.header("content-type"))];
    let stable = format!("{repository}/manifests/stable");
    assert_eq!(admin.send("PUT", &stable, &typed, manifest.body.clone()).await.status, 201);
    let first = ("com.acme.sms", "org", "1.0");
    is(&member.read(&format!("{ACME}?channel=stable")).await, &[first], "stable");
    is(&member.read(&format!("{ACME}?channel=latest&q=sms")).await, &[sms], "latest");
    is(&member.read(&format!("{ACME}?channel=never")).await, &[], "a channel of nobody");
    let counted = member.read(&format!("{ACME}/facets?channel=stable")).await;
    assert_eq!(counted["sources"], json!([{"value": "org", "count": 1}]), "facets count what a list shows");
    let version = member.read(&format!("{ACME}/com.acme.sms/versions/1.0")).await;
    admin.change(ACME, &version, json!({"enabled": false})).await;
    is(&member.read(&format!("{ACME}?channel=stable")).await, &[], "a disabled one");
    admin.change(ACME, &version, json!({"enabled": true})).await;

    // What is disabled altogether is shown to who asks for it, and to who keeps the system.
    for (plugins, pid) in [(ACME, "net.tool"), (SYSTEM, "com.quire.echo")] {
        let plugin = admin.read(&format!("{plugins}/{pid}")).await;
        admin.change(plugins, &plugin, json!({"enabled": false})).await;
    }
    is(&member.read(ACME).await, &[mail, system_mail, sms, other], "without what is disabled");
    let shown = member.read(&format!("{ACME}?include_disabled=true")).await;
    is(&shown, &EVERYTHING, "with it");
    let disabled: Vec<&Value> =
        shown.as_array().expect("a list").iter().filter(|item| item["enabled"] == false).collect();
    assert_eq!(disabled.len(), 2);
    assert!(disabled.iter().all(|item| item["is_latest"] == false), "{disabled:?}");
    is(&member.read(SYSTEM).await, &[system_mail, echo, other], "in the system, by default");
    is(&member.read(&format!("{SYSTEM}?include_disabled=false")).await, &[system_mail, other], "or not");
    let answer = member.get(&format!("{ACME}?include_disabled=perhaps")).await;
    assert_eq!(answer.problem(), (400, "unsupported".to_owned()));
}

#[tokio::test]
async fn facets_count_what_the_list_shows() {
    let (server, member) = filled(&[]).await;
    let count = |pairs: &[(&str, u64)]| -> Value {
        pairs.iter().map(|(value, count)| json!({"value": value, "count": count})).collect()
    };
    let all = member.read(&format!("{ACME}/facets")).await;
    assert_eq!(all["sources"], count(&[("org", 3), ("system", 3)]));
    assert_eq!(all["tags"], count(&[("tools", 3), ("mail", 2), ("phone", 1)]));
    let capabilities = count(&[("send", 4), ("echo", 2), ("bulk", 1), ("receive", 1)]);
    assert_eq!(all["capabilities"], capabilities);
    let found = member.read(&format!("{ACME}/facets?q=other&capability=send")).await;
    assert_eq!(found["tags"], count(&[("tools", 1)]));
    assert_eq!(found["sources"], count(&[("system", 1)]));
    assert_eq!(member.read(&format!("{SYSTEM}/facets")).await["sources"], count(&[("system", 3)]));
    assert_eq!(member.read(&format!("{ACME}/facets?q=nowhere")).await["sources"], json!([]));

    let narrow = server.token(&[("acme", "org_member")], json!({"repositories": ["acme/com.acme.s*"]})).await;
    let narrow = Client::new(server.address, Some(&narrow));
    let seen = narrow.read(&format!("{ACME}/facets")).await;
    assert_eq!(seen["sources"], count(&[("system", 3), ("org", 1)]));
    assert_eq!(seen["tags"], count(&[("tools", 2), ("mail", 1), ("phone", 1)]));
    assert!(!seen.to_string().contains("receive"), "only com.acme.mail does: {seen}");

    let tool = server.admin().read(&format!("{ACME}/net.tool")).await;
    server.admin().change(ACME, &tool, json!({"enabled": false})).await;
    let tags = member.read(&format!("{ACME}/facets")).await["tags"].clone();
    assert_eq!(tags, count(&[("mail", 2), ("tools", 2), ("phone", 1)]));
    let tags = member.read(&format!("{ACME}/facets?include_disabled=true")).await["tags"].clone();
    assert_eq!(tags, count(&[("tools", 3), ("mail", 2), ("phone", 1)]));
}

/// An answer says by its ETag whether it is still the same, and a write is seen by the next request.
#[tokio::test]
async fn a_list_is_told_again_when_it_changed() {
    let (server, member) = filled(&[]).await;
    let admin = server.admin();
    let one = admin.read(&format!("{ACME}/com.acme.sms/versions/2.0")).await;
    let path = |of: &str| format!("{ACME}{of}");
    let paths = [path(""), path("/facets"), path("/com.acme.sms"), path("/com.acme.sms/versions")];
    let ask = async |path: &str, etag: &str| member.send("GET", path, &[("if-none-match", etag)], "").await;
    let mut etags = Vec::new();
    for path in &paths {
        let answer = member.get(path).await;
        let etag = answer.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() > 60, "{etag}");
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        for sent in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let same = ask(path, &sent).await;
            assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{path} {sent}");
            assert_eq!(same.header("etag"), etag);
        }
        assert_eq!(ask(path, "\"x\"").await.status, 200);
        etags.push(etag);
    }
    let changed = [json!({"yanked": {"reason": "It lost mails."}}), json!({"yanked": null})];
    for (number, change) in changed.into_iter().enumerate() {
        admin.change(ACME, &one, change).await;
        for (path, etag) in paths.iter().zip(&etags) {
            let expected = if number == 0 { 200 } else { 304 };
            assert_eq!(ask(path, etag).await.status, expected, "{path} after change {number}");
        }
    }
    // Also what OCI clients write, and of the system.
    let before = member.get(ACME).await.header("etag").to_owned();
    admin.push_plugin("system/com.quire.echo", "1.1", &Package::new("com.quire.echo", "1.1").bytes()).await;
    let after = ask(ACME, &before).await;
    assert_eq!(after.status, 200);
    assert_eq!(after.json()[3]["version"], "1.1");
    assert_eq!(admin.delete("/v2/system/com.quire.echo/manifests/1.1").await.status, 202);
    assert_eq!(ask(ACME, &before).await.status, 304, "as it was before");
}

/// Which version a plugin's list has as the latest, and which one `latest` names.
async fn latest(client: &Client, pid: &str) -> Vec<String> {
    let versions = client.read(&format!("{ACME}/{pid}/versions")).await;
    let versions = versions.as_array().expect("a list");
    let latest: Vec<&Value> = versions.iter().filter(|version| version["is_latest"] == true).collect();
    let tag = client.head(&format!("/v2/acme/{pid}/manifests/latest")).await;
    match latest.first() {
        Some(latest) => assert_eq!(tag.header("docker-content-digest"), latest["manifest_digest"]),
        None => assert_eq!(tag.status, 404),
    }
    latest.into_iter().map(|version| version["version"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn versions_are_in_their_order_and_one_is_the_latest() {
    let server = Server::start(&[]);
    let admin = server.admin();
    for version in ["1.9", "2.0-rc.1", "1.10", "2.0-rc.10", "2.0-rc.2", "0.9.1", "2.0-alpha"] {
        admin.publish_version(ACME, MAIL, version).await;
    }
    assert_eq!(latest(&admin, MAIL).await, ["1.10"], "no release candidate while there is a release");
    admin.publish_version(ACME, MAIL, "2.0").await;
    let path = format!("{ACME}/{MAIL}/versions");
    let order = ["2.0", "2.0-rc.10", "2.0-rc.2", "2.0-rc.1", "2.0-alpha", "1.10", "1.9", "0.9.1"];
    assert_eq!(each(&admin.read(&path).await, "version"), order);
    for limit in 1..=9 {
        let pages = Value::Array(all_pages(&admin, &path, limit).await);
        assert_eq!(each(&pages, "version"), order, "in pages of {limit}");
    }
    assert_eq!(admin.get(&format!("{path}?after=x")).await.problem(), (400, "unsupported".to_owned()));

    assert_eq!(latest(&admin, MAIL).await, ["2.0"]);
    let of = async |version: &str| admin.read(&format!("{path}/{version}")).await;
    admin.change(ACME, &of("2.0").await, json!({"enabled": false})).await;
    assert_eq!(latest(&admin, MAIL).await, ["1.10"]);
    admin.change(ACME, &of("1.10").await, json!({"yanked": {"reason": "wrong"}})).await;
    assert_eq!(latest(&admin, MAIL).await, ["1.9"]);
    admin.change(ACME, &of("2.0").await, json!({"enabled": true})).await;
    assert_eq!(latest(&admin, MAIL).await, ["2.0"]);
    assert_eq!(admin.delete(&format!("/v2/acme/{MAIL}/manifests/2.0")).await.status, 202);
    assert_eq!(latest(&admin, MAIL).await, ["1.9"]);
    for version in ["1.9", "0.9.1"] {
        admin.change(ACME, &of(version).await, json!({"enabled": false})).await;
    }
    assert_eq!(latest(&admin, MAIL).await, ["2.0-rc.10"], "a release candidate is better than nothing");
    for version in ["2.0-rc.10", "2.0-rc.2", "2.0-rc.1", "2.0-alpha"] {
        admin.change(ACME, &of(version).await, json!({"enabled": false})).await;
    }
    assert_eq!(latest(&admin, MAIL).await, [] as [&str; 0]);
    assert_eq!(admin.read(ACME).await, json!([]));
    let shown = admin.read(&format!("{ACME}/{MAIL}")).await;
    assert_eq!((&shown["version"], &shown["is_latest"]), (&json!("1.10"), &json!(false)), "what there is");
    admin.change(ACME, &of("1.10").await, json!({"yanked": null})).await;
    assert_eq!(latest(&admin, MAIL).await, ["1.10"]);
    // In any spelling.
    assert_eq!(of("1.10.0").await, of("1.10").await);
}

#[tokio::test]
async fn a_plugin_is_found_by_pid_and_by_id_where_it_belongs() {
    let (server, member) = filled(&[]).await;
    let admin = server.admin();
    let own = member.read(&format!("{ACME}/{MAIL}")).await;
    assert_eq!((&own["source"], &own["version"]), (&json!("org"), &json!("1.0")), "one's own comes first");
    let system = member.read(&format!("{ACME}/{MAIL}?source=system")).await;
    assert_eq!((&system["source"], &system["version"]), (&json!("system"), &json!("3.0")));
    let id = |plugin: &Value| plugin["id"].as_str().expect("an id").to_owned();
    assert_eq!(member.read(&format!("{ACME}/{}", id(&own))).await, own);
    assert_eq!(member.read(&format!("{ACME}/{}", id(&system))).await, system);
    let foreign = admin.read("/api/orgs/corp/plugins/com.corp.secret").await;
    let nothing = "01976f4e-0000-7000-8000-000000000000";
    for path in [
        format!("{ACME}/{}", id(&foreign)),
        format!("{ACME}/{nothing}"),
        format!("{ACME}/com.corp.secret"),
        format!("{ACME}/com.corp.secret?source=org"),
        format!("{ACME}/com.quire.echo?source=org"),
        format!("{ACME}/no-pid"),
        format!("{ACME}/NO.PID"),
        format!("{SYSTEM}/{}", id(&own)),
        format!("{SYSTEM}/com.acme.sms"),
        format!("{SYSTEM}/{MAIL}?source=org"),
        format!("{ACME}/{MAIL}/versions/9.9"),
        format!("{ACME}/{MAIL}/versions/latest"),
        format!("{ACME}/{MAIL}/settings-schema?version=9.9"),
        format!("{ACME}/{MAIL}/settings-schema?channel=none"),
        format!("{ACME}/{MAIL}/diff?from=1.0&to=9.9"),
    ] {
        for client in [&member, &admin] {
            assert_eq!(client.get(&path).await.problem(), (404, "not_found".to_owned()), "{path}");
        }
    }
    for (method, body) in [("PATCH", "{\"enabled\": false}"), ("DELETE", "")] {
        for path in [
            format!("{ACME}/{}", id(&foreign)),
            format!("{ACME}/{}", id(&system)),
            format!("{SYSTEM}/{}", id(&own)),
            format!("{ACME}/{nothing}"),
            format!("{ACME}/{MAIL}"),
        ] {
            let answer = admin.send(method, &path, &[], body).await;
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{method} {path}");
        }
    }
    assert_eq!(member.read(ACME).await.as_array().map(Vec::len), Some(6), "nothing was changed");
}

#[tokio::test]
async fn the_state_of_a_version_changes_and_the_bytes_stay() {
    let server = Server::start(&[]);
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let plugin = publisher.publish_version(ACME, MAIL, "1.0").await;
    let path = format!("{ACME}/{}", plugin["id"].as_str().expect("an id"));
    for _ in 0..2 {
        let answer = publisher.delete(&path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    }
    let kept = publisher.read(&path).await;
    assert_eq!((&kept["enabled"], &kept["digest"]), (&json!(false), &plugin["digest"]));
    assert_eq!(publisher.get(plugin["url"].as_str().expect("a path")).await.status, 200);
    assert_eq!(publisher.get(&format!("/v2/acme/{MAIL}/manifests/1.0")).await.status, 200);
    let again = publisher.upload(ACME, Package::new(MAIL, "1.0").bytes()).await;
    assert_eq!((again.status.as_u16(), &again.json()["enabled"]), (200, &json!(false)));

    for (change, field, expected) in [
        (json!({"enabled": true}), "enabled", json!(true)),
        (json!({}), "enabled", json!(true)),
        (json!({"yanked": {"reason": "It is slow."}}), "yanked", json!({"reason": "It is slow."})),
        (json!({"enabled": true}), "yanked", json!({"reason": "It is slow."})),
        (json!({"yanked": null}), "yanked", Value::Null),
        (
            json!({"deprecated": {"message": "Take sms.", "successor": "com.acme.sms"}}),
            "deprecated",
            json!({"message": "Take sms.", "successor": "com.acme.sms"}),
        ),
        (
            json!({"deprecated": {"message": "Ends."}}),
            "deprecated",
            json!({"message": "Ends.", "successor": null}),
        ),
        (json!({"deprecated": null}), "deprecated", Value::Null),
    ] {
        let changed = publisher.change(ACME, &plugin, change.clone()).await;
        assert_eq!(changed[field], expected, "{change}");
        assert_eq!(publisher.read(&path).await, changed, "{change}");
    }
    let long = "x".repeat(1001);
    for change in [
        json!([]),
        json!({"enabled": "yes"}),
        json!({"enabled": 1}),
        json!({"other": true}),
        json!({"yanked": true}),
        json!({"yanked": {}}),
        json!({"yanked": {"reason": " "}}),
        json!({"yanked": {"reason": long}}),
        json!({"yanked": {"reason": "a\u{0}b"}}),
        json!({"yanked": {"reason": "a", "more": 1}}),
        json!({"deprecated": {"message": ""}}),
        json!({"deprecated": {"message": "a", "successor": "No Pid"}}),
        json!({"enabled": false, "yanked": {"reason": ""}}),
    ] {
        let answer = publisher.send("PATCH", &path, &[], change.to_string()).await;
        assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{change}");
    }
    assert_eq!(publisher.read(&path).await["enabled"], true, "nothing of what was refused");
    let same = publisher.change(ACME, &plugin, json!({"enabled": null})).await;
    assert_eq!(same["enabled"], true, "it is as good as left out");
}

#[tokio::test]
async fn settings_are_a_list_or_a_json_schema() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let item = |key: &str, default: Value| json!({"key": key, "type": "str", "description": "x", "default": default});
    let first = Package::new(MAIL, "1.0").settings(json!([item("host", json!("a"))]));
    let second = json!([
        item("host", json!("b")),
        {"key": "port", "type": "int", "description": "p", "required": true, "sensitive": true},
    ]);
    assert_eq!(admin.upload_with(ACME, "?channel=stable", first.bytes()).await.status, 201);
    let answer = admin.upload(ACME, Package::new(MAIL, "2.0").settings(second).bytes()).await;
    let change = &answer.json()["settings_change"];
    assert_eq!((&change["since"], &change["verdict"]), (&json!("1.0"), &json!("breaking")));
    assert_eq!(change["reasons"], json!(["added required key \"port\" without a default"]));
    admin.publish(SYSTEM, &Package::new(MAIL, "1.0").settings(json!([item("system", Value::Null)]))).await;

    let path = format!("{ACME}/{MAIL}/settings-schema");
    let keys = async |query: &str| -> Vec<String> {
        let list = admin.read(&format!("{path}{query}")).await;
        each(&list, "key").into_iter().map(str::to_owned).collect()
    };
    for (query, expected) in [
        ("", &["host", "port"][..]),
        ("?version=1.0", &["host"]),
        ("?version=1.0.0", &["host"]),
        ("?version=2.0&source=org", &["host", "port"]),
        ("?channel=stable", &["host"]),
        ("?channel=latest", &["host", "port"]),
        ("?source=system", &["system"]),
        ("?version=1.0&source=system", &["system"]),
    ] {
        assert_eq!(keys(query).await, expected, "{query}");
    }
    let list = admin.get(&path).await;
    assert_eq!(list.header("content-type"), "application/json");
    let accept = [("accept", "text/html, Application/Schema+JSON;q=0.9")];
    let schema = admin.send("GET", &path, &accept, "").await;
    assert_eq!(schema.header("content-type"), "application/schema+json");
    for answer in [&list, &schema] {
        assert_eq!(answer.header("vary"), "Accept");
        assert_eq!(answer.header("quire-schema-digest"), list.header("quire-schema-digest"));
    }
    assert_ne!(list.header("etag"), schema.header("etag"));
    let schema = schema.json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!((&schema["type"], &schema["required"]), (&json!("object"), &json!(["port"])));
    assert_eq!(schema["properties"]["port"]["writeOnly"], true);
    assert_eq!(schema["properties"]["host"]["default"], "b");
    let same = [("if-none-match", list.header("etag"))];
    assert_eq!(admin.send("GET", &path, &same, "").await.status, 304);
    for query in ["version=1.0&version=2.0", "version=1.0&channel=stable", "source=else", "channel=-"] {
        assert_eq!(admin.get(&format!("{path}?{query}")).await.status, 400, "{query}");
    }
    let plugin = admin.read(&format!("{ACME}/{MAIL}")).await;
    assert_eq!(plugin["default_settings"], json!({"host": "b"}));
}

#[tokio::test]
async fn two_versions_are_compared() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let setting = |kind: &str| json!([{"key": "port", "type": kind, "description": "x"}]);
    let first = Package::new(MAIL, "1.0").settings(setting("str")).field("tag", json!("mail"));
    let first = first.file("same", "same").file("gone", "gone").file("other", "before");
    let second = Package::new(MAIL, "2.0").settings(setting("int")).field("capabilities", json!(["send"]));
    let second = second.file("same", "same").file("new", "new").file("other", "after");
    admin.publish(ACME, &first).await;
    admin.publish(ACME, &second).await;
    let diff = admin.read(&format!("{ACME}/{MAIL}/diff?from=1.0&to=2.0")).await;
    assert_eq!((&diff["from"]["version"], &diff["to"]["version"]), (&json!("1.0"), &json!("2.0")));
    let metadata = &diff["metadata"];
    assert_eq!(metadata["tag"], json!({"from": "mail", "to": null}));
    assert_eq!(metadata["capabilities"], json!({"from": [], "to": ["send"]}));
    assert_eq!(metadata.as_object().map(|fields| fields.len()), Some(3), "and the version: {metadata}");
    assert_eq!(diff["settings_schema"]["verdict"], "breaking");
    assert_eq!(each(&diff["files"]["added"], "path"), ["new"]);
    assert_eq!(each(&diff["files"]["removed"], "path"), ["gone"]);
    assert_eq!(each(&diff["files"]["changed"], "path"), ["other", "plugin.json"]);
    let none = admin.read(&format!("{ACME}/{MAIL}/diff?from=2.0&to=2.0.0")).await;
    assert_eq!((&none["metadata"], &none["files"]["changed"]), (&json!({}), &json!([])));
    assert_eq!(none["settings_schema"]["verdict"], "compatible");
    for query in ["", "?from=1.0", "?to=1.0", "?from=&to=1.0"] {
        let answer = admin.get(&format!("{ACME}/{MAIL}/diff{query}")).await;
        assert_eq!(answer.problem(), (400, "unsupported".to_owned()), "{query}");
    }
}

/// A token that covers some repositories shows nothing of others, by any way.
#[tokio::test]
async fn a_narrowed_token_sees_what_it_covers() {
    let (server, member) = filled(&[("ANONYMOUS_PULL", "none")]).await;
    let covers = json!({"repositories": ["acme/com.acme.sms", "system/org.*"]});
    let token = server.token(&[("acme", "org_member"), ("system", "orchestrator")], covers).await;
    let narrow = Client::new(server.address, Some(&token));
    let (sms, other) = (EVERYTHING[2], EVERYTHING[5]);
    is(&narrow.read(ACME).await, &[sms, other], "the list");
    is(&Value::Array(all_pages(&narrow, ACME, 1).await), &[sms, other], "one by one");
    is(&narrow.read(&format!("{ACME}?q=mail")).await, &[], "searched");
    // What somebody who sees all was just told is not told to who does not.
    for _ in 0..2 {
        is(&member.read(ACME).await, &EVERYTHING, "who sees all");
        is(&narrow.read(ACME).await, &[sms, other], "who does not");
    }
    let facets = narrow.read(&format!("{ACME}/facets")).await;
    assert_eq!(facets["sources"], json!([{"value": "org", "count": 1}, {"value": "system", "count": 1}]));
    let hidden = member.read(&format!("{ACME}/{MAIL}")).await;
    let id = hidden["id"].as_str().expect("an id");
    let echo = member.read(&format!("{ACME}/com.quire.echo")).await;
    let echo = echo["id"].as_str().expect("an id");
    for path in [
        format!("{ACME}/{id}"),
        format!("{ACME}/{echo}"),
        format!("{SYSTEM}/{echo}"),
        format!("{ACME}/{MAIL}"),
        format!("{ACME}/{MAIL}/versions"),
        format!("{ACME}/{MAIL}/versions/1.0"),
        format!("{ACME}/{MAIL}/versions/1.0/files"),
        format!("{ACME}/{MAIL}/versions/1.0/files/plugin.json"),
        format!("{ACME}/{MAIL}/versions/1.0/readme"),
        format!("{ACME}/{MAIL}/settings-schema"),
        format!("{ACME}/{MAIL}/diff?from=1.0&to=1.0"),
    ] {
        assert_eq!(narrow.get(&path).await.problem(), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(narrow.get(hidden["url"].as_str().expect("a path")).await.status, 403);
    assert_eq!(each(&narrow.read(&format!("{ACME}/com.acme.sms/versions")).await, "version"), ["2.0", "1.0"]);

    for pid in [MAIL, "com.acme.sms"] {
        let path = format!("/api/orgs/acme/enablements/org/{pid}");
        let body = json!({"channel": "latest"}).to_string();
        assert_eq!(server.admin().send("PUT", &path, &[], body).await.status, 200);
    }
    for _ in 0..2 {
        let whole = member.read("/api/orgs/acme/orchestrator-plan").await;
        assert_eq!(each(&whole["plugins"], "pid"), [MAIL, "com.acme.sms"]);
        let plan = narrow.read("/api/orgs/acme/orchestrator-plan").await;
        assert_eq!(each(&plan["plugins"], "pid"), ["com.acme.sms"]);
    }
    let enabled = narrow.read("/api/orgs/acme/enablements").await;
    assert_eq!(each(&enabled, "pid"), ["com.acme.sms"]);
    let answer = narrow.get(&format!("/api/orgs/acme/enablements/org/{MAIL}")).await;
    assert_eq!(answer.problem(), (404, "not_found".to_owned()));
}

/// P3: what another organisation publishes changes nothing that a stranger is told.
#[tokio::test]
async fn p3_a_stranger_is_told_nothing_of_private_plugins() {
    let server = Server::start(&[("ANONYMOUS_PULL", "all")]);
    let admin = server.admin();
    let strangers = [server.anonymous(), server.caller(&[("corp", "org_admin")]).await];
    let paths = [
        ACME.to_owned(),
        format!("{ACME}/{MAIL}"),
        format!("{ACME}/{MAIL}/versions"),
        format!("{ACME}/facets"),
        "/api/orgs/acme/orchestrator-plan".to_owned(),
        "/api/orgs/corp/plugins".to_owned(),
        format!("/api/orgs/corp/plugins/{MAIL}"),
        format!("/api/orgs/corp/plugins/{MAIL}/versions/1.0"),
        "/api/orgs/corp/plugins/facets".to_owned(),
        "/api/orgs/ghost/plugins".to_owned(),
    ];
    let ask = async || {
        let mut told = Vec::new();
        for stranger in &strangers {
            for path in &paths {
                told.push((path.clone(), crate::isolation::told(stranger.get(path).await)));
            }
        }
        told
    };
    let before = ask().await;
    admin.publish_version(ACME, MAIL, "1.0").await;
    assert_eq!(admin.read(ACME).await.as_array().map(Vec::len), Some(1));
    assert_eq!(ask().await, before);
}
