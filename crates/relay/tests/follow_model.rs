//! Followed logs under random treatment against a plain model: whatever is appended, rotated, packed, copied and emptied or deleted,
//! and however the follower ends, each line comes in order, none is skipped unless its file was deleted, and one comes twice only
//! after a crash or when it was not settled.
//!
//! How it works: lines have numbers. The model is the list of files with their numbers, and up to where they are settled. Each
//! change is given a time of its own, a second after the one before, since a log that was deleted is told from older ones by that.

mod spool_support;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use logboom_relay::follow::{Follower, Options};
use logboom_relay::source::{Parcel, Source};
use proptest::prelude::*;
use spool_support::is_full;

#[derive(Debug, Clone)]
enum Step {
    Append(u32),
    /// A part of a line, whose rest comes with whatever is written next.
    AppendPart,
    Rename,
    CopyAndEmpty,
    /// Packs the newest rotated file that is not.
    Pack(bool),
    DeleteOldest,
    Read(usize),
    Settle(usize),
    Rewind,
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u32..10).prop_map(Step::Append),
        1 => Just(Step::AppendPart),
        2 => Just(Step::Rename),
        1 => Just(Step::CopyAndEmpty),
        2 => any::<bool>().prop_map(Step::Pack),
        1 => Just(Step::DeleteOldest),
        6 => (1_usize..20).prop_map(Step::Read),
        6 => (1_usize..20).prop_map(Step::Settle),
        1 => Just(Step::Rewind),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// A file, the current one last.
struct Rotated {
    name: String,
    numbers: Vec<u32>,
}

struct Model {
    keep: tempfile::TempDir,
    is_dated: bool,
    options: Options,
    follower: Option<Follower>,
    files: Vec<Rotated>,
    next: u32,
    half: String,
    clock: u64,
    rotations: u32,
    settled: u32,
    /// As far as the follower and its cursor know it.
    known: u32,
    stored: u32,
    in_flight: VecDeque<Parcel>,
    has_deleted: bool,
    next_least: u32,
    next_most: u32,
}

impl Model {
    fn new(is_dated: bool, is_eager: bool) -> Model {
        let keep = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(keep.path().join("logs")).unwrap();
        let mut model = Model {
            keep,
            is_dated,
            options: Options {
                store_every: if is_eager {
                    Duration::ZERO
                } else {
                    Duration::from_secs(3600)
                },
                count_every: Duration::ZERO,
                ..Options::default()
            },
            follower: None,
            files: vec![Rotated {
                name: "app.log".into(),
                numbers: Vec::new(),
            }],
            next: 0,
            half: String::new(),
            clock: 1_000_000_000,
            rotations: 0,
            settled: 0,
            known: 0,
            stored: 0,
            in_flight: VecDeque::new(),
            has_deleted: false,
            next_least: 0,
            next_most: 0,
        };
        model.open();
        model
    }

    fn at(&self, name: &str) -> PathBuf {
        self.keep.path().join("logs").join(name)
    }

    fn cursor(&self) -> PathBuf {
        self.keep.path().join("ship.cursor")
    }

    fn open(&mut self) {
        self.follower = None;
        let opened = Follower::open(&[self.at("app.log")], &self.cursor(), self.options.clone());
        self.follower = Some(opened.unwrap());
        self.known = self.stored;
        self.begin_at(self.known);
    }

    fn follower(&mut self) -> &mut Follower {
        self.follower.as_mut().unwrap()
    }

    fn begin_at(&mut self, least: u32) {
        self.in_flight.clear();
        (self.next_least, self.next_most) = (least, self.settled);
    }

