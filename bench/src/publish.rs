//! Publishing while another process holds the lease and drains, against the floor: a clock read, a copy of one record into
//! a warm ring, and a release store.
//!
//! The publisher and the floor take turns in the same process, in bursts that fit the queue, with a pause after each in which
//! the drainer catches up: what is measured is the call, not the drainer. How much the pair moves when nobody pauses is
//! measured apart.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use logboom::{Log, Outcome, Severity};

use crate::contestants::{RECORD_BYTES, options, record_of};
use crate::crew::{self, Seat, clock_ns, monotonic_ns};
use crate::native::check_length;
use crate::place::{Place, Spot};
use crate::stats::{Rounds, Series, percentile};

/// Records of a burst: a quarter of the default queue.
const BURST_RECORDS: usize = 1_500;
const WARM_BURSTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(1);
/// Publishers of the runs without pauses.
pub const CREWS: [usize; 2] = [1, 4];

/// What was measured.
pub struct Publishing {
    /// Nanoseconds a record of the floor, in bursts.
    pub floor_ns: Series,
    /// Nanoseconds a record of `publish`, in bursts.
    pub publish_ns: Series,
    /// Nanoseconds of one call, p50 and p99, the clock's own time included: floor, `publish`.
    pub floor_calls: [Series; 2],
    /// The same of `publish`.
    pub publish_calls: [Series; 2],
    /// Records a second without pauses, by the entries of [`CREWS`].
    pub rates: Vec<Series>,
}

/// Measures all of it.
pub fn measure(place: &Place, rounds: usize, time: Duration, shrink: usize) -> Result<Publishing> {
    let mut all = Publishing {
        floor_ns: Series::default(),
        publish_ns: Series::default(),
        floor_calls: Default::default(),
        publish_calls: Default::default(),
        rates: vec![Series::default(); CREWS.len()],
    };
    for round in Rounds::new(rounds, time) {
        eprintln!("publish: round {}", round + 1);
        let spot = place.spot()?;
        let mut bursts = in_bursts(&spot, 300 / shrink)?;
        all.floor_ns
            .push(percentile(&mut bursts.floor, 0.5) / BURST_RECORDS as f64);
        all.publish_ns
            .push(percentile(&mut bursts.publish, 0.5) / BURST_RECORDS as f64);
        for (index, share) in [0.5, 0.99].into_iter().enumerate() {
            all.floor_calls[index].push(percentile(&mut bursts.floor_calls, share));
            all.publish_calls[index].push(percentile(&mut bursts.publish_calls, share));
        }
        drop(spot);
        for (series, publishers) in all.rates.iter_mut().zip(CREWS) {
            let spot = place.spot()?;
            let each = 600_000 / shrink / publishers;
            series.push(
                (each * publishers) as f64 / without_pauses(&spot, publishers, each)?.as_secs_f64(),
            );
        }
    }
    Ok(all)
}

struct Bursts {
    floor: Vec<u64>,
    publish: Vec<u64>,
    floor_calls: Vec<u64>,
    publish_calls: Vec<u64>,
}

/// Worker 0 drains, worker 1 publishes.
fn in_bursts(spot: &Spot<'_>, bursts: usize) -> Result<Bursts> {
    let samples_each = bursts * 2 + BURST_RECORDS * 2 * CALL_BURSTS;
    let measured = crew::run(2, samples_each, |seat| match seat.worker {
        0 => drain(spot, seat, 1),
        _ => publish_in_bursts(spot, seat, bursts),
    })?;
    check_length(spot, (WARM_BURSTS + bursts + CALL_BURSTS) * BURST_RECORDS)?;
    let (turns, calls) = measured.samples[1].split_at(bursts * 2);
    let half =
        |samples: &[u64], which: usize| samples.iter().copied().skip(which).step_by(2).collect();
    Ok(Bursts {
        floor: half(turns, 0),
        publish: half(turns, 1),
        floor_calls: half(calls, 0),
        publish_calls: half(calls, 1),
    })
}

/// Bursts in which each call is timed.
const CALL_BURSTS: usize = 10;

