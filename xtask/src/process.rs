//! Runs programs: output of both streams captured in order, a time limit, and nothing left behind. When the limit
//! passes, the program and all its descendants are killed, found by walking /proc from the process we started.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const NOTE_BYTES_MAX: usize = 1000;
const POLL: Duration = Duration::from_millis(40);
/// How long output may still arrive from descendants when the program itself has ended.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What a program did.
pub struct Ended {
    /// True if it ended by itself with 0.
    pub ok: bool,
    /// Both streams, as they came.
    pub output: String,
}

/// Runs `command` for at most `limit`; `note` sees the last line of output while it runs.
pub fn run(mut command: Command, limit: Duration, note: &dyn Fn(&str)) -> Result<Ended> {
    let (mut reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to start `{name}`"))?;
    drop(command); // it holds the pipe's writing end

    let output = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&output);
    let drained = thread::spawn(move || {
        let mut block = [0; 8192];
        while let Ok(count @ 1..) = reader.read(&mut block) {
            shared
                .lock()
                .expect("not poisoned")
                .extend_from_slice(&block[..count]);
        }
    });

    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > limit {
            kill_tree(child.id());
            child.wait()?;
            break None;
        }
        note(&last_line(&output.lock().expect("not poisoned")));
        thread::sleep(POLL);
    };
    let ended = Instant::now();
    while !drained.is_finished() && ended.elapsed() < AFTERMATH {
        thread::sleep(POLL);
    }

    let mut output = String::from_utf8_lossy(&output.lock().expect("not poisoned")).into_owned();
    if status.is_none() {
        output.push_str(&format!(
            "\nstopped: `{name}` took more than {} s\n",
            limit.as_secs()
        ));
    }
    Ok(Ended {
        ok: status.is_some_and(|status| status.success()),
        output,
    })
}

/// Runs `command` and fails with its output unless it ends with 0.
pub fn run_ok(command: Command, limit: Duration, note: &dyn Fn(&str)) -> Result<String> {
    let shown = shown(&command);
    let ended = run(command, limit, note)?;
    if !ended.ok {
        bail!("failed to run `{shown}`:\n{}", ended.output.trim_end());
    }
    Ok(ended.output)
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first program called `name` on PATH.
pub fn on_path(name: &str) -> Option<std::path::PathBuf> {
    // Programs for the administrator are often not on a user's PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Sends `signal` to the process `pid`; false if there is none.
pub fn signal(pid: u32, signal: Signal) -> bool {
    Pid::from_raw(pid.cast_signed()).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// True if the process exists.
pub fn is_alive(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// Kills a process and all its descendants.
pub fn kill_tree(pid: u32) {
    let below = children(pid);
    signal(pid, Signal::KILL);
    for child in below {
        kill_tree(child);
    }
}

fn last_line(output: &[u8]) -> String {
    let end = String::from_utf8_lossy(&output[output.len().saturating_sub(NOTE_BYTES_MAX)..])
        .into_owned();
    end.trim_end()
        .rsplit(['\n', '\r'])
        .next()
        .unwrap_or("")
        .to_owned()
}
