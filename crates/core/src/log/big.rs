//! Records that do not go through their process's own queue: too long for it, or of a process without a place. They go
//! through the queue of slot 0, by whoever holds the lease.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ending::Ending;
use super::{DropReason, LEASE_WAIT, Log, Next, Outcome, Ticket};
use crate::clock;
use crate::drain;
use crate::layout::HOLDER_SLOT;
use crate::mark::{self, Mark};
use crate::options::Severity;
use crate::ring::{self, Entry};
use crate::slots;
use crate::state::State;

impl Log {
    /// Big records, and records of processes without a place: through the holder's queue, by the holder.
    #[cold]
    pub(super) fn publish_under_lease(&self, severity: Severity, line: &[u8]) -> Outcome {
        if self.store_under_lease(severity, line, self.on_full_wait.max(LEASE_WAIT), None) {
            Outcome::Published
        } else {
            self.publish_shortened(severity, line)
        }
    }

    /// The same without an attempt to keep a part at least. False: the lease was not to be had in `wait`, or there is no room.
    #[cold]
    pub(super) fn store_under_lease(
        &self,
        severity: Severity,
        line: &[u8],
        wait: Duration,
        mark: Option<&Mark>,
    ) -> bool {
        let state = &self.domain.state;
        let area = state.queue(HOLDER_SLOT);
        let most = area.line_max() as usize - Ending::BYTES_MAX;
        let cut = (line.len() > most).then(|| cut_line(line, most));
        let line = cut.as_deref().unwrap_or(line);
        let placed = self.domain.with_lease(wait, |drain| {
            self.store_in_holder_queue(drain, severity, line, mark)
        });
        let stored = placed == Some(true);
        if stored && cut.is_some() {
            self.count_cut();
        }
        stored
    }

    /// Stores a record in the holder's queue and drains it. False: there is no room. `mark`: what is noted
    /// in the moment in which the record counts.
    pub(super) fn store_in_holder_queue(
        &self,
        drain: &mut drain::Drain<'_>,
        severity: Severity,
        line: &[u8],
        mark: Option<&Mark>,
    ) -> bool {
        let state = drain.state;
        let area = state.queue(HOLDER_SLOT);
        let slot = state.slot(HOLDER_SLOT);
        mark::take_back(state);
        let queued = slot
            .tail
            .load(Ordering::Relaxed)
            .wrapping_sub(slot.drained.load(Ordering::Relaxed));
        if queued == 0 || queued > area.len {
            slots::begin_empty(slot);
        }
        let (tail, drained) = (
            slot.tail.load(Ordering::Relaxed),
            slot.drained.load(Ordering::Relaxed),
        );
        // The number is one of the worker's own series, which ends with it; a kill can leave no gap in one that goes on.
        let numbers = drain.local.producer();
        let (series, epoch) = match drain.local.place_if_taken() {
            Some(place) => (state.slot(place.slot), place.epoch),
            None => (slot, drain.me.epoch),
        };
        let seq = series.file_seq[usize::from(self.file)].load(Ordering::Relaxed) + 1;
        let mut space = Vec::new();
        let (line, more) = self.end(line, epoch, seq, &mut space);
        let len = (line.len() + more.len()) as u64;
        let Some((position, after)) = ring::place(area, tail, drained, ring::footprint(len)) else {
            return false;
        };
        if !allocate_for(state, area, tail, position, after) {
            return false;
        }
        let entry = Entry {
            len: len as u32,
            file: self.file,
            severity: severity.0,
            flags: 0,
            time_ns: clock::wall_ns(),
            seq,
        };
        ring::store(&state.shm, area, tail, position, entry, line, more);
        series.file_seq[usize::from(self.file)].store(seq, Ordering::Relaxed);
        slot.published.fetch_add(1, Ordering::Relaxed);
        slot.published_bytes.fetch_add(len, Ordering::Relaxed);
        match mark {
            Some(mark) => mark::publish_marked(state, mark, after),
            None => slot.tail.store(after, Ordering::Release),
        }
        drop(numbers);
        drain.pass_published();
        if slot.drained.load(Ordering::Relaxed) == after {
            state.punch(area.at, area.len as usize);
        }
        true
    }

    /// The lease was not to be had in time: what fits the own queue is better than nothing.
    fn publish_shortened(&self, severity: Severity, line: &[u8]) -> Outcome {
        let state = &self.domain.state;
        let Some(place) = self.domain.local().place_if_taken() else {
            state.slot(HOLDER_SLOT).dropped[DropReason::NoPlace as usize]
                .fetch_add(1, Ordering::Relaxed);
            return Outcome::Dropped(DropReason::NoPlace);
        };
        let most = place.area.len as usize / 4
            - ring::HEAD as usize
            - ring::ALIGN as usize
            - Ending::BYTES_MAX;
        let short = cut_line(line, most.min(line.len()));
        state.control().counters.cut.fetch_add(1, Ordering::Relaxed);
        match self.enqueue_alone(severity, &short, None) {
            Next::Full => self.wait_for_room(severity, &short),
            next => self.settle_alone(Ticket(next), severity, &short),
        }
    }
}

/// Makes sure of the pages of an entry from `position` to `after`, and of the filler at `tail`.
fn allocate_for(state: &State, area: ring::Area, tail: u64, position: u64, after: u64) -> bool {
    let offset = |cursor: u64| area.at + (cursor & (area.len - 1)) as usize;
    let entry = state.allocate(offset(position), (after - position) as usize);
    entry
        .and_then(|()| state.allocate(offset(tail), ring::HEAD as usize))
        .is_ok()
}

/// The line cut to `most` bytes, with a mark that says how much is gone, on a character boundary.
fn cut_line(line: &[u8], most: usize) -> Vec<u8> {
    let mark = format!(" [logboom: cut, {} bytes in all]\n", line.len());
    let mut keep = most.saturating_sub(mark.len()).min(line.len());
    while keep > 0 && line[keep.min(line.len() - 1)] & 0xc0 == 0x80 {
        keep -= 1;
    }
    [&line[..keep], mark.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_says_so_and_stays_text() {
        let line = "é".repeat(100) + "\n";
        for most in 60..90 {
            let cut = cut_line(line.as_bytes(), most);
            assert!(cut.len() <= most);
            assert!(
                std::str::from_utf8(&cut)
                    .unwrap()
                    .ends_with("[logboom: cut, 201 bytes in all]\n")
            );
        }
    }
}
