//! The state file of a domain: how it is made, when it is believed. Where it lies is the business of `place`.
//!
//! It is created under another name and renamed when complete, so that a half-made one is never seen. One that cannot be
//! believed (wrong magic, unknown version, cut short) is moved aside and said so, never overwritten.

use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::fs::{self, Descriptor, Identity};
use crate::layout::{
    CONTROL_AT, Control, DEATHS, DeathEntry, FILES, FILES_AT, FileEntry, HOLDER_QUEUE, HOLDER_SLOT,
    Head, MAGIC, PATH_BYTES_MAX, QUEUES_AT, REQUESTS, RequestEntry, SLOTS, SLOTS_AT, Slot, VERSION,
};
use crate::lease::Lease;
use crate::place;
use crate::ring::Area;
use crate::shm::Shm;

const QUEUE_MAX: u64 = 64 << 20;
const QUEUE_DEFAULT: u64 = 1 << 20;
const QUEUE_MIN: u64 = 128 << 10;

/// The mapped state of one domain.
pub(crate) struct State {
    pub shm: Shm,
    pub file: Descriptor,
    pub path: PathBuf,
    /// It may be changed.
    pub is_writable: bool,
    sizes: Sizes,
}

/// What a new state is asked to be: its lengths (0: chosen here), and the group whose members may look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub queue_bytes: u64,
    pub recorder_bytes: u64,
    pub group: Option<u32>,
}

impl Wanted {
    pub fn of(options: &crate::LogOptions) -> Wanted {
        Wanted {
            queue_bytes: options.queue_bytes,
            recorder_bytes: options.recorder_bytes,
            group: options.state_group,
        }
    }
}

/// The lengths that a state is made with.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    queue: u64,
    recorder: u64,
}

impl Sizes {
    fn requests_at(self) -> u64 {
        QUEUES_AT as u64 + HOLDER_QUEUE + (SLOTS as u64 - 1) * self.queue
    }

    fn recorders_at(self) -> u64 {
        self.requests_at() + (SLOTS * REQUESTS * size_of::<RequestEntry>()) as u64
    }

    fn deaths_at(self) -> u64 {
        self.recorders_at() + SLOTS as u64 * self.recorder
    }

    fn total(self) -> u64 {
        self.deaths_at() + (DEATHS * size_of::<DeathEntry>()) as u64
    }
}

/// Why a state file cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    Missing,
    Io(io::Error),
    /// It is not a state file, or a damaged one: what is wrong.
    Damaged(String),
    /// Written by this other version.
    Version(u32),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unusable::Missing => f.write_str("it is missing"),
            Unusable::Io(error) => error.fmt(f),
            Unusable::Damaged(what) => f.write_str(what),
            Unusable::Version(version) => {
                write!(f, "it has format {version}, this logboom knows {VERSION}")
            }
        }
    }
}

