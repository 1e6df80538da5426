//! A program that forks workers which all write one log, rotated by size.
//!
//! ```sh
//! cargo run -p logboom --release --example forked_workers -- /tmp/forked-workers 4 20000
//! ```
//!
//! Without a directory it makes one for itself and removes it. Each worker publishes numbered lines; the parent waits, counts the lines of all files, and says what it found. It ends with 0
//! only if every line is there once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use logboom::{Log, LogOptions, Outcome, Severity};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let given = arguments.next().map(PathBuf::from);
    let fresh = std::env::temp_dir().join(format!("forked-workers-{}", std::process::id()));
    let directory = given.clone().unwrap_or_else(|| fresh.clone());
    let workers: u32 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(4);
    let records: u32 = arguments
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000);
    std::fs::create_dir_all(&directory).expect("the directory can be made");
    let options = LogOptions {
        max_bytes: 200_000,
        backup_count: 10_000,
        ..LogOptions::default()
    };
    let log = Log::open(directory.join("app.log"), &options).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    let children: Vec<_> = (0..workers)
        .map(|worker| fork_worker(&log, worker, records))
        .collect();
    let clean = children.into_iter().all(ended_well);
    drop(log);
    let lines = count_lines(&directory);
    let expected = workers * records;
    let once = lines.values().filter(|count| **count == 1).count();
    println!(
        "{expected} lines published, {} found, {once} of them once",
        lines.values().sum::<u32>()
    );
    if given.is_none() {
        let _ = std::fs::remove_dir_all(&fresh);
    }
    std::process::exit(i32::from(
        !clean || once != expected as usize || lines.len() != once,
    ));
}

fn fork_worker(log: &Log, worker: u32, records: u32) -> libc::pid_t {
    // SAFETY: the child only publishes and leaves with _exit; this program has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let well = (0..records).all(|number| {
                let line = format!("worker {worker} record {number} {:-<80}\n", "");
                log.publish(Severity::INFO, line.as_bytes()) == Outcome::Published
            });
            // Nothing to flush: what was published is in shared memory.
            // SAFETY: ends the process at once, which is what is meant.
            unsafe { libc::_exit(i32::from(!well)) }
        }
        pid => pid,
    }
}

fn ended_well(pid: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: waits for a child of ours; `status` outlives the call.
    unsafe { libc::waitpid(pid, &mut status, 0) == pid && status == 0 }
}

fn count_lines(directory: &Path) -> HashMap<String, u32> {
    let mut lines = HashMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("app.log") {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines() {
                *lines.entry(line.to_owned()).or_insert(0) += 1;
            }
        }
    }
    lines
}
