//! Records that a single handler writes, published without a `logging.LogRecord`.
//!
//! The standard library makes a `LogRecord` of each call, and most of what a call costs is making it. Nobody sees it where the
//! logger and what makes records are the standard library's own, no filter is set, exactly one handler takes the record, and
//! that one is a plain one of ours: that of the stream (`stream`), or that of a file (`handling`). For a file the line is made here,
//! of the message and of what the formatter's template asks for.
//!
//! What always holds: the line is the one that the standard library would have made; a record is published once. An exception
//! means that nothing was published.

use std::cell::OnceCell;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyModule, PyString, PyType};

use crate::caller::Caller;
use crate::handling::{Form, Target, attributes, is_empty_list};
use crate::logger::{Call, Words};
use crate::moment;
use crate::name::name;
use crate::stream;

/// Attributes of a logger that has nothing set on it; all but that of the root have `manager` as well.
const LOGGER_ATTRIBUTES: usize = 8;

/// The standard library's own: what is something else was replaced, and has to be asked.
pub(crate) struct Direct {
    logger: Py<PyType>,
    root: Py<PyType>,
    /// Methods of a logger that would see the record.
    methods: [(Py<PyString>, Py<PyAny>); 5],
    /// What the module `time` has now, and what it tells the time with.
    time: Py<PyDict>,
    clock: (Py<PyString>, Py<PyAny>),
    /// From CPython 3.13 on, a record's time is kept in nanoseconds.
    in_nanoseconds: bool,
}

impl Direct {
    /// `logger`: the class of that name.
    pub fn new(logger: &Bound<'_, PyType>) -> PyResult<Direct> {
        let py = logger.py();
        let method = |name: &str| -> PyResult<(Py<PyString>, Py<PyAny>)> {
            let method = logger.getattr(name)?.unbind();
            Ok((PyString::intern(py, name).unbind(), method))
        };
        let root = py.import("logging")?.getattr("RootLogger")?;
        let time = PyModule::import(py, "time")?;
        let in_nanoseconds = py.version_info() >= (3, 13);
        let clock = if in_nanoseconds { "time_ns" } else { "time" };
        Ok(Direct {
            methods: [
                method("findCaller")?,
                method("makeRecord")?,
                method("handle")?,
                method("filter")?,
                method("callHandlers")?,
            ],
            logger: logger.clone().unbind(),
            root: root.cast_into::<PyType>()?.unbind(),
            clock: (
                PyString::intern(py, clock).unbind(),
                time.getattr(clock)?.unbind(),
            ),
            time: time.dict().unbind(),
            in_nanoseconds,
        })
    }

