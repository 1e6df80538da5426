//! Descriptors that are kept for long, each with the file it was opened for, readable without a lock.
//!
//! A forked child takes the numbers over; a number that has become somebody else's file is forgotten, never closed.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::fs::{self, Descriptor, Facts, Identity};
use crate::layout::FILES;
use crate::sys;

/// One descriptor, or none. Changed only by who has the right to (the holder of the lease, a process for itself).
pub(crate) struct FdCell {
    fd: AtomicI32,
    dev: AtomicU64,
    ino: AtomicU64,
}

impl FdCell {
    pub fn empty() -> FdCell {
        FdCell {
            fd: AtomicI32::new(-1),
            dev: AtomicU64::new(0),
            ino: AtomicU64::new(0),
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

/// The log files that this process has open.
pub(crate) struct LogFds([FdCell; FILES]);

impl LogFds {
    pub fn new() -> LogFds {
        LogFds(std::array::from_fn(|_| FdCell::empty()))
    }

    /// Takes over what a forebear had open: a process that has dropped its privileges can go on writing.
    pub fn inherit(&self, from: &LogFds) {
        for (to, from) in self.0.iter().zip(&from.0) {
            to.inherit(from);
        }
    }

    #[inline]
    pub fn of(&self, file: u16) -> &FdCell {
        &self.0[usize::from(file)]
    }
}
