//! Any text as a claim is read or refused, and what is read is what would be written.
//!
//! The same bytes as a path: a claim that names it leads there or nowhere, never to another place. Paths with line ends
//! or control characters, or that are not UTF-8, are outside of that: the claim is a text of lines.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use logboom::fuzzing::{claim_text, parse_claim};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some((state, domain_id)) = parse_claim(text) {
        leads_to(&state, domain_id);
    }
    leads_to(Path::new(text), u64::MAX / (1 + bytes.len() as u64));
});

fn leads_to(state: &Path, domain_id: u64) {
    let is_plain = state
        .to_str()
        .is_some_and(|text| !text.chars().any(char::is_control));
    if is_plain {
        let written = claim_text(state, domain_id);
        let expected = Some((state.to_owned(), domain_id));
        assert_eq!(parse_claim(&written), expected, "{written:?}");
    }
}
