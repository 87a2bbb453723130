//! What organisations enable, and the plan that their orchestrators get from it.

use serde_json::{Value, json};

use crate::harness::package::Package;
use crate::harness::plugin_api::{ACME, SYSTEM, each};
use crate::harness::{Answer, Client, Server};

const PLAN: &str = "/api/orgs/acme/orchestrator-plan";
const ENABLEMENTS: &str = "/api/orgs/acme/enablements";
const MAIL: &str = "com.acme.mail";

async fn put(client: &Client, plugin: &str, choice: &Value) -> Answer {
    client.send("PUT", &format!("{ENABLEMENTS}/{plugin}"), &[], choice.to_string()).await
}

/// Enables `org/<pid>` or `system/<pid>`, and returns the enablement.
async fn enable(client: &Client, plugin: &str, choice: Value) -> Value {
    let answer = put(client, plugin, &choice).await;
    assert_eq!(answer.status, 200, "{plugin} {choice} {answer:?}");
    answer.json()
}

/// A version with settings: each key is required, and a `?` behind it takes that away.
fn package(version: &str, keys: &[&str]) -> Package {
    let item = |key: &&str| {
        let required = !key.ends_with('?');
        json!({"key": key.trim_end_matches('?'), "type": "str", "description": "x", "required": required})
    };
    Package::new(MAIL, version).settings(keys.iter().map(item).collect())
}

/// Uploads a version and points a channel to it.
async fn release(admin: &Client, channel: &str, version: &str, keys: &[&str]) -> Value {
    let zip = package(version, keys).bytes();
    let answer = admin.upload_with(ACME, &format!("?channel={channel}"), zip).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()
}

/// What the plan has of one plugin: the version that is loaded and why it is not another, or why none is.
async fn planned(client: &Client, pid: &str) -> String {
    let plan = client.read(PLAN).await;
    let find = |list: &str| {
        let list = plan[list].as_array().expect("a list");
        list.iter().find(|plugin| plugin["pid"] == pid).cloned()
    };
    match (find("plugins"), find("unavailable")) {
        (Some(plugin), None) => match plugin["held"]["code"].as_str() {
            None => plugin["version"].as_str().expect("a version").to_owned(),
            Some(code) => format!("{} held: {code}", plugin["version"].as_str().expect("a version")),
        },
        (None, Some(plugin)) => format!("none: {}", plugin["code"].as_str().expect("a code")),
        (None, None) => "nothing".to_owned(),
        (Some(_), Some(_)) => panic!("it stands in both lists: {plan}"),
    }
}

