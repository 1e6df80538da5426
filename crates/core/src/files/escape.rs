//! Makes a text safe to stand in a line of a log: what could forge a record, repaint a terminal or hide what a line
//! says is written out as digits.
//!
//! Escaped are the control characters of ASCII (ESC, CR and LF among them, the tab not: it is common and moves nothing
//! but the cursor to the right), DEL, the C1 controls including NEL, the line and paragraph separators U+2028 and
//! U+2029, and the characters that reorder text from right to left (U+202A to U+202E, U+2066 to U+2069), which make a
//! line read differently from what it is. They become `\xNN` up to U+00FF and `\uNNNN` above.
//!
//! A backslash stays as it is. So the four characters `\x0a`, logged as such, look like an escaped line feed; what
//! cannot happen is the reverse, that a control character gets through. Doubling backslashes would undo that doubt at
//! the price of altering every Windows path and regular expression in every log, and who must restore the exact bytes
//! logs JSON. The output is never shorter, and escaping it once more changes nothing (without continuation lines).

use std::borrow::Cow;
use std::fmt::Write as _;

/// What follows each line feed that is kept, so that no continuation can pass for a record of its own.
const CONTINUATION_INDENT: &str = "    ";

/// Escapes a text. With `continuation`, for a traceback say, line feeds are kept and each is followed by four spaces.
/// A text with nothing to escape is returned as it is, without a copy.
pub fn escape(text: &str, continuation: bool) -> Cow<'_, str> {
    let Some(start) = first_unsafe(text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len() + 32);
    out.push_str(&text[..start]);
    for letter in text[start..].chars() {
        match letter {
            '\n' if continuation => {
                out.push('\n');
                out.push_str(CONTINUATION_INDENT);
            }
            letter if is_unsafe(letter) => push_escaped(&mut out, letter),
            letter => out.push(letter),
        }
    }
    Cow::Owned(out)
}

fn push_escaped(out: &mut String, letter: char) {
    let code = u32::from(letter);
    let written = if code <= 0xff {
        write!(out, "\\x{code:02x}")
    } else {
        write!(out, "\\u{code:04x}")
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

fn is_unsafe(letter: char) -> bool {
    match letter {
        '\t' => false,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// Where the first character to escape begins.
fn first_unsafe(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let mut start = 0;
    for block in bytes.chunks(BLOCK) {
        // One decision per block, none per byte: the compiler turns this into vector instructions.
        if block
            .iter()
            .fold(false, |found, byte| found | may_begin_unsafe(*byte))
        {
            let within = (start..start + block.len()).find(|&index| begins_unsafe(&bytes[index..]));
            if within.is_some() {
                return within;
            }
        }
        start += block.len();
    }
    None
}

/// Whether a character to escape can begin with this byte in UTF-8.
fn may_begin_unsafe(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') | (byte == 0x7f) | (byte == 0xc2) | (byte == 0xe2)
}

fn begins_unsafe(bytes: &[u8]) -> bool {
    match bytes {
        [0xc2, next, ..] => *next < 0xa0,
        [0xe2, 0x80, last, ..] => (0xa8..=0xae).contains(last),
        [0xe2, 0x81, last, ..] => (0xa6..=0xa9).contains(last),
        [0xc2 | 0xe2, ..] => false,
        [first, ..] => may_begin_unsafe(*first),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmless_text_is_returned_without_a_copy() {
        let long = "naïve – “quoted” ✓ \t tab, backslash \\x0a, ".repeat(20);
        for text in ["", "plain", &long, "\u{a0}\u{2027}\u{202f}\u{2065}\u{206a}"] {
            assert!(
                matches!(escape(text, false), Cow::Borrowed(same) if same == text),
                "{text}"
            );
            assert!(matches!(escape(text, true), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_forged_record_stays_on_one_line() {
        assert_eq!(
            escape("bob\r\n2024 INFO root logged in", false),
            r"bob\x0d\x0a2024 INFO root logged in"
        );
        assert_eq!(escape("\u{1b}[2J\u{7f}\0", false), r"\x1b[2J\x7f\x00");
        assert_eq!(
            escape("a\u{85}b\u{2028}c\u{2029}d\u{9b}1m", false),
            r"a\x85b\u2028c\u2029d\x9b1m"
        );
        assert_eq!(
            escape("\u{202e}txt.exe\u{2069}", false),
            r"\u202etxt.exe\u2069"
        );
    }

    #[test]
    fn continuation_lines_are_indented_and_other_breaks_still_escaped() {
        assert_eq!(
            escape("Traceback\n  File\r\nEnd", true),
            "Traceback\n      File\\x0d\n    End"
        );
        assert_eq!(escape("end\n", true), "end\n    ");
    }

    #[test]
    fn every_escaped_character_is_found_at_every_place_of_a_block() {
        let letters = (0..=0x2fff)
            .filter_map(char::from_u32)
            .filter(|letter| is_unsafe(*letter));
        for letter in letters {
            for before in [0, 1, 29, 30, 31, 32, 33, 63, 64] {
                let text = format!("{}{letter}é", "x".repeat(before));
                let escaped = escape(&text, false);
                assert!(!escaped.chars().any(is_unsafe), "{text:?}");
                assert!(escaped.starts_with(&"x".repeat(before)) && escaped.ends_with('é'));
            }
        }
    }

    proptest! {
        /// No unsafe character survives, safe ones stay in order, and escaping again changes nothing.
        #[test]
        fn the_result_is_safe_and_stable(text in any::<String>(), noise in "[\\x00-\\x20\u{7f}-\u{a0}\u{2027}-\u{206a}a]{0,80}") {
            let text = format!("{text}{noise}");
            let escaped = escape(&text, false);
            prop_assert!(!escaped.chars().any(is_unsafe));
            prop_assert_eq!(escape(&escaped, false), escaped.clone());
            let plain: String = text.chars().flat_map(|letter| {
                if is_unsafe(letter) { escape(letter.to_string().as_str(), false).chars().collect::<Vec<_>>() } else { vec![letter] }
            }).collect();
            prop_assert_eq!(escaped, plain);
        }

        /// With continuation lines the only control character left is a line feed followed by four spaces.
        #[test]
        fn continuation_keeps_line_feeds_only(text in "[\\x00-\\x20a\u{85}]{0,80}") {
            let escaped = escape(&text, true);
            prop_assert_eq!(escaped.matches('\n').count(), text.matches('\n').count());
            prop_assert_eq!(escaped.matches("\n    ").count(), text.matches('\n').count());
            prop_assert!(!escaped.chars().any(|letter| letter != '\n' && is_unsafe(letter)));
        }
    }
}
