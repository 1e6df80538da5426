//! Connections that never wait longer than they may: names and addresses, byte streams with TLS or without, and how long a
//! receiver may do nothing.

pub(crate) mod dial;
pub(crate) mod patience;
pub(crate) mod tls;
pub(crate) mod wire;

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::destination::Address;
use crate::sink::Trouble;

/// "failed to *verb* `address`: cause".
pub(crate) fn trouble(verb: &str, address: &Address, cause: impl Display) -> Trouble {
    Trouble::new(format!("failed to {verb} `{address}`: {cause}"))
}

/// Longer waits are as good as for ever, and can be added to any time.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The time after which `wait` is over.
pub(crate) fn deadline_in(wait: Duration) -> Instant {
    Instant::now() + wait.min(WAIT_MAX)
}

/// What is left until `deadline`; None: it is over.
pub(crate) fn left_until(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// A duration for people: `10 s`, `1.5 s`, `250 ms`.
pub(crate) fn in_words(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ ..950 => format!("{ms} ms"),
        ms => format!("{} s", ((ms + 50) / 100) as f64 / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations are told as people tell them.
    #[test]
    fn durations_are_told_in_words() {
        let words = |ms| in_words(Duration::from_millis(ms));
        assert_eq!(words(250), "250 ms");
        assert_eq!(words(1999), "2 s");
        assert_eq!(words(1500), "1.5 s");
        assert_eq!(words(600_000), "600 s");
    }
}
