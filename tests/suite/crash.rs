//! A server that is killed while clients push: what was acknowledged is there, and nothing is there by half.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quire::digest::Sha256;

use crate::harness::{Client, Server, image};

const REPOSITORY: &str = "system/crash";
const CLIENTS: u64 = 6;

/// How often the server is killed; `make soak` does it far more often.
fn rounds() -> u64 {
    if std::env::var_os("QUIRE_SOAK").is_some() { 100 } else { 6 }
}

/// What a client tried, by tag: the layer, and whether the server said that it is done.
pub type Attempts = Arc<Mutex<BTreeMap<String, (Vec<u8>, bool)>>>;

/// Pushes artifacts one after the other until the server is gone.
pub async fn push_until_killed(client: Client, round: u64, number: u64, attempts: Attempts) {
    let mut pushed = 0;
    loop {
        let tag = format!("r{round}-c{number}-{pushed}");
        let layer = tag.repeat(1 + pushed as usize * 700).into_bytes();
        attempts.lock().unwrap().insert(tag.clone(), (layer.clone(), false));
        let size = layer.len();
        let Some(digest) = try_push_layer(&client, layer, pushed % 2 == 0).await else { return };
        let Some(config) = try_push_layer(&client, b"{}".to_vec(), true).await else { return };
        let manifest = image(&config, 2, &[(&digest, size)]);
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let headers = [("content-type", media_type.as_str())];
        match client.try_send("PUT", &path, &headers, manifest.to_string()).await {
            Some(answer) => assert_eq!(answer.status, 201, "{answer:?}"),
            None => return,
        }
        attempts.lock().unwrap().entry(tag).and_modify(|attempt| attempt.1 = true);
        pushed += 1;
    }
}

/// `None` once the server does not answer any more.
async fn try_push_layer(client: &Client, layer: Vec<u8>, at_once: bool) -> Option<String> {
    let digest = Sha256::of(&layer).to_string();
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let done = if at_once {
        client.try_send("POST", &format!("{uploads}?digest={digest}"), &[], layer).await?
    } else {
        let session = client.try_send("POST", &uploads, &[], "").await?.header("location").to_owned();
        let (first, second) = layer.split_at(layer.len() / 2);
        let first = client.try_send("PATCH", &session, &[], first.to_vec()).await?;
        assert_eq!(first.status, 202, "{first:?}");
        client.try_send("PUT", &format!("{session}?digest={digest}"), &[], second.to_vec()).await?
    };
    assert_eq!(done.status, 201, "{done:?}");
    Some(digest)
}

/// Every acknowledged artifact is whole, and every other one is whole or absent.
pub async fn verify(client: &Client, attempts: &Attempts) -> (usize, usize) {
    let attempts = attempts.lock().unwrap().clone();
    let (mut acknowledged, mut absent) = (0, 0);
    for (tag, (layer, done)) in attempts {
        let manifest = client.get(&format!("/v2/{REPOSITORY}/manifests/{tag}")).await;
        if manifest.status == 404 {
            assert!(!done, "{tag} was acknowledged and is not there");
            absent += 1;
            continue;
        }
        assert_eq!(manifest.status, 200, "{tag}: {manifest:?}");
        let digest = manifest.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
        let pulled = client.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
        assert_eq!(pulled.status, 200, "{tag}: its layer");
        assert_eq!(pulled.body, layer, "{tag}: its layer");
        acknowledged += usize::from(done);
    }
    (acknowledged, absent)
}

/// P2: after a kill a push is absent or complete, and an acknowledged one is complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_every_push_absent_or_complete() {
    let folder = tempfile::tempdir().unwrap();
    let attempts = Attempts::default();
    for round in 0..rounds() {
        let mut server = Server::start_in(folder.path(), &[]);
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            let attempts = Arc::clone(&attempts);
            clients.spawn(push_until_killed(server.admin(), round, number, attempts));
        }
        // After a few acknowledged pushes, and at a different moment each round: by then they are at all stages.
        let done = || attempts.lock().unwrap().values().filter(|(_, done)| *done).count();
        let enough = done() + 4;
        for _ in 0..2000 {
            if done() >= enough {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis((round * 37) % 50)).await;
        server.kill();
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    }
    let server = Server::start_in(folder.path(), &[("UPLOAD_EXPIRY", "1")]);
    let (acknowledged, absent) = verify(&server.anonymous(), &attempts).await;
    println!("{acknowledged} acknowledged pushes are there, {absent} cut off ones are absent");
    assert!(acknowledged > 0 && absent > 0, "the kills came at moments that prove something");

    let staging = server.data.join("staging");
    for _ in 0..200 {
        if std::fs::read_dir(&staging).unwrap().next().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("staging still holds what the killed servers left");
}
