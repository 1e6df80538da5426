//! Who called a logger: the first frame that is not of the module `logging`, as `Logger.findCaller` finds it.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::name::name;

/// Where a call stands.
pub(crate) struct Caller<'py> {
    pub file: Bound<'py, PyAny>,
    pub line: Bound<'py, PyAny>,
    pub function: Bound<'py, PyAny>,
}

impl<'py> Caller<'py> {
    /// The one of now; `logging` is the file of that module. None: there is none.
    pub fn find(py: Python<'py>, logging: &Py<PyAny>) -> PyResult<Option<Caller<'py>>> {
        // SAFETY: the running frame, borrowed; null where there is none.
        let frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) };
        let Some(mut frame) = frame else {
            return Ok(None);
        };
        loop {
            let code = frame.getattr(name!(py, "f_code"))?;
            let file = code.getattr(name!(py, "co_filename"))?;
            if !file.is(logging) && !file.eq(logging)? {
                return Ok(Some(Caller {
                    file,
                    line: frame.getattr(name!(py, "f_lineno"))?,
                    function: code.getattr(name!(py, "co_name"))?,
                }));
            }
            frame = frame.getattr(name!(py, "f_back"))?;
            if frame.is_none() {
                return Ok(None);
            }
        }
    }
}
