//! What a publisher waits for, within bounds: room in its queue, room in its spool, the disk.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{DropReason, Log, Next, Outcome, Ticket};
use crate::domain::Local;
use crate::layout::HOLDER_SLOT;
use crate::options::{OnFull, Severity, SpoolFull};
use crate::slots;
use crate::state::State;

impl Log {
    /// The queue is full: drain it, or wait for who does, once per stall and bounded.
    #[cold]
    pub(super) fn wait_for_room(&self, severity: Severity, line: &[u8]) -> Outcome {
        let state = &self.domain.state;
        let local = self.domain.local();
        let Some(place) = local.place_if_taken() else {
            return self.publish_under_lease(severity, line);
        };
        let stalled = local.producer().stalled;
        let patience = if self.on_full == OnFull::Drop || stalled {
            Duration::ZERO
        } else {
            self.on_full_wait
        };
        let until = Instant::now() + patience;
        let mut pause = Duration::from_micros(50);
        loop {
            if state.lease().acquire(place.owner())
                || slots::steal_from_the_dead(state, local, place.owner())
            {
                let _ = self.domain.hold(local, place.owner());
            }
            match self.enqueue_alone(severity, line, None) {
                Next::Full => {}
                next => return self.settle_alone(Ticket(next), severity, line),
            }
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
        let told = std::mem::replace(&mut local.producer().stalled, true);
        if !told {
            self.say_stalled();
        }
        state.slot(place.slot).dropped[DropReason::Full as usize].fetch_add(1, Ordering::Relaxed);
        Outcome::Dropped(DropReason::Full)
    }

    /// Whether this spool refuses new records, since it is as long as it may be.
    pub fn is_spool_full(&self) -> bool {
        let live = &self.domain.state.file_entry(self.file).live;
        live.spool_full.load(Ordering::Acquire) != 0
    }

    /// The spool is as long as it may be and keeps what it has: waits for its reader where that is the policy, once per stall.
    #[cold]
    pub(super) fn wait_for_spool(&self, severity: Severity, line: &[u8]) -> Outcome {
        let local = self.domain.local();
        let stalled = local.producer().stalled;
        let patience = match self.spool {
            Some(SpoolFull::Block) if !stalled => self.on_full_wait,
            _ => Duration::ZERO,
        };
        let until = Instant::now() + patience;
        while self.is_spool_full() {
            if Instant::now() >= until {
                return self.refuse(stalled);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let next = self.enqueue_alone(severity, line, None);
        match next {
            Next::SpoolFull => self.refuse(stalled),
            next => self.settle_alone(Ticket(next), severity, line),
        }
    }

    fn refuse(&self, told: bool) -> Outcome {
        let (state, local) = (&self.domain.state, self.domain.local());
        local.producer().stalled = true;
        if !told {
            crate::stderr::say(&format!(
                "the spool `{}` is as long as it may be; records for it are dropped and counted until its receiver has taken some: \
                 see `logboom status`",
                self.path.display()
            ));
        }
        let slot = local
            .place_if_taken()
            .map_or(HOLDER_SLOT, |place| place.slot);
        let _counted = self.dropped(state, slot, DropReason::Full);
        Outcome::Dropped(DropReason::Full)
    }

    /// A reader of this spool has deleted segments: finds out whether there is room again.
    pub fn look_for_room(&self) {
        let entry = self.domain.state.file_entry(self.file);
        let deleted = self
            .domain
            .with_lease_quietly(|| crate::files::tidy::delete_expired(entry));
        deleted.into_iter().for_each(|deleted| deleted.close(entry));
    }

    fn say_stalled(&self) {
        let who = crate::status::describe_holder(&self.domain);
        crate::stderr::say(&format!(
            "the queue of process {} for `{}` is full and nobody drains it ({who}); records are dropped and counted \
             until there is room: see `logboom status` and `logboom doctor`",
            std::process::id(),
            self.path.display()
        ));
    }

    /// Group commit: whoever drains syncs, and everybody whose record was in the batch goes on.
    pub(super) fn wait_for_disk(&self, state: &State, local: &Local, position: u64) -> Outcome {
        let Some(place) = local.place_if_taken() else {
            return Outcome::Published;
        };
        let slot = state.slot(place.slot);
        let until = Instant::now() + self.on_full_wait.max(Duration::from_secs(5));
        let mut answer = Outcome::Published;
        while slot.drained.load(Ordering::Acquire) <= position && Instant::now() < until {
            let lease = state.lease();
            if lease.acquire(place.owner())
                || slots::steal_from_the_dead(state, local, place.owner())
            {
                answer = self.outcome(&self.domain.hold(local, place.owner()));
                if answer == Outcome::RotationDue || slot.drained.load(Ordering::Acquire) > position
                {
                    break;
                }
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        answer
    }
}
