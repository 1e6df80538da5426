//! Files of a directory in which others rename, make and delete files at the same time.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

/// What the kernel knows a file by, as long as somebody has it open or it has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FileId {
    pub(crate) fn of(facts: &Metadata) -> FileId {
        FileId {
            device: facts.dev(),
            inode: facts.ino(),
        }
    }
}

/// Listings until two are the same.
const LISTINGS_MAX: usize = 100;

/// A listing that was the same twice in a row: the kernel promises nothing of entries that come and go while a directory is read, so
/// one that was renamed may be in a single listing twice, or not at all.
///
/// # Errors
/// A listing fails, or there are never two that are the same.
pub(crate) fn agreed<T>(
    mut list: impl FnMut() -> io::Result<Vec<T>>,
    is_same: impl Fn(&T, &T) -> bool,
) -> io::Result<Vec<T>> {
    let mut before = list()?;
    for _ in 0..LISTINGS_MAX {
        let now = list()?;
        let mut pairs = before.iter().zip(&now);
        if before.len() == now.len() && pairs.all(|(one, other)| is_same(one, other)) {
            return Ok(now);
        }
        before = now;
    }
    Err(io::Error::other("its files come and go all the time"))
}
