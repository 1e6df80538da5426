//! Where log files are touched; the state, the claim and compression open files of their own.
//!
//! A [`Descriptor`] remembers which file it was opened for: an application that closes every descriptor (a daemonizer) and
//! opens others may leave us a number that is now somebody else's file. Such a number is forgotten, never written to
//! and never closed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self as rfs, AtFlags, FileType, StatxFlags};
use rustix::io::Errno;

use crate::files::naming;
use crate::sys;

/// Which file a descriptor or a path is: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    pub dev: u64,
    pub ino: u64,
}

/// What `fstat` or `stat` says, as far as it is needed here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub identity: Identity,
    pub len: u64,
    pub links: u64,
    pub is_regular: bool,
    pub is_socket: bool,
}

/// What is asked of a file. Times are not: a kernel with fine-grained time stamps (Linux 6.13) would have to give the
/// next write a new one, which costs more than the write (measured: 2 us).
const ASKED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::NLINK);

impl Facts {
    fn of(answer: &rfs::Statx) -> Facts {
        let kind = FileType::from_raw_mode(answer.stx_mode.into());
        let dev = rfs::makedev(answer.stx_dev_major, answer.stx_dev_minor);
        Facts {
            identity: Identity {
                dev,
                ino: answer.stx_ino,
            },
            len: answer.stx_size,
            links: u64::from(answer.stx_nlink),
            is_regular: kind == FileType::RegularFile,
            is_socket: kind == FileType::Socket,
        }
    }

    /// A regular file that was looked at a moment ago and has this length now.
    #[inline]
    pub fn of_known(identity: Identity, len: u64) -> Facts {
        Facts {
            identity,
            len,
            links: 1,
            is_regular: true,
            is_socket: false,
        }
    }

    #[inline]
    fn of_descriptor(fd: impl AsFd) -> io::Result<Facts> {
        Ok(Facts::of(&rfs::statx(fd, c"", AtFlags::EMPTY_PATH, ASKED)?))
    }
}

/// A descriptor number together with the file it was opened for.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: RawFd,
    identity: Identity,
}

impl Descriptor {
    pub fn new(file: impl Into<OwnedFd>) -> io::Result<Descriptor> {
        let owned = above_standard_streams(file.into())?;
        let identity = Facts::of_descriptor(&owned)?.identity;
        Ok(Descriptor {
            fd: owned.into_raw_fd(),
            identity,
        })
    }

    /// A number found in another structure, opened for `identity` by a forebear of this process.
    pub fn inherited(fd: RawFd, identity: Identity) -> Descriptor {
        Descriptor { fd, identity }
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn raw(&self) -> RawFd {
        self.fd
    }

    /// Gives the number away without closing it.
    pub fn keep(self) -> RawFd {
        std::mem::ManuallyDrop::new(self).fd
    }

    /// The descriptor, if the number still is the file it was opened for.
    #[inline]
    pub fn check(&self) -> Option<(BorrowedFd<'_>, Facts)> {
        let fd = sys::borrow(self.fd)?;
        let facts = Facts::of_descriptor(fd).ok()?;
        (facts.identity == self.identity).then_some((fd, facts))
    }

    /// The user that the file belongs to.
    pub fn owner(&self) -> io::Result<u32> {
        let there = self.check();
        let (fd, _) = there.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        Ok(rustix::fs::fstat(fd)?.st_uid)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.check().is_some() {
            sys::close(self.fd);
        }
    }
}

/// An application that closed its standard streams must not find our file there.
fn above_standard_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
}

/// What `path` is now, following links.
#[inline]
pub(crate) fn look(path: &Path) -> io::Result<Facts> {
    Ok(Facts::of(&rfs::statx(
        rfs::CWD,
        path,
        AtFlags::empty(),
        ASKED,
    )?))
}

/// What `path` itself is, be it a link.
pub(crate) fn look_at_itself(path: &Path) -> io::Result<Facts> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(Facts::of(&rfs::statx(rfs::CWD, path, flags, ASKED)?))
}

