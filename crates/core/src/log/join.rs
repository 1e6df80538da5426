//! From a path to the domain of its directory, or to one of its own for a pipe or a terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::Domain;
use crate::error::{Error, ErrorKind};
use crate::options::LogOptions;

/// The domain of a log, and the path it is known by there.
pub(super) fn join(path: &Path, options: &LogOptions) -> Result<(PathBuf, Arc<Domain>), Error> {
    if let Ok(facts) = crate::fs::look(path)
        && !facts.is_regular
        && differs_by_process(path)
    {
        let directory = crate::place::directory_of_special(
            facts.identity,
            &options.state_dir,
            options.state_group,
        )?;
        let path = std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
        return Ok((path, Domain::join(&directory, true, options)?));
    }
    let path = resolve(&behind_a_descriptor(path))?;
    let domain = Domain::join(crate::fs::parent(&path), false, options)?;
    Ok((path, domain))
}

/// The file that a path like `/proc/self/fd/2` leads to, where it has one: other processes know it by that.
fn behind_a_descriptor(path: &Path) -> PathBuf {
    let here = ["/proc", "/dev"]
        .iter()
        .any(|place| path.starts_with(place));
    let target = here.then(|| path.canonicalize().ok()).flatten();
    target.unwrap_or_else(|| path.to_owned())
}

/// `/dev/stdout`, `/proc/self/fd/1`, a terminal: what such a path is depends on who asks.
fn differs_by_process(path: &Path) -> bool {
    // What a descriptor of a pipe links to has no path of its own.
    let Ok(target) = path.canonicalize() else {
        return true;
    };
    target.starts_with("/proc") || target.starts_with("/dev") && !target.starts_with("/dev/shm")
}

/// The absolute path, with the directory's links resolved, so that all ways to a directory lead to one domain.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("failed to open `{}`: it names no file", path.display()),
        ));
    };
    let parent = crate::fs::parent(path);
    let directory = parent
        .canonicalize()
        .map_err(|error| Error::io("open the directory", parent, &error))?;
    let resolved = directory.join(name);
    crate::state::refuse_long_path(&resolved)?;
    Ok(resolved)
}
