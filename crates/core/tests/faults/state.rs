//! The state: no room for it, damaged, gone, made anew; more workers than it has places.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use logboom::{Log, LogOptions, Outcome, Severity};

use crate::support::machine::{
    self, Heard, Need, child, end_well, millis, secs, wait_within, within,
};
use crate::support::{Counters, Place, kill, open, read_strictly, record, wait};
use crate::{holds_all, publish};

const VERSION_AT: u64 = 8;
const LEASE_AT: u64 = 128;
const CONTROL_AT: u64 = 4096;
const SLOTS_AT: u64 = 16 << 10;

/// Children that publish `each` records all at once, after all of them have opened the log.
fn crowd(place: &Place, options: &LogOptions, workers: u64, each: u64, len: usize) {
    let ready = Counters::new(1);
    let pids: Vec<_> = (1..=workers)
        .map(|worker| {
            child(|| {
                let log = open(&place.log(), options);
                publish(&log, worker, 1, 1, len);
                ready.at(0).fetch_add(1, SeqCst);
                within(secs(60), "all have begun", || {
                    ready.at(0).load(SeqCst) >= workers
                });
                publish(&log, worker, 2, each, len);
                // Nobody leaves before all have published: each has its place for all that time.
                ready.at(0).fetch_add(1, SeqCst);
                within(secs(60), "all have published", || {
                    ready.at(0).load(SeqCst) >= 2 * workers
                });
                assert!(log.flush(secs(10)));
                0
            })
        })
        .collect();
    for pid in pids {
        end_well(pid, secs(80));
    }
}

fn all_of(workers: u64, each: u64) -> Vec<(u64, u64)> {
    (1..=workers).map(|worker| (worker, each)).collect()
}

#[test]
fn workers_that_find_no_room_for_a_queue_write_through_the_holders_place_and_lose_nothing() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, heard) = (Place::new(), Heard::listen());
        machine::mount_tmpfs(&place.state, "1m");
        let options = LogOptions {
            queue_bytes: 0,
            ..place.options()
        };
        crowd(&place, &options, 12, 50, 200);
        assert!(holds_all(&place, &all_of(12, 50)));
        assert!(
            heard.text().contains("no room for a queue"),
            "{}",
            heard.text()
        );
        assert!(
            heard
                .text()
                .contains("set a smaller queue_bytes, or another state_dir"),
            "no remedy"
        );
    });
}

#[test]
fn a_state_directory_without_any_room_is_an_error_at_opening_that_says_what_to_do() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let place = Place::new();
        machine::mount_tmpfs(&place.state, "1m");
        machine::fill(&place.state.join("ballast"), 0);
        let error = Log::open(place.log(), &place.options())
            .err()
            .expect("it opens");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&*place.state.to_string_lossy())
                && text.contains("free some space there"),
            "{text}"
        );
        assert_eq!(
            machine::names_in(&place.state),
            ["ballast"],
            "a half-made state is left"
        );
        // Space is freed: it opens.
        fs::remove_file(place.state.join("ballast")).unwrap();
        publish(&open(&place.log(), &place.options()), 1, 1, 1, 100);
    });
}

/// A state that a group has left in order, to be damaged.
fn left_behind() -> (Place, std::path::PathBuf) {
    let place = Place::new();
    let log = open(&place.log(), &place.options());
    publish(&log, 1, 1, 10, 100);
    drop(log);
    let state = machine::the_state_in(&place.state);
    (place, state)
}

fn moved_aside(damage: impl FnOnce(&fs::File), said: &str) {
    let (place, state) = left_behind();
    damage(&fs::OpenOptions::new().write(true).open(&state).unwrap());
    let damaged = fs::metadata(&state).unwrap().len();
    let heard = Heard::listen();
    let log = open(&place.log(), &place.options());
    publish(&log, 2, 1, 10, 100);
    assert!(holds_all(&place, &[(1, 10), (2, 10)]));
    let aside: Vec<_> = machine::names_in(&place.state)
        .into_iter()
        .filter(|name| name.contains("aside"))
        .collect();
    assert_eq!(aside.len(), 1, "it is kept");
    assert_eq!(
        fs::metadata(place.state.join(&aside[0])).unwrap().len(),
        damaged
    );
    assert!(
        heard.text().contains(said) && heard.text().contains(&aside[0]),
        "{}",
        heard.text()
    );
}

#[test]
fn a_state_that_is_not_one_is_moved_aside_and_records_go_on() {
    moved_aside(
        |file| file.write_all_at(b"nonsense", 0).unwrap(),
        "it does not begin like a logboom state",
    );
}

