//! `logboom pipe` as a process beside the test, on the log of a [`Site`].

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::verbs_site::{Site, wait_until};

/// The arguments that lead to the site's `app.log`, and more of them in one text.
pub fn arguments(site: &Site, more: &str) -> Vec<String> {
    let file = site.path("app.log").display().to_string();
    ["pipe", "--file", &file]
        .into_iter()
        .chain(more.split_whitespace())
        .map(str::to_owned)
        .collect()
}

/// `logboom` in the site's directory.
pub fn logboom(site: &Site, arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logboom"));
    command
        .args(arguments)
        .current_dir(site.root())
        .env("LOGBOOM_STATE_DIR", site.root().join("state"));
    command
}

/// Runs `logboom pipe OPTIONS -- sh -c SCRIPT` to its end.
pub fn run(site: &Site, options: &str, script: &str) -> Output {
    start(site, options, script).wait()
}

/// Starts it.
pub fn start(site: &Site, options: &str, script: &str) -> Pipe {
    let mut arguments = arguments(site, options);
    arguments.extend(["--", "sh", "-c", script].map(str::to_owned));
    Pipe::start(logboom(site, &arguments).stdin(Stdio::null()))
}

/// Pipes `bytes` into `logboom pipe OPTIONS`.
pub fn feed(site: &Site, options: &str, bytes: &[u8]) -> Output {
    let mut pipe = reading(site, options);
    let mut input = pipe.input();
    std::thread::scope(|scope| {
        // One that ends at once, with wrong usage, reads nothing.
        scope.spawn(move || input.write_all(bytes));
        pipe.wait()
    })
}

/// Starts `logboom pipe OPTIONS`, which reads what is written to its input.
pub fn reading(site: &Site, options: &str) -> Pipe {
    Pipe::start(logboom(site, &arguments(site, options)).stdin(Stdio::piped()))
}

/// A running `logboom pipe`. Dropped: killed.
pub struct Pipe {
    child: Option<Child>,
}

impl Pipe {
    pub fn start(command: &mut Command) -> Pipe {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Pipe { child: Some(child) }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    pub fn pid(&mut self) -> u32 {
        self.child().id()
    }

    pub fn input(&mut self) -> ChildStdin {
        self.child().stdin.take().unwrap()
    }

    pub fn signal(&mut self, signal: i32) {
        signal_process(self.pid(), signal);
    }

    /// Waits until it has ended, a minute at most.
    pub fn wait(mut self) -> Output {
        self.wait_at_most(Duration::from_secs(60))
    }

    pub fn wait_at_most(&mut self, time: Duration) -> Output {
        let mut child = self.child.take().unwrap();
        let pid = child.id();
        drop(child.stdin.take());
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || said.send(child.wait_with_output().unwrap()));
        heard.recv_timeout(time).unwrap_or_else(|_| {
            signal_process(pid, libc::SIGKILL);
            panic!("it did not end in {time:?}")
        })
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child().try_wait().unwrap().is_some()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn signal_process(pid: u32, signal: i32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// The exit code, with what was said where it is another.
#[track_caller]
pub fn check_code(output: &Output, code: i32) {
    assert_eq!(
        (output.status.code(), output.status.signal()),
        (Some(code), None),
        "{}",
        said(output)
    );
}

/// What was said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until the log has this in it.
pub fn wait_for(site: &Site, text: &str) {
    let path = site.path("app.log");
    wait_until(|| content(&path).contains(text));
}

pub fn content(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// The lines of the log and of all its archives.
pub fn all_lines(site: &Site) -> Vec<String> {
    let mut lines = Vec::new();
    for path in site.log_files() {
        lines.extend(content(&path).lines().map(str::to_owned));
    }
    lines
}

/// `logboom verify` finds nothing wrong in the log and its archives; how many records it checked.
#[track_caller]
pub fn verify(site: &Site) -> u64 {
    let paths = site.log_files();
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let report = site
        .logboom(&[&["verify", "--json"], &paths[..]].concat())
        .json(0);
    report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["checked_records"].as_u64().unwrap_or(0))
        .sum()
}

/// The time since `begun` is less than `most`.
#[track_caller]
pub fn took_less(begun: Instant, most: Duration) {
    let took = begun.elapsed();
    assert!(took < most, "it took {took:?}, not less than {most:?}");
}
