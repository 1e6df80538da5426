//! Records that are only recorded, made without a `logging.LogRecord`: what `Logger._log` (`logger`) does for levels that the
//! recorder has and the files have not.
//!
//! The cache of a logger names a [`Recording`] where that is possible: what is below its level then goes from the message and
//! its arguments into the recorder, and no Python object is made of it. Whatever is not plain (an exception, `extra`, a
//! `stacklevel`, a filter, a formatter or a record factory of the application, a message that cannot be formatted, a rule
//! that may want the record) goes the standard library's way, to `_levels`, and is recorded there.
//!
//! What always holds: the record says what a `LogRecord` would have said; nothing raises that would not raise there.

use logboom::Severity;
use logboom::rules::Verdict;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::encoder::{Encoder, Parts};
use crate::gate;
use crate::log::Log;
use crate::logger::{Call, Words};
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

/// Records it. False: not this way.
pub(crate) fn record(words: &Words, call: &Call<'_>) -> PyResult<bool> {
    let Call { logger, level, .. } = call;
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
    let Some(text) = words.formatted(call)? else {
        return Ok(false);
    };
    let Some(parts) = words.parts(call)? else {
        return Ok(false);
    };
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
    Ok(has_filters(logger)?
        && has_filters(handler)?
        && handler.getattr(name!(py, "formatter"))?.is_none()
        && words.makes_log_records(py)?)
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
