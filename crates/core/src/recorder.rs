//! The flight recorder of a worker: everything it logged last, the oldest overwritten, nobody waiting for it.
//!
//! Entries are stored as in a queue (`ring`), between the two cursors `recorder_oldest` and `recorder_tail` (`overwrite`):
//! only the worker writes, viewers copy and look afterwards, and whatever a dead worker left between the two is whole. In
//! place of a file's number an entry has the rules that want it, a bit for each place of the table, if it was judged.
//!
//! ```text
//! line of an entry:
//!   0 component length u16   2 request id length u16   4 length of the fields u32
//!   8 component   request id   fields   the finished line
//! ```

use std::sync::atomic::Ordering;

use crate::clock;
use crate::layout::{ASIDE_RECORDER, ASIDE_RECORDING};
use crate::options::Severity;
use crate::overwrite::Cursors;
use crate::ring::{self, Area, Entry};
use crate::slots::Place;
use crate::state::State;

const PREFIX: usize = 8;
/// A component or a request id is cut to this many bytes.
const NAME_BYTES_MAX: usize = 120;
/// The file number of an entry that is in no file.
const NO_FILE: u16 = u16::MAX;

/// A record of the recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it was made, in nanoseconds since 1970.
    pub time_ns: u64,
    /// OpenTelemetry's severity number.
    pub severity: Severity,
    /// The logger's name; empty if it is not known.
    pub component: String,
    /// The request it belongs to; empty: none.
    pub request: String,
    /// The finished line, as it is or would be in the file, without its end.
    pub line: String,
    /// The record as a JSON object, where the line is not one itself; empty: it is not known.
    pub json: String,
    /// It was written to a file too.
    pub kept: bool,
    /// The rules that wanted it, a bit for each ([`crate::rules::Rule::bit`]). None: it was not asked which.
    pub rules: Option<u16>,
    /// Counts from 1 in one life of a worker's place: a gap is what was overwritten before it was read.
    pub number: u64,
}

/// Records a line. The caller has the producer's side, so that nobody of this process is in here as well.
pub(crate) fn record(
    state: &State,
    place: &Place,
    severity: Severity,
    names: [&str; 2],
    [json, line]: [&[u8]; 2],
    kept: bool,
    rules: Option<u16>,
) {
    let area = state.recorder(place.slot);
    let slot = state.slot(place.slot);
    let most = area.len as usize / 8;
    // Half a JSON object is none.
    let json = if json.len() > most { &[] } else { json };
    let line = &line[..line.len().min(most)];
    let (prefix, prefix_len) = prefix(names, json.len());
    let prefix = &prefix[..prefix_len];
    let body = [json, line].concat();
    let len = (prefix.len() + body.len()) as u64;
    let aside = &slot.aside;
    let number = aside.recorder_number.load(Ordering::Relaxed) + 1;
    let cursors = Cursors::of(&aside.recorder_oldest, &aside.recorder_tail);
    let tail = aside.recorder_tail.load(Ordering::Relaxed);
    let mut oldest = aside.recorder_oldest.load(Ordering::Relaxed);
    let (position, after) = loop {
        match ring::place(area, tail, oldest, ring::footprint(len)) {
            Some(placed) => break placed,
            None => match ring::load(&state.shm, area, oldest, tail) {
                Some(entry) => {
                    oldest = ring::after(oldest, &entry);
                    let whole = u64::from(entry.flags & ring::FLAG_FILLER == 0);
                    aside
                        .recorder_overwritten
                        .fetch_add(whole, Ordering::Relaxed);
                }
                // Damaged: what was there is given up.
                None => oldest = tail,
            },
        }
    };
    cursors.give_up(oldest);
    let flags = [
        (!kept, ring::FLAG_UNKEPT),
        (rules.is_some(), ring::FLAG_JUDGED),
    ];
    let entry = Entry {
        len: len as u32,
        file: rules.unwrap_or(NO_FILE),
        severity: severity.0,
        flags: flags.iter().map(|(set, flag)| u8::from(*set) * flag).sum(),
        time_ns: clock::wall_ns(),
        seq: number,
    };
    ring::store(&state.shm, area, tail, position, entry, prefix, &body);
    aside.recorder_number.store(number, Ordering::Relaxed);
    cursors.close(after);
}

