//! When, in which thread and in which process something is logged that has no `logging.LogRecord`, in a `LogRecord`'s terms.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyModule};

use crate::encoder::Parts;
use crate::keys::place;
use crate::name::name;

static THREADING: OnceLock<Py<PyModule>> = OnceLock::new();
/// A process and its name.
static PROCESS: Mutex<(u32, Option<Py<PyAny>>)> = Mutex::new((0, None));

/// Puts that into `parts`.
pub(crate) fn note<'py>(py: Python<'py>, parts: &mut Parts<'py>) -> PyResult<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0.0, |now| now.as_secs_f64());
    let mut set = |place: usize, value: Bound<'py, PyAny>| parts.slots[place] = Some(value);
    set(place::CREATED, PyFloat::new(py, seconds).into_any());
    set(place::THREAD, thread_number(py)?);
    set(place::THREAD_NAME, thread_name(py)?);
    let process = std::process::id();
    set(place::PROCESS, process.into_pyobject(py)?.into_any());
    set(place::PROCESS_NAME, process_name(py, process)?);
    Ok(())
}

/// The thread's number.
pub(crate) fn thread_number(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    threading(py)?.call_method0(name!(py, "get_ident"))
}

/// The thread's name.
pub(crate) fn thread_name(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let thread = threading(py)?.call_method0(name!(py, "current_thread"))?;
    thread.getattr(name!(py, "name"))
}

/// The module. Nobody waits for whoever imports it: a fork may have left that thread behind.
fn threading<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyModule>> {
    if let Some(known) = THREADING.get() {
        return Ok(known.bind(py).clone());
    }
    let module = py.import("threading")?;
    let _ = THREADING.set(module.clone().unbind());
    Ok(module)
}

/// The name of the process of `multiprocessing`, asked for once in each process.
fn process_name<'py>(py: Python<'py>, process: u32) -> PyResult<Bound<'py, PyAny>> {
    {
        let known = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let (of, Some(name)) = &*known
            && *of == process
        {
            return Ok(name.bind(py).clone());
        }
    }
    let name = process_name_now(py)?;
    let kept = (process, Some(name.clone().unbind()));
    *PROCESS.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    Ok(name)
}

/// The same, asked for now.
pub(crate) fn process_name_now(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let modules = py.import("sys")?.getattr("modules")?;
    match modules.cast::<PyDict>()?.get_item("multiprocessing")? {
        Some(module) => module.call_method0("current_process")?.getattr("name"),
        None => Ok(name!(py, "MainProcess").to_owned().into_any()),
    }
}
