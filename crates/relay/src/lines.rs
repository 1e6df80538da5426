//! Lines out of a file that others write: read ahead in large pieces, given one by one.
//!
//! What always holds: memory is bounded by the longest line that is asked for and one piece; an unterminated line is not given
//! until its end is there. A file that may be cut back and written again is noticed: with each piece the last bytes that were read
//! before are read once more, and when they are others the file has changed.

use std::io;
use std::ops::Range;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Bytes before the next line that are kept, and read again where a file may change.
const KEPT_BYTES: usize = 64;

/// What was read of a file and not yet given.
pub(crate) struct Lines {
    /// First what was given last, kept for the comparison, then what is to be given.
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    begin: usize,
    /// Up to where no line end is.
    searched: usize,
    /// Byte of the file at the buffer's beginning.
    offset: u64,
    line_bytes_max: usize,
    /// Whether what is kept is read again.
    may_change: bool,
}

/// The next of the lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A line without its end.
    Line(&'a [u8]),
    /// A piece of a line that is longer than lines may be; the rest of it comes next.
    Piece(&'a [u8]),
    /// Nothing more was read, or the beginning of a line.
    None,
}

/// What reading on has brought.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum More {
    /// Some bytes.
    Some,
    /// Nothing: this is the end of the file for now.
    End,
    /// What was read before is not there any more.
    Changed,
}

impl Lines {
    /// Of a file, from this byte on.
    pub(crate) fn from(offset: u64, line_bytes_max: usize) -> Lines {
        Lines {
            buffer: Vec::new(),
            begin: 0,
            searched: 0,
            offset,
            line_bytes_max,
            may_change: true,
        }
    }

    /// Of something that cannot be read again and does not change: a stream.
    pub(crate) fn of_stream(offset: u64, line_bytes_max: usize) -> Lines {
        Lines {
            may_change: false,
            ..Lines::from(offset, line_bytes_max)
        }
    }

    /// Where the next line begins in the file.
    pub(crate) fn at(&self) -> u64 {
        self.offset + self.begin as u64
    }

    /// Up to where the file was read.
    pub(crate) fn read_to(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Gives the next line.
    pub(crate) fn next(&mut self) -> Next<'_> {
        match self.find() {
            Some((range, true)) => Next::Line(self.bytes(range)),
            Some((range, false)) => Next::Piece(self.bytes(range)),
            None => Next::None,
        }
    }

    /// Passes the next line, or a piece of it; says where its [`bytes`](Lines::bytes) are until more is read, and whether it ends
    /// there.
    pub(crate) fn find(&mut self) -> Option<(Range<usize>, bool)> {
        let begin = self.begin;
        if let Some(len) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + len;
            // A line that is too long may have come with its end.
            if end - begin <= self.line_bytes_max {
                self.begin = end + 1;
                self.searched = self.begin;
                return Some((begin..end, true));
            }
            self.searched = end;
        } else {
            self.searched = self.buffer.len();
        }
        if self.searched - begin > self.line_bytes_max {
            self.begin = begin + self.line_bytes_max;
            self.searched = self.begin;
            return Some((begin..self.begin, false));
        }
        None
    }

    /// Passes what there is of a line without its end.
    pub(crate) fn find_rest(&mut self) -> Range<usize> {
        let rest = self.begin..self.buffer.len();
        self.skip(rest.len());
        rest
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// What stands right before the next line, 64 bytes at most.
    pub(crate) fn before(&self) -> &[u8] {
        &self.buffer[self.begin.saturating_sub(KEPT_BYTES)..self.begin]
    }

    /// The beginning of a line whose end was not read.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer[self.begin..]
    }

    /// Goes on so many bytes later, within what was read.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.begin = self.buffer.len().min(self.begin + bytes);
        self.searched = self.searched.max(self.begin);
    }

    /// Goes back by some bytes of the line that was given last.
    pub(crate) fn back(&mut self, bytes: usize) {
        self.begin -= bytes.min(self.begin);
        self.searched = self.begin;
    }

    /// Reads on with `read(offset, into)`, which gives the bytes of the file from `offset` on, as many as it likes, 0 at the end.
    pub(crate) fn more(
        &mut self,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<More> {
        self.forget();
        let (len, end) = (self.buffer.len(), self.read_to());
        let overlap = if self.may_change {
            len.min(KEPT_BYTES)
        } else {
            0
        };
        let mut before = [0; KEPT_BYTES];
        before[..overlap].copy_from_slice(&self.buffer[len - overlap..]);
        self.buffer.resize(len + PIECE_BYTES, 0);
        let (mut filled, mut outcome) = (len - overlap, Ok(()));
        while filled <= len {
            match read(end - (len - filled) as u64, &mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    outcome = Err(cause);
                    break;
                }
            }
        }
        let is_same = filled >= len && self.buffer[len - overlap..len] == before[..overlap];
        self.buffer[len - overlap..len].copy_from_slice(&before[..overlap]);
        self.buffer.truncate(filled.max(len));
        outcome?;
        Ok(match (is_same, filled > len) {
            (false, _) => More::Changed,
            (true, true) => More::Some,
            (true, false) => More::End,
        })
    }

    /// Makes room: keeps what is to be given, and before it what is to be read again.
    fn forget(&mut self) {
        let keep_from = self.begin.saturating_sub(KEPT_BYTES);
        if keep_from > 0 {
            self.buffer.drain(..keep_from);
            self.offset += keep_from as u64;
            self.begin -= keep_from;
            self.searched -= keep_from;
        }
        if self.buffer.capacity() > 4 * PIECE_BYTES && self.buffer.len() <= PIECE_BYTES {
            self.buffer.shrink_to(2 * PIECE_BYTES);
        }
    }
}

