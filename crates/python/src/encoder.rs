//! The class `Encoder`: a `logging.LogRecord` becomes a line.
//!
//! What always holds: no value of any kind makes `encode` raise. What Python code of the application is asked for (`str()`
//! of an argument, of an exception) may fail, and then the record shows a mark in its place. Only what is no `Exception`
//! passes through: a `SystemExit` that a signal handler raised must end the process, not vanish in a log.
//!
//! The record's dictionary is read once, before any code of the application runs, so that nobody changes it meanwhile.

use std::borrow::Cow;
use std::sync::Arc;

use logboom::Severity;
use logboom::format::{Encoder as Native, Exception, Format, RECORD_BYTES_MAX, Record, Request};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::buffer;
use crate::keys::{KEYS, Keys, place};
use crate::name::name;
use crate::redaction::Redaction;
use crate::values::{Room, Tree, class_name, message_of, pass_on, shown, text_of};

/// Turns records into lines of one format. It may be used from any thread.
#[pyclass(frozen, module = "logboom._native")]
pub(crate) struct Encoder {
    native: Native,
    keys: Keys,
}

#[pymethods]
impl Encoder {
    #[new]
    #[pyo3(signature = (format, *, colour = false, utc = false, redact_names = vec![], redact_patterns = vec![], record_bytes_max = RECORD_BYTES_MAX))]
    fn new(
        py: Python<'_>,
        format: &str,
        colour: bool,
        utc: bool,
        redact_names: Vec<String>,
        redact_patterns: Vec<String>,
        record_bytes_max: usize,
    ) -> PyResult<Encoder> {
        let format = match format {
            "text" => Format::Text { colour },
            "json" => Format::Json,
            "logfmt" => Format::Logfmt,
            other => {
                return Err(PyValueError::new_err(format!(
                    "format must be 'text', 'json' or 'logfmt', not '{other}'"
                )));
            }
        };
        let redaction = Redaction::new(&redact_names, &redact_patterns)?;
        Ok(Encoder {
            native: Native::new(format)
                .utc(utc)
                .redact(redaction.map(|redaction| Arc::new(redaction) as Arc<_>))
                .record_bytes_max(record_bytes_max),
            keys: Keys::new(py),
        })
    }

    /// The line of one record, without its line end.
    fn encode<'py>(
        &self,
        record: &Bound<'py, PyDict>,
        message: &Bound<'py, PyAny>,
        request: Option<&Bound<'py, PyAny>>,
        fields: Option<&Bound<'py, PyAny>>,
        exc_text: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyString>> {
        let py = record.py();
        let mut parts = Parts::read(&self.keys, record);
        if let Some(fields) = fields {
            parts.add(fields)?;
        }
        buffer::with(|out| {
            self.with_record(parts, message, request, exc_text, |record| {
                self.native.encode(record, out);
            })?;
            let end = out.len() - usize::from(out.ends_with(b"\n"));
            PyString::from_bytes(py, &out[..end])
        })
    }

    /// A line of somebody else's without what must not leave the process.
    fn redact<'py>(&self, text: Bound<'py, PyString>) -> Bound<'py, PyString> {
        let py = text.py();
        let plain = text_of(&text);
        let clean = match self.native.redacted(&plain) {
            Cow::Borrowed(_) => None,
            Cow::Owned(clean) => Some(PyString::new(py, &clean)),
        };
        drop(plain);
        clean.unwrap_or(text)
    }
}

impl Encoder {
    /// For records that the native side makes itself.
    pub(crate) fn native(&self) -> &Native {
        &self.native
    }

    /// Gives the record that these parts are to `with`.
    pub(crate) fn with_record(
        &self,
        mut parts: Parts<'_>,
        message: &Bound<'_, PyAny>,
        request: Option<&Bound<'_, PyAny>>,
        exc_text: Option<&Bound<'_, PyAny>>,
        with: impl FnOnce(&Record<'_>),
    ) -> PyResult<()> {
        let mut room = Room::default();
        let trees: Vec<_> = std::mem::take(&mut parts.fields)
            .into_iter()
            .map(|(name, value)| (name, Tree::of(value, &mut room)))
            .collect();
        let request = request.map(read_request).transpose()?;
        let [id, method, path, client, endpoint, user, trace_id, span_id] =
            request_texts(request.as_ref())?;
        let exception = self.exception(&parts, exc_text)?;
        let mut fields = Vec::with_capacity(trees.len());
        for (name, tree) in &trees {
            let name = shown(name)?;
            if !name.starts_with('_') {
                fields.push((name, tree.value()?));
            }
        }
        let (level, component) = (parts.text(place::LEVEL_NAME)?, parts.text(place::NAME)?);
        let (process_name, thread_name) = (
            parts.text(place::PROCESS_NAME)?,
            parts.text(place::THREAD_NAME)?,
        );
        let (file, function) = (parts.text(place::PATH)?, parts.text(place::FUNCTION)?);
        let template = parts.template(message);
        let record = Record {
            time_ns: parts.time_ns(),
            severity: Severity::from_python(parts.number(place::LEVEL_NUMBER).unwrap_or(0)),
            level: &level,
            component: &component,
            message: shown(message)?,
            template: &template,
            process: parts.number(place::PROCESS),
            process_name: &process_name,
            thread: parts.number(place::THREAD),
            thread_name: &thread_name,
            file: &file,
            line: parts.number(place::LINE).unwrap_or(0),
            function: &function,
            request: Request {
                id: &id,
                method: &method,
                path: &path,
                client: &client,
                endpoint: &endpoint,
                user: &user,
                trace_id: &trace_id,
                span_id: &span_id,
            },
            fields,
            exception,
            stack: parts.text(place::STACK)?,
        };
        with(&record);
        Ok(())
    }

    /// What is known of the exception. Text for people shows the traceback alone: its last line says the rest.
    fn exception<'p>(
        &self,
        parts: &'p Parts<'_>,
        exc_text: Option<&'p Bound<'_, PyAny>>,
    ) -> PyResult<Option<Exception<'p>>> {
        let mut exception = Exception::default();
        if let Some(text) = exc_text {
            exception.traceback = shown(text)?;
        }
        let typed = !matches!(self.native.format(), Format::Text { .. });
        if let Some((class, value)) = parts.raised().filter(|_| typed) {
            exception.type_name = Cow::Owned(class_name(&class));
            exception.message = Cow::Owned(message_of(&value)?);
        }
        let known = !exception.traceback.is_empty() || !exception.type_name.is_empty();
        Ok(known.then_some(exception))
    }
}

