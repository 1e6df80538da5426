//! Records as syslog messages: RFC 5424, the older RFC 3164, and what Python's own handler writes.
//!
//! What always holds, whatever the record says: a message is never longer than [`Messages::bytes_max`], is UTF-8 cut between
//! characters, and has no NUL in it (but for one at the end of a datagram that asks for it); a record becomes one message, or several parts if it is too long and may be split; its
//! header fields are printable ASCII within the bounds of the format. Nothing here fails.

mod fields;
mod long;
mod plain;
mod rfc3164;
mod rfc5424;
mod stamp;
#[cfg(test)]
mod tests;
mod text;

use jiff::tz::TimeZone;

use crate::destination::{Dialect, Long, Syslog};
use crate::record::Record;

use fields::Fields;
use long::{Part, Space};
use stamp::Stamps;
use text::Escapes;

/// The smallest bound for a message: what every receiver takes (RFC 5424, section 6.1). Below, a header might not fit.
pub(crate) const MESSAGE_BYTES_MIN: usize = 480;
/// The field in which a program says the priority itself.
pub(super) const PRIORITY: &str = "syslog.priority";
/// Longest HOSTNAME (RFC 5424, section 6).
const HOSTNAME_BYTES_MAX: usize = 255;
/// Beyond this the buffer of a message is given back after it.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Writes records as the messages that one receiver wants.
pub(crate) struct Messages {
    dialect: Dialect,
    facility: u8,
    /// Printable; empty: not written (RFC 3164 on the local socket).
    hostname: Vec<u8>,
    /// As much of it as there is room for.
    hostname_bytes: usize,
    app_name: String,
    /// An SD-NAME; empty: no structured data.
    structured_data_id: Vec<u8>,
    bytes_max: usize,
    long: Long,
    message_escapes: Escapes,
    field_escapes: Escapes,
    stamps: Stamps,
    fields: Fields,
    buffer: Vec<u8>,
    is_datagram: bool,
}

/// What the transport asks of messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transport {
    /// The socket of this machine's own logger, where RFC 3164 has no HOSTNAME (syslog(3) writes none, receivers expect none).
    pub(crate) local: bool,
    /// Each message is a packet of its own.
    pub(crate) is_datagram: bool,
    /// Messages end with a line feed, so none may be inside.
    pub(crate) ended_by_line_feed: bool,
    /// The longest message it carries.
    pub(crate) bytes_max: usize,
}

impl Default for Transport {
    /// A stream with octet counting: it carries anything.
    fn default() -> Transport {
        Transport {
            local: false,
            is_datagram: false,
            ended_by_line_feed: false,
            bytes_max: usize::MAX,
        }
    }
}

impl Messages {
    /// As `syslog` says, within what the transport can do.
    pub(crate) fn new(syslog: &Syslog, transport: Transport) -> Messages {
        let escapes = |in_quotes| Escapes {
            in_quotes,
            line_feeds: transport.ended_by_line_feed,
        };
        let mut structured_data_id = Vec::new();
        if syslog.dialect == Dialect::Rfc5424 && !syslog.structured_data_id.is_empty() {
            text::push_sd_name(&syslog.structured_data_id, &mut structured_data_id);
        }
        let mut messages = Messages {
            dialect: syslog.dialect,
            facility: syslog.facility.min(23),
            hostname: hostname(syslog, transport.local),
            hostname_bytes: 0,
            app_name: syslog.app_name.clone(),
            structured_data_id,
            bytes_max: 0,
            long: syslog.long,
            message_escapes: escapes(false),
            field_escapes: escapes(true),
            stamps: Stamps::new(TimeZone::system()),
            fields: Fields::default(),
            buffer: Vec::new(),
            is_datagram: transport.is_datagram,
        };
        messages.limit(syslog.message_bytes_max().min(transport.bytes_max));
        messages
    }

