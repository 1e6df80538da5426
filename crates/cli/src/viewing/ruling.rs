//! Rules in words and as JSON.

use logboom::files::escape::escape;
use logboom::rules::Rule;
use serde_json::{Value, json};

use super::{levels, spans};
use crate::words;

/// What it reveals: `debug of shop.db for requests with path^=/checkout, in worker 4711`.
pub(crate) fn what(rule: &Rule) -> String {
    let of = match rule.component.as_str() {
        "" => "all components".into(),
        name => escape(name, false),
    };
    let level = match rule.severity == Rule::NOTHING_MORE {
        true => "only what is logged anyway".into(),
        false => format!("{} and above", levels::name(rule.severity)),
    };
    let requests = match rule.condition.is_empty() {
        true => String::new(),
        false => {
            let conditions: Vec<_> = rule
                .condition
                .lines()
                .map(|line| escape(line, false))
                .collect();
            format!(", for requests with {}", conditions.join(" and "))
        }
    };
    let worker = match rule.worker {
        0 => String::new(),
        pid => format!(", in worker {pid}"),
    };
    format!("{level} of {of}{requests}{worker}")
}

/// Until when: `until 12:31:05 (9:58 left)`.
pub(crate) fn until(rule: &Rule, now_ns: u64) -> String {
    match rule.expires_ns {
        0 => "until it is ended".into(),
        end => format!(
            "until {} ({} left)",
            spans::clock(end),
            spans::left(end, now_ns)
        ),
    }
}

/// A rule in a list: what, since when, until when, who.
pub(crate) fn whole(rule: &Rule, now_ns: u64) -> String {
    let kept = if rule.kept {
        "also in the files"
    } else {
        "for viewers only"
    };
    let goes = if rule.held { ", and goes with it" } else { "" };
    format!(
        "{:>4}  {}\n      {kept}; since {}, {}\n      by {}, process {}{goes}\n",
        rule.number,
        what(rule),
        words::time_ns(rule.made_ns),
        until(rule, now_ns),
        escape(&rule.made_by, false),
        rule.maker,
    )
}

/// Under the names of `--json`.
pub(crate) fn json_of(rule: &Rule, now_ns: u64) -> Value {
    let left_s = rule.expires_ns.saturating_sub(now_ns) as f64 / 1e9;
    let has_end = rule.expires_ns != 0;
    json!({
        "number": rule.number,
        "component": rule.component,
        "conditions": rule.condition.lines().collect::<Vec<_>>(),
        "worker": (rule.worker != 0).then_some(rule.worker),
        "level": levels::name(rule.severity),
        "severity_number": (rule.severity != Rule::NOTHING_MORE).then_some(rule.severity.0),
        "kept": rule.kept,
        "held": rule.held,
        "since": words::time_ns(rule.made_ns),
        "until": has_end.then(|| words::time_ns(rule.expires_ns)),
        "left_seconds": has_end.then_some(left_s),
        "by": rule.made_by,
        "pid": rule.maker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use logboom::Severity;

    fn rule() -> Rule {
        Rule {
            number: 3,
            index: 0,
            component: "shop.db".into(),
            condition: "path^=/a\nuser=\x1bbob".into(),
            worker: 4711,
            severity: Severity(5),
            kept: false,
            held: true,
            toggled: false,
            made_ns: 0,
            expires_ns: 598_000_000_000,
            maker: 42,
            made_by: "bob on /dev/pts/3".into(),
        }
    }

    #[test]
    fn a_rule_is_a_sentence() {
        let text = whole(&rule(), 0);
        assert!(text.contains(
            "debug and above of shop.db, for requests with path^=/a and user=\\x1bbob, in worker 4711"
        ), "{text}");
        assert!(
            text.contains("(9:58 left)")
                && text.contains("by bob on /dev/pts/3, process 42, and goes with it"),
            "{text}"
        );
        let nothing = Rule {
            severity: Rule::NOTHING_MORE,
            component: String::new(),
            condition: String::new(),
            worker: 0,
            ..rule()
        };
        assert_eq!(
            what(&nothing),
            "only what is logged anyway of all components"
        );
        assert_eq!(json_of(&nothing, 0)["severity_number"], Value::Null);
    }
}
