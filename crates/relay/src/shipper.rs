//! The shipper of one destination: what lies between its source and its sink.
//!
//! It reads ahead of the cursor as far as the window allows, sends, and moves the cursor over what the receiver has or never will.
//! What always holds: after any failure everything behind the cursor is read and sent again, in order, so nothing is lost and a
//! receiver may get a record twice; a failure is followed by a pause that grows and has some chance in it, so that a fleet does not
//! come back in step; memory is bounded by the window and by [`IN_FLIGHT_BYTES_MAX`]; it ends within [`END_WAIT`] of being told to, and
//! one connection attempt, before which the cursor is stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logboom::Severity;

use crate::figures::{Gauge, State, now_ns};
use crate::plan::Retry;
use crate::record::Record;
use crate::sink::{Sink, Trouble, Verdict};
use crate::source::{Parcel, Position, Source};
use crate::stop::Stop;

/// How long an ending shipper waits for the answers to what is under way.
pub const END_WAIT: Duration = Duration::from_secs(3);
/// Bytes in the spool of what is under way or read ahead, beyond which no more is read.
pub const IN_FLIGHT_BYTES_MAX: u64 = 16 << 20;
/// How long it waits for answers before it looks for new records.
const ANSWER_WAIT: Duration = Duration::from_millis(20);
/// How often it looks for new records when there are none: at first, and when there were none for long.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];
/// How often it counts what was dropped, while all is well.
const COUNT_DROPPED_EVERY: Duration = Duration::from_millis(50);
/// A sink itself gives up a receiver that makes no progress within the timeout, and waits for one that does, on a slow link say. This
/// is for a sink that forgets to: so many timeouts without a verdict.
const TIMEOUTS_MAX: u32 = 10;
/// Pause after the source could not be read.
const SOURCE_PAUSE: Duration = Duration::from_secs(1);
/// A receiver that refuses records is spoken of this often at most.
const SAY_REFUSED_EVERY: Duration = Duration::from_secs(60);

/// What the shipper has to know beside its source and its sink.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Records under way at most.
    pub window: usize,
    /// Records sent at once at most.
    pub batch: usize,
    /// How long a receiver may leave records without an answer.
    pub timeout: Duration,
    /// What happens after a failure.
    pub retry: Retry,
    /// How long the destination may be down before that is said; zero: never.
    pub say_after: Duration,
}

/// Who tells people: what happened, and how bad it is.
pub type Say = Arc<dyn Fn(Severity, &str) + Send + Sync>;
/// Whether more may be sent now.
pub type MaySend = Arc<dyn Fn() -> bool + Send + Sync>;
/// Counts the records that were dropped since there was no room for them.
pub type Dropped = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The shipper of one destination.
pub struct Shipper {
    /// How it works.
    pub terms: Terms,
    /// Where records come from.
    pub source: Box<dyn Source>,
    /// Where they go.
    pub sink: Box<dyn Sink>,
    /// Its figures.
    pub gauge: Gauge,
    /// Tells people.
    pub say: Say,
    /// Counts what was dropped meanwhile.
    pub dropped: Dropped,
    /// Asked before anything is read to be sent.
    pub may_send: MaySend,
    /// When to end.
    pub stop: Arc<Stop>,
}

/// What is under way: where it ends in its source.
struct InFlight {
    end: Position,
    bytes: u64,
    time_ns: u64,
}

/// How a turn went.
enum Turn {
    Moved,
    /// There is nothing to do.
    Idle,
}

/// The destination is down.
struct Down {
    since: Instant,
    told: bool,
    delivered_before: u64,
}

/// The state of a running shipper.
struct Run {
    shipper: Shipper,
    connected: bool,
    /// Read, and not sent yet.
    unsent: VecDeque<Parcel>,
    in_flight: VecDeque<InFlight>,
    /// Bytes of both.
    held_bytes: u64,
    records: Vec<Record>,
    verdicts: Vec<Verdict>,
    /// The last progress of what is under way.
    moved: Instant,
    pause: Duration,
    look_every: Duration,
    down: Option<Down>,
    well: Well,
    said_refused: Option<Instant>,
}

