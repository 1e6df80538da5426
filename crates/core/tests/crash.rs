//! Dying at each named point: a process is killed there, another recovers (and is killed at each point as well), a third
//! finishes; then every record is in the files once, whole and in order, with foreign bytes in between or not.
//!
//! How it works: a child enqueues three records without draining, then publishes a fourth, so that one drain moves four. The
//! feature `crash-points` makes it kill itself with SIGKILL where `LOGBOOM_CRASH_AT` says.

mod support;

use std::fs;
use std::io::Write;
use std::time::Duration;

use logboom::{Log, LogOptions, Severity, crash};
use support::{Place, fork, open, wait};

const DRAIN_POINTS: [&str; 5] = [
    "intent-stored",
    "batch-written",
    "ledger-stored",
    "window-written",
    "cursors-advanced",
];
const ROTATION_POINTS: [&str; 4] = [
    "rotation-recorded",
    "shifted",
    "renamed",
    "rotation-archived",
];

fn lines(len: usize) -> Vec<String> {
    (1..=4)
        .map(|number| support::record(7, number, len))
        .collect()
}

/// Runs `work` in a child that dies at the point.
fn die_at(point: Option<&str>, work: impl FnOnce()) -> bool {
    let status = wait(fork(|| {
        if let Some(point) = point {
            // SAFETY: the child has one thread.
            unsafe { std::env::set_var("LOGBOOM_CRASH_AT", point) };
        }
        work();
        0
    }));
    assert!(
        libc::WIFSIGNALED(status) || libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "{status:x}"
    );
    libc::WIFSIGNALED(status)
}

fn publish_four(log: &Log, lines: &[String]) {
    for line in &lines[..3] {
        let _left_to_the_next = log.enqueue(Severity::INFO, line.as_bytes());
    }
    log.publish(Severity::INFO, lines[3].as_bytes());
}

fn recover(place: &Place, options: &LogOptions) {
    let log = open(&place.log(), options);
    assert!(
        log.flush(Duration::from_secs(5)),
        "something stays in the queues"
    );
}

fn foreign(place: &Place, text: &str) {
    if !text.is_empty() {
        fs::OpenOptions::new()
            .append(true)
            .open(place.log())
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
}

/// The content without foreign lines.
fn ours(place: &Place) -> String {
    place
        .content()
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("foreign"))
        .collect()
}

