//! What debug on demand costs, measured by `python/debug.py` with the interpreter that was asked for: calls that are disabled,
//! and records that are only recorded; what a request's context costs a written record; and how soon a rule counts (`effect`).

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::effect::{self, Effect};
use crate::place::Place;
use crate::stats::Series;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/debug.py");

/// Enough for a 99th percentile.
const COMMANDS: usize = 500;

/// What the script prints.
#[derive(Deserialize)]
pub struct Debug {
    /// Version of the interpreter.
    pub version: String,
    /// Ways to call a logger that is not enabled; the first is without logboom.
    pub disabled: Vec<Way>,
    /// Ways to log a record below the level; the first is the standard library's call that is enabled.
    pub recorded: Vec<Way>,
    /// Ways to write a record, without the context of a request and with it.
    pub written: Vec<Way>,
    /// How soon a rule counts.
    #[serde(skip)]
    pub effect: Option<Effect>,
}

/// One way.
#[derive(Deserialize)]
pub struct Way {
    /// What is in force.
    pub name: String,
    /// More of that.
    pub note: String,
    /// Nanoseconds of a call, of each round.
    pub ns: Vec<f64>,
}

impl Way {
    /// Nanoseconds of a call.
    pub fn ns(&self) -> Series {
        Series::from(self.ns.clone())
    }

    /// Times the other way's.
    pub fn ratio(&self, to: &Way) -> f64 {
        self.ns().median() / to.ns().median()
    }
}

/// The way whose name has this in it.
pub fn find<'w>(ways: &'w [Way], part: &str) -> Option<&'w Way> {
    ways.iter().find(|way| way.name.contains(part))
}

/// Runs the script.
pub fn measure(place: &Place, python: &Path, rounds: usize, shrink: usize) -> Result<Debug> {
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(place.logs());
    command.arg("--rounds").arg(rounds.to_string());
    command.arg("--shrink").arg(shrink.to_string());
    command.env("LOGBOOM_STATE_DIR", place.state());
    command.stdout(Stdio::piped());
    let run = command.spawn().and_then(|child| child.wait_with_output());
    let output = run.with_context(|| {
        format!(
            "failed to run `{}`; give another one with --python",
            python.display()
        )
    })?;
    ensure!(
        output.status.success(),
        "the script of the cost of debug on demand failed; the environment of `{}` needs logboom",
        python.display()
    );
    let read = serde_json::from_slice(&output.stdout);
    let mut debug: Debug = read.context("failed to read what the script printed")?;
    let program = python.with_file_name("logboom");
    debug.effect = Some(effect::measure(
        place,
        &program,
        (COMMANDS / shrink).max(100),
    )?);
    Ok(debug)
}
