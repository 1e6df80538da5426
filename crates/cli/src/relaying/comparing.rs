//! What a receiver wrote, compared with what was published for a destination: `logboom verify --received`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use logboom::status::{self, Status};
use logboom_config::beside;
use logboom_relay::received::{Numbers, Received};
use serde_json::{Value, json};

use crate::exit::{Context, Failure};
use crate::terminal::{BAD, GOOD, NOTE};
use crate::verbs::status::queued_records;
use crate::words;

/// Stretches that are shown of each worker.
const SHOWN_MAX: usize = 5;

/// The comparison.
pub struct Comparison {
    received: Received,
    waiting: Received,
    /// Of each worker: domain, epoch, and the stretches that are neither received nor waiting.
    missing: Missing,
    /// Different records that were received or wait.
    distinct: u64,
    /// What the ledger says was published, if it can be told for this destination alone.
    published: Option<u64>,
    /// Of which so many are in the workers' queues, on their way to the spool.
    queued: u64,
    dropped: u64,
}

/// Compares.
///
/// # Errors
/// A file cannot be read, or there is no spool of that name, or several and none was named.
pub fn compare(files: &[PathBuf], root: &Path, name: Option<&str>) -> Result<Comparison, Failure> {
    let names = beside::names(root).or_failed("look into the spool", root.display())?;
    let name = match (name, names.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(no_spool(root)),
        (None, several) => {
            let several = several.join(", ");
            return Err(Failure::usage(format!(
                "failed to verify: there are several destinations ({several}); name one with --to"
            )));
        }
    };
    // What is published, what waits, what is received, in this order: a record may only move on meanwhile.
    let status = status::status(root).ok();
    let waiting = Received::waiting(root, &name).or_failed("read the spool", root.display())?;
    let mut received = Received::default();
    for path in files {
        let file = File::open(path).or_failed("open", path.display())?;
        received
            .read(BufReader::with_capacity(1 << 20, file))
            .or_failed("read", path.display())?;
    }
    let (missing, distinct) = missing(&received, &waiting);
    let alone = names.len() == 1;
    let status = status.filter(|_| alone);
    Ok(Comparison {
        missing,
        distinct,
        published: status.as_ref().map(|status| status.ledger.published),
        queued: status
            .as_ref()
            .map_or(0, |status| queued_records(&status.ledger)),
        dropped: status.as_ref().map_or(0, dropped),
        received,
        waiting,
    })
}

fn no_spool(root: &Path) -> Failure {
    Failure::could_not_run(format!(
        "failed to verify: `{}` has no spool; name its directory, or the log's, with --spool",
        root.display()
    ))
}

type Missing = Vec<(u64, u32, Vec<(u64, u64)>)>;

fn missing(received: &Received, waiting: &Received) -> (Missing, u64) {
    let mut all = received.series.clone();
    for (worker, numbers) in &waiting.series {
        all.entry(*worker).or_default().insert_all(numbers);
    }
    let gaps = |numbers: &Numbers| numbers.missing(numbers.last());
    let missing: Missing = all
        .iter()
        .map(|((domain, epoch), numbers)| (*domain, *epoch, gaps(numbers)))
        .filter(|(_, _, gaps)| !gaps.is_empty())
        .collect();
    let count = all.values().map(Numbers::count).sum();
    (missing, count)
}

fn dropped(status: &Status) -> u64 {
    let evicted = status.files.iter().filter_map(|file| file.spool);
    evicted.map(|spool| spool.evicted_records).sum()
}

impl Comparison {
    fn missing_count(&self) -> u64 {
        let stretches = self.missing.iter().flat_map(|(_, _, gaps)| gaps);
        stretches.map(|(first, last)| last - first + 1).sum()
    }

    /// Records that the ledger knows and that are nowhere, although no gap shows them: the last ones of a worker.
    fn unaccounted(&self) -> u64 {
        let known = self.distinct + self.missing_count() + self.queued;
        self.published
            .map_or(0, |published| published.saturating_sub(known))
    }

    fn again(&self) -> u64 {
        self.received
            .series
            .values()
            .map(|numbers| numbers.again)
            .sum()
    }

    /// Whether every record that was published is received, waits, or was dropped and counted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing_count() + self.unaccounted() <= self.dropped
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let workers = self.missing.iter().map(|(domain, epoch, gaps)| {
            json!({"domain": format!("{domain:x}"), "epoch": epoch, "missing": gaps})
        });
        json!({
            "version": 1,
            "received": self.received.records,
            "without_id": self.received.without,
            "doubled": self.again(),
            "waiting": self.waiting.records,
            "published": self.published,
            "queued": self.queued,
            "dropped": self.dropped,
            "missing": self.missing_count() + self.unaccounted(),
            "workers": workers.collect::<Vec<_>>(),
            "complete": self.is_complete(),
        })
    }

    /// Shows it.
    pub fn show(&self) {
        anstream::println!(
            "received {}, {} of them again ({} without an id)",
            words::of(self.received.records, "record"),
            words::count(self.again()),
            words::of(self.received.without, "line")
        );
        anstream::println!(
            "waiting in the spool {}",
            words::count(self.waiting.records)
        );
        if self.queued > 0 {
            anstream::println!(
                "in the workers' queues {}, on their way there",
                words::count(self.queued)
            );
        }
        match self.published {
            Some(published) => anstream::println!(
                "published {}, dropped from the spool {}",
                words::count(published),
                words::count(self.dropped)
            ),
            None => anstream::println!(
                "{NOTE}note:{NOTE:#} the ledger cannot say how many were published for this destination alone; gaps in each worker's numbers can be seen"
            ),
        }
        for (domain, epoch, gaps) in &self.missing {
            let shown: Vec<_> = gaps
                .iter()
                .take(SHOWN_MAX)
                .map(|(first, last)| format!("{first} to {last}"))
                .collect();
            let more = if gaps.len() > SHOWN_MAX { " ..." } else { "" };
            anstream::println!(
                "{BAD}missing:{BAD:#} of worker {domain:x}.{epoch:x} the records {}{more}",
                shown.join(", ")
            );
        }
        if self.unaccounted() > 0 {
            anstream::println!(
                "{BAD}missing:{BAD:#} {} at the ends of workers' series",
                words::of(self.unaccounted(), "record")
            );
        }
        if self.is_complete() {
            anstream::println!("{GOOD}Nothing is missing.{GOOD:#}");
        }
    }
}
