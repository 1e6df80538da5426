//! The disk refuses: it is full, a limit is reached, it answers with errors, it takes a part.

use std::time::{Duration, Instant};

use logboom::{Durability, LogOptions, Outcome, Severity};

use crate::support::machine::{
    self, Heard, Injection, Need, child, end_well, millis, secs, within,
};
use crate::support::{Counters, Place, open, read_strictly, record};
use crate::{holds_all, holds_all_of, publish};
use std::sync::atomic::Ordering::SeqCst;

/// A log on a volume of its own that has about `leave` bytes left.
fn nearly_full(leave: usize) -> (Place, std::path::PathBuf) {
    let place = Place::new();
    machine::mount_tmpfs(&place.logs, "1m");
    let ballast = place.logs.join("ballast");
    machine::fill(&ballast, leave);
    (place, ballast)
}

#[test]
fn a_full_disk_delays_records_and_loses_tears_and_raises_nothing() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, ballast) = nearly_full(20_000);
        let heard = Heard::listen();
        let log = open(&place.log(), &place.options());
        let begun = Instant::now();
        publish(&log, 1, 1, 600, 100);
        assert!(
            begun.elapsed() < secs(2),
            "a full disk stalls its publisher: {:?}",
            begun.elapsed()
        );
        for _ in 0..20 {
            let reading = read_strictly(&machine::settled_content(&place.log()));
            assert!(
                reading.torn.is_empty(),
                "torn while the disk is full: {:?}",
                reading.torn
            );
            assert!(reading.found.len() < 600, "the disk is not full");
            std::thread::sleep(millis(20));
        }
        std::fs::remove_file(&ballast).unwrap();
        // Nobody logs any more: it is written all the same.
        within(secs(3), "all is written once there is space", || {
            holds_all(&place, &[(1, 600)])
        });
        within(secs(1), "it is said that all is well", || {
            heard.count("is written again") == 1
        });
        assert_eq!(
            heard.count("No space left on device"),
            1,
            "said once: {}",
            heard.text()
        );
        assert!(
            heard.text().contains("free some space there"),
            "no remedy: {}",
            heard.text()
        );
    });
}

#[test]
fn flush_rotate_open_and_leave_end_in_time_on_a_full_disk() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, ballast) = nearly_full(8_000);
        let log = open(&place.log(), &place.options());
        publish(&log, 1, 1, 300, 100);
        type Step = (&'static str, fn(&logboom::Log, &Place));
        let steps: [Step; 4] = [
            ("publish", |_, _| {}),
            ("flush", |log, _| {
                assert!(!log.flush(millis(300)), "it says that all is written")
            }),
            ("rotate", |log, _| drop(log.rotate(millis(300)))),
            ("open", |_, place| {
                drop(open(&place.log(), &place.options()))
            }),
        ];
        for (worker, (name, step)) in (2..).zip(steps) {
            let begun = Instant::now();
            let pid = child(|| {
                publish(&log, worker, 1, 1, 100);
                step(&log, &place);
                0
            });
            end_well(pid, secs(5));
            println!("{name} took {:?}", begun.elapsed());
        }
        assert!(!log.flush(millis(300)));
        std::fs::remove_file(&ballast).unwrap();
        assert!(log.flush(secs(5)));
        let expected: Vec<_> = (2..6).map(|worker| (worker, 1)).chain([(1, 300)]).collect();
        within(secs(3), "all is written once there is space", || {
            holds_all(&place, &expected)
        });
    });
}

#[test]
fn a_process_that_leaves_while_the_disk_is_full_ends_in_time_and_its_records_are_written_by_the_next()
 {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, ballast) = nearly_full(8_000);
        let pid = child(|| {
            let log = open(&place.log(), &place.options());
            publish(&log, 1, 1, 300, 100);
            drop(log);
            0
        });
        end_well(pid, secs(5));
        std::fs::remove_file(&ballast).unwrap();
        let next = open(&place.log(), &place.options());
        publish(&next, 2, 1, 1, 100);
        within(secs(3), "what the dead left is written", || {
            holds_all(&place, &[(1, 300), (2, 1)])
        });
    });
}

#[test]
fn records_that_wait_for_space_are_written_by_themselves_although_their_process_forked_meanwhile() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, ballast) = nearly_full(8_000);
        let log = open(&place.log(), &place.options());
        publish(&log, 1, 1, 300, 100);
        let sleeper = child(|| {
            std::thread::sleep(secs(30));
            0
        });
        std::fs::remove_file(&ballast).unwrap();
        within(secs(3), "all is written by itself after a fork", || {
            holds_all(&place, &[(1, 300)])
        });
        crate::support::kill(sleeper, libc::SIGKILL);
    });
}

