//! The worker processes of one round: starting, killing, stopping and awaiting them.
//!
//! All of them are in one process group, whose first member (the anchor, a `cat` that reads from us) does nothing, so that the group
//! exists even when no worker does. With [`Start::Fork`] a master process forks the workers on request; with [`Start::Spawn`] each
//! is a child of ours. Always holds: a signal is sent through a pidfd, never to a number that may belong to somebody else by now;
//! every wait has a limit; all processes end when this one does (PR_SET_PDEATHSIG in the workers, end of input for master and anchor).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use super::scenario::Start;
use crate::exit::{Context, Failure};

/// Longest wait for a process to start or, once killed, to be gone.
const START_MAX: Duration = Duration::from_secs(30);

/// How workers are run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program and its first arguments; a master gets no more, a worker its three numbers.
    pub command: Vec<PathBuf>,
    /// Where they run, and where their standard error goes (`stderr.txt`).
    pub directory: PathBuf,
    /// How workers start.
    pub start: Start,
}

/// One worker process.
#[derive(Debug)]
pub struct Worker {
    /// Which worker it is.
    pub worker: u32,
    /// How often that worker had been restarted.
    pub incarnation: u32,
    /// The how-many-th process of the round it is.
    pub spawn: u32,
    /// Its process id.
    pub pid: Pid,
    /// True when we have killed it.
    pub killed: bool,
    handle: OwnedFd,
    child: Option<Child>,
}

/// The worker processes of one round.
#[derive(Debug)]
pub struct Crew {
    launch: Launch,
    anchor: Child,
    /// False between the end of one group and the start of the next.
    anchored: bool,
    master: Option<Master>,
    /// The living workers.
    pub workers: Vec<Worker>,
    /// Every (spawn, worker, incarnation) so far.
    pub spawned: Vec<(u32, u32, u32)>,
}

/// How a worker came to its end.
#[derive(Debug)]
pub struct Ended {
    /// The worker.
    pub worker: Worker,
    /// Its exit code, or minus the signal's number; `None` when nobody could tell (its master was killed with it).
    pub status: Option<i32>,
}

impl Crew {
    /// Makes the group, and the master where there is one.
    ///
    /// # Errors
    /// A process cannot be started, or the master does not get ready.
    pub fn new(launch: Launch) -> Result<Self, Failure> {
        let anchor = anchor()?;
        let mut crew = Self {
            launch,
            anchor,
            anchored: true,
            master: None,
            workers: Vec::new(),
            spawned: Vec::new(),
        };
        crew.start_master()?;
        Ok(crew)
    }

    /// Starts the next incarnation of a worker.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, worker: u32) -> Result<(), Failure> {
        let spawn = self.spawned.len() as u32;
        let incarnation = self
            .spawned
            .iter()
            .filter(|(_, of, _)| *of == worker)
            .count() as u32;
        self.spawned.push((spawn, worker, incarnation));
        let numbers = [worker, incarnation, spawn];
        let (pid, child) = match &mut self.master {
            Some(master) => (master.start(numbers)?, None),
            None => {
                let mut command = self.command()?;
                let child = command
                    .args(numbers.map(|number| number.to_string()))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null());
                let child = child
                    .spawn()
                    .or_failed("start", self.launch.command[0].display())?;
                (Pid::from_child(&child), Some(child))
            }
        };
        // A worker that ended at once is gone before we can watch it: its master tells.
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(_) => return Err(self.died_at_once()),
        };
        self.workers.push(Worker {
            worker,
            incarnation,
            spawn,
            pid,
            killed: false,
            handle,
            child,
        });
        Ok(())
    }

    /// Takes the workers that have ended out of the crew.
    pub fn reap(&mut self) -> Vec<Ended> {
        let (mut ended, mut index) = (Vec::new(), 0);
        while index < self.workers.len() {
            if self.workers[index].ended() {
                let mut worker = self.workers.swap_remove(index);
                let status = match (&mut worker.child, &mut self.master) {
                    (None, _) if worker.killed => None,
                    (Some(child), _) => child
                        .wait()
                        .ok()
                        .and_then(|s| s.code().or_else(|| s.signal().map(|signal| -signal))),
                    (None, Some(master)) => master.status(worker.spawn),
                    (None, None) => None,
                };
                ended.push(Ended { worker, status });
            } else {
                index += 1;
            }
        }
        ended
    }

    /// Kills every process of the group at once, and makes a new group; gives the workers that were killed.
    ///
    /// # Errors
    /// A process survives, or the new group cannot be started.
    pub fn kill_group(&mut self) -> Result<Vec<Ended>, Failure> {
        self.end_group()?;
        let ended = self.reap_all()?;
        self.anchor = anchor()?;
        self.anchored = true;
        self.start_master()?;
        Ok(ended)
    }

    /// Waits until all workers have ended by themselves; false when some had not after `wait`.
    pub fn await_end(&mut self, wait: Duration) -> (Vec<Ended>, bool) {
        let deadline = Instant::now() + wait;
        let mut ended = self.reap();
        while !self.workers.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            ended.extend(self.reap());
        }
        (ended, self.workers.is_empty())
    }

    /// What the workers wrote to standard error, its beginning.
    #[must_use]
    pub fn complaints(&self) -> String {
        let text = std::fs::read(self.launch.directory.join("stderr.txt")).unwrap_or_default();
        String::from_utf8_lossy(&text[..text.len().min(2000)])
            .trim()
            .to_owned()
    }

    fn died_at_once(&self) -> Failure {
        Failure::could_not_run(format!(
            "failed to start `worker`: it ended at once; it said:\n{}",
            self.complaints()
        ))
    }

    fn start_master(&mut self) -> Result<(), Failure> {
        if self.launch.start == Start::Fork {
            let command = self.command()?;
            self.master = Some(Master::start_in(command).map_err(|cause| {
                Failure::could_not_run(format!(
                    "failed to start `master`: {cause}; it said:\n{}",
                    self.complaints()
                ))
            })?);
        }
        Ok(())
    }

    fn command(&self) -> Result<Command, Failure> {
        let path = self.launch.directory.join("stderr.txt");
        let errors = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .or_failed("open", path.display())?;
        let mut command = Command::new(&self.launch.command[0]);
        command
            .args(&self.launch.command[1..])
            .current_dir(&self.launch.directory)
            .stderr(errors);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .process_group(self.anchor.id() as i32);
        Ok(command)
    }

    fn end_group(&mut self) -> Result<(), Failure> {
        for worker in &mut self.workers {
            worker.killed = true;
        }
        if !std::mem::take(&mut self.anchored) {
            return Ok(());
        }
        // The anchor is our child and not yet waited for, so its group is still ours.
        let killed = kill_process_group(Pid::from_child(&self.anchor), Signal::KILL);
        self.anchor.wait().or_failed("await", "anchor")?;
        if let Some(mut master) = self.master.take() {
            master.child.wait().or_failed("await", "master")?;
        }
        killed.or_failed("kill", "process group")
    }

    fn reap_all(&mut self) -> Result<Vec<Ended>, Failure> {
        let (ended, all) = self.await_end(START_MAX);
        if all {
            Ok(ended)
        } else {
            Err(Failure::could_not_run(
                "failed to kill `workers`: some survive SIGKILL; is the disk stuck?",
            ))
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let _ = self.end_group();
        let _ = self.reap_all();
    }
}