/// A record's dictionary, read in one pass: what is known by its place, the rest in order.
pub(crate) struct Parts<'py> {
    pub(crate) slots: [Option<Bound<'py, PyAny>>; KEYS.len()],
    fields: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
}

impl<'py> Parts<'py> {
    /// A record of which nothing is known yet.
    pub(crate) fn new() -> Self {
        Parts {
            slots: [const { None }; KEYS.len()],
            fields: Vec::new(),
        }
    }

    fn read(keys: &Keys, record: &Bound<'py, PyDict>) -> Self {
        let mut parts = Parts::new();
        let mut expected = 0;
        for (key, value) in record.iter() {
            match keys.place_of(&key, expected) {
                Some(place) => {
                    parts.slots[place] = Some(value);
                    expected = place + 1;
                }
                None => parts.fields.push((key, value)),
            }
        }
        parts
    }

    /// Fields from elsewhere: a dict, or another mapping.
    pub(crate) fn add(&mut self, fields: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = fields.py();
        if let Ok(dict) = fields.cast::<PyDict>() {
            self.fields.extend(dict.iter());
        } else if fields.is_truthy().unwrap_or(false) {
            match py.get_type::<PyDict>().call1((fields,)) {
                Ok(copy) => self.fields.extend(copy.cast::<PyDict>()?.iter()),
                Err(error) => pass_on(py, error)?,
            }
        }
        Ok(())
    }

    fn text(&self, place: usize) -> PyResult<Cow<'_, str>> {
        match &self.slots[place] {
            Some(value) if !value.is_none() => shown(value),
            _ => Ok(Cow::Borrowed("")),
        }
    }

    fn number<T: for<'a> FromPyObject<'a, 'py>>(&self, place: usize) -> Option<T> {
        let value = self.slots[place].as_ref()?;
        value.cast::<pyo3::types::PyInt>().ok()?;
        value.extract().ok()
    }

    /// Class and value of the exception.
    fn raised(&self) -> Option<(Bound<'py, PyType>, Bound<'py, PyAny>)> {
        let info = self.slots[place::EXC_INFO].as_ref()?;
        let info = info.cast::<PyTuple>().ok()?;
        let class = info.get_item(0).ok()?.cast_into::<PyType>().ok()?;
        Some((class, info.get_item(1).ok()?))
    }

    /// The message before its arguments were filled in; empty if that is the message itself.
    fn template(&self, message: &Bound<'_, PyAny>) -> Cow<'_, str> {
        match &self.slots[place::MSG] {
            Some(template) if !template.is(message) => template
                .cast::<PyString>()
                .map_or(Cow::Borrowed(""), text_of),
            _ => Cow::Borrowed(""),
        }
    }

    /// Nanoseconds, to the microsecond: `created` is a float, and what it says beyond that is noise.
    fn time_ns(&self) -> u64 {
        let seconds: f64 = self.slots[place::CREATED]
            .as_ref()
            .and_then(|value| value.extract().ok())
            .unwrap_or(0.0);
        // Saturating: NaN and what lies before 1970 are 0.
        ((seconds * 1e6).round() as u64).saturating_mul(1000)
    }
}

/// The attributes of `logboom.context.Request`; one that is missing is unknown.
fn read_request<'py>(request: &Bound<'py, PyAny>) -> PyResult<[Option<Bound<'py, PyAny>>; 8]> {
    let py = request.py();
    let names = [
        name!(py, "id"),
        name!(py, "method"),
        name!(py, "path"),
        name!(py, "client"),
        name!(py, "endpoint"),
        name!(py, "user"),
        name!(py, "trace_id"),
        name!(py, "span_id"),
    ];
    let mut values = [const { None }; 8];
    for (value, name) in values.iter_mut().zip(names) {
        *value = match request.getattr(name) {
            Ok(found) if found.is_none() => None,
            Ok(found) => Some(found),
            Err(error) => {
                pass_on(py, error)?;
                None
            }
        };
    }
    Ok(values)
}

fn request_texts<'p>(
    values: Option<&'p [Option<Bound<'_, PyAny>>; 8]>,
) -> PyResult<[Cow<'p, str>; 8]> {
    let mut texts = [const { Cow::Borrowed("") }; 8];
    for (text, value) in texts.iter_mut().zip(values.into_iter().flatten()) {
        if let Some(value) = value {
            *text = shown(value)?;
        }
    }
    Ok(texts)
}
