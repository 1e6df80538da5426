//! What a logging call costs while the receiver takes everything, and while it stands still: the median of each, by turns.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::rsyslog::{Program, Receiver};
use super::sender::{line, open_spool, publish, write_configuration};
use super::wait_for;
use crate::place::Place;
use crate::stats::{Series, percentile};

/// Calls of one figure, at this pace, some at once, as requests come.
const CALLS: usize = 2000;
const PER_SECOND: f64 = 10_000.0;
const BURST: usize = 50;

/// Nanoseconds of a call, one figure for each round.
#[derive(Default)]
pub struct Calls {
    /// With the receiver running: the median, and the 99th percentile.
    pub running: [Series; 2],
    /// With the receiver stopped by SIGSTOP.
    pub stopped: [Series; 2],
}

impl Calls {
    /// The median with the receiver stopped to that with it running.
    pub fn ratio(&self) -> f64 {
        self.stopped[0].median() / self.running[0].median()
    }
}

/// Measures all rounds.
pub fn measure(place: &Place, logboom: &Path, rounds: usize) -> Result<Calls> {
    eprintln!("ship: calls, {rounds} rounds");
    let spot = place.spot()?;
    let mut receiver = Receiver::start(&spot.directory)?;
    let [_, _, relp] = receiver.ports;
    write_configuration(&spot.directory, &format!("relp://127.0.0.1:{relp}"), "")?;
    let mut command = Command::new(logboom);
    command
        .arg("relay")
        .arg("--config")
        .arg(spot.directory.join("logboom.toml"));
    command.env("LOGBOOM_STATE_DIR", place.state());
    let _relay = Program::start(command, &spot.directory.join("relay.out"))?;
    let log = open_spool(&spot.directory, place.state())?;
    publish(&log, &line(0))?;
    wait_for(&mut receiver, 1)?;
    let mut calls = Calls::default();
    for round in 0..=rounds {
        let running = burst(&log)?;
        receiver.program.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(50));
        let stopped = burst(&log);
        receiver.program.signal(libc::SIGCONT);
        std::thread::sleep(Duration::from_millis(50));
        // The first one warms up.
        if round > 0 {
            note(&mut calls.running, running);
            note(&mut calls.stopped, stopped?);
        }
    }
    Ok(calls)
}

fn note(series: &mut [Series; 2], mut samples: Vec<u64>) {
    for (series, share) in series.iter_mut().zip([0.5, 0.99]) {
        series.push(percentile(&mut samples, share));
    }
}

fn burst(log: &logboom::Log) -> Result<Vec<u64>> {
    let (begun, line) = (Instant::now(), line(1));
    let mut samples = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let before = Instant::now();
        publish(log, &line)?;
        samples.push(before.elapsed().as_nanos() as u64);
        if number % BURST == BURST - 1 {
            let due = Duration::from_secs_f64(number as f64 / PER_SECOND);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    Ok(samples)
}
