//! Telling of dead workers.
//!
//! A dead worker is told of once, under the lease: first the lines that it printed last, then its black box. The holder's
//! queue takes them, and the place says what is told in the same moment (`mark`): whoever is killed on the way is followed by
//! another who goes on behind it. A place is given away only when its worker is told of.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Log;
use super::beside::Copies;
use super::printed::printed_line;
use super::shadow::Shadow;
use crate::blackbox::{self, Death, Printed};
use crate::capture::{self, Stream};
use crate::clock;
use crate::drain;
use crate::format::{Encoder, Format, RECORD_BYTES_MAX};
use crate::layout::{Aside, HOLDER_SLOT, SLOT_LIVE};
use crate::liveness::Process;
use crate::mark::{Mark, Step};
use crate::options::{LogOptions, Severity};
use crate::requests::{self, RequestInFlight};
use crate::slots::{self, Place};
use crate::state::State;

const LEASE_WAIT: Duration = Duration::from_millis(1000);
/// For so long a dead worker is left to its parent, who knows how it ended.
const PARENTS_TIME_NS: u64 = 2_000_000_000;
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Who writes the access records of requests that died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    ByTheCaller,
    Here,
}

/// How the native side writes the records that it makes itself.
#[derive(Clone)]
pub(crate) struct Teller {
    pub encoder: Encoder,
    pub records_max: usize,
}

impl Teller {
    pub fn of(options: &LogOptions) -> Teller {
        let encoder = options.encoder.clone();
        Teller {
            encoder: encoder.unwrap_or_else(|| Encoder::new(Format::Text { colour: false })),
            records_max: options.blackbox_records as usize,
        }
    }
}

impl Log {
    /// Tells of the worker with this process id, which has ended with this status of waitpid(2): its black box is
    /// written to this log, if there is something to tell. Gives the requests that died with it.
    ///
    /// For the parent; one who does not know the status calls [`Log::harvest_dead`].
    /// `cause` is what the parent knows beyond that (a timeout), empty for nothing.
    pub fn harvest(&self, process: u32, status: Option<i32>, cause: &str) -> Vec<RequestInFlight> {
        let Ok(_inside) = self.enter_to("tell of a dead worker in") else {
            return Vec::new();
        };
        let state = &self.domain.state;
        let this = Process::this();
        let dead = (1..state.slots_used()).filter(|slot| {
            let of = Process::of(state.slot(*slot));
            of.pid == process && of.namespace == this.namespace
        });
        let dead: Vec<_> = dead.collect();
        for slot in &dead {
            let words = state.slot(*slot);
            let said = !words.aside.dying.to_vec().is_empty();
            if !cause.is_empty() && !said && !self.domain.local().is_alive(state, *slot) {
                blackbox::expect(words, cause);
            }
        }
        self.tell_of_all(dead, status, Access::ByTheCaller)
    }

    /// Tells of all workers that are dead for two seconds or more and nobody has told of. Looks once a second at most,
    /// so it can be called often. Gives the requests that died.
    pub fn harvest_dead(&self) -> Vec<RequestInFlight> {
        let Ok(_inside) = self.enter_to("tell of dead workers in") else {
            return Vec::new();
        };
        let (state, local) = (&self.domain.state, self.domain.local());
        let now_ns = clock::monotonic_ns();
        let looked = local.looked_for_dead_ns.load(Ordering::Relaxed);
        if now_ns.saturating_sub(looked) < LOOK_EVERY_NS
            || local
                .looked_for_dead_ns
                .compare_exchange(looked, now_ns, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return Vec::new();
        }
        let mut due = self.untold();
        due.retain(|slot| is_long_dead(&state.slot(*slot).aside.dead_since_ns, now_ns));
        self.tell_of_all(due, None, Access::ByTheCaller)
    }

    /// The dead workers that there is something to tell of.
    fn untold(&self) -> Vec<u16> {
        let (state, local) = (&self.domain.state, self.domain.local());
        let untold = (1..state.slots_used()).filter(|slot| {
            state.slot(*slot).is_live()
                && blackbox::is_due(state, *slot)
                && !local.is_alive(state, *slot)
        });
        untold.collect()
    }

