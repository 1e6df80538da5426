//! Publishing a record: into this process's queue at once, and what the ticket says is left after that.

use std::sync::atomic::Ordering;

use super::ending::{Ending, Id};
use super::inside::{INTERRUPTED, Inside};
use super::{DropReason, Log, Outcome};
use crate::clock;
use crate::domain::{Local, Producer};
use crate::drain::{self, Afterwards};
use crate::layout::HOLDER_SLOT;
use crate::lease::Word;
use crate::mark::Mark;
use crate::options::{OnFull, Severity};
use crate::requests;
use crate::ring::{self, Entry};
use crate::slots::{self, HEIR_WAIT, Place};
use crate::state::State;

/// How long an owner of the lease may be seen without progress before the kernel is asked whether it lives.
const PROBE_NS: u64 = 10_000_000;

/// What is left to do after [`Log::enqueue`]: to be given to [`Log::settle`].
#[derive(Debug)]
#[must_use = "a ticket that is not settled leaves the record to the next publisher"]
pub struct Ticket(pub(super) Next);

#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    Dropped(DropReason),
    Drain,
    Inherit,
    Probe,
    /// The queue is full: the record is not in it.
    Full,
    /// The spool is full: the record is not in the queue.
    SpoolFull,
    /// Too long for the queue: it goes through the holder's.
    Big,
    Placeless,
    RotationDue,
    /// Published at this position; the disk must have it.
    Sync(u64),
}

impl Ticket {
    /// True: nothing is left to do.
    #[inline]
    pub fn is_settled(&self) -> bool {
        matches!(self.0, Next::Nothing)
    }
}

impl Log {
    /// Publishes a line (with its terminator): [`Log::enqueue`] and [`Log::settle`] in one.
    #[inline]
    pub fn publish(&self, severity: Severity, line: &[u8]) -> Outcome {
        let ticket = self.enqueue(severity, line);
        if ticket.is_settled() {
            Outcome::Published
        } else {
            self.settle(ticket, severity, line)
        }
    }

    /// Copies a line into this process's queue. Never waits, and enters the kernel only at the first record of a process.
    #[inline]
    pub fn enqueue(&self, severity: Severity, line: &[u8]) -> Ticket {
        self.enqueue_marked(severity, line, None)
    }

    /// The same for the last record of a request of this process, with the token of [`Log::begin_request`]: the request is over in
    /// the moment in which the record counts, also if the process is killed before it comes to [`Log::end_request`], which follows.
    /// Another token makes no difference; nor does this one where the record has to go through the queue that all share.
    pub fn enqueue_last(&self, token: u64, severity: Severity, line: &[u8]) -> Ticket {
        let local = self.domain.local();
        let place = local.place_if_taken();
        let request = place.and_then(|place| requests::entry_of(&self.domain.state, place, token));
        self.enqueue_marked(severity, line, request.map(Mark::Over).as_ref())
    }

    /// The same as [`Log::enqueue`], and something is noted of the record in the moment in which it counts.
    #[inline]
    pub(super) fn enqueue_marked(
        &self,
        severity: Severity,
        line: &[u8],
        mark: Option<&Mark>,
    ) -> Ticket {
        let inside = Inside::enter();
        if inside.nested {
            return self.enqueue_interrupting(severity, line, mark);
        }
        let next = self.enqueue_alone(severity, line, mark);
        match next {
            Next::Nothing if inside.leave() => Ticket(Next::Drain),
            next => Ticket(next),
        }
    }

    #[inline]
    pub(super) fn enqueue_alone(
        &self,
        severity: Severity,
        line: &[u8],
        mark: Option<&Mark>,
    ) -> Next {
        let state = &self.domain.state;
        let local = self.domain.local();
        let Some(place) = local.place(state) else {
            return Next::Placeless;
        };
        if self.spool.is_some() && self.is_spool_full() {
            return Next::SpoolFull;
        }
        if self.is_big(place, line) {
            return Next::Big;
        }
        let mut producer = local.producer();
        let Some((position, now_ns)) =
            self.store(state, place, &mut producer, severity, line, mark)
        else {
            return Next::Full;
        };
        let seen = state.lease().announce();
        match seen.owner() {
            _ if self.durable => Next::Sync(position),
            None => Next::Drain,
            Some(_) if seen.is_tired() && seen.heir().is_none() => Next::Inherit,
            Some(_) => match producer.suspect(state, place, seen, now_ns) {
                Next::Nothing if self.is_rotation_due(local) => Next::RotationDue,
                next => next,
            },
        }
    }

