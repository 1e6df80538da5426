//! Where the state of a log directory lies, and who may open it there.
//!
//! By default under the user's runtime directory or in shared memory, in a directory that only this user may write. With a
//! group whose members may look it is a directory of its own, which they may enter. What always holds: a tool that only
//! looks for a state makes nothing.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::StateDir;
use crate::error::{Error, ErrorKind};
use crate::fs::Identity;

/// Where the state of the logs in `directory` is to lie; the directory for it is made.
pub(crate) fn choose_path(
    directory: &Path,
    wanted: &StateDir,
    group: Option<u32>,
) -> Result<PathBuf, Error> {
    let name = name_of(directory);
    let from_environment = std::env::var_os("LOGBOOM_STATE_DIR").map(PathBuf::from);
    let place = match wanted {
        StateDir::Beside => return Ok(beside(directory)),
        StateDir::Path(path) => path.clone(),
        StateDir::Default => match from_environment {
            Some(path) if path.as_os_str() == "beside" => return Ok(beside(directory)),
            Some(path) => path,
            None => return default_place(group).map(|place| place.join(name)),
        },
    };
    guarded_directory(&place, group).map(|()| place.join(name))
}

/// A directory of its own for the domain of a pipe or a terminal, which is known by its device and inode: the same path
/// (`/dev/stdout`) is another file in another program.
pub(crate) fn directory_of_special(
    identity: Identity,
    wanted: &StateDir,
    group: Option<u32>,
) -> Result<PathBuf, Error> {
    let name = format!("special-{:x}-{:x}", identity.dev, identity.ino);
    let place = match wanted {
        StateDir::Path(path) => path.clone(),
        StateDir::Beside | StateDir::Default => default_place(group)?,
    };
    let directory = place.join(name);
    guarded_directory(&directory, group)?;
    directory
        .canonicalize()
        .map_err(|error| Error::io("open the directory", &directory, &error))
}

/// Where this user's state of the logs in `directory` is, if it is where one is made without being asked for another place.
pub(crate) fn usual_path(directory: &Path) -> Option<PathBuf> {
    let name = name_of(directory);
    let beside = beside(directory);
    let named = std::env::var_os("LOGBOOM_STATE_DIR")
        .map(PathBuf::from)
        .filter(|place| place.as_os_str() != "beside");
    let places = named.map_or_else(usual_places, |place| vec![place]);
    let there = places.into_iter().map(|place| place.join(&name));
    std::iter::once(beside)
        .chain(there)
        .find(|path| path.exists())
}

/// The runtime directory, shared memory and the temporary directory, those for groups included.
fn usual_places() -> Vec<PathBuf> {
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("logboom"));
    let own = format!("logboom-{}", user());
    let shared = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    let in_shared = shared.iter().flat_map(|parent| {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let for_group = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with(&format!("{own}{GROUP_MARK}")))
        });
        std::iter::once(parent.join(&own))
            .chain(for_group)
            .collect::<Vec<_>>()
    });
    runtime.into_iter().chain(in_shared).collect()
}

/// True where a tool looks for the state of the logs in `directory` without being told.
pub(crate) fn is_at_usual_place(path: &Path, directory: &Path) -> bool {
    path.parent() == Some(directory) || usual_path(directory).is_some_and(|usual| usual == path)
}

fn name_of(directory: &Path) -> String {
    format!("{:016x}.state", fingerprint(directory))
}

fn beside(directory: &Path) -> PathBuf {
    directory.join(format!(".logboom-{}.state", user()))
}

pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user's runtime directory, else shared memory, else the temporary directory. For a group it is a directory of its own,
/// and never the runtime directory, into which nobody else may.
fn default_place(group: Option<u32>) -> Result<PathBuf, Error> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| {
            group.is_none()
                && path.is_absolute()
                && path
                    .metadata()
                    .is_ok_and(|m| m.is_dir() && m.uid() == user())
        });
    if let Some(place) = runtime.map(|path| path.join("logboom"))
        && guarded_directory(&place, None).is_ok()
    {
        return Ok(place);
    }
    let own = match group {
        None => format!("logboom-{}", user()),
        Some(group) => format!("logboom-{}{GROUP_MARK}{group}", user()),
    };
    let shared_memory = Path::new("/dev/shm");
    let place = if shared_memory.is_dir() {
        shared_memory.join(own)
    } else {
        std::env::temp_dir().join(own)
    };
    guarded_directory(&place, group).map(|()| place)
}

/// In the name of a directory in which a group may look, before the group.
const GROUP_MARK: &str = "-group-";

fn group_of(place: &Path) -> Option<u32> {
    let name = place.file_name()?.to_str()?;
    name.split_once(GROUP_MARK)?.1.parse().ok()
}

/// Lets the members of `group` read a file of this user's, or nobody.
pub(crate) fn share(file: impl AsFd, group: Option<u32>) -> io::Result<()> {
    let there = rustix::fs::fstat(&file)?;
    if there.st_uid != user() {
        return Ok(());
    }
    if let Some(group) = group.filter(|group| *group != there.st_gid) {
        rustix::fs::fchown(&file, None, Some(rustix::fs::Gid::from_raw(group)))?;
    }
    let mode = if group.is_some() { 0o640 } else { 0o600 };
    if there.st_mode & 0o777 != mode {
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Makes the directory (mode 0700; for a group 0750, and the group's) or checks that it is one that only this user can
/// write. One that is there already is left as it is: who may look into it is its owner's business.
fn guarded_directory(place: &Path, group: Option<u32>) -> Result<(), Error> {
    let is_new = !place.exists();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(place);
    made.map_err(|error| Error::io("create the state directory", place, &error))?;
    if let Some(group) = group.filter(|_| is_new || group_of(place) == group) {
        let open = std::os::unix::fs::chown(place, None, Some(group))
            .and_then(|()| std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o750)));
        open.map_err(|error| not_a_member(place, group, &error))?;
    }
    let metadata = place
        .symlink_metadata()
        .map_err(|error| Error::io("look at the state directory", place, &error))?;
    let trusted = metadata.is_dir()
        && (metadata.uid() == user() || user() == 0)
        && metadata.mode() & 0o022 == 0;
    if trusted {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "failed to use the state directory `{}`: others can write it, or it is a link; \
             remove it, or name another with state_dir or LOGBOOM_STATE_DIR",
            place.display()
        ),
    ))
}

/// Only root and its members can give something to a group.
pub(crate) fn not_a_member(object: &Path, group: u32, cause: &io::Error) -> Error {
    let text = format!(
        "failed to give `{}` to the group {group}: {cause}; make this user a member of it, or leave out state_group",
        object.display()
    );
    Error::new(ErrorKind::Invalid, text)
}

/// FNV-1a of the directory and the mount namespace: two containers that share /dev/shm and use the same path for
/// different volumes must not meet.
fn fingerprint(directory: &Path) -> u64 {
    let namespace = std::fs::metadata("/proc/self/ns/mnt").map_or(0, |m| m.ino());
    let bytes = directory
        .as_os_str()
        .as_bytes()
        .iter()
        .copied()
        .chain(namespace.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