#[test]
fn a_state_that_contradicts_itself_is_moved_aside_and_records_go_on() {
    moved_aside(
        |file| file.write_all_at(&[7; 100], 12).unwrap(),
        "its first page contradicts itself",
    );
}

#[test]
fn a_truncated_state_is_moved_aside_and_records_go_on() {
    moved_aside(|file| file.set_len(100_000).unwrap(), "it is cut short");
    moved_aside(|file| file.set_len(4 << 20).unwrap(), "it is cut short");
    moved_aside(|file| file.set_len(0).unwrap(), "it is cut short");
}

#[test]
fn a_state_of_an_unknown_version_is_moved_aside_and_records_go_on() {
    let damage = |file: &fs::File| {
        file.write_all_at(&77_u32.to_le_bytes(), VERSION_AT)
            .unwrap()
    };
    moved_aside(damage, "it has format 77, this logboom knows 1");
}

/// Whatever stands behind a sound first page: the log opens, takes records and writes them, and nobody crashes or hangs.
fn survives(damage: impl FnOnce(&fs::File)) -> bool {
    let (place, state) = left_behind();
    damage(&fs::OpenOptions::new().write(true).open(&state).unwrap());
    let pid = child(|| {
        let log = open(&place.log(), &place.options());
        for number in 1..=50 {
            publish(&log, 2, number, number, 100);
            std::thread::sleep(millis(1));
        }
        i32::from(!log.flush(secs(3)))
    });
    let status = wait_within(pid, secs(10));
    let reading = read_strictly(&place.content());
    let all = (1..=50).all(|number| reading.found.get(&(2, number)) == Some(&1));
    let well = crate::support::exited_well(status) && reading.torn.is_empty() && all;
    if !well {
        println!(
            "ended with {status:#x}, {} found, torn: {:?}",
            reading.found.len(),
            reading.torn
        );
    }
    well
}

#[test]
fn a_damaged_lease_is_not_believed() {
    let leases = [
        u64::MAX,
        0xffff,
        300,
        5,
        7 << 32 | 3,
        1 << 57,
        3 << 16,
        0xffff << 16 | 1 << 56,
        0xffff_0001,
    ];
    let believed: Vec<String> = leases
        .iter()
        .filter(|lease| {
            !survives(|file| file.write_all_at(&lease.to_le_bytes(), LEASE_AT).unwrap())
        })
        .map(|lease| format!("{lease:#x}"))
        .collect();
    assert!(believed.is_empty(), "{believed:?}");
}

#[test]
fn a_damaged_control_page_costs_no_record_of_the_next_group() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..40 {
        let mut bytes = vec![0_u8; 4096];
        for word in bytes.chunks_exact_mut(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Small numbers are more likely to be taken for something.
            word.copy_from_slice(&(random >> (random % 60)).to_le_bytes());
        }
        // The journal's phases come first; each of the known ones has its turn.
        bytes[..8].copy_from_slice(&(round % 10_u64).to_le_bytes());
        let well = survives(|file| file.write_all_at(&bytes, CONTROL_AT).unwrap());
        assert!(well, "control page {round}");
    }
}

#[test]
fn damaged_slots_and_queues_cost_no_record_of_the_next_group() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..30 {
        let mut bytes = vec![0_u8; 64 << 10];
        for word in bytes.chunks_exact_mut(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            word.copy_from_slice(&(random >> (random % 60)).to_le_bytes());
        }
        let well = survives(|file| file.write_all_at(&bytes, SLOTS_AT).unwrap());
        assert!(well, "slots {round}");
    }
}

#[test]
fn a_state_removed_under_a_living_group_stops_nobody_and_newcomers_are_refused_until_all_have_left()
{
    let (place, heard) = (Place::new(), Heard::listen());
    let log = open(&place.log(), &place.options());
    publish(&log, 1, 1, 10, 100);
    fs::remove_file(machine::the_state_in(&place.state)).unwrap();
    publish(&log, 1, 11, 20, 100);
    // A member forked now goes on too.
    let member = child(|| {
        publish(&log, 2, 1, 50, 100);
        0
    });
    end_well(member, secs(10));
    // A newcomer is a process that was not forked from a member.
    let text = newcomer_says(&place);
    assert!(
        text.contains("its members live, but their state") && text.contains("Stop them first"),
        "{text}"
    );
    assert!(log.flush(secs(2)));
    drop(log);
    assert_eq!(newcomer_says(&place), "");
    assert!(
        holds_all(&place, &[(1, 20), (2, 50), (9, 1)]),
        "{}",
        heard.text()
    );
}

