//! A queue of one process: entries between two cursors that only grow.
//!
//! `tail` is written by the producer alone, `drained` by whoever holds the lease. Cursors are absolute; the place in the
//! queue is the cursor modulo its length, a power of two. Entries are aligned to 32 bytes and never wrap: a filler takes
//! what is left at the end. A producer stores the entry, then the tail with release; the holder loads the tail with
//! acquire, reads, writes the file, and stores `drained` with release; the producer loads `drained` with acquire before
//! it writes over what lies behind.
//!
//! ```text
//!           0              4      6          7       8
//! shape    | length u32   | file | severity | flags |
//! time_ns  | wall clock                             |
//! seq      | the record's number in its file        |
//! check    | low half: position ^ length ^ 0x6c6f6762 |
//! line     | length bytes, then filled up to 32     |
//! ```
//!
//! Shared memory is input: an entry whose check, length or alignment is wrong makes the rest of the queue unreadable,
//! which is reported to the caller, who drops and counts it.

use crate::atomics::Ordering;
use crate::layout::EntryWords;
use crate::shm::Shm;

pub(crate) const ALIGN: u64 = 32;
pub(crate) const HEAD: u64 = 32;
const CHECK: u32 = 0x6c6f_6762;

/// The entry fills the end of the queue and holds no record.
pub(crate) const FLAG_FILLER: u8 = 1;
/// The record is in its file already, while an earlier one of another file is not.
pub(crate) const FLAG_DONE: u8 = 2;
/// In a recorder: the record was written to no file.
pub(crate) const FLAG_UNKEPT: u8 = 4;
/// In a recorder: the word of the file has the rules that want the record.
pub(crate) const FLAG_JUDGED: u8 = 8;

/// Whether a cursor from shared memory can be one.
pub(crate) fn is_position(cursor: u64) -> bool {
    cursor.is_multiple_of(ALIGN) && cursor < 1 << 62
}

/// The head of an entry, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub len: u32,
    pub file: u16,
    pub severity: u8,
    pub flags: u8,
    pub time_ns: u64,
    pub seq: u64,
}

/// Where in the mapping a queue lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub at: usize,
    pub len: u64,
}

impl Area {
    fn offset(self, position: u64) -> usize {
        self.at + (position & (self.len - 1)) as usize
    }

    /// Where the line of the entry at `position` lies in the mapping.
    pub fn line_at(self, position: u64) -> usize {
        self.offset(position) + HEAD as usize
    }

    /// The longest line that always fits an empty queue, wherever its cursors stand.
    pub fn line_max(self) -> u64 {
        self.len / 2 - HEAD - ALIGN
    }
}

/// Bytes that a line takes in a queue.
pub(crate) fn footprint(line_len: u64) -> u64 {
    (HEAD + line_len).next_multiple_of(ALIGN)
}

/// Where an entry of `footprint` bytes goes when the producer stands at `tail`: its position, and the tail after it.
/// None: the queue is full.
#[inline]
pub(crate) fn place(area: Area, tail: u64, drained: u64, footprint: u64) -> Option<(u64, u64)> {
    let rest = area.len - (tail & (area.len - 1));
    let position = if footprint <= rest { tail } else { tail + rest };
    let after = position + footprint;
    (after.wrapping_sub(drained) <= area.len).then_some((position, after))
}

/// Stores an entry with its line in two parts at `position`, and a filler from `tail` to it if there is room between.
#[inline]
pub(crate) fn store(
    shm: &Shm,
    area: Area,
    tail: u64,
    position: u64,
    entry: Entry,
    line: &[u8],
    more: &[u8],
) {
    if position != tail {
        let filler = Entry {
            len: (position - tail - HEAD) as u32,
            flags: FLAG_FILLER,
            ..entry
        };
        store_head(shm, area, tail, filler);
    }
    store_head(shm, area, position, entry);
    let at = area.line_at(position);
    shm.write(at, line);
    if !more.is_empty() {
        shm.write(at + line.len(), more);
    }
}

#[inline]
fn store_head(shm: &Shm, area: Area, position: u64, entry: Entry) {
    let words: &EntryWords = shm.at(area.offset(position));
    let shape = u64::from(entry.len)
        | u64::from(entry.file) << 32
        | u64::from(entry.severity) << 48
        | u64::from(entry.flags) << 56;
    words.shape.store(shape, Ordering::Relaxed);
    words.time_ns.store(entry.time_ns, Ordering::Relaxed);
    words.seq.store(entry.seq, Ordering::Relaxed);
    words
        .check
        .store(u64::from(check(position, entry.len)), Ordering::Relaxed);
}

