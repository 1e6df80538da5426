//! A record on its way to a receiver: what a line of a spool or of a log file says.
//!
//! A line of JSON by logboom (`docs/formats.md` has its names) is taken apart; any other line is a record whose message is the line.
//! Nothing here fails: what cannot be understood is kept as text.

mod fields;
mod json;

pub use fields::Fields;

use crate::hex;

/// One record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Nanoseconds since 1970, UTC; 0: unknown.
    pub time_ns: u64,
    /// OpenTelemetry's severity number, 1 to 24; 0: unknown.
    pub severity: u8,
    /// The level's name in the program that logged; empty: unknown.
    pub level: String,
    /// The logger's name; empty: unknown.
    pub component: String,
    /// What happened. May have line breaks and any other character.
    pub body: String,
    /// Process id of the program that logged.
    pub process: Option<u32>,
    /// The ledger id, `DOMAIN.EPOCH.NUMBER` in hexadecimal, by which a receiver tells doubles; empty: the record has none.
    pub id: String,
    /// Everything else the record says, in its order, under the names of `docs/formats.md`.
    pub fields: Fields,
}

impl Record {
    /// The record of a line without its end, if that is JSON as logboom writes it: an object with a `timestamp` (RFC 3339). A
    /// ledger id behind the object, ` [lb=DOMAIN.EPOCH.NUMBER]`, becomes the record's. A value that does not fit its name (a
    /// `severity_number` of 99) is a field; a `body` that is no text becomes its JSON. Any other line is plain.
    pub fn from_json_line(line: &[u8]) -> Record {
        let (object, id) = split_id(line);
        match json::parse(object) {
            Some(record) => Record {
                id: id.to_owned(),
                ..record
            },
            None => Record::from_plain_line(line),
        }
    }

    /// The record whose message is this line without its end. A ledger id at its end becomes the record's, a carriage return
    /// there is left out, and what is no UTF-8 shows as U+FFFD. Time, severity and component are unknown.
    pub fn from_plain_line(line: &[u8]) -> Record {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (text, id) = split_id(line);
        Record {
            body: String::from_utf8_lossy(text).into_owned(),
            id: id.to_owned(),
            ..Record::default()
        }
    }
}

/// A ledger id in hexadecimal has this many bytes at most.
pub(crate) const ID_BYTES_MAX: usize = 16 + 1 + 8 + 1 + 16;

/// The line before its ledger id, and the id; an empty one if there is none.
fn split_id(line: &[u8]) -> (&[u8], &str) {
    let Some(text) = line.strip_suffix(b"]") else {
        return (line, "");
    };
    let from = text.len().saturating_sub(ID_BYTES_MAX + ID_BEGIN.len());
    let begin = memchr::memmem::rfind(&text[from..], ID_BEGIN);
    let found = begin.and_then(|begin| {
        let at = from + begin;
        Some((&line[..at], id_text(&text[at + ID_BEGIN.len()..])?))
    });
    found.unwrap_or((line, ""))
}

const ID_BEGIN: &[u8] = b" [lb=";

/// The text, if it is a ledger id: three numbers in lower-case hexadecimal without leading zeros, of at most 64, 32 and 64 bits.
pub(crate) fn id_text(text: &[u8]) -> Option<&str> {
    let mut parts = text.split(|byte| *byte == b'.');
    for digits_max in [16, 8, 16] {
        let part = parts.next()?;
        let is_plain = part == b"0" || !part.starts_with(b"0");
        hex::number(part).filter(|_| is_plain && part.len() <= digits_max)?;
    }
    if parts.next().is_some() {
        return None;
    }
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ffffffffffffffff.1.2a";

    #[test]
    fn a_ledger_id_is_taken_from_the_end_of_any_line() {
        let plain = Record::from_plain_line(format!("paid [lb={ID}]").as_bytes());
        assert_eq!((plain.body.as_str(), plain.id.as_str()), ("paid", ID));
        let line = format!(r#"{{"timestamp":"2026-11-20T16:30:01Z","body":"paid"}} [lb={ID}]"#);
        let json = Record::from_json_line(line.as_bytes());
        assert_eq!((json.body.as_str(), json.id.as_str()), ("paid", ID));
    }

    #[test]
    fn what_only_looks_like_an_id_stays_in_the_message() {
        for text in [
            "[lb=1.2.3]",
            "x [lb=1.2]",
            "x [lb=1.2.3.4]",
            "x [lb=1.2.]",
            "x [lb=01.2.3]",
            "x [lb=1.2.A]",
            "x [lb=1.123456789.3]",
            "x [lb=11111111111111111.2.3]",
            "x [lb=1.2.3] ",
            "x[lb=1.2.3]",
        ] {
            let record = Record::from_plain_line(text.as_bytes());
            assert_eq!((record.body.as_str(), record.id.as_str()), (text, ""));
        }
    }

    #[test]
    fn a_plain_line_is_a_message_whatever_its_bytes_are() {
        let body = |line: &[u8]| Record::from_plain_line(line).body;
        assert_eq!(body(b"a\xffb\0\xf0\x9f\x98"), "a\u{fffd}b\0\u{fffd}");
        assert_eq!(body(b"dos line\r"), "dos line");
        assert_eq!(body(b""), "");
    }

    proptest::proptest! {
        /// Any bytes are a record, and a line that is UTF-8 and nothing of ours is kept to the last character.
        #[test]
        fn any_line_is_a_record(line: Vec<u8>, text in "[^\r]*") {
            Record::from_json_line(&line);
            Record::from_plain_line(&line);
            proptest::prop_assert_eq!(Record::from_json_line(text.as_bytes()).body, text);
        }
    }
}
