//! Memory: blobs go out from their files, however large they are and however many at once.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use quire::blob::far::FarStore;
use quire::blob::s3::S3Tuning;
use quire::digest::{Algorithm, Sha256};
use quire::staging::Staged;

use super::{Fixture, pattern};
use crate::harness::s3_stub::Manners;

const MIB: usize = 1024 * 1024;

/// Not a test by itself: the memory of a process is that of all its tests.
#[tokio::test]
#[ignore = "another one runs it, in a process of its own"]
async fn in_a_process_of_its_own() {
    let fixture = Fixture::with(Manners { forgets_bytes: true, ..Manners::default() }).await;
    // What the probe reads back would be forgotten, too.
    fixture.stub.set_manners(|manners| manners.forgets_bytes = false);
    let store = Arc::new(fixture.store_with(S3Tuning::default()).await);
    fixture.stub.set_manners(|manners| manners.forgets_bytes = true);
    let staged = Arc::new(large(&fixture).await);
    let before = resident("VmRSS");
    store.put(&staged).await.unwrap();
    println!("ONE {}", resident("VmHWM") - before);
    let mut puts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, staged) = (Arc::clone(&store), Arc::clone(&staged));
        puts.spawn(async move { store.put(&staged).await });
    }
    while let Some(put) = puts.join_next().await {
        put.unwrap().unwrap();
    }
    println!("SIXTEEN {}", resident("VmHWM") - before);
    assert_eq!(store.size(&staged.digests().sha256).await.unwrap(), Some(staged.size()));
}

/// A staged file of 256 MiB.
async fn large(fixture: &Fixture) -> Staged {
    let mut intake = fixture.staging.begin(Algorithm::Sha256, u64::MAX).await.unwrap();
    let piece = pattern(MIB);
    for _ in 0..256 {
        intake.write(piece.clone()).await.unwrap();
    }
    let staged = intake.finish(Algorithm::Sha256).await.unwrap();
    assert_ne!(staged.digests().sha256, Sha256::of(&piece));
    staged
}

/// Kilobytes of this process, by the kernel's name for them.
fn resident(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn memory_stays_flat_while_large_blobs_go_out() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "s3::memory::in_a_process_of_its_own", "--ignored", "--nocapture"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let grown = |start: &str| -> u64 {
        let line = text.lines().find_map(|line| line.split_once(start)).unwrap_or_else(|| panic!("{text}"));
        line.1.parse().unwrap()
    };
    let (one, sixteen) = (grown("ONE "), grown("SIXTEEN "));
    assert!(one < 32 * 1024, "{one} kB for one blob of 256 MiB");
    assert!(sixteen < 64 * 1024, "{sixteen} kB for sixteen of them at once");
}
