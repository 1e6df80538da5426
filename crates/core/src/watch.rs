//! Whether a log's path still leads to its file, asked after each write.
//!
//! A look at the path costs more than the write: the kernel walks all of it. Who writes one record after the other looks at
//! the directory alone, whose time of change tells whether any name in it was made, moved or removed since the last look at
//! the path, or the directory itself was moved: a third of the price. That says nothing of directories further up, so the path
//! is looked at once in a millisecond all the same.
//!
//! What always holds: only "nothing has changed" is taken from the directory, and only if its time was old enough when the
//! path was looked at for any later change to give it another one, whatever the grain of the file system's times: the clock
//! that gives them had ticked since. A change that was under way then, whose time may be older than its effect, is waited for
//! before the path is looked at. Everything else is answered by the path. A path that is a link is always looked at: names
//! beside its target tell nothing here.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock;
use crate::fds::FdCell;
use crate::fs::{self, Facts, Identity};
use crate::sys;

/// How long a look at the path is good for.
const LOOKED_NS: u64 = 1_000_000;
/// Records that come less often than this are not worth a look at the directory: to learn of it takes two looks at paths.
const BUSY_NS: u64 = 100_000;
/// The kernel's clock for files must be so far beyond a time for no later change to give that again: the coarsest grain that is
/// not seen from the time itself.
const GRAIN_NS: u64 = 1_000_000;
/// The same where that clock is not known to be the one that gives the times, or changes under way are not waited for.
const SETTLED_NS: u64 = 50_000_000;
/// The same where the file system keeps no fine times: FAT counts in steps of two seconds.
const COARSELY_SETTLED_NS: u64 = 3_000_000_000;

/// One log's path, seen from one process. Used by the holder of the lease alone.
pub(crate) struct Watch {
    folder: FdCell,
    is_exact: AtomicBool,
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
            is_exact: AtomicBool::new(false),
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
        let is_exact = from.is_exact.load(Ordering::Relaxed);
        self.is_exact.store(is_exact, Ordering::Relaxed);
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
            let opened = fs::open_folder(path).ok()?;
            let is_exact = fs::has_own_times(&opened) && is_quiet(opened.raw());
            self.is_exact.store(is_exact, Ordering::Relaxed);
            self.folder.set(opened);
        }
        let is_exact = self.is_exact.load(Ordering::Relaxed);
        // The clock first: what begins after that gets a later time. What had begun is over before the path is looked at.
        let now_ns = clock::file_ns();
        let changed_ns = self.folder_changed_ns()?;
        let tells =
            is_settled(changed_ns, now_ns, is_exact) && (!is_exact || is_quiet(self.folder.raw()));
        tells.then_some(changed_ns)
    }
}

/// Whether nobody is in the middle of changing the directory, once whoever was is done.
fn is_quiet(folder: RawFd) -> bool {
    sys::borrow(folder).is_some_and(sys::await_changes)
}

/// Whether the clock is far enough beyond a time. One with nothing below the millisecond may be a coarse one.
fn is_settled(changed_ns: u64, now_ns: u64, is_exact: bool) -> bool {
    let needed_ns = match (changed_ns % 1_000_000, is_exact) {
        (0, _) => COARSELY_SETTLED_NS,
        (_, true) => GRAIN_NS,
        (_, false) => SETTLED_NS,
    };
    now_ns.saturating_sub(changed_ns) > needed_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self as stdfs, File};
    use std::os::unix::fs::symlink;

    struct Log {
        folder: tempfile::TempDir,
        watch: Watch,
        now_ns: u64,
    }

    impl Log {
        /// A log whose directory has not changed for long enough.
        fn new() -> Log {
            let folder = tempfile::tempdir().unwrap();
            stdfs::write(folder.path().join("app.log"), "line\n").unwrap();
            let log = Log {
                folder,
                watch: Watch::new(),
                now_ns: 1 << 40,
            };
            while !log.is_settled() {
                std::thread::yield_now();
            }
            log
        }

        fn is_settled(&self) -> bool {
            let opened = fs::open_folder(self.folder.path()).unwrap();
            let changed_ns = fs::folder_changed_ns(opened.raw(), opened.identity()).unwrap();
            is_settled(changed_ns, clock::file_ns(), fs::has_own_times(&opened))
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
        let changes: [Change; 5] = [
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
                let folder = path.parent().unwrap();
                let moved = folder.with_extension("moved");
                stdfs::rename(folder, &moved).unwrap();
                stdfs::create_dir(folder).unwrap();
                stdfs::write(path, "").unwrap();
                stdfs::remove_dir_all(moved).unwrap();
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
        let at = 10 * S + 123_456_789;
        assert!(is_settled(at, 10 * S + 200_000_000, false));
        assert!(!is_settled(at, 10 * S + 140_000_000, false));
        assert!(is_settled(at, at + 1_000_001, true));
        assert!(!is_settled(at, at + 1_000_000, true));
        for is_exact in [false, true] {
            assert!(!is_settled(10 * S, 12 * S, is_exact), "FAT's next step");
            assert!(is_settled(10 * S, 14 * S, is_exact));
            assert!(
                !is_settled(10 * S, 9 * S, is_exact),
                "a clock that is behind"
            );
        }
    }

    /// What the kernel's clock for files is used for: once it is beyond the time of a change, the next gives another time,
    /// however soon it follows.
    #[test]
    fn two_changes_with_a_tick_between_them_have_two_times() {
        let folder = tempfile::tempdir().unwrap();
        let opened = fs::open_folder(folder.path()).unwrap();
        if !fs::has_own_times(&opened) {
            return println!("skipped: the directory's times are not the kernel's own");
        }
        let changed_ns = || fs::folder_changed_ns(opened.raw(), opened.identity()).unwrap();
        for number in 0..200 {
            stdfs::write(folder.path().join(number.to_string()), "").unwrap();
            let before_ns = changed_ns();
            while clock::file_ns().saturating_sub(before_ns) <= GRAIN_NS {
                std::hint::spin_loop();
            }
            assert_eq!(changed_ns(), before_ns);
            stdfs::write(folder.path().join(format!("{number}.new")), "").unwrap();
            assert!(changed_ns() > before_ns, "change {number}");
        }
    }

    /// A directory that has just changed may change again without another time: it tells nothing.
    #[test]
    fn a_fresh_change_and_a_link_are_not_trusted() {
        let mut log = Log::new();
        let known = log.identity();
        let is_asked_afresh = |number: u32, log: &mut Log| {
            stdfs::write(log.folder.path().join(number.to_string()), "").unwrap();
            let all = (0..5).all(|_| log.look(10_000, known).is_some());
            // A machine that was busy elsewhere meanwhile makes no fresh change.
            (!log.is_settled()).then_some(all)
        };
        let asked = (0..1000).find_map(|number| is_asked_afresh(number, &mut log));
        assert_eq!(asked, Some(true));

        let path = log.folder.path().join("app.log");
        let elsewhere = tempfile::tempdir().unwrap();
        stdfs::rename(&path, elsewhere.path().join("real"))
            .or_else(|_| stdfs::remove_file(&path))
            .unwrap();
        stdfs::write(elsewhere.path().join("real"), "line\n").unwrap();
        symlink(elsewhere.path().join("real"), &path).unwrap();
        while !log.is_settled() {
            std::thread::yield_now();
        }
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
