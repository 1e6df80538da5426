//! The log directory is taken away: removed, closed, read-only, no descriptor to open it with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::SeqCst;

use logboom::{Log, LogOptions, Outcome, Severity};

use crate::support::machine::{self, Heard, Need, child, end_well, millis, secs, within};
use crate::support::{Counters, Place, open, record};
use crate::{holds_all, holds_all_of, publish};

#[test]
fn a_removed_directory_delays_records_until_it_is_there_again() {
    let place = Place::new();
    let heard = Heard::listen();
    let log = open(&place.log(), &place.options());
    publish(&log, 1, 1, 10, 100);
    let before = place.content();
    fs::remove_dir_all(&place.logs).unwrap();
    publish(&log, 1, 11, 400, 100);
    std::thread::sleep(millis(300));
    assert!(
        heard
            .text()
            .contains("No such file or directory (os error 2); create the directory first"),
        "{}",
        heard.text()
    );
    fs::create_dir(&place.logs).unwrap();
    within(secs(3), "all since then is in the new directory", || {
        holds_all_of(&(before.clone() + &place.content()), &[(1, 400)])
    });
}

#[test]
fn after_a_directory_was_made_anew_newcomers_come_and_go_and_nothing_is_lost() {
    let place = Place::new();
    let log = open(&place.log(), &place.options());
    publish(&log, 1, 1, 10, 100);
    let before = place.content();
    fs::remove_dir_all(&place.logs).unwrap();
    fs::create_dir(&place.logs).unwrap();
    let mut last = 10;
    for newcomer in 2..12 {
        let pid = child(|| {
            let log = open(&place.log(), &place.options());
            publish(&log, newcomer, 1, 50, 100);
            0
        });
        let mut status = None;
        while status.is_none() {
            last += 1;
            publish(&log, 1, last, last, 100);
            status = crate::support::has_ended(pid).then_some(());
        }
    }
    let expected: Vec<_> = (2..12)
        .map(|worker| (worker, 50))
        .chain([(1, last)])
        .collect();
    assert!(log.flush(secs(2)));
    within(secs(3), "all is there", || {
        holds_all_of(&(before.clone() + &place.content()), &expected)
    });
}

#[test]
fn a_withdrawn_permission_delays_records_until_it_is_given_back() {
    if !machine::has(&[Need::Root]) {
        return;
    }
    let (place, heard, counters) = (Place::new(), Heard::listen(), Counters::new(2));
    fs::set_permissions(place.logs.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    machine::give_to_nobody(&place.logs);
    machine::give_to_nobody(&place.state);
    let pid = child(|| {
        machine::become_nobody();
        let log = open(&place.log(), &place.options());
        publish(&log, 1, 1, 10, 100);
        counters.at(0).store(1, SeqCst);
        within(secs(15), "the permission is withdrawn", || {
            counters.at(1).load(SeqCst) == 1
        });
        publish(&log, 1, 11, 300, 100);
        counters.at(0).store(2, SeqCst);
        within(secs(15), "the test says end", || {
            counters.at(1).load(SeqCst) == 2
        });
        0
    });
    within(secs(15), "ten are written", || {
        counters.at(0).load(SeqCst) == 1
    });
    let before = place.content();
    fs::rename(place.log(), place.logs.join("moved")).unwrap();
    std::os::unix::fs::chown(&place.logs, Some(0), Some(0)).unwrap();
    counters.at(1).store(1, SeqCst);
    within(secs(15), "all is published", || {
        counters.at(0).load(SeqCst) == 2
    });
    within(secs(3), "it is said", || {
        heard
            .text()
            .contains("Permission denied (os error 13); give this user write permission there")
    });
    assert!(!place.log().exists());
    machine::give_to_nobody(&place.logs);
    within(secs(3), "all is written", || {
        holds_all_of(&(before.clone() + &place.content()), &[(1, 300)])
    });
    counters.at(1).store(2, SeqCst);
    end_well(pid, secs(10));
}

#[test]
fn opening_in_a_read_only_directory_is_an_error_that_says_what_to_do() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let place = Place::new();
        machine::cover_read_only(&place.logs);
        let error = Log::open(place.log(), &place.options())
            .err()
            .expect("it opens");
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        assert!(
            error
                .to_string()
                .contains("the volume is read-only: choose another place"),
            "{error}"
        );
    });
}

#[test]
fn a_directory_that_becomes_read_only_delays_records_until_it_can_be_written() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, heard) = (Place::new(), Heard::listen());
        let log = open(&place.log(), &place.options());
        publish(&log, 1, 1, 10, 100);
        let before = place.content();
        fs::rename(place.log(), place.logs.join("moved")).unwrap();
        machine::cover_read_only(&place.logs);
        publish(&log, 1, 11, 300, 100);
        within(secs(3), "it is said", || {
            heard.text().contains("the volume is read-only")
        });
        machine::unmount(&place.logs);
        within(secs(3), "all is written", || {
            holds_all_of(&(before.clone() + &place.content()), &[(1, 300)])
        });
        assert_eq!(
            fs::read_to_string(place.logs.join("moved")).unwrap(),
            before
        );
    });
}

#[test]
fn a_read_only_directory_postpones_rotation_and_loses_nothing() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, heard) = (Place::new(), Heard::listen());
        let options = LogOptions {
            max_bytes: 5_000,
            backup_count: 100,
            ..place.options()
        };
        let log = open(&place.log(), &options);
        publish(&log, 1, 1, 10, 100);
        machine::cover_read_only(&place.logs);
        for number in 11..=300 {
            publish(&log, 1, number, number, 100);
            std::thread::sleep(millis(10));
        }
        assert!(log.flush(secs(1)), "it is not written on");
        assert!(holds_all(&place, &[(1, 300)]), "it is not written on");
        assert_eq!(
            heard.count("failed to rotate"),
            1,
            "said once: {}",
            heard.text()
        );
        machine::unmount(&place.logs);
        within(secs(3), "it rotates again", || {
            publish_next(&log, 301);
            place.logs.join("app.log.1").exists()
        });
        assert!(log.flush(secs(2)));
        let reading = crate::support::read_strictly(&place.content());
        reading.assert_complete(&[(1, 300)].into(), &[]);
    });
}

fn publish_next(log: &Log, worker: u64) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, SeqCst) + 1;
    assert_eq!(
        log.publish(Severity::INFO, record(worker, number, 100).as_bytes()),
        Outcome::Published
    );
}

#[test]
fn a_process_without_a_free_descriptor_delays_records_until_it_has_one() {
    let (place, heard) = (Place::new(), Heard::listen());
    let log = open(&place.log(), &place.options());
    publish(&log, 1, 1, 10, 100);
    let before = place.content();
    fs::rename(place.log(), place.logs.join("moved")).unwrap();
    let mut taken: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    publish(&log, 1, 11, 11, 100);
    // It has let go of the moved file; that descriptor is taken too.
    taken.extend(std::iter::from_fn(|| fs::File::open("/dev/null").ok()));
    publish(&log, 1, 12, 300, 100);
    std::thread::sleep(millis(300));
    assert!(heard_blindly(&heard), "it is not said");
    drop(taken);
    within(secs(3), "all is written", || {
        holds_all_of(&(before.clone() + &place.content()), &[(1, 300)])
    });
    assert!(
        heard.text().contains("raise the limit of open files"),
        "{}",
        heard.text()
    );
}

/// While no descriptor is free nothing can be opened to look.
fn heard_blindly(heard: &Heard) -> bool {
    heard.len() > 0
}
