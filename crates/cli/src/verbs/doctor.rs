//! `logboom doctor`: what is wrong with a log's surroundings, and what to do. The checks are in [`crate::doctor`].

use std::path::PathBuf;

use serde_json::json;

use crate::doctor::{self, Lines, Weight};
use crate::exit::{Ending, Failure};
use crate::terminal::{BAD, GOOD, NOTE};

const EXAMPLES: &str = "\
Examples:
  logboom doctor /var/log/shop/app.log
  sudo -u shop logboom doctor /var/log/shop    with the rights of the user that logs there
  logboom doctor --json | jq '.[] | select(.weight == \"finding\")'

Checked are: permissions of directory and files, the claim and who holds it, the state (where it
lies, its format, owner and mode), room on both volumes, the holder of the drain lease (stopped,
dead, waiting for a disk, not getting on), dead workers with records, files with errors, and
rollovers that a wrong clock has moved away.

Exit codes:
  0  all is well
  1  something is to be done; each finding says what
  2  wrong usage
  3  the directory cannot be looked into";

/// Check what a log needs: permissions, claim, state, space, a holder that moves. Says what to do.
///
/// Nothing is changed, and nobody is disturbed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A log file, or its directory
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Write one JSON array: weight (good, note, finding), check, object, what, remedy
    #[arg(long)]
    json: bool,
}

/// Examines and reports.
///
/// # Errors
/// The directory cannot be looked into.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let lines = doctor::examine(&args.path)?;
    if args.json {
        show_json(&lines);
    } else {
        show(&lines);
    }
    Ok(if lines.has_findings() {
        Ending::FoundWrong
    } else {
        Ending::Fine
    })
}

fn show(lines: &Lines) {
    for line in &lines.0 {
        let style = match line.weight {
            Weight::Good => GOOD,
            Weight::Note => NOTE,
            Weight::Finding => BAD,
        };
        anstream::println!(
            "{style}{:<8}{style:#} {}: {}: {}",
            line.weight.name(),
            line.check,
            line.object,
            line.what
        );
        if !line.remedy.is_empty() {
            anstream::println!("         what to do: {}", line.remedy);
        }
    }
    match lines
        .0
        .iter()
        .filter(|line| line.weight == Weight::Finding)
        .count()
    {
        0 => anstream::println!("{GOOD}All is well.{GOOD:#}"),
        number => anstream::println!(
            "{BAD}{}.{BAD:#}",
            crate::words::of(number as u64, "finding")
        ),
    }
}

fn show_json(lines: &Lines) {
    let all: Vec<_> = lines
        .0
        .iter()
        .map(|line| {
            json!({
                "weight": line.weight.name(),
                "check": line.check,
                "object": line.object,
                "what": line.what,
                "remedy": line.remedy,
            })
        })
        .collect();
    anstream::println!("{:#}", json!(all));
}
