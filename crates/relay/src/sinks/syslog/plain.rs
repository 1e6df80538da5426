//! Messages as Python's `logging.handlers.SysLogHandler` writes them: the priority and the text, and on a datagram a NUL behind it where the
//! program wants one (`append_nul`).

use super::{Messages, PRIORITY};
use crate::record::Record;

/// 23 facilities times 8, and 7 (RFC 5424, section 6.2.1).
const PRIORITY_MAX: u64 = 191;

impl Messages {
    /// Appends `<PRI>`. Always true: the format has no place for the component.
    pub(super) fn push_header_plain(&mut self, record: &Record) -> bool {
        self.push_priority(record);
        true
    }

    /// The text as it is written, and whether a NUL follows it.
    pub(super) fn without_nul<'a>(&self, record: &'a Record) -> (&'a str, bool) {
        let text = record.body.trim_end_matches('\0');
        (text, self.is_datagram && text.len() < record.body.len())
    }
}

/// The priority that the program has set itself.
pub(super) fn priority(record: &Record) -> Option<u8> {
    let number = record.fields.peek_number(PRIORITY)?;
    (number <= PRIORITY_MAX).then_some(number as u8)
}

#[cfg(test)]
mod tests {
    use crate::destination::{Dialect, Syslog};
    use crate::record::Record;
    use crate::sinks::syslog::{Messages, Transport};

    fn written(is_datagram: bool, body: &str, fields: serde_json::Value) -> Vec<Vec<u8>> {
        let syslog = Syslog {
            dialect: Dialect::Plain,
            message_bytes_max: 480,
            ..Syslog::default()
        };
        let transport = Transport {
            is_datagram,
            ..Transport::default()
        };
        let record = Record {
            severity: 17,
            body: body.to_owned(),
            fields: fields.as_object().cloned().unwrap_or_default().into(),
            ..Record::default()
        };
        let mut all = Vec::new();
        Messages::new(&syslog, transport).write(&record, |message| all.push(message.to_vec()));
        all
    }

    #[test]
    fn the_priority_is_the_programs_own_or_that_of_the_level() {
        let none = serde_json::json!({});
        assert_eq!(written(true, "späm", none.clone()), ["<11>späm".as_bytes()]);
        let own = |number: u64| serde_json::json!({"syslog.priority": number});
        assert_eq!(written(true, "x", own(191)), [b"<191>x"]);
        assert_eq!(written(true, "x", own(192)), [b"<11>x"]);
    }

    #[test]
    fn a_nul_ends_a_datagram_that_asks_for_it_and_no_message_of_a_stream() {
        let none = serde_json::json!({});
        assert_eq!(written(true, "x\0", none.clone()), [b"<11>x\0"]);
        assert_eq!(written(false, "x\0", none.clone()), [b"<11>x"]);
        let long = written(true, &("x".repeat(1000) + "\0"), none);
        assert!(long[0].len() <= 480 && long[0].ends_with(b"\0"), "{long:?}");
    }
}
