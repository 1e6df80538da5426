//! Shipping log files that are there: what `logboom ship` does.
//!
//! The shipper is the relay's, the source is the files, and the cursor is a file of its own: nothing of the program that writes them
//! is needed, and nothing of it is touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use logboom_config::{Effective, beside};
use logboom_relay::figures::Gauge;
use logboom_relay::follow::{Follower, Options};
use logboom_relay::plan::{self, Plan};
use logboom_relay::shipper::{Shipper, Terms};
use logboom_relay::sink;
use logboom_relay::source::{Began, Source};
use logboom_relay::stop::Stop;

use crate::exit::{Context, Ending, Failure};
use crate::terminal::{self, BAD, GOOD, NOTE};
use crate::words;

/// The destination of the command line, in a configuration that knows no other of that name.
const COMMAND_LINE: &str = "command_line";

/// What is shipped, and where to.
pub struct Following {
    /// The logs.
    pub files: Vec<PathBuf>,
    /// How they are read.
    pub options: Options,
    /// Where it is kept how far they are shipped.
    pub cursor: Option<PathBuf>,
    /// Ends when all that is there is settled.
    pub once: bool,
}

/// The plan for an address, or for a destination of the configuration; `more` are keys below `ship.NAME` with their values.
///
/// # Errors
/// The configuration is wrong, or has no such destination.
pub fn plan(
    config: Option<&Path>,
    to: Option<&str>,
    name: Option<&str>,
    more: &[(String, String)],
) -> Result<Plan, Failure> {
    let name = name.unwrap_or(COMMAND_LINE);
    let mut flags: BTreeMap<String, String> = BTreeMap::new();
    if let Some(to) = to {
        flags.insert(format!("ship.{name}.to"), to.to_owned());
    }
    for (key, value) in more {
        flags.insert(format!("ship.{name}.{key}"), value.clone());
    }
    let effective = load(config, &flags)?;
    let plans = plan::plans(&effective).map_err(Failure::could_not_run)?;
    let mut named = plans
        .into_iter()
        .filter(|plan| plan.destination.name == name);
    named.next().ok_or_else(|| {
        Failure::usage(format!(
            "failed to ship: the configuration has no `[ship.{name}]`; name one that it has, or an address with --to"
        ))
    })
}

fn load(config: Option<&Path>, flags: &BTreeMap<String, String>) -> Result<Effective, Failure> {
    let env: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    logboom_config::load(config, &env, flags).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Failure::could_not_run(lines.join("\n"))
    })
}

/// Ships until it is told to end or, `once`, until all is settled.
///
/// # Errors
/// A file cannot be read, another process has the cursor, or the destination cannot be used (a certificate that is not there).
pub fn ship(following: Following, mut plan: Plan, stop: &Arc<Stop>) -> Result<Ending, Failure> {
    name_the_program(&mut plan, &following.files);
    let destination = &plan.destination;
    let sink = sink::make(destination).map_err(|trouble| Failure::could_not_run(trouble.text))?;
    let cursor = match following.cursor {
        Some(cursor) => cursor,
        None => usual_cursor(&following.files, destination)?,
    };
    let follower = Follower::open(&following.files, &cursor, following.options);
    let follower = follower.or_failed("follow, with the cursor", cursor.display())?;
    say_where_it_begins(&follower);
    let total = follower.lag().bytes;
    let gauge = Gauge::new(&destination.name, &destination.address.to_string());
    let shipper = Shipper {
        terms: Terms {
            window: destination.window,
            batch: destination.batch,
            timeout: destination.timeout,
            retry: plan.retry,
            say_after: plan.say_after,
        },
        source: Box::new(follower),
        sink,
        gauge: gauge.clone(),
        say: Arc::new(|_, text| anstream::eprintln!("logboom: {text}")),
        dropped: Arc::new(|| 0),
        may_send: Arc::new(|| true),
        stop: stop.clone(),
    };
    let bar = following.once.then(|| terminal::progress(total));
    let all = shown(&gauge, bar.as_ref(), || match following.once {
        true => shipper.run_to_the_end(),
        false => {
            shipper.run();
            true
        }
    });
    report(&gauge, all);
    let figures = gauge.read();
    Ok(match all && figures.refused + figures.given_up == 0 {
        true => Ending::Fine,
        false => Ending::FoundWrong,
    })
}

/// A program that cannot be changed has no name of its own in its lines: its log's name is told instead.
fn name_the_program(plan: &mut Plan, files: &[PathBuf]) {
    let syslog = &mut plan.destination.syslog;
    if let (true, [file]) = (syslog.app_name.is_empty(), files)
        && let Some(stem) = file.file_stem()
    {
        let graphic = |c: char| if c.is_ascii_graphic() { c } else { '_' };
        syslog.app_name = stem
            .to_string_lossy()
            .chars()
            .map(graphic)
            .take(48)
            .collect();
    }
}

/// One cursor for each set of files and each destination, in the user's state directory.
fn usual_cursor(
    files: &[PathBuf],
    destination: &logboom_relay::destination::Destination,
) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let directory = beside::base_of_user().with_file_name("ship");
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&directory);
    made.or_failed("make", directory.display())?;
    let mut said = destination.address.to_string();
    for file in files {
        let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        said.push('\n');
        said.push_str(&path.to_string_lossy());
    }
    let stem = files
        .first()
        .and_then(|file| file.file_stem())
        .unwrap_or_default();
    let digest = crc32fast::hash(said.as_bytes());
    Ok(directory.join(format!("{}-{digest:08x}.cursor", stem.to_string_lossy())))
}

fn say_where_it_begins(follower: &Follower) {
    for (path, began) in follower.began() {
        if let Began::CursorLost(why) = began {
            anstream::eprintln!(
                "{NOTE}note:{NOTE:#} how far `{}` is shipped is not known ({why}); it is shipped from its beginning",
                path.display()
            );
        }
    }
}

/// Does the work, with a bar that shows how far it is.
fn shown<T>(gauge: &Gauge, bar: Option<&ProgressBar>, work: impl FnOnce() -> T) -> T {
    let Some(bar) = bar else { return work() };
    let over = Stop::default();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.wait(Duration::from_millis(200)) {
                let figures = gauge.read();
                bar.set_position(figures.delivered_bytes);
                bar.set_message(format!(
                    "{} shipped",
                    words::of(figures.delivered, "record")
                ));
            }
        });
        let answer = work();
        over.set();
        bar.finish_and_clear();
        answer
    })
}

fn report(gauge: &Gauge, all: bool) {
    let figures = gauge.read();
    anstream::eprintln!(
        "{GOOD}shipped{GOOD:#} {} to {}",
        words::of(figures.delivered, "record"),
        figures.to
    );
    if figures.refused > 0 {
        anstream::eprintln!(
            "{BAD}refused:{BAD:#} {}: {}",
            words::of(figures.refused, "record"),
            figures.last_error
        );
    }
    if figures.segments_missed > 0 {
        anstream::eprintln!(
            "{BAD}missed:{BAD:#} {} gone before they were shipped",
            words::of(figures.segments_missed, "file")
        );
    }
    if !all {
        anstream::eprintln!(
            "{NOTE}not shipped:{NOTE:#} {} wait",
            words::bytes(figures.waiting_bytes)
        );
    }
}
