//! Where the measurements write: a temporary directory on the volume of the current directory, removed at the end, and
//! a directory in shared memory for logboom's state, where it lies by default.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The directories of a run.
pub struct Place {
    logs: TempDir,
    state: TempDir,
}

/// The directories of one measurement: empty before it, gone after it.
pub struct Spot<'p> {
    place: &'p Place,
    /// Directory of the logs.
    pub directory: PathBuf,
}

impl Place {
    /// Makes both directories.
    pub fn make() -> Result<Place> {
        let state = tempfile::Builder::new()
            .prefix("logboom-bench-")
            .tempdir_in("/dev/shm");
        let logs = tempfile::Builder::new()
            .prefix("bench-")
            .suffix(".tmp")
            .tempdir_in(".");
        Ok(Place {
            logs: logs.context("failed to make a directory here; run this where you may write")?,
            state: state
                .or_else(|_| tempfile::tempdir())
                .context("failed to make a state directory")?,
        })
    }

    /// Where logs go.
    pub fn logs(&self) -> &Path {
        self.logs.path()
    }

    /// Where states go.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Fresh directories for one measurement.
    pub fn spot(&self) -> Result<Spot<'_>> {
        let directory = self.logs.path().join("spot");
        std::fs::create_dir_all(&directory)?;
        let directory = directory.canonicalize()?;
        Ok(Spot {
            place: self,
            directory,
        })
    }
}

impl Spot<'_> {
    /// The log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("app.log")
    }

    /// Where logboom keeps its state.
    pub fn state(&self) -> logboom::StateDir {
        logboom::StateDir::Path(self.place.state().to_owned())
    }
}

impl Drop for Spot<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
        for entry in std::fs::read_dir(self.place.state())
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
