//! `logging.Logger._log`, in which every call of a logger ends that is enabled: without a `logging.LogRecord`, where nobody would
//! see one.
//!
//! There are two such ways: a record that is only recorded (`recording`), and one that a single handler of ours writes (`direct`).
//! Whatever is not plain (an exception, `extra`, a `stacklevel`, a record factory of the application) is not theirs and goes the
//! standard library's way; so does what fails on the way, which then fails there as it always did.

use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyString, PyTuple, PyType};

use crate::caller::Caller;
use crate::direct::{self, Direct};
use crate::encoder::Parts;
use crate::inside::Inside;
use crate::keys::place;
use crate::method::{self, Quick};
use crate::moment;
use crate::name::name;
use crate::recording;

/// What is asked of the standard library for each record; set once, as the method is made once.
pub(crate) struct Words {
    original: Py<PyAny>,
    /// What the module `logging` has now.
    logging: Py<PyDict>,
    record: Py<PyType>,
    init: Py<PyAny>,
    get_message: Py<PyAny>,
    mapping: Py<PyAny>,
    level_names: Py<PyDict>,
    /// The module's file.
    pub source: Py<PyAny>,
    /// Where a logger's cache has its `Recording`, and the token of the rules.
    pub key: Py<PyAny>,
    pub rules_key: Py<PyAny>,
    /// None: `logging` is not as it was written.
    direct: Option<Direct>,
}

static WORDS: OnceLock<Words> = OnceLock::new();

const NAME: &CStr = c"_log";
const DOC: &CStr = c"_log($self, level, msg, args, **kwargs)\n--\n\nAs in the standard library; where nobody would see it, no LogRecord is made.";

/// The method for the class `logger`. `original` is the standard library's; `key` is where a logger's cache has its
/// `Recording`, `rules_key` where it has the token of the rules. `is_standard`: nobody has replaced what makes records. The first
/// call counts.
#[pyfunction]
pub(crate) fn log_method<'py>(
    logger: &Bound<'py, PyType>,
    original: Py<PyAny>,
    key: Py<PyAny>,
    rules_key: Py<PyAny>,
    is_standard: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = logger.py();
    let logging = py.import("logging")?;
    let record = logging.getattr("LogRecord")?.cast_into::<PyType>()?;
    let words = Words {
        original,
        init: record.getattr("__init__")?.unbind(),
        get_message: record.getattr("getMessage")?.unbind(),
        record: record.unbind(),
        level_names: logging
            .getattr("_levelToName")?
            .cast_into::<PyDict>()?
            .unbind(),
        source: logging.getattr("_srcfile")?.unbind(),
        logging: logging.dict().unbind(),
        mapping: py.import("collections.abc")?.getattr("Mapping")?.unbind(),
        key,
        rules_key,
        direct: is_standard.then(|| Direct::new(logger)).transpose()?,
    };
    let _ = WORDS.set(words);
    // SAFETY: the function takes any arguments.
    unsafe { method::define(logger, NAME, DOC, log) }
}

/// `_log(self, level, msg, args, **kwargs)`.
///
/// # Safety
/// Called by the interpreter: `logger` is an instance of the class, `args` has `count` objects, and those that `names` names.
unsafe extern "C" fn log(
    logger: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let Some(words) = WORDS.get() else {
        return ptr::null_mut();
    };
    // SAFETY: the interpreter calls with its lock held, and its arguments live until we return.
    unsafe {
        let py = Python::assume_attached();
        let _inside = Inside::enter(py);
        if count != 3 || !names.is_null() {
            return method::pass_on(&words.original, logger, args, count, names);
        }
        let borrowed = |object: *mut PyObject| Bound::from_borrowed_ptr(py, object);
        let [logger, level, message, args] =
            [logger, *args, *args.add(1), *args.add(2)].map(borrowed);
        let call = Call {
            logger,
            level,
            message,
            args,
        };
        match method::quickly(py, || words.log(&call)) {
            Quick::Done => ffi::Py_NewRef(ffi::Py_None()),
            Quick::Raised => ptr::null_mut(),
            Quick::Not => ffi::PyObject_CallFunctionObjArgs(
                words.original.as_ptr(),
                call.logger.as_ptr(),
                call.level.as_ptr(),
                call.message.as_ptr(),
                call.args.as_ptr(),
                ptr::null_mut::<PyObject>(),
            ),
        }
    }
}

