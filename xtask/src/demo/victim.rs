//! The request in whose middle a worker is killed, and what is known of it afterwards.
//!
//! It asks for an invoice, which takes half a minute. The worker that writes it is known from the record that it made
//! when it began. Its black box must name the request.

use super::count::{Head, log_files};
use super::server::Server;
use super::traffic::{self, Request};
use crate::process::{self, signal};
use crate::python::Venv;
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATH: &str = "/invoice/4711";
const FIRST_WORDS: &str = "writing the invoice 4711";
/// How long the request is served before its worker is killed.
const SERVED_FOR: Duration = Duration::from_millis(700);
const SEEN_MAX: Duration = Duration::from_secs(10);
const TOLD_MAX: Duration = Duration::from_secs(15);
const TOOL_MAX: Duration = Duration::from_secs(60);

/// A slow request under way.
pub struct Victim {
    /// Its id, which no earlier run had.
    pub id: String,
    sent: Instant,
    answer: JoinHandle<bool>,
}

/// A killed worker.
pub struct Killed {
    /// Its process.
    pub pid: u32,
    /// The id of the request it was serving.
    pub id: String,
    /// Whether the client got an answer all the same.
    answer: JoinHandle<bool>,
}

impl Victim {
    /// Sends the request.
    pub fn send(port: u16) -> Victim {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let id = format!("demo-{}", since_1970.map_or(0, |time| time.as_millis()));
        let own = id.clone();
        let answer = thread::spawn(move || {
            traffic::send(port, &Request::get(PATH), &own, &mut String::new()).is_ok()
        });
        Victim {
            id,
            sent: Instant::now(),
            answer,
        }
    }

    /// True when the request has been served for long enough to speak of its middle.
    pub fn is_in_the_middle(&self) -> bool {
        self.sent.elapsed() > SERVED_FOR
    }

    /// Kills its worker. A handler that loses records may lose the one that tells the worker; then it is any worker.
    pub fn kill_worker(self, server: &Server, folder: &Path) -> Result<Killed> {
        let started = Instant::now();
        let mut worker = None;
        while worker.is_none() && started.elapsed() < SEEN_MAX {
            worker = find_worker(folder)?.filter(|pid| server.workers().contains(pid));
            if worker.is_none() {
                thread::sleep(Duration::from_millis(50));
            }
        }
        let Some(pid) = worker.or_else(|| server.workers().last().copied()) else {
            bail!("failed to kill a worker: Gunicorn had none; see `gunicorn.log` beside the log");
        };
        if !signal(pid, Signal::KILL) {
            bail!("failed to kill the worker {pid}: it had ended already");
        }
        Ok(Killed {
            pid,
            id: self.id,
            answer: self.answer,
        })
    }
}

impl Killed {
    /// Waits until the client has given up; true if its connection ended without an answer, as it should.
    pub fn was_cut_off(self) -> bool {
        !self.answer.join().expect("a client does not panic")
    }

    /// What `logboom blackbox <folder> last` shows, once that is the death of this worker. None if it never is.
    pub fn black_box(&self, venv: &Venv, folder: &Path) -> Result<Option<String>> {
        let started = Instant::now();
        let worker = format!("worker {} was killed by SIGKILL", self.pid);
        while started.elapsed() < TOLD_MAX {
            let mut command = venv.command("logboom");
            command.arg("blackbox").arg(folder).arg("last");
            let ended = process::run(command, TOOL_MAX, &|_| ())?;
            let names_it = [PATH, self.id.as_str(), worker.as_str()]
                .iter()
                .all(|text| ended.output.contains(text));
            if ended.ok && names_it {
                return Ok(Some(ended.output));
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(None)
    }
}

/// The process that began to write the invoice. A file that is renamed meanwhile is read the next time.
fn find_worker(folder: &Path) -> Result<Option<u32>> {
    for file in log_files(folder, "shop.log")? {
        let bytes = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let heads = text.split_inclusive('\n').filter_map(Head::parse);
        let mut found = heads.filter(|head| head.message.starts_with(FIRST_WORDS));
        if let Some(head) = found.next() {
            return Ok(Some(head.process));
        }
    }
    Ok(None)
}
