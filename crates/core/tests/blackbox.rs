//! A worker that dies is told of once, with the requests it was serving and its last records, however it died and
//! whoever tells; a worker that ends in order is not. Real processes, real signals.

mod support;

use logboom::format::{Encoder, Format};
use logboom::status::Visitor;
use logboom::viewer::Viewer;
use logboom::{Log, LogOptions, Severity};
use support::machine::{secs, wait_within, within};
use support::{Place, eventually, exited_well, fork, kill, open, wait};

fn options(place: &Place, format: Format) -> LogOptions {
    LogOptions {
        encoder: Some(Encoder::new(format)),
        ..place.options()
    }
}

fn text(place: &Place) -> LogOptions {
    options(place, Format::Text { colour: false })
}

/// A worker that serves one request, logs, and ends by `end`.
fn worker(log: &Log, end: impl FnOnce()) -> libc::pid_t {
    fork(|| {
        let _ = log.publish(Severity::INFO, b"the worker's record\n");
        log.begin_request("id-17", "GET", "/slow", "192.0.2.7");
        end();
        0
    })
}

fn signal_self(signal: i32) {
    // SAFETY: asks the kernel to kill this process, without the runtime's own handler in between.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::thread::sleep(secs(10));
}

fn boxes(content: &str) -> usize {
    content.matches("logboom.blackbox: worker").count()
}

#[test]
fn the_parent_tells_how_a_worker_died_and_what_it_was_serving() {
    for (signal, name) in [
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGABRT, "SIGABRT"),
    ] {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let pid = worker(&log, || signal_self(signal));
        let status = wait(pid);
        let died = log.harvest(pid as u32, Some(status), "");
        assert_eq!(died.len(), 1);
        assert_eq!((&*died[0].id, &*died[0].path), ("id-17", "/slow"));
        assert!(log.harvest(pid as u32, Some(status), "").is_empty(), "once");
        let content = place.content();
        assert_eq!(boxes(&content), 1, "{content}");
        let told = format!("worker {pid} was killed by {name} while serving GET /slow");
        assert!(content.contains(&told), "{content}");
        assert!(content.contains("    request GET /slow"), "{content}");
        assert!(content.contains("      the worker's record"), "{content}");
    }
}

#[test]
fn a_file_for_errors_gets_a_copy_in_its_own_format() {
    let place = Place::new();
    let errors = place.logs.join("errors.log");
    let copies = LogOptions {
        black_box_copies: true,
        ..options(&place, Format::Json)
    };
    // Opened first: which of them tells is not a matter of order.
    let _errors = open(&errors, &copies);
    let log = open(&place.log(), &text(&place));
    let pid = worker(&log, || signal_self(libc::SIGKILL));
    log.harvest(pid as u32, Some(wait(pid)), "");
    assert_eq!(boxes(&place.content()), 1);
    let copy = std::fs::read_to_string(&errors).unwrap();
    assert_eq!(copy.matches("blackbox.how").count(), 1, "{copy}");
}

#[test]
fn a_worker_that_calls_exit_in_a_request_is_told_of_and_one_that_ends_in_order_is_not() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    // SAFETY: ends the process without any clean-up, as os._exit does.
    let pid = worker(&log, || unsafe { libc::_exit(3) });
    log.harvest(pid as u32, Some(wait(pid)), "");
    assert!(
        place
            .content()
            .contains("ended with exit code 3 while serving")
    );
    let pid = fork(|| {
        let token = log.begin_request("id-18", "GET", "/", "").unwrap();
        log.end_request(token);
        log.end_request(token);
        0
    });
    let status = wait(pid);
    assert!(exited_well(status));
    assert!(log.harvest(pid as u32, Some(status), "").is_empty());
    assert_eq!(boxes(&place.content()), 1);
}

#[test]
fn a_survivor_tells_when_no_parent_does() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    let pid = worker(&log, || signal_self(libc::SIGKILL));
    wait(pid);
    within(secs(10), "a survivor tells", || {
        !log.harvest_dead().is_empty()
    });
    let content = place.content();
    assert_eq!(boxes(&content), 1, "{content}");
    assert!(content.contains(&format!("worker {pid} is gone while serving GET /slow")));
}

