//! `logboom torture`: the arguments, the order of events, and the output. What is measured and how is in [`crate::torture`].

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::exit::{Context, Ending, Failure};
use crate::terminal;
use crate::torture::plan::{self, Wish};
use crate::torture::report::{self, CaseReport, Verdict};
use crate::torture::scenario::{SCENARIOS, Start, Victim, named};
use crate::torture::{Bench, Handlers, all_fine, native};

const EXAMPLES: &str = "\
Examples:
  logboom torture                                   the short set, against the handlers of logboom
  logboom torture --against logging.handlers        the same against the standard library's
  logboom torture --against logging.handlers.RotatingFileHandler --scenario size --processes 8
  logboom torture --scenario kill --kills 1000 --size 100..65536 --keep /tmp/evidence
  logboom torture --full                            10,000 kills, 1 to 16 processes, 100 B to 64 kB

A record counts as acknowledged when the emitting call has returned. One that was in flight
when its process was killed may be found or not, but never twice and never torn.

Exit codes:
  0  nothing lost, doubled, torn, misplaced, out of order or oversize
  1  something was; the first examples are named
  2  wrong usage
  3  could not run";

/// Prove that a handler loses nothing while its log is rotated and its processes are killed.
///
/// Worker processes write numbered records; afterwards every file of the log is read and compared with what the workers say they
/// wrote. Reported are the records acknowledged, found, lost, doubled, torn, misplaced (begun after a rotation was complete, yet
/// found in the file rotated out), out of order (within a thread), and the files larger than their limit by more than one record.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario to run (repeatable); --list shows them [default: a short set]
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Run everything: every scenario, 1 to 16 processes, 100 B to 64 kB, 10,000 kills (or --kills in all)
    #[arg(long)]
    full: bool,
    /// Handler class by its dotted name, or a module that has the standard library's class names [default: logboom.handlers]
    #[arg(long, value_name = "CLASS")]
    against: Option<String>,
    /// Constructor argument besides those the scenario needs, its value as JSON or as text (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, Value)>,
    /// Interpreter that runs the workers [default: the python3 beside this program, else the one in PATH]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Worker processes, 1 to 16 [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    processes: Option<u32>,
    /// Threads of each worker that write [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// How workers start [default: as the set says, else fork]
    #[arg(long, value_name = "HOW")]
    start: Option<Starts>,
    /// Make the handler before the fork
    #[arg(long)]
    preload: bool,
    /// Sizes of the records in bytes, drawn evenly in their logarithm [default: 100..2000]
    #[arg(long, value_name = "FROM..TO", value_parser = sizes)]
    size: Option<(u32, u32)>,
    /// End a round when each thread has written so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// End a round after so many seconds [default: 2, or 4 in the slow scenarios]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<u64>,
    /// End a round when so many MiB have been written [default: 48]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    budget: Option<u64>,
    /// SIGKILL processes so many times, in rounds; a killed worker is restarted
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// Whom --kills hits in a scenario without kills of its own [default: worker]
    #[arg(long, value_name = "WHOM", requires = "kills")]
    victim: Option<Victim>,
    /// Run in this directory and keep what belongs to a failure [default: a temporary directory, removed]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Run workers that use the Rust crate `logboom` itself instead of a Python handler
    #[arg(long, conflicts_with_all = ["against", "set", "python"])]
    native: bool,
    /// Be such a worker
    #[arg(long, hide = true, num_args = 1..=4, exclusive = true)]
    native_worker: Option<Vec<String>>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Starts {
    /// Forked from one master
    Fork,
    /// Each a fresh interpreter
    Spawn,
    /// One after the other
    Both,
}

/// Runs the cases one after the other.
///
/// # Errors
/// A scenario that does not exist, or a case that could not be run.
pub fn run(args: Args) -> Result<Ending, Failure> {
    if let Some(worker) = &args.native_worker {
        return be_native(worker);
    }
    if args.list {
        for scenario in &SCENARIOS {
            anstream::println!("{:<16}{}", scenario.name, scenario.about);
        }
        return Ok(Ending::Fine);
    }
    if args.preload && matches!(args.start, Some(Starts::Spawn)) {
        return Err(Failure::usage("--preload needs --start fork: a spawned worker inherits no handler"));
    }
    let cases = plan::cases(&wish(&args)?);
    if cases.is_empty() {
        return Err(Failure::usage("no case of the default set has both this --start and --preload; name one with --scenario"));
    }
    let temporary = tempfile::Builder::new().prefix("logboom-torture-").tempdir().or_failed("make", "a temporary directory")?;
    let directory = workplace(args.keep.as_deref(), temporary.path())?;
    let handlers = if args.native {
        Handlers::Native
    } else {
        Handlers::Python {
            name: args.against.clone().unwrap_or_else(|| "logboom.handlers".to_owned()),
            interpreter: args.python.clone(),
            extra: args.set.iter().cloned().collect(),
        }
    };
    let mut bench = Bench::new(directory, args.keep.is_some(), handlers)?;
    let asked_for = !args.scenario.is_empty();

    bench.find_classes(&cases)?;
    let bar = terminal::progress(cases.len() as u64);
    if !args.json {
        bar.suspend(|| report::print_head(bench.subject()));
    }
    let mut reports = Vec::new();
    for case in &cases {
        let told = |words: &crate::torture::account::Words, kills: u32| {
            bar.set_message(format!("{} {}: {} records, {kills} kills", case.label(), case.start_label(), words.acknowledged));
        };
        let report = bench.run_case(case, asked_for, &told)?;
        if !args.json {
            bar.suspend(|| report::print(&report));
        }
        bar.inc(1);
        reports.push(report);
    }
    bar.finish_and_clear();
    if args.json {
        anstream::println!("{:#}", json!({ "ok": all_fine(&reports), "cases": reports }));
    }
    ending(&reports, asked_for)
}

