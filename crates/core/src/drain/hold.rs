//! One hold of the lease, from taking it over to letting go of it.
//!
//! A hold is bounded in time: after [`HOLD_NS`] the holder marks itself tired, makes one more batch, and hands over to an heir if
//! one waits. What always holds: whoever lets go has seen that nothing is pending, or names who comes next; so a record that was
//! published is never left without a holder.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Afterwards, Drain, HOLD_NS, Holder};
use crate::clock;
use crate::domain::Local;
use crate::lease::Owner;
use crate::state::State;
use crate::sys;

/// Drains while holding the lease, which `me` has taken, and lets go of it.
pub(crate) fn hold(
    state: &State,
    local: &Local,
    me: Owner,
    holder: &mut Holder,
    force: bool,
) -> Afterwards {
    let drain = Drain::new(state, local, me, holder, force);
    let started_ns = drain.now_ns;
    go_on(drain, started_ns)
}

/// Drains for a hold that began at `started_ns`, and lets go of the lease.
fn go_on(mut drain: Drain<'_>, started_ns: u64) -> Afterwards {
    let (state, me) = (drain.state, drain.me);
    let until_ns = drain.now_ns + HOLD_NS;
    let lease = state.lease();
    if !drain.settle_journal() {
        let_go(state, me, started_ns);
        return drain.holder.afterwards;
    }
    let mut more = drain.pass(until_ns);
    loop {
        // One batch and nothing after it: by far the most frequent hold, and the time does not matter.
        if !more && lease.release(me) {
            note_hold(state, started_ns);
            break;
        }
        drain.now_ns = clock::monotonic_ns();
        if drain.now_ns <= until_ns && lease.peek().heir().is_none() {
            more = drain.pass(until_ns);
            continue;
        }
        lease.tire();
        more = drain.pass(0);
        if hand_over(state, me, started_ns) {
            break;
        }
    }
    drain.holder.afterwards
}

/// Lets go whatever is pending: the journal cannot be settled now, by this process.
fn let_go(state: &State, me: Owner, started_ns: u64) {
    loop {
        if state.lease().release(me) {
            return note_hold(state, started_ns);
        }
        if hand_over(state, me, started_ns) {
            return;
        }
    }
}

/// Lets go in favour of the heir, if there is one.
fn hand_over(state: &State, me: Owner, started_ns: u64) -> bool {
    let is_handed = state.lease().hand_over(me);
    if is_handed {
        // Before the heir is woken, who mostly takes this process's core: the hold has ended.
        note_hold(state, started_ns);
        sys::wake_all(&state.head().lease);
    }
    is_handed
}

/// A hold has just ended; the next holder may be noting its own.
fn note_hold(state: &State, started_ns: u64) {
    let ns = clock::monotonic_ns() - started_ns;
    let counters = &state.control().counters;
    counters.holds.fetch_add(1, Ordering::Relaxed);
    if ns > counters.hold_ns_max.load(Ordering::Relaxed) {
        counters.hold_ns_max.fetch_max(ns, Ordering::Relaxed);
    }
}

/// What happens first, where something is done under the lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// All is written that was published before: the lease is held for as long as that takes.
    Drain,
    /// Nothing, whatever there is in the queues: the lease is held for a short time only.
    Nothing,
}

/// Runs `work` with the lease held and the journal settled, and gives the lease back. The caller has taken the lease.
pub(crate) fn with_lease<T>(
    state: &State,
    local: &Local,
    me: Owner,
    holder: &mut Holder,
    first: First,
    work: impl FnOnce(&mut Drain<'_>) -> T,
) -> (Option<T>, Afterwards) {
    let mut drain = Drain::new(state, local, me, holder, true);
    let started_ns = drain.now_ns;
    let mut settled = drain.settle_journal();
    if settled && first == First::Drain {
        drain.pass_published();
        // What `work` does to a file must not hide what the journal says of it.
        settled = drain.settle_journal();
    }
    let answer = settled.then(|| work(&mut drain));
    let before = drain.holder.afterwards;
    if !settled {
        let_go(state, me, started_ns);
        return (answer, before);
    }
    let mut after = go_on(Drain::new(state, local, me, holder, true), started_ns);
    after.tidy.insert_all(before.tidy);
    (answer, after)
}

/// Waits as heir of a tired holder, at most `at_most`. True: `me` has the lease.
pub(crate) fn inherit(state: &State, me: Owner, at_most: Duration) -> bool {
    let lease = state.lease();
    let until_ns = clock::monotonic_ns() + at_most.as_nanos() as u64;
    for _ in 0..200 {
        if lease.peek().owner().is_none() {
            return lease.acquire(me);
        }
        std::hint::spin_loop();
    }
    loop {
        let seen = lease.peek();
        if seen.owner().is_none() {
            return lease.acquire(me);
        }
        let now_ns = clock::monotonic_ns();
        if now_ns >= until_ns {
            return !lease.withdraw(me) && lease.acquire(me);
        }
        sys::wait_while(
            &state.head().lease,
            seen.0,
            Duration::from_nanos((until_ns - now_ns).min(2_000_000)),
        );
    }
}
