//! Texts made safe, each in its place: bare in a line for people, or inside of quotes.
//!
//! The characters that are written as digits are those of `files::escape`: they can break a line, repaint a terminal or
//! make a line read otherwise than it is. Long stretches without any are found block by block and copied whole.

/// How many bytes are judged with one decision.
const BLOCK: usize = 32;
const SHORT_BLOCK: usize = 8;

/// Between the message and the fields of a line for people. In a message, a bar behind a space is written as digits.
pub(super) const DIVIDER: &str = " | ";

/// What follows the line feeds of a traceback for people.
const CONTINUATION: &[u8] = b"\n    ";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string, quotes included. It is valid inside of any JSON document, and safe to show.
pub(super) fn push_json(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    push(out, text, json_stop, |out, rest| {
        let length = escape_length(rest);
        match rest[0] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ if length == 0 => return 0,
            _ => push_code(out, b'u', code(rest), 4),
        }
        length.max(1)
    });
    out.push(b'"');
}

/// Appends `text` for people, on one line: `files::escape`, and what could begin a divider shown as digits.
pub(super) fn push_line(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len());
    push(out, text, line_stop, |out, rest| {
        if rest[0] != b'|' {
            return push_shown(out, rest);
        }
        let divides = out.last().is_none_or(|before| *before == b' ');
        if divides {
            push_code(out, b'x', u32::from(b'|'), 2);
        }
        usize::from(divides)
    });
}

/// Appends `text` for people, each line indented by four spaces, after a line feed.
pub(super) fn push_indented(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + text.len() / 8);
    out.extend_from_slice(CONTINUATION);
    push(out, text, text_stop, |out, rest| {
        if rest[0] == b'\n' {
            out.extend_from_slice(CONTINUATION);
            return 1;
        }
        push_shown(out, rest)
    });
}

/// Appends `text` as the value of a `name=value` pair: bare if nothing in it could be taken for anything else, else as a
/// JSON string. With `typed`, a text that would read as a number or another value without quotes gets them.
pub(super) fn push_value(out: &mut Vec<u8>, text: &str, typed: bool) {
    if is_bare(text.as_bytes()) && !(typed && looks_typed(text)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_json(out, text);
    }
}

/// Appends `text` as the name of a `name=value` pair: what a name cannot have is written as digits.
pub(super) fn push_name(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        out.push(b'_');
    }
    push(out, text, name_stop, |out, rest| match rest[0] {
        byte @ (b'\t' | b' ' | b'"' | b'=') => {
            push_code(out, b'x', u32::from(byte), 2);
            1
        }
        _ => push_shown(out, rest),
    });
}

/// Whether a value needs no quotes.
fn is_bare(bytes: &[u8]) -> bool {
    !bytes.is_empty() && find(bytes, 0, value_stop).is_none_or(|at| all_harmless(&bytes[at..]))
}

/// The same byte by byte: what begins like an unsafe character may be another.
fn all_harmless(bytes: &[u8]) -> bool {
    (0..bytes.len()).all(|at| match bytes[at] {
        byte if !value_stop(byte) => true,
        0xc2 | 0xe2 => escape_length(&bytes[at..]) == 0,
        _ => false,
    })
}

/// Whether a text without quotes would be read as a number, a truth value or nothing.
fn looks_typed(text: &str) -> bool {
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'+' | b'-' | b'.' => text.parse::<f64>().is_ok(),
        b't' | b'f' | b'n' | b'N' | b'I' | b'i' | b'T' | b'F' => {
            ["true", "false", "null", "nan", "inf", "infinity"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word))
        }
        _ => false,
    }
}

/// Copies `text`; where `stop` says that something may have to be escaped, `escape` appends what stands for it and says how
/// many bytes of the text that was, 0 for none.
#[inline(always)]
fn push(
    out: &mut Vec<u8>,
    text: &str,
    stop: impl Fn(u8) -> bool + Copy,
    escape: impl Fn(&mut Vec<u8>, &[u8]) -> usize,
) {
    let bytes = text.as_bytes();
    let (mut copied, mut from) = (0, 0);
    while let Some(at) = find(bytes, from, stop) {
        // Looked ahead first, so that harmless characters stay part of the stretch that is copied.
        out.extend_from_slice(&bytes[copied..at]);
        let taken = escape(out, &bytes[at..]);
        copied = at + taken;
        from = at + taken.max(1);
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// The next byte from `from` on that `stop` holds for.
#[inline(always)]
pub(super) fn find(
    bytes: &[u8],
    mut from: usize,
    stop: impl Fn(u8) -> bool + Copy,
) -> Option<usize> {
    while let Some(block) = bytes.get(from..from + BLOCK) {
        // One decision per block, none per byte: the compiler makes vector instructions of it.
        if block.iter().fold(false, |found, byte| found | stop(*byte)) {
            break;
        }
        from += BLOCK;
    }
    // What is left of short texts, eight bytes at a time.
    while let Some(block) = bytes.get(from..from + SHORT_BLOCK) {
        if block.iter().fold(false, |found, byte| found | stop(*byte)) {
            break;
        }
        from += SHORT_BLOCK;
    }
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|byte| stop(*byte))
        .map(|index| from + index)
}

#[inline(always)]
fn json_stop(byte: u8) -> bool {
    (byte < b' ')
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == 0x7f)
        | (byte == 0xc2)
        | (byte == 0xe2)
}

#[inline(always)]
fn text_stop(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f) | (byte == 0xc2) | (byte == 0xe2)
}

#[inline(always)]
fn line_stop(byte: u8) -> bool {
    text_stop(byte) | (byte == b'|')
}

