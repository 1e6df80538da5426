//! How much of a spool is not settled.
//!
//! Bytes come from the files' sizes. Records that were not read yet are counted by their line feeds, some megabytes a call; where
//! that is not enough their number is unknown until a later call. Damaged lines count as records.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::File;

use super::line::HEADER;
use super::reader::{Reader, Segment};
use super::segments::Entry;
use crate::listing::FileId;
use crate::source::Lag;

/// Bytes that one call may look through.
const COUNTED_BYTES_MAX: u64 = 16 << 20;
const PIECE_BYTES: usize = 128 << 10;
const HEADER_BYTES: u64 = HEADER.len() as u64;

/// What was counted by earlier calls, by file.
pub(super) type Counts = HashMap<FileId, Count>;

/// The lines of a file from where its reading began to `to`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    to: u64,
    lines: u64,
}

/// A part of a file that nobody has read.
struct Unread<'a> {
    id: FileId,
    place: Place<'a>,
    /// Where it begins, and how many lines of the file lie before that.
    from: u64,
    lines_before: u64,
    to: u64,
}

enum Place<'a> {
    Open(&'a File),
    Listed(&'a Entry),
}

impl Reader {
    pub(super) fn count_lag(&self) -> Lag {
        let count = || self.count_anew(&mut self.counts.borrow_mut());
        self.recent
            .lag(self.settled.in_all, self.options.count_every, count)
    }

    fn count_anew(&self, by_file: &mut Counts) -> Lag {
        let listing = self.place.list().map(|now| self.ahead(&now));
        let listing = listing.unwrap_or_else(|_| self.unread.clone());
        let mut parts: Vec<Unread<'_>> = Vec::new();
        let mut bytes = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            let is_passed = segment.number < self.settled.at.file;
            if !segment.is_superseded && !segment.is_delivered && !is_passed {
                let len = segment.file.metadata().map_or(0, |facts| facts.len());
                bytes += len.saturating_sub(self.unsettled_from(segment));
                parts.extend(self.unread_of(index, len));
            }
        }
        for entry in &listing {
            bytes += entry.bytes.saturating_sub(HEADER_BYTES);
            parts.push(Unread {
                id: entry.file,
                place: Place::Listed(entry),
                from: HEADER_BYTES,
                lines_before: 0,
                to: entry.bytes,
            });
        }
        Lag {
            records: self.count_records(&parts, by_file),
            bytes,
        }
    }

    fn unsettled_from(&self, segment: &Segment) -> u64 {
        let from = match segment.number == self.settled.at.file {
            true => self.settled.at.offset,
            false => segment.start,
        };
        from.max(HEADER_BYTES)
    }

    fn unread_of(&self, index: usize, len: u64) -> Option<Unread<'_>> {
        let segment = &self.segments[index];
        let from = match index.cmp(&self.reading) {
            Ordering::Less => return None,
            Ordering::Equal => self.lines.at(),
            Ordering::Greater => segment.start,
        };
        Some(Unread {
            id: segment.id,
            place: Place::Open(&segment.file),
            from: from.max(HEADER_BYTES),
            lines_before: segment.lines,
            to: len,
        })
    }

    /// None: there are too many to count at once.
    fn count_records(&self, parts: &[Unread<'_>], by_file: &mut Counts) -> Option<u64> {
        let mut budget = COUNTED_BYTES_MAX;
        let mut records = self.in_flight.len() as u64;
        let mut is_all = true;
        by_file.retain(|id, _| parts.iter().any(|part| part.id == *id));
        for part in parts {
            let counted = by_file.entry(part.id).or_default();
            if counted.to < part.from {
                *counted = Count {
                    to: part.from,
                    lines: part.lines_before,
                };
            }
            if counted.to < part.to && budget > 0 {
                match part.place {
                    Place::Open(file) => count_on(counted, file, part.to, &mut budget),
                    Place::Listed(entry) => {
                        if let Ok(Some(file)) = self.place.open(entry) {
                            count_on(counted, &file, part.to, &mut budget);
                        }
                    }
                }
            }
            is_all &= counted.to >= part.to;
            records += counted.lines.saturating_sub(part.lines_before);
        }
        is_all.then_some(records)
    }
}

/// Counts on up to `to`, within the budget.
fn count_on(counted: &mut Count, file: &File, to: u64, budget: &mut u64) {
    use std::os::unix::fs::FileExt;
    let mut piece = vec![0; PIECE_BYTES];
    while counted.to < to && *budget > 0 {
        let wanted = (to - counted.to).min(*budget).min(PIECE_BYTES as u64) as usize;
        match file.read_at(&mut piece[..wanted], counted.to) {
            Ok(0) | Err(_) => break,
            Ok(got) => {
                counted.lines += memchr::memchr_iter(b'\n', &piece[..got]).count() as u64;
                counted.to += got as u64;
                *budget -= got as u64;
            }
        }
    }
}
