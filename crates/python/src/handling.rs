//! `handle` of the file handlers: a plain record goes from the handler to the log in one native call.
//!
//! A record is plain where nothing but the standard library's own code would see it on its way: no filter, no method of the
//! handler, of the formatter or of the record replaced, a `logging.Formatter` of the style `%`, no traceback. Then this does
//! what `Handler.handle`, `FileHandler.emit` and `Formatter.format` do, in their order, with the handler's lock held, and
//! leaves in the record what they leave there (`message`, `asctime`). Everything else goes the usual way, `slow`; so does a
//! record that fails here before it is published, which then fails there as it always did.
//!
//! What always holds: a record is published once; no Python code runs between the taking of its bytes and that.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use crate::inside::Inside;
use crate::log::{Log, level};
use crate::method::{self, Quick};
use crate::name::name;

/// How much memory a thread keeps for its next record.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// What `Log::publish` answers when the handler's own code must rotate the file.
const ROTATION_DUE: u8 = 1;
/// The whole text is the message.
const MESSAGE_ALONE: &str = "%(message)s";
const TIME: &str = "%(asctime)";

thread_local! {
    /// Taken while a line is published.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The standard library's own: what is something else was replaced, and has to be asked.
struct Words {
    slow: Py<PyAny>,
    logging: Py<PyModule>,
    emit: Py<PyAny>,
    format: Py<PyAny>,
    filter: Py<PyAny>,
    formatter: Py<PyType>,
    formatter_format: Py<PyAny>,
    style: Py<PyType>,
    get_message: Py<PyAny>,
    /// From CPython 3.12 on, `handle` gives the record back.
    gives_record: bool,
}

static WORDS: OnceLock<Words> = OnceLock::new();

const NAME: &CStr = c"handle";
const DOC: &CStr = c"handle($self, record)\n--\n\nAs in the standard library; a plain record is formatted and published natively.";

/// The method for the class `handler`, whose instances name the log of the short way as `_quick`. `slow` is called with a
/// handler and a record where that is not the way. The first call counts.
#[pyfunction]
pub(crate) fn handle_method<'py>(
    handler: &Bound<'py, PyType>,
    slow: Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = handler.py();
    let logging = py.import("logging")?;
    let class = |name: &str| -> PyResult<Bound<'py, PyType>> {
        Ok(logging.getattr(name)?.cast_into::<PyType>()?)
    };
    let (formatter, plain) = (class("Formatter")?, class("Handler")?);
    let version = py.version_info();
    let words = Words {
        slow,
        emit: handler.getattr("emit")?.unbind(),
        format: plain.getattr("format")?.unbind(),
        filter: plain.getattr("filter")?.unbind(),
        formatter_format: formatter.getattr("format")?.unbind(),
        formatter: formatter.unbind(),
        style: class("PercentStyle")?.unbind(),
        get_message: class("LogRecord")?.getattr("getMessage")?.unbind(),
        gives_record: version >= (3, 12),
        logging: logging.unbind(),
    };
    let _ = WORDS.set(words);
    // SAFETY: the function takes any arguments.
    unsafe { method::define(handler, NAME, DOC, handle) }
}

/// `handle(self, record)`.
///
/// # Safety
/// Called by the interpreter: `handler` is an instance of the class, `args` has `count` objects, and those that `names` names.
unsafe extern "C" fn handle(
    handler: *mut PyObject,
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
        if count != 1 || !names.is_null() {
            return method::pass_on(&words.slow, handler, args, count, names);
        }
        let [own, record] = [handler, *args].map(|object| Bound::from_borrowed_ptr(py, object));
        match method::quickly(py, || handle_quickly(words, &own, &record)) {
            Quick::Done if words.gives_record => record.into_ptr(),
            Quick::Done => ffi::Py_NewRef(ffi::Py_True()),
            Quick::Raised => ptr::null_mut(),
            Quick::Not => ffi::PyObject_CallFunctionObjArgs(
                words.slow.as_ptr(),
                handler,
                *args,
                ptr::null_mut::<PyObject>(),
            ),
        }
    }
}

/// Publishes the record. False, or an exception: it is not published.
fn handle_quickly(
    words: &Words,
    handler: &Bound<'_, PyAny>,
    record: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let py = handler.py();
    let quick = handler.getattr(name!(py, "_quick"))?;
    let Ok(log) = quick.cast_exact::<Log>() else {
        return Ok(false);
    };
    if !is_plain(words, handler, record)? {
        return Ok(false);
    }
    let lock = handler.getattr(name!(py, "lock"))?;
    if lock.is_none() {
        return Ok(false);
    }
    let _held = Held::take(lock)?;
    // Whoever had the lock may have closed or changed the handler.
    if !handler.getattr(name!(py, "_quick"))?.is(&quick) {
        return Ok(false);
    }
    let Some(text) = text_of(words, handler, record)? else {
        return Ok(false);
    };
    let end = handler.getattr(name!(py, "terminator"))?;
    let Ok(end) = end.cast_exact::<PyString>() else {
        return Ok(false);
    };
    let number = level(&record.getattr(name!(py, "levelno"))?);
    if publish(log, &text, end, number)? == ROTATION_DUE {
        handler.call_method1(name!(py, "_rotate_after"), (record,))?;
    }
    Ok(true)
}

