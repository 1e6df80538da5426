//! Level rules: what is revealed on demand, for one component, one request, one worker, until when and for whom.
//!
//! The domain has a table of 16 entries and a generation word that grows with each change. A worker compares that
//! word with the one it knows when it is asked whether a logger is enabled, and reads the table when they differ: it needs no
//! wake-up, and the very next record of a worker that slept in a system call obeys. Whoever makes a rule writes an entry;
//! nobody takes a lock, and no file is touched.
//!
//! What always holds: an entry counts when its seal says so (`seal`), which also has the end of the rule. A rule of a viewer
//! goes with the viewer: that holds a lock on a byte of the rule's, which the kernel drops with it, and whoever makes use of
//! the rule looks once in a while (`Rules::forget_ended`). A rule whose time is over does not count, whether or not somebody removed it.

mod condition;
mod judge;
#[cfg(test)]
mod tests;

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

pub use self::condition::{Condition, Field, Operator};
pub(crate) use self::judge::Judge;
pub use self::judge::{Facts, Verdict};
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::layout::{RULES, RuleEntry};
use crate::liveness;
use crate::options::Severity;
use crate::seal::{self, Seal};
use crate::state::State;

const KEPT: u64 = 1;
const HELD: u64 = 2;
const TOGGLED: u64 = 4;

/// A token has the rule's number above these bits, and in them when it ends, in units that the bits of some thousand years
/// suffice for: who changes the end and who ends the rule because of it cannot both succeed.
const END_BITS: u32 = 40;
const END_MASK: u64 = (1 << END_BITS) - 1;
const END_UNIT_NS: u64 = 1_000_000_000 / 64;
/// Numbers begin with 1 again after so many.
const NUMBERS: u64 = (1 << (64 - END_BITS)) - 1;
/// Filling an entry takes microseconds: whoever has not done it by then died, or will find out that it was given up.
const ABANDONED_NS: u64 = 60_000_000_000;

/// Toggles within this time are one: a server passes its signal on to its workers.
const ONE_TOGGLE_NS: u64 = 1_000_000_000;

/// What is revealed, and for how long.
///
/// The default is a rule for all debug records of all workers, for viewers alone, until it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule's number; given when it is made.
    pub number: u64,
    /// Its place in the table, of sixteen; given when it is made.
    pub index: u8,
    /// The component and those below it; empty: all.
    pub component: String,
    /// What a request must be like, one condition a line (`path^=/checkout`); empty: any record, with a request or
    /// without.
    pub condition: String,
    /// The process that it is for; 0: all.
    pub worker: u32,
    /// Records from this severity on are revealed. [`Rule::NOTHING_MORE`]: none, the viewer only wants to see what is
    /// logged anyway.
    pub severity: Severity,
    /// What it reveals is written to the files too, not only shown to viewers.
    pub kept: bool,
    /// It goes with the process that made it.
    pub held: bool,
    /// It was made by a toggle, and the next one ends it.
    pub toggled: bool,
    /// When it was made, in nanoseconds since 1970.
    pub made_ns: u64,
    /// When it ends, in nanoseconds since 1970; 0: when it is removed.
    pub expires_ns: u64,
    /// The process that made it.
    pub maker: u32,
    /// Who made it, for people.
    pub made_by: String,
}

impl Rule {
    /// The severity of a rule that reveals nothing.
    pub const NOTHING_MORE: Severity = Severity(u8::MAX);

    /// Longest component, condition and maker, in bytes.
    pub const BYTES_MAX: [usize; 3] = [120, 192, 64];

    /// Its bit in [`Verdict::rules`] and in [`crate::Recorded::rules`].
    pub fn bit(&self) -> u16 {
        1 << (self.index & 15)
    }

    /// The component is the rule's, or below it.
    pub fn takes(&self, component: &str) -> bool {
        self.component.is_empty()
            || component
                .strip_prefix(self.component.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Whether it can be put in force.
    ///
    /// # Errors
    /// A text that is longer than a rule holds, or a condition that cannot be read.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| {
            let text = format!("failed to put the rule in force: {why}");
            Err(Error::new(ErrorKind::Invalid, text))
        };
        let texts = [&self.component, &self.condition, &self.made_by];
        let names = ["component is", "conditions together are", "maker's name is"];
        for ((text, most), name) in texts.iter().zip(Rule::BYTES_MAX).zip(names) {
            if text.len() > most {
                return refuse(format!("the {name} longer than {most} bytes"));
            }
        }
        match Condition::all_of(&self.condition) {
            Ok(_) => Ok(()),
            Err(why) => refuse(why),
        }
    }

