//! `logboom status`: who writes a log, how full the queues are, what became of the records. It only looks: no lease is taken.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logboom::DropReason;
use logboom::status::{FileStatus, LedgerTotals, Status, Worker};
use serde_json::{Value, json};

use crate::exit::{Ending, Failure};
use crate::relaying::destinations::{self, Destination};
use crate::terminal::{BAD, GOOD, HEADING, NOTE};
use crate::words;

const BAR_WIDTH: usize = 12;

const EXAMPLES: &str = "\
Examples:
  logboom status /var/log/shop/app.log    the domain of that log: all logs of its directory
  logboom status --watch                  the logs of this directory, drawn anew every second
  logboom status --json /var/log/shop | jq '.workers[] | select(.alive | not)'

The fields of --json (they stay; others may be added):
  version           1
  directory, state  paths; domain is the domain's id in hexadecimal, as in ledger ids
  queue_bytes       length of each worker's queue
  phase             what the holder is in the middle of: Idle, Window, Writing(n), Undo(n),
                    Commit, Rotate, Rotated or Unknown
  holder            null, or a worker: who holds the drain lease
  workers[]         slot, epoch, pid, alive, state (letter of proc(5) or null), state_text,
                    queued_bytes, published, dropped {full, reentrant, no_place, corrupt}
  files[]           path, bytes, records, rotations, outside_rotations, rollover_at (local time
                    or null), rollover_at_s (seconds since 1970), errno, error, errors,
                    error_at_ns, foreign_bytes, truncations, has_hooks, compress
  destinations[]    name, to, state (idle, up, down), since_ns, relay (process id, or null when
                    none runs), relay_error (why the last one could not run), delivered, refused,
                    given_up, sent_again, dropped, waiting (records, or null), waiting_bytes,
                    lag_s, in_flight, failures, connections, last_error, last_error_ns, rate
                    (records a second), spool_bytes, spool_bytes_max, stored_ns
  ledger            published, written, queued, dropped {...}, adds_up, cut, steals,
                    recoveries, undone, left_misplaced, corrupt_queues, holds, hold_ns_max

Exit codes:
  0  shown
  2  wrong usage
  3  there is no domain, or it cannot be read";

/// Show who writes a log, how full the queues are, the rotations, the last errors, the destinations and the ledger.
///
/// A domain is the processes that log into one directory as one user. This only looks at its shared state: it takes no lease
/// and disturbs nobody, so it also works while the holder is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A log file, or its directory
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
    /// Draw anew every second, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Shows the status once, or again and again.
///
/// # Errors
/// There is no domain, or it cannot be read; `--watch` without a terminal.
pub fn run(args: Args) -> Result<Ending, Failure> {
    if args.watch && !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "failed to watch: standard output is no terminal; run `logboom status` again and again, or use --json",
        ));
    }
    loop {
        let status = look(&args.path)?;
        if args.json {
            anstream::println!("{:#}", json_of(&status, &destinations::of(&status.directory)));
        } else if args.watch {
            anstream::print!(
                "\x1b[H\x1b[J{}\n{}",
                words::time(words::now_s()),
                text_of(&status)
            );
            std::thread::sleep(Duration::from_secs(1));
            continue;
        } else {
            anstream::print!("{}", text_of(&status));
        }
        return Ok(Ending::Fine);
    }
}

/// The status of the logs at `path`.
///
/// # Errors
/// As [`run`].
pub(crate) fn look(path: &Path) -> Result<Status, Failure> {
    let directory = crate::owner::directory_of(path)?;
    logboom::status::status(path).map_err(|error| crate::owner::refusal(&directory, &error))
}

/// Records that are in a queue now, as far as the ledger tells; it is read while others write.
pub(crate) fn queued_records(ledger: &LedgerTotals) -> u64 {
    let lost_in_queue = ledger.dropped[DropReason::Corrupt as usize];
    ledger
        .published
        .saturating_sub(ledger.written + lost_in_queue)
}

/// False when records are neither in files nor in queues nor counted as dropped.
fn adds_up(status: &Status) -> bool {
    let waiting = status.workers.iter().any(|worker| worker.queued_bytes > 0);
    waiting || status.holder.is_some() || queued_records(&status.ledger) == 0
}

