//! What a worker leaves in shared memory beside its records: the requests it is serving and its recorder.

use std::sync::atomic::Ordering;

use super::{Inside, Log};
use crate::options::Severity;
use crate::recorder::{self, Recorded};
use crate::requests::{self, RequestInFlight};
use crate::rules::Verdict;

impl Log {
    /// Notes that this process serves a request, until [`Log::end_request`] is called with the token that is returned.
    /// If the process dies before, the survivors find the request ([`Log::harvest`]). None: there are as many requests
    /// as the table holds (64), or no room for it; that is counted. Texts are cut to 120, 24, 248 and 56 bytes.
    pub fn begin_request(&self, id: &str, method: &str, path: &str, client: &str) -> Option<u64> {
        let inside = Inside::enter();
        if inside.nested {
            return None;
        }
        let local = self.domain.local();
        let place = local.place(&self.domain.state)?;
        requests::begin(
            &self.domain.state,
            place,
            &local.request_numbers,
            [id, method, path, client],
        )
    }

    /// The request is served. A token of another process, or of a request that has ended, is ignored.
    pub fn end_request(&self, token: u64) {
        if let Some(place) = self.domain.local().place_if_taken() {
            requests::end(&self.domain.state, place, token);
        }
    }

    /// The requests that this process is serving, oldest first.
    pub fn requests(&self) -> Vec<RequestInFlight> {
        let place = self.domain.local().place_if_taken();
        place.map_or_else(Vec::new, |place| {
            requests::in_flight(&self.domain.state, place.slot)
        })
    }

    /// Number of the last record that this process recorded; 0: there is none.
    pub fn recorded(&self) -> u64 {
        let place = self.domain.local().place_if_taken();
        place.map_or(0, |place| {
            recorder::end_of(&self.domain.state, place.slot).number
        })
    }

    /// What this process recorded of a request and wrote to no file, after the record of this number, oldest first; and how many
    /// records after that, of whatever request, are overwritten.
    pub fn unkept(&self, request: &str, after: u64) -> (Vec<Recorded>, u64) {
        let (mut found, mut overwritten) = (Vec::new(), 0);
        if let Some(place) = self.domain.local().place_if_taken() {
            let mut cursor = recorder::Cursor {
                position: 0,
                number: after,
            };
            let (state, slot) = (&self.domain.state, place.slot);
            let tail = recorder::tail_of(state, slot);
            overwritten = recorder::read_since(state, slot, &mut cursor, tail, &mut |record| {
                if !record.kept && record.number > after && record.request == request {
                    found.push(record);
                }
            });
        }
        (found, overwritten)
    }

    /// Switches this process's recorder on or off; what is in it stays.
    pub fn set_recording(&self, on: bool) {
        self.recorder.store(on, Ordering::Relaxed);
        if !on && let Some(place) = self.domain.local().place_if_taken() {
            recorder::switch_off(&self.domain.state, place);
        }
    }

    /// Whether this process's recorder is on.
    pub fn is_recording(&self) -> bool {
        self.recorder.load(Ordering::Relaxed)
    }

    /// Keeps a record that goes to no file in this process's recorder, if that is on. `line` is finished; `json` is the
    /// same record as a JSON object, empty where the line is one.
    pub fn record(
        &self,
        severity: Severity,
        component: &str,
        request: &str,
        json: &[u8],
        line: &[u8],
    ) {
        self.record_as(false, None, severity, [component, request], [json, line]);
    }

    /// The same for a record that is published as well.
    pub fn record_published(
        &self,
        severity: Severity,
        component: &str,
        request: &str,
        json: &[u8],
        line: &[u8],
    ) {
        self.record_as(true, None, severity, [component, request], [json, line]);
    }

    /// The same for a record that was judged ([`Log::judge`]), so that viewers know which of their rules want it. `names`:
    /// component and request; `record`: JSON object and line; `published`: it goes to a file as well.
    pub fn record_judged(
        &self,
        verdict: Verdict,
        published: bool,
        severity: Severity,
        names: [&str; 2],
        record: [&[u8]; 2],
    ) {
        // What is only recorded is no rule's, though it may be of its requests.
        let rules = if published || verdict.revealed {
            verdict.rules
        } else {
            0
        };
        self.record_as(published, Some(rules), severity, names, record);
    }

    #[inline]
    fn record_as(
        &self,
        kept: bool,
        rules: Option<u16>,
        severity: Severity,
        names: [&str; 2],
        record: [&[u8]; 2],
    ) {
        if !self.recorder.load(Ordering::Relaxed) {
            return;
        }
        let inside = Inside::enter();
        if inside.nested {
            return;
        }
        let (state, local) = (&self.domain.state, self.domain.local());
        let Some(place) = local.place(state) else {
            return;
        };
        let producer = local.producer();
        if !recorder::is_on(state, place)
            && let Err(error) = recorder::switch_on(state, place)
        {
            self.recorder.store(false, Ordering::Relaxed);
            crate::stderr::say(&format!(
                "no room for a recorder in `{}`: {error}; free space there or set a smaller recorder.bytes; nothing is \
                 recorded until the next start",
                state.path.display()
            ));
            return;
        }
        recorder::record(state, place, severity, names, record, kept, rules);
        drop(producer);
    }
}
