//! `logboom.toml`: what the file, the environment and the command line say about logging, checked, and with the place
//! that each value came from.
//!
//! Defaults are overridden by the file, the file by the environment (`LOGBOOM_LEVEL`), the environment by flags. Every
//! layer is checked, also where a later one wins. A mistake never passes silently and never stops at the first: [`load`]
//! gives all of them, each with its file and line, the key, what is wrong and what to write instead.
//!
//! What always holds: nothing is opened but the configuration file itself; [`Effective`] has a value for each key of
//! [`schema::KEYS`], for each file and each destination that is configured. What a key means and what it may hold stands in that one list:
//! reading, `logboom check` and the table of docs/configuration.md follow it.

#![forbid(unsafe_code)]

pub mod beside;
mod files;
mod key;
mod kind;
mod layers;
mod named;
mod patterns;
mod problem;
pub mod schema;
mod ship;
mod syntax;
mod value;
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use key::KeyPath;
pub use kind::{SCHEMES, seconds};
pub use patterns::Patterns;
pub use problem::Problem;
pub use value::{Value, level_name};

/// A size in bytes as it is written in the file: `64 KiB`, `1.5 GB`, `4096`.
///
/// # Errors
/// It is none; the text says what to write.
pub fn size(text: &str) -> Result<u64, String> {
    match kind::Kind::Bytes.read_override(text) {
        Ok(Value::Bytes(bytes)) => Ok(bytes),
        Ok(_) => Err("it is no size".into()),
        Err(wrong) => Err(wrong.remedy),
    }
}

/// The name of the file that is looked for in the working directory.
pub const FILE_NAME: &str = "logboom.toml";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file, and the line in it.
    File(String, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the server, or an argument of `logboom.configure`.
    Flag(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(name, line) => write!(f, "{name}:{line}"),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::Flag(name) => f.write_str(name),
        }
    }
}

/// One value in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: KeyPath,
    /// What it is.
    pub value: Value,
    /// Who said so.
    pub source: Source,
}

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// Every key with its value: in the order of [`schema::KEYS`], the file `main` before the others.
    pub entries: Vec<Entry>,
    /// What is no mistake but deserves a look, such as an unknown `LOGBOOM_` variable.
    pub notes: Vec<Problem>,
}

impl Effective {
    /// The value in force for a key, written as in the file (`files.main.path`).
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        let key = KeyPath::parse(key).ok()?;
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| &entry.value)
    }
}

impl Effective {
    /// What concerns one destination, as a configuration of its own that can be loaded from anywhere: its keys as far as they are not
    /// defaults, the relay's, and the log of `main`. Paths are absolute, seen from the working directory.
    #[must_use]
    pub fn of_destination(&self, name: &str) -> String {
        let mut text = format!(
            "# How `{name}.spool` is shipped: made from the configuration by whoever opened it last.\n"
        );
        for entry in &self.entries {
            let key = &entry.key.0;
            let concerns = match key[0].as_str() {
                "ship" => key[1] == name,
                "files" => key[1] == "main" && ["path", "state_dir"].contains(&key[2].as_str()),
                top => top == "relay",
            };
            if concerns && entry.source != Source::Default {
                let value = made_absolute(entry);
                text.push_str(&format!("{} = {value}\n", entry.key));
            }
        }
        text
    }
}

/// The value of an entry, seen from anywhere.
fn made_absolute(entry: &Entry) -> Value {
    let key = schema::find(&entry.key.0);
    let is_path = key.is_some_and(|key| key.kind.is_path());
    match &entry.value {
        Value::Text(text) if is_path && text != "-" && text != "beside" => {
            let path = std::path::absolute(text).unwrap_or_else(|_| text.into());
            Value::Text(path.display().to_string())
        }
        value => value.clone(),
    }
}

/// Reads the configuration.
///
/// The file is `path`, else what `LOGBOOM_CONFIG` in `env` names, else `logboom.toml` in the working directory if there
/// is one. `flags` have keys as in the file (`level`, `files.main.path`) or the flag of a key (`--log-level`).
///
/// # Errors
/// All that is wrong, in the order file, environment, flags; inside the file by line.
pub fn load(
    path: Option<&Path>,
    env: &BTreeMap<String, String>,
    flags: &BTreeMap<String, String>,
) -> Result<Effective, Vec<Problem>> {
    let named = path.map(Path::to_path_buf).or_else(|| {
        env.get("LOGBOOM_CONFIG")
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
    });
    let file = match named {
        Some(path) => Some(path),
        None => Some(PathBuf::from(FILE_NAME)).filter(|path| path.exists()),
    };
    let mut layers = layers::Layers::default();
    if let Some(file) = &file {
        match std::fs::read(file) {
            Ok(bytes) => syntax::read_file(&file.display().to_string(), &bytes, &mut layers),
            Err(error) => layers.problems.push(problem::unreadable(file, &error)),
        }
    }
    layers::read_environment(env, &mut layers);
    layers::read_flags(flags, &mut layers);
    let effective = whole::complete(file, &mut layers);
    if layers.problems.is_empty() {
        Ok(effective)
    } else {
        Err(layers.problems)
    }
}
