//! `cargo xtask <command>`: the project's own commands. They need Rust and Python only and do their own set-up in
//! the target directory. One file or folder per command; what several of them use (finding Python, building the
//! wheel, running a program with a time limit) has a file of its own.
//!
//! A command ends with 0 when all it promised was seen to hold, with 1 when not, and with 2 when it was called
//! wrongly.

mod bench;
mod demo;
mod paths;
mod picture;
mod process;
mod python;
mod screen;
mod test;
mod wheel;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own commands.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every check and test of the project.
    Test(test::Arguments),
    /// Runs a shop under Gunicorn, kills a worker, rotates, and counts every record.
    Demo(demo::Arguments),
    /// Records the picture of the README.
    Picture(picture::Arguments),
    /// Measures against the rivals and writes docs/benchmarks.md.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Picture(arguments) => picture::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen::error(&error);
            ExitCode::FAILURE
        }
    }
}