    fn is_over(&self, now_ns: u64) -> bool {
        self.expires_ns != 0 && self.expires_ns <= now_ns
    }
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            number: 0,
            index: 0,
            component: String::new(),
            condition: String::new(),
            worker: 0,
            severity: Severity(5),
            kept: false,
            held: false,
            toggled: false,
            made_ns: 0,
            expires_ns: 0,
            maker: 0,
            made_by: String::new(),
        }
    }
}

/// What a toggle did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toggled {
    /// Its rules are in force.
    On,
    /// The rules of the last one are not in force any more.
    Off,
    /// Nothing: the table of rules is full.
    NoRoom,
}

/// The table of a domain.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    state: &'a State,
}

impl<'a> Rules<'a> {
    pub fn of(state: &'a State) -> Rules<'a> {
        Rules { state }
    }

    pub fn generation(self) -> u64 {
        self.state
            .control()
            .rules_generation
            .load(Ordering::Acquire)
    }

    /// Puts a rule in force and gives its number. `locks`: with `held`, the description whose locks end with the maker.
    ///
    /// # Errors
    /// The rule cannot be ([`Rule::check`]), or the table is full.
    pub fn add(self, rule: &Rule, locks: impl AsRawFd + Copy) -> Result<u64, Error> {
        rule.check()?;
        let made = self
            .state
            .control()
            .rules_made
            .fetch_add(1, Ordering::Relaxed);
        let number = made % NUMBERS + 1;
        // A byte of its own for each number: nobody else has it, unless a number came round.
        if rule.held && !liveness::lock_rule(locks, number, true) {
            return Err(full());
        }
        let Some(entry) = self.take_entry(number) else {
            self.let_go(number, locks);
            return Err(full());
        };
        store(entry, rule);
        Seal::of(&entry.state).close(number, token(number, rule.expires_ns));
        self.changed();
        Ok(number)
    }

    /// Ends a rule; `locks`: of this process, which may hold it. False: there is none of this number.
    pub fn remove(self, number: u64, locks: impl AsRawFd) -> bool {
        let removed = self.change(number, |seal, seen| seal.end(seen));
        self.let_go(number, locks);
        removed
    }

    /// Gives the lock of a rule back, if this process has it.
    fn let_go(self, number: u64, locks: impl AsRawFd) {
        liveness::lock_rule(locks, number, false);
    }

    /// Changes the seal of a rule, again if somebody else did so meanwhile.
    fn change(self, number: u64, change: impl Fn(Seal<'_>, u64) -> bool) -> bool {
        let changed = (0..RULES).any(|index| {
            let seal = self.seal(index);
            loop {
                let seen = seal.peek();
                if seen < seal::TOKEN_MIN || seen >> END_BITS != number {
                    break false;
                }
                if change(seal, seen) {
                    break true;
                }
            }
        });
        if changed {
            self.changed();
        }
        changed
    }

    /// Ends what a toggle has put in force, or puts `rules` in force. None: there was a toggle less
    /// than a second before `at_ns` (monotonic), or after it, and this one is part of it.
    pub fn toggle(self, rules: &[Rule], at_ns: u64, locks: impl AsRawFd + Copy) -> Option<Toggled> {
        let last = &self.state.control().toggled_ns;
        let before = last.load(Ordering::Relaxed);
        let again = before != 0 && at_ns.saturating_sub(before) < ONE_TOGGLE_NS;
        let claimed = last.compare_exchange(before, at_ns, Ordering::AcqRel, Ordering::Relaxed);
        if again || claimed.is_err() {
            return None;
        }
        let toggled = self.in_force().into_iter().filter(|rule| rule.toggled);
        let ended = toggled
            .filter(|rule| self.remove(rule.number, locks))
            .count();
        if ended > 0 {
            return Some(Toggled::Off);
        }
        let mut made = Vec::new();
        for rule in rules {
            let rule = Rule {
                toggled: true,
                ..rule.clone()
            };
            let Ok(number) = self.add(&rule, locks) else {
                made.into_iter().for_each(|number| {
                    self.remove(number, locks);
                });
                return Some(Toggled::NoRoom);
            };
            made.push(number);
        }
        Some(Toggled::On)
    }

    /// Gives a rule another end. False: there is none of this number any more.
    pub fn extend(self, number: u64, expires_ns: u64) -> bool {
        self.change(number, |seal, seen| {
            seal.replace(seen, token(number, expires_ns))
        })
    }

    /// The rules in force, oldest first.
    pub fn in_force(self) -> Vec<Rule> {
        let now_ns = clock::wall_ns();
        let mut rules: Vec<_> = (0..RULES)
            .filter_map(|index| self.load(index))
            .map(|(_, rule)| rule)
            .filter(|rule| !rule.is_over(now_ns))
            .collect();
        rules.sort_by_key(|rule| (rule.made_ns, rule.number));
        rules
    }

    /// Removes the rules whose time is over or whose holder is gone. `locks` is a description of the state that is not
    /// the holder's own, unless that is this process. True: there was one.
    pub fn forget_ended(self, locks: impl AsRawFd + Copy) -> bool {
        let (now_ns, own) = (clock::wall_ns(), std::process::id());
        let mut any = false;
        for index in 0..RULES {
            let ended = match self.load(index) {
                Some((token, rule)) => {
                    let is_held =
                        || rule.maker == own || liveness::is_rule_held(locks, rule.number);
                    (rule.is_over(now_ns) || rule.held && !is_held()).then_some(token)
                }
                None => self.abandoned(index, locks),
            };
            // By the token that was looked at: meanwhile the rule may have another end, or the entry another rule.
            any |= ended.is_some_and(|token| self.seal(index).end(token));
        }
        if any {
            self.changed();
        }
        any
    }

    /// The mark of a maker that died while it filled the entry.
    fn abandoned(self, index: usize, locks: impl AsRawFd) -> Option<u64> {
        let mark = self.seal(index).peek();
        if mark == seal::FREE || mark >= seal::TOKEN_MIN || liveness::is_rule_held(locks, mark) {
            return None;
        }
        let begun_ns = self.entry(index).made_ns.load(Ordering::Relaxed);
        (clock::wall_ns().abs_diff(begun_ns) > ABANDONED_NS).then_some(mark)
    }

    fn take_entry(self, mark: u64) -> Option<&'a RuleEntry> {
        let index = (0..RULES).find(|index| self.seal(*index).take(mark))?;
        let entry = self.entry(index);
        entry.made_ns.store(clock::wall_ns(), Ordering::Relaxed);
        Some(entry)
    }

    fn load(self, index: usize) -> Option<(u64, Rule)> {
        let entry = self.entry(index);
        let (token, rule) = self.seal(index).read(|| load(entry))?;
        let rule = Rule {
            number: token >> END_BITS,
            index: index as u8,
            expires_ns: (token & END_MASK) * END_UNIT_NS,
            ..rule
        };
        Some((token, rule))
    }

    fn seal(self, index: usize) -> Seal<'a> {
        Seal::of(&self.entry(index).state)
    }

