//! The demo's syslog server: a real rsyslog to which the shop's records are shipped, killed by SIGKILL in the middle of the traffic and
//! started again a while later. At the end its file is compared with the notes of what was acknowledged, and by `logboom verify`.
//!
//! It writes a record before it answers for it, listens on loopback, and is ended when the value is dropped. Where rsyslog is not
//! installed, the demo says so and goes without.

use super::count::{Mark, read_notes};
use crate::paths;
use crate::process::{self, on_path, signal};
use crate::python::Venv;
use crate::screen::{Progress, odd};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PLUGIN: &str = "rsyslog/imrelp.so";
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];
const START_MAX: Duration = Duration::from_secs(20);
/// How long the rest may take after the last request.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);
const TOOL_MAX: Duration = Duration::from_secs(60);
/// Tenths of the traffic between which it is dead.
const KILLED_AT: usize = 4;
const BACK_AT: usize = 7;

/// A syslog server.
pub struct Receiver {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    kills: u32,
    is_back: bool,
}

/// What came of the shipping.
#[derive(Debug, Default)]
pub struct Shipped {
    /// Records of the shop that were acknowledged, and are in the server's file, whole.
    pub received: usize,
    /// Acknowledged, and not there.
    pub missing: usize,
    /// There more than once, which their ids tell.
    pub again: usize,
    /// How often the server was killed.
    pub kills: u32,
    /// True if `logboom verify --received` says that nothing is missing.
    pub is_verified: bool,
}

impl Shipped {
    /// True if nothing is missing although the server was killed.
    pub fn is_whole(&self) -> bool {
        self.received > 0 && self.missing == 0 && self.kills > 0 && self.is_verified
    }
}

impl Receiver {
    /// Starts it with its file in `folder`; None, and a word about it, where it is not installed.
    pub fn start(folder: &Path) -> Result<Option<Receiver>> {
        let has_plugin = LIBRARIES
            .iter()
            .any(|library| Path::new(library).join(PLUGIN).exists());
        if on_path("rsyslogd").is_none() || !has_plugin {
            println!(
                "{}",
                odd("without a syslog server: install one with `apt install rsyslog rsyslog-relp`")
            );
            return Ok(None);
        }
        fs::create_dir_all(folder)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let place = folder.display();
        let configuration = format!(
            r#"global(workDirectory="{place}" maxMessageSize="64k")
module(load="imrelp")
input(type="imrelp" address="127.0.0.1" port="{port}" ruleset="shop" maxDataSize="64k")
ruleset(name="shop" queue.type="Direct") {{
    action(type="omfile" file="{place}/central.log" template="RSYSLOG_SyslogProtocol23Format")
}}
"#
        );
        fs::write(folder.join("rsyslog.conf"), configuration)?;
        let mut receiver = Receiver {
            folder: folder.to_owned(),
            port,
            child: None,
            kills: 0,
            is_back: false,
        };
        receiver.run()?;
        Ok(Some(receiver))
    }

    /// Where records are shipped to.
    pub fn address(&self) -> String {
        format!("relp://127.0.0.1:{}", self.port)
    }

    /// Kills it in the middle of the traffic, and starts it again later. To be called now and then.
    pub fn disturb(&mut self, done: usize, all: usize) -> Result<()> {
        if self.kills == 0 && done * 10 >= all * KILLED_AT {
            self.kill();
            self.kills += 1;
        } else if self.kills > 0 && !self.is_back && done * 10 >= all * BACK_AT {
            self.run()?;
            self.is_back = true;
        }
        Ok(())
    }

    /// Waits until nothing waits any more, and compares.
    pub fn account(&mut self, venv: &Venv, logs: &Path) -> Result<Shipped> {
        // Where the traffic was over too soon for it.
        self.disturb(1, 1)?;
        self.disturb(1, 1)?;
        let progress = Progress::start("the rest arrives at the syslog server");
        let started = Instant::now();
        let (mut is_verified, mut told) = self.verify(venv, logs)?;
        while !is_settled(&told) && started.elapsed() < ARRIVAL_MAX {
            thread::sleep(Duration::from_millis(200));
            (is_verified, told) = self.verify(venv, logs)?;
        }
        let mut shipped = compare(&read_notes(&logs.join("proof"))?, &self.copies()?);
        shipped.kills = self.kills;
        shipped.is_verified = is_verified && is_settled(&told);
        progress.end(&format!(
            "{} received, {} missing",
            shipped.received, shipped.missing
        ));
        if !shipped.is_verified {
            println!("{}", told.trim_end());
        }
        Ok(shipped)
    }

    /// Gives it up without ending it; its process id.
    pub fn leave_running(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }

    fn verify(&self, venv: &Venv, logs: &Path) -> Result<(bool, String)> {
        let mut command = venv.command("logboom");
        command
            .args(["verify", "--received"])
            .arg(self.folder.join("central.log"));
        command.arg("--spool").arg(logs);
        let ended = process::run(command, TOOL_MAX, &|_| ())?;
        Ok((ended.ok, ended.output))
    }

