//! What a receiver wrote, against what was published: each record that was shipped has its ledger id, `DOMAIN.EPOCH.NUMBER`, and a
//! worker numbers its records from 1 without a gap.
//!
//! An id is looked for in each line as a receiver may write it: `id="..."` in RFC 5424's structured data, `"id":"..."` where a receiver
//! has taken that apart, also with the quotes escaped in JSON, and at the end of a line of a spool. Nothing is believed of a line but its ids. Memory is bounded by the gaps.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::Path;

use crate::spool;

/// What was found in the files of a receiver, or in a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Lines with an id.
    pub records: u64,
    /// Lines without one.
    pub without: u64,
    /// By domain and epoch: one life of one worker.
    pub series: BTreeMap<(u64, u32), Numbers>,
}

/// The numbers that were found of one worker's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// First and last number of each stretch without a gap.
    stretches: BTreeMap<u64, u64>,
    /// How often a number came again.
    pub again: u64,
}

impl Numbers {
    /// Notes a number.
    pub fn insert(&mut self, number: u64) {
        let before = self.stretches.range(..=number).next_back();
        let before = before.map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            self.again += 1;
            return;
        }
        let joins = before.filter(|(_, last)| last.checked_add(1) == Some(number));
        let first = joins.map_or(number, |(first, _)| first);
        let after = number
            .checked_add(1)
            .and_then(|next| self.stretches.remove(&next));
        self.stretches.insert(first, after.unwrap_or(number));
    }

    /// Notes all numbers of another.
    pub fn insert_all(&mut self, other: &Numbers) {
        for (first, last) in &other.stretches {
            // A stretch is as short as a gap is near; numbers are few enough to be counted one by one.
            (*first..=*last).for_each(|number| self.insert(number));
        }
    }

    /// Different numbers that were found.
    pub fn count(&self) -> u64 {
        self.stretches
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
    }

    /// The highest; 0: none was found.
    pub fn last(&self) -> u64 {
        self.stretches.values().next_back().copied().unwrap_or(0)
    }

    /// The stretches that are missing from 1 to `last`.
    pub fn missing(&self, last: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = 1;
        for (from, to) in &self.stretches {
            if *from > next && next <= last {
                missing.push((next, last.min(from - 1)));
            }
            next = next.max(to.saturating_add(1));
        }
        if next <= last {
            missing.push((next, last));
        }
        missing
    }
}

impl Received {
    /// Reads what a receiver wrote.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, mut from: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if from.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            match id_in(&line) {
                Some((domain, epoch, number)) => {
                    self.records += 1;
                    self.series
                        .entry((domain, epoch))
                        .or_default()
                        .insert(number);
                }
                None => self.without += 1,
            }
        }
    }

    /// What waits in the spool of a destination behind its cursor, as it is now; what was settled within the last moments counts, too.
    ///
    /// # Errors
    /// The directory or a segment cannot be read.
    pub fn waiting(root: &Path, name: &str) -> io::Result<Received> {
        let mut found = Received::default();
        for segment in spool::waiting(root, name)? {
            found.read(io::BufReader::new(segment))?;
        }
        Ok(found)
    }
}

/// The id in a line: the value of `id`, or between the last two tabs.
fn id_in(line: &[u8]) -> Option<(u64, u32, u64)> {
    let is_name = |at: &usize| {
        let before = at.checked_sub(1).map_or(b' ', |before| line[before]);
        matches!(before, b' ' | b'"' | b'[' | b'{' | b',')
    };
    let names = memchr::memmem::find_iter(line, b"id").filter(is_name);
    let values = names.map(|at| &line[at + 2..]);
    if let Some(id) = values.filter_map(quoted).find_map(parse) {
        return Some(id);
    }
    let mut columns = line.trim_ascii_end().rsplit(|byte| *byte == b'\t');
    let (_checksum, id) = (columns.next()?, columns.next()?);
    columns.next()?;
    parse(id)
}

/// What is in quotes behind the name of a value, and whatever follows: `="...`, or in JSON `": "...`, and each with its quotes
/// escaped, since a text was put into JSON.
fn quoted(behind_name: &[u8]) -> Option<&[u8]> {
    let without = |text: &mut &[u8], byte: u8| match text.split_first() {
        Some((first, rest)) if *first == byte => {
            *text = rest;
            true
        }
        _ => false,
    };
    let mut text = behind_name;
    if !without(&mut text, b'=') {
        while without(&mut text, b'\\') {}
        if !without(&mut text, b'"') || !without(&mut text, b':') {
            return None;
        }
        while without(&mut text, b' ') {}
    }
    while without(&mut text, b'\\') {}
    without(&mut text, b'"').then_some(text)
}

/// `DOMAIN.EPOCH.NUMBER`, and whatever follows.
fn parse(text: &[u8]) -> Option<(u64, u32, u64)> {
    let end = text
        .iter()
        .position(|byte| !(byte.is_ascii_hexdigit() || *byte == b'.'))
        .unwrap_or(text.len());
    let mut parts = std::str::from_utf8(&text[..end]).ok()?.split('.');
    let domain = u64::from_str_radix(parts.next()?, 16).ok()?;
    let epoch = u32::from_str_radix(parts.next()?, 16).ok()?;
    let number = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().is_none().then_some((domain, epoch, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_found_as_receivers_write_them() {
        let lines = [
            r#"<14>1 2026-11-27T10:00:00Z h shop 1 - [logboom@32473 id="ab.3.1f" order="7"] hello"#,
            r#"{"sd":"[logboom@32473 id=\"ab.3.1f\" order=\"7\"]","msg":"hello"}"#,
            r#"{"sd":{"logboom@32473":{"id": "ab.3.1f"}},"msg":"hello"}"#,
            r#"{"sd":"{ \"logboom@32473\": { \"id\": \"ab.3.1f\" } }","msg":"valid"}"#,
            "{\"body\":\"hello\"}\tab.3.1f\t0123abcd\n",
        ];
        for line in lines {
            assert_eq!(id_in(line.as_bytes()), Some((0xab, 3, 0x1f)), "{line}");
        }
        for line in [
            "",
            "hello",
            r#"request_id="ab.3.1""#,
            r#"id="ab.3""#,
            r#"id="ab.3.1.2""#,
            r#""id" "ab.3.1""#,
            r#"id:"ab.3.1""#,
            "id",
            r#"id="ab.zz.1""#,
            "a\tb\tc",
            r#"id="11112222333344445.1.1""#,
        ] {
            assert_eq!(id_in(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_a_set(given in prop::collection::vec(1_u64..40, 0..60), last in 0_u64..45) {
            let mut numbers = Numbers::default();
            given.iter().for_each(|number| numbers.insert(*number));
            let set: BTreeSet<u64> = given.iter().copied().collect();
            prop_assert_eq!(numbers.count(), set.len() as u64);
            prop_assert_eq!(numbers.again, (given.len() - set.len()) as u64);
            prop_assert_eq!(numbers.last(), set.last().copied().unwrap_or(0));
            let missing: Vec<u64> = numbers.missing(last).into_iter().flat_map(|(first, last)| first..=last).collect();
            let expected: Vec<u64> = (1..=last).filter(|number| !set.contains(number)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