#[tokio::test]
async fn enablements_are_set_read_and_ended() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let publisher = server.caller(&[("acme", "publisher")]).await;
    let own = admin.publish(ACME, &package("1.0", &["host?"])).await;
    admin.publish(ACME, &package("2.0", &["host?"])).await;
    let system = admin.publish_version(SYSTEM, MAIL, "3.0").await;
    admin.publish_version("/api/orgs/corp/plugins", "com.corp.secret", "1.0").await;
    assert_eq!(publisher.read(ENABLEMENTS).await, json!([]));

    let pinned = enable(&publisher, &format!("org/{MAIL}"), json!({"version": "1.0.0"})).await;
    for (field, value) in [
        ("source", json!("org")),
        ("pid", json!(MAIL)),
        ("channel", Value::Null),
        ("accepted_version", json!("1.0")),
        ("accepted_digest", own["digest"].clone()),
    ] {
        assert_eq!(pinned[field], value, "{field}");
    }
    assert_eq!((&pinned["now"]["version"], &pinned["now"]["enabled"]), (&json!("1.0"), &json!(true)));
    assert!(pinned["updated_by"].as_str().is_some_and(|by| by.starts_with("token:")), "{pinned}");
    let followed = enable(&publisher, &format!("system/{MAIL}"), json!({"channel": "latest"})).await;
    assert_eq!((&followed["channel"], &followed["version"]), (&json!("latest"), &Value::Null));
    assert_eq!(followed["accepted_digest"], system["digest"]);
    assert_eq!(publisher.read(ENABLEMENTS).await, json!([pinned, followed]), "one's own comes first");
    for (path, expected) in [(format!("org/{MAIL}"), &pinned), (format!("system/{MAIL}"), &followed)] {
        assert_eq!(&publisher.read(&format!("{ENABLEMENTS}/{path}")).await, expected);
    }
    assert_eq!(
        enable(&admin, &format!("org/{MAIL}"), json!({"version": "1.0.0"})).await,
        pinned,
        "as it was"
    );
    let moved = enable(&admin, &format!("org/{MAIL}"), json!({"version": "2.0"})).await;
    assert_eq!((&moved["accepted_version"], &moved["updated_by"]), (&json!("2.0"), &json!("admin")));

    for path in [format!("org/{MAIL}"), format!("system/{MAIL}")] {
        let path = format!("{ENABLEMENTS}/{path}");
        let answer = publisher.delete(&path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{path}");
        assert_eq!(publisher.delete(&path).await.problem(), (404, "not_found".to_owned()), "{path}");
        assert_eq!(publisher.get(&path).await.problem(), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(publisher.read(PLAN).await, json!({"org_id": "acme", "plugins": [], "unavailable": []}));
}

#[tokio::test]
async fn what_cannot_be_loaded_is_not_enabled() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let first = admin.publish(ACME, &package("1.0", &[])).await;
    let second = release(&admin, "stable", "2.0", &[]).await;
    admin.publish_version(SYSTEM, "com.quire.echo", "1.0").await;
    admin.publish_version("/api/orgs/corp/plugins", "com.corp.secret", "1.0").await;
    let org = format!("org/{MAIL}");
    for (plugin, choice) in [
        (&*org, json!({"version": "9.9"})),
        (&org, json!({"channel": "none"})),
        ("org/com.acme.none", json!({"version": "1.0"})),
        ("org/com.corp.secret", json!({"version": "1.0"})),
        ("org/com.quire.echo", json!({"version": "1.0"})),
        ("system/com.corp.secret", json!({"version": "1.0"})),
        ("system/NO-PID", json!({"version": "1.0"})),
    ] {
        let answer = put(&admin, plugin, &choice).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{plugin} {choice}");
    }
    let answer = put(&admin, &format!("corp/{MAIL}"), &json!({"version": "1.0"})).await;
    assert_eq!(answer.status, 404, "a source is org or system");
    let digest = first["digest"].as_str().expect("a digest");
    for body in [
        json!({}),
        json!([]),
        json!({"version": "1.0", "channel": "stable"}),
        json!({"version": "v1"}),
        json!({"version": "latest"}),
        json!({"channel": "1.0"}),
        json!({"channel": "2.0-rc.1"}),
        json!({"channel": "-"}),
        json!({"version": 1.0}),
        json!({"version": "1.0", "more": 1}),
        json!({"version": "1.0", "digest": "sha256:short"}),
        json!({"version": "1.0", "digest": format!("sha512:{}", "0".repeat(128))}),
    ] {
        assert_eq!(put(&admin, &org, &body).await.problem(), (400, "invalid".to_owned()), "{body}");
    }
    let all = put(&admin, &org, &json!({"version": "v1", "digest": "x"})).await.json();
    assert_eq!(all["errors"].as_array().map(Vec::len), Some(2), "every finding: {all}");
    let differs = put(&admin, &org, &json!({"channel": "stable", "digest": digest})).await;
    assert_eq!(differs.problem(), (409, "digest_differs".to_owned()));
    let now = second["digest"].as_str().expect("a digest");
    assert!(differs.json()["detail"].as_str().is_some_and(|text| text.contains(now)), "{differs:?}");

    for (state, code) in [
        (json!({"enabled": false, "yanked": null}), "version_disabled"),
        (json!({"enabled": true, "yanked": {"reason": "lost mails"}}), "version_yanked"),
    ] {
        admin.change(ACME, &second, state).await;
        for choice in [json!({"version": "2.0"}), json!({"channel": "stable"})] {
            assert_eq!(put(&admin, &org, &choice).await.problem(), (409, code.to_owned()), "{choice}");
        }
    }
    assert_eq!(admin.block(now, "stolen").await.status, 201);
    let answer = put(&admin, &org, &json!({"version": "2.0"})).await;
    assert_eq!(answer.problem(), (409, "version_blocked".to_owned()));
    assert_eq!(admin.read(ENABLEMENTS).await, json!([]));

    // Who may write some of the organisation decides nothing for all of it.
    let narrow =
        server.token(&[("acme", "publisher")], json!({"repositories": ["acme/com.acme.*", "system/*"]}));
    let narrow = Client::new(server.address, Some(&narrow.await));
    enable(&narrow, &org, json!({"version": "1.0", "digest": digest})).await;
    for (who, code) in [
        (narrow, "permission_missing"),
        (server.caller(&[("acme", "contributor")]).await, "permission_missing"),
        (server.caller(&[("acme", "orchestrator")]).await, "permission_missing"),
        (server.caller(&[("corp", "publisher")]).await, "not_a_member"),
    ] {
        for method in ["PUT", "DELETE"] {
            let path = format!("{ENABLEMENTS}/system/com.quire.echo");
            let answer = who.send(method, &path, &[], "{\"version\": \"1.0\"}").await;
            assert_eq!(answer.problem(), (403, code.to_owned()), "{method}");
        }
    }
    let contributor = server.caller(&[("acme", "contributor")]).await;
    let answer = contributor.delete(&format!("{ENABLEMENTS}/{org}")).await;
    assert_eq!(answer.problem(), (403, "create_only".to_owned()));
    assert_eq!(each(&admin.read(ENABLEMENTS).await, "pid"), [MAIL]);
}

#[tokio::test]
async fn the_plan_says_how_to_load_each_plugin() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let settings = json!([{"key": "host", "type": "str", "description": "Where.", "default": "localhost"}]);
    let package = Package::new(MAIL, "1.0").settings(settings.clone());
    let package = package.field("entrypoint", json!("mail:Plugin")).field("dependencies", json!(["smtp>=1"]));
    let plugin = admin.publish(ACME, &package).await;
    enable(&admin, &format!("org/{MAIL}"), json!({"channel": "latest"})).await;
    let orchestrator = server.caller(&[("acme", "orchestrator")]).await;
    let plan = orchestrator.read(PLAN).await;
    let load = &plan["plugins"][0];
    for field in [
        "pid",
        "version",
        "source",
        "digest",
        "manifest_digest",
        "size",
        "url",
        "entrypoint",
        "sdk_version",
        "dependencies",
        "is_specialized",
        "is_scoped",
        "stateless",
        "settings_schema",
        "default_settings",
    ] {
        assert_eq!(load[field], plugin[field], "{field}");
    }
    assert_eq!((&load["entrypoint"], &load["channel"]), (&json!("mail:Plugin"), &json!("latest")));
    assert_eq!(
        (&load["held"], &load["yanked"], &load["deprecated"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let schema = orchestrator.get(&format!("{ACME}/{MAIL}/settings-schema")).await;
    assert_eq!(load["settings_schema_digest"], schema.header("quire-schema-digest"));
    let pulled = orchestrator.get(load["url"].as_str().expect("a path")).await;
    assert_eq!(
        pulled.body.len(),
        load["size"].as_u64().and_then(|size| usize::try_from(size).ok()).expect("a size")
    );
    admin.change(ACME, &plugin, json!({"deprecated": {"message": "Take sms."}})).await;
    assert_eq!(orchestrator.read(PLAN).await["plugins"][0]["deprecated"], "Take sms.");
}

#[tokio::test]
async fn what_one_plugin_suffers_touches_no_other() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let mut published = Vec::new();
    for name in ["blocked", "disabled", "gone", "hollow", "well", "yanked"] {
        let pid = format!("com.acme.{name}");
        published.push(admin.publish_version(ACME, &pid, "1.0").await);
        enable(&admin, &format!("org/{pid}"), json!({"version": "1.0"})).await;
    }
    admin.publish_version(SYSTEM, "com.quire.echo", "1.0").await;
    enable(&admin, "system/com.quire.echo", json!({"channel": "latest"})).await;
    let all = each(&admin.read(PLAN).await["plugins"], "pid").len();
    assert_eq!(all, 7);

    assert_eq!(admin.block(published[0]["digest"].as_str().expect("a digest"), "stolen").await.status, 201);
    admin.change(ACME, &published[1], json!({"enabled": false})).await;
    assert_eq!(admin.delete("/v2/acme/com.acme.gone/manifests/1.0").await.status, 202);
    let bytes = published[3]["digest"].as_str().expect("a digest");
    assert_eq!(admin.delete(&format!("/v2/acme/com.acme.hollow/blobs/{bytes}")).await.status, 202);
    admin.change(ACME, &published[5], json!({"yanked": {"reason": "slow"}})).await;
    let plan = admin.read(PLAN).await;
    assert_eq!(each(&plan["plugins"], "pid"), ["com.acme.well", "com.acme.yanked", "com.quire.echo"]);
    assert_eq!(plan["plugins"][1]["yanked"], "slow", "pinned, it loads, and is marked");
    assert_eq!(plan["plugins"][1]["held"], Value::Null);
    let names = ["blocked", "disabled", "gone", "hollow"].map(|name| format!("com.acme.{name}"));
    assert_eq!(each(&plan["unavailable"], "pid"), names);
    assert_eq!(each(&plan["unavailable"], "code"), ["blocked", "disabled", "missing", "missing"]);
    assert_eq!(each(&plan["unavailable"], "version"), ["1.0"; 4]);
    let message = plan["unavailable"][0]["message"].as_str().expect("a text");
    assert!(message.contains("stolen"), "{message}");
    // The enablements stay, and say what they lead to now.
    let enablements = admin.read(ENABLEMENTS).await;
    assert_eq!(enablements.as_array().map(Vec::len), Some(7));
    assert_eq!((&enablements[0]["now"]["blocked"], &enablements[2]["now"]), (&json!("stolen"), &Value::Null));

    assert_eq!(admin.unblock(published[0]["digest"].as_str().expect("a digest")).await.status, 204);
    admin.change(ACME, &published[1], json!({"enabled": true})).await;
    for (name, status) in [("gone", 201), ("hollow", 200)] {
        let zip = Package::new(&format!("com.acme.{name}"), "1.0").bytes();
        assert_eq!(admin.upload(ACME, zip).await.status, status, "{name}");
    }
    let plan = admin.read(PLAN).await;
    assert_eq!((each(&plan["plugins"], "pid").len(), &plan["unavailable"]), (7, &json!([])));
}

#[tokio::test]
async fn a_channel_is_followed_as_far_as_its_settings_hold() {
    let server = Server::start(&[]);
    let admin = server.admin();
    release(&admin, "stable", "1.0", &["host?"]).await;
    enable(&admin, &format!("org/{MAIL}"), json!({"channel": "stable"})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.0");
    release(&admin, "stable", "1.1", &["host?", "port?"]).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1", "a compatible one is followed");
    let breaking = release(&admin, "stable", "2.0", &["host?", "port?", "key"]).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1 held: breaking");
    let held = admin.read(PLAN).await["plugins"][0]["held"].clone();
    assert_eq!((&held["version"], &held["digest"]), (&json!("2.0"), &breaking["digest"]));
    assert_eq!(held["reasons"], json!(["added required key \"key\" without a default"]));
    assert!(held["message"].as_str().is_some_and(|text| text.contains("enable it again")), "{held}");
    // What breaks with the accepted ones is held, however it fits with what came between.
    release(&admin, "stable", "2.1", &["host?", "port?", "key"]).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1 held: breaking");

    let accepted = enable(&admin, &format!("org/{MAIL}"), json!({"channel": "stable"})).await;
    assert_eq!(accepted["accepted_version"], "2.1");
    assert_eq!(planned(&admin, MAIL).await, "2.1", "accepted");
    release(&admin, "stable", "1.1", &["host?", "port?"]).await;
    assert_eq!(planned(&admin, MAIL).await, "2.1 held: breaking", "back is a break, too: a key is gone");
    release(&admin, "stable", "2.2", &["host?", "port?", "key?"]).await;
    assert_eq!(planned(&admin, MAIL).await, "2.2");
}

#[tokio::test]
async fn a_channel_that_leads_nowhere_good_stays_where_it_was_last_good() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let first = release(&admin, "stable", "1.0", &["host?"]).await;
    enable(&admin, &format!("org/{MAIL}"), json!({"channel": "stable"})).await;
    let second = release(&admin, "stable", "1.1", &["host?"]).await;
    let third = release(&admin, "stable", "1.2", &["host?"]).await;
    assert_eq!(planned(&admin, MAIL).await, "1.2");
    admin.change(ACME, &third, json!({"yanked": {"reason": "slow"}})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1 held: yanked");
    admin.change(ACME, &second, json!({"enabled": false})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.0 held: yanked");
    let digest = first["digest"].as_str().expect("a digest");
    assert_eq!(admin.block(digest, "stolen").await.status, 201);
    assert_eq!(planned(&admin, MAIL).await, "none: yanked", "nothing is left");
    assert_eq!(admin.unblock(digest).await.status, 204);
    assert_eq!(planned(&admin, MAIL).await, "1.0 held: yanked");
    admin.change(ACME, &second, json!({"enabled": true})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1 held: yanked");
    admin.change(ACME, &third, json!({"yanked": null})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.2");
    assert_eq!(admin.delete(&format!("/v2/acme/{MAIL}/manifests/stable")).await.status, 202);
    assert_eq!(planned(&admin, MAIL).await, "1.2 held: missing");
    release(&admin, "stable", "1.1", &["host?"]).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1");
}

#[tokio::test]
async fn latest_is_a_channel_that_moves_by_itself() {
    let server = Server::start(&[]);
    let admin = server.admin();
    admin.publish(ACME, &package("1.0", &["host?"])).await;
    enable(&admin, &format!("org/{MAIL}"), json!({"channel": "latest"})).await;
    let second = admin.publish(ACME, &package("1.1", &["host?"])).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1");
    admin.publish(ACME, &package("0.9", &["host?"])).await;
    admin.publish(ACME, &package("1.2-rc.1", &["host?"])).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1", "neither older nor before its release");
    let third = admin.publish(ACME, &package("2.0", &["other"])).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1 held: breaking");
    admin.change(ACME, &second, json!({"enabled": false})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.0 held: breaking");
    admin.change(ACME, &third, json!({"yanked": {"reason": "wrong"}})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.0");
    admin.change(ACME, &second, json!({"enabled": true})).await;
    assert_eq!(planned(&admin, MAIL).await, "1.1");
}

/// Orchestrators ask often, are told cheaply that nothing changed, and see each write with their next question.
#[tokio::test]
async fn a_plan_is_told_again_when_it_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    let admin = server.admin();
    let orchestrator = server.caller(&[("acme", "orchestrator")]).await;
    let first = release(&admin, "stable", "1.0", &[]).await;
    admin.publish_version(SYSTEM, "com.quire.echo", "1.0").await;
    let mut etag = orchestrator.get(PLAN).await.header("etag").to_owned();
    let mut changed = async |what: &str| {
        let answer = orchestrator.send("GET", PLAN, &[("if-none-match", &etag)], "").await;
        assert_eq!(answer.status, 200, "{what} changes the plan");
        assert_eq!(answer.header("cache-control"), "private, no-cache", "{what}");
        etag = answer.header("etag").to_owned();
        let same = orchestrator.send("GET", PLAN, &[("if-none-match", &etag)], "").await;
        assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{what}");
        assert_eq!(same.header("etag"), etag, "{what}");
    };
    enable(&admin, &format!("org/{MAIL}"), json!({"channel": "stable"})).await;
    changed("enabling").await;
    release(&admin, "stable", "1.1", &[]).await;
    changed("an upload").await;
    let tag =
        |digest: &Value| json!([{"repository": format!("acme/{MAIL}"), "tag": "stable", "digest": digest}]);
    let tags = "/api/catalogs/acme/tags";
    let answer = admin.send("POST", tags, &[], tag(&first["manifest_digest"]).to_string()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    changed("a tag").await;
    admin.change(ACME, &first, json!({"yanked": {"reason": "slow"}})).await;
    changed("yanking").await;
    admin.change(ACME, &first, json!({"yanked": null, "deprecated": {"message": "Ends."}})).await;
    changed("deprecating").await;
    enable(&admin, "system/com.quire.echo", json!({"channel": "latest"})).await;
    changed("enabling one of the system").await;
    let echo = Package::new("com.quire.echo", "1.1").bytes();
    assert_eq!(admin.push_plugin("system/com.quire.echo", "1.1", &echo).await.status, 201);
    changed("a push").await;
    let digest = first["digest"].as_str().expect("a digest");
    assert_eq!(admin.block(digest, "stolen").await.status, 201);
    changed("a block").await;
    assert_eq!(admin.unblock(digest).await.status, 204);
    changed("the end of a block").await;
    assert_eq!(admin.delete("/v2/system/com.quire.echo/manifests/1.1").await.status, 202);
    changed("a deletion").await;
    let answer = admin.delete(&format!("{ACME}/{}", first["id"].as_str().expect("an id"))).await;
    assert_eq!(answer.status, 204);
    changed("disabling").await;
    assert_eq!(admin.delete(&format!("{ENABLEMENTS}/system/com.quire.echo")).await.status, 204);
    changed("ending").await;

    // The same of another process, as its bytes alone decide.
    let (before, token) = (etag.clone(), server.token(&[("acme", "orchestrator")], json!({})).await);
    server.kill();
    let server = Server::start_in(folder.path(), &[]);
    let client = Client::new(server.address, Some(&token));
    assert_eq!(client.send("GET", PLAN, &[("if-none-match", &before)], "").await.status, 304);
}
