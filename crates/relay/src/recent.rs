//! How much is not settled, for those who ask all the time: an answer that is asked for again at once is the last one less what was
//! settled since. Only that nothing is left is always found out anew.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::source::Lag;

/// The last answer, and what had been settled then.
#[derive(Default)]
pub(crate) struct Recent(Cell<Option<(Instant, Lag, Lag)>>);

impl Recent {
    /// The lag; `settled` is what was settled in all, `count` finds out anew, at most every so often.
    pub(crate) fn lag(&self, settled: Lag, every: Duration, count: impl FnOnce() -> Lag) -> Lag {
        if let Some((at, lag, before)) = self.0.get()
            && at.elapsed() < every
        {
            let about = less(lag, settled, before);
            if about.bytes > 0 {
                return about;
            }
        }
        let lag = count();
        self.0.set(Some((Instant::now(), lag, settled)));
        lag
    }

    /// What is settled goes on from elsewhere.
    pub(crate) fn forget(&self) {
        self.0.set(None);
    }
}

/// What was left before, less what was settled since.
fn less(lag: Lag, settled: Lag, before: Lag) -> Lag {
    let since = settled.records.unwrap_or(0) - before.records.unwrap_or(0);
    Lag {
        records: lag.records.map(|left| left.saturating_sub(since)),
        bytes: lag.bytes.saturating_sub(settled.bytes - before.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(records: u64, bytes: u64) -> Lag {
        Lag {
            records: Some(records),
            bytes,
        }
    }

    #[test]
    fn an_answer_is_counted_down_until_nothing_is_left_of_it() {
        let (recent, hour) = (Recent::default(), Duration::from_secs(3600));
        let again = || lag(7, 70);
        assert_eq!(recent.lag(lag(5, 50), hour, || lag(3, 30)), lag(3, 30));
        assert_eq!(recent.lag(lag(6, 60), hour, again), lag(2, 20));
        assert_eq!(
            recent.lag(lag(8, 80), hour, again),
            lag(7, 70),
            "nothing would be left"
        );
        assert_eq!(recent.lag(lag(9, 90), hour, again), lag(6, 60));
        recent.forget();
        assert_eq!(recent.lag(lag(9, 90), hour, again), lag(7, 70));
        assert_eq!(
            recent.lag(lag(9, 90), Duration::ZERO, || lag(1, 1)),
            lag(1, 1)
        );
    }
}