    /// Bytes of a message at most.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Makes messages at most this long from now on, but not shorter than what every receiver takes.
    pub(crate) fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max.max(MESSAGE_BYTES_MIN);
        self.hostname_bytes = self.hostname.len().min(self.bytes_max / 4);
    }

    /// Hands each message of `record` to `put`: one, or the parts of one that is too long.
    pub(crate) fn write(&mut self, record: &Record, mut put: impl FnMut(&[u8])) {
        if self.dialect == Dialect::Plain && record.body.ends_with('\0') {
            self.write_with_nul(record, &mut put);
        } else {
            self.write_all(record, &mut put);
        }
    }

    fn write_all(&mut self, record: &Record, put: &mut dyn FnMut(&[u8])) {
        self.buffer.clear();
        let as_it_is = match self.dialect {
            Dialect::Rfc5424 => self.push_header_5424(record),
            Dialect::Rfc3164 => self.push_header_3164(record),
            Dialect::Plain => self.push_header_plain(record),
        };
        let header_bytes = self.buffer.len();
        if self.push_whole(record, as_it_is) {
            put(&self.buffer);
        } else {
            self.buffer.truncate(header_bytes);
            self.write_long(record, as_it_is, put);
        }
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
    }

    /// The same with a NUL behind each message, where messages are packets.
    fn write_with_nul(&mut self, record: &Record, put: &mut dyn FnMut(&[u8])) {
        let (text, has_nul) = self.without_nul(record);
        let record = Record {
            body: text.to_owned(),
            ..record.clone()
        };
        let bytes_max = self.bytes_max;
        self.bytes_max -= 1;
        let mut ended = Vec::new();
        self.write_all(&record, &mut |message| {
            ended.clear();
            ended.extend_from_slice(message);
            ended.extend(has_nul.then_some(0));
            put(&ended);
        });
        self.bytes_max = bytes_max;
    }

    /// Appends everything behind the header. False: it is too long, and only part of it was appended.
    fn push_whole(&mut self, record: &Record, component_as_it_is: bool) -> bool {
        if record.body.len() > self.bytes_max {
            return false;
        }
        if self.dialect == Dialect::Rfc5424 {
            if !self.push_structured_data(record, component_as_it_is) {
                return false;
            }
            if !record.body.is_empty() {
                self.buffer.push(b' ');
            }
        }
        self.push_message(&record.body);
        self.buffer.len() <= self.bytes_max
    }

    /// Writes a record that is too long, as the destination wants that.
    fn write_long(
        &mut self,
        record: &Record,
        component_as_it_is: bool,
        put: &mut dyn FnMut(&[u8]),
    ) {
        let header = self.buffer.clone();
        let fields = self.long_fields(record, component_as_it_is);
        let fixed = header.len() + self.fixed_bytes(record);
        let mut space = Space {
            room: self.bytes_max.saturating_sub(fixed),
            message: self.message_escapes,
            field: self.field_escapes,
        };
        let parts = match self.long {
            Long::Cut => vec![long::cut(&fields, &record.body, space)],
            Long::Split => {
                space.room = space.room.saturating_sub(long::NUMBER_BYTES_MAX);
                long::split(&fields, &record.body, space)
            }
        };
        for (index, part) in parts.iter().enumerate() {
            let number = (parts.len() > 1).then_some((index + 1, parts.len()));
            self.buffer.clear();
            self.buffer.extend_from_slice(&header);
            self.push_part(record, &fields, part, number);
            debug_assert!(self.buffer.len() <= self.bytes_max);
            put(&self.buffer);
        }
    }

    fn long_fields<'a>(
        &mut self,
        record: &'a Record,
        component_as_it_is: bool,
    ) -> Vec<long::Field<'a>> {
        if self.structured_data_id.is_empty() {
            return Vec::new();
        }
        self.fields.all(record, component_as_it_is)
    }

    /// Bytes that every part has behind its header, whatever it says.
    fn fixed_bytes(&self, record: &Record) -> usize {
        match self.dialect {
            Dialect::Rfc3164 | Dialect::Plain => 0,
            Dialect::Rfc5424 => {
                let id = fields::id_of(record, self.field_escapes);
                let id = self.field_escapes.len(id) + fields::AROUND_BYTES + "id".len();
                let structured = self.structured_data_id.len() + "[]".len() + id;
                structured + " ".len() + rfc5424::BOM.len()
            }
        }
    }

    fn push_part(
        &mut self,
        record: &Record,
        fields: &[long::Field<'_>],
        part: &Part,
        number: Option<(usize, usize)>,
    ) {
        if self.dialect == Dialect::Rfc5424 {
            self.push_structured_part(record, fields, part, number);
        }
        let in_message = self.structured_data_id.is_empty();
        let message = &record.body[part.message.clone()];
        let mut text = String::new();
        if let (true, Some((number, count))) = (in_message, number) {
            text = format!("[logboom: part {number}/{count}] ");
        }
        text.push_str(message);
        if part.message_is_cut {
            text.push_str(&long::mark(record.body.len()));
        }
        if self.dialect == Dialect::Rfc5424 && !text.is_empty() {
            self.buffer.push(b' ');
        }
        self.push_message(&text);
    }

    /// Appends a message's text, as far as it is the same in both formats.
    fn push_message(&mut self, text: &str) {
        if self.dialect == Dialect::Rfc5424 && !text.is_ascii() {
            self.buffer.extend_from_slice(rfc5424::BOM);
        }
        self.message_escapes.push(text, &mut self.buffer);
    }

    /// Appends PRI (RFC 5424, section 6.2.1), with which a message of each format begins.
    fn push_priority(&mut self, record: &Record) {
        let computed = || self.facility * 8 + severity(record.severity);
        let priority = plain::priority(record).unwrap_or_else(computed);
        self.buffer.push(b'<');
        push_number(priority, &mut self.buffer);
        self.buffer.push(b'>');
    }

    /// Appends HOSTNAME, as much of it as there is room for.
    fn push_hostname(&mut self) {
        let hostname = &self.hostname[..self.hostname_bytes];
        self.buffer.extend_from_slice(hostname);
    }
}

