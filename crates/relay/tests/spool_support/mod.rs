//! What the tests of the relay share: a spool that is written as a careless writer might, and a reader's answers as numbers.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod site;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use logboom_relay::source::{Parcel, Source};
use logboom_relay::spool::{Options, Reader, line};

/// A spool root with the spool `central`, removed at the end.
pub struct Spool {
    _keep: tempfile::TempDir,
    pub root: PathBuf,
}

impl Spool {
    pub fn new() -> Spool {
        let keep = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        let root = keep.path().to_owned();
        Spool { _keep: keep, root }
    }

    pub fn current(&self) -> PathBuf {
        self.root.join("central.spool")
    }

    pub fn closed(&self, number: u32) -> PathBuf {
        self.root.join(format!("central.spool.{number}"))
    }

    pub fn cursor(&self) -> PathBuf {
        self.root.join("central.cursor")
    }

    /// Appends bytes to the current segment, which begins with a header.
    pub fn append(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.current())
            .unwrap();
        if file.metadata().unwrap().len() == 0 {
            file.write_all(line::HEADER).unwrap();
        }
        file.write_all(bytes).unwrap();
    }

    /// Appends the records of these numbers.
    pub fn write(&self, numbers: impl IntoIterator<Item = u64>) {
        let lines: Vec<u8> = numbers.into_iter().flat_map(record_line).collect();
        self.append(&lines);
    }

    /// Cuts the current segment to this length.
    pub fn cut(&self, len: u64) {
        OpenOptions::new()
            .write(true)
            .open(self.current())
            .unwrap()
            .set_len(len)
            .unwrap();
    }

    pub fn len(&self) -> u64 {
        fs::metadata(self.current()).map_or(0, |facts| facts.len())
    }

    /// Closes the current segment under the highest present number and one.
    pub fn rotate(&self) {
        if self.current().exists() {
            let highest = self.numbers().last().copied().unwrap_or(0);
            fs::rename(self.current(), self.closed(highest + 1)).unwrap();
        }
    }

    /// Numbers of the closed segments.
    pub fn numbers(&self) -> Vec<u32> {
        let names = fs::read_dir(&self.root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let number =
            |name: std::ffi::OsString| name.to_str()?.strip_prefix("central.spool.")?.parse().ok();
        let mut numbers: Vec<u32> = names.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn open(&self) -> Reader {
        self.open_with(eager())
    }

    pub fn open_with(&self, options: Options) -> Reader {
        Reader::open(&self.root, "central", options).unwrap()
    }
}

/// Whether tests may take long.
pub fn is_full() -> bool {
    std::env::var_os("LOGBOOM_FULL").is_some()
}

/// The cursor is stored with each call.
pub fn eager() -> Options {
    Options {
        store_every: Duration::ZERO,
        count_every: Duration::ZERO,
        ..Options::default()
    }
}

/// The cursor is stored when it has to be, and at the end.
pub fn lazy() -> Options {
    Options {
        store_every: Duration::from_secs(3600),
        count_every: Duration::ZERO,
        store_records: u64::MAX,
        ..Options::default()
    }
}

/// A record's line; its length depends on its number.
pub fn record_line(number: u64) -> Vec<u8> {
    let fill = "x".repeat((number * 37 % 300) as usize);
    let payload = format!(
        r#"{{"timestamp":"2026-11-20T16:30:01.{number:09}Z","severity_number":9,"body":"record {number}","fill":"{fill}"}}"#
    );
    let mut out = Vec::new();
    line::encode(
        payload.as_bytes(),
        &format!("c0ffee.1.{number:x}"),
        &mut out,
    );
    out
}

/// The number of a record, which must be as it was written.
pub fn number_of(parcel: &Parcel) -> u64 {
    let number: u64 = parcel
        .record
        .body
        .strip_prefix("record ")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(parcel.record.id, format!("c0ffee.1.{number:x}"));
    assert_eq!(parcel.record.time_ns % 1_000_000_000, number);
    assert_eq!(
        parcel.record.fields["fill"].as_str().unwrap().len() as u64,
        number * 37 % 300
    );
    number
}

/// Reads at most so many records; some calls may be needed.
pub fn read(source: &mut dyn Source, most: usize) -> Vec<Parcel> {
    let mut parcels = VecDeque::new();
    while parcels.len() < most {
        let left = most - parcels.len();
        let before = parcels.len();
        let got = source.read(left, &mut parcels).unwrap();
        assert_eq!(parcels.len() - before, got);
        if got == 0 {
            break;
        }
    }
    let ends: Vec<_> = parcels.iter().map(|parcel| parcel.end).collect();
    assert!(ends.is_sorted(), "positions ascend: {ends:?}");
    parcels.into()
}

pub fn numbers(parcels: &[Parcel]) -> Vec<u64> {
    parcels.iter().map(number_of).collect()
}

/// Reads all there is, settles it, and gives the numbers.
pub fn ship_all(source: &mut dyn Source) -> Vec<u64> {
    let parcels = read(source, usize::MAX);
    if let Some(last) = parcels.last() {
        source.settle(last.end).unwrap();
    }
    numbers(&parcels)
}

/// Ends a reader as SIGKILL does: what it would have stored at its end is not stored.
pub fn crash(spool: &Spool, reader: Reader) {
    let before = fs::read(spool.cursor()).unwrap();
    drop(reader);
    // In place: a file made anew would be another inode.
    let mut file = File::options()
        .write(true)
        .truncate(true)
        .open(spool.cursor())
        .unwrap();
    file.write_all(&before).unwrap();
}

/// Appends lines to a file in which a process that is killed may leave a part of one: each ends with a full stop.
pub fn deliver_to(path: &Path, lines: impl IntoIterator<Item = String>) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .read(true)
        .open(path)
        .unwrap();
    let lines: String = lines.into_iter().map(|line| line + " .\n").collect();
    // Behind a part of a line.
    let mut last = [b'\n'];
    if file.metadata().unwrap().len() > 0 {
        file.seek(SeekFrom::End(-1)).unwrap();
        file.read_exact(&mut last).unwrap();
    }
    let end = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{end}{lines}").as_bytes()).unwrap();
}

/// The lines that were delivered, as far as they are whole.
pub fn delivered(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| Some(line.strip_suffix(" .")?.to_owned()))
        .collect()
}

/// A copy of everything in a directory.
pub fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
