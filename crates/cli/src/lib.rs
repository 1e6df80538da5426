//! The `logboom` command line: reads the arguments, runs one verb, turns its outcome into an exit code.
//!
//! Always holds: results go to standard output, everything else (progress, failures) to standard error; colour appears only
//! on a terminal and never with `NO_COLOR`; each verb is one file under [`verbs`] and one line in the list there. A verb never
//! ends the process itself: it returns an [`exit::Ending`] or an [`exit::Failure`], and [`main`] is the one place that
//! turns these into an exit code.

// Only the native torture worker forks and maps, and a relay that detaches itself forks; see there.
#![deny(unsafe_code)]

pub mod doctor;
pub mod exit;
pub mod owner;
pub(crate) mod piping;
pub mod relaying;
pub mod terminal;
pub mod torture;
pub mod verbs;
pub(crate) mod viewing;
pub mod words;

use std::process::ExitCode;

use clap::Parser;

/// Safe logs for programs that run as several worker processes.
#[derive(Debug, Parser)]
#[command(name = "logboom", version, after_help = exit::HELP, max_term_width = 110)]
struct Line {
    #[command(subcommand)]
    verb: verbs::Verb,
}

/// Runs the command line of this process and gives its exit code (see [`exit`]).
#[must_use]
pub fn main() -> ExitCode {
    match Line::try_parse() {
        Ok(line) => exit::code(line.verb.run()),
        Err(usage) => exit::code_of_usage(&usage),
    }
}
