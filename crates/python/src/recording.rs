//! Records that are only recorded, made without a `logging.LogRecord`: `logging.Logger._log` for levels that the recorder
//! has and the files have not.
//!
//! The cache of a logger names a [`Recording`] where that is possible: what is below its level then goes from the message and
//! its arguments into the recorder, and no Python object is made of it. Whatever is not plain (an exception, `extra`, a
//! `stacklevel`, a filter, a formatter or a record factory of the application, a message that cannot be formatted, a rule
//! that may want the record) goes the standard library's way, to `_levels`, and is recorded there.
//!
//! What always holds: the record says what a `LogRecord` would have said; nothing raises that would not raise there.

use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use logboom::Severity;
use logboom::rules::Verdict;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyModule, PyString, PyTuple, PyType};

use crate::encoder::{Encoder, Parts};
use crate::gate;
use crate::inside::Inside;
use crate::keys::place;
use crate::log::Log;
use crate::method::{self, Quick};
use crate::moment;
use crate::name::name;

/// Where records of one logger go that are below its level.
#[pyclass(frozen, module = "logboom._native")]
pub(crate) struct Recording {
    log: Py<Log>,
    below: i64,
    encoder: Py<Encoder>,
    /// For what viewers read, where the line is no JSON object.
    json: Option<Py<Encoder>>,
    /// Whose filters and formatter would be asked.
    handler: Py<PyAny>,
    /// The request of now, and the fields that are bound.
    current: Py<PyAny>,
    bound: Py<PyAny>,
}

#[pymethods]
impl Recording {
    #[new]
    #[pyo3(signature = (log, below, encoder, json, handler, current, bound))]
    #[allow(clippy::too_many_arguments, reason = "it holds so much")]
    fn new(
        log: Py<Log>,
        below: i64,
        encoder: Py<Encoder>,
        json: Option<Py<Encoder>>,
        handler: Py<PyAny>,
        current: Py<PyAny>,
        bound: Py<PyAny>,
    ) -> Recording {
        Recording {
            log,
            below,
            encoder,
            json,
            handler,
            current,
            bound,
        }
    }
}

/// What is asked of the standard library for each record; set once, as the method is made once.
struct Words {
    original: Py<PyAny>,
    logging: Py<PyModule>,
    record: Py<PyAny>,
    mapping: Py<PyAny>,
    level_names: Py<PyDict>,
    source: Py<PyAny>,
    key: Py<PyAny>,
    rules_key: Py<PyAny>,
}

static WORDS: OnceLock<Words> = OnceLock::new();

const NAME: &CStr = c"_log";
const DOC: &CStr = c"_log($self, level, msg, args, **kwargs)\n--\n\nAs in the standard library; what logboom only records makes no LogRecord.";

/// The method for the class `logger`. `original` is the standard library's; `key` is where a logger's cache has its
/// `Recording`, `rules_key` where it has the token of the rules. The first call counts.
#[pyfunction]
pub(crate) fn recording_method<'py>(
    logger: &Bound<'py, PyType>,
    original: Py<PyAny>,
    key: Py<PyAny>,
    rules_key: Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = logger.py();
    let logging = py.import("logging")?;
    let words = Words {
        original,
        record: logging.getattr("LogRecord")?.unbind(),
        level_names: logging
            .getattr("_levelToName")?
            .cast_into::<PyDict>()?
            .unbind(),
        source: logging.getattr("_srcfile")?.unbind(),
        logging: logging.unbind(),
        mapping: py.import("collections.abc")?.getattr("Mapping")?.unbind(),
        key,
        rules_key,
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
        let call = [logger, *args, *args.add(1), *args.add(2)].map(borrowed);
        match method::quickly(py, || record(words, &call)) {
            Quick::Done => ffi::Py_NewRef(ffi::Py_None()),
            Quick::Raised => ptr::null_mut(),
            Quick::Not => ffi::PyObject_CallFunctionObjArgs(
                words.original.as_ptr(),
                logger,
                *args,
                *args.add(1),
                *args.add(2),
                ptr::null_mut::<PyObject>(),
            ),
        }
    }
}

