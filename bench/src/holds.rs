//! How long the lease is held at most while 16 processes publish as fast as they can, and how long one write takes at most
//! beside them: the bound is 2 ms plus one write.
//!
//! Both are wall time, so both contain what the scheduler takes: with 16 busy processes on few cores a process that is in
//! the middle of a hold, or of a write, may lose its core. So the write is measured in a run of its own, beside the same
//! publishers: a process that writes and reads the clock without a pause is one more that takes a core from whoever holds the
//! lease, and for longer than a publisher, which waits when its queue is full. How much longer holds are beside it is measured
//! as well, and so is the longest hold of as many publishers as there are processors, of which none has to wait for one: the
//! bound that is the code's own.

use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::time::Duration;

use anyhow::{Result, ensure};
use logboom::status::LedgerTotals;
use logboom::{Log, Outcome, Severity};

use crate::contestants::{options, record_of};
use crate::crew::{self, Seat, monotonic_ns};
use crate::machine::processors;
use crate::place::{Place, Spot};
use crate::stats::{Rounds, Series};

/// Publishers.
pub const PUBLISHERS: usize = 16;
/// Length of a batch, and so of the longest write of a hold.
const WRITE_BYTES: usize = 64 << 10;

/// One figure for each round, in nanoseconds.
#[derive(Default)]
pub struct Holds {
    /// The longest hold.
    pub hold_ns_max: Series,
    /// Holds in a round.
    pub holds: Series,
    /// The longest hold beside a process that never waits.
    pub disturbed_hold_ns_max: Series,
    /// The longest hold where each publisher has a processor.
    pub own_hold_ns_max: Series,
    /// The longest write of [`WRITE_BYTES`] by a process beside the publishers.
    pub write_ns_max: Series,
    /// The longest time for which that process did not run.
    pub gap_ns_max: Series,
}

/// Measures all rounds.
pub fn measure(place: &Place, rounds: usize, time: Duration, shrink: usize) -> Result<Holds> {
    let mut all = Holds::default();
    for round in Rounds::new(rounds, time) {
        eprintln!("holds: round {}", round + 1);
        let records = PUBLISHERS * 80_000 / shrink;
        let ledger = ledger_of(place, PUBLISHERS, records)?;
        all.hold_ns_max.push(ledger.hold_ns_max as f64);
        all.holds.push(ledger.holds as f64);
        let beside = beside(place, records)?;
        all.disturbed_hold_ns_max.push(beside.hold_ns_max as f64);
        all.write_ns_max.push(beside.write_ns_max as f64);
        all.gap_ns_max.push(beside.gap_ns_max as f64);
        let alone = ledger_of(place, processors(), records)?;
        all.own_hold_ns_max.push(alone.hold_ns_max as f64);
    }
    Ok(all)
}

/// What the ledger says when that many publishers are done.
fn ledger_of(place: &Place, publishers: usize, records: usize) -> Result<LedgerTotals> {
    let spot = place.spot()?;
    crew::run(publishers, 0, |seat| {
        publish(&spot, seat, records / publishers)
    })?;
    Ok(logboom::status::status(&spot.log())?.ledger)
}

/// What a process beside the publishers measured, in nanoseconds.
struct Beside {
    hold_ns_max: u64,
    write_ns_max: u64,
    gap_ns_max: u64,
}

fn beside(place: &Place, records: usize) -> Result<Beside> {
    let spot = place.spot()?;
    let measured = crew::run(PUBLISHERS + 1, 2, |seat| match seat.worker {
        0 => write_beside(&spot, seat),
        _ => publish(&spot, seat, records / PUBLISHERS),
    })?;
    Ok(Beside {
        hold_ns_max: logboom::status::status(&spot.log())?.ledger.hold_ns_max,
        write_ns_max: measured.samples[0][0],
        gap_ns_max: measured.samples[0][1],
    })
}

fn publish(spot: &Spot<'_>, seat: &Seat<'_>, each: usize) -> Result<()> {
    let log = Log::open(spot.log(), &options(&spot.state(), true))?;
    let line = record_of(seat.worker);
    let publish = || usize::from(log.publish(Severity::INFO, &line) != Outcome::Published);
    let mut refused = publish();
    seat.start();
    refused += (0..each).map(|_| publish()).sum::<usize>();
    seat.end();
    ensure!(refused == 0, "{refused} records were dropped");
    Ok(())
}

fn write_beside(spot: &Spot<'_>, seat: &Seat<'_>) -> Result<()> {
    let path = spot.directory.join("beside.log");
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let block = vec![b'x'; WRITE_BYTES];
    let (mut write_ns_max, mut gap_ns_max) = (0, 0);
    seat.wait_for_all();
    while seat.done() < PUBLISHERS as u64 {
        let begun = monotonic_ns();
        file.write_all(&block)?;
        write_ns_max = write_ns_max.max(monotonic_ns() - begun);
        gap_ns_max = gap_ns_max.max(longest_gap_ns());
        if file.stream_position()? > 64 << 20 {
            file.set_len(0)?;
        }
    }
    seat.sample(0, write_ns_max);
    seat.sample(1, gap_ns_max);
    Ok(())
}

/// Reads the clock for about as long as a write takes.
fn longest_gap_ns() -> u64 {
    let mut longest = 0;
    let mut last = monotonic_ns();
    for _ in 0..500 {
        let now = monotonic_ns();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}