/// What a logger was called with.
pub(crate) struct Call<'py> {
    pub logger: Bound<'py, PyAny>,
    pub level: Bound<'py, PyAny>,
    pub message: Bound<'py, PyAny>,
    pub args: Bound<'py, PyAny>,
}

impl Words {
    /// Records or publishes it. False: neither, and not this way.
    fn log(&self, call: &Call<'_>) -> PyResult<bool> {
        if recording::record(self, call)? {
            return Ok(true);
        }
        match &self.direct {
            Some(standard) => direct::publish(self, standard, call),
            None => Ok(false),
        }
    }

    /// What the module `logging` calls so now.
    pub fn now<'py>(&self, name: Borrowed<'_, 'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let found = self.logging.bind(name.py()).get_item(name)?;
        found.ok_or_else(|| pyo3::exceptions::PyNameError::new_err("logging has lost a name"))
    }

    /// Records are the standard library's.
    pub fn makes_log_records(&self, py: Python<'_>) -> PyResult<bool> {
        let record = self.record.bind(py);
        Ok(self.now(name!(py, "_logRecordFactory"))?.is(record)
            && record.getattr(name!(py, "__init__"))?.is(&self.init)
            && record
                .getattr(name!(py, "getMessage"))?
                .is(&self.get_message))
    }

    /// The record itself, for whoever has to see one after all.
    pub fn record<'py>(
        &self,
        call: &Call<'py>,
        caller: Option<&Caller<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = call.logger.py();
        let name = call.logger.getattr(name!(py, "name"))?;
        let (level, message, args) = (&call.level, &call.message, &call.args);
        let class = self.record.bind(py);
        match caller {
            Some(Caller { file, line, .. }) => {
                class.call1((name, level, file, line, message, args, py.None()))
            }
            None => class.call1((name, level, "(unknown file)", 0, message, args, py.None())),
        }
    }

    /// What a record has as its `levelname`.
    pub fn level_name<'py>(&self, level: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = level.py();
        match self.level_names.bind(py).get_item(level)? {
            Some(name) => Ok(name),
            None => self.now(name!(py, "getLevelName"))?.call1((level,)),
        }
    }

    /// What a record has of its call. None: who called cannot be told.
    pub fn parts<'py>(&self, call: &Call<'py>) -> PyResult<Option<Parts<'py>>> {
        let py = call.logger.py();
        let Some(caller) = Caller::find(py, &self.source)? else {
            return Ok(None);
        };
        let mut parts = Parts::new();
        moment::note(py, &mut parts)?;
        let mut set = |place: usize, value: Bound<'py, PyAny>| parts.slots[place] = Some(value);
        set(place::PATH, caller.file);
        set(place::LINE, caller.line);
        set(place::FUNCTION, caller.function);
        set(place::NAME, call.logger.getattr(name!(py, "name"))?);
        set(place::MSG, call.message.clone());
        set(place::LEVEL_NAME, self.level_name(&call.level)?);
        set(place::LEVEL_NUMBER, call.level.clone());
        Ok(Some(parts))
    }

    /// Records say which thread and process they are of.
    pub fn notes_workers(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.now(name!(py, "logThreads"))?.is_truthy()?
            && self.now(name!(py, "logProcesses"))?.is_truthy()?
            && self.now(name!(py, "logMultiprocessing"))?.is_truthy()?)
    }

    /// The message with its arguments, as `LogRecord` has it. None: leave it to that.
    pub fn formatted<'py>(&self, call: &Call<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = call.message.py();
        let text = match call.message.is_exact_instance_of::<PyString>() {
            true => call.message.clone(),
            false => call.message.str()?.into_any(),
        };
        let Ok(args) = call.args.cast_exact::<PyTuple>() else {
            return Ok(None);
        };
        if args.is_empty() {
            return Ok(Some(text));
        }
        let mut values = args.clone().into_any();
        if args.len() == 1 {
            let only = args.get_item(0)?;
            let is_basic = only.is_exact_instance_of::<PyString>()
                || only.is_exact_instance_of::<PyInt>()
                || only.is_exact_instance_of::<PyFloat>();
            if !is_basic && only.is_instance(self.mapping.bind(py))? && only.is_truthy()? {
                values = only;
            }
        }
        Ok(Some(text.rem(values)?))
    }
}
