//! `handle` of the file handlers: a plain record goes from the handler to the log in one native call.
//!
//! A record is plain where nothing but the standard library's own code would see it on its way: no filter, no method of the
//! handler, of the formatter or of the record replaced, a `logging.Formatter` of the style `%`, no traceback. Then this does
//! what `Handler.handle`, `FileHandler.emit` and `Formatter.format` do, in their order, with the handler's lock held, and
//! leaves in the record what they leave there (`message`, `asctime`). Everything else goes the usual way, `slow`; so does a
//! record that fails here before it is published, which then fails there as it always did.
//!
//! What always holds: a record is published once; no Python code runs between the taking of its bytes and that.

use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyException};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyList, PyString, PyTuple, PyType};

use crate::asctime;
use crate::buffer;
use crate::inside::Inside;
use crate::log::{Log, level};
use crate::method::{self, Quick};
use crate::name::name;

/// What `Log::publish` answers when the handler's own code must rotate the file.
const ROTATION_DUE: u8 = 1;
/// The whole text is the message.
const MESSAGE_ALONE: &str = "%(message)s";
const TIME: &str = "%(asctime)";

/// The standard library's own: what is something else was replaced, and has to be asked.
pub(crate) struct Words {
    slow: Py<PyAny>,
    logging: Py<PyModule>,
    emit: Py<PyAny>,
    format: Py<PyAny>,
    filter: Py<PyAny>,
    record: Py<PyType>,
    formatter: Py<PyType>,
    formatter_format: Py<PyAny>,
    asctime: asctime::Standard,
    style: Py<PyType>,
    get_message: Py<PyAny>,
    /// From CPython 3.12 on, `handle` gives the record back.
    gives_record: bool,
}

static WORDS: OnceLock<Words> = OnceLock::new();
/// Our `handle`.
static METHOD: OnceLock<Py<PyAny>> = OnceLock::new();

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
        asctime: asctime::Standard::new(&formatter)?,
        formatter: formatter.unbind(),
        style: class("PercentStyle")?.unbind(),
        get_message: record.getattr("getMessage")?.unbind(),
        record: record.unbind(),
        gives_record: version >= (3, 12),
        logging: logging.unbind(),
    };
    let _ = WORDS.set(words);
    // SAFETY: the function takes any arguments.
    let method = unsafe { method::define(handler, NAME, DOC, handle)? };
    let _ = METHOD.set(method.clone().unbind());
    Ok(method)
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
fn handle_quickly<'py>(
    words: &'static Words,
    handler: &Bound<'py, PyAny>,
    record: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    let py = handler.py();
    let Some(target) = Target::of(handler)? else {
        return Ok(false);
    };
    let fields = Fields::of(words, record)?;
    if !is_plain(words, record, &fields)? {
        return Ok(false);
    }
    let number = level(&fields.get(name!(py, "levelno"))?);
    let text = |form: &Form<'py>| text_of(form, record, &fields);
    target.publish(number, text, || Ok(record.clone()))
}

/// A handler of which nothing but the standard library's own code would see a record, and the log that it writes.
pub(crate) struct Target<'py> {
    words: &'static Words,
    handler: Bound<'py, PyAny>,
    own: Bound<'py, PyDict>,
    log: Bound<'py, Log>,
}

