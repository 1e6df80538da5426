//! What is demanded of logboom's speed, and whether the run shows it. A miss is a miss: nothing here rounds in our favour.

use crate::Figures;
use crate::contestants::Contestant;
use crate::debug::{self, Debug};
use crate::effect::{Effect, WORKERS};
use crate::holds::{Holds, PUBLISHERS};
use crate::machine::processors;
use crate::memory::Memory;
use crate::native::{self, Cell};
use crate::publish::Publishing;
use crate::python::Python;
use crate::server::Server;
use crate::ship;
use crate::stats::{Series, percentile};
use crate::text::{bytes, ms, ns as short};

const PLAIN: &str = "logging.FileHandler";
/// What the handlers of the standard library are replaced by today.
pub const RIVAL: &str = "concurrent_log_handler.ConcurrentRotatingFileHandler";
/// Ours, of which the worst counts.
const OURS: [&str; 3] = ["FileHandler", "RotatingFileHandler", "WatchedFileHandler"];
const MIB: f64 = 1_048_576.0;
const HOLD_NS: f64 = 2e6;
/// From the start of a command to its rule: at the median, and at the 99th percentile.
const EFFECT_NS: [f64; 2] = [5e6, 50e6];

/// One demand.
pub struct Row {
    /// What is measured.
    pub subject: String,
    /// What it should be.
    pub demand: String,
    /// What it is.
    pub measured: String,
    /// Whether it is what it should be.
    pub is_met: bool,
}

impl Row {
    pub(crate) fn at_most(subject: &str, limit: f64, than: &str, ratio: f64) -> Row {
        Row {
            subject: subject.to_owned(),
            demand: format!("at most {limit} x {than}"),
            measured: format!("{ratio:.2} x"),
            is_met: ratio <= limit,
        }
    }

    pub(crate) fn at_least(subject: &str, limit: f64, than: &str, ratio: f64) -> Row {
        Row {
            subject: subject.to_owned(),
            demand: format!("at least {limit} x {than}"),
            measured: format!("{ratio:.2} x"),
            is_met: ratio >= limit,
        }
    }
}

/// All demands that the sections of this run can answer.
pub fn all(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(figures.native.iter().flat_map(|cells| of_native(cells)));
    rows.extend(figures.publish.iter().map(of_publish));
    rows.extend(figures.holds.iter().flat_map(of_holds));
    rows.extend(figures.python.iter().flat_map(of_python));
    rows.extend(figures.debug.iter().flat_map(of_debug));
    rows.extend(figures.server.iter().map(of_server));
    rows.extend(figures.ship.iter().flat_map(ship::report::demands));
    rows.extend(figures.memory.iter().map(of_memory));
    rows
}

fn of_native(cells: &[Cell]) -> Vec<Row> {
    let rate = |contestant, processes| {
        native::find(cells, contestant, processes).map_or(f64::NAN, |cell| cell.rate.median())
    };
    let time = |contestant| 1.0 / rate(contestant, 1);
    let four = |contestant| rate(contestant, 4) / rate(Contestant::Append, 4);
    let (write, stat) = (
        "one `write(2)` with `O_APPEND`",
        "one `write(2)` and one `stat` of the path",
    );
    let rates = "the records a second of `O_APPEND` writes";
    vec![
        Row::at_most(
            "1 process, `watch: false`: time of a record",
            2.0,
            write,
            time(Contestant::Ours) / time(Contestant::Append),
        ),
        Row::at_most(
            "1 process, outside rotation watched: time of a record",
            1.5,
            stat,
            time(Contestant::OursWatching) / time(Contestant::AppendStat),
        ),
        Row::at_least(
            "4 processes, `watch: false`: records a second",
            2.5,
            rates,
            four(Contestant::Ours),
        ),
        Row::at_least(
            "4 processes, outside rotation watched: records a second",
            2.5,
            rates,
            four(Contestant::OursWatching),
        ),
    ]
}

fn of_publish(publishing: &Publishing) -> Row {
    let than = "the floor (a clock read, a copy of 120 bytes, a release store)";
    let ratio = publishing.publish_ns.median() / publishing.floor_ns.median();
    Row::at_most(
        "publish with a separate drainer: time of a record",
        3.0,
        than,
        ratio,
    )
}

/// Medians of the rounds' longest: one round in which the write beside lost its core would excuse every hold.
fn of_holds(holds: &Holds) -> Vec<Row> {
    let write = holds.write_ns_max.median();
    let row = |publishers: String, longest: &Series| Row {
        subject: format!("{publishers}: longest hold of the lease"),
        demand: format!(
            "at most 2 ms + one write (the longest beside: {})",
            ms(write)
        ),
        measured: format!(
            "{} (the largest of all rounds: {})",
            ms(longest.median()),
            ms(longest.max())
        ),
        is_met: longest.median() <= HOLD_NS + write,
    };
    vec![
        row(
            format!("{PUBLISHERS} saturating publishers"),
            &holds.hold_ns_max,
        ),
        row(
            format!("{} of them, a processor for each", processors()),
            &holds.own_hold_ns_max,
        ),
    ]
}

/// The worst of the workers and paths counts.
fn of_server(server: &Server) -> Row {
    let ratios = server.cells.iter().map(|cell| cell.ratio());
    Row::at_least(
        "a trivial Flask app under Gunicorn, the whole path (worst of all): requests a second",
        0.95,
        "the standard set-up with access log",
        ratios.reduce(f64::min).unwrap_or(f64::NAN),
    )
}

