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

use pyo3::exceptions::PyAttributeError;
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
    record: Py<PyType>,
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
    let (formatter, plain, record) = (class("Formatter")?, class("Handler")?, class("LogRecord")?);
    let version = py.version_info();
    let words = Words {
        slow,
        emit: handler.getattr("emit")?.unbind(),
        format: plain.getattr("format")?.unbind(),
        filter: plain.getattr("filter")?.unbind(),
        formatter_format: formatter.getattr("format")?.unbind(),
        formatter: formatter.unbind(),
        style: class("PercentStyle")?.unbind(),
        get_message: record.getattr("getMessage")?.unbind(),
        record: record.unbind(),
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
    let own = attributes(handler)?;
    let quick = own.get_item(name!(py, "_quick"))?;
    let Some(Ok(log)) = quick.as_ref().map(|quick| quick.cast_exact::<Log>()) else {
        return Ok(false);
    };
    let fields = Fields::of(words, record)?;
    if !is_plain(words, handler, &own, record, &fields)? {
        return Ok(false);
    }
    let Some(lock) = own
        .get_item(name!(py, "lock"))?
        .filter(|lock| !lock.is_none())
    else {
        return Ok(false);
    };
    let _held = Held::take(lock)?;
    // Whoever had the lock may have closed or changed the handler.
    let now = own.get_item(name!(py, "_quick"))?;
    if !now.is_some_and(|now| now.is(log)) {
        return Ok(false);
    }
    let Some(text) = text_of(words, &own, record, &fields)? else {
        return Ok(false);
    };
    let end = handler.getattr(name!(py, "terminator"))?;
    let Ok(end) = end.cast_exact::<PyString>() else {
        return Ok(false);
    };
    let number = level(&fields.get(name!(py, "levelno"))?);
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
    own: &Bound<'_, PyDict>,
    record: &Bound<'_, PyAny>,
    fields: &Fields<'_>,
) -> PyResult<bool> {
    let py = handler.py();
    let (kind, made) = (handler.get_type(), record.get_type());
    let filters = own.get_item(name!(py, "filters"))?;
    let is_unfiltered =
        filters.is_some_and(|filters| filters.cast::<PyList>().is_ok_and(|list| list.is_empty()));
    Ok(is_unfiltered
        && kind.getattr(name!(py, "emit"))?.is(&words.emit)
        && kind.getattr(name!(py, "format"))?.is(&words.format)
        && kind.getattr(name!(py, "filter"))?.is(&words.filter)
        && made
            .getattr(name!(py, "getMessage"))?
            .is(&words.get_message)
        && is_nothing(fields.get(name!(py, "exc_info"))?)?
        && is_nothing(fields.get(name!(py, "exc_text"))?)?
        && is_nothing(fields.get(name!(py, "stack_info"))?)?)
}

fn is_nothing(value: Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.is_none() || !value.is_truthy()?)
}

/// What the handler's formatter makes of the record. None: that is not for us to say.
fn text_of<'py>(
    words: &Words,
    own: &Bound<'py, PyDict>,
    record: &Bound<'py, PyAny>,
    fields: &Fields<'py>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = record.py();
    let Some(mut formatter) = own.get_item(name!(py, "formatter"))? else {
        return Ok(None);
    };
    if formatter.is_none() {
        let logging = words.logging.bind(py);
        formatter = logging.getattr(name!(py, "_defaultFormatter"))?;
    }
    let Some(template) = template_of(words, &formatter)? else {
        return Ok(None);
    };
    let Some(message) = message_of(fields)? else {
        return Ok(None);
    };
    fields.set(name!(py, "message"), &message)?;
    let wanted = template.to_str()?;
    if wanted == MESSAGE_ALONE {
        return Ok(Some(message));
    }
    if wanted.contains(TIME) {
        let form = formatter.getattr(name!(py, "datefmt"))?;
        let time = formatter.call_method1(name!(py, "formatTime"), (record, form))?;
        fields.set(name!(py, "asctime"), &time)?;
    }
    filled_in(&template, &fields.all()?).map(Some)
}

/// What a formatter of the standard library's puts the record into. None: it is another one, or has more than its template.
fn template_of<'py>(
    words: &Words,
    formatter: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = formatter.py();
    let class = words.formatter.bind(py);
    let format = class.getattr(name!(py, "format"))?;
    if !formatter.get_type().is(class) || !format.is(&words.formatter_format) {
        return Ok(None);
    }
    // Whatever else was set on the formatter or its style may be a method.
    let own = attributes(formatter)?;
    let Some(style) = own
        .get_item(name!(py, "_style"))?
        .filter(|_| own.len() == 3)
    else {
        return Ok(None);
    };
    if !style.get_type().is(&words.style) {
        return Ok(None);
    }
    let own = attributes(&style)?;
    let defaults = own.get_item(name!(py, "_defaults"))?;
    let template = own.get_item(name!(py, "_fmt"))?;
    let (Some(defaults), Some(template), 2) = (defaults, template, own.len()) else {
        return Ok(None);
    };
    let template = template.cast_into_exact::<PyString>().ok();
    Ok(template.filter(|_| defaults.is_none()))
}

/// What was set on an object.
fn attributes<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    // SAFETY: a living object; the answer is new, or null with an exception.
    let own = unsafe {
        let own = ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), own)?
    };
    Ok(own.cast_into_exact::<PyDict>()?)
}

/// What a record says: asked of its dictionary, which is quicker, unless its class may have something in front of that.
enum Fields<'py> {
    Own(Bound<'py, PyDict>),
    Any(Bound<'py, PyAny>),
}

impl<'py> Fields<'py> {
    fn of(words: &Words, record: &Bound<'py, PyAny>) -> PyResult<Fields<'py>> {
        match record.get_type().is(&words.record) {
            true => attributes(record).map(Fields::Own),
            false => Ok(Fields::Any(record.clone())),
        }
    }

    fn py(&self) -> Python<'py> {
        match self {
            Fields::Own(own) => own.py(),
            Fields::Any(record) => record.py(),
        }
    }

    #[inline]
    fn get(&self, name: Borrowed<'_, 'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Fields::Own(own) => own
                .get_item(name)?
                .ok_or_else(|| PyAttributeError::new_err("a record without that")),
            Fields::Any(record) => record.getattr(name),
        }
    }

    /// All of them, as a mapping.
    fn all(&self) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Fields::Own(own) => Ok(own.as_any().clone()),
            Fields::Any(record) => record.getattr(name!(record.py(), "__dict__")),
        }
    }

    #[inline]
    fn set(&self, name: Borrowed<'_, 'py, PyString>, value: &Bound<'py, PyAny>) -> PyResult<()> {
        match self {
            Fields::Own(own) => own.set_item(name, value),
            Fields::Any(record) => record.setattr(name, value),
        }
    }
}

/// The message with its arguments, as `LogRecord.getMessage` makes it. None: that is not for us to say.
fn message_of<'py>(fields: &Fields<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = fields.py();
    let message = fields.get(name!(py, "msg"))?;
    let Ok(message) = message.cast_into_exact::<PyString>() else {
        return Ok(None);
    };
    let args = fields.get(name!(py, "args"))?;
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
