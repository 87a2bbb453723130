//! The order of what goes to the disk during a push, as strace sees it: a kill can't tell, a power loss would.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use quire::digest::Sha256;

use crate::harness::Server;
use crate::tools::have;

const CALLS: &str = "trace=fsync,fdatasync,link,linkat,write,writev,sendto,sendmsg";

/// strace on every thread of a running server.
struct Trace {
    strace: Child,
    /// Stays open: strace tells of each new thread, and ends when nobody can hear it.
    _messages: Lines<BufReader<ChildStderr>>,
    folder: tempfile::TempDir,
}

impl Trace {
    /// `None`: strace is missing or may not attach here.
    fn attach(server: &Server) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "40", "-e", CALLS, "-p", &server.pid().to_string(), "-o"]);
        command.arg(folder.path().join("calls")).stderr(Stdio::piped());
        let started = command.spawn();
        if !have("strace", started.is_ok()) {
            return None;
        }
        let mut strace = started.expect("strace");
        let mut messages = BufReader::new(strace.stderr.take().expect("its messages")).lines();
        let attached = messages.by_ref().map_while(Result::ok).any(|line| line.contains("attached"));
        have("strace, with the right to attach to a process", attached).then_some(Self {
            strace,
            _messages: messages,
            folder,
        })
    }

    /// The calls that succeeded, in the order in which they ended.
    fn calls(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a running strace");
        self.strace.wait().expect("its end");
        let text = std::fs::read_to_string(self.folder.path().join("calls")).expect("its output");
        let mut unfinished = HashMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
                unfinished.insert(thread.to_owned(), begun.to_owned());
            } else if call.starts_with("<... ") {
                let begun = unfinished.remove(thread).unwrap_or_default();
                calls.push(begun + call.split_once("resumed>").map_or("", |(_, rest)| rest));
            } else {
                calls.push(call.to_owned());
            }
        }
        calls.retain(|call| !call.contains(") = -1"));
        calls
    }
}

/// Finds a call behind those that were found before, and goes on behind it.
fn expect(calls: &mut &[String], what: &str, matches: impl Fn(&str) -> bool) {
    let at = calls.iter().position(|call| matches(call));
    let at = at.unwrap_or_else(|| panic!("{what} is not where it should be; what is left: {calls:#?}"));
    *calls = &calls[at + 1..];
}

fn syncs(call: &str, path: &Path) -> bool {
    let sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
    sync && call.contains(&path.display().to_string())
}

/// P2: file, name, folder, row, answer, in this order, each durable before the next.
#[tokio::test]
async fn p2_a_push_is_durable_step_by_step() {
    let server = Server::start(&[]);
    let data = std::fs::canonicalize(&server.data).expect("the data folder");
    // Once before, so that the repository is there and connections are open.
    let admin = server.admin();
    admin.push_blob("a/b", "before").await;
    for in_session in [false, true] {
        let bytes = format!("traced, in a session: {in_session}");
        let digest = Sha256::of(bytes.as_bytes());
        let session = if in_session { Some(admin.open_session("a/b").await) } else { None };
        let Some(trace) = Trace::attach(&server) else { return };
        let pushed = match &session {
            None => {
                admin.push_blob("a/b", bytes).await;
                201
            }
            Some(session) => {
                let (first, rest) = bytes.split_at(7);
                assert_eq!(admin.send("PATCH", session, &[], first.to_owned()).await.status, 202);
                let finish = format!("{session}?digest={digest}");
                admin.send("PUT", &finish, &[], rest.to_owned()).await.status.as_u16()
            }
        };
        assert_eq!(pushed, 201);
        let calls = trace.calls();
        let mut calls = calls.as_slice();

        let (staging, row) = (data.join("staging"), data.join("quire.db-wal"));
        let folder = data.join("blobs/sha256").join(&digest.hex()[..2]);
        let answers = |call: &str, status: &str| call.contains(&format!("HTTP/1.1 {status}"));
        if in_session {
            expect(&mut calls, "the chunk's sync", |call| syncs(call, &staging.join("")));
            expect(&mut calls, "the sync of the staging folder", |call| {
                syncs(call, &staging) && call.contains("/staging>")
            });
            expect(&mut calls, "the sync of the session's row", |call| syncs(call, &row));
            expect(&mut calls, "the answer to the chunk", |call| answers(call, "202"));
        }
        expect(&mut calls, "the file's sync", |call| syncs(call, &staging.join("")));
        expect(&mut calls, "the blob's name", |call| {
            call.starts_with("link") && call.contains(&digest.hex())
        });
        expect(&mut calls, "the folder's sync", |call| syncs(call, &folder));
        expect(&mut calls, "the row's sync", |call| syncs(call, &row));
        expect(&mut calls, "the answer", |call| answers(call, "201"));
    }
}
