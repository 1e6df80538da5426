//! What applications do to their processes: drop rights, close all descriptors, interrupt themselves, log more than fits.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use logboom::{DropReason, Log, LogOptions, OnFull, Outcome, Severity};

use crate::support::machine::{self, Heard, Need, child, end_well, millis, secs, within};
use crate::support::{Counters, Place, kill, open, read_strictly, record};
use crate::{holds_all, publish};

#[test]
fn a_worker_that_dropped_its_rights_after_the_fork_writes_on_and_postpones_rotation() {
    if !machine::has(&[Need::Root]) {
        return;
    }
    let (place, heard) = (Place::new(), Heard::listen());
    let options = LogOptions {
        max_bytes: 5_000,
        backup_count: 100,
        ..place.options()
    };
    let log = open(&place.log(), &options);
    fs::set_permissions(place.log(), fs::Permissions::from_mode(0o600)).unwrap();
    let pid = child(|| {
        machine::become_nobody();
        for number in 1..=300 {
            publish(&log, 2, number, number, 100);
            std::thread::sleep(millis(10));
        }
        assert!(log.flush(secs(2)), "it cannot write");
        0
    });
    end_well(pid, secs(30));
    assert!(!place.logs.join("app.log.1").exists(), "who renamed it?");
    assert!(holds_all(&place, &[(2, 300)]));
    assert_eq!(
        heard.count("failed to rotate"),
        1,
        "said once: {}",
        heard.text()
    );
    // Whoever may rename does so with its next record.
    publish(&log, 1, 1, 1, 100);
    within(secs(3), "the master rotates", || {
        place.logs.join("app.log.1").exists()
    });
    assert!(holds_all(&place, &[(1, 1), (2, 300)]));
}

#[test]
fn a_group_that_dropped_its_rights_finds_and_recovers_what_a_dead_worker_left() {
    if !machine::has(&[Need::Root]) {
        return;
    }
    let (place, counters) = (Place::new(), Counters::new(2));
    let log = open(&place.log(), &place.options());
    fs::set_permissions(place.log(), fs::Permissions::from_mode(0o600)).unwrap();
    let victim = child(|| {
        machine::become_nobody();
        crate::support::publish_numbered(&log, 1, counters.at(0), counters.at(1), |_| 200);
        0
    });
    std::thread::sleep(millis(50));
    kill(victim, libc::SIGKILL);
    crate::support::wait(victim);
    let pid = child(|| {
        machine::become_nobody();
        for number in 1..=100 {
            publish(&log, 2, number, number, 100);
            std::thread::sleep(millis(1));
        }
        assert!(log.flush(secs(2)));
        0
    });
    end_well(pid, secs(20));
    // Somebody drains what the dead worker left in its queue, at the latest the master with its next record.
    publish(&log, 3, 1, 1, 100);
    assert!(log.flush(secs(2)));
    let reading = read_strictly(&place.content());
    let acked = counters.at(1).load(SeqCst);
    reading.assert_complete(&[(1, acked), (2, 100), (3, 1)].into(), &[]);
}

/// Closes every descriptor but the standard streams, and opens files of the application's own under the old numbers.
fn daemonize(directory: &std::path::Path, count: usize) -> Vec<fs::File> {
    // SAFETY: what it closes is opened again by nobody else in this child.
    unsafe { assert_eq!(libc::close_range(3, u32::MAX, 0), 0) };
    (0..count)
        .map(|number| {
            let mut file = fs::File::create(directory.join(format!("own-{number}"))).unwrap();
            file.write_all(b"own").unwrap();
            file
        })
        .collect()
}

/// `before`: records published before; `own`: files opened by the application afterwards.
fn survives_a_daemonizer(before: u64, own_count: usize) {
    let place = Place::new();
    let own = tempfile::tempdir().unwrap();
    let own_path = own.path().to_owned();
    let log = open(&place.log(), &place.options());
    let pid = child(|| {
        publish(&log, 1, 1, before, 100);
        let files = daemonize(&own_path, own_count);
        publish(&log, 1, before + 1, before + 200, 100);
        log.rotate(secs(1))
            .unwrap_or_else(|error| panic!("{error}"));
        publish(&log, 1, before + 201, before + 300, 100);
        // A fork of the daemon logs as well.
        end_well(
            child(|| {
                publish(&log, 2, 1, 100, 100);
                0
            }),
            secs(10),
        );
        assert!(log.flush(secs(2)));
        drop(log);
        for (number, file) in files.iter().enumerate() {
            assert_eq!(
                fs::read(own_path.join(format!("own-{number}"))).unwrap(),
                b"own",
                "file {number} was written to"
            );
            assert_eq!(
                file.metadata().unwrap().len(),
                3,
                "descriptor {} was closed",
                file.as_raw_fd()
            );
        }
        std::mem::forget(files);
        0
    });
    end_well(pid, secs(30));
    assert!(holds_all(&place, &[(1, before + 300), (2, 100)]));
}