/// Reads from a file as [`Lines::more`] wants it.
pub(crate) fn read_at(file: &std::fs::File) -> impl FnMut(u64, &mut [u8]) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    move |offset, into| file.read_at(into, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads at most `most` bytes at a time.
    fn slowly(text: &[u8], most: usize) -> impl FnMut(u64, &mut [u8]) -> io::Result<usize> {
        move |offset, into| {
            let rest = text.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(into.len()).min(most);
            into[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }
    }

    /// All lines, `~` behind pieces, and the rest.
    fn split(text: &[u8], from: u64, line_bytes_max: usize, most: usize) -> (Vec<String>, String) {
        let mut lines = Lines::from(from, line_bytes_max);
        let mut out = Vec::new();
        let show = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        loop {
            match lines.next() {
                Next::Line(line) => out.push(show(line)),
                Next::Piece(piece) => out.push(show(piece) + "~"),
                Next::None => match lines.more(slowly(text, most)).unwrap() {
                    More::Some => {}
                    More::End => break,
                    More::Changed => panic!("nothing has changed"),
                },
            }
        }
        assert_eq!(lines.read_to(), text.len() as u64);
        assert_eq!(lines.at(), (text.len() - lines.rest().len()) as u64);
        let rest = show(lines.rest());
        (out, rest)
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        for most in [1, 2, 3, 100] {
            let (lines, rest) = split(b"one\n\nthree\nrest", 0, 10, most);
            assert_eq!(
                (lines, rest),
                (vec!["one".into(), "".into(), "three".into()], "rest".into())
            );
            let (lines, rest) = split(b"xx\none\n", 3, 10, most);
            assert_eq!((lines, rest), (vec!["one".into()], "".into()));
        }
    }

    #[test]
    fn a_line_longer_than_lines_may_be_comes_in_pieces() {
        for most in [1, 4, 100] {
            let (lines, rest) = split(b"12345\n1234\n123456789\n12345", 0, 4, most);
            let expected = ["1234~", "5", "1234", "1234~", "5678~", "9", "1234~"];
            assert_eq!(
                (lines, rest),
                (expected.map(String::from).to_vec(), "5".into())
            );
        }
    }

    #[test]
    fn memory_is_bounded_by_the_longest_line_and_one_piece() {
        let mut lines = Lines::from(0, 1000);
        let mut endless = |_: u64, into: &mut [u8]| {
            into.fill(b'x');
            Ok(into.len())
        };
        for _ in 0..100 {
            assert_eq!(lines.more(&mut endless).unwrap(), More::Some);
            while let Next::Piece(_) = lines.next() {}
            assert!(lines.buffer.len() <= PIECE_BYTES + 1000 + KEPT_BYTES);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_other_than_before_is_noticed() {
        let read = b"one\ntwo\nthr";
        for (now, expected) in [
            (&b"one\ntwo\nthr"[..], More::End),
            (b"one\ntwo\nthree\n", More::Some),
            (b"one\ntwo\nth", More::Changed),
            (b"", More::Changed),
            (b"one\ntwO\nthree\n", More::Changed),
            (b"one\ntwo\nfour\n", More::Changed),
        ] {
            for most in [1, 5, 100] {
                let mut lines = Lines::from(0, 100);
                lines.more(slowly(read, 100)).unwrap();
                assert_eq!(lines.next(), Next::Line(b"one"));
                assert_eq!(lines.next(), Next::Line(b"two"));
                assert_eq!(lines.more(slowly(now, most)).unwrap(), expected, "{now:?}");
                assert_eq!(&lines.rest()[..3], b"thr", "what was read stays");
            }
        }
    }

    #[test]
    fn a_failure_leaves_what_was_read_and_may_be_tried_again() {
        let mut lines = Lines::from(0, 100);
        lines.more(slowly(b"one\nt", 100)).unwrap();
        assert_eq!(lines.next(), Next::Line(b"one"));
        let broken = |_: u64, _: &mut [u8]| Err(io::Error::other("disk"));
        assert!(lines.more(broken).is_err());
        assert_eq!(lines.more(slowly(b"one\ntwo\n", 100)).unwrap(), More::Some);
        assert_eq!(lines.next(), Next::Line(b"two"));
    }

    #[test]
    fn what_stands_before_the_next_line_is_known() {
        let mut lines = Lines::from(0, 1000);
        let text = [&b"x".repeat(100)[..], b"\none\ntwo\n"].concat();
        lines.more(slowly(&text, 200)).unwrap();
        lines.next();
        assert_eq!(lines.next(), Next::Line(b"one"));
        assert_eq!(lines.before(), &text[105 - 64..105]);
        assert_eq!(lines.more(slowly(&text, 200)).unwrap(), More::End);
        assert_eq!(lines.before(), &text[105 - 64..105]);
    }

    #[test]
    fn what_was_given_can_be_gone_back_to() {
        let mut lines = Lines::from(0, 100);
        lines.more(slowly(b"one|two\nthree\n", 100)).unwrap();
        assert_eq!(lines.next(), Next::Line(b"one|two"));
        lines.back(4);
        assert_eq!((lines.at(), lines.next()), (4, Next::Line(b"two")));
        assert_eq!(lines.next(), Next::Line(b"three"));
    }
}
