//! The sync after a start: what comes first, what goes where, what fails and how that is told.

use quire::digest::Sha256;
use serde_json::{Value, json};

use super::{Running, bytes};
use crate::disk::eventually;
use crate::harness::{Client, image};

/// What `/readyz` says, with its status.
async fn readiness(client: &Client) -> (u16, Value) {
    let answer = client.send("GET", "/readyz", &[("accept", "application/json")], "").await;
    (answer.status.as_u16(), answer.json())
}

/// Waits until the sync is at its end.
async fn done(server: &Running) -> Value {
    let mut told = Value::Null;
    eventually("the sync is done", async || {
        told = readiness(&server.client).await.1;
        told["sync"]["phase"] == "done"
    })
    .await;
    told
}

/// Ten artifacts: of five the manifests have tags. Returns what is hot and what is not, without the config of all.
async fn fill(server: &Running) -> (Vec<Sha256>, Vec<Sha256>) {
    let (mut hot, mut cold) = (Vec::new(), Vec::new());
    let config = server.client.push_blob("acme/tool", "{}").await;
    for n in 0..10 {
        let layer = bytes(100_000, n);
        let digest = server.client.push_blob("acme/tool", layer.clone()).await;
        let manifest = image(&config, 2, &[(&digest, layer.len())]);
        let text = manifest.to_string();
        let reference = if n % 2 == 0 { format!("v{n}") } else { Sha256::of(text.as_bytes()).to_string() };
        assert_eq!(server.client.put_manifest("acme/tool", &reference, &manifest).await.status, 201);
        let list = if n % 2 == 0 { &mut hot } else { &mut cold };
        list.extend([Sha256::of(&layer), Sha256::of(text.as_bytes())]);
    }
    (hot, cold)
}

