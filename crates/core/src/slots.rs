//! Places in the slot table: taking one, giving it back, and reaping those of the dead.
//!
//! A slot's byte lock makes it ours; its state word says whether it is in use. A dead worker's slot keeps its queue until
//! that is drained; only a holder of the lease, with the journal idle, makes it free again. A process that finds no place
//! (more workers than slots, no space for a queue) publishes through slot 0 while it holds the lease.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::blackbox;
use crate::clock;
use crate::domain::Local;
use crate::drain::{self, First, Holder};
use crate::layout::{
    ASIDE_RECORDER, Control, HOLDER_SLOT, SLOT_FREE, SLOT_LIVE, SLOTS, SLOTS_AT, Slot,
};
use crate::lease::Owner;
use crate::liveness::{self, Process};
use crate::requests;
use crate::ring::{self, Area};
use crate::state::State;

/// How many recorders of dead workers are left to be read before one of their places is given away.
const RECORDERS_OF_THE_DEAD: usize = 4;

/// How long an heir waits for the last batch of a tired holder.
pub(crate) const HEIR_WAIT: Duration = Duration::from_millis(10);

/// A place that this process has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub slot: u16,
    pub epoch: u32,
    pub area: Area,
}

/// Why there is no place.
#[derive(Debug)]
pub(crate) enum NoPlace {
    /// All slots belong to living workers.
    Taken,
    /// The state's volume has no room for another queue.
    NoSpace(std::io::Error),
}

/// Takes a free place for this process.
pub(crate) fn take(state: &State, local: &Local) -> Result<Place, NoPlace> {
    let (plain, _) = free_places(state);
    if let Some(place) = take_free(state, local, plain)? {
        return Ok(place);
    }
    reap_if_possible(state, local);
    let (plain, recorded) = free_places(state);
    if let Some(place) = take_free(state, local, plain)? {
        return Ok(place);
    }
    let fresh = state.slots_used().max(1)..SLOTS as u16;
    if recorded.len() < RECORDERS_OF_THE_DEAD
        && let Ok(Some(place)) = take_free(state, local, fresh.clone())
    {
        return Ok(place);
    }
    match take_free(state, local, recorded.into_iter().chain(fresh))? {
        Some(place) => Ok(place),
        None => Err(NoPlace::Taken),
    }
}

/// The free places among those that were in use: plain ones, and those in which a dead worker's recorder still can be
/// read, the oldest worker's first.
fn free_places(state: &State) -> (Vec<u16>, Vec<u16>) {
    let free = (1..state.slots_used()).filter(|slot| state.slot(*slot).is_free());
    let (mut recorded, plain): (Vec<u16>, Vec<u16>) = free.partition(|slot| {
        state.slot(*slot).aside.flags.load(Ordering::Relaxed) & ASIDE_RECORDER != 0
    });
    recorded.sort_by_key(|slot| state.slot(*slot).joined_ns.load(Ordering::Relaxed));
    (plain, recorded)
}

fn take_free(
    state: &State,
    local: &Local,
    slots: impl IntoIterator<Item = u16>,
) -> Result<Option<Place>, NoPlace> {
    for slot in slots {
        let known = slot < state.slots_used();
        if known && !state.slot(slot).is_free() {
            continue;
        }
        if !liveness::lock_slot(local.locks(state), slot).unwrap_or(false) {
            continue;
        }
        match occupy(state, slot) {
            Ok(Some(place)) => return Ok(Some(place)),
            Ok(None) => liveness::unlock_slot(local.locks(state), slot),
            Err(error) => {
                liveness::unlock_slot(local.locks(state), slot);
                return Err(NoPlace::NoSpace(error));
            }
        }
    }
    Ok(None)
}

/// The slot's byte is locked by us: nobody else is in here.
fn occupy(state: &State, slot: u16) -> std::io::Result<Option<Place>> {
    let area = state.queue(slot);
    state.allocate(
        SLOTS_AT + usize::from(slot) * size_of::<Slot>(),
        size_of::<Slot>(),
    )?;
    let words = state.slot(slot);
    if !words.is_free() {
        return Ok(None);
    }
    state.allocate(area.at, area.len as usize)?;
    state.shm.populate(area.at, area.len as usize);
    let control = state.control();
    let epoch = next_epoch(control);
    introduce(words);
    for word in words
        .file_seq
        .iter()
        .chain(&words.hooks)
        .chain(&words.dropped)
    {
        word.store(0, Ordering::Relaxed);
    }
    forget_the_last(state, slot);
    words.published.store(0, Ordering::Relaxed);
    words.published_bytes.store(0, Ordering::Relaxed);
    begin_empty(words);
    let start = words.tail.load(Ordering::Relaxed);
    words.aside.queue_start.store(start, Ordering::Relaxed);
    // ORDERING: the slot is complete before it is live, and live before it counts.
    words
        .state
        .store(u64::from(epoch) << 32 | SLOT_LIVE, Ordering::Release);
    control
        .slots_used
        .fetch_max(u32::from(slot) + 1, Ordering::AcqRel);
    Ok(Some(Place { slot, epoch, area }))
}

