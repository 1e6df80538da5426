//! A viewer with a rule of its own, that goes on when the server is started anew.
//!
//! What always holds: the rule goes with this process. When the state is another one than before, the rule is put in force there
//! for the time that is left, and what was recorded there meanwhile is given once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logboom::rules::Rule;
use logboom::status;
use logboom::viewer::{Seen, Viewer};

use super::{places, spans};
use crate::exit::Failure;

/// How often it is asked whether the state is still the one that workers have.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// What happened to the domain, or to the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The state is gone; nobody can be read.
    Gone,
    /// There is a new state, and it is read.
    Anew,
    /// Somebody ended the rule.
    RuleEnded,
    /// The rule could not be put in force in the new state.
    NoRule(String),
}

/// A viewer and its rule.
pub(crate) struct Watch {
    directory: PathBuf,
    state: PathBuf,
    viewer: Option<Viewer>,
    rule: Rule,
    /// 0: the rule is not in force.
    number: u64,
    /// In records that the rule wants; 0: there is none.
    bit: u16,
    /// Since when that is so: before, it was another rule's.
    made_ns: u64,
    /// Records that were given out of order; a poll gives them again.
    given: HashSet<(u32, u64, u64)>,
    checked: Instant,
    /// When the state was the right one, last.
    current_ns: u64,
}

impl Watch {
    /// Opens the domain of the logs in `directory` and puts a rule in force there.
    ///
    /// # Errors
    /// There is no domain, or no room for the rule.
    pub(crate) fn open(directory: &Path, rule: Rule) -> Result<Watch, Failure> {
        let fail = |error: logboom::Error| Failure::could_not_run(error.to_string());
        let current_ns = spans::now_ns();
        let viewer = places::open(directory)?;
        let rule = Rule { held: true, ..rule };
        // Who may only look has no rule, and sees what workers record without one.
        let only_looks = rule.severity == Rule::NOTHING_MORE && viewer.may_change().is_err();
        let number = match only_looks {
            true => 0,
            false => viewer.add_rule(&rule).map_err(fail)?,
        };
        Ok(Watch {
            bit: bit_of(&viewer, number),
            made_ns: current_ns,
            directory: directory.to_owned(),
            state: status::find_state(directory).unwrap_or_default(),
            viewer: Some(viewer),
            rule,
            number,
            given: HashSet::new(),
            checked: Instant::now(),
            current_ns,
        })
    }

    /// Whether this is a viewer who may only look while no worker records.
    pub(crate) fn looks_in_vain(&self) -> bool {
        let viewer = self.viewer.as_ref();
        viewer.is_some_and(|viewer| viewer.may_change().is_err() && !viewer.is_recorded())
    }

    pub(crate) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Lets the rule end at another time.
    pub(crate) fn extend(&mut self, expires_ns: u64) {
        self.rule.expires_ns = expires_ns;
        if let Some(viewer) = &self.viewer {
            viewer.extend_rule(self.number, expires_ns);
        }
    }

    /// All that is recorded now, by time, and how many records were overwritten. [`Watch::poll`] does not give these again.
    pub(crate) fn recorded(&mut self) -> (Vec<Seen>, u64) {
        let Some(viewer) = &self.viewer else {
            return (Vec::new(), 0);
        };
        let (seen, overwritten) = viewer.recorded();
        let since_ns = self.current_ns.saturating_sub(1_000_000_000);
        let fresh = seen.iter().filter(|seen| seen.record.time_ns >= since_ns);
        self.given = fresh.map(key).collect();
        (seen, overwritten)
    }

    /// Gives what was recorded since the last call, and for each record whether the rule wants it, if the worker has judged;
    /// how many records were overwritten before they could be read.
    pub(crate) fn poll(&mut self, give: &mut dyn FnMut(Seen, Option<bool>)) -> u64 {
        let (bit, since_ns) = (self.bit, self.made_ns);
        let reveals = self.rule.severity != Rule::NOTHING_MORE;
        let (viewer, given) = (&mut self.viewer, &mut self.given);
        let Some(viewer) = viewer else { return 0 };
        viewer.poll(&mut |seen| {
            if given.is_empty() || !given.remove(&key(&seen)) {
                let judged = judged(&seen, bit, since_ns, reveals);
                give(seen, judged);
            }
        })
    }