#[test]
fn the_next_start_and_recover_tell_of_a_group_that_is_dead_as_a_whole() {
    for by_recover in [true, false] {
        let place = Place::new();
        let group = fork(|| {
            let log = open(&place.log(), &text(&place));
            worker(&log, || signal_self(libc::SIGKILL));
            std::thread::sleep(secs(1));
            signal_self(libc::SIGKILL);
            0
        });
        wait(group);
        // SAFETY: sets a variable of this process, whose only thread this is.
        unsafe { std::env::set_var("LOGBOOM_STATE_DIR", &place.state) };
        if by_recover {
            Visitor::join(&place.log())
                .unwrap()
                .recover(secs(5))
                .unwrap();
        } else {
            drop(open(&place.log(), &text(&place)));
        }
        let content = place.content();
        assert_eq!(boxes(&content), 1, "{content}");
        assert!(
            content.contains("logboom.access: 192.0.2.7 \"GET /slow\" unfinished after"),
            "{content}"
        );
    }
}

#[test]
fn the_recorder_is_told_where_it_was_on_the_queue_where_it_was_not() {
    for recorded in [true, false] {
        let place = Place::new();
        let options = LogOptions {
            recorder_bytes: if recorded { 64 << 10 } else { 0 },
            blackbox_records: 5,
            ..text(&place)
        };
        let log = open(&place.log(), &options);
        let pid = worker(&log, || {
            for number in 0..2000 {
                log.record(
                    Severity(5),
                    "shop.db",
                    "id-17",
                    b"",
                    format!("detail {number}\n").as_bytes(),
                );
                if number % 100 == 0 {
                    let _ = log.publish(Severity::INFO, format!("kept {number}\n").as_bytes());
                }
            }
            signal_self(libc::SIGKILL);
        });
        log.harvest(pid as u32, Some(wait(pid)), "");
        let content = place.content();
        let told = &content[content.find("its last").unwrap()..];
        let expected = if recorded {
            "its last 5 records:\n      detail 1995\n      detail 1996\n      detail 1997\n      detail 1998\n      detail 1999\n"
        } else {
            "its last 5 records:\n      kept 1500\n      kept 1600\n      kept 1700\n      kept 1800\n      kept 1900\n"
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn a_fatal_error_stays_for_the_black_box_also_of_a_worker_that_ends_in_order() {
    for killed in [true, false] {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let pid = fork(|| {
            let own = open(&place.log(), &text(&place));
            own.capture_output(&[1, 2], 1 << 20).unwrap();
            own.begin_request("id-17", "GET", "/slow", "");
            print_to(2, "half a line");
            print_to(2, "Fatal Python error: Aborted\n\n");
            print_to(
                2,
                "Thread 0x1 (most recent call first):\n  File \"a.py\", line 1 in slow\n",
            );
            print_to(1, "done\n");
            eventually("the thread has read", || {
                place.content().contains("stdout: done")
            });
            if killed {
                signal_self(libc::SIGKILL);
            }
            drop(own);
            0
        });
        let status = wait_within(pid, secs(20));
        assert_eq!(log.harvest(pid as u32, Some(status), "").len(), 1);
        let content = place.content();
        let told: Vec<_> = content
            .lines()
            .filter(|line| line.starts_with('2') && line.contains("stderr: "))
            .collect();
        assert_eq!(told.len(), 1, "{content}");
        assert!(told[0].ends_with("stderr: half a line"), "{content}");
        let stacks = "stacks:\n      Fatal Python error: Aborted\n      Thread 0x1 (most recent call first):\n        File \"a.py\", line 1 in slow\n";
        assert!(content.contains(stacks), "{content}");
        assert_eq!(content.contains("SIGKILL (aborted) while"), killed);
        let left = std::fs::read_dir(&place.state).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".err")
        });
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn a_black_box_that_would_be_too_long_loses_the_oldest_records_alone() {
    for format in [Format::Json, Format::Logfmt, Format::Text { colour: false }] {
        let place = Place::new();
        let options = LogOptions {
            recorder_bytes: 1 << 20,
            blackbox_records: 200,
            ..options(&place, format)
        };
        let log = open(&place.log(), &options);
        let pid = worker(&log, || {
            for number in 0..500 {
                // Quotes take the most room where a line is written within another.
                let line = format!("{}detail {number}.\n", "\"name\":".repeat(100));
                log.record(Severity(5), "shop.db", "id-17", b"", line.as_bytes());
            }
            signal_self(libc::SIGKILL);
        });
        log.harvest(pid as u32, Some(wait(pid)), "");
        // SAFETY: sets a variable of this process, whose only thread this is.
        unsafe { std::env::set_var("LOGBOOM_STATE_DIR", &place.state) };
        let kept = logboom::status::black_boxes(&place.log()).unwrap();
        for told in [&place.content(), &kept[0].1] {
            assert!(!told.contains("[logboom: "), "{format:?}: {told}");
            for number in 480..500 {
                assert!(
                    told.contains(&format!("detail {number}.")),
                    "{format:?}: {number}"
                );
            }
            assert!(!told.contains("detail 0."));
        }
    }
}

#[test]
fn the_last_who_leaves_tells_of_the_dead() {
    let place = Place::new();
    let group = fork(|| {
        let log = open(&place.log(), &text(&place));
        wait(worker(&log, || signal_self(libc::SIGKILL)));
        drop(log);
        0
    });
    assert!(exited_well(wait(group)));
    let content = place.content();
    assert_eq!(boxes(&content), 1, "{content}");
    assert!(
        content.contains("\"GET /slow\" unfinished after"),
        "{content}"
    );
}

#[test]
fn what_is_printed_becomes_records_also_of_the_dead() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    let heard = place.state.join("heard");
    let pid = fork(|| {
        log.capture_output(&[1, 2], 1 << 20).unwrap();
        print_to(1, "one\ntwo\nthr");
        eventually("the thread reads it", || {
            place.content().contains("stdout: two")
        });
        print_to(1, "ee\n");
        print_to(2, "last words");
        std::fs::write(&heard, "").unwrap();
        signal_self(libc::SIGKILL);
        0
    });
    eventually("it has printed", || heard.exists());
    let status = wait_within(pid, secs(20));
    log.harvest(pid as u32, Some(status), "");
    let content = place.content();
    for (part, times) in [
        ("stdout: one\n", 1),
        ("stdout: two\n", 1),
        ("stdout: three\n", 1),
        ("stderr: last words\n", 1),
    ] {
        let lines = content.split_inclusive('\n');
        let found = lines.filter(|line| !line.starts_with(' ') && line.ends_with(part));
        assert_eq!(found.count(), times, "{part} in {content}");
    }
    let left: Vec<_> = std::fs::read_dir(&place.state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".out") || name.ends_with(".err"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What is printed is recorded where records are, and switches no recorder on; one that was switched off is not the
/// last that is known of a worker.
#[test]
fn a_recorder_that_is_off_hides_nothing_that_was_logged() {
    for switched in [false, true] {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let heard = place.state.join("heard");
        let pid = fork(|| {
            if switched {
                log.set_recording(true);
                log.record(Severity(5), "shop", "", b"", b"long ago");
                log.set_recording(false);
            }
            let _ = log.publish(Severity::INFO, b"logged\n");
            log.capture_output(&[1], 1 << 20).unwrap();
            print_to(1, "printed\n");
            eventually("it is read", || place.content().contains("stdout: printed"));
            std::fs::write(&heard, "").unwrap();
            signal_self(libc::SIGKILL);
            0
        });
        eventually("it has printed", || heard.exists());
        log.harvest(pid as u32, Some(wait(pid)), "");
        let content = place.content();
        let told = &content[content.find("its last 2 records").expect(&content)..];
        assert!(
            told.contains("      logged\n") && told.contains("stdout: printed"),
            "{told}"
        );
    }
}

#[test]
fn output_without_end_is_bounded_and_hangs_nobody() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    let pid = fork(|| {
        log.capture_output(&[1], 64 << 10).unwrap();
        let line = "x".repeat(1023) + "\n";
        for _ in 0..20_000 {
            print_to(1, &line);
        }
        drop(log);
        0
    });
    let status = wait_within(pid, secs(60));
    assert!(exited_well(status), "{status:#x}");
    for entry in std::fs::read_dir(&place.state).unwrap() {
        use std::os::unix::fs::MetadataExt;
        let entry = entry.unwrap();
        let bytes = entry.metadata().unwrap().blocks() * 512;
        assert!(bytes < 32 << 20, "{:?} takes {bytes}", entry.file_name());
    }
}

#[test]
fn deaths_are_kept_as_json_and_the_oldest_go() {
    let place = Place::new();
    let log = open(&place.log(), &options(&place, Format::Json));
    for _ in 0..70 {
        let pid = worker(&log, || signal_self(libc::SIGKILL));
        log.harvest(pid as u32, Some(wait(pid)), "");
    }
    // SAFETY: as above.
    unsafe { std::env::set_var("LOGBOOM_STATE_DIR", &place.state) };
    let kept = logboom::status::black_boxes(&place.log()).unwrap();
    assert_eq!(kept.len(), 64);
    assert_eq!((kept[0].0, kept[63].0), (7, 70));
    for (_, json) in &kept {
        assert!(json.contains("\"id\":\"id-17\""), "{json}");
        assert!(json.starts_with('{') && json.ends_with('}'));
    }
    assert_eq!(
        place
            .content()
            .lines()
            .filter(|line| line.contains("blackbox.how"))
            .count(),
        70
    );
}

#[test]
fn a_box_has_no_records_of_the_worker_that_had_the_place_before() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    for name in ["first", "second"] {
        let pid = fork(|| {
            let _ = log.publish(Severity::INFO, format!("of the {name}\n").as_bytes());
            log.begin_request("id-1", "GET", "/", "");
            signal_self(libc::SIGKILL);
            0
        });
        log.harvest(pid as u32, Some(wait(pid)), "");
    }
    let content = place.content();
    let last = &content[content.rfind("its last").unwrap()..];
    assert_eq!(last, "its last 1 records:\n      of the second\n");
}

/// A few recorders of workers that are gone can still be read; then the oldest one's place is used again.
#[test]
fn what_the_dead_recorded_can_be_read_for_a_while() {
    let place = Place::new();
    let options = LogOptions {
        recorder_bytes: 64 << 10,
        ..text(&place)
    };
    let log = open(&place.log(), &options);
    for number in 1..=8 {
        let pid = fork(|| {
            log.record(
                Severity(5),
                "shop",
                "",
                b"",
                format!("of worker {number}").as_bytes(),
            );
            signal_self(libc::SIGKILL);
            0
        });
        log.harvest(pid as u32, Some(wait(pid)), "");
    }
    // SAFETY: sets a variable of this process, whose only thread this is.
    unsafe { std::env::set_var("LOGBOOM_STATE_DIR", &place.state) };
    let viewer = Viewer::open(&place.log()).unwrap();
    let (seen, missed) = viewer.recorded();
    let lines: Vec<_> = seen.iter().map(|seen| &*seen.record.line).collect();
    assert!(
        lines.ends_with(&["of worker 6", "of worker 7", "of worker 8"]),
        "{lines:?}"
    );
    assert!(lines.len() <= 5, "{lines:?}");
    assert_eq!(missed, 0);
}

#[test]
fn a_descriptor_that_leads_to_a_file_is_that_file() {
    use std::os::fd::AsRawFd;
    let place = Place::new();
    let file = std::fs::File::create(place.log()).unwrap();
    let log = open(
        format!("/proc/self/fd/{}", file.as_raw_fd()).as_ref(),
        &text(&place),
    );
    let _ = log.publish(Severity::INFO, b"one\n");
    assert_eq!(log.path(), place.log().canonicalize().unwrap());
    assert_eq!(place.content(), "one\n");
}

#[test]
fn a_living_worker_is_never_told_of() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    let ready = place.state.join("ready");
    let pid = worker(&log, || {
        std::fs::write(&ready, "").unwrap();
        std::thread::sleep(secs(60));
    });
    eventually("it serves", || ready.exists());
    assert!(log.harvest(pid as u32, None, "").is_empty());
    assert_eq!(boxes(&place.content()), 0);
    kill(pid, libc::SIGKILL);
    assert_eq!(log.harvest(pid as u32, Some(wait(pid)), "").len(), 1);
}

