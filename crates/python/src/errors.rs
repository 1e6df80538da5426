//! Errors of the crate `logboom` as Python exceptions.
//!
//! An option that cannot be is a `ValueError`. Everything else is an `OSError`: with the system's error number where one was behind it (so that `except
//! FileNotFoundError` works as with the standard library's handlers), else with the text alone.

use logboom::{Error, ErrorKind};
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyValueError};

/// The exception for `error`, its text unchanged.
pub(crate) fn to_python(error: &Error) -> PyErr {
    if error.kind() == ErrorKind::Invalid {
        return PyValueError::new_err(error.to_string());
    }
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}

/// What every call answers on a log that was closed: the words of Python's own files.
pub(crate) fn closed() -> PyErr {
    PyValueError::new_err("I/O operation on closed log")
}
