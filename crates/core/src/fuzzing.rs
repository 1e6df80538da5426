//! Entry points over private functions for the fuzz targets in `fuzz/`; only with the feature `fuzzing`.
//!
//! Nothing is decided here: values go in, the function under test is called, values come out. What must hold is said in
//! the targets. Not part of the interface: it changes with what it calls.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::claim::{self, Contents};
use crate::drain::reconcile::{self, Found};
use crate::error::Error;
use crate::files::{config, ledger};
use crate::layout::{
    ArchiveLedger, CONTROL_AT, Control, FILE_READY, FILES_AT, FileConfig, FileEntry, FileLive,
    HOLDER_QUEUE, HOLDER_SLOT, Head, Ledger, QUEUES_AT, SLOT_LIVE, SLOTS_AT, Slot,
};
use crate::options::{LogOptions, Severity};
use crate::ring::{self, Area, Entry};
use crate::shm::Shm;
use crate::state::{State, Wanted};

const PAGE: usize = 4096;

/// A queue with a page before and a page behind it, which belong to nobody.
pub struct Queue {
    shm: Shm,
    area: Area,
}

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Record {
    pub len: u32,
    pub file: u16,
    pub severity: u8,
    pub flags: u8,
    pub time_ns: u64,
    pub seq: u64,
}

macro_rules! convert {
    ($from:ty => $to:ident) => {
        impl From<$from> for $to {
            fn from(value: $from) -> $to {
                $to {
                    len: value.len,
                    file: value.file,
                    severity: value.severity,
                    flags: value.flags,
                    time_ns: value.time_ns,
                    seq: value.seq,
                }
            }
        }
    };
}
convert!(Entry => Record);
convert!(Record => Entry);

#[allow(missing_docs)]
impl Queue {
    /// Every entry is a multiple of this long.
    pub const ALIGN: u64 = ring::ALIGN;
    pub const FLAG_FILLER: u8 = ring::FLAG_FILLER;
    pub const FLAG_DONE: u8 = ring::FLAG_DONE;

    /// A queue of `len` bytes, a power of two from 4096 up, in an empty file.
    pub fn new(file: &File, len: u64) -> io::Result<Queue> {
        let total = len as usize + 2 * PAGE;
        file.set_len(total as u64)?;
        let area = Area { at: PAGE, len };
        Ok(Queue {
            shm: Shm::map(file, total)?,
            area,
        })
    }

    /// Lays bytes over the queue, as many as there is room for, and zeroes over the rest.
    pub fn fill(&self, bytes: &[u8]) {
        let mut all = vec![0; self.area.len as usize];
        let len = bytes.len().min(all.len());
        all[..len].copy_from_slice(&bytes[..len]);
        self.shm.write(self.area.at, &all);
    }

    /// The pages around the queue.
    pub fn surroundings(&self) -> [&[u8]; 2] {
        let behind = self.area.at + self.area.len as usize;
        [self.shm.bytes(0, PAGE), self.shm.bytes(behind, PAGE)]
    }

    pub fn place(&self, tail: u64, drained: u64, line_len: u64) -> Option<(u64, u64)> {
        ring::place(self.area, tail, drained, ring::footprint(line_len))
    }

    pub fn store(&self, tail: u64, position: u64, record: Record, line: &[u8], more: &[u8]) {
        ring::store(
            &self.shm,
            self.area,
            tail,
            position,
            record.into(),
            line,
            more,
        );
    }

    pub fn load(&self, position: u64, end: u64) -> Option<Record> {
        ring::load(&self.shm, self.area, position, end).map(Record::from)
    }

    pub fn mark_done(&self, position: u64) {
        ring::mark_done(&self.shm, self.area, position);
    }

    pub fn after(position: u64, record: Record) -> u64 {
        ring::after(position, &record.into())
    }

    /// Where in the queue the line of the entry at `position` lies.
    pub fn line_range(&self, position: u64, record: Record) -> Range<usize> {
        let at = self.area.line_at(position) - self.area.at;
        at..at + record.len as usize
    }

    pub fn line(&self, position: u64, record: Record) -> &[u8] {
        self.shm
            .bytes(self.area.line_at(position), record.len as usize)
    }

    pub fn line_max(&self) -> u64 {
        self.area.line_max()
    }
}

/// What a file holds of a batch; see `drain::reconcile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Answer {
    Nothing,
    Whole {
        at: usize,
    },
    Prefix {
        at: usize,
        len: usize,
    },
    Interrupted {
        at: usize,
        records: usize,
        len: usize,
    },
}

