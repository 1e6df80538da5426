//! What a RELP server sends: frames, and the answers in them.
//!
//! What always holds: any bytes are a frame, the beginning of one, or refused; nothing is believed to be longer than
//! [`DATA_BYTES_MAX`], and no text of a server comes out with control characters in it.

use std::fmt;

/// Longest data of a frame that is waited for. An answer takes tens of bytes.
pub(crate) const DATA_BYTES_MAX: usize = 16 << 10;
/// Longest number (RELP, "RELP FRAME").
const NUMBER_BYTES_MAX: usize = 9;
/// Longest command (the same).
const COMMAND_BYTES_MAX: usize = 32;
/// Of a server's text, this many characters are passed on.
const TEXT_CHARS_MAX: usize = 80;

/// A frame: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Number of the transaction; 0 for hints, which nobody asked for.
    pub(crate) transaction: u32,
    /// `rsp`, `serverclose` ...
    pub(crate) command: &'a str,
    /// The answer.
    pub(crate) data: &'a [u8],
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Something else than a number, or one that is too long.
    Number,
    /// Something else than letters, or too many.
    Command,
    /// More data than an answer can have.
    TooLong,
    /// Data does not end where it should.
    End,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Number => {
                "the receiver does not speak RELP: a number is missing in its answer"
            }
            Malformed::Command => {
                "the receiver does not speak RELP: a command is missing in its answer"
            }
            Malformed::TooLong => "the receiver's answer is longer than any answer can be",
            Malformed::End => "the receiver's answer does not end where it says",
        })
    }
}

/// The first frame of `bytes`, and how many bytes it takes; None while its end is missing.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.frame() {
        Ok(frame) => Ok(Some((frame, reader.at))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(why)) => Err(why),
    }
}

enum Stop {
    Incomplete,
    Malformed(Malformed),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn frame(&mut self) -> Result<Frame<'a>, Stop> {
        let transaction = self.number()?;
        self.byte(b' ', Malformed::Number)?;
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
        let command = self.word(is_letter, COMMAND_BYTES_MAX, Malformed::Command)?;
        self.byte(b' ', Malformed::Command)?;
        let len = self.number()? as usize;
        if len > DATA_BYTES_MAX {
            return Err(Stop::Malformed(Malformed::TooLong));
        }
        // Without data, the space before it may be missing.
        if len > 0 || self.bytes.get(self.at) == Some(&b' ') {
            self.byte(b' ', Malformed::End)?;
        }
        let end = self.at + len;
        let data = self.bytes.get(self.at..end).ok_or(Stop::Incomplete)?;
        self.at = end;
        self.byte(b'\n', Malformed::End)?;
        Ok(Frame {
            transaction,
            // Letters of ASCII.
            command: str::from_utf8(command).unwrap_or_default(),
            data,
        })
    }

    fn number(&mut self) -> Result<u32, Stop> {
        let digits = self.word(u8::is_ascii_digit, NUMBER_BYTES_MAX, Malformed::Number)?;
        Ok(digits
            .iter()
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    /// One byte of these at least; what ends it must be there.
    fn word(
        &mut self,
        of: impl Fn(&u8) -> bool,
        bytes_max: usize,
        otherwise: Malformed,
    ) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .take(bytes_max + 1)
            .take_while(|byte| of(byte))
            .count();
        if len > bytes_max || (len == 0 && !rest.is_empty()) {
            return Err(Stop::Malformed(otherwise));
        }
        if len == rest.len() {
            return Err(Stop::Incomplete);
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn byte(&mut self, expected: u8, otherwise: Malformed) -> Result<(), Stop> {
        match self.bytes.get(self.at) {
            None => Err(Stop::Incomplete),
            Some(byte) if *byte == expected => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(Stop::Malformed(otherwise)),
        }
    }
}

/// The data of a `rsp`: `CODE [SP TEXT] [LF MORE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// 200 is well, anything else is not.
    pub(crate) code: u16,
    /// For people: `500 not now`, without control characters and not longer than a line.
    pub(crate) text: String,
    /// What else was answered: to `open` the offers.
    pub(crate) more: &'a [u8],
}

/// Reads the data of a `rsp`; None: it is none.
pub(crate) fn answer(data: &[u8]) -> Option<Answer<'_>> {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (line, more) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &data[..0]),
    };
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ')) {
        return None;
    }
    let code = code
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let text = String::from_utf8_lossy(line);
    let safe = |character: char| match character.is_control() {
        true => '?',
        false => character,
    };
    Some(Answer {
        code,
        text: text.chars().take(TEXT_CHARS_MAX).map(safe).collect(),
        more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> (u32, String, String, usize) {
        let (frame, len) = parse(bytes).unwrap().unwrap();
        let data = String::from_utf8(frame.data.to_vec()).unwrap();
        (frame.transaction, frame.command.to_owned(), data, len)
    }

    /// Frames are read as they are specified, one behind the other.
    #[test]
    fn frames_are_read() {
        let open = b"1 rsp 21 200 OK\nrelp_version=0\n2 rsp 6 200 OK\n";
        assert_eq!(
            one(open),
            (1, "rsp".into(), "200 OK\nrelp_version=0".into(), 31)
        );
        assert_eq!(one(&open[31..]), (2, "rsp".into(), "200 OK".into(), 15));
        assert_eq!(
            one(b"0 serverclose 0\n"),
            (0, "serverclose".into(), "".into(), 16)
        );
        assert_eq!(one(b"999999999 rsp 0 \n").0, 999_999_999);
    }

    /// Wherever a frame is cut off, the rest of it is waited for.
    #[test]
    fn the_beginning_of_a_frame_is_waited_for() {
        let frame = b"12 rsp 6 200 OK\n";
        for end in 0..frame.len() {
            assert_eq!(parse(&frame[..end]), Ok(None), "{end}");
        }
    }

    /// What is no frame is refused as soon as that is certain, without waiting for its end.
    #[test]
    fn what_is_no_frame_is_refused() {
        let cases: [(&[u8], Malformed); 9] = [
            (b"HTTP/1.1 400 Bad Request", Malformed::Number),
            (b"1234567890", Malformed::Number),
            (b"1\n", Malformed::Number),
            (b"1 r1", Malformed::Command),
            (b"1  6", Malformed::Command),
            (b"1 abcdefghijklmnopqrstuvwxyzabcdefg", Malformed::Command),
            (b"1 rsp x", Malformed::Number),
            (b"1 rsp 16385 ", Malformed::TooLong),
            (b"1 rsp 6 200 OK!", Malformed::End),
        ];
        for (bytes, why) in cases {
            assert_eq!(parse(bytes), Err(why), "{}", bytes.escape_ascii());
        }
    }

    /// An answer is a code and a text that can be shown.
    #[test]
    fn answers_are_read() {
        let read =
            |data: &'static str| answer(data.as_bytes()).map(|answer| (answer.code, answer.text));
        assert_eq!(read("200 OK\na=b"), Some((200, "200 OK".into())));
        assert_eq!(read("200"), Some((200, "200".into())));
        assert_eq!(
            read("500 \u{1b}[31mno\0"),
            Some((500, "500 ?[31mno?".into()))
        );
        assert_eq!(read("20"), None);
        assert_eq!(read("2000"), None);
        assert_eq!(read("abc d"), None);
        assert_eq!(answer(b"200 OK\na=b").unwrap().more, b"a=b");
        let long = format!("500 {}", "x".repeat(500));
        assert_eq!(answer(long.as_bytes()).unwrap().text.len(), 80);
    }
}
