//! Workers merged by time. Each worker's records come in their order, but those of two workers are read one worker after the
//! other, so a record waits a moment for an older one of another worker.

use std::time::{Duration, Instant};

use logboom::viewer::Seen;

/// How long a record waits.
pub(crate) const HOLD_BACK: Duration = Duration::from_millis(30);

/// Records that wait, and what is known of records that were shown in another way.
#[derive(Default)]
pub(crate) struct Merge {
    waiting: Vec<(Seen, Instant)>,
}

impl Merge {
    pub(crate) fn push(&mut self, seen: Seen, now: Instant) {
        self.waiting.push((seen, now));
    }

    /// Those that have waited long enough, and what is older than they are, by time. When they were made decides the
    /// order, when they were read decides when: a clock that was set back delays nothing.
    pub(crate) fn ready(&mut self, now: Instant) -> Vec<Seen> {
        let due = self
            .waiting
            .iter()
            .filter(|(_, read)| now.duration_since(*read) >= HOLD_BACK)
            .map(|(seen, _)| seen.record.time_ns)
            .max();
        match due {
            Some(newest) => self.take(newest),
            None => Vec::new(),
        }
    }

    /// All that wait, by time.
    pub(crate) fn rest(&mut self) -> Vec<Seen> {
        self.take(u64::MAX)
    }

    fn take(&mut self, newest: u64) -> Vec<Seen> {
        let all = std::mem::take(&mut self.waiting);
        let (ready, waiting): (Vec<_>, _) = all
            .into_iter()
            .partition(|(seen, _)| seen.record.time_ns <= newest);
        self.waiting = waiting;
        let mut ready: Vec<_> = ready.into_iter().map(|(seen, _)| seen).collect();
        // Stable: records of one worker with the same time keep their order.
        ready.sort_by_key(|seen| seen.record.time_ns);
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewing::seen::tests::seen;

    #[test]
    fn an_older_record_that_is_read_later_comes_first() {
        let start = Instant::now();
        let mut merge = Merge::default();
        let push = |merge: &mut Merge, time_ns, after_ms| {
            let mut record = seen("", "", "x");
            record.record.time_ns = time_ns;
            merge.push(record, start + Duration::from_millis(after_ms));
        };
        let times =
            |seen: Vec<Seen>| -> Vec<u64> { seen.iter().map(|seen| seen.record.time_ns).collect() };
        push(&mut merge, 20, 0);
        assert!(merge.ready(start + Duration::from_millis(29)).is_empty());
        push(&mut merge, 10, 25);
        push(&mut merge, 30, 25);
        assert_eq!(times(merge.ready(start + HOLD_BACK)), [10, 20]);
        assert_eq!(times(merge.rest()), [30]);
    }
}
