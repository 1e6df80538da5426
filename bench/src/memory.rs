//! What a worker costs in memory beside its ring: the process's own pages, and the blocks of the shared state.

use anyhow::{Context, Result};
use logboom::{Log, Severity};

use crate::contestants::{options, record_of};
use crate::crew;
use crate::place::Place;

/// Workers that are measured together.
pub const WORKERS: usize = 4;
const RECORDS: usize = 20_000;

/// Bytes, the mean of the workers, from before the first record until after the last.
pub struct Memory {
    /// The ring.
    pub ring: f64,
    /// Growth of the resident set; rings of others that a worker has drained are counted in each.
    pub rss: f64,
    /// Growth of the proportional set, in which each page is counted once in all workers together.
    pub pss: f64,
    /// Blocks that the state file grew by, rings included, for each worker.
    pub state_blocks: f64,
    /// Blocks of the state file before any worker's first record, once for each domain.
    pub state_base: f64,
}

/// Measures workers that are forked with the log open, as with preload.
pub fn measure(place: &Place) -> Result<Memory> {
    eprintln!("memory");
    let spot = place.spot()?;
    let log = Log::open(spot.log(), &options(&spot.state(), true))?;
    let state = logboom::status::find_state(&spot.directory)?;
    let base = blocks_of(&state)?;
    let measured = crew::run(WORKERS, 5, |seat| {
        let line = record_of(seat.worker);
        seat.wait_for_all();
        let before = usage()?;
        meet(seat, 1);
        for _ in 0..RECORDS {
            log.publish(Severity::INFO, &line);
        }
        meet(seat, 2);
        let after = usage()?;
        meet(seat, 3);
        let status = logboom::status::status(&spot.log())?;
        let values = [
            before.rss,
            after.rss,
            before.pss,
            after.pss,
            status.queue_bytes,
        ];
        values
            .iter()
            .enumerate()
            .for_each(|(index, value)| seat.sample(index, *value));
        Ok(())
    })?;
    let grown = blocks_of(&state)?.saturating_sub(base);
    let growth = |after: usize, before: usize| {
        let of = |samples: &Vec<u64>| samples[after] as f64 - samples[before] as f64;
        measured.samples.iter().map(of).sum::<f64>() / WORKERS as f64
    };
    Ok(Memory {
        ring: measured.samples[0][4] as f64,
        rss: growth(1, 0),
        pss: growth(3, 2),
        state_blocks: grown as f64 / WORKERS as f64,
        state_base: base as f64,
    })
}

/// Waits until all workers have come here for the `time`-th time.
fn meet(seat: &crew::Seat<'_>, time: u64) {
    seat.say_done();
    while seat.done() < time * WORKERS as u64 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

struct Usage {
    rss: u64,
    pss: u64,
}

/// Bytes, from /proc/self/smaps_rollup (proc(5)).
fn usage() -> Result<Usage> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")
        .context("failed to read smaps_rollup")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        number
            .map(|kib| kib * 1024)
            .with_context(|| format!("smaps_rollup has no `{name}`"))
    };
    Ok(Usage {
        rss: field("Rss:")?,
        pss: field("Pss:")?,
    })
}

fn blocks_of(path: &std::path::Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path
        .metadata()
        .with_context(|| format!("failed to look at `{}`", path.display()))?;
    Ok(metadata.blocks() * 512)
}

impl Memory {
    /// What a worker costs beside its ring: the larger of what the process and what the state grew by.
    pub fn beside_ring(&self) -> f64 {
        (self.pss.max(self.state_blocks) - self.ring).max(0.0)
    }
}