impl State {
    /// Makes a new state for the logs of `directory` at `path`.
    pub fn create(path: &Path, directory: &Path, wanted: Wanted) -> Result<State, Error> {
        let fail = |error: io::Error| Error::io("create the state", path, &error);
        let place = fs::parent(path);
        let queue = queue_len(place, wanted.queue_bytes);
        let recorder = match wanted.recorder_bytes {
            0 => queue,
            wanted => wanted.clamp(4096, QUEUE_MAX).next_power_of_two(),
        };
        let sizes = Sizes { queue, recorder };
        let total = sizes.total();
        refuse_file_size_limit(path, total)?;
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        let file = options
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(&draft)
            .map_err(fail)?;
        let made = (|| {
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SLOTS_AT as u64)?;
            file.set_len(total)?;
            let shm = Shm::map(&file, total as usize)?;
            initialize(shm.at(0), directory, sizes);
            place::share(&file, wanted.group)?;
            std::fs::rename(&draft, path)?;
            Ok(State {
                shm,
                file: Descriptor::new(file)?,
                path: path.to_owned(),
                is_writable: true,
                sizes,
            })
        })();
        made.map_err(|error: io::Error| {
            let _ = std::fs::remove_file(&draft);
            fail(error)
        })
    }

    /// Maps an existing state for a member, if it can be believed and is this user's.
    pub fn open(path: &Path) -> Result<State, Unusable> {
        let state = State::open_to_change(path)?;
        let owner = state.file.owner().map_err(Unusable::Io)?;
        if owner != place::user() && place::user() != 0 {
            return Err(Unusable::Damaged("it belongs to another user".into()));
        }
        Ok(state)
    }

    /// The same for somebody who only makes rules: the file's permissions decide who that is.
    pub fn open_to_change(path: &Path) -> Result<State, Unusable> {
        State::open_with(path, true)
    }

    /// The same for somebody who may not write it, or does not want to.
    pub fn open_to_look(path: &Path) -> Result<State, Unusable> {
        State::open_with(path, false)
    }

    fn open_with(path: &Path, is_writable: bool) -> Result<State, Unusable> {
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(is_writable)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Io(error),
        })?;
        let metadata = file.metadata().map_err(Unusable::Io)?;
        if metadata.len() < QUEUES_AT as u64 {
            return Err(Unusable::Damaged(format!(
                "it is cut short ({} bytes)",
                metadata.len()
            )));
        }
        let map = match is_writable {
            true => Shm::map,
            false => Shm::map_to_look,
        };
        let shm = map(&file, metadata.len() as usize).map_err(Unusable::Io)?;
        let sizes = believe(shm.at(0), metadata.len())?;
        Ok(State {
            shm,
            file: Descriptor::new(file).map_err(Unusable::Io)?,
            path: path.to_owned(),
            is_writable,
            sizes,
        })
    }

    pub fn head(&self) -> &Head {
        self.shm.at(0)
    }

    pub fn control(&self) -> &Control {
        self.shm.at(CONTROL_AT)
    }

    #[inline]
    pub fn slot(&self, slot: u16) -> &Slot {
        assert!(usize::from(slot) < SLOTS);
        self.shm
            .at(SLOTS_AT + usize::from(slot) * size_of::<Slot>())
    }

    #[inline]
    pub fn file_entry(&self, file: u16) -> &FileEntry {
        assert!(usize::from(file) < FILES);
        self.shm
            .at(FILES_AT + usize::from(file) * size_of::<FileEntry>())
    }

    /// Where the queue of a slot lies.
    #[inline]
    pub fn queue(&self, slot: u16) -> Area {
        if slot == HOLDER_SLOT {
            return Area {
                at: QUEUES_AT,
                len: HOLDER_QUEUE,
            };
        }
        let len = self.sizes.queue;
        let at = QUEUES_AT + HOLDER_QUEUE as usize + (usize::from(slot) - 1) * len as usize;
        Area { at, len }
    }

    pub fn queue_len(&self) -> u64 {
        self.sizes.queue
    }

    /// Where the recorder of a slot lies.
    pub fn recorder(&self, slot: u16) -> Area {
        assert!(usize::from(slot) < SLOTS);
        let len = self.sizes.recorder;
        let at = self.sizes.recorders_at() as usize + usize::from(slot) * len as usize;
        Area { at, len }
    }

    /// Where the requests of a slot lie, and for how many bytes.
    pub fn requests_at(&self, slot: u16) -> (usize, usize) {
        assert!(usize::from(slot) < SLOTS);
        let len = REQUESTS * size_of::<RequestEntry>();
        let at = self.sizes.requests_at() as usize + usize::from(slot) * len;
        (at, len)
    }

    pub fn request(&self, slot: u16, index: usize) -> &RequestEntry {
        assert!(index < REQUESTS);
        let (at, _) = self.requests_at(slot);
        self.shm.at(at + index * size_of::<RequestEntry>())
    }

    /// Where the entry for the death of this number lies.
    pub fn death_at(&self, number: u64) -> usize {
        let index = (number % DEATHS as u64) as usize;
        self.sizes.deaths_at() as usize + index * size_of::<DeathEntry>()
    }

    pub fn death(&self, number: u64) -> &DeathEntry {
        self.shm.at(self.death_at(number))
    }

    /// The slots that were ever in use; a number from shared memory, so it is bounded here.
    pub fn slots_used(&self) -> u16 {
        (self.control().slots_used.load(Ordering::Acquire) as usize).min(SLOTS) as u16
    }

    pub fn files_used(&self) -> u16 {
        (self.control().files_used.load(Ordering::Acquire) as usize).min(FILES) as u16
    }

    /// Whether any queue has something to drain.
    pub fn has_queued(&self) -> bool {
        (0..self.slots_used()).any(|slot| !self.slot(slot).is_drained())
    }

    pub fn lease(&self) -> Lease<'_> {
        Lease::new(&self.head().lease)
    }

    pub fn identity(&self) -> Identity {
        self.file.identity()
    }

    pub fn directory(&self) -> PathBuf {
        self.head().directory.to_path()
    }

    /// Another description of the state file, so that locks on it are the caller's own.
    pub fn reopen(&self) -> io::Result<Descriptor> {
        fs::reopen(self.file.raw(), self.identity(), &self.path)
    }

    /// Makes sure that the pages of a range exist: a page that is missing when it is touched is a SIGBUS.
    pub fn allocate(&self, offset: usize, len: usize) -> io::Result<()> {
        let Some((fd, _)) = self.file.check() else {
            return self.allocate_by_path(offset, len);
        };
        Ok(rustix::fs::fallocate(
            fd,
            FallocateFlags::empty(),
            offset as u64,
            len as u64,
        )?)
    }

    fn allocate_by_path(&self, offset: usize, len: usize) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        if Descriptor::new(file.try_clone()?)?.identity() != self.identity() {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        Ok(rustix::fs::fallocate(
            file.as_fd(),
            FallocateFlags::empty(),
            offset as u64,
            len as u64,
        )?)
    }

    /// Gives the pages of a range back; they read as zeroes afterwards.
    pub fn punch(&self, offset: usize, len: usize) {
        if let Some((fd, _)) = self.file.check() {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(fd, flags, offset as u64, len as u64);
        }
    }
}