/// Opens a directory to ask about it; for reading, where that is allowed.
pub(crate) fn open_folder(path: &Path) -> io::Result<Descriptor> {
    let open = |flags| {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags | libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(path)
    };
    Descriptor::new(open(0).or_else(|_| open(libc::O_PATH))?)
}

/// Whether the times of what is in this directory are those of this host's own kernel, to the nanosecond: not a network's,
/// a virtual machine's host's, or those of a program in user space. False also where that is not known.
pub(crate) fn has_own_times(folder: &Descriptor) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const TMPFS: u64 = 0x0102_1994;
    let Some((fd, _)) = folder.check() else {
        return false;
    };
    rfs::fstatfs(fd).is_ok_and(|facts| matches!(facts.f_type as u64, EXT | XFS | BTRFS | TMPFS))
}

/// When a name in the directory was made, moved or removed last, or the directory itself was moved, in nanoseconds of the wall
/// clock. None: the descriptor is not that directory. Directories are changed seldom, so asking for their times costs nobody
/// anything.
#[inline]
pub(crate) fn folder_changed_ns(fd: RawFd, folder: Identity) -> Option<u64> {
    let answer = rfs::fstat(sys::borrow(fd)?).ok()?;
    let found = Identity {
        dev: answer.st_dev,
        ino: answer.st_ino,
    };
    let seconds = u64::try_from(answer.st_ctime).ok()?;
    let changed_ns = seconds * 1_000_000_000 + answer.st_ctime_nsec as u64;
    (found == folder).then_some(changed_ns)
}

/// What a descriptor that was just found to be ours is now.
pub(crate) fn facts_of(fd: BorrowedFd<'_>) -> Option<Facts> {
    Facts::of_descriptor(fd).ok()
}

pub(crate) fn len_of(fd: BorrowedFd<'_>) -> Option<u64> {
    facts_of(fd).map(|facts| facts.len)
}

/// Where the file ends, asked in the cheapest way (lseek(2)). It moves the description's offset, which nobody uses: logs are
/// appended to and read at positions. None: it has no end, or there is no such descriptor.
#[inline]
pub(crate) fn end_of(fd: BorrowedFd<'_>) -> Option<u64> {
    rfs::seek(fd, rfs::SeekFrom::End(0)).ok()
}

/// Opens a file that exists for appending.
pub(crate) fn open_existing(path: &Path) -> io::Result<Descriptor> {
    let open = |read: bool| {
        OpenOptions::new()
            .append(true)
            .read(read)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
    };
    Descriptor::new(open(true).or_else(|_| open(false))?)
}

/// What a new log file is: its permissions, and whose it is; None: as the system has it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Newborn {
    pub mode: Option<u32>,
    pub owner: Option<(u32, u32)>,
}

/// What to do about a log file that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    /// The answer is NotFound.
    Leave,
}

/// Opens a log file for appending. Anything but a regular file is opened without blocking: a pipe without a reader, or a full
/// one, answers with an error instead of hanging its writer.
pub(crate) fn open_log(path: &Path, newborn: Newborn, missing: Missing) -> io::Result<Descriptor> {
    let facts = look(path).ok();
    if facts.is_some_and(|facts| facts.is_socket)
        && let Some(descriptor) = duplicate(path)
    {
        return descriptor;
    }
    let special = facts.is_some_and(|facts| !facts.is_regular);
    let extra = if special {
        libc::O_NONBLOCK | libc::O_NOCTTY
    } else {
        0
    };
    let open = |read: bool| {
        OpenOptions::new()
            .append(true)
            .read(read)
            .create(missing == Missing::Make && !special)
            .mode(0o666)
            .custom_flags(libc::O_CLOEXEC | extra)
            .open(path)
    };
    // Readable where that is allowed: whoever recovers a dead holder's batch compares it with the file.
    let readable = if special { open(false) } else { open(true) };
    let file = match readable {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !special => open(false)?,
        answer => answer?,
    };
    let Newborn { mode, owner } = newborn;
    if (mode.is_some() || owner.is_some())
        && file.metadata().is_ok_and(|m| m.is_file() && m.len() == 0)
    {
        let _ = mode.map(|mode| rfs::fchmod(&file, rfs::Mode::from_bits_truncate(mode)));
        let _ = owner.map(|(user, group)| {
            rfs::fchown(
                &file,
                Some(rfs::Uid::from_raw(user)),
                Some(rfs::Gid::from_raw(group)),
            )
        });
    }
    Descriptor::new(file)
}

