//! The relay's place in a domain: at most one process ships a domain's spools, and who writes into them sees to it that one does.
//!
//! The relay holds an open-file-description lock on a byte of the state for its life, so the kernel's word counts. Who puts records
//! into a spool without its help looks ten times a second at most, and once more when it leaves, whether somebody has that lock, and
//! starts the program that was named if nobody has. A relay that leaves lets go of the lock first and looks for new records
//! afterwards, so nothing is left behind. A program that does not become the relay is started ever less often.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Log;
use crate::chores;
use crate::clock;
use crate::domain::{Domain, Local};
use crate::error::{Error, ErrorKind};
use crate::files::config::Config;
use crate::format::Format;
use crate::liveness;
use crate::sys::LockKind;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// From one start to the next: at first, and at most.
const START_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// What a process knows of its domain's relay.
#[derive(Default)]
pub(crate) struct Watch {
    program: OnceLock<PathBuf>,
    /// When it looked for the relay last (monotonic); 0: never.
    looked_ns: AtomicU64,
    /// Before that, it starts none.
    start_from_ns: AtomicU64,
    /// From the next start to the one after it; 0: as at first.
    pause_ns: AtomicU64,
}

impl Watch {
    /// The same in a forked child.
    pub fn inherited(&self) -> Watch {
        Watch {
            program: self.program.clone(),
            ..Watch::default()
        }
    }

    /// Whether it is time to look. Two threads may be told so; then two relays are started, and one finds the other.
    fn is_due(&self, now_ns: u64) -> bool {
        let looked_ns = self.looked_ns.load(Ordering::Relaxed);
        let due =
            looked_ns == 0 || now_ns.saturating_sub(looked_ns) >= LOOK_EVERY.as_nanos() as u64;
        if due {
            self.looked_ns.store(now_ns, Ordering::Relaxed);
        }
        due
    }

    /// There is one: the next may be started soon when it is gone.
    fn note_seen(&self) {
        self.pause_ns.store(0, Ordering::Relaxed);
    }

    /// Whether one may be started now; it then is.
    fn may_start(&self, now_ns: u64) -> bool {
        if now_ns < self.start_from_ns.load(Ordering::Relaxed) {
            return false;
        }
        let [first, most] = START_EVERY.map(|pause| pause.as_nanos() as u64);
        let pause_ns = self.pause_ns.load(Ordering::Relaxed).clamp(first, most);
        self.start_from_ns
            .store(now_ns + pause_ns, Ordering::Relaxed);
        self.pause_ns.store(pause_ns * 2, Ordering::Relaxed);
        true
    }

    /// The program, unless starting it has failed lately.
    fn program_that_starts(&self) -> Option<&Path> {
        let pause_ns = self.pause_ns.load(Ordering::Relaxed);
        let failed = pause_ns > 2 * START_EVERY[0].as_nanos() as u64;
        self.program.get().filter(|_| !failed).map(PathBuf::as_path)
    }
}

/// The right to ship the spools of a domain; dropping it gives it back.
pub struct Relaying(Arc<Log>);

impl Log {
    /// Makes this process the relay of the log's domain.
    ///
    /// # Errors
    /// Another process is; the error names it.
    pub fn relay(self: &Arc<Log>) -> Result<Relaying, Error> {
        let state = &self.domain.state;
        let locks = self.domain.local().locks(state);
        let control = state.control();
        if !liveness::lock_relay(locks, LockKind::Exclusive).unwrap_or(false) {
            let process = control.relay_process.load(Ordering::Relaxed);
            let text = format!(
                "failed to ship what is logged to `{}`: process {process} does so already",
                self.domain.directory.display()
            );
            return Err(Error::new(ErrorKind::Busy, text));
        }
        control
            .relay_process
            .store(std::process::id().into(), Ordering::Relaxed);
        Ok(Relaying(self.clone()))
    }

    /// Whether another process is the relay of the log's domain, and which.
    pub fn relay_process(&self) -> Option<u32> {
        let state = &self.domain.state;
        let locks = self.domain.local().locks(state);
        let held = liveness::has_relay(locks).unwrap_or(true);
        held.then(|| state.control().relay_process.load(Ordering::Relaxed) as u32)
    }

    /// The format in which this log has records that the crate makes itself.
    pub fn own_format(&self) -> Format {
        let entry = self.domain.state.file_entry(self.file);
        let format = Config::load(&entry.config).format();
        format.unwrap_or(Format::Text { colour: false })
    }

    /// Records published so far by those that are in the domain now, and by those that were: it grows while anybody logs.
    pub fn traffic(&self) -> u64 {
        let state = &self.domain.state;
        let living = (0..state.slots_used()).map(|slot| &state.slot(slot).published);
        let left = &state.control().counters.departed_published;
        living
            .chain([left])
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Whether another living process may publish in the domain, or has left records that are in no file yet.
    pub fn is_in_use(&self) -> bool {
        self.domain.state.has_queued() || !self.domain.is_sole_member()
    }

    /// From now on this process sees to it that there is a relay.
    pub(super) fn watch_relay(&self, program: &Path) {
        let watch = &self.domain.local().relay_watch;
        let _the_first_one_counts = watch.program.set(program.to_owned());
        self.look_for_relay();
    }

    /// Starts a relay if there is none, as often as that may be done.
    pub(super) fn look_for_relay(&self) {
        let local = self.domain.local();
        let watch = &local.relay_watch;
        let Some(program) = watch.program.get() else {
            return;
        };
        let now_ns = clock::monotonic_ns();
        if !watch.is_due(now_ns) {
            return;
        }
        if self.relay_process().is_some() {
            watch.note_seen();
        } else if watch.may_start(now_ns) {
            local.chores.start_relay(program, self.domain.weak());
        }
    }
}

/// This process leaves: the last one that does would leave its records behind if the relay was killed a moment ago.
pub(crate) fn before_leaving(domain: &Domain, local: &Local) {
    let Some(program) = local.relay_watch.program_that_starts() else {
        return;
    };
    if !liveness::has_relay(local.locks(&domain.state)).unwrap_or(true) {
        chores::start_relay(program, domain);
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        let domain = &self.0.domain;
        let locks = domain.local().locks(&domain.state);
        let _ = liveness::lock_relay(locks, LockKind::None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A program that does not become the relay is started ever less often; once one was seen, soon again, but never all the time.
    #[test]
    fn starts_are_ever_rarer_until_a_relay_was_seen() {
        let watch = Watch::default();
        let mut starts = Vec::new();
        for ms in (1..200_000).step_by(50) {
            if watch.is_due(ms * MS) && watch.may_start(ms * MS) {
                starts.push(ms / 1000);
            }
        }
        assert_eq!(starts, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        watch.note_seen();
        let from = (243..).find(|s| watch.may_start(s * 1000 * MS)).unwrap();
        let next = (from..).find(|s| watch.may_start(s * 1000 * MS)).unwrap();
        assert_eq!((from, next), (244, 245));
    }

    /// Looking is put off, and whoever leaves does not start what has failed.
    #[test]
    fn looks_are_put_off_and_what_fails_is_not_started_at_the_end() {
        let watch = Watch::default();
        assert!(watch.is_due(MS) && !watch.is_due(100 * MS) && watch.is_due(101 * MS));
        assert_eq!(watch.program_that_starts(), None);
        watch.program.set("logboom".into()).unwrap();
        assert!(watch.may_start(MS) && watch.program_that_starts().is_some());
        assert!(watch.may_start(2000 * MS) && watch.program_that_starts().is_none());
        assert!(watch.inherited().program_that_starts().is_some());
    }
}
