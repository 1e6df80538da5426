//! What the commands print. Colour and the moving progress line appear on a terminal only, and not with `NO_COLOR`
//! (colour) or `TERM=dumb` (both); elsewhere each message is a plain line of its own.

use std::env;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

const LINE_CHARS_MAX: usize = 100;

/// True if a line may be overwritten.
pub fn is_live() -> bool {
    stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn painted(code: &str, text: &str) -> String {
    if is_live() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Green, on a terminal.
pub fn good(text: &str) -> String {
    painted("32", text)
}

/// Red, on a terminal.
pub fn bad(text: &str) -> String {
    painted("31", text)
}

/// Yellow, on a terminal.
pub fn odd(text: &str) -> String {
    painted("33", text)
}

/// Bold, on a terminal.
pub fn strong(text: &str) -> String {
    painted("1", text)
}

/// Prints why a command could not do its work.
pub fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", bad("error:"));
}

/// A duration as people read it: `0.4 s`, `12.3 s`, `3 min 05 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// One piece of work in progress: a name, then how far it is, then how it ended and how long it took.
pub struct Progress {
    name: String,
    started: Instant,
    moves: bool,
}

impl Progress {
    /// Announces the work.
    pub fn start(name: &str) -> Progress {
        if !is_live() {
            println!("{name} ...");
        }
        Progress::start_announced(name)
    }

    /// Starts work that a heading has announced already.
    pub fn start_announced(name: &str) -> Progress {
        let progress = Progress {
            name: name.to_owned(),
            started: Instant::now(),
            moves: is_live(),
        };
        progress.note("");
        progress
    }

    /// Starts work beside other work: it shows nothing until it ends.
    pub fn start_silently(name: &str) -> Progress {
        Progress {
            name: name.to_owned(),
            started: Instant::now(),
            moves: false,
        }
    }

    /// Shows how far it is; on a terminal only.
    pub fn note(&self, note: &str) {
        if self.moves {
            let line = format!(
                "{} ... {}  {note}",
                self.name,
                duration(self.started.elapsed())
            );
            let short: String = line
                .chars()
                .filter(|c| !c.is_control())
                .take(LINE_CHARS_MAX)
                .collect();
            print!("\r\x1b[2K{short}");
            let _ = stdout().flush();
        }
    }

    /// Shows a bar of `done` out of `all`; on a terminal only.
    pub fn bar(&self, done: usize, all: usize) {
        const WIDTH: usize = 30;
        let full = (done * WIDTH).checked_div(all).unwrap_or(0).min(WIDTH);
        self.note(&format!(
            "[{}{}] {done}/{all}",
            "#".repeat(full),
            ".".repeat(WIDTH - full)
        ));
    }

    /// Ends the work with a result and the time it took.
    pub fn end(self, result: &str) {
        if self.moves {
            print!("\r\x1b[2K");
        }
        println!(
            "{}: {result} ({})",
            self.name,
            duration(self.started.elapsed())
        );
    }
}
