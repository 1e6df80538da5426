//! The holder of the lease is stopped, or dies, or the reader of a pipe stops reading.

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use logboom::{DropReason, Log, LogOptions, Outcome, Severity};

use crate::support::machine::{Heard, child, end_well, millis, secs, within};
use crate::support::{Counters, Place, kill, open, read_strictly, record, wait};
use crate::{holds_all, publish};

/// A process that holds the lease until it is killed.
fn holder(place: &Place, options: &LogOptions) -> libc::pid_t {
    let ready = Counters::new(1);
    let pid = child(|| {
        let log = open(&place.log(), options);
        publish(&log, 9, 1, 1, 100);
        let served = log.serve(|| {
            ready.at(0).store(1, SeqCst);
            true
        });
        i32::from(served.is_err())
    });
    within(secs(10), "the holder holds", || {
        ready.at(0).load(SeqCst) == 1
    });
    pid
}

fn dropped(place: &Place) -> u64 {
    logboom::status::status(&place.log())
        .unwrap()
        .ledger
        .dropped[DropReason::Full as usize]
}

#[test]
fn a_stopped_holder_delays_files_and_stops_nobody() {
    let (place, heard) = (Place::new(), Heard::listen());
    let options = LogOptions {
        on_full_wait_ms: 200,
        ..place.options()
    };
    let stopped = holder(&place, &options);
    kill(stopped, libc::SIGSTOP);
    let log = open(&place.log(), &options);
    let (mut taken, mut lost, mut slow) = (Vec::new(), 0, Vec::new());
    for number in 1..=2000 {
        let begun = Instant::now();
        match log.publish(Severity::INFO, record(1, number, 100).as_bytes()) {
            Outcome::Published => taken.push(number),
            Outcome::Dropped(DropReason::Full) => lost += 1,
            other => panic!("{other:?}"),
        }
        if begun.elapsed() > millis(150) {
            slow.push((number, begun.elapsed()));
        }
    }
    assert!(
        taken.len() > 500 && lost > 100,
        "{} taken, {lost} lost",
        taken.len()
    );
    assert_eq!(slow.len(), 1, "it waits once for the stall: {slow:?}");
    assert!(slow[0].1 < millis(500), "{slow:?}");
    assert_eq!(dropped(&place), lost, "each drop is counted");
    let said =
        format!("process {stopped} holds the drain lease and is stopped: continue it with SIGCONT");
    assert_eq!(heard.count(&said), 1, "{}", heard.text());
    let begun = Instant::now();
    assert!(!log.flush(millis(300)) && log.rotate(millis(300)).is_err());
    assert!(begun.elapsed() < secs(2), "bounded: {:?}", begun.elapsed());
    kill(stopped, libc::SIGCONT);
    within(
        secs(5),
        "what was acknowledged is in the file, in order",
        || {
            let reading = read_strictly(&place.content());
            assert!(reading.torn.is_empty() && reading.disordered.is_empty());
            taken
                .iter()
                .all(|number| reading.found.get(&(1, *number)) == Some(&1))
        },
    );
    kill(stopped, libc::SIGKILL);
    wait(stopped);
}

#[test]
fn a_stopped_holder_delays_a_big_record_and_a_disk_record_no_longer_than_the_bound() {
    let place = Place::new();
    let options = LogOptions {
        on_full_wait_ms: 200,
        ..place.options()
    };
    let stopped = holder(&place, &options);
    kill(stopped, libc::SIGSTOP);
    let log = open(&place.log(), &options);
    let begun = Instant::now();
    // It fits no queue: cut, marked and counted, since the lease is not to be had.
    let outcome = log.publish(Severity::INFO, record(1, 1, 100_000).as_bytes());
    assert_eq!(outcome, Outcome::Published);
    assert!(begun.elapsed() < secs(2), "{:?}", begun.elapsed());
    let durable = open(
        &place.log(),
        &LogOptions {
            durability: logboom::Durability::Disk,
            ..options
        },
    );
    let begun = Instant::now();
    durable.publish(Severity::INFO, record(1, 2, 100).as_bytes());
    assert!(begun.elapsed() < secs(7), "{:?}", begun.elapsed());
    kill(stopped, libc::SIGCONT);
    within(secs(5), "both are in the file", || {
        let content = place.content();
        content.contains("[logboom: cut, 100000 bytes in all]\n")
            && content.ends_with(&record(1, 2, 100))
    });
    kill(stopped, libc::SIGKILL);
    wait(stopped);
}