/// The last time that records were delivered, give or take [`COUNT_DROPPED_EVERY`]: a receiver goes away before that is noticed.
struct Well {
    at: Instant,
    /// What had been dropped by then.
    dropped: u64,
}

impl Shipper {
    /// Ships until it is told to stop.
    pub fn run(self) {
        let mut run = Run::new(self);
        while !run.shipper.stop.is_set() {
            run.step();
        }
        run.finish();
    }

    /// Ships what is there, and ends when all of it is settled, or when it is told to stop. True: all is settled.
    pub fn run_to_the_end(self) -> bool {
        let mut run = Run::new(self);
        while !run.shipper.stop.is_set() {
            if run.step() {
                run.finish();
                return true;
            }
        }
        run.finish();
        false
    }
}

impl Run {
    fn new(shipper: Shipper) -> Run {
        Run {
            pause: shipper.terms.retry.first,
            well: Well {
                at: Instant::now(),
                dropped: (shipper.dropped)(),
            },
            shipper,
            connected: false,
            unsent: VecDeque::new(),
            in_flight: VecDeque::new(),
            held_bytes: 0,
            records: Vec::new(),
            verdicts: Vec::new(),
            moved: Instant::now(),
            look_every: LOOK_EVERY[0],
            down: None,
            said_refused: None,
        }
    }

    /// One turn and what follows from it. True: there was nothing to do.
    fn step(&mut self) -> bool {
        match self.turn() {
            Ok(Turn::Moved) => self.look_every = LOOK_EVERY[0],
            Ok(Turn::Idle) => {
                self.shipper.stop.wait(self.look_every);
                self.look_every = (self.look_every * 2).min(LOOK_EVERY[1]);
                return true;
            }
            Err(trouble) => self.fail(trouble),
        }
        false
    }

    fn turn(&mut self) -> Result<Turn, Trouble> {
        if (self.shipper.may_send)() {
            self.read();
        }
        if self.unsent.is_empty() && self.in_flight.is_empty() {
            return self.rest();
        }
        if !self.connected {
            self.shipper.sink.connect()?;
            self.connected = true;
            self.moved = Instant::now();
            self.shipper
                .gauge
                .change(|figures| figures.connections += 1);
        }
        let sent = self.send()?;
        let wait = if sent { Duration::ZERO } else { ANSWER_WAIT };
        self.settle(wait)?;
        self.note_lag();
        Ok(Turn::Moved)
    }

    /// Nothing waits. A connection that the receiver closes meanwhile is made again when it is needed.
    fn rest(&mut self) -> Result<Turn, Trouble> {
        let rests = self.look_every == LOOK_EVERY[1];
        // What fails is tried again, and does no harm before the next start.
        if rests && let Err(error) = self.shipper.source.flush() {
            self.note_error(&error.to_string());
        }
        if rests && self.connected {
            let ended = self.shipper.sink.settle(Duration::ZERO, &mut self.verdicts);
            self.connected = ended.is_ok();
            self.verdicts.clear();
        }
        self.note_lag();
        Ok(Turn::Idle)
    }

    /// Reads ahead.
    fn read(&mut self) {
        let terms = &self.shipper.terms;
        let room = terms.window.saturating_sub(self.in_flight.len());
        let most = terms.batch.min(room);
        let before = self.unsent.len();
        if before >= most || self.held_bytes >= IN_FLIGHT_BYTES_MAX {
            return;
        }
        let read = self.shipper.source.read(most - before, &mut self.unsent);
        let more = self.unsent.range(before..);
        self.held_bytes += more.map(|parcel| parcel.bytes).sum::<u64>();
        if let Err(error) = read {
            self.note_error(&format!("failed to read what is to be shipped: {error}"));
            self.shipper.stop.wait(SOURCE_PAUSE);
        }
    }

    /// Sends what was read. False: nothing was, or nothing may.
    fn send(&mut self) -> Result<bool, Trouble> {
        let terms = &self.shipper.terms;
        let room = terms.window.saturating_sub(self.in_flight.len());
        let count = self.unsent.len().min(terms.batch).min(room);
        if count == 0 {
            return Ok(false);
        }
        if self.in_flight.is_empty() {
            self.moved = Instant::now();
        }
        self.records.clear();
        for parcel in self.unsent.drain(..count) {
            self.in_flight.push_back(InFlight {
                end: parcel.end,
                bytes: parcel.bytes,
                time_ns: parcel.record.time_ns,
            });
            self.records.push(parcel.record);
        }
        self.shipper.sink.send(&self.records)?;
        Ok(true)
    }

