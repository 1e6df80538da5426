//! Workers: processes of this test program that log numbered records into the spool, and say in shared memory how far they are.
//!
//! `begun` is stored before the call that logs and `acknowledged` after it, so that after a SIGKILL at any moment the number of the
//! last record that must arrive is known, and of the last one that may.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logboom::format::{Encoder, Format, Record};
use logboom::{Durability, Log, LogOptions, Outcome, Severity, SpoolFull, StateDir};
use memmap2::MmapRaw;
use serde::{Deserialize, Serialize};

use crate::site::{LOGBOOM, NAME};
use crate::support::program::Program;
use crate::support::{eventually, millis};

const VARIABLE: &str = "LOGBOOM_TEST_WORK";
const TEST: &str = "worker::a_worker_logs_what_it_is_told";

/// What a worker does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// The spool's directory.
    pub root: PathBuf,
    /// Where states lie.
    pub state: PathBuf,
    /// The destination.
    pub name: String,
    pub account: PathBuf,
    /// Its place in the account.
    pub number: usize,
    pub spool_bytes: u64,
    /// `oldest`, `newest` or `block`.
    pub full: String,
    pub wait_ms: u64,
    pub durable: bool,
    /// It starts a relay when there is none.
    pub starts_relay: bool,
    /// How many records; 0: until it is told to stop.
    pub records: u64,
    /// How many each second; 0: as many as go.
    pub per_second: u64,
    /// Length of a record's message.
    pub body_bytes: usize,
    /// A record that is dropped is offered again; otherwise it is counted, and the next one follows.
    pub insists: bool,
    /// The median of the times of so many calls is told, again and again; 0: it is not.
    pub samples: usize,
}

impl Work {
    pub fn new(root: &Path, account: &Path, state: &Path) -> Work {
        Work {
            root: root.to_owned(),
            state: state.to_owned(),
            name: NAME.to_owned(),
            account: account.to_owned(),
            number: 0,
            spool_bytes: 256 << 20,
            full: "oldest".to_owned(),
            wait_ms: 200,
            durable: false,
            starts_relay: true,
            records: 0,
            per_second: 500,
            body_bytes: 100,
            insists: true,
            samples: 0,
        }
    }

    /// How the spool is opened.
    pub fn options(&self) -> LogOptions {
        let full = match self.full.as_str() {
            "newest" => SpoolFull::DropNewest,
            "block" => SpoolFull::Block,
            _ => SpoolFull::DropOldest,
        };
        LogOptions {
            state_dir: StateDir::Path(self.state.clone()),
            on_full_wait_ms: self.wait_ms,
            durability: match self.durable {
                true => Durability::Disk,
                false => Durability::Kernel,
            },
            relay_program: self.starts_relay.then(|| LOGBOOM.into()),
            ..LogOptions::for_spool(self.spool_bytes, full)
        }
    }

    pub fn spool(&self) -> PathBuf {
        self.root.join(format!("{}.spool", self.name))
    }
}

/// A running worker, killed when it is dropped.
pub struct Worker {
    pub number: usize,
    pub program: Program,
}

impl Worker {
    pub fn start(account: &Account, work: &Work, said: &Path) -> Worker {
        let number = account.next.fetch_add(1, SeqCst);
        let work = Work {
            number,
            ..work.clone()
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([TEST, "--exact", "--nocapture"])
            .env(VARIABLE, serde_json::to_string(&work).unwrap())
            .env("LOGBOOM_STATE_DIR", &work.state);
        let program = Program::start(&command, said);
        Worker { number, program }
    }

    /// Waits until it has logged that many records.
    pub fn wait_for(&self, account: &Account, records: u64) {
        eventually(
            &format!("{records} records of worker {}", self.number),
            || account.of(self.number).acknowledged() >= records,
        );
    }

    /// Waits until it has done all it was told to do, and has left.
    pub fn join(&mut self) {
        eventually(&format!("the end of worker {}", self.number), || {
            !self.program.runs()
        });
    }
}

/// What workers say of themselves, in a file that all of them map.
pub struct Account {
    words: Words,
    next: AtomicUsize,
}

const WORKERS_MAX: usize = 4000;
const WORDS_EACH: usize = 8;

impl Account {
    pub fn make(path: &Path) -> Account {
        let file = File::create_new(path).unwrap();
        file.set_len((8 * WORDS_EACH * (WORKERS_MAX + 1)) as u64)
            .unwrap();
        Account {
            words: Words::map(path),
            next: AtomicUsize::new(0),
        }
    }

    /// Tells all workers to stop.
    pub fn stop(&self) {
        self.words.at(0).store(1, SeqCst);
    }

    /// Workers so far.
    pub fn workers(&self) -> usize {
        self.next.load(SeqCst)
    }

