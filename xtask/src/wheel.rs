//! Builds the wheel, the way `pip install .` does, but in an environment that is kept, so that the second build needs
//! no network and only compiles what changed.

use crate::paths;
use crate::process;
use crate::python::{Venv, newest};
use crate::screen::Progress;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BUILD_LIMIT: Duration = Duration::from_secs(1500);

/// Builds the wheel and returns its path. There is one for all CPython versions.
pub fn build(progress: Option<&Progress>) -> Result<PathBuf> {
    let venv = Venv::make(
        &paths::work().join("build-venv"),
        &newest()?,
        &paths::requirements("build"),
        progress,
    )?;
    let folder = paths::work().join("wheel");
    // A wheel is made of all that lies in the build folder, also of what the sources no longer have.
    for stale in [&folder, &paths::root().join("target/python-build")] {
        remove_folder(stale)?;
    }
    let note = |line: &str| {
        if let Some(progress) = progress {
            progress.note(line);
        }
    };
    let mut command = venv.pip_wheel(paths::root(), &folder);
    command.env("CARGO_TARGET_DIR", paths::target());
    process::run_ok(command, BUILD_LIMIT, &note)?;
    let wheels: Vec<PathBuf> = fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    match wheels.as_slice() {
        [wheel] => Ok(wheel.clone()),
        other => bail!(
            "failed to build the wheel: pip left {} files in `{}`",
            other.len(),
            folder.display()
        ),
    }
}

/// Removes a folder that may not exist.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}