/// What a process that knows nothing of the domain hears when it opens the log; nothing when it could publish.
fn newcomer_says(place: &Place) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "state::newcomer",
            "--nocapture",
            "--include-ignored",
        ])
        .env("LOGBOOM_TEST_NEWCOMER", place.log())
        .env("LOGBOOM_STATE_DIR", &place.state)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_once("REFUSED "))
        .map(|(_, text)| text.to_owned())
        .collect()
}

#[test]
#[ignore = "run by other tests as a process of its own"]
fn newcomer() {
    let Some(path) = std::env::var_os("LOGBOOM_TEST_NEWCOMER") else {
        return println!("skipped: it is run by other tests");
    };
    let options = LogOptions {
        queue_bytes: 128 << 10,
        ..LogOptions::default()
    };
    match Log::open(std::path::Path::new(&path), &options) {
        Ok(log) => publish(&log, 9, 1, 1, 100),
        Err(error) => println!("REFUSED {error}"),
    }
}

#[test]
fn a_recreated_container_takes_the_log_over_in_silence() {
    let (place, heard, counters) = (Place::new(), Heard::listen(), Counters::new(2));
    let pid = child(|| {
        let log = open(&place.log(), &place.options());
        crate::support::publish_numbered(&log, 1, counters.at(0), counters.at(1), |_| 100);
        0
    });
    within(secs(10), "it publishes", || {
        counters.at(1).load(SeqCst) > 1000
    });
    kill(pid, libc::SIGKILL);
    wait(pid);
    // Its shared memory is gone with it; the log volume stays, and with it the claim.
    for name in machine::names_in(&place.state) {
        fs::remove_file(place.state.join(name)).unwrap();
    }
    let before = fs::read(place.log()).unwrap();
    let log = open(&place.log(), &place.options());
    publish(&log, 2, 1, 100, 100);
    let content = fs::read(place.log()).unwrap();
    assert!(content.starts_with(&before), "what was there is touched");
    let ours: String = (1..=100).map(|number| record(2, number, 100)).collect();
    let behind = content[before.len()..].to_vec();
    assert!(String::from_utf8(behind).unwrap().ends_with(&ours));
    assert_eq!(heard.text(), "", "it is said although nothing is wrong");
}

#[test]
fn more_workers_than_places_lose_nothing() {
    let (place, heard) = (Place::new(), Heard::listen());
    let options = LogOptions {
        queue_bytes: 16 << 10,
        on_full_wait_ms: 5_000,
        ..place.options()
    };
    crowd(&place, &options, 270, 5, 100);
    assert!(holds_all(&place, &all_of(270, 5)));
    assert!(
        heard.text().contains("all 255 places of"),
        "{}",
        heard.text()
    );
}

#[test]
fn fifty_files_and_sixteen_workers_fit_into_64_mb_of_shared_memory() {
    if !machine::has(&[Need::Mounts]) {
        return;
    }
    machine::in_own_mounts(|| {
        let (place, heard, ready) = (Place::new(), Heard::listen(), Counters::new(1));
        machine::mount_tmpfs(&place.state, "64m");
        let options = LogOptions {
            queue_bytes: 0,
            ..place.options()
        };
        let path = |file: u64| place.logs.join(format!("app-{file}.log"));
        let logs: Vec<Log> = (0..50).map(|file| open(&path(file), &options)).collect();
        let pids: Vec<_> = (1..=16)
            .map(|worker| {
                child(|| {
                    let mut begun = Instant::now();
                    for number in 1..=100 {
                        for log in &logs {
                            let outcome =
                                log.publish(Severity::INFO, record(worker, number, 200).as_bytes());
                            assert_eq!(outcome, Outcome::Published);
                        }
                        if number == 1 {
                            ready.at(0).fetch_add(1, SeqCst);
                            within(secs(30), "all live", || ready.at(0).load(SeqCst) == 16);
                            begun = Instant::now();
                        }
                    }
                    println!("worker {worker}: {:?}", begun.elapsed());
                    assert!(logs[0].flush(secs(20)));
                    0
                })
            })
            .collect();
        for pid in pids {
            end_well(pid, secs(60));
        }
        for file in 0..50 {
            let content = fs::read_to_string(path(file)).unwrap();
            assert!(
                crate::holds_all_of(&content, &all_of(16, 100)),
                "file {file}"
            );
        }
        assert!(!heard.text().contains("no room"), "{}", heard.text());
    });
}
