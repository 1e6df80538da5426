//! What a `LogRecord` has of itself, told apart from the fields that were added to it.
//!
//! This is asked for every key of every record. The keys of a record mostly are the very objects that Python keeps for these
//! names, in the same order each time; so identity is tried first, and text only where first letter and length fit.

use pyo3::prelude::*;
use pyo3::types::PyString;

/// The attributes in the order in which `LogRecord` sets them.
pub(crate) const KEYS: [&str; 24] = [
    "name",
    "msg",
    "args",
    "levelname",
    "levelno",
    "pathname",
    "filename",
    "module",
    "exc_info",
    "exc_text",
    "stack_info",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "processName",
    "process",
    "taskName",
    // Left behind by formatters; the last one is uvicorn's.
    "message",
    "asctime",
    "color_message",
];

/// Places in [`KEYS`].
pub(crate) mod place {
    pub(crate) const NAME: usize = 0;
    pub(crate) const MSG: usize = 1;
    pub(crate) const LEVEL_NAME: usize = 3;
    pub(crate) const LEVEL_NUMBER: usize = 4;
    pub(crate) const PATH: usize = 5;
    pub(crate) const EXC_INFO: usize = 8;
    pub(crate) const STACK: usize = 10;
    pub(crate) const LINE: usize = 11;
    pub(crate) const FUNCTION: usize = 12;
    pub(crate) const CREATED: usize = 13;
    pub(crate) const THREAD: usize = 16;
    pub(crate) const THREAD_NAME: usize = 17;
    pub(crate) const PROCESS_NAME: usize = 18;
    pub(crate) const PROCESS: usize = 19;
}

/// One more than the longest key.
const LENGTHS: usize = 16;

/// For each length, a bit for each letter (its last five bits) that a key of that length begins with.
const FIRST_LETTERS: [u32; LENGTHS] = {
    let mut letters = [0; LENGTHS];
    let mut place = 0;
    while place < KEYS.len() {
        let key = KEYS[place].as_bytes();
        letters[key.len()] |= 1 << (key[0] & 31);
        place += 1;
    }
    letters
};

/// [`KEYS`] as Python's own text objects.
pub(crate) struct Keys {
    known: Vec<Py<PyString>>,
}

impl Keys {
    pub(crate) fn new(py: Python<'_>) -> Keys {
        let intern = |key: &&str| PyString::intern(py, key).unbind();
        Keys {
            known: KEYS.iter().map(intern).collect(),
        }
    }

    /// Where `key` is in [`KEYS`], if it is; most likely at `expected`.
    #[inline]
    pub(crate) fn place_of(&self, key: &Bound<'_, PyAny>, expected: usize) -> Option<usize> {
        if let Some(known) = self.known.get(expected)
            && key.is(known)
        {
            return Some(expected);
        }
        let key = key.cast::<PyString>().ok()?.to_str().ok()?.as_bytes();
        let letters = *FIRST_LETTERS.get(key.len())?;
        let first = *key.first()?;
        if letters >> (first & 31) & 1 == 0 {
            return None;
        }
        KEYS.iter().position(|known| known.as_bytes() == key)
    }
}
