//! Level rules and their conditions, as Python has them.

use logboom::Severity;
use logboom::rules::{Condition, Rule};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A rule with the keys that `_native.pyi` names.
pub(crate) fn to_dict<'py>(py: Python<'py>, rule: &Rule) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("number", rule.number)?;
    dict.set_item("index", rule.index)?;
    dict.set_item("component", &rule.component)?;
    dict.set_item("condition", &rule.condition)?;
    dict.set_item("worker", rule.worker)?;
    dict.set_item("severity", rule.severity.0)?;
    dict.set_item("kept", rule.kept)?;
    dict.set_item("held", rule.held)?;
    dict.set_item("made", rule.made_ns as f64 / 1e9)?;
    dict.set_item("expires", rule.expires_ns as f64 / 1e9)?;
    dict.set_item("maker", rule.maker)?;
    dict.set_item("made_by", &rule.made_by)?;
    Ok(dict)
}

/// A rule that lasts for `for_s` seconds from now; 0: until it is removed.
pub(crate) fn lasting(rule: Rule, for_s: f64) -> Rule {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ns = now.map_or(0, |now| now.as_nanos() as u64);
    Rule {
        made_ns: now_ns,
        expires_ns: if for_s > 0.0 {
            now_ns.saturating_add((for_s * 1e9) as u64)
        } else {
            0
        },
        maker: std::process::id(),
        ..rule
    }
}

/// The conditions of a rule, one a line: field, operator, value. A ValueError says what is wrong.
#[pyfunction]
pub(crate) fn read_conditions(text: &str) -> PyResult<Vec<(String, &'static str, String)>> {
    let conditions = Condition::all_of(text).map_err(PyValueError::new_err)?;
    let parts = conditions
        .into_iter()
        .map(|one| (one.field.to_string(), one.operator.sign(), one.value));
    Ok(parts.collect())
}

/// A span of time as `logboom.toml` has it, in seconds; None for what is none.
#[pyfunction]
pub(crate) fn read_seconds(text: &str) -> Option<f64> {
    logboom_config::seconds(text)
}

/// The severity number of a level of `logging`.
#[pyfunction]
pub(crate) fn severity_of(levelno: i64) -> u8 {
    Severity::from_python(levelno).0
}