    fn copies(&self) -> Result<HashMap<(String, usize), usize>> {
        let path = self.folder.join("central.log");
        let bytes =
            fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut copies = HashMap::new();
        for mark in text.lines().filter_map(message).filter_map(Mark::parse) {
            *copies
                .entry((mark.worker.to_owned(), mark.number))
                .or_default() += 1;
        }
        Ok(copies)
    }

    fn run(&mut self) -> Result<()> {
        // One that was killed has left its file behind, and the next one would take it for a running one.
        let pid = self.folder.join("rsyslog.pid");
        let _ = fs::remove_file(&pid);
        let said = self.folder.join("rsyslog.out");
        let file = File::options().create(true).append(true).open(&said)?;
        let mut command = Command::new(on_path("rsyslogd").context("rsyslogd is gone")?);
        command
            .args(["-n", "-C", "-f"])
            .arg(self.folder.join("rsyslog.conf"));
        command.arg("-i").arg(pid).current_dir(paths::root());
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        self.child = Some(command.spawn().context("failed to start rsyslog")?);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if started.elapsed() > START_MAX {
                let text = fs::read_to_string(&said).unwrap_or_default();
                bail!("failed to start rsyslog; it says:\n{}", text.trim_end());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), Signal::KILL);
            let _ = child.wait();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}

/// True if `logboom verify --received` has seen nothing that is still on its way.
fn is_settled(told: &str) -> bool {
    told.contains("waiting in the spool 0\n") && !told.contains("in the workers' queues")
}

/// What was received of each record against what was acknowledged: byte n of a worker's notes is 1 if its record n was.
fn compare(notes: &HashMap<String, Vec<u8>>, copies: &HashMap<(String, usize), usize>) -> Shipped {
    let mut shipped = Shipped {
        again: copies.values().map(|times| times - 1).sum(),
        ..Shipped::default()
    };
    for (worker, returned) in notes {
        for (number, _) in returned.iter().enumerate().filter(|(_, byte)| **byte == 1) {
            match copies.contains_key(&(worker.clone(), number)) {
                true => shipped.received += 1,
                false => shipped.missing += 1,
            }
        }
    }
    shipped
}

/// The message of a line of RFC 5424: what stands behind the six fields of the header and the structured data.
fn message(line: &str) -> Option<&str> {
    let rest = line.splitn(7, ' ').nth(6)?;
    let Some(data) = rest.strip_prefix('[') else {
        return rest.strip_prefix("- ");
    };
    let mut is_escaped = false;
    let end = data.bytes().position(|byte| {
        let ends = byte == b']' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    let text = data[end + 1..].strip_prefix(' ')?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(worker: &str, number: usize, said: &str) -> String {
        let checksum = crc32fast::hash(said.as_bytes());
        format!(
            "<14>1 2026-11-20T17:03:12.1Z host shop 7 shop.cart [l@1 id=\"a.1.2\" q=\"a\\\"b\\]\\\\\"] {said} #{worker}-{number}-{checksum:08x}"
        )
    }

    /// A record is received if it is there whole, however often; what was acknowledged and is not there is missing.
    #[test]
    fn missing_and_doubled() {
        let lines = [
            line("7", 0, "a: b #c"),
            line("7", 0, "a: b #c"),
            line("7", 2, "b").replace("] b", "] B"),
        ];
        let mut copies = HashMap::new();
        for mark in lines
            .iter()
            .filter_map(|line| message(line))
            .filter_map(Mark::parse)
        {
            *copies
                .entry((mark.worker.to_owned(), mark.number))
                .or_default() += 1;
        }
        let notes = HashMap::from([("7".to_owned(), vec![1, 0, 1, 0])]);
        let shipped = compare(&notes, &copies);
        assert_eq!(
            (shipped.received, shipped.missing, shipped.again),
            (1, 1, 1)
        );
        assert!(!shipped.is_whole());
    }

    /// Structured data ends with the first bracket that is not escaped; a message may begin with a byte order mark.
    #[test]
    fn messages() {
        assert_eq!(message("<1>1 t h a p m - text"), Some("text"));
        assert_eq!(
            message("<1>1 t h a p m [x y=\"\\\\\\]\"] \u{feff}t\u{e4}"),
            Some("t\u{e4}")
        );
        assert_eq!(message("torn"), None);
    }

    /// Waiting records are not overlooked.
    #[test]
    fn settled() {
        assert!(is_settled(
            "received 3\nwaiting in the spool 0\npublished 3\n"
        ));
        assert!(!is_settled("waiting in the spool 10\n"));
        assert!(!is_settled(
            "waiting in the spool 0\nin the workers' queues 2, on their way there\n"
        ));
    }
}
