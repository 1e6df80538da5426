//! How a destination fares, in figures: for `logboom status`, `top`, Prometheus and the log.
//!
//! The shipper keeps them, the relay stores them beside the spool as `NAME.status`, one JSON object that is replaced as a whole. Where the
//! disk is full, which is when they are wanted most, it is written over instead: the file has room for that, and whoever reads half of
//! one and half of another reads again.

use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The file's length is a multiple of this, so that it can be written over where no more can be written.
const STORED_BYTES: usize = 4096;
/// How often a file is read that says nothing whole.
const LOADS_MAX: u32 = 5;

/// Whether records are getting through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was to be shipped yet.
    #[default]
    Idle,
    /// Records were delivered when there last were any.
    Up,
    /// Something keeps them from being delivered.
    Down,
}

impl State {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Up => "up",
            State::Down => "down",
        }
    }
}

/// Figures of one destination, since the relay was started. Times are nanoseconds since 1970, 0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Format of this object: 1.
    pub version: u32,
    /// Process id of the relay.
    pub relay: u32,
    /// When these figures were stored.
    pub stored_ns: u64,
    /// When they began to be counted.
    pub started_ns: u64,
    /// Name of the destination.
    pub name: String,
    /// Its address.
    pub to: String,
    /// Whether records get through.
    pub state: State,
    /// Since when.
    pub since_ns: u64,
    /// Records that the receiver has, as far as the protocol can tell.
    pub delivered: u64,
    /// Their bytes in the spool.
    pub delivered_bytes: u64,
    /// Records delivered in a second, in the time before these figures were stored.
    pub rate: u64,
    /// Records that the receiver will never take.
    pub refused: u64,
    /// Records that were given up after `retry.deadline`.
    pub given_up: u64,
    /// Records that were sent again since their first sending had no answer.
    pub sent_again: u64,
    /// Connections made.
    pub connections: u64,
    /// Failures.
    pub failures: u64,
    /// The last one, or why the last record was refused.
    pub last_error: String,
    /// When it was.
    pub last_error_ns: u64,
    /// Records that wait, those under way among them; None: not counted yet.
    pub waiting: Option<u64>,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// When the oldest of them was logged.
    pub oldest_ns: u64,
    /// Records under way without an answer.
    pub in_flight: u64,
    /// Records that were dropped since there was no room for them: deleted from the spool, or refused by it.
    pub dropped: u64,
    /// Lines of the spool that could not be believed.
    pub damaged: u64,
    /// Segments that were gone before they were shipped.
    pub segments_missed: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// As many it may have.
    pub spool_bytes_max: u64,
}

impl Figures {
    /// For how long the oldest record has been waiting, in seconds.
    pub fn lag_s(&self) -> f64 {
        match self.oldest_ns {
            0 => 0.0,
            oldest_ns => self.stored_ns.saturating_sub(oldest_ns) as f64 / 1e9,
        }
    }

    /// Where they are stored.
    pub fn path(root: &Path, name: &str) -> PathBuf {
        root.join(format!("{name}.status"))
    }

    /// Stores them, replacing what is there.
    ///
    /// # Errors
    /// The directory cannot be written, and there is nothing to write over.
    pub fn store(&self, root: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        let bytes = text.len().next_multiple_of(STORED_BYTES);
        text.resize(bytes, b' ');
        let path = Figures::path(root, &self.name);
        let part = root.join(format!(".{}.status.part", self.name));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&part)
            .and_then(|mut file| file.write_all(&text));
        written
            .and_then(|()| std::fs::rename(&part, &path))
            .or_else(|_| {
                let _ = std::fs::remove_file(&part);
                let file = std::fs::OpenOptions::new().write(true).open(&path)?;
                file.write_all_at(&text, 0)?;
                file.set_len(text.len() as u64)
            })
    }

    /// Reads what a relay has stored; None: nothing that can be understood.
    pub fn load(root: &Path, name: &str) -> Option<Figures> {
        let path = Figures::path(root, name);
        let read = || -> Option<Figures> {
            let text = std::fs::read(&path).ok()?;
            serde_json::from_slice(&text).ok()
        };
        for _ in 0..LOADS_MAX {
            match read() {
                Some(figures) => return (figures.version == 1).then_some(figures),
                None if !path.exists() => return None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }
}

/// Figures that a shipper changes and others read.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<(Mutex<Gauged>, Condvar)>);

#[derive(Debug, Default)]
struct Gauged {
    figures: Figures,
    /// When the shipper began to count what waits, for the last time.
    counted: Option<Instant>,
}

impl Gauge {
    /// Figures that begin now.
    pub fn new(name: &str, to: &str) -> Gauge {
        let now_ns = now_ns();
        let gauge = Gauge::default();
        gauge.change(|figures| {
            *figures = Figures {
                version: 1,
                relay: std::process::id(),
                started_ns: now_ns,
                since_ns: now_ns,
                name: name.to_owned(),
                to: to.to_owned(),
                ..Figures::default()
            };
        });
        gauge
    }

    /// The figures as they are.
    pub fn read(&self) -> Figures {
        self.lock().figures.clone()
    }

    /// Changes them.
    pub fn change<T>(&self, how: impl FnOnce(&mut Figures) -> T) -> T {
        how(&mut self.lock().figures)
    }

    /// What waits is in the figures, by a count that was begun then.
    pub fn note_counted(&self, begun: Instant) {
        self.lock().counted = Some(begun);
        self.0.1.notify_all();
    }

    /// Waits for a count that was begun after `since`. False: there was none in time.
    pub fn wait_for_count(&self, since: Instant, at_most: Duration) -> bool {
        let waits = |gauged: &mut Gauged| gauged.counted.is_none_or(|begun| begun <= since);
        let waited = self.0.1.wait_timeout_while(self.lock(), at_most, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Gauged> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_stored_as_a_whole_and_over_what_is_there_if_need_be() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        assert_eq!(Figures::load(root, "central"), None);
        let mut figures = Gauge::new("central", "tcp://a").read();
        figures.store(root).unwrap();
        assert_eq!(Figures::load(root, "central"), Some(figures.clone()));
        // Nothing can be put in its place: a directory has the name of what would be renamed.
        std::fs::create_dir(root.join(".central.status.part")).unwrap();
        for last_error in ["x".repeat(5000), String::new()] {
            figures.last_error = last_error;
            figures.store(root).unwrap();
            assert_eq!(Figures::load(root, "central"), Some(figures.clone()));
        }
        std::fs::write(Figures::path(root, "central"), "{").unwrap();
        assert_eq!(Figures::load(root, "central"), None);
    }

    #[test]
    fn a_count_is_waited_for_that_was_begun_later() {
        let gauge = Gauge::default();
        let before = Instant::now();
        assert!(!gauge.wait_for_count(before, Duration::from_millis(5)));
        gauge.note_counted(before);
        assert!(!gauge.wait_for_count(before, Duration::from_millis(5)));
        let counting = gauge.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            counting.note_counted(Instant::now());
        });
        assert!(gauge.wait_for_count(before, Duration::from_secs(60)));
        thread.join().unwrap();
    }
}
