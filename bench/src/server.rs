//! A trivial Flask app under Gunicorn, measured by `python/server.py`: the standard set-up beside ours.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::place::Place;
use crate::stats::Series;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/server.py");

/// What the script prints.
#[derive(Deserialize)]
pub struct Server {
    /// Versions of Python, Gunicorn and Flask.
    pub versions: String,
    /// A kind of worker and a path each.
    pub cells: Vec<Cell>,
}

/// One path of the app under one kind of worker.
#[derive(Deserialize)]
pub struct Cell {
    /// Gunicorn's name of the worker class.
    pub worker: String,
    /// `/` answers; `/log` logs a record before it does.
    pub path: String,
    /// Requests a second with Gunicorn's own logger, of each round.
    pub standard: Vec<f64>,
    /// The same with ours.
    pub logboom: Vec<f64>,
}

impl Cell {
    /// Requests a second of the two.
    pub fn rates(&self) -> (Series, Series) {
        (
            Series::from(self.standard.clone()),
            Series::from(self.logboom.clone()),
        )
    }

    /// Ours to the standard's: the median of the rounds' ratios. Both servers are started anew now and then, and one is faster
    /// than another that is the same; so only the two of one round are compared.
    pub fn ratio(&self) -> f64 {
        let pairs = self.logboom.iter().zip(&self.standard);
        let ratios: Vec<f64> = pairs
            .map(|(logboom, standard)| logboom / standard)
            .collect();
        Series::from(ratios).median()
    }
}

/// Runs the script.
pub fn measure(place: &Place, python: &Path, rounds: usize, shrink: usize) -> Result<Server> {
    let mut command = Command::new(python);
    command
        .arg(SCRIPT)
        .arg(std::env::current_exe()?)
        .arg(place.logs())
        .arg(rounds.to_string());
    command.arg((1.0 / shrink as f64).to_string());
    command.env("LOGBOOM_STATE_DIR", place.state());
    command.stdout(Stdio::piped());
    let run = command.spawn().and_then(|child| child.wait_with_output());
    let output = run.with_context(|| format!("failed to run `{}`", python.display()))?;
    ensure!(
        output.status.success(),
        "the script of the servers failed; the environment of `{}` needs logboom, gunicorn and flask",
        python.display()
    );
    serde_json::from_slice(&output.stdout).context("failed to read what the script printed")
}
