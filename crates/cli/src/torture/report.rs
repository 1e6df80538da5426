//! What is told about each case: a row of the table, the examples of what is wrong, and the same for machines.

use std::path::PathBuf;

use anstyle::Style;
use serde::Serialize;

use super::evaluate::Fault;
use super::interpreter::Class;
use super::round::Outcome;
use super::scenario::{Case, Victim};
use crate::terminal::{BAD, GOOD, HEADING, NOTE};

/// How a case came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Clean,
    /// Something is wrong.
    Failed,
    /// Shown, not judged: losses are to be expected from anybody.
    NotJudged,
    /// Could not be run, for the reason given.
    Skipped,
}

/// The report on one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// Name of the scenario.
    pub scenario: String,
    /// How the workers started.
    pub start: &'static str,
    /// Worker processes.
    pub process_count: u32,
    /// Threads of each.
    pub thread_count: u32,
    /// Smallest and largest record, in bytes.
    pub size: (u32, u32),
    /// The handler class.
    pub class: String,
    /// The Python version.
    pub python: String,
    /// How it came out.
    pub verdict: Verdict,
    /// Why it was not run.
    pub skipped: Option<String>,
    /// Kills that were asked for.
    pub kills_asked: u32,
    /// Rounds run.
    pub rounds: u32,
    /// Acknowledged records a second, all workers together, start of the workers included.
    pub records_per_s: f64,
    /// What was found, over all rounds.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What a reader should know besides.
    pub notes: Vec<String>,
    /// Where the files of the failed round are kept.
    pub directory: Option<PathBuf>,
    #[serde(skip)]
    judged: bool,
    #[serde(skip)]
    seeks_holder: bool,
}

impl CaseReport {
    /// An empty report.
    #[must_use]
    pub(super) fn new(case: &Case, class: &Class) -> Self {
        Self {
            scenario: case.label(),
            start: case.start_label(),
            process_count: case.process_count,
            thread_count: case.thread_count,
            size: case.size,
            class: class.class.clone(),
            python: class.python.clone(),
            verdict: Verdict::Clean,
            skipped: None,
            kills_asked: case.kills.map_or(0, |(_, count)| count),
            rounds: 0,
            records_per_s: 0.0,
            outcome: Outcome::default(),
            notes: Vec::new(),
            directory: None,
            judged: case.scenario.judged,
            seeks_holder: matches!(case.kills, Some((Victim::Holder, _))),
        }
    }

    /// A case that was not run.
    #[must_use]
    pub(super) fn skipped(case: &Case, class: &Class, reason: String) -> Self {
        Self {
            verdict: Verdict::Skipped,
            skipped: Some(reason),
            ..Self::new(case, class)
        }
    }

    /// Adds a round.
    pub(super) fn add(&mut self, round: Outcome, number: u32) {
        let sum = &mut self.outcome;
        sum.findings.add(round.findings);
        sum.handler_errors += round.handler_errors;
        sum.dropped += round.dropped;
        sum.bytes += round.bytes;
        sum.kills += round.kills;
        sum.holder_kills += round.holder_kills;
        sum.rotations += round.rotations;
        sum.elapsed_s += round.elapsed_s;
        sum.ended = round.ended;
        sum.troubles.extend(round.troubles);
        self.rounds = number;
        self.records_per_s = sum.findings.acknowledged as f64 / sum.elapsed_s.max(1e-9);
    }

    /// Decides the verdict.
    pub(super) fn judge(&mut self) {
        let fine = self.outcome.findings.clean() && self.outcome.troubles.is_empty();
        let (kills, holder_kills) = (self.outcome.kills, self.outcome.holder_kills);
        if self.seeks_holder && holder_kills < kills {
            let missed = kills - holder_kills;
            self.notes.push(format!(
                "no lease holder was seen at {missed} of {kills} kills: they hit any worker"
            ));
        }
        if self.outcome.dropped > 0 {
            self.notes.push(format!(
                "the ledger has {} records that were dropped, since a queue stayed full for longer than on_full_wait: the workers \
                 write faster than this machine can; with --set on_full_wait=60 they wait for it",
                self.outcome.dropped
            ));
        }
        if !self.judged {
            self.notes.push("copytruncate destroys what is written between its copy and its truncation; no writer can help it".to_owned());
        }
        self.verdict = match (self.judged, fine) {
            (false, _) if self.outcome.troubles.is_empty() => Verdict::NotJudged,
            (_, true) => Verdict::Clean,
            _ => Verdict::Failed,
        };
    }
}

