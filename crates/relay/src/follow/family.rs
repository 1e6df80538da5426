//! The files of a log: the one at its path, and those that were rotated away, oldest first.
//!
//! A file and its packed copy are listed as one, the file, as long as both are there: packing puts the copy in place before it
//! removes the file. The order is that of the names; where names tell nothing of each other (numbers and times in one directory) all
//! files are ordered by their time of modification, which packing and renaming keep.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::names::{self, Age, Packing};
use crate::listing::{self, FileId};

/// A file of a log, as it stands in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) packing: Packing,
    /// On the disk, packed or not.
    pub(super) bytes: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub(super) mtime_ns: i64,
    age: Age,
}

impl Member {
    pub(super) fn is_current(&self) -> bool {
        self.age == Age::Current
    }

    /// Opens it; None: its path is another file's by now, or nobody's.
    pub(super) fn open(&self) -> io::Result<Option<Content>> {
        match File::open(&self.path) {
            Ok(file) => {
                let is_it = FileId::of(&file.metadata()?) == self.id;
                Ok(is_it.then(|| Content::new(file, self.packing)))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}

/// The file at a path and when it was changed last; None: there is no regular file.
pub(super) fn look_at(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(facts) => Ok(facts.is_file().then_some(facts)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

pub(super) fn mtime_ns(facts: &fs::Metadata) -> i64 {
    facts
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(facts.mtime_nsec())
}

/// All files of the log at `path`, oldest first.
///
/// # Errors
/// The directory cannot be read. That it is missing is none: then there are no files.
pub(super) fn list(path: &Path) -> io::Result<Vec<Member>> {
    let agreed = listing::agreed(
        || list_once(path),
        |one, other| (&one.path, one.id) == (&other.path, other.id),
    );
    match agreed {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome,
    }
}

fn list_once(path: &Path) -> io::Result<Vec<Member>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let base = path.file_name().unwrap_or(OsStr::new("")).as_bytes();
    let mut members = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some((age, packing)) = names::parse(base, name.as_bytes()) else {
            continue;
        };
        let path = directory.join(&name);
        if let Some(facts) = look_at(&path)? {
            members.push(Member {
                path,
                id: FileId::of(&facts),
                packing,
                bytes: facts.len(),
                mtime_ns: mtime_ns(&facts),
                age,
            });
        }
    }
    sort(&mut members);
    Ok(members)
}

fn sort(members: &mut Vec<Member>) {
    let plain = members
        .iter()
        .filter(|member| member.packing == Packing::Plain);
    let plain: HashSet<Age> = plain.map(|member| member.age.clone()).collect();
    members.retain(|member| member.packing == Packing::Plain || !plain.contains(&member.age));
    let any = |wanted: fn(&Age) -> bool| members.iter().any(|member| wanted(&member.age));
    let is_mixed =
        any(|age| matches!(age, Age::Number(_))) && any(|age| matches!(age, Age::Time(..)));
    members.sort_by(|one, other| {
        let by_time = one.mtime_ns.cmp(&other.mtime_ns);
        let order = match names::older(&one.age, &other.age) {
            Some(by_name) if !is_mixed || one.is_current() || other.is_current() => by_name,
            _ => by_time,
        };
        order.then(by_time).then_with(|| one.path.cmp(&other.path))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[(&str, u64)]) -> Vec<String> {
        let keep = tempfile::tempdir().unwrap();
        for (name, mtime_s) in names {
            let file = File::create(keep.path().join(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(*mtime_s))
                .unwrap();
        }
        let members = list(&keep.path().join("app.log")).unwrap();
        let name = |member: &Member| {
            member
                .path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        members.iter().map(name).collect()
    }

    #[test]
    fn the_oldest_is_first_and_the_current_one_last_whatever_their_times_are() {
        assert_eq!(
            listed(&[
                ("app.log.1", 9),
                ("app.log.2.gz", 10),
                ("app.log", 1),
                ("other.log", 1),
                ("app.log.10", 11)
            ]),
            ["app.log.10", "app.log.2.gz", "app.log.1", "app.log"]
        );
    }

    #[test]
    fn numbers_and_times_together_are_ordered_by_modification() {
        assert_eq!(
            listed(&[
                ("app.log.1", 30),
                ("app.log.2", 10),
                ("app.log-20261127", 20),
                ("app.log", 5)
            ]),
            ["app.log.2", "app.log-20261127", "app.log.1", "app.log"]
        );
    }

    #[test]
    fn a_packed_copy_is_not_listed_beside_its_file() {
        assert_eq!(
            listed(&[("app.log.1", 1), ("app.log.1.gz", 1), ("app.log.2.gz", 1)]),
            ["app.log.2.gz", "app.log.1"]
        );
    }

    #[test]
    fn what_is_missing_has_no_files() {
        assert_eq!(list(Path::new("/nowhere/at/all/app.log")).unwrap(), []);
        assert!(
            look_at(Path::new("/")).unwrap().is_none(),
            "a directory is no log"
        );
    }
}
