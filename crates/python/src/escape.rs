//! The function `escape`: `logboom::files::escape` for Python text. Clean text, the normal case, comes back as it is.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Shows control characters and line breaks of `text` as `\xNN` or `\uNNNN`. With `continuation`, LF stays and is
/// followed by four spaces, so that a traceback remains readable and still cannot look like a record of its own.
#[pyfunction]
pub(crate) fn escape<'py>(
    text: Bound<'py, PyString>,
    continuation: bool,
) -> PyResult<Bound<'py, PyString>> {
    let escaped = match logboom::files::escape::escape(text.to_str()?, continuation) {
        Cow::Borrowed(_) => None,
        Cow::Owned(escaped) => Some(escaped),
    };
    Ok(escaped.map_or(text.clone(), |escaped| PyString::new(text.py(), &escaped)))
}
