//! A viewer: whoever looks into the recorders of a domain, and makes rules about what is revealed.
//!
//! It maps the state, has no place and no queue, and takes no lease: nobody waits for it, and when it dies its rules die
//! with it. What it reads of living workers are copies that are checked afterwards (`recorder::read_since`); what a worker
//! overwrote before it was read is counted.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind};
use crate::fs::Descriptor;
use crate::layout::ASIDE_RECORDING;
use crate::liveness;
use crate::recorder::{self, Cursor, Recorded};
use crate::requests::{self, RequestInFlight};
use crate::rules::{Rule, Rules};
use crate::state::State;
use crate::status;

/// A record, and the worker that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its process id.
    pub process: u32,
    /// The record.
    pub record: Recorded,
}

/// A domain, seen by somebody who only looks.
pub struct Viewer {
    state: State,
    /// A description of its own for looking at locks: those of `state` are this viewer's, and invisible to it. None: it holds
    /// no locks, since it may not change anything.
    looks: Option<Descriptor>,
    /// By slot: the life of the place that was read, and how far.
    cursors: HashMap<u16, (u64, Cursor)>,
}

impl Viewer {
    /// Opens the state of the domain of the log at `path`. Reading begins with what is recorded from now on. Whether this
    /// viewer may change the rules as well ([`Viewer::may_change`]) is up to the permissions of the state file.
    ///
    /// # Errors
    /// There is no domain, or its state cannot be read.
    pub fn open(path: &Path) -> Result<Viewer, Error> {
        let state = status::open_state_to_change(&status::directory_of(path)?)?;
        let looks = state.is_writable.then(|| state.reopen()).transpose();
        let looks = looks.map_err(|error| Error::io("open", &state.path, &error))?;
        let slots = 1..state.slots_used();
        let cursors = slots.map(|slot| {
            (
                slot,
                (life_of(&state, slot), recorder::end_of(&state, slot)),
            )
        });
        Ok(Viewer {
            cursors: cursors.collect(),
            state,
            looks,
        })
    }

    /// Gives what was recorded since the last call, each worker's records in their order; how many were overwritten
    /// before they could be read.
    pub fn poll(&mut self, give: &mut dyn FnMut(Seen)) -> u64 {
        let mut missed = 0;
        for slot in 1..self.state.slots_used() {
            let words = self.state.slot(slot);
            // In this order: what lies before this tail is of this life, or of one before.
            let tail = recorder::tail_of(&self.state, slot);
            let life = life_of(&self.state, slot);
            let process = words.pid.load(Ordering::Relaxed);
            let known = self
                .cursors
                .entry(slot)
                .or_insert((life, Cursor::default()));
            if known.0 != life {
                *known = (life, Cursor::default());
            }
            missed += recorder::read_since(&self.state, slot, &mut known.1, tail, &mut |record| {
                give(Seen { process, record })
            });
        }
        missed
    }

    /// All that is recorded now, of living and of dead workers, by time; and how many records were overwritten.
    pub fn recorded(&self) -> (Vec<Seen>, u64) {
        let (mut seen, mut overwritten) = (Vec::new(), 0);
        for slot in 1..self.state.slots_used() {
            let words = self.state.slot(slot);
            let process = words.pid.load(Ordering::Relaxed);
            let mut cursor = Cursor::default();
            let tail = recorder::tail_of(&self.state, slot);
            overwritten +=
                recorder::read_since(&self.state, slot, &mut cursor, tail, &mut |record| {
                    seen.push(Seen { process, record })
                });
        }
        seen.sort_by_key(|seen| seen.record.time_ns);
        (seen, overwritten)
    }

    /// The requests that living workers are serving: process and request, oldest first.
    pub fn requests(&self) -> Vec<(u32, RequestInFlight)> {
        let mut found = Vec::new();
        for slot in 1..self.state.slots_used() {
            let words = self.state.slot(slot);
            if words.is_live() {
                let process = words.pid.load(Ordering::Relaxed);
                let requests = requests::in_flight(&self.state, slot);
                found.extend(requests.into_iter().map(|request| (process, request)));
            }
        }
        found.sort_by_key(|(_, request)| request.started_ns);
        found
    }

    /// Puts a rule in force and gives its number. With `held` it ends with this viewer, also when that is killed.
    ///
    /// # Errors
    /// This viewer may not change anything, the table of rules is full, or the rule cannot be ([`Rule::check`]).
    pub fn add_rule(&self, rule: &Rule) -> Result<u64, Error> {
        self.may_change()?;
        self.forget_ended();
        Rules::of(&self.state).add(rule, self.state.file.raw())
    }

    /// Ends a rule. False: there is none of this number, or this viewer may not change anything.
    pub fn remove_rule(&self, number: u64) -> bool {
        self.looks.is_some() && Rules::of(&self.state).remove(number, self.state.file.raw())
    }

    /// Lets a rule end at another time (nanoseconds since 1970; 0: when it is removed). False: there is none, or this viewer
    /// may not change anything.
    pub fn extend_rule(&self, number: u64, expires_ns: u64) -> bool {
        self.looks.is_some() && Rules::of(&self.state).extend(number, expires_ns)
    }

    /// Whether this viewer may change the rules.
    ///
    /// # Errors
    /// It may only look.
    pub fn may_change(&self) -> Result<(), Error> {
        if self.looks.is_some() {
            return Ok(());
        }
        let owner = self.state.file.owner().unwrap_or_default();
        let text = format!(
            "failed to change the rules of the logs in `{}`: this user ({}) may look at the state of user {owner}, and not \
             change it; run this command as that user",
            self.state.directory().display(),
            rustix::process::geteuid().as_raw()
        );
        Err(Error::new(ErrorKind::Forbidden, text))
    }

    /// Whether some living worker records what it logs, without anybody's rule or with one.
    pub fn is_recorded(&self) -> bool {
        (1..self.state.slots_used()).any(|slot| {
            let words = self.state.slot(slot);
            words.is_live() && words.aside.flags.load(Ordering::Relaxed) & ASIDE_RECORDING != 0
        })
    }

    /// The rules in force, oldest first. Those of viewers that are gone are removed.
    pub fn rules(&self) -> Vec<Rule> {
        self.forget_ended();
        Rules::of(&self.state).in_force()
    }

    fn forget_ended(&self) {
        if let Some(looks) = &self.looks {
            Rules::of(&self.state).forget_ended(looks.raw());
        }
    }

    /// The levels that the program has set, as it told them ([`crate::Log::tell_levels`]): component and level.
    pub fn levels(&self) -> Vec<(String, i64)> {
        let text = self.state.control().levels.to_vec();
        let text = String::from_utf8_lossy(&text).into_owned();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .filter_map(|(component, level)| Some((component.to_owned(), level.parse().ok()?)))
            .collect()
    }

    /// Whether the state is still the one that newcomers meet in. Otherwise the server was started anew: open another viewer.
    pub fn is_current(&self) -> bool {
        crate::fs::look(&self.state.path).is_ok_and(|facts| facts.identity == self.state.identity())
    }

    /// How the domain is now.
    pub fn status(&self) -> status::Status {
        let locks = self.state.file.raw();
        status::of_state(&self.state, |slot| {
            liveness::is_alive(locks, slot, self.state.slot(slot), self.state.identity())
        })
    }
}

/// Which worker of a place this is: the number of its life.
fn life_of(state: &State, slot: u16) -> u64 {
    state.slot(slot).state.load(Ordering::Acquire) >> 32
}
