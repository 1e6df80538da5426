//! What `logboom top` shows, as words: workers with their rates, destinations, requests in flight, and rules. Drawing it is `screen`'s.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use logboom::RequestInFlight;
use logboom::files::escape::escape;
use logboom::rules::Rule;
use logboom::status::{Status, Worker};
use logboom::viewer::Viewer;

use super::{ruling, spans};
use crate::relaying::destinations::{self, Destination};
use crate::words;

const BAR_WIDTH: usize = 12;

/// The columns of the tables, each with its least width; numbers stand to the right.
pub(crate) const WORKERS: [(&str, u16); 6] = [
    ("pid", 8),
    ("state", 18),
    ("records/s", 11),
    ("queue", 26),
    ("requests", 8),
    ("dropped", 10),
];
pub(crate) const REQUESTS: [(&str, u16); 6] = [
    ("pid", 8),
    ("for", 9),
    ("method", 7),
    ("path", 30),
    ("client", 16),
    ("id", 16),
];

pub(crate) const DESTINATIONS: [(&str, u16); 6] = [
    ("destination", 12),
    ("state", 10),
    ("records/s", 11),
    ("waiting", 22),
    ("lag", 9),
    ("to, or what is wrong", 30),
];

/// One moment of a domain, in words.
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) workers: Vec<[String; 6]>,
    /// Where records are shipped to; mostly there are none.
    pub(crate) destinations: Vec<[String; 6]>,
    pub(crate) requests: Vec<[String; 6]>,
    pub(crate) rules: Vec<String>,
}

/// The counters at one moment, for the rates.
pub(crate) struct Counters {
    at: Instant,
    written: u64,
    /// By slot and life of the slot.
    published: HashMap<(u16, u32), u64>,
}

impl Counters {
    pub(crate) fn of(status: &Status) -> Counters {
        let published = status
            .workers
            .iter()
            .map(|worker| (life(worker), worker.published));
        Counters {
            at: Instant::now(),
            written: status.ledger.written,
            published: published.collect(),
        }
    }
}

fn life(worker: &Worker) -> (u16, u32) {
    (worker.slot, worker.epoch)
}

/// The domain now, with rates since `before`; and its counters.
pub(crate) fn look(viewer: &Viewer, before: &Counters) -> (Picture, Counters) {
    let status = viewer.status();
    let now = Counters::of(&status);
    let requests = viewer.requests();
    let rules = viewer.rules();
    let mut picture = picture(&status, &requests, &rules, before, &now);
    let destinations = destinations::of(&status.directory);
    picture.destinations = destinations.iter().map(Destination::row).collect();
    (picture, now)
}

fn picture(
    status: &Status,
    requests: &[(u32, RequestInFlight)],
    rules: &[Rule],
    before: &Counters,
    now: &Counters,
) -> Picture {
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
    let per_second = |number: u64| words::count((number as f64 / seconds).round() as u64);
    let dropped: u64 = status.ledger.dropped.iter().sum();
    let holder = status.holder.as_ref().map_or_else(String::new, |holder| {
        format!(", process {} drains ({})", holder.pid, status.phase)
    });
    let title = format!(
        "{}: {}, {} records/s into the files, {} dropped{holder}",
        escape(&status.directory.to_string_lossy(), false),
        words::of(status.workers.len() as u64, "worker"),
        per_second(now.written.saturating_sub(before.written)),
        words::count(dropped),
    );
    let workers = status.workers.iter().map(|worker| {
        // A worker that was not there before has published all it has since.
        let was = before.published.get(&life(worker)).copied().unwrap_or(0);
        let open = requests
            .iter()
            .filter(|(pid, _)| *pid == worker.pid)
            .count();
        [
            worker.pid.to_string(),
            words::process_state(worker.alive, worker.state).into(),
            per_second(worker.published.saturating_sub(was)),
            format!(
                "{} {}",
                words::bar(worker.queued_bytes, status.queue_bytes, BAR_WIDTH),
                words::bytes(worker.queued_bytes)
            ),
            open.to_string(),
            words::drops(&worker.dropped),
        ]
    });
    let now_ns = spans::now_ns();
    Picture {
        title,
        workers: workers.collect(),
        destinations: Vec::new(),
        requests: requests
            .iter()
            .map(|(pid, request)| row_of(*pid, request, now_ns))
            .collect(),
        rules: rules
            .iter()
            .map(|rule| {
                let by = escape(&rule.made_by, false);
                format!(
                    "{}  {}; {}; by {by}",
                    rule.number,
                    ruling::what(rule),
                    ruling::until(rule, now_ns)
                )
            })
            .collect(),
    }
}

fn row_of(pid: u32, request: &RequestInFlight, now_ns: u64) -> [String; 6] {
    let text = |text: &str| escape(text, false).into_owned();
    let seconds = now_ns.saturating_sub(request.started_ns) as f64 / 1e9;
    [
        pid.to_string(),
        format!("{seconds:.1} s"),
        text(&request.method),
        text(&request.path),
        text(&request.client),
        text(&request.id),
    ]
}

impl Picture {
    /// All of it, for where there is no terminal.
    pub(crate) fn plain(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        table(&mut text, "Workers", &WORKERS, &self.workers);
        if !self.destinations.is_empty() {
            table(&mut text, "Destinations", &DESTINATIONS, &self.destinations);
        }
        table(&mut text, "Requests in flight", &REQUESTS, &self.requests);
        let _ = writeln!(text, "Rules");
        for rule in &self.rules {
            let _ = writeln!(text, "  {rule}");
        }
        if self.rules.is_empty() {
            let _ = writeln!(text, "  none");
        }
        text
    }
}

fn table(text: &mut String, heading: &str, columns: &[(&str, u16); 6], rows: &[[String; 6]]) {
    let _ = writeln!(text, "{heading}");
    if rows.is_empty() {
        let _ = writeln!(text, "  none\n");
        return;
    }
    let mut line = |cells: [&str; 6]| {
        let padded = cells
            .iter()
            .zip(columns)
            .map(|(cell, (_, width))| format!("{cell:<0$}", usize::from(*width)));
        let padded: Vec<_> = padded.collect();
        let _ = writeln!(text, "  {}", padded.join("  ").trim_end());
    };
    line(columns.map(|(name, _)| name));
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text.push('\n');
}
