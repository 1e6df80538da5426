//! One mistake in a configuration, as a person needs it: where, which key, what is wrong, what to write.

use std::fmt;
use std::path::Path;

/// A mistake, or a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file, or `environment`, or `flags`.
    pub file: String,
    /// The line in the file, from 1; None where there are no lines.
    pub line: Option<usize>,
    /// The key as it stands there (`files.main.path`), the variable or the flag; empty for a file that is no TOML.
    pub key: String,
    /// What is wrong.
    pub text: String,
    /// What to write instead, or to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        write!(f, "{}; {}", self.text, self.remedy)
    }
}

impl std::error::Error for Problem {}

pub(crate) fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem {
        file: file.display().to_string(),
        line: None,
        key: String::new(),
        text: format!("cannot be read: {error}"),
        remedy: "name a file that this user may read (LOGBOOM_CONFIG or the argument)".into(),
    }
}