/// Looks for a batch, made of records with the given ends, in the end of a file.
pub fn find_batch(batch: &[u8], record_ends: &[usize], tail: &[u8]) -> Answer {
    match reconcile::find(batch, record_ends, tail) {
        Found::Nothing => Answer::Nothing,
        Found::Whole { at } => Answer::Whole { at },
        Found::Prefix { at, len } => Answer::Prefix { at, len },
        Found::Interrupted { at, records, len } => Answer::Interrupted { at, records, len },
    }
}

/// The state and the domain that a claim names.
pub fn parse_claim(text: &str) -> Option<(PathBuf, u64)> {
    Contents::parse(text).map(|contents| (contents.state, contents.domain_id))
}

/// The claim that names a state and a domain.
pub fn claim_text(state: &Path, domain_id: u64) -> String {
    Contents {
        state: state.to_owned(),
        domain_id,
    }
    .text()
}

/// Makes the claim and the state of the log at `log`, in which a worker died that had `lines` in its queue and a window over
/// them recorded; gives the state's path. `log` must exist, and `options` name the state's directory.
pub fn leave_behind(log: &Path, options: &LogOptions, lines: &[&[u8]]) -> Result<PathBuf, Error> {
    let directory = crate::fs::parent(log);
    let path = crate::place::choose_path(directory, &options.state_dir, None)?;
    let state = State::create(&path, directory, Wanted::of(options))?;
    let entry = state.file_entry(0);
    entry.path.set(log.as_os_str().as_bytes());
    config::store(&entry.config, options);
    if let Ok(facts) = crate::fs::look(log) {
        entry.live.dev.store(facts.identity.dev, Ordering::Relaxed);
        entry.live.ino.store(facts.identity.ino, Ordering::Relaxed);
        ledger::begin(entry, facts.len);
    }
    entry.state.store(FILE_READY, Ordering::Relaxed);
    die_with(&state, lines);
    let domain_id = state.head().domain_id.load(Ordering::Relaxed);
    let claim = claim::path_in(directory, rustix::process::geteuid().as_raw());
    std::fs::write(&claim, claim_text(&path, domain_id))
        .map_err(|error| Error::io("write the claim", &claim, &error))?;
    Ok(path)
}

fn die_with(state: &State, lines: &[&[u8]]) {
    const DEAD: u16 = 1;
    let (words, area, control) = (state.slot(DEAD), state.queue(DEAD), state.control());
    let mut tail = 0;
    for (seq, line) in (0..).zip(lines) {
        let Some((position, next)) = ring::place(area, tail, 0, ring::footprint(line.len() as u64))
        else {
            break;
        };
        let entry = Entry {
            len: line.len() as u32,
            file: 0,
            severity: Severity::INFO.0,
            flags: 0,
            time_ns: 1 + seq,
            seq,
        };
        ring::store(&state.shm, area, tail, position, entry, line, b"");
        tail = next;
    }
    words.tail.store(tail, Ordering::Relaxed);
    words.window_to.store(tail, Ordering::Relaxed);
    words.state.store(1 << 32 | SLOT_LIVE, Ordering::Relaxed);
    control.window_slots[0].store(1 << DEAD, Ordering::Relaxed);
    control.epochs.store(1, Ordering::Relaxed);
    control
        .slots_used
        .store(u32::from(DEAD) + 1, Ordering::Relaxed);
    control.files_used.store(1, Ordering::Relaxed);
}

/// Parts of a state file with `options`, all of it that a damage can reach without naming other files: the first page,
/// the control page, four slots, the first file's entry behind its path, the beginning of two queues.
pub fn regions(options: &LogOptions) -> [Range<usize>; 8] {
    let part = |at, len| at..at + len;
    let queue_at = QUEUES_AT + HOLDER_QUEUE as usize;
    debug_assert!(HOLDER_SLOT == 0 && options.queue_bytes >= PAGE as u64);
    [
        part(0, size_of::<Head>()),
        part(CONTROL_AT, size_of::<Control>()),
        part(SLOTS_AT, 4 * size_of::<Slot>()),
        part(
            FILES_AT + offset_of!(FileEntry, config),
            size_of::<FileConfig>(),
        ),
        part(
            FILES_AT + offset_of!(FileEntry, live),
            size_of::<FileLive>(),
        ),
        part(
            FILES_AT + offset_of!(FileEntry, ledgers),
            2 * size_of::<Ledger>() + 2 * size_of::<ArchiveLedger>(),
        ),
        part(QUEUES_AT, PAGE),
        part(queue_at, PAGE),
    ]
}
