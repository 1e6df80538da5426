//! Accounts for every record of the shop: what the notes say was acknowledged against what the log files hold.
//!
//! The notes (`proof/acks-<worker>`) have one byte per record number, 1 when the logging call had returned; see
//! `examples/shop/proof.py`. In the log, the message of a record of the shop ends with ` #<worker>-<number>-<checksum>`,
//! and the shop's one kind of traceback follows a message that says `Exception on`. Records of others (the server, what
//! was printed, black boxes) are whole if their first line is; their further lines are indented. All else in a log file
//! is torn.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

const TRACE_FIRST: &str = "Traceback (most recent call last):";
const TRACE_LAST: &str = "shop.PaymentRefused: ";
const TIME: &str = "0000-00-00 00:00:00.000 ";
/// A thread may have to wait for so long between the making of a record and its writing.
const DELAY_MS_MAX: u64 = 250;
/// What stands before further lines of a record; the standard library writes them as they are.
const INDENT: &str = "    ";
/// What stands between the message and the fields.
const DIVIDER: &str = " | ";
const BLACK_BOX: &str = "logboom.blackbox";
/// Begins the line of a black box that names a request.
const REQUEST: &str = "    request ";

/// The account of one act.
#[derive(Debug, Default, PartialEq)]
pub struct Count {
    /// Records whose logging call had returned.
    pub acknowledged: usize,
    /// Of these: in the log, whole.
    pub found: usize,
    /// Of these: not in the log.
    pub lost: usize,
    /// Records beyond the first copy of each.
    pub duplicated: usize,
    /// Lines and tracebacks that are not whole.
    pub torn: usize,
    /// Records in a file that had been rotated out a while before they were made.
    pub misplaced: usize,
    /// In the log, though the call never returned: the worker was killed inside it.
    pub cut_off: usize,
    /// Errors in `error.log`, each with its traceback.
    pub errors: usize,
    /// Of each black box what it says first, and the requests it names.
    pub black_boxes: Vec<String>,
    /// Log files, archives included.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    /// True if all that was acknowledged is there, once and whole.
    pub fn is_whole(&self) -> bool {
        self.acknowledged > 0 && self.lost == 0 && self.duplicated == 0 && self.torn == 0
    }
}

/// Accounts for the records of `<folder>/shop.log` and its archives against the notes in `<folder>/proof`; of
/// `error.log`, where there is one, the errors are counted.
pub fn count(folder: &Path) -> Result<Count> {
    let acknowledged = read_notes(&folder.join("proof"))?;
    let mut seen = Seen::default();
    let mut count = Count::default();
    let mut times = Vec::new();
    for file in by_age(log_files(folder, "shop.log")?) {
        let bytes =
            fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        count.files += 1;
        count.bytes += bytes.len() as u64;
        seen.read(&bytes);
        times.push(std::mem::take(&mut seen.times));
    }
    count.misplaced = misplaced(&times);
    let mut errors = Seen::default();
    for file in log_files(folder, "error.log")? {
        errors.read(&fs::read(&file)?);
    }
    count.torn = seen.torn + errors.torn;
    count.errors = errors.tracebacks;
    count.black_boxes = seen.black_boxes;
    let mut copies = seen.copies;
    for (worker, returned) in &acknowledged {
        for number in returned
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == 1)
            .map(|(number, _)| number)
        {
            count.acknowledged += 1;
            match copies.remove(&(worker.clone(), number)) {
                Some(times) => {
                    count.found += 1;
                    count.duplicated += times - 1;
                }
                None => count.lost += 1,
            }
        }
    }
    count.cut_off = copies.len();
    count.duplicated += copies.values().map(|times| times - 1).sum::<usize>();
    Ok(count)
}

/// Of each worker a byte for each of its records, 1 if the logging call had returned.
pub fn read_notes(folder: &Path) -> Result<HashMap<String, Vec<u8>>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("failed to read the notes in `{}`", folder.display()))?;
    let mut notes = HashMap::new();
    for entry in entries.flatten() {
        if let Some(worker) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix("acks-"))
        {
            notes.insert(worker.to_owned(), fs::read(entry.path())?);
        }
    }
    Ok(notes)
}

/// `<name>` and `<name>.<anything>` in `folder`.
pub fn log_files(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to read `{}`", folder.display()))?;
    let is_log = |found: &str| {
        found
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let files = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_log));
    Ok(files.map(|entry| entry.path()).collect())
}