    fn changed(self) {
        // ORDERING: whoever sees the new generation sees the table as it is now.
        self.state
            .control()
            .rules_generation
            .fetch_add(1, Ordering::AcqRel);
    }

    fn entry(self, index: usize) -> &'a RuleEntry {
        &self.state.control().rules[index]
    }
}

fn full() -> Error {
    Error::new(
        ErrorKind::Full,
        format!(
            "failed to put the rule in force: there are as many as fit ({RULES}); `logboom level` shows them, `logboom level \
             --reset` ends them"
        ),
    )
}

/// The end is rounded up.
fn token(number: u64, expires_ns: u64) -> u64 {
    number << END_BITS | expires_ns.div_ceil(END_UNIT_NS).min(END_MASK)
}

fn store(entry: &RuleEntry, rule: &Rule) {
    let flags = u64::from(rule.kept) * KEPT
        + u64::from(rule.held) * HELD
        + u64::from(rule.toggled) * TOGGLED;
    let words = [
        (&entry.severity, u64::from(rule.severity.0)),
        (&entry.flags, flags),
        (&entry.made_ns, clock::wall_ns()),
        (&entry.worker, u64::from(rule.worker)),
        (&entry.maker, u64::from(std::process::id())),
    ];
    for (word, value) in words {
        word.store(value, Ordering::Relaxed);
    }
    entry.component.set(rule.component.as_bytes());
    entry.condition.set(rule.condition.as_bytes());
    entry.made_by.set(rule.made_by.as_bytes());
}

/// The fields, without what the token says.
fn load(entry: &RuleEntry) -> Rule {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let flags = entry.flags.load(Ordering::Relaxed);
    Rule {
        component: text(entry.component.to_vec()),
        condition: text(entry.condition.to_vec()),
        worker: entry.worker.load(Ordering::Relaxed) as u32,
        severity: Severity(entry.severity.load(Ordering::Relaxed) as u8),
        kept: flags & KEPT != 0,
        held: flags & HELD != 0,
        toggled: flags & TOGGLED != 0,
        made_ns: entry.made_ns.load(Ordering::Relaxed),
        maker: entry.maker.load(Ordering::Relaxed) as u32,
        made_by: text(entry.made_by.to_vec()),
        ..Rule::default()
    }
}
