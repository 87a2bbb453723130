//! Packages in the hands of other people's programs: what these read and write, and what they make that is no package.

mod foreign;
mod packers;
mod plugins;
mod readers;
mod same_reading;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use quire::package::{Finding, Limits, Plugin, Severity, check};

use crate::tools::{find, finish, have, transcript};

/// A folder of one test, and the programs that run in it.
struct Workshop(tempfile::TempDir);

impl Workshop {
    /// `None`: a program is missing, and the test has nothing to do.
    fn new(programs: &[&str]) -> Option<Self> {
        if !programs.iter().all(|program| have(program, find(program).is_some())) {
            return None;
        }
        Some(Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A command whose words stand between blanks, to be run in a folder of this workshop.
    fn command(&self, folder: &str, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let mut command = Command::new(find(program).unwrap_or_else(|| panic!("{program} is missing")));
        command.args(words).current_dir(self.folder(folder)).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs a command that has to succeed, and returns what it printed on standard output.
    fn run(&self, folder: &str, line: &str) -> Vec<u8> {
        let output = finish(self.command(folder, line), "");
        assert!(output.status.success(), "{line}\n{}", transcript(&output));
        output.stdout
    }
}

/// A file of `tests/testdata/`.
fn testdata(name: &str) -> String {
    format!("{}/tests/testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Far enough away for a slow machine.
fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The plugin of a package, or everything that is wrong with it.
fn plugin(bytes: &[u8]) -> Result<Plugin, Vec<Finding>> {
    let package = check(&bytes, &Limits::default(), in_a_minute()).expect("bytes in memory");
    assert_eq!(package.plugin.is_none(), package.is_refused());
    package.plugin.ok_or(package.findings)
}

fn errors(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Error)
}