fn be_native(worker: &[String]) -> Result<Ending, Failure> {
    let [config, numbers @ ..] = worker else { return Err(Failure::usage("--native-worker needs a configuration")) };
    let numbers: Vec<u32> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>().or_failed("read", "numbers")?;
    native::run(Path::new(config), &numbers).map(|()| Ending::Fine)
}

/// A skipped case is fine in a set, and a failure when it was asked for by name.
fn ending(reports: &[CaseReport], asked_for: bool) -> Result<Ending, Failure> {
    let skipped = reports.iter().find(|report| report.verdict == Verdict::Skipped);
    if !all_fine(reports) {
        return Ok(Ending::FoundWrong);
    }
    match skipped {
        Some(report) if asked_for || reports.iter().all(|report| report.verdict == Verdict::Skipped) => {
            let reason = report.skipped.as_deref().unwrap_or_default();
            Err(Failure::could_not_run(format!("failed to run `{}`: {reason}", report.scenario)))
        }
        _ => Ok(Ending::Fine),
    }
}

fn wish(args: &Args) -> Result<Wish, Failure> {
    let find = |name: &String| {
        named(name).ok_or_else(|| Failure::usage(format!("failed to find scenario `{name}`; logboom torture --list shows them")))
    };
    Ok(Wish {
        scenarios: args.scenario.iter().map(find).collect::<Result<_, _>>()?,
        full: args.full,
        starts: match args.start {
            None => Vec::new(),
            Some(Starts::Fork) => vec![Start::Fork],
            Some(Starts::Spawn) => vec![Start::Spawn],
            Some(Starts::Both) => vec![Start::Fork, Start::Spawn],
        },
        preload: args.preload.then_some(true),
        process_count: args.processes,
        thread_count: args.threads,
        size: args.size,
        record_count: args.records,
        duration_ms: args.duration,
        budget: args.budget.map(|mib| mib << 20),
        kills: args.kills,
        victim: args.victim,
    })
}

fn workplace(keep: Option<&Path>, temporary: &Path) -> Result<PathBuf, Failure> {
    let Some(keep) = keep else { return Ok(temporary.to_owned()) };
    std::fs::create_dir_all(keep).or_failed("make", keep.display())?;
    // A directory of its own: what an earlier run has kept stays.
    let kept = tempfile::Builder::new().prefix("torture-").tempdir_in(keep).or_failed("make a directory in", keep.display())?;
    let kept = std::path::absolute(kept.keep()).or_failed("find", keep.display())?;
    Ok(kept)
}

fn setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

fn sizes(text: &str) -> Result<(u32, u32), String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.parse::<u32>().map_err(|cause| format!("`{text}`: {cause}"));
    let (from, to) = (number(from)?, number(to)?);
    if (100..=65_536).contains(&from) && (from..=65_536).contains(&to) {
        Ok((from, to))
    } else {
        Err("expected FROM..TO with 100 <= FROM <= TO <= 65536".to_owned())
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds: f64 = text.parse().map_err(|cause| format!("{cause}"))?;
    if (0.1..=86_400.0).contains(&seconds) { Ok((seconds * 1000.0) as u64) } else { Err("expected 0.1 to 86400".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(sizes("100..65536"), Ok((100, 65_536)));
        assert_eq!(sizes("300"), Ok((300, 300)));
        for wrong in ["99..200", "300..200", "100..65537", "x", "100.."] {
            assert!(sizes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_json_or_text() {
        assert_eq!(setting("compress=gzip"), Ok(("compress".into(), Value::from("gzip"))));
        assert_eq!(setting("watch=false"), Ok(("watch".into(), Value::from(false))));
        assert!(setting("watch").is_err());
    }
}