    /// Learns what became of what is under way.
    fn settle(&mut self, wait: Duration) -> Result<(), Trouble> {
        let outcome = self.shipper.sink.settle(wait, &mut self.verdicts);
        self.take_verdicts();
        outcome?;
        let most = self.shipper.terms.timeout * TIMEOUTS_MAX;
        if self.in_flight.is_empty() || self.moved.elapsed() <= most {
            return Ok(());
        }
        Err(Trouble::new(format!(
            "the receiver has left {} records without an answer for {}",
            self.in_flight.len(),
            seconds(most)
        )))
    }

    fn take_verdicts(&mut self) {
        let mut last = None;
        let (mut delivered, mut bytes, mut refused) = (0, 0, None);
        let mut refused_count = 0;
        for verdict in self.verdicts.drain(..) {
            let Some(settled) = self.in_flight.pop_front() else {
                break;
            };
            last = Some(settled.end);
            self.held_bytes -= settled.bytes;
            match verdict {
                Verdict::Delivered => {
                    delivered += 1;
                    bytes += settled.bytes;
                }
                Verdict::Refused(why) => {
                    refused_count += 1;
                    refused = Some(why);
                }
            }
        }
        let Some(end) = last else { return };
        self.moved = Instant::now();
        if let Err(error) = self.shipper.source.settle(end) {
            self.note_error(&format!(
                "failed to store how far records are shipped: {error}"
            ));
        }
        self.shipper.gauge.change(|figures| {
            figures.delivered += delivered;
            figures.delivered_bytes += bytes;
            figures.refused += refused_count;
        });
        if let Some(why) = refused {
            self.note_refusal(refused_count, &why);
        }
        if delivered > 0 {
            self.note_up();
        }
    }

    /// Everything under way is read again, after a pause.
    fn fail(&mut self, trouble: Trouble) {
        // The oldest that waits is known now.
        self.note_lag();
        let again = self.in_flight.len() as u64;
        self.connected = false;
        self.in_flight.clear();
        self.unsent.clear();
        self.held_bytes = 0;
        self.verdicts.clear();
        self.shipper.source.rewind();
        // It may be long until something is settled again, and this process may not live to see it.
        let _ = self.shipper.source.flush();
        self.note_error(&trouble.text);
        self.note_down();
        self.shipper.gauge.change(|figures| {
            figures.failures += 1;
            figures.sent_again += again;
        });
        self.give_up_old();
        let by_chance = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.shipper
            .stop
            .wait(trouble.retry_after.unwrap_or(by_chance));
        self.pause = (self.pause * 2).min(self.shipper.terms.retry.most);
        self.say_if_long_down();
        self.note_lag();
    }

