//! Whether this thread is inside a function of a log already, which a signal handler finds out.

use std::cell::Cell;

thread_local! {
    /// How deep this thread is inside the functions of a log: more than once only in a signal handler.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// A record was published from inside: whoever is outermost makes sure that it is drained.
    pub(super) static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// This thread is inside a function of a log. A signal handler that publishes finds that out here, and then takes no
/// lock that its own thread may have: it stores its record if that is possible at once, and leaves the draining to the
/// call that it interrupted.
pub(super) struct Inside {
    pub nested: bool,
}

impl Inside {
    #[inline]
    pub fn enter() -> Inside {
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        Inside { nested: depth > 0 }
    }

    /// Leaves, with all locks given back before. True: something was published from inside.
    #[inline]
    pub fn leave(self) -> bool {
        let nested = self.nested;
        drop(self);
        !nested && INTERRUPTED.replace(false)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