fn prefix(names: [&str; 2], json_len: usize) -> ([u8; PREFIX + 2 * NAME_BYTES_MAX], usize) {
    let [component, request] = names.map(|name| &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)]);
    let mut prefix = [0; PREFIX + 2 * NAME_BYTES_MAX];
    prefix[..2].copy_from_slice(&(component.len() as u16).to_le_bytes());
    prefix[2..4].copy_from_slice(&(request.len() as u16).to_le_bytes());
    prefix[4..8].copy_from_slice(&(json_len as u32).to_le_bytes());
    let middle = PREFIX + component.len();
    prefix[PREFIX..middle].copy_from_slice(component);
    prefix[middle..middle + request.len()].copy_from_slice(request);
    (prefix, middle + request.len())
}

/// Whether this worker's recorder is on.
pub(crate) fn is_on(state: &State, place: &Place) -> bool {
    state.slot(place.slot).aside.flags.load(Ordering::Relaxed) & ASIDE_RECORDING != 0
}

/// Switches this process's recorder on, and makes its pages if it has none. An error says why there is none.
pub(crate) fn switch_on(state: &State, place: &Place) -> std::io::Result<()> {
    let aside = &state.slot(place.slot).aside;
    if aside.flags.load(Ordering::Relaxed) & ASIDE_RECORDER == 0 {
        let area = state.recorder(place.slot);
        state.allocate(area.at, area.len as usize)?;
        // Behind what the place's last worker left, which a viewer may be copying.
        Cursors::of(&aside.recorder_oldest, &aside.recorder_tail).begin(ring::is_position);
    }
    let on = ASIDE_RECORDER | ASIDE_RECORDING;
    aside.flags.fetch_or(on, Ordering::AcqRel);
    Ok(())
}

/// Switches this process's recorder off; what is in it can still be read.
pub(crate) fn switch_off(state: &State, place: &Place) {
    let flags = &state.slot(place.slot).aside.flags;
    flags.fetch_and(!ASIDE_RECORDING, Ordering::AcqRel);
}

/// The last `most` records of a worker that is dead: of its recorder, or, if that was not on, what is left in its queue.
pub(crate) fn last_of(state: &State, slot: u16, most: usize) -> Vec<Recorded> {
    let words = state.slot(slot);
    if words.aside.flags.load(Ordering::Acquire) & ASIDE_RECORDING != 0 {
        return last_recorded(state, slot, most);
    }
    last_queued(state, slot, most)
}

fn last_recorded(state: &State, slot: u16, most: usize) -> Vec<Recorded> {
    let area = state.recorder(slot);
    let aside = &state.slot(slot).aside;
    let tail = aside.recorder_tail.load(Ordering::Acquire);
    let mut position = aside.recorder_oldest.load(Ordering::Acquire);
    let mut found = std::collections::VecDeque::new();
    while position < tail {
        let Some(entry) = ring::load(&state.shm, area, position, tail) else {
            break;
        };
        if entry.flags & ring::FLAG_FILLER == 0 {
            found.push_back(recorded(&entry, &bytes_of(state, area, position, &entry)));
            if found.len() > most {
                found.pop_front();
            }
        }
        position = ring::after(position, &entry);
    }
    found.into()
}

/// Looks backwards from the queue's end for entries that lead to each other: what was drained is still there until it
/// is overwritten, and nothing remembers where it begins.
fn last_queued(state: &State, slot: u16, most: usize) -> Vec<Recorded> {
    let area = state.queue(slot);
    let end = state.slot(slot).tail.load(Ordering::Acquire);
    // Before its start are records of the place's worker before; the other half may be in the middle of being overwritten.
    let start = state.slot(slot).aside.queue_start.load(Ordering::Relaxed);
    let limit = end.saturating_sub(area.len / 2).max(start);
    let mut found = Vec::new();
    let (mut next, mut position) = (end, end);
    while found.len() < most && position >= limit + ring::ALIGN {
        position -= ring::ALIGN;
        let Some(entry) = ring::load(&state.shm, area, position, next) else {
            continue;
        };
        if ring::after(position, &entry) != next {
            continue;
        }
        if entry.flags & ring::FLAG_FILLER == 0 {
            let bytes = bytes_of(state, area, position, &entry);
            found.push(Recorded {
                time_ns: entry.time_ns,
                severity: Severity(entry.severity),
                component: String::new(),
                request: String::new(),
                line: text_of(&bytes),
                json: String::new(),
                kept: true,
                rules: None,
                number: 0,
            });
        }
        next = position;
    }
    found.reverse();
    found
}

