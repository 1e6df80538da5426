//! The evaluator: compares what the workers say they wrote with what stands in the files.
//!
//! It is strict: a line that does not parse whole is torn, a record is found once or it is doubled, and a record of which nobody
//! says that it was begun is torn too. A record in flight when its process was killed may be found or not, but only once and whole.
//! Each finding keeps its first examples with file and byte offset.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::family::{self, LogFile};
use super::record::{Record, Source};

/// Examples kept of each kind of finding.
pub const EXAMPLES_MAX: usize = 5;

/// What one thread of one worker says it wrote: numbers below `acknowledged` for sure, below `begun` perhaps.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// The thread.
    pub source: Source,
    /// Records whose emitting call was about to begin.
    pub begun: u64,
    /// Records whose emitting call had returned.
    pub acknowledged: u64,
}

/// A rotation that was complete at a known time.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub complete_ns: u64,
    /// The inode of the file that was rotated out.
    pub inode: u64,
    /// The first record of that file, where it was seen: it names the file when it has been compressed.
    pub first: Option<Record>,
}

/// All that the evaluator is told.
#[derive(Debug, Default)]
pub struct Expectation {
    /// One account per thread of each incarnation of each worker.
    pub accounts: Vec<Account>,
    /// The rotations of which it is known when they were complete.
    pub rotations: Vec<Rotation>,
    /// The size limit, where rotation is by size, in bytes.
    pub bytes_max: Option<u64>,
    /// What `CLOCK_REALTIME` was ahead of `CLOCK_MONOTONIC`, in nanoseconds, to compare a file's birth with a rotation.
    pub wall_ahead_ns: i128,
}

/// The kinds of faults, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Acknowledged, and in no file.
    Lost,
    /// In the files more than once.
    Duplicated,
    /// A line that is not one whole record that somebody began.
    Torn,
    /// Begun after a rotation was complete, yet in the file rotated out.
    Misplaced,
    /// After a later record of the same thread.
    OutOfOrder,
    /// A file larger than the limit by more than one record.
    Oversize,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Lost,
        Self::Duplicated,
        Self::Torn,
        Self::Misplaced,
        Self::OutOfOrder,
        Self::Oversize,
    ];

    /// The kind in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Torn => "torn",
            Self::Misplaced => "misplaced",
            Self::OutOfOrder => "out of order",
            Self::Oversize => "oversize",
        }
    }
}

/// One fault, where it is.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// Its kind.
    pub fault: Fault,
    /// The file, unless the fault is that a record is in none.
    pub file: Option<String>,
    /// The byte at which the record or line begins (after decompression).
    pub offset: Option<u64>,
    /// The record or line, and what is wrong with it.
    pub what: String,
}

/// What was found.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Findings {
    /// Records whose emitting call had returned.
    pub acknowledged: u64,
    /// Different records found, those in flight at a kill included.
    pub found: u64,
    /// Of these, the ones whose call had not returned.
    pub found_in_flight: u64,
    /// Acknowledged, and in no file.
    pub lost: u64,
    /// Found once more than once.
    pub duplicated: u64,
    /// Lines that are not one whole record that somebody began.
    pub torn: u64,
    /// Records begun after a rotation was complete, yet found in the file rotated out.
    pub misplaced: u64,
    /// Records after a later one of the same thread.
    pub out_of_order: u64,
    /// Files larger than the limit by more than one record.
    pub oversize: u64,
    /// Files other than the current one.
    pub archives: u64,
    /// Bytes in all files, decompressed.
    pub bytes: u64,
    /// The first examples of each kind.
    pub examples: Vec<Example>,
}

