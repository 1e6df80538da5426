//! Where a spool's cursor stands among its segments, and what waits behind it.
//!
//! Nothing is changed and no lock is taken, so that [`waiting`] may be asked while another process reads the spool.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use super::segments::{Entry, Name, Place};
use super::stand::{Fit, Stand};
use crate::cursor::{self, Found, failed};

/// Where a cursor stands.
pub(super) enum Standing {
    /// Nothing was ever settled.
    Anew,
    /// Behind a record of this segment.
    In(Stand, Entry, File),
    /// Behind a segment that was delivered and is deleted.
    Finished,
    /// In a segment that is gone.
    Gone,
    /// It cannot be told, for this reason.
    Lost(String),
}

/// Looks for the place that a cursor names.
pub(super) fn find(place: &Place, found: &Found, listing: &[Entry]) -> io::Result<Standing> {
    let stand = match found {
        Found::Nothing => return Ok(Standing::Anew),
        Found::Text(text) => Stand::parse(text),
        Found::Damaged | Found::Unknown(_) => None,
    };
    let Some(stand) = stand else {
        return Ok(Standing::Lost("it is damaged".to_owned()));
    };
    let mut candidates: Vec<&Entry> = listing.iter().collect();
    candidates.sort_by_key(|entry| entry.file.inode != stand.inode);
    for entry in candidates {
        let path = place.path(entry.name);
        let opened = place.open(entry);
        let Some(file) = opened.map_err(|cause| failed("open", &path, &cause))? else {
            continue;
        };
        let fit = stand.fit(&file, entry.file);
        match fit.map_err(|cause| failed("read", &path, &cause))? {
            Fit::Exact => return Ok(Standing::In(stand, *entry, file)),
            Fit::NotThere => {
                return Ok(Standing::Lost(format!(
                    "it stands in `{}` at byte {}, where the record that was settled last is not",
                    path.display(),
                    stand.offset
                )));
            }
            Fit::Other => {}
        }
    }
    Ok(match stand.finished {
        true => Standing::Finished,
        false => Standing::Gone,
    })
}

/// The segments of the destination `name` that have records behind its cursor, oldest first, each standing where those begin. What was
/// settled after the cursor was stored last is among them.
///
/// # Errors
/// The directory, the cursor or a segment cannot be read.
pub fn waiting(root: &Path, name: &str) -> io::Result<Vec<File>> {
    let place = Place::new(root.to_owned(), name);
    let path = root.join(format!("{name}.cursor"));
    // The cursor first: what is settled and deleted meanwhile is then not looked for.
    let found = match std::fs::read(&path) {
        Ok(bytes) => cursor::decode(&bytes).0,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(cause) => return Err(failed("read", &path, &cause)),
    };
    let listed = place.list();
    let mut listing = listed.map_err(|cause| failed("list", root, &cause))?;
    let mut files = Vec::new();
    if let Standing::In(stand, entry, mut file) = find(&place, &found, &listing)? {
        file.seek(SeekFrom::Start(stand.offset))?;
        files.push(file);
        // A segment that was closed since it was listed keeps its place.
        let newest = match entry.name {
            Name::Current => listing.len(),
            name => listing.partition_point(|other| other.name <= name),
        };
        listing.drain(..newest);
    }
    for entry in &listing {
        let opened = place.open(entry);
        files.extend(opened.map_err(|cause| failed("open", &place.path(entry.name), &cause))?);
    }
    Ok(files)
}