fn check(position: u64, len: u32) -> u32 {
    position as u32 ^ len ^ CHECK
}

/// Reads the entry at `position`, with `end` as the last tail seen. None: these bytes are not an entry.
#[inline]
pub(crate) fn load(shm: &Shm, area: Area, position: u64, end: u64) -> Option<Entry> {
    if !position.is_multiple_of(ALIGN) || end < position || end - position > area.len {
        return None;
    }
    let words: &EntryWords = shm.at(area.offset(position));
    let shape = words.shape.load(Ordering::Relaxed);
    let entry = Entry {
        len: shape as u32,
        file: (shape >> 32) as u16,
        severity: (shape >> 48) as u8,
        flags: (shape >> 56) as u8,
        time_ns: words.time_ns.load(Ordering::Relaxed),
        seq: words.seq.load(Ordering::Relaxed),
    };
    let room = (end - position).min(area.len - (position & (area.len - 1)));
    let fits = footprint(u64::from(entry.len)) <= room;
    (fits && words.check.load(Ordering::Relaxed) as u32 == check(position, entry.len))
        .then_some(entry)
}

/// Marks the entry at `position` as being in its file. Only the holder does.
pub(crate) fn mark_done(shm: &Shm, area: Area, position: u64) {
    let words: &EntryWords = shm.at(area.offset(position));
    words
        .shape
        .fetch_or(u64::from(FLAG_DONE) << 56, Ordering::Relaxed);
}

/// The position after an entry.
#[inline]
pub(crate) fn after(position: u64, entry: &Entry) -> u64 {
    position + footprint(u64::from(entry.len))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    fn memory(len: u64) -> (Shm, Area) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        (Shm::map(&file, len as usize).unwrap(), Area { at: 0, len })
    }

    fn entry(len: usize, seq: u64) -> Entry {
        Entry {
            len: len as u32,
            file: 3,
            severity: 9,
            flags: 0,
            time_ns: 7,
            seq,
        }
    }

    proptest! {
        /// A queue gives back what was put in, in order, at any fill and across any wrap, and never more than it holds.
        #[test]
        fn a_queue_is_first_in_first_out(actions in prop::collection::vec((0usize..700, any::<bool>()), 1..400)) {
            let (shm, area) = memory(4096);
            let (mut tail, mut drained, mut seq) = (0, 0, 0);
            let mut model = VecDeque::new();
            for (len, push) in actions {
                if push {
                    let line = vec![seq as u8; len];
                    if let Some((position, next)) = place(area, tail, drained, footprint(len as u64)) {
                        store(&shm, area, tail, position, entry(len, seq), &line[..len / 2], &line[len / 2..]);
                        tail = next;
                        model.push_back((seq, line));
                        seq += 1;
                    } else {
                        prop_assert!(!model.is_empty(), "an empty queue refused a short line");
                    }
                } else if drained < tail {
                    let mut found = load(&shm, area, drained, tail).unwrap();
                    if found.flags & FLAG_FILLER != 0 {
                        drained = after(drained, &found);
                        found = load(&shm, area, drained, tail).unwrap();
                    }
                    let (seq, line) = model.pop_front().unwrap();
                    prop_assert_eq!(found, entry(line.len(), seq));
                    prop_assert_eq!(shm.bytes(area.line_at(drained), line.len()), &line[..]);
                    drained = after(drained, &found);
                }
            }
        }

        /// Bytes that are no entry are refused, whatever they are, and reading them touches nothing outside the queue.
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 256), position in 0u64..512, end in 0u64..2048) {
            let (shm, area) = memory(4096);
            shm.write(0, &bytes);
            if let Some(entry) = load(&shm, area, position, end) {
                prop_assert!(after(position, &entry) <= end);
                prop_assert!((position & 4095) + footprint(u64::from(entry.len)) <= 4096);
            }
        }
    }

    #[test]
    fn a_done_mark_survives_and_changes_nothing_else() {
        let (shm, area) = memory(4096);
        store(&shm, area, 0, 0, entry(5, 1), b"hello", b"");
        mark_done(&shm, area, 0);
        let found = load(&shm, area, 0, 64).unwrap();
        assert_eq!(
            found,
            Entry {
                flags: FLAG_DONE,
                ..entry(5, 1)
            }
        );
    }
}
