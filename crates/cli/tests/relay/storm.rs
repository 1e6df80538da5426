//! Whatever is killed, whenever: relay, receiver, both, workers. Every record whose call had returned arrives at least once and in its
//! worker's order, and what arrives again has the id that it had.
//!
//! How it works: rsyslog takes records over RELP and syncs each before it answers, so what it has acknowledged it keeps. Three workers
//! log; in each round one of the parts, by chance, gets SIGKILL, and takes its place again. At the end the workers stop, the relay
//! ships what is left, and all is counted.

use crate::site::Site;
use crate::support::program::Program;
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::{eventually, is_full, millis};
use crate::worker::Worker;

/// Short pauses, so that a round is short.
const IMPATIENT: [&str; 3] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"3 s\"",
];

struct Storm {
    rsyslog: Rsyslog,
    site: Site,
    workers: Vec<Worker>,
    /// The relay, if a supervisor runs it.
    relay: Option<Program>,
    dice: fastrand::Rng,
    killed: [u32; 4],
}

impl Storm {
    fn new(is_supervised: bool) -> Storm {
        let rsyslog = Rsyslog::start(&Setup {
            durable: true,
            ..Setup::default()
        });
        let mut site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
        site.work.starts_relay = !is_supervised;
        let seed = std::env::var("LOGBOOM_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        println!("LOGBOOM_SEED={seed}");
        Storm {
            relay: is_supervised.then(|| site.start_relay()),
            workers: (0..3).map(|_| site.start_worker()).collect(),
            rsyslog,
            site,
            dice: fastrand::Rng::with_seed(seed),
            killed: [0; 4],
        }
    }

    fn run(&mut self, rounds: u32) {
        for round in 0..rounds {
            self.wait_for_progress(round);
            std::thread::sleep(millis(self.dice.u64(..250)));
            let what = self.dice.usize(..4);
            self.killed[what] += 1;
            match what {
                0 => self.kill_relay(),
                1 => self.rsyslog.restart(),
                2 => {
                    self.rsyslog.kill();
                    self.kill_relay();
                    self.rsyslog.restart();
                }
                _ => {
                    let worker = self.dice.usize(..3);
                    // Dropping it kills it.
                    self.workers[worker] = self.site.start_worker();
                }
            }
        }
    }

    /// Before the next kill, something arrives; half of the time nothing is waited for, so that kills follow upon each other.
    fn wait_for_progress(&mut self, round: u32) {
        if self.dice.bool() {
            let before = self.rsyslog.count();
            let what = format!("a record arrives in round {round}, {:?}", self.killed);
            eventually(&what, || self.rsyslog.count() > before);
        }
    }

    fn kill_relay(&mut self) {
        self.site.kill_relay();
        if self.relay.is_some() {
            // The supervisor sees it, and starts it again.
            self.relay = None;
            self.relay = Some(self.site.start_relay());
        }
    }

    /// The workers leave, the rest is shipped, and everything is there.
    fn end(mut self) {
        self.site.account.stop();
        self.workers.iter_mut().for_each(Worker::join);
        let count = self.site.all_arrives(&self.rsyslog);
        if self.relay.is_none() {
            eventually("the relay leaves when all is shipped", || {
                self.site.relay().is_none()
            });
        }
        println!(
            "{} records of {} workers, all received, {} of them again; killed: relay {}, receiver {}, both {}, worker {}",
            count.distinct(),
            self.site.account.workers(),
            count.doubled,
            self.killed[0],
            self.killed[1],
            self.killed[2],
            self.killed[3],
        );
    }
}

fn rounds() -> u32 {
    if is_full() { 200 } else { 20 }
}

/// Relays that workers start on demand, and start again when they were killed, lose nothing, whatever else is killed; the last one
/// leaves when all is shipped.
#[test]
fn kills_at_random_lose_nothing() {
    if rsyslog::is_installed(&["imrelp"]) {
        let mut storm = Storm::new(false);
        storm.run(rounds());
        storm.end();
    }
}

/// The same where a supervisor runs the relay.
#[test]
fn kills_at_random_lose_nothing_under_a_supervisor() {
    if rsyslog::is_installed(&["imrelp"]) {
        let mut storm = Storm::new(true);
        storm.run(rounds());
        storm.end();
    }
}