/// Examples of each kind in the table; the JSON has all that are kept.
const SHOWN_MAX: usize = 3;

const COLUMNS: [(&str, usize); 15] = [
    ("scenario", 15),
    ("start", 13),
    ("procs", 5),
    ("kills", 6),
    ("files", 6),
    ("records/s", 9),
    ("acknowledged", 12),
    ("found", 9),
    ("lost", 8),
    ("doubled", 8),
    ("torn", 6),
    ("misplaced", 9),
    ("disorder", 8),
    ("oversize", 8),
    ("verdict", 7),
];

/// Prints the head of the table.
pub fn print_head(subject: &str) {
    anstream::println!("{HEADING}{subject}{HEADING:#}");
    let head: Vec<_> = COLUMNS
        .iter()
        .enumerate()
        .map(|(i, (name, width))| cell(i, name, *width))
        .collect();
    anstream::println!("{HEADING}{}{HEADING:#}", head.join("  "));
}

/// Prints the row of a case, and below it what is wrong.
pub fn print(report: &CaseReport) {
    if let Some(reason) = &report.skipped {
        let (name, start) = (
            cell(0, &report.scenario, COLUMNS[0].1),
            cell(1, report.start, COLUMNS[1].1),
        );
        anstream::println!("{name}  {start}  {NOTE}skipped{NOTE:#}: {reason}");
        return;
    }
    anstream::println!("{}", row(report));
    for trouble in &report.outcome.troubles {
        anstream::println!(
            "    {BAD}trouble{BAD:#}: {}",
            trouble.replace('\n', "\n        ")
        );
    }
    for (index, example) in report.outcome.findings.examples.iter().enumerate() {
        let before = &report.outcome.findings.examples[..index];
        if before
            .iter()
            .filter(|other| other.fault == example.fault)
            .count()
            >= SHOWN_MAX
        {
            continue;
        }
        let place = match (&example.file, example.offset) {
            (Some(file), Some(offset)) => format!("{file} at byte {offset}: "),
            _ => String::new(),
        };
        anstream::println!(
            "    {NOTE}{}{NOTE:#}: {place}{}",
            example.fault.name(),
            example.what
        );
    }
    if report.outcome.handler_errors > 0 {
        anstream::println!(
            "    the handler reported {} errors of its own",
            report.outcome.handler_errors
        );
    }
    for note in &report.notes {
        anstream::println!("    {NOTE}note{NOTE:#}: {note}");
    }
    if let Some(directory) = &report.directory {
        anstream::println!("    kept in {}", directory.display());
    }
}

fn row(report: &CaseReport) -> String {
    let findings = &report.outcome.findings;
    let (word, style) = match report.verdict {
        Verdict::Clean => ("clean", GOOD),
        Verdict::Failed => ("FAILED", BAD),
        Verdict::NotJudged => ("not judged", NOTE),
        Verdict::Skipped => ("skipped", NOTE),
    };
    let mut values = vec![
        (report.scenario.clone(), Style::new()),
        (report.start.to_owned(), Style::new()),
        (report.process_count.to_string(), Style::new()),
        (report.outcome.kills.to_string(), Style::new()),
        (
            (findings.archives + u64::from(report.rounds)).to_string(),
            Style::new(),
        ),
        (format!("{:.0}", report.records_per_s), Style::new()),
        (findings.acknowledged.to_string(), Style::new()),
        (findings.found.to_string(), Style::new()),
    ];
    let faults = Fault::ALL.iter().map(|&fault| findings.count(fault));
    values.extend(faults.map(|count| {
        (
            count.to_string(),
            if count > 0 { BAD } else { Style::new() },
        )
    }));
    values.push((word.to_owned(), style));
    let cells = values.iter().zip(COLUMNS).enumerate();
    let cells = cells.map(|(i, ((text, style), (_, width)))| {
        format!("{style}{}{style:#}", cell(i, text, width))
    });
    cells.collect::<Vec<_>>().join("  ")
}

/// Words to the left, numbers to the right.
fn cell(index: usize, text: &str, width: usize) -> String {
    if index < 2 || index == COLUMNS.len() - 1 {
        format!("{text:<width$}")
    } else {
        format!("{text:>width$}")
    }
}
