//! Who sent a signal: `logboom::senders` for the toggle by a signal.

use logboom::senders;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Have the sender of this signal noted, in front of the handler that it has. False: it has none.
#[pyfunction]
pub(crate) fn note_signal(number: i32) -> PyResult<bool> {
    senders::note(number).map_err(|error| match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    })
}

/// The last of these signals since the last call: its sender and when it came, or None.
#[pyfunction]
pub(crate) fn signal_arrival(number: i32) -> Option<(u32, u64)> {
    senders::arrival(number).map(|arrival| (arrival.sender, arrival.at_ns))
}