/// Records it. False: not this way.
fn record(words: &Words, call: &[Bound<'_, PyAny>; 4]) -> PyResult<bool> {
    let [logger, level, message, args] = call;
    let py = logger.py();
    let cache = logger.getattr(name!(py, "_cache"))?;
    let Ok(cache) = cache.cast::<PyDict>() else {
        return Ok(false);
    };
    let Some(recording) = cache.get_item(&words.key)? else {
        return Ok(false);
    };
    let Ok(recording) = recording.cast::<Recording>() else {
        return Ok(false);
    };
    let recording = recording.get();
    let Ok(number) = level.extract::<i64>() else {
        return Ok(false);
    };
    if number >= recording.below || !gate::is_current() {
        return Ok(false);
    }
    let has_rules = !gate::token().is_null();
    if has_rules {
        let known = cache.get_item(&words.rules_key)?;
        if known.is_none_or(|known| known.as_ptr().cast_const() != gate::token()) {
            return Ok(false);
        }
    }
    if !is_plain(words, logger, recording)? {
        return Ok(false);
    }
    let Some(text) = formatted(words, message, args)? else {
        return Ok(false);
    };
    let level_name = match words.level_names.bind(py).get_item(level)? {
        Some(name) => name,
        None => words
            .logging
            .bind(py)
            .call_method1(name!(py, "getLevelName"), (level,))?,
    };
    let Some(mut parts) = about_the_caller(words, py)? else {
        return Ok(false);
    };
    parts.slots[place::NAME] = Some(logger.getattr(name!(py, "name"))?);
    parts.slots[place::MSG] = Some(message.clone());
    parts.slots[place::LEVEL_NAME] = Some(level_name);
    parts.slots[place::LEVEL_NUMBER] = Some(level.clone());
    recording.keep(parts, &text, number, has_rules)?;
    Ok(true)
}

/// Nobody of the application's wants to see a `LogRecord`.
fn is_plain(words: &Words, logger: &Bound<'_, PyAny>, recording: &Recording) -> PyResult<bool> {
    let py = logger.py();
    let has_filters = |of: &Bound<'_, PyAny>| -> PyResult<bool> {
        let filters = of.getattr(name!(py, "filters"))?;
        Ok(filters.cast::<PyList>().is_ok_and(|list| list.is_empty()))
    };
    let handler = recording.handler.bind(py);
    let factory = words
        .logging
        .bind(py)
        .getattr(name!(py, "_logRecordFactory"))?;
    Ok(has_filters(logger)?
        && has_filters(handler)?
        && handler.getattr(name!(py, "formatter"))?.is_none()
        && factory.is(&words.record))
}

/// The message with its arguments, as `LogRecord` has it. None: leave it to that.
fn formatted<'py>(
    words: &Words,
    message: &Bound<'py, PyAny>,
    args: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = message.py();
    let text = match message.is_exact_instance_of::<PyString>() {
        true => message.clone(),
        false => message.str()?.into_any(),
    };
    let Ok(args) = args.cast_exact::<PyTuple>() else {
        return Ok(None);
    };
    if args.is_empty() {
        return Ok(Some(text));
    }
    let mut values = args.clone().into_any();
    if args.len() == 1 {
        let only = args.get_item(0)?;
        let is_basic =
            only.is_exact_instance_of::<PyString>() || only.is_exact_instance_of::<PyInt>();
        if !is_basic && only.is_instance(words.mapping.bind(py))? && only.is_truthy()? {
            values = only;
        }
    }
    Ok(Some(text.rem(values)?))
}

/// Where the call stands, when, in which thread and process. None: that cannot be told in the short way.
fn about_the_caller<'py>(words: &Words, py: Python<'py>) -> PyResult<Option<Parts<'py>>> {
    let Some((file, line, function)) = caller(words, py)? else {
        return Ok(None);
    };
    let mut parts = Parts::new();
    parts.slots[place::PATH] = Some(file);
    parts.slots[place::LINE] = Some(line);
    parts.slots[place::FUNCTION] = Some(function);
    moment::note(py, &mut parts)?;
    Ok(Some(parts))
}

/// File, line and function of the first frame that is not of the module `logging`, as `Logger.findCaller` finds it.
#[allow(clippy::type_complexity, reason = "three things of one frame")]
fn caller<'py>(
    words: &Words,
    py: Python<'py>,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    // SAFETY: the running frame, borrowed; null where there is none.
    let frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) };
    let Some(mut frame) = frame else {
        return Ok(None);
    };
    loop {
        let code = frame.getattr(name!(py, "f_code"))?;
        let file = code.getattr(name!(py, "co_filename"))?;
        if !file.is(&words.source) && !file.eq(&words.source)? {
            let line = frame.getattr(name!(py, "f_lineno"))?;
            let function = code.getattr(name!(py, "co_name"))?;
            return Ok(Some((file, line, function)));
        }
        frame = frame.getattr(name!(py, "f_back"))?;
        if frame.is_none() {
            return Ok(None);
        }
    }
}

impl Recording {
    fn keep<'py>(
        &self,
        mut parts: Parts<'py>,
        message: &Bound<'py, PyAny>,
        level: i64,
        has_rules: bool,
    ) -> PyResult<()> {
        let py = message.py();
        let request = Some(self.current.bind(py).call0()?).filter(|request| !request.is_none());
        let fields = self.bound.bind(py).call0()?;
        parts.add(&fields)?;
        let log = self.log.get().log()?;
        let (encoder, json) = (self.encoder.get(), self.json.as_ref().map(Py::get));
        encoder.with_record(parts, message, request.as_ref(), None, |record| {
            let (mut line, mut object) = (Vec::with_capacity(256), Vec::new());
            encoder.native().encode(record, &mut line);
            if let Some(json) = json {
                object.reserve(512);
                json.native().encode(record, &mut object);
            }
            let verdict = Verdict::default();
            let names = [record.component, record.request.id];
            let severity = Severity::from_python(level);
            let parts = [object.trim_ascii_end(), line.trim_ascii_end()];
            match has_rules {
                // None of them wants it.
                true => log.record_judged(verdict, false, severity, names, parts),
                false => log.record(severity, names[0], names[1], parts[0], parts[1]),
            }
        })
    }
}