fn text_of(status: &Status) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{HEADING}{}{HEADING:#}  domain {:x}, state {}",
        status.directory.display(),
        status.domain_id,
        status.state.display()
    );
    let _ = writeln!(text, "{}\n", holder_line(status));
    workers(&mut text, status);
    files(&mut text, &status.files);
    text.push_str(&destinations::text(&destinations::of(&status.directory)));
    ledger(&mut text, status);
    text
}

fn holder_line(status: &Status) -> String {
    match &status.holder {
        None => "Nobody holds the drain lease: nothing is being written now.".into(),
        Some(holder) => {
            let doing = words::process_state(holder.alive, holder.state);
            let hint = match (holder.alive, holder.state) {
                (false, _) => {
                    ": the next record, the next start or `logboom recover` takes it over"
                }
                (_, Some('T' | 't')) => ": files wait until it goes on; continue it with SIGCONT",
                (_, Some('D')) => ": files wait for that disk",
                _ => "",
            };
            let style = if hint.is_empty() { GOOD } else { BAD };
            format!(
                "Process {} holds the drain lease ({}) and is {style}{doing}{style:#}{hint}.",
                holder.pid, status.phase
            )
        }
    }
}

fn workers(text: &mut String, status: &Status) {
    let _ = writeln!(text, "{HEADING}Workers{HEADING:#}");
    if status.workers.is_empty() {
        let _ = writeln!(text, "  none\n");
        return;
    }
    let _ = writeln!(
        text,
        "  {:>8}  {:<18}  {:<28}  {:>13}  dropped",
        "pid", "state", "queue", "published"
    );
    for worker in &status.workers {
        let doing = words::process_state(worker.alive, worker.state);
        let style = match doing {
            "dead" | "stopped" | "waiting for a disk" => BAD,
            _ => GOOD,
        };
        let queue = format!(
            "{} {}",
            words::bar(worker.queued_bytes, status.queue_bytes, BAR_WIDTH),
            words::bytes(worker.queued_bytes)
        );
        let dropped = words::drops(&worker.dropped);
        let drop_style = if dropped == "0" {
            anstyle::Style::new()
        } else {
            BAD
        };
        let _ = writeln!(
            text,
            "  {:>8}  {style}{doing:<18}{style:#}  {queue:<28}  {:>13}  {drop_style}{dropped}{drop_style:#}",
            worker.pid,
            words::count(worker.published)
        );
    }
    let _ = writeln!(
        text,
        "  each queue holds {}\n",
        words::bytes(status.queue_bytes)
    );
}

fn files(text: &mut String, files: &[FileStatus]) {
    let _ = writeln!(text, "{HEADING}Files{HEADING:#}");
    for file in files {
        let name = file
            .path
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string();
        let outside = match file.outside_rotations {
            0 => String::new(),
            number => format!(" ({} of them from outside)", words::count(number)),
        };
        let _ = writeln!(
            text,
            "  {name}  {}, {}; {}{outside}",
            words::bytes(file.bytes),
            words::of(file.records, "record"),
            words::of(file.rotations, "rotation")
        );
        if let Some(at_s) = file.rollover_at_s {
            let _ = writeln!(
                text,
                "      next rollover by time at {}",
                words::time(at_s as i64)
            );
        }
        if file.has_hooks {
            let _ = writeln!(
                text,
                "      rotated by its own processes' code (namer, rotator or overrides)"
            );
        }
        match file.errno {
            Some(errno) => {
                let _ = writeln!(
                    text,
                    "      {BAD}cannot be written:{BAD:#} {} (last at {}, {} so far); records wait in the queues",
                    words::errno(errno),
                    words::time_ns(file.error_at_ns),
                    words::of(file.errors, "error")
                );
            }
            None if file.errors > 0 => {
                let _ = writeln!(
                    text,
                    "      {} so far, the last at {}; it is written again",
                    words::of(file.errors, "error"),
                    words::time_ns(file.error_at_ns)
                );
            }
            None => {}
        }
        if file.foreign_bytes > 0 || file.truncations > 0 {
            let _ = writeln!(
                text,
                "      {NOTE}others{NOTE:#} wrote {} to it and cut it {}",
                words::bytes(file.foreign_bytes),
                words::of(file.truncations, "time")
            );
        }
    }
    if files.is_empty() {
        let _ = writeln!(text, "  none");
    }
    let _ = writeln!(text);
}