/// HOSTNAME as it is written: what is configured, or the machine's own name.
fn hostname(syslog: &Syslog, local: bool) -> Vec<u8> {
    let older = syslog.dialect == Dialect::Rfc3164;
    if syslog.hostname.is_empty() && older && local {
        return Vec::new();
    }
    let system = rustix::system::uname();
    let own = system.nodename().to_string_lossy();
    let name = match syslog.hostname.as_str() {
        // Section 4.1.2 of RFC 3164: the name without its domain.
        "" if older => own.split('.').next().unwrap_or_default(),
        "" => &own,
        configured => configured,
    };
    let mut out = Vec::new();
    text::push_printable(name, HOSTNAME_BYTES_MAX, &mut out);
    out
}

/// Syslog's severity for one of OpenTelemetry: of a level in between the nearest lower one; `notice`, as for a message without
/// any (RFC 3164, section 4.3.3), for none.
fn severity(number: u8) -> u8 {
    match number {
        1..=8 => 7,
        9..=12 => 6,
        13..=16 => 4,
        17..=20 => 3,
        21..=24 => 2,
        _ => 5,
    }
}

/// Appends a whole number.
fn push_number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// True if the severity alone tells a receiver that name.
fn is_usual_name(level: &str, number: u8) -> bool {
    let names: &[&str] = match number {
        5 => &["DEBUG"],
        9 => &["INFO"],
        13 => &["WARNING", "WARN"],
        17 => &["ERROR"],
        21 => &["CRITICAL", "FATAL"],
        _ => &[],
    };
    level.is_empty() || names.iter().any(|name| level.eq_ignore_ascii_case(name))
}
