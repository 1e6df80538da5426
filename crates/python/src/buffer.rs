//! The memory in which a thread makes its lines: kept from one record to the next, within a bound.

use std::cell::Cell;

/// How much memory a thread keeps for its next record.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Taken while a record is made and published: one that is made meanwhile, by a value that logs, gets memory of its own.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Gives the thread's memory, empty, to `make`.
#[inline]
pub(crate) fn with<T>(make: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    // Without one when the thread is at its very end.
    let mut line = BUFFER.try_with(Cell::take).unwrap_or_default();
    line.clear();
    let made = make(&mut line);
    if line.capacity() <= KEPT_BYTES_MAX {
        let _ = BUFFER.try_with(|buffer| buffer.set(line));
    }
    made
}