fn initialize(head: &Head, directory: &Path, sizes: Sizes) {
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    head.version.store(VERSION, Ordering::Relaxed);
    head.slots.store(SLOTS as u32, Ordering::Relaxed);
    head.files.store(FILES as u32, Ordering::Relaxed);
    head.queue_len.store(sizes.queue, Ordering::Relaxed);
    head.recorder_len.store(sizes.recorder, Ordering::Relaxed);
    head.total_len.store(sizes.total(), Ordering::Relaxed);
    head.domain_id.store(random, Ordering::Relaxed);
    head.created_ns.store(clock::wall_ns(), Ordering::Relaxed);
    head.directory.set(directory.as_os_str().as_bytes());
    // ORDERING: nobody else sees the file before it is renamed; release for form's sake.
    head.magic.store(MAGIC, Ordering::Release);
}

/// Checks what a state file says of itself.
fn believe(head: &Head, len: u64) -> Result<Sizes, Unusable> {
    if head.magic.load(Ordering::Acquire) != MAGIC {
        return Err(Unusable::Damaged(
            "it does not begin like a logboom state".into(),
        ));
    }
    match head.version.load(Ordering::Relaxed) {
        VERSION => {}
        other => return Err(Unusable::Version(other)),
    }
    let sizes = Sizes {
        queue: head.queue_len.load(Ordering::Relaxed),
        recorder: head.recorder_len.load(Ordering::Relaxed),
    };
    let is_length = |len: u64| len.is_power_of_two() && (4096..=QUEUE_MAX).contains(&len);
    let sound = head.slots.load(Ordering::Relaxed) as usize == SLOTS
        && head.files.load(Ordering::Relaxed) as usize == FILES
        && is_length(sizes.queue)
        && is_length(sizes.recorder)
        && head.total_len.load(Ordering::Relaxed) == sizes.total();
    if !sound {
        return Err(Unusable::Damaged(
            "its first page contradicts itself".into(),
        ));
    }
    if len < sizes.total() {
        return Err(Unusable::Damaged(format!(
            "it is cut short ({len} of {} bytes)",
            sizes.total()
        )));
    }
    Ok(sizes)
}

/// A process under `ulimit -f` is killed by SIGXFSZ when it makes a file longer: say so instead.
fn refuse_file_size_limit(path: &Path, total: u64) -> Result<(), Error> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    match limit {
        Some(limit) if limit < total => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "failed to create the state `{}`: the file size limit of this process is {limit} bytes and the state is \
                 {total} (sparse: it takes what the workers use); raise the limit (ulimit -f) or set a smaller queue_bytes",
                path.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// 1 MiB, or 1/64 of what is free where the state lies if that is less, but 128 KiB at least.
fn queue_len(place: &Path, wanted: u64) -> u64 {
    if wanted != 0 {
        return wanted.clamp(4096, QUEUE_MAX).next_power_of_two();
    }
    let free = rustix::fs::statvfs(place).map_or(u64::MAX, |volume| {
        volume.f_bavail.saturating_mul(volume.f_frsize)
    });
    let share = (free / 64).clamp(QUEUE_MIN, QUEUE_DEFAULT);
    if share.is_power_of_two() {
        share
    } else {
        share.next_power_of_two() / 2
    }
}

/// A path that the fixed tables can hold.
pub(crate) fn refuse_long_path(path: &Path) -> Result<(), Error> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    let text = format!(
        "failed to open `{}`: the path is longer than {PATH_BYTES_MAX} bytes",
        path.display()
    );
    Err(Error::new(ErrorKind::Invalid, text))
}
