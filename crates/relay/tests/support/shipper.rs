//! The simplest thing that ships: keeps records until their verdict, connects again after trouble, and sends what was in flight
//! once more. What the relay does besides (spools, back-off, bounds) is not in question here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use logboom_relay::destination::Destination;
use logboom_relay::record::Record;
use logboom_relay::sink::{self, Sink, Trouble, Verdict};

use super::{millis, secs};

/// Records on their way.
pub struct Shipper {
    pub sink: Box<dyn Sink>,
    window: usize,
    batch: usize,
    /// What has no verdict: what is in flight, and behind it what is not sent.
    pub kept: VecDeque<Record>,
    in_flight: usize,
    is_connected: bool,
    /// Verdicts so far.
    pub verdicts: Vec<Verdict>,
    /// Troubles so far.
    pub troubles: Vec<Trouble>,
}

impl Shipper {
    pub fn new(destination: &Destination) -> Shipper {
        Shipper {
            sink: sink::make(destination).unwrap(),
            window: destination.window,
            batch: destination.batch,
            kept: VecDeque::new(),
            in_flight: 0,
            is_connected: false,
            verdicts: Vec::new(),
            troubles: Vec::new(),
        }
    }

    pub fn add(&mut self, records: impl IntoIterator<Item = Record>) {
        self.kept.extend(records);
    }

    /// One step: connect, send a batch, or settle.
    pub fn step(&mut self, wait: Duration) -> Result<(), Trouble> {
        let done = self.try_step(wait);
        if let Err(trouble) = &done {
            self.is_connected = false;
            self.in_flight = 0;
            self.troubles.push(trouble.clone());
        }
        done
    }

    fn try_step(&mut self, wait: Duration) -> Result<(), Trouble> {
        if !self.is_connected {
            self.sink.connect()?;
            self.is_connected = true;
            self.in_flight = 0;
        }
        let room = (self.window - self.in_flight).min(self.batch);
        let more = (self.kept.len() - self.in_flight).min(room);
        if more > 0 {
            let range = self.in_flight..self.in_flight + more;
            let (first, second) = self.kept.as_slices();
            // In flight before the call: it may fail when some have arrived.
            self.in_flight += more;
            if range.end <= first.len() {
                self.sink.send(&first[range])?;
            } else if range.start >= first.len() {
                self.sink
                    .send(&second[range.start - first.len()..range.end - first.len()])?;
            } else {
                self.sink.send(&first[range.start..])?;
                self.sink.send(&second[..range.end - first.len()])?;
            }
        }
        let must_wait = self.in_flight == self.window || self.in_flight == self.kept.len();
        let wait = if must_wait { wait } else { Duration::ZERO };
        let before = self.verdicts.len();
        let settled = self.sink.settle(wait, &mut self.verdicts);
        let count = self.verdicts.len() - before;
        assert!(count <= self.in_flight, "more verdicts than records");
        self.kept.drain(..count);
        self.in_flight -= count;
        settled
    }

    /// Ships everything, through any trouble, within a bound that no healthy run comes near.
    pub fn finish(&mut self) {
        let until = Instant::now() + secs(120);
        while !self.kept.is_empty() {
            assert!(
                Instant::now() < until,
                "not shipped; troubles: {:?}",
                self.troubles
            );
            if self.step(millis(200)).is_err() {
                std::thread::sleep(millis(20));
            }
        }
    }

    /// Ships everything, and fails at the first trouble.
    pub fn ship(&mut self, records: impl IntoIterator<Item = Record>) {
        self.add(records);
        self.finish();
        assert_eq!(self.troubles, []);
        assert!(
            self.verdicts
                .iter()
                .all(|verdict| *verdict == Verdict::Delivered)
        );
    }
}
