//! The window: which records leave the queues next, in which order.
//!
//! A window is a prefix of what all queues hold, merged by time across workers (each worker's own order is kept whatever
//! its clock did). It is a function of the queues' contents and of the gate's answers alone, so that a successor of a dead
//! holder gets the same records in the same order from the ranges that the intent recorded.

use crate::layout::{FILES, SLOTS};
use crate::ring::{self, Area, Entry};
use crate::state::State;

/// A batch is closed when it is this long.
pub(crate) const BATCH_BYTES: usize = 64 << 10;
const ITEMS_MAX: usize = 2048;

/// One record of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub file: u16,
    pub slot: u16,
    pub len: u32,
    /// Where its line lies in the mapping.
    pub at: usize,
    /// The position behind it in its queue.
    pub end: u64,
}

/// The part of a queue that a window covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub slot: u16,
    pub from: u64,
    pub to: u64,
}

/// What the gate says of the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Take,
    /// It stays in its queue for now, as do all others of its file: only later records for other files go before it.
    Keep,
    /// The window ends before it.
    Stop,
}

/// A set of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileSet([u64; 2]);

impl FileSet {
    pub fn from_words(words: [u64; 2]) -> FileSet {
        FileSet(words)
    }
    pub fn words(self) -> [u64; 2] {
        self.0
    }
    pub fn insert(&mut self, file: u16) {
        self.0[usize::from(file) / 64 % 2] |= 1 << (file % 64);
    }
    pub fn insert_all(&mut self, other: FileSet) {
        self.0[0] |= other.0[0];
        self.0[1] |= other.0[1];
    }
    pub fn contains(self, file: u16) -> bool {
        self.0[usize::from(file) / 64 % 2] & 1 << (file % 64) != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == [0, 0]
    }
    pub fn iter(self) -> impl Iterator<Item = u16> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let word = left.iter().position(|word| *word != 0)?;
            let bit = left[word].trailing_zeros();
            left[word] &= left[word] - 1;
            Some(word as u16 * 64 + bit as u16)
        })
    }
}

/// A window with its buffers, which are used again and again.
#[derive(Default)]
pub(crate) struct Window {
    pub items: Vec<Item>,
    pub ranges: Vec<Range>,
    pub files: FileSet,
    /// Every record that was published when the collection began is in the window, or kept back.
    pub exhausted: bool,
    /// Some record was kept back: the cursors cannot simply jump to the ends of the ranges.
    pub keeps_some: bool,
    /// Queues whose bytes could not be read as entries.
    pub corrupt: Vec<u16>,
    cursors: Vec<Cursor>,
}

struct Cursor {
    slot: u16,
    area: Area,
    from: u64,
    position: u64,
    end: u64,
    /// The record at `position`, already looked at.
    next: Option<Entry>,
    corrupt: bool,
}

impl Cursor {
    /// Moves to the next record from `position` on, over fillers and over what is in its file already.
    fn seek(&mut self, state: &State) {
        self.next = None;
        while self.position < self.end {
            let Some(entry) = ring::load(&state.shm, self.area, self.position, self.end) else {
                self.corrupt = true;
                self.position = self.end;
                return;
            };
            if entry.flags & (ring::FLAG_FILLER | ring::FLAG_DONE) == 0
                && usize::from(entry.file) < FILES
            {
                self.next = Some(entry);
                return;
            }
            self.position = ring::after(self.position, &entry);
        }
    }
}

impl Window {
    /// Collects from all that is published and not drained.
    pub fn collect(&mut self, state: &State, gate: impl FnMut(&Entry) -> Gate) {
        self.cursors.clear();
        for slot in 0..state.slots_used() {
            let words = state.slot(slot);
            let from = words.drained.load(std::sync::atomic::Ordering::Relaxed);
            // ORDERING: pairs with the producer's release of its tail: the entries before it are complete.
            let end = words.tail.load(std::sync::atomic::Ordering::Acquire);
            if end != from {
                self.open_cursor(
                    state,
                    Range {
                        slot,
                        from,
                        to: end,
                    },
                );
            }
        }
        self.merge(state, gate);
    }

    /// Collects again what an earlier window covered.
    pub fn collect_ranges(
        &mut self,
        state: &State,
        ranges: &[Range],
        gate: impl FnMut(&Entry) -> Gate,
    ) {
        self.cursors.clear();
        for range in ranges {
            self.open_cursor(state, *range);
        }
        self.merge(state, gate);
    }

    fn open_cursor(&mut self, state: &State, range: Range) {
        debug_assert!(usize::from(range.slot) < SLOTS);
        let area = state.queue(range.slot);
        let (slot, from) = (range.slot, range.from);
        let corrupt = range.to.wrapping_sub(from) > area.len;
        let position = if corrupt { range.to } else { from };
        let mut cursor = Cursor {
            slot,
            area,
            from,
            position,
            end: range.to,
            next: None,
            corrupt,
        };
        cursor.seek(state);
        self.cursors.push(cursor);
    }

    fn merge(&mut self, state: &State, mut gate: impl FnMut(&Entry) -> Gate) {
        self.items.clear();
        self.ranges.clear();
        self.corrupt.clear();
        self.files = FileSet::default();
        self.keeps_some = false;
        let mut bytes = 0;
        self.exhausted = loop {
            let Some(index) = self.earliest() else {
                break true;
            };
            let cursor = &mut self.cursors[index];
            let Some(entry) = cursor.next else { break true };
            let full = bytes + entry.len as usize > BATCH_BYTES || self.items.len() == ITEMS_MAX;
            if full && !self.items.is_empty() {
                break false;
            }
            match gate(&entry) {
                Gate::Stop => break false,
                Gate::Keep => self.keeps_some = true,
                Gate::Take => {
                    let at = cursor.area.line_at(cursor.position);
                    self.items.push(Item {
                        file: entry.file,
                        slot: cursor.slot,
                        len: entry.len,
                        at,
                        end: ring::after(cursor.position, &entry),
                    });
                    self.files.insert(entry.file);
                    bytes += entry.len as usize;
                }
            }
            cursor.position = ring::after(cursor.position, &entry);
            cursor.seek(state);
        };
        self.close_cursors();
    }

    /// The cursor with the earliest record; the lower slot wins a tie, so that the order is the same for everybody.
    #[inline]
    fn earliest(&self) -> Option<usize> {
        if let [only] = &self.cursors[..] {
            return only.next.map(|_| 0);
        }
        let waiting = self
            .cursors
            .iter()
            .enumerate()
            .filter_map(|(index, c)| c.next.map(|entry| (entry.time_ns, index)));
        waiting.min().map(|(_, index)| index)
    }

    fn close_cursors(&mut self) {
        for cursor in &self.cursors {
            if cursor.corrupt {
                self.corrupt.push(cursor.slot);
            }
            if cursor.position != cursor.from {
                self.ranges.push(Range {
                    slot: cursor.slot,
                    from: cursor.from,
                    to: cursor.position,
                });
            }
        }
    }

    /// The lines of one file, in order, without the first `skip`, appended to `out`.
    pub fn lines_of(&self, state: &State, file: u16, skip: usize, out: &mut Vec<u8>) {
        for item in self.items_of(file).skip(skip) {
            state.shm.append_to(item.at, item.len as usize, out);
        }
    }

    pub fn items_of(&self, file: u16) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.file == file)
    }
}
