//! Records a second and the time of one call, for all contestants, with 1 to 16 processes.
//!
//! Rates and times of calls come from rounds of their own, so that reading the clock twice a record does not spoil the rate.
//! The clock of a rate stops when all records are in the file; the length of the file is checked.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::contestants::{Contestant, RECORD_BYTES, record_of};
use crate::crew::{self, monotonic_ns};
use crate::place::{Place, Spot};
use crate::stats::{Rounds, Series, percentile};

/// How many processes, and the records of each in a round.
const CREWS: [(usize, usize); 5] = [
    (1, 160_000),
    (2, 100_000),
    (4, 60_000),
    (8, 40_000),
    (16, 30_000),
];
const WARM_RECORDS: usize = 2_000;

/// One contestant with one number of processes.
pub struct Cell {
    /// Who.
    pub contestant: Contestant,
    /// How many processes.
    pub processes: usize,
    /// Records a second, all processes together.
    pub rate: Series,
    /// Nanoseconds of one call: p50, p99, p99.9.
    pub calls: [Series; 3],
}

/// All cells, in the order of the table.
pub fn measure(place: &Place, rounds: usize, time: Duration, shrink: usize) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = CREWS
        .iter()
        .flat_map(|(processes, _)| cells_for(*processes))
        .collect();
    for round in Rounds::new(rounds, time) {
        eprintln!("native: round {}", round + 1);
        let count = cells.len();
        for at in 0..count {
            // Each round begins with another one.
            let cell = &mut cells[(at + round * 3) % count];
            measure_cell(place, cell, shrink).with_context(|| {
                format!(
                    "{} with {} processes",
                    cell.contestant.name(),
                    cell.processes
                )
            })?;
        }
    }
    Ok(cells)
}

fn cells_for(processes: usize) -> impl Iterator<Item = Cell> {
    Contestant::ALL
        .into_iter()
        .filter(move |contestant| processes == 1 || contestant.is_for_several_processes())
        .map(move |contestant| Cell {
            contestant,
            processes,
            rate: Series::default(),
            calls: Default::default(),
        })
}

fn measure_cell(place: &Place, cell: &mut Cell, shrink: usize) -> Result<()> {
    let each = CREWS
        .iter()
        .find(|(processes, _)| *processes == cell.processes)
        .map_or(0, |crew| crew.1)
        / shrink;
    let spot = place.spot()?;
    let elapsed = throughput(&spot, cell, each)?;
    cell.rate
        .push((each * cell.processes) as f64 / elapsed.as_secs_f64());
    drop(spot);
    let spot = place.spot()?;
    let mut samples = latencies(&spot, cell, each / 3)?;
    for (series, share) in cell.calls.iter_mut().zip([0.5, 0.99, 0.999]) {
        series.push(percentile(&mut samples, share));
    }
    Ok(())
}

fn throughput(spot: &Spot<'_>, cell: &Cell, each: usize) -> Result<Duration> {
    let measured = crew::run(cell.processes, 0, |seat| {
        let mut writer = cell.contestant.open(&spot.log(), &spot.state())?;
        let line = record_of(seat.worker);
        let mut refused = (0..WARM_RECORDS).filter(|_| !writer.write(&line)).count();
        seat.start();
        for _ in 0..each {
            refused += usize::from(!writer.write(&line));
        }
        writer.finish()?;
        seat.end();
        ensure!(refused == 0, "{refused} records were refused");
        Ok(())
    })?;
    check_length(spot, cell.processes * (each + WARM_RECORDS))?;
    Ok(measured.elapsed)
}

fn latencies(spot: &Spot<'_>, cell: &Cell, each: usize) -> Result<Vec<u64>> {
    let measured = crew::run(cell.processes, each, |seat| {
        let mut writer = cell.contestant.open(&spot.log(), &spot.state())?;
        let line = record_of(seat.worker);
        let mut refused = (0..WARM_RECORDS).filter(|_| !writer.write(&line)).count();
        seat.start();
        for index in 0..each {
            let before = monotonic_ns();
            refused += usize::from(!writer.write(&line));
            seat.sample(index, monotonic_ns() - before);
        }
        writer.finish()?;
        seat.end();
        ensure!(refused == 0, "{refused} records were refused");
        Ok(())
    })?;
    check_length(spot, cell.processes * (each + WARM_RECORDS))?;
    Ok(measured.samples.concat())
}

/// Every record is in the file, once.
pub fn check_length(spot: &Spot<'_>, records: usize) -> Result<()> {
    let found = spot.log().metadata()?.len();
    let expected = (records * RECORD_BYTES) as u64;
    ensure!(
        found == expected,
        "the file has {found} bytes, not {expected}: records are missing or doubled"
    );
    Ok(())
}

/// The cell of a contestant.
pub fn find(cells: &[Cell], contestant: Contestant, processes: usize) -> Option<&Cell> {
    cells
        .iter()
        .find(|cell| cell.contestant == contestant && cell.processes == processes)
}