fn publish(
    log: &Bound<'_, Log>,
    text: &Bound<'_, PyString>,
    end: &Bound<'_, PyString>,
    level: i64,
) -> PyResult<u8> {
    let parts = [text.to_str()?, end.to_str()?];
    // Without one when the thread is at its very end.
    let mut line = BUFFER.try_with(Cell::take).unwrap_or_default();
    line.clear();
    parts
        .iter()
        .for_each(|part| line.extend_from_slice(part.as_bytes()));
    let answer = log.get().publish_line(log.py(), &line, level);
    if line.capacity() <= KEPT_BYTES_MAX {
        let _ = BUFFER.try_with(|buffer| buffer.set(line));
    }
    answer
}

/// Nobody but the standard library would see the record.
fn is_plain(
    words: &Words,
    handler: &Bound<'_, PyAny>,
    record: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let py = handler.py();
    let (kind, made) = (handler.get_type(), record.get_type());
    let filters = handler.getattr(name!(py, "filters"))?;
    Ok(filters.cast::<PyList>().is_ok_and(|list| list.is_empty())
        && kind.getattr(name!(py, "emit"))?.is(&words.emit)
        && kind.getattr(name!(py, "format"))?.is(&words.format)
        && kind.getattr(name!(py, "filter"))?.is(&words.filter)
        && made
            .getattr(name!(py, "getMessage"))?
            .is(&words.get_message)
        && is_nothing(record.getattr(name!(py, "exc_info"))?)?
        && is_nothing(record.getattr(name!(py, "exc_text"))?)?
        && is_nothing(record.getattr(name!(py, "stack_info"))?)?)
}

fn is_nothing(value: Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.is_none() || !value.is_truthy()?)
}

/// What the handler's formatter makes of the record. None: that is not for us to say.
fn text_of<'py>(
    words: &Words,
    handler: &Bound<'py, PyAny>,
    record: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = handler.py();
    let mut formatter = handler.getattr(name!(py, "formatter"))?;
    if formatter.is_none() {
        let logging = words.logging.bind(py);
        formatter = logging.getattr(name!(py, "_defaultFormatter"))?;
    }
    let class = words.formatter.bind(py);
    let format = class.getattr(name!(py, "format"))?;
    if !formatter.get_type().is(class) || !format.is(&words.formatter_format) {
        return Ok(None);
    }
    // Whatever else was set on the formatter or its style may be a method.
    let Some(own) = attributes(&formatter, 3)? else {
        return Ok(None);
    };
    let Some(style) = own.get_item(name!(py, "_style"))? else {
        return Ok(None);
    };
    if !style.get_type().is(&words.style) {
        return Ok(None);
    }
    let Some(style) = attributes(&style, 2)? else {
        return Ok(None);
    };
    let defaults = style.get_item(name!(py, "_defaults"))?;
    let template = style.get_item(name!(py, "_fmt"))?;
    let (Some(defaults), Some(template)) = (defaults, template) else {
        return Ok(None);
    };
    let Ok(template) = template.cast_exact::<PyString>() else {
        return Ok(None);
    };
    if !is_nothing(defaults)? {
        return Ok(None);
    }
    let Some(message) = message_of(record)? else {
        return Ok(None);
    };
    record.setattr(name!(py, "message"), &message)?;
    let wanted = template.to_str()?;
    if wanted == MESSAGE_ALONE {
        return Ok(Some(message));
    }
    if wanted.contains(TIME) {
        let form = formatter.getattr(name!(py, "datefmt"))?;
        let time = formatter.call_method1(name!(py, "formatTime"), (record, form))?;
        record.setattr(name!(py, "asctime"), time)?;
    }
    let values = record.getattr(name!(py, "__dict__"))?;
    filled_in(template, &values).map(Some)
}

/// What was set on an object, if it is as many things as there always are.
fn attributes<'py>(
    object: &Bound<'py, PyAny>,
    count: usize,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let own = object.getattr(name!(object.py(), "__dict__"))?;
    let own = own.cast_into_exact::<PyDict>().ok();
    Ok(own.filter(|own| own.len() == count))
}

/// The message with its arguments, as `LogRecord.getMessage` makes it. None: that is not for us to say.
fn message_of<'py>(record: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = record.py();
    let message = record.getattr(name!(py, "msg"))?;
    let Ok(message) = message.cast_into_exact::<PyString>() else {
        return Ok(None);
    };
    let args = record.getattr(name!(py, "args"))?;
    let has_some = if let Ok(args) = args.cast_exact::<PyTuple>() {
        !args.is_empty()
    } else if let Ok(args) = args.cast_exact::<PyDict>() {
        !args.is_empty()
    } else if args.is_none() {
        false
    } else {
        return Ok(None);
    };
    match has_some {
        true => filled_in(&message, &args).map(Some),
        false => Ok(Some(message)),
    }
}

/// `template % values`.
fn filled_in<'py>(
    template: &Bound<'py, PyString>,
    values: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: two living objects, of which the first is a text; the answer is new, or null with an exception.
    let made = unsafe {
        let made = ffi::PyUnicode_Format(template.as_ptr(), values.as_ptr());
        Bound::from_owned_ptr_or_err(template.py(), made)?
    };
    Ok(made.cast_into::<PyString>()?)
}

/// The handler's lock, held.
struct Held<'py>(Bound<'py, PyAny>);

impl<'py> Held<'py> {
    fn take(lock: Bound<'py, PyAny>) -> PyResult<Held<'py>> {
        lock.call_method0(name!(lock.py(), "acquire"))?;
        Ok(Held(lock))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let py = self.0.py();
        if let Err(error) = self.0.call_method0(name!(py, "release")) {
            error.write_unraisable(py, Some(&self.0));
        }
    }
}