#[test]
fn a_file_size_limit_delays_records_until_it_is_raised() {
    let place = Place::new();
    let heard = Heard::listen();
    let log = open(&place.log(), &place.options());
    // In the middle of a line, and of a batch.
    machine::limit_file_size(Some(4_999));
    for number in 1..=100 {
        let ticket = log.enqueue(Severity::INFO, record(1, number, 100).as_bytes());
        drop(ticket);
    }
    publish(&log, 1, 101, 200, 100);
    let reading = read_strictly(&machine::settled_content(&place.log()));
    assert!(reading.torn.is_empty(), "torn: {:?}", reading.torn);
    assert_eq!(heard.count("File too large"), 1, "{}", heard.text());
    heard.assert_says_what_to_do();
    machine::limit_file_size(None);
    within(secs(3), "all is written once the limit is raised", || {
        holds_all(&place, &[(1, 200)])
    });
}

#[test]
fn a_log_at_its_file_size_limit_goes_on_by_rotation() {
    let place = Place::new();
    let options = LogOptions {
        max_bytes: 4_000,
        backup_count: 100,
        ..place.options()
    };
    let log = open(&place.log(), &options);
    machine::limit_file_size(Some(4_500));
    publish(&log, 1, 1, 300, 100);
    assert!(log.flush(secs(2)));
    assert!(holds_all(&place, &[(1, 300)]));
    machine::limit_file_size(None);
}

/// Runs a child that publishes while strace makes its calls on the log fail; all its records must be in the log afterwards.
fn with_injected(options: LogOptions, place: &Place, what: &[&str], limit: Option<u64>) {
    let (path, counters) = (place.log(), Counters::new(2));
    let pid = child(|| {
        let log = open(&path, &options);
        machine::limit_file_size(limit);
        counters.at(0).store(1, SeqCst);
        within(secs(15), "the test says go", || {
            counters.at(1).load(SeqCst) == 1
        });
        for number in 1..=400 {
            publish(&log, 1, number, number, 100);
            std::thread::sleep(Duration::from_micros(500));
        }
        machine::limit_file_size(None);
        counters.at(0).store(2, SeqCst);
        within(secs(15), "the test says end", || {
            counters.at(1).load(SeqCst) == 2
        });
        assert!(log.flush(secs(5)));
        0
    });
    inject(pid, place, what, &counters);
    assert!(holds_all(place, &[(1, 400)]));
}

/// Makes the calls on the log fail while a child publishes, which says that it is open (1) and has published (2), and is told to begin
/// (1) and to end (2).
fn inject(pid: libc::pid_t, place: &Place, what: &[&str], counters: &Counters) {
    within(secs(15), "the log is open", || {
        counters.at(0).load(SeqCst) == 1
    });
    let injection = Injection::attach(pid, &place.log(), what);
    counters.at(1).store(1, SeqCst);
    within(secs(60), "all is published", || {
        counters.at(0).load(SeqCst) == 2
    });
    drop(injection);
    counters.at(1).store(2, SeqCst);
    end_well(pid, secs(15));
}