    /// What was set on a logger of the standard library's; None: it is of another class.
    fn own<'py>(&self, logger: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let class = logger.get_type();
        let is_standard = class.is(&self.logger) || class.is(&self.root);
        is_standard.then(|| attributes(logger)).transpose()
    }

    /// Nothing of the application's would see a record that this logger makes.
    fn is_unseen(&self, words: &Words, own: &Bound<'_, PyDict>) -> PyResult<bool> {
        let py = own.py();
        let is_off = |name| -> PyResult<bool> {
            let value = own.get_item(name)?;
            Ok(value.is_some_and(|value| value.is(PyBool::new(py, false))))
        };
        let filters = own.get_item(name!(py, "filters"))?;
        let class = self.logger.bind(py);
        for (name, method) in &self.methods {
            if !class.getattr(name)?.is(method) {
                return Ok(false);
            }
        }
        Ok(self.has_own_methods_only(own)?
            && is_off(name!(py, "disabled"))?
            && filters.is_some_and(|filters| is_empty_list(&filters))
            && words.makes_log_records(py)?)
    }

    /// None of the methods was replaced in this one logger.
    fn has_own_methods_only(&self, own: &Bound<'_, PyDict>) -> PyResult<bool> {
        let py = own.py();
        let usual = match own.contains(name!(py, "manager"))? {
            true => LOGGER_ATTRIBUTES + 1,
            false => LOGGER_ATTRIBUTES,
        };
        if own.len() == usual {
            return Ok(true);
        }
        for (name, _) in &self.methods {
            if own.contains(name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The one handler that takes records of this level. None: there is none, or more than one.
    fn only_handler<'py>(
        &self,
        own: &Bound<'py, PyDict>,
        level: i64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = own.py();
        let (mut own, mut found) = (own.clone(), None);
        loop {
            let Some(handlers) = own.get_item(name!(py, "handlers"))? else {
                return Ok(None);
            };
            for handler in handlers.cast_exact::<PyList>()? {
                let lowest = handler.getattr(name!(py, "level"))?;
                let lowest = lowest.cast_exact::<PyInt>()?.extract::<i64>()?;
                if level >= lowest && found.replace(handler).is_some() {
                    return Ok(None);
                }
            }
            let (propagate, parent) = (
                own.get_item(name!(py, "propagate"))?,
                own.get_item(name!(py, "parent"))?,
            );
            let (Some(propagate), Some(parent)) = (propagate, parent) else {
                return Ok(None);
            };
            if parent.is_none() || !propagate.is_truthy()? {
                return Ok(found);
            }
            let Some(above) = self.own(&parent)? else {
                return Ok(None);
            };
            own = above;
        }
    }

    /// The time of now. None: somebody else tells it.
    fn now(&self, py: Python<'_>) -> PyResult<Option<Moment>> {
        let (name, clock) = &self.clock;
        let is_standard = self
            .time
            .bind(py)
            .get_item(name)?
            .is_some_and(|now| now.is(clock));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Ok(now
            .filter(|_| is_standard)
            .map(|now| Moment::new(now.as_nanos() as u64, self.in_nanoseconds)))
    }
}

/// When a record was made.
struct Moment {
    created: f64,
    milliseconds: f64,
}

impl Moment {
    /// As `LogRecord` rounds it: from 3.13 on of the nanoseconds, before of the seconds.
    fn new(now_ns: u64, in_nanoseconds: bool) -> Moment {
        let created = now_ns as f64 / 1e9;
        let mut milliseconds = match in_nanoseconds {
            true => (now_ns % 1_000_000_000 / 1_000_000) as f64,
            false => ((created - created.trunc()) * 1000.0).trunc(),
        };
        if milliseconds == 999.0 && in_nanoseconds && created as u64 != now_ns / 1_000_000_000 {
            milliseconds = 0.0;
        }
        Moment {
            created,
            milliseconds,
        }
    }
}

/// Publishes the record of a call. False, or an exception: it is not published.
pub(crate) fn publish(words: &Words, standard: &Direct, call: &Call<'_>) -> PyResult<bool> {
    let py = call.logger.py();
    let Some(own) = standard.own(&call.logger)? else {
        return Ok(false);
    };
    let level = call.level.cast_exact::<PyInt>()?.extract::<i64>()?;
    let Some(handler) = standard.only_handler(&own, level)? else {
        return Ok(false);
    };
    let Some(moment) = standard.now(py)? else {
        return Ok(false);
    };
    let Some(target) = Target::of(&handler)? else {
        return Ok(
            standard.is_unseen(words, &own)? && stream::publish(words, call, &handler, level)?
        );
    };
    if !target.is_called_first()? || !standard.is_unseen(words, &own)? {
        return Ok(false);
    }
    let line = Line {
        words,
        call,
        own: &own,
        moment,
        caller: OnceCell::new(),
    };
    target.publish(level, |form| line.text(form), || line.record())
}

/// A call on its way into a line.
struct Line<'a, 'py> {
    words: &'a Words,
    call: &'a Call<'py>,
    /// What was set on the logger.
    own: &'a Bound<'py, PyDict>,
    moment: Moment,
    /// Looked for once; None: there is none.
    caller: OnceCell<Option<Caller<'py>>>,
}

impl<'py> Line<'_, 'py> {
    /// What a formatter makes of it. None: it asks for something that only a `LogRecord` has.
    fn text(&self, form: &Form<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = form.template.py();
        let message = match self.words.formatted(self.call)? {
            Some(message) => message.cast_into::<PyString>()?,
            None => return Ok(None),
        };
        if form.is_message_alone()? {
            return Ok(Some(message));
        }
        let fields = PyDict::new(py);
        for field in fields_of(form.template.to_str()?) {
            let value = match field {
                "message" => message.clone().into_any(),
                _ => match self.value(form, field)? {
                    Some(value) => value,
                    None => return Ok(None),
                },
            };
            fields.set_item(field, value)?;
        }
        form.filled_in(fields.as_any()).map(Some)
    }

    /// What a `LogRecord` would have as `field`. None: that is not for us to say.
    fn value(&self, form: &Form<'py>, field: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.call.logger.py();
        let moment = &self.moment;
        let found = match field {
            "name" => return self.own.get_item(name!(py, "name")),
            "levelno" => self.call.level.clone(),
            "levelname" => self.words.level_name(&self.call.level)?,
            "asctime" => {
                let text = form.time(moment.created, moment.milliseconds)?;
                return Ok(text.map(Bound::into_any));
            }
            "created" => PyFloat::new(py, moment.created).into_any(),
            "msecs" => PyFloat::new(py, moment.milliseconds).into_any(),
            "pathname" | "filename" | "module" | "lineno" | "funcName" => {
                return self.of_the_caller(field);
            }
            _ => return self.of_the_worker(field),
        };
        Ok(Some(found))
    }

    fn of_the_caller(&self, field: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.call.logger.py();
        let Some(caller) = self.caller()? else {
            return Ok(None);
        };
        let file = caller.file.cast::<PyString>()?;
        Ok(Some(match field {
            "lineno" => caller.line.clone(),
            "funcName" => caller.function.clone(),
            "pathname" => caller.file.clone(),
            "filename" => PyString::new(py, base_name(file.to_str()?)).into_any(),
            _ => PyString::new(py, stem(base_name(file.to_str()?))).into_any(),
        }))
    }

    fn caller(&self) -> PyResult<Option<&Caller<'py>>> {
        if self.caller.get().is_none() {
            let found = Caller::find(self.call.logger.py(), &self.words.source)?;
            let _ = self.caller.set(found);
        }
        Ok(self.caller.get().and_then(Option::as_ref))
    }

    /// Which thread and process; switched off in the module `logging`, a record has neither.
    fn of_the_worker(&self, field: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.call.logger.py();
        let is_on = |flag| self.words.now(flag)?.is_truthy();
        let found = match field {
            "thread" if is_on(name!(py, "logThreads"))? => moment::thread_number(py)?,
            "threadName" if is_on(name!(py, "logThreads"))? => moment::thread_name(py)?,
            "process" if is_on(name!(py, "logProcesses"))? => {
                std::process::id().into_pyobject(py)?.into_any()
            }
            "processName" if is_on(name!(py, "logMultiprocessing"))? => {
                moment::process_name_now(py)?
            }
            _ => return Ok(None),
        };
        Ok(Some(found))
    }

    /// The record that the standard library would have made.
    fn record(&self) -> PyResult<Bound<'py, PyAny>> {
        self.words.record(self.call, self.caller()?)
    }
}

/// The names in a template, `name` of `%(name)s`.
fn fields_of(template: &str) -> impl Iterator<Item = &str> {
    let behind = template.split("%(").skip(1);
    behind.filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
}

/// As `os.path.basename`.
fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// As `os.path.splitext` of a name: dots that it begins with are no extension.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if stem.bytes().any(|byte| byte != b'.') => stem,
        _ => name,
    }
}
