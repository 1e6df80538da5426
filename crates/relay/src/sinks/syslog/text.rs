//! Texts in syslog messages: escaping, cutting, and names of printable ASCII.
//!
//! What always holds: texts are cut between characters only, lengths are those of the escaped bytes, and no NUL is written.

/// What a receiver would take for something else, and so must not stand in a text as it is. NUL never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Escapes {
    /// The text is the value of an SD-PARAM: `"`, `\` and `]` get a backslash (RFC 5424, section 6.3.3).
    pub(super) in_quotes: bool,
    /// A line feed ends the message: one inside is written as `\n`.
    pub(super) line_feeds: bool,
}

impl Escapes {
    /// Appends `text`, escaped.
    pub(super) fn push(self, text: &str, out: &mut Vec<u8>) {
        match (self.in_quotes, self.line_feeds) {
            (false, false) => push::<false, false>(text.as_bytes(), out),
            (false, true) => push::<false, true>(text.as_bytes(), out),
            (true, false) => push::<true, false>(text.as_bytes(), out),
            (true, true) => push::<true, true>(text.as_bytes(), out),
        }
    }

    /// Bytes of `text`, escaped.
    pub(super) fn len(self, text: &str) -> usize {
        text.bytes().map(|byte| self.width(byte)).sum()
    }

    /// Bytes at the beginning of `text` that take at most `room` when escaped; whole characters only.
    pub(super) fn fit(self, text: &str, room: usize) -> usize {
        let (mut used, mut end) = (0, 0);
        for byte in text.bytes() {
            used += self.width(byte);
            if used > room {
                break;
            }
            end += 1;
        }
        floor_char_boundary(text, end)
    }

    fn width(self, byte: u8) -> usize {
        self.replacement(byte).map_or(1, <[u8]>::len)
    }

    #[inline]
    fn replacement(self, byte: u8) -> Option<&'static [u8]> {
        match byte {
            0 if self.in_quotes => Some(br"\\x00"),
            0 => Some(br"\x00"),
            b'\n' if self.line_feeds && self.in_quotes => Some(br"\\n"),
            b'\n' if self.line_feeds => Some(br"\n"),
            b'"' if self.in_quotes => Some(br#"\""#),
            b'\\' if self.in_quotes => Some(br"\\"),
            b']' if self.in_quotes => Some(br"\]"),
            _ => None,
        }
    }
}

fn push<const IN_QUOTES: bool, const LINE_FEEDS: bool>(mut text: &[u8], out: &mut Vec<u8>) {
    let escapes = Escapes {
        in_quotes: IN_QUOTES,
        line_feeds: LINE_FEEDS,
    };
    loop {
        let plain = plain_len::<IN_QUOTES, LINE_FEEDS>(text);
        out.extend_from_slice(&text[..plain]);
        let Some(byte) = text.get(plain) else {
            return;
        };
        out.extend_from_slice(escapes.replacement(*byte).unwrap_or_default());
        text = &text[plain + 1..];
    }
}

/// Bytes before the first that needs escaping. Looks at eight at once, which the compiler turns into vector instructions.
#[inline]
fn plain_len<const IN_QUOTES: bool, const LINE_FEEDS: bool>(text: &[u8]) -> usize {
    let is_special = |byte: u8| {
        (byte == 0)
            | (LINE_FEEDS & (byte == b'\n'))
            | (IN_QUOTES & ((byte == b'"') | (byte == b'\\') | (byte == b']')))
    };
    let (blocks, _) = text.as_chunks::<16>();
    let clean = blocks
        .iter()
        .take_while(|block| {
            !block
                .iter()
                .fold(false, |any, byte| any | is_special(*byte))
        })
        .count();
    let at = clean * 16;
    let rest = text[at..].iter().position(|byte| is_special(*byte));
    rest.map_or(text.len(), |found| at + found)
}

/// `at`, or the next smaller index that is between two characters of `text`.
pub(super) fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Appends `text` as a header field: printable ASCII without space, at most `bytes_max`; anything else as `_`, nothing as `-`
/// (RFC 5424, section 6, PRINTUSASCII and NILVALUE). True if the text stands there as it is.
pub(super) fn push_printable(text: &str, bytes_max: usize, out: &mut Vec<u8>) -> bool {
    push_name(text, bytes_max, |byte| byte.is_ascii_graphic(), out)
}

/// Appends `text` as an SD-NAME: at most 32 printable characters without `=`, `]` and `"` (RFC 5424, section 6.3.3).
pub(super) fn push_sd_name(text: &str, out: &mut Vec<u8>) -> bool {
    push_name(text, SD_NAME_BYTES_MAX, is_sd_name_byte, out)
}