#[test]
fn after_a_dead_holder_another_publisher_goes_on_within_a_tenth_of_a_second() {
    for _ in 0..20 {
        let place = Place::new();
        let dead = holder(&place, &place.options());
        let begun = Instant::now();
        let log = open(&place.log(), &place.options());
        println!(
            "opened in {:?} while another process holds the lease",
            begun.elapsed()
        );
        publish(&log, 1, 1, 10, 100);
        kill(dead, libc::SIGKILL);
        wait(dead);
        let killed = Instant::now();
        let mut last = 10;
        while !holds_all(&place, &[(1, last), (9, 1)]) || last < 15 {
            last += 1;
            publish(&log, 1, last, last, 100);
            assert!(
                killed.elapsed() < millis(500),
                "nobody took over within {:?}",
                killed.elapsed()
            );
            std::thread::sleep(millis(2));
        }
        assert!(killed.elapsed() < millis(150), "{:?}", killed.elapsed());
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: two new descriptors, which become ours.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

/// Publishes until the pipe and the queue are full, then lets somebody read: whole lines, all that were taken, in order.
fn full_pipe(path: &std::path::Path, place: &Place, reader: std::fs::File, len: usize) {
    let heard = Heard::listen();
    let options = LogOptions {
        on_full_wait_ms: 200,
        ..place.options()
    };
    let log = open(path, &options);
    let (mut taken, mut lost) = (Vec::new(), 0);
    let begun = Instant::now();
    for number in 1..=(600_000 / len as u64) {
        match log.publish(Severity::INFO, record(1, number, len).as_bytes()) {
            Outcome::Published => taken.push(number),
            Outcome::Dropped(DropReason::Full) => lost += 1,
            other => panic!("{other:?}"),
        }
    }
    println!(
        "{} taken, {lost} dropped in {:?}",
        taken.len(),
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < secs(5),
        "a full pipe hangs its writer: {:?}",
        begun.elapsed()
    );
    assert!(lost > 0 && taken.len() > 10);
    println!("{:?}", crate::support::machine::names_in(&place.logs));
    let counted = log.status().ledger.dropped[DropReason::Full as usize];
    assert_eq!(counted, lost);
    assert_eq!(
        heard.count("records are dropped and counted"),
        1,
        "{}",
        heard.text()
    );
    let expected: String = taken.iter().map(|number| record(1, *number, len)).collect();
    let content = read_all(reader, expected.len());
    if content != expected {
        println!("{:?}", log.status());
    }
    assert!(
        content == expected,
        "what is read differs from what was taken, {} of {} bytes",
        content.len(),
        expected.len()
    );
    assert!(log.flush(secs(1)));
}

fn read_all(mut reader: std::fs::File, len: usize) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut content = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match reader.read(&mut content[filled..]) {
                Ok(more) if more > 0 => filled += more,
                _ => break,
            }
            let _ = sender.send(content[..filled].to_vec());
        }
        // Kept open: the writer must not find the pipe broken.
        std::thread::sleep(secs(60));
    });
    let mut content = Vec::new();
    while content.len() < len {
        match receiver.recv_timeout(secs(5)) {
            Ok(more) => content = more,
            Err(_) => break,
        }
    }
    String::from_utf8(content).unwrap()
}

#[test]
fn a_fifo_that_nobody_reads_hangs_nobody_and_gives_whole_lines_afterwards() {
    for len in [100, 3_000, 10_000] {
        let place = Place::new();
        let name = std::ffi::CString::new(place.log().to_str().unwrap()).unwrap();
        // SAFETY: a string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let reader = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(place.log())
            .unwrap();
        full_pipe(&place.log(), &place, reader, len);
    }
}

#[test]
fn a_pipe_behind_a_descriptor_that_nobody_reads_hangs_nobody_and_gives_whole_lines_afterwards() {
    let place = Place::new();
    let (reader, writer) = pipe();
    // /dev/stdout is a link of this kind; a log needs a directory that can be written, so a link stands for it.
    std::os::unix::fs::symlink(format!("/proc/self/fd/{}", writer.as_raw_fd()), place.log())
        .unwrap();
    full_pipe(&place.log(), &place, reader.into(), 100);
}

#[test]
fn the_standard_output_of_a_container_can_be_a_log() {
    let place = Place::new();
    let (reader, writer) = pipe();
    let number = writer.as_raw_fd();
    let pid = child(|| {
        // SAFETY: the child's standard output becomes the pipe.
        unsafe { libc::dup2(number, 1) };
        let log = open(std::path::Path::new("/proc/self/fd/1"), &place.options());
        publish(&log, 1, 1, 100, 100);
        assert!(log.flush(secs(2)));
        0
    });
    end_well(pid, secs(10));
    let expected: String = (1..=100).map(|number| record(1, number, 100)).collect();
    assert_eq!(read_all(reader.into(), expected.len()), expected);
    drop(writer);
}

/// Under a service supervisor standard error is a socket, which nobody can open by its name.
#[test]
fn a_socket_behind_a_descriptor_can_be_a_log_and_one_that_nobody_reads_hangs_nobody() {
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let place = Place::new();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    full_pipe(Path::new(&path), &place, OwnedFd::from(reader).into(), 100);
}

