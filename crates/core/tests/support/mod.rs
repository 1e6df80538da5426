//! What the tests with real processes share: forked workers, counters that survive them, and a strict reader of logs.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod machine;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use logboom::{Log, LogOptions, Outcome, Severity};

/// A log directory and a state directory of its own, removed at the end.
pub struct Place {
    _keep: tempfile::TempDir,
    pub logs: PathBuf,
    pub state: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        let keep = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        let (logs, state) = (keep.path().join("logs"), keep.path().join("state"));
        for path in [&logs, &state] {
            std::fs::create_dir(path).unwrap();
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
        Place {
            _keep: keep,
            logs,
            state,
        }
    }

    pub fn log(&self) -> PathBuf {
        self.logs.join("app.log")
    }

    pub fn options(&self) -> LogOptions {
        LogOptions {
            state_dir: logboom::StateDir::Path(self.state.clone()),
            queue_bytes: 128 << 10,
            // Where the processors are overloaded a full queue is nobody's fault; tests of full queues have their own.
            on_full_wait_ms: 20_000,
            ..LogOptions::default()
        }
    }

    /// All bytes of the log and its numbered archives, oldest first.
    pub fn content(&self) -> String {
        let mut names: Vec<(u32, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.logs).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name == "app.log" {
                names.push((0, entry.path()));
            } else if let Some(number) = name.strip_prefix("app.log.").and_then(|n| n.parse().ok())
            {
                names.push((number, entry.path()));
            }
        }
        names.sort();
        let read = |(_, path): &(u32, PathBuf)| {
            String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
        };
        names.iter().rev().map(read).collect()
    }
}

/// Numbers in memory shared with forked children.
pub struct Counters {
    words: &'static [AtomicU64],
}

impl Counters {
    pub fn new(count: usize) -> Counters {
        let len = count * 8;
        // SAFETY: an anonymous shared mapping of `len` bytes, never unmapped; zero bytes are valid atomics.
        let words = unsafe {
            let (protection, flags) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            );
            let memory = libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0);
            assert_ne!(memory, libc::MAP_FAILED);
            std::slice::from_raw_parts(memory.cast::<AtomicU64>(), count)
        };
        Counters { words }
    }

    pub fn at(&self, index: usize) -> &'static AtomicU64 {
        &self.words[index]
    }
}

/// Runs `work` in a forked child that leaves with its answer, and gives its pid.
pub fn fork(work: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: nextest runs each test in a process of its own; the child leaves by _exit.
    match unsafe { libc::fork() } {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(99);
            // SAFETY: ends this process.
            unsafe { libc::_exit(code) }
        }
        pid => {
            assert!(pid > 0);
            pid
        }
    }
}

pub fn kill(pid: libc::pid_t, signal: i32) {
    // SAFETY: a child of ours that has not been waited for.
    unsafe { libc::kill(pid, signal) };
}

/// Waits for a child; its raw status.
pub fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// True once the child has ended, without waiting.
pub fn has_ended(pid: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: as above.
    unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) == pid }
}

pub fn exited_well(status: i32) -> bool {
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// Waits until `condition` holds, or fails the test after a bound that no healthy run comes near.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A numbered record: `w<worker> n<number> <padding> e`.
pub fn record(worker: u64, number: u64, len: usize) -> String {
    let head = format!("w{worker} n{number} ");
    let padding = len.saturating_sub(head.len() + 2).max(1);
    let fill = (b'a' + (number % 26) as u8) as char;
    format!("{head}{}e\n", fill.to_string().repeat(padding))
}

/// Publishes numbered records from `begun` on, telling the counters before and after each.
pub fn publish_numbered(
    log: &Log,
    worker: u64,
    begun: &AtomicU64,
    acked: &AtomicU64,
    len: impl Fn(u64) -> usize,
) {
    loop {
        let number = begun.load(Ordering::SeqCst) + 1;
        begun.store(number, Ordering::SeqCst);
        // A record that was dropped was not acknowledged: it is offered again.
        while log.publish(
            Severity::INFO,
            record(worker, number, len(number)).as_bytes(),
        ) != Outcome::Published
        {}
        acked.store(number, Ordering::SeqCst);
    }
}

/// What a strict reading of a log finds.
#[derive(Debug, Default)]
pub struct Reading {
    /// Times each record of each worker was found.
    pub found: HashMap<(u64, u64), u32>,
    pub torn: Vec<String>,
    pub disordered: Vec<String>,
}

pub fn read_strictly(content: &str) -> Reading {
    let mut reading = Reading::default();
    let mut last: HashMap<u64, u64> = HashMap::new();
    for line in content.split_inclusive('\n') {
        match parse(line) {
            Some((worker, number)) => {
                *reading.found.entry((worker, number)).or_default() += 1;
                if last
                    .insert(worker, number)
                    .is_some_and(|before| before >= number)
                {
                    reading.disordered.push(format!("w{worker} n{number}"));
                }
            }
            None => {
                let start: String = line.chars().take(60).collect();
                let end: String = line
                    .chars()
                    .rev()
                    .take(60)
                    .collect::<Vec<_>>()
                    .iter()
                    .rev()
                    .collect();
                reading
                    .torn
                    .push(format!("{} bytes: {start} ... {end}", line.len()));
            }
        }
    }
    reading
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let worker = words.next()?.strip_prefix('w')?.parse().ok()?;
    let number: u64 = words.next()?.strip_prefix('n')?.parse().ok()?;
    let fill = (b'a' + (number % 26) as u8) as char;
    let padding = words.next()?.strip_suffix('e')?;
    (words.next().is_none() && !padding.is_empty() && padding.chars().all(|c| c == fill))
        .then_some((worker, number))
}

impl Reading {
    /// Fails the test unless every number of every worker up to `acked` was found once, but for `unsure` ones.
    pub fn assert_complete(&self, acked: &HashMap<u64, u64>, unsure: &[(u64, u64)]) {
        assert!(
            self.torn.is_empty(),
            "torn: {:?}",
            &self.torn[..self.torn.len().min(5)]
        );
        assert!(
            self.disordered.is_empty(),
            "out of order: {:?}",
            &self.disordered[..self.disordered.len().min(5)]
        );
        let doubled: Vec<_> = self
            .found
            .iter()
            .filter(|(_, times)| **times > 1)
            .take(5)
            .collect();
        assert!(doubled.is_empty(), "doubled: {doubled:?}");
        for (worker, last) in acked {
            let missing: Vec<_> = (1..=*last)
                .filter(|number| {
                    !self.found.contains_key(&(*worker, *number))
                        && !unsure.contains(&(*worker, *number))
                })
                .take(5)
                .collect();
            assert!(
                missing.is_empty(),
                "worker {worker} lost {missing:?} of {last}"
            );
        }
    }
}

pub fn open(path: &Path, options: &LogOptions) -> Log {
    Log::open(path, options).unwrap_or_else(|error| panic!("{error}"))
}
