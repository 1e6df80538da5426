//! Medians, percentiles and spreads, and the bound on how long a section measures.
//!
//! A section measures all contestants once in each round, so that a change of the machine's speed meets all of them. What is
//! reported of a contestant is the median of its rounds; the smallest and the largest round show how far to trust it.

use std::time::{Duration, Instant};

/// One figure, measured once in each round.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds the figure of a round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The median; NaN without any round, which every demand then misses.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
        }
    }

    /// The smallest round.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The largest round.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// How many rounds.
    pub fn rounds(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<f64>> for Series {
    fn from(values: Vec<f64>) -> Series {
        Series(values)
    }
}

/// The value below which `share` of the samples lie. Sorts them.
pub fn percentile(samples: &mut [u64], share: f64) -> f64 {
    samples.sort_unstable();
    let index = (samples.len() as f64 * share) as usize;
    samples
        .get(index.min(samples.len().saturating_sub(1)))
        .map_or(f64::NAN, |sample| *sample as f64)
}

/// The rounds of a section: a number of them, fewer if the time runs out, two at least.
pub struct Rounds {
    wanted: usize,
    done: usize,
    started: Instant,
    time: Duration,
}

impl Rounds {
    /// `wanted` rounds in about `time`.
    pub fn new(wanted: usize, time: Duration) -> Rounds {
        Rounds {
            wanted,
            done: 0,
            started: Instant::now(),
            time,
        }
    }
}

impl Iterator for Rounds {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let spent = self.started.elapsed();
        let each = spent / self.done.max(1) as u32;
        let is_late = self.done >= 2 && spent + each > self.time;
        (self.done < self.wanted && !is_late).then(|| {
            self.done += 1;
            self.done - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_lies_between_the_middle_two() {
        assert_eq!(Series::from(vec![9.0, 1.0, 4.0, 2.0]).median(), 3.0);
        assert_eq!(Series::from(vec![9.0, 1.0, 4.0]).median(), 4.0);
        assert!(Series::default().median().is_nan());
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let mut samples: Vec<u64> = (1..=1000).rev().collect();
        assert_eq!(percentile(&mut samples, 0.5), 501.0);
        assert_eq!(percentile(&mut samples, 0.999), 1000.0);
    }

    #[test]
    fn rounds_stop_when_the_time_is_over_but_not_before_the_second() {
        assert_eq!(Rounds::new(9, Duration::ZERO).count(), 2);
        assert_eq!(Rounds::new(3, Duration::from_secs(60)).count(), 3);
    }
}
