//! Reads a spool: the [`Source`] of a destination.
//!
//! How it works: a list of the segments from the one that holds the last settled record to the one being read, each open; so
//! nothing that happens to their names matters. Behind the last of them comes whatever a listing of the directory then shows.
//!
//! What always holds: a segment is left only when it is closed and was read to its end after that was seen; it is deleted only when
//! all of its records are settled and a cursor that says so is on the disk. A segment that was cut back under the reader is read
//! again from the last record that is still there, as if it were another file.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lag::Counts;
use super::segments::{Entry, Name, Place, missed};
use super::stand::{Head, Stand};
use super::standing::{self, Standing};
use crate::cursor::{CursorFile, Found, failed};
use crate::lines::Lines;
use crate::listing::FileId;
use crate::recent::Recent;
use crate::source::{Began, Damage, Lag, Parcel, Position, Source};

/// How a spool is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the cursor may lag behind what is settled, as far as somebody calls.
    pub store_every: Duration,
    /// How many settled records it may lag behind.
    pub store_records: u64,
    /// How old an answer to how much is not settled may be, as long as something is.
    pub count_every: Duration,
    /// The longest line that is believed; a longer one counts as damage. Memory is bounded by it.
    pub line_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            store_every: Duration::from_millis(500),
            store_records: 20_000,
            count_every: Duration::from_millis(50),
            line_bytes_max: (16 << 20) + 256,
        }
    }
}

/// A call of `read` gives no more records when it has given so many bytes.
const BATCH_BYTES: u64 = 4 << 20;
/// Attempts to open a segment that is renamed at the same time.
const ATTEMPTS_MAX: usize = 20;

/// The records of one destination, out of its spool.
pub struct Reader {
    pub(super) place: Place,
    pub(super) options: Options,
    pub(super) cursor: CursorFile,
    /// From the one that holds the last settled record on; with an unread record in between none is missing.
    pub(super) segments: VecDeque<Segment>,
    /// Which of them is being read.
    pub(super) reading: usize,
    pub(super) lines: Lines,
    /// Nothing more will come in the segment being read: an unterminated line is all there is of it.
    pub(super) is_ending: bool,
    /// Bytes so far of a line that is longer than lines may be.
    pub(super) long_bytes: Option<u64>,
    /// The ends of the records that were given and are not settled.
    pub(super) in_flight: VecDeque<Mark>,
    pub(super) settled: Settled,
    /// Segments whose records are all settled, and that still have to be deleted.
    pub(super) delivered: Vec<(u32, FileId)>,
    /// Segments of the last listing that are still to be opened, and the highest number in it; None: nothing was listed.
    pub(super) unread: Vec<Entry>,
    pub(super) highest: Option<u32>,
    pub(super) damage: Damage,
    /// Up to where damage was counted; after a rewind it is met again.
    pub(super) damage_counted_to: Position,
    pub(super) numbers_given: u64,
    pub(super) counts: std::cell::RefCell<Counts>,
    pub(super) recent: Recent,
    /// Called after segments were deleted.
    pub(super) deleted: Option<Box<dyn Fn() + Send>>,
    began: Began,
}

/// A segment, open.
pub(super) struct Segment {
    /// As in [`Position`].
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    pub(super) id: FileId,
    /// Its name once it is closed; None: it is not, or it was deleted.
    pub(super) closed_as: Option<u32>,
    /// Nobody writes to it any more.
    pub(super) is_closed: bool,
    /// It was read to its end after it had been closed.
    pub(super) is_complete: bool,
    /// The file was cut back: it is read again under another number.
    pub(super) is_superseded: bool,
    /// It is delivered and was deleted, or soon will be.
    pub(super) is_delivered: bool,
    /// Where reading it begins.
    pub(super) start: u64,
    /// The last record up to its end that was given.
    pub(super) last: Position,
    /// Lines given so far.
    pub(super) lines: u64,
}

/// The end of a record's line, and the checksum that stands there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) end: Position,
    pub(super) crc: u32,
    /// Of the line.
    pub(super) bytes: u64,
}

