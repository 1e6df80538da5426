//! What must not leave the process, by name and in text.
//!
//! [`Names`] is the half without patterns: it knows whether a field's name is one of those given, and finds such names
//! with their values in running text. Patterns are for whoever implements [`Redact`]; this crate has no regular expressions.

use std::borrow::Cow;

use super::scan::find;

/// What stands in place of a value that was redacted.
pub const REDACTED: &str = "[redacted]";

/// What an encoder asks before it writes.
pub trait Redact: Send + Sync {
    /// Whether nothing of the value of this field may be written.
    fn name(&self, field: &str) -> bool;
    /// The text without what must not be written; borrowed if that is all of it.
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str>;
}

/// Names whose values are secret.
///
/// A name matches a field that has it as one or several whole words, without regard to case and to what lies between the
/// words: `token` matches `token`, `X-Access-Token` and `refreshToken`, not `tokenizer`; `api_key` matches `x-api-key`,
/// `apiKey` and `APIKEY`.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Letters and digits only, in lower case, and which of them there are.
    joined: Vec<(Box<[u8]>, LetterSet)>,
}

/// A bit for each letter, whatever its case, and for each digit; all other bytes share one.
type LetterSet = u64;

const LETTER_BITS: [LetterSet; 256] = {
    let mut bits = [1 << 36; 256];
    let mut byte = 0;
    while byte < 256 {
        match byte as u8 {
            letter @ (b'a'..=b'z' | b'A'..=b'Z') => {
                bits[byte] = 1 << (letter.to_ascii_lowercase() - b'a')
            }
            digit @ b'0'..=b'9' => bits[byte] = 1 << (26 + digit - b'0'),
            _ => {}
        }
        byte += 1;
    }
    bits
};

fn letter_set(text: &[u8]) -> LetterSet {
    text.iter()
        .fold(0, |set, byte| set | LETTER_BITS[usize::from(*byte)])
}

/// The longest name that is looked for before a value in a text.
const NAME_BYTES_MAX: usize = 128;

/// What a name or a value can stand in.
const QUOTES: [u8; 3] = [b'"', b'\'', b'`'];

impl Names {
    /// The given names; those without a letter or digit mean nothing and are left out.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Names {
        let letters = |name: &str| -> Box<[u8]> {
            let words = name.bytes().filter(|byte| is_word(*byte));
            words.map(|byte| byte.to_ascii_lowercase()).collect()
        };
        let mut joined: Vec<_> = names.into_iter().map(letters).collect();
        joined.retain(|name| !name.is_empty());
        let joined = joined.into_iter().map(|name| {
            let set = letter_set(&name);
            (name, set)
        });
        Names {
            joined: joined.collect(),
        }
    }

    /// Whether no name was given.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// Whether one of the names is in this field's name.
    pub fn matches(&self, field: &str) -> bool {
        self.matches_bytes(field.as_bytes())
    }

    fn matches_bytes(&self, field: &[u8]) -> bool {
        // Only the end of an absurdly long name is looked at.
        let field = &field[field.len().saturating_sub(NAME_BYTES_MAX)..];
        // Most fields lack a letter of each name, which is seen much sooner than that they lack the word.
        let lacked = !letter_set(field);
        if self.joined.iter().all(|(_, set)| set & lacked != 0) {
            return false;
        }
        let mut letters = [0u8; NAME_BYTES_MAX];
        let mut starts = 0u128;
        let mut count = 0;
        let mut before = b'_';
        for (index, byte) in field.iter().enumerate() {
            if is_word(*byte) {
                let after = field.get(index + 1).copied().unwrap_or(b'_');
                if begins_word(before, *byte, after) {
                    starts |= 1 << count;
                }
                letters[count] = byte.to_ascii_lowercase();
                count += 1;
            }
            before = *byte;
        }
        self.joined
            .iter()
            .any(|(name, _)| has_words(&letters[..count], starts, name))
    }

    /// `text` without the values that follow one of the names: `password=x`, `"token": "x"`, `Cookie: a=b; c=d`,
    /// `('authorization', 'Bearer x')`. It is a search in prose, so it takes what looks like a value: better too much.
    pub fn hide_in<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let bytes = text.as_bytes();
        let mut out = String::new();
        let (mut copied, mut from) = (0, 0);
        while let Some(at) = next_separator(bytes, from) {
            from = at + 1;
            let Some(value) = self.value_at(bytes, copied, at) else {
                continue;
            };
            out.push_str(&text[copied..value.start]);
            out.push_str(REDACTED);
            copied = value.end;
            from = value.end.max(from);
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    }

    /// The value that follows the separator at `at`, if a secret name stands before it and behind `floor`.
    fn value_at(&self, bytes: &[u8], floor: usize, at: usize) -> Option<std::ops::Range<usize>> {
        let name = name_before(bytes, floor, at)?;
        if bytes[at] == b',' && !is_pair(bytes, floor, name.start) {
            return None;
        }
        let word = &bytes[name.clone()];
        if !self.matches_bytes(word) {
            return None;
        }
        let start = value_start(bytes, at);
        let end = value_end(bytes, start, is_header(word) && bytes[at] == b':');
        (end > start).then_some(start..end)
    }
}