/// Oldest first: the archive with the largest number.
fn by_age(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let number = |file: &PathBuf| -> u64 {
        let suffix = file.extension().and_then(|suffix| suffix.to_str());
        suffix.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    files.sort_by_key(|file| std::cmp::Reverse(number(file)));
    files
}

/// How many records were made later than the first one of the next file, by more than threads may wait for each other.
/// `times` has those of each file, oldest file first.
fn misplaced(times: &[Vec<u64>]) -> usize {
    let files = times.iter().filter(|file| !file.is_empty());
    let newer = files.clone().skip(1);
    files
        .zip(newer)
        .map(|(file, newer)| {
            let limit = newer[0] + DELAY_MS_MAX;
            file.iter().filter(|time| **time > limit).count()
        })
        .sum()
}

/// What was read from log files.
#[derive(Default)]
struct Seen {
    times: Vec<u64>,
    copies: HashMap<(String, usize), usize>,
    torn: usize,
    tracebacks: usize,
    black_boxes: Vec<String>,
}

impl Seen {
    fn read(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            let Some(head) = Head::parse(line) else {
                self.torn += 1;
                continue;
            };
            if !head.is_of_the_shop() {
                let mut said = head.message.to_owned();
                while let Some(line) =
                    lines.next_if(|line| line.starts_with(INDENT) && line.ends_with('\n'))
                {
                    if line.starts_with(REQUEST) {
                        said.push_str(line);
                    }
                }
                if head.component == BLACK_BOX {
                    self.black_boxes.push(said);
                }
                continue;
            }
            let Some(mark) = Mark::parse(head.message) else {
                self.torn += 1;
                continue;
            };
            if mark.has_traceback {
                if !skip_traceback(&mut lines) {
                    self.torn += 1;
                    continue;
                }
                self.tracebacks += 1;
            }
            self.times.push(head.time_ms);
            *self
                .copies
                .entry((mark.worker.to_owned(), mark.number))
                .or_default() += 1;
        }
    }
}

/// Consumes the lines of a traceback, indented or not; false if it is not whole.
fn skip_traceback<'a>(lines: &mut Peekable<impl Iterator<Item = &'a str>>) -> bool {
    let indented = lines.peek().is_some_and(|line| line.starts_with(INDENT));
    let inner = |line: &'a str| {
        let line = line.strip_suffix('\n')?;
        if indented {
            line.strip_prefix(INDENT)
        } else {
            Some(line)
        }
    };
    if lines
        .next_if(|line| inner(line) == Some(TRACE_FIRST))
        .is_none()
    {
        return false;
    }
    while lines
        .next_if(|line| inner(line).is_some_and(|line| line.starts_with(' ')))
        .is_some()
    {}
    lines
        .next_if(|line| inner(line).is_some_and(|line| line.starts_with(TRACE_LAST)))
        .is_some()
}

/// The first line of a record: `<time> <level> [<process>] <component>: <message>`, and perhaps fields.
pub struct Head<'a> {
    /// When it was made, in milliseconds since some day; later is larger.
    pub time_ms: u64,
    /// The process that made it.
    pub process: u32,
    /// Name of the logger.
    pub component: &'a str,
    /// The message, without the fields.
    pub message: &'a str,
}

impl Head<'_> {
    /// None unless the line is whole.
    pub fn parse(line: &str) -> Option<Head<'_>> {
        let line = line.strip_suffix('\n')?;
        let shape = |(c, model): (u8, u8)| match model {
            b'0' => c.is_ascii_digit(),
            b'.' => matches!(c, b'.' | b','),
            _ => c == model,
        };
        if line.len() < TIME.len() || !line.bytes().zip(TIME.bytes()).all(shape) {
            return None;
        }
        let (level, after_level) = line[TIME.len()..].split_once(" [")?;
        if !level.trim_end().bytes().all(|c| c.is_ascii_uppercase()) {
            return None;
        }
        let (process, said) = after_level.split_once("] ")?;
        let (component, message) = said.split_once(": ")?;
        Some(Head {
            time_ms: milliseconds(line),
            process: process.parse().ok()?,
            component,
            message: message
                .split_once(DIVIDER)
                .map_or(message, |(message, _)| message),
        })
    }

    fn is_of_the_shop(&self) -> bool {
        self.component == "shop" || self.component.starts_with("shop.")
    }
}

/// The time at the beginning of a line, as a number that grows with it.
fn milliseconds(line: &str) -> u64 {
    let parts = line[..TIME.len() - 1].split(|c: char| !c.is_ascii_digit());
    let parts = parts.map(|digits| digits.parse().unwrap_or(0));
    parts
        .zip([0, 12, 31, 24, 60, 60, 1000])
        .fold(0, |time: u64, (part, size)| time * size + part)
}

/// What `proof.py` has put at the end of a message.
pub struct Mark<'a> {
    /// The worker, as its notes are called.
    pub worker: &'a str,
    /// The record's place in them.
    pub number: usize,
    has_traceback: bool,
}

