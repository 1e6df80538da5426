//! What becomes of the lines of a followed log when it is renamed, packed, copied and emptied, or deleted, while somebody follows it
//! and while nobody does.

mod spool_support;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime};

use logboom_relay::follow::Options;
use logboom_relay::source::{Began, Damage, Lag, Source};
use spool_support::read;
use spool_support::site::{Site, eager, expected, lines, nothing, ship};

#[test]
fn from_the_start_all_rotated_files_come_first_oldest_first() {
    for (oldest, middle, newest) in [
        ("app.log.10", "app.log.2", "app.log.1"),
        ("app.log.3.zst", "app.log.2.gz", "app.log.1"),
        (
            "app.log.2026-11-25",
            "app.log.2026-11-26",
            "app.log.2026-11-26.1",
        ),
        (
            "app.log-20261125.gz",
            "app.log-20261126",
            "app.log-20261127",
        ),
        (
            "app-20261125.log.gz",
            "app-20261126.log.zst",
            "app-20261127.log",
        ),
    ] {
        let site = Site::new();
        for (name, numbers) in [(oldest, 0..100), (middle, 100..200), (newest, 200..300)] {
            let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
            site.append(plain, &lines(numbers));
            if plain != name {
                site.pack(plain, &name[plain.len()..]);
            }
        }
        site.append("app.log", &lines(300..310));
        let mut follower = site.open();
        assert_eq!(ship(&mut follower), expected(0..310), "{oldest}");
        assert_eq!(follower.damage(), Damage::default());
        assert_eq!(
            follower.lag(),
            Lag {
                records: Some(0),
                bytes: 0
            }
        );
        assert!(site.at(oldest).exists(), "nothing of others is deleted");
    }
}

#[test]
fn a_renamed_log_is_read_to_its_end_and_late_lines_come_as_well() {
    let site = Site::new();
    let mut follower = site.open();
    site.append("app.log", &lines(0..10));
    assert_eq!(ship(&mut follower), expected(0..10));
    let mut late = OpenOptions::new()
        .append(true)
        .open(site.at("app.log"))
        .unwrap();
    site.append("app.log", &lines(10..20));
    site.rename("app.log", "app.log.1");
    assert_eq!(ship(&mut follower), expected(10..20));
    late.write_all(lines(20..25).as_bytes()).unwrap();
    assert_eq!(ship(&mut follower), expected(20..25));
    late.write_all(lines(25..30).as_bytes()).unwrap();
    site.append("app.log", &lines(30..40));
    assert_eq!(
        ship(&mut follower),
        expected(25..40),
        "the writer's lines are in order"
    );
    for _ in 0..3 {
        assert_eq!(ship(&mut follower), nothing());
    }
    late.write_all(lines(40..41).as_bytes()).unwrap();
    assert_eq!(ship(&mut follower), expected(40..41));
    drop(follower);
    late.write_all(lines(41..42).as_bytes()).unwrap();
    site.append("app.log", &lines(42..43));
    assert_eq!(
        ship(&mut site.open()),
        expected(41..43),
        "after a restart, too"
    );
}

#[test]
fn a_writer_that_changes_from_one_file_to_the_next_is_read_in_its_order() {
    let site = Site::new();
    site.append("app.log", "");
    let path = site.at("app.log");
    let (rotations, read_of_them) = (1500, AtomicU32::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let append = || {
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&path)
                    .unwrap()
            };
            let (mut file, mut number) = (append(), 0);
            for rotation in 0..rotations {
                let name = |rotation: u32| site.at(&format!("app.log.20261127.{rotation}"));
                fs::rename(&path, name(rotation)).unwrap();
                let mut next = append();
                for file in [&mut file, &mut next] {
                    file.write_all(lines(number..number + 1).as_bytes())
                        .unwrap();
                    number += 1;
                }
                file = next;
                while read_of_them.load(SeqCst) + 10 < rotation {
                    std::thread::yield_now();
                }
                if rotation >= 20 {
                    fs::remove_file(name(rotation - 20)).unwrap();
                }
            }
        });
        let mut follower = site.open_with(Options {
            store_every: Duration::from_secs(60),
            linger: Duration::ZERO,
            ..eager()
        });
        let (mut seen, started) = (Vec::new(), std::time::Instant::now());
        while seen.len() < 2 * rotations as usize {
            seen.extend(ship(&mut follower));
            read_of_them.store(seen.len() as u32 / 2, SeqCst);
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{} came",
                seen.len()
            );
        }
        let misplaced = seen
            .iter()
            .zip(expected(0..2 * rotations))
            .find(|(seen, wanted)| *seen != wanted);
        assert_eq!(misplaced, None);
        assert_eq!(follower.damage(), Damage::default());
    });
}

