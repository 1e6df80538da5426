//! Which rules want a record: the table, read once for each change of it, asked for each record.
//!
//! What always holds: what cannot be understood (a condition of a later version) reveals nothing; a rule whose time is over
//! does not count, whether or not somebody has removed it.

use super::{Condition, Field, Rule};
use crate::clock;
use crate::options::Severity;

/// What is known of the request that a record belongs to; an empty text is known to be none.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The path without the query.
    pub path: &'a str,
    /// The method.
    pub method: &'a str,
    /// The request's id.
    pub id: &'a str,
    /// Who is logged in.
    pub user: &'a str,
    /// The client's address.
    pub client: &'a str,
    /// The route that answers.
    pub endpoint: &'a str,
    /// The status of the answer; None: it is not known yet.
    pub status: Option<u16>,
    /// Gives a header by its name in small letters, an empty text for none. None: headers are not known.
    pub header: Option<&'a dyn Fn(&str) -> String>,
}

impl Facts<'_> {
    fn meets(&self, condition: &Condition) -> bool {
        let status;
        let header;
        let found = match &condition.field {
            Field::Path => Some(self.path),
            Field::Method => Some(self.method),
            Field::Id => Some(self.id),
            Field::User => Some(self.user),
            Field::Client => Some(self.client),
            Field::Endpoint => Some(self.endpoint),
            Field::Status => {
                status = self.status.map(|status| status.to_string());
                status.as_deref()
            }
            Field::Header(name) => {
                header = self.header.map(|ask| ask(name));
                header.as_deref()
            }
        };
        condition.holds(found)
    }
}

/// What the rules say of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Bit by the place of a rule in the table: it wants this record. A rule that reveals nothing wants what is logged anyway.
    pub rules: u16,
    /// Some rule reveals the record.
    pub revealed: bool,
    /// Some rule wants it in the files, too.
    pub kept: bool,
}

/// The rules of one moment, ready to be asked.
#[derive(Default)]
pub(crate) struct Judge {
    rules: Vec<(Rule, Vec<Condition>)>,
}

impl Judge {
    /// Of these rules those that are for this process.
    pub fn of(rules: Vec<Rule>) -> Judge {
        let own = std::process::id();
        let mine = rules
            .into_iter()
            .filter(|rule| rule.worker == 0 || rule.worker == own);
        let rules = mine.filter_map(|rule| {
            let conditions = Condition::all_of(&rule.condition).ok()?;
            Some((rule, conditions))
        });
        Judge {
            rules: rules.collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn verdict(
        &self,
        component: &str,
        severity: Severity,
        request: Option<&Facts<'_>>,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        if self.rules.is_empty() {
            return verdict;
        }
        let now_ns = clock::wall_ns();
        for (rule, conditions) in &self.rules {
            let reveals = rule.severity != Rule::NOTHING_MORE;
            let wants = (severity >= rule.severity || !reveals)
                && rule.takes(component)
                && !rule.is_over(now_ns)
                && (conditions.is_empty()
                    || request.is_some_and(|facts| conditions.iter().all(|one| facts.meets(one))));
            if wants {
                verdict.rules |= 1 << (rule.index & 15);
                verdict.revealed |= reveals;
                verdict.kept |= rule.kept;
            }
        }
        verdict
    }
}
