//! What a process does for its logs when it ends by `exit(3)` without closing them: a Rust program that calls `process::exit`, a
//! forked worker that borrowed its parent's log, an interpreter that keeps its handlers in modules.
//!
//! Its own thread is stopped, so that it is not killed in the middle of a write, and what it published is drained, within
//! [`crate::domain`]'s bound for leaving. Nothing is closed: other threads may publish until the very end. `_exit(2)` runs nothing
//! of this; then the next publisher, the next start or `recover` goes on.

use std::sync::OnceLock;

use super::Inside;
use crate::domain;
use crate::sys;

/// Makes sure that the process does this when it exits.
pub(super) fn prepare() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| sys::at_exit(finish));
}

extern "C" fn finish() {
    let _ = std::panic::catch_unwind(|| {
        // Whoever exits from a signal handler inside a log has locks that this would wait for.
        if !Inside::enter().nested {
            domain::finish_all();
        }
    });
}
