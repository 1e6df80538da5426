//! Logs that a real logrotate rotates, and writers and followers that are killed: every line comes, in order, and again only after
//! a kill.

#[path = "../../core/tests/support/mod.rs"]
mod processes;
mod spool_support;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use logboom_relay::follow::{Follower, Options};
use logboom_relay::source::{Damage, Source};
use processes::machine::{Need, child, has, kill_and_wait};
use processes::{Counters, Place};
use spool_support::{deliver_to, read};

/// A log with its logrotate.
struct Rotated {
    place: Place,
    directives: &'static str,
}

impl Rotated {
    fn new(directives: &'static str) -> Rotated {
        Rotated {
            place: Place::new(),
            directives,
        }
    }

    fn log(&self) -> PathBuf {
        self.place.log()
    }

    fn rotate(&self) {
        let config = self.place.state.join("logrotate.conf");
        let text = format!(
            "\"{}\" {{\nrotate 1000\nmissingok\n{}\n}}\n",
            self.log().display(),
            self.directives
        );
        fs::write(&config, text).unwrap();
        let state = self.place.state.join("logrotate.state");
        let done = Command::new("logrotate")
            .arg("-f")
            .arg("-s")
            .arg(state)
            .arg(&config)
            .output()
            .unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    }

    fn follow(&self) -> Follower {
        let options = Options {
            store_every: Duration::ZERO,
            ..Options::default()
        };
        Follower::open(
            &[self.log()],
            &self.place.state.join("ship.cursor"),
            options,
        )
        .unwrap()
    }

    fn names(&self) -> Vec<String> {
        processes::machine::names_in(&self.place.logs)
    }
}

fn append(path: &Path, numbers: std::ops::Range<u64>) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    let lines: String = numbers.map(|number| line(number) + "\n").collect();
    file.write_all(lines.as_bytes()).unwrap();
}

fn line(number: u64) -> String {
    format!(
        "2026-11-27 16:30:00 line {number} {}",
        "x".repeat((number * 37 % 200) as usize)
    )
}

fn ship(follower: &mut Follower) -> Vec<String> {
    let parcels = read(follower, usize::MAX);
    if let Some(last) = parcels.last() {
        follower.settle(last.end).unwrap();
    }
    parcels
        .into_iter()
        .map(|parcel| parcel.record.body)
        .collect()
}

/// Writes and rotates; the follower looks every few rotations, and is another one each time or the same.
fn check(directives: &'static str) {
    if !has(&[Need::Tool("logrotate")]) {
        return;
    }
    for look_every in [1, 3] {
        for is_restarted in [false, true] {
            let rotated = Rotated::new(directives);
            let mut follower = Some(rotated.follow());
            let (mut shipped, mut next) = (Vec::new(), 0);
            for round in 0..7 {
                for lines in [40, 3] {
                    append(&rotated.log(), next..next + lines);
                    next += lines;
                    if round % look_every == 0 {
                        if is_restarted {
                            follower = None;
                        }
                        shipped.extend(ship(follower.get_or_insert_with(|| rotated.follow())));
                    }
                }
                rotated.rotate();
            }
            append(&rotated.log(), next..next + 1);
            let mut follower = follower.unwrap();
            shipped.extend(ship(&mut follower));
            let wanted: Vec<String> = (0..next + 1).map(line).collect();
            let what = format!(
                "{directives}, every {look_every}, {is_restarted}: {:?}",
                rotated.names()
            );
            assert_eq!(shipped.len(), wanted.len(), "{what}");
            assert!(shipped == wanted, "{what}");
            assert_eq!(follower.damage(), Damage::default(), "{what}");
            assert!(rotated.names().len() >= 8, "{what}");
        }
    }
}

#[test]
fn logrotate_with_create() {
    check("create");
}

#[test]
fn logrotate_with_create_and_compress() {
    check("create\ncompress");
}

#[test]
fn logrotate_with_create_and_delayed_compress() {
    check("create\ncompress\ndelaycompress");
}

#[test]
fn logrotate_with_create_extension_and_zstd() {
    if has(&[Need::Tool("zstd")]) {
        check(
            "create\nextension .log\ncompress\ncompresscmd /usr/bin/zstd\ncompressext .zst\ncompressoptions -q",
        );
    }
}

#[test]
fn logrotate_with_copytruncate() {
    check("copytruncate");
}

#[test]
fn logrotate_with_copytruncate_and_compress() {
    check("copytruncate\ncompress");
}

