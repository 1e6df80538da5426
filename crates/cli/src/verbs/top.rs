//! `logboom top`: workers, rates, queues, requests in flight and rules on a full screen.

use std::io::IsTerminal;
use std::time::Duration;


use crate::exit::{Context, Ending, Failure};
use crate::viewing::picture::{self, Counters, Picture};
use crate::viewing::places::{self, Place};
use crate::viewing::screen;

const EXAMPLES: &str = "\
Examples:
  logboom top                       the log of this directory
  logboom top --log /var/log/shop   another
  logboom top | head                without a terminal: one plain picture

It is drawn once a second, and only what has changed is sent: it can be used over a slow line.
q ends it.

Exit codes:
  0  ended, or shown
  2  wrong usage
  3  there is no domain, or it cannot be read";

/// Over this long a picture without a screen measures its rates.
const SAMPLE: Duration = Duration::from_millis(250);

/// Watch workers, rates, queues, requests and rules.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Shows the domain until `q`, or once where there is no terminal.
///
/// # Errors
/// There is no domain, it cannot be read, or the terminal cannot be used.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let directory = args.place.find()?;
    let open = || places::open(&directory);
    let mut viewer = open()?;
    let mut counters = Counters::of(&viewer.status());
    if !std::io::stdout().is_terminal() {
        std::thread::sleep(SAMPLE);
        let (picture, _) = picture::look(&viewer, &counters);
        anstream::print!("{}", picture.plain());
        return Ok(Ending::Fine);
    }
    let look = || -> Picture {
        if !viewer.is_current()
            && let Ok(anew) = open()
        {
            viewer = anew;
            counters = Counters::of(&viewer.status());
        }
        let (picture, now) = picture::look(&viewer, &counters);
        counters = now;
        picture
    };
    screen::run(look).or_failed("draw on", "the terminal")?;
    Ok(Ending::Fine)
}
