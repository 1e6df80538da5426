//! Directories, files and volumes: may they be written, and is there room?

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use logboom::status::{self, Status};
use rustix::fs::{Access, AtFlags, CWD};

use super::Lines;
use super::claim::Claim;
use crate::words;

/// Below this a log volume is as good as full.
const LOG_VOLUME_BYTES_MIN: u64 = 16 << 20;
/// What a domain with one worker takes where the queues are as small as they get.
const STATE_BYTES_MIN: u64 = 512 << 10;
/// The queue length that a domain of its own choice has at least.
const QUEUE_BYTES_MIN: u64 = 128 << 10;

/// The log directory, for this user and for those that have a claim in it.
pub(super) fn directory(lines: &mut Lines, directory: &Path, claims: &[Claim]) {
    let own = rustix::process::geteuid().as_raw();
    let remedy = "give the user of the workers write permission, or remount the volume writable: without it nothing can be rotated";
    let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(CWD, directory, access, AtFlags::EACCESS) {
        Ok(()) => lines.good(
            "directory",
            directory.display(),
            format!("can be written by this user ({own})"),
        ),
        Err(error) => lines.find(
            "directory",
            directory.display(),
            format!("cannot be written by this user ({own}): {error}"),
            remedy,
        ),
    }
    let Ok(metadata) = directory.metadata() else {
        return;
    };
    for claim in claims
        .iter()
        .filter(|claim| claim.uid != own && claim.uid != 0)
    {
        if !may_write(&metadata, claim.uid, claim.gid) {
            lines.find(
                "directory",
                directory.display(),
                format!("cannot be written by user {}, who logs there", claim.uid),
                remedy,
            );
        }
    }
}

/// By the mode alone: access lists and further groups are not looked at.
fn may_write(metadata: &Metadata, uid: u32, gid: u32) -> bool {
    let bits = match (metadata.uid() == uid, metadata.gid() == gid) {
        (true, _) => metadata.mode() >> 6,
        (_, true) => metadata.mode() >> 3,
        _ => metadata.mode(),
    };
    uid == 0 || bits & 0o2 != 0
}

/// True for an error that names a state directory others can write.
pub(super) fn is_unusable_place(error: &logboom::Error) -> bool {
    error.to_string().contains("state directory")
}

/// The state file and its directory, and each log.
pub(super) fn state(lines: &mut Lines, status: &Status) {
    let object = status.state.display();
    let Ok(metadata) = status.state.symlink_metadata() else {
        return lines.find(
            "state",
            object,
            "is gone although it was read a moment ago",
            "restart the processes that log there",
        );
    };
    if metadata.mode() & 0o037 != 0 {
        lines.find(
            "state",
            object,
            format!("others can open it: mode {:o}", metadata.mode() & 0o777),
            format!("chmod 600 {}", status.state.display()),
        );
    } else if metadata.mode() & 0o040 != 0 {
        lines.good(
            "state",
            object,
            format!(
                "is readable, format 1, mode {:o}, user {}; the group {} may look, and not change it",
                metadata.mode() & 0o777,
                metadata.uid(),
                metadata.gid()
            ),
        );
    } else {
        lines.good(
            "state",
            object,
            format!(
                "is readable, format 1, mode {:o}, user {}",
                metadata.mode() & 0o777,
                metadata.uid()
            ),
        );
    }
    let place = status.state.parent().unwrap_or(Path::new("/"));
    let beside = place == status.directory;
    let is_private = |there: &Metadata| there.mode() & 0o022 == 0 && there.uid() == metadata.uid();
    let exposed = place
        .symlink_metadata()
        .ok()
        .filter(|there| !beside && !is_private(there));
    if let Some(there) = exposed {
        lines.find(
            "state",
            place.display(),
            format!(
                "is not private: mode {:o}, user {}",
                there.mode() & 0o777,
                there.uid()
            ),
            format!(
                "chown {0} {1} && chmod 700 {1}",
                metadata.uid(),
                place.display()
            ),
        );
    }
    for file in &status.files {
        log_file(lines, &file.path, metadata.uid(), metadata.gid());
    }
}