#[test]
fn a_file_that_nobody_appends_to_any_more_is_let_go() {
    let site = Site::new();
    let options = Options {
        linger: Duration::ZERO,
        ..eager()
    };
    let mut follower = site.open_with(options);
    for round in 0..50 {
        site.append("app.log", &lines(round * 10..round * 10 + 10));
        assert_eq!(ship(&mut follower), expected(round * 10..round * 10 + 10));
        site.rename("app.log", &format!("app.log.{}", 100 - round));
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = fs::read_link(entry.as_ref().unwrap().path()).unwrap_or_default();
        target.starts_with(site.at(""))
    });
    assert!(open.count() <= 2);
}

/// Something happens to a log of which 15 lines were settled, while nobody follows it; then it is gone on with.
fn after(what: impl FnOnce(&Site)) -> (Vec<String>, Damage, Began) {
    let site = Site::new();
    site.append("app.log", &lines(0..15));
    assert_eq!(ship(&mut site.open()).len(), 15);
    site.append("app.log", &lines(15..30));
    what(&site);
    let mut follower = site.open();
    let shipped = ship(&mut follower);
    assert_eq!(ship(&mut follower), nothing());
    let began = follower.began().next().unwrap().1.clone();
    drop(follower);
    assert_eq!(ship(&mut site.open()), nothing(), "nothing comes again");
    (shipped, follower_damage(&site), began)
}

/// The damage that a follower meets which has nothing to do.
fn follower_damage(site: &Site) -> Damage {
    let mut follower = site.open();
    ship(&mut follower);
    follower.damage()
}

#[test]
fn a_log_is_gone_on_with_whatever_rotated_it_while_nobody_followed() {
    let all = (expected(15..30), Damage::default(), Began::AtCursor);
    let and_new = (expected(15..40), Damage::default(), Began::AtCursor);
    assert_eq!(after(|_| {}), all);
    assert_eq!(after(|site| site.rename("app.log", "app.log.1")), all);
    assert_eq!(
        after(|site| {
            site.rename("app.log", "app.log.1");
            site.append("app.log", &lines(30..40));
        }),
        and_new
    );
    assert_eq!(
        after(|site| {
            site.rename("app.log", "app.log-20261127");
            site.append("app.log", &lines(30..40));
            site.pack("app.log-20261127", ".gz");
        }),
        and_new
    );
    assert_eq!(
        after(|site| {
            site.rename("app.log", "app.log.1");
            site.append("app.log", &lines(30..35));
            site.rename("app.log.1", "app.log.2");
            site.pack("app.log.2", ".zst");
            site.rename("app.log", "app.log.1");
            site.pack("app.log.1", ".gz");
            site.append("app.log", &lines(35..40));
        }),
        and_new
    );
    assert_eq!(
        after(|site| {
            site.copy_and_empty("app.log", "app.log.1");
            site.append("app.log", &lines(30..40));
        }),
        and_new
    );
    assert_eq!(
        after(|site| {
            site.copy_and_empty("app.log", "app.log.1");
            site.pack("app.log.1", ".gz");
            // Longer than before: the size tells nothing.
            site.append("app.log", &lines(30..400));
        }),
        (expected(15..400), Damage::default(), Began::AtCursor)
    );
}

