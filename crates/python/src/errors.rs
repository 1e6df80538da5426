//! Errors of the crate `logboom` as Python exceptions.
//!
//! An option that cannot be is a `ValueError`; what could not be had in time, since another process or thread has it, is a
//! `TimeoutError`. Everything else is an `OSError`, as that is: with the system's error number where one was behind it (so that `except
//! FileNotFoundError` works as with the standard library's handlers), else with the text alone.

use logboom::{Error, ErrorKind};
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyTimeoutError, PyValueError};

/// The exception for `error`, its text unchanged.
pub(crate) fn to_python(error: &Error) -> PyErr {
    let text = error.to_string();
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::Invalid, _) => PyValueError::new_err(text),
        (ErrorKind::Busy, None) => PyTimeoutError::new_err(text),
        (_, Some(number)) => PyOSError::new_err((number, text)),
        (_, None) => PyOSError::new_err(text),
    }
}

/// What every call answers on a log that was closed: the words of Python's own files.
pub(crate) fn closed() -> PyErr {
    PyValueError::new_err("I/O operation on closed log")
}