/// P9: a node that has nothing serves at once, fetches what tags lead to first, and is ready when told to be.
#[tokio::test]
async fn p9_what_tags_lead_to_comes_first() {
    let server = Running::start(&[]).await;
    let (hot, cold) = fill(&server).await;
    server.far.let_through(0);
    let server = server.restart_after(&[("READY", "hot"), ("SYNC_FETCHES", "2")], Running::lose_near).await;
    eventually("it is told what is missing", async || {
        let (status, told) = readiness(&server.client).await;
        let sync = &told["sync"];
        status == 503 && told["ready"] == false && sync["phase"] == "hot" && sync["hot"]["missing"] == 3
    })
    .await;
    let text = server.client.get("/readyz").await;
    assert_eq!((text.status.as_u16(), text.header("retry-after")), (503, "1"));
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    assert!(text.starts_with("not ready\nsync: hot\nhot: 3 of 3 so far missing\n"), "{text}");
    assert_eq!(server.client.get("/livez").await.status, 200);
    assert_eq!(server.client.get("/v2/acme/tool/tags/list").await.status, 200);

    server.far.let_through(u64::MAX);
    eventually("it is ready", async || readiness(&server.client).await.0 == 200).await;
    for digest in &hot {
        assert!(server.path(digest).is_file());
    }
    let told = done(&server).await;
    assert_eq!(told["sync"]["all"], json!({"seen": 21, "missing": 0, "ended": true}));
    for digest in &cold {
        assert!(server.path(digest).is_file());
    }
    let fetched = server.far.fetched.lock().unwrap().clone();
    assert_eq!(fetched.len(), 21, "each once");
    let late: Vec<_> = fetched[11..].iter().filter(|digest| hot.contains(digest)).collect();
    assert!(late.is_empty(), "{late:?}");
    let metrics = server.client.metrics().await;
    assert_eq!(metrics[r#"quire_sync_blobs_total{outcome="fetched"}"#], 21.0);
    assert_eq!(metrics["quire_sync_missing_hot"] + metrics["quire_sync_missing_all"], 0.0);

    // The next start goes on from there, and finds nothing to do.
    let server = server.restart(&[("READY", "all")]).await;
    eventually("it is ready", async || readiness(&server.client).await.0 == 200).await;
    done(&server).await;
    assert_eq!(server.far.fetches(), 21);
}

/// A start in the middle of a sync fetches only what is left.
#[tokio::test]
async fn a_sync_goes_on_where_it_was() {
    let server = Running::start(&[]).await;
    let (hot, cold) = fill(&server).await;
    let server = server.restart_after(&[], Running::lose_near).await;
    done(&server).await;
    let before = server.far.fetches();
    let server = server
        .restart_after(&[], |server| {
            for digest in hot.iter().chain(&cold).take(7) {
                std::fs::remove_file(server.path(digest)).unwrap();
            }
        })
        .await;
    done(&server).await;
    assert_eq!(server.far.fetches() - before, 7);
}

/// P1: each failure is told by its digest and why, the others are not held up, and it is tried again.
#[tokio::test]
async fn p1_what_fails_is_named_and_tried_again() {
    let server = Running::start(&[]).await;
    let (hot, cold) = fill(&server).await;
    let (wrong, lost) = (hot[0], cold[0]);
    server.far.has(wrong, &bytes(100_000, 77));
    server.far.remove_quietly(&lost);
    let server = server.restart_after(&[("READY", "all")], Running::lose_near).await;
    let reason_of = |told: &Value, digest: &Sha256| {
        let failing = told["sync"]["failing"].as_array().unwrap().clone();
        let found = failing.iter().find(|failing| failing["digest"] == digest.to_string());
        found.map(|failing| failing["reason"].as_str().unwrap().to_owned())
    };
    let mut told = Value::Null;
    eventually("all but two are there", async || {
        told = readiness(&server.client).await.1;
        told["sync"]["all"] == json!({"seen": 21, "missing": 2, "ended": true})
    })
    .await;
    assert_eq!(readiness(&server.client).await.0, 503);
    assert_eq!(told["sync"]["hot"]["missing"], 1);
    assert_eq!(told["sync"]["failing_total"], 2);
    assert_eq!(reason_of(&told, &wrong).as_deref(), Some("the far store has other bytes"));
    assert_eq!(reason_of(&told, &lost).as_deref(), Some("neither near nor far has it"));
    let text = String::from_utf8(server.client.get("/readyz").await.body.to_vec()).unwrap();
    assert!(text.contains("failing: 2\n") && text.contains(&wrong.to_string()), "{text}");
    for digest in hot[1..].iter().chain(&cold[1..]) {
        assert!(server.path(digest).is_file());
    }

    server.far.has(wrong, &bytes(100_000, 0));
    server.far.has(lost, &bytes(100_000, 1));
    let told = done(&server).await;
    assert_eq!(readiness(&server.client).await.0, 200);
    assert_eq!((&told["sync"]["hot"]["missing"], &told["sync"]["failing_total"]), (&json!(0), &json!(0)));
    assert!(server.path(&wrong).is_file() && server.path(&lost).is_file());
}

/// A server that is started while far is down starts, and syncs when far is there.
#[tokio::test]
async fn a_sync_waits_for_far() {
    let server = Running::start(&[]).await;
    fill(&server).await;
    server.far.is_down(true);
    let server = server.restart_after(&[("READY", "hot")], Running::lose_near).await;
    eventually("it is told", async || {
        let (status, told) = readiness(&server.client).await;
        status == 503 && told["sync"]["failing"][0]["reason"] == "the far store does not answer"
    })
    .await;
    server.far.is_down(false);
    done(&server).await;
    assert_eq!(readiness(&server.client).await.0, 200);
}

/// P2: a folder that was alone gets a bucket: everything that a repository has is there in the end, and nothing else.
#[tokio::test]
async fn p2_what_grew_alone_is_shipped() {
    let server = Running::start_alone().await;
    assert!(readiness_text(&server).await == "ready\n");
    let (hot, cold) = fill(&server).await;
    server.client.push_blob("acme/tool", "nobody links this").await;
    let unlinked = Sha256::of(b"nobody links this");
    assert_eq!(server.client.delete(&format!("/v2/acme/tool/blobs/{unlinked}")).await.status, 202);
    let server = server
        .restart_after(&[("SYNC_FETCHES", "0")], |server| {
            // One is there already, and one with another length.
            server.far.has(hot[0], &bytes(100_000, 0));
            server.far.has(hot[2], &bytes(50_000, 2));
        })
        .await;
    done(&server).await;
    for (n, digest) in hot.iter().chain(&cold).enumerate() {
        assert!(server.far.holds(digest), "{n}");
    }
    assert!(!server.far.holds(&unlinked));
    assert_eq!(server.far.fetches(), 0);
    // Near is bounded from now on, and nothing was lost.
    let server = server.restart(&[("NEAR_MAX_BYTES", "300000"), ("SYNC_FETCHES", "0")]).await;
    eventually("near is small", async || server.client.metrics().await["quire_near_evictions_total"] >= 8.0)
        .await;
    for n in 0..10 {
        let pull = format!("/v2/acme/tool/blobs/{}", Sha256::of(&bytes(100_000, n)));
        assert!(server.client.get(&pull).await.body == bytes(100_000, n));
    }
}

async fn readiness_text(server: &Running) -> String {
    String::from_utf8(server.client.get("/readyz").await.body.to_vec()).unwrap()
}

/// A near store that is full holds nobody up.
#[tokio::test]
async fn a_full_near_store_ends_the_fetching() {
    let server = Running::start(&[]).await;
    fill(&server).await;
    let settings = [("READY", "all"), ("NEAR_MAX_BYTES", "250000"), ("SYNC_FETCHES", "1")];
    let server = server.restart_after(&settings, Running::lose_near).await;
    let told = done(&server).await;
    assert_eq!((&told["sync"]["near_full"], &told["ready"]), (&json!(true), &json!(true)));
    assert!(server.far.fetches() < 10, "{}", server.far.fetches());
    assert!(readiness_text(&server).await.contains("near is full\n"));

    // What could never be near is not what fills it.
    let settings = [("READY", "all"), ("NEAR_MAX_BYTES", "50000"), ("SYNC_FETCHES", "1")];
    let server = server.restart_after(&settings, Running::lose_near).await;
    let before = server.far.fetches();
    let told = done(&server).await;
    assert_eq!((&told["sync"]["near_full"], &told["sync"]["all"]["missing"]), (&json!(false), &json!(0)));
    assert_eq!(server.far.fetches() - before, 11, "the manifests and their config");
}

/// What nobody may have is not spread.
#[tokio::test]
async fn what_is_blocked_is_not_fetched() {
    let server = Running::start(&[]).await;
    let (hot, _) = fill(&server).await;
    let blocked = hot[0];
    assert_eq!(server.client.block(&blocked.to_string(), "leaks a key").await.status, 201);
    let server = server.restart_after(&[("READY", "all")], Running::lose_near).await;
    done(&server).await;
    assert!(!server.path(&blocked).exists() && server.path(&hot[2]).is_file());
}
