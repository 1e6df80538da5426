//! The one error type of the crate.
//!
//! Opening, rotating and asking can fail with it; publishing a record never does (it answers with an
//! [`Outcome`](crate::Outcome) by value). The text reads "failed to *verb* `object`: cause; remedy".

use std::fmt;
use std::io;
use std::path::Path;

/// What kind of failure an [`Error`] is, for callers that branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An operating system call failed; see [`Error::raw_os_error`].
    Io,
    /// An option or a path cannot be used.
    Invalid,
    /// Another, living group of processes holds this log directory with a state that cannot be reached.
    Claimed,
    /// The state was written by a version of logboom that this one does not know.
    Version,
    /// A bounded wait ended before the lease was free.
    Busy,
    /// A fixed table (files of a domain) is full.
    Full,
    /// This user may look at the state, and not change it.
    Forbidden,
}

/// A failure, with the object it concerns and what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    os: Option<i32>,
}

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operating system's error number, where one was behind it.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.os
    }

    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error {
            kind,
            text: text.into(),
            os: None,
        }
    }

    /// "failed to `verb` `object`: cause; remedy".
    pub(crate) fn io(verb: &str, object: &Path, cause: &io::Error) -> Error {
        let remedy = match cause.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => "; give this user write permission there",
            Some(libc::ENOSPC | libc::EDQUOT) => "; free some space there",
            Some(libc::EROFS) => "; the volume is read-only: choose another place",
            Some(libc::ENOENT) => "; create the directory first",
            Some(libc::EIO) => "; check the disk (`dmesg` tells more)",
            Some(libc::EFBIG) => "; raise the file size limit (ulimit -f), or rotate by size",
            Some(libc::EPIPE) => "; its reader is gone: start it again",
            Some(libc::ENXIO) => "; nobody reads it: start its reader first",
            Some(libc::ENOTDIR | libc::EISDIR | libc::ELOOP | libc::ENAMETOOLONG) => {
                "; correct the path"
            }
            Some(libc::ESTALE) => "; it is another file than before: open it again",
            Some(libc::EMFILE) => "; raise the limit of open files (ulimit -n)",
            _ => "",
        };
        Error {
            kind: ErrorKind::Io,
            text: format!("failed to {verb} `{}`: {cause}{remedy}", object.display()),
            os: cause.raw_os_error(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = error.os.map_or(io::ErrorKind::Other, |os| {
            io::Error::from_raw_os_error(os).kind()
        });
        io::Error::new(kind, error)
    }
}