#[inline(always)]
fn value_stop(byte: u8) -> bool {
    (byte == b' ') | (byte == b'=') | json_stop(byte)
}

#[inline(always)]
fn name_stop(byte: u8) -> bool {
    (byte <= b' ')
        | (byte == b'"')
        | (byte == b'=')
        | (byte == 0x7f)
        | (byte == 0xc2)
        | (byte == 0xe2)
}

/// Escapes what is unsafe in a line for people; 0 if it is not.
fn push_shown(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let length = escape_length(rest);
    if length > 0 {
        let code = code(rest);
        let (kind, digits) = if code <= 0xff { (b'x', 2) } else { (b'u', 4) };
        push_code(out, kind, code, digits);
    }
    length
}

/// How many bytes the unsafe character takes that `rest` begins with; 0 if it begins with another.
#[inline]
fn escape_length(rest: &[u8]) -> usize {
    match rest {
        [0..=0x1f | 0x7f, ..] => 1,
        [0xc2, 0x80..=0x9f, ..] => 2,
        [0xe2, 0x80, 0xa8..=0xae, ..] | [0xe2, 0x81, 0xa6..=0xa9, ..] => 3,
        _ => 0,
    }
}

/// The code point of the unsafe character that `rest` begins with.
fn code(rest: &[u8]) -> u32 {
    let low = |byte: u8| u32::from(byte & 0x3f);
    match rest {
        [0xc2, last, ..] => 0x80 | low(*last),
        [0xe2, middle, last, ..] => 0x2000 | low(*middle) << 6 | low(*last),
        [byte, ..] => u32::from(*byte),
        [] => 0,
    }
}

/// Appends a backslash, the kind, and the code in that many digits.
fn push_code(out: &mut Vec<u8>, kind: u8, code: u32, digits: u32) {
    out.extend_from_slice(&[b'\\', kind]);
    for place in (0..digits).rev() {
        out.push(HEX[(code >> (4 * place) & 0xf) as usize]);
    }
}

/// Appends `text` on one line and says how many spaces are missing to `width` characters.
pub(super) fn push_column(out: &mut Vec<u8>, text: &str, width: usize) -> usize {
    let before = out.len();
    push_line(out, text);
    let shown = std::str::from_utf8(&out[before..]).map_or(width, |text| text.chars().count());
    width.saturating_sub(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::escape::escape;
    use proptest::prelude::*;

    fn text_of(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_bare_or_quoted() {
        for (text, typed, shown) in [
            ("abc", true, "abc"),
            ("/shop/items?x", true, "/shop/items?x"),
            ("naïve–x", true, "naïve–x"),
            ("", true, "\"\""),
            ("a b", true, "\"a b\""),
            ("a=b", true, "\"a=b\""),
            ("a\"b", true, "\"a\\\"b\""),
            ("a\u{2028}b", true, "\"a\\u2028b\""),
            ("a|b", true, "a|b"),
            ("a | b", true, "\"a | b\""),
            ("12", true, "\"12\""),
            ("12", false, "12"),
            ("-1.5e3", true, "\"-1.5e3\""),
            ("127.0.0.1", true, "127.0.0.1"),
            ("true", true, "\"true\""),
            ("NaN", true, "\"NaN\""),
            ("nano", true, "nano"),
            ("c:\\x", true, "\"c:\\\\x\""),
        ] {
            assert_eq!(text_of(|out| push_value(out, text, typed)), shown);
        }
    }

    #[test]
    fn names_have_no_space_no_quote_and_no_equals_sign() {
        assert_eq!(
            text_of(|out| push_name(out, "a b=\"c\"\n")),
            "a\\x20b\\x3d\\x22c\\x22\\x0a"
        );
        assert_eq!(text_of(|out| push_name(out, "")), "_");
    }

    #[test]
    fn each_line_of_a_traceback_is_indented() {
        assert_eq!(
            text_of(|out| push_indented(out, "a\n  b\r\nc")),
            "\n    a\n      b\\x0d\n    c"
        );
    }

    const NOISE: &str = "[\\x00-\\x22a|\\\\\u{7f}-\u{a0}\u{2027}-\u{206a}]{0,90}";

    proptest! {
        /// JSON strings read back as the same text, and show nothing unsafe.
        #[test]
        fn json_strings_round_trip(text in any::<String>(), noise in NOISE) {
            let text = format!("{noise}{text}{noise}");
            let json = text_of(|out| push_json(out, &text));
            prop_assert_eq!(escape(&json, false), json.as_str());
            prop_assert!(!json.contains('\t'));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        /// A line for people is what `files::escape` makes of it, but for the divider.
        #[test]
        fn lines_are_escaped_as_everywhere(text in any::<String>(), noise in NOISE) {
            let text = format!("{text}{noise}");
            let line = text_of(|out| push_line(out, &text));
            prop_assert!(!line.contains(" |") && !line.starts_with('|'));
            prop_assert_eq!(line.replace("\\x7c", "|"), escape(&text, false).replace("\\x7c", "|"));
            let indented = text_of(|out| push_indented(out, &text));
            prop_assert_eq!(indented, format!("\n    {}", escape(&text, true)));
        }

        /// A value ends where it seems to end.
        #[test]
        fn values_read_back(text in any::<String>(), noise in NOISE) {
            let text = format!("{noise}{text}");
            let value = text_of(|out| push_value(out, &text, true));
            if value.starts_with('"') {
                prop_assert_eq!(serde_json::from_str::<String>(&value).unwrap(), text);
            } else {
                prop_assert_eq!(&value, &text);
                prop_assert!(!value.contains([' ', '=', '"', '\n']) && !value.is_empty());
                prop_assert!(value.parse::<f64>().is_err());
            }
        }
    }
}