fn publish_in_bursts(spot: &Spot<'_>, seat: &Seat<'_>, bursts: usize) -> Result<()> {
    let log = Log::open(spot.log(), &options(&spot.state(), true))?;
    let line = record_of(seat.worker);
    let mut floor = Floor::new();
    let publish = || usize::from(log.publish(Severity::INFO, &line) != Outcome::Published);
    let mut refused = publish_slowly(WARM_BURSTS, || (0..BURST_RECORDS).map(|_| publish()).sum());
    floor.warm(&line);
    seat.wait_for_all();
    for burst in 0..bursts {
        // The drainer may have caught up without this process having seen it: the first call looks.
        let begun = monotonic_ns();
        (0..BURST_RECORDS).for_each(|_| floor.publish(&line));
        let between = monotonic_ns();
        refused += (0..BURST_RECORDS).map(|_| publish()).sum::<usize>();
        let ended = monotonic_ns();
        seat.sample(burst * 2, between - begun);
        seat.sample(burst * 2 + 1, ended - between);
        std::thread::sleep(PAUSE);
    }
    let mut index = bursts * 2;
    for _ in 0..CALL_BURSTS {
        for _ in 0..BURST_RECORDS {
            let begun = monotonic_ns();
            floor.publish(&line);
            let between = monotonic_ns();
            refused += publish();
            let ended = monotonic_ns();
            seat.sample(index, between - begun);
            seat.sample(index + 1, ended - between);
            index += 2;
        }
        std::thread::sleep(PAUSE);
    }
    seat.say_done();
    ensure!(refused == 0, "{refused} records were dropped");
    ensure!(
        log.flush(Duration::from_secs(10)),
        "the queue was not emptied in 10 s"
    );
    Ok(())
}

fn publish_slowly(bursts: usize, mut burst: impl FnMut() -> usize) -> usize {
    let one = |_| {
        let refused = burst();
        std::thread::sleep(PAUSE);
        refused
    };
    (0..bursts).map(one).sum()
}

/// Worker 0 drains, the others publish as fast as they can.
fn without_pauses(spot: &Spot<'_>, publishers: usize, each: usize) -> Result<Duration> {
    let total = publishers * (each + WARM_BURSTS * BURST_RECORDS);
    let measured = crew::run(publishers + 1, 0, |seat| {
        if seat.worker == 0 {
            return drain(spot, seat, publishers as u64);
        }
        let log = Log::open(spot.log(), &options(&spot.state(), true))?;
        let line = record_of(seat.worker);
        let publish = || usize::from(log.publish(Severity::INFO, &line) != Outcome::Published);
        let mut refused =
            publish_slowly(WARM_BURSTS, || (0..BURST_RECORDS).map(|_| publish()).sum());
        seat.start();
        refused += (0..each).map(|_| publish()).sum::<usize>();
        let all_there = wait_for_length(&spot.log(), (total * RECORD_BYTES) as u64);
        seat.end();
        ensure!(refused == 0, "{refused} records were dropped");
        ensure!(all_there, "the records were not in the file after 10 s");
        Ok(())
    })?;
    check_length(spot, total)?;
    Ok(measured.elapsed)
}

/// Asking the queue would take the lease from the drainer; the file's length tells as well.
fn wait_for_length(path: &Path, bytes: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if path.metadata().is_ok_and(|facts| facts.len() >= bytes) {
            return true;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    false
}

/// Holds the lease until all publishers are done.
fn drain(spot: &Spot<'_>, seat: &Seat<'_>, publishers: u64) -> Result<()> {
    let log = Log::open(spot.log(), &options(&spot.state(), true))?;
    let mut is_ready = false;
    while seat.done() < publishers {
        log.serve(|| {
            if !is_ready {
                seat.say_ready();
                is_ready = true;
            }
            seat.done() < publishers
        })?;
    }
    Ok(())
}

/// What nothing that keeps a record outside of the process can be cheaper than.
struct Floor {
    ring: Vec<u8>,
    position: usize,
    tail: AtomicU64,
}

impl Floor {
    /// As long as the default queue.
    fn new() -> Floor {
        Floor {
            ring: vec![1; 1 << 20],
            position: 0,
            tail: AtomicU64::new(0),
        }
    }

    fn warm(&mut self, line: &[u8]) {
        (0..20_000).for_each(|_| self.publish(line));
    }

    #[inline]
    fn publish(&mut self, line: &[u8]) {
        black_box(clock_ns(libc::CLOCK_REALTIME));
        let at = self.position;
        self.ring[at..at + RECORD_BYTES].copy_from_slice(black_box(&line[..RECORD_BYTES]));
        black_box(&mut self.ring);
        // As far apart as the records of our queue, of which each has a head.
        self.position = (at + RECORD_BYTES.next_multiple_of(32) + 32) & ((1 << 20) - 1);
        if self.position + RECORD_BYTES > self.ring.len() {
            self.position = 0;
        }
        self.tail.store(self.position as u64, Ordering::Release);
    }
}
