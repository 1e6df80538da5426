//! How many threads are inside of a native method that may call Python code.
//!
//! Before CPython 3.14 a daemon thread that asks for the interpreter's lock while the interpreter ends is ended where it stands, by
//! unwinding its stack. Native frames cannot be unwound so: the process would be aborted. `python/logboom/_exit.py` therefore puts
//! Python's own methods back before that, and waits until nobody is inside of ours.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// This thread is inside; counted by who has the interpreter's lock at both ends, so that loads and stores are enough.
pub(crate) struct Inside;

impl Inside {
    /// Begins with the interpreter's lock held, and must end so.
    #[inline]
    pub fn enter(_: Python<'_>) -> Inside {
        INSIDE.store(INSIDE.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Inside
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        // A fork inside has forgotten this.
        let others = INSIDE.load(Ordering::Relaxed).saturating_sub(1);
        INSIDE.store(others, Ordering::Relaxed);
    }
}

/// The number of threads that are inside of a native method which may call Python code.
#[pyfunction]
pub(crate) fn threads_inside() -> usize {
    INSIDE.load(Ordering::Relaxed)
}

/// In a forked process: the other threads are not there.
#[pyfunction]
pub(crate) fn forget_threads_inside() {
    INSIDE.store(0, Ordering::Relaxed);
}
