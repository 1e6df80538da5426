//! Sources: where records to be shipped come from, in order, and up to where they are settled.
//!
//! A source is read ahead of what is settled. Its cursor, on disk, stands behind the last settled record; after any end of this
//! process reading begins there. `SPOOL.md` specifies spool and cursor.

use std::collections::VecDeque;
use std::io;

use crate::record::Record;

/// A record and where it ends in its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    /// The record.
    pub record: Record,
    /// Where the source goes on behind it.
    pub end: Position,
    /// Bytes that it takes in its source.
    pub bytes: u64,
}

/// A place in a source. It means nothing to anybody but the source that gave it, except that later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Number of the file, in the order of reading; counts on while the source is open.
    pub file: u64,
    /// Byte in the file.
    pub offset: u64,
}

/// How much is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Records; None: not known without reading everything.
    pub records: Option<u64>,
    /// Bytes in the files behind the cursor.
    pub bytes: u64,
}

/// What was lost or could not be read, since the source was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damage {
    /// Lines that could not be believed and were skipped.
    pub lines_skipped: u64,
    /// Their bytes.
    pub bytes_skipped: u64,
    /// Files that were gone before they were read to their end, as far as can be told: how many records nobody can say.
    pub files_missed: u64,
    /// Their bytes, as far as they were seen.
    pub bytes_missed: u64,
}

/// Where reading began when a source was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// Where the cursor stood.
    AtCursor,
    /// Where a source begins that has no cursor: none was ever stored, or it was deleted.
    Anew,
    /// As without a cursor, because there was one and it could not be used, for this reason. Records may come again.
    CursorLost(String),
}

/// Where records come from.
pub trait Source: Send {
    /// Appends records, oldest first and at most `most`, to `out`; gives how many. 0: there are none now. A call gives fewer than
    /// asked for when they are large.
    ///
    /// # Errors
    /// A file cannot be read. It may be tried again.
    fn read(&mut self, most: usize, out: &mut VecDeque<Parcel>) -> io::Result<usize>;

    /// All records up to `end` are settled: the cursor moves there, and what is not needed any more may be deleted. May be called
    /// for every record: the cursor is stored now and then.
    ///
    /// # Errors
    /// The cursor cannot be stored, or a file not be deleted. Both are done with a later call.
    fn settle(&mut self, end: Position) -> io::Result<()>;

    /// Stores the cursor now, if it has moved. Dropping a source does so, too.
    ///
    /// # Errors
    /// As for `settle`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Begins again behind the last settled record.
    fn rewind(&mut self);

    /// How much is not settled.
    fn lag(&self) -> Lag;

    /// What was lost.
    fn damage(&self) -> Damage;
}
