//! The class `Log`: one open log file of this process.
//!
//! The Rust log sits behind an `Arc` in a mutex that is only ever held with the interpreter lock and for a clone or a
//! swap: a fork from Python cannot happen inside, so the child finds it free. A publishing thread works on its clone;
//! a `close` beside it takes effect when the last clone is gone.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use logboom::rules::{Rule, Toggled, Verdict};
use logboom::senders::Arrival;
use logboom::{Beside, Outcome, Severity};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::encoder::Encoder;
use crate::errors::{closed, to_python};
use crate::options;
use crate::rules;

/// One open log file of this process. Every call may be made from any thread.
#[pyclass(frozen, module = "logboom._native")]
pub(crate) struct Log {
    open: Mutex<Option<Arc<logboom::Log>>>,
    path: PathBuf,
}

#[pymethods]
impl Log {
    #[new]
    #[pyo3(signature = (path, options, beside=Vec::new()))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        options: &Bound<'_, PyDict>,
        beside: Vec<BesideTuple<'_>>,
    ) -> PyResult<Log> {
        let options = options::from_dict(options)?;
        let beside = beside
            .into_iter()
            .map(beside_of)
            .collect::<PyResult<Vec<_>>>()?;
        let log = py
            .detach(|| logboom::Log::open_beside(&path, &options, beside))
            .map_err(|error| to_python(&error))?;
        Ok(Log {
            open: Mutex::new(Some(Arc::new(log))),
            path,
        })
    }

    /// Publishes one finished line, terminator included. 0 published, 1 published and the hooks' rotation is due,
    /// 2 dropped and counted. Text that is not UTF-8 (a lone surrogate) raises `UnicodeEncodeError`.
    #[pyo3(signature = (line, levelno, over=None))]
    fn publish(
        &self,
        line: &Bound<'_, PyString>,
        levelno: &Bound<'_, PyAny>,
        over: Option<u64>,
    ) -> PyResult<u8> {
        let text = line.to_str()?;
        self.publish_ending(line.py(), text.as_bytes(), level(levelno), over)
    }

    /// The same with bytes that are already encoded.
    fn publish_bytes(&self, line: &Bound<'_, PyBytes>, levelno: &Bound<'_, PyAny>) -> PyResult<u8> {
        self.publish_line(line.py(), line.as_bytes(), level(levelno))
    }

    /// Like `publish`, and into the recorder if that is on. Not `kept`: into the recorder alone. `rules`: those that want the
    /// record, a bit for each; None: nobody asked.
    #[pyo3(signature = (line, levelno, component, request_id, kept, json=None, rules=None, over=None))]
    #[allow(clippy::too_many_arguments, reason = "a record has so many parts")]
    fn publish_record(
        &self,
        line: &Bound<'_, PyString>,
        levelno: &Bound<'_, PyAny>,
        component: &Bound<'_, PyString>,
        request_id: &Bound<'_, PyString>,
        kept: bool,
        json: Option<&Bound<'_, PyString>>,
        rules: Option<u16>,
        over: Option<u64>,
    ) -> PyResult<u8> {
        let (text, levelno) = (line.to_str()?, level(levelno));
        let names = [component, request_id].map(|name| name.to_str().unwrap_or_default());
        let json = json.map_or(Ok(""), |json| json.to_str())?;
        let record = [json.as_bytes(), text.as_bytes()];
        self.record(levelno, names, record, kept, rules)?;
        match kept {
            true => self.publish_ending(line.py(), text.as_bytes(), levelno, over),
            false => Ok(0),
        }
    }

    /// What this process recorded of a request and wrote to no file, after the record of this number: numbers, components, lines,
    /// and the records as JSON where their lines are not. And how many records after that are overwritten.
    fn unkept(&self, request_id: &str, after: u64) -> PyResult<(Vec<Unkept>, u64)> {
        let (found, overwritten) = self.log()?.unkept(request_id, after);
        let parts = found
            .into_iter()
            .map(|record| (record.number, record.component, record.line, record.json));
        Ok((parts.collect(), overwritten))
    }

    /// Number of the last record that this process recorded; 0: there is none.
    fn recorded(&self) -> PyResult<u64> {
        Ok(self.log()?.recorded())
    }

    /// Switches debug on for these components, or off where a toggle has switched it on: "on", "off", "full" (the table of
    /// rules), or None: somebody did so within the last second. `asked`: what `signal_arrival` said of the signal.
    #[pyo3(signature = (components, *, severity=5, for_s=600.0, made_by="", asked=None))]
    fn toggle(
        &self,
        components: Vec<String>,
        severity: u8,
        for_s: f64,
        made_by: &str,
        asked: Option<(u32, u64)>,
    ) -> PyResult<Option<&'static str>> {
        let rules: Vec<_> = components
            .iter()
            .map(|component| Rule {
                component: component.clone(),
                severity: Severity(severity),
                kept: true,
                made_by: made_by.to_owned(),
                ..Rule::default()
            })
            .map(|rule| rules::lasting(rule, for_s))
            .collect();
        let asked = asked.map(|(sender, at_ns)| Arrival { sender, at_ns });
        let toggled = self.log()?.toggle(&rules, asked);
        Ok(toggled.map(|toggled| match toggled {
            Toggled::On => "on",
            Toggled::Off => "off",
            Toggled::NoRoom => "full",
        }))
    }

    /// Whether this process's recorder is on.
    #[getter]
    fn recording(&self) -> PyResult<bool> {
        Ok(self.log()?.is_recording())
    }

    /// Switches this process's recorder on or off.
    #[setter]
    fn set_recording(&self, on: bool) -> PyResult<()> {
        self.log()?.set_recording(on);
        Ok(())
    }

    /// Notes that this process serves a request; gives its token, or -1 if there is no room.
    fn begin_request(&self, id: &str, method: &str, path: &str, client: &str) -> PyResult<i64> {
        let token = self.log()?.begin_request(id, method, path, client);
        Ok(token.map_or(-1, |token| token as i64))
    }

    /// The request of this token is served; -1 is ignored.
    fn end_request(&self, token: i64) -> PyResult<()> {
        if let Ok(token) = u64::try_from(token) {
            self.log()?.end_request(token);
        }
        Ok(())
    }

    /// The requests that this process is serving, oldest first.
    fn requests<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let found = self.log()?.requests();
        found.iter().map(|request| in_flight(py, request)).collect()
    }

    /// Leads these descriptors (1, 2) into bounded files in the state, whose lines come back as records.
    fn capture_output(&self, py: Python<'_>, fds: Vec<i32>, bytes_max: u64) -> PyResult<()> {
        let log = self.log()?;
        py.detach(|| log.capture_output(&fds, bytes_max))
            .map_err(|error| to_python(&error))
    }

    /// This process sees its death coming; the reason is kept for its black box.
    fn dying(&self, cause: &str) -> PyResult<()> {
        self.log()?.expect_death(cause);
        Ok(())
    }

    /// Tells of the dead worker `process`; `status` is what waitpid said. Gives the requests that died with it.
    #[pyo3(signature = (process, status=None, cause=""))]
    fn harvest<'py>(
        &self,
        py: Python<'py>,
        process: u32,
        status: Option<i32>,
        cause: &str,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let log = self.log()?;
        let died = py.detach(|| log.harvest(process, status, cause));
        died.iter().map(|request| in_flight(py, request)).collect()
    }

    /// Tells of workers that are dead for a while and nobody has told of; looks once a second at most.
    fn harvest_dead<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let log = self.log()?;
        let died = py.detach(|| log.harvest_dead());
        died.iter().map(|request| in_flight(py, request)).collect()
    }

    /// The level rules in force, oldest first.
    fn rules<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let found = self.log()?.rules();
        found.iter().map(|rule| rules::to_dict(py, rule)).collect()
    }

    /// Puts a rule in force; gives its number. A full table is an OSError, a rule that cannot be a ValueError.
    #[pyo3(signature = (component, *, condition="", severity=5, kept=false, for_s=600.0, made_by="", worker=0, held=false))]
    #[allow(clippy::too_many_arguments, reason = "keywords of a Python function")]
    fn add_rule(
        &self,
        component: String,
        condition: &str,
        severity: u8,
        kept: bool,
        for_s: f64,
        made_by: &str,
        worker: u32,
        held: bool,
    ) -> PyResult<u64> {
        let rule = Rule {
            component,
            condition: condition.to_owned(),
            severity: Severity(severity),
            kept,
            made_by: made_by.to_owned(),
            worker,
            held,
            ..Rule::default()
        };
        let added = self.log()?.add_rule(&rules::lasting(rule, for_s));
        added.map_err(|error| to_python(&error))
    }

    /// Tells viewers which levels this program has set, by component.
    fn tell_levels(&self, levels: Vec<(String, i64)>) -> PyResult<()> {
        let pairs = levels.iter().map(|(name, level)| (name.as_str(), *level));
        self.log()?.tell_levels(pairs);
        Ok(())
    }

    /// Ends a rule.
    fn remove_rule(&self, number: u64) -> PyResult<bool> {
        Ok(self.log()?.remove_rule(number))
    }

    /// Removes the rules whose time is over or whose viewer is gone.
    fn forget_ended_rules(&self) -> PyResult<bool> {
        Ok(self.log()?.forget_ended_rules())
    }

    /// Grows with each change of the rules.
    #[getter]
    fn rules_generation(&self) -> PyResult<u64> {
        Ok(self.log()?.rules_generation())
    }

    /// Waits at most `wait_ms` until all that this process published is out of its queue; says whether it is.
    fn flush(&self, py: Python<'_>, wait_ms: u64) -> PyResult<bool> {
        let log = self.log()?;
        Ok(py.detach(|| log.flush(Duration::from_millis(wait_ms))))
    }

    /// Rotates the file now, waiting at most `wait_ms` for the lease. Says whether a file was archived.
    fn rotate(&self, py: Python<'_>, wait_ms: u64) -> PyResult<bool> {
        let log = self.log()?;
        let outcome = py
            .detach(|| log.rotate(Duration::from_millis(wait_ms)))
            .map_err(|error| to_python(&error))?;
        Ok(matches!(outcome, logboom::RotateOutcome::Rotated))
    }

    /// Takes the file for a rotation by the caller's own code; true means: rename it now, then `end_hook_rotation`.
    ///
    /// `on_demand`: whether or not a rotation is due.
    fn begin_hook_rotation(&self, py: Python<'_>, wait_ms: u64, on_demand: bool) -> PyResult<bool> {
        let log = self.log()?;
        py.detach(|| log.begin_hook_rotation(Duration::from_millis(wait_ms), on_demand))
            .map_err(|error| to_python(&error))
    }

    /// Gives the file back; `rotated` says whether the caller's code ended without an error. True: another is due.
    fn end_hook_rotation(&self, py: Python<'_>, rotated: bool) -> PyResult<bool> {
        let log = self.log()?;
        Ok(py.detach(|| log.end_hook_rotation(rotated)))
    }

    /// Changes the options of the open file; `mode` and `preamble` count only at the opening.
    fn reconfigure(&self, py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<()> {
        let options = options::from_dict(options)?;
        let log = self.log()?;
        py.detach(|| log.reconfigure(&options))
            .map_err(|error| to_python(&error))
    }

    /// Bytes in the current file and in this process's queue.
    fn size(&self, py: Python<'_>) -> PyResult<u64> {
        let log = self.log()?;
        Ok(py.detach(|| log.size()))
    }

    /// The descriptor of the current file. It stays the log's: do not close it.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let log = self.log()?;
        py.detach(|| log.fd()).map_err(|error| to_python(&error))
    }

    /// Leaves the log; every later call but this one raises `ValueError`.
    fn close(&self, py: Python<'_>) {
        let log = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        py.detach(|| drop(log));
    }

    /// The path that the log was opened with.
    #[getter]
    fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

