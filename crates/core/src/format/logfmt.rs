//! logfmt: one line of `name=value` pairs, as `go-logfmt` and Grafana Loki read them.
//!
//! Values with spaces, quotes, equals signs or unsafe characters stand as JSON strings. Text that looks like a number, a
//! truth value or `null` is quoted as well, so that types survive. Lists and maps are quoted JSON.

use super::budget::Budget;
use super::json::{self, not_finite};
use super::number::push_uint;
use super::pairs::{self, Pairs};
use super::scan;
use super::stamp::push_rfc3339;
use super::{Record, Value};

pub(super) fn encode(record: &Record<'_>, budget: &mut Budget<'_>, out: &mut Vec<u8>) {
    pairs::write(record, budget, &mut Line { out });
}

/// Appends `name=value`.
pub(super) fn push_pair(out: &mut Vec<u8>, name: &str, value: &Value<'_>, budget: &mut Budget<'_>) {
    scan::push_name(out, name);
    out.push(b'=');
    match value {
        Value::Text(text) => scan::push_value(out, &budget.value(text), true),
        Value::Float(number) if !number.is_finite() => {
            out.extend_from_slice(not_finite(*number).as_bytes());
        }
        Value::List(_) | Value::Map(_) => {
            let mut nested = Vec::new();
            json::push_value(&mut nested, value, budget, 0);
            scan::push_json(out, &String::from_utf8_lossy(&nested));
        }
        plain => {
            let start = out.len();
            json::push_value(out, plain, budget, 0);
            // A number that is redacted came as a JSON string; it is bare text here.
            if out[start] == b'"' {
                out.truncate(start);
                out.extend_from_slice(super::redact::REDACTED.as_bytes());
            }
        }
    }
}

struct Line<'o> {
    out: &'o mut Vec<u8>,
}

impl Line<'_> {
    #[inline]
    fn name(&mut self, name: &'static str) {
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
    }
}

impl Pairs for Line<'_> {
    fn time(&mut self, name: &'static str, time_ns: u64) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
        push_rfc3339(self.out, time_ns);
    }

    #[inline]
    fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        scan::push_value(self.out, text, false);
    }

    #[inline]
    fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        push_uint(self.out, number);
    }

    fn field(&mut self, name: &str, value: &Value<'_>, budget: &mut Budget<'_>) {
        self.out.push(b' ');
        push_pair(self.out, name, value, budget);
    }
}
