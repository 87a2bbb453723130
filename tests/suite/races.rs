//! Many at once on the same things: sessions have one writer, and whatever wins, nothing breaks.

use std::time::Duration;

use quire::digest::Sha256;
use serde_json::json;

use crate::bad_input::assert_refused;
use crate::disk::{self, eventually};
use crate::harness::{Answer, Server, image};
use crate::uploads::{assert_pulls, range_of};
use crate::wire::Wire;

const REPOSITORY: &str = "acme/tool";

/// Sends the same request from eight clients at once.
async fn at_once(
    server: &Server,
    method: &'static str,
    path: &str,
    range: Option<&'static str>,
) -> Vec<Answer> {
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let (client, path) = (server.admin(), path.to_owned());
            tokio::spawn(async move {
                let headers: Vec<_> = range.map(|range| ("content-range", range)).into_iter().collect();
                client.send(method, &path, &headers, if range.is_some() { "0123" } else { "" }).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.expect("an answer"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_one_writer() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = Sha256::of(b"0123").to_string();
    for _ in 0..5 {
        let session = admin.open_session(REPOSITORY).await;
        let chunks = at_once(&server, "PATCH", &session, Some("0-3")).await;
        let (taken, refused): (Vec<_>, Vec<_>) = chunks.iter().partition(|answer| answer.status == 202);
        assert_eq!(taken.len(), 1, "{chunks:?}");
        for answer in refused {
            assert_refused(answer, 416, "BLOB_UPLOAD_INVALID", "the chunk that came second");
        }
        assert_eq!(range_of(&admin, &session).await, "0-3");
        let ends = at_once(&server, "PUT", &format!("{session}?digest={digest}"), None).await;
        let (done, refused): (Vec<_>, Vec<_>) = ends.iter().partition(|answer| answer.status == 201);
        assert_eq!(done.len(), 1, "{ends:?}");
        for answer in refused {
            assert_refused(answer, 404, "BLOB_UPLOAD_UNKNOWN", "the end that came second");
        }
        assert_pulls(&admin, &digest, b"0123").await;

        let session = admin.open_session(REPOSITORY).await;
        let cancelled = at_once(&server, "DELETE", &session, None).await;
        assert_eq!(cancelled.iter().filter(|answer| answer.status == 204).count(), 1, "{cancelled:?}");
        assert_eq!(cancelled.iter().filter(|answer| answer.status == 404).count(), 7, "{cancelled:?}");
    }
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn a_second_writer_waits_and_is_told_to_come_back() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let session = admin.open_session(REPOSITORY).await;
    let mut slow = Wire::admin(&server, &format!("PATCH {session}"), &[("content-length", "4")]).await;
    slow.write(b"01").await;
    eventually("the first writer is in", async || !disk::staged(&server).is_empty()).await;
    let (append, cancel) = tokio::join!(admin.send("PATCH", &session, &[], "x"), admin.delete(&session));
    for busy in [append, cancel] {
        assert_refused(&busy, 409, "BLOB_UPLOAD_INVALID", "the second writer");
        assert_eq!(busy.header("retry-after"), "1");
    }
    // One that waits for a moment only gets its turn.
    let waiting = tokio::spawn({
        let (admin, session) = (admin.clone(), session.clone());
        async move { admin.send("PATCH", &session, &[("content-range", "4-5")], "45").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    slow.write(b"23").await;
    assert_eq!(slow.answer().await.expect("an answer").status, 202);
    let second = waiting.await.expect("an answer");
    assert_eq!((second.status.as_u16(), second.header("range")), (202, "0-5"), "{second:?}");
}

/// Pushes, pulls, moves and deletes of the same few things: no fault, and never bytes under another's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_wins_nothing_breaks() {
    let server = Server::start(&[]);
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let admin = server.admin();
            tokio::spawn(async move {
                for round in 0..25 {
                    let step = worker * 7 + round;
                    let layer = format!("layer {}", step % 3);
                    let digest = Sha256::of(layer.as_bytes()).to_string();
                    let config = Sha256::of(b"{}").to_string();
                    let mut manifest = image(&config, 2, &[(&digest, layer.len())]);
                    manifest["annotations"] = json!({"n": (step % 4).to_string()});
                    let tag = format!("t{}", step % 2);
                    let tagged = format!("/v2/{REPOSITORY}/manifests/{tag}");
                    let by_digest =
                        format!("/v2/{REPOSITORY}/manifests/{}", Sha256::of(manifest.to_string().as_bytes()));
                    admin.push_blob(REPOSITORY, "{}").await;
                    admin.push_blob(REPOSITORY, layer.clone()).await;
                    let answers = [
                        admin.put_manifest(REPOSITORY, &tag, &manifest).await,
                        admin.get(&tagged).await,
                        admin.get(&by_digest).await,
                        admin.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await,
                        admin.delete(if step % 5 == 0 { &tagged } else { &by_digest }).await,
                        admin.delete(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await,
                    ];
                    for answer in &answers {
                        // What another deleted meanwhile is not there; all else is done.
                        let expected = [200, 201, 202, 404].contains(&answer.status.as_u16());
                        assert!(expected, "{answer:?}");
                        if answer.status == 200 {
                            let named = answer.header("docker-content-digest");
                            assert_eq!(named, Sha256::of(&answer.body).to_string());
                        }
                    }
                    let list = admin.get(&format!("/v2/{REPOSITORY}/tags/list")).await;
                    assert_eq!(list.status, 200, "{list:?}");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no fault");
    }
    disk::staging_is_empty(&server).await;
}
