//! The options of a log, from a Python dict.
//!
//! One arm per key. An unknown key is a `TypeError`, as is a value of the wrong type; a value that cannot be is a
//! `ValueError`. Each names the key, so that the line in a user's configuration is found.

use std::path::PathBuf;
use std::str::FromStr;

use logboom::files::schedule::{Schedule, When};
use logboom::{Compress, Durability, LogOptions, OnFull, OpenMode, SpoolFull, StateDir};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::encoder::Encoder;

/// The parts of a schedule, which come as keys of their own.
struct ScheduleKeys {
    when: Option<String>,
    interval: u32,
    at_time_s: Option<u32>,
    utc: bool,
}

/// Reads every key of `dict` into options; a missing key keeps its default.
pub(crate) fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<LogOptions> {
    let mut options = match dict.get_item("spool_bytes")? {
        Some(bytes) => LogOptions::for_spool(
            read("spool_bytes", &bytes, "a whole number of bytes, 0 or more")?,
            SpoolFull::DropOldest,
        ),
        None => LogOptions::default(),
    };
    let mut schedule = ScheduleKeys {
        when: None,
        interval: 1,
        at_time_s: None,
        utc: false,
    };
    for (key, value) in dict.iter() {
        let key: String = key
            .extract()
            .map_err(|_| PyTypeError::new_err("the name of an option must be text"))?;
        read_key(&mut options, &mut schedule, &key, &value)?;
    }
    options.schedule = schedule.build()?;
    Ok(options)
}

fn read_key(
    o: &mut LogOptions,
    s: &mut ScheduleKeys,
    key: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    match key {
        "mode" => {
            o.mode = choice(
                key,
                value,
                &[("a", OpenMode::Append), ("w", OpenMode::Truncate)],
            )?
        }
        "max_bytes" => o.max_bytes = read(key, value, "a whole number of bytes, 0 or more")?,
        "backup_count" => o.backup_count = read(key, value, "a whole number, 0 or more")?,
        "when" => s.when = read(key, value, "None or text such as 'midnight'")?,
        "interval" => s.interval = read(key, value, "a whole number, 1 or more")?,
        "at_time_s" => s.at_time_s = read(key, value, "None or seconds after midnight")?,
        "utc" => s.utc = read(key, value, "True or False")?,
        "suffix" => o.suffix = read(key, value, "None or a strftime format")?,
        "compress" => o.compress = compress(key, value)?,
        "keep_age_s" => o.keep_age_s = read(key, value, "a whole number of seconds, 0 or more")?,
        "keep_bytes" => o.keep_bytes = read(key, value, "a whole number of bytes, 0 or more")?,
        "durability" => {
            o.durability = choice(
                key,
                value,
                &[("kernel", Durability::Kernel), ("disk", Durability::Disk)],
            )?;
        }
        "watch" => o.watch = read(key, value, "True or False")?,
        "ledger_ids" => o.ledger_ids = read(key, value, "True or False")?,
        "state_dir" => o.state_dir = state_dir(key, value)?,
        "state_group" => o.state_group = read(key, value, "None or the number of a group")?,
        "on_full" => {
            o.on_full = choice(
                key,
                value,
                &[("block", OnFull::Block), ("drop", OnFull::Drop)],
            )?
        }
        "on_full_wait_ms" => {
            o.on_full_wait_ms = read(key, value, "a whole number of milliseconds, 0 or more")?
        }
        "queue_bytes" => o.queue_bytes = read(key, value, "a whole number of bytes, 0 or more")?,
        "recorder_bytes" => {
            o.recorder_bytes = read(key, value, "a whole number of bytes, 0 or more")?
        }
        "encoder" => {
            let encoder: Option<PyRef<'_, Encoder>> =
                read(key, value, "None or a logboom._native.Encoder")?;
            o.encoder = encoder.map(|encoder| encoder.native().clone());
        }
        "black_box_copies" => o.black_box_copies = read(key, value, "True or False")?,
        "blackbox_records" => o.blackbox_records = read(key, value, "a whole number, 0 or more")?,
        // What these make of the others was made before.
        "spool_bytes" => {}
        "spool_full" => {
            let words = [
                ("oldest", SpoolFull::DropOldest),
                ("newest", SpoolFull::DropNewest),
                ("block", SpoolFull::Block),
            ];
            o.spool = Some(choice(key, value, &words)?);
        }
        "relay_program" => o.relay_program = read(key, value, "None or a path")?,
        "preamble" => o.preamble = read(key, value, "bytes")?,
        "hooks" => o.hooks = read(key, value, "True or False")?,
        "create_mode" => o.create_mode = read(key, value, "None or a file mode such as 0o640")?,
        "owner" => o.owner = read(key, value, "None or a pair of user id and group id")?,
        _ => {
            return Err(PyTypeError::new_err(format!(
                "unknown option `{key}`; see the options in docs/handlers.md"
            )));
        }
    }
    Ok(())
}

/// A value by its type alone.
fn read<'py, T: FromPyObjectOwned<'py>>(
    key: &str,
    value: &Bound<'py, PyAny>,
    expected: &str,
) -> PyResult<T> {
    value.extract::<T>().map_err(|error| {
        let text = format!("option `{key}` must be {expected}, not {}", shown(value));
        let error: PyErr = error.into();
        // A number of the right kind that is negative or too large.
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            PyValueError::new_err(text)
        } else {
            PyTypeError::new_err(text)
        }
    })
}

/// A value that is one of a few words.
fn choice<T: Copy>(key: &str, value: &Bound<'_, PyAny>, words: &[(&str, T)]) -> PyResult<T> {
    let expected = words
        .iter()
        .map(|(word, _)| format!("'{word}'"))
        .collect::<Vec<_>>()
        .join(" or ");
    let given: String = read(key, value, &expected)?;
    match words.iter().find(|(word, _)| *word == given) {
        Some((_, meaning)) => Ok(*meaning),
        None => Err(PyValueError::new_err(format!(
            "option `{key}` must be {expected}, not '{given}'"
        ))),
    }
}

fn compress(key: &str, value: &Bound<'_, PyAny>) -> PyResult<Compress> {
    if value.is_none() {
        return Ok(Compress::None);
    }
    choice(
        key,
        value,
        &[("gzip", Compress::Gzip), ("zstd", Compress::Zstd)],
    )
}

fn state_dir(key: &str, value: &Bound<'_, PyAny>) -> PyResult<StateDir> {
    if value.is_none() {
        return Ok(StateDir::Default);
    }
    let path: PathBuf = read(key, value, "None, 'beside' or a directory")?;
    Ok(if path.as_os_str() == "beside" {
        StateDir::Beside
    } else {
        StateDir::Path(path)
    })
}

fn shown(value: &Bound<'_, PyAny>) -> String {
    value
        .repr()
        .map_or_else(|_| String::from("that"), |text| text.to_string())
}

impl ScheduleKeys {
    fn build(self) -> PyResult<Option<Schedule>> {
        let Some(when) = self.when else {
            return Ok(None);
        };
        let when = When::from_str(&when)
            .map_err(|error| PyValueError::new_err(format!("option `when`: {error}")))?;
        Ok(Some(Schedule {
            when,
            interval: self.interval,
            at_time_s: self.at_time_s,
            utc: self.utc,
        }))
    }
}
