//! `load_config`: the configuration in force, as a dict.
//!
//! Sizes are bytes, times are seconds, levels are numbers of `logging`, and what is switched off is None.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logboom_config::{Effective, Problem, Value, beside};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

/// Reads and checks the configuration; a wrong one is a `ValueError` with a line for each mistake.
#[pyfunction]
pub(crate) fn load_config<'py>(
    py: Python<'py>,
    path: Option<PathBuf>,
    env: &Bound<'py, PyDict>,
    flags: BTreeMap<String, String>,
) -> PyResult<Bound<'py, PyDict>> {
    let env = ours(env)?;
    let loaded = py.detach(|| logboom_config::load(path.as_deref(), &env, &flags));
    let effective = loaded.map_err(|problems| PyValueError::new_err(lines(&problems)))?;
    let answer = PyDict::new(py);
    answer.set_item("values", values(py, &effective)?)?;
    let sources = PyDict::new(py);
    for entry in &effective.entries {
        sources.set_item(entry.key.to_string(), entry.source.to_string())?;
    }
    answer.set_item("sources", sources)?;
    let file = effective.file.as_ref().map(|file| file.as_os_str());
    answer.set_item("path", file)?;
    let notes = effective.notes.iter().map(ToString::to_string);
    answer.set_item("notes", PyList::new(py, notes.collect::<Vec<_>>())?)?;
    Ok(answer)
}

/// The variables that may be ours. Others may hold bytes that are no text, and are nobody's business here.
fn ours(env: &Bound<'_, PyDict>) -> PyResult<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (name, value) in env {
        let (name, value) = (
            name.cast_into::<PyString>()?,
            value.cast_into::<PyString>()?,
        );
        let name = name.to_string_lossy();
        if name.starts_with("LOGBOOM_") {
            found.insert(name.into_owned(), value.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    format!("failed to load the configuration:\n{}", lines.join("\n"))
}

/// The nested tables, with `levels` always among them.
fn values<'py>(py: Python<'py>, effective: &Effective) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    for table in ["levels", "ship"] {
        values.set_item(table, PyDict::new(py))?;
    }
    for entry in &effective.entries {
        let Some((last, tables)) = entry.key.0.split_last() else {
            continue;
        };
        let mut table = values.clone();
        for name in tables {
            table = match table.get_item(name)? {
                Some(below) => below.cast_into::<PyDict>()?,
                None => {
                    let below = PyDict::new(py);
                    table.set_item(name, &below)?;
                    below
                }
            };
        }
        table.set_item(last, value(py, &entry.value)?)?;
    }
    let ship = values.get_item("ship")?.into_iter();
    for (name, table) in ship.flat_map(|ship| ship.cast_into::<PyDict>()).flatten() {
        let (name, table) = (name.extract::<String>()?, table.cast_into::<PyDict>()?);
        table.set_item("root", beside::root(effective, &name).as_os_str())?;
        table.set_item("state_dir", beside::state_dir(effective, &name))?;
        table.set_item("text", effective.of_destination(&name))?;
    }
    Ok(values)
}

/// Keeps what a relay must know of a destination beside its spool; the directory is made if it is missing.
#[pyfunction]
pub(crate) fn keep_destination(root: PathBuf, name: &str, text: &str) -> PyResult<()> {
    Ok(beside::keep(&root, name, text)?)
}

/// Where a user's spools lie that belong beside no log.
#[pyfunction]
pub(crate) fn user_spools() -> PathBuf {
    beside::base_of_user()
}

fn value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::None(_) => py.None().into_bound(py),
        Value::Bool(yes) => yes.into_pyobject(py)?.to_owned().into_any(),
        Value::Count(number) | Value::Bytes(number) => number.into_pyobject(py)?.into_any(),
        Value::Seconds(seconds) => seconds.into_pyobject(py)?.into_any(),
        Value::Level(level) => level.into_pyobject(py)?.into_any(),
        Value::TimeOfDay(number) | Value::Mode(number) => number.into_pyobject(py)?.into_any(),
        Value::Text(text) => text.into_pyobject(py)?.into_any(),
        Value::Texts(texts) => texts.into_pyobject(py)?.into_any(),
    })
}
