//! What was recorded before anybody asked, and what of it is no longer there.

use std::collections::BTreeMap;
use std::time::Duration;

use logboom::viewer::Seen;

use super::conditions::{self, Known, Requests};
use super::filters::Wanted;
use super::seen::Look;
use super::spans;
use crate::words;

/// The records of the span that pass, and what must be said of those that are overwritten.
pub(crate) struct Past {
    pub(crate) records: Vec<Seen>,
    pub(crate) said: Vec<String>,
}

/// Chooses from all that is recorded. `last`: how far back; None: as far as it goes.
pub(crate) fn choose(
    all: Vec<Seen>,
    overwritten: u64,
    last: Option<Duration>,
    wanted: &Wanted,
) -> Past {
    let now_ns = spans::now_ns();
    let since_ns = last.map_or(0, |last| now_ns.saturating_sub(last.as_nanos() as u64));
    let mut said = what_is_gone(&all, overwritten, since_ns);
    said.extend(
        conditions::only_live(&wanted.conditions)
            .iter()
            .map(|text| {
                format!("headers are not recorded: no record from before is known to meet `{text}`")
            }),
    );
    let requests = Requests::of(&all, &wanted.conditions);
    let of_the_span = all
        .into_iter()
        .filter(|seen| seen.record.time_ns >= since_ns);
    let records = of_the_span
        .filter(|seen| wanted.passes(&Look::of(seen), Known::ByRequest(&requests)))
        .collect();
    Past { records, said }
}

/// Numbers begin with 1 in each life of a worker: what is missing before its oldest record was overwritten.
fn what_is_gone(all: &[Seen], overwritten: u64, since_ns: u64) -> Vec<String> {
    if overwritten == 0 {
        return Vec::new();
    }
    let mut oldest: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for seen in all {
        let this = (seen.record.number, seen.record.time_ns);
        let known = oldest.entry(seen.process).or_insert(this);
        *known = (*known).min(this);
    }
    let touched = oldest
        .iter()
        .filter(|(_, (number, time_ns))| *number > 1 && *time_ns > since_ns);
    let workers: Vec<_> = touched
        .map(|(pid, (_, time_ns))| {
            format!(
                "worker {pid} is complete only since {}",
                words::time_ns(*time_ns)
            )
        })
        .collect();
    let span = match workers.is_empty() {
        true => ", all of them before the time asked for",
        false => "",
    };
    let many = words::of(overwritten, "record");
    let mut said = vec![format!("{many} overwritten by newer ones{span}")];
    said.extend(workers);
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewing::seen::tests::seen;

    fn at(process: u32, number: u64, seconds_ago: u64) -> Seen {
        let mut seen = seen("", "", "x");
        seen.process = process;
        seen.record.number = number;
        seen.record.time_ns = spans::now_ns() - seconds_ago * 1_000_000_000;
        seen
    }

    #[test]
    fn what_is_overwritten_is_said_and_whom_it_touches() {
        let all = || {
            vec![
                at(1, 5, 100),
                at(2, 9, 20),
                at(1, 6, 15),
                at(2, 10, 10),
                at(3, 1, 5),
            ]
        };
        let past = choose(all(), 12, Some(Duration::from_secs(60)), &Wanted::default());
        let numbers: Vec<_> = past.records.iter().map(|seen| seen.record.number).collect();
        assert_eq!(numbers, [9, 6, 10, 1]);
        assert_eq!(past.said.len(), 2, "{:?}", past.said);
        assert_eq!(past.said[0], "12 records overwritten by newer ones");
        assert!(past.said[1].starts_with("worker 2 is complete only since "));

        let recent = choose(all(), 12, Some(Duration::from_secs(12)), &Wanted::default());
        assert_eq!(
            recent.said,
            ["12 records overwritten by newer ones, all of them before the time asked for"]
        );
        assert!(choose(all(), 0, None, &Wanted::default()).said.is_empty());
        assert_eq!(choose(all(), 12, None, &Wanted::default()).said.len(), 3);
    }
}
