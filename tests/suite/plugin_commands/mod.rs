//! The commands for the plugin catalog: what they print, change and refuse.

mod enablements;
mod files;
mod strangers;

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::client_commands::{Ended, Person};
use crate::harness::package::Package;
use crate::harness::{ADMIN_TOKEN, Client, Server};

const SYSTEM: &str = "/api/admin/plugins";
const ACME: &str = "/api/orgs/acme/plugins";

/// A server, and somebody with everything allowed.
fn server() -> (Server, Person) {
    let server = Server::start(&[]);
    let admin = Person::with_token(&server.url(""), ADMIN_TOKEN);
    (server, admin)
}

/// Uploads a package, to `place` with channels in its query, and returns the digest of its bytes.
async fn upload(client: &Client, place: &str, package: &Package) -> String {
    upload_bytes(client, place, package.bytes()).await
}

async fn upload_bytes(client: &Client, place: &str, bytes: Vec<u8>) -> String {
    let digest = Sha256::of(&bytes).to_string();
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let zip = [("content-type", "application/zip")];
    let answer = client.send("POST", &format!("{path}/upload?{query}"), &zip, bytes).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    digest
}

/// Runs a line with one more argument, which may have blanks in it.
fn run_with(person: &Person, line: &str, last: &str) -> Ended {
    let output = person.command(line).arg(last).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The lines of a text with the blanks between their words made one.
fn rows(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A field of every item of a list.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}")).iter();
    items.map(|item| item[field].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn plugins_are_listed_by_what_they_are() {
    let (server, admin) = server();
    let client = server.admin();
    let hello = Package::new("com.acme.hello", "1.0").field("tag", json!("chat"));
    upload(&client, SYSTEM, &hello.field("capabilities", json!(["greet"]))).await;
    let own = |version: &str| Package::new("com.acme.own", version).field("name", json!("Our Own"));
    upload(&client, &format!("{ACME}?channel=beta"), &own("1.2")).await;
    upload(&client, ACME, &own("1.10")).await;
    upload(&client, ACME, &Package::new("com.acme.gone", "1.0")).await;
    admin.done("plugins set com.acme.gone 1.0 --org acme --enabled false");

    assert_eq!(
        rows(&admin.done("plugins list --org acme --include-disabled")),
        [
            "PID VERSION SOURCE STATE NAME",
            "com.acme.gone 1.0 org disabled com.acme.gone",
            "com.acme.hello 1.0 system latest com.acme.hello",
            "com.acme.own 1.10 org latest Our Own",
        ]
    );
    let text = admin.done("plugins list --org acme");
    let column = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), column(lines[0], "STATE")), (3, column(lines[1], "latest")), "{text}");

    let pids = |line: &str| {
        let list = admin.done_json(&format!("plugins list {line}"));
        each(&list, "pid").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(pids("--org acme"), ["com.acme.hello", "com.acme.own"]);
    assert_eq!(pids(""), ["com.acme.hello"], "the system's alone");
    assert_eq!(pids("--org acme --tag chat"), ["com.acme.hello"]);
    assert_eq!(pids("--org acme --capability greet"), ["com.acme.hello"]);
    assert_eq!(pids("--org acme --channel beta"), ["com.acme.own"]);
    assert_eq!(pids("--org acme --tag nothing"), [""; 0]);
    assert_eq!(rows(&admin.done("plugins list --org acme --tag nothing")), ["PID VERSION SOURCE STATE NAME"]);
    let beta = admin.done_json("plugins list --org acme --channel beta");
    assert_eq!(each(&beta, "version"), ["1.2"]);
    let found = run_with(&admin, "plugins list --org acme --query", "own our");
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(rows(&found.out)[1..], ["com.acme.own 1.10 org latest Our Own"]);

    admin.done("plugins set com.acme.hello 1.0 --enabled false");
    assert_eq!(pids(""), [""; 0]);
    assert_eq!(pids("--include-disabled"), ["com.acme.hello"]);
}