#[test]
fn a_log_that_is_gone_is_begun_anew_and_older_files_do_not_come_again() {
    let site = Site::new();
    let back = |name: &str, seconds: u64| {
        let file = File::options().append(true).open(site.at(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    };
    site.append("app.log.2", &lines(0..10));
    site.append("app.log.1", &lines(10..20));
    back("app.log.2", 200);
    back("app.log.1", 100);
    site.append("app.log", &lines(20..30));
    assert_eq!(ship(&mut site.open()), expected(0..30));
    fs::remove_file(site.at("app.log")).unwrap();
    site.append("app.log", &lines(40..50));
    let mut follower = site.open();
    assert_eq!(ship(&mut follower), expected(40..50));
    assert_eq!(follower.damage().files_missed, 1);
    assert!(
        matches!(follower.began().next().unwrap().1, Began::CursorLost(why) if why.contains("gone"))
    );
}

#[test]
fn a_deleted_log_is_read_to_its_end_and_its_successor_from_its_beginning() {
    let site = Site::new();
    site.append("app.log.1", &lines(0..10));
    let mut follower = site.open();
    site.append("app.log", &lines(10..20));
    assert_eq!(ship(&mut follower), expected(0..20));
    site.append("app.log", &lines(20..30));
    fs::remove_file(site.at("app.log")).unwrap();
    assert_eq!(ship(&mut follower), expected(20..30));
    site.append("app.log", &lines(30..40));
    assert_eq!(ship(&mut follower), expected(30..40));
    assert_eq!(follower.damage(), Damage::default());
}

#[test]
fn a_log_that_is_copied_and_emptied_is_read_to_its_end_from_the_copy() {
    for is_packed in [false, true] {
        for unread in [0, 5, 5000] {
            for new in [1, 10_000] {
                let site = Site::new();
                let mut follower = site.open();
                site.append("app.log", &lines(0..1000));
                assert_eq!(ship(&mut follower).len(), 1000);
                site.append("app.log", &lines(1000..1000 + unread));
                site.copy_and_empty("app.log", "app.log.1");
                if is_packed {
                    site.pack("app.log.1", ".gz");
                }
                site.append("app.log", &lines(20_000..20_000 + new));
                let mut wanted = expected(1000..1000 + unread);
                wanted.extend(expected(20_000..20_000 + new));
                let what = format!("packed: {is_packed}, {unread} unread, {new} new");
                assert!(ship(&mut follower) == wanted, "{what}");
                assert_eq!(follower.damage(), Damage::default(), "{what}");
            }
        }
    }
}

#[test]
fn what_is_in_flight_when_a_log_is_copied_and_emptied_can_be_sent_again() {
    let site = Site::new();
    let mut follower = site.open();
    site.append("app.log", &lines(0..100));
    let parcels = read(&mut follower, 60);
    follower.settle(parcels[19].end).unwrap();
    site.copy_and_empty("app.log", "app.log.1");
    site.append("app.log", &lines(100..110));
    assert_eq!(read(&mut follower, 999).len(), 50);
    follower.rewind();
    assert_eq!(ship(&mut follower), expected(20..110));
}

#[test]
fn a_log_that_is_emptied_without_a_copy_is_gone_on_with_and_what_was_seen_and_is_lost_is_counted() {
    let site = Site::new();
    let mut follower = site.open();
    site.append("app.log", &lines(0..10));
    assert_eq!(ship(&mut follower), expected(0..10));
    File::create(site.at("app.log")).unwrap();
    site.append("app.log", &lines(10..12));
    assert_eq!(ship(&mut follower), expected(10..12));
    assert_eq!(
        follower.damage(),
        Damage::default(),
        "everything had been read"
    );
    // More than is read at once, so that a part of it was only seen.
    site.append("app.log", &lines(100..20_000));
    let parcels = read(&mut follower, 10);
    follower.settle(parcels[9].end).unwrap();
    File::create(site.at("app.log")).unwrap();
    site.append("app.log", &lines(12..15));
    let shipped = ship(&mut follower);
    assert!(shipped.ends_with(&expected(12..15)) && shipped.len() > 1000);
    let damage = follower.damage();
    assert_eq!(
        (damage.files_missed, damage.bytes_missed > 500_000),
        (1, true),
        "{damage:?}"
    );
}

#[test]
fn a_last_line_without_its_end_waits_and_in_a_rotated_file_not_for_ever() {
    let site = Site::new();
    let mut follower = site.open();
    site.append("app.log", "whole\nhalf");
    assert_eq!(ship(&mut follower), ["whole"]);
    std::thread::sleep(Duration::from_millis(80));
    assert_eq!(
        ship(&mut follower),
        nothing(),
        "its writer may still end it"
    );
    site.rename("app.log", "app.log.1");
    site.append("app.log", "next\n");
    let mut seen = ship(&mut follower);
    std::thread::sleep(Duration::from_millis(80));
    seen.extend(ship(&mut follower));
    seen.sort();
    assert_eq!(seen, ["half", "next"]);
    drop(follower);
    assert_eq!(ship(&mut site.open()), nothing());

    let ends = Options {
        ends: true,
        ..eager()
    };
    site.append("app.log", "the end");
    assert_eq!(ship(&mut site.open_with(ends)), ["the end"]);
    let packed = Site::new();
    packed.append("app.log.1", "one\ntwo");
    packed.pack("app.log.1", ".gz");
    assert_eq!(ship(&mut packed.open()), ["one", "two"]);
}

#[test]
fn a_damaged_packed_file_gives_what_can_be_had_and_the_rest_is_read() {
    let site = Site::new();
    site.append("app.log.2", &lines(0..5000));
    site.pack("app.log.2", ".gz");
    let whole = fs::read(site.at("app.log.2.gz")).unwrap();
    fs::write(site.at("app.log.2.gz"), &whole[..whole.len() / 2]).unwrap();
    site.append("app.log.1.gz", "this is no gzip at all");
    site.append("app.log", &lines(6000..6010));
    let mut follower = site.open();
    let shipped = ship(&mut follower);
    assert!(shipped.ends_with(&expected(6000..6010)) && shipped.len() > 1000);
    assert!(shipped.starts_with(&expected(0..1000)));
    assert_eq!(follower.damage().lines_skipped, 2);
    assert_eq!(ship(&mut follower), nothing());
}

#[test]
fn rotated_files_that_cannot_be_unpacked_or_were_deleted_unread_are_counted() {
    let site = Site::new();
    site.append("app.log.3.bz2", "whatever");
    site.append("app.log.2", &lines(0..10));
    site.append("app.log.1", &lines(10..20));
    site.append("app.log", &lines(20..30));
    let mut follower = site.open();
    assert_eq!(read(&mut follower, 5).len(), 5);
    fs::remove_file(site.at("app.log.1")).unwrap();
    let rest: Vec<String> = read(&mut follower, 99)
        .into_iter()
        .map(|parcel| parcel.record.body)
        .collect();
    assert_eq!(rest, [expected(5..10), expected(20..30)].concat());
    let damage = follower.damage();
    assert_eq!(
        (damage.files_missed, damage.bytes_missed),
        (2, 8 + lines(10..20).len() as u64)
    );
}

#[test]
fn a_file_that_is_packed_before_it_was_read_is_not_missed() {
    let site = Site::new();
    site.append("app.log.2", &lines(0..10));
    site.append("app.log.1", &lines(10..20));
    site.append("app.log", &lines(20..30));
    let mut follower = site.open();
    assert_eq!(read(&mut follower, 5).len(), 5);
    site.pack("app.log.1", ".zst");
    site.pack("app.log.2", ".gz");
    let rest: Vec<String> = read(&mut follower, 99)
        .into_iter()
        .map(|parcel| parcel.record.body)
        .collect();
    assert_eq!(rest, expected(5..30));
    assert_eq!(follower.damage(), Damage::default());
}