    /// Sets the time of a file that was changed.
    fn touch(&mut self, name: &str) {
        self.clock += 1;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.at(name))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock))
            .unwrap();
    }

    fn write(&mut self, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.at("app.log"))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self.touch("app.log");
    }

    fn finish_half(&mut self) {
        if !self.half.is_empty() {
            let rest = std::mem::take(&mut self.half);
            self.write(&rest);
            self.files.last_mut().unwrap().numbers.push(self.next);
            self.next += 1;
        }
    }

    fn append(&mut self, count: u32) {
        self.finish_half();
        let numbers = self.next..self.next + count;
        let text: String = numbers.clone().map(line).collect();
        self.write(&text);
        self.next = numbers.end;
        self.files.last_mut().unwrap().numbers.extend(numbers);
    }

    fn append_part(&mut self) {
        self.finish_half();
        let line = line(self.next);
        let (half, rest) = line.split_at(line.len() / 2);
        self.write(half);
        self.half = rest.to_owned();
    }

    /// Gives rotated files their new names, and the current one's.
    fn shift(&mut self) -> String {
        self.rotations += 1;
        if self.is_dated {
            return format!(
                "app.log-2026{:02}{:02}",
                1 + self.rotations / 28,
                1 + self.rotations % 28
            );
        }
        let directory = self.keep.path().join("logs");
        let count = self.files.len();
        for (index, file) in self.files.iter_mut().enumerate().take(count - 1) {
            let packing = file.name.rsplit_once('.').map_or("", |(_, end)| {
                if end == "gz" || end == "zst" { end } else { "" }
            });
            let dot = if packing.is_empty() { "" } else { "." };
            let name = format!("app.log.{}{dot}{packing}", count - index);
            fs::rename(directory.join(&file.name), directory.join(&name)).unwrap();
            file.name = name;
        }
        "app.log.1".to_owned()
    }

    fn rotate(&mut self, by_copy: bool) {
        self.finish_half();
        if self.files.last().unwrap().numbers.is_empty() {
            return;
        }
        let name = self.shift();
        if by_copy {
            fs::copy(self.at("app.log"), self.at(&name)).unwrap();
            self.touch(&name);
            File::options()
                .write(true)
                .open(self.at("app.log"))
                .unwrap()
                .set_len(0)
                .unwrap();
        } else {
            fs::rename(self.at("app.log"), self.at(&name)).unwrap();
        }
        self.touch("app.log");
        self.files.last_mut().unwrap().name = name;
        self.files.push(Rotated {
            name: "app.log".into(),
            numbers: Vec::new(),
        });
    }

    fn pack(&mut self, gzip: bool) {
        let rotated = self.files.len() - 1;
        let is_plain =
            |file: &&mut Rotated| !file.name.ends_with("gz") && !file.name.ends_with("zst");
        let Some(file) = self.files[..rotated].iter_mut().rev().find(is_plain) else {
            return;
        };
        let from = self.keep.path().join("logs").join(&file.name);
        file.name.push_str(if gzip { ".gz" } else { ".zst" });
        let to = self.keep.path().join("logs").join(&file.name);
        let content = fs::read(&from).unwrap();
        let packed = if gzip {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&content).unwrap();
            encoder.finish().unwrap()
        } else {
            zstd::encode_all(&content[..], 1).unwrap()
        };
        fs::write(&to, packed).unwrap();
        let modified = fs::metadata(&from).unwrap().modified().unwrap();
        File::options()
            .write(true)
            .open(&to)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        fs::remove_file(from).unwrap();
    }

    fn delete_oldest(&mut self) {
        if self.files.len() > 1 {
            let file = self.files.remove(0);
            self.has_deleted = true;
            fs::remove_file(self.at(&file.name)).unwrap();
        }
    }

    fn read(&mut self, most: usize) {
        let mut parcels = VecDeque::new();
        let got = self.follower().read(most, &mut parcels).unwrap();
        assert_eq!(got, parcels.len());
        for parcel in parcels {
            let Some(number) = number_of(&parcel) else {
                // All that can be had of a line whose file was emptied, and the copy deleted.
                assert!(self.has_deleted, "{}", parcel.record.body);
                self.in_flight.push_back(parcel);
                continue;
            };
            assert!(
                number >= self.next_least,
                "{number} came twice, {} was next",
                self.next_least
            );
            self.assert_nothing_between(self.next_most, number);
            self.in_flight.push_back(parcel);
            (self.next_least, self.next_most) = (number + 1, number + 1);
        }
        if got < most {
            self.assert_nothing_between(self.next_most, u32::MAX);
        }
    }

    fn assert_nothing_between(&self, from: u32, to: u32) {
        let numbers = self
            .files
            .iter()
            .flat_map(|file| file.numbers.iter().copied());
        let skipped: Vec<u32> = numbers
            .filter(|number| (from..to).contains(number))
            .collect();
        assert!(skipped.is_empty(), "{skipped:?} were skipped before {to}");
    }

    fn settle(&mut self, count: usize) {
        let count = count.min(self.in_flight.len());
        let settled: Vec<Parcel> = self.in_flight.drain(..count).collect();
        let Some(last) = settled.last() else {
            return;
        };
        let numbers = settled.iter().filter_map(number_of);
        self.known = numbers.last().map_or(self.known, |number| number + 1);
        self.settled = self.settled.max(self.known);
        self.follower().settle(last.end).unwrap();
        if self.options.store_every.is_zero() {
            self.stored = self.known;
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(count) => self.append(*count),
            Step::AppendPart => self.append_part(),
            Step::Rename => self.rotate(false),
            Step::CopyAndEmpty => self.rotate(true),
            Step::Pack(gzip) => self.pack(*gzip),
            Step::DeleteOldest => self.delete_oldest(),
            Step::Read(most) => self.read(*most),
            Step::Settle(count) => self.settle(*count),
            Step::Rewind => {
                self.follower().rewind();
                self.begin_at(self.known);
            }
            Step::Reopen => {
                self.follower = None;
                self.stored = self.known;
                self.open();
            }
            Step::Crash => {
                let before = fs::read(self.cursor()).unwrap();
                self.follower = None;
                // In place: a file made anew would be another inode.
                let mut file = File::options()
                    .write(true)
                    .truncate(true)
                    .open(self.cursor())
                    .unwrap();
                file.write_all(&before).unwrap();
                self.open();
            }
        }
    }

    fn finish(&mut self) {
        self.finish_half();
        self.read(10_000);
        self.settle(usize::MAX);
        self.assert_nothing_between(self.settled, u32::MAX);
        assert_eq!(self.follower().lag().bytes, 0);
    }
}

