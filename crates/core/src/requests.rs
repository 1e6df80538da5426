//! The requests that a worker is serving, in shared memory, so that they are known when the worker is dead.
//!
//! Each worker has a table of [`REQUESTS`] entries. Whoever begins a request takes a free entry by compare-exchange,
//! fills it, and stores the request's token, which makes it count; ending it needs that token. Threads of the worker
//! meet here without a lock. What is read of a living worker may be torn by the next request; of a dead one it is what
//! it was, and an entry that was being filled when the worker died does not count. Nor does that of a request whose last record
//! counts (`mark`): whoever was killed before it could end such a request has answered it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock;
use crate::layout::{ASIDE_REQUESTS, REQUESTS, RequestEntry};
use crate::mark;
use crate::slots::Place;
use crate::state::State;

const FREE: u64 = 0;
const FILLING: u64 = 1;
/// The lowest token: its number is 1.
const TOKEN_MIN: u64 = REQUESTS as u64;

/// A request that somebody is, or was, serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInFlight {
    /// Its id, as the application logs it.
    pub id: String,
    /// The method.
    pub method: String,
    /// The path, cut to what the table holds.
    pub path: String,
    /// The client's address.
    pub client: String,
    /// When it began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// The kernel's number of the thread that began it.
    pub thread: u64,
}

/// Numbers for this process's tokens; a forked child goes on in a table of its own.
#[derive(Default)]
pub(crate) struct Numbers(AtomicU32);

/// Notes a request. None: the table is full, or the state has no room for one; it is counted.
pub(crate) fn begin(
    state: &State,
    place: &Place,
    numbers: &Numbers,
    request: [&str; 4],
) -> Option<u64> {
    let aside = &state.slot(place.slot).aside;
    if aside.flags.load(Ordering::Relaxed) & ASIDE_REQUESTS == 0 {
        open_table(state, place)?;
    }
    let number = numbers.0.fetch_add(1, Ordering::Relaxed) % (1 << 24) + 1;
    let Some(index) = take_entry(state, place, number as usize) else {
        aside.requests_missed.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let entry = state.request(place.slot, index);
    entry.started_ns.store(clock::wall_ns(), Ordering::Relaxed);
    entry.thread.store(this_thread(), Ordering::Relaxed);
    entry.over.store(0, Ordering::Relaxed);
    let [id, method, path, client] = request.map(str::as_bytes);
    entry.id.set(id);
    entry.method.set(method);
    entry.path.set(path);
    entry.client.set(client);
    let within = u64::from(number) * REQUESTS as u64 + index as u64;
    let token = u64::from(place.epoch) << 32 | within;
    // ORDERING: the entry is complete before it counts; pairs with `in_flight`.
    entry.state.store(token, Ordering::Release);
    Some(token)
}

/// Ends a request. A token that is not one of this process's living requests is left alone.
pub(crate) fn end(state: &State, place: &Place, token: u64) {
    if let Some(entry) = entry_of(state, place, token) {
        let _ = entry
            .state
            .compare_exchange(token, FREE, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// The entry of a living request of this process.
pub(crate) fn entry_of<'a>(
    state: &'a State,
    place: &Place,
    token: u64,
) -> Option<&'a RequestEntry> {
    let flags = state.slot(place.slot).aside.flags.load(Ordering::Relaxed);
    if token < TOKEN_MIN || token >> 32 != u64::from(place.epoch) || flags & ASIDE_REQUESTS == 0 {
        return None;
    }
    let entry = state.request(place.slot, (token % REQUESTS as u64) as usize);
    (entry.state.load(Ordering::Relaxed) == token).then_some(entry)
}

/// Whether somebody is, or was, serving this request of the worker in `slot`.
fn is_in_flight(state: &State, slot: u16, entry: &RequestEntry) -> bool {
    entry.state.load(Ordering::Acquire) >= TOKEN_MIN && !mark::counts(state, slot, &entry.over)
}

/// The requests of a slot, oldest first.
pub(crate) fn in_flight(state: &State, slot: u16) -> Vec<RequestInFlight> {
    if state.slot(slot).aside.flags.load(Ordering::Acquire) & ASIDE_REQUESTS == 0 {
        return Vec::new();
    }
    let entries = (0..REQUESTS).map(|index| state.request(slot, index));
    let mut found: Vec<_> = entries
        .filter(|entry| is_in_flight(state, slot, entry))
        .map(read)
        .collect();
    found.sort_by_key(|request| request.started_ns);
    found
}

/// Whether a slot has a request in flight.
pub(crate) fn any(state: &State, slot: u16) -> bool {
    let used = state.slot(slot).aside.flags.load(Ordering::Acquire) & ASIDE_REQUESTS != 0;
    used && (0..REQUESTS).any(|index| is_in_flight(state, slot, state.request(slot, index)))
}

fn read(entry: &RequestEntry) -> RequestInFlight {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    RequestInFlight {
        id: text(entry.id.to_vec()),
        method: text(entry.method.to_vec()),
        path: text(entry.path.to_vec()),
        client: text(entry.client.to_vec()),
        started_ns: entry.started_ns.load(Ordering::Relaxed),
        thread: entry.thread.load(Ordering::Relaxed),
    }
}

/// The pages of a table are made when a worker serves its first request.
#[cold]
fn open_table(state: &State, place: &Place) -> Option<()> {
    let aside = &state.slot(place.slot).aside;
    let (at, len) = state.requests_at(place.slot);
    if state.allocate(at, len).is_err() {
        aside.requests_missed.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    // ORDERING: another thread that sees the flag finds the pages there.
    aside.flags.fetch_or(ASIDE_REQUESTS, Ordering::AcqRel);
    Some(())
}

/// Makes a slot's table empty, for its next worker.
pub(crate) fn clear(state: &State, slot: u16) {
    let aside = &state.slot(slot).aside;
    if aside.flags.load(Ordering::Relaxed) & ASIDE_REQUESTS != 0 {
        for index in 0..REQUESTS {
            state
                .request(slot, index)
                .state
                .store(FREE, Ordering::Relaxed);
        }
    }
}

fn take_entry(state: &State, place: &Place, start: usize) -> Option<usize> {
    let indices = (0..REQUESTS).map(|step| (start + step) % REQUESTS);
    indices.into_iter().find(|index| {
        let entry = state.request(place.slot, *index);
        entry.state.load(Ordering::Relaxed) == FREE
            && entry
                .state
                .compare_exchange(FREE, FILLING, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    })
}

fn this_thread() -> u64 {
    thread_local! {
        /// The number, and the process that asked for it: a forked child is another thread.
        static NUMBER: std::cell::Cell<(u64, u64)> = const { std::cell::Cell::new((0, 0)) };
    }
    let process = crate::sys::process_token();
    match NUMBER.get() {
        (known, number) if known == process && number != 0 => number,
        _ => {
            let number = rustix::thread::gettid().as_raw_nonzero().get() as u64;
            NUMBER.set((process, number));
            number
        }
    }
}
