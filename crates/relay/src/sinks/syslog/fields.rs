//! A record's fields as SD-PARAMs.
//!
//! What always holds: each name is an SD-NAME, and no two of a record are the same. A name that is not one, or that has a
//! meaning of ours, is changed and, where another has the changed one, numbered: `order id` becomes `order_id`, or `order_id~2`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::text::{self, Escapes, SD_NAME_BYTES_MAX};
use super::{long, push_number};
use crate::record::Record;

/// Name of the ledger id.
pub(super) const ID: &str = "id";
/// Name of the number of a part, `2/3`.
pub(super) const PART: &str = "part";
/// Name of the number of fields that did not fit.
pub(super) const LEFT_OUT: &str = "fields_left_out";
/// Name of the level, where the severity does not tell it.
const LEVEL: &str = "severity_text";
/// Name of the component, where the header could not have it as it is.
const COMPONENT: &str = "otel.scope.name";

/// ` `, `="` and `"` around a name and its value.
pub(super) const AROUND_BYTES: usize = 4;
/// Longest value: the parser of structured data in rsyslog 8.2302 has 32 KiB for one, and writes on behind them.
pub(super) const VALUE_BYTES_MAX: usize = 32_000;
/// A ledger id is shorter; what stands in its place and is longer is cut.
const ID_BYTES_MAX: usize = 64;

/// Writes fields; knows the names that were changed in a record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Changed names of this record, and the next number for each.
    changed: HashMap<String, u32>,
    /// For values that are no texts.
    scratch: Vec<u8>,
}

impl Fields {
    /// Appends all fields. False: they are too long for a message of `bytes_max`, or one is for a value.
    pub(super) fn push(
        &mut self,
        record: &Record,
        component_as_it_is: bool,
        escapes: Escapes,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        for (name, value) in ours(record, component_as_it_is).into_iter().flatten() {
            if value.len() > bytes_max.min(VALUE_BYTES_MAX) {
                return false;
            }
            push_field(name, value, escapes, out);
        }
        self.changed.clear();
        for (name, value) in sent(record) {
            out.push(b' ');
            if is_free_name(name) {
                out.extend_from_slice(name.as_bytes());
            } else {
                out.extend_from_slice(self.free_name(name, record).as_bytes());
            }
            out.extend_from_slice(b"=\"");
            if !self.push_value(value, escapes, bytes_max, out) || out.len() > bytes_max {
                return false;
            }
            out.push(b'"');
        }
        true
    }

    /// The same fields, to be shared out over messages.
    pub(super) fn all<'a>(
        &mut self,
        record: &'a Record,
        component_as_it_is: bool,
    ) -> Vec<long::Field<'a>> {
        self.changed.clear();
        let ours = ours(record, component_as_it_is)
            .into_iter()
            .flatten()
            .map(|(name, text)| long::Field {
                name: Cow::Borrowed(name),
                text: Cow::Borrowed(text),
            });
        let mut fields: Vec<_> = ours.collect();
        for (name, value) in sent(record) {
            let name = match is_free_name(name) {
                true => Cow::Borrowed(name.as_str()),
                false => Cow::Owned(self.free_name(name, record)),
            };
            let text = match value {
                Value::String(text) => Cow::Borrowed(text.as_str()),
                other => Cow::Owned(other.to_string()),
            };
            fields.push(long::Field { name, text });
        }
        fields
    }

    fn push_value(
        &mut self,
        value: &Value,
        escapes: Escapes,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Number(number) => {
                push_json_number(number, out);
                return true;
            }
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Null => "null",
            Value::Array(_) | Value::Object(_) => {
                self.scratch.clear();
                // Writing into memory does not fail, and JSON is UTF-8.
                let _ = serde_json::to_writer(&mut self.scratch, value);
                str::from_utf8(&self.scratch).unwrap_or_default()
            }
        };
        if text.len() > bytes_max.min(VALUE_BYTES_MAX) {
            return false;
        }
        escapes.push(text, out);
        true
    }

    /// An SD-NAME for a field whose own name cannot be used, that no other field of the record has.
    #[cold]
    fn free_name(&mut self, name: &str, record: &Record) -> String {
        let mut base = Vec::new();
        text::push_sd_name(name, &mut base);
        let base = String::from_utf8(base).unwrap_or_default();
        let mut number = self.changed.get(&base).copied().unwrap_or(1);
        loop {
            let candidate = numbered(&base, number);
            number += 1;
            let is_taken = is_ours(&candidate)
                || record.fields.contains_key(&candidate)
                || self.changed.contains_key(&candidate);
            if !is_taken {
                self.changed.insert(base, number);
                self.changed.entry(candidate.clone()).or_insert(2);
                return candidate;
            }
        }
    }
}

/// `base`, or for a number from 2 on `base~2`, within the length of an SD-NAME.
fn numbered(base: &str, number: u32) -> String {
    if number < 2 {
        return base.to_owned();
    }
    let suffix = format!("~{number}");
    let room = SD_NAME_BYTES_MAX - suffix.len();
    format!("{}{suffix}", &base[..base.len().min(room)])
}

/// Appends ` name="value"`.
pub(super) fn push_field(name: &str, value: &str, escapes: Escapes, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escapes.push(value, out);
    out.push(b'"');
}

/// The record's ledger id, or the beginning of what stands in its place.
pub(super) fn id_of(record: &Record, escapes: Escapes) -> &str {
    &record.id[..escapes.fit(&record.id, ID_BYTES_MAX)]
}

/// What of a record's own is said by fields, since the header has no word for it.
fn ours(record: &Record, component_as_it_is: bool) -> [Option<(&'static str, &str)>; 2] {
    let level = (!super::is_usual_name(&record.level, record.severity))
        .then_some((LEVEL, record.level.as_str()));
    let component = (!component_as_it_is).then_some((COMPONENT, record.component.as_str()));
    [level, component]
}

fn is_ours(name: &str) -> bool {
    matches!(name, ID | PART | LEFT_OUT | LEVEL | COMPONENT)
}

/// The fields that are sent; the priority stands in the header.
fn sent(record: &Record) -> impl Iterator<Item = (&String, &Value)> {
    (&record.fields)
        .into_iter()
        .filter(|(name, _)| name.as_str() != super::PRIORITY)
}

fn is_free_name(name: &str) -> bool {
    (1..=SD_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(text::is_sd_name_byte)
        && !is_ours(name)
}

fn push_json_number(number: &serde_json::Number, out: &mut Vec<u8>) {
    if let Some(number) = number.as_u64() {
        push_number(number, out);
    } else if let Some(number) = number.as_i64() {
        push_number(number, out);
    } else {
        let _ = serde_json::to_writer(out, number);
    }
}
