//! Running as the user whose logs these are.
//!
//! A verb that writes (it drains, or renames) joins the domain as a member. Root would create files that the log's own
//! processes cannot write, so root becomes the owner of the state first: the program runs itself again as that user.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use logboom::status;

use crate::exit::{Context, Failure};
use crate::viewing::who;

/// The directory that a path means: itself, or the one that the log file lies in; with its links resolved.
///
/// # Errors
/// There is no such directory.
pub fn directory_of(path: &Path) -> Result<PathBuf, Failure> {
    let directory = match path.parent() {
        _ if path.is_dir() => path,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    directory
        .canonicalize()
        .or_failed("look into the directory", directory.display())
}

/// Why the domain of the logs in `directory` cannot be looked into. Another user's state lies where only that user may look,
/// so that it seems not to be there at all: who logs there is told.
pub fn refusal(directory: &Path, error: &logboom::Error) -> Failure {
    let own = rustix::process::geteuid();
    let owner = status::claimants(directory)
        .into_iter()
        .find(|uid| *uid != own.as_raw());
    let Some(uid) = owner.filter(|_| !own.is_root()) else {
        return Failure::could_not_run(error.to_string());
    };
    let name = who::user_name(uid).map_or_else(String::new, |name| format!(" ({name})"));
    Failure::could_not_run(format!(
        "failed to look into the domain of `{}`: user {uid}{name} logs there, and this user ({}) may not open that state; \
         run this command as that user",
        directory.display(),
        own.as_raw()
    ))
}

/// Goes on as the owner of the state of the logs at `path`. Comes back if that is this user already.
///
/// # Errors
/// It is another user's, and this one is not root or the program cannot be run as that user.
pub fn become_owner(path: &Path) -> Result<(), Failure> {
    let directory = directory_of(path)?;
    let state = status::find_state(&directory)
        .map_err(|error| Failure::could_not_run(error.to_string()))?;
    let metadata = state
        .metadata()
        .or_failed("look at the state", state.display())?;
    let own = rustix::process::geteuid();
    if metadata.uid() == own.as_raw() {
        return Ok(());
    }
    let refuse = |cause: &str| {
        Failure::could_not_run(format!(
            "failed to join the domain of `{}`: its state belongs to user {}{cause}; run this command as that user",
            directory.display(),
            metadata.uid()
        ))
    };
    if !own.is_root() {
        return Err(refuse(""));
    }
    let program = std::env::current_exe().or_failed("find", "this program")?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = Command::new(program)
        .args(arguments)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .exec();
    Err(refuse(&format!(
        ", and it cannot be run as that user from here: {error}"
    )))
}
