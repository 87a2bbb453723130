//! Several nodes of one registry: what one writes is seen by the others, in time or when it is asked for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::package::Package;
use crate::harness::replicas::Replica;
use crate::harness::{Client, image};

const REPOSITORY: &str = "acme/tool";
const ACME: &str = "/api/orgs/acme/plugins";
/// What is seen within a second on a machine that has nothing else to do.
const IN_TIME: Duration = Duration::from_secs(2);

/// How long it takes until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < IN_TIME, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

async fn tagged(client: &Client, tag: &str) -> String {
    let answer = client.get(&format!("/v2/{REPOSITORY}/manifests/{tag}")).await;
    answer.header("docker-content-digest").to_owned()
}

/// Two manifests of the repository, and two nodes that know both.
async fn start() -> (Vec<Replica>, [Client; 2], [String; 2]) {
    let replicas = Replica::start(2, &[]).await;
    let nodes = [0, 1].map(|index: usize| replicas[index].admin());
    let mut digests = Vec::new();
    for layer in ["one", "two"] {
        digests.push(nodes[0].push_artifact(REPOSITORY, layer, layer).await);
    }
    (replicas, nodes, digests.try_into().unwrap())
}

async fn point(client: &Client, tag: &str, digest: &str) -> u64 {
    let body = json!([{"repository": REPOSITORY, "tag": tag, "digest": digest}]);
    let answer = client.send("POST", "/api/catalogs/acme/tags", &[], body.to_string()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    answer.header("quire-sequence").parse().expect("a sequence")
}

/// Kept for two seconds, a move would be seen after one second on average; told of it, much earlier.
#[tokio::test]
async fn p5_tags_that_another_node_moves_are_seen_within_a_second() {
    const ROUNDS: u32 = 20;
    let (_replicas, nodes, digests) = start().await;
    let mut all = Duration::ZERO;
    for round in 0..ROUNDS as usize {
        let (writer, reader) = (&nodes[round % 2], &nodes[(round + 1) % 2]);
        let digest = &digests[round / 2 % 2];
        tagged(reader, "moving").await;
        point(writer, "moving", digest).await;
        assert_eq!(&tagged(writer, "moving").await, digest, "at once where it was written");
        all += until("it is moved", async || &tagged(reader, "moving").await == digest).await;
    }
    println!("seen after {:?} on average", all / ROUNDS);
    assert!(all / ROUNDS < Duration::from_millis(800), "{:?}", all / ROUNDS);
}

/// Links are kept for minutes, so only what is told ends them.
#[tokio::test]
async fn p5_what_another_node_deletes_is_gone_within_a_second() {
    let (_replicas, [here, elsewhere], digests) = start().await;
    let blob = here.push_blob(REPOSITORY, "a blob of its own").await;
    let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    for (path, immutable) in [
        (format!("/v2/{REPOSITORY}/manifests/{}", digests[0]), format!("/blobs/sha256/{}", hex(&digests[0]))),
        (format!("/v2/{REPOSITORY}/blobs/{blob}"), format!("/blobs/sha256/{}", hex(&blob))),
    ] {
        for path in [&path, &immutable] {
            assert_eq!(elsewhere.get(path).await.status, 200);
        }
        assert_eq!(here.delete(&path).await.status, 202);
        for path in [&path, &immutable] {
            until("it is gone", async || elsewhere.get(path).await.status == 404).await;
        }
    }
    assert_eq!(tagged(&elsewhere, "one").await, "", "its tag went with it");
}

#[tokio::test]
async fn p5_plugins_that_another_node_changes_are_seen_within_a_second() {
    let replicas = Replica::start(2, &[]).await;
    let [here, elsewhere] = [0, 1].map(|index: usize| replicas[index].admin());
    let pid = "com.acme.mail";
    let listed = async || -> Vec<String> {
        let list = elsewhere.read(ACME).await;
        let versions = list.as_array().unwrap().iter();
        versions.map(|plugin| plugin["version"].as_str().unwrap().to_owned()).collect()
    };
    let planned = async || -> usize {
        let plan = elsewhere.read("/api/orgs/acme/orchestrator-plan").await;
        plan["plugins"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((listed().await.len(), planned().await), (0, 0));
    here.publish(ACME, &Package::new(pid, "1.0")).await;
    until("a version", async || listed().await == ["1.0"]).await;
    let second = here.publish(ACME, &Package::new(pid, "2.0")).await;
    until("a later one", async || listed().await == ["2.0"]).await;
    here.change(ACME, &second, json!({"enabled": false})).await;
    until("a change", async || listed().await == ["1.0"]).await;
    let enablement = format!("/api/orgs/acme/enablements/org/{pid}");
    let enabled = here.send("PUT", &enablement, &[], json!({"channel": "latest"}).to_string()).await;
    assert!(enabled.status.is_success(), "{enabled:?}");
    until("an enablement", async || planned().await == 1).await;
    assert_eq!(here.delete(&enablement).await.status, 204);
    until("its end", async || planned().await == 0).await;
}

/// Whoever was told a sequence reads nothing older anywhere, without waiting for chance.
#[tokio::test]
async fn a_read_behind_a_sequence_sees_what_was_written() {
    let (_replicas, nodes, digests) = start().await;
    for round in 0..10 {
        let (writer, digest) = (&nodes[round % 2], &digests[round / 2 % 2]);
        for node in &nodes {
            tagged(node, "moving").await;
        }
        let sequence = point(writer, "moving", digest).await.to_string();
        for node in &nodes {
            let after = [("quire-after", sequence.as_str())];
            let path = format!("/v2/{REPOSITORY}/manifests/moving");
            for method in ["GET", "HEAD"] {
                let answer = node.send(method, &path, &after, "").await;
                assert_eq!(
                    (answer.status.as_u16(), answer.header("docker-content-digest")),
                    (200, digest.as_str())
                );
            }
        }
    }
}

/// Every write that is an event tells its sequence; each read of a catalog takes it.
#[tokio::test]
async fn writes_tell_sequences_and_reads_take_them() {
    let replicas = Replica::start(2, &[]).await;
    let [here, elsewhere] = [0, 1].map(|index: usize| replicas[index].admin());
    let config = here.push_blob(REPOSITORY, "{}").await;
    let manifest = image(&config, 2, &[]);
    let mut last = 0;
    let mut told = |what: &str, answer: &crate::harness::Answer| {
        assert!(answer.status.is_success(), "{what}: {answer:?}");
        let sequence: u64 =
            answer.header("quire-sequence").parse().unwrap_or_else(|_| panic!("{what}: {answer:?}"));
        assert!(sequence > last, "{what}: {sequence} after {last}");
        last = sequence;
    };
    let pushed = here.put_manifest(REPOSITORY, "v1", &manifest).await;
    told("a push", &pushed);
    let digest = pushed.header("docker-content-digest").to_owned();
    let body = json!([{"repository": REPOSITORY, "tag": "v2", "digest": digest}]).to_string();
    told("a tag", &here.send("POST", "/api/catalogs/acme/tags", &[], body).await);
    told("a tag's end", &here.delete(&format!("/v2/{REPOSITORY}/manifests/v2")).await);
    told("a manifest's end", &here.delete(&format!("/v2/{REPOSITORY}/manifests/{digest}")).await);
    told("a blob's end", &here.delete(&format!("/v2/{REPOSITORY}/blobs/{config}")).await);
    let uploaded = here.upload(ACME, Package::new("com.acme.mail", "1.0").bytes()).await;
    told("an upload", &uploaded);
    let path = format!("{ACME}/{}", uploaded.json()["id"].as_str().unwrap());
    told("a change", &here.send("PATCH", &path, &[], json!({"enabled": false}).to_string()).await);
    let absent = here.delete(&format!("/v2/{REPOSITORY}/manifests/v9")).await;
    assert_eq!((absent.status.as_u16(), absent.header("quire-sequence")), (404, ""));

    let (seen, beyond) = (last.to_string(), (last + 1).to_string());
    let reads = [
        "/v2/acme/com.acme.mail/manifests/1.0",
        "/v2/acme/com.acme.mail/tags/list",
        "/v2/acme/com.acme.mail/_quire/tags/1.0/history",
        "/v2/acme/com.acme.mail/referrers/sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ACME,
        "/api/orgs/acme/orchestrator-plan",
        "/api/orgs/acme/plugins/com.acme.mail/versions",
        "/api/catalogs/acme/tag-rules",
    ];
    let begun = Instant::now();
    let every = futures_of(&elsewhere, &reads, "quire-after", &seen).await;
    assert!(every.iter().all(|answer| answer.status == 200), "{every:?}");
    let none = futures_of(&elsewhere, &reads, "quire-after", &beyond).await;
    for (path, answer) in reads.iter().zip(&none) {
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"), "{path}");
        match path.starts_with("/api/") {
            true => assert_eq!(answer.problem().1, "not_seen_yet"),
            false => assert_eq!(answer.code(), "NOT_SEEN_YET"),
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "they wait, and not for ever: {:?}", begun.elapsed());
    for malformed in ["", "-1", "1.5", "x", "99999999999999999999"] {
        for answer in futures_of(&elsewhere, &reads, "quire-after", malformed).await {
            assert_eq!(answer.status, 400, "{malformed}: {answer:?}");
        }
    }
    // A write that comes while a read waits for it ends the wait.
    let waiting = tokio::spawn({
        let elsewhere = elsewhere.clone();
        async move { elsewhere.send("GET", ACME, &[("quire-after", &beyond)], "").await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(here.send("PATCH", &path, &[], json!({"enabled": true}).to_string()).await.status, 200);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()[0]["enabled"], Value::Bool(true));
}

/// The same read of each path, at once.
async fn futures_of(
    client: &Client,
    paths: &[&str],
    header: &str,
    value: &str,
) -> Vec<crate::harness::Answer> {
    let mut answers = Vec::new();
    let asked: Vec<_> = paths
        .iter()
        .map(|path| {
            let (client, path) = (client.clone(), (*path).to_owned());
            let (header, value) = (header.to_owned(), value.to_owned());
            tokio::spawn(
                async move { client.send("GET", &path, &[(header.as_str(), value.as_str())], "").await },
            )
        })
        .collect();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// Who waits for what never comes takes no room from others.
#[tokio::test]
async fn only_so_many_wait_for_a_sequence() {
    let replicas = Replica::start(1, &[]).await;
    let admin = replicas[0].admin();
    admin.push_artifact(REPOSITORY, "v1", "layer").await;
    let path = format!("/v2/{REPOSITORY}/tags/list");
    let begun = Instant::now();
    // As many streams as a connection takes at once.
    let clients: Vec<Client> = (0..8).map(|_| admin.http2()).collect();
    let waiting: Vec<_> = (0..1200)
        .map(|number| {
            let (client, path) = (clients[number % clients.len()].clone(), path.clone());
            tokio::spawn(
                async move { client.send("GET", &path, &[("quire-after", "1000000")], "").await.status },
            )
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(admin.get(&path).await.status, 200, "others go on");
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 503);
    }
    println!("1,200 that wait in vain: {:?}", begun.elapsed());
}
