//! The numbered record that workers write and the evaluator looks for: one line of text.
//!
//! ```text
//! w<worker>.<incarnation> t<thread> n<number> b<begun, ns> l<payload bytes> <payload> c<CRC-32, 8 hex digits>
//! ```
//!
//! The checksum covers everything before ` c`. Always holds: [`Record::parse`] accepts exactly what [`Record::line`] and the
//! Python worker write, with no byte more or less; everything else is a [`Flaw`] that says what does not fit.

use std::fmt;

/// The thread of a worker that wrote a record. Records of one thread are numbered from 0 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// Index of the worker, from 0.
    pub worker: u32,
    /// How often this worker had been restarted.
    pub incarnation: u32,
    /// Index of the thread in its worker, from 0.
    pub thread: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}.{} t{}", self.worker, self.incarnation, self.thread)
    }
}

/// What identifies a record, and when it was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The thread that wrote it.
    pub source: Source,
    /// Its number in that thread, from 0.
    pub number: u64,
    /// `CLOCK_MONOTONIC` before the emitting call, in nanoseconds.
    pub begun_ns: u64,
}

/// Why a line is not a whole record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The line does not begin like a record, or its header is cut.
    Header,
    /// The payload is shorter or longer than the header says.
    Length,
    /// The checksum does not fit the bytes.
    Checksum,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "no whole header",
            Self::Length => "shorter or longer than its header says",
            Self::Checksum => "its checksum does not fit",
        })
    }
}

const CHECKSUM_LEN: usize = " c01234567".len();

impl Record {
    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// The first [`Flaw`] found.
    pub fn parse(line: &[u8]) -> Result<Self, Flaw> {
        let (record, payload_len, rest) = header(line).ok_or(Flaw::Header)?;
        if rest.len() as u64 != payload_len.saturating_add(CHECKSUM_LEN as u64) {
            return Err(Flaw::Length);
        }
        let (body, checksum) = line.split_at(line.len() - CHECKSUM_LEN);
        let expected = format!(" c{:08x}", crc32fast::hash(body));
        if checksum == expected.as_bytes() {
            Ok(record)
        } else {
            Err(Flaw::Checksum)
        }
    }

    /// Reads the header alone, of a line that may be cut after it.
    #[must_use]
    pub fn parse_header(line: &[u8]) -> Option<Self> {
        header(line).map(|(record, _, _)| record)
    }

    /// Writes the record as a line without its line feed; `payload` must hold no line feed.
    #[must_use]
    pub fn line(&self, payload: &[u8]) -> Vec<u8> {
        let mut line = format!(
            "{} n{} b{} l{} ",
            self.source,
            self.number,
            self.begun_ns,
            payload.len()
        )
        .into_bytes();
        line.extend_from_slice(payload);
        let checksum = crc32fast::hash(&line);
        line.extend_from_slice(format!(" c{checksum:08x}").as_bytes());
        line
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} n{}", self.source, self.number)
    }
}

fn header(line: &[u8]) -> Option<(Record, u64, &[u8])> {
    let (worker, rest) = number(line, b"w")?;
    let (incarnation, rest) = number(rest, b".")?;
    let (thread, rest) = number(rest, b" t")?;
    let (number_, rest) = number(rest, b" n")?;
    let (begun_ns, rest) = number(rest, b" b")?;
    let (payload_len, rest) = number(rest, b" l")?;
    let rest = rest.strip_prefix(b" ")?;
    let source = Source {
        worker: u32::try_from(worker).ok()?,
        incarnation: u32::try_from(incarnation).ok()?,
        thread: u32::try_from(thread).ok()?,
    };
    Some((
        Record {
            source,
            number: number_,
            begun_ns,
        },
        payload_len,
        rest,
    ))
}

/// A decimal number after `prefix`, in its one canonical form (no sign, no leading zero).
fn number<'a>(text: &'a [u8], prefix: &[u8]) -> Option<(u64, &'a [u8])> {
    let text = text.strip_prefix(prefix)?;
    let digit_count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digit_count);
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            source: Source {
                worker: 3,
                incarnation: 2,
                thread: 1,
            },
            number: 17,
            begun_ns: 123_456,
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for payload in [&b""[..], b"x", b"some words  and c12 l3 in between"] {
            assert_eq!(Record::parse(&record().line(payload)), Ok(record()));
        }
    }

    /// Every cut, every changed byte and every byte more must be noticed.
    #[test]
    fn no_damage_passes() {
        let line = record().line(b"payload");
        for cut in 0..line.len() {
            assert!(Record::parse(&line[..cut]).is_err(), "cut at {cut}");
            assert!(
                Record::parse(&line[cut + 1..]).is_err(),
                "begun after {cut}"
            );
            let mut changed = line.clone();
            changed[cut] ^= 1;
            assert!(Record::parse(&changed).is_err(), "changed at {cut}");
        }
        assert_eq!(
            Record::parse(&[&line[..], b" "].concat()),
            Err(Flaw::Length)
        );
        assert_eq!(
            Record::parse(&[&line[..20], &line[..]].concat()),
            Err(Flaw::Header)
        );
    }

    #[test]
    fn numbers_have_one_form() {
        assert!(Record::parse_header(b"w1.0 t0 n5 b9 l3 abc").is_some());
        assert!(Record::parse_header(b"w01.0 t0 n5 b9 l3 abc").is_none());
        assert!(Record::parse_header(b"w1.0 t0 n99999999999999999999 b9 l3 abc").is_none());
    }
}
