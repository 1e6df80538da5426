//! Faults of the machine, real ones: none raises into the application, hangs it, or loses what fits in the queues.
//!
//! Each test opens with the sentence that must hold; `docs/faults.md` lists them with the messages and what to do.
//! They run as root, each in a process of its own (nextest); what cannot be done here says `skipped:` and why.

#[path = "../support/mod.rs"]
mod support;

mod containers;
mod directory;
mod disk;
mod holder;
mod state;
mod workers;

use logboom::{Log, Outcome, Severity};
use support::{Place, read_strictly, record};

/// Publishes records `from` to `to` of a worker, all of which must be taken.
fn publish(log: &Log, worker: u64, from: u64, to: u64, len: usize) {
    for number in from..=to {
        let outcome = log.publish(Severity::INFO, record(worker, number, len).as_bytes());
        assert_eq!(outcome, Outcome::Published, "w{worker} n{number}");
    }
}

/// True once the log holds records 1 to `last` of each worker; fails on anything torn, doubled or out of order.
fn holds_all(place: &Place, last: &[(u64, u64)]) -> bool {
    holds_all_of(&place.content(), last)
}

fn holds_all_of(content: &str, last: &[(u64, u64)]) -> bool {
    let reading = read_strictly(content);
    let expected: u64 = last.iter().map(|(_, last)| last).sum();
    if (reading.found.len() as u64) < expected {
        return false;
    }
    reading.assert_complete(&last.iter().copied().collect(), &[]);
    assert_eq!(
        reading.found.len() as u64,
        expected,
        "more than was published"
    );
    true
}
