//! `logboom recover`: drains what killed processes left in their queues.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logboom::status::{Recovered, Status, Visitor, Worker};

use crate::exit::{Ending, Failure};
use crate::owner;
use crate::terminal::{BAD, GOOD};
use crate::verbs::status::look;
use crate::words;

/// How long a file that refuses is tried again.
const PATIENCE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  logboom recover /var/log/shop           after the whole group was killed and is not started again
  logboom recover --wait 60 /var/log/*/   each directory

Records of a killed group lie in shared memory until its next start, or until this command. A
batch that was cut short by the kill is completed, never written twice.

Exit codes:
  0  nothing is left in the queues of dead processes
  1  something still is, and why
  2  wrong usage
  3  could not look: there is no domain, or its state cannot be used";

/// Write to the files what killed processes left in their queues.
///
/// Run as root, this goes on as the user whose processes wrote the log (of the first PATH).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Log files, or their directories
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How long to wait for the drain lease at most, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait: u64,
}

/// Recovers one directory after the other.
///
/// # Errors
/// A domain is missing or cannot be joined; the ones before are recovered.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let mut directories = Vec::new();
    for path in &args.paths {
        let directory = owner::directory_of(path)?;
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    let mut ending = Ending::Fine;
    for directory in &directories {
        owner::become_owner(directory)?;
        if !recover(directory, Duration::from_secs(args.wait))? {
            ending = Ending::FoundWrong;
        }
    }
    Ok(ending)
}

/// True: nothing of dead processes is left.
fn recover(directory: &Path, wait: Duration) -> Result<bool, Failure> {
    let before = look(directory)?;
    let dead: Vec<_> = before
        .workers
        .iter()
        .filter(|worker| has_left(worker))
        .collect();
    let visitor =
        Visitor::join(directory).map_err(|error| Failure::could_not_run(error.to_string()))?;
    let (recovered, after) = drain(&visitor, directory, wait)?;
    let name = directory.display();
    let drained = after.ledger.written.saturating_sub(before.ledger.written);
    let pids: Vec<_> = dead
        .iter()
        .map(|worker| format!("{} ({})", worker.pid, words::bytes(worker.queued_bytes)))
        .collect();
    if !pids.is_empty() {
        anstream::println!("`{name}`: dead processes with records: {}", pids.join(", "));
    }
    let left: u64 = after
        .workers
        .iter()
        .filter(|worker| has_left(worker))
        .map(|worker| worker.queued_bytes)
        .sum();
    if recovered.is_some() && left == 0 {
        let what = match (drained, dead.is_empty()) {
            (0, _) => "nothing was left to write".into(),
            (number, true) => format!(
                "{} of living processes written, none of dead ones was left",
                words::of(number, "record")
            ),
            (number, false) => format!("{} written", words::of(number, "record")),
        };
        anstream::println!("{GOOD}recovered:{GOOD:#} `{name}`: {what}");
        return Ok(true);
    }
    if recovered.is_none() && left == 0 && before.phase == "Idle" && dead.is_empty() {
        anstream::println!(
            "{GOOD}nothing to recover:{GOOD:#} `{name}`: no dead process has records; {}",
            holder(&after)
        );
        return Ok(true);
    }
    anstream::println!(
        "{BAD}not recovered:{BAD:#} `{name}`: {} still in queues, {} written now",
        words::bytes(left),
        words::of(drained, "record")
    );
    for reason in reasons(&after, recovered.is_none()) {
        anstream::println!("  {reason}");
    }
    Ok(false)
}

/// Drains until nothing of dead processes is left; a path that is missing for a moment is waited for, an error not for long.
fn drain(
    visitor: &Visitor,
    directory: &Path,
    wait: Duration,
) -> Result<(Option<Recovered>, Status), Failure> {
    let until = Instant::now() + wait.min(PATIENCE);
    loop {
        let recovered = visitor.recover(wait);
        let status = look(directory)?;
        if Instant::now() >= until || !status.workers.iter().any(has_left) {
            return Ok((recovered, status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_left(worker: &Worker) -> bool {
    !worker.alive && worker.queued_bytes > 0
}

fn holder(status: &Status) -> String {
    match &status.holder {
        Some(holder) => format!(
            "process {} holds the drain lease and is {}",
            holder.pid,
            words::process_state(holder.alive, holder.state)
        ),
        None => "nobody holds the drain lease".into(),
    }
}

fn reasons(status: &Status, lease_was_busy: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    if lease_was_busy {
        let remedy = match status.holder.as_ref().and_then(|holder| holder.state) {
            Some('T' | 't') => "continue it with SIGCONT, or end it, and try again",
            _ => "try again, or wait longer (--wait)",
        };
        reasons.push(format!(
            "the lease was not to be had: {}; {remedy}",
            holder(status)
        ));
    }
    for file in &status.files {
        if let Some(errno) = file.errno {
            reasons.push(format!(
                "`{}` cannot be written: {}; mend that and try again",
                file.path.display(),
                words::errno(errno)
            ));
        }
    }
    if reasons.is_empty() {
        reasons.push("no file reports an error: try again, and see `logboom doctor`".into());
    }
    reasons
}
