//! The ids in records, ` [lb=DOMAIN.EPOCH.NUMBER]` at a line's end or a JSON field `"lb"`: what their numbers tell.
//!
//! A worker numbers its records of a log from 1 without a gap, and its records reach the files in that order. So one
//! pass with one number per worker and the gaps still open tells missing, doubled and out of order apart.

use std::path::{Path, PathBuf};

use super::EXAMPLES_MAX;
use super::known::Sequence;

/// Gaps of all workers together that are kept apart; beyond that, a late record counts as doubled instead of out of order.
const GAPS_MAX: usize = 65_536;
/// Longest piece of a line that is kept while its end has not been read; an id is found in longer lines all the same.
const PIECE_MAX: usize = 64 << 10;
/// More than the longest id with its frame.
const ID_MAX: usize = 96;

/// What the ids in one log's files tell.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LogReport {
    /// The log.
    pub log: PathBuf,
    /// Ids found.
    pub ids: u64,
    /// Lines without one: continuation lines, and records of others.
    pub lines_without: u64,
    /// Lines in which an id is cut or is followed by more.
    pub torn: u64,
    /// The first of them.
    pub torn_examples: Vec<Example>,
    /// Each worker's life.
    pub workers: Vec<WorkerReport>,
}

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The record's number; 0 where it cannot be read.
    pub number: u64,
    /// The file.
    pub file: PathBuf,
    /// Where the line ends, in bytes of the content.
    pub offset: u64,
}

/// A stretch of numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

impl Numbers {
    fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

/// The records of one worker's life in one log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerReport {
    /// The domain's id.
    pub domain: u64,
    /// The number of the worker's life in the domain.
    pub epoch: u32,
    /// Lowest number seen; what was before it may have been in archives that are gone.
    pub first: u64,
    /// Highest number seen.
    pub last: u64,
    /// Different numbers seen.
    pub seen: u64,
    /// How many are missing between the first and the last.
    pub missing: u64,
    /// Which, as far as they were kept.
    pub missing_numbers: Vec<Numbers>,
    /// Records that are there again.
    pub doubled: u64,
    /// The first of them.
    pub doubled_examples: Vec<Example>,
    /// Records that stand behind a later one.
    pub out_of_order: u64,
    /// The first of them.
    pub out_of_order_examples: Vec<Example>,
    /// What the domain's ledger says of the worker; None: its place is free or another's by now.
    pub ledger: Option<WorkerLedger>,
}

/// A worker's own counters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerLedger {
    /// Process id in its own pid namespace.
    pub pid: u32,
    /// The kernel's word.
    pub alive: bool,
    /// Records it has published for this log; its numbers end there.
    pub published: u64,
    /// Bytes that wait in its queue, of any log.
    pub queued_bytes: u64,
    /// Records it dropped, of any log, by [`DropReason::ALL`](crate::DropReason::ALL). They have no number.
    pub dropped: [u64; 4],
    /// Published numbers beyond the last one seen, where the current file was read and the queue was empty before that:
    /// they are missing too.
    pub missing_at_end: u64,
}

impl LogReport {
    /// True when a record is missing, doubled, torn or out of order.
    pub fn has_damage(&self) -> bool {
        self.torn > 0 || self.workers.iter().any(WorkerReport::has_damage)
    }
}

impl WorkerReport {
    /// True when a record is missing, doubled or out of order.
    pub fn has_damage(&self) -> bool {
        let at_end = self
            .ledger
            .as_ref()
            .map_or(0, |ledger| ledger.missing_at_end);
        self.missing + self.doubled + self.out_of_order + at_end > 0
    }

    fn new(id: Id) -> WorkerReport {
        WorkerReport {
            domain: id.domain,
            epoch: id.epoch,
            first: id.number,
            last: id.number,
            seen: 1,
            missing: 0,
            missing_numbers: Vec::new(),
            doubled: 0,
            doubled_examples: Vec::new(),
            out_of_order: 0,
            out_of_order_examples: Vec::new(),
            ledger: None,
        }
    }

    /// Takes the next number in the order of the files.
    fn take(&mut self, number: u64, at: impl Fn(u64) -> Example, room: &mut usize) {
        if number > self.last {
            if number > self.last + 1 {
                self.open_gap(self.last + 1, number - 1, room);
            }
            self.last = number;
            self.seen += 1;
        } else if number < self.first {
            if number + 1 < self.first {
                self.open_gap(number + 1, self.first - 1, room);
            }
            self.first = number;
            self.late(at(number));
        } else if self.close_gap(number, room) {
            self.late(at(number));
        } else {
            self.doubled += 1;
            keep(&mut self.doubled_examples, at(number));
        }
    }

