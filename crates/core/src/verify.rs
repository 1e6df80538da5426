//! Checking log files against what their domain knows of them, and the ids in their records against each other.
//!
//! Depth 1 is always tried: the domain keeps position, length, count and checksum of the runs of bytes that it wrote,
//! archives included; they are computed anew from the files, compressed ones from their content. Depth 2 needs ids in the
//! records (`ledger_ids`, or a JSON field `lb`): which record of which worker is missing, doubled, torn or out of
//! order. The [`Report`] says what could be done and why not the rest.
//!
//! Nothing is changed, no lease is taken, and memory is bounded whatever the files' size. A file that is written meanwhile
//! is checked as far as the domain knew it when it was opened.

mod given;
mod ids;
mod known;
mod sums;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::ledger::Run;
use crate::fs;
use given::{Given, left_out, log_of, look_at_all, open_patiently};
use ids::{Account, Scanner};
pub use ids::{Example, LogReport, Numbers, WorkerLedger, WorkerReport};
use known::{Content, Known};
use sums::Sums;

/// Examples of each kind of fault that a report carries; the counts go on.
pub const EXAMPLES_MAX: usize = 20;
const CHUNK: usize = 128 << 10;
/// A run this long that is found whole identifies an archive that was copied or edited.
const TELLING_BYTES: u64 = 64;

/// What [`verify`] found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// One for each file, in the order in which they were written as far as that is known.
    pub files: Vec<FileReport>,
    /// One for each log that has ids in its records.
    pub logs: Vec<LogReport>,
    /// What a reader should know before believing the rest.
    pub notes: Vec<String>,
}

/// What was found of one file's bytes (depth 1).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FileReport {
    /// As it was given.
    pub path: PathBuf,
    /// The log that it is, or is an archive of.
    pub log: PathBuf,
    /// False: it could not be opened, and `checked` says why.
    pub is_open: bool,
    /// Length of the content in bytes, after decompression.
    pub bytes: u64,
    /// How much could be checked.
    pub checked: Checked,
    /// What differs, and what the domain cannot vouch for; in the order of the bytes.
    pub findings: Vec<Finding>,
}

/// How far the bytes of a file were compared with the domain's checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// So many bytes and records are as they were written.
    Bytes {
        /// Bytes whose checksum is right.
        bytes: u64,
        /// Records in them.
        records: u64,
    },
    /// Nothing could be compared, and why.
    Nothing(String),
}

/// Something about a range of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
    /// Records that the domain wrote there.
    pub records: u64,
    /// What it means, for a person.
    pub text: String,
}

/// The kinds of [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The bytes are not those that were written.
    Differs,
    /// The bytes are gone.
    Missing,
    /// The file was replaced by another.
    Replaced,
    /// The content cannot be read to its end.
    Unreadable,
    /// Somebody else wrote them, or they are older than the domain.
    Foreign,
    /// They lie behind what the domain knows: written just now, or by somebody else.
    Behind,
}

impl Kind {
    /// True for what is damage; foreign bytes are not.
    pub fn is_damage(self) -> bool {
        !matches!(self, Kind::Foreign | Kind::Behind)
    }

    /// The kind in one word, as JSON output has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Differs => "differs",
            Kind::Missing => "missing",
            Kind::Replaced => "replaced",
            Kind::Unreadable => "unreadable",
            Kind::Foreign => "foreign",
            Kind::Behind => "behind",
        }
    }
}

impl Report {
    /// True when something is damaged, missing, doubled, torn or out of order.
    pub fn has_damage(&self) -> bool {
        let in_files = self.files.iter().flat_map(|file| &file.findings);
        in_files.into_iter().any(|finding| finding.kind.is_damage())
            || self.logs.iter().any(LogReport::has_damage)
    }

    /// True when bytes were compared, or ids: without either nothing has been said of the files.
    pub fn has_checked_anything(&self) -> bool {
        !self.logs.is_empty()
            || self
                .files
                .iter()
                .any(|file| matches!(file.checked, Checked::Bytes { .. }) || file.bytes == 0)
    }
}

