//! Measures logboom against its rivals and writes `docs/benchmarks.md`. `cargo xtask bench` makes the Python environment
//! and calls this.
//!
//! One file for each section of the document; `stats` holds medians and rounds, `crew` forks processes that start together,
//! `demands` compares with what is demanded. A section that fails makes the run fail, and nothing is written: a table with a
//! hole would be read as one without. A demand that is missed is no failure; it is written down as missed.

mod contestants;
mod crew;
mod debug;
mod demands;
mod drive;
mod effect;
mod holds;
mod machine;
mod memory;
mod native;
mod place;
mod publish;
mod python;
mod report;
mod server;
mod ship;
mod stats;
mod text;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");

/// Measures logboom against its rivals, in at most eleven minutes.
#[derive(Parser)]
#[command(bin_name = "cargo run --release --")]
struct Arguments {
    /// One minute, fewer and shorter rounds; for a first look, not for a document.
    #[arg(long)]
    quick: bool,
    /// Rounds of each section; fewer if the time runs out.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measure this section only.
    #[arg(long, value_name = "NAME")]
    only: Option<Section>,
    /// Interpreter of an environment with logboom and concurrent-log-handler; without it, no Python is measured.
    #[arg(long, value_name = "PATH", env = "LOGBOOM_BENCH_PYTHON")]
    python: Option<PathBuf>,
    /// Where the document goes. By default docs/benchmarks.md after a whole run, and the terminal after --quick or --only.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only drive the server on this port for so many seconds, and print the requests a second; for the script of the servers.
    #[arg(long, num_args = 3, value_names = ["PORT", "PATH", "SECONDS"], hide = true)]
    drive: Option<Vec<String>>,
}

/// A section of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    Native,
    Publish,
    Holds,
    Python,
    Debug,
    Server,
    Ship,
    Memory,
}

/// What was measured; None: not in this run.
#[derive(Default)]
pub struct Figures {
    native: Option<Vec<native::Cell>>,
    publish: Option<publish::Publishing>,
    holds: Option<holds::Holds>,
    python: Option<python::Python>,
    debug: Option<debug::Debug>,
    server: Option<server::Server>,
    ship: Option<ship::Ship>,
    memory: Option<memory::Memory>,
}

/// How much is measured.
struct Extent {
    rounds: usize,
    /// Divides the numbers of records.
    shrink: usize,
    /// Divides the time of each section.
    haste: u32,
}

impl Extent {
    fn of(arguments: &Arguments) -> Extent {
        let (rounds, shrink, haste) = if arguments.quick {
            (3, 4, 6)
        } else {
            (9, 1, 1)
        };
        Extent {
            rounds: arguments.rounds.unwrap_or(rounds).max(1),
            shrink,
            haste,
        }
    }

    fn seconds(&self, whole: u64) -> Duration {
        Duration::from_secs(whole) / self.haste
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some([port, path, seconds]) = arguments.drive.as_deref() {
        println!("{}", drive::drive(port.parse()?, path, seconds.parse()?)?);
        return Ok(());
    }
    let started = Instant::now();
    let place = place::Place::make()?;
    let machine = machine::describe(place.logs());
    let figures = measure(&arguments, &place)?;
    let text = report::document(&figures, &machine, &command(&arguments));
    let is_whole = !arguments.quick && arguments.only.is_none();
    match arguments.out.or_else(|| is_whole.then(|| DOCUMENT.into())) {
        Some(path) => {
            std::fs::write(&path, text)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
            println!("written to `{}`", path.display());
        }
        None => print!("{text}"),
    }
    for row in demands::all(&figures) {
        let verdict = if row.is_met { "met   " } else { "MISSED" };
        eprintln!(
            "{verdict}  {}: {} (demanded: {})",
            row.subject, row.measured, row.demand
        );
    }
    eprintln!("measured in {} s", started.elapsed().as_secs());
    Ok(())
}

fn measure(arguments: &Arguments, place: &place::Place) -> Result<Figures> {
    let extent = Extent::of(arguments);
    let (rounds, shrink) = (extent.rounds, extent.shrink);
    let wanted = |section| arguments.only.is_none_or(|only| only == section);
    let mut figures = Figures::default();
    if wanted(Section::Memory) {
        figures.memory = Some(memory::measure(place)?);
    }
    if wanted(Section::Native) {
        figures.native = Some(native::measure(place, rounds, extent.seconds(130), shrink)?);
    }
    if wanted(Section::Publish) {
        figures.publish = Some(publish::measure(place, rounds, extent.seconds(30), shrink)?);
    }
    if wanted(Section::Holds) {
        figures.holds = Some(holds::measure(place, rounds, extent.seconds(25), shrink)?);
    }
    match &arguments.python {
        Some(python) if wanted(Section::Python) => {
            figures.python = Some(python::measure(
                place,
                python,
                rounds,
                extent.seconds(140),
                shrink,
            )?);
        }
        None if matches!(
            arguments.only,
            Some(Section::Python | Section::Debug | Section::Server | Section::Ship)
        ) =>
        {
            bail!(
                "--only python, debug, server and ship need --python PATH; `cargo xtask bench` makes an environment for it"
            )
        }
        _ => {}
    }
    if let Some(python) = arguments.python.as_ref().filter(|_| wanted(Section::Debug)) {
        let rounds = arguments
            .rounds
            .unwrap_or(if arguments.quick { 5 } else { 15 });
        figures.debug = Some(debug::measure(place, python, rounds.max(1), shrink)?);
    }
    if let Some(python) = arguments
        .python
        .as_ref()
        .filter(|_| wanted(Section::Server))
    {
        figures.server = Some(server::measure(place, python, rounds, shrink)?);
    }
    if let Some(python) = arguments.python.as_ref().filter(|_| wanted(Section::Ship)) {
        let time = extent.seconds(180);
        figures.ship = Some(ship::measure(place, python, rounds, time, shrink)?);
    }
    Ok(figures)
}

/// The command as a reader would repeat it; the environment's path is left out.
fn command(arguments: &Arguments) -> String {
    let mut options = String::new();
    if arguments.quick {
        options += " --quick";
    }
    if let Some(rounds) = arguments.rounds {
        options += &format!(" --rounds {rounds}");
    }
    if let Some(only) = arguments.only.and_then(|only| only.to_possible_value()) {
        options += &format!(" --only {}", only.get_name());
    }
    match options.is_empty() {
        true => "cargo xtask bench".to_owned(),
        false => format!("cargo xtask bench --{options}"),
    }
}