    /// This process tells of the dead from now on, and of those whose group is dead as a whole at once.
    pub(super) fn begin_to_tell(&self) {
        let known = &self.domain.local().out_of_memory_kills;
        known.store(
            blackbox::out_of_memory_kills().unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if self.domain.is_sole_member() {
            self.harvest_left();
        }
    }

    /// Tells of the workers of a group that is dead as a whole, with an access record for each request of theirs.
    pub(crate) fn harvest_left(&self) {
        self.tell_of_all(self.untold(), None, Access::Here);
    }

    /// Whoever leaves last tells of the dead: their parent leaves as well, and the next start may be long in coming, or
    /// never come where the state goes with the last member.
    pub(super) fn tell_before_leaving(&self) {
        let state = &self.domain.state;
        let due = || (1..state.slots_used()).any(|slot| blackbox::is_due(state, slot));
        if Arc::strong_count(&self.domain) > 1 || !due() {
            return;
        }
        let Ok(_inside) = self.enter_to("tell of dead workers in") else {
            return;
        };
        if self.domain.is_sole_member()
            && let Some(mut shadow) = Shadow::of_teller(&self.domain)
        {
            shadow.beside = self.beside.clone();
            shadow.in_domain(self.domain.clone()).harvest_left();
        }
    }

    fn tell_of_all(
        &self,
        slots: Vec<u16>,
        status: Option<i32>,
        access: Access,
    ) -> Vec<RequestInFlight> {
        if slots.is_empty() {
            return Vec::new();
        }
        let out_of_memory = status.is_some_and(|status| self.was_out_of_memory(status));
        let mut copies = Copies::default();
        let told = self.domain.with_lease(LEASE_WAIT, |drain| {
            let how = (status, out_of_memory);
            let died: Vec<_> = slots
                .into_iter()
                .flat_map(|slot| self.tell_of(drain, slot, how, access, &mut copies))
                .collect();
            slots::reap(drain.state, drain.local);
            died
        });
        copies.settle();
        told.unwrap_or_default()
    }

    /// Whether the kernel has killed for lack of memory once more than this process knows of: that was this worker.
    fn was_out_of_memory(&self, status: i32) -> bool {
        if !libc::WIFSIGNALED(status) || libc::WTERMSIG(status) != libc::SIGKILL {
            return false;
        }
        let known = &self.domain.local().out_of_memory_kills;
        let more = blackbox::out_of_memory_kills()
            .is_some_and(|kills| kills > known.load(Ordering::Relaxed));
        if more {
            known.fetch_add(1, Ordering::Relaxed);
        }
        more
    }

    /// The lease is held and everything drained.
    fn tell_of(
        &self,
        drain: &mut drain::Drain<'_>,
        slot: u16,
        (status, out_of_memory): (Option<i32>, bool),
        access: Access,
        copies: &mut Copies,
    ) -> Vec<RequestInFlight> {
        let (state, local) = (drain.state, drain.local);
        let word = state.slot(slot).state.load(Ordering::Acquire);
        if word & 0xff != SLOT_LIVE || local.is_alive(state, slot) {
            return Vec::new();
        }
        let place = Place {
            slot,
            epoch: (word >> 32) as u32,
            area: state.queue(slot),
        };
        let records_max = self.teller.records_max;
        let (death, printed) = blackbox::collect(state, &place, status, out_of_memory, records_max);
        let mut telling = Telling {
            log: self,
            drain,
            place: &place,
            death: &death,
            copies,
        };
        for printed in &printed {
            telling.tell_printed(printed);
        }
        if access == Access::Here {
            telling.tell_unfinished();
        }
        if death.is_worth_telling() {
            telling.tell_black_box();
        }
        // CRASH(told): the box is published, the place still says that there is something to tell; its progress knows.
        crash_point!("told");
        clear(state, &place);
        death.requests
    }

    /// The worker sees its death coming (a timeout): the reason is kept for its black box, also when it then ends
    /// regularly. 120 bytes are kept.
    pub fn expect_death(&self, cause: &str) {
        if let Some(place) = self.domain.local().place_if_taken() {
            blackbox::expect(self.domain.state.slot(place.slot), cause);
        }
    }
}

fn is_long_dead(since: &std::sync::atomic::AtomicU64, now_ns: u64) -> bool {
    match since.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => false,
        Err(since) => now_ns.saturating_sub(since) >= PARENTS_TIME_NS,
    }
}

