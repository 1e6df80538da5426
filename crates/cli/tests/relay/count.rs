//! Counts numbered records in a receiver's file, knowing nothing of ledgers: which of them are there, in which order each worker's
//! came first, and whether what came again is the same record with the same id.

use std::collections::{BTreeSet, HashMap};

use crate::support::Received;
use crate::worker::Account;

/// What was counted.
#[derive(Debug, Default)]
pub struct Count {
    /// Numbers of each worker's records.
    pub numbers: HashMap<usize, BTreeSet<u64>>,
    /// Lines that were there before.
    pub doubled: u64,
    pub wrong: Vec<String>,
}

impl Count {
    pub fn of(received: &[Received]) -> Count {
        let mut count = Count::default();
        let mut ids: HashMap<String, (usize, u64)> = HashMap::new();
        for received in received {
            let Some((worker, number)) = read(&received.message) else {
                continue;
            };
            let id = received.id().to_owned();
            let before = ids.insert(id.clone(), (worker, number));
            if before.is_some_and(|before| before != (worker, number)) {
                count
                    .wrong
                    .push(format!("{id} is w{worker} n{number} and {before:?}"));
            }
            let numbers = count.numbers.entry(worker).or_default();
            let last = numbers.last().copied();
            if !numbers.insert(number) {
                count.doubled += 1;
                if before.is_none() {
                    count
                        .wrong
                        .push(format!("w{worker} n{number} came again as {id}"));
                }
            } else if last.is_some_and(|last| last > number) {
                count
                    .wrong
                    .push(format!("w{worker} n{number} came first after {last:?}"));
            }
        }
        count
    }

    /// Different records.
    pub fn distinct(&self) -> u64 {
        self.numbers
            .values()
            .map(|numbers| numbers.len() as u64)
            .sum()
    }

    /// Records whose call had returned and that are not there; the first few.
    pub fn missing(&self, account: &Account) -> (u64, Vec<String>) {
        let (mut missing, mut named) = (0, Vec::new());
        for worker in 0..account.workers() {
            let nothing = BTreeSet::new();
            let there = self.numbers.get(&worker).unwrap_or(&nothing);
            for number in 1..=account.of(worker).acknowledged() {
                if !there.contains(&number) {
                    missing += 1;
                    if named.len() < 10 {
                        named.push(format!("w{worker} n{number}"));
                    }
                }
            }
        }
        (missing, named)
    }

    /// Fails the test unless each record is there that must be, none that cannot be, and all in order.
    pub fn assert_complete(&self, account: &Account) {
        self.assert_sound(account);
        let (missing, named) = self.missing(account);
        assert_eq!(missing, 0, "missing: {named:?} ...");
    }

    /// The same, whatever is missing.
    pub fn assert_sound(&self, account: &Account) {
        let wrong = &self.wrong[..self.wrong.len().min(5)];
        assert!(wrong.is_empty(), "{wrong:?}");
        for (worker, numbers) in &self.numbers {
            let (last, begun) = (numbers.last(), account.of(*worker).begun());
            assert!(last <= Some(&begun), "w{worker}: {last:?} of {begun} begun");
        }
    }
}

/// The worker and the number in a message: `w3 n17 xxxx`.
pub fn read(message: &str) -> Option<(usize, u64)> {
    let mut words = message.trim_start_matches(' ').split(' ');
    let worker = words.next()?.strip_prefix('w')?.parse().ok()?;
    let number = words.next()?.strip_prefix('n')?.parse().ok()?;
    Some((worker, number))
}