    /// Settles what is older than the deadline, if there is one.
    fn give_up_old(&mut self) {
        let Some(deadline) = self.shipper.terms.retry.deadline else {
            return;
        };
        let oldest_ns = now_ns().saturating_sub(deadline.as_nanos() as u64);
        let mut given_up = 0;
        let source = &mut self.shipper.source;
        'all: while let Ok(1..) = source.read(self.shipper.terms.batch, &mut self.unsent) {
            for parcel in self.unsent.drain(..) {
                if parcel.record.time_ns == 0 || parcel.record.time_ns >= oldest_ns {
                    break 'all;
                }
                given_up += 1;
                let _ = source.settle(parcel.end);
            }
        }
        self.unsent.clear();
        source.rewind();
        self.shipper
            .gauge
            .change(|figures| figures.given_up += given_up);
    }

    fn note_error(&self, text: &str) {
        self.shipper.gauge.change(|figures| {
            text.clone_into(&mut figures.last_error);
            figures.last_error_ns = now_ns();
        });
    }

    fn note_refusal(&mut self, count: u64, why: &str) {
        self.note_error(&format!("a record was refused: {why}"));
        let lately = |since: Instant| since.elapsed() < SAY_REFUSED_EVERY;
        if self.said_refused.is_some_and(lately) {
            return;
        }
        self.said_refused = Some(Instant::now());
        let (name, to) = self.who();
        (self.shipper.say)(
            Severity::ERROR,
            &format!("the destination `{name}` ({to}) has refused {count} records for good: {why}"),
        );
    }

    fn note_down(&mut self) {
        if self.down.is_none() {
            self.down = Some(Down {
                since: Instant::now(),
                told: false,
                delivered_before: self.shipper.gauge.read().delivered,
            });
            self.change_state(State::Down);
        }
    }

    fn note_up(&mut self) {
        self.pause = self.shipper.terms.retry.first;
        let Some(down) = self.down.take() else {
            if self.shipper.gauge.read().state != State::Up {
                self.change_state(State::Up);
            }
            if self.well.at.elapsed() >= COUNT_DROPPED_EVERY {
                self.count_dropped();
            }
            return;
        };
        self.change_state(State::Up);
        let dropped_before = self.well.dropped;
        let dropped = self.count_dropped() - dropped_before;
        if down.told {
            let (name, to) = self.who();
            let delivered = self.shipper.gauge.read().delivered - down.delivered_before;
            let lag = self.shipper.source.lag();
            let late = match lag.records {
                Some(records) => format!("some {} records", records + delivered),
                // As many as that are counted when they are read.
                None => format!("{} MB of records", lag.bytes / 1_000_000),
            };
            (self.shipper.say)(
                Severity::INFO,
                &format!(
                    "the destination `{name}` ({to}) is back after {}: {late} come late, {dropped} were dropped",
                    seconds(down.since.elapsed())
                ),
            );
        }
    }

    /// Records dropped until now, since the beginning.
    fn count_dropped(&mut self) -> u64 {
        self.well = Well {
            at: Instant::now(),
            dropped: (self.shipper.dropped)().max(self.well.dropped),
        };
        self.well.dropped
    }

    fn say_if_long_down(&mut self) {
        let say_after = self.shipper.terms.say_after;
        let Some(down) = &mut self.down else { return };
        if down.told || say_after.is_zero() || down.since.elapsed() < say_after {
            return;
        }
        down.told = true;
        let since = down.since.elapsed();
        let (name, to) = self.who();
        let figures = self.shipper.gauge.read();
        (self.shipper.say)(
            Severity::WARN,
            &format!(
                "the destination `{name}` ({to}) is down for {}: {}; records wait ({} bytes so far)",
                seconds(since),
                figures.last_error,
                figures.waiting_bytes
            ),
        );
    }

    fn who(&self) -> (String, String) {
        let figures = self.shipper.gauge.read();
        (figures.name, figures.to)
    }

    fn change_state(&self, state: State) {
        self.shipper.gauge.change(|figures| {
            figures.state = state;
            figures.since_ns = now_ns();
        });
    }

    fn note_lag(&self) {
        let begun = Instant::now();
        let lag = self.shipper.source.lag();
        let damage = self.shipper.source.damage();
        let first = self.in_flight.front().map(|first| first.time_ns);
        let first = first.or_else(|| self.unsent.front().map(|first| first.record.time_ns));
        self.shipper.gauge.change(|figures| {
            figures.waiting = lag.records;
            figures.waiting_bytes = lag.bytes;
            figures.in_flight = self.in_flight.len() as u64;
            figures.damaged = damage.lines_skipped;
            figures.segments_missed = damage.files_missed;
            // While nothing is under way, after a failure say, the oldest is the one that was.
            if let Some(first) = first {
                figures.oldest_ns = first;
            } else if lag.bytes == 0 {
                figures.oldest_ns = 0;
            }
        });
        self.shipper.gauge.note_counted(begun);
    }

    /// Waits for the answers to what is under way, and ends the connection.
    fn finish(&mut self) {
        let until = Instant::now() + END_WAIT;
        while self.connected && !self.in_flight.is_empty() && Instant::now() < until {
            if self.settle(ANSWER_WAIT).is_err() {
                self.connected = false;
            }
        }
        if self.connected {
            self.shipper.sink.close();
        }
        if let Err(error) = self.shipper.source.flush() {
            self.note_error(&error.to_string());
        }
        self.note_lag();
    }
}

/// A length of time for people.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests;
