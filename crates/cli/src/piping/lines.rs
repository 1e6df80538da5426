//! From bytes as they are read to lines, in a buffer of fixed size.
//!
//! What always holds: a line is given once and whole, whatever the reads cut it into; a line longer than the limit is cut or split,
//! between two characters where it is UTF-8, and says so in its [`Extent`]; no more than one limit's worth of an unfinished line
//! is kept. The bytes themselves mean nothing here but for the line feed.

use memchr::memchr;

/// How much is read at once: what a pipe holds (pipe(7)).
pub(crate) const READ_BYTES: usize = 64 << 10;

/// What becomes of a line that is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Long {
    /// Its beginning is kept, with a mark.
    Cut,
    /// It becomes several records, each with a mark.
    Split,
}

/// How much of a line this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Its beginning.
    Cut {
        /// How long it was, without its line feed.
        bytes_in_all: u64,
    },
    /// One of several parts.
    Part {
        /// Counted from 1.
        number: u32,
        /// The line ends with this one.
        last: bool,
    },
}

/// A line, or what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'b> {
    /// Its bytes; the line feed is among them if it is all there.
    pub(crate) bytes: &'b [u8],
    /// How much of the line that is.
    pub(crate) extent: Extent,
}

impl<'b> Line<'b> {
    /// The line without its end: a line feed, and a carriage return before it.
    pub(crate) fn text(&self) -> &'b [u8] {
        match self.bytes.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => self.bytes,
        }
    }
}

/// The lines of one stream.
pub(crate) struct Lines {
    buffer: Box<[u8]>,
    /// Where the present line begins.
    start: usize,
    /// Up to here there is no line feed.
    looked: usize,
    end: usize,
    line_max: usize,
    long: Long,
    /// The present line is cut: how much of it stays, and how much is gone.
    cut: Option<(usize, u64)>,
    /// Parts of the present line that were given.
    parts: u32,
}

impl Lines {
    /// Lines of at most `line_max` bytes.
    pub(crate) fn new(line_max: usize, long: Long) -> Lines {
        Lines {
            buffer: vec![0; line_max + READ_BYTES].into_boxed_slice(),
            start: 0,
            looked: 0,
            end: 0,
            line_max,
            long,
            cut: None,
            parts: 0,
        }
    }

    /// Where the next bytes are to be read into: [`READ_BYTES`] at least, once [`Lines::next`] has given all it has.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.looked -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read into the space.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// The bytes that were read last.
    pub(crate) fn last(&self, bytes: usize) -> &[u8] {
        &self.buffer[self.end - bytes..self.end]
    }