    fn late(&mut self, example: Example) {
        self.seen += 1;
        self.out_of_order += 1;
        keep(&mut self.out_of_order_examples, example);
    }

    fn open_gap(&mut self, first: u64, last: u64, room: &mut usize) {
        let gap = Numbers { first, last };
        self.missing += gap.count();
        if *room > 0 {
            *room -= 1;
            let at = self
                .missing_numbers
                .partition_point(|other| other.first < first);
            self.missing_numbers.insert(at, gap);
        }
    }

    /// Takes a number out of the gap it lies in. False: it lies in none.
    fn close_gap(&mut self, number: u64, room: &mut usize) -> bool {
        let gaps = &mut self.missing_numbers;
        let at = gaps.partition_point(|gap| gap.last < number);
        let Some(gap) = gaps.get(at).copied().filter(|gap| gap.first <= number) else {
            return false;
        };
        gaps.remove(at);
        *room += 1;
        self.missing -= 1;
        let halves = [
            Numbers {
                first: gap.first,
                last: number.wrapping_sub(1),
            },
            Numbers {
                first: number + 1,
                last: gap.last,
            },
        ];
        for half in halves
            .into_iter()
            .rev()
            .filter(|half| half.first <= half.last)
        {
            *room = room.saturating_sub(1);
            gaps.insert(at, half);
        }
        true
    }
}

fn keep(examples: &mut Vec<Example>, example: Example) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(example);
    }
}

/// The ids of all logs.
pub(super) struct Account {
    logs: Vec<LogReport>,
    /// How many more gaps are kept.
    room: usize,
}

impl Default for Account {
    fn default() -> Account {
        Account {
            logs: Vec::new(),
            room: GAPS_MAX,
        }
    }
}

impl Account {
    /// Begins with a file of `log`.
    pub fn log(&mut self, log: &Path) -> Scanner<'_> {
        let index = self.logs.iter().position(|report| report.log == log);
        let index = index.unwrap_or_else(|| {
            self.logs.push(LogReport {
                log: log.to_owned(),
                ..LogReport::default()
            });
            self.logs.len() - 1
        });
        Scanner {
            report: &mut self.logs[index],
            room: &mut self.room,
            file: PathBuf::new(),
            piece: Vec::new(),
            has_id: false,
            at: 0,
        }
    }

    /// The logs that have ids. `sequences` were read before the files were opened; of the logs `current` the
    /// current file is among these.
    pub fn finish(self, sequences: &[Sequence], current: &[PathBuf]) -> Vec<LogReport> {
        let mut logs = self.logs;
        logs.retain(|log| log.ids > 0 || log.torn > 0);
        for log in &mut logs {
            let has_current = current.contains(&log.log);
            for worker in &mut log.workers {
                let is_it = |s: &&Sequence| {
                    s.log == log.log && s.domain == worker.domain && s.epoch == worker.epoch
                };
                let sequence = sequences.iter().find(is_it);
                worker.ledger = sequence.map(|s| s.ledger(worker.last, has_current));
            }
            log.workers
                .sort_by_key(|worker| (worker.domain, worker.epoch));
        }
        logs
    }
}

impl Sequence {
    fn ledger(&self, last: u64, has_current: bool) -> WorkerLedger {
        let beyond = self.published.saturating_sub(last);
        // One number may be in use by a record that is being published, or was when the worker died.
        let certain = has_current && self.queued_bytes == 0 && beyond > 1;
        WorkerLedger {
            pid: self.pid,
            alive: self.alive,
            published: self.published,
            queued_bytes: self.queued_bytes,
            dropped: self.dropped,
            missing_at_end: if certain { beyond } else { 0 },
        }
    }
}

/// Finds the ids in one file's content.
pub(super) struct Scanner<'a> {
    report: &'a mut LogReport,
    room: &'a mut usize,
    file: PathBuf,
    /// The beginning of a line whose end has not been read.
    piece: Vec<u8>,
    /// The line has had an id before the piece.
    has_id: bool,
    at: u64,
}

