//! Dying at each named point: a reader is killed there, the next one as well, a third one ends the work; then every record was
//! delivered, in order, and no segment was deleted before.
//!
//! How it works: a child delivers by appending numbers to a file, and settles each record after that. The feature `crash-points`
//! makes it kill itself with SIGKILL where `LOGBOOM_CRASH_AT` says.

#[path = "../../core/tests/support/mod.rs"]
mod processes;
mod spool_support;

use std::fs;
use std::path::{Path, PathBuf};

use logboom_relay::crash;
use logboom_relay::follow::{self, Follower};
use logboom_relay::source::{Damage, Source};
use logboom_relay::spool::Reader;
use processes::{fork, wait};
use spool_support::{Spool, deliver_to, number_of, read};

const SPOOL_POINTS: [&str; 5] = [
    "cursor-created",
    "settled",
    "cursor-written",
    "cursor-synced",
    "segment-deleted",
];

/// Runs `work` in a child that dies at the point; says whether it did.
fn die_at(point: Option<&str>, work: impl FnOnce()) -> bool {
    let status = wait(fork(|| {
        if let Some(point) = point {
            // SAFETY: the child has one thread.
            unsafe { std::env::set_var("LOGBOOM_CRASH_AT", point) };
        }
        work();
        0
    }));
    let is_killed = libc::WIFSIGNALED(status);
    assert!(is_killed || processes::exited_well(status), "{status:x}");
    is_killed
}

/// Delivers all there is, a record or more at a time.
fn deliver(reader: &mut dyn Source, at_once: usize, to: &Path) {
    loop {
        let parcels = read(reader, at_once);
        let Some(last) = parcels.last() else {
            return;
        };
        deliver_to(
            to,
            parcels.iter().map(|parcel| number_of(parcel).to_string()),
        );
        reader.settle(last.end).unwrap();
    }
}

fn delivered(path: &Path) -> Vec<u64> {
    let lines = spool_support::delivered(path);
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_reader_killed_at_any_point_and_the_next_one_as_well_deliver_everything_in_order() {
    let mut passed = std::collections::BTreeSet::new();
    for first in SPOOL_POINTS {
        for count in [1, 4] {
            for second in SPOOL_POINTS.map(Some).into_iter().chain([None]) {
                for at_once in [1, 7] {
                    let spool = Spool::new();
                    for segment in 0..4 {
                        spool.write(segment * 5..segment * 5 + 5);
                        spool.rotate();
                    }
                    spool.write(20..23);
                    let to = spool.root.join("delivered");
                    let at = format!("{first}:{count}");
                    let run = || deliver(&mut spool.open(), at_once, &to);
                    if die_at(Some(&at), run) {
                        passed.insert(first);
                    }
                    let before = delivered(&to);
                    die_at(second, run);
                    let mut reader = spool.open();
                    deliver(&mut reader, at_once, &to);
                    let what = format!("{at}, then {second:?}, {at_once} at once");
                    assert_delivered(&delivered(&to), &before, at_once, &what);
                    assert_eq!(reader.damage(), Damage::default(), "{what}");
                    assert!(spool.numbers().is_empty(), "{what}: {:?}", spool.numbers());
                }
            }
        }
    }
    assert_eq!(
        passed.into_iter().collect::<Vec<_>>().len(),
        SPOOL_POINTS.len()
    );
}

/// All came, the first time in order; twice only what was delivered last before an end.
fn assert_delivered(all: &[u64], before: &[u64], at_once: usize, what: &str) {
    let mut seen = Vec::new();
    let mut doubles = 0;
    for number in all {
        if seen.contains(number) {
            doubles += 1;
        } else {
            seen.push(*number);
        }
    }
    assert_eq!(seen, (0..23).collect::<Vec<_>>(), "{what}: {all:?}");
    // Each of the two ends costs the batch that was delivered and not stored as settled.
    assert!(
        doubles <= 2 * at_once,
        "{what}: {all:?}, at the first end {before:?}"
    );
}

#[test]
fn segments_that_were_delivered_but_not_deleted_are_deleted_by_the_next_reader() {
    let spool = Spool::new();
    for segment in 0..3 {
        spool.write(segment * 5..segment * 5 + 5);
        spool.rotate();
    }
    spool.write([15, 16]);
    let settle_most = || {
        let mut reader = spool.open();
        let parcels = read(&mut reader, 99);
        reader.settle(parcels[15].end).unwrap();
    };
    assert!(die_at(Some("cursor-synced"), settle_most));
    assert_eq!(spool.numbers(), [1, 2, 3]);
    let mut reader: Reader = spool.open();
    assert_eq!(spool_support::ship_all(&mut reader), [16]);
    assert!(spool.numbers().is_empty());
}

/// Only the cursor of many logs outgrows its slots.
#[test]
fn a_follower_killed_while_it_makes_a_longer_cursor_loses_nothing() {
    let site = tempfile::tempdir().unwrap();
    let logs: Vec<PathBuf> = (0..60)
        .map(|number| site.path().join(format!("{number}.log")))
        .collect();
    for (number, log) in logs.iter().enumerate() {
        fs::write(log, format!("line of log {number}\n").repeat(20)).unwrap();
    }
    let (cursor, draft) = (
        site.path().join("ship.cursor"),
        site.path().join("ship.cursor.new"),
    );
    let ship = |logs: &[PathBuf]| {
        let mut follower = Follower::open(logs, &cursor, follow::Options::default()).unwrap();
        let parcels = read(&mut follower, usize::MAX);
        if let Some(last) = parcels.last() {
            follower.settle(last.end).unwrap();
        }
        parcels.len()
    };
    assert_eq!(ship(&logs[..10]), 200);
    assert!(die_at(Some("cursor-copied"), || {
        ship(&logs);
    }));
    assert!(draft.exists());
    assert_eq!(ship(&logs), 1000, "the cursor before it counts");
    assert_eq!(ship(&logs), 0);
    assert!(!draft.exists());
}

#[test]
fn all_points_are_passed_by_these_tests() {
    for point in crash::POINTS {
        let is_known = SPOOL_POINTS.contains(&point) || point == "cursor-copied";
        assert!(is_known, "{point}");
    }
}