    #[inline]
    pub(super) fn is_big(&self, place: &Place, line: &[u8]) -> bool {
        let ending_len = if self.ending.is_plain() {
            0
        } else {
            Ending::BYTES_MAX
        };
        ring::footprint((line.len() + ending_len) as u64) > place.area.len / 4
    }

    /// From a signal handler that interrupted this thread inside a log: only what can be had at once.
    #[cold]
    fn enqueue_interrupting(&self, severity: Severity, line: &[u8], mark: Option<&Mark>) -> Ticket {
        let state = &self.domain.state;
        let local = self.domain.local();
        let stored = local
            .place_if_taken()
            .filter(|place| !self.is_big(place, line))
            .and_then(|place| {
                let mut producer = local.try_producer()?;
                self.store(state, place, &mut producer, severity, line, mark)
            });
        if stored.is_none() {
            let slot = local
                .place_if_taken()
                .map_or(HOLDER_SLOT, |place| place.slot);
            return self.dropped(state, slot, DropReason::Reentrant);
        }
        state.lease().announce();
        INTERRUPTED.set(true);
        Ticket(Next::Nothing)
    }

    /// The copy itself: position and time, or None when there is no room.
    #[inline]
    fn store(
        &self,
        state: &State,
        place: &Place,
        producer: &mut Producer,
        severity: Severity,
        line: &[u8],
        mark: Option<&Mark>,
    ) -> Option<(u64, u64)> {
        let slot = state.slot(place.slot);
        let seq = slot.file_seq[usize::from(self.file)].load(Ordering::Relaxed) + 1;
        let mut space = Vec::new();
        let (line, more) = self.end(line, place.epoch, seq, &mut space);
        let len = (line.len() + more.len()) as u64;
        let (position, tail) =
            self.make_room(state, place, producer, severity, ring::footprint(len))?;
        let time_ns = clock::wall_ns();
        let entry = Entry {
            len: len as u32,
            file: self.file,
            severity: severity.0,
            flags: 0,
            time_ns,
            seq,
        };
        ring::store(
            &state.shm,
            place.area,
            producer.tail,
            position,
            entry,
            line,
            more,
        );
        slot.file_seq[usize::from(self.file)].store(seq, Ordering::Relaxed);
        slot.published.store(
            slot.published.load(Ordering::Relaxed) + 1,
            Ordering::Relaxed,
        );
        slot.published_bytes.store(
            slot.published_bytes.load(Ordering::Relaxed) + len,
            Ordering::Relaxed,
        );
        if let Some(mark) = mark {
            mark.set(place.slot, tail);
        }
        // ORDERING: the entry is complete before the tail covers it; pairs with `Window::collect`.
        slot.tail.store(tail, Ordering::Release);
        producer.tail = tail;
        producer.stalled = false;
        Some((position, time_ns))
    }

    #[inline]
    fn make_room(
        &self,
        state: &State,
        place: &Place,
        producer: &mut Producer,
        severity: Severity,
        footprint: u64,
    ) -> Option<(u64, u64)> {
        let reserve = match self.on_full {
            OnFull::Drop if severity < Severity::WARN => place.area.len / 8,
            _ => 0,
        };
        let fits = |drained: u64| {
            let (position, tail) = ring::place(place.area, producer.tail, drained, footprint)?;
            (tail.wrapping_sub(drained) <= place.area.len - reserve).then_some((position, tail))
        };
        if let Some(placed) = fits(producer.drained_seen) {
            return Some(placed);
        }
        // ORDERING: pairs with the holder's advance: it has read what we are about to overwrite.
        let drained = state.slot(place.slot).drained.load(Ordering::Acquire);
        let placed = fits(drained);
        producer.drained_seen = drained;
        placed
    }

    /// Does what the ticket says is left. Waits within bounds; call it without an interpreter lock.
    pub fn settle(&self, ticket: Ticket, severity: Severity, line: &[u8]) -> Outcome {
        let mut inside = Inside::enter();
        if inside.nested {
            return self.settle_interrupting(ticket);
        }
        let outcome = self.settle_alone(ticket, severity, line);
        if self.spool.is_some() {
            self.look_for_relay();
        }
        while inside.leave() {
            inside = Inside::enter();
            self.drain_once(&self.domain.state, self.domain.local(), &Next::Drain);
        }
        outcome
    }