#[test]
fn a_daemonizer_that_closes_all_descriptors_loses_nothing_and_finds_nothing_in_its_files() {
    survives_a_daemonizer(10, 40);
    // With so much in the file, one record after the other is written with a look at its length alone.
    survives_a_daemonizer(200, 40);
    survives_a_daemonizer(200, 0);
}

#[test]
fn a_daemonizer_that_closes_all_descriptors_before_the_first_record_loses_nothing() {
    survives_a_daemonizer(0, 40);
    survives_a_daemonizer(0, 0);
}

#[test]
fn a_worker_that_closed_all_descriptors_and_died_is_found_dead() {
    let place = Place::new();
    let counters = Counters::new(2);
    let log = open(&place.log(), &place.options());
    let victim = child(|| {
        publish(&log, 1, 1, 1, 100);
        // SAFETY: as in `daemonize`.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        counters.at(0).store(1, SeqCst);
        let mut number = 1;
        loop {
            number += 1;
            publish(&log, 1, number, number, 100);
            counters.at(1).store(number, SeqCst);
        }
    });
    within(secs(10), "it publishes", || {
        counters.at(1).load(SeqCst) > 1000
    });
    kill(victim, libc::SIGKILL);
    crate::support::wait(victim);
    publish(&log, 2, 1, 1, 100);
    within(secs(2), "the dead one's records are drained", || {
        log.publish(Severity::INFO, b"");
        let reading = read_strictly(&place.content());
        (1..=counters.at(1).load(SeqCst)).all(|number| reading.found.get(&(1, number)) == Some(&1))
    });
}

static LOG: OnceLock<Log> = OnceLock::new();
static FROM_HANDLER: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

static HANDLER_LINES: OnceLock<Vec<String>> = OnceLock::new();

/// Publishes from a signal handler; tells how many were taken and how many were dropped.
extern "C" fn publish_from_handler(_signal: libc::c_int) {
    let taken = FROM_HANDLER[0].load(SeqCst);
    // Made beforehand: a handler must not allocate, it may have interrupted the allocator.
    let Some(line) = HANDLER_LINES
        .get()
        .and_then(|lines| lines.get(taken as usize))
    else {
        return;
    };
    let outcome = LOG.get().unwrap().publish(Severity::INFO, line.as_bytes());
    FROM_HANDLER[usize::from(outcome != Outcome::Published)].fetch_add(1, SeqCst);
}

/// Both timers: of the clock on the wall and of the time spent computing.
fn interrupt_every(us: i64) {
    for (signal, timer) in [
        (libc::SIGALRM, libc::ITIMER_REAL),
        (libc::SIGVTALRM, libc::ITIMER_VIRTUAL),
    ] {
        let time = libc::timeval {
            tv_sec: 0,
            tv_usec: us,
        };
        let timer_value = libc::itimerval {
            it_interval: time,
            it_value: time,
        };
        // SAFETY: the handler calls what this test is about; the child has one thread that takes signals.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = publish_from_handler as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaddset(&mut action.sa_mask, libc::SIGALRM);
            libc::sigaddset(&mut action.sa_mask, libc::SIGVTALRM);
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
            assert_eq!(
                libc::setitimer(timer as _, &timer_value, std::ptr::null_mut()),
                0
            );
        }
    }
}

/// `before`: records published before the first signal; 0: the first one is interrupted too.
fn signals(options: LogOptions, place: &Place, before: u64, records: u64) {
    let pid = child(|| {
        let log = LOG.get_or_init(|| open(&place.log(), &options));
        HANDLER_LINES.get_or_init(|| (1..=200_000).map(|number| record(2, number, 60)).collect());
        let lines: Vec<String> = (0..=records)
            .map(|number| record(1, number, 60 + (number % 37) as usize))
            .collect();
        let mut number = before;
        publish(log, 1, 1, before, 100);
        interrupt_every(97);
        // The processor's counter of instructions is not at the same place twice.
        while number < records {
            number += 1;
            let outcome = log.publish(Severity::INFO, lines[number as usize].as_bytes());
            assert_eq!(outcome, Outcome::Published);
        }
        interrupt_every(0);
        assert!(log.flush(secs(5)));
        let [taken, dropped] = [FROM_HANDLER[0].load(SeqCst), FROM_HANDLER[1].load(SeqCst)];
        println!("{taken} taken and {dropped} dropped in the signal handler");
        assert!(taken + dropped > 100, "the handler hardly ran");
        let counted = logboom::status::status(&place.log())
            .unwrap()
            .ledger
            .dropped[DropReason::Reentrant as usize];
        assert_eq!(counted, dropped, "each drop is counted");
        assert!(
            dropped * 2 < taken + dropped,
            "most records of a handler are taken"
        );
        let reading = read_strictly(&place.content());
        assert!(reading.torn.is_empty(), "{:?}", reading.torn);
        reading.assert_complete(&[(1, records), (2, taken)].into(), &[]);
        0
    });
    end_well(pid, secs(25));
}