#[test]
fn two_programs_with_the_same_name_for_their_standard_output_keep_to_their_own() {
    let place = Place::new();
    // As `ln -s /dev/stdout app.log` in many container images.
    let link = place.logs.join("stdout");
    std::os::unix::fs::symlink("/dev/stdout", &link).unwrap();
    for path in [
        Path::new("/dev/stdout"),
        Path::new("/proc/self/fd/1"),
        &link,
    ] {
        two_programs(&place, path);
    }
    assert!(!Path::new("/dev/.logboom-0").exists(), "a claim in /dev");
}

fn two_programs(place: &Place, path: &Path) {
    let counters = Counters::new(1);
    let programs = [1, 2].map(|program| {
        let (reader, writer) = pipe();
        let number = writer.as_raw_fd();
        let pid = child(|| {
            // SAFETY: the child's standard output becomes the pipe.
            unsafe { libc::dup2(number, 1) };
            let log = open(path, &place.options());
            counters.at(0).fetch_add(1, SeqCst);
            within(secs(10), "both are up", || counters.at(0).load(SeqCst) >= 2);
            // Each leaves some of its records to whoever drains next.
            for number in 1..=200 {
                let line = record(program, number, 100);
                let ticket = log.enqueue(Severity::INFO, line.as_bytes());
                if number % 10 == 0 {
                    log.settle(ticket, Severity::INFO, line.as_bytes());
                    std::thread::sleep(millis(1));
                }
            }
            i32::from(!log.flush(secs(5)))
        });
        (program, pid, reader)
    });
    for (program, pid, reader) in programs {
        end_well(pid, secs(20));
        let expected: String = (1..=200)
            .map(|number| record(program, number, 100))
            .collect();
        assert!(
            read_all(reader.into(), expected.len()) == expected,
            "program {program} reads something else from {}",
            path.display()
        );
    }
}

#[test]
fn a_fifo_without_a_reader_is_an_error_at_opening_that_says_what_to_do() {
    let place = Place::new();
    let name = std::ffi::CString::new(place.log().to_str().unwrap()).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let begun = Instant::now();
    let error = Log::open(place.log(), &place.options())
        .err()
        .expect("it opens");
    assert!(begun.elapsed() < secs(2));
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    assert!(error.to_string().contains("; "), "no remedy: {error}");
}

#[test]
fn a_pipe_whose_reader_is_gone_is_told_and_hangs_nobody() {
    let (place, heard) = (Place::new(), Heard::listen());
    let name = std::ffi::CString::new(place.log().to_str().unwrap()).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags_nonblock()
        .open(place.log())
        .unwrap();
    let log = open(&place.log(), &place.options());
    publish(&log, 1, 1, 5, 100);
    drop(reader);
    let begun = Instant::now();
    for number in 6..=20 {
        publish(&log, 1, number, number, 100);
    }
    assert!(begun.elapsed() < secs(2));
    within(secs(2), "it is said", || {
        heard.text().contains("Broken pipe")
    });
    heard.assert_says_what_to_do();
    // Another reader comes: it gets what the pipe still had, and all that was published since.
    let mut reader = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags_nonblock()
        .open(place.log())
        .unwrap();
    let mut content = String::new();
    let expected: String = (1..=20).map(|number| record(1, number, 100)).collect();
    within(secs(3), "all is read", || {
        let mut more = [0; 65536];
        if let Ok(read) = reader.read(&mut more) {
            content += std::str::from_utf8(&more[..read]).unwrap();
        }
        content.len() >= expected.len()
    });
    assert_eq!(content, expected);
}

trait NonBlocking {
    fn custom_flags_nonblock(&mut self) -> &mut Self;
}

impl NonBlocking for std::fs::OpenOptions {
    fn custom_flags_nonblock(&mut self) -> &mut Self {
        std::os::unix::fs::OpenOptionsExt::custom_flags(self, libc::O_NONBLOCK)
    }
}

#[test]
fn a_starved_holder_stops_nobody() {
    let place = Place::new();
    let options = place.options();
    let starved = holder(&place, &options);
    let log = open(&place.log(), &options);
    // One part of time in twenty, as under a tight CPU quota.
    let stopper = child(|| {
        loop {
            kill(starved, libc::SIGSTOP);
            std::thread::sleep(Duration::from_micros(19_000));
            kill(starved, libc::SIGCONT);
            std::thread::sleep(Duration::from_micros(1_000));
        }
    });
    let (mut slowest, mut last) = (Duration::ZERO, 0);
    let begun = Instant::now();
    while begun.elapsed() < secs(2) {
        last += 1;
        let one = Instant::now();
        publish(&log, 1, last, last, 100);
        slowest = slowest.max(one.elapsed());
        std::thread::sleep(Duration::from_micros(100));
    }
    kill(stopper, libc::SIGKILL);
    wait(stopper);
    kill(starved, libc::SIGCONT);
    println!("{last} records, the slowest {slowest:?}");
    assert!(slowest < millis(400), "{slowest:?}");
    within(secs(5), "all is there", || {
        holds_all(&place, &[(1, last), (9, 1)])
    });
    kill(starved, libc::SIGKILL);
    wait(starved);
}