#[test]
fn more_requests_than_the_table_holds_are_counted() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    let tokens: Vec<_> = (0..70)
        .map(|number| log.begin_request(&format!("id-{number}"), "GET", "/", ""))
        .collect();
    assert_eq!(tokens.iter().flatten().count(), 64);
    assert_eq!(log.requests().len(), 64);
    tokens
        .into_iter()
        .flatten()
        .for_each(|token| log.end_request(token));
    assert!(log.requests().is_empty());
}

fn print_to(fd: i32, text: &str) {
    // SAFETY: writes bytes of a living string to a descriptor of this process.
    let written = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
    assert_eq!(written, text.len() as isize);
}

/// Whoever tells and is killed at either point is followed by another, and the death is told of once.
#[cfg(feature = "crash-points")]
#[test]
fn a_teller_that_is_killed_is_followed_by_another() {
    for point in ["kept", "told", "batch-written", "cursors-advanced"] {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let pid = worker(&log, || signal_self(libc::SIGKILL));
        let status = wait(pid);
        let teller = fork(|| {
            die_at(point);
            log.harvest(pid as u32, Some(status), "");
            0
        });
        assert!(libc::WIFSIGNALED(wait(teller)), "{point} is passed");
        log.harvest(pid as u32, Some(status), "");
        let content = place.content();
        assert_eq!(boxes(&content), 1, "{point}: {content}");
        assert!(log.flush(secs(5)));
        let pid = worker(&log, || ());
        log.harvest(pid as u32, Some(wait(pid)), "");
        assert_eq!(
            boxes(&place.content()),
            2,
            "{point}: and the place is used again"
        );
    }
}