    /// Looks once in a while whether the state is still the right one, and the rule in force. What is recorded in a new
    /// state is given.
    pub(crate) fn check(&mut self, give: &mut dyn FnMut(Seen, Option<bool>)) -> Option<News> {
        if self.checked.elapsed() < CHECK_EVERY {
            return None;
        }
        self.checked = Instant::now();
        if self.is_current() {
            self.current_ns = spans::now_ns();
            return self.check_rule();
        }
        let had = self.viewer.is_some();
        self.poll(give);
        match Viewer::open(&self.directory) {
            Ok(viewer) => Some(self.go_on_with(viewer, give)),
            Err(_) => {
                self.viewer = None;
                had.then_some(News::Gone)
            }
        }
    }

    fn is_current(&self) -> bool {
        let is_same = || status::find_state(&self.directory).is_ok_and(|path| path == self.state);
        self.viewer.as_ref().is_some_and(Viewer::is_current) && is_same()
    }

    fn check_rule(&mut self) -> Option<News> {
        let viewer = self.viewer.as_ref()?;
        let over = self.rule.expires_ns != 0 && self.rule.expires_ns <= spans::now_ns();
        let in_force = || viewer.rules().iter().any(|rule| rule.number == self.number);
        if self.number == 0 || over || in_force() {
            return None;
        }
        self.number = 0;
        Some(News::RuleEnded)
    }

    fn go_on_with(&mut self, viewer: Viewer, give: &mut dyn FnMut(Seen, Option<bool>)) -> News {
        self.state = status::find_state(&self.directory).unwrap_or_default();
        self.viewer = Some(viewer);
        let news = match self.rule_again() {
            Ok(()) => News::Anew,
            Err(why) => News::NoRule(why),
        };
        let since_ns = self.current_ns;
        let (seen, _) = self.recorded();
        let meanwhile = seen
            .into_iter()
            .filter(|seen| seen.record.time_ns >= since_ns);
        // Mostly from before the rule was in force there.
        meanwhile.for_each(|seen| give(seen, None));
        self.current_ns = spans::now_ns();
        news
    }

    /// Puts the rule in force again, after somebody ended it or in a new state.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn rule_again(&mut self) -> Result<(), String> {
        self.number = 0;
        let Some(viewer) = &self.viewer else {
            return Err("there is no state".into());
        };
        if self.rule.severity == Rule::NOTHING_MORE && viewer.may_change().is_err() {
            return Ok(());
        }
        self.number = viewer
            .add_rule(&self.rule)
            .map_err(|error| error.to_string())?;
        (self.bit, self.made_ns) = (bit_of(viewer, self.number), spans::now_ns());
        Ok(())
    }

    /// Ends the rule.
    pub(crate) fn end(&mut self) {
        if let Some(viewer) = &self.viewer {
            viewer.remove_rule(self.number);
        }
        self.number = 0;
    }
}

fn bit_of(viewer: &Viewer, number: u64) -> u16 {
    let rules = viewer.rules();
    let own = rules.iter().find(|rule| rule.number == number);
    own.map_or(0, Rule::bit)
}

/// What a worker only records it does not compare with the rules of those who reveal nothing.
fn judged(seen: &Seen, bit: u16, since_ns: u64, reveals: bool) -> Option<bool> {
    let rules = seen.record.rules?;
    let is_asked = reveals || seen.record.kept || rules != 0;
    (is_asked && bit != 0 && seen.record.time_ns >= since_ns).then_some(rules & bit != 0)
}

fn key(seen: &Seen) -> (u32, u64, u64) {
    (seen.process, seen.record.number, seen.record.time_ns)
}
