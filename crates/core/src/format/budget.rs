//! How much of a record may be written, and what of it must not: each text passes here before it is escaped.
//!
//! A record has a number of bytes to spend, before escaping. Names and the request get a small share each, fields and
//! traceback a quarter, the message what the others leave. Escaping makes at most seven bytes of one (a control character
//! as JSON inside of quotes) and an element costs at least [`ELEMENT_BYTES`]; so a record that came out too long fits when
//! it is encoded again with a [`GROWTH_MAX`]th of the bytes.
//!
//! Redaction comes before the cut, on a text that is [`SLACK_BYTES`] longer than what stays: a secret that lies across the
//! cut is seen whole.

use std::borrow::Cow;

use super::redact::Redact;
use super::{Encoder, Record};

/// By how much less is written at the second attempt.
pub(super) const GROWTH_MAX: usize = 16;

/// What each field, element and pair of a list or map costs besides its text.
const ELEMENT_BYTES: usize = 32;

/// How much of a text that will be cut is looked through for secrets beyond the cut.
const SLACK_BYTES: usize = 4096;

/// What a name (component, file, thread ...) has at least.
const NAME_BYTES_LEAST: usize = 32;

/// Where a text that is too long loses its part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// At its end: what begins it matters.
    End,
    /// In its middle: a traceback's beginning and end both matter.
    Middle,
}

/// What is left to spend for one record, and what is redacted in it.
pub(super) struct Budget<'r> {
    redact: Option<&'r dyn Redact>,
    hidden: &'r [&'static str],
    name_bytes: usize,
    message_bytes: usize,
    trace_bytes: usize,
    field_bytes: usize,
    fields_left: usize,
}

impl<'r> Budget<'r> {
    pub(super) fn new(bytes: usize, encoder: &'r Encoder, record: &Record<'_>) -> Self {
        let traced = record.stack.len()
            + record
                .exception
                .as_ref()
                .map_or(0, |exception| exception.traceback.len());
        let fields = if record.fields.is_empty() {
            0
        } else {
            bytes / 4
        };
        Budget {
            redact: encoder.redact.as_deref(),
            hidden: &encoder.hidden,
            name_bytes: (bytes / 64).max(NAME_BYTES_LEAST),
            message_bytes: bytes * 3 / 4 - traced.min(bytes / 4) - fields,
            trace_bytes: bytes / 8,
            field_bytes: bytes / 16,
            fields_left: fields,
        }
    }

    /// What the program's own code is called: component, file, function, thread ... Nothing in it is redacted.
    #[inline]
    pub(super) fn origin<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.len() <= self.name_bytes {
            return Cow::Borrowed(text);
        }
        Cow::Owned(cut_to(text, self.name_bytes, Cut::End, text.len()))
    }

    /// A short text: what the request has, the template, an exception's message.
    #[inline]
    pub(super) fn short<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.prepared(text, self.name_bytes, Cut::End)
    }

    /// The message.
    pub(super) fn message<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.prepared(text, self.message_bytes, Cut::End)
    }

    /// A traceback or stack.
    pub(super) fn trace<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.prepared(text, self.trace_bytes, Cut::Middle)
    }

    /// Takes the cost of one more field or element; false when there is nothing left for it.
    pub(super) fn take_element(&mut self) -> bool {
        let enough = self.fields_left >= ELEMENT_BYTES;
        if enough {
            self.fields_left -= ELEMENT_BYTES;
        }
        enough
    }

    /// The name of a field or of a value in a map.
    pub(super) fn key<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let key = self.prepared(text, self.name_bytes.min(self.fields_left), Cut::End);
        self.fields_left = self.fields_left.saturating_sub(key.len());
        key
    }

    /// A text in a field.
    pub(super) fn value<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let value = self.prepared(text, self.field_bytes.min(self.fields_left), Cut::End);
        self.fields_left = self.fields_left.saturating_sub(value.len());
        value
    }

    /// Whether nothing of what stands under this name of ours may be written.
    #[inline]
    pub(super) fn hides_ours(&self, name: &'static str) -> bool {
        !self.hidden.is_empty() && self.hidden.contains(&name)
    }

    /// Whether nothing of the value under this name may be written.
    #[inline]
    pub(super) fn hides(&self, name: &str) -> bool {
        self.redact.is_some_and(|redact| redact.name(name))
    }

    /// Whether a pattern takes a number, as it is written, for a secret.
    pub(super) fn hides_number(&self, written: &[u8]) -> bool {
        match (self.redact, std::str::from_utf8(written)) {
            (Some(redact), Ok(text)) => matches!(redact.text(text), Cow::Owned(_)),
            _ => false,
        }
    }

    #[inline]
    fn prepared<'t>(&self, text: &'t str, bytes_max: usize, cut: Cut) -> Cow<'t, str> {
        match self.redact {
            None if text.len() <= bytes_max => Cow::Borrowed(text),
            None => Cow::Owned(cut_to(text, bytes_max, cut, text.len())),
            Some(redact) => redacted(redact, text, bytes_max, cut),
        }
    }
}

fn redacted<'t>(redact: &dyn Redact, text: &'t str, bytes_max: usize, cut: Cut) -> Cow<'t, str> {
    if text.len() <= bytes_max + 2 * SLACK_BYTES {
        let clean = redact.text(text);
        if clean.len() <= bytes_max {
            return clean;
        }
        return Cow::Owned(cut_to(&clean, bytes_max, cut, text.len()));
    }
    let (head_bytes, tail_bytes) = cut.shares(bytes_max);
    let head = redact.text(head_of(text, head_bytes + SLACK_BYTES));
    let mut out = String::from(head_of(&head, head_bytes));
    push_mark(&mut out, cut, text.len());
    if tail_bytes > 0 {
        let tail = redact.text(tail_of(text, tail_bytes + SLACK_BYTES));
        out.push_str(tail_of(&tail, tail_bytes));
    }
    Cow::Owned(out)
}

/// `text` with at most `bytes_max` bytes of it, and a mark where something is missing.
fn cut_to(text: &str, bytes_max: usize, cut: Cut, bytes_in_all: usize) -> String {
    let (head_bytes, tail_bytes) = cut.shares(bytes_max);
    let mut out = String::with_capacity(bytes_max + 64);
    out.push_str(head_of(text, head_bytes));
    push_mark(&mut out, cut, bytes_in_all);
    out.push_str(tail_of(text, tail_bytes));
    out
}

impl Cut {
    fn shares(self, bytes: usize) -> (usize, usize) {
        match self {
            Cut::End => (bytes, 0),
            Cut::Middle => (bytes / 3, bytes - bytes / 3),
        }
    }
}

fn push_mark(out: &mut String, cut: Cut, bytes_in_all: usize) {
    let line = if cut == Cut::Middle { "\n" } else { "" };
    // Rare: a text was too long.
    out.push_str(&format!(
        "{line}[logboom: cut, {bytes_in_all} bytes in all]{line}"
    ));
}

/// The first bytes of a text, whole characters only.
fn head_of(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The last bytes of a text, whole characters only.
fn tail_of(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
