//! Storms: workers that publish as fast as they can are killed at random, the lease holder in particular, while the log is
//! rotated; every record whose call had returned is found once, whole, and in its worker's order.

mod support;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use logboom::LogOptions;
use support::{
    Counters, Place, eventually, fork, kill, open, publish_numbered, read_strictly, wait,
};

struct Worker {
    pid: libc::pid_t,
    number: u64,
}

struct Storm {
    place: Place,
    options: LogOptions,
    counters: Counters,
    next: u64,
    random: u64,
    /// The numbers in flight when a worker was killed: found or not, either is right.
    unsure: Vec<(u64, u64)>,
}

impl Storm {
    fn new(options: impl FnOnce(LogOptions) -> LogOptions) -> Storm {
        let place = Place::new();
        let options = options(place.options());
        let random = std::env::var("LOGBOOM_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| {
                Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20 | 1
            });
        println!("LOGBOOM_SEED={random}");
        Storm {
            place,
            options,
            counters: Counters::new(20_000),
            next: 0,
            random,
            unsure: Vec::new(),
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    /// `preload`: the log is opened before the fork.
    fn start(&mut self, preload: Option<&logboom::Log>, len: fn(u64) -> usize) -> Worker {
        let number = self.next;
        self.next += 1;
        let (begun, acked) = (
            self.counters.at(number as usize * 2),
            self.counters.at(number as usize * 2 + 1),
        );
        let (path, options) = (self.place.log(), self.options.clone());
        let pid = fork(|| {
            // SAFETY: asks the kernel to end this child with its parent.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let opened;
            let log = match preload {
                Some(log) => log,
                None => {
                    opened = open(&path, &options);
                    &opened
                }
            };
            publish_numbered(log, number, begun, acked, len);
            0
        });
        Worker { pid, number }
    }

    fn end(&mut self, worker: &Worker) {
        kill(worker.pid, libc::SIGKILL);
        wait(worker.pid);
        let begun = self
            .counters
            .at(worker.number as usize * 2)
            .load(Ordering::SeqCst);
        self.unsure.push((worker.number, begun));
    }

    fn check(&self) {
        let visitor = logboom::status::Visitor::join(&self.place.log()).unwrap();
        eventually("everything is drained", || {
            visitor
                .recover(Duration::from_secs(1))
                .is_some_and(|recovered| recovered.queued_bytes_after == 0)
        });
        println!("{:?}", visitor.status().ledger);
        let reading = read_strictly(&self.place.content());
        let acked: HashMap<u64, u64> = (0..self.next)
            .map(|worker| {
                (
                    worker,
                    self.counters
                        .at(worker as usize * 2 + 1)
                        .load(Ordering::SeqCst),
                )
            })
            .collect();
        println!(
            "{} records acknowledged, {} found",
            acked.values().sum::<u64>(),
            reading.found.len()
        );
        reading.assert_complete(&acked, &self.unsure);
    }
}

fn kills() -> u64 {
    let full = std::env::var_os("LOGBOOM_FULL").is_some();
    std::env::var("LOGBOOM_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if full { 3000 } else { 150 })
}

fn len_small(number: u64) -> usize {
    100 + (number * 37 % 400) as usize
}

fn len_mixed(number: u64) -> usize {
    match number % 50 {
        0 => 64_000,
        7 => 20_000,
        _ => 100 + (number * 131 % 4000) as usize,
    }
}

fn storm(
    workers: usize,
    preload: bool,
    len: fn(u64) -> usize,
    options: impl FnOnce(LogOptions) -> LogOptions,
) {
    let mut storm = Storm::new(options);
    let preloaded = preload.then(|| open(&storm.place.log(), &storm.options));
    let mut alive: Vec<Worker> = (0..workers)
        .map(|_| storm.start(preloaded.as_ref(), len))
        .collect();
    for _ in 0..kills() {
        std::thread::sleep(Duration::from_micros(storm.dice(8000)));
        let holder = logboom::status::status(&storm.place.log())
            .ok()
            .and_then(|status| status.holder);
        let of_holder =
            holder.and_then(|holder| alive.iter().position(|w| w.pid == holder.pid as i32));
        let index = match of_holder {
            Some(index) if storm.dice(2) == 0 => index,
            _ => storm.dice(workers as u64) as usize,
        };
        let worker = alive.swap_remove(index);
        storm.end(&worker);
        alive.push(storm.start(preloaded.as_ref(), len));
    }
    for worker in alive {
        storm.end(&worker);
    }
    drop(preloaded);
    storm.check();
}

#[test]
fn killed_workers_lose_nothing() {
    storm(4, false, len_small, |options| LogOptions {
        max_bytes: 0,
        ..options
    });
}

#[test]
fn killed_workers_lose_nothing_while_the_log_is_rotated() {
    storm(4, false, len_small, |options| LogOptions {
        max_bytes: 3_000_000,
        backup_count: 10_000,
        ..options
    });
}

#[test]
fn killed_workers_lose_nothing_with_big_records() {
    storm(3, false, len_mixed, |options| LogOptions {
        max_bytes: 20_000_000,
        backup_count: 10_000,
        // A big record is cut when the lease is not had within this time: on a loaded machine the usual 200 ms are not enough.
        on_full_wait_ms: 20_000,
        ..options
    });
}

#[test]
fn killed_workers_lose_nothing_when_the_log_was_opened_before_the_fork() {
    storm(6, true, len_small, |options| LogOptions {
        max_bytes: 3_000_000,
        backup_count: 10_000,
        ..options
    });
}

#[test]
fn a_killed_group_is_recovered_by_the_next_one() {
    let mut storm = Storm::new(|options| LogOptions {
        max_bytes: 3_000_000,
        backup_count: 10_000,
        ..options
    });
    for _ in 0..kills() / 4 {
        let group: Vec<Worker> = (0..4).map(|_| storm.start(None, len_small)).collect();
        let pause = 2000 + storm.dice(12_000);
        std::thread::sleep(Duration::from_micros(pause));
        for worker in &group {
            kill(worker.pid, libc::SIGKILL);
        }
        for worker in &group {
            storm.end(worker);
        }
    }
    storm.check();
}

#[test]
fn a_record_too_long_for_its_queue_passes_a_process_that_serves() {
    let place = Place::new();
    let options = place.options();
    let server = fork(|| {
        // SAFETY: asks the kernel to end this child with its parent.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let log = open(&place.log(), &options);
        log.serve(|| true).map_or(1, |()| 0)
    });
    let log = open(&place.log(), &options);
    eventually("the other process serves", || {
        log.status()
            .holder
            .is_some_and(|holder| holder.pid == server as u32)
    });
    let lines: Vec<String> = (1..=30)
        .map(|number| support::record(0, number, 100_000))
        .collect();
    for line in &lines {
        log.publish(logboom::Severity::INFO, line.as_bytes());
    }
    eventually("all is written", || {
        place.content().len() == lines.concat().len()
    });
    assert_eq!(place.content(), lines.concat());
    kill(server, libc::SIGKILL);
    wait(server);
}

/// A process that serves lets its own threads in as well: they share its place, and each waits for the other's memory.
#[test]
fn a_process_that_serves_lets_its_own_threads_in() {
    let place = Place::new();
    let log = std::sync::Arc::new(open(&place.log(), &place.options()));
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let serving = {
        let (log, over) = (log.clone(), over.clone());
        std::thread::spawn(move || log.serve(|| !over.load(Ordering::SeqCst)).unwrap())
    };
    eventually("it serves", || log.status().holder.is_some());
    let (done, all_done) = std::sync::mpsc::channel();
    let rotating = {
        let log = log.clone();
        std::thread::spawn(move || {
            for number in 0..100 {
                let line = support::record(1, number, 100);
                log.publish(logboom::Severity::INFO, line.as_bytes());
                let _in_time = log.rotate(Duration::from_secs(5));
            }
            done.send(()).unwrap();
        })
    };
    let in_time = all_done.recv_timeout(Duration::from_secs(60));
    assert!(in_time.is_ok(), "the two threads wait for each other");
    over.store(true, Ordering::SeqCst);
    rotating.join().unwrap();
    serving.join().unwrap();
}
