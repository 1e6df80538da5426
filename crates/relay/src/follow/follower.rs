//! The [`Source`] of followed logs.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde_json::value::RawValue;

use super::log::{Given, Log};
use super::stand::{LogStand, Stands, Tail};
use super::{Begin, Format, Options};
use crate::cursor::{CursorFile, Found, failed};
use crate::recent::Recent;
use crate::record::Record;
use crate::source::{Began, Damage, Lag, Parcel, Position, Source};

/// Lines that are read of one log before it is another one's turn.
const TURN_LINES: usize = 500;
/// A call of `read` gives no more records when it has given so many bytes.
const BATCH_BYTES: u64 = 4 << 20;

/// Logs of any program, followed.
pub struct Follower {
    options: Options,
    cursor: CursorFile,
    logs: Vec<Followed>,
    /// What the cursor knows of logs that are not followed now.
    others: Vec<LogStand>,
    /// Whose turn it is.
    turn: usize,
    /// Counts each change from one file to another; see [`Position`].
    turns: u64,
    /// The log and the part that were read last.
    last: Option<(usize, u64)>,
    in_flight: VecDeque<Mark>,
    /// How much was settled since the logs were opened.
    settled: Lag,
    recent: Recent,
    records_unstored: u64,
    is_unstored: bool,
    stored_at: Instant,
}

struct Followed {
    log: Log,
    began: Began,
    /// Its path as JSON, for its records.
    name: Option<Box<RawValue>>,
}

/// The end of a record that was given.
struct Mark {
    end: Position,
    log: usize,
    part: u64,
    tail: Tail,
    bytes: u64,
}

impl Follower {
    /// Follows the logs at these paths, which need not exist yet, with the cursor in a file.
    ///
    /// # Errors
    /// Another process has the cursor (`WouldBlock`); it is of an unknown version (`InvalidData`); a log cannot be read.
    pub fn open(paths: &[PathBuf], cursor: &Path, options: Options) -> io::Result<Follower> {
        let (cursor, found) = CursorFile::open(cursor)?;
        let stands = match &found {
            Found::Text(text) if !options.begin_anew => serde_json::from_slice::<Stands>(text).ok(),
            _ => Some(Stands::default()),
        };
        let is_lost = stands.is_none() || found == Found::Damaged && !options.begin_anew;
        let mut follower = Follower {
            options,
            cursor,
            logs: Vec::new(),
            others: stands.unwrap_or_default().logs,
            turn: 0,
            turns: 0,
            last: None,
            in_flight: VecDeque::new(),
            settled: Lag {
                records: Some(0),
                bytes: 0,
            },
            recent: Recent::default(),
            records_unstored: 0,
            is_unstored: false,
            stored_at: Instant::now(),
        };
        for path in paths {
            follower.add(path, is_lost)?;
        }
        // Where a log begins with the next line, that place must be known after the next end as well.
        if follower.options.begin == Begin::Now || follower.options.begin_anew {
            follower.is_unstored = true;
            follower.store()?;
        }
        Ok(follower)
    }

    fn add(&mut self, path: &Path, is_lost: bool) -> io::Result<()> {
        let path = &std::path::absolute(path)?;
        if path.to_str().is_none() {
            let why = io::Error::other("its name is no UTF-8, so the cursor cannot name it");
            return Err(failed("follow", path, &why));
        }
        if self.logs.iter().any(|there| there.log.path == *path) {
            return Ok(());
        }
        let known = self.others.iter().position(|stand| stand.path == *path);
        let known = known.map(|at| self.others.remove(at));
        let (log, began) = match &known {
            Some(stand) => {
                let mut log = Log::new(path.to_owned(), stand.after_ns);
                let lost = log.resume(stand, &self.options)?;
                (log, lost.map_or(Began::AtCursor, Began::CursorLost))
            }
            None if is_lost => (
                Log::new(path.to_owned(), i64::MIN),
                Began::CursorLost("it is damaged".to_owned()),
            ),
            None => (self.begin(path)?, Began::Anew),
        };
        let name = self.options.name_files.then(|| path.to_string_lossy());
        let name = name.and_then(|name| serde_json::value::to_raw_value(&name).ok());
        self.logs.push(Followed { log, began, name });
        Ok(())
    }