/// While nobody drains, what is printed waits in its file, and not in vain.
#[test]
fn what_is_printed_waits_for_room_in_the_queue() {
    let place = Place::new();
    let log = open(&place.log(), &text(&place));
    let holder = fork(|| {
        let mut begun = false;
        let serving = place.state.join("serving");
        let _ = log.serve(|| {
            if !std::mem::replace(&mut begun, true) {
                std::fs::write(&serving, "").unwrap();
            }
            true
        });
        0
    });
    eventually("the lease is held", || place.state.join("serving").exists());
    kill(holder, libc::SIGSTOP);
    let pid = fork(|| {
        log.capture_output(&[1], 4 << 20).unwrap();
        for number in 1..=4_000 {
            print_to(1, &format!("line {number} {}\n", "x".repeat(80)));
        }
        std::thread::sleep(secs(1));
        // SAFETY: wakes a process of this test.
        unsafe { libc::kill(holder, libc::SIGCONT) };
        eventually("all is told", || place.content().contains("line 4000 "));
        drop(log);
        0
    });
    assert!(exited_well(wait_within(pid, secs(30))));
    kill(holder, libc::SIGKILL);
    wait(holder);
    let content = place.content();
    let numbers = content.lines().filter_map(|line| {
        let (_, rest) = line.split_once("stdout: line ")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    });
    assert!(numbers.eq(1..=4_000));
}

