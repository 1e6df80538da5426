//! Descriptors that are kept for long, each with the file it was opened for, readable without a lock.
//!
//! A forked child takes the numbers over; a number that has become somebody else's file is forgotten, never closed.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::fs::{self, Descriptor, Facts, Identity};
use crate::layout::FILES;
use crate::sys;
use crate::watch::Watch;

/// For so long after a look at all that a descriptor is, its length alone tells; see [`FdCell::check_briefly`].
const LOOKED_NS: u64 = 1_000_000;
/// A file that is shorter may well be as long as another.
const TELLING_BYTES: u64 = 4096;

/// One descriptor, or none. Changed only by who has the right to (the holder of the lease, a process for itself).
pub(crate) struct FdCell {
    fd: AtomicI32,
    dev: AtomicU64,
    ino: AtomicU64,
    /// When this process looked last at what it is (monotonic); 0: never, or it may be something else by now.
    looked_ns: AtomicU64,
}

impl FdCell {
    pub fn empty() -> FdCell {
        FdCell {
            fd: AtomicI32::new(-1),
            dev: AtomicU64::new(0),
            ino: AtomicU64::new(0),
            looked_ns: AtomicU64::new(0),
        }
    }

    pub fn with(opened: Descriptor) -> FdCell {
        let cell = FdCell::empty();
        cell.set(opened);
        cell
    }

    pub fn identity(&self) -> Identity {
        Identity {
            dev: self.dev.load(Ordering::Relaxed),
            ino: self.ino.load(Ordering::Relaxed),
        }
    }

    pub fn raw(&self) -> RawFd {
        self.fd.load(Ordering::Acquire)
    }

    /// The descriptor, if it still is the file that it was opened for.
    #[inline]
    pub fn check(&self) -> Option<(BorrowedFd<'static>, Facts)> {
        let fd = sys::borrow(self.raw())?;
        let facts = fs::facts_of(fd)?;
        (facts.identity == self.identity()).then_some((fd, facts))
    }

    /// The same at `now_ns`, and the moment is noted.
    #[inline]
    pub fn check_at(&self, now_ns: u64) -> Option<(BorrowedFd<'static>, Facts)> {
        let found = self.check();
        let looked_ns = found.map_or(0, |_| now_ns);
        self.looked_ns.store(looked_ns, Ordering::Relaxed);
        found
    }

    /// The same for who writes one record after the other, at a third of the price: a moment after a whole look, a number that
    /// leads to a file of just the length which ours is known to have still is `known`. Within that moment the application
    /// would have to close the number and to open under it a file that is as long to the byte; and a file that was deleted is
    /// written on for that moment by who does not watch its path. None: nothing is said.
    #[inline]
    pub fn check_briefly(
        &self,
        now_ns: u64,
        known: Identity,
        len: u64,
    ) -> Option<(BorrowedFd<'static>, Facts)> {
        let is_telling = now_ns.wrapping_sub(self.looked_ns.load(Ordering::Relaxed)) < LOOKED_NS
            && len >= TELLING_BYTES
            && self.identity() == known;
        if !is_telling {
            return None;
        }
        let fd = sys::borrow(self.raw())?;
        (fs::end_of(fd) == Some(len)).then_some((fd, Facts::of_known(known, len)))
    }

    pub fn set(&self, opened: Descriptor) {
        self.forget();
        self.dev.store(opened.identity().dev, Ordering::Relaxed);
        self.ino.store(opened.identity().ino, Ordering::Relaxed);
        // ORDERING: the identity is there before the number is; pairs with `raw`.
        self.fd.store(opened.keep(), Ordering::Release);
    }

    /// Takes over the number that a forebear of this process has.
    pub fn inherit(&self, from: &FdCell) {
        self.dev
            .store(from.dev.load(Ordering::Relaxed), Ordering::Relaxed);
        self.ino
            .store(from.ino.load(Ordering::Relaxed), Ordering::Relaxed);
        self.fd.store(from.raw(), Ordering::Release);
    }

    /// Closes the descriptor if it is ours, and forgets it.
    pub fn forget(&self) {
        let fd = self.fd.swap(-1, Ordering::AcqRel);
        self.looked_ns.store(0, Ordering::Relaxed);
        if fd >= 0 {
            drop(Descriptor::inherited(fd, self.identity()));
        }
    }
}

impl Drop for FdCell {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The log files that this process has open, and what it knows of their paths.
pub(crate) struct LogFds {
    cells: [FdCell; FILES],
    watches: [Watch; FILES],
}

impl LogFds {
    pub fn new() -> LogFds {
        LogFds {
            cells: std::array::from_fn(|_| FdCell::empty()),
            watches: std::array::from_fn(|_| Watch::new()),
        }
    }

    /// Takes over what a forebear had open: a process that has dropped its privileges can go on writing.
    pub fn inherit(&self, from: &LogFds) {
        for (to, from) in self.cells.iter().zip(&from.cells) {
            to.inherit(from);
        }
        for (to, from) in self.watches.iter().zip(&from.watches) {
            to.inherit(from);
        }
    }

    #[inline]
    pub fn of(&self, file: u16) -> &FdCell {
        &self.cells[usize::from(file)]
    }

    #[inline]
    pub fn watch(&self, file: u16) -> &Watch {
        &self.watches[usize::from(file)]
    }
}
