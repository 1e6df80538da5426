//! What an `Encoder` hides: names (`logboom::format::redact::Names`) and patterns, which are regular expressions.

use std::borrow::Cow;

use logboom::format::redact::{Names, REDACTED, Redact};
use logboom_config::Patterns;
use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

/// Names and patterns of one encoder.
pub(crate) struct Redaction {
    names: Names,
    patterns: Patterns,
}

impl Redaction {
    /// None if there is nothing to hide; `ValueError` for a pattern that is none.
    pub(crate) fn new(names: &[String], patterns: &[String]) -> PyResult<Option<Redaction>> {
        let names = Names::new(names.iter().map(String::as_str));
        let patterns = Patterns::new(patterns)
            .map_err(|why| PyValueError::new_err(format!("redact_patterns: {why}")))?;
        let redaction = Redaction { names, patterns };
        Ok((!redaction.names.is_empty() || !redaction.patterns.is_empty()).then_some(redaction))
    }
}

impl Redact for Redaction {
    fn name(&self, field: &str) -> bool {
        self.names.matches(field)
    }

    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.patterns.hide_in(self.names.hide_in(text), REDACTED)
    }
}
