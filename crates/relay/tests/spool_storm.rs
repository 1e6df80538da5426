//! Real processes: workers log into a spool as fast as they can, a reader delivers from it, and both are killed at random, again and
//! again; every record whose call had returned is delivered, whole, and in its worker's order.
//!
//! How it works: the writing side is the real one, `logboom::Log` with a spool's options. The reader delivers by appending the
//! numbers to a file, and settles after that; what is delivered twice was in flight when a reader died.

#[path = "../../core/tests/support/mod.rs"]
mod processes;
mod spool_support;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use logboom::{Log, LogOptions, Outcome, Severity, SpoolFull};
use logboom_relay::source::Source;
use logboom_relay::spool::{Options, Reader};
use processes::machine::{child, kill_and_wait, secs};
use processes::{Counters, Place, open};
use spool_support::deliver_to;

struct Storm {
    place: Place,
    options: LogOptions,
    counters: &'static Counters,
    random: u64,
    workers: u64,
    readers: u64,
}

impl Storm {
    fn new(spool: LogOptions) -> Storm {
        let place = Place::new();
        let base = place.options();
        let seed =
            Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20 | 1;
        let random = std::env::var("LOGBOOM_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(seed);
        println!("LOGBOOM_SEED={random}");
        Storm {
            options: LogOptions {
                state_dir: base.state_dir,
                queue_bytes: 128 << 10,
                ..spool
            },
            place,
            counters: Box::leak(Box::new(Counters::new(20_000))),
            random,
            workers: 0,
            readers: 0,
        }
    }

    fn spool(&self) -> PathBuf {
        self.place.logs.join("central.spool")
    }

    fn delivered(&self) -> PathBuf {
        self.place.state.join("delivered")
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    /// A worker that publishes until it is killed; its number.
    fn start_worker(&mut self) -> (libc::pid_t, u64) {
        let worker = self.workers;
        self.workers += 1;
        let (path, options) = (self.spool(), self.options.clone());
        let (begun, acked) = (self.begun(worker), self.acked(worker));
        let pid = child(|| {
            let log = open(&path, &options);
            for number in 1.. {
                begun.store(number, Ordering::SeqCst);
                while log.publish(Severity::INFO, payload(worker, number).as_bytes())
                    != Outcome::Published
                {
                    std::thread::sleep(Duration::from_micros(200));
                }
                acked.store(number, Ordering::SeqCst);
                if number % 50 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
            0
        });
        (pid, worker)
    }

    fn begun(&self, worker: u64) -> &'static std::sync::atomic::AtomicU64 {
        self.counters.at(2 * worker as usize)
    }

    fn acked(&self, worker: u64) -> &'static std::sync::atomic::AtomicU64 {
        self.counters.at(2 * worker as usize + 1)
    }

    fn start_reader(&mut self) -> libc::pid_t {
        self.readers += 1;
        let (root, delivered) = (self.place.logs.clone(), self.delivered());
        let (path, options) = (self.spool(), self.options.clone());
        child(|| {
            let mut reader = open_reader(&root, &path, &options);
            loop {
                if deliver(&mut reader, &delivered) == 0 {
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        })
    }

    fn run(&mut self, kills: u64) {
        let mut workers: Vec<(libc::pid_t, u64)> = (0..3).map(|_| self.start_worker()).collect();
        let mut reader = self.start_reader();
        for _ in 0..kills {
            let pause = self.dice(9_000);
            std::thread::sleep(Duration::from_micros(pause));
            if self.dice(2) == 0 {
                kill_and_wait(reader);
                reader = self.start_reader();
            } else {
                let victim = self.dice(workers.len() as u64) as usize;
                kill_and_wait(workers.swap_remove(victim).0);
                workers.push(self.start_worker());
            }
        }
        for (pid, _) in workers {
            kill_and_wait(pid);
        }
        kill_and_wait(reader);
    }

    /// Delivers what is left, and checks everything that was delivered.
    fn check(&self) {
        let log = Arc::new(open(&self.spool(), &self.options));
        assert!(log.flush(secs(10)), "the queues are drained");
        let mut reader = open_reader(&self.place.logs, &self.spool(), &self.options);
        while deliver(&mut reader, &self.delivered()) > 0 {}
        assert_eq!(reader.lag().records, Some(0));
        let left: Vec<String> = processes::machine::names_in(&self.place.logs)
            .into_iter()
            .filter(|name| name.starts_with("central.spool."))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        println!("{:?}, {:?}", reader.damage(), log.status().ledger);
        assert_eq!(reader.damage().files_missed, 0);
        self.check_delivered();
    }

    fn check_delivered(&self) {
        let mut seen: HashMap<u64, u64> = HashMap::new();
        let (mut doubles, mut count) = (0_u64, 0_u64);
        for line in spool_support::delivered(&self.delivered()) {
            let (worker, number) = line.split_once(' ').unwrap();
            let (worker, number): (u64, u64) = (worker.parse().unwrap(), number.parse().unwrap());
            let last = seen.entry(worker).or_default();
            count += 1;
            if number <= *last {
                doubles += 1;
                continue;
            }
            // Between the last one and this one nothing may be missing: each worker's records are in order.
            assert_eq!(
                number,
                *last + 1,
                "of worker {worker}, {last} was delivered last"
            );
            *last = number;
        }
        for worker in 0..self.workers {
            let (acked, begun) = (self.acked(worker), self.begun(worker));
            let (acked, begun) = (acked.load(Ordering::SeqCst), begun.load(Ordering::SeqCst));
            let last = seen.get(&worker).copied().unwrap_or(0);
            assert!(
                (acked..=begun).contains(&last),
                "worker {worker}: {last} of {acked}, {begun} begun"
            );
        }
        println!(
            "{} records of {} workers, {doubles} of them again, by {} readers",
            count - doubles,
            self.workers,
            self.readers
        );
        assert!(count - doubles > 1000, "hardly anything happened");
        assert!(doubles <= self.readers * BATCH as u64, "{doubles} doubles");
    }
}

const BATCH: usize = 500;

fn open_reader(root: &Path, spool: &Path, options: &LogOptions) -> Reader {
    let log = Log::open_as_it_is(spool, options).unwrap();
    let options = Options {
        store_every: Duration::ZERO,
        ..Options::default()
    };
    let reader = Reader::open(root, "central", options).unwrap();
    reader.telling_of_deletions(Box::new(move || log.look_for_room()))
}

/// Delivers some records; how many.
fn deliver(reader: &mut Reader, to: &Path) -> usize {
    let mut parcels = VecDeque::new();
    reader.read(BATCH, &mut parcels).unwrap();
    let Some(last) = parcels.back() else {
        return 0;
    };
    deliver_to(to, parcels.iter().map(|parcel| parcel.record.body.clone()));
    // Whoever is killed here has delivered what the next one does not know of.
    std::thread::sleep(Duration::from_millis(1));
    reader.settle(last.end).unwrap();
    parcels.len()
}

fn payload(worker: u64, number: u64) -> String {
    let fill = "x".repeat((number * 131 % 700) as usize);
    format!(
        "{{\"timestamp\":\"2026-11-20T16:30:01Z\",\"body\":\"{worker} {number}\",\"fill\":\"{fill}\"}}\n"
    )
}

fn kills() -> u64 {
    let full = std::env::var_os("LOGBOOM_FULL").is_some();
    let given = std::env::var("LOGBOOM_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    given.unwrap_or(if full { 3000 } else { 150 })
}

#[test]
fn killed_workers_and_readers_lose_nothing() {
    let mut storm = Storm::new(LogOptions {
        max_bytes: 64 << 10,
        keep_bytes: 1 << 40,
        ..LogOptions::for_spool(1 << 40, SpoolFull::DropOldest)
    });
    storm.run(kills());
    storm.check();
}

#[test]
fn killed_workers_and_readers_lose_nothing_of_a_spool_that_is_full_all_the_time() {
    let mut storm = Storm::new(LogOptions {
        on_full_wait_ms: 20,
        ..LogOptions::for_spool(192 << 10, SpoolFull::Block)
    });
    storm.run(kills());
    storm.check();
}
