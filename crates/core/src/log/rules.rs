//! Level rules as a worker sees them.

use std::sync::atomic::AtomicU64;

use super::Log;
use crate::clock;
use crate::error::Error;
use crate::layout::LEVELS_BYTES_MAX;
use crate::options::Severity;
use crate::rules::{Facts, Judge, Rule, Rules, Toggled, Verdict};
use crate::senders::Arrival;

/// How often somebody who makes use of rules looks whether they have ended.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// The rules as this process knows them.
#[derive(Default)]
pub(super) struct KnownRules {
    /// The generation, and the process that read it.
    of: Option<(u64, u32)>,
    judge: Judge,
    looked_ns: u64,
}

/// A rule that is in force while this lives. A forked child's copy ends nothing.
#[must_use = "the rule ends when this is dropped"]
pub struct HeldRule<'a> {
    log: &'a Log,
    number: u64,
    process: u32,
}

impl HeldRule<'_> {
    /// The rule's number.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for HeldRule<'_> {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            self.log.remove_rule(self.number);
        }
    }
}

impl Log {
    /// Grows with each change of the domain's rules: whoever knows this number knows the rules.
    #[inline]
    pub fn rules_generation(&self) -> u64 {
        Rules::of(&self.domain.state).generation()
    }

    /// The word that holds that number, for a host that looks at it without a call.
    pub fn rules_word(&self) -> &AtomicU64 {
        &self.domain.state.control().rules_generation
    }

    /// The rules in force, oldest first.
    pub fn rules(&self) -> Vec<Rule> {
        Rules::of(&self.domain.state).in_force()
    }

    /// Puts a rule in force and gives its number. With `held` it ends with this process, however that ends.
    ///
    /// # Errors
    /// The table (16) is full, or the rule cannot be ([`Rule::check`]).
    pub fn add_rule(&self, rule: &Rule) -> Result<u64, Error> {
        self.forget_ended_rules();
        let locks = self.domain.local().locks(&self.domain.state);
        Rules::of(&self.domain.state).add(rule, locks)
    }

    /// Puts a rule in force until the result is dropped, or this process ends, or its own time is over.
    ///
    /// # Errors
    /// As [`Log::add_rule`].
    pub fn hold_rule(&self, rule: &Rule) -> Result<HeldRule<'_>, Error> {
        let rule = Rule {
            held: true,
            ..rule.clone()
        };
        Ok(HeldRule {
            number: self.add_rule(&rule)?,
            process: std::process::id(),
            log: self,
        })
    }

    /// What the rules in force say of a record of this component, level and request, in this process. Cheap where there is
    /// no rule: an atomic load and a lock that nobody has. A record that is revealed goes to [`Log::record_judged`], and to
    /// the files where the verdict says so.
    pub fn judge(
        &self,
        component: &str,
        severity: Severity,
        request: Option<&Facts<'_>>,
    ) -> Verdict {
        match self.judge.try_lock() {
            Ok(mut known) => {
                self.refresh(&mut known);
                known.judge.verdict(component, severity, request)
            }
            // Another thread reads the table just now, or did so when this process was forked.
            Err(_) => Judge::of(self.rules()).verdict(component, severity, request),
        }
    }

    fn refresh(&self, known: &mut KnownRules) {
        if !known.judge.is_empty() {
            let now_ns = clock::monotonic_ns();
            if now_ns.saturating_sub(known.looked_ns) > LOOK_EVERY_NS {
                known.looked_ns = now_ns;
                self.forget_ended_rules();
            }
        }
        // The generation is read first: what changes meanwhile is read next time.
        let of = Some((self.rules_generation(), std::process::id()));
        if known.of != of {
            known.judge = Judge::of(self.rules());
            known.of = of;
        }
    }

    /// Puts `rules` in force, or ends those that the last toggle put in force. None: there was a toggle within the last
    /// second: a signal that a server passes on to its workers is one toggle.
    ///
    /// `asked`: the signal that asks for it ([`crate::senders::arrival`]); what counts is when it came, since a busy process
    /// may act on it late. None: it is asked for now.
    pub fn toggle(&self, rules: &[Rule], asked: Option<Arrival>) -> Option<Toggled> {
        self.forget_ended_rules();
        let locks = self.domain.local().locks(&self.domain.state);
        let at_ns = asked.map_or_else(clock::monotonic_ns, |asked| asked.at_ns);
        Rules::of(&self.domain.state).toggle(rules, at_ns, locks)
    }

    /// Tells viewers which levels this program has set: component (empty: all others; `*`: the recorder) and level, a number
    /// of Python's. What does not fit (2 KB) is left out.
    pub fn tell_levels<'l>(&self, levels: impl IntoIterator<Item = (&'l str, i64)>) {
        let mut text = String::new();
        for (component, level) in levels {
            let line = format!("{component}={level}\n");
            if text.len() + line.len() <= LEVELS_BYTES_MAX && !component.contains(['\n', '=']) {
                text.push_str(&line);
            }
        }
        self.domain.state.control().levels.set(text.as_bytes());
    }

    /// Ends a rule. False: there is none of this number.
    pub fn remove_rule(&self, number: u64) -> bool {
        let locks = self.domain.local().locks(&self.domain.state);
        Rules::of(&self.domain.state).remove(number, locks)
    }

    /// Removes the rules whose time is over or whose viewer is gone: one system call for each that is held. True: there was
    /// one.
    pub fn forget_ended_rules(&self) -> bool {
        let locks = self.domain.local().locks(&self.domain.state);
        Rules::of(&self.domain.state).forget_ended(locks)
    }
}
