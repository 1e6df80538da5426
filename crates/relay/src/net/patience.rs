//! How long a receiver may do nothing.
//!
//! What always holds: a receiver that takes a kilobyte, or an answer or message if it is sent those, within each timeout is
//! waited for, however long the whole takes, so that a slow link comes to an end; one that takes less is given up.

use std::time::{Duration, Instant};

use super::{WAIT_MAX, in_words};

/// Fewer bytes are no progress: who takes one a second would never be given up.
const PROGRESS_BYTES_MIN: u64 = 1024;

/// Watches a receiver while something is in flight.
#[derive(Debug)]
pub(crate) struct Patience {
    timeout: Duration,
    since: Instant,
    bytes: u64,
}

impl Patience {
    /// Nothing is in flight yet.
    pub(crate) fn new(timeout: Duration) -> Patience {
        Patience {
            timeout: timeout.min(WAIT_MAX),
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Begins anew: something was settled, or is in flight where nothing was before.
    pub(crate) fn renew(&mut self) {
        self.since = Instant::now();
    }

    /// The receiver has taken so many bytes by now, since the connection began.
    pub(crate) fn taken(&mut self, bytes: u64) {
        if bytes >= self.bytes + PROGRESS_BYTES_MIN {
            self.bytes = bytes;
            self.renew();
        }
    }

    /// When it ends.
    pub(crate) fn end(&self) -> Instant {
        self.since + self.timeout
    }

    /// The cause to give, once it has ended.
    pub(crate) fn over(&self, what: &str) -> Option<String> {
        let over = Instant::now() >= self.end();
        over.then(|| format!("the receiver {what} for {}", in_words(self.timeout)))
    }
}
