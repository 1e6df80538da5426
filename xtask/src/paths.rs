//! Where things are: the repository, and the folders in the target directory that the commands work in.

use std::env;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// Cargo's target directory; `CARGO_TARGET_DIR` is honoured.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// What the commands keep between runs: virtual environments, the wheel, outputs of the test steps.
pub fn work() -> PathBuf {
    target().join("xtask")
}

/// The list of packages `xtask/requirements/<name>.txt`.
pub fn requirements(name: &str) -> PathBuf {
    root()
        .join("xtask/requirements")
        .join(name)
        .with_extension("txt")
}
