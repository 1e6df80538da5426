//! What happens to the log from outside the workers: rotations by hand, `mv` and `logrotate`, and the watch on the path.
//!
//! Both run in threads of this process beside the workers and end when told. Always holds: a rotation is noted with a time at
//! which it was complete for certain, never one that is too early, so that a record is called misplaced only when it is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::evaluate;
use super::family;
use super::record::Record;
use super::scenario::Rotation;
use crate::exit::{Context, Failure};

/// Time between two rotations from outside.
const PERIOD: Duration = Duration::from_millis(60);
/// Time between two looks at the path.
const LOOK: Duration = Duration::from_micros(500);

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of every time in this module and in the records.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// How far `CLOCK_REALTIME` is ahead of `CLOCK_MONOTONIC`, in nanoseconds.
#[must_use]
pub fn wall_ahead_ns() -> i128 {
    let wall = clock_gettime(ClockId::Realtime);
    i128::from(wall.tv_sec) * 1_000_000_000 + i128::from(wall.tv_nsec) - i128::from(now_ns())
}

/// Whether `logrotate` can be run on this machine.
#[must_use]
pub fn has_logrotate() -> bool {
    let mut command = Command::new("logrotate");
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Rotates from outside until `stop` is set (or `count_max` is reached); gives the rotations that were complete.
///
/// # Errors
/// A command cannot be run.
pub fn rotate(
    rotation: Rotation,
    log: &Path,
    account: &Account,
    count_max: u64,
    stop: &AtomicBool,
) -> Result<Vec<evaluate::Rotation>, Failure> {
    let tools = Tools::new(rotation, log)?;
    let mut done = Vec::new();
    for count in 1..=count_max {
        std::thread::sleep(PERIOD.mul_f64(0.5 + fastrand::f64()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match rotation {
            Rotation::Hand => account
                .ask_rotation(count)
                .or_failed("ask for", "a rotation")?,
            Rotation::Move => done.extend(tools.by_mv(count)?),
            Rotation::LogrotateCreate | Rotation::LogrotateCopy => {
                done.extend(tools.by_logrotate()?)
            }
            Rotation::Never | Rotation::Size | Rotation::Time => break,
        }
    }
    Ok(done)
}

struct Tools {
    log: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

impl Tools {
    fn new(rotation: Rotation, log: &Path) -> Result<Self, Failure> {
        let directory = log
            .parent()
            .and_then(Path::parent)
            .unwrap_or(Path::new("."));
        let tools = Self {
            log: log.to_owned(),
            config: directory.join("logrotate.conf"),
            state: directory.join("logrotate.state"),
        };
        let how = if rotation == Rotation::LogrotateCopy {
            "copytruncate"
        } else {
            "create"
        };
        let text = format!(
            "\"{}\" {{\n  rotate 100000\n  {how}\n  missingok\n  notifempty\n}}\n",
            log.display()
        );
        fs::write(&tools.config, text).or_failed("write", tools.config.display())?;
        Ok(tools)
    }

    fn by_mv(&self, count: u64) -> Result<Option<evaluate::Rotation>, Failure> {
        let mut name = self.log.clone().into_os_string();
        name.push(format!(".moved-{count:06}"));
        let mut command = Command::new("mv");
        self.run(command.arg("--no-clobber").arg(&self.log).arg(name))
    }

    fn by_logrotate(&self) -> Result<Option<evaluate::Rotation>, Failure> {
        let mut command = Command::new("logrotate");
        self.run(
            command
                .arg("--force")
                .arg("--state")
                .arg(&self.state)
                .arg(&self.config),
        )
    }

    /// Runs a command that rotates; the rotation is complete when the command has ended.
    fn run(&self, command: &mut Command) -> Result<Option<evaluate::Rotation>, Failure> {
        let Some(before) = inode(&self.log) else {
            return Ok(None);
        };
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command
            .stdin(Stdio::null())
            .output()
            .or_failed("run", &program)?;
        let complete_ns = now_ns();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // The workers may have had no file at this path at this moment.
            return if said.contains("No such file") {
                Ok(None)
            } else {
                Err(said).or_failed("rotate with", &program)
            };
        }
        let rotated = inode(&self.log) != Some(before);
        Ok(rotated.then_some(evaluate::Rotation {
            complete_ns,
            inode: before,
            first: None,
        }))
    }
}

pub(super) fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|facts| facts.ino())
}

/// Looks at the log's path until `stop` is set. Each file that was replaced there is noted with the time at which its successor
/// was seen, and with its first record; `rotated` is set at the first.
pub fn watch(log: &Path, stop: &AtomicBool, rotated: &AtomicBool) -> Vec<evaluate::Rotation> {
    let mut replaced = Vec::new();
    let mut current: Option<(u64, File)> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(new) = inode(log)
            && current.as_ref().is_none_or(|(inode, _)| *inode != new)
        {
            let complete_ns = now_ns();
            if let Some((inode, file)) = current.take() {
                rotated.store(true, Ordering::Relaxed);
                replaced.push(evaluate::Rotation {
                    complete_ns,
                    inode,
                    first: first_record(file).ok().flatten(),
                });
            }
            current = File::open(log)
                .ok()
                .and_then(|file| Some((file.metadata().ok()?.ino(), file)));
        }
        std::thread::sleep(LOOK);
    }
    replaced
}

fn first_record(file: File) -> io::Result<Option<Record>> {
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(family::first_record(&bytes))
}

/// What a worker notes, as a line of JSON, when its call of `doRollover()` has returned.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    pub complete_ns: u64,
    pub inode: u64,
}

/// Reads the rotations that workers noted when their call of `doRollover()` had returned.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_notes(path: &Path) -> io::Result<Vec<evaluate::Rotation>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    // A worker killed while it noted leaves half a line: that rotation is not known to be complete.
    let notes = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Note>(line).ok());
    Ok(notes
        .map(|note| evaluate::Rotation {
            complete_ns: note.complete_ns,
            inode: note.inode,
            first: None,
        })
        .collect())
}
