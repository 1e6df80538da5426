//! Methods of Python classes that are native for speed, and have a Python function that does the same where the short way is not
//! theirs to go (`gate`, `logger`, `handling`).
//!
//! What always holds: no panic crosses into the interpreter, and what fails on the short way is done again by the function, which
//! then fails as it always did. Who calls Python code counts itself among those that are [`inside`](crate::inside).

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyException;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

/// A native method for instances of `class`, which takes its arguments as the interpreter has them.
///
/// # Safety
/// `function` is what the interpreter may call with an instance of `class` and any arguments.
pub(crate) unsafe fn define<'py>(
    class: &Bound<'py, PyType>,
    name: &'static CStr,
    doc: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
) -> PyResult<Bound<'py, PyAny>> {
    let definition = Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    });
    // SAFETY: a class, and a definition that lives for ever; the function has the signature that its flags say.
    unsafe {
        let made = ffi::PyDescr_NewMethod(class.as_type_ptr(), Box::leak(definition));
        Bound::from_owned_ptr_or_err(class.py(), made)
    }
}

/// What came of the short way.
pub(crate) enum Quick {
    /// All that the method does.
    Done,
    /// An exception that ends the program is set.
    Raised,
    /// Nothing: the function is to be called.
    Not,
}

/// Goes the short way, which answers whether it has done all.
#[inline]
pub(crate) fn quickly(py: Python<'_>, way: impl FnOnce() -> PyResult<bool>) -> Quick {
    match catch_unwind(AssertUnwindSafe(way)) {
        Ok(Ok(true)) => Quick::Done,
        Ok(Err(error)) if !error.is_instance_of::<PyException>(py) => {
            error.restore(py);
            Quick::Raised
        }
        _ => Quick::Not,
    }
}

/// Calls the original of a method with all that came.
///
/// # Safety
/// As for the method itself: called with the interpreter lock, `args` has `count` objects, and those that `names` names.
pub(crate) unsafe fn pass_on(
    original: &Py<PyAny>,
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above; behind the positional arguments stand those that `names` names.
    unsafe {
        let py = Python::assume_attached();
        let call = || {
            let named = match names.is_null() {
                true => None,
                false => Some(Bound::from_borrowed_ptr(py, names).cast_into::<PyTuple>()?),
            };
            let mut plain = vec![Bound::from_borrowed_ptr(py, this)];
            plain.extend((0..count).map(|at| Bound::from_borrowed_ptr(py, *args.offset(at))));
            let plain = PyTuple::new(py, plain)?;
            let keywords = PyDict::new(py);
            for (index, name) in named.iter().flat_map(|names| names.iter()).enumerate() {
                let value = *args.offset(count + index as ffi::Py_ssize_t);
                keywords.set_item(name, Bound::from_borrowed_ptr(py, value))?;
            }
            original.bind(py).call(plain, Some(&keywords))
        };
        match call() {
            Ok(answer) => answer.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    }
}