    /// The next line that can be given. Not an iterator: a line lies in the buffer.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        let found = memchr(b'\n', &self.buffer[self.looked..self.end]);
        let line_end = found.map_or(self.end, |at| self.looked + at);
        self.looked = line_end;
        let too_long = line_end - self.start > self.line_max;
        match self.long {
            Long::Cut if too_long || self.cut.is_some() => self.next_cut(line_end, found.is_some()),
            Long::Split if too_long => Some(self.next_part()),
            _ => {
                found?;
                let start = std::mem::replace(&mut self.start, line_end + 1);
                self.looked = self.start;
                let extent = self.end_of_parts();
                Some(Line {
                    bytes: &self.buffer[start..=line_end],
                    extent,
                })
            }
        }
    }

    /// What no line feed has ended, at the end of the stream.
    pub(crate) fn rest(&mut self) -> Option<Line<'_>> {
        if !self.is_unfinished() {
            return None;
        }
        let start = std::mem::replace(&mut self.start, self.end);
        let extent = match self.cut.take() {
            Some((kept, gone)) => Extent::Cut {
                bytes_in_all: kept as u64 + gone,
            },
            None => self.end_of_parts(),
        };
        Some(Line {
            bytes: &self.buffer[start..self.end],
            extent,
        })
    }

    /// Whether the present line has begun and not ended.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.end > self.start
    }

    fn end_of_parts(&mut self) -> Extent {
        match std::mem::take(&mut self.parts) {
            0 => Extent::Whole,
            before => Extent::Part {
                number: before + 1,
                last: true,
            },
        }
    }

    /// Keeps the beginning of the line, and gives it when its end is there.
    fn next_cut(&mut self, line_end: usize, ended: bool) -> Option<Line<'_>> {
        let (kept, gone) = self.cut.unwrap_or_else(|| (self.fitting(), 0));
        let from = self.start + kept;
        let gone = gone + (line_end - from) as u64;
        if !ended {
            self.cut = Some((kept, gone));
            self.end = from;
            self.looked = from;
            return None;
        }
        self.cut = None;
        let start = std::mem::replace(&mut self.start, line_end + 1);
        self.looked = self.start;
        Some(Line {
            bytes: &self.buffer[start..from],
            extent: Extent::Cut {
                bytes_in_all: kept as u64 + gone,
            },
        })
    }

    fn next_part(&mut self) -> Line<'_> {
        let start = self.start;
        self.start += self.fitting();
        self.parts = self.parts.saturating_add(1);
        Line {
            bytes: &self.buffer[start..self.start],
            extent: Extent::Part {
                number: self.parts,
                last: false,
            },
        }
    }

    /// How much of the present line, which is too long, is within the limit: whole characters, if these are any.
    fn fitting(&self) -> usize {
        let is_inside = |length: usize| self.buffer[self.start + length] & 0xc0 == 0x80;
        let lengths = (self.line_max.saturating_sub(3)..=self.line_max).rev();
        let mut whole = lengths.filter(|length| *length > 0 && !is_inside(*length));
        whole.next().unwrap_or(self.line_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes of `bytes`, read in pieces of these sizes, over and over.
    fn lines_of(
        bytes: &[u8],
        line_max: usize,
        long: Long,
        pieces: &[usize],
    ) -> Vec<(Vec<u8>, Extent)> {
        let mut lines = Lines::new(line_max, long);
        let mut given = Vec::new();
        let mut rest = bytes;
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let space = lines.space();
            assert!(space.len() >= READ_BYTES);
            let count = (*piece).min(rest.len()).min(space.len());
            space[..count].copy_from_slice(&rest[..count]);
            lines.filled(count);
            rest = &rest[count..];
            while let Some(line) = lines.next() {
                given.push((line.bytes.to_vec(), line.extent));
            }
        }
        if let Some(line) = lines.rest() {
            given.push((line.bytes.to_vec(), line.extent));
        }
        assert!(!lines.is_unfinished() && lines.rest().is_none());
        given
    }

    fn check(text: &str, long: Long, expected: &[(&str, Extent)]) {
        let given = lines_of(text.as_bytes(), 8, long, &[3]);
        let given: Vec<_> = given
            .iter()
            .map(|(bytes, extent)| (std::str::from_utf8(bytes).unwrap(), *extent))
            .collect();
        assert_eq!(given, expected, "{text:?}");
    }

    fn part(number: u32, last: bool) -> Extent {
        Extent::Part { number, last }
    }

    #[test]
    fn lines_end_at_line_feeds_and_at_the_end() {
        let whole = Extent::Whole;
        check("", Long::Cut, &[]);
        check(
            "a\n\nb\r\nc",
            Long::Cut,
            &[
                ("a\n", whole),
                ("\n", whole),
                ("b\r\n", whole),
                ("c", whole),
            ],
        );
        check(
            "12345678\n12345678",
            Long::Split,
            &[("12345678\n", whole), ("12345678", whole)],
        );
    }

    #[test]
    fn a_long_line_is_cut_and_says_how_long_it_was() {
        let cut = |bytes_in_all| Extent::Cut { bytes_in_all };
        check(
            "123456789\nb\n",
            Long::Cut,
            &[("12345678", cut(9)), ("b\n", Extent::Whole)],
        );
        check("123456789", Long::Cut, &[("12345678", cut(9))]);
        check(
            "1234567é, and more of it\nb",
            Long::Cut,
            &[("1234567", cut(25)), ("b", Extent::Whole)],
        );
    }

    #[test]
    fn a_long_line_is_split_and_says_where_it_ends() {
        check(
            "123456789\nb\n",
            Long::Split,
            &[
                ("12345678", part(1, false)),
                ("9\n", part(2, true)),
                ("b\n", Extent::Whole),
            ],
        );
        check(
            "1234567éabcdefghi",
            Long::Split,
            &[
                ("1234567", part(1, false)),
                ("éabcdef", part(2, false)),
                ("ghi", part(3, true)),
            ],
        );
        check(
            "123456781234567\n8",
            Long::Split,
            &[
                ("12345678", part(1, false)),
                ("1234567\n", part(2, true)),
                ("8", Extent::Whole),
            ],
        );
    }

    #[test]
    fn a_line_is_cut_somewhere_although_it_is_no_text() {
        let given = lines_of(&[0x80; 20], 8, Long::Split, &[7]);
        let lengths: Vec<_> = given.iter().map(|(bytes, _)| bytes.len()).collect();
        assert_eq!(lengths, [8, 8, 4]);
    }

    #[test]
    fn the_text_of_a_line_is_without_its_end() {
        for (bytes, text) in [
            ("a\r\n", "a"),
            ("a\n", "a"),
            ("a\r", "a\r"),
            ("\r\r\n", "\r"),
            ("\n", ""),
        ] {
            let line = Line {
                bytes: bytes.as_bytes(),
                extent: Extent::Whole,
            };
            assert_eq!(line.text(), text.as_bytes(), "{bytes:?}");
        }
    }

    proptest! {
        /// However a stream is cut into reads, its lines are the same; split, they are the stream; cut, they are the
        /// beginnings of its lines, with their lengths.
        #[test]
        fn reads_cut_anywhere_change_nothing(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0xc3), Just(0xa9), any::<u8>()], 0..200),
            pieces in prop::collection::vec(1usize..40, 1..8),
            line_max in 4usize..50,
        ) {
            let split = lines_of(&bytes, line_max, Long::Split, &pieces);
            prop_assert_eq!(split.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>(), bytes.clone());
            prop_assert!(split.iter().all(|(bytes, _)| bytes.strip_suffix(b"\n").unwrap_or(bytes).len() <= line_max));
            prop_assert_eq!(&split, &lines_of(&bytes, line_max, Long::Split, &[1]));
            let cut = lines_of(&bytes, line_max, Long::Cut, &pieces);
            let mut whole: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            for (given, extent) in cut {
                let line = whole.remove(0);
                prop_assert!(line.starts_with(&given));
                match extent {
                    Extent::Whole => prop_assert_eq!(given, line),
                    Extent::Cut { bytes_in_all } => {
                        let length = line.strip_suffix(b"\n").unwrap_or(line).len();
                        prop_assert!(length > line_max && given.len() + 3 >= line_max);
                        prop_assert_eq!(bytes_in_all, length as u64);
                    }
                    Extent::Part { .. } => prop_assert!(false),
                }
            }
            prop_assert!(whole.is_empty());
        }
    }
}
