//! Exit codes: the one place where the outcome of a verb becomes a number, and where a failure is printed.
//!
//! The numbers are a promise to scripts: 0 fine, 1 the check found something wrong, 2 wrong usage, 3 could not run. A verb that
//! runs a command gives that command's code.

use std::fmt;
use std::process::ExitCode;

/// The part of the help text that documents the exit codes.
pub const HELP: &str = "\
Exit codes:
  0  fine
  1  the check found something wrong
  2  wrong usage
  3  could not run";

/// How a verb that ran to its end came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is wrong.
    Fine,
    /// The check ran and found something wrong; it has said what.
    FoundWrong,
    /// A command was run, and its code is ours.
    OfCommand(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Usage,
    CouldNotRun,
    OfCommand(u8),
}

/// Why a verb could not do its work. Its text reads "failed to *verb* `object`: cause; remedy".
#[derive(Debug)]
pub struct Failure {
    why: Why,
    text: String,
}

impl Failure {
    /// The caller asked for something that does not exist or does not fit together.
    pub fn usage(text: impl Into<String>) -> Self {
        Self {
            why: Why::Usage,
            text: text.into(),
        }
    }

    /// The work could not be begun or not be brought to its end.
    pub fn could_not_run(text: impl Into<String>) -> Self {
        Self {
            why: Why::CouldNotRun,
            text: text.into(),
        }
    }

    /// A command that was to be run could not be started: `code` is what a shell would give.
    pub fn of_command(code: u8, text: impl Into<String>) -> Self {
        Self {
            why: Why::OfCommand(code),
            text: text.into(),
        }
    }

    /// True when the command line, not the machine, has to change.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.why == Why::Usage
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Adds "failed to *verb* `object`" to the error of an operation.
pub trait Context<T> {
    /// Gives the value, or a [`Failure`] that says which `object` could not be `verb`ed and why.
    ///
    /// # Errors
    /// The original error, described.
    fn or_failed(self, verb: &str, object: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn or_failed(self, verb: &str, object: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|cause| {
            Failure::could_not_run(format!("failed to {verb} `{object}`: {cause}"))
        })
    }
}

/// The exit code of a verb's outcome; a failure is printed to standard error.
pub fn code(outcome: Result<Ending, Failure>) -> ExitCode {
    ExitCode::from(match outcome {
        Ok(Ending::Fine) => 0,
        Ok(Ending::FoundWrong) => 1,
        Ok(Ending::OfCommand(code)) => code,
        Err(failure) => {
            anstream::eprintln!(
                "{}logboom:{:#} {failure}",
                crate::terminal::BAD,
                crate::terminal::BAD
            );
            match failure.why {
                Why::Usage => 2,
                Why::CouldNotRun => 3,
                Why::OfCommand(code) => code,
            }
        }
    })
}

/// The exit code for arguments that clap did not accept, or that asked for help or the version (which is no failure).
pub fn code_of_usage(usage: &clap::Error) -> ExitCode {
    let printed = usage.print();
    ExitCode::from(if usage.use_stderr() {
        2
    } else {
        u8::from(printed.is_err()) * 3
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: Result<Ending, Failure>, expected: u8) {
        assert_eq!(
            format!("{:?}", code(outcome)),
            format!("{:?}", ExitCode::from(expected))
        );
    }

    /// The numbers scripts rely on.
    #[test]
    fn each_outcome_has_its_number() {
        check(Ok(Ending::Fine), 0);
        check(Ok(Ending::FoundWrong), 1);
        check(Err(Failure::usage("no scenario `x`")), 2);
        check(Err(Failure::could_not_run("failed to run `x`: gone")), 3);
        check(Ok(Ending::OfCommand(42)), 42);
        check(
            Err(Failure::of_command(127, "failed to start `x`: gone")),
            127,
        );
    }
}
