//! The command whose output goes into the log: started with pipes of ours, told of signals, waited for.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::Pid;

use super::signals::Signals;
use crate::exit::Failure;

/// A command that was started.
pub(crate) struct Command {
    child: Child,
    /// What it prints, until that is taken.
    pub(crate) output: Option<OwnedFd>,
    /// The same for standard error.
    pub(crate) error: Option<OwnedFd>,
}

impl Command {
    /// Starts it; signals are passed on to it from here on. Its standard input is ours.
    ///
    /// # Errors
    /// It cannot be started: 127 if there is no such program, 126 otherwise, as a shell says it (POSIX, 2.8.2).
    pub(crate) fn start(line: &[OsString], signals: &Signals) -> Result<Command, Failure> {
        let (program, arguments) = line.split_first().ok_or_else(|| {
            Failure::usage("failed to start a command: none is named behind `--`")
        })?;
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let code = match error.kind() {
                    ErrorKind::NotFound => 127,
                    _ => 126,
                };
                Failure::of_command(
                    code,
                    format!("failed to start `{}`: {error}", program.display()),
                )
            })?;
        signals.pass_on_to(Pid::from_child(&child));
        Ok(Command {
            output: child.stdout.take().map(OwnedFd::from),
            error: child.stderr.take().map(OwnedFd::from),
            child,
        })
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self, signals: &Signals) -> Option<ExitStatus> {
        // A process that cannot be waited for is not there any more.
        signals.wait_for_command(|| match self.child.try_wait() {
            Ok(status) => status,
            Err(_) => Some(ExitStatus::from_raw(0)),
        })
    }
}

/// The code that a shell would give: its own, or 128 and the number of the signal that ended it.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    let code = match status.signal() {
        Some(signal) => 128 + signal,
        None => status.code().unwrap_or(0),
    };
    code as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_shell() {
        for (wait_status, code) in [
            (0, 0),
            (3 << 8, 3),
            (255 << 8, 255),
            (9, 137),
            (15 | 0x80, 143),
        ] {
            assert_eq!(
                code_of(ExitStatus::from_raw(wait_status)),
                code,
                "{wait_status:x}"
            );
        }
    }
}
