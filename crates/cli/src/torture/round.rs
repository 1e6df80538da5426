//! One round: a fresh log directory, workers that write into it, rotations and strain, a quiet end, the evaluation.
//!
//! Always holds: the round ends. It ends when its time, its records, its bytes or its kills are reached, or when a worker has
//! acknowledged no record for [`QUIET_MAX`]; workers that do not end within [`END_MAX`] after they were told are killed, and the
//! round says that they hung.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logboom::DropReason;
use serde::Serialize;
use serde_json::{Value, json};

use super::account::{Account, Words};
use super::chaos::Chaos;
use super::crew::{Crew, Ended, Launch, Worker};
use super::evaluate::{self, Expectation, Findings};
use super::outside;
use super::quota::Quota;
use super::scenario::{Case, Rotation, Start, Strain, Victim};
use crate::exit::{Context, Failure};

/// Longest time without an acknowledged record of a worker.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// Longest time from the word to end until all workers have ended.
const END_MAX: Duration = Duration::from_secs(30);
/// Longest time of a round that ends by kills or records.
const ROUND_MAX: Duration = Duration::from_secs(300);
/// How long a round waits for its first rotation after its last kill.
const ROTATED_MAX: Duration = Duration::from_secs(10);
/// Most kills in one round, so that its files stay few.
const KILLS_MAX: u32 = 400;
const GROUP_KILLS_MAX: u32 = 40;

/// What is run: the handler and how it is made.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Program and script.
    pub command: Vec<PathBuf>,
    /// The handler class's dotted name.
    pub class: String,
    /// Constructor arguments besides the ones that the scenario needs.
    pub extra: BTreeMap<String, Value>,
    /// Set when the user wants to end.
    pub interrupted: Arc<AtomicBool>,
}

/// How a round went.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Outcome {
    /// What the evaluator found.
    pub findings: Findings,
    /// What the workers' accounts say, summed up.
    pub handler_errors: u64,
    /// Records that logboom's own ledger says were dropped by the policy of a full queue; 0 for other handlers.
    pub dropped: u64,
    /// Bytes of the acknowledged records.
    pub bytes: u64,
    /// Kills done.
    pub kills: u32,
    /// Kills that hit the lease holder.
    pub holder_kills: u32,
    /// Rotations of which the time of completion is known.
    pub rotations: u64,
    /// From the first start to the word to end, in seconds.
    pub elapsed_s: f64,
    /// Why the round ended.
    pub ended: &'static str,
    /// What else went wrong: workers that died by themselves or hung.
    pub troubles: Vec<String>,
}

/// Runs one round of the case in `directory`, with at most `kills_left` kills.
///
/// # Errors
/// The round could not be run or evaluated.
pub fn run(
    case: &Case,
    subject: &Subject,
    directory: &Path,
    kills_left: u32,
    progress: &dyn Fn(&Words, u32),
) -> Result<Outcome, Failure> {
    let kills_max = match case.kills {
        Some((Victim::Group, _)) => kills_left.min(GROUP_KILLS_MAX),
        _ => kills_left.min(KILLS_MAX),
    };
    let spawns_max = case.process_count
        * (2 + if matches!(case.kills, Some((Victim::Group, _))) {
            kills_max
        } else {
            0
        })
        + kills_max;
    let log = directory.join("log").join("app.log");
    fs::create_dir_all(directory.join("log")).or_failed("make", directory.display())?;
    let account = Account::create(&directory.join("account"), spawns_max, case.thread_count);
    let account = account.or_failed("make", directory.join("account").display())?;
    let config = directory.join("config.json");
    fs::write(
        &config,
        configuration(case, subject, directory, &log).to_string(),
    )
    .or_failed("write", config.display())?;

    let mut command = subject.command.clone();
    command.push(config);
    let quota = if case.scenario.strain == Strain::Quota {
        Quota::new().ok()
    } else {
        None
    };
    let launch = Launch {
        command,
        directory: directory.to_owned(),
        start: case.start,
    };
    let crew = Crew::new(launch)?;
    let chaos = Chaos::new(case, kills_max, quota, &log);
    let round = Round {
        case,
        account: &account,
        crew,
        chaos,
        past: Words::default(),
        heard: HashMap::new(),
        over: None,
        interrupted: &subject.interrupted,
        rotated: Arc::default(),
        outcome: Outcome::default(),
    };
    round.run(directory, &log, progress)
}

fn configuration(case: &Case, subject: &Subject, directory: &Path, log: &Path) -> Value {
    let (bytes_per_s, burst) = case.pace().unwrap_or((0, 0));
    let mut arguments = json!({ "backupCount": case.backup_count() });
    if let Some(bytes_max) = case.bytes_max() {
        arguments["maxBytes"] = bytes_max.into();
    }
    if case.scenario.rotation == Rotation::Time {
        arguments["when"] = "S".into();
        arguments["interval"] = 1.into();
    }
    json!({
        "class": subject.class,
        "log": log,
        "arguments": arguments,
        "extra": subject.extra,
        "account": directory.join("account"),
        "rotations": directory.join("rotations.jsonl"),
        "threads": case.thread_count,
        "size": [case.size.0, case.size.1],
        "records": case.record_count,
        "bytes_per_s": bytes_per_s,
        "burst": burst,
        "by_hand": case.scenario.rotation == Rotation::Hand,
        "rollover_first": case.scenario.rollover_first,
        "preload": case.preload && case.start == Start::Fork,
        "seed": fastrand::u32(..),
    })
}

