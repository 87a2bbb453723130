//! Several nodes of one registry under strain: bodies that are larger than what a node may hold, and nodes that hang.

use std::time::{Duration, Instant};

use quire::digest::Sha256;

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::relay::Way;
use crate::harness::replicas::Replica;
use crate::uploads::{assert_pulls, range_of};
use crate::wire::Wire;

const REPOSITORY: &str = "acme/tool";
const UNKNOWN: &str = "BLOB_UPLOAD_UNKNOWN";

/// 200 MiB through a node that passes them on: it holds only some pieces of them.
#[tokio::test]
async fn large_bodies_pass_through_little_memory() {
    const SIZE: usize = 200 << 20;
    let replicas = Replica::start(2, &[]).await;
    let (a, b) = (replicas[0].admin(), replicas[1].admin());
    let bytes = bytes::Bytes::from((0..SIZE).map(|n| (n >> 10) as u8).collect::<Vec<_>>());
    let digest = Sha256::of(&bytes).to_string();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", replicas[1].server.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("kibibytes")
    };
    b.push_blob(REPOSITORY, "warm").await;
    let before = peak();
    let session = a.open_session(REPOSITORY).await;
    let begun = Instant::now();
    let pushed = b.send("PUT", &format!("{session}?digest={digest}"), &[], bytes.clone()).await;
    assert_eq!(pushed.status, 201, "{pushed:?}");
    println!("200 MiB in {:?}, {} KiB more", begun.elapsed(), peak() - before);
    assert!(peak() - before < 32 << 10, "{} KiB, {before} before", peak());
    assert_pulls(&a, &digest, &bytes).await;
}

/// A node whose machine hangs, and one that is behind a wall: the client is told within a bound, and nothing is lost.
#[tokio::test]
async fn a_node_that_hangs_holds_nobody_up() {
    let replicas = Replica::start(2, &[]).await;
    let (a, b) = (replicas[0].admin(), replicas[1].admin());
    let session = a.open_session(REPOSITORY).await;
    assert_eq!(b.send("PATCH", &session, &[], "01234").await.status, 202);
    replicas[0].server.stop();
    let begun = Instant::now();
    assert_refused(&b.get(&session).await, 404, UNKNOWN, "it stands still");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    replicas[0].server.go_on();
    assert_eq!(range_of(&b, &session).await, "0-4");

    // In the middle of a body.
    let headers = [("content-length", "100000000")];
    let mut wire = Wire::admin(&replicas[1].server, &format!("PATCH {session}"), &headers).await;
    wire.write(&[b'5'; 1000]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    replicas[0].server.stop();
    let begun = Instant::now();
    let refused = wire.answer_within(Duration::from_secs(40)).await;
    assert_refused(&refused.expect("an answer"), 503, "UNAVAILABLE", "it stands still");
    println!("told after {:?}", begun.elapsed());
    replicas[0].server.go_on();
    disk::eventually("what came is kept", async || range_of(&b, &session).await == "0-1004").await;

    replicas[0].relay.set(Way::Nowhere);
    replicas[0].relay.cut();
    let begun = Instant::now();
    assert_refused(&b.get(&session).await, 404, UNKNOWN, "behind a wall");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    replicas[0].relay.set(Way::To(replicas[0].server.address));
    assert_eq!(range_of(&b, &session).await, "0-1004");
}
