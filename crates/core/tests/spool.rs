//! A spool is a log whose lines have an id and a checksum, whose segments keep their names, and which is never longer than it may be:
//! what happens then is the policy's to say, and is counted.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logboom::{DropReason, Log, LogOptions, Outcome, Severity, SpoolFull};
use support::Place;
use support::machine::{Need, has, in_own_mounts, mount_tmpfs, secs, within};

const SEGMENT: u64 = 64 << 10;

fn options(place: &Place, full: SpoolFull) -> LogOptions {
    LogOptions {
        state_dir: place.options().state_dir,
        queue_bytes: 128 << 10,
        ..LogOptions::for_spool(4 * SEGMENT, full)
    }
}

fn spool(place: &Place) -> PathBuf {
    place.logs.join("central.spool")
}

/// Segments by number, the one that is written to last.
fn segments(spool: &Path) -> Vec<PathBuf> {
    let name = spool.file_name().unwrap().to_str().unwrap();
    let mut numbered: Vec<(u32, PathBuf)> = fs::read_dir(spool.parent().unwrap())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let rest = path.file_name()?.to_str()?.strip_prefix(name)?;
            let number = if rest.is_empty() {
                u32::MAX
            } else {
                rest[1..].parse().ok()?
            };
            Some((number, path))
        })
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, path)| path).collect()
}

/// The payloads of all segments; every line must have its checksum, every segment its beginning.
fn payloads(spool: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for segment in segments(spool) {
        let text = fs::read_to_string(&segment).unwrap();
        let Some(lines) = text.strip_prefix("LS1\n") else {
            assert_eq!(text, "", "{segment:?} begins otherwise");
            continue;
        };
        for line in lines.split_terminator('\n') {
            let (checked, checksum) = line.rsplit_once('\t').unwrap();
            let computed = crc32fast::hash(format!("{checked}\t").as_bytes());
            assert_eq!(checksum, format!("{computed:08x}"), "{line}");
            found.push(checked.rsplit_once('\t').unwrap().0.to_owned());
        }
    }
    found
}

fn record(number: u64) -> String {
    format!(
        "{{\"number\":{number},\"padding\":\"{}\"}}\n",
        "x".repeat(900)
    )
}

fn publish(log: &Log, numbers: std::ops::Range<u64>) -> u64 {
    let published = |number: &u64| {
        log.publish(Severity::INFO, record(*number).as_bytes()) == Outcome::Published
    };
    numbers.filter(published).count() as u64
}

fn of_status(log: &Log) -> logboom::status::SpoolStatus {
    log.status().files[0].spool.unwrap()
}

#[test]
fn every_line_can_be_checked_and_segments_are_in_order() {
    let place = Place::new();
    let log = Log::open(spool(&place), &options(&place, SpoolFull::DropOldest)).unwrap();
    assert_eq!(publish(&log, 0..200), 200);
    assert!(log.flush(secs(5)));
    let lines = payloads(&spool(&place));
    let expected: Vec<String> = (0..200)
        .map(|number| record(number).trim_end().to_owned())
        .collect();
    assert_eq!(lines, expected);
    let names: Vec<_> = segments(&spool(&place))
        .iter()
        .map(|path| path.extension().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["1", "2", "spool"],
        "the oldest has the lowest number"
    );
}

/// Numbers go on above what is there, so that names that are read never change their meaning.
#[test]
fn a_new_start_goes_on_behind_the_segments_that_are_left() {
    let place = Place::new();
    let options = options(&place, SpoolFull::DropOldest);
    publish(&Log::open(spool(&place), &options).unwrap(), 0..200);
    fs::remove_file(place.logs.join("central.spool.1")).unwrap();
    publish(&Log::open(spool(&place), &options).unwrap(), 200..300);
    assert!(!place.logs.join("central.spool.1").exists());
    assert!(place.logs.join("central.spool.3").exists());
}

#[test]
fn the_oldest_are_dropped_and_counted() {
    let place = Place::new();
    let log = Log::open(spool(&place), &options(&place, SpoolFull::DropOldest)).unwrap();
    assert_eq!(publish(&log, 0..1000), 1000);
    assert!(log.flush(secs(5)));
    within(secs(5), "what was deleted is counted", || {
        payloads(&spool(&place)).len() as u64 + of_status(&log).evicted_records == 1000
    });
    let bytes: u64 = segments(&spool(&place))
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(bytes <= 4 * SEGMENT, "{bytes}");
    assert!(
        payloads(&spool(&place))
            .last()
            .unwrap()
            .contains("\"number\":999,")
    );
    assert!(!of_status(&log).is_full);
}

#[test]
fn the_newest_are_refused_until_the_reader_has_made_room() {
    let place = Place::new();
    let log = Log::open(spool(&place), &options(&place, SpoolFull::DropNewest)).unwrap();
    let kept = publish(&log, 0..1000);
    assert!((100..1000).contains(&kept), "{kept}");
    assert!(log.flush(secs(5)));
    assert_eq!(
        payloads(&spool(&place)).len() as u64,
        kept,
        "what was taken is there"
    );
    let refused = log.status().ledger.dropped[DropReason::Full as usize];
    assert_eq!(kept + refused, 1000);
    assert!(of_status(&log).is_full);
    for segment in &segments(&spool(&place))[..2] {
        fs::remove_file(segment).unwrap();
    }
    assert_eq!(publish(&log, 1000..1001), 0, "nobody has looked yet");
    log.look_for_room();
    assert_eq!(publish(&log, 1001..1002), 1);
}

#[test]
fn who_logs_waits_for_room_where_that_is_asked_for_and_not_for_ever() {
    let place = Place::new();
    let options = LogOptions {
        on_full_wait_ms: 10_000,
        ..options(&place, SpoolFull::Block)
    };
    let log = Log::open(spool(&place), &options).unwrap();
    let mut number = 0;
    while !of_status(&log).is_full {
        assert_eq!(publish(&log, number..number + 1), 1);
        number += 1;
    }
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            fs::remove_file(&segments(&spool(&place))[0]).unwrap();
            log.look_for_room();
        });
        assert_eq!(
            publish(&log, number..number + 1),
            1,
            "there was room in time"
        );
    });
    log.reconfigure(&LogOptions {
        on_full_wait_ms: 1,
        ..options.clone()
    })
    .unwrap();
    let impatient = Log::open(
        spool(&place),
        &LogOptions {
            on_full_wait_ms: 1,
            ..options
        },
    )
    .unwrap();
    assert!(
        publish(&impatient, 2000..3000) < 1000,
        "the wait is bounded"
    );
}

/// Where the disk is full, the oldest segments make room, and the newest records are kept.
#[test]
fn a_full_disk_costs_the_oldest() {
    if !has(&[Need::Mounts]) {
        return;
    }
    let place = Place::new();
    in_own_mounts(|| {
        mount_tmpfs(&place.logs, "256k");
        let options = LogOptions {
            state_dir: place.options().state_dir,
            queue_bytes: 128 << 10,
            ..LogOptions::for_spool(16 * SEGMENT, SpoolFull::DropOldest)
        };
        let log = Log::open(spool(&place), &options).unwrap();
        for number in 0..1000 {
            publish(&log, number..number + 1);
            log.flush(secs(5));
        }
        let found = payloads(&spool(&place));
        assert!(found.last().unwrap().contains("\"number\":999,"));
        assert_eq!(found.len() as u64 + of_status(&log).evicted_records, 1000);
    });
}
