//! A shell in a terminal of its own: what is typed into it, and what it shows. Its end takes all that it runs along.

use super::cells::Cells;
use crate::process;
use anyhow::{Context, Result, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What the shell writes when it waits for a command.
const PROMPT: &str = "$ ";
const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// As a person types.
const KEY: Duration = Duration::from_millis(25);

/// A shell in a terminal.
pub struct Pane {
    shell: Child,
    keyboard: File,
    cells: Arc<Mutex<Cells>>,
}

impl Pane {
    /// Starts `shell`, a command whose folder and environment are set, in a terminal of this size; `since` is the
    /// beginning of the recording.
    pub fn start(
        mut shell: Command,
        columns: usize,
        rows_max: usize,
        since: Instant,
    ) -> Result<Pane> {
        let (keyboard, terminal) =
            terminal(columns, rows_max).context("failed to make a terminal")?;
        shell
            .env("PS1", PROMPT)
            .env("TERM", "xterm")
            .env_remove("ENV")
            .env_remove("NO_COLOR")
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal);
        // SAFETY: two system calls, which are safe between fork and exec.
        unsafe {
            shell.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin())?;
                Ok(())
            })
        };
        let cells = Arc::new(Mutex::new(Cells::new(columns, rows_max)));
        let (mut from, into) = (keyboard.try_clone()?, Arc::clone(&cells));
        let shell = shell.spawn().context("failed to start a shell")?;
        thread::spawn(move || {
            let mut bytes = [0; 16384];
            while let Ok(len @ 1..) = from.read(&mut bytes) {
                let mut cells = into.lock().expect("not poisoned");
                cells.feed(&bytes[..len], since.elapsed());
            }
        });
        let pane = Pane {
            shell,
            keyboard,
            cells,
        };
        pane.wait_for_prompt()?;
        Ok(pane)
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        for key in line.as_bytes() {
            self.press(&[*key])?;
            thread::sleep(KEY);
        }
        self.press(b"\n")
    }

    /// Presses a key.
    pub fn press(&mut self, key: &[u8]) -> Result<()> {
        self.keyboard
            .write_all(key)
            .context("failed to type into the shell")
    }

    /// Waits until `text` is on the screen.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        self.wait_until(text, || self.text().contains(text))
    }

    /// Waits until the shell wants a command.
    pub fn wait_for_prompt(&self) -> Result<()> {
        let is_there = || self.text().rsplit('\n').next() == Some(PROMPT.trim_end());
        self.wait_until("the shell's prompt", is_there)
    }

    fn wait_until(&self, what: &str, is_there: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !is_there() {
            if started.elapsed() > WAIT_MAX {
                bail!(
                    "failed to record: no `{what}` on the screen:\n{}",
                    self.text()
                );
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The rows as text.
    pub fn text(&self) -> String {
        let cells = self.cells.lock().expect("not poisoned");
        let rows: Vec<_> = cells.rows.iter().map(super::cells::Row::text).collect();
        rows.join("\n")
    }

    /// Ends the shell; what it shows.
    pub fn end(self) -> Cells {
        let mut cells = self.cells.lock().expect("not poisoned");
        std::mem::replace(&mut cells, Cells::new(1, 1))
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        process::kill_tree(self.shell.id());
        let _ = self.shell.wait();
    }
}

fn terminal(columns: usize, rows: usize) -> Result<(File, File)> {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_string()?;
    let size = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let window = Winsize {
        ws_row: size(rows),
        ws_col: size(columns),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, window)?;
    let terminal = File::options().read(true).write(true).open(name)?;
    Ok((File::from(master), terminal))
}