impl Scanner<'_> {
    /// The next bytes of the file.
    pub fn feed(&mut self, file: &Path, mut bytes: &[u8]) {
        if self.file.as_os_str().is_empty() {
            self.file = file.to_owned();
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = bytes.split_at(end + 1);
            self.at += line.len() as u64;
            let line = &line[..end];
            if self.piece.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.piece);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                self.piece = whole;
            }
            self.has_id = false;
            bytes = behind;
        }
        self.at += bytes.len() as u64;
        self.piece.extend_from_slice(bytes);
        if self.piece.len() > PIECE_MAX {
            self.shorten();
        }
    }

    /// The file is over; a line without its end may still be written, so that a cut id there is no fault.
    pub fn end(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if !piece.is_empty() {
            for found in find_all(&piece) {
                if let Found::Id { id, .. } = found {
                    self.take(id);
                }
            }
        }
    }

    /// A long line: the ids in its beginning are taken (text ids are torn, since more follows), its end is kept.
    fn shorten(&mut self) {
        let mut piece = std::mem::take(&mut self.piece);
        let mut keep_from = piece.len() - ID_MAX;
        for found in find_all(&piece) {
            match found {
                Found::Id { id, to, is_json } if to < piece.len() => {
                    keep_from = keep_from.max(to);
                    if !is_json || self.has_id {
                        self.torn(id.number);
                    }
                    self.has_id = true;
                    self.take(id);
                }
                _ => {}
            }
        }
        piece.drain(..keep_from);
        self.piece = piece;
    }

    fn line(&mut self, line: &[u8]) {
        let (mut ids, mut is_torn) = (0, false);
        let mut number = 0;
        for found in find_all(line) {
            match found {
                Found::Id { id, to, is_json } => {
                    ids += 1;
                    is_torn |= ids > 1 || (!is_json && to != line.len());
                    number = id.number;
                    self.take(id);
                }
                Found::Cut => is_torn = true,
            }
        }
        if is_torn {
            self.torn(number);
        }
        if ids == 0 && !self.has_id && !is_torn {
            self.report.lines_without += 1;
        }
    }

    fn torn(&mut self, number: u64) {
        self.report.torn += 1;
        let example = Example {
            number,
            file: self.file.clone(),
            offset: self.at,
        };
        keep(&mut self.report.torn_examples, example);
    }

    fn take(&mut self, id: Id) {
        self.report.ids += 1;
        let (file, offset) = (&self.file, self.at);
        let at = |number| Example {
            number,
            file: file.clone(),
            offset,
        };
        let workers = &mut self.report.workers;
        // The worker of the last record is the likeliest.
        let known = workers
            .iter()
            .rposition(|worker| worker.domain == id.domain && worker.epoch == id.epoch);
        match known {
            Some(index) => workers[index].take(id.number, at, self.room),
            None => workers.push(WorkerReport::new(id)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id {
    domain: u64,
    epoch: u32,
    number: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// An id, and where it ends.
    Id { id: Id, to: usize, is_json: bool },
    /// The beginning of one, with something else behind it or nothing.
    Cut,
}

/// All ids in a line, and what begins like one.
fn find_all(line: &[u8]) -> impl Iterator<Item = Found> {
    let mut from = 0;
    std::iter::from_fn(move || {
        while from < line.len() {
            let at = from + line[from..].windows(2).position(|pair| pair == b"lb")?;
            from = at + 2;
            let before = at.checked_sub(1).map(|at| line[at]);
            let found = match (before, line.get(from)) {
                (Some(b'['), Some(b'=')) => text_id(line, from + 1),
                (Some(b'"'), Some(b'"')) => json_id(line, from + 1),
                _ => None,
            };
            if let Some(found) = found {
                if let Found::Id { to, .. } = found {
                    from = to;
                }
                return Some(found);
            }
        }
        None
    })
}

fn text_id(line: &[u8], from: usize) -> Option<Found> {
    let (id, to) = parse(line, from);
    match id {
        Some(id) if line.get(to) == Some(&b']') => Some(Found::Id {
            id,
            to: to + 1,
            is_json: false,
        }),
        // Text of the application can look like the beginning of an id, but not like half of one.
        _ if to == line.len() || to - from >= 12 => Some(Found::Cut),
        _ => None,
    }
}

fn json_id(line: &[u8], from: usize) -> Option<Found> {
    let blank = |at: usize| at + line[at..].iter().take_while(|byte| **byte == b' ').count();
    let colon = blank(from);
    (line.get(colon) == Some(&b':')).then_some(())?;
    let quote = blank(colon + 1);
    (line.get(quote) == Some(&b'"')).then_some(())?;
    let (id, to) = parse(line, quote + 1);
    match id {
        Some(id) if line.get(to) == Some(&b'"') => Some(Found::Id {
            id,
            to: to + 1,
            is_json: true,
        }),
        _ if to == line.len() => Some(Found::Cut),
        _ => None,
    }
}

/// `DOMAIN.EPOCH.NUMBER` in hexadecimal, and where the characters of an id end.
fn parse(line: &[u8], from: usize) -> (Option<Id>, usize) {
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b'.';
    let len = line[from..].iter().take(ID_MAX).take_while(is_part).count();
    let to = from + len;
    let text = std::str::from_utf8(&line[from..to]).unwrap_or_default();
    let mut parts = text.split('.').map(|part| u64::from_str_radix(part, 16));
    let id = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(domain)), Some(Ok(epoch)), Some(Ok(number)), None) => {
            u32::try_from(epoch).ok().map(|epoch| Id {
                domain,
                epoch,
                number,
            })
        }
        _ => None,
    };
    (id, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str, piece: usize) -> LogReport {
        let mut account = Account::default();
        let mut scanner = account.log(Path::new("app.log"));
        for bytes in text.as_bytes().chunks(piece) {
            scanner.feed(Path::new("app.log"), bytes);
        }
        scanner.end();
        account.finish(&[], &[]).pop().unwrap_or_default()
    }

    fn text_of(numbers: &[u64]) -> String {
        let line = |number: &u64| format!("record [lb=feedfacecafebeef.3.{number:x}]\n");
        numbers.iter().map(line).collect()
    }

    /// (missing, doubled, out of order) of one worker.
    fn check(numbers: &[u64], expected: (u64, u64, u64)) {
        let report = scan(&text_of(numbers), 7);
        let worker = &report.workers[0];
        let found = (worker.missing, worker.doubled, worker.out_of_order);
        assert_eq!(found, expected, "{numbers:?}");
    }

    #[test]
    fn numbers_tell_missing_doubled_and_late_apart() {
        check(&[1, 2, 3], (0, 0, 0));
        check(&[5, 6, 7], (0, 0, 0));
        check(&[1, 4], (2, 0, 0));
        check(&[1, 2, 2, 3], (0, 1, 0));
        check(&[1, 3, 2, 4], (0, 0, 1));
        check(&[3, 1], (1, 0, 1));
        check(&[1, 9, 5, 5], (6, 1, 1));
    }

    proptest! {
        /// Whatever comes in whatever order: what is missing is what no line has, and each further copy is doubled.
        #[test]
        fn counts_agree_with_a_plain_set(numbers in prop::collection::vec(1u64..40, 1..60)) {
            let report = scan(&text_of(&numbers), 11);
            let set: std::collections::BTreeSet<_> = numbers.iter().collect();
            let (first, last) = (**set.first().unwrap(), **set.last().unwrap());
            let worker = &report.workers[0];
            prop_assert_eq!(worker.seen, set.len() as u64);
            prop_assert_eq!(worker.missing, last - first + 1 - set.len() as u64);
            prop_assert_eq!(worker.missing, worker.missing_numbers.iter().map(|gap| gap.count()).sum::<u64>());
            prop_assert_eq!(worker.doubled, (numbers.len() - set.len()) as u64);
        }
    }

    #[test]
    fn ids_are_found_in_text_and_json_and_torn_lines_are_counted() {
        let id = "feedfacecafebeef.3.";
        let cases = [
            (format!("a [lb={id}1]\n"), (1, 0, 0)),
            (
                format!("{{\"msg\": \"x\", \"lb\": \"{id}1\"}}\n"),
                (1, 0, 0),
            ),
            (format!("{{\"lb\":\"{id}1\",\"msg\":\"x\"}}\n"), (1, 0, 0)),
            (format!("a [lb={id}1]b [lb={id}2]\n"), (2, 1, 0)),
            (format!("a [lb={id}\nb [lb={id}2]\n"), (1, 1, 0)),
            (format!("a [lb=feedfacecafeb [lb={id}2]\n"), (1, 1, 0)),
            (
                format!("see [lb=face] and lb=\n  \"lb\"\nb [lb={id}2]\n"),
                (1, 0, 2),
            ),
            (format!("{}a [lb={id}1]\n", "x".repeat(300_000)), (1, 0, 0)),
            (format!("a [lb={id}1]{}\n", "x".repeat(300_000)), (1, 1, 0)),
        ];
        for (text, expected) in cases {
            for piece in [1 << 10, 1 << 20] {
                let report = scan(&text, piece);
                let found = (report.ids, report.torn, report.lines_without);
                assert_eq!(found, expected, "{}", &text[..text.len().min(80)]);
            }
        }
    }
}