/// Whether a letter begins a word: behind what is none, and in `refreshToken`, `APIToken` and `token2`.
fn begins_word(before: u8, byte: u8, after: u8) -> bool {
    !is_word(before)
        || before.is_ascii_digit() != byte.is_ascii_digit()
        || (byte.is_ascii_uppercase()
            && (!before.is_ascii_uppercase() || after.is_ascii_lowercase()))
}

/// Whether `name` is made of whole words of `letters`.
fn has_words(letters: &[u8], starts: u128, name: &[u8]) -> bool {
    if name.len() > letters.len() {
        return false;
    }
    (0..=letters.len() - name.len()).any(|start| {
        let end = start + name.len();
        starts >> start & 1 == 1
            && (end == letters.len() || starts >> end & 1 == 1)
            && letters[start..end] == *name
    })
}

/// The next byte that can stand between a name and its value.
fn next_separator(bytes: &[u8], from: usize) -> Option<usize> {
    find(bytes, from, |byte| {
        (byte == b'=') | (byte == b':') | (byte == b',')
    })
}

/// The word before the separator, perhaps in quotes, perhaps with spaces behind it.
fn name_before(bytes: &[u8], floor: usize, at: usize) -> Option<std::ops::Range<usize>> {
    let mut end = at;
    while end > floor && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    let quoted_end = end;
    while end > floor && (QUOTES.contains(&bytes[end - 1]) || bytes[end - 1] == b'\\') {
        end -= 1;
    }
    if bytes[at] == b',' && quoted_end == end {
        return None;
    }
    let mut start = end;
    while start > floor && end - start < NAME_BYTES_MAX && is_name(bytes[start - 1]) {
        start -= 1;
    }
    (start < end).then_some(start..end)
}

/// Whether the quoted word that begins at `start` is the first of a pair: `('name', ...`, as Python shows headers.
fn is_pair(bytes: &[u8], floor: usize, start: usize) -> bool {
    let mut at = start;
    while at > floor && (QUOTES.contains(&bytes[at - 1]) || matches!(bytes[at - 1], b'\\' | b'b')) {
        at -= 1;
    }
    at > floor && at < start && bytes[at - 1] == b'('
}

/// Where the value begins, behind the rest of the separator (`=>`, `==`, `:=`) and spaces.
fn value_start(bytes: &[u8], at: usize) -> usize {
    let mut start = at + 1;
    while start < bytes.len() && matches!(bytes[start], b'=' | b'>' | b':') {
        start += 1;
    }
    while start < bytes.len() && matches!(bytes[start], b' ' | b'\t') {
        start += 1;
    }
    start
}

fn value_end(bytes: &[u8], start: usize, header: bool) -> usize {
    let rest = &bytes[start..];
    let prefix = rest
        .iter()
        .take_while(|byte| matches!(byte, b'b' | b'r' | b'u' | b'f' | b'\\'))
        .count();
    let length = match rest.get(prefix) {
        Some(quote) if QUOTES.contains(quote) => quoted_length(rest, prefix),
        Some(b'[' | b'{' | b'(') if prefix == 0 => bracketed_length(rest),
        _ if header => line_length(rest),
        _ => bare_length(rest),
    };
    start + length
}

/// Up to the quote that ends the value; without one, all there is.
fn quoted_length(rest: &[u8], prefix: usize) -> usize {
    // In JSON within JSON both quotes have a backslash before them.
    let nested = rest[..prefix].ends_with(b"\\");
    let quote = rest[prefix];
    let mut at = prefix + 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' if nested && rest.get(at + 1) == Some(&quote) => return at + 2,
            b'\\' => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// Up to the bracket that closes the first; without one, all there is.
fn bracketed_length(rest: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in rest.iter().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match (quote, byte) {
            (_, b'\\') => escaped = true,
            (Some(open), byte) if open == *byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'[' | b'{' | b'(') => depth += 1,
            (None, b']' | b'}' | b')') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    rest.len()
}

/// Up to the end of the line, or of the quotes around all of it.
fn line_length(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| matches!(byte, b'\n' | b'\r' | b'"' | b'\''))
        .unwrap_or(rest.len())
}