struct Round<'a> {
    case: &'a Case,
    account: &'a Account,
    crew: Crew,
    chaos: Chaos,
    /// The sum over the workers that have ended.
    past: Words,
    /// Of each worker, when its last acknowledged record was noticed, and how many it had.
    heard: HashMap<u32, (Instant, u64)>,
    /// Why the round is over, once it is.
    over: Option<&'static str>,
    interrupted: &'a AtomicBool,
    /// Set when the log has been rotated for the first time.
    rotated: Arc<AtomicBool>,
    outcome: Outcome,
}

impl Round<'_> {
    fn run(
        mut self,
        directory: &Path,
        log: &Path,
        progress: &dyn Fn(&Words, u32),
    ) -> Result<Outcome, Failure> {
        let stop = AtomicBool::new(false);
        let rotated = Arc::clone(&self.rotated);
        let (rotation, account) = (self.case.scenario.rotation, self.account);
        let count_max = self.case.backup_count() / 2;
        // Only what ran in the scope's threads is borrowed by them; workers are started from this thread, whose death they would follow.
        let (ended, by_us, seen) = std::thread::scope(|scope| {
            let rotator = scope.spawn(|| outside::rotate(rotation, log, account, count_max, &stop));
            let watcher = scope.spawn(|| outside::watch(log, &stop, &rotated));
            let ended = self.write(progress);
            stop.store(true, Ordering::Relaxed);
            (ended, rotator.join(), watcher.join())
        });
        ended?;
        let broken = |_| Failure::could_not_run("failed to rotate `log`: a thread panicked");
        let (by_us, seen) = (by_us.map_err(broken)??, seen.map_err(broken)?);
        self.evaluate(directory, log, rotations(rotation, directory, by_us, seen)?)
    }

    /// Writes until an end is reached, then tells all workers to end and awaits them.
    fn write(&mut self, progress: &dyn Fn(&Words, u32)) -> Result<(), Failure> {
        let started = Instant::now();
        for worker in 0..self.case.process_count {
            self.crew.start(worker)?;
        }
        self.outcome.ended = loop {
            if let Some(why) = self.step(started, progress)? {
                break why;
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        self.outcome.elapsed_s = started.elapsed().as_secs_f64();
        self.chaos.end(&mut self.crew);
        self.account.stop().or_failed("write", "account")?;
        let (ended, all) = self.crew.await_end(END_MAX);
        self.note(&ended, 0)?;
        if !all {
            self.outcome.troubles.push(format!(
                "{} workers hung: they had not ended {END_MAX:?} after they were told",
                self.crew.workers.len()
            ));
            let hung = self.crew.kill_group()?;
            self.note(&hung, 0)?;
        }
        Ok(())
    }

    /// One turn of the loop; gives the reason when the round is over.
    fn step(
        &mut self,
        started: Instant,
        progress: &dyn Fn(&Words, u32),
    ) -> Result<Option<&'static str>, Failure> {
        let mut ended = self.crew.reap();
        ended.extend(self.chaos.tick(&mut self.crew, self.account)?);
        self.note(&ended, self.case.record_count)?;
        if !self.outcome.troubles.is_empty() {
            return Ok(Some("trouble"));
        }
        for worker in ended.iter().filter(|ended| ended.worker.killed) {
            self.crew.start(worker.worker.worker)?;
        }
        if let Some(silent) = self.silent()? {
            self.outcome.troubles.push(silent);
            return Ok(Some("trouble"));
        }
        let now = self.words()?;
        progress(&now, self.chaos.kills);
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::could_not_run(
                "failed to finish `torture`: interrupted",
            ));
        }
        self.over = self.over.or_else(|| self.end(&now, started.elapsed()));
        if self.over.is_some() {
            self.chaos.cease_kills();
        }
        let settled = self.case.kills.is_none() || self.all_write();
        Ok(self.over.filter(|_| settled))
    }

    /// Why the round is over, if it is.
    fn end(&self, now: &Words, time: Duration) -> Option<&'static str> {
        let case = self.case;
        let in_place = [Rotation::Never, Rotation::LogrotateCopy].contains(&case.scenario.rotation);
        let rotated = in_place || self.rotated.load(Ordering::Relaxed) || time > ROTATED_MAX;
        if self.chaos.kills_done() && rotated {
            Some("kills")
        } else if self.crew.workers.is_empty() {
            Some("records")
        } else if now.bytes >= case.budget {
            Some("budget")
        } else if time > ROUND_MAX {
            Some("time")
        } else if case.kills.is_none() && time.as_millis() >= u128::from(case.duration_ms) {
            Some("duration")
        } else {
            None
        }
    }

    /// After the last kill each worker writes again, so that what a dead one left behind is taken over.
    fn all_write(&self) -> bool {
        let writes = |worker: &Worker| {
            let words = self.account.process(worker.spawn);
            !worker.killed && words.is_ok_and(|words| words.acknowledged > 0)
        };
        let workers = &self.crew.workers;
        (workers.len() == self.case.process_count as usize && workers.iter().all(writes))
            || (workers.is_empty() && self.case.record_count > 0)
    }

    /// Says which worker has acknowledged nothing for too long.
    fn silent(&mut self) -> Result<Option<String>, Failure> {
        for worker in &self.crew.workers {
            let acknowledged = self
                .account
                .process(worker.spawn)
                .or_failed("read", "account")?
                .acknowledged;
            let (since, before) = self
                .heard
                .entry(worker.spawn)
                .or_insert((Instant::now(), acknowledged));
            if acknowledged != *before {
                (*since, *before) = (Instant::now(), acknowledged);
            } else if since.elapsed() > QUIET_MAX {
                let (who, pid) = (
                    format!("{}.{}", worker.worker, worker.incarnation),
                    worker.pid.as_raw_nonzero(),
                );
                let said = self.crew.complaints();
                return Ok(Some(format!(
                    "worker {who} (process {pid}) hangs: it acknowledged no record for {QUIET_MAX:?}; they said:\n{said}"
                )));
            }
        }
        Ok(None)
    }

    fn words(&self) -> Result<Words, Failure> {
        let mut sum = self.past;
        for worker in &self.crew.workers {
            sum.add(
                self.account
                    .process(worker.spawn)
                    .or_failed("read", "account")?,
            );
        }
        Ok(sum)
    }

    /// Books the workers that have ended; one that ended by itself before its records were written is a trouble.
    fn note(&mut self, ended: &[Ended], record_count: u64) -> Result<(), Failure> {
        let stopping = self.outcome.elapsed_s > 0.0;
        for Ended { worker, status } in ended {
            let words = self
                .account
                .process(worker.spawn)
                .or_failed("read", "account")?;
            self.past.add(words);
            let all = record_count * u64::from(self.case.thread_count);
            let expected =
                *status == Some(0) && (stopping || (record_count > 0 && words.acknowledged == all));
            if !worker.killed && !expected {
                let how = match status {
                    Some(code) if *code < 0 => format!("by signal {}", -code),
                    Some(code) => format!("with exit code {code}"),
                    None => "in an unknown way".to_owned(),
                };
                let said = self.crew.complaints();
                self.outcome.troubles.push(format!(
                    "worker {}.{} ended {how}; it said:\n{said}",
                    worker.worker, worker.incarnation
                ));
            }
        }
        Ok(())
    }

    fn evaluate(
        mut self,
        directory: &Path,
        log: &Path,
        rotations: Vec<evaluate::Rotation>,
    ) -> Result<Outcome, Failure> {
        let mut accounts = Vec::new();
        for &(spawn, worker, incarnation) in &self.crew.spawned {
            accounts.extend(
                self.account
                    .expected(spawn, worker, incarnation)
                    .or_failed("read", "account")?,
            );
        }
        self.outcome.rotations = rotations.len() as u64;
        let expected = Expectation {
            accounts,
            rotations,
            bytes_max: self.case.bytes_max(),
            wall_ahead_ns: outside::wall_ahead_ns(),
        };
        self.outcome.findings =
            evaluate::evaluate(log, &expected).or_failed("evaluate", directory.display())?;
        self.outcome.handler_errors = self.past.errors;
        self.outcome.dropped = logboom::status::status(log)
            .map_or(0, |status| status.ledger.dropped[DropReason::Full as usize]);
        self.outcome.bytes = self.past.bytes;
        self.outcome.kills = self.chaos.kills;
        self.outcome.holder_kills = self.chaos.holder_kills;
        let archives = self.outcome.findings.archives;
        if archives >= self.case.backup_count() {
            self.outcome.troubles.push(format!(
                "{archives} archives: retention may have deleted evidence"
            ));
        }
        if archives == 0
            && self.case.scenario.rotation != Rotation::Never
            && self.outcome.troubles.is_empty()
        {
            self.outcome.troubles.push(
                "the log was never rotated: this round proves nothing; let it write more"
                    .to_owned(),
            );
        }
        Ok(self.outcome)
    }
}

/// The rotations whose completion is known: for one by the handler, its successor was seen at the path; for one by hand, the
/// call had returned; for one from outside, the command had ended.
fn rotations(
    rotation: Rotation,
    directory: &Path,
    by_us: Vec<evaluate::Rotation>,
    seen: Vec<evaluate::Rotation>,
) -> Result<Vec<evaluate::Rotation>, Failure> {
    let path = directory.join("rotations.jsonl");
    let mut known = outside::read_notes(&path).or_failed("read", path.display())?;
    known.extend(by_us);
    // A file that is later compressed is known by its first record, which the watch has seen.
    for rotation in &mut known {
        rotation.first = seen
            .iter()
            .find(|seen| seen.inode == rotation.inode)
            .and_then(|seen| seen.first);
    }
    if matches!(rotation, Rotation::Size | Rotation::Time) {
        known.extend(seen);
    }
    Ok(known)
}
