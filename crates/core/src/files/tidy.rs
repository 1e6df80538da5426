//! After a rotation, outside the lease: deleting what retention does not keep, compressing what is left.
//!
//! Whoever does it lists the directory anew, so nothing needs to be remembered from before: an archive that is not
//! compressed although it should be is work, whoever left it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::compress::{self, Compress};
use super::config::{self, Config};
use super::naming::Family;
use super::retention;
use super::rotate::{family, path_of};
use crate::clock;
use crate::fs;
use crate::layout::FileEntry;
use crate::options::SpoolFull;

/// Files that were deleted and are still open: freeing a long one takes its time when it is closed, after the lease.
#[must_use]
pub(crate) struct Deleted(Vec<File>);

/// Deletes the archives that count, age or total size say are too many. A spool that keeps what it has is not shortened: whether
/// it has room is noted. The lease is held, so no name moves meanwhile.
pub(crate) fn delete_expired(entry: &FileEntry) -> Deleted {
    let config = Config::load(&entry.config);
    let limits = config::retention(&entry.config, &config);
    if limits.is_unlimited() {
        return Deleted(Vec::new());
    }
    let path = entry.path.to_path();
    let Ok(family) = family(&path, &config::scheme(&entry.config, &config)) else {
        return Deleted(Vec::new());
    };
    if let Some(SpoolFull::DropNewest | SpoolFull::Block) = config.spool() {
        note_room(entry, &family, limits.total_bytes);
        return Deleted(Vec::new());
    }
    let expired = retention::expired(&family, &limits, clock::wall_ns() as i64);
    let names = expired.iter().map(|archive| &archive.entry.name);
    Deleted(names.filter_map(|name| delete(entry, name)).collect())
}

fn delete(entry: &FileEntry, name: &OsStr) -> Option<File> {
    let doomed = path_of(&entry.path.to_path(), name);
    let open = fs::open_to_read(&doomed).ok();
    fs::remove(&doomed).ok().and(open)
}

fn note_room(entry: &FileEntry, family: &Family, bytes_max: u64) {
    let files = family.archives.iter().map(|archive| &archive.entry);
    let bytes: u64 = files
        .chain(&family.current)
        .map(|file| file.len_bytes)
        .sum();
    let full = u64::from(bytes > bytes_max);
    entry.live.spool_full.store(full, Ordering::Release);
}

/// Deletes a spool's oldest segment, since the disk is full. False: it has none, or keeps what it has. The lease is held.
pub(crate) fn evict_oldest(entry: &FileEntry) -> bool {
    let config = Config::load(&entry.config);
    if config.spool() != Some(SpoolFull::DropOldest) {
        return false;
    }
    let path = entry.path.to_path();
    let family = family(&path, &config::scheme(&entry.config, &config));
    let deleted = family
        .ok()
        .and_then(|family| delete(entry, &family.archives.last()?.entry.name));
    let any = deleted.is_some();
    Deleted(deleted.into_iter().collect()).close(entry);
    any
}

impl Deleted {
    /// Closes the files. Of a spool it is counted what its reader has lost by that; its reader knows what it had read.
    pub fn close(self, entry: &FileEntry) {
        if Config::load(&entry.config).spool().is_none() {
            return;
        }
        for file in self.0 {
            let (records, bytes) = count_records(file);
            entry
                .live
                .evicted_records
                .fetch_add(records, Ordering::Relaxed);
            entry.live.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// Lines of a segment, without its first, and bytes.
fn count_records(mut file: File) -> (u64, u64) {
    let (mut lines, mut bytes) = (0, 0);
    let mut chunk = vec![0; 64 << 10];
    while let Ok(len @ 1..) = file.read(&mut chunk) {
        lines += chunk[..len].iter().filter(|byte| **byte == b'\n').count() as u64;
        bytes += len as u64;
    }
    (lines.saturating_sub(1), bytes)
}

/// What is left to compress: the archives' paths, and with what.
pub(crate) fn to_compress(entry: &FileEntry) -> Vec<(PathBuf, Compress)> {
    let config = Config::load(&entry.config);
    let wanted = config.compress();
    if wanted == Compress::None || !wanted.is_available() {
        return Vec::new();
    }
    let path = entry.path.to_path();
    let scheme = config::scheme(&entry.config, &config);
    let Ok(family) = family(&path, &scheme) else {
        return Vec::new();
    };
    let plain = family
        .archives
        .iter()
        .filter(|archive| archive.compress == Compress::None);
    plain
        .rev()
        .map(|archive| (path_of(&path, &archive.entry.name), wanted))
        .collect()
}

/// Removes parts of dead processes, and copies whose original is still there. The lease is held: a living process that
/// is between the two steps of a commit holds it too.
pub(crate) fn remove_leftovers(entry: &FileEntry) {
    let config = Config::load(&entry.config);
    let path = &entry.path.to_path();
    let scheme = &config::scheme(&entry.config, &config);
    let base = path.file_name().unwrap_or_default();
    let prefix = [b".", base.as_bytes()].concat();
    for entry in fs::list_beside(path, &prefix).unwrap_or_default() {
        if compress::part_source(base, scheme, &entry.name).is_some() {
            let _ = compress::remove_abandoned(&path_of(path, &entry.name));
        }
    }
    if let Ok(family) = family(path, scheme) {
        for copy in family.unfinished_copies() {
            let _ = fs::remove(&path_of(path, &copy.entry.name));
        }
    }
}

/// The present path of an archive that a rotation may have renamed since it was read.
pub(crate) fn present_path(entry: &FileEntry, inode: u64) -> Option<PathBuf> {
    let config = Config::load(&entry.config);
    let path = entry.path.to_path();
    let family = family(&path, &config::scheme(&entry.config, &config)).ok()?;
    family
        .by_inode(inode)
        .map(|archive| path_of(&path, OsStr::from_bytes(archive.entry.name.as_bytes())))
}

pub(crate) fn compresses(entry: &FileEntry) -> bool {
    Config::load(&entry.config).compress() != Compress::None
}

pub(crate) fn is_durable(entry: &FileEntry) -> bool {
    Config::load(&entry.config).is_durable()
}
