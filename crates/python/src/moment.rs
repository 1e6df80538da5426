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
    let threading = threading(py)?;
    let thread = threading.call_method0(name!(py, "current_thread"))?;
    let ident = threading.call_method0(name!(py, "get_ident"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0.0, |now| now.as_secs_f64());
    let mut set = |place: usize, value: Bound<'py, PyAny>| parts.slots[place] = Some(value);
    set(place::CREATED, PyFloat::new(py, seconds).into_any());
    set(place::THREAD, ident);
    set(place::THREAD_NAME, thread.getattr(name!(py, "name"))?);
    let process = std::process::id();
    set(place::PROCESS, process.into_pyobject(py)?.into_any());
    set(place::PROCESS_NAME, process_name(py, process)?);
    Ok(())
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
    let modules = py.import("sys")?.getattr("modules")?;
    let name = match modules.cast::<PyDict>()?.get_item("multiprocessing")? {
        Some(module) => module.call_method0("current_process")?.getattr("name")?,
        None => name!(py, "MainProcess").to_owned().into_any(),
    };
    let kept = (process, Some(name.clone().unbind()));
    *PROCESS.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    Ok(name)
}