impl Worker {
    /// Sends a signal; a process that has just ended is no error.
    pub fn signal(&mut self, signal: Signal) {
        self.killed |= signal == Signal::KILL;
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    fn ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(
            &mut polled,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .is_ok_and(|ready| ready > 0)
    }
}

fn anchor() -> Result<Child, Failure> {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .or_failed("start", "cat")
}

/// The process that forks the workers.
#[derive(Debug)]
struct Master {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Answer>,
    statuses: Vec<(u32, i32)>,
}

#[derive(Debug)]
enum Answer {
    Ready,
    Started(u32, i32),
    Ended(u32, i32),
}

impl Master {
    fn start_in(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| cause.to_string())?;
        let (Some(orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no pipes".to_owned());
        };
        let (sender, answers) = mpsc::channel();
        // Ends with the pipe, which ends with the master and its children.
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines
                .filter_map(|line| answer(&line))
                .try_for_each(|answer| sender.send(answer))
                .ok()
        });
        let mut master = Self {
            child,
            orders,
            answers,
            statuses: Vec::new(),
        };
        match master.await_answer(|answer| matches!(answer, Answer::Ready)) {
            Ok(_) => Ok(master),
            Err(cause) => {
                let _ = master.child.kill();
                let _ = master.child.wait();
                Err(cause)
            }
        }
    }

    fn start(&mut self, [worker, incarnation, spawn]: [u32; 3]) -> Result<Pid, Failure> {
        let order = format!("{worker} {incarnation} {spawn}\n");
        self.orders
            .write_all(order.as_bytes())
            .or_failed("give an order to", "master")?;
        let started =
            self.await_answer(|answer| matches!(answer, Answer::Started(of, _) if *of == spawn));
        match started.or_failed("start", "worker")? {
            Answer::Started(_, pid) => Pid::from_raw(pid)
                .ok_or("it has no process id")
                .or_failed("start", "worker"),
            Answer::Ready | Answer::Ended(..) => Err(Failure::could_not_run(
                "failed to start `worker`: wrong answer",
            )),
        }
    }

    /// The status of a worker that has ended; its master tells within moments.
    fn status(&mut self, spawn: u32) -> Option<i32> {
        let known = |statuses: &[(u32, i32)]| {
            statuses
                .iter()
                .find(|(of, _)| *of == spawn)
                .map(|(_, status)| *status)
        };
        if let Some(status) = known(&self.statuses) {
            return Some(status);
        }
        self.await_answer(|answer| matches!(answer, Answer::Ended(of, _) if *of == spawn))
            .ok()?;
        known(&self.statuses)
    }

    fn await_answer(&mut self, wanted: impl Fn(&Answer) -> bool) -> Result<Answer, String> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(wait).map_err(|why| match why {
                RecvTimeoutError::Timeout => format!("no answer within {} s", START_MAX.as_secs()),
                RecvTimeoutError::Disconnected => "the process has ended".to_owned(),
            })?;
            if let Answer::Ended(spawn, status) = answer {
                self.statuses.push((spawn, status));
            }
            if wanted(&answer) {
                return Ok(answer);
            }
        }
    }
}

fn answer(line: &str) -> Option<Answer> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let mut number = || words.next()?.parse::<i32>().ok();
    match kind {
        "ready" => Some(Answer::Ready),
        "started" => Some(Answer::Started(u32::try_from(number()?).ok()?, number()?)),
        "ended" => Some(Answer::Ended(u32::try_from(number()?).ok()?, number()?)),
        _ => None,
    }
}

/// Sends nothing, but says whether this machine can watch processes by descriptor.
///
/// # Errors
/// The kernel is older than 5.3.
pub fn check_pidfd() -> io::Result<()> {
    pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map(drop)
        .map_err(io::Error::from)
}
