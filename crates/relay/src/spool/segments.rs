//! Which files of a directory are the segments of a spool, in the order of their records; and what has gone missing among them.
//!
//! What always holds: a file that was moved while the directory was read is listed once and in its place.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::PathBuf;

use crate::listing::{self, FileId};

/// Where a spool is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// Name of the file that is written to: `NAME.spool`.
    base: String,
}

/// A segment as it stands in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) file: FileId,
    pub(super) bytes: u64,
}

/// Which segment a name says it is. In the order of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    /// Nobody writes to it any more, and the name stays its own.
    Closed(u32),
    /// The one that is written to.
    Current,
}

impl Place {
    pub(super) fn new(directory: PathBuf, name: &str) -> Place {
        Place {
            directory,
            base: format!("{name}.spool"),
        }
    }

    pub(super) fn path(&self, name: Name) -> PathBuf {
        match name {
            Name::Current => self.directory.join(&self.base),
            Name::Closed(number) => self.directory.join(format!("{}.{number}", self.base)),
        }
    }

    /// The file that is written to; None: there is none now.
    pub(super) fn current(&self) -> io::Result<Option<FileId>> {
        match fs::symlink_metadata(self.path(Name::Current)) {
            Ok(facts) => Ok(facts.is_file().then(|| FileId::of(&facts))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// All segments, oldest first.
    pub(super) fn list(&self) -> io::Result<Vec<Entry>> {
        listing::agreed(
            || self.list_once(),
            |one, other| (one.name, one.file) == (other.name, other.file),
        )
    }

    fn list_once(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Some(name) = self.name_of(&entry) {
                entries.extend(self.look_at(name)?);
            }
        }
        entries.sort_by_key(|entry| entry.name);
        Ok(entries)
    }

    fn name_of(&self, entry: &DirEntry) -> Option<Name> {
        let name = entry.file_name();
        let rest = name.to_str()?.strip_prefix(&self.base)?;
        if rest.is_empty() {
            return Some(Name::Current);
        }
        let digits = rest.strip_prefix('.')?;
        let is_plain = digits.len() <= 9
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        Some(Name::Closed(digits.parse().ok().filter(|_| is_plain)?))
    }

    /// None: it is gone, or no regular file.
    fn look_at(&self, name: Name) -> io::Result<Option<Entry>> {
        match fs::symlink_metadata(self.path(name)) {
            Ok(facts) => Ok(facts.is_file().then(|| Entry {
                name,
                file: FileId::of(&facts),
                bytes: facts.len(),
            })),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Opens a segment; None: the name is another file's by now, or nobody's.
    pub(super) fn open(&self, entry: &Entry) -> io::Result<Option<File>> {
        match File::open(self.path(entry.name)) {
            Ok(file) => {
                let is_it = FileId::of(&file.metadata()?) == entry.file;
                Ok(is_it.then_some(file))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Deletes a closed segment, if it still is this file. A closed segment's name stays its own, so nothing can come between the
    /// look and the deletion; the current segment's name does not, which is why it is never deleted.
    pub(super) fn delete(&self, number: u32, file: FileId) -> io::Result<()> {
        let found = self.look_at(Name::Closed(number))?;
        match found.filter(|entry| entry.file == file) {
            Some(_) => match fs::remove_file(self.path(Name::Closed(number))) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
                outcome => outcome,
            },
            None => Ok(()),
        }
    }
}

/// Segments that somebody deleted before they were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) files: u64,
    /// Bytes of those that were ever seen.
    pub(super) bytes: u64,
}

/// Compares a listing with the one before.
///
/// `unread` are the segments of the listing before that nobody has opened; `highest` is the highest number that was seen. A
/// closed segment gets the highest present number and one, or 1 when there is none: so segments that came and went unseen show
/// as a gap above `highest`, or, when numbering has begun anew, above zero. That can be told as far as something is left behind the gap.
pub(super) fn missed(unread: &[Entry], highest: u32, now: &[Entry]) -> Missed {
    let mut missed = Missed::default();
    let mut current_is_gone = false;
    let files: HashSet<FileId> = now.iter().map(|entry| entry.file).collect();
    let closed: HashSet<(Name, FileId)> =
        now.iter().map(|entry| (entry.name, entry.file)).collect();
    for before in unread {
        let is_there = match before.name {
            Name::Closed(_) => closed.contains(&(before.name, before.file)),
            Name::Current => files.contains(&before.file),
        };
        if !is_there {
            missed.files += 1;
            missed.bytes += before.bytes;
            current_is_gone |= before.name == Name::Current;
        }
    }
    let numbers = now.iter().filter_map(|entry| match entry.name {
        Name::Closed(number) => Some(number),
        Name::Current => None,
    });
    let (above, below): (Vec<u32>, Vec<u32>) = numbers.partition(|number| *number > highest);
    let begun_anew =
        highest > 0 && !below.is_empty() && !below.contains(&highest) && above.is_empty();
    let new = if begun_anew { &below } else { &above };
    if let Some(last) = new.iter().max() {
        let from = if begun_anew { 0 } else { highest };
        let gap = u64::from(last - from) - new.len() as u64;
        missed.files += gap.saturating_sub(u64::from(current_is_gone));
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let keep = tempfile::tempdir().unwrap();
        let place = Place::new(keep.path().to_owned(), "central");
        (keep, place)
    }

    fn names(place: &Place) -> Vec<Name> {
        place
            .list()
            .unwrap()
            .iter()
            .map(|entry| entry.name)
            .collect()
    }

    #[test]
    fn the_lowest_number_is_the_oldest_and_the_current_segment_the_newest() {
        let (keep, place) = place();
        for name in [
            "central.spool",
            "central.spool.10",
            "central.spool.9",
            "central.spool.2",
        ] {
            fs::write(keep.path().join(name), "").unwrap();
        }
        let expected = [
            Name::Closed(2),
            Name::Closed(9),
            Name::Closed(10),
            Name::Current,
        ];
        assert_eq!(names(&place), expected);
    }

    #[test]
    fn only_names_that_a_segment_can_have_are_taken_for_one() {
        let (keep, place) = place();
        for name in [
            "central.cursor",
            "central.toml",
            "central.spool.",
            "central.spool.0",
            "central.spool.01",
            "central.spool.1.gz",
            "central.spool.+1",
            "central.spool.1234567890",
            "central.spool1",
            "xcentral.spool",
            "central2.spool",
        ] {
            fs::write(keep.path().join(name), "").unwrap();
        }
        fs::create_dir(keep.path().join("central.spool.3")).unwrap();
        std::os::unix::fs::symlink("central.toml", keep.path().join("central.spool.4")).unwrap();
        assert_eq!(names(&place), []);
    }

    #[test]
    fn only_the_very_file_is_opened_or_deleted() {
        let (keep, place) = place();
        let path = keep.path().join("central.spool.1");
        fs::write(&path, "one").unwrap();
        let one = place.list().unwrap()[0];
        assert!(place.open(&one).unwrap().is_some());
        let held = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(place.open(&one).unwrap().is_none());
        fs::write(&path, "two").unwrap();
        assert!(place.open(&one).unwrap().is_none());
        place.delete(1, one.file).unwrap();
        assert!(path.exists());
        drop(held);
        place.delete(1, place.list().unwrap()[0].file).unwrap();
        assert!(!path.exists());
        place.delete(1, one.file).unwrap();
    }

    fn entry(name: Name, inode: u64) -> Entry {
        Entry {
            name,
            file: FileId { device: 1, inode },
            bytes: 100,
        }
    }

    #[test]
    fn segments_deleted_unread_are_counted_as_far_as_can_be_told() {
        use Name::{Closed, Current};
        let unread = [entry(Closed(4), 4), entry(Closed(5), 5), entry(Current, 6)];
        let count = |now: &[Entry]| {
            let missed = missed(&unread, 5, now);
            (missed.files, missed.bytes)
        };
        assert_eq!(count(&unread), (0, 0));
        assert_eq!(
            count(&[
                entry(Closed(4), 4),
                entry(Closed(5), 5),
                entry(Closed(6), 6)
            ]),
            (0, 0)
        );
        assert_eq!(
            count(&[entry(Closed(5), 5), entry(Closed(6), 6), entry(Current, 7)]),
            (1, 100)
        );
        // 4, 5 and what is 6 by now were seen; 7 and 8 never were.
        assert_eq!(count(&[entry(Closed(9), 9), entry(Current, 10)]), (5, 300));
        // A new file has the inode of a deleted one.
        assert_eq!(count(&[entry(Closed(6), 6), entry(Current, 4)]), (2, 200));
        // All were deleted, and numbering began at 1 again.
        assert_eq!(count(&[entry(Closed(1), 7), entry(Current, 8)]), (3, 300));
        assert_eq!(count(&[entry(Closed(3), 7), entry(Current, 8)]), (4, 300));
        assert_eq!(count(&[entry(Current, 9)]), (3, 300));
        assert_eq!(count(&[]), (3, 300));
    }

    #[test]
    fn what_was_read_and_deleted_is_not_missed() {
        use Name::{Closed, Current};
        // 5 was read and deleted by the reader: numbering begins at 1 again.
        assert_eq!(
            missed(&[entry(Current, 6)], 5, &[entry(Closed(1), 6)]),
            Missed::default()
        );
        assert_eq!(
            missed(&[], 5, &[entry(Closed(5), 5), entry(Closed(6), 6)]),
            Missed::default()
        );
        assert_eq!(missed(&[], 0, &[]), Missed::default());
        // Nothing was ever seen: an old spool may begin with any number.
        assert_eq!(missed(&[], 0, &[entry(Closed(7), 7)]).files, 6);
    }

    #[test]
    fn a_segment_that_is_renamed_while_the_directory_is_read_is_listed_once() {
        let (keep, place) = place();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..400 {
                    fs::write(place.path(Name::Current), "x").unwrap();
                    fs::rename(place.path(Name::Current), place.path(Name::Closed(number)))
                        .unwrap();
                    if number > 20 {
                        fs::remove_file(place.path(Name::Closed(number - 20))).unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let listing = place.list().unwrap();
                let numbers: Vec<u32> = listing
                    .iter()
                    .filter_map(|entry| match entry.name {
                        Name::Closed(number) => Some(number),
                        Name::Current => None,
                    })
                    .collect();
                let steps: Vec<u32> = numbers.windows(2).map(|two| two[1] - two[0]).collect();
                assert!(steps.iter().all(|step| *step == 1), "{numbers:?}");
                let mut inodes: Vec<u64> = listing.iter().map(|entry| entry.file.inode).collect();
                inodes.sort_unstable();
                inodes.dedup();
                assert_eq!(inodes.len(), listing.len(), "{listing:?}");
            }
        });
        drop(keep);
    }
}