impl Mark<'_> {
    /// None unless the message fits its checksum.
    pub fn parse(said: &str) -> Option<Mark<'_>> {
        let (message, mark) = said.rsplit_once(" #")?;
        let mut parts = mark.split('-');
        let (worker, number, checksum) =
            (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let fits = parts.next().is_none()
            && format!("{:08x}", crc32fast::hash(message.as_bytes())) == checksum;
        fits.then(|| Mark {
            worker,
            number,
            has_traceback: message.starts_with("Exception on "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, message: &str) -> String {
        let checksum = crc32fast::hash(message.as_bytes());
        format!("2026-01-02 03:04:05,678 INFO    [7] shop: {message} #7-{number}-{checksum:08x}\n")
    }

    fn account(log: &str, notes: &[u8]) -> Count {
        let folder = std::env::temp_dir().join(format!(
            "xtask-count-{}-{:?}",
            std::process::id(),
            log.len()
        ));
        fs::create_dir_all(folder.join("proof")).expect("a temporary folder");
        fs::write(folder.join("proof/acks-7"), notes).expect("the notes");
        let (archive, current) = log.split_at(
            log.find("2026-")
                .map_or(0, |_| log.find('\n').map_or(0, |end| end + 1)),
        );
        fs::write(folder.join("shop.log.1"), archive).expect("the archive");
        fs::write(folder.join("shop.log"), current).expect("the log");
        let count = count(&folder).expect("an account");
        fs::remove_dir_all(&folder).expect("removable");
        count
    }

    /// A log that holds each acknowledged record once is whole, whichever file a record is in.
    #[test]
    fn whole() {
        let count = account(
            &[line(0, "a: b #c"), line(1, "b"), line(2, "not returned")].concat(),
            &[1, 1, 0, 0],
        );
        assert!(count.is_whole());
        assert_eq!(
            (count.acknowledged, count.found, count.cut_off, count.files),
            (2, 2, 1, 2)
        );
    }

    /// A record that is missing is lost, and one that is there twice is counted as one too many.
    #[test]
    fn lost_and_doubled() {
        let count = account(
            &[line(0, "a"), line(2, "c"), line(2, "c")].concat(),
            &[1, 1, 1],
        );
        assert!(!count.is_whole());
        assert_eq!(
            (
                count.acknowledged,
                count.found,
                count.lost,
                count.duplicated
            ),
            (3, 2, 1, 1)
        );
    }

    /// A line that was cut, mixed with another or changed is torn, and its record is not found.
    #[test]
    fn torn() {
        let whole = line(1, "some message");
        for damaged in [
            &whole[..30],
            &whole[10..],
            &whole.replace("some", "sOme"),
            whole.trim_end(),
        ] {
            let count = account(&format!("{}{damaged}", line(0, "a")), &[1, 1]);
            assert_eq!(
                (count.torn, count.lost, count.found),
                (1, 1, 1),
                "{damaged}"
            );
        }
    }

    /// A record belongs into the file that is current when it is made.
    #[test]
    fn wrong_file() {
        let at = |ms: u64| milliseconds("2026-01-31 23:59:59.000 ") + ms;
        assert_eq!(at(1), milliseconds("2026-01-31 23:59:59,001 "));
        assert!(at(1000) <= milliseconds("2026-02-01 00:00:00.000 "));
        let archive = vec![at(0), at(10), at(1200), at(9000)];
        let files = [archive, vec![], vec![at(1000), at(1600)], vec![at(1700)]];
        assert_eq!(misplaced(&files), 1);
        let names = ["l.log.2", "l.log", "l.log.10", "l.log.1"].map(PathBuf::from);
        let sorted = ["l.log.10", "l.log.2", "l.log.1", "l.log"].map(PathBuf::from);
        assert_eq!(by_age(names.to_vec()), sorted);
    }

    /// Our text: fields behind the message, further lines indented, records of others between those of the shop. What a
    /// black box quotes is not counted again.
    #[test]
    fn text_of_logboom() {
        let ours = |number, message: &str| {
            let line = line(number, message).replace(',', ".");
            format!("{} | request_id=visit-7\n", line.trim_end())
        };
        let trace =
            format!("    {TRACE_FIRST}\n      File \"shop.py\"\n    {TRACE_LAST}card refused\n");
        let other = "2026-01-02 03:04:05.678 ERROR    [8] logboom.blackbox: worker 9 died\n    request GET /, id demo\n    its last record:\n";
        let log = [
            ours(0, "a"),
            ours(1, "Exception on /checkout [POST]"),
            trace.clone(),
            other.to_owned(),
            format!("      {}", ours(0, "a")),
            ours(2, "b"),
        ]
        .concat();
        let count = account(&log, &[1, 1, 1]);
        assert!(count.is_whole(), "{count:?}");
        assert_eq!(
            count.black_boxes,
            ["worker 9 died    request GET /, id demo\n"]
        );
        let cut = trace.replace("    shop.PaymentRefused", "shop.PaymentRefused");
        assert!(account(&log.replace(&trace, &cut), &[1, 1, 1]).torn > 0);
    }

    /// A traceback belongs to its record; without its end, or with another record inside, it is torn.
    #[test]
    fn traceback() {
        let head = line(1, "Exception on /checkout [POST]");
        let first = format!("{TRACE_FIRST}\n  File \"shop.py\"\n");
        let good = format!("{}{head}{first}{TRACE_LAST}card refused\n", line(0, "a"));
        assert!(account(&good, &[1, 1]).is_whole());
        for damaged in [
            head.clone(),
            format!("{head}{first}"),
            format!("{head}{first}{}", line(0, "a")),
        ] {
            assert!(
                account(&format!("{}{damaged}", line(0, "x")), &[1, 1]).torn > 0,
                "{damaged}"
            );
        }
    }
}