fn log_file(lines: &mut Lines, path: &Path, uid: u32, gid: u32) {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return lines.note(
                "file",
                path.display(),
                "does not exist now: the next record makes it",
            );
        }
        Err(error) => {
            return lines.find(
                "file",
                path.display(),
                format!("cannot be looked at: {error}"),
                "mend the path, or its permissions",
            );
        }
    };
    if metadata.is_file() && !may_write(&metadata, uid, gid) {
        lines.find(
            "file",
            path.display(),
            format!(
                "cannot be written by user {uid}, whose processes log there: mode {:o}, user {}",
                metadata.mode() & 0o777,
                metadata.uid()
            ),
            format!("chown {uid} {}", path.display()),
        );
    }
    if metadata.mtime() > words::now_s() + 60 {
        lines.find(
            "clock",
            path.display(),
            format!(
                "was last changed in the future, at {}",
                words::time(metadata.mtime())
            ),
            "set the clock right; the next rotation by time is reckoned from the file's time",
        );
    }
}

/// Room where the logs lie and where the state lies.
pub(super) fn volumes(lines: &mut Lines, directory: &Path, status: Option<&Status>) {
    if let Some(room) = Room::at(directory) {
        if room.free < LOG_VOLUME_BYTES_MIN.min(room.all / 20) || room.no_files_left {
            let what = if room.no_files_left {
                "no inode is left".into()
            } else {
                room.words()
            };
            lines.find("log volume", directory.display(), what, "free space there, or lower backup_count or keep_bytes; records wait in the queues meanwhile");
        } else {
            lines.good("log volume", directory.display(), room.words());
        }
    }
    let place = status
        .map(|status| status.state.clone())
        .or_else(|| status::find_state(directory).ok());
    let place = place
        .and_then(|state| state.parent().map(Path::to_owned))
        .unwrap_or_else(usual_place);
    let Some(room) = Room::at(&place) else {
        return;
    };
    let remedy = "free space there, enlarge it (a container: --shm-size), set a smaller queue_bytes, or another state_dir \
                  (\"beside\" is the log's own volume)";
    let queue_bytes = status.map_or(QUEUE_BYTES_MIN, |status| status.queue_bytes);
    let queues = room.free / queue_bytes.max(1);
    if status.is_none() && room.all < STATE_BYTES_MIN {
        lines.find(
            "state volume",
            place.display(),
            format!("is too small for a domain: {}", room.words()),
            remedy,
        );
    } else if queues == 0 || room.no_files_left {
        let what = format!(
            "has no room for the queue of another worker ({}): {}",
            words::bytes(queue_bytes),
            room.words()
        );
        lines.find("state volume", place.display(), what, remedy);
    } else if queues < 4 {
        lines.note(
            "state volume",
            place.display(),
            format!("{}: {}", words::of(queues, "further worker"), room.words()),
        );
    } else {
        lines.good("state volume", place.display(), room.words());
    }
}

/// Where a state would be made: what exists of it.
fn usual_place() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_dir());
    let named = std::env::var_os("LOGBOOM_STATE_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_dir());
    let shared_memory = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir());
    named
        .or(runtime)
        .or(shared_memory)
        .unwrap_or_else(std::env::temp_dir)
}

struct Room {
    free: u64,
    all: u64,
    no_files_left: bool,
}

impl Room {
    fn at(place: &Path) -> Option<Room> {
        let volume = rustix::fs::statvfs(place).ok()?;
        Some(Room {
            free: volume.f_bavail.saturating_mul(volume.f_frsize),
            all: volume.f_blocks.saturating_mul(volume.f_frsize),
            no_files_left: volume.f_files > 0 && volume.f_favail == 0,
        })
    }

    fn words(&self) -> String {
        format!(
            "{} free of {}",
            words::bytes(self.free),
            words::bytes(self.all)
        )
    }
}