fn bytes_of(state: &State, area: Area, position: u64, entry: &Entry) -> Vec<u8> {
    state.shm.copy(area.line_at(position), entry.len as usize)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// The record in an entry; lengths that contradict each other give less of it.
fn recorded(entry: &Entry, bytes: &[u8]) -> Recorded {
    let mut rest = bytes;
    let mut take = |len: usize| {
        let (part, others) = rest.split_at(len.min(rest.len()));
        rest = others;
        part
    };
    let short = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let lens = [short(take(2)), short(take(2)), short(take(4))];
    let [component, request, json] = lens.map(&mut take);
    let line = take(usize::MAX);
    Recorded {
        time_ns: entry.time_ns,
        severity: Severity(entry.severity),
        component: text_of(component),
        request: text_of(request),
        line: text_of(line),
        json: text_of(json),
        kept: entry.flags & ring::FLAG_UNKEPT == 0,
        rules: (entry.flags & ring::FLAG_JUDGED != 0).then_some(entry.file),
        number: entry.seq,
    }
}

/// Where a reader of a living worker's recorder stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    pub position: u64,
    pub number: u64,
}

/// Where a reader stands who has read all that is recorded now.
pub(crate) fn end_of(state: &State, slot: u16) -> Cursor {
    let aside = &state.slot(slot).aside;
    // In this order: a record that comes between is read again, not missed.
    Cursor {
        number: aside.recorder_number.load(Ordering::Acquire),
        position: aside.recorder_tail.load(Ordering::Acquire),
    }
}

/// Where a place's recorder ends now. Who it belongs to is asked afterwards: up to here, nothing is of a later worker.
pub(crate) fn tail_of(state: &State, slot: u16) -> u64 {
    let aside = &state.slot(slot).aside;
    Cursors::of(&aside.recorder_oldest, &aside.recorder_tail).tail()
}

/// Gives what was recorded since the cursor and before `tail` ([`tail_of`]), and moves it; how many records were overwritten
/// before they were read.
///
/// The worker goes on writing meanwhile: an entry is copied, and counts if the worker's oldest entry still is not past it.
pub(crate) fn read_since(
    state: &State,
    slot: u16,
    cursor: &mut Cursor,
    tail: u64,
    give: &mut dyn FnMut(Recorded),
) -> u64 {
    let area = state.recorder(slot);
    let aside = &state.slot(slot).aside;
    if aside.flags.load(Ordering::Acquire) & ASIDE_RECORDER == 0 {
        return 0;
    }
    let mut missed = 0;
    let cursors = Cursors::of(&aside.recorder_oldest, &aside.recorder_tail);
    cursor.position = cursor.position.max(cursors.oldest());
    while cursor.position < tail {
        let copied = cursors.copy(cursor.position, || {
            let entry = ring::load(&state.shm, area, cursor.position, tail)?;
            Some((entry, bytes_of(state, area, cursor.position, &entry)))
        });
        let (entry, bytes) = match copied {
            Ok(Some(whole)) => whole,
            Ok(None) => {
                // Damaged: the rest is given up.
                cursor.position = tail;
                break;
            }
            Err(oldest) => {
                cursor.position = oldest;
                continue;
            }
        };
        if entry.flags & ring::FLAG_FILLER == 0 {
            missed += entry.seq.saturating_sub(cursor.number + 1);
            cursor.number = entry.seq;
            give(recorded(&entry, &bytes));
        }
        cursor.position = ring::after(cursor.position, &entry);
    }
    missed
}
