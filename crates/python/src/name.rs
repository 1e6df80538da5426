//! Names of attributes and methods, made once in the life of the process.
//!
//! As PyO3's `intern!`, but nobody waits for whoever is making one. That gives the interpreter's lock away in the middle, so that a
//! fork may leave it behind half done, and then the child would wait for ever.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A text that is made when it is first asked for.
pub(crate) struct Name {
    text: &'static str,
    made: AtomicPtr<PyObject>,
}

impl Name {
    pub const fn new(text: &'static str) -> Name {
        Name {
            text,
            made: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub fn get<'py>(&self, py: Python<'py>) -> Borrowed<'static, 'py, PyString> {
        let mut object = self.made.load(Ordering::Acquire);
        if object.is_null() {
            object = self.make(py);
        }
        // SAFETY: a text, of which the reference that was taken when it was made is never given back.
        unsafe { Borrowed::from_ptr(py, object).cast_unchecked() }
    }

    #[cold]
    fn make(&self, py: Python<'_>) -> *mut PyObject {
        let made = PyString::intern(py, self.text).into_ptr();
        let before =
            self.made
                .compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        match before {
            Ok(_) => made,
            Err(first) => {
                // SAFETY: ours, and nobody else has it.
                unsafe { ffi::Py_DECREF(made) };
                first
            }
        }
    }
}

/// `name!(py, "text")`: the text, as an object.
macro_rules! name {
    ($py:expr, $text:literal) => {{
        static NAME: $crate::name::Name = $crate::name::Name::new($text);
        NAME.get($py)
    }};
}
pub(crate) use name;