    /// In a signal handler: nothing can be waited for, and the interrupted call drains.
    pub(super) fn settle_interrupting(&self, ticket: Ticket) -> Outcome {
        match ticket.0 {
            Next::Dropped(reason) => Outcome::Dropped(reason),
            Next::Full | Next::SpoolFull | Next::Big | Next::Placeless => {
                let slot = self
                    .domain
                    .local()
                    .place_if_taken()
                    .map_or(HOLDER_SLOT, |place| place.slot);
                let _counted = self.dropped(&self.domain.state, slot, DropReason::Reentrant);
                Outcome::Dropped(DropReason::Reentrant)
            }
            Next::RotationDue => Outcome::RotationDue,
            _ => {
                INTERRUPTED.set(true);
                Outcome::Published
            }
        }
    }

    pub(super) fn settle_alone(&self, ticket: Ticket, severity: Severity, line: &[u8]) -> Outcome {
        let state = &self.domain.state;
        let local = self.domain.local();
        match ticket.0 {
            Next::Nothing => Outcome::Published,
            Next::Dropped(reason) => Outcome::Dropped(reason),
            Next::RotationDue => Outcome::RotationDue,
            Next::Placeless | Next::Big => self.publish_under_lease(severity, line),
            Next::Full => self.wait_for_room(severity, line),
            Next::SpoolFull => self.wait_for_spool(severity, line),
            Next::Sync(position) => self.wait_for_disk(state, local, position),
            Next::Drain | Next::Inherit | Next::Probe => self.drain_once(state, local, &ticket.0),
        }
    }

    pub(super) fn drain_once(&self, state: &State, local: &Local, next: &Next) -> Outcome {
        let Some(place) = local.place_if_taken() else {
            return Outcome::Published;
        };
        let (me, lease) = (place.owner(), state.lease());
        let mine = match next {
            Next::Inherit => lease.become_heir(me) && drain::inherit(state, me, HEIR_WAIT),
            Next::Probe => slots::steal_from_the_dead(state, local, me),
            _ => lease.acquire(me),
        };
        if !mine {
            return Outcome::Published;
        }
        self.outcome(&self.domain.hold(local, me))
    }

    pub(super) fn outcome(&self, afterwards: &Afterwards) -> Outcome {
        if afterwards.hooks_due.contains(self.file) {
            Outcome::RotationDue
        } else {
            Outcome::Published
        }
    }

    pub(super) fn is_rotation_due(&self, local: &Local) -> bool {
        let due = self.hooks.load(Ordering::Relaxed)
            && self
                .domain
                .state
                .file_entry(self.file)
                .live
                .due_since
                .load(Ordering::Relaxed)
                != 0;
        due && local.has_hooks(self.file)
    }

    /// The line as it is stored: what stays of it, and what follows, made in `space`.
    #[inline]
    pub(super) fn end<'a>(
        &self,
        line: &'a [u8],
        epoch: u32,
        seq: u64,
        space: &'a mut Vec<u8>,
    ) -> (&'a [u8], &'a [u8]) {
        if self.ending.is_plain() {
            return (line, &[]);
        }
        let id = Id {
            domain: self.domain.state.head().domain_id.load(Ordering::Relaxed),
            epoch,
            seq,
        };
        self.ending.split(line, id, space)
    }

    pub(super) fn dropped(&self, state: &State, slot: u16, reason: DropReason) -> Ticket {
        state.slot(slot).dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
        Ticket(Next::Dropped(reason))
    }
}

impl Producer {
    /// The same owner, and no progress of our own, for a while: is it alive?
    #[inline]
    fn suspect(&mut self, state: &State, place: &Place, seen: Word, now_ns: u64) -> Next {
        if self.owner_seen != seen.identity() {
            self.owner_seen = seen.identity();
            self.owner_since_ns = now_ns;
        }
        // The cursor is on a line that the holder writes: it is looked at once in a while only.
        if now_ns.wrapping_sub(self.owner_since_ns) < PROBE_NS {
            return Next::Nothing;
        }
        self.owner_since_ns = now_ns;
        let drained = state.slot(place.slot).drained.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.owner_drained, drained) == drained {
            Next::Probe
        } else {
            Next::Nothing
        }
    }
}
