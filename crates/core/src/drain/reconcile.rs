//! How much of a batch is in a file whose writer died.
//!
//! The holder appends a batch with one `write(2)`; a fatal signal can stop it at a page boundary, and others may have
//! appended before and after. So the file from the intent's offset on is: foreign bytes, then a prefix of the batch
//! (perhaps none, perhaps all), then foreign bytes. Contents are compared, never lengths alone. Pure; every prefix and
//! every placing of foreign bytes is tested.

/// What the file holds of the batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing of it.
    Nothing,
    /// All of it, beginning at this offset of the tail.
    Whole { at: usize },
    /// Its first `len` bytes (at least one, not all), at the very end of the file.
    Prefix { at: usize, len: usize },
    /// Its first `records` records at `at`, and behind them something else.
    Interrupted {
        at: usize,
        records: usize,
        len: usize,
    },
}

impl Found {
    /// Where in the tail what was found begins.
    pub fn at(&self) -> usize {
        match self {
            Found::Nothing => 0,
            Found::Whole { at } | Found::Prefix { at, .. } | Found::Interrupted { at, .. } => *at,
        }
    }
}

/// Looks for `batch`, made of records with the given ends, in `tail`, the file from the intent's offset on.
pub(crate) fn find(batch: &[u8], record_ends: &[usize], tail: &[u8]) -> Found {
    if batch.is_empty() {
        return Found::Whole { at: 0 };
    }
    // Nobody interfered: by far the most frequent case, and the only one where a short prefix is certain.
    if batch.starts_with(tail) && !tail.is_empty() {
        return if tail.len() == batch.len() {
            Found::Whole { at: 0 }
        } else {
            Found::Prefix {
                at: 0,
                len: tail.len(),
            }
        };
    }
    if let Some(at) = position_of(tail, batch) {
        return Found::Whole { at };
    }
    if let Some(found) = interrupted(batch, record_ends, tail) {
        return found;
    }
    match longest_suffix_that_begins(batch, tail) {
        0 => Found::Nothing,
        len => Found::Prefix {
            at: tail.len() - len,
            len,
        },
    }
}

/// Whole records of the batch with something else behind them, or with the cut end of the file behind them.
fn interrupted(batch: &[u8], record_ends: &[usize], tail: &[u8]) -> Option<Found> {
    let first = &batch[..*record_ends.first()?];
    let at = position_of(tail, first)?;
    let same = tail[at..]
        .iter()
        .zip(batch)
        .take_while(|(left, right)| left == right)
        .count();
    if at + same == tail.len() {
        return Some(Found::Prefix { at, len: same });
    }
    let records = record_ends.partition_point(|end| *end <= same);
    Some(Found::Interrupted {
        at,
        records,
        len: record_ends[records - 1],
    })
}

fn position_of(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while from + needle.len() <= haystack.len() {
        let offset = haystack[from..=haystack.len() - needle.len()]
            .iter()
            .position(|byte| *byte == first)?;
        if haystack[from + offset..].starts_with(needle) {
            return Some(from + offset);
        }
        from += offset + 1;
    }
    None
}

/// Length of the longest end of `tail` that is a beginning of `batch`.
fn longest_suffix_that_begins(batch: &[u8], tail: &[u8]) -> usize {
    let most = tail.len().min(batch.len());
    (1..=most)
        .rev()
        .find(|len| tail[tail.len() - len..] == batch[..*len])
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECORDS: [&str; 3] = [
        "2026-11-20 one\n",
        "2026-11-20 two, longer\n",
        "2026-11-20 three\n",
    ];

    fn batch() -> (Vec<u8>, Vec<usize>) {
        let batch = RECORDS.concat().into_bytes();
        let ends = RECORDS
            .iter()
            .scan(0, |end, record| {
                *end += record.len();
                Some(*end)
            })
            .collect();
        (batch, ends)
    }

    #[test]
    fn every_prefix_is_found_with_foreign_bytes_before_it_or_not() {
        let (batch, ends) = batch();
        for foreign in ["", "echo\n", "2026-11-20 somebody else\n"] {
            for len in 1..batch.len() {
                let tail = [foreign.as_bytes(), &batch[..len]].concat();
                assert_eq!(
                    find(&batch, &ends, &tail),
                    Found::Prefix {
                        at: foreign.len(),
                        len
                    },
                    "{foreign:?} {len}"
                );
            }
            let tail = [foreign.as_bytes(), &batch].concat();
            assert_eq!(
                find(&batch, &ends, &tail),
                Found::Whole { at: foreign.len() }
            );
        }
    }

    #[test]
    fn a_prefix_with_foreign_bytes_behind_it_counts_only_its_whole_records() {
        let (batch, ends) = batch();
        for len in 0..batch.len() {
            let tail = [&batch[..len], b"XX foreign\n"].concat();
            let records = ends.iter().filter(|end| **end <= len).count();
            let expected = match records {
                0 => Found::Nothing,
                _ => Found::Interrupted {
                    at: 0,
                    records,
                    len: ends[records - 1],
                },
            };
            assert_eq!(find(&batch, &ends, &tail), expected, "{len}");
        }
        let tail = [&batch[..], b"XX foreign\n"].concat();
        assert_eq!(find(&batch, &ends, &tail), Found::Whole { at: 0 });
    }

    proptest! {
        /// Whatever lies before and behind, whole records that are there are never written again.
        #[test]
        fn what_is_there_whole_is_never_nothing(before in "[a-z\n]{0,20}", cut in 0usize..55, behind in "[a-z\n]{0,20}") {
            let (batch, ends) = batch();
            let cut = cut.min(batch.len());
            let tail = [before.as_bytes(), &batch[..cut], behind.as_bytes()].concat();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let kept = match find(&batch, &ends, &tail) {
                Found::Whole { .. } => 3,
                Found::Prefix { len, .. } => ends.iter().filter(|end| **end <= len).count(),
                Found::Interrupted { records, .. } => records,
                Found::Nothing => 0,
            };
            prop_assert!(kept >= whole, "{kept} of {whole}");
        }
    }
}
