//! What a log can be asked to be: the options of [`Log::open`](crate::Log::open), and the small types they are made of.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind};
use crate::files::compress::Compress;
use crate::files::schedule::Schedule;
use crate::format::Encoder;

/// How a log is opened, written, rotated and kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Append to what is there, or begin with an empty file.
    pub mode: OpenMode,
    /// Rotate when a record would bring the file to this many bytes; 0: never by size.
    pub max_bytes: u64,
    /// How many archives are kept; 0: with rotation by size alone nothing is rotated, by time all are kept
    /// (as in Python's `logging.handlers`).
    pub backup_count: u32,
    /// Rotate by time as well.
    pub schedule: Option<Schedule>,
    /// strftime suffix of timed archives; None: the one that belongs to the schedule's unit.
    pub suffix: Option<String>,
    /// Number the archives (`.1` is the newest) although there is a schedule.
    pub numbered: bool,
    /// What archives are compressed with, outside the lease.
    pub compress: Compress,
    /// Delete archives older than this many seconds; 0: no limit.
    pub keep_age_s: u64,
    /// Delete the oldest archives while all files of the log are longer than this together; 0: no limit.
    pub keep_bytes: u64,
    /// When a record counts as published.
    pub durability: Durability,
    /// Follow a rotation from outside (`mv`, logrotate, deletion).
    pub watch: bool,
    /// End each record with its ledger id, ` [lb=DOMAIN.EPOCH.NUMBER]`.
    pub ledger_ids: bool,
    /// Where the shared state of the log directory lies.
    pub state_dir: StateDir,
    /// The group (its number) whose members may look at the state with a [`Viewer`](crate::viewer::Viewer), and not change
    /// it. None: nobody but the user. Only root and members of the group can give it.
    pub state_group: Option<u32>,
    /// What a publisher does whose queue is full.
    pub on_full: OnFull,
    /// How long it waits for space at most, in milliseconds, once per stall.
    pub on_full_wait_ms: u64,
    /// Length of each worker's queue in bytes, rounded up to a power of two; 0: 1 MiB, less where the state has little
    /// room. The first member of a domain decides.
    pub queue_bytes: u64,
    /// Length of each worker's recorder in bytes, rounded up to a power of two (64 MiB at most); 0: nothing is recorded.
    /// The first member of a domain decides; where it asked for none, a recorder is as long as a queue.
    pub recorder_bytes: u64,
    /// How the records are written that this crate makes itself: black boxes and what a process prints. None: as text.
    pub encoder: Option<Encoder>,
    /// Black boxes are the business of another log of the domain, and copied to this one, in the encoder's format.
    pub black_box_copies: bool,
    /// How many of a dead worker's last records its black box has at most.
    pub blackbox_records: u32,
    /// Bytes (4 at most) that a new, empty file starts with: a byte order mark.
    pub preamble: Vec<u8>,
    /// The log is a spool, which [`LogOptions::for_spool`] makes it: its records are JSON lines, get an id and a checksum each, and
    /// wait to be shipped. What happens when it is full.
    pub spool: Option<SpoolFull>,
    /// The `logboom` command, which is started as a relay for this spool when there is none; None: none is started.
    pub relay_program: Option<PathBuf>,
    /// This process rotates the file with code of its own, when asked to ([`Outcome::RotationDue`](crate::Outcome)).
    pub hooks: bool,
    /// Mode of a file that is created.
    pub create_mode: Option<u32>,
    /// User and group of a file that is created.
    pub owner: Option<(u32, u32)>,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            mode: OpenMode::Append,
            max_bytes: 0,
            backup_count: 0,
            schedule: None,
            suffix: None,
            numbered: false,
            compress: Compress::None,
            keep_age_s: 0,
            keep_bytes: 0,
            durability: Durability::Kernel,
            watch: true,
            ledger_ids: false,
            state_dir: StateDir::Default,
            state_group: None,
            on_full: OnFull::Block,
            on_full_wait_ms: 200,
            queue_bytes: 0,
            recorder_bytes: 0,
            encoder: None,
            black_box_copies: false,
            blackbox_records: 50,
            preamble: Vec::new(),
            spool: None,
            relay_program: None,
            hooks: false,
            create_mode: None,
            owner: None,
        }
    }
}

impl LogOptions {
    /// The options of a spool of `bytes` on disk at most: segments of a sixteenth of that, between 64 KiB and 16 MiB.
    #[must_use]
    pub fn for_spool(bytes: u64, full: SpoolFull) -> LogOptions {
        let segment = (bytes / SPOOL_SEGMENTS).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        LogOptions {
            max_bytes: segment,
            // The one that is written to comes on top.
            keep_bytes: bytes.saturating_sub(segment).max(1),
            spool: Some(full),
            preamble: SPOOL_PREAMBLE.to_vec(),
            queue_bytes: SPOOL_QUEUE_BYTES,
            create_mode: Some(0o600),
            ..LogOptions::default()
        }
    }

