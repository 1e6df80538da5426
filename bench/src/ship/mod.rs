//! Shipping: `logboom relay` to rsyslog beside rsyslog to rsyslog, the same records over the same protocols, in turns; and what a
//! logging call costs while the receiver stands still (`calls`).
//!
//! Each measurement has a receiver of its own, a real rsyslog that writes what it gets to a file, and one sender. The clock runs, and
//! the sender's processor time counts, from the first record that arrived to the last one. A measurement in which not all records
//! arrive fails. Where rsyslog or one of its modules is missing, the section says so instead.

mod calls;
mod certificate;
pub mod report;
mod rsyslog;
mod sender;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::place::{Place, Spot};
use crate::stats::{Rounds, Series};
pub use calls::Calls;
use rsyslog::Receiver;
use sender::Sender;

/// Records of one measurement.
const RECORDS: usize = 160_000;
/// Rounds of the rates; each has twelve measurements.
const ROUNDS_MAX: usize = 5;
/// A sender that needs longer hangs.
const TIME_MAX: Duration = Duration::from_secs(90);

/// What was measured, or why not.
pub enum Ship {
    /// Why it cannot be measured here.
    Skipped(String),
    /// All of it.
    Measured {
        /// A feed and a protocol each.
        cells: Vec<Cell>,
        /// A call with the receiver running, and stopped.
        calls: Calls,
    },
}

/// Where the sender gets the records from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// They lie on the disk: in the spool, and in a file that `imfile` reads.
    Backlog,
    /// A program logs them meanwhile: into its queue, and into the socket of `imuxsock`.
    Live,
}

/// How they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Octet-counted TCP.
    Tcp,
    /// The same through TLS.
    Tls,
    /// RELP.
    Relp,
}

/// Who sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// rsyslog.
    Rsyslog,
    /// `logboom relay`.
    Relay,
}

/// Both senders with one feed and one protocol.
pub struct Cell {
    /// Where the records come from.
    pub feed: Feed,
    /// How they are sent.
    pub protocol: Protocol,
    /// rsyslog's figures.
    pub rsyslog: Figures,
    /// The relay's.
    pub relay: Figures,
}

/// One figure for each round.
#[derive(Default)]
pub struct Figures {
    /// Records a second.
    pub rate: Series,
    /// Processor seconds of the sender for a million records.
    pub cpu_s: Series,
    /// Those of the receiver.
    pub receiver_cpu_s: Series,
}

impl Cell {
    /// Records a second of ours to those of rsyslog.
    pub fn ratio(&self) -> f64 {
        self.relay.rate.median() / self.rsyslog.rate.median()
    }
}

/// Measures all rounds; `python` is the interpreter beside which the command `logboom` is installed.
pub fn measure(
    place: &Place,
    python: &Path,
    rounds: usize,
    time: Duration,
    shrink: usize,
) -> Result<Ship> {
    if let Some(reason) = rsyslog::why_not() {
        eprintln!("ship: skipped: {reason}");
        return Ok(Ship::Skipped(reason));
    }
    let logboom = python.with_file_name("logboom");
    ensure!(
        logboom.exists(),
        "failed to find the command `logboom` beside `{}`; install logboom there",
        python.display()
    );
    let calls = calls::measure(place, &logboom, rounds.max(15))?;
    let mut cells = all_cells();
    for round in Rounds::new(rounds.min(ROUNDS_MAX), time) {
        eprintln!("ship: round {}", round + 1);
        for cell in &mut cells {
            for turn in 0..2 {
                // Each round begins with the other one.
                let (who, figures) = match (round + turn) % 2 {
                    0 => (Who::Rsyslog, &mut cell.rsyslog),
                    _ => (Who::Relay, &mut cell.relay),
                };
                let spot = place.spot()?;
                let job = Job {
                    spot: &spot,
                    logboom: &logboom,
                    records: RECORDS / shrink,
                };
                let (rate, cpu_s) = job.run(who, cell.feed, cell.protocol).with_context(|| {
                    format!(
                        "failed to measure {who:?}, {:?}, {:?}",
                        cell.feed, cell.protocol
                    )
                })?;
                figures.rate.push(rate);
                figures.cpu_s.push(cpu_s[0]);
                figures.receiver_cpu_s.push(cpu_s[1]);
            }
        }
    }
    Ok(Ship::Measured { cells, calls })
}

fn all_cells() -> Vec<Cell> {
    let feeds = [Feed::Backlog, Feed::Live];
    let with = |feed| {
        [Protocol::Tcp, Protocol::Tls, Protocol::Relp].map(|protocol| Cell {
            feed,
            protocol,
            rsyslog: Figures::default(),
            relay: Figures::default(),
        })
    };
    feeds.into_iter().flat_map(with).collect()
}

/// One measurement.
struct Job<'a> {
    spot: &'a Spot<'a>,
    logboom: &'a Path,
    records: usize,
}

impl Job<'_> {
    /// Records a second, and processor seconds for a million: of the sender, and of the receiver.
    fn run(&self, who: Who, feed: Feed, protocol: Protocol) -> Result<(f64, [f64; 2])> {
        let mut receiver = Receiver::start(&self.spot.directory)?;
        let mut sender = Sender::prepare(self, who, feed, protocol, &receiver)?;
        sender.start()?;
        if feed == Feed::Live {
            // The connection is there before the clock starts.
            sender.feed(1)?;
            wait_for(&mut receiver, 1)?;
        }
        if feed == Feed::Backlog {
            wait_for(&mut receiver, 1)?;
        }
        let begun = Mark::now(&mut receiver, &sender)?;
        let all = match feed {
            Feed::Live => {
                sender.feed(self.records)?;
                self.records + 1
            }
            Feed::Backlog => self.records,
        };
        wait_for(&mut receiver, all)?;
        let ended = Mark::now(&mut receiver, &sender)?;
        let count = (ended.count - begun.count) as f64;
        let seconds = ended.at.duration_since(begun.at).as_secs_f64();
        let cpu_s = |part: usize| (ended.cpu_ns[part] - begun.cpu_ns[part]) as f64 / 1e3 / count;
        Ok((count / seconds, [cpu_s(0), cpu_s(1)]))
    }
}

/// A moment: how many records had arrived, and how much processor time sender and receiver had taken.
struct Mark {
    at: Instant,
    count: usize,
    cpu_ns: [u64; 2],
}

impl Mark {
    fn now(receiver: &mut Receiver, sender: &Sender) -> Result<Mark> {
        Ok(Mark {
            count: receiver.count()?,
            at: Instant::now(),
            cpu_ns: [sender.cpu_ns()?, receiver.program.cpu_ns()?],
        })
    }
}

fn wait_for(receiver: &mut Receiver, count: usize) -> Result<()> {
    let until = Instant::now() + TIME_MAX;
    while receiver.count()? < count {
        if Instant::now() > until {
            bail!(
                "{} of {count} records had arrived after {TIME_MAX:?}",
                receiver.count()?
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
