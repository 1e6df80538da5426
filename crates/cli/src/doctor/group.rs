//! The workers, the holder of the lease, and the files: does everything move?

use std::time::Duration;

use logboom::status::{FileStatus, Status};

use super::Lines;
use crate::words;

/// How long a holder is watched before it is said not to move.
const WATCH: Duration = Duration::from_millis(100);
const WATCHES: usize = 4;
const DAY_S: i64 = 86_400;

pub(super) fn check(lines: &mut Lines, status: &Status, look_again: impl Fn() -> Option<Status>) {
    holder(lines, status, look_again);
    workers(lines, status);
    for file in &status.files {
        errors(lines, file);
        clock(lines, file);
    }
    let dropped: u64 = status.ledger.dropped.iter().sum();
    if dropped > 0 {
        lines.note(
            "ledger",
            status.directory.display(),
            format!(
                "records were dropped since the domain began: {}",
                words::drops(&status.ledger.dropped)
            ),
        );
    }
    if status.ledger.corrupt_queues > 0 {
        lines.note(
            "ledger",
            status.directory.display(),
            format!(
                "{} could not be read: memory was overwritten by its process",
                words::of(status.ledger.corrupt_queues, "queue")
            ),
        );
    }
}

fn holder(lines: &mut Lines, status: &Status, look_again: impl Fn() -> Option<Status>) {
    let Some(holder) = &status.holder else {
        return lines.good(
            "holder",
            "drain lease",
            "nobody holds it: nothing waits to be written",
        );
    };
    let object = format!("process {}", holder.pid);
    if !holder.alive {
        let what = format!("died while it held the drain lease ({})", status.phase);
        return lines.find("holder", object, what, "nothing, if the others log on: the next record takes over; otherwise run `logboom recover`");
    }
    match holder.state {
        Some('T' | 't') => {
            let what = format!(
                "holds the drain lease and is stopped ({}): no file is written until it goes on",
                words::process_state(true, holder.state)
            );
            return lines.find(
                "holder",
                object,
                what,
                format!("kill -CONT {0}, or end it: kill -KILL {0}", holder.pid),
            );
        }
        None => lines.note(
            "holder",
            object.clone(),
            "holds the drain lease; it is in another pid namespace, so its state cannot be seen",
        ),
        Some(_) => {}
    }
    if let Some(state) = stuck(status, look_again) {
        let what = format!(
            "holds the drain lease without getting on and is {state}: no file is written meanwhile"
        );
        let remedy = match state {
            "waiting for a disk" => {
                "look at the log volume (a stalled disk or network mount); records wait in the queues"
            }
            _ => {
                "look what keeps it: a frozen or throttled container, a debugger, a stalled volume"
            }
        };
        return lines.find("holder", object, what, remedy);
    }
    lines.good(
        "holder",
        object,
        format!(
            "holds the drain lease and is {}",
            words::process_state(true, holder.state)
        ),
    );
}

/// The state of a holder that was seen several times in one hold, with records waiting and none written.
fn stuck(first: &Status, look_again: impl Fn() -> Option<Status>) -> Option<&'static str> {
    let mut state = "";
    for _ in 0..WATCHES {
        std::thread::sleep(WATCH);
        let now = look_again()?;
        let (was, is) = (first.holder.as_ref()?, now.holder.as_ref()?);
        let waiting: u64 = now.workers.iter().map(|worker| worker.queued_bytes).sum();
        let same = was.epoch == is.epoch
            && first.ledger.holds == now.ledger.holds
            && first.ledger.written == now.ledger.written;
        if !same || waiting == 0 {
            return None;
        }
        state = words::process_state(is.alive, is.state);
    }
    Some(state)
}

fn workers(lines: &mut Lines, status: &Status) {
    let living = status.workers.iter().filter(|worker| worker.alive).count();
    for worker in &status.workers {
        let object = format!("process {}", worker.pid);
        if !worker.alive && worker.queued_bytes > 0 {
            let what = format!(
                "died with {} of records in its queue",
                words::bytes(worker.queued_bytes)
            );
            let remedy = match living {
                0 => format!(
                    "start the program again, or run `logboom recover {}`",
                    status.directory.display()
                ),
                _ => format!(
                    "nothing, if the others log on; otherwise run `logboom recover {}`",
                    status.directory.display()
                ),
            };
            lines.find("worker", object, what, remedy);
        } else if worker.alive && worker.queued_bytes > status.queue_bytes / 8 * 7 {
            let what = format!(
                "has a full queue: {} of {}",
                words::bytes(worker.queued_bytes),
                words::bytes(status.queue_bytes)
            );
            lines.find("worker", object, what, "see what keeps the holder or the file; a larger queue_bytes rides out longer stalls");
        } else if worker.alive && matches!(worker.state, Some('T' | 't')) {
            lines.note(
                "worker",
                object,
                "is stopped; it does not hold the drain lease",
            );
        }
    }
    lines.good(
        "workers",
        status.directory.display(),
        format!("{living} living"),
    );
}

fn errors(lines: &mut Lines, file: &FileStatus) {
    let Some(errno) = file.errno else {
        return;
    };
    let remedy = match errno {
        libc::ENOSPC | libc::EDQUOT => "free space on its volume, or raise the quota",
        libc::EACCES | libc::EPERM => {
            "give the user of the workers permission to write it and its directory"
        }
        libc::EROFS => "remount the volume writable, or log elsewhere",
        libc::ENOENT | libc::ENOTDIR => "create its directory again",
        libc::EIO => "look at the disk (dmesg)",
        _ => "mend that",
    };
    let what = format!(
        "cannot be written or rotated since {}: {}",
        words::time_ns(file.error_at_ns),
        words::errno(errno)
    );
    lines.find(
        "file",
        file.path.display(),
        what,
        format!("{remedy}; writing goes on by itself then"),
    );
}

/// A clock that was set back leaves a boundary that is further away than the schedule allows.
fn clock(lines: &mut Lines, file: &FileStatus) {
    let (Some(at_s), Some(schedule)) = (file.rollover_at_s, file.schedule) else {
        return;
    };
    let now_s = words::now_s();
    let zone = logboom::files::schedule::Zone::system();
    let usual_s = schedule.first_rollover(now_s, &zone);
    // A boundary is at most one interval away; the day allows for changes of the clocks and of the zone.
    let latest_s = schedule.next_rollover(usual_s, usual_s, &zone) + DAY_S;
    if at_s as i64 > latest_s {
        lines.find(
            "clock",
            file.path.display(),
            format!("its next rollover is only due at {}, after {} it was to be at {}: the clock was ahead when it was reckoned", words::time(at_s as i64), words::time(now_s), words::time(usual_s)),
            "set the clock right, or restart all processes that log there: the time is reckoned anew then",
        );
    }
}