impl Findings {
    /// How often a kind of fault was found.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        match fault {
            Fault::Lost => self.lost,
            Fault::Duplicated => self.duplicated,
            Fault::Torn => self.torn,
            Fault::Misplaced => self.misplaced,
            Fault::OutOfOrder => self.out_of_order,
            Fault::Oversize => self.oversize,
        }
    }

    /// True when no fault of any kind was found.
    #[must_use]
    pub fn clean(&self) -> bool {
        Fault::ALL.iter().all(|&fault| self.count(fault) == 0)
    }

    /// Adds the findings of another round of the same scenario.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.found += other.found;
        self.found_in_flight += other.found_in_flight;
        self.archives += other.archives;
        self.bytes += other.bytes;
        for fault in Fault::ALL {
            *self.count_mut(fault) += other.count(fault);
        }
        for example in other.examples {
            self.keep(example);
        }
    }

    fn count_mut(&mut self, fault: Fault) -> &mut u64 {
        match fault {
            Fault::Lost => &mut self.lost,
            Fault::Duplicated => &mut self.duplicated,
            Fault::Torn => &mut self.torn,
            Fault::Misplaced => &mut self.misplaced,
            Fault::OutOfOrder => &mut self.out_of_order,
            Fault::Oversize => &mut self.oversize,
        }
    }

    fn keep(&mut self, example: Example) {
        let same_kind = self
            .examples
            .iter()
            .filter(|kept| kept.fault == example.fault)
            .count();
        if same_kind < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    fn note(
        &mut self,
        fault: Fault,
        place: Option<(&LogFile, usize)>,
        what: impl FnOnce() -> String,
    ) {
        *self.count_mut(fault) += 1;
        if self
            .examples
            .iter()
            .filter(|kept| kept.fault == fault)
            .count()
            < EXAMPLES_MAX
        {
            let file = place.map(|(file, _)| file.name());
            let offset = place.map(|(_, offset)| offset as u64);
            self.examples.push(Example {
                fault,
                file,
                offset,
                what: what(),
            });
        }
    }
}

/// Reads the family of the log at `log` and compares it with what was expected.
///
/// # Errors
/// A file of the family cannot be read.
pub fn evaluate(log: &Path, expected: &Expectation) -> io::Result<Findings> {
    let files = family::read(log)?;
    let mut evaluation = Evaluation::new(expected);
    evaluation.findings.archives = files.iter().filter(|file| file.path != log).count() as u64;
    for file in &files {
        evaluation.file(file, expected);
    }
    Ok(evaluation.finish())
}

/// What was seen of one thread's records so far.
struct Seen {
    account: Account,
    /// How often each number was found.
    count: Vec<u8>,
    /// The highest number found so far, with its place.
    last: Option<(u64, String)>,
}

struct Evaluation {
    threads: Vec<Seen>,
    index: HashMap<Source, usize>,
    findings: Findings,
}

impl Evaluation {
    fn new(expected: &Expectation) -> Self {
        let see = |account: &Account| Seen {
            account: *account,
            count: vec![0; account.begun as usize],
            last: None,
        };
        let index = expected
            .accounts
            .iter()
            .enumerate()
            .map(|(i, account)| (account.source, i))
            .collect();
        let acknowledged = expected
            .accounts
            .iter()
            .map(|account| account.acknowledged)
            .sum();
        let findings = Findings {
            acknowledged,
            ..Findings::default()
        };
        Self {
            threads: expected.accounts.iter().map(see).collect(),
            index,
            findings,
        }
    }

    fn file(&mut self, file: &LogFile, expected: &Expectation) {
        let rotated_out_ns = rotated_out_ns(file, expected);
        let mut longest = 0;
        let mut offset = 0;
        for line in file.content.split_inclusive(|&byte| byte == b'\n') {
            longest = longest.max(line.len());
            match line.strip_suffix(b"\n") {
                Some(text) => self.line(file, offset, text, rotated_out_ns),
                None => self.findings.note(Fault::Torn, Some((file, offset)), || {
                    shown("ends without a line feed", line)
                }),
            }
            offset += line.len();
        }
        self.findings.bytes += file.content.len() as u64;
        if let Some(damage) = &file.damage {
            self.findings.note(Fault::Torn, Some((file, offset)), || {
                format!("the compressed file is damaged: {damage}")
            });
        }
        if let Some(bytes_max) = expected.bytes_max
            && file.content.len() as u64 > bytes_max + longest as u64
        {
            let what = || {
                format!(
                    "{} bytes, limit {bytes_max}, longest record {longest}",
                    file.content.len()
                )
            };
            self.findings.note(Fault::Oversize, Some((file, 0)), what);
        }
    }

