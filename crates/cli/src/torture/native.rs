//! The worker of `torture --native`: the same as `_torture.py`, in Rust, through the crate `logboom` itself.
//!
//! As a master it forks a worker for each line on standard input, as a worker it writes records; the configuration, the account and
//! what is said on standard output are those of the Python worker. Always holds: the master has one thread, so that a forked
//! worker finds every lock free; `begun` is stored before the publishing call and `acknowledged` after it.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logboom::{Log, LogOptions, Outcome, RotateOutcome, Schedule, Severity, When};
use memmap2::MmapRaw;
use rustix::process::{
    Pid, Signal, WaitOptions, getppid, set_parent_process_death_signal, waitpid,
};
use serde::Deserialize;

use super::account::{FIRST, ROTATE, STOP, STRIDE};
use super::outside::{Note, inode, now_ns};
use super::record::{Record, Source};
use crate::exit::{Context, Failure};

const ROTATE_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
struct Config {
    log: PathBuf,
    arguments: Arguments,
    account: PathBuf,
    rotations: PathBuf,
    threads: u32,
    size: (u32, u32),
    records: u64,
    bytes_per_s: u64,
    burst: u64,
    by_hand: bool,
    rollover_first: bool,
    preload: bool,
    seed: u64,
}

/// The arguments of the standard library's handlers that scenarios use.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    backup_count: u32,
    #[serde(default)]
    max_bytes: u64,
    when: Option<String>,
}

/// Which worker this process is: worker, incarnation, number of the process in its round.
type Numbers = [u32; 3];

/// Is the master, or with `numbers` one worker.
///
/// # Errors
/// The configuration cannot be read, or the log cannot be opened.
pub fn run(config: &Path, numbers: &[u32]) -> Result<(), Failure> {
    let parent = getppid();
    let text = std::fs::read_to_string(config).or_failed("read", config.display())?;
    let config: Config = serde_json::from_str(&text).or_failed("read", config.display())?;
    let words = Words::map(&config.account).or_failed("map", config.account.display())?;
    die_with(parent);
    match *numbers {
        [worker, incarnation, spawn] => work(&config, &words, None, [worker, incarnation, spawn]),
        _ => fork_workers(&config, &words),
    }
}

fn fork_workers(config: &Config, words: &Words) -> Result<(), Failure> {
    let log = if config.preload {
        Some(open(config)?)
    } else {
        None
    };
    say("ready")?;
    let mut children: Vec<(Pid, u32)> = Vec::new();
    let mut pending = Vec::new();
    while let Some(text) = input().or_failed("read", "standard input")? {
        pending.extend(text);
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let numbers = numbers(&line)
                .ok_or("it is no order")
                .or_failed("understand", "standard input")?;
            match fork().or_failed("fork", "worker")? {
                None => be_child(config, words, log.as_ref(), numbers),
                Some(pid) => {
                    say(&format!("started {} {}", numbers[2], pid.as_raw_nonzero()))?;
                    children.push((pid, numbers[2]));
                }
            }
        }
        reap(&mut children)?;
    }
    Ok(())
}

/// What has arrived on standard input within 10 ms; `None` at its end.
fn input() -> io::Result<Option<Vec<u8>>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut stdin = io::stdin().lock();
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&wait))? == 0 {
        return Ok(Some(Vec::new()));
    }
    let text = stdin.fill_buf()?.to_vec();
    stdin.consume(text.len());
    Ok(if text.is_empty() { None } else { Some(text) })
}

fn numbers(line: &[u8]) -> Option<Numbers> {
    let mut words = str::from_utf8(line)
        .ok()?
        .split_whitespace()
        .map(str::parse);
    Some([
        words.next()?.ok()?,
        words.next()?.ok()?,
        words.next()?.ok()?,
    ])
}

fn reap(children: &mut Vec<(Pid, u32)>) -> Result<(), Failure> {
    while !children.is_empty() {
        let Some((pid, status)) =
            waitpid(None, WaitOptions::NOHANG).or_failed("await", "worker")?
        else {
            break;
        };
        if let Some(index) = children.iter().position(|(child, _)| *child == pid) {
            let (_, spawn) = children.swap_remove(index);
            let code = status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|signal| -signal));
            say(&format!("ended {spawn} {}", code.unwrap_or(-1)))?;
        }
    }
    Ok(())
}

fn say(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")
        .and_then(|()| output.flush())
        .or_failed("write", "standard output")
}

fn be_child(config: &Config, words: &Words, log: Option<&Log>, numbers: Numbers) -> ! {
    die_with(words.owner);
    let outcome = work(config, words, log, numbers);
    if let Err(failure) = &outcome {
        eprintln!("{failure}");
    }
    process::exit(i32::from(outcome.is_err()));
}

/// Has the kernel kill this process when its parent dies, and looks whether it already has.
fn die_with(parent: Option<Pid>) {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != parent {
        process::exit(1);
    }
}

fn open(config: &Config) -> Result<Log, Failure> {
    let arguments = &config.arguments;
    let options = LogOptions {
        max_bytes: arguments.max_bytes,
        backup_count: arguments.backup_count,
        schedule: arguments
            .when
            .as_ref()
            .map(|_| Schedule::every(When::Second)),
        ..LogOptions::default()
    };
    let log = Log::open(&config.log, &options).or_failed("open", config.log.display())?;
    if config.rollover_first {
        rotate(config, &log)?;
    }
    Ok(log)
}