/// Up to where everything is settled.
pub(super) struct Settled {
    pub(super) at: Position,
    /// How much was settled since the spool was opened.
    pub(super) in_all: Lag,
    /// The file and the line before it; None: nothing was ever settled.
    pub(super) line: Option<(Arc<File>, FileId, u32)>,
    pub(super) head: Head,
    pub(super) is_finished: bool,
    /// Some of the settled records before it in the same file.
    pub(super) marks: VecDeque<Mark>,
    /// Settled records that the cursor does not know, and whether it has to be stored at all.
    pub(super) records_unstored: u64,
    pub(super) is_unstored: bool,
    pub(super) stored_at: Instant,
}

impl Reader {
    /// Opens the spool of the destination `name` in a spool root, and takes its cursor for this process. The spool may be empty.
    ///
    /// # Errors
    /// Another process has it (`WouldBlock`); the cursor is of an unknown version (`InvalidData`); the directory cannot be read.
    pub fn open(directory: &Path, name: &str, options: Options) -> io::Result<Reader> {
        let (cursor, found) = CursorFile::open(&directory.join(format!("{name}.cursor")))?;
        let mut reader = Reader {
            place: Place::new(directory.to_owned(), name),
            lines: Lines::from(0, options.line_bytes_max),
            options,
            cursor,
            segments: VecDeque::new(),
            reading: 0,
            is_ending: false,
            long_bytes: None,
            in_flight: VecDeque::new(),
            settled: Settled::nothing(),
            delivered: Vec::new(),
            unread: Vec::new(),
            highest: None,
            damage: Damage::default(),
            damage_counted_to: Position::default(),
            numbers_given: 0,
            counts: Default::default(),
            recent: Recent::default(),
            deleted: None,
            began: Began::Anew,
        };
        let listing = reader.look()?;
        reader.began = reader.begin(&found, &listing)?;
        Ok(reader)
    }

    /// Lets the reader call this after it has deleted segments.
    #[must_use]
    pub fn telling_of_deletions(mut self, deleted: Box<dyn Fn() + Send>) -> Reader {
        self.deleted = Some(deleted);
        self
    }

    /// Where reading began.
    pub fn began(&self) -> &Began {
        &self.began
    }

    /// Stands where the cursor says, if that can be believed, else before the oldest record.
    fn begin(&mut self, found: &Found, listing: &[Entry]) -> io::Result<Began> {
        Ok(match standing::find(&self.place, found, listing)? {
            Standing::Anew => Began::Anew,
            Standing::In(stand, entry, file) => {
                self.stand_in(&stand, &entry, file, listing);
                Began::AtCursor
            }
            Standing::Finished => Began::AtCursor,
            Standing::Gone => {
                self.damage.files_missed += 1;
                Began::CursorLost("the segment in which it stands is gone".to_owned())
            }
            Standing::Lost(why) => Began::CursorLost(why),
        })
    }

    /// Goes on in this segment. All older ones are delivered: dying between storing a cursor and deleting them leaves them here.
    fn stand_in(&mut self, stand: &Stand, entry: &Entry, file: File, listing: &[Entry]) {
        let older = listing.iter().filter(|other| other.name < entry.name);
        self.delivered
            .extend(older.filter_map(|other| match other.name {
                Name::Closed(number) => Some((number, other.file)),
                Name::Current => None,
            }));
        self.enter(entry, file, stand.offset);
        let segment = &mut self.segments[0];
        self.settled.at = Position {
            file: segment.number,
            offset: stand.offset,
        };
        segment.last = self.settled.at;
        self.settled.line = Some((segment.file.clone(), segment.id, stand.line_crc));
        self.settled.head = Head {
            bytes: stand.head_bytes,
            crc: stand.head_crc,
        };
        self.settled.is_finished = stand.finished;
        self.unread.retain(|other| other.name > entry.name);
    }

    /// Lists the segments, counts what went missing, and notes what is still to be opened.
    pub(super) fn look(&mut self) -> io::Result<Vec<Entry>> {
        let listed = self.place.list();
        let now = listed.map_err(|cause| failed("list", &self.place.directory, &cause))?;
        if let Some(highest) = self.highest {
            let missed = missed(&self.unread, highest, &now);
            self.damage.files_missed += missed.files;
            self.damage.bytes_missed += missed.bytes;
        }
        let numbers = now.iter().filter_map(|entry| match entry.name {
            Name::Closed(number) => Some(number),
            Name::Current => None,
        });
        self.highest = Some(numbers.max().or(self.highest).unwrap_or(0));
        self.unread = self.ahead(&now);
        Ok(now)
    }