fn ledger(text: &mut String, status: &Status) {
    let ledger = &status.ledger;
    let queued = queued_records(ledger);
    let lost_in_queue = ledger.dropped[DropReason::Corrupt as usize];
    let _ = writeln!(text, "{HEADING}Ledger{HEADING:#}");
    let damaged = match lost_in_queue {
        0 => String::new(),
        number => format!(" + {} in damaged queues", words::count(number)),
    };
    let (style, verdict) = match (adds_up(status), queued) {
        (false, _) => (BAD, "  does not add up"),
        (true, 0) => (GOOD, "  adds up"),
        (true, _) => (NOTE, "  some are on their way"),
    };
    let _ = writeln!(
        text,
        "  {} published = {} written + {} queued{damaged}{style}{verdict}{style:#}",
        words::count(ledger.published),
        words::count(ledger.written),
        words::count(queued)
    );
    let dropped = words::drops(&ledger.dropped);
    let style = if dropped == "0" { GOOD } else { BAD };
    let _ = writeln!(
        text,
        "  {style}{dropped}{style:#} dropped{}",
        if ledger.cut > 0 {
            format!(", {} cut to their first part", words::count(ledger.cut))
        } else {
            String::new()
        }
    );
    let _ = writeln!(
        text,
        "  {} of the lease, the longest {:.3} ms; taken from a dead process {}, journal settled {}",
        words::of(ledger.holds, "hold"),
        ledger.hold_ns_max as f64 / 1e6,
        words::of(ledger.steals, "time"),
        words::of(ledger.recoveries, "time")
    );
    if ledger.undone + ledger.left_misplaced + ledger.corrupt_queues > 0 {
        let _ = writeln!(
            text,
            "  {} taken back from a moved file, {} left in one, {} unreadable",
            words::of(ledger.undone, "batch"),
            words::of(ledger.left_misplaced, "record"),
            words::of(ledger.corrupt_queues, "queue")
        );
    }
}

fn json_of(status: &Status, destinations: &[Destination]) -> Value {
    json!({
        "version": 1,
        "directory": status.directory,
        "state": status.state,
        "domain": format!("{:x}", status.domain_id),
        "queue_bytes": status.queue_bytes,
        "phase": status.phase,
        "holder": status.holder.as_ref().map(json_of_worker),
        "workers": status.workers.iter().map(json_of_worker).collect::<Vec<_>>(),
        "files": status.files.iter().map(json_of_file).collect::<Vec<_>>(),
        "destinations": destinations.iter().map(Destination::json).collect::<Vec<_>>(),
        "ledger": json_of_ledger(status),
    })
}

fn json_of_worker(worker: &Worker) -> Value {
    json!({
        "slot": worker.slot,
        "epoch": worker.epoch,
        "pid": worker.pid,
        "alive": worker.alive,
        "state": worker.state,
        "state_text": words::process_state(worker.alive, worker.state),
        "queued_bytes": worker.queued_bytes,
        "published": worker.published,
        "dropped": json_of_drops(&worker.dropped),
    })
}

/// The counters by reason, as all JSON of this program has them.
pub(crate) fn json_of_drops(dropped: &[u64]) -> Value {
    let pairs = dropped.iter().zip(DropReason::ALL);
    pairs
        .map(|(number, reason)| (reason.name().replace(' ', "_"), Value::from(*number)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn json_of_file(file: &FileStatus) -> Value {
    json!({
        "path": file.path,
        "bytes": file.bytes,
        "records": file.records,
        "rotations": file.rotations,
        "outside_rotations": file.outside_rotations,
        "rollover_at": file.rollover_at_s.map(|at_s| words::time(at_s as i64)),
        "rollover_at_s": file.rollover_at_s,
        "errno": file.errno,
        "error": file.errno.map(words::errno),
        "errors": file.errors,
        "error_at_ns": file.error_at_ns,
        "foreign_bytes": file.foreign_bytes,
        "truncations": file.truncations,
        "has_hooks": file.has_hooks,
        "compress": file.compress.extension().trim_start_matches('.'),
    })
}

fn json_of_ledger(status: &Status) -> Value {
    let ledger = &status.ledger;
    json!({
        "published": ledger.published,
        "written": ledger.written,
        "queued": queued_records(ledger),
        "dropped": json_of_drops(&ledger.dropped),
        "adds_up": adds_up(status),
        "cut": ledger.cut,
        "steals": ledger.steals,
        "recoveries": ledger.recoveries,
        "undone": ledger.undone,
        "left_misplaced": ledger.left_misplaced,
        "corrupt_queues": ledger.corrupt_queues,
        "holds": ledger.holds,
        "hold_ns_max": ledger.hold_ns_max,
    })
}