impl Log {
    pub(crate) fn log(&self) -> PyResult<Arc<logboom::Log>> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(closed)
    }

    /// Into the recorder, if that is on: the record as JSON, if its line is none, and its line.
    pub(crate) fn record(
        &self,
        levelno: i64,
        names: [&str; 2],
        record: [&[u8]; 2],
        kept: bool,
        rules: Option<u16>,
    ) -> PyResult<()> {
        let log = self.log()?;
        let severity = Severity::from_python(levelno);
        match rules {
            Some(rules) => {
                let verdict = Verdict {
                    rules,
                    revealed: true,
                    kept,
                };
                log.record_judged(verdict, kept, severity, names, record);
            }
            None if kept => {
                log.record_published(severity, names[0], names[1], record[0], record[1])
            }
            None => log.record(severity, names[0], names[1], record[0], record[1]),
        }
        Ok(())
    }

    /// Publishes a line that ends no request.
    pub(crate) fn publish_line(&self, py: Python<'_>, line: &[u8], levelno: i64) -> PyResult<u8> {
        self.publish_ending(py, line, levelno, None)
    }

    /// Enqueues with the interpreter lock held (a copy into the ring: too short to be worth giving the lock away);
    /// only what may write or wait happens without it. `over`: the token of the request that this record ends.
    pub(crate) fn publish_ending(
        &self,
        py: Python<'_>,
        line: &[u8],
        levelno: i64,
        over: Option<u64>,
    ) -> PyResult<u8> {
        let log = self.log()?;
        let severity = Severity::from_python(levelno);
        let ticket = match over {
            Some(token) => log.enqueue_last(token, severity, line),
            None => log.enqueue(severity, line),
        };
        if ticket.is_settled() {
            return Ok(0);
        }
        Ok(match py.detach(|| log.settle(ticket, severity, line)) {
            Outcome::Published => 0,
            Outcome::RotationDue => 1,
            Outcome::Dropped(_) => 2,
        })
    }
}

/// Number, component, line, and the record as JSON where the line is none.
type Unkept = (u64, String, String, String);

/// A log beside: the log, how it writes, its components, those that are excepted, and the lowest level.
type BesideTuple<'py> = (
    PyRef<'py, Log>,
    PyRef<'py, Encoder>,
    Vec<String>,
    Vec<String>,
    i64,
);

fn beside_of((log, encoder, components, except, level): BesideTuple<'_>) -> PyResult<Beside> {
    Ok(Beside {
        log: log.log()?,
        encoder: encoder.native().clone(),
        components,
        except,
        severity: Severity::from_python(level),
    })
}

fn in_flight<'py>(
    py: Python<'py>,
    request: &logboom::RequestInFlight,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", &request.id)?;
    dict.set_item("method", &request.method)?;
    dict.set_item("path", &request.path)?;
    dict.set_item("client", &request.client)?;
    dict.set_item("started", request.started_ns as f64 / 1e9)?;
    dict.set_item("thread", request.thread)?;
    Ok(dict)
}

/// The level as a number; 0, unspecified, for the None that `logging.makeLogRecord` leaves in a record.
pub(crate) fn level(levelno: &Bound<'_, PyAny>) -> i64 {
    levelno.extract().unwrap_or(0)
}
