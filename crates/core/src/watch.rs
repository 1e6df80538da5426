//! Whether a log's path still leads to its file, asked after each write.
//!
//! A look at the path costs more than the write: the kernel walks all of it. Who writes one record after the other looks at
//! the directory alone, whose time of change tells whether any name in it was made, moved or removed since the last look at
//! the path: a third of the price. That says nothing of directories further up, so the path is looked at once in a
//! millisecond all the same.
//!
//! What always holds: only "nothing has changed" is taken from the directory, and only if its time was old enough when the
//! path was looked at for any later change to give it another one, whatever the grain of the file system's times; everything
//! else is answered by the path. A path that is a link is always looked at: names beside its target tell nothing here.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;
use crate::fds::FdCell;
use crate::fs::{self, Facts, Identity};

/// How long a look at the path is good for.
const LOOKED_NS: u64 = 1_000_000;
/// Records that come less often than this are not worth a look at the directory.
const BUSY_NS: u64 = 100_000;
/// So old is a time that no later change gives again: the kernel's clock for files ticks every 10 ms at the longest.
const SETTLED_NS: u64 = 50_000_000;
/// The same where the file system keeps no fine times: FAT counts in steps of two seconds.
const COARSELY_SETTLED_NS: u64 = 3_000_000_000;

/// One log's path, seen from one process. Used by the holder of the lease alone.
pub(crate) struct Watch {
    folder: FdCell,
    /// When the directory had changed last as the path was looked at, when that was (monotonic; 0: it does not count), and
    /// which file was there.
    changed_ns: AtomicU64,
    looked_ns: AtomicU64,
    dev: AtomicU64,
    ino: AtomicU64,
    asked_ns: AtomicU64,
}

impl Watch {
    pub fn new() -> Watch {
        Watch {
            folder: FdCell::empty(),
            changed_ns: AtomicU64::new(0),
            looked_ns: AtomicU64::new(0),
            dev: AtomicU64::new(0),
            ino: AtomicU64::new(0),
            asked_ns: AtomicU64::new(0),
        }
    }

    /// Takes over the directory that a forebear has open.
    pub fn inherit(&self, from: &Watch) {
        self.folder.inherit(&from.folder);
    }

    /// What `path` leads to at `now_ns`; None: to `known`, as it did a moment ago.
    #[inline]
    pub fn look(&self, path: &Path, now_ns: u64, known: Identity) -> io::Result<Option<Facts>> {
        let asked_ns = self.asked_ns.load(Ordering::Relaxed);
        self.asked_ns.store(now_ns, Ordering::Relaxed);
        if now_ns.wrapping_sub(self.looked_ns.load(Ordering::Relaxed)) < LOOKED_NS
            && known == self.known()
            && self.folder_changed_ns() == Some(self.changed_ns.load(Ordering::Relaxed))
        {
            return Ok(None);
        }
        self.looked_ns.store(0, Ordering::Relaxed);
        match now_ns.wrapping_sub(asked_ns) < BUSY_NS {
            true => self.look_and_learn(path, now_ns, known).map(Some),
            false => fs::look(path).map(Some),
        }
    }

    #[inline]
    fn folder_changed_ns(&self) -> Option<u64> {
        fs::folder_changed_ns(self.folder.raw(), self.folder.identity())
    }

    fn known(&self) -> Identity {
        Identity {
            dev: self.dev.load(Ordering::Relaxed),
            ino: self.ino.load(Ordering::Relaxed),
        }
    }

    #[cold]
    fn look_and_learn(&self, path: &Path, now_ns: u64, known: Identity) -> io::Result<Facts> {
        // The directory first: what changes between the two looks is seen by the next.
        let changed_ns = self.settled_change(fs::parent(path));
        let there = fs::look_at_itself(path)?;
        if !there.is_regular {
            return fs::look(path);
        }
        if let Some(changed_ns) = changed_ns
            && there.identity == known
        {
            self.changed_ns.store(changed_ns, Ordering::Relaxed);
            self.dev.store(known.dev, Ordering::Relaxed);
            self.ino.store(known.ino, Ordering::Relaxed);
            self.looked_ns.store(now_ns, Ordering::Relaxed);
        }
        Ok(there)
    }

    /// When the directory at `path` changed last, if that is long ago. It is kept open.
    fn settled_change(&self, path: &Path) -> Option<u64> {
        let there = fs::look(path).ok()?;
        let is_open = self.folder.identity() == there.identity && self.folder.check().is_some();
        if !is_open {
            self.folder.set(fs::open_folder(path).ok()?);
        }
        let changed_ns = self.folder_changed_ns()?;
        is_settled(changed_ns, clock::wall_ns()).then_some(changed_ns)
    }
}

