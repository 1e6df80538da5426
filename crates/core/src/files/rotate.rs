//! Rotation, under the lease: a list of steps that each find out by themselves whether they are done.
//!
//! ```text
//! Rotate     recorded: the file, its inode, its rotation number, the boundary it is named for
//!   shift    app.log.3 -> .4, .2 -> .3, .1 -> .2, only as far as the first free number: after a crash the free
//!            number has moved down, and what is above it is in place already
//!   rename   app.log -> app.log.1 (or app.log.TIME), never replacing; done when the path is no longer the inode
//!   ledger   what is known of the file moves to the archive table
//! Rotated    recorded
//!   begin    the next boundary, an empty ledger; the next write makes the file
//! Idle
//! ```
//!
//! What fails leaves the log writable: the rotation is postponed and tried again.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::config::{self, Config};
use super::naming::{self, Family, Scheme, Step};
use super::schedule::Zone;
use super::{compress::Compress, ledger};
use crate::clock;
use crate::fs::{self, Facts, Identity};
use crate::journal::{self, Phase};
use crate::layout::{Control, FileEntry};

/// The file is a pipe or a terminal: never rotated.
pub(crate) const LIVE_SPECIAL: u32 = 1;
/// It is a socket, which is special too.
pub(crate) const LIVE_SOCKET: u32 = 4;
/// The file ends with a fragment of a line.
pub(crate) const LIVE_FRAGMENT: u32 = 2;

/// Rotates the file of `entry`.
pub(crate) fn rotate(
    control: &Control,
    entry: &FileEntry,
    file: u16,
    config: &Config,
    zone: &Zone,
) -> io::Result<()> {
    let path = entry.path.to_path();
    let facts = match fs::look(&path) {
        Ok(facts) if facts.is_regular => facts,
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return begin_next(entry, zone),
        Err(error) => return Err(error),
    };
    if facts.identity != identity_of(entry) {
        // The path is a file that we have not written to yet.
        adopt(entry, facts);
    }
    let step = &control.rotation;
    step.file.store(u32::from(file), Ordering::Relaxed);
    step.dev.store(facts.identity.dev, Ordering::Relaxed);
    step.ino.store(facts.identity.ino, Ordering::Relaxed);
    step.number.store(
        entry.live.rotations.load(Ordering::Relaxed) + 1,
        Ordering::Relaxed,
    );
    step.boundary_s.store(boundary(entry), Ordering::Relaxed);
    // CRASH(rotation-recorded): nothing has been renamed.
    journal::enter(control, Phase::Rotate);
    crash_point!("rotation-recorded");
    resume(control, entry, config, zone, Phase::Rotate)
}

/// Does what is left of the recorded rotation.
pub(crate) fn resume(
    control: &Control,
    entry: &FileEntry,
    config: &Config,
    zone: &Zone,
    phase: Phase,
) -> io::Result<()> {
    let step = &control.rotation;
    let identity = Identity {
        dev: step.dev.load(Ordering::Relaxed),
        ino: step.ino.load(Ordering::Relaxed),
    };
    let number = step.number.load(Ordering::Relaxed);
    let path = entry.path.to_path();
    if phase == Phase::Rotate {
        if fs::look(&path).is_ok_and(|facts| facts.identity == identity) {
            let boundary_s = step.boundary_s.load(Ordering::Relaxed) as i64;
            move_away(&path, entry, config, zone, boundary_s)?;
        }
        // CRASH(renamed): the path is free; the archive's ledger is still the file's.
        crash_point!("renamed");
        ledger::archive(entry, number, identity);
        if config.is_durable() {
            fs::sync_directory(&path)?;
        }
        // CRASH(rotation-archived): only the file's own state is left to begin anew.
        journal::enter(control, Phase::Rotated);
        crash_point!("rotation-archived");
    }
    entry.live.rotations.store(number, Ordering::Relaxed);
    begin_next(entry, zone)?;
    journal::enter(control, Phase::Idle);
    Ok(())
}

/// Renames the file to the name of its archive, after making that name free.
fn move_away(
    path: &Path,
    entry: &FileEntry,
    config: &Config,
    zone: &Zone,
    boundary_s: i64,
) -> io::Result<()> {
    let scheme = config::scheme(&entry.config, config);
    for _attempt in 0..8 {
        let family = family(path, &scheme)?;
        let target = match &scheme {
            Scheme::Numbered => {
                shift(path, &family, config.backup_count.max(1))?;
                naming::numbered_name(&family.base, 1, Compress::None)
            }
            Scheme::Timed(suffix) => {
                family.timed_name(&suffix.format(&stamp_time(entry, zone, boundary_s)))
            }
            Scheme::Counted => family.counted_name(),
        };
        match fs::rename_new(path, &path.with_file_name(target)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer,
        }
    }
    Err(io::Error::from_raw_os_error(libc::EEXIST))
}

