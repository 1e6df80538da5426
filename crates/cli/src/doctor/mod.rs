//! The checks of `logboom doctor`. Each looks at one thing and says what it is, and where it is wrong what to do.
//!
//! Nothing is changed and no lease is taken. A check that cannot be made for this user says so as a note.

mod claim;
mod group;
mod places;

use std::path::Path;

use logboom::status::{self, Status};

use crate::exit::Failure;
use crate::owner;

/// How much a line of the report matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Checked, and right.
    Good,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something is to be done.
    Finding,
}

impl Weight {
    /// The weight in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Weight::Good => "good",
            Weight::Note => "note",
            Weight::Finding => "finding",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone)]
pub struct Line {
    /// How much it matters.
    pub weight: Weight,
    /// Which check, in one word that stays.
    pub check: &'static str,
    /// What it is about: a path, a process.
    pub object: String,
    /// What was found.
    pub what: String,
    /// What to do; empty where nothing is.
    pub remedy: String,
}

/// The report as it grows.
#[derive(Debug, Default)]
pub struct Lines(pub Vec<Line>);

impl Lines {
    fn add(
        &mut self,
        weight: Weight,
        check: &'static str,
        object: impl ToString,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Line {
            weight,
            check,
            object: object.to_string(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    fn good(&mut self, check: &'static str, object: impl ToString, what: impl Into<String>) {
        self.add(Weight::Good, check, object, what, "");
    }

    fn note(&mut self, check: &'static str, object: impl ToString, what: impl Into<String>) {
        self.add(Weight::Note, check, object, what, "");
    }

    fn find(
        &mut self,
        check: &'static str,
        object: impl ToString,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Weight::Finding, check, object, what, remedy);
    }

    /// True when something is to be done.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        self.0.iter().any(|line| line.weight == Weight::Finding)
    }
}

/// Makes all checks for the logs at `path`.
///
/// # Errors
/// The directory cannot be looked into.
pub fn examine(path: &Path) -> Result<Lines, Failure> {
    let directory = owner::directory_of(path)?;
    let mut lines = Lines::default();
    let claims = claim::read(&directory);
    let status = look(&directory, &mut lines);
    places::directory(&mut lines, &directory, &claims);
    claim::check(&mut lines, &claims, status.as_ref());
    places::volumes(&mut lines, &directory, status.as_ref());
    if let Some(status) = &status {
        places::state(&mut lines, status);
        group::check(&mut lines, status, || status::status(&directory).ok());
    }
    Ok(lines)
}

/// The status of the domain, if there is one that can be read.
fn look(directory: &Path, lines: &mut Lines) -> Option<Status> {
    let place = match status::find_state(directory) {
        Ok(place) => place,
        Err(error) if places::is_unusable_place(&error) => {
            lines.find("state", directory.display(), error.to_string(), "");
            return None;
        }
        Err(_) => {
            lines.note(
                "state",
                directory.display(),
                "no domain: no process of this user logs there with logboom, or its state is gone",
            );
            return None;
        }
    };
    match status::status(directory) {
        Ok(status) => Some(status),
        Err(error) => {
            let remedy = match error.kind() {
                logboom::ErrorKind::Version => {
                    "use the logboom that the living processes use, or restart them with this one"
                }
                _ if error.raw_os_error().is_some() => {
                    "run this as the user whose processes log there, or as root"
                }
                _ => {
                    "nothing, if no process lives: the next one that opens the log keeps it under another name and makes a new one. \
                     Restart living processes. The records that were in its queues are lost"
                }
            };
            lines.find("state", place.display(), error.to_string(), remedy);
            None
        }
    }
}
