//! How soon a rule counts: from the start of the command, as a person types it, to the next record of every worker.
//!
//! Sixteen forked workers that wait in a read of a socket: nothing wakes them, so the rule counts for all of them when the
//! domain's word has changed, and each is asked whether its next record obeys. Sixteen that never rest: they share the
//! processors with the command, and say themselves when they obey. The command is the one beside the interpreter.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use logboom::{Log, Severity};

use crate::contestants::options;
use crate::place::{Place, Spot};

/// Workers.
pub const WORKERS: usize = 16;
const DEBUG: Severity = Severity(5);
const COMPONENT: &str = "shop.pay.card";
/// An answer that takes longer never comes.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Times from the start of the command, in nanoseconds.
pub struct Effect {
    /// Until the rule counts, with workers that wait.
    pub waiting: Vec<u64>,
    /// Until the first of those that never rest obeys.
    pub busy_first: Vec<u64>,
    /// Until all of them do.
    pub busy_last: Vec<u64>,
}

/// Measures so many commands with workers that wait, and a fifth of that with workers that never rest.
pub fn measure(place: &Place, program: &Path, commands: usize) -> Result<Effect> {
    eprintln!("debug: how soon a rule counts");
    let waiting = while_they_wait(&place.spot()?, program, commands)?;
    let (busy_first, busy_last) = while_they_run(&place.spot()?, program, commands / 5)?;
    Ok(Effect {
        waiting,
        busy_first,
        busy_last,
    })
}

fn while_they_wait(spot: &Spot<'_>, program: &Path, commands: usize) -> Result<Vec<u64>> {
    let log = Log::open(spot.log(), &options(&spot.state(), true))?;
    let mut sockets = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let (ours, mut theirs) = pair()?;
        workers.push(Worker::fork(|| {
            let mut asked = [0];
            while theirs.read_exact(&mut asked).is_ok() {
                let _ = theirs.write_all(&[u8::from(obeys(&log))]);
            }
        }));
        sockets.push(ours);
    }
    let mut ask = || -> Result<usize> {
        let mut obeying = 0;
        for socket in &mut sockets {
            socket.write_all(b"?")?;
        }
        for socket in &mut sockets {
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
            obeying += usize::from(answer[0]);
        }
        Ok(obeying)
    };
    let mut took = Vec::new();
    for _ in 0..commands.max(2) {
        ensure!(ask()? == 0, "a worker obeys a rule that has ended");
        let generation = log.rules_generation();
        let (started, mut child) = command(program, spot)?;
        while log.rules_generation() == generation && started.elapsed() < ANSWER_MAX {
            std::hint::spin_loop();
        }
        took.push(started.elapsed().as_nanos() as u64);
        ensure!(ask()? == WORKERS, "a worker does not obey");
        ensure!(child.wait()?.success(), "the command has failed");
        end_all(&log);
    }
    Ok(took)
}

fn while_they_run(
    spot: &Spot<'_>,
    program: &Path,
    commands: usize,
) -> Result<(Vec<u64>, Vec<u64>)> {
    let log = Log::open(spot.log(), &options(&spot.state(), true))?;
    let (mut ours, theirs) = pair()?;
    ours.set_read_timeout(Some(ANSWER_MAX))?;
    let _workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            Worker::fork(|| {
                let mut before = false;
                loop {
                    let now = obeys(&log);
                    if now != before && (&theirs).write_all(b"!").is_err() {
                        break;
                    }
                    before = now;
                }
            })
        })
        .collect();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..commands.max(2) {
        let (started, mut child) = command(program, spot)?;
        let mut said = [0; WORKERS];
        ours.read_exact(&mut said[..1])?;
        first.push(started.elapsed().as_nanos() as u64);
        ours.read_exact(&mut said[1..])?;
        last.push(started.elapsed().as_nanos() as u64);
        ensure!(child.wait()?.success(), "the command has failed");
        end_all(&log);
        ours.read_exact(&mut said)?;
    }
    Ok((first, last))
}

fn pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().context("failed to make a pair of sockets")
}

fn obeys(log: &Log) -> bool {
    log.judge(COMPONENT, DEBUG, None).revealed
}

fn command(program: &Path, spot: &Spot<'_>) -> Result<(Instant, Child)> {
    let started = Instant::now();
    let mut command = Command::new(program);
    command.args(["level", "shop.pay=debug", "--log"]);
    command.arg(spot.log()).stdout(Stdio::null());
    let child = command
        .spawn()
        .with_context(|| format!("failed to start `{}`", program.display()))?;
    Ok((started, child))
}

fn end_all(log: &Log) {
    for rule in log.rules() {
        log.remove_rule(rule.number);
    }
}

/// A forked process. Dropped: killed.
struct Worker(libc::pid_t);

impl Worker {
    fn fork(work: impl FnOnce()) -> Worker {
        // SAFETY: this process has one thread, so the child may do anything; it ends with _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            work();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        }
        Worker(pid)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.0 > 0 {
            // SAFETY: ends the child of above and waits for it.
            unsafe {
                libc::kill(self.0, libc::SIGKILL);
                libc::waitpid(self.0, std::ptr::null_mut(), 0);
            }
        }
    }
}