/// Longest SD-NAME.
pub(super) const SD_NAME_BYTES_MAX: usize = 32;

/// True for what may stand in an SD-NAME.
pub(super) fn is_sd_name_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"')
}

/// Appends `text` with each character that is not `allowed` as `_`, at most `bytes_max`; nothing as `-`.
pub(super) fn push_name(
    text: &str,
    bytes_max: usize,
    allowed: impl Fn(u8) -> bool,
    out: &mut Vec<u8>,
) -> bool {
    let bytes = text.as_bytes();
    if !bytes.is_empty() && bytes.len() <= bytes_max && bytes.iter().all(|byte| allowed(*byte)) {
        out.extend_from_slice(bytes);
        return true;
    }
    let safe = |character: char| match u8::try_from(character) {
        Ok(byte) if allowed(byte) => byte,
        _ => b'_',
    };
    out.extend(text.chars().take(bytes_max).map(safe));
    if text.is_empty() {
        out.push(b'-');
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Escapes = Escapes {
        in_quotes: false,
        line_feeds: false,
    };
    const LINE: Escapes = Escapes {
        in_quotes: false,
        line_feeds: true,
    };
    const VALUE: Escapes = Escapes {
        in_quotes: true,
        line_feeds: false,
    };
    const VALUE_IN_LINE: Escapes = Escapes {
        in_quotes: true,
        line_feeds: true,
    };

    fn escaped(escapes: Escapes, text: &str) -> String {
        let mut out = Vec::new();
        escapes.push(text, &mut out);
        assert_eq!(out.len(), escapes.len(text), "{text:?}");
        String::from_utf8(out).unwrap()
    }

    /// Each place escapes what would end it, and nothing else.
    #[test]
    fn what_would_be_taken_for_something_else_is_escaped() {
        let text = "a\"b\\c]d\ne\0f\t\u{1b}ü";
        assert_eq!(escaped(MESSAGE, text), "a\"b\\c]d\ne\\x00f\t\u{1b}ü");
        assert_eq!(escaped(LINE, text), "a\"b\\c]d\\ne\\x00f\t\u{1b}ü");
        assert_eq!(escaped(VALUE, text), "a\\\"b\\\\c\\]d\ne\\\\x00f\t\u{1b}ü");
        assert_eq!(
            escaped(VALUE_IN_LINE, text),
            "a\\\"b\\\\c\\]d\\\\ne\\\\x00f\t\u{1b}ü"
        );
    }

    /// Wherever the one special byte stands in a long text, it is found.
    #[test]
    fn a_special_byte_is_found_at_every_place() {
        for len in 0..70 {
            for at in 0..len {
                let text = format!("{}]{}", "x".repeat(at), "y".repeat(len - at - 1));
                assert_eq!(escaped(VALUE, &text), text.replace(']', "\\]"));
            }
        }
    }

    /// What fits is the longest beginning whose escaped form is not longer than the room, and no character is cut.
    #[test]
    fn what_fits_is_cut_between_characters() {
        let text = "a\"ü€🦀\0b";
        for escapes in [MESSAGE, LINE, VALUE, VALUE_IN_LINE] {
            for room in 0..30 {
                let end = escapes.fit(text, room);
                assert!(escapes.len(&text[..end]) <= room);
                let next = text[end..].chars().next();
                let longer = end + next.map_or(0, char::len_utf8);
                assert!(longer == end || escapes.len(&text[..longer]) > room);
            }
        }
    }

    /// Names are printable ASCII, within their bound, never empty; and it is said whether they are what was given.
    #[test]
    fn names_are_printable_and_bounded() {
        let name = |text: &str, max| {
            let mut out = Vec::new();
            let same = push_printable(text, max, &mut out);
            (String::from_utf8(out).unwrap(), same)
        };
        assert_eq!(name("shop.payments", 48), ("shop.payments".into(), true));
        assert_eq!(name("a b\tü\u{7f}", 48), ("a_b___".into(), false));
        assert_eq!(name("", 48), ("-".into(), false));
        assert_eq!(name("abcdef", 3), ("abc".into(), false));
        assert_eq!(name("🦀🦀🦀🦀", 3), ("___".into(), false));
    }

    /// An SD-NAME has none of the characters that end it.
    #[test]
    fn an_sd_name_is_one() {
        let mut out = Vec::new();
        assert!(!push_sd_name("a=b]c\"d e", &mut out));
        assert_eq!(out, b"a_b_c_d_e");
    }
}
