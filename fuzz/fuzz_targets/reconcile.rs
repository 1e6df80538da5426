//! Whatever a dead writer's batch was and whatever is in the file: what the answer says is there is there, and whole
//! records that are there are never called absent.
//!
//! An input is three parts with a NUL between them: the batch; the length of each record but the last, one byte each
//! (none: a record is a line); and the end of the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logboom::fuzzing::{Answer, find_batch};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (batch, lens, tail) = (part(), part(), part());
    let ends = record_ends(batch, lens);
    let answer = find_batch(batch, &ends, tail);
    is_true(answer, batch, &ends, tail);
    says_all(answer, batch, &ends, tail);
});

/// Ascending, the last one being the end of the batch.
fn record_ends(batch: &[u8], lens: &[u8]) -> Vec<usize> {
    let lines = batch
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::len);
    let lens: Vec<usize> = if lens.is_empty() {
        lines.collect()
    } else {
        lens.iter().map(|len| usize::from(*len)).collect()
    };
    let mut end = 0;
    let mut ends: Vec<usize> = lens
        .iter()
        .map(|len| {
            end = (end + len).min(batch.len());
            end
        })
        .collect();
    if end < batch.len() {
        ends.push(batch.len());
    }
    ends
}

fn is_true(answer: Answer, batch: &[u8], ends: &[usize], tail: &[u8]) {
    match answer {
        Answer::Nothing => assert!(!batch.is_empty()),
        Answer::Whole { at } => assert!(tail[at..].starts_with(batch)),
        Answer::Prefix { at, len } => {
            assert!((1..batch.len()).contains(&len));
            assert_eq!(tail[at..], batch[..len]);
        }
        Answer::Interrupted { at, records, len } => {
            assert!(len < batch.len());
            assert_eq!(records, ends.iter().filter(|end| **end <= len).count());
            assert_eq!(ends[records - 1], len);
            assert!(tail[at..].starts_with(&batch[..len]));
            assert!(at + len < tail.len(), "nothing is behind it");
        }
    }
}

fn says_all(answer: Answer, batch: &[u8], ends: &[usize], tail: &[u8]) {
    let holds = |wanted: &[u8]| {
        tail.windows(wanted.len().max(1))
            .any(|there| there == wanted)
    };
    if batch.is_empty() || holds(batch) {
        assert!(matches!(answer, Answer::Whole { .. }), "all of it is there");
        return;
    }
    let first = ends.first().map_or(&batch[..0], |end| &batch[..*end]);
    if !first.is_empty() && holds(first) {
        assert_ne!(answer, Answer::Nothing, "its first record is there");
    }
    if (1..=batch.len()).any(|len| tail.ends_with(&batch[..len])) {
        assert_ne!(
            answer,
            Answer::Nothing,
            "the file ends in a beginning of it"
        );
    }
}
