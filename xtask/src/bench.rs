//! `cargo xtask bench`: sets up an environment with our wheel and the rivals, and hands over to the package in
//! `bench/`, which measures and writes `docs/benchmarks.md`. It lies outside of the workspace, so that no rival is
//! ever compiled by those who only build or test.

use crate::paths;
use crate::python::{Venv, newest};
use crate::screen::{Progress, duration, strong};
use crate::wheel;
use anyhow::{Context, Result};
use std::process::Command;
use std::time::Instant;

/// Measures against the rivals and writes docs/benchmarks.md.
#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on to the package in `bench/`, see `cargo xtask bench -- --help`.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Runs the measurements; true if the package in `bench/` ended with 0.
pub fn run(arguments: &Arguments) -> Result<bool> {
    println!("{}", strong("Set-up"));
    let python = newest()?;
    let progress = Progress::start(&format!(
        "environment with the rivals (CPython {})",
        python.version
    ));
    let folder = paths::work().join("bench-venv");
    let venv = Venv::make(
        &folder,
        &python,
        &paths::requirements("bench"),
        Some(&progress),
    )?;
    progress.end("ready");
    let progress = Progress::start("logboom, built from this source");
    venv.install_wheel(&wheel::build(Some(&progress))?)?;
    progress.end("installed");

    println!("{}", strong("Measurements"));
    let started = Instant::now();
    let mut command = Command::new("cargo");
    command
        .args(["run", "--release", "--quiet", "--"])
        .args(&arguments.rest);
    command
        .current_dir(paths::root().join("bench"))
        .env("LOGBOOM_BENCH_PYTHON", venv.program("python"));
    let status = command
        .status()
        .context("failed to start `cargo run` in bench/")?;
    println!(
        "bench: {} ({})",
        if status.success() { "done" } else { "FAILED" },
        duration(started.elapsed())
    );
    Ok(status.success())
}