/// Sets where a forked child dies.
#[cfg(feature = "crash-points")]
fn die_at(point: &str) {
    // SAFETY: sets a variable of this process, whose only thread this is.
    unsafe { std::env::set_var("LOGBOOM_CRASH_AT", point) };
}

/// How often each of these ends a line of the log that is a record of its own.
#[cfg(feature = "crash-points")]
fn times(content: &str, ends: &[&str]) -> Vec<usize> {
    let records = || content.lines().filter(|line| line.starts_with('2'));
    let times_of = |end: &&str| records().filter(|line| line.ends_with(*end)).count();
    ends.iter().map(times_of).collect()
}

#[cfg(feature = "crash-points")]
const PRINTED: [&str; 4] = [
    "stdout: one",
    "stdout: two",
    "stderr: three",
    "stderr: four",
];

#[cfg(feature = "crash-points")]
fn print_all() {
    print_to(1, "one\n\ntwo\n");
    print_to(2, "three\nfour");
}

/// The worker's own thread is killed where a line is about to count as a record, and where it just has.
#[cfg(feature = "crash-points")]
#[test]
fn a_printed_line_is_one_record_wherever_its_worker_is_killed() {
    for point in ["marked", "taken", "batch-written", "cursors-advanced"] {
        for count in 1..=3 {
            let place = Place::new();
            let log = open(&place.log(), &text(&place));
            let pid = fork(|| {
                die_at(&format!("{point}:{count}"));
                log.capture_output(&[1, 2], 1 << 20).unwrap();
                print_all();
                std::thread::sleep(secs(1));
                signal_self(libc::SIGKILL);
                0
            });
            let status = wait(pid);
            log.harvest(pid as u32, Some(status), "");
            assert!(log.flush(secs(5)));
            let content = place.content();
            assert_eq!(
                times(&content, &PRINTED),
                [1; 4],
                "{point}:{count}: {content}"
            );
        }
    }
}

