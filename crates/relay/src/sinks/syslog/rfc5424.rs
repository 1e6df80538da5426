//! RFC 5424: header and structured data.

use super::fields::{self, push_field};
use super::long::{self, Part};
use super::{Messages, push_number, text};
use crate::record::Record;

/// Stands before a message that has more than ASCII in it (section 6.4).
pub(super) const BOM: &[u8] = "\u{feff}".as_bytes();
/// Longest APP-NAME (section 6).
const APP_NAME_BYTES_MAX: usize = 48;
/// Longest MSGID (section 6).
const MSGID_BYTES_MAX: usize = 32;

impl Messages {
    /// Appends `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID `. The component is APP-NAME, or MSGID where the program has a
    /// name. False: the component does not stand there as it is.
    pub(super) fn push_header_5424(&mut self, record: &Record) -> bool {
        self.push_priority(record);
        self.buffer.extend_from_slice(b"1 ");
        self.stamps.push_rfc3339(record.time_ns, &mut self.buffer);
        self.buffer.push(b' ');
        self.push_hostname();
        let out = &mut self.buffer;
        out.push(b' ');
        let (app_name, msgid) = match self.app_name.as_str() {
            "" => (record.component.as_str(), ""),
            app_name => (app_name, record.component.as_str()),
        };
        let named = text::push_printable(app_name, APP_NAME_BYTES_MAX, out);
        out.push(b' ');
        match record.process {
            Some(process) => push_number(process, out),
            None => out.push(b'-'),
        }
        out.push(b' ');
        let identified = text::push_printable(msgid, MSGID_BYTES_MAX, out);
        out.push(b' ');
        let as_it_is = if msgid.is_empty() { named } else { identified };
        as_it_is || record.component.is_empty()
    }

    /// Appends STRUCTURED-DATA (section 6.3). False: it is too long.
    pub(super) fn push_structured_data(
        &mut self,
        record: &Record,
        component_as_it_is: bool,
    ) -> bool {
        let out = &mut self.buffer;
        if self.structured_data_id.is_empty() {
            out.push(b'-');
            return true;
        }
        let start = out.len();
        out.push(b'[');
        out.extend_from_slice(&self.structured_data_id);
        let empty = out.len();
        push_id(record, self.field_escapes, out);
        let fits = self.fields.push(
            record,
            component_as_it_is,
            self.field_escapes,
            self.bytes_max,
            out,
        );
        if out.len() == empty {
            out.truncate(start);
            out.push(b'-');
        } else {
            out.push(b']');
        }
        fits
    }

    /// Appends the STRUCTURED-DATA of one part of a record that is too long.
    pub(super) fn push_structured_part(
        &mut self,
        record: &Record,
        fields: &[long::Field<'_>],
        part: &Part,
        number: Option<(usize, usize)>,
    ) {
        let (out, escapes) = (&mut self.buffer, self.field_escapes);
        if self.structured_data_id.is_empty() {
            out.push(b'-');
            return;
        }
        out.push(b'[');
        out.extend_from_slice(&self.structured_data_id);
        push_id(record, escapes, out);
        if let Some((number, count)) = number {
            push_field(fields::PART, &format!("{number}/{count}"), escapes, out);
        }
        for taken in &part.fields {
            let field = &fields[taken.field];
            let mut value = field.text[taken.text.clone()].to_owned();
            if taken.is_cut {
                value.push_str(&long::mark(field.text.len()));
            }
            push_field(&field.name, &value, escapes, out);
        }
        if part.fields_left_out > 0 {
            let count = part.fields_left_out.to_string();
            push_field(fields::LEFT_OUT, &count, escapes, out);
        }
        out.push(b']');
    }
}

fn push_id(record: &Record, escapes: text::Escapes, out: &mut Vec<u8>) {
    if !record.id.is_empty() {
        push_field(fields::ID, fields::id_of(record, escapes), escapes, out);
    }
}
