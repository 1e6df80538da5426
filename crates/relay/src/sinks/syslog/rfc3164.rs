//! RFC 3164: the header. It has no place for a ledger id or for fields, so neither is sent.

use super::{Messages, push_number, text};
use crate::record::Record;

/// Longest TAG (section 4.1.3).
const TAG_BYTES_MAX: usize = 32;

impl Messages {
    /// Appends `<PRI>Mmm dd hh:mm:ss HOSTNAME TAG[pid]: `. Always true: what does not stand there as it is has no other place.
    pub(super) fn push_header_3164(&mut self, record: &Record) -> bool {
        self.push_priority(record);
        self.stamps.push_rfc3164(record.time_ns, &mut self.buffer);
        self.buffer.push(b' ');
        if !self.hostname.is_empty() {
            self.push_hostname();
            self.buffer.push(b' ');
        }
        let out = &mut self.buffer;
        let tag = match (self.app_name.as_str(), record.component.as_str()) {
            ("", "") => "logboom",
            ("", component) => component,
            (app_name, _) => app_name,
        };
        text::push_name(tag, TAG_BYTES_MAX, is_tag_byte, out);
        if let Some(process) = record.process {
            out.push(b'[');
            push_number(process, out);
            out.push(b']');
        }
        out.extend_from_slice(b": ");
        true
    }
}

/// The RFC has letters and digits alone; every receiver takes these three, too, and half of all programs use them.
fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
