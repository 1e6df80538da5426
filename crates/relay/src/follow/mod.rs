//! Log files of any program as a source: `logboom ship FILE...`.
//!
//! Each FILE is the path of a log, whatever rotates it. Its lines are followed as they come; of the files that were rotated away
//! those that are not settled are read first, packed (`.gz`, `.zst`) or not. One cursor file remembers all logs.
//!
//! # What is not lost
//! | what happens to the log | what becomes of its lines |
//! |---|---|
//! | it is renamed, and made anew (`mv`, logrotate's `create`) | all come, in order; late ones of writers that have the old file open still do, for as long as `linger` says |
//! | it is packed after that, at once or later | the open file is read to its end; after a restart it is found again by its content |
//! | it is copied and emptied (`copytruncate`) | what was not read is read from the copy. Lines that were written between the copy and the emptying are lost to everybody |
//! | it is emptied without a copy | what was not read is lost, and counted as far as it was seen; so are lines that have to be sent again after a failure |
//! | it is deleted | the open file is read to its end; after a restart it is gone |
//! | a rotated file is deleted before it was read | lost, and counted |
//! | it has been packed in another way (`.bz2`, `.xz`) before it was read | lost, and counted |
//!
//! A file is known again by its first 256 bytes and by 64 bytes before the cursor. Two files that are alike in both are taken for
//! one: logs without any time in their lines may be.
//!
//! # The cursor
//! The file is as `SPOOL.md` of [`spool`](crate::spool) has it: two slots that are written in turn. Its text is JSON: of each log its
//! `path`, the `parts` that are being read, oldest first, and `after_ns`, the time (nanoseconds since 1970) before which files that were
//! changed last are settled, where no part tells more. Of a part: `inode`, `head_bytes` and `head_crc` (CRC-32 of so many first
//! bytes, 256 at most), `offset` (up to where it is settled, unpacked), `tail` (`from`, `bytes`, `crc`: what stands before that), and
//! `mtime_ns`. Logs that are not followed now keep what it says of them.
//!
//! # Lines
//! A line is a record: JSON by logboom is taken apart, anything else is a message (see [`Format`]). Empty lines are passed over. A
//! line that is longer than `line_bytes_max` becomes several records. A line without an end waits for it; in a file that was rotated
//! away it is a line after `end_wait`.

mod content;
mod family;
mod follower;
mod log;
mod names;
mod part;
mod stand;

use std::time::Duration;

pub use follower::Follower;

/// How logs are followed.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where a log begins that the cursor does not know.
    pub begin: Begin,
    /// The cursor is not used, and overwritten: every log begins as if it were unknown.
    pub begin_anew: bool,
    /// What lines are.
    pub format: Format,
    /// Records say which file they come from, as `log.file.path`.
    pub name_files: bool,
    /// The files will not grow any more: a last line without an end is a line.
    pub ends: bool,
    /// A longer line becomes several records. Memory is bounded by it.
    pub line_bytes_max: usize,
    /// How long a line without an end waits for it in a file that was rotated away.
    pub end_wait: Duration,
    /// How long a file that was rotated away is looked at after its last change.
    pub linger: Duration,
    /// How old an answer to how much is not settled may be, as long as something is.
    pub count_every: Duration,
    /// How long the cursor may lag behind what is settled, as far as somebody calls.
    pub store_every: Duration,
    /// How many settled records it may lag behind.
    pub store_records: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            begin: Begin::Start,
            begin_anew: false,
            format: Format::Auto,
            name_files: false,
            ends: false,
            line_bytes_max: 1 << 20,
            end_wait: Duration::from_secs(2),
            linger: Duration::from_secs(60),
            count_every: Duration::from_millis(50),
            store_every: Duration::from_millis(500),
            store_records: 20_000,
        }
    }
}

/// Where a log begins that the cursor does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest of its rotated files.
    Start,
    /// With the next line that is written.
    Now,
}

/// What lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON by logboom where a line is that, else plain.
    Auto,
    /// Every line is a message.
    Plain,
}
