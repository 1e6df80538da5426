//! What a line gets at its end when it is stored: nothing, its ledger id, or what a line of a spool needs.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::options::LogOptions;

/// How the lines of a log end, changed by `reconfigure` while others publish.
pub(super) struct Ending(AtomicU8);

const PLAIN: u8 = 0;
const LEDGER_ID: u8 = 1;
const SPOOL: u8 = 2;

/// Whose record a line is: domain, epoch of the worker, number in its series for the file.
#[derive(Clone, Copy)]
pub(super) struct Id {
    pub domain: u64,
    pub epoch: u32,
    pub seq: u64,
}

impl Ending {
    /// The most that an ending adds to a line: two tabs, an id, a checksum, a line end.
    pub const BYTES_MAX: usize = 1 + (16 + 1 + 8 + 1 + 16) + 1 + 8 + 1;

    pub const fn plain() -> Ending {
        Ending(AtomicU8::new(PLAIN))
    }

    pub fn of(options: &LogOptions) -> Ending {
        Ending(AtomicU8::new(Ending::kind(options)))
    }

    pub fn change(&self, options: &LogOptions) {
        self.0.store(Ending::kind(options), Ordering::Relaxed);
    }

    fn kind(options: &LogOptions) -> u8 {
        match (options.spool.is_some(), options.ledger_ids) {
            (true, _) => SPOOL,
            (false, true) => LEDGER_ID,
            (false, false) => PLAIN,
        }
    }

    #[inline]
    pub fn is_plain(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PLAIN
    }

    /// The line as far as it stays, and what follows it, made in `space`.
    #[inline]
    pub fn split<'a>(
        &self,
        line: &'a [u8],
        id: Id,
        space: &'a mut Vec<u8>,
    ) -> (&'a [u8], &'a [u8]) {
        match self.0.load(Ordering::Relaxed) {
            LEDGER_ID => with_ledger_id(line, id, space),
            SPOOL => with_checksum(line, id, space),
            _ => (line, &[]),
        }
    }
}

/// ` [lb=DOMAIN.EPOCH.NUMBER]`, all hexadecimal, before the line end if there is one.
fn with_ledger_id<'a>(line: &'a [u8], id: Id, space: &'a mut Vec<u8>) -> (&'a [u8], &'a [u8]) {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    space.extend_from_slice(b" [lb=");
    push_id(space, id);
    space.push(b']');
    space.extend_from_slice(&line[body.len()..]);
    (body, space)
}

/// A line of a spool: `PAYLOAD TAB ID TAB CRC LF`, the checksum over all before it.
fn with_checksum<'a>(line: &'a [u8], id: Id, space: &'a mut Vec<u8>) -> (&'a [u8], &'a [u8]) {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    space.push(b'\t');
    push_id(space, id);
    space.push(b'\t');
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(body);
    checksum.update(space);
    push_hex(space, u64::from(checksum.finalize()), 8);
    space.push(b'\n');
    (body, space)
}

fn push_id(out: &mut Vec<u8>, id: Id) {
    push_hex(out, id.domain, 1);
    out.push(b'.');
    push_hex(out, id.epoch.into(), 1);
    out.push(b'.');
    push_hex(out, id.seq, 1);
}

/// Hexadecimal, at least so many digits.
fn push_hex(out: &mut Vec<u8>, number: u64, digits_least: u32) {
    let digits = (16 - number.leading_zeros() / 4).max(digits_least);
    let digit = |place: u32| b"0123456789abcdef"[(number >> (4 * place) & 0xf) as usize];
    out.extend((0..digits).rev().map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Id = Id {
        domain: u64::MAX,
        epoch: u32::MAX,
        seq: u64::MAX,
    };

    fn ended(kind: u8, line: &[u8], id: Id) -> String {
        let mut space = Vec::new();
        let (line, more) = Ending(AtomicU8::new(kind)).split(line, id, &mut space);
        assert!(more.len() <= Ending::BYTES_MAX);
        String::from_utf8([line, more].concat()).unwrap()
    }

    #[test]
    fn a_ledger_id_stands_before_the_line_end() {
        assert_eq!(
            ended(LEDGER_ID, b"hello\n", LONGEST),
            "hello [lb=ffffffffffffffff.ffffffff.ffffffffffffffff]\n"
        );
        let small = Id {
            domain: 0,
            epoch: 0x1a,
            seq: 0x10,
        };
        assert_eq!(ended(LEDGER_ID, b"hello", small), "hello [lb=0.1a.10]");
    }

    /// CRC-32 (ISO-HDLC) of "{}\t1.2.3\t" is that of any other implementation (Python's `zlib.crc32`).
    #[test]
    fn a_line_of_a_spool_has_its_id_and_a_checksum_over_both() {
        let id = Id {
            domain: 1,
            epoch: 2,
            seq: 3,
        };
        assert_eq!(ended(SPOOL, b"{}\n", id), "{}\t1.2.3\t62a34b0d\n");
        ended(SPOOL, b"{}\n", LONGEST);
    }
}