#[test]
fn eio_now_and_then_loses_and_doubles_nothing() {
    if !machine::has(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let place = Place::new();
    let heard = Heard::listen();
    with_injected(place.options(), &place, &["write:error=EIO:when=2+3"], None);
    assert!(
        heard.text().contains("Input/output error"),
        "nothing failed: {}",
        heard.text()
    );
    heard.assert_says_what_to_do();
    assert!(
        heard.text().lines().count() < 6,
        "it floods standard error: {}",
        heard.text()
    );
}

#[test]
fn eio_of_every_write_for_a_while_loses_and_doubles_nothing() {
    if !machine::has(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let place = Place::new();
    let heard = Heard::listen();
    with_injected(place.options(), &place, &["write:error=EIO"], None);
    assert_eq!(
        heard.count("Input/output error"),
        1,
        "said once: {}",
        heard.text()
    );
}

#[test]
fn a_write_cut_short_that_cannot_be_taken_back_is_completed_later() {
    if !machine::has(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let place = Place::new();
    let heard = Heard::listen();
    with_injected(
        place.options(),
        &place,
        &["ftruncate:error=EIO"],
        Some(9_999),
    );
    assert!(
        heard.text().contains("File too large"),
        "nothing failed: {}",
        heard.text()
    );
    let recoveries = logboom::status::Visitor::join(&place.log())
        .map_or(0, |visitor| visitor.status().ledger.recoveries);
    println!("{recoveries} recoveries");
}

/// The records of another file that come in the same hold are not written over what the journal says of the first.
#[test]
fn a_write_cut_short_is_completed_although_another_file_is_written_meanwhile() {
    if !machine::has(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let (place, counters) = (Place::new(), Counters::new(2));
    let other_path = place.logs.join("other.log");
    let pid = child(|| {
        let log = open(&place.log(), &place.options());
        let other = open(&other_path, &place.options());
        machine::limit_file_size(Some(9_999));
        counters.at(0).store(1, SeqCst);
        within(secs(15), "the test says go", || {
            counters.at(1).load(SeqCst) == 1
        });
        std::thread::scope(|scope| {
            scope.spawn(|| publish(&log, 1, 1, 200, 100));
            for worker in 1..=3 {
                let other = &other;
                scope.spawn(move || {
                    for number in 1..=100 {
                        publish(other, worker, number, number, 24);
                        std::thread::sleep(Duration::from_micros(300));
                    }
                });
            }
        });
        counters.at(0).store(2, SeqCst);
        within(secs(30), "the test says end", || {
            counters.at(1).load(SeqCst) == 2
        });
        machine::limit_file_size(None);
        assert!(log.flush(secs(5)));
        0
    });
    let what = ["ftruncate:error=EIO", "write:delay_enter=2000"];
    inject(pid, &place, &what, &counters);
    assert!(holds_all(&place, &[(1, 200)]));
    let other = std::fs::read_to_string(&other_path).unwrap();
    assert!(holds_all_of(&other, &[(1, 100), (2, 100), (3, 100)]));
}

#[test]
fn a_failing_sync_is_told_and_loses_nothing() {
    if !machine::has(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let place = Place::new();
    let heard = Heard::listen();
    let options = LogOptions {
        durability: Durability::Disk,
        ..place.options()
    };
    with_injected(options, &place, &["fdatasync:error=EIO:when=3+50"], None);
    assert!(heard.text().contains("failed to sync"), "{}", heard.text());
    heard.assert_says_what_to_do();
}

#[test]
fn a_slow_disk_stalls_only_the_holder() {
    if !machine::has(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let (place, counters) = (Place::new(), Counters::new(3));
    let slow = child(|| {
        let log = open(&place.log(), &place.options());
        let mut number = 0;
        while counters.at(1).load(SeqCst) == 0 {
            number += 1;
            let begun = Instant::now();
            publish(&log, 1, number, number, 100);
            counters.at(0).store(number, SeqCst);
            counters
                .at(2)
                .fetch_max(begun.elapsed().as_millis() as u64, SeqCst);
            std::thread::sleep(millis(1));
        }
        i32::from(!log.flush(secs(5)))
    });
    within(secs(10), "it publishes", || {
        counters.at(0).load(SeqCst) > 10
    });
    let injection = Injection::attach(slow, &place.log(), &["write:delay_enter=300000"]);
    let log = open(&place.log(), &place.options());
    let (mut slowest, mut stalls) = (Duration::ZERO, 0);
    for number in 1..=500 {
        let begun = Instant::now();
        publish(&log, 2, number, number, 100);
        slowest = slowest.max(begun.elapsed());
        stalls += u32::from(begun.elapsed() > millis(100));
        std::thread::sleep(millis(2));
    }
    println!("the slowest took {slowest:?}");
    drop(injection);
    counters.at(1).store(1, SeqCst);
    end_well(slow, secs(10));
    assert!(log.flush(secs(5)));
    assert!(
        counters.at(2).load(SeqCst) >= 300,
        "nobody met the slow disk"
    );
    assert_eq!(
        stalls, 0,
        "somebody else's disk write took {slowest:?} of ours"
    );
    assert!(holds_all(
        &place,
        &[(1, counters.at(0).load(SeqCst)), (2, 500)]
    ));
}

#[test]
fn with_durability_disk_a_record_is_in_its_file_when_the_call_returns() {
    let place = Place::new();
    let options = LogOptions {
        durability: Durability::Disk,
        ..place.options()
    };
    let (log, counters) = (open(&place.log(), &options), Counters::new(1));
    let other = child(|| {
        let log = open(&place.log(), &options);
        let mut number = 0;
        while counters.at(0).load(SeqCst) == 0 {
            number += 1;
            log.publish(Severity::INFO, record(2, number, 300).as_bytes());
        }
        0
    });
    for number in 1..=300 {
        let line = record(1, number, 100);
        assert_eq!(
            log.publish(Severity::INFO, line.as_bytes()),
            Outcome::Published
        );
        let content = std::fs::read(place.log()).unwrap();
        let there = content
            .windows(line.len())
            .rev()
            .any(|window| window == line.as_bytes());
        assert!(there, "record {number} is not in the file");
    }
    counters.at(0).store(1, SeqCst);
    end_well(other, secs(10));
}
