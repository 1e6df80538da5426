//! `logboom debug`: the detail of one component, of some requests or of one worker, live, and back to normal by itself.

use std::time::Duration;

use logboom::Severity;
use logboom::rules::{Condition, Rule};

use crate::exit::{Context, Ending, Failure};
use crate::terminal::NOTE;
use crate::viewing::conditions;
use crate::viewing::filters::{self, Wanted};
use crate::viewing::places::Place;
use crate::viewing::printing::{Forms, Printer};
use crate::viewing::spans::Lasting;
use crate::viewing::stream::{Kind, Stream};
use crate::viewing::watch::Watch;
use crate::viewing::{levels, past, ruling, spans, who};

const EXAMPLES: &str = "\
Examples:
  logboom debug shop.payments                  this component in all workers, until Ctrl-C
  logboom debug shop.payments --for 10m --keep ... also written to the files
  logboom debug --where 'path^=/checkout'      everything of these requests
  logboom debug --where id=9f2c --rewind 60s   ... and what was recorded of it in the last minute
  logboom debug '*' --worker 4711              everything of one worker

Conditions: FIELD OP VALUE, all of them must hold. FIELD is path, method, id, user, client,
endpoint, status or header.NAME; OP is = (is), != (is not), ^= (begins with) or *= (contains).
A status is known at the end of a request only.

Nothing is restarted, and no level of the application is changed for good: the rule ends with
Ctrl-C, when its time is over, or with this process, however that ends. On a terminal, space
pauses, + lets the time begin anew, q ends.

Exit codes:
  0  ended, everything is back to normal
  2  wrong usage
  3  there is no domain, it cannot be read, or there are too many rules";

/// Reveal detail in a running server, show it live, and undo it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The component (a logger's name), and those below it; `*` is all
    #[arg(required_unless_present_any = ["conditions", "worker"])]
    component: Option<String>,
    /// When it ends at the latest: 90s, 10m, 1h, or `ever`
    #[arg(long = "for", value_name = "SPAN", default_value = "10m")]
    lasting: Lasting,
    /// Write what is revealed to the files, too
    #[arg(long)]
    keep: bool,
    /// Only requests like this: FIELD OP VALUE; several: all must hold
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
    /// Only this worker
    #[arg(long, value_name = "PID")]
    worker: Option<u32>,
    /// First show what was recorded this long ago and since
    #[arg(long, value_name = "SPAN", value_parser = spans::parse)]
    rewind: Option<Duration>,
    /// Reveal records of this level and above
    #[arg(long, default_value = "debug", value_parser = levels::parse)]
    level: Severity,
    #[command(flatten)]
    forms: Forms,
    #[command(flatten)]
    place: Place,
}

/// Reveals until Ctrl-C or the end of the time.
///
/// # Errors
/// There is no domain, it cannot be read, or the rule does not fit.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let component = args
        .component
        .as_deref()
        .map_or_else(String::new, filters::component);
    let made_ns = spans::now_ns();
    let rule = Rule {
        component: component.clone(),
        condition: conditions::of_rule(&args.conditions),
        worker: args.worker.unwrap_or(0),
        severity: args.level,
        kept: args.keep,
        held: true,
        made_ns,
        expires_ns: args.lasting.end_ns(made_ns),
        maker: std::process::id(),
        made_by: who::made_by(),
        ..Rule::default()
    };
    rule.check()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut watch = Watch::open(&args.place.find()?, rule)?;
    anstream::eprintln!(
        "{NOTE}logboom:{NOTE:#} {}; {}, {}; Ctrl-C ends it",
        ruling::what(watch.rule()),
        if args.keep {
            "also in the files"
        } else {
            "only here"
        },
        ruling::until(watch.rule(), spans::now_ns()),
    );
    let wanted = Wanted {
        components: vec![component],
        severity: Some(args.level),
        workers: args.worker.into_iter().collect(),
        conditions: args.conditions,
        ..Wanted::default()
    };
    let mut printer = Printer::new(args.forms.form());
    if let Some(last) = args.rewind {
        rewind(&mut watch, &wanted, &mut printer, last)?;
    }
    Stream::new(Kind::Debug, watch, wanted, printer)?.run()?;
    Ok(Ending::Fine)
}

fn rewind(
    watch: &mut Watch,
    wanted: &Wanted,
    printer: &mut Printer,
    last: Duration,
) -> Result<(), Failure> {
    let (all, overwritten) = watch.recorded();
    let past = past::choose(all, overwritten, Some(last), wanted);
    let count = past.records.len() as u64;
    printer
        .print(&past.records)
        .or_failed("write to", "standard output")?;
    for said in &past.said {
        anstream::eprintln!("{NOTE}logboom:{NOTE:#} {said}");
    }
    let many = crate::words::of(count, "record");
    anstream::eprintln!("{NOTE}logboom:{NOTE:#} {many} from before; from here on live");
    Ok(())
}
