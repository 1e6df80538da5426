//! A record's line in a spool: `PAYLOAD`, tab, `ID`, tab, `CRC`, line feed; `SPOOL.md` says what each is.
//!
//! What always holds: a line is believed only if its checksum is right; any other bytes are refused without harm.

use crate::hex;
use crate::record::{ID_BYTES_MAX, id_text};

/// What every segment begins with: a magic and the version.
pub const HEADER: &[u8; 4] = b"LS1\n";
/// Digits of the checksum.
const CRC_BYTES: usize = 8;

/// A line that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The record, JSON as `docs/formats.md` has it.
    pub payload: &'a [u8],
    /// Its ledger id.
    pub id: &'a str,
    /// The line's checksum.
    pub crc: u32,
}

/// Appends a record's line. The writing side is `logboom`'s; this is for whoever has to make spools otherwise: tests.
pub fn encode(payload: &[u8], id: &str, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(payload);
    out.push(b'\t');
    out.extend_from_slice(id.as_bytes());
    out.push(b'\t');
    let crc = crc32fast::hash(&out[begin..]);
    out.extend_from_slice(format!("{crc:08x}\n").as_bytes());
}

/// The record of a whole line without its line feed; None: it cannot be believed.
pub fn decode(line: &[u8]) -> Option<Line<'_>> {
    let checked_bytes = line.len().checked_sub(CRC_BYTES)?;
    let (checked, digits) = line.split_at(checked_bytes);
    let before_crc = checked.strip_suffix(b"\t")?;
    let id_from = before_crc.len().saturating_sub(ID_BYTES_MAX + 1);
    let tab = id_from
        + before_crc[id_from..]
            .iter()
            .rposition(|byte| *byte == b'\t')?;
    let crc = hex::number(digits)? as u32;
    if crc32fast::hash(checked) != crc {
        return None;
    }
    Some(Line {
        payload: &before_crc[..tab],
        id: id_text(&before_crc[tab + 1..])?,
        crc,
    })
}

/// The record that these bytes begin with although no line feed follows it, and how many bytes are its own: its line feed was
/// damaged, or never written.
pub fn decode_first(bytes: &[u8]) -> Option<(Line<'_>, usize)> {
    let id = memchr::memchr(b'\t', bytes)? + 1;
    let len = id + memchr::memchr(b'\t', &bytes[id..])? + 1 + CRC_BYTES;
    Some((decode(bytes.get(..len)?)?, len))
}

/// The end of a line with this checksum, without its line feed; it is known again by that.
pub(super) fn end_of(crc: u32) -> [u8; END_BYTES] {
    let mut end = [b'\t'; END_BYTES];
    end[1..].copy_from_slice(format!("{crc:08x}").as_bytes());
    end
}

/// Bytes of [`end_of`].
pub(super) const END_BYTES: usize = 1 + CRC_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(payload: &str, id: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(payload.as_bytes(), id, &mut out);
        out
    }

    #[test]
    fn a_line_is_payload_id_and_checksum() {
        let line = encoded(r#"{"body":"paid"}"#, "c0ffee.1.2a");
        assert_eq!(line, b"{\"body\":\"paid\"}\tc0ffee.1.2a\t2d45c888\n");
        let next = encoded(r#"{"body":"sent"}"#, "c0ffee.1.2b");
        assert!(
            next.ends_with(b"\tc0ffee.1.2b\t68238831\n"),
            "as in SPOOL.md"
        );
        assert_eq!(
            crc32fast::hash(b"123456789"),
            0xcbf4_3926,
            "CRC-32 (ISO-HDLC)"
        );
        let decoded = decode(line.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(decoded.payload, br#"{"body":"paid"}"#);
        assert_eq!((decoded.id, decoded.crc), ("c0ffee.1.2a", 0x2d45_c888));
        assert!(
            line.strip_suffix(b"\n")
                .unwrap()
                .ends_with(&end_of(decoded.crc))
        );
    }

    #[test]
    fn what_is_not_as_it_was_written_is_refused() {
        let line = encoded(r#"{"body":"paid"}"#, "c0ffee.1.2a");
        let line = line.strip_suffix(b"\n").unwrap();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut other = line.to_vec();
                other[at] ^= 1 << bit;
                assert_eq!(decode(&other), None, "byte {at}, bit {bit}");
            }
            assert_eq!(decode(&line[..at]), None, "cut at {at}");
            assert_eq!(decode(&line[at + 1..]), None, "begun at {}", at + 1);
        }
        for id in ["", "1.2", "C0FFEE.1.2", "1.2.3.4", "1.2.03"] {
            let other = encoded("{}", id);
            assert_eq!(
                decode(other.strip_suffix(b"\n").unwrap()),
                None,
                "id `{id}`"
            );
        }
    }

    #[test]
    fn a_record_is_found_although_its_line_feed_is_damaged() {
        let (one, two) = (encoded("{}", "1.2.3"), encoded("{}", "1.2.4"));
        let mut both = [&one[..], &two].concat();
        both[one.len() - 1] = b'?';
        let (found, len) = decode_first(&both).unwrap();
        assert_eq!((found.id, len), ("1.2.3", one.len() - 1));
        assert_eq!(decode_first(&both[1..]), None);
        for cut in 0..one.len() - 1 {
            assert_eq!(decode_first(&one[..cut]), None);
        }
    }

    proptest::proptest! {
        /// Any bytes are refused or are the line of just that record.
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
            if let Some(line) = decode(&bytes) {
                proptest::prop_assert_eq!(&encoded(std::str::from_utf8(line.payload).unwrap(), line.id)[..], &bytes[..]);
            }
            decode_first(&bytes);
        }

        #[test]
        fn what_is_written_is_read(payload in "[^\t\n]*", domain: u64, epoch: u32, number: u64) {
            let id = format!("{domain:x}.{epoch:x}.{number:x}");
            let line = encoded(&payload, &id);
            let decoded = decode(line.strip_suffix(b"\n").unwrap()).unwrap();
            proptest::prop_assert_eq!((decoded.payload, decoded.id), (payload.as_bytes(), id.as_str()));
        }
    }
}