fn shift(path: &Path, family: &Family, backup_count: u32) -> io::Result<()> {
    for step in family.numbered_rotation(backup_count) {
        match step {
            Step::Remove(name) => fs::remove(&path.with_file_name(name))?,
            Step::Rename { from, .. } if from == family.base => {}
            Step::Rename { from, to } => {
                fs::rename_new(&path.with_file_name(from), &path.with_file_name(to))?;
                // CRASH(shifted): the free number has moved down by one.
                crash_point!("shifted");
            }
        }
    }
    Ok(())
}

fn stamp_time(entry: &FileEntry, zone: &Zone, boundary_s: i64) -> super::schedule::Civil {
    match config::schedule(&entry.config) {
        Some(schedule) if boundary_s != 0 => schedule.archive_time(boundary_s, zone),
        _ => zone.civil(now_s()),
    }
}

/// The boundary that ends the present interval; 0 without a schedule.
fn boundary(entry: &FileEntry) -> u64 {
    entry.live.rollover_at.load(Ordering::Relaxed)
}

fn now_s() -> i64 {
    (clock::wall_ns() / 1_000_000_000) as i64
}

/// After a rotation: the path is free, or holds a file that somebody else made.
fn begin_next(entry: &FileEntry, zone: &Zone) -> io::Result<()> {
    if let Some(schedule) = config::schedule(&entry.config) {
        let previous_s = entry.live.rollover_at.load(Ordering::Relaxed) as i64;
        let next_s = match previous_s {
            0 => schedule.first_rollover(now_s(), zone),
            _ if previous_s > now_s() => previous_s,
            _ => schedule.next_rollover(previous_s, now_s(), zone),
        };
        entry
            .live
            .rollover_at
            .store(next_s.max(0) as u64, Ordering::Relaxed);
    }
    entry.live.ino.store(0, Ordering::Relaxed);
    entry.live.missing_since.store(0, Ordering::Relaxed);
    entry.live.due_since.store(0, Ordering::Relaxed);
    entry.live.flags.store(0, Ordering::Relaxed);
    ledger::begin(entry, 0);
    Ok(())
}

/// The file that the domain knows as the log; inode 0: none.
pub(crate) fn identity_of(entry: &FileEntry) -> Identity {
    Identity {
        dev: entry.live.dev.load(Ordering::Relaxed),
        ino: entry.live.ino.load(Ordering::Relaxed),
    }
}

/// The log's file is another one now: first opening, or rotated from outside.
pub(crate) fn adopt(entry: &FileEntry, facts: Facts) {
    let before = identity_of(entry);
    if before.ino != 0 {
        let number = entry.live.rotations.load(Ordering::Relaxed) + 1;
        ledger::archive(entry, number, before);
        entry.live.rotations.store(number, Ordering::Relaxed);
        entry.live.outside_rotations.fetch_add(1, Ordering::Relaxed);
    }
    ledger::begin(entry, facts.len);
    entry.live.flags.store(kind_of(facts), Ordering::Relaxed);
    entry.live.missing_since.store(0, Ordering::Relaxed);
    entry.live.dev.store(facts.identity.dev, Ordering::Relaxed);
    // ORDERING: the inode says that the rest is about it.
    entry.live.ino.store(facts.identity.ino, Ordering::Release);
}

/// The host's own code has rotated: whatever is at the path is the log now.
pub(crate) fn adopt_after_host(entry: &FileEntry, zone: &Zone) {
    let path = entry.path.to_path();
    let before = identity_of(entry);
    if before.ino != 0 && fs::look(&path).map_or(true, |facts| facts.identity != before) {
        let number = entry.live.rotations.load(Ordering::Relaxed) + 1;
        ledger::archive(entry, number, before);
        entry.live.rotations.store(number, Ordering::Relaxed);
    }
    let _ = begin_next(entry, zone);
}

/// Sets when timed rotation is first due, from the file's age.
pub(crate) fn schedule_first(entry: &FileEntry, zone: &Zone, reference_s: i64) {
    let next_s = config::schedule(&entry.config)
        .map_or(0, |schedule| schedule.first_rollover(reference_s, zone));
    entry
        .live
        .rollover_at
        .store(next_s.max(0) as u64, Ordering::Relaxed);
}

/// The log and its archives, as the directory has them.
pub(crate) fn family(path: &Path, scheme: &Scheme) -> io::Result<Family> {
    let base = path.file_name().unwrap_or_default();
    let listing = fs::list_beside(path, base.as_bytes())?;
    Ok(Family::read(base, scheme, listing))
}

pub(crate) fn path_of(path: &Path, name: &std::ffi::OsStr) -> PathBuf {
    path.with_file_name(name)
}
/// The flags that say what kind of file this is.
pub(crate) fn kind_of(facts: Facts) -> u32 {
    match (facts.is_regular, facts.is_socket) {
        (true, _) => 0,
        (_, true) => LIVE_SPECIAL | LIVE_SOCKET,
        _ => LIVE_SPECIAL,
    }
}