    /// Which segments of a listing come after those that are open.
    pub(super) fn ahead(&self, now: &[Entry]) -> Vec<Entry> {
        let open: HashSet<FileId> = self.segments.iter().map(|segment| segment.id).collect();
        let newest = self.segments.back().map(|segment| segment.id);
        let newest = now.iter().find(|entry| Some(entry.file) == newest);
        let delivered = self.delivered.iter();
        let delivered: HashSet<(Name, FileId)> = delivered
            .map(|(number, file)| (Name::Closed(*number), *file))
            .collect();
        let is_ahead = |entry: &&Entry| {
            newest.is_none_or(|newest| entry.name > newest.name)
                && !open.contains(&entry.file)
                && !delivered.contains(&(entry.name, entry.file))
        };
        now.iter().filter(is_ahead).copied().collect()
    }

    fn open_segment(&self, entry: &Entry) -> io::Result<Option<File>> {
        let opened = self.place.open(entry);
        opened.map_err(|cause| failed("open", &self.place.path(entry.name), &cause))
    }

    /// Opens the segment behind the last one, if there is one.
    pub(super) fn discover(&mut self) -> io::Result<bool> {
        for _ in 0..ATTEMPTS_MAX {
            // Between two that are closed nothing ever comes, so an old listing will do.
            let listed = self
                .unread
                .first()
                .filter(|next| next.name != Name::Current);
            let next = match listed {
                Some(next) => Some(*next),
                None => {
                    self.look()?;
                    self.unread.first().copied()
                }
            };
            let Some(next) = next else {
                return Ok(false);
            };
            match self.open_segment(&next)? {
                Some(file) => {
                    self.unread.remove(0);
                    self.enter(&next, file, 0);
                    return Ok(true);
                }
                // It is gone, or has been closed.
                None => drop(self.look()?),
            }
        }
        Ok(false)
    }

    /// A number for a segment, or for reading one again.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers_given += 1;
        self.numbers_given
    }

    fn enter(&mut self, entry: &Entry, file: File, start: u64) {
        let number = self.next_number();
        let closed_as = match entry.name {
            Name::Closed(number) => Some(number),
            Name::Current => None,
        };
        self.segments.push_back(Segment {
            number,
            file: Arc::new(file),
            id: entry.file,
            closed_as,
            is_closed: closed_as.is_some(),
            is_complete: false,
            is_superseded: false,
            is_delivered: false,
            start,
            last: self
                .segments
                .back()
                .map_or(self.settled.at, |before| before.last),
            lines: 0,
        });
        self.read_from(self.segments.len() - 1);
    }

    pub(super) fn read_from(&mut self, index: usize) {
        self.reading = index;
        let start = self.segments.get(index).map_or(0, |segment| segment.start);
        self.lines = Lines::from(start, self.options.line_bytes_max);
        self.is_ending = false;
        self.long_bytes = None;
    }
}

impl Source for Reader {
    fn read(&mut self, most: usize, out: &mut VecDeque<Parcel>) -> io::Result<usize> {
        let (mut given, mut bytes) = (0, 0);
        while given < most && bytes < BATCH_BYTES {
            let outcome = match self.next_record() {
                Ok(Some(parcel)) => {
                    given += 1;
                    bytes += parcel.bytes;
                    out.push_back(parcel);
                    continue;
                }
                Ok(None) => self.go_on(),
                Err(cause) => Err(cause),
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => break,
                // What was read before it counts; the failure shows again with the next call.
                Err(_) if given > 0 => break,
                Err(cause) => return Err(cause),
            }
        }
        self.let_go();
        // A segment without a record that can be believed goes when it was read. If that fails it is tried again.
        if !self.delivered.is_empty() {
            let _ = self.store();
        }
        Ok(given)
    }

    fn settle(&mut self, end: Position) -> io::Result<()> {
        self.settle_up_to(end);
        self.let_go();
        if self.is_due() { self.store() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.store()
    }

    fn rewind(&mut self) {
        self.begin_again();
    }

    fn lag(&self) -> Lag {
        self.count_lag()
    }

    fn damage(&self) -> Damage {
        self.damage.clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // What is not stored is sent again by the next process.
        let _ = self.store();
    }
}
