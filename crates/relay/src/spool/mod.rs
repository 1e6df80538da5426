#![doc = include_str!("SPOOL.md")]

mod lag;
pub mod line;
mod reader;
mod reading;
mod segments;
mod settling;
mod stand;
mod standing;

use std::io;
use std::path::Path;

pub use reader::{Options, Reader};
pub use standing::waiting;

use crate::source::Source;

/// Opens the spool of the destination `name` in the spool root `root`. `deleted` is called after segments were deleted: whoever
/// refuses records because the spool is full may find room now.
///
/// # Errors
/// As for [`Reader::open`].
pub fn open(root: &Path, name: &str, deleted: Box<dyn Fn() + Send>) -> io::Result<Box<dyn Source>> {
    let reader = Reader::open(root, name, Options::default())?;
    Ok(Box::new(reader.telling_of_deletions(deleted)))
}