/// A time with nothing below the millisecond may be a coarse one.
fn is_settled(changed_ns: u64, now_ns: u64) -> bool {
    let needed_ns = match changed_ns % 1_000_000 {
        0 => COARSELY_SETTLED_NS,
        _ => SETTLED_NS,
    };
    now_ns.saturating_sub(changed_ns) > needed_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self as stdfs, File, FileTimes};
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    struct Log {
        folder: tempfile::TempDir,
        watch: Watch,
        now_ns: u64,
    }

    impl Log {
        /// A log whose directory has not changed for a minute.
        fn new() -> Log {
            let folder = tempfile::tempdir().unwrap();
            stdfs::write(folder.path().join("app.log"), "line\n").unwrap();
            let log = Log {
                folder,
                watch: Watch::new(),
                now_ns: 1 << 40,
            };
            log.settle(SystemTime::now() - Duration::from_secs(60));
            log
        }

        fn settle(&self, when: SystemTime) {
            let folder = File::open(self.folder.path()).unwrap();
            folder
                .set_times(FileTimes::new().set_modified(when))
                .unwrap();
        }

        /// Looks `after_ns` later for the file that is `known`.
        fn look(&mut self, after_ns: u64, known: Identity) -> Option<Identity> {
            self.now_ns += after_ns;
            let path = self.folder.path().join("app.log");
            let found = self.watch.look(&path, self.now_ns, known).unwrap();
            found.map(|facts| facts.identity)
        }

        fn identity(&self) -> Identity {
            fs::look(&self.folder.path().join("app.log"))
                .unwrap()
                .identity
        }
    }

    /// In a quick series of records nothing is asked of the path, but for once in a millisecond.
    #[test]
    fn a_directory_without_changes_answers_for_the_path() {
        let mut log = Log::new();
        let known = log.identity();
        assert_eq!(log.look(0, known), Some(known), "the first one looks");
        assert_eq!(
            log.look(10_000, known),
            Some(known),
            "and the second learns"
        );
        assert_eq!(log.look(10_000, known), None);
        assert_eq!(log.look(980_000, known), None);
        assert_eq!(
            log.look(10_000, known),
            Some(known),
            "a millisecond is over"
        );
        // Seldom records look each time.
        assert_eq!(log.look(2_000_000, known), Some(known));
        assert_eq!(log.look(2_000_000, known), Some(known));
    }

    /// Whatever is done to a name in the directory, the next look is one at the path.
    #[test]
    fn every_change_of_the_directory_is_seen_at_once() {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |path| {
                stdfs::rename(path, path.with_extension("1")).unwrap();
                stdfs::write(path, "").unwrap();
            },
            |path| {
                stdfs::write(path.with_extension("new"), "").unwrap();
                stdfs::rename(path.with_extension("new"), path).unwrap();
            },
            |path| {
                // While the old file is held open, its inode is nobody else's.
                std::mem::forget(File::open(path).unwrap());
                stdfs::remove_file(path).unwrap();
                stdfs::write(path, "").unwrap();
            },
            |path| {
                stdfs::rename(path, path.with_extension("1")).unwrap();
                symlink(path.with_extension("1"), path).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut log = Log::new();
            let known = log.identity();
            for _ in 0..3 {
                let _ = log.look(10_000, known);
            }
            assert_eq!(log.look(10_000, known), None, "change {number}");
            change(&log.folder.path().join("app.log"));
            let now = log.identity();
            assert_eq!(log.look(10_000, known), Some(now), "change {number}");
        }
    }

    #[test]
    fn a_time_is_settled_when_no_later_change_can_repeat_it() {
        const S: u64 = 1_000_000_000;
        assert!(is_settled(10 * S + 123_456_789, 10 * S + 200_000_000));
        assert!(!is_settled(10 * S + 123_456_789, 10 * S + 140_000_000));
        assert!(!is_settled(10 * S, 12 * S), "FAT's next step");
        assert!(is_settled(10 * S, 14 * S));
        assert!(!is_settled(10 * S, 9 * S), "a clock that is behind");
    }

    /// A directory that has just changed may change again without another time: it tells nothing.
    #[test]
    fn a_fresh_change_and_a_link_are_not_trusted() {
        let mut log = Log::new();
        let known = log.identity();
        log.settle(SystemTime::now() + Duration::from_secs(60));
        assert!((0..5).all(|_| log.look(10_000, known).is_some()));

        let path = log.folder.path().join("app.log");
        let elsewhere = tempfile::tempdir().unwrap();
        stdfs::rename(&path, elsewhere.path().join("real"))
            .or_else(|_| stdfs::remove_file(&path))
            .unwrap();
        stdfs::write(elsewhere.path().join("real"), "line\n").unwrap();
        symlink(elsewhere.path().join("real"), &path).unwrap();
        log.settle(SystemTime::now() - Duration::from_secs(60));
        let known = log.identity();
        assert!((0..5).all(|_| log.look(10_000, known) == Some(known)));
    }

    /// The application closed the directory's descriptor and opened another one under its number.
    #[test]
    fn a_descriptor_that_is_another_directory_by_now_is_not_believed() {
        let mut log = Log::new();
        let known = log.identity();
        for _ in 0..3 {
            let _ = log.look(10_000, known);
        }
        let other = tempfile::tempdir().unwrap();
        let other = File::open(other.path()).unwrap();
        // SAFETY: the number is this test's own.
        let old = unsafe { std::os::fd::OwnedFd::from_raw_fd(log.watch.folder.raw()) };
        use std::os::fd::{AsFd, FromRawFd, IntoRawFd};
        crate::sys::redirect(other.as_fd(), old.into_raw_fd()).unwrap();
        assert_eq!(log.look(10_000, known), Some(known));
    }
}
