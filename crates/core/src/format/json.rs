//! JSON lines (RFC 8259, one object a line).
//!
//! Beyond what JSON asks for, all characters are escaped that are unsafe to show: a JSON line on a terminal is safe as well.

use super::budget::Budget;
use super::number::{push_float, push_int, push_uint};
use super::pairs::{self, DEPTH_MAX, Pairs, TOO_DEEP};
use super::redact::REDACTED;
use super::scan::push_json;
use super::stamp::push_rfc3339;
use super::{Record, Value};

pub(super) fn encode(record: &Record<'_>, budget: &mut Budget<'_>, out: &mut Vec<u8>) {
    pairs::write(record, budget, &mut Object { out });
    out.push(b'}');
}

/// Appends any value as JSON.
pub(super) fn push_value(
    out: &mut Vec<u8>,
    value: &Value<'_>,
    budget: &mut Budget<'_>,
    depth: usize,
) {
    let start = out.len();
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => push_int(out, *number),
        Value::Uint(number) => push_uint(out, *number),
        Value::Float(number) => {
            if !push_float(out, *number) {
                push_json(out, not_finite(*number));
            }
        }
        Value::Text(text) => return push_json(out, &budget.value(text)),
        Value::List(_) | Value::Map(_) if depth >= DEPTH_MAX => return push_json(out, TOO_DEEP),
        Value::List(values) => return push_list(out, values, budget, depth),
        Value::Map(values) => return push_map(out, values, budget, depth),
    }
    if budget.hides_number(&out[start..]) {
        out.truncate(start);
        push_json(out, REDACTED);
    }
}

/// How numbers are called that have no digits.
pub(super) fn not_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn push_list(out: &mut Vec<u8>, values: &[Value<'_>], budget: &mut Budget<'_>, depth: usize) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !budget.take_element() {
            push_json(out, &left_out(values.len() - index));
            break;
        }
        push_value(out, value, budget, depth + 1);
    }
    out.push(b']');
}

fn push_map(
    out: &mut Vec<u8>,
    values: &[(std::borrow::Cow<'_, str>, Value<'_>)],
    budget: &mut Budget<'_>,
    depth: usize,
) {
    out.push(b'{');
    for (index, (name, value)) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !budget.take_element() {
            out.extend_from_slice(b"\"logboom\":");
            push_json(out, &left_out(values.len() - index));
            break;
        }
        let hidden = budget.hides(name);
        push_json(out, &budget.key(name));
        out.push(b':');
        if hidden {
            push_json(out, REDACTED);
        } else {
            push_value(out, value, budget, depth + 1);
        }
    }
    out.push(b'}');
}

fn left_out(count: usize) -> String {
    format!("[logboom: {count} more left out]")
}

/// The object of one record. The first pair is the time, so every later one begins with a comma.
struct Object<'o> {
    out: &'o mut Vec<u8>,
}

impl Object<'_> {
    /// Our names need no escaping.
    #[inline]
    fn name(&mut self, name: &'static str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

impl Pairs for Object<'_> {
    fn time(&mut self, name: &'static str, time_ns: u64) {
        self.out.extend_from_slice(b"{\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":\"");
        push_rfc3339(self.out, time_ns);
        self.out.push(b'"');
    }

    #[inline]
    fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        push_json(self.out, text);
    }

    #[inline]
    fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        push_uint(self.out, number);
    }

    fn field(&mut self, name: &str, value: &Value<'_>, budget: &mut Budget<'_>) {
        self.out.push(b',');
        push_json(self.out, name);
        self.out.push(b':');
        push_value(self.out, value, budget, 0);
    }
}
