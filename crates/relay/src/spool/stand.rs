//! Where a spool's cursor stands: in which file, and behind which record.
//!
//! What always holds: a place is found again only if everything that was noted of it fits, the beginning of its file and the end of
//! the line before it. Otherwise the file is gone, or is another one by now, or was cut back, and nothing of it counts as settled.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use super::line::{END_BYTES, end_of};
use crate::listing::FileId;

/// Bytes that a file is known by, as far as they lie before the cursor.
const HEAD_BYTES: u64 = 256;

/// A place behind a settled record. Stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stand {
    pub(super) inode: u64,
    /// How many bytes the checksum of the file's beginning covers.
    pub(super) head_bytes: u64,
    /// CRC-32 (ISO-HDLC) of them.
    pub(super) head_crc: u32,
    /// Byte behind the record's line.
    pub(super) offset: u64,
    /// Checksum of that line.
    pub(super) line_crc: u32,
    /// Nothing follows in this file, which is deleted or may be.
    pub(super) finished: bool,
}

/// What a file has to do with a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is the file, and holds the record.
    Exact,
    /// It is the file, but the record is not where it was: the file was cut back or is damaged.
    NotThere,
    /// It is another one.
    Other,
}

impl Stand {
    pub(super) fn parse(text: &[u8]) -> Option<Stand> {
        serde_json::from_slice(text).ok()
    }

    pub(super) fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn fit(&self, file: &File, id: FileId) -> io::Result<Fit> {
        let is_same_inode = id.inode == self.inode;
        let head = Head::read(file, self.head_bytes)?;
        let is_known = head.bytes == self.head_bytes && head.crc == self.head_crc && head.bytes > 0;
        if !is_known || self.offset < self.head_bytes {
            return Ok(Fit::Other);
        }
        // A file that was copied to another disk has another inode; then the record must be there as well.
        Ok(
            match (is_behind(file, self.offset, self.line_crc)?, is_same_inode) {
                (true, _) => Fit::Exact,
                (false, true) => Fit::NotThere,
                (false, false) => Fit::Other,
            },
        )
    }
}

/// The beginning of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Head {
    /// Of what lies before `offset`, as far as it is there.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Head> {
        let mut bytes = [0; HEAD_BYTES as usize];
        let wanted = offset.min(HEAD_BYTES) as usize;
        let got = read_fully(file, &mut bytes[..wanted], 0)?;
        Ok(Head {
            bytes: got as u64,
            crc: crc32fast::hash(&bytes[..got]),
        })
    }

    /// Whether reading again would bring more.
    pub(super) fn is_whole(self) -> bool {
        self.bytes == HEAD_BYTES
    }
}

/// Whether a line with this checksum ends at `offset`, with its line feed, with a damaged one, or without.
pub(super) fn is_behind(file: &File, offset: u64, line_crc: u32) -> io::Result<bool> {
    let mut end = [0; END_BYTES + 1];
    let Some(at) = offset.checked_sub(end.len() as u64) else {
        return Ok(false);
    };
    let is_there = read_fully(file, &mut end, at)? == end.len();
    let expected = end_of(line_crc);
    Ok(is_there && (end.starts_with(&expected) || end.ends_with(&expected)))
}

/// Reads until the buffer is full or the file ends.
fn read_fully(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}