/// The records of a death, on their way into the holder's queue.
struct Telling<'a, 'drain> {
    log: &'a Log,
    drain: &'a mut drain::Drain<'drain>,
    place: &'a Place,
    death: &'a Death,
    copies: &'a mut Copies,
}

impl<'drain> Telling<'_, 'drain> {
    fn tell_printed(&mut self, printed: &Printed) {
        let Printed { stream, text, upto } = printed;
        let step = Step::new(&self.aside().output_told[*stream as usize], *upto);
        let process = self.death.process;
        self.tell(&step, stream.component(), stream.severity().0, |encoder| {
            printed_line(encoder, *stream, process, text)
        });
    }

    /// The access records of the requests that died.
    fn tell_unfinished(&mut self) {
        let (told, death) = (&self.aside().requests_told, self.death);
        for (request, upto) in death.requests.iter().zip(1..) {
            let step = Step::new(told, upto);
            self.tell(&step, blackbox::ACCESS, Severity::ERROR, |encoder| {
                death.encode_unfinished(request, encoder)
            });
        }
    }

    fn tell_black_box(&mut self) {
        let (state, death, log) = (self.drain.state, self.death, self.log);
        let step = Step::new(&self.aside().box_told, 1);
        if self.is_told(&step) {
            return;
        }
        blackbox::keep(state, self.place, death, &log.teller.encoder);
        // CRASH(kept): the death has its entry, which the next teller takes again.
        crash_point!("kept");
        let room = state.queue(HOLDER_SLOT).len as usize / 4;
        let most = RECORD_BYTES_MAX.min(room);
        for (copy, upto) in Shadow::of_copies(state, &log.teller).iter().zip(1..) {
            let step = Step::new(&self.aside().copies_told, upto);
            if !self.is_told(&step) {
                let log = copy.in_domain(log.domain.clone());
                let line = death.encode(&log.teller.encoder, most);
                self.store(&log, &step, Severity::ERROR, &line);
            }
        }
        self.tell(&step, blackbox::COMPONENT, Severity::ERROR, |encoder| {
            death.encode(encoder, most)
        });
    }

    fn aside(&self) -> &'drain Aside {
        &self.drain.state.slot(self.place.slot).aside
    }

    /// A teller who was killed has got so far.
    fn is_told(&self, step: &Step) -> bool {
        step.is_done(self.drain.state, self.place.slot)
    }

    /// A record of this log, and its copies in those of other domains, unless it is told.
    fn tell(
        &mut self,
        step: &Step,
        component: &str,
        severity: Severity,
        line: impl Fn(&Encoder) -> Vec<u8>,
    ) {
        if self.is_told(step) {
            return;
        }
        // Copies first: a kill in between lets them come twice, and does not lose them.
        self.copies
            .enqueue(&self.log.beside, component, severity, &line);
        self.store(self.log, step, severity, &line(&self.log.teller.encoder));
    }

    fn store(&mut self, log: &Log, step: &Step, severity: Severity, line: &[u8]) {
        log.store_in_holder_queue(self.drain, severity, line, Some(&Mark::Step(step)));
    }
}

/// Nothing is left to be told of this worker.
fn clear(state: &State, place: &Place) {
    requests::clear(state, place.slot);
    for stream in Stream::ALL {
        if state.slot(place.slot).aside.flags.load(Ordering::Relaxed) & stream.flag() != 0 {
            capture::forget(state, place, stream);
        }
    }
    state.slot(place.slot).aside.dying.set(b"");
}