impl<'py> Target<'py> {
    /// None: it is not such a handler, or not now.
    pub fn of(handler: &Bound<'py, PyAny>) -> PyResult<Option<Target<'py>>> {
        let (Some(words), py) = (WORDS.get(), handler.py()) else {
            return Ok(None);
        };
        let own = attributes(handler)?;
        let Some(quick) = own.get_item(name!(py, "_quick"))? else {
            return Ok(None);
        };
        let Ok(log) = quick.cast_into_exact::<Log>() else {
            return Ok(None);
        };
        let filters = own.get_item(name!(py, "filters"))?;
        let kind = handler.get_type();
        let is_plain = filters.is_some_and(|filters| is_empty_list(&filters))
            && kind.getattr(name!(py, "emit"))?.is(&words.emit)
            && kind.getattr(name!(py, "format"))?.is(&words.format)
            && kind.getattr(name!(py, "filter"))?.is(&words.filter);
        let handler = handler.clone();
        Ok(is_plain.then_some(Target {
            words,
            handler,
            own,
            log,
        }))
    }

    /// Nothing stands before our `handle`, in the handler or in its class.
    pub fn is_called_first(&self) -> PyResult<bool> {
        let py = self.handler.py();
        let name = name!(py, "handle");
        let handle = self.handler.get_type().getattr(name)?;
        Ok(METHOD.get().is_some_and(|method| handle.is(method)) && !self.own.contains(name)?)
    }

    /// Publishes what `text` makes for the handler's formatter, with the handler's lock held. False, or an exception: nothing is
    /// published. `record` is for the handler's own code, where that rotates the file.
    pub fn publish(
        &self,
        level: i64,
        text: impl FnOnce(&Form<'py>) -> PyResult<Option<Bound<'py, PyString>>>,
        record: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = self.handler.py();
        let lock = self.own.get_item(name!(py, "lock"))?;
        let Some(lock) = lock.filter(|lock| !lock.is_none()) else {
            return Ok(false);
        };
        let _held = Held::take(lock)?;
        // Whoever had the lock may have closed or changed the handler.
        let now = self.own.get_item(name!(py, "_quick"))?;
        if !now.is_some_and(|now| now.is(&self.log)) {
            return Ok(false);
        }
        let Some(form) = Form::of(self.words, &self.own)? else {
            return Ok(false);
        };
        let Some(text) = text(&form)? else {
            return Ok(false);
        };
        let end = self.handler.getattr(name!(py, "terminator"))?;
        let Ok(end) = end.cast_exact::<PyString>() else {
            return Ok(false);
        };
        if publish(&self.log, &text, end, level)? == ROTATION_DUE {
            self.rotate_after(record())?;
        }
        Ok(true)
    }

    /// The handler's own code rotates the file. What it raises is for `handleError`; what is left is told and does no harm, since the
    /// record is published.
    fn rotate_after(&self, record: PyResult<Bound<'py, PyAny>>) -> PyResult<()> {
        let py = self.handler.py();
        let rotate = |record| {
            self.handler
                .call_method1(name!(py, "_rotate_after"), (record,))
        };
        match record.and_then(rotate) {
            Err(error) if error.is_instance_of::<PyException>(py) => {
                error.write_unraisable(py, Some(&self.handler));
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }
}

fn publish(
    log: &Bound<'_, Log>,
    text: &Bound<'_, PyString>,
    end: &Bound<'_, PyString>,
    level: i64,
) -> PyResult<u8> {
    let parts = [text.to_str()?, end.to_str()?];
    buffer::with(|line| {
        parts
            .iter()
            .for_each(|part| line.extend_from_slice(part.as_bytes()));
        log.get().publish_line(log.py(), line, level)
    })
}

/// The record has nothing but a message, and is as the standard library makes it.
fn is_plain(words: &Words, record: &Bound<'_, PyAny>, fields: &Fields<'_>) -> PyResult<bool> {
    let py = record.py();
    let message = record.get_type().getattr(name!(py, "getMessage"))?;
    Ok(message.is(&words.get_message)
        && is_nothing(fields.get(name!(py, "exc_info"))?)?
        && is_nothing(fields.get(name!(py, "exc_text"))?)?
        && is_nothing(fields.get(name!(py, "stack_info"))?)?)
}

pub(crate) fn is_empty_list(object: &Bound<'_, PyAny>) -> bool {
    object.cast::<PyList>().is_ok_and(|list| list.is_empty())
}

fn is_nothing(value: Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.is_none() || !value.is_truthy()?)
}

/// What the handler's formatter makes of the record. None: that is not for us to say.
fn text_of<'py>(
    form: &Form<'py>,
    record: &Bound<'py, PyAny>,
    fields: &Fields<'py>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = record.py();
    let Some(message) = message_of(fields)? else {
        return Ok(None);
    };
    fields.set(name!(py, "message"), &message)?;
    if form.is_message_alone()? {
        return Ok(Some(message));
    }
    if form.template.to_str()?.contains(TIME) {
        fields.set(name!(py, "asctime"), &time_of(form, record, fields)?)?;
    }
    form.filled_in(&fields.all()?).map(Some)
}

/// When the record was made, as the formatter has it.
fn time_of<'py>(
    form: &Form<'py>,
    record: &Bound<'py, PyAny>,
    fields: &Fields<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = record.py();
    let numbers = [name!(py, "created"), name!(py, "msecs")].map(|name| fields.get(name));
    if let [Ok(created), Ok(milliseconds)] = numbers
        && let (Ok(created), Ok(milliseconds)) = (
            created.cast_exact::<PyFloat>(),
            milliseconds.cast_exact::<PyFloat>(),
        )
        && let Some(text) = form.time(created.value(), milliseconds.value())?
    {
        return Ok(text.into_any());
    }
    let own = form.formatter.getattr(name!(py, "datefmt"))?;
    form.formatter
        .call_method1(name!(py, "formatTime"), (record, own))
}

/// A formatter of the standard library's, and what it puts a record into.
pub(crate) struct Form<'py> {
    words: &'static Words,
    formatter: Bound<'py, PyAny>,
    pub template: Bound<'py, PyString>,
}

impl<'py> Form<'py> {
    /// That of a handler with these attributes. None: it is another one, or has more than its template.
    fn of(words: &'static Words, handler: &Bound<'py, PyDict>) -> PyResult<Option<Form<'py>>> {
        let py = handler.py();
        let Some(mut formatter) = handler.get_item(name!(py, "formatter"))? else {
            return Ok(None);
        };
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
        let own = attributes(&formatter)?;
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
        let template = template.filter(|_| defaults.is_none());
        Ok(template.map(|template| Form {
            words,
            formatter,
            template,
        }))
    }

    pub fn is_message_alone(&self) -> PyResult<bool> {
        Ok(self.template.to_str()? == MESSAGE_ALONE)
    }

    /// A time in seconds and its milliseconds as the formatter writes them. None: its own method has to be asked.
    pub fn time(&self, created: f64, milliseconds: f64) -> PyResult<Option<Bound<'py, PyString>>> {
        let asctime = &self.words.asctime;
        asctime.text(&self.formatter, created, milliseconds)
    }

    /// The template with these values.
    pub fn filled_in(&self, values: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        filled_in(&self.template, values)
    }
}

/// What was set on an object.
pub(crate) fn attributes<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
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
