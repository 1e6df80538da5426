//! A place for one test: a log directory, a state directory, workers, and the command.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logboom::{Compress, Log, LogOptions, Outcome, Severity};
use serde_json::Value;

const LOG_VARIABLE: &str = "LOGBOOM_TEST_LOG";
const OPTIONS_VARIABLE: &str = "LOGBOOM_TEST_OPTIONS";
const WORKER_TEST: &str = "a_worker_writes_what_it_is_told";

/// Directories of one test; its workers are killed and all is removed at the end.
pub struct Site {
    root: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Site {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("log")).unwrap();
        let state = root.path().join("state");
        std::fs::DirBuilder::new().create(&state).unwrap();
        std::fs::set_permissions(state, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        Site { root }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("log").join(name)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The log and its archives.
    pub fn log_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path(".")).unwrap().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        let begins = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("app.log")
        };
        paths.retain(begins);
        paths.sort();
        paths
    }

    pub fn state_file(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.root.path().join("state"))
            .unwrap()
            .flatten();
        entries
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "state"))
            .unwrap()
    }

    /// Runs the command in the site's directory.
    pub fn logboom(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logboom"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env("LOGBOOM_STATE_DIR", self.root.path().join("state"));
        Answer::of(&mut command)
    }

    /// Starts a process that opens `app.log` with options: `max=N`, `ids`, `gzip`, `zstd`, `hooks`.
    pub fn worker(&self, options: &str) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", WORKER_TEST, "--nocapture", "--test-threads=1"])
            .env(LOG_VARIABLE, self.path("app.log"))
            .env(OPTIONS_VARIABLE, options)
            .env("LOGBOOM_STATE_DIR", self.root.path().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut worker = Worker {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        worker.wait_for("@ready");
        worker
    }
}

/// What the command said, and its exit code.
pub struct Answer {
    pub out: String,
    error: String,
    code: Option<i32>,
}

impl Answer {
    pub fn of(command: &mut Command) -> Answer {
        let output = command.output().unwrap();
        Answer {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    fn check(&self, code: i32) {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.out,
            self.error
        );
    }

    /// Standard output, where the command ended with `code`.
    pub fn text(self, code: i32) -> String {
        self.check(code);
        self.out
    }

    /// Standard error, likewise.
    pub fn error(self, code: i32) -> String {
        self.check(code);
        self.error
    }

    pub fn json(self, code: i32) -> Value {
        self.check(code);
        serde_json::from_str(&self.out).unwrap_or_else(|cause| panic!("{cause}: {}", self.out))
    }
}

/// A process that logs. Dropped: killed.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub fn pid(&self) -> u64 {
        u64::from(self.child.id())
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
    }

    fn wait_for(&mut self, answer: &str) {
        let mut line = String::new();
        while line.trim_end() != answer {
            line.clear();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the worker ended before it said {answer}"
            );
        }
    }

    /// Publishes records and comes back when they are published.
    pub fn publish(&mut self, records: u32) {
        self.publish_in_background(records);
        self.wait_for("@published");
    }

    pub fn publish_in_background(&mut self, records: u32) {
        self.tell(&format!("publish {records}"));
    }

    /// Takes the drain lease and keeps it.
    pub fn serve(&mut self) {
        self.tell("serve");
        self.wait_for("@serving");
    }

    pub fn signal(&self, signal: i32) {
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        if signal == rustix::process::Signal::STOP {
            let stat = format!("/proc/{}/stat", self.child.id());
            wait_until(|| std::fs::read_to_string(&stat).unwrap().contains(") T "));
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends in good order.
    pub fn leave(&mut self) {
        self.input = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "it did not come about in 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// True in a process that another test has started.
pub fn is_worker() -> bool {
    std::env::var_os(LOG_VARIABLE).is_some()
}

/// The worker's life: does what its standard input says until that ends.
pub fn work() {
    let path = PathBuf::from(std::env::var_os(LOG_VARIABLE).unwrap());
    let log = Arc::new(Log::open(path, &options()).unwrap());
    println!("\n@ready");
    for line in std::io::stdin().lines() {
        match line.unwrap().split_once(' ') {
            Some(("publish", records)) => {
                publish(&log, records.parse().unwrap());
                println!("\n@published");
            }
            _ => {
                let log = Arc::clone(&log);
                let (said, heard) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    log.serve(|| {
                        let _ = said.send(());
                        true
                    })
                });
                heard.recv().unwrap();
                println!("\n@serving");
            }
        }
    }
}

fn publish(log: &Log, records: u32) {
    for number in 0..records {
        let line = format!(
            "record {number:06} of process {} {:-<60}\n",
            std::process::id(),
            ""
        );
        assert_eq!(
            log.publish(Severity::INFO, line.as_bytes()),
            Outcome::Published
        );
    }
}

fn options() -> LogOptions {
    let mut options = LogOptions {
        backup_count: 1000,
        ..LogOptions::default()
    };
    for word in std::env::var(OPTIONS_VARIABLE)
        .unwrap()
        .split_ascii_whitespace()
    {
        match word.split_once('=').unwrap_or((word, "")) {
            ("max", bytes) => options.max_bytes = bytes.parse().unwrap(),
            ("ids", _) => options.ledger_ids = true,
            ("gzip", _) => options.compress = Compress::Gzip,
            ("zstd", _) => options.compress = Compress::Zstd,
            ("hooks", _) => options.hooks = true,
            other => panic!("no option {other:?}"),
        }
    }
    options
}
