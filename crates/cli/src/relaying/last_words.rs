//! Why the last relay on demand could not run: `relay.error` in the spool's directory, for `logboom status`. Such a relay has no
//! terminal, and whoever started it does not wait for it; without this, records would wait and nobody would say why.
//!
//! It is there from a failure until the next relay runs. Where another process is the relay already, a failure to become it is none.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No more than this is believed.
const BYTES_MAX: usize = 4096;

fn path(root: &Path) -> PathBuf {
    root.join("relay.error")
}

/// Leaves them. Where the directory cannot be written, nothing is left.
pub(super) fn leave(root: &Path, text: &str) {
    if logboom::status::relay_of(root).is_some() {
        return;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    if let Ok(mut file) = options.open(path(root)) {
        let _ = file.write_all(text.as_bytes());
    }
}

/// A relay runs: what was said before holds no more.
pub(super) fn forget(root: &Path) {
    let _ = std::fs::remove_file(path(root));
}

/// The last words, if there are any.
pub(super) fn read(root: &Path) -> Option<String> {
    let bytes = std::fs::read(path(root)).ok()?;
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
