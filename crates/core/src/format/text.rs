//! Text for people.
//!
//! ```text
//! 2026-11-20 16:30:01.123 INFO     [4711] shop.payments: paid | order=7 total=12.5 request_id=9f2c
//! ```
//!
//! Only the first line of a record begins in the first column. What stands before the first ` | ` is the message,
//! what stands behind it are fields: in a message a bar behind a space is written as digits, so none can forge a field.

use super::budget::Budget;
use super::logfmt::push_pair;
use super::names;
use super::number::push_uint;
use super::pairs::each_field;
use super::redact::REDACTED;
use super::scan::{self, push_indented, push_line};
use super::stamp::push_text;
use super::{Record, Value};
use crate::files::schedule::Zone;
use crate::options::Severity;

/// As wide as Python's longest level, `CRITICAL`.
const LEVEL_WIDTH: usize = 8;

/// What the message of an access record says already; the other formats have it as fields.
const IN_ACCESS_LINE: [&str; 7] = [
    "http.response.status_code",
    "http.response.body.size",
    "http.server.request.duration",
    "network.protocol.name",
    "network.protocol.version",
    "unfinished",
    "url.query",
];

const COLOUR_OFF: &[u8] = b"\x1b[0m";

pub(super) fn encode(
    record: &Record<'_>,
    colour: bool,
    zone: Option<&Zone>,
    budget: &mut Budget<'_>,
    out: &mut Vec<u8>,
) {
    push_text(out, record.time_ns, zone);
    out.push(b' ');
    push_level(out, record, colour, budget);
    if let Some(process) = record.process {
        out.extend_from_slice(b" [");
        push_uint(out, u64::from(process));
        out.push(b']');
    }
    push_message(out, record, budget);
    push_fields(out, record, budget);
    if let Some(exception) = &record.exception {
        push_trace(out, &exception.traceback, names::EXCEPTION_TRACE, budget);
    }
    push_trace(out, &record.stack, names::STACK, budget);
}

fn push_level(out: &mut Vec<u8>, record: &Record<'_>, colour: bool, budget: &Budget<'_>) {
    if colour {
        out.extend_from_slice(colour_of(record.severity));
    }
    let missing = scan::push_column(out, &budget.origin(record.level), LEVEL_WIDTH);
    if colour {
        out.extend_from_slice(COLOUR_OFF);
    }
    out.extend_from_slice(&b"        "[..missing.min(LEVEL_WIDTH)]);
}

/// Grey, green, yellow, red, white on red.
fn colour_of(severity: Severity) -> &'static [u8] {
    match severity.0 {
        0..=8 => b"\x1b[90m",
        9..=12 => b"\x1b[32m",
        13..=16 => b"\x1b[33m",
        17..=20 => b"\x1b[31m",
        _ => b"\x1b[97;41m",
    }
}

fn push_message(out: &mut Vec<u8>, record: &Record<'_>, budget: &Budget<'_>) {
    out.push(b' ');
    if !record.component.is_empty() {
        // A name is a word; one that is not is quoted, so that it cannot pass for a message.
        scan::push_value(out, &budget.origin(record.component), false);
        out.extend_from_slice(b": ");
    }
    if budget.hides_ours(names::BODY) {
        push_line(out, REDACTED);
    } else {
        push_line(out, &budget.message(&record.message));
    }
}

fn push_fields(out: &mut Vec<u8>, record: &Record<'_>, budget: &mut Budget<'_>) {
    let mut before = scan::DIVIDER;
    let except: &[&str] = match record.component.ends_with(".access") {
        true => &IN_ACCESS_LINE,
        false => &[],
    };
    each_field(record, budget, except, |name, value: &Value<'_>, budget| {
        out.extend_from_slice(before.as_bytes());
        push_pair(out, name, value, budget);
        before = " ";
    });
    let id = record.request.id;
    if !id.is_empty() {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(names::REQUEST_ID.as_bytes());
        out.push(b'=');
        if budget.hides_ours(names::REQUEST_ID) {
            out.extend_from_slice(REDACTED.as_bytes());
        } else {
            scan::push_value(out, &budget.short(id), false);
        }
    }
}

fn push_trace(out: &mut Vec<u8>, text: &str, name: &'static str, budget: &Budget<'_>) {
    if text.is_empty() {
        return;
    }
    if budget.hides_ours(name) {
        push_indented(out, REDACTED);
    } else {
        push_indented(out, &budget.trace(text));
    }
}