#[test]
fn logrotate_with_nocreate_and_numbers_from_zero() {
    check("nocreate\nstart 0");
}

/// The time in the name has seconds, so that there is one rotation a second at most.
#[test]
fn logrotate_with_dates() {
    if !has(&[Need::Tool("logrotate")]) {
        return;
    }
    let rotated = Rotated::new("create\ncompress\ndateext\ndateformat -%Y%m%d-%s");
    let mut next = 0;
    let (mut live, mut shipped) = (rotated.follow(), Vec::new());
    for round in 0..3 {
        append(&rotated.log(), next..next + 50);
        next += 50;
        if round < 2 {
            shipped.extend(ship(&mut live));
        }
        rotated.rotate();
        std::thread::sleep(Duration::from_millis(1100));
    }
    append(&rotated.log(), next..next + 5);
    shipped.extend(ship(&mut live));
    let wanted: Vec<String> = (0..next + 5).map(line).collect();
    assert!(shipped == wanted, "{:?}", rotated.names());
    drop(live);
    let other = Follower::open(
        &[rotated.log()],
        &rotated.place.state.join("other.cursor"),
        Options::default(),
    );
    assert!(
        ship(&mut other.unwrap()) == wanted,
        "from the start: {:?}",
        rotated.names()
    );
}

/// A writer that looks at the path before each line, as `WatchedFileHandler` does, rotations at any moment, and followers that are
/// killed at any moment.
#[test]
fn killed_followers_lose_nothing_while_a_log_is_rotated() {
    if !has(&[Need::Tool("logrotate")]) {
        return;
    }
    let rotated = Rotated::new("create\ncompress\ndelaycompress");
    let counters: &'static Counters = Box::leak(Box::new(Counters::new(1)));
    let delivered = rotated.place.state.join("delivered");
    let log = rotated.log();
    append(&log, 0..1);
    let writer = child(|| {
        let mut file: Option<File> = None;
        for number in 1_u64.. {
            let facts = fs::metadata(&log).ok();
            let is_same = |file: &File| {
                Some(file.metadata().unwrap().ino()) == facts.as_ref().map(|facts| facts.ino())
            };
            // While there is none, logrotate is about to make it.
            if facts.is_some() && !file.as_ref().is_some_and(is_same) {
                file = OpenOptions::new().append(true).open(&log).ok();
            }
            if let Some(file) = &mut file {
                file.write_all((line(number) + "\n").as_bytes()).unwrap();
            }
            counters.at(0).store(number, Ordering::SeqCst);
            if number % 20 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        0
    });
    let start = || {
        child(|| {
            let mut follower = rotated.follow();
            loop {
                if deliver(&mut follower, &delivered) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        })
    };
    let full = std::env::var_os("LOGBOOM_FULL").is_some();
    let until = Instant::now() + Duration::from_secs(if full { 120 } else { 4 });
    let (mut kills, mut rotations, mut follower) = (0, 0, start());
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5 + kills * 7 % 30));
        if kills % 3 == 2 {
            rotated.rotate();
            rotations += 1;
        }
        kill_and_wait(follower);
        follower = start();
        kills += 1;
    }
    kill_and_wait(writer);
    kill_and_wait(follower);
    let last = counters.at(0).load(Ordering::SeqCst);
    let mut follower = rotated.follow();
    while deliver(&mut follower, &delivered) > 0 {}
    let (mut seen, mut doubles) = (0, 0);
    for delivered in spool_support::delivered(&delivered) {
        let number: u64 = delivered.split(' ').nth(3).unwrap().parse().unwrap();
        assert_eq!(delivered, line(number), "whole");
        if number < seen {
            doubles += 1;
            continue;
        }
        assert_eq!(number, seen, "after {kills} kills");
        seen += 1;
    }
    println!(
        "{seen} lines, {doubles} of them again, {kills} kills, {rotations} rotations, {:?}",
        follower.damage()
    );
    assert!((last..=last + 2).contains(&seen), "{seen} of {last}");
    assert_eq!(follower.damage(), Damage::default());
}

fn deliver(follower: &mut Follower, to: &Path) -> usize {
    let parcels = read(follower, 200);
    let Some(last) = parcels.last() else {
        return 0;
    };
    deliver_to(to, parcels.iter().map(|parcel| parcel.record.body.clone()));
    std::thread::sleep(Duration::from_micros(300));
    follower.settle(last.end).unwrap();
    parcels.len()
}