/// What is known of a place's last worker is no longer needed.
fn forget_the_last(state: &State, slot: u16) {
    requests::clear(state, slot);
    let aside = &state.slot(slot).aside;
    let words = [
        &aside.flags,
        &aside.dead_since_ns,
        &aside.requests_missed,
        &aside.recorder_overwritten,
        &aside.recorder_number,
    ];
    words
        .iter()
        .for_each(|word| word.store(0, Ordering::Relaxed));
    aside.progresses().for_each(|progress| progress.set(0));
    aside.dying.set(b"");
}

/// A queue begins empty, whatever a damaged predecessor left in its cursors.
pub(crate) fn begin_empty(words: &Slot) {
    let drained = words.drained.load(Ordering::Relaxed);
    let start = if ring::is_position(drained) {
        drained
    } else {
        0
    };
    words.drained.store(start, Ordering::Relaxed);
    words.tail.store(start, Ordering::Relaxed);
}

/// 24 bits: what a lease word has room for.
fn next_epoch(control: &Control) -> u32 {
    (control.epochs.fetch_add(1, Ordering::Relaxed) as u32).wrapping_add(1) & 0xff_ffff
}

fn introduce(words: &Slot) {
    let process = Process::this();
    words.pid.store(process.pid, Ordering::Relaxed);
    words
        .start_time
        .store(process.start_time, Ordering::Relaxed);
    words
        .pid_namespace
        .store(process.namespace, Ordering::Relaxed);
    words.joined_ns.store(clock::wall_ns(), Ordering::Relaxed);
}

/// Makes the slots of the dead free, if the lease is to be had at once.
fn reap_if_possible(state: &State, local: &Local) {
    if let Some(mut held) = take_lease(state, local, Duration::ZERO) {
        let me = held.me;
        drain::with_lease(
            state,
            local,
            me,
            &mut held.holder,
            First::Nothing,
            |drain| reap(drain.state, drain.local),
        );
    }
}

/// Frees the drained slots of dead workers that are told of. The lease is held and the journal idle.
pub(crate) fn reap(state: &State, local: &Local) {
    for slot in 1..state.slots_used() {
        let words = state.slot(slot);
        let over = words.is_live() && words.is_drained();
        if over && !blackbox::is_due(state, slot) && !local.is_alive(state, slot) {
            set_free(state, slot);
        }
    }
}

/// Frees our own place on leaving, if it is drained. The lease is held and the journal idle.
pub(crate) fn free(state: &State, place: &Place) {
    let words = state.slot(place.slot);
    if words.is_drained() && !blackbox::is_due(state, place.slot) {
        set_free(state, place.slot);
    }
}

fn set_free(state: &State, slot: u16) {
    let words = state.slot(slot);
    let counters = &state.control().counters;
    counters.departed_published.fetch_add(
        words.published.swap(0, Ordering::Relaxed),
        Ordering::Relaxed,
    );
    for (total, own) in counters.departed_dropped.iter().zip(&words.dropped) {
        total.fetch_add(own.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
    let epoch = words.state.load(Ordering::Relaxed) >> 32;
    // ORDERING: the counters are folded before anybody can take the place.
    words
        .state
        .store(epoch << 32 | SLOT_FREE, Ordering::Release);
}

/// Some other slot belongs to a living worker, whatever the claim says (it may have been removed with its directory).
pub(crate) fn somebody_else_lives(state: &State, local: &Local) -> bool {
    let own = local.place_if_taken().map(|place| place.slot);
    (1..state.slots_used())
        .any(|slot| state.slot(slot).is_live() && Some(slot) != own && local.is_alive(state, slot))
}

/// The last member leaves: the queues' memory is given back, the ledger stays.
pub(crate) fn tidy_for_nobody(state: &State) {
    let empty = |slot: &u16| state.slot(*slot).is_drained();
    for slot in (0..state.slots_used()).filter(empty) {
        let area = state.queue(slot);
        state.punch(area.at, area.len as usize);
    }
}

pub(crate) fn say_no_place(state: &State, why: &NoPlace) {
    let path = state.path.display();
    match why {
        NoPlace::Taken => crate::stderr::say(&format!(
            "all {} places of `{path}` are taken by living workers; this one writes through the lease holder's place, slower",
            SLOTS - 1
        )),
        NoPlace::NoSpace(error) => crate::stderr::say(&format!(
            "no room for a queue in `{path}`: {error}; free space there, set a smaller queue_bytes, or another state_dir. \
             Until then this worker writes through the lease holder's place, slower"
        )),
    }
}

/// The lease, together with what holding it needs in this process. Draining gives the lease back; dropping this gives
/// back the rest.
pub(crate) struct Held<'a> {
    pub me: Owner,
    pub holder: MutexGuard<'a, Holder>,
    _slot: HolderSlot<'a>,
}

/// The right to the holder's slot, if that is what this process uses.
struct HolderSlot<'a> {
    used: bool,
    state: &'a State,
    local: &'a Local,
    _alone: Option<MutexGuard<'a, ()>>,
}

