//! `quire enable`, `disable` and `plan`, and digests that are blocked.

use serde_json::json;

use super::{ACME, SYSTEM, each, rows, run_with, server, upload};
use crate::harness::package::Package;

#[tokio::test]
async fn an_organisation_enables_its_own_plugin_before_the_systems() {
    let (server, admin) = server();
    let client = server.admin();
    let system = upload(&client, SYSTEM, &Package::new("com.acme.hello", "1.0")).await;
    let enabled = admin.done_json("enable com.acme.hello --org acme");
    assert_eq!((&enabled["source"], &enabled["channel"]), (&json!("system"), &json!("latest")));
    assert_eq!(enabled["accepted_digest"], system);
    let own = upload(&client, &format!("{ACME}?channel=beta"), &Package::new("com.acme.hello", "2.0")).await;
    let text = rows(&admin.done("enable com.acme.hello --org acme --channel beta"));
    for line in ["source org", "follows channel beta", "version 2.0", &format!("digest {own}")] {
        assert!(text.iter().any(|shown| shown == line), "{line}: {text:?}");
    }
    assert_eq!(
        rows(&admin.done("plan --org acme")),
        [
            "PID VERSION SOURCE CHANNEL STATE DIGEST".to_owned(),
            format!("com.acme.hello 2.0 org beta load {own}"),
            format!("com.acme.hello 1.0 system latest load {system}"),
        ]
    );

    // Which of the two is meant has to be said.
    assert_eq!(admin.problem("disable com.acme.hello --org acme"), (Some(2), "usage".into()));
    let disabled = admin.done_json("disable com.acme.hello --org acme --source org");
    let expected = json!({"org": "acme", "source": "org", "pid": "com.acme.hello", "enabled": false});
    assert_eq!(disabled, expected);
    assert_eq!(admin.done("disable com.acme.hello --org acme"), "", "the only one that is left");
    assert_eq!(admin.done_json("plan --org acme")["plugins"], json!([]));
    assert_eq!(admin.problem("disable com.acme.hello --org acme").0, Some(1));
    assert_eq!(admin.problem("disable com.acme.nothing --org acme").0, Some(1));
}

#[tokio::test]
async fn only_what_was_looked_at_is_enabled() {
    let (server, admin) = server();
    let client = server.admin();
    let first = upload(&client, ACME, &Package::new("com.acme.hello", "1.0")).await;
    let second = upload(&client, ACME, &Package::new("com.acme.hello", "1.1")).await;
    let other = format!("enable com.acme.hello --org acme --digest {first}");
    assert_eq!(admin.problem(&other), (Some(1), "digest_differs".into()));
    let pinned = admin.done_json(&format!("{other} --version 1.0"));
    assert_eq!((&pinned["version"], &pinned["channel"]), (&json!("1.0"), &json!(null)));
    assert_eq!(pinned["accepted_digest"], first);
    let latest = format!("enable com.acme.hello --org acme --digest {second} --source org");
    assert_eq!(admin.done_json(&latest)["accepted_version"], "1.1");

    admin.done("plugins set com.acme.hello 1.0 --org acme --yank broken");
    for (line, code) in [
        ("enable com.acme.hello --org acme --version 1.0", "version_yanked"),
        ("enable com.acme.hello --org acme --version 3.0", "not_found"),
        ("enable com.acme.nothing --org acme", "not_found"),
        ("enable com.acme.hello --org acme --source system", "not_found"),
    ] {
        assert_eq!(admin.problem(line), (Some(1), code.into()), "{line}");
    }
}

#[tokio::test]
async fn a_plan_says_what_is_held_and_what_is_unavailable() {
    let (server, admin) = server();
    let client = server.admin();
    let with = |version: &str, kind: &str| {
        let settings = json!([{"key": "n", "type": kind, "description": ""}]);
        Package::new("com.acme.hello", version).settings(settings)
    };
    let first = upload(&client, ACME, &with("1.0", "str")).await;
    let lone = upload(&client, SYSTEM, &Package::new("com.acme.lone", "1.0")).await;
    admin.done("enable com.acme.hello --org acme");
    admin.done("enable com.acme.lone --org acme --version 1.0");
    admin.done("plugins set com.acme.hello 1.0 --org acme --deprecate old");
    upload(&client, ACME, &with("2.0", "int")).await;

    let plan = admin.run("plan --org acme");
    assert_eq!((plan.code, plan.err.as_str()), (Some(0), ""), "what is held is no failure: {plan:?}");
    let text = rows(&plan.out);
    assert!(text.contains(&format!("com.acme.hello 1.0 org latest held,deprecated {first}")), "{text:?}");
    let held = text.iter().position(|line| line.starts_with("com.acme.hello 1.0: the channel at 2.0"));
    let held = held.unwrap_or_else(|| panic!("{text:?}"));
    assert!(text[held].ends_with("[breaking]"), "{text:?}");
    assert_eq!(text[held + 1], "type changed of \"n\" from str to int");
    assert!(text.contains(&"com.acme.hello 1.0: deprecated: old".to_owned()), "{text:?}");

    admin.done(&format!("block {lone} --reason leaked"));
    let plan = admin.run("plan --org acme");
    assert_eq!(plan.code, Some(1), "{plan:?}");
    let text = rows(&plan.out);
    assert!(text.contains(&"com.acme.lone 1.0 system - unavailable -".to_owned()), "{text:?}");
    let told = "com.acme.lone: unavailable: it is blocked: leaked [blocked]".to_owned();
    assert!(text.contains(&told), "{text:?}");
    let plan = admin.run("plan --org acme --output json");
    assert_eq!((plan.code, plan.err.as_str()), (Some(1), ""), "{plan:?}");
    let plan: serde_json::Value = serde_json::from_str(&plan.out).expect("JSON");
    assert_eq!(
        (&plan["unavailable"][0]["code"], each(&plan["plugins"], "version")),
        (&json!("blocked"), vec!["1.0"])
    );
}

#[tokio::test]
async fn digests_are_blocked_listed_and_unblocked() {
    let (server, admin) = server();
    let digest = upload(&server.admin(), ACME, &Package::new("com.acme.hello", "1.0")).await;
    let blocked = run_with(&admin, &format!("block {digest} --reason"), "It leaks\nsecrets.");
    assert_eq!(blocked.code, Some(0), "{blocked:?}");
    let shown = rows(&blocked.out);
    assert!(shown.contains(&format!("digest {digest}")), "{shown:?}");
    assert!(shown.contains(&"reason It leaks secrets.".to_owned()), "{shown:?}");
    let list = admin.done_json("blocked");
    assert_eq!((each(&list, "digest"), each(&list, "reason")), (vec![&*digest], vec!["It leaks\nsecrets."]));
    let text = rows(&admin.done("blocked"));
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[1].starts_with(&digest) && text[1].ends_with("It leaks secrets."), "{text:?}");
    let again = admin.done_json(&format!("block {digest} --reason other"));
    assert_eq!(again["reason"], "other");

    let unblocked = admin.done_json(&format!("unblock {digest}"));
    assert_eq!(unblocked, json!({"digest": digest, "blocked": false}));
    assert_eq!(admin.done_json("blocked"), json!([]));
    assert_eq!(admin.problem(&format!("unblock {digest}")).0, Some(1));
    let empty = quire::digest::Sha256::of(b"");
    assert_eq!(admin.problem(&format!("block {empty} --reason x")).0, Some(1), "it would block everything");
}