    fn begin(&self, path: &Path) -> io::Result<Log> {
        match self.options.begin {
            Begin::Start => Ok(Log::new(path.to_owned(), i64::MIN)),
            Begin::Now => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let mut log = Log::new(path.to_owned(), now.map_or(0, |now| now.as_nanos() as i64));
                log.begin_at_end(&self.options)?;
                Ok(log)
            }
        }
    }

    /// Where reading began, for each log.
    pub fn began(&self) -> impl Iterator<Item = (&Path, &Began)> {
        self.logs
            .iter()
            .map(|there| (there.log.path.as_path(), &there.began))
    }

    fn read_log(
        &mut self,
        index: usize,
        most: usize,
        out: &mut VecDeque<Parcel>,
    ) -> io::Result<usize> {
        let Followed { log, name, .. } = &mut self.logs[index];
        let (format, turns, last, in_flight) = (
            self.options.format,
            &mut self.turns,
            &mut self.last,
            &mut self.in_flight,
        );
        log.read(&self.options, most, &mut |given: &Given<'_>| {
            if *last != Some((index, given.part)) {
                *last = Some((index, given.part));
                *turns += 1;
            }
            let end = Position {
                file: *turns,
                offset: given.offset,
            };
            in_flight.push_back(Mark {
                end,
                log: index,
                part: given.part,
                tail: given.tail,
                bytes: given.bytes,
            });
            out.push_back(Parcel {
                record: record_of(given.text, format, name.as_deref()),
                end,
                bytes: given.bytes,
            });
        })
    }

    fn count_lag(&self) -> Lag {
        let (mut bytes, mut is_all_read) = (0, true);
        for there in &self.logs {
            let (unsettled, is_read) = there.log.unsettled_bytes();
            bytes += unsettled;
            is_all_read &= is_read;
        }
        Lag {
            records: is_all_read.then_some(self.in_flight.len() as u64),
            bytes,
        }
    }

    fn store(&mut self) -> io::Result<()> {
        if !self.is_unstored {
            return Ok(());
        }
        let logs = self.logs.iter().map(|there| there.log.stand());
        let stands = Stands {
            logs: logs.chain(self.others.iter().cloned()).collect(),
        };
        let text = serde_json::to_vec(&stands).map_err(io::Error::other)?;
        self.cursor.store(&text)?;
        self.is_unstored = false;
        self.records_unstored = 0;
        self.stored_at = Instant::now();
        Ok(())
    }
}

fn record_of(line: &[u8], format: Format, name: Option<&RawValue>) -> Record {
    let mut record = match (format, line.first()) {
        (Format::Auto, Some(b'{')) => Record::from_json_line(line),
        _ => Record::from_plain_line(line),
    };
    if let Some(name) = name {
        record.fields.push("log.file.path", name);
    }
    record
}

impl Source for Follower {
    fn read(&mut self, most: usize, out: &mut VecDeque<Parcel>) -> io::Result<usize> {
        let (mut given, mut bytes, mut idle) = (0, 0, 0);
        let mut failure = None;
        while idle < self.logs.len() && given < most && bytes < BATCH_BYTES {
            let index = self.turn % self.logs.len();
            self.turn = index + 1;
            let before = out.len();
            match self.read_log(index, TURN_LINES.min(most - given), out) {
                Ok(_) => {}
                // The others go on.
                Err(cause) => failure = Some(cause),
            }
            let got = out.len() - before;
            given += got;
            bytes += out.range(before..).map(|parcel| parcel.bytes).sum::<u64>();
            idle = if got == 0 { idle + 1 } else { 0 };
        }
        match failure {
            Some(cause) if given == 0 => Err(cause),
            _ => Ok(given),
        }
    }

    fn settle(&mut self, end: Position) -> io::Result<()> {
        while self.in_flight.front().is_some_and(|mark| mark.end <= end) {
            if let Some(mark) = self.in_flight.pop_front() {
                self.logs[mark.log]
                    .log
                    .settle(mark.part, mark.end.offset, mark.tail);
                self.records_unstored += 1;
                self.settled.bytes += mark.bytes;
                self.settled.records = self.settled.records.map(|sum| sum + 1);
                self.is_unstored = true;
            }
        }
        let is_due = self.records_unstored >= self.options.store_records
            || self.stored_at.elapsed() >= self.options.store_every;
        if is_due { self.store() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.store()
    }

    fn rewind(&mut self) {
        self.in_flight.clear();
        self.recent.forget();
        // What comes again comes at later positions.
        self.last = None;
        self.logs.iter_mut().for_each(|there| there.log.rewind());
    }

    fn lag(&self) -> Lag {
        self.recent
            .lag(self.settled, self.options.count_every, || self.count_lag())
    }

    fn damage(&self) -> Damage {
        let mut all = Damage::default();
        for there in &self.logs {
            let damage = &there.log.damage;
            all.lines_skipped += damage.lines_skipped;
            all.bytes_skipped += damage.bytes_skipped;
            all.files_missed += damage.files_missed;
            all.bytes_missed += damage.bytes_missed;
        }
        all
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // What is not stored is sent again by the next process.
        let _ = self.store();
    }
}
