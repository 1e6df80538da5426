//! `logboom tail`: what all workers log, as it comes, merged by time.

use logboom::rules::Rule;

use crate::exit::{Ending, Failure};
use crate::terminal::NOTE;
use crate::viewing::conditions;
use crate::viewing::filters::{Filters, Wanted};
use crate::viewing::places::Place;
use crate::viewing::printing::{Forms, Printer};
use crate::viewing::stream::{Kind, Stream};
use crate::viewing::watch::Watch;
use crate::viewing::{spans, who};

const EXAMPLES: &str = "\
Examples:
  logboom tail                                 all workers of the log of this directory
  logboom tail shop.payments --level warning   a component, from this level on
  logboom tail --request 9f2c                  one request, through all components
  logboom tail --where 'path^=/checkout'       requests like this
  logboom tail order=7 -e 'refused|expired'    a field, and a pattern in the line
  logboom tail --json | jq .body               for programs

It shows what is written to files, and what rules reveal (`logboom debug`, `logboom level`); with
--recorded also what the recorders keep below the level (recorder.level in logboom.toml). Filters
of one kind are alternatives, filters of different kinds must all hold. On a terminal, space pauses
and goes on, q ends. What was overwritten before it could be read is counted and said on standard
error. It goes on when workers come and go, when files are rotated and when the server is started
anew.

Exit codes:
  0  ended by Ctrl-C, or nobody read any more
  2  wrong usage
  3  there is no domain, or it cannot be read";

/// Show the records of all workers as they come.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filters: Filters,
    /// Also what the workers only record: below the level, and wanted by no rule
    #[arg(long)]
    recorded: bool,
    #[command(flatten)]
    forms: Forms,
    #[command(flatten)]
    place: Place,
}

/// Shows records until Ctrl-C.
///
/// # Errors
/// There is no domain, it cannot be read, or there is no room for another viewer's rule.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let wanted = Wanted {
        no_recorded: !args.recorded,
        ..args.filters.wanted()
    };
    // Workers record for a viewer that has a rule, though this one reveals nothing. It asks for no more than it shows.
    let only = |of: &[String]| match of {
        [one] => one.clone(),
        _ => String::new(),
    };
    let worker = match wanted.workers[..] {
        [one] => one,
        _ => 0,
    };
    let rule = Rule {
        component: only(&wanted.components),
        condition: conditions::of_rule(&wanted.conditions),
        worker,
        severity: Rule::NOTHING_MORE,
        kept: false,
        held: true,
        made_ns: spans::now_ns(),
        expires_ns: 0,
        maker: std::process::id(),
        made_by: who::made_by(),
        ..Rule::default()
    };
    rule.check()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let watch = Watch::open(&args.place.find()?, rule)?;
    if watch.looks_in_vain() {
        anstream::eprintln!(
            "{NOTE}logboom:{NOTE:#} no worker records at present, and this user may not ask for it: set recorder.level in \
             logboom.toml, or run this command as the user of the workers"
        );
    }
    Stream::new(Kind::Tail, watch, wanted, Printer::new(args.forms.form()))?.run()?;
    Ok(Ending::Fine)
}