#[tokio::test]
async fn a_list_of_several_pages_is_whole() {
    let (server, admin) = server();
    let client = server.admin();
    let pids: Vec<String> = (0..203).map(|number| format!("com.acme.tool{number:03}")).collect();
    for pid in &pids {
        upload(&client, ACME, &Package::new(pid, "1.0")).await;
    }
    let page = client.get(&format!("{ACME}?limit=200")).await;
    assert!(page.header("link").contains("next"), "it is more than one page");

    let list = admin.done_json("plugins list --org acme");
    assert_eq!(each(&list, "pid"), pids);
    let text = rows(&admin.done("plugins list --org acme"));
    assert_eq!(text.iter().filter(|line| line.starts_with("PID")).count(), 1, "one head");
    let listed: Vec<&str> = text[1..].iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, pids);
}

#[tokio::test]
async fn a_version_is_shown_whole() {
    let (server, admin) = server();
    let client = server.admin();
    let settings = json!([
        {"key": "url", "type": "str", "description": "Where it\nlives.", "required": true},
        {"key": "token", "type": "str", "description": "A secret.", "required": true, "sensitive": true},
        {"key": "tries", "type": "int", "description": "", "default": 3},
    ]);
    let package = Package::new("com.acme.hello", "1.0").settings(settings.clone());
    let package = package.field("capabilities", json!(["greet", "say goodbye"])).file("README.md", "# Hello");
    let digest = upload(&client, SYSTEM, &package).await;
    let newer = upload(&client, SYSTEM, &Package::new("com.acme.hello", "1.1")).await;
    let own = upload(&client, ACME, &Package::new("com.acme.hello", "0.9")).await;

    let text = admin.done("plugins show com.acme.hello --version 1.0");
    let shown = rows(&text);
    for line in [
        "pid com.acme.hello",
        "version 1.0",
        "source system",
        "state enabled",
        "description For a test.",
        "capabilities greet, say goodbye",
        &format!("digest {digest}"),
        "SETTING TYPE DEFAULT DESCRIPTION",
        "url str - required Where it lives.",
        "token str - required,sensitive A secret.",
        "tries int 3 -",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {text}");
    }
    let json = admin.done_json("plugins show com.acme.hello --version 1.0");
    assert_eq!((&json["digest"], &json["settings_schema"][1]["key"]), (&json!(digest), &json!("token")));
    assert!(!admin.done("plugins show com.acme.hello").contains("SETTING"), "it has none");

    let digest_of = |line: &str| admin.done_json(&format!("plugins show {line}"))["digest"].clone();
    assert_eq!(digest_of("com.acme.hello"), json!(newer));
    assert_eq!(digest_of("com.acme.hello --org acme"), json!(own), "the organisation's own comes first");
    assert_eq!(digest_of("com.acme.hello --org acme --source org"), json!(own));
    assert_eq!(digest_of("com.acme.hello --org acme --source system"), json!(newer));
    assert_eq!(digest_of("com.acme.hello --org acme --source system --version 1.0"), json!(digest));

    for line in ["com.acme.nothing", "com.acme.hello --version 2.0", "com.acme.hello --org nobody"] {
        let refused = admin.run(&format!("plugins show {line}"));
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{line}: {refused:?}");
        assert!(refused.err.starts_with("error: "), "{refused:?}");
        assert_eq!(admin.problem(&format!("plugins show {line}")).0, Some(1), "{line}");
    }
}

#[tokio::test]
async fn versions_are_told_newest_first_with_their_state() {
    let (server, admin) = server();
    let client = server.admin();
    let mut digests = Vec::new();
    for version in ["1.9", "1.10", "2.0-rc.1", "1.2", "1.1"] {
        digests.push(upload(&client, ACME, &Package::new("com.acme.hello", version)).await);
    }
    admin.done("plugins set com.acme.hello 1.9 --org acme --yank broken");
    admin.done("plugins set com.acme.hello 1.2 --org acme --deprecate old --enabled false");
    admin.done(&format!("block {} --reason leaked", digests[4]));
    let text = rows(&admin.done("plugins versions com.acme.hello --org acme"));
    let states: Vec<String> =
        text.iter().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        states,
        [
            "VERSION SOURCE STATE",
            "2.0-rc.1 org enabled",
            "1.10 org latest",
            "1.9 org yanked",
            "1.2 org disabled,deprecated",
            "1.1 org blocked",
        ]
    );
    assert!(text[2].ends_with(&digests[1]), "{text:?}");
    let list = admin.done_json("plugins versions com.acme.hello --org acme");
    assert_eq!(each(&list, "version"), ["2.0-rc.1", "1.10", "1.9", "1.2", "1.1"]);
    assert_eq!(admin.problem("plugins versions com.acme.hello").0, Some(1), "the system has no such plugin");
}