    fn line(&mut self, file: &LogFile, offset: usize, text: &[u8], rotated_out_ns: Option<u64>) {
        let place = Some((file, offset));
        let record = match Record::parse(text) {
            Ok(record) => record,
            Err(flaw) => {
                return self
                    .findings
                    .note(Fault::Torn, place, || shown(&flaw.to_string(), text));
            }
        };
        let seen = self
            .index
            .get(&record.source)
            .map(|&index| &mut self.threads[index]);
        let Some(seen) = seen.filter(|seen| record.number < seen.account.begun) else {
            return self.findings.note(Fault::Torn, place, || {
                format!("{record}: no worker began such a record")
            });
        };
        let count = &mut seen.count[record.number as usize];
        *count = count.saturating_add(1);
        if *count > 1 {
            self.findings.note(Fault::Duplicated, place, || {
                format!("{record}: found {count} times so far")
            });
        } else {
            seen.order(&record, file, offset, &mut self.findings);
        }
        if let Some(complete_ns) =
            rotated_out_ns.filter(|&complete_ns| record.begun_ns > complete_ns)
        {
            let late_us = (record.begun_ns - complete_ns) / 1000;
            let what =
                || format!("{record}: begun {late_us} us after this file had been rotated out");
            self.findings.note(Fault::Misplaced, place, what);
        }
    }

    fn finish(mut self) -> Findings {
        for seen in &self.threads {
            let numbers = || (0_u64..).zip(&seen.count);
            let acknowledged = seen.account.acknowledged;
            self.findings.found += numbers().filter(|(_, count)| **count > 0).count() as u64;
            self.findings.found_in_flight += numbers()
                .filter(|(number, count)| **count > 0 && *number >= acknowledged)
                .count() as u64;
            for (first, last) in lost(seen) {
                let source = seen.account.source;
                let what = if first == last {
                    format!("n{first}")
                } else {
                    format!("n{first} to n{last}")
                };
                self.findings.lost += last - first;
                self.findings.note(Fault::Lost, None, || {
                    format!("{source} {what}: in no file ({acknowledged} acknowledged)")
                });
            }
        }
        self.findings
    }
}

/// The runs of acknowledged numbers that were not found, as first and last.
fn lost(seen: &Seen) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let acknowledged = (0..seen.account.acknowledged).zip(&seen.count);
    for (number, _) in acknowledged.filter(|(_, count)| **count == 0) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

impl Seen {
    fn order(&mut self, record: &Record, file: &LogFile, offset: usize, findings: &mut Findings) {
        match &self.last {
            Some((last, place)) if *last > record.number => {
                let what = || format!("{record}: comes after n{last} at {place}");
                findings.note(Fault::OutOfOrder, Some((file, offset)), what);
            }
            _ => self.last = Some((record.number, format!("{}:{offset}", file.name()))),
        }
    }
}

/// When the file was rotated out for good: the earliest rotation that names it and is not older than the file itself (an inode
/// number is used again after its file was deleted).
fn rotated_out_ns(file: &LogFile, expected: &Expectation) -> Option<u64> {
    let born_ns = file
        .born_wall_ns
        .map(|wall_ns| wall_ns - expected.wall_ahead_ns);
    let first = file.first_record();
    let names_it = |rotation: &&Rotation| {
        if file.compressed {
            rotation.first.is_some() && rotation.first == first
        } else {
            rotation.inode == file.inode
                && born_ns.is_none_or(|born_ns| born_ns <= i128::from(rotation.complete_ns))
        }
    };
    expected
        .rotations
        .iter()
        .filter(names_it)
        .map(|rotation| rotation.complete_ns)
        .min()
}

/// The flaw and the two ends of the line, printable.
fn shown(flaw: &str, line: &[u8]) -> String {
    const END_LEN: usize = 60;
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let ends = if line.len() <= 2 * END_LEN {
        text(line)
    } else {
        format!(
            "{} ... {}",
            text(&line[..END_LEN]),
            text(&line[line.len() - END_LEN..])
        )
    };
    format!("{flaw}: {} bytes: {ends}", line.len())
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
