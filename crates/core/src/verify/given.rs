//! The files that were given: opened in an order that misses none while they are rotated, and put into the order in which
//! they were written.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::known::Known;
use super::{Packing, packing};
use crate::fs;

/// Files that are held open at once.
const OPEN_MAX: usize = 512;
/// How often a file of the domain that it does not know is looked for again, and after which time.
const PLACE_ATTEMPTS: u32 = 5;
const PLACE_PAUSE: Duration = Duration::from_millis(1);

/// Opens the files, the youngest first, and gives them oldest first. A rotation that goes on meanwhile moves files to the
/// names of older ones, so that one may be met twice, but none is missed.
pub(super) fn look_at_all(files: &[PathBuf]) -> Vec<Given> {
    let mut paths: Vec<_> = files.iter().collect();
    paths.sort_by_key(|path| {
        let bare = match packing(path) {
            Packing::Plain => path.to_path_buf(),
            _ => path.with_extension(""),
        };
        (bare.as_os_str().len(), bare)
    });
    let mut given: Vec<Given> = Vec::new();
    for path in paths {
        let mut one = Given::open(path);
        let is_same = |other: &Given| other.identity.is_some() && other.identity == one.identity;
        if given.iter().any(is_same) {
            continue;
        }
        if given.len() >= OPEN_MAX {
            one.opened = None;
        }
        given.push(one);
    }
    given.iter_mut().for_each(Given::place);
    given.sort_by_key(|given| given.order);
    given
}

/// Archives that the domain knows between the given ones, which are still there and were not given.
pub(super) fn left_out(given: &[Given]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut logs: Vec<_> = given
        .iter()
        .filter_map(|given| Some((&given.directory, given.log.as_ref()?)))
        .collect();
    logs.sort();
    logs.dedup();
    for (directory, log) in logs {
        let of_log = || given.iter().filter(|given| given.log.as_ref() == Some(log));
        let (first, last) = (
            of_log().map(|g| g.order).min(),
            of_log().map(|g| g.order).max(),
        );
        let is_given =
            |ino: u64| of_log().any(|given| given.identity.is_some_and(|(_, own)| own == ino));
        let Ok(known) = Known::read(directory) else {
            continue;
        };
        let beside = fs::list_beside(log, log.file_name().unwrap_or_default().as_encoded_bytes())
            .unwrap_or_default();
        let contents = known.contents.iter().filter(|content| content.log == *log);
        let between = contents
            .filter(|content| first < Some(content.closed_ns) && Some(content.closed_ns) < last);
        for content in
            between.filter(|content| !is_given(content.ino) && !is_given(content.compressed_ino))
        {
            let there = beside
                .iter()
                .find(|entry| [content.ino, content.compressed_ino].contains(&entry.inode));
            if let Some(there) = there {
                notes.push(format!("`{}` lies between the given files and was not given: its records count as missing at depth 2", log.with_file_name(&there.name).display()));
            }
        }
    }
    notes
}

/// A file that is to be checked.
pub(super) struct Given {
    pub path: PathBuf,
    pub directory: PathBuf,
    identity: Option<(u64, u64)>,
    /// Kept open, so that a rotation cannot put another in its place; None: there are too many.
    pub opened: Option<io::Result<(std::fs::Metadata, File)>>,
    /// When it was closed: the domain's word, else the file's time; the current file is the last.
    pub order: u64,
    log: Option<PathBuf>,
}

impl Given {
    fn open(path: &Path) -> Given {
        let opened = open_patiently(path);
        let metadata = opened.as_ref().ok().map(|(metadata, _)| metadata);
        let mtime_ns = metadata.map_or(0, |m| m.mtime() * 1_000_000_000 + m.mtime_nsec());
        Given {
            path: path.to_owned(),
            directory: fs::parent(path).canonicalize().unwrap_or_default(),
            identity: metadata.map(|metadata| (metadata.dev(), metadata.ino())),
            order: mtime_ns.max(0) as u64,
            log: None,
            opened: Some(opened),
        }
    }

    /// Finds out which log it belongs to, and when it was closed. All files are open by now, so that the order holds.
    /// One that is just being rotated is neither the current file nor an archive for a moment; and its own time, by which others
    /// are put in order, is a coarse one.
    fn place(&mut self) {
        let ino = self.identity.map_or(0, |(_, ino)| ino);
        for attempt in 0..PLACE_ATTEMPTS {
            let Ok(known) = Known::read(&self.directory) else {
                return;
            };
            if let Some(content) = known.by_inode(ino, packing(&self.path)) {
                self.order = content.closed_ns;
                self.log = Some(content.log.clone());
                return;
            }
            self.log = self.path.file_name().and_then(|name| known.log_named(name));
            if self.log.is_none() {
                return;
            }
            if attempt + 1 < PLACE_ATTEMPTS {
                std::thread::sleep(PLACE_PAUSE);
            }
        }
    }

    pub fn absolute(&self) -> PathBuf {
        self.directory
            .join(self.path.file_name().unwrap_or_default())
    }
}

/// In the middle of a rotation a name is free for a moment.
pub(super) fn open_patiently(path: &Path) -> io::Result<(std::fs::Metadata, File)> {
    let mut attempts = 0..10;
    loop {
        match fs::open_to_read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            answer => return answer.and_then(|file| Ok((file.metadata()?, file))),
        }
    }
}

/// The log that a file belongs to: the domain's word, else the given file whose name begins this one's.
pub(super) fn log_of(given: &[Given], index: usize) -> PathBuf {
    let this = &given[index];
    if let Some(log) = &this.log {
        return log.clone();
    }
    let own = this.absolute();
    let begins = |base: &PathBuf| {
        let (base, own) = (base.as_os_str(), own.as_os_str());
        own == base
            || own
                .as_encoded_bytes()
                .strip_prefix(base.as_encoded_bytes())
                .is_some_and(|rest| rest.starts_with(b"."))
    };
    let bases = given.iter().map(Given::absolute).filter(begins);
    bases
        .min_by_key(|base| base.as_os_str().len())
        .unwrap_or(own.clone())
}
