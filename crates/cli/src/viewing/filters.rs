//! Which records are shown: filters as they are typed, and the question whether a record passes.
//!
//! Filters of one kind are alternatives (two components: either), filters of different kinds must all hold.

use logboom::Severity;
use logboom::rules::Condition;
use regex::Regex;

use super::conditions::{self, Known};
use super::levels;
use super::seen::Look;

/// The filters of a command line.
#[derive(Debug, clap::Args)]
pub struct Filters {
    /// A component (it and those below it), or NAME=VALUE of a field
    #[arg(value_name = "FILTER")]
    words: Vec<Word>,
    /// Records of this level and above
    #[arg(long, value_parser = levels::parse)]
    level: Option<Severity>,
    /// Records of this worker (its process id; several: any of them)
    #[arg(long, value_name = "PID")]
    worker: Vec<u32>,
    /// Records of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Records of requests like this: FIELD OP VALUE (see `logboom debug --help`); several: all must hold
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
    /// Records in whose line this regular expression is found
    #[arg(long, short = 'e', value_name = "REGEX")]
    text: Option<Regex>,
}

#[derive(Debug, Clone)]
enum Word {
    Component(String),
    Field(String, String),
}

impl std::str::FromStr for Word {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Word, Self::Err> {
        Ok(match text.split_once('=') {
            Some((name, value)) => Word::Field(name.trim().into(), value.trim().into()),
            None => Word::Component(text.into()),
        })
    }
}

/// Which records are wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) components: Vec<String>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) severity: Option<Severity>,
    pub(crate) workers: Vec<u32>,
    pub(crate) request: Option<String>,
    pub(crate) text: Option<Regex>,
    pub(crate) conditions: Vec<Condition>,
    /// Not what is only recorded: neither written to a file nor wanted by a rule.
    pub(crate) no_recorded: bool,
}

impl Filters {
    pub(crate) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted {
            severity: self.level,
            workers: self.worker.clone(),
            request: self.request.clone(),
            text: self.text.clone(),
            conditions: self.conditions.clone(),
            ..Wanted::default()
        };
        for word in &self.words {
            match word {
                Word::Component(name) => wanted.components.push(component(name)),
                Word::Field(name, value) => wanted.fields.push((name.clone(), value.clone())),
            }
        }
        wanted
    }
}

/// A component as it is typed: `*` and `root` are all of them.
pub(crate) fn component(typed: &str) -> String {
    match typed {
        "*" | "root" => String::new(),
        name => name.trim_end_matches(".*").to_owned(),
    }
}

/// Whether a component is the one that is meant, or below it.
pub(crate) fn is_within(component: &str, meant: &str) -> bool {
    meant.is_empty()
        || component
            .strip_prefix(meant)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Wanted {
    pub(crate) fn passes(&self, record: &Look<'_>, known: Known<'_>) -> bool {
        let seen = record.seen;
        let is_recorded_only = !seen.record.kept && seen.record.rules.unwrap_or(0) == 0;
        let any = |of: &[String], holds: &dyn Fn(&str) -> bool| {
            of.is_empty() || of.iter().any(|one| holds(one))
        };
        self.severity
            .is_none_or(|least| seen.record.severity >= least)
            && (self.workers.is_empty() || self.workers.contains(&seen.process))
            && any(&self.components, &|meant| {
                is_within(&record.component(), meant)
            })
            && self
                .request
                .as_ref()
                .is_none_or(|id| is_request(record, id))
            && self
                .text
                .as_ref()
                .is_none_or(|text| text.is_match(&seen.record.line))
            && !(self.no_recorded && is_recorded_only)
            && self.has_fields(record)
            && conditions::all_admit(&self.conditions, record, known)
    }

    /// Of two values for one name either will do; every name must have one.
    fn has_fields(&self, record: &Look<'_>) -> bool {
        self.fields.iter().all(|(name, _)| {
            let Some(is) = record.text(name) else {
                return false;
            };
            let mut meant = self.fields.iter().filter(|(other, _)| other == name);
            meant.any(|(_, value)| *value == is)
        })
    }
}

/// A recorder keeps the beginning of a long id; the whole of it may be among the fields.
fn is_request(record: &Look<'_>, id: &str) -> bool {
    record.seen.record.request == id || record.text("request_id").is_some_and(|told| told == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewing::seen::tests::seen;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filters: Filters,
    }

    fn passes(arguments: &[&str]) -> bool {
        let line = Line::parse_from(std::iter::once(&"x").chain(arguments));
        let record = seen("9f2c", r#"{"order":7,"note":"a b"}"#, "paid 7");
        let wanted = line.filters.wanted();
        wanted.passes(&Look::of(&record), Known::ByRecord)
    }

    #[test]
    fn what_is_only_recorded_can_be_left_out() {
        let wanted = Wanted {
            no_recorded: true,
            ..Wanted::default()
        };
        for (kept, rules, expected) in [
            (true, None, true),
            (true, Some(0), true),
            (false, Some(4), true),
            (false, Some(0), false),
            (false, None, false),
        ] {
            let mut record = seen("", "", "x");
            (record.record.kept, record.record.rules) = (kept, rules);
            let passes = wanted.passes(&Look::of(&record), Known::ByRecord);
            assert_eq!(passes, expected, "{kept} {rules:?}");
        }
    }

    #[test]
    fn kinds_must_all_hold_and_one_of_each_is_enough() {
        let cases: [(&[&str], bool); 22] = [
            (&[], true),
            (&["shop"], true),
            (&["shop.db"], true),
            (&["sho"], false),
            (&["shop.db.pool"], false),
            (&["*"], true),
            (&["cart", "shop"], true),
            (&["order=7"], true),
            (&["order=8"], false),
            (&["order=8", "order=7"], true),
            (&["order=7", "note=b"], false),
            (&["shop", "note=a b"], true),
            (&["--level", "info"], true),
            (&["--level", "warning"], false),
            (&["--worker", "7"], true),
            (&["--worker", "8"], false),
            (&["--request", "9f2c"], true),
            (&["--request", "9f2"], false),
            (&["--where", "id^=9f"], true),
            (&["--where", "id^=9f", "--where", "path=/x"], false),
            (&["-e", "^paid [0-9]$"], true),
            (&["-e", "^paid$"], false),
        ];
        for (arguments, expected) in cases {
            assert_eq!(passes(arguments), expected, "{arguments:?}");
        }
    }
}
