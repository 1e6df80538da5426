//! `logboom rewind`: what the recorders have, of living and of dead workers.

use std::time::Duration;

use crate::exit::{Context, Ending, Failure};
use crate::terminal::NOTE;
use crate::viewing::filters::Filters;
use crate::viewing::past;
use crate::viewing::places::{self, Place};
use crate::viewing::printing::{Forms, Printer};
use crate::viewing::spans;

const EXAMPLES: &str = "\
Examples:
  logboom rewind --last 60s                  the last minute of all workers, dead ones included
  logboom rewind --request 9f2c              all that is known of one request
  logboom rewind shop.db --worker 4711       a component in one worker
  logboom rewind --where status^=5           all that is known of requests that failed
  logboom rewind --level debug --json        for programs

Recorders keep the newest records of each worker, also those below the level that is written to
the files: set recorder.level in logboom.toml. What newer records have overwritten is counted and
said on standard error.

Exit codes:
  0  shown (also: nothing matched)
  2  wrong usage
  3  there is no domain, or it cannot be read";

/// Show what was recorded before anybody asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filters: Filters,
    /// How far back, for example 60s or 10m [default: as far as the recorders go]
    #[arg(long, value_name = "SPAN", value_parser = spans::parse)]
    last: Option<Duration>,
    #[command(flatten)]
    forms: Forms,
    #[command(flatten)]
    place: Place,
}

/// Shows what is recorded.
///
/// # Errors
/// There is no domain, or it cannot be read.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let viewer = places::open(&args.place.find()?)?;
    let (all, overwritten) = viewer.recorded();
    let is_empty = all.is_empty() && overwritten == 0;
    let past = past::choose(all, overwritten, args.last, &args.filters.wanted());
    let mut printer = Printer::new(args.forms.form());
    printer
        .print(&past.records)
        .or_failed("write to", "standard output")?;
    for said in &past.said {
        anstream::eprintln!("{NOTE}logboom:{NOTE:#} {said}");
    }
    if is_empty {
        anstream::eprintln!(
            "{NOTE}logboom:{NOTE:#} nothing is recorded; set recorder.level in logboom.toml, for example to \"debug\""
        );
    }
    Ok(Ending::Fine)
}