/// Standard error under a service supervisor is a socket: it cannot be opened by a name, only its descriptor duplicated.
/// None: the path names no descriptor of this process.
fn duplicate(path: &Path) -> Option<io::Result<Descriptor>> {
    let path = match path.to_str()? {
        "/dev/stdout" => Path::new("/proc/self/fd/1"),
        "/dev/stderr" => Path::new("/proc/self/fd/2"),
        _ => path,
    };
    let number = path.strip_prefix("/proc/self/fd").ok()?.to_str()?;
    let fd = sys::borrow(number.parse().ok()?)?;
    Some(match rustix::io::fcntl_dupfd_cloexec(fd, 3) {
        Ok(fd) => Descriptor::new(File::from(fd)),
        Err(error) => Err(error.into()),
    })
}

/// Opens for reading and writing under another description of the same file, so that locks on it are our own.
/// `fd` was opened for that file; it is used if it still is, since the path may be gone.
pub(crate) fn reopen(fd: RawFd, identity: Identity, path: &Path) -> io::Result<Descriptor> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_CLOEXEC);
    if sys::borrow(fd)
        .and_then(facts_of)
        .is_some_and(|facts| facts.identity == identity)
        && let Ok(file) = options.open(format!("/proc/self/fd/{fd}"))
    {
        return Descriptor::new(file);
    }
    let fresh = Descriptor::new(
        options
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(path)?,
    )?;
    if fresh.identity() == identity {
        return Ok(fresh);
    }
    Err(io::Error::from_raw_os_error(libc::ESTALE))
}

/// One `write(2)`; interrupted ones are repeated.
#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(fd, bytes) {
            Err(Errno::INTR) => continue,
            answer => return Ok(answer?),
        }
    }
}

/// The same for a socket: it does not wait, whatever the mode of the description, which belongs to others too.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match sys::send_at_once(fd, bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            answer => return answer,
        }
    }
}

/// Reads from an offset until `out` is full or the file ends; gives the number of bytes read.
pub(crate) fn read_at(fd: BorrowedFd<'_>, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match rustix::io::pread(fd, &mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Opens a file for reading, whatever its mode says to root or not.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

pub(crate) fn truncate(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    Ok(rfs::ftruncate(fd, len)?)
}

pub(crate) fn sync_data(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rfs::fdatasync(fd)?)
}

/// Makes renames in the directory of `path` durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Renames without replacing; file systems that cannot do so atomically get a look before the rename.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rfs::renameat_with(rfs::CWD, from, rfs::CWD, to, rfs::RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::Error::from_raw_os_error(libc::EEXIST));
            }
            std::fs::rename(from, to)
        }
        answer => Ok(answer?),
    }
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

/// The entries beside `path` whose names begin with `prefix`; links are not followed.
pub(crate) fn list_beside(path: &Path, prefix: &[u8]) -> io::Result<Vec<naming::Entry>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent(path))? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(prefix) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        found.push(naming::Entry {
            name: entry.file_name(),
            inode: metadata.ino(),
            len_bytes: metadata.len(),
            mtime_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            is_file: metadata.is_file(),
        });
    }
    Ok(found)
}

/// The path beside `path` that is the file `identity`, if the directory still has one.
pub(crate) fn find_beside(path: &Path, identity: Identity) -> Option<PathBuf> {
    let entries = std::fs::read_dir(parent(path)).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|candidate| {
            candidate
                .symlink_metadata()
                .is_ok_and(|m| m.dev() == identity.dev && m.ino() == identity.ino)
        })
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
