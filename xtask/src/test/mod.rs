//! `cargo xtask test`: every check and test of the project, in order, each with a heading and its time. A step that
//! fails does not stop the others; the last line adds up all tests of all runners. A check (a lint, a build) counts as
//! one test.

mod checks;
mod nextest;
mod report;
mod runners;
mod step;
mod workbench;

use crate::paths;
use crate::screen::{Progress, bad, duration, good, odd, strong};
use anyhow::{Context, Result, bail};
use report::Report;
use std::fs;
use std::iter;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use step::Step;
use workbench::Workbench;

/// Lines of a failing step that are shown; all of them are in the step's output file.
const SHOWN_LINES_MAX: usize = 200;
/// Steps that run beside each other.
const BESIDE_MAX: usize = 2;

/// Runs every check and test of the project.
#[derive(clap::Args)]
pub struct Arguments {
    /// Everything long: torture with 10,000 kills, every instruction of the single-step test, fuzzing.
    #[arg(long)]
    full: bool,
    /// Run only the steps with this name or whose name starts with it; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the steps and end.
    #[arg(long)]
    list: bool,
}

/// Runs the steps; true if nothing failed.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let bench = Workbench::new(arguments.full)?;
    let mut steps = step::all(&bench);
    if !arguments.only.is_empty() {
        for name in &arguments.only {
            if !steps.iter().any(|step| step.is_called(name)) {
                bail!(
                    "failed to find a step called `{name}`; `cargo xtask test --list` shows them"
                );
            }
        }
        steps.retain(|step| arguments.only.iter().any(|name| step.is_called(name)));
    }
    if arguments.list {
        for step in &steps {
            println!("{:<16} {}", step.name, step.title);
        }
        return Ok(true);
    }
    let started = Instant::now();
    let done = run_all(&bench, &steps)?;
    Ok(sum_up(&done, started.elapsed()))
}

/// A step with what it found and how long it took.
type Done<'a> = (&'a Step, Report, Duration);

/// Runs the steps, while environments and wheel are made in the background.
fn run_all<'a>(bench: &Workbench, steps: &'a [Step]) -> Result<Vec<Done<'a>>> {
    let outputs = paths::work().join("test-outputs");
    fs::create_dir_all(&outputs)
        .with_context(|| format!("failed to create `{}`", outputs.display()))?;
    bench.announce(steps.iter().flat_map(|step| step.needs.clone()).collect());
    let done = thread::scope(|scope| {
        scope.spawn(|| bench.prepare());
        let groups = steps.chunk_by(|a, b| a.beside && b.beside);
        groups
            .flat_map(|group| run_group(bench, group))
            .collect::<Vec<_>>()
    });
    Ok(done)
}

/// Runs one step, or neighbours beside each other, so many at a time; in the order in which they stand.
fn run_group<'a>(bench: &Workbench, group: &'a [Step]) -> Vec<Done<'a>> {
    for step in group {
        println!("\n{}", strong(&format!("{}: {}", step.name, step.title)));
    }
    if let [step] = group {
        return vec![run_one(bench, step, Progress::start_announced(&step.name))];
    }
    let waiting = Mutex::new(group.iter());
    let worker = || {
        let next = || waiting.lock().expect("not poisoned").next();
        let run = |step: &'a Step| run_one(bench, step, Progress::start_silently(&step.name));
        iter::from_fn(next).map(run).collect::<Vec<_>>()
    };
    let mut done: Vec<Done> = thread::scope(|scope| {
        let workers: Vec<_> = (0..BESIDE_MAX).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    done.sort_by_key(|(step, _, _)| group.iter().position(|other| other.name == step.name));
    done
}

fn run_one<'a>(bench: &Workbench, step: &'a Step, progress: Progress) -> Done<'a> {
    let started = Instant::now();
    let outcome = (step.run)(bench, &progress);
    let mut report = outcome.unwrap_or_else(|error| Report::failure(format!("{error:#}\n")));
    let file = paths::work()
        .join("test-outputs")
        .join(format!("{}.txt", step.name));
    if let Err(error) = fs::write(&file, &report.output) {
        report.add(&Report::failure(format!(
            "failed to write `{}`: {error}\n",
            file.display()
        )));
    }
    let text = report.to_string();
    progress.end(&if report.failed > 0 {
        bad(&text)
    } else {
        good(&text)
    });
    if report.failed > 0 {
        show_end(&report.output);
        println!("all of it: {}", file.display());
    }
    (step, report, started.elapsed())
}

fn show_end(output: &str) {
    let lines: Vec<&str> = output.trim_end().lines().collect();
    let hidden = lines.len().saturating_sub(SHOWN_LINES_MAX);
    if hidden > 0 {
        println!("... {hidden} lines before these");
    }
    for line in &lines[hidden..] {
        println!("  {line}");
    }
}

/// Prints times, reasons of skips, failing steps, and the last line.
fn sum_up(done: &[Done], took: Duration) -> bool {
    println!("\n{}", strong("Times"));
    for (step, _, took) in done {
        println!("{:<16} {:>12}", step.name, duration(*took));
    }
    println!("{:<16} {:>12}", "all", duration(took));

    println!();
    for (step, report, _) in done {
        for reason in &report.skipped {
            println!("{} {}: {reason}", odd("skipped"), step.name);
        }
    }
    let mut sum = Report::default();
    for (step, report, _) in done {
        if report.failed > 0 {
            println!("{} {}: {report}", bad("failed"), step.name);
        }
        sum.add(report);
    }
    println!();
    println!("{sum}");
    sum.failed == 0
}
