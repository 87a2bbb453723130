//! What a server keeps in its folder, for tests that count files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::Server;

/// The files below `blobs`.
pub fn blobs(server: &Server) -> Vec<PathBuf> {
    files(&server.data.join("blobs"))
}

/// The files in `staging`.
pub fn staged(server: &Server) -> Vec<PathBuf> {
    files(&server.data.join("staging"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Waits until a condition holds; what is removed beside the answer takes a moment.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(15), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until no staged file is left.
pub async fn staging_is_empty(server: &Server) {
    eventually("staging is empty", async || staged(server).is_empty()).await;
}
