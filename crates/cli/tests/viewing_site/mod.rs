//! A place for one test: a log and its state, forked workers that record, and the command as a process that runs beside.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logboom::{Log, LogOptions, Severity, StateDir};

pub const DEBUG: Severity = Severity(5);

/// Directories and the log of a server that forks its workers.
pub struct Site {
    place: tempfile::TempDir,
    pub log: Log,
}

impl Site {
    /// With recorders of this length.
    pub fn new(recorder_bytes: u64) -> Site {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("logs")).unwrap();
        let log = open(place.path(), recorder_bytes);
        Site { place, log }
    }

    pub fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }

    pub fn logs(&self) -> PathBuf {
        self.place.path().join("logs")
    }

    /// The server ends, its state is lost (the machine starts anew), and it starts again.
    pub fn start_anew(self, recorder_bytes: u64) -> Site {
        let Site { place, log } = self;
        drop(log);
        for entry in std::fs::read_dir(place.path().join("state")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let log = open(place.path(), recorder_bytes);
        Site { place, log }
    }

    /// A worker that does its work and then waits to be killed.
    pub fn worker(&self, work: impl FnOnce(&Log)) -> Worker {
        // SAFETY: nextest runs each test in a process of its own; the child only logs and is killed.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&self.log)));
            // SAFETY: ends this process without the clean-up of the test's.
            unsafe {
                libc::raise(if done.is_ok() {
                    libc::SIGSTOP
                } else {
                    libc::SIGABRT
                })
            };
            unreachable!("it is killed while it is stopped");
        }
        Worker { pid }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logboom"));
        command.args(arguments).current_dir(self.logs());
        command
            .env("LOGBOOM_STATE_DIR", self.state())
            .env("TZ", "UTC");
        command
    }

    /// Runs the command in the log directory: standard output, standard error, exit code.
    pub fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            text(output.stdout),
            text(output.stderr),
            output.status.code().unwrap(),
        )
    }

    /// Starts a viewer there, and waits until its rule is in force.
    pub fn view(&self, arguments: &[&str]) -> View {
        let before = self.log.rules().len();
        let view = View::start(&mut self.command(arguments));
        wait_until(|| self.log.rules().len() > before);
        view
    }
}

fn open(place: &Path, recorder_bytes: u64) -> Log {
    let options = LogOptions {
        state_dir: StateDir::Path(place.join("state")),
        recorder_bytes,
        ..LogOptions::default()
    };
    Log::open(place.join("logs/app.log"), &options).unwrap()
}

/// A forked process. Dropped: killed.
pub struct Worker {
    pub pid: i32,
}

impl Worker {
    /// Waits until it has done its work.
    pub fn done(&self) {
        let mut status = 0;
        // SAFETY: waits for the child of above.
        let found = unsafe { libc::waitpid(self.pid, &mut status, libc::WUNTRACED) };
        assert_eq!(found, self.pid);
        assert!(
            std::process::ExitStatus::from_raw(status)
                .stopped_signal()
                .is_some()
        );
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SAFETY: ends the child of above and waits for it.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// A command that runs. Dropped: killed.
pub struct View {
    pub child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    error: Arc<Mutex<Vec<u8>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl View {
    fn start(command: &mut Command) -> View {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, error) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&out)),
            collect(child.stderr.take().unwrap(), Arc::clone(&error)),
        ];
        View {
            child,
            out,
            error,
            readers,
        }
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    pub fn error(&self) -> String {
        String::from_utf8_lossy(&self.error.lock().unwrap()).into_owned()
    }

    pub fn wait_for(&self, part: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.out().contains(part) && !self.error().contains(part) {
            assert!(
                Instant::now() < until,
                "no {part:?} in\n{}\n{}",
                self.out(),
                self.error()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that is not waited for yet.
        let sent = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(sent, 0);
    }

    /// Waits until it ends by itself, and gives standard output, standard error and the exit code.
    pub fn ended(mut self) -> (String, String, Option<i32>) {
        let code = self.child.wait().unwrap().code();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (self.out(), self.error(), code)
    }

    /// Ctrl-C.
    pub fn interrupt(self) -> (String, String, Option<i32>) {
        self.signal(libc::SIGINT);
        self.ended()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(
    mut from: impl Read + Send + 'static,
    into: Arc<Mutex<Vec<u8>>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 16384];
        while let Ok(len @ 1..) = from.read(&mut bytes) {
            into.lock().unwrap().extend_from_slice(&bytes[..len]);
        }
    })
}

pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "it did not come about in 20 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}
