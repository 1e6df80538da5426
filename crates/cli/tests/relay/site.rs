//! A place for one test: logs, a spool and a state of their own, a configuration, workers, and the relay.
//!
//! What always holds: whatever a site has started is gone when it is dropped, relays that workers started among it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use logboom_config::beside;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::count::Count;
use crate::support::program::Program;
use crate::support::rsyslog::Rsyslog;
use crate::support::{eventually, millis, secs};
use crate::worker::{Account, Work, Worker};

/// The command under test.
pub const LOGBOOM: &str = env!("CARGO_BIN_EXE_logboom");
/// The name of the destination.
pub const NAME: &str = "central";

/// One application with one destination.
pub struct Site {
    place: tempfile::TempDir,
    /// What the workers say of themselves.
    pub account: Account,
    /// How workers log unless a test says otherwise.
    pub work: Work,
}

impl Site {
    /// With a destination at this address, and these lines for it; keys without `ship.central.`.
    pub fn new(to: &str, more: &[&str]) -> Site {
        Site::prepared(to, more, |_| ())
    }

    /// The same where `prepare` has made the spool's directory what it should be.
    pub fn prepared(to: &str, more: &[&str], prepare: impl FnOnce(&Path)) -> Site {
        let place = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        let state = place.path().join("state");
        for directory in [&place.path().join("logs"), &state] {
            std::fs::create_dir(directory).unwrap();
        }
        make_private(&state);
        let root = place.path().join("logs/.logboom-spool");
        let site = Site {
            account: Account::make(&place.path().join("account")),
            work: Work::new(&root, &place.path().join("account"), &state),
            place,
        };
        prepare(site.root());
        site.configure(to, more);
        site
    }

    /// The directory of everything.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The spool's directory.
    pub fn root(&self) -> &Path {
        &self.work.root
    }