/// Checks `files`, the current file and archives of one log or of several; a file that is given twice is checked once.
/// `progress` is told of each piece that was read, in bytes on the disk.
pub fn verify(files: &[PathBuf], progress: &mut dyn FnMut(u64)) -> Report {
    let mut report = Report::default();
    let mut account = Account::default();
    // In this order, so that what is read later holds all that was known before.
    let sequences = snapshot(files, &mut report.notes);
    let given = look_at_all(files);
    report.notes.extend(left_out(&given));
    for index in 0..given.len() {
        let log = log_of(&given, index);
        let ids = account.log(&log);
        report
            .files
            .push(check_file(&given[index], log, ids, progress));
    }
    // What was the current file after the numbers were read has all of them, whatever its name is by now.
    let current: Vec<_> = given.iter().map(Given::absolute).collect();
    report.logs = account.finish(&sequences, &current);
    report
}

/// What the domains know of their workers' numbers, before the files are opened.
fn snapshot(files: &[PathBuf], notes: &mut Vec<String>) -> Vec<known::Sequence> {
    let directories = files
        .iter()
        .filter_map(|path| fs::parent(path).canonicalize().ok());
    let mut directories: Vec<_> = directories.collect();
    directories.sort();
    directories.dedup();
    let mut sequences = Vec::new();
    for directory in directories {
        match Known::read(&directory) {
            Ok(known) => {
                notes.extend(known.note.clone());
                sequences.extend(known.sequences);
            }
            Err(error) => notes.push(format!("no checksums: {error}")),
        }
    }
    sequences
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

fn packing(path: &Path) -> Packing {
    match path.extension().and_then(std::ffi::OsStr::to_str) {
        Some("gz") => Packing::Gzip,
        Some("zst") => Packing::Zstd,
        _ => Packing::Plain,
    }
}

fn check_file(
    given: &Given,
    log: PathBuf,
    mut ids: Scanner<'_>,
    progress: &mut dyn FnMut(u64),
) -> FileReport {
    let mut report = FileReport {
        path: given.path.clone(),
        log,
        is_open: true,
        bytes: 0,
        checked: Checked::Nothing(String::new()),
        findings: Vec::new(),
    };
    let reopened;
    let opened = match &given.opened {
        Some(opened) => opened,
        None => {
            reopened = open_patiently(&given.path);
            &reopened
        }
    };
    let (metadata, file) = match opened {
        Ok(opened) => (&opened.0, &opened.1),
        Err(error) => {
            report.is_open = false;
            report.checked = Checked::Nothing(format!("cannot be opened: {error}"));
            return report;
        }
    };
    if !metadata.is_file() {
        report.checked = Checked::Nothing("is not a regular file".into());
        return report;
    }
    // What is known is read after the file was opened: the file holds all of it.
    let mut known = Known::read(&given.directory);
    let subject = Subject {
        file,
        packing: packing(&given.path),
        ino: metadata.ino(),
        mtime_ns: (metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()).max(0) as u64,
        path: &given.path,
    };
    let boundaries = known
        .as_ref()
        .map_or_else(|_| Vec::new(), |known| subject.boundaries(known));
    let mut read = subject.read(
        boundaries,
        &mut |bytes| ids.feed(&given.path, bytes),
        progress,
    );
    ids.end();
    let mut judged = subject.judge(&known, &read);
    for _attempt in 0..5 {
        if !judged.is_suspect {
            break;
        }
        // The file is being written: the ledger's words may not have been of one moment.
        std::thread::sleep(std::time::Duration::from_millis(2));
        let again = Known::read(&given.directory);
        if again.as_ref().ok().map(|k| &k.contents) == known.as_ref().ok().map(|k| &k.contents) {
            break;
        }
        known = again;
        let boundaries = known
            .as_ref()
            .map_or_else(|_| Vec::new(), |known| subject.boundaries(known));
        read = subject.read(boundaries, &mut |_| (), &mut |_| ());
        judged = subject.judge(&known, &read);
    }
    report.bytes = read.len;
    report.checked = judged.checked;
    report.findings = judged.findings;
    if let Some(error) = &read.error {
        report.findings.push(unreadable(read.len, error));
    }
    report
}

fn unreadable(from: u64, error: &io::Error) -> Finding {
    Finding {
        kind: Kind::Unreadable,
        from,
        to: from,
        records: 0,
        text: format!("cannot be read from here on: {error}"),
    }
}

/// An open file and what identifies it.
struct Subject<'a> {
    file: &'a File,
    packing: Packing,
    ino: u64,
    mtime_ns: u64,
    path: &'a Path,
}

/// One reading of a file's content.
struct Reading {
    sums: Sums,
    len: u64,
    error: Option<io::Error>,
}