/// Real kills at any moment: what `write` took is one record each, in order.
#[test]
fn what_a_killed_worker_printed_is_neither_lost_nor_doubled() {
    let mut printed = 0;
    for round in 0..40 {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let count = place.state.join("count");
        let pid = fork(|| {
            log.capture_output(&[1], 1 << 20).unwrap();
            for number in 1..u64::MAX {
                print_to(1, &format!("line {number}\n"));
                std::fs::write(&count, number.to_string()).unwrap();
                if number % 20 == 0 {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            }
            0
        });
        std::thread::sleep(std::time::Duration::from_micros(21_000 + round * 1_300));
        kill(pid, libc::SIGKILL);
        let status = wait(pid);
        log.harvest(pid as u32, Some(status), "");
        assert!(log.flush(secs(5)));
        let content = place.content();
        let records = content.lines().filter(|line| line.starts_with('2'));
        let numbers: Vec<u64> = records
            .filter_map(|line| line.split_once("stdout: line ")?.1.parse().ok())
            .collect();
        let written = std::fs::read_to_string(&count).unwrap_or_default();
        let written: u64 = written.parse().unwrap_or(0);
        assert!(
            numbers.len() as u64 >= written,
            "{} of {written}",
            numbers.len()
        );
        assert!(
            numbers.iter().copied().eq(1..=numbers.len() as u64),
            "{numbers:?}"
        );
        printed += written;
    }
    assert!(printed > 100, "{printed} lines in all");
}

/// The record that ends a request, and the request's place among those in flight: a kill leaves one of the two.
#[cfg(feature = "crash-points")]
#[test]
fn a_request_is_over_when_its_last_record_counts() {
    for (point, over) in [
        ("marked", false),
        ("intent-stored", true),
        ("batch-written", true),
    ] {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let pid = fork(|| {
            let token = log.begin_request("id-17", "GET", "/slow", "").unwrap();
            let other = log.begin_request("id-18", "GET", "/slower", "").unwrap();
            let first = log.enqueue_last(other + 64, Severity::INFO, b"of nobody\n");
            let _ = log.settle(first, Severity::INFO, b"of nobody\n");
            die_at(point);
            let line = b"the last of /slow\n";
            let ticket = log.enqueue_last(token, Severity::INFO, line);
            let _ = log.settle(ticket, Severity::INFO, line);
            0
        });
        let status = wait(pid);
        assert!(libc::WIFSIGNALED(status), "{point}");
        let died = log.harvest(pid as u32, Some(status), "");
        let paths: Vec<_> = died.iter().map(|request| &*request.path).collect();
        let expected: &[_] = if over {
            &["/slower"]
        } else {
            &["/slow", "/slower"]
        };
        assert_eq!(paths, expected, "{point}");
        assert!(log.flush(secs(5)));
        let content = place.content();
        let last = content.lines().filter(|line| *line == "the last of /slow");
        assert_eq!(last.count(), usize::from(over), "{point}: {content}");
        assert_eq!(
            content.contains("request GET /slow for"),
            !over,
            "{point}: {content}"
        );
    }
}

/// The tail that a killed teller had announced is reached by a record that has nothing to do with it.
#[cfg(feature = "crash-points")]
#[test]
fn another_record_in_the_tellers_queue_is_not_taken_for_what_it_was_killed_over() {
    for count in 1..=5 {
        let place = Place::new();
        let log = open(&place.log(), &text(&place));
        let pid = worker(&log, || {
            log.capture_output(&[1, 2], 1 << 20).unwrap();
            print_all();
            signal_self(libc::SIGKILL);
        });
        let status = wait(pid);
        let teller = fork(|| {
            die_at(&format!("marked:{count}"));
            log.harvest(pid as u32, Some(status), "");
            0
        });
        let killed = libc::WIFSIGNALED(wait(teller));
        assert!(killed || count > 1, "the box itself is marked");
        // Too long for a queue of the worker's own.
        let _ = log.publish(
            Severity::INFO,
            format!("{}\n", "x".repeat(60_000)).as_bytes(),
        );
        log.harvest(pid as u32, Some(status), "");
        let content = place.content();
        let told = (times(&content, &PRINTED), boxes(&content));
        assert_eq!(told, (vec![1; 4], 1), "{count}: {content}");
    }
}

/// Whoever tells of a group that is dead as a whole is killed at each record of it: the next goes on behind it.
#[cfg(feature = "crash-points")]
#[test]
fn each_record_of_a_dead_worker_is_told_once_wherever_its_tellers_are_killed() {
    let mut killed = 0;
    for point in ["marked", "batch-written", "cursors-advanced"] {
        for count in 1..=7 {
            let place = Place::new();
            let errors = place.logs.join("errors.log");
            let copies = LogOptions {
                black_box_copies: true,
                ..text(&place)
            };
            let open_both = || (open(&errors, &copies), open(&place.log(), &text(&place)));
            let group = fork(|| {
                let (_errors, log) = open_both();
                log.capture_output(&[1, 2], 1 << 20).unwrap();
                log.begin_request("id-17", "GET", "/slow", "");
                log.begin_request("id-18", "GET", "/slower", "");
                print_all();
                signal_self(libc::SIGKILL);
                0
            });
            wait(group);
            for _ in 0..2 {
                let teller = fork(|| {
                    die_at(&format!("{point}:{count}"));
                    drop(open_both());
                    0
                });
                killed += u32::from(libc::WIFSIGNALED(wait(teller)));
            }
            drop(open_both());
            let content = place.content();
            assert_eq!(
                times(&content, &PRINTED),
                [1; 4],
                "{point}:{count}: {content}"
            );
            for path in ["/slow", "/slower"] {
                let unfinished = format!("\"GET {path}\" unfinished after");
                assert_eq!(
                    content.matches(&unfinished).count(),
                    1,
                    "{point}:{count}: {content}"
                );
            }
            let copy = std::fs::read_to_string(&errors).unwrap();
            assert_eq!(
                (boxes(&content), boxes(&copy)),
                (1, 1),
                "{point}:{count}: {content}{copy}"
            );
        }
    }
    assert!(killed >= 14, "{killed}");
}
