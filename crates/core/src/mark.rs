//! What is noted of a record in the same moment in which it counts, so that a kill leaves no doubt about it.
//!
//! A record counts once its queue's tail is behind it. What is to be known then is stored just before that tail, together with the
//! tail: whoever reads it compares the two. Shared memory is written in the program's order, also by a process that is killed.
//!
//! ```text
//! done  until  next  tail      a killed process leaves
//!   3     0      -    96       3: the next one is not begun
//!   3     0      4    96       3
//!   3    128     4    96       3: the record is not in the queue
//!   3    128     4   128       4: it is, though nobody came to store it in `done`
//!   4    128     5    ...      never: `until` is 0 before `next` changes
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{ASIDE_MARKING, Aside, HOLDER_SLOT, Progress, RequestEntry};
use crate::state::State;

/// Tails are multiples of 32: the lowest bit has room for which queue it is.
const OF_HOLDER: u64 = 1;

/// What is noted when a record counts.
pub(crate) enum Mark<'a> {
    /// A step of something is done.
    Step(&'a Step<'a>),
    /// A request is over. A record in the holder's queue does not say so.
    Over(&'a RequestEntry),
}

impl Mark<'_> {
    /// Call it directly before `tail` is stored, which is that of the queue of this place.
    pub fn set(&self, slot: u16, tail: u64) {
        match self {
            Mark::Step(step) => step.progress.announce(step.upto, slot, tail),
            Mark::Over(request) if slot != HOLDER_SLOT => {
                request.over.store(tail, Ordering::Release);
            }
            Mark::Over(_) => {}
        }
        // CRASH(marked): the mark is set and the record does not count.
        crash_point!("marked");
    }
}

/// How far something is when a record counts.
pub(crate) struct Step<'a> {
    progress: &'a Progress,
    pub upto: u64,
}

impl Step<'_> {
    pub fn new(progress: &Progress, upto: u64) -> Step<'_> {
        Step { progress, upto }
    }

    /// Whether a record that counts has come so far, of those for what the worker in `slot` leaves.
    pub fn is_done(&self, state: &State, slot: u16) -> bool {
        self.progress.done(state, slot) >= self.upto
    }
}

/// Whether a record counts that was announced so, in the queue of the worker in `slot` or in the holder's.
pub(crate) fn counts(state: &State, slot: u16, until: &AtomicU64) -> bool {
    let until = until.load(Ordering::Acquire);
    let queue = if until & OF_HOLDER == 0 {
        slot
    } else {
        HOLDER_SLOT
    };
    let tail = state.slot(queue).tail.load(Ordering::Acquire);
    until != 0 && tail >= until & !OF_HOLDER
}

impl Progress {
    /// How much is done of what the worker in `slot` has to do, or others of what it left.
    pub fn done(&self, state: &State, slot: u16) -> u64 {
        let done = self.done.load(Ordering::Acquire);
        if counts(state, slot, &self.until) {
            done.max(self.next.load(Ordering::Acquire))
        } else {
            done
        }
    }

    /// From now on so much is done, whatever was announced.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Release);
        self.until.store(0, Ordering::Release);
    }

    /// Only one thread of all processes announces at a time, and the last one's record counts.
    fn announce(&self, upto: u64, slot: u16, tail: u64) {
        let queue = if slot == HOLDER_SLOT { OF_HOLDER } else { 0 };
        if self.until.load(Ordering::Relaxed) != 0 {
            self.set(self.next.load(Ordering::Relaxed));
        }
        self.next.store(upto, Ordering::Release);
        self.until.store(tail | queue, Ordering::Release);
    }
}

impl Aside {
    /// All of what is counted so.
    pub fn progresses(&self) -> impl Iterator<Item = &Progress> {
        let output = self.output_read.iter().chain(&self.output_told);
        output.chain([&self.requests_told, &self.copies_told, &self.box_told])
    }
}

/// Publishes the record in the holder's queue that ends at `tail`, with its mark. The lease is held.
pub(crate) fn publish_marked(state: &State, mark: &Mark, tail: u64) {
    let holder = state.slot(HOLDER_SLOT);
    holder.aside.flags.store(ASIDE_MARKING, Ordering::Release);
    mark.set(HOLDER_SLOT, tail);
    holder.tail.store(tail, Ordering::Release);
    holder.aside.flags.store(0, Ordering::Release);
}

/// Takes back what was noted of a record in the holder's queue that a kill kept from counting: the next one there must not be
/// taken for it. The lease is held.
pub(crate) fn take_back(state: &State) {
    let holder = state.slot(HOLDER_SLOT);
    if holder.aside.flags.load(Ordering::Acquire) & ASIDE_MARKING == 0 {
        return;
    }
    let tail = holder.tail.load(Ordering::Acquire);
    for slot in 1..state.slots_used() {
        for progress in state.slot(slot).aside.progresses() {
            let until = progress.until.load(Ordering::Relaxed);
            if until & OF_HOLDER != 0 && until & !OF_HOLDER > tail {
                progress.until.store(0, Ordering::Release);
            }
        }
    }
    holder.aside.flags.store(0, Ordering::Release);
}
