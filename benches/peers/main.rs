//! Quire against nginx and docker-registry in the same run: ratios, not times. `benches/README.md` explains it.

mod catalog;
mod connection;
mod load;
mod plugins;
mod rounds;
mod servers;
mod workloads;

use std::io;
use std::process::ExitCode;

use rustix::thread::{CpuSet, sched_setaffinity};

use rounds::Workload;
use servers::find_program;
use workloads::Peers;

/// The core of the load; the servers have another.
const LOAD_CORE: usize = 1;

fn main() -> ExitCode {
    // `cargo bench` adds arguments of its own.
    let rounds = if std::env::args().any(|argument| argument == "--quick") { 3 } else { 7 };
    match run(rounds) {
        // A missing peer is a gap in what CI was asked to prove.
        Ok(skipped) if skipped > 0 && std::env::var("CI").is_ok_and(|ci| ci == "true") => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench could not be run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything and prints the table. Returns how many rows were skipped.
fn run(rounds: usize) -> io::Result<usize> {
    for program in ["wrk", "taskset"] {
        if find_program(program).is_none() {
            println!("SKIPPED everything: install {program}");
            return Ok(1);
        }
    }
    let mut core = CpuSet::new();
    core.set(LOAD_CORE);
    sched_setaffinity(None, &core)?;
    // On the disk that the build is on: a folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let peers = Peers::start(folder.path())?;
    let mut workloads = peers.workloads()?;
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for workload in &mut workloads {
            workload.run(round)?;
        }
    }
    rounds::print_head();
    Ok(workloads.iter().map(Workload::print).sum())
}
