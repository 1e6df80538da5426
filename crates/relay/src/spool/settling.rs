//! What becomes of settled records: the cursor moves behind them, and segments that hold nothing else are deleted.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::reader::{Mark, Reader, Segment, Settled};
use super::segments::Name;
use super::stand::{Head, Stand};
use crate::cursor::failed;
use crate::listing::FileId;
use crate::source::{Lag, Position};

/// Settled records of a segment that are remembered, to find out up to where the segment was cut back; and how far apart they are.
const MARKS_MAX: usize = 1024;
const MARKS_APART_BYTES: u64 = 16 << 10;

impl Settled {
    pub(super) fn nothing() -> Settled {
        Settled {
            at: Position::default(),
            in_all: Lag {
                records: Some(0),
                bytes: 0,
            },
            line: None,
            head: Head::default(),
            is_finished: false,
            marks: VecDeque::new(),
            records_unstored: 0,
            is_unstored: false,
            stored_at: Instant::now(),
        }
    }

    /// Whether the last settled record is in this file.
    pub(super) fn is_in(&self, id: FileId) -> bool {
        self.line.as_ref().is_some_and(|(_, file, _)| *file == id)
    }

    /// Settled records in this file that are remembered, the last one among them.
    pub(super) fn marks_in(&self, id: FileId) -> impl Iterator<Item = Mark> {
        let line = self.line.as_ref().filter(|(_, file, _)| *file == id);
        let last = line.map(|(_, _, crc)| Mark {
            end: self.at,
            crc: *crc,
            bytes: 0,
        });
        let others = self.marks.iter().filter(move |_| last.is_some());
        others.copied().chain(last)
    }

    /// Moves behind a record of this segment.
    fn move_to(&mut self, mark: Mark, segment: &Segment) {
        if !self.is_in(segment.id) {
            self.head = Head::default();
            self.marks.clear();
        }
        self.line = Some((segment.file.clone(), segment.id, mark.crc));
        self.at = mark.end;
        self.is_finished = false;
        self.is_unstored = true;
        let apart = |last: &Mark| mark.end.offset.saturating_sub(last.end.offset);
        if self
            .marks
            .back()
            .is_none_or(|last| apart(last) >= MARKS_APART_BYTES)
        {
            self.marks.push_back(mark);
        }
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// The place, for the cursor; None: nothing was ever settled.
    fn stand(&mut self) -> io::Result<Option<Stand>> {
        let Some((file, id, crc)) = &self.line else {
            return Ok(None);
        };
        if !self.head.is_whole() {
            let head = Head::read(file, self.at.offset)?;
            // Less is read than before when the file was cut back.
            if head.bytes > self.head.bytes {
                self.head = head;
            }
        }
        Ok(Some(Stand {
            inode: id.inode,
            head_bytes: self.head.bytes,
            head_crc: self.head.crc,
            offset: self.at.offset,
            line_crc: *crc,
            finished: self.is_finished,
        }))
    }
}

impl Reader {
    /// Counts everything up to `end` as settled.
    pub(super) fn settle_up_to(&mut self, end: Position) {
        let mut last = None;
        while let Some(mark) = self.in_flight.front().filter(|mark| mark.end <= end) {
            last = Some(*mark);
            self.settled.records_unstored += 1;
            self.settled.in_all.bytes += mark.bytes;
            self.settled.in_all.records = self.settled.in_all.records.map(|sum| sum + 1);
            self.in_flight.pop_front();
        }
        let Some(mark) = last else {
            return;
        };
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.number == mark.end.file);
        if let Some(segment) = segment {
            self.settled.move_to(mark, segment);
        }
    }

    /// Lets go of the segments whose records are all settled.
    pub(super) fn let_go(&mut self) {
        while let Some(front) = self.segments.front_mut() {
            let is_settled = self.settled.at >= front.last;
            if !is_settled || !front.is_complete && !front.is_superseded {
                return;
            }
            if front.is_complete && !front.is_delivered {
                front.is_delivered = true;
                self.delivered
                    .extend(front.closed_as.map(|number| (number, front.id)));
                if self.settled.is_in(front.id) {
                    self.settled.is_finished = true;
                    self.settled.is_unstored = true;
                }
            }
            if self.reading == 0 {
                return;
            }
            self.segments.pop_front();
            self.reading -= 1;
        }
    }

    /// Whether the cursor has to be stored by now.
    pub(super) fn is_due(&self) -> bool {
        let settled = &self.settled;
        !self.delivered.is_empty()
            || settled.is_unstored
                && (settled.records_unstored >= self.options.store_records
                    || settled.stored_at.elapsed() >= self.options.store_every)
    }

    /// Stores the cursor if it has moved, and then deletes what is delivered.
    pub(super) fn store(&mut self) -> io::Result<()> {
        if self.settled.is_unstored {
            // CRASH(settled): the cursor is where it was; records that were settled since then come again.
            crash_point!("settled");
            let stand = self.settled.stand();
            let stand = stand.map_err(|cause| failed("read", &self.place.directory, &cause))?;
            if let Some(stand) = stand {
                self.cursor.store(&stand.text())?;
            }
            self.settled.is_unstored = false;
            self.settled.records_unstored = 0;
            self.settled.stored_at = Instant::now();
            // CRASH(cursor-synced): delivered segments are still there; they are deleted when the spool is opened.
            crash_point!("cursor-synced");
        }
        if self.delivered.is_empty() {
            return Ok(());
        }
        while let Some((number, file)) = self.delivered.first().copied() {
            let deleted = self.place.delete(number, file);
            deleted.map_err(|cause| {
                failed("delete", &self.place.path(Name::Closed(number)), &cause)
            })?;
            self.delivered.remove(0);
            // CRASH(segment-deleted): as cursor-synced, for what is left of them.
            crash_point!("segment-deleted");
        }
        if let Some(tell) = &self.deleted {
            tell();
        }
        Ok(())
    }

    /// Begins again behind the last settled record.
    pub(super) fn begin_again(&mut self) {
        self.in_flight.clear();
        let settled = self.settled.at;
        // A segment that was cut back is read as another one from the cut on; now that one takes over what lies before the cut.
        let mut from_before: Option<u64> = None;
        let mut kept = VecDeque::new();
        for mut segment in self.segments.drain(..) {
            let start = match segment.number.cmp(&settled.file) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => settled.offset,
                std::cmp::Ordering::Greater => segment.start,
            };
            let start = from_before.take().map_or(start, |before| before.min(start));
            if segment.is_superseded {
                from_before = Some(start);
                continue;
            }
            segment.start = start;
            segment.is_complete = false;
            segment.last = settled;
            segment.lines = 0;
            kept.push_back(segment);
        }
        self.segments = kept;
        self.counts.get_mut().clear();
        self.recent.forget();
        self.read_from(0);
    }
}
