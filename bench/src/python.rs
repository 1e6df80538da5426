//! The handlers of Python, measured by `python/handlers.py` with the interpreter that was asked for.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::place::Place;
use crate::stats::Series;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/handlers.py");

/// What the script prints.
#[derive(Deserialize)]
pub struct Python {
    /// Version of the interpreter.
    pub version: String,
    /// Version of concurrent-log-handler.
    pub rival_version: String,
    /// All handlers, for each number of processes.
    pub cells: Vec<Cell>,
}

/// One handler with one number of processes.
#[derive(Deserialize)]
pub struct Cell {
    /// Name of the class, with its module.
    pub name: String,
    /// How many processes.
    pub processes: usize,
    /// Records a second of each round.
    pub rates: Vec<f64>,
    /// Nanoseconds of one call, of each round.
    pub p50: Vec<f64>,
    /// The same at the 99th percentile.
    pub p99: Vec<f64>,
    /// Records that were not in the file at the end, all rounds together.
    pub lost: i64,
}

impl Cell {
    /// Records a second.
    pub fn rate(&self) -> Series {
        Series::from(self.rates.clone())
    }

    /// Median of the rounds' medians.
    pub fn p50_ns(&self) -> f64 {
        Series::from(self.p50.clone()).median()
    }

    /// Median of the rounds' 99th percentiles.
    pub fn p99_ns(&self) -> f64 {
        Series::from(self.p99.clone()).median()
    }
}

impl Python {
    /// The cell of a handler.
    pub fn find(&self, name: &str, processes: usize) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.name == name && cell.processes == processes)
    }
}

/// Runs the script.
pub fn measure(
    place: &Place,
    python: &Path,
    rounds: usize,
    time: Duration,
    shrink: usize,
) -> Result<Python> {
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(place.logs());
    command.arg("--rounds").arg(rounds.to_string());
    command.arg("--seconds").arg(time.as_secs().to_string());
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
        "the script of the Python handlers failed; the environment of `{}` needs logboom and concurrent-log-handler",
        python.display()
    );
    serde_json::from_slice(&output.stdout).context("failed to read what the script printed")
}
