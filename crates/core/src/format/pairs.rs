//! The sequence of named values that JSON lines and logfmt have in common.

use super::budget::Budget;
use super::names::{self, given};
use super::redact::REDACTED;
use super::{Record, Value};

/// How deep lists and maps may lie in each other; what is deeper is left out with a mark.
pub(super) const DEPTH_MAX: usize = 16;

/// What stands for values that lie too deep.
pub(super) const TOO_DEEP: &str = "[logboom: too deep]";

/// How a format writes one named value.
pub(super) trait Pairs {
    /// A moment, with one of our names.
    fn time(&mut self, name: &'static str, time_ns: u64);
    /// Text that has passed the budget, with one of our names.
    fn text(&mut self, name: &'static str, text: &str);
    /// A number, with one of our names.
    fn number(&mut self, name: &'static str, number: u64);
    /// A field of the user's; the name has passed the budget, the value has not.
    fn field(&mut self, name: &str, value: &Value<'_>, budget: &mut Budget<'_>);
}

/// Writes everything that the record has.
pub(super) fn write(record: &Record<'_>, budget: &mut Budget<'_>, pairs: &mut impl Pairs) {
    pairs.time(names::TIMESTAMP, record.time_ns);
    origin(pairs, budget, names::SEVERITY_TEXT, record.level);
    if record.severity.0 > 0 {
        pairs.number(names::SEVERITY_NUMBER, u64::from(record.severity.0));
    }
    origin(pairs, budget, names::COMPONENT, record.component);
    if budget.hides_ours(names::BODY) {
        pairs.text(names::BODY, REDACTED);
    } else {
        pairs.text(names::BODY, &budget.message(&record.message));
    }
    if record.template != record.message {
        short(pairs, budget, names::TEMPLATE, record.template);
    }
    write_request(record, budget, pairs);
    each_field(record, budget, &[], |name, value, budget| {
        pairs.field(name, value, budget);
    });
    write_origin(record, budget, pairs);
    write_traces(record, budget, pairs);
}

/// Calls `write` for each field that is to be written, but for those with a name in `except`, with the name it gets.
pub(super) fn each_field(
    record: &Record<'_>,
    budget: &mut Budget<'_>,
    except: &[&str],
    mut write: impl FnMut(&str, &Value<'_>, &mut Budget<'_>),
) {
    for (index, (name, value)) in record.fields.iter().enumerate() {
        if record.fields[..index]
            .iter()
            .any(|(other, _)| other == name)
            || except.contains(&name.as_ref())
        {
            continue;
        }
        if !budget.take_element() {
            let left_out = Value::Uint((record.fields.len() - index) as u64);
            write(names::LEFT_OUT, &left_out, budget);
            return;
        }
        let hidden = budget.hides(name);
        let given = given(name, &record.request);
        let key = budget.key(&given);
        if hidden {
            write(&key, &Value::Text(REDACTED.into()), budget);
        } else {
            write(&key, value, budget);
        }
    }
}

fn write_request(record: &Record<'_>, budget: &Budget<'_>, pairs: &mut impl Pairs) {
    let request = &record.request;
    short(pairs, budget, names::REQUEST_ID, request.id);
    short(pairs, budget, names::TRACE_ID, request.trace_id);
    short(pairs, budget, names::SPAN_ID, request.span_id);
    short(pairs, budget, names::METHOD, request.method);
    short(pairs, budget, names::PATH, request.path);
    short(pairs, budget, names::ENDPOINT, request.endpoint);
    short(pairs, budget, names::CLIENT, request.client);
    short(pairs, budget, names::USER, request.user);
}

fn write_origin(record: &Record<'_>, budget: &Budget<'_>, pairs: &mut impl Pairs) {
    origin(pairs, budget, names::FILE, record.file);
    if record.line > 0 {
        pairs.number(names::LINE, u64::from(record.line));
    }
    origin(pairs, budget, names::FUNCTION, record.function);
    if let Some(process) = record.process {
        pairs.number(names::PROCESS, u64::from(process));
    }
    if record.process_name != names::PROCESS_NAME_DEFAULT {
        origin(pairs, budget, names::PROCESS_NAME, record.process_name);
    }
    if let Some(thread) = record.thread {
        pairs.number(names::THREAD, thread);
    }
    origin(pairs, budget, names::THREAD_NAME, record.thread_name);
}

fn write_traces(record: &Record<'_>, budget: &Budget<'_>, pairs: &mut impl Pairs) {
    if let Some(exception) = &record.exception {
        short(pairs, budget, names::EXCEPTION_TYPE, &exception.type_name);
        short(pairs, budget, names::EXCEPTION_MESSAGE, &exception.message);
        trace(pairs, budget, names::EXCEPTION_TRACE, &exception.traceback);
    }
    trace(pairs, budget, names::STACK, &record.stack);
}

#[inline]
fn origin(pairs: &mut impl Pairs, budget: &Budget<'_>, name: &'static str, text: &str) {
    if text.is_empty() {
        return;
    }
    if budget.hides_ours(name) {
        pairs.text(name, REDACTED);
    } else {
        pairs.text(name, &budget.origin(text));
    }
}

#[inline]
fn short(pairs: &mut impl Pairs, budget: &Budget<'_>, name: &'static str, text: &str) {
    if text.is_empty() {
        return;
    }
    if budget.hides_ours(name) {
        pairs.text(name, REDACTED);
    } else {
        pairs.text(name, &budget.short(text));
    }
}

fn trace(pairs: &mut impl Pairs, budget: &Budget<'_>, name: &'static str, text: &str) {
    if text.is_empty() {
        return;
    }
    if budget.hides_ours(name) {
        pairs.text(name, REDACTED);
    } else {
        pairs.text(name, &budget.trace(text));
    }
}