#[tokio::test]
async fn a_change_of_state_is_made_and_taken_back() {
    let (server, admin) = server();
    let client = server.admin();
    for version in ["1.0", "1.1"] {
        upload(&client, ACME, &Package::new("com.acme.hello", version)).await;
    }
    upload(&client, SYSTEM, &Package::new("com.acme.base", "1.0")).await;
    let set = |line: &str| admin.done_json(&format!("plugins set com.acme.hello 1.1 --org acme {line}"));

    let changed = set("--enabled false --yank broken --deprecate old --successor com.acme.new");
    assert_eq!(changed["version"], "1.1");
    assert_eq!((&changed["enabled"], &changed["is_latest"]), (&json!(false), &json!(false)));
    assert_eq!(changed["yanked"], json!({"reason": "broken"}));
    assert_eq!(changed["deprecated"], json!({"message": "old", "successor": "com.acme.new"}));
    let text = rows(&admin.done("plugins show com.acme.hello --version 1.1 --org acme"));
    for line in
        ["state disabled,yanked,deprecated", "yanked broken", "deprecated old (successor: com.acme.new)"]
    {
        assert!(text.iter().any(|shown| shown == line), "{line}: {text:?}");
    }
    assert_eq!(admin.done_json("plugins show com.acme.hello --org acme")["version"], "1.0");

    let changed = set("--enabled true --undeprecate");
    assert_eq!((&changed["enabled"], &changed["deprecated"]), (&json!(true), &Value::Null));
    assert_eq!(changed["yanked"], json!({"reason": "broken"}), "what was not named stays");
    let changed = set("--unyank");
    assert_eq!((&changed["yanked"], &changed["is_latest"]), (&Value::Null, &json!(true)));
    let line = "plugins set com.acme.hello 1.1 --org acme --yank";
    let told = run_with(&admin, line, "two words");
    assert!(rows(&told.out).contains(&"yanked two words".to_owned()), "{told:?}");

    // Through an organisation's view the system's plugins are read and not changed.
    let foreign = admin.problem("plugins set com.acme.base 1.0 --org acme --enabled false");
    assert_eq!(foreign.0, Some(1));
    assert_eq!(admin.done_json("plugins set com.acme.base 1.0 --enabled false")["enabled"], false);
    assert_eq!(admin.problem("plugins set com.acme.base 2.0 --enabled false").0, Some(1));
    let long = "x".repeat(1001);
    let refused = run_with(&admin, line, &long);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("/yanked/reason: "), "every part that is wrong: {refused:?}");
}