impl Drop for HolderSlot<'_> {
    fn drop(&mut self) {
        if self.used {
            liveness::unlock_slot(self.local.locks(self.state), HOLDER_SLOT);
        }
    }
}

/// Takes the lease, waiting at most `at_most`; steals it from a dead owner.
/// A process without a place uses the holder's slot, whose byte it locks for that long.
pub(crate) fn take_lease<'a>(
    state: &'a State,
    local: &'a Local,
    at_most: Duration,
) -> Option<Held<'a>> {
    let until = Instant::now() + at_most;
    let (me, alone) = match local.place_if_taken() {
        Some(place) => (place.owner(), None),
        None => {
            let alone = patiently(until, || local.placeless.try_lock().ok())?;
            (
                patiently(until, || lock_holder_slot(state, local))?,
                Some(alone),
            )
        }
    };
    let slot = HolderSlot {
        used: me.slot == HOLDER_SLOT,
        state,
        local,
        _alone: alone,
    };
    let lease = state.lease();
    patiently(until, || {
        let inherited = !at_most.is_zero()
            && lease.queue_up(me)
            && drain::inherit(state, me, HEIR_WAIT.min(at_most));
        (inherited || lease.acquire(me) || steal_from_the_dead(state, local, me)).then_some(())
    })?;
    // Only after the lease: another thread that has it must find these buffers free.
    Some(Held {
        me,
        holder: local.holder(),
        _slot: slot,
    })
}

/// Tries until it succeeds or the time is over; sleeps in between, longer and longer.
fn patiently<T>(until: Instant, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let mut pause = Duration::from_micros(20);
    loop {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(1));
    }
}

/// A word that names a place nobody ever had, or another life of a place, names nobody.
pub(crate) fn is_living_owner(state: &State, local: &Local, owner: Owner) -> bool {
    if owner.slot >= state.slots_used() {
        return false;
    }
    let epoch = state.slot(owner.slot).state.load(Ordering::Acquire) >> 32 & 0xff_ffff;
    epoch == u64::from(owner.epoch) && local.is_alive(state, owner.slot)
}

/// Takes the lease from an owner that is dead. False: it lives, or another was faster.
pub(crate) fn steal_from_the_dead(state: &State, local: &Local, me: Owner) -> bool {
    let Some(owner) = state.lease().peek().owner() else {
        return false;
    };
    if owner == me || is_living_owner(state, local, owner) {
        return false;
    }
    let stolen = state.lease().steal(owner, me);
    if stolen {
        state
            .control()
            .counters
            .steals
            .fetch_add(1, Ordering::Relaxed);
    }
    stolen
}

/// Makes slot 0 this process's for one hold. No other thread of this process is in it.
fn lock_holder_slot(state: &State, local: &Local) -> Option<Owner> {
    if !liveness::lock_slot(local.locks(state), HOLDER_SLOT).unwrap_or(false) {
        return None;
    }
    if state.slots_used() == 0 && state.allocate(SLOTS_AT, size_of::<Slot>()).is_err() {
        liveness::unlock_slot(local.locks(state), HOLDER_SLOT);
        return None;
    }
    let control = state.control();
    let epoch = next_epoch(control);
    let words = state.slot(HOLDER_SLOT);
    introduce(words);
    words
        .state
        .store(u64::from(epoch) << 32 | SLOT_LIVE, Ordering::Release);
    control.slots_used.fetch_max(1, Ordering::AcqRel);
    Some(Owner {
        slot: HOLDER_SLOT,
        epoch,
    })
}