#[test]
fn a_signal_handler_that_publishes_never_waits_for_the_thread_that_it_interrupted() {
    let place = Place::new();
    let options = LogOptions {
        queue_bytes: 1 << 20,
        ..place.options()
    };
    signals(options, &place, 1, 200_000);
}

#[test]
fn a_signal_handler_that_publishes_survives_rotation_and_a_small_queue() {
    let place = Place::new();
    let options = LogOptions {
        queue_bytes: 16 << 10,
        max_bytes: 300_000,
        backup_count: 10_000,
        ..place.options()
    };
    signals(options, &place, 1, 100_000);
}

#[test]
fn a_signal_handler_that_publishes_may_interrupt_the_first_record() {
    let place = Place::new();
    signals(place.options(), &place, 0, 5_000);
}

/// A log whose file cannot be written, so that its queue fills.
fn blocked(options: LogOptions) -> (Place, Log) {
    let place = Place::new();
    let log = open(
        &place.log(),
        &LogOptions {
            state_dir: place.options().state_dir,
            ..options
        },
    );
    machine::limit_file_size(Some(2_000));
    (place, log)
}

fn line_of(number: u64) -> String {
    record(1, number, 100)
}

#[test]
fn on_full_drop_keeps_room_for_warnings_and_counts_what_it_drops() {
    let (place, log) = blocked(LogOptions {
        on_full: OnFull::Drop,
        queue_bytes: 64 << 10,
        ..LogOptions::default()
    });
    let mut kept = Vec::new();
    let mut dropped = 0;
    for number in 1..=1000 {
        match log.publish(Severity::INFO, line_of(number).as_bytes()) {
            Outcome::Published => kept.push(number),
            Outcome::Dropped(DropReason::Full) => dropped += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(dropped > 0 && kept.len() > 100);
    let warnings = (1001..=1030)
        .filter(|n| log.publish(Severity::WARN, line_of(*n).as_bytes()) == Outcome::Published);
    assert_eq!(warnings.count(), 30, "there is no room for warnings");
    assert_eq!(
        log.publish(Severity::INFO, line_of(5000).as_bytes()),
        Outcome::Dropped(DropReason::Full)
    );
    let counted = logboom::status::status(&place.log())
        .unwrap()
        .ledger
        .dropped[DropReason::Full as usize];
    assert_eq!(counted, dropped + 1);
    machine::limit_file_size(None);
    within(secs(3), "what was taken is written", || {
        let reading = read_strictly(&place.content());
        kept.iter()
            .copied()
            .chain(1001..=1030)
            .all(|number| reading.found.get(&(1, number)) == Some(&1))
    });
}

#[test]
fn on_full_block_waits_once_for_each_stall() {
    let heard = Heard::listen();
    let (place, log) = blocked(LogOptions {
        on_full_wait_ms: 200,
        queue_bytes: 64 << 10,
        ..LogOptions::default()
    });
    let mut times = Vec::new();
    for number in 1..=1000 {
        let begun = Instant::now();
        let outcome = log.publish(Severity::INFO, line_of(number).as_bytes());
        times.push((outcome, begun.elapsed()));
    }
    let waited: Vec<_> = times
        .iter()
        .filter(|(_, time)| *time > millis(150))
        .collect();
    assert_eq!(waited.len(), 1, "{waited:?}");
    assert!(waited[0].1 < Duration::from_millis(400), "{waited:?}");
    let dropped = times
        .iter()
        .filter(|(outcome, _)| *outcome == Outcome::Dropped(DropReason::Full))
        .count() as u64;
    assert!(dropped > 100);
    let counted = || {
        logboom::status::status(&place.log())
            .unwrap()
            .ledger
            .dropped[DropReason::Full as usize]
    };
    assert_eq!(counted(), dropped);
    assert_eq!(
        heard.count("records are dropped and counted"),
        1,
        "{}",
        heard.text()
    );
    machine::limit_file_size(None);
    within(secs(3), "it goes on", || {
        log.publish(Severity::INFO, line_of(2000).as_bytes()) == Outcome::Published
    });
    assert!(log.flush(secs(3)));
    assert!(read_strictly(&place.content()).torn.is_empty());
}