/// Rotates by hand; notes when the call had returned and which file was rotated out.
fn rotate(config: &Config, log: &Log) -> Result<(), Failure> {
    let before = inode(&config.log);
    let outcome = log
        .rotate(ROTATE_WAIT)
        .or_failed("rotate", config.log.display())?;
    let complete_ns = now_ns();
    if let (RotateOutcome::Rotated, Some(inode_before)) = (outcome, before)
        && inode(&config.log) != before
    {
        let note = Note {
            complete_ns,
            inode: inode_before,
        };
        let line = serde_json::to_string(&note).or_failed("describe", "a rotation")? + "\n";
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(&config.rotations)
            .or_failed("open", config.rotations.display())?;
        file.write_all(line.as_bytes())
            .or_failed("write", config.rotations.display())?;
    }
    Ok(())
}

fn work(
    config: &Config,
    words: &Words,
    log: Option<&Log>,
    numbers: Numbers,
) -> Result<(), Failure> {
    let own = if log.is_none() {
        Some(open(config)?)
    } else {
        None
    };
    let log = log
        .or(own.as_ref())
        .ok_or("there is none")
        .or_failed("write to", "log")?;
    std::thread::scope(|scope| {
        let write = |thread| move || Writer::new(config, words, log, numbers, thread).write();
        let threads: Vec<_> = (0..config.threads)
            .map(|thread| scope.spawn(write(thread)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| {
                Failure::could_not_run("failed to write `records`: a thread panicked")
            })?
        })
    })
}

/// One thread that writes.
struct Writer<'a> {
    config: &'a Config,
    words: &'a Words,
    log: &'a Log,
    source: Source,
    slot: u64,
    choose: fastrand::Rng,
}

impl<'a> Writer<'a> {
    fn new(
        config: &'a Config,
        words: &'a Words,
        log: &'a Log,
        [worker, incarnation, spawn]: Numbers,
        thread: u32,
    ) -> Self {
        let source = Source {
            worker,
            incarnation,
            thread,
        };
        let slot =
            FIRST + STRIDE * (u64::from(spawn) * u64::from(config.threads) + u64::from(thread));
        Self {
            config,
            words,
            log,
            source,
            slot,
            choose: fastrand::Rng::with_seed(config.seed << 20 | slot),
        }
    }

    fn write(mut self) -> Result<(), Failure> {
        let config = self.config;
        let rotates = self.source.worker == 0 && self.source.thread == 0 && config.by_hand;
        let (mut rotated, mut sent, started_ns) = (self.words.load(ROTATE), 0, now_ns());
        let text: Vec<u8> = (0..1 << 17)
            .map(|_| self.choose.alphanumeric() as u8)
            .collect();
        for number in 0.. {
            if self.words.load(STOP) != 0 || (config.records > 0 && number >= config.records) {
                break;
            }
            if rotates && self.words.load(ROTATE) != rotated {
                rotated = self.words.load(ROTATE);
                rotate(config, self.log)?;
            }
            sent += self.record(number, &text) as u64;
            self.words.store(self.slot + 1, number + 1);
            self.words.store(self.slot + 2, sent);
            self.keep_pace(sent, started_ns);
        }
        Ok(())
    }

    /// Publishes one record; gives its length.
    fn record(&mut self, number: u64, text: &[u8]) -> usize {
        const HEAD_LEN: usize = 60;
        let (small, large) = (f64::from(self.config.size.0), f64::from(self.config.size.1));
        let size = (small * (large / small).powf(self.choose.f64())) as usize;
        let start = self.choose.usize(..1 << 16);
        self.words.store(self.slot, number + 1);
        let record = Record {
            source: self.source,
            number,
            begun_ns: now_ns(),
        };
        let mut line = record.line(&text[start..start + size.saturating_sub(HEAD_LEN).max(1)]);
        line.push(b'\n');
        if let Outcome::Dropped(reason) = self.log.publish(Severity::INFO, &line) {
            let errors = self.words.add(self.slot + 3, 1);
            if errors == 0 {
                eprintln!("{record}: dropped: {}", reason.name());
            }
        }
        line.len()
    }

    fn keep_pace(&self, sent: u64, started_ns: u64) {
        let rate = self.config.bytes_per_s as f64;
        if rate > 0.0 {
            let due_s = sent.saturating_sub(self.config.burst) as f64 / rate;
            let ahead_s = due_s - (now_ns() - started_ns) as f64 / 1e9;
            if ahead_s > 0.0 {
                std::thread::sleep(Duration::from_secs_f64(ahead_s.min(0.05)));
            }
        }
    }
}

/// The shared account, mapped.
struct Words {
    map: MmapRaw,
    /// The process that mapped it: the parent of the workers it forks.
    owner: Option<Pid>,
}

impl Words {
    fn map(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self {
            map: MmapRaw::map_raw(&file)?,
            owner: Some(rustix::process::getpid()),
        })
    }

    fn load(&self, word: u64) -> u64 {
        self.word(word).load(Ordering::Relaxed)
    }

    /// ORDERING: release, so that the store is not moved before the publishing call it follows; the reader is another process
    /// that reads the file after this one is dead or idle.
    fn store(&self, word: u64, value: u64) {
        self.word(word).store(value, Ordering::Release);
    }

    fn add(&self, word: u64, value: u64) -> u64 {
        self.word(word).fetch_add(value, Ordering::Relaxed)
    }

    #[allow(unsafe_code, reason = "a word of a mapping that other processes share")]
    fn word(&self, word: u64) -> &AtomicU64 {
        let offset = word as usize * 8;
        assert!(
            offset + 8 <= self.map.len(),
            "the account has no word {word}"
        );
        // SAFETY: the word lies within the mapping, which lives as long as `self` and begins at a page, so the address is aligned;
        // all processes access it by whole words only; the file is never shortened.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }
}

/// Forks; `None` in the child.
#[allow(unsafe_code, reason = "fork(2)")]
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the master has one thread, so the child finds every lock free and may do what its parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}