    pub fn of(&self, worker: usize) -> Line<'_> {
        self.words.line(worker)
    }

    /// Records of all workers whose call has returned.
    pub fn acknowledged(&self) -> u64 {
        (0..self.workers())
            .map(|worker| self.of(worker).acknowledged())
            .sum()
    }

    /// Records of all workers that were dropped.
    pub fn dropped(&self) -> u64 {
        (0..self.workers())
            .map(|worker| self.of(worker).dropped())
            .sum()
    }
}

/// The words of one worker.
pub struct Line<'a>(&'a Words, usize);

impl Line<'_> {
    fn word(&self, index: usize) -> &AtomicU64 {
        self.0.at(WORDS_EACH * (self.1 + 1) + index)
    }

    /// Number of the last record that was begun.
    pub fn begun(&self) -> u64 {
        self.word(0).load(SeqCst)
    }

    /// Number of the last record whose call has returned.
    pub fn acknowledged(&self) -> u64 {
        self.word(1).load(SeqCst)
    }

    /// Records that were dropped.
    pub fn dropped(&self) -> u64 {
        self.word(2).load(SeqCst)
    }

    /// How often a median was told.
    pub fn medians(&self) -> u64 {
        self.word(4).load(SeqCst)
    }

    /// The median of the times of the last [`Work::samples`] calls, in nanoseconds.
    pub fn median_ns(&self) -> u64 {
        self.word(5).load(SeqCst)
    }

    /// The longest call, in nanoseconds.
    pub fn longest_ns(&self) -> u64 {
        self.word(3).load(SeqCst)
    }
}

struct Words(MmapRaw);

impl Words {
    fn map(path: &Path) -> Words {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Words(MmapRaw::map_raw(&file).unwrap())
    }

    fn line(&self, worker: usize) -> Line<'_> {
        Line(self, worker)
    }

    fn at(&self, word: usize) -> &AtomicU64 {
        assert!(8 * word + 8 <= self.0.len());
        // SAFETY: the word lies within the mapping, which lives as long as `self`, begins at a page and is accessed by whole words only;
        // the file is never shortened.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().add(8 * word).cast()) }
    }
}

/// A record of a worker as an application would log it: `w3 n17 xxxx`.
pub fn line(worker: usize, number: u64, body_bytes: usize) -> Vec<u8> {
    let head = format!("w{worker} n{number} ");
    let body = head.clone() + &"x".repeat(body_bytes.saturating_sub(head.len()));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Encoder::new(Format::Json).line(&Record {
        time_ns: since.as_nanos() as u64,
        severity: Severity::INFO,
        level: "INFO",
        component: "shop.payments",
        message: body.into(),
        process: Some(std::process::id()),
        ..Record::default()
    })
}

/// The process that [`Worker::start`] starts; as a test of its own it does nothing.
#[test]
fn a_worker_logs_what_it_is_told() {
    let Ok(work) = std::env::var(VARIABLE) else {
        return;
    };
    let work: Work = serde_json::from_str(&work).unwrap();
    let log = Log::open(work.spool(), &work.options()).unwrap();
    let words = Words::map(&work.account);
    let begun = Instant::now();
    let (mut number, mut samples) = (0, Vec::new());
    while words.at(0).load(SeqCst) == 0 && (work.records == 0 || number < work.records) {
        number += 1;
        let line = words.line(work.number);
        samples.push(log_one(&log, &work, &line, number));
        if samples.len() > work.samples {
            let middle = samples.len() / 2;
            let (_, median, _) = samples.select_nth_unstable(middle);
            line.word(5).store(*median, SeqCst);
            line.word(4).fetch_add(1, SeqCst);
            samples.clear();
        }
        keep_pace(&work, number, begun);
    }
}

/// Nanoseconds of the last attempt.
fn log_one(log: &Log, work: &Work, line: &Line<'_>, number: u64) -> u64 {
    line.word(0).store(number, SeqCst);
    let text = self::line(work.number, number, work.body_bytes);
    loop {
        let before = Instant::now();
        let outcome = log.publish(Severity::INFO, &text);
        let took_ns = before.elapsed().as_nanos() as u64;
        line.word(3).fetch_max(took_ns, SeqCst);
        if let Outcome::Dropped(_) = outcome {
            line.word(2).fetch_add(1, SeqCst);
            if work.insists {
                std::thread::sleep(millis(1));
                continue;
            }
        }
        line.word(1).store(number, SeqCst);
        return took_ns;
    }
}

fn keep_pace(work: &Work, number: u64, begun: Instant) {
    if work.per_second > 0 {
        let due = Duration::from_secs_f64(number as f64 / work.per_second as f64);
        let ahead = due.saturating_sub(begun.elapsed());
        // Some at once, as requests come.
        if ahead > millis(5) {
            std::thread::sleep(ahead);
        }
    }
}