#[tokio::test]
async fn two_versions_are_compared() {
    let (server, admin) = server();
    let client = server.admin();
    let setting = |kind: &str| json!([{"key": "n", "type": kind, "description": ""}]);
    let package = |version: &str, kind: &str| {
        Package::new("com.acme.hello", version).settings(setting(kind)).file("same.py", "pass")
    };
    let old = package("1.0", "str").file("a.py", "1").file("gone.py", "12");
    upload(&client, ACME, &old).await;
    let new = package("2.0", "int").field("name", json!("Better")).file("a.py", "123").file("new.py", "1234");
    upload(&client, ACME, &new).await;
    upload(&client, ACME, &package("2.1", "float").field("name", json!("Better"))).await;

    let line = "plugins diff com.acme.hello 1.0 2.0 --org acme";
    let text = admin.done(line);
    let shown: Vec<&str> = text.lines().collect();
    for line in [
        "com.acme.hello 1.0 -> 2.0",
        "~ name: \"com.acme.hello\" -> \"Better\"",
        "settings: breaking",
        "  type changed of \"n\" from str to int",
        "files: 1 added, 1 removed, 2 changed",
        "+ new.py (4 bytes)",
        "- gone.py (2 bytes)",
        "~ a.py (1 -> 3 bytes)",
    ] {
        assert!(shown.contains(&line), "{line}: {text}");
    }
    assert!(!text.contains("same.py"), "{text}");
    let json = admin.done_json(line);
    assert_eq!(json["settings_schema"]["verdict"], "breaking");

    let with_code = |versions: &str| {
        let ended = admin.run(&format!("plugins diff com.acme.hello {versions} --org acme --exit-code"));
        assert_eq!(ended.err, "", "{ended:?}");
        (ended.code, ended.out.lines().find(|line| line.starts_with("settings:")).map(str::to_owned))
    };
    assert_eq!(with_code("1.0 2.0"), (Some(1), Some("settings: breaking".into())));
    assert_eq!(with_code("2.0 2.1"), (Some(0), Some("settings: compatible".into())));
    assert_eq!(with_code("1.0 1.0"), (Some(0), None));
    assert!(admin.done("plugins diff com.acme.hello 1.0 1.0 --org acme").ends_with("the same package\n"));
    assert_eq!(admin.problem("plugins diff com.acme.hello 1.0 3.0 --org acme").0, Some(1));
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_with_its_code() {
    let (server, admin) = server();
    let digest = upload(&server.admin(), ACME, &Package::new("com.acme.hello", "1.0")).await;
    let token = server.token(&[("acme", "org_member")], json!({})).await;
    let member = Person::with_token(&server.url(""), &token);
    member.done("plugins show com.acme.hello --org acme");
    for line in [
        "plugins set com.acme.hello 1.0 --org acme --enabled false",
        "enable com.acme.hello --org acme",
        "blocked",
        &format!("block {digest} --reason x"),
        &format!("unblock {digest}"),
    ] {
        assert_eq!(member.problem(line), (Some(1), "permission_missing".into()), "{line}");
    }
    for line in
        ["plugins list --org other", "plan --org other", "plugins versions com.acme.hello --org other"]
    {
        assert_eq!(member.problem(line), (Some(1), "not_a_member".into()), "{line}");
    }
    let nobody = Person::at(&server.url("")).run("plugins list --org acme");
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("QUIRE_TOKEN"), "{nobody:?}");
    assert_eq!(admin.done_json("plugins show com.acme.hello --org acme")["enabled"], true);
}

#[test]
fn wrong_usage_ends_with_2_and_asks_nobody() {
    let person = Person::with_token("http://127.0.0.1:1", "quire_somebody-0123456789");
    let digest = Sha256::of(b"x");
    for line in [
        "plugins",
        "plugins show",
        "plugins show hello",
        "plugins show ../tokens",
        "plugins show com.acme.hello --version one",
        "plugins show com.acme.hello --source org",
        "plugins show com.acme.hello --org acme --source both",
        "plugins show com.acme.hello --org ../x",
        "plugins list --channel a/b",
        "plugins versions",
        "plugins files com.acme.hello",
        "plugins files com.acme.hello 1.0 -o x",
        "plugins files com.acme.hello 1.0 --path x --output json",
        "plugins diff com.acme.hello 1.0",
        "plugins set com.acme.hello 1.0",
        "plugins set com.acme.hello 1.0 --enabled maybe",
        "plugins set com.acme.hello 1.0 --unyank --yank x",
        "enable com.acme.hello",
        "enable com.acme.hello --org acme --version 1.0 --channel beta",
        "enable com.acme.hello --org acme --digest sha256:x",
        "disable com.acme.hello",
        "plan",
        "block",
        &format!("block {digest}"),
        &format!("block {} --reason x", digest.hex()),
        "unblock ../x",
    ] {
        let ended = person.run(line);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{line}: {ended:?}");
        assert!(!ended.err.is_empty(), "{line}");
    }
    for line in ["plugins list", "plugins show com.acme.hello", "plan --org acme", "blocked"] {
        assert_eq!(person.problem(line), (Some(3), "unreachable".into()), "{line}");
    }
}