/// Up to a space, the next pair or a quote; the word after `Bearer` and its kin belongs to it.
fn bare_length(rest: &[u8]) -> usize {
    let first = word_length(rest);
    let is_scheme = [&b"bearer"[..], b"basic", b"digest", b"token", b"negotiate"]
        .iter()
        .any(|scheme| rest[..first].eq_ignore_ascii_case(scheme));
    if is_scheme && rest.get(first) == Some(&b' ') {
        return first + 1 + word_length(&rest[first + 1..]);
    }
    first
}

fn word_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b' ' | b'\t' | b'\n' | b'\r' | b'&' | b'"' | b'\'' => break,
            b',' | b';' if rest.get(at + 1).is_none_or(u8::is_ascii_whitespace) => break,
            _ => at += 1,
        }
    }
    at
}

/// Headers whose values have spaces in them.
fn is_header(name: &[u8]) -> bool {
    let ends = |word: &[u8]| {
        name.len() >= word.len() && name[name.len() - word.len()..].eq_ignore_ascii_case(word)
    };
    ends(b"cookie") || ends(b"authorization")
}

/// Letters, digits and all beyond ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn is_name(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Names {
        Names::new([
            "password",
            "token",
            "api_key",
            "Cookie",
            "authorization",
            "-",
        ])
    }

    #[test]
    fn names_match_whole_words() {
        let names = names();
        for field in [
            "password",
            "PASSWORD",
            "db_password",
            "userPassword",
            "password2FA",
            "X-Access-Token",
            "refreshToken",
            "http.request.header.authorization",
            "api_key",
            "x-api-key",
            "apiKey",
            "APIKEY",
            "Set-Cookie",
        ] {
            assert!(names.matches(field), "{field}");
        }
        for field in [
            "",
            "-",
            "tokenizer",
            "passwords",
            "key",
            "api",
            "cookies_allowed",
        ] {
            assert!(!names.matches(field), "{field}");
        }
        let long = format!("{}_password", "x".repeat(1000));
        assert!(names.matches(&long));
    }

    #[test]
    fn values_in_text_are_found() {
        let names = names();
        for (text, shown) in [
            ("password=x1 user=bob", "password=[redacted] user=bob"),
            ("?token=abc&page=2", "?token=[redacted]&page=2"),
            (
                "{\"token\": \"a\\\"b\", \"n\": 1}",
                "{\"token\": [redacted], \"n\": 1}",
            ),
            ("{'token': 'a', 'n': 1}", "{'token': [redacted], 'n': 1}"),
            (
                r#"sent "{\"token\": \"abc\", \"n\": 1}""#,
                r#"sent "{\"token\": [redacted], \"n\": 1}""#,
            ),
            ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
            ("Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"),
            (
                "[(b'cookie', b'a=b'), (b'host', b'x')]",
                "[(b'cookie', [redacted]), (b'host', b'x')]",
            ),
            (
                "authorization=Bearer abc, ok",
                "authorization=[redacted], ok",
            ),
            (
                "login(user, password = 'x', n=1)",
                "login(user, password = [redacted], n=1)",
            ),
            ("token=[1, 2] n=3", "token=[redacted] n=3"),
            ("passwords=1 tokenizer: x", "passwords=1 tokenizer: x"),
            ("('user', 'token') a, b", "('user', 'token') a, b"),
            ("password=", "password="),
            ("password: \nnext", "password: \nnext"),
            ("no secrets here: 1=1, 2", "no secrets here: 1=1, 2"),
            ("token='unfinished", "token=[redacted]"),
        ] {
            assert_eq!(names.hide_in(text), shown);
        }
    }

    proptest! {
        /// Any text is looked through without a panic, and what is left has no value after the name.
        #[test]
        fn the_value_after_a_name_is_gone(
            before in "[a-z =:,\"'\\\\(\\[é\n]{0,20}",
            quote in "['\"]?",
            secret in "[A-Z0-9]{4,12}",
            after in "[a-z =:,\"'\\\\)\\]é\n]{0,20}",
        ) {
            let names = names();
            let text = format!("{before} password={quote}{secret}{quote} {after}");
            let shown = names.hide_in(&text);
            prop_assert!(!shown.contains(&secret), "{text:?} became {shown:?}");
            prop_assert!(shown.contains(REDACTED));
        }

        /// Any text at all.
        #[test]
        fn any_text_is_looked_through(text in any::<String>(), noise in "[tokenapi_y=:,\"'\\\\(){}\\[\\] é]{0,60}") {
            let text = format!("{text}token{noise}{text}");
            let _ = names().hide_in(&text);
            let _ = names().matches(&text);
        }
    }
}