struct Judged {
    checked: Checked,
    findings: Vec<Finding>,
    /// A writer at work can have caused it: what is known and what was read were not of one moment.
    is_suspect: bool,
}

impl Subject<'_> {
    /// Where checksums are needed: the ends of the runs that the file may consist of.
    fn boundaries(&self, known: &Known) -> Vec<u64> {
        let contents: Vec<_> = match known.by_inode(self.ino, self.packing) {
            Some(content) => vec![content],
            None => known.contents.iter().collect(),
        };
        let runs = contents.into_iter().flat_map(|content| &content.runs);
        runs.flat_map(|run| [run.start, run.end()]).collect()
    }

    fn read(
        &self,
        boundaries: Vec<u64>,
        each: &mut dyn FnMut(&[u8]),
        progress: &mut dyn FnMut(u64),
    ) -> Reading {
        let mut reading = Reading {
            sums: Sums::at(boundaries),
            len: 0,
            error: None,
        };
        let from_disk = OnDisk {
            file: self.file,
            at: 0,
            progress,
        };
        let mut content = match unpacked(from_disk, self.packing) {
            Ok(content) => content,
            Err(error) => {
                reading.error = Some(error);
                return reading;
            }
        };
        let mut chunk = vec![0; CHUNK];
        loop {
            match content.read(&mut chunk) {
                Ok(0) => return reading,
                Ok(read) => {
                    reading.len += read as u64;
                    reading.sums.feed(&chunk[..read]);
                    each(&chunk[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    reading.error = Some(error);
                    return reading;
                }
            }
        }
    }

    fn judge(&self, known: &Result<Known, crate::Error>, read: &Reading) -> Judged {
        let nothing = |why: String| Judged {
            checked: Checked::Nothing(why),
            findings: Vec::new(),
            is_suspect: false,
        };
        let Ok(known) = known else {
            return nothing("no state of its domain is left".into());
        };
        let candidates = || known.contents.iter().filter(|content| content.len() > 0);
        if let Some(content) = known.by_inode(self.ino, self.packing) {
            let mut judged = self.compare(content, read);
            let damaged = judged.findings.iter().any(|f| f.kind.is_damage());
            judged.is_suspect = damaged && content.is_current;
            return judged;
        }
        if read.len == 0 {
            return nothing("is empty".into());
        }
        let whole = candidates().filter(|content| content.is_whole_in(&read.sums, read.len));
        if let Some(content) = whole.max_by_key(|content| content.len()) {
            return self.compare(content, read);
        }
        let partly = candidates().filter(|content| content.matching(&read.sums) >= TELLING_BYTES);
        if let Some(content) = partly.max_by_key(|content| content.matching(&read.sums)) {
            return self.compare(content, read);
        }
        let mut judged =
            nothing("the domain knows no such file: it is older, or not written by it".into());
        if known.should_know(self.path, self.mtime_ns) {
            // It may also have been made a moment before the domain took note of it.
            judged.is_suspect = true;
            judged.findings.push(Finding {
                kind: Kind::Replaced,
                from: 0,
                to: read.len,
                records: 0,
                text: "was changed in the domain's time, but is no file that it wrote: replaced by another, or edited by a \
                       program that writes a new file"
                    .into(),
            });
        }
        judged
    }

    /// Compares what was read with what is known; where bytes were taken out or put in, the rest is looked for at its new
    /// place, so that only what is between is named.
    fn compare(&self, content: &Content, read: &Reading) -> Judged {
        let mut outcome = Outcome::default();
        let first = content.runs.first().map_or(0, |run| run.start);
        outcome.note(Kind::Foreign, 0, first.min(read.len), 0);
        let damaged: Vec<_> = content
            .runs
            .iter()
            .filter(|run| !is_right(run, &read.sums, 0) && run.crc.is_some())
            .collect();
        let shift = read.len as i64 - content.end() as i64;
        let moved = match damaged.is_empty() || shift == 0 || content.is_current && shift > 0 {
            true => None,
            false => {
                let ends = content.runs.iter().flat_map(|run| [run.start, run.end()]);
                let ends = ends
                    .filter_map(|end| end.checked_add_signed(shift))
                    .collect();
                Some(self.read(ends, &mut |_| (), &mut |_| ()))
            }
        };
        for run in content.runs.iter().filter(|run| run.len > 0) {
            if run.crc.is_none() {
                outcome.note(Kind::Foreign, run.start, run.end().min(read.len), run.count);
            } else if is_right(run, &read.sums, 0)
                || moved
                    .as_ref()
                    .is_some_and(|moved| is_right(run, &moved.sums, shift))
            {
                outcome.bytes += run.len;
                outcome.records += run.count;
            } else if run.start >= read.len {
                outcome.note(Kind::Missing, run.start, run.end(), run.count);
            } else {
                outcome.note(Kind::Differs, run.start, run.end().min(read.len), run.count);
                outcome.note(Kind::Missing, read.len.max(run.start), run.end(), 0);
            }
        }
        outcome.describe(content, read.len, shift)
    }
}

fn is_right(run: &Run, sums: &Sums, shift: i64) -> bool {
    let ends = run
        .start
        .checked_add_signed(shift)
        .zip(run.end().checked_add_signed(shift));
    run.len == 0
        || run.crc.is_some() && ends.and_then(|(from, to)| sums.between(from, to)) == run.crc
}

/// The comparison of one file as it goes on.
#[derive(Default)]
struct Outcome {
    findings: Vec<Finding>,
    bytes: u64,
    records: u64,
}

impl Outcome {
    /// Neighbours of one kind become one finding.
    fn note(&mut self, kind: Kind, from: u64, to: u64, records: u64) {
        if from >= to {
            return;
        }
        let last = self.findings.iter_mut().rev().find(|f| f.kind == kind);
        match last.filter(|last| last.to == from) {
            Some(last) => {
                last.to = to;
                last.records += records;
            }
            None => self.findings.push(Finding {
                kind,
                from,
                to,
                records,
                text: String::new(),
            }),
        }
    }

    fn describe(mut self, content: &Content, len: u64, shift: i64) -> Judged {
        let is_damaged = self.findings.iter().any(|f| f.kind.is_damage());
        let is_moved = is_damaged && shift != 0 && !(content.is_current && shift > 0);
        if is_moved && shift > 0 {
            let text = format!(
                "are not those that were written, and the file is {shift} bytes longer than it was"
            );
            self.retell(Kind::Differs, &text);
        } else if is_moved {
            let text = format!(
                "are not those that were written, and the file is {} bytes shorter than it was",
                -shift
            );
            self.retell(Kind::Differs, &text);
        } else {
            self.note(Kind::Behind, content.end(), len, 0);
        }
        self.retell(Kind::Differs, "are not those that were written");
        self.retell(Kind::Missing, "are gone: the file ends before them");
        let behind = match content.is_current {
            true => "lie behind what the domain knows: written just now, or by somebody else",
            false => "lie behind the end that the domain knows: somebody wrote to the archive",
        };
        self.retell(Kind::Behind, behind);
        for finding in self.findings.iter_mut().filter(|f| f.text.is_empty()) {
            finding.text = match (finding.from, finding.records) {
                (0, 0) => "were there before the domain, or are somebody else's".into(),
                (_, 0) => "were written by somebody else".into(),
                (_, records) => format!(
                    "hold {records} records of the domain among bytes of somebody else: no checksum"
                ),
            };
        }
        Judged {
            checked: Checked::Bytes {
                bytes: self.bytes,
                records: self.records,
            },
            findings: self.findings,
            is_suspect: false,
        }
    }

    fn retell(&mut self, kind: Kind, text: &str) {
        for finding in &mut self.findings {
            if finding.kind == kind && finding.text.is_empty() {
                finding.text = text.into();
            }
        }
    }
}

/// A file's bytes, telling how many were read.
struct OnDisk<'a> {
    file: &'a File,
    at: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for OnDisk<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, out, self.at)?;
        self.at += read as u64;
        (self.progress)(read as u64);
        Ok(read)
    }
}

fn unpacked<'a>(from: OnDisk<'a>, packing: Packing) -> io::Result<Box<dyn Read + 'a>> {
    match packing {
        Packing::Plain => Ok(Box::new(from)),
        #[cfg(feature = "gzip")]
        Packing::Gzip => Ok(Box::new(flate2::read::MultiGzDecoder::new(from))),
        #[cfg(feature = "zstd")]
        Packing::Zstd => Ok(Box::new(zstd::stream::read::Decoder::new(from)?)),
        #[allow(unreachable_patterns)]
        _ => Err(io::Error::other(
            "this build lacks the compression (features `gzip`, `zstd`)",
        )),
    }
}