    /// Refuses what the fixed tables cannot hold.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |text: &str| Err(Error::new(ErrorKind::Invalid, text));
        if self.preamble.len() > 4 {
            return invalid(
                "failed to use the option `preamble`: a byte order mark has 4 bytes at most",
            );
        }
        if self.suffix.as_ref().is_some_and(|suffix| suffix.len() > 56) {
            return invalid(
                "failed to use the option `suffix`: it is longer than 56 bytes; shorten it",
            );
        }
        if !self.compress.is_available() {
            return invalid(
                "failed to use the option `compress`: this build lacks that method (features `gzip`, `zstd`)",
            );
        }
        Ok(())
    }

    /// Whether archives are named by time: with a schedule, unless numbers are asked for, and with a suffix.
    pub(crate) fn has_timed_names(&self) -> bool {
        !self.numbered && (self.schedule.is_some() || self.suffix.is_some())
    }

    pub(crate) fn suffix_in_force(&self) -> &str {
        match (&self.suffix, &self.schedule) {
            (Some(suffix), _) => suffix,
            (None, Some(schedule)) => schedule.when.default_suffix(),
            (None, None) => "",
        }
    }
}

/// What happens when a spool is as long as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolFull {
    /// Its oldest segment is deleted.
    DropOldest,
    /// New records are dropped, and counted.
    DropNewest,
    /// Who logs waits for room, up to `on_full_wait_ms` and once per stall; then the record is dropped, and counted.
    Block,
}

/// What each segment of a spool begins with: magic and version (SPOOL.md of the relay).
const SPOOL_PREAMBLE: &[u8] = b"LS1\n";
const SPOOL_SEGMENTS: u64 = 16;
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=16 << 20;
const SPOOL_QUEUE_BYTES: u64 = 512 << 10;

/// Whether a log begins with what is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Records go behind what is there.
    Append,
    /// The file is emptied, unless another living process of the domain has it.
    Truncate,
}

/// When a record counts as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is in the queue or in the page cache: it survives the process, not a power cut.
    Kernel,
    /// When the disk has it: one `fdatasync(2)` for each batch, and the call waits for it.
    Disk,
}

/// Where the shared state lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateDir {
    /// `LOGBOOM_STATE_DIR`, else the user's runtime directory, else shared memory.
    Default,
    /// In the log directory itself, so that containers which share the volume share the state.
    Beside,
    /// In this directory, which only the user may write.
    Path(PathBuf),
}

/// As it is written: nothing, `beside`, or a directory.
impl From<&str> for StateDir {
    fn from(word: &str) -> StateDir {
        match word {
            "" => StateDir::Default,
            "beside" => StateDir::Beside,
            directory => StateDir::Path(directory.into()),
        }
    }
}

/// What a publisher does whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Wait for space, bounded; then drop and count.
    Block,
    /// Drop and count at once, records below WARN already when the queue is seven eighths full.
    Drop,
}

/// OpenTelemetry's severity number: 1 to 4 TRACE, 5 DEBUG, 9 INFO, 13 WARN, 17 ERROR, 21 to 24 FATAL; 0 unspecified
/// (OpenTelemetry logs data model, "Field: SeverityNumber").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(pub u8);

impl Severity {
    /// INFO.
    pub const INFO: Severity = Severity(9);
    /// WARN.
    pub const WARN: Severity = Severity(13);
    /// ERROR.
    pub const ERROR: Severity = Severity(17);

    /// The number for a level of Python's `logging`.
    pub fn from_python(level: i64) -> Severity {
        let number = match level {
            ..10 => 0,
            10..=12 => 5 + (level - 10),
            13..=19 => 8,
            20..=22 => 9 + (level - 20),
            23..=29 => 12,
            30..=32 => 13 + (level - 30),
            33..=39 => 16,
            40..=42 => 17 + (level - 40),
            43..=49 => 20,
            50..=52 => 21 + (level - 50),
            _ => 24,
        };
        Severity(number as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::Severity;

    #[test]
    fn python_levels_keep_their_order_and_their_names_meet() {
        let numbers: Vec<_> = (0..70).map(Severity::from_python).collect();
        assert!(numbers.is_sorted());
        let named = [
            (10, 5),
            (20, 9),
            (30, 13),
            (40, 17),
            (50, 21),
            (53, 24),
            (9, 0),
        ];
        for (level, number) in named {
            assert_eq!(
                Severity::from_python(level),
                Severity(number),
                "level {level}"
            );
        }
    }
}