#[test]
fn a_drain_killed_at_any_point_and_a_recovery_killed_at_any_point_write_each_record_once() {
    for len in [100, 5_000, 30_000] {
        for first in DRAIN_POINTS {
            for between in ["", "foreign\n"] {
                for second in DRAIN_POINTS.map(Some).into_iter().chain([None]) {
                    let (place, lines) = (Place::new(), lines(len));
                    let options = place.options();
                    assert!(
                        die_at(Some(first), || publish_four(
                            &open(&place.log(), &options),
                            &lines
                        )),
                        "{first}"
                    );
                    foreign(&place, between);
                    die_at(second, || recover(&place, &options));
                    foreign(&place, between);
                    recover(&place, &options);
                    assert_eq!(
                        ours(&place),
                        lines.concat(),
                        "{len} bytes, {first}, then {second:?}, with {between:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_rotation_killed_at_any_point_loses_nothing_and_keeps_its_archives_in_order() {
    for first in ROTATION_POINTS {
        for count in 1..=2 {
            for second in ROTATION_POINTS
                .map(Some)
                .into_iter()
                .chain(["intent-stored", "window-written"].map(Some))
                .chain([None])
            {
                let place = Place::new();
                let options = LogOptions {
                    backup_count: 5,
                    ..place.options()
                };
                let lines: Vec<String> = (1..=8)
                    .map(|number| support::record(7, number, 100))
                    .collect();
                let prepared = open(&place.log(), &options);
                for line in &lines[..3] {
                    prepared.publish(Severity::INFO, line.as_bytes());
                    prepared.rotate(Duration::from_secs(1)).unwrap();
                }
                drop(prepared);
                let at = format!("{first}:{count}");
                die_at(Some(&at), || {
                    let log = open(&place.log(), &options);
                    log.publish(Severity::INFO, lines[3].as_bytes());
                    let _ = log.enqueue(Severity::INFO, lines[4].as_bytes());
                    log.rotate(Duration::from_secs(1)).unwrap();
                    log.publish(Severity::INFO, lines[5].as_bytes());
                });
                die_at(second, || {
                    let log = open(&place.log(), &options);
                    log.publish(Severity::INFO, lines[6].as_bytes());
                });
                let log = open(&place.log(), &options);
                log.publish(Severity::INFO, lines[7].as_bytes());
                assert!(log.flush(Duration::from_secs(5)));
                drop(log);
                let content = place.content();
                // Lines whose call a kill cut short may be missing; the others are there, in order, once.
                let reading = support::read_strictly(&content);
                let acked = [(7, 8)].into();
                reading.assert_complete(&acked, &[(7, 6), (7, 7)]);
                assert!(
                    content.starts_with(&lines[..5].concat()),
                    "{at}, then {second:?}: {content}"
                );
            }
        }
    }
}

#[test]
fn an_outside_rotation_undone_halfway_puts_each_record_into_one_file() {
    for first in [
        "intent-stored",
        "batch-written",
        "undo",
        "undone",
        "ledger-stored",
        "window-written",
    ] {
        for second in ["undo", "undone", "intent-stored", "batch-written"]
            .map(Some)
            .into_iter()
            .chain([None])
        {
            let (place, lines) = (Place::new(), lines(100));
            let options = place.options();
            let prepared = open(&place.log(), &options);
            prepared.publish(Severity::INFO, b"w1 n1 bbbe\n");
            // The child's first batch goes to the moved file: it has it open, inherited.
            assert!(
                die_at(Some(first), || {
                    fs::rename(place.log(), place.logs.join("app.log.1")).unwrap();
                    fs::write(place.log(), "").unwrap();
                    publish_four(&prepared, &lines);
                }),
                "{first}"
            );
            die_at(second, || recover(&place, &options));
            recover(&place, &options);
            drop(prepared);
            let moved = fs::read_to_string(place.logs.join("app.log.1")).unwrap();
            let current = fs::read_to_string(place.log()).unwrap();
            assert_eq!(
                moved + &current,
                format!("w1 n1 bbbe\n{}", lines.concat()),
                "{first}, then {second:?}"
            );
        }
    }
}

/// The kernel stops a write at a page boundary when a fatal signal is pending; here at every byte, with others' bytes
/// before, behind, and on both sides.
#[test]
fn a_batch_torn_at_any_byte_is_completed_or_written_again_after_foreign_bytes() {
    let lines = lines(60);
    let batch = lines.concat();
    let full = std::env::var_os("LOGBOOM_FULL").is_some();
    for cut in (0..=batch.len()).step_by(if full { 1 } else { 7 }) {
        for (before, behind) in [
            ("", ""),
            ("foreign\n", ""),
            ("", "foreign\n"),
            ("foreign\n", "foreign\n"),
        ] {
            let place = Place::new();
            let options = place.options();
            assert!(die_at(Some("intent-stored"), || publish_four(
                &open(&place.log(), &options),
                &lines
            )));
            foreign(&place, before);
            fs::OpenOptions::new()
                .append(true)
                .open(place.log())
                .unwrap()
                .write_all(&batch.as_bytes()[..cut])
                .unwrap();
            foreign(&place, behind);
            recover(&place, &options);
            let content = place.content();
            let whole = |line: &&String| content.matches(line.as_str()).count() == 1;
            assert_eq!(
                lines.iter().filter(whole).count(),
                4,
                "cut at {cut}, {before:?}, {behind:?}: {content}"
            );
            if behind.is_empty() {
                assert_eq!(ours(&place), batch, "cut at {cut}, {before:?}");
            }
        }
    }
}

#[test]
fn a_record_of_megabytes_is_completed_after_its_holder_died() {
    for (len, cut) in [
        (300_000, 4096),
        (300_000, 299_999),
        (3_000_000, 1 << 20),
        (3_000_000, 0),
    ] {
        let place = Place::new();
        let options = place.options();
        let line = support::record(7, 1, len);
        assert!(die_at(Some("intent-stored"), || {
            open(&place.log(), &options).publish(Severity::INFO, line.as_bytes());
        }));
        fs::OpenOptions::new()
            .append(true)
            .open(place.log())
            .unwrap()
            .write_all(&line.as_bytes()[..cut])
            .unwrap();
        recover(&place, &options);
        assert!(place.content() == line, "{len} bytes cut at {cut}");
    }
}

#[test]
fn a_file_cut_under_an_intent_is_written_again() {
    let (place, lines) = (Place::new(), lines(100));
    let options = place.options();
    open(&place.log(), &options).publish(Severity::INFO, b"w1 n1 bbbe\n");
    assert!(die_at(Some("batch-written"), || publish_four(
        &open(&place.log(), &options),
        &lines
    )));
    fs::write(place.log(), "").unwrap();
    recover(&place, &options);
    assert_eq!(place.content(), lines.concat());
}

#[test]
fn all_points_are_passed_by_these_tests() {
    for point in crash::POINTS {
        let known = DRAIN_POINTS.contains(&point)
            || ROTATION_POINTS.contains(&point)
            || ["undo", "undone"].contains(&point)
            // These are in blackbox.rs.
            || ["kept", "marked", "taken", "told"].contains(&point);
        assert!(known, "{point}");
    }
}