fn of_python(python: &Python) -> Vec<Row> {
    let rate = |name: &str, processes| {
        python
            .find(name, processes)
            .map_or(f64::NAN, |cell| cell.rate().median())
    };
    let p99 = |name: &str| python.find(name, 4).map_or(f64::NAN, |cell| cell.p99_ns());
    let ours = |name: &str| format!("logboom.handlers.{name}");
    let one = OURS.map(|name| rate(&ours(name), 1) / rate(PLAIN, 1));
    let four = OURS.map(|name| rate(&ours(name), 4) / rate(PLAIN, 4));
    let rival = OURS.map(|name| rate(&ours(name), 4) / rate(RIVAL, 4));
    let calls = OURS.map(|name| p99(&ours(name)) / p99(PLAIN));
    let worst = |values: [f64; 3], pick: fn(f64, f64) -> f64| {
        values.into_iter().reduce(pick).unwrap_or(f64::NAN)
    };
    let named = |row: Row, values: [f64; 3]| Row {
        measured: OURS
            .iter()
            .zip(values)
            .map(|(name, value)| format!("`{name}` {value:.2} x"))
            .collect::<Vec<_>>()
            .join(", "),
        ..row
    };
    let plain = "the standard `FileHandler`";
    vec![
        named(
            Row::at_least(
                "Python, 1 process: records a second",
                1.0,
                plain,
                worst(one, f64::min),
            ),
            one,
        ),
        named(
            Row::at_least(
                "Python, 4 processes: records a second",
                1.5,
                plain,
                worst(four, f64::min),
            ),
            four,
        ),
        named(
            Row::at_least(
                "Python, 4 processes: records a second",
                8.0,
                "concurrent-log-handler",
                worst(rival, f64::min),
            ),
            rival,
        ),
        named(
            Row::at_most(
                "Python, 4 processes: p99 of a call",
                2.0,
                plain,
                worst(calls, f64::max),
            ),
            calls,
        ),
    ]
}

fn of_debug(debug: &Debug) -> Vec<Row> {
    let ratio = |ways: &[debug::Way], part: &str| {
        debug::find(ways, part).map_or(f64::NAN, |way| way.ratio(&ways[0]))
    };
    let without = "the same without logboom";
    let disabled =
        |what: &str, part: &str| Row::at_most(what, 1.1, without, ratio(&debug.disabled, part));
    let ns =
        |part: &str| debug::find(&debug.disabled, part).map_or(f64::NAN, |way| way.ns().median());
    let enabled_ns = debug.recorded[0].ns().median();
    let predicate_ns = ns("for other requests of") - ns("no rule");
    let only_recorded = ["text, recorded only", "JSON, recorded only", "in a request"]
        .map(|part| ratio(&debug.recorded, part));
    let mut rows = vec![
        disabled("Python, a disabled `debug()`, no rule in force", "no rule"),
        disabled(
            "Python, a disabled `debug()`, a rule for another component",
            "another component",
        ),
        Row {
            subject: "Python, `debug()` in a request that a rule's condition is not about"
                .to_owned(),
            demand: "stated, and less than half of the enabled call: no record is made".to_owned(),
            measured: format!("{} more, of {}", short(predicate_ns), short(enabled_ns)),
            is_met: predicate_ns < enabled_ns / 2.0,
        },
        Row::at_most(
            "Python, a debug record that is only recorded (worst of all)",
            1.0,
            "the standard library's enabled call to a `NullHandler`",
            only_recorded
                .into_iter()
                .reduce(f64::max)
                .unwrap_or(f64::NAN),
        ),
    ];
    rows.push(of_context(&debug.written));
    rows.extend(debug.effect.iter().map(of_effect));
    rows
}

/// The worst of the formats counts.
fn of_context(ways: &[debug::Way]) -> Row {
    let ratio = |format: &str| {
        let find = |context| debug::find(ways, &format!("{format}, {context}"));
        let pair = find("with a request").zip(find("without"));
        pair.map_or(f64::NAN, |(with, without)| with.ratio(without))
    };
    Row::at_most(
        "Python, a written record with a request's context (worst of text and JSON)",
        1.25,
        "the same without",
        ratio("text").max(ratio("JSON")),
    )
}

fn of_effect(effect: &Effect) -> Row {
    let at = |share| percentile(&mut effect.waiting.clone(), share);
    let (median, p99) = (at(0.5), at(0.99));
    Row {
        subject: format!(
            "{WORKERS} workers that wait: from the start of `logboom level` to the rule"
        ),
        demand: "at most 5 ms at the median, 50 ms at p99".to_owned(),
        measured: format!("{} and {}", ms(median), ms(p99)),
        is_met: median <= EFFECT_NS[0] && p99 <= EFFECT_NS[1],
    }
}

fn of_memory(memory: &Memory) -> Row {
    Row {
        subject: "memory of a worker beside its ring".to_owned(),
        demand: "less than 1 MiB, the ring 1 MiB".to_owned(),
        measured: format!(
            "{} beside a ring of {}",
            bytes(memory.beside_ring()),
            bytes(memory.ring)
        ),
        is_met: memory.beside_ring() < MIB && memory.ring <= MIB,
    }
}