fn line(number: u32) -> String {
    format!("{number} {}\n", "x".repeat((number * 37 % 300) as usize))
}

/// None: the beginning of a line.
fn number_of(parcel: &Parcel) -> Option<u32> {
    let (number, fill) = parcel.record.body.split_once(' ')?;
    let number = number.parse().ok()?;
    (fill.len() as u32 == number * 37 % 300).then_some(number)
}

fn cases() -> u32 {
    if is_full() { 5000 } else { 150 }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_skipped_and_nothing_settled_comes_again(
        steps in proptest::collection::vec(step(), 1..60),
        is_dated: bool,
        is_eager: bool,
    ) {
        let mut model = Model::new(is_dated, is_eager);
        for step in &steps {
            model.run(step);
        }
        model.finish();
    }
}

/// Found with 5,000 cases: the copy has the name of the file that is to be read next, and its inode, where the file system gives
/// that to the next file.
#[test]
fn after_a_deleted_file_comes_the_packed_one_and_not_the_copy() {
    use Step::{Append, CopyAndEmpty, DeleteOldest, Pack, Read, Rename};
    let mut model = Model::new(false, false);
    let begin = [Append(4), Rename, Append(1), Rename, Read(1)];
    let rest = [Pack(false), Append(1), CopyAndEmpty, DeleteOldest];
    for step in begin.iter().chain(&rest) {
        model.run(step);
    }
    model.finish();
}