    /// The log that the destination's troubles are told in.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("logs/app.log")).unwrap_or_default()
    }

    /// Writes the configuration, and what the relay has to know of it, as `logboom.configure()` does.
    pub fn configure(&self, to: &str, more: &[&str]) {
        self.write_configuration(&[(NAME, to, more)]);
        let nothing = Default::default();
        let effective = logboom_config::load(Some(&self.configuration()), &nothing, &nothing);
        let text = effective.unwrap().of_destination(NAME);
        beside::keep(self.root(), NAME, &text).unwrap();
    }

    /// Writes the configuration alone: name, address and more lines of each destination.
    pub fn write_configuration(&self, destinations: &[(&str, &str, &[&str])]) {
        let log = self.path("logs/app.log");
        let mut text = format!("[files.main]\npath = \"{}\"\n", log.display());
        for (name, to, more) in destinations {
            text += &format!(
                "[ship.{name}]\nto = \"{to}\"\nspool.path = \"{}\"\n",
                self.root().display()
            );
            text.extend(more.iter().map(|line| format!("{line}\n")));
        }
        std::fs::write(self.configuration(), text).unwrap();
    }

    /// The configuration.
    pub fn configuration(&self) -> PathBuf {
        self.path("logboom.toml")
    }

    /// The command, told where states lie.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(LOGBOOM);
        command
            .args(arguments)
            .env("LOGBOOM_STATE_DIR", &self.work.state);
        command
    }

    /// Runs the command to its end.
    pub fn logboom(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the command with `--json`; whatever it ends with.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.logboom(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("{arguments:?} printed no JSON: {error}; {said}")
        })
    }

    /// The destination as `logboom status --json` shows it; null as long as no worker has made the spool.
    pub fn destination(&self) -> Value {
        let root = self.root().display().to_string();
        let output = self.logboom(&["status", "--json", &root]);
        serde_json::from_slice::<Value>(&output.stdout)
            .map_or(Value::Null, |status| status["destinations"][0].clone())
    }

    /// The destination as its relay, asked, says it is.
    pub fn live(&self) -> Value {
        let root = self.root().display().to_string();
        self.json(&["relay", "--status", &root])["destinations"][0].clone()
    }

    /// What the destination's figures say under this name, once they do: they are stored once a second.
    pub fn wait_for(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) {
        within(self, secs(30), &format!("{name} {what}"), || {
            condition(&self.destination()[name])
        });
    }

    /// How often the log says this.
    pub fn says(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until the destination is down, and the log has said so, once.
    pub fn goes_down(&self) {
        self.wait_for("state", "is down", |state| state == "down");
        within(self, secs(20), "the log says that it is down", || {
            self.says(" is down for ") == 1
        });
        let figures = self.destination();
        assert!(
            figures["last_error"].as_str().unwrap().len() > 10,
            "{figures}"
        );
        assert!(figures["failures"].as_u64() > Some(0), "{figures}");
        self.wait_for("waiting", "grows", |waiting| waiting.as_u64() > Some(100));
        self.wait_for("lag_s", "grows", |lag| lag.as_f64() > Some(0.5));
    }

    /// Waits until it is back, and the log has said so, once.
    pub fn comes_back(&self) {
        self.wait_for("state", "is up", |state| state == "up");
        within(self, secs(20), "the log says that it is back", || {
            self.says(" is back after ") == 1
        });
        assert_eq!(self.says(" is down for "), 1, "{}", self.log());
    }

    /// Waits until so many more records are received.
    pub fn more_arrives(&self, rsyslog: &Rsyslog, records: usize) {
        let before = rsyslog.count();
        let there = || rsyslog.count() >= before + records;
        within(self, secs(60), "something is delivered", there);
    }

    /// Waits until each record is received whose call has returned, and has that judged by the count and by `logboom verify`.
    pub fn all_arrives(&self, rsyslog: &Rsyslog) -> Count {
        let count = || Count::of(&rsyslog.received());
        let there = || count().missing(&self.account).0 == 0;
        within(self, secs(120), "the rest arrives", there);
        let count = count();
        count.assert_complete(&self.account);
        let verdict = self.verify(rsyslog);
        let told = ["complete", "missing", "doubled"].map(|name| &verdict[name]);
        let expected: [&Value; 3] = [&true.into(), &0.into(), &count.doubled.into()];
        assert_eq!(told, expected, "{verdict}");
        println!(
            "{} records, {} of them again",
            count.distinct(),
            count.doubled
        );
        count
    }

    /// What `logboom verify --received` says.
    pub fn verify(&self, rsyslog: &Rsyslog) -> Value {
        let received = rsyslog.path("out.jsonl").display().to_string();
        let root = self.root().display().to_string();
        self.json(&[
            "verify",
            "--received",
            &received,
            "--spool",
            &root,
            "--to",
            NAME,
            "--json",
        ])
    }

    /// Starts a relay as a supervisor does, and waits until it is there.
    pub fn start_relay(&self) -> Program {
        self.start_relay_with(&[])
    }

    /// The same with more arguments.
    pub fn start_relay_with(&self, more: &[&str]) -> Program {
        let configuration = self.configuration().display().to_string();
        let mut command = self.command(&["relay", "--config", &configuration]);
        command.args(more);
        let relay = Program::start(&command, &self.path("relay.log"));
        let pid = relay.pid().as_raw_nonzero().get() as u32;
        eventually(&format!("a relay: {}", self.relay_words()), || {
            self.relay() == Some(pid) && self.root().join("relay.sock").exists()
        });
        relay
    }

    /// What relays under a supervisor have said.
    pub fn relay_words(&self) -> String {
        std::fs::read_to_string(self.path("relay.log")).unwrap_or_default()
    }

    /// The process that is the relay now, whoever started it.
    pub fn relay(&self) -> Option<u32> {
        logboom::status::relay_of(self.root()).filter(|pid| is_logboom(*pid))
    }

    /// SIGKILL for the relay, whoever started it; false: there was none.
    pub fn kill_relay(&self) -> bool {
        let Some(pid) = self.relay() else {
            return false;
        };
        end(pid);
        true
    }

    /// Starts the next worker.
    pub fn start_worker(&self) -> Worker {
        self.start(&self.work)
    }

    /// Starts the next worker, which does this.
    pub fn start(&self, work: &Work) -> Worker {
        Worker::start(&self.account, work, &self.path("workers.log"))
    }

    /// How it is, for whoever has to find out why a test failed.
    pub fn tell(&self) -> String {
        let root = self.root().display().to_string();
        let files = Command::new("ls").args(["-la", &root]).output().unwrap();
        format!(
            "relay {:?}\n{}\n{:#}\n--- log\n{}--- relay\n{}--- workers\n{}",
            self.relay(),
            String::from_utf8_lossy(&files.stdout),
            self.destination(),
            self.log(),
            self.relay_words(),
            self.workers_words()
        )
    }

    /// What workers have said on standard error.
    pub fn workers_words(&self) -> String {
        std::fs::read_to_string(self.path("workers.log")).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.account.stop();
        // A worker that has just ended may still have been starting one.
        let mut quiet = 0;
        while quiet < 3 {
            quiet = if self.kill_relay() { 0 } else { quiet + 1 };
            std::thread::sleep(millis(20));
        }
    }
}

/// A directory that only its owner may enter.
pub fn make_private(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// True if the process runs the command under test.
pub fn is_logboom(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(LOGBOOM))
}

/// SIGKILL, and wait until it is gone. It is nobody's child, or a supervisor's who reaps it later.
pub fn end(pid: u32) {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    if is_logboom(pid) {
        let _ = kill_process(process, Signal::KILL);
    }
    eventually("a killed relay is gone", || !is_logboom(pid));
}

/// Waits until `condition` holds, or fails the test and says how the site is then.
pub fn within(site: &Site, at_most: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + at_most;
    while !condition() {
        let over = std::time::Instant::now() > until;
        assert!(!over, "not within {at_most:?}: {what}; {}", site.tell());
        std::thread::sleep(millis(20));
    }
}
