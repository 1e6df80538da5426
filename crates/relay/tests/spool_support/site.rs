//! A directory in which logs are written and rotated as programs and their tools do.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logboom_relay::follow::{Follower, Options};
use logboom_relay::source::Source;

use super::read;

/// A directory with logs, and a cursor beside it.
pub struct Site {
    keep: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Site {
        let keep = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(keep.path().join("logs")).unwrap();
        Site { keep }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.keep.path().join("logs").join(name)
    }

    pub fn cursor(&self) -> PathBuf {
        self.keep.path().join("ship.cursor")
    }

    pub fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.at(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// Packs a file as `gzip` and `zstd` do: the copy has its time, and then it goes.
    pub fn pack(&self, name: &str, end: &str) {
        let packed = self.at(&format!("{name}{end}"));
        pack(&self.at(name), &packed);
        fs::remove_file(self.at(name)).unwrap();
    }

    pub fn copy_and_empty(&self, from: &str, to: &str) {
        fs::copy(self.at(from), self.at(to)).unwrap();
        File::options()
            .write(true)
            .open(self.at(from))
            .unwrap()
            .set_len(0)
            .unwrap();
    }

    pub fn open_with(&self, options: Options) -> Follower {
        Follower::open(&[self.at("app.log")], &self.cursor(), options).unwrap()
    }

    pub fn open(&self) -> Follower {
        self.open_with(eager())
    }
}

pub fn pack(from: &Path, to: &Path) {
    let content = fs::read(from).unwrap();
    let packed = match to.extension().unwrap().to_str().unwrap() {
        "gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&content).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::encode_all(&content[..], 1).unwrap(),
    };
    fs::write(to, packed).unwrap();
    let modified = fs::metadata(from).unwrap().modified().unwrap();
    File::options()
        .write(true)
        .open(to)
        .unwrap()
        .set_modified(modified)
        .unwrap();
}

pub fn eager() -> Options {
    Options {
        store_every: Duration::ZERO,
        count_every: Duration::ZERO,
        end_wait: Duration::from_millis(50),
        ..Options::default()
    }
}

/// All lines there are, settled.
pub fn ship(follower: &mut Follower) -> Vec<String> {
    let parcels = read(follower, usize::MAX);
    if let Some(last) = parcels.last() {
        follower.settle(last.end).unwrap();
    }
    parcels
        .into_iter()
        .map(|parcel| parcel.record.body)
        .collect()
}

pub fn nothing() -> Vec<String> {
    Vec::new()
}

/// Lines that are long enough to tell files apart.
pub fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| line(number) + "\n").collect()
}

pub fn line(number: u32) -> String {
    format!(
        "2026-11-27 16:30:{:02}.{number:06} line {number} of the program",
        number % 60
    )
}

pub fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(line).collect()
}
