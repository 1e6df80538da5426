//! A look at a domain from outside: who writes, how full the queues are, what became of the records.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::claim::{self, Contents};
use crate::domain::Domain;
use crate::error::{Error, ErrorKind};
use crate::files::compress::Compress;
use crate::files::config;
use crate::files::ledger::{self, Run};
use crate::files::schedule::Schedule;
use crate::journal;
use crate::layout::{FILE_READY, HOLDER_SLOT};
use crate::liveness::{self, Process};
use crate::log::shadow::Shadow;
use crate::log::{DropReason, RotateOutcome};
use crate::options::{LogOptions, SpoolFull, StateDir};
use crate::place;
use crate::register;
use crate::state::{State, Unusable};

/// What a domain looks like at one moment. The numbers are read one after another while others change them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The log directory.
    pub directory: PathBuf,
    /// The state file.
    pub state: PathBuf,
    /// The domain's random id.
    pub domain_id: u64,
    /// Length of each worker's queue in bytes.
    pub queue_bytes: u64,
    /// What the holder of the lease is in the middle of; `Idle` mostly.
    pub phase: String,
    /// Who holds the lease.
    pub holder: Option<Worker>,
    /// The places that are in use, or whose worker died and left records.
    pub workers: Vec<Worker>,
    /// The registered files.
    pub files: Vec<FileStatus>,
    /// Totals of the domain.
    pub ledger: LedgerTotals,
}

/// A worker's place.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Worker {
    /// Its slot; 0 is that of whoever holds the lease.
    pub slot: u16,
    /// Number of the place's life, unique in the domain.
    pub epoch: u32,
    /// Process id, in its own pid namespace.
    pub pid: u32,
    /// The kernel's word.
    pub alive: bool,
    /// State letter of proc(5): `T` is stopped. None: not visible from here.
    pub state: Option<char>,
    /// Bytes in its queue.
    pub queued_bytes: u64,
    /// Records published.
    pub published: u64,
    /// Records dropped, by [`DropReason::ALL`].
    pub dropped: [u64; 4],
}

/// A file of the domain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FileStatus {
    /// Absolute path.
    pub path: PathBuf,
    /// Bytes, as the domain knows it.
    pub bytes: u64,
    /// Records in the current file.
    pub records: u64,
    /// Rotations so far, and those among them from outside.
    pub rotations: u64,
    /// Rotations that somebody else did.
    pub outside_rotations: u64,
    /// When timed rotation is next due, in seconds since the epoch.
    pub rollover_at_s: Option<u64>,
    /// The error that keeps it from being written now, as an errno.
    pub errno: Option<i32>,
    /// When the last error was, in nanoseconds since the epoch; 0: never.
    pub error_at_ns: u64,
    /// Errors so far.
    pub errors: u64,
    /// Bytes that others wrote to it.
    pub foreign_bytes: u64,
    /// Times it was cut under us.
    pub truncations: u64,
    /// Rotated by code of a process (namer, rotator ...).
    pub has_hooks: bool,
    /// When it rotates by time.
    pub schedule: Option<Schedule>,
    /// What its archives are compressed with.
    pub compress: Compress,
    /// It is a spool.
    pub spool: Option<SpoolStatus>,
}

/// How a spool fares, as far as its writers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// What happens when it is full.
    pub when_full: SpoolFull,
    /// It is full, and new records are refused.
    pub is_full: bool,
    /// Records that were deleted to make room, shipped or not.
    pub evicted_records: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
}

/// What became of all records. `published = written + queued + dropped`, but for what is in flight.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LedgerTotals {
    /// Records that entered a queue.
    pub published: u64,
    /// Records that are in their files.
    pub written: u64,
    /// Records dropped, by [`DropReason::ALL`].
    pub dropped: [u64; 4],
    /// Records that were cut to their first part.
    pub cut: u64,
    /// Times the lease was taken from a dead process.
    pub steals: u64,
    /// Times a dead holder's journal was settled.
    pub recoveries: u64,
    /// Batches that an outside rotation made us write twice, once.
    pub undone: u64,
    /// Records left in a file that had been moved away, since somebody wrote behind them.
    pub left_misplaced: u64,
    /// Queues that could not be read.
    pub corrupt_queues: u64,
    /// The longest hold of the lease, in nanoseconds.
    pub hold_ns_max: u64,
    /// Holds of the lease.
    pub holds: u64,
}

/// A domain seen by a tool: joined without a queue of its own.
pub struct Visitor {
    domain: Arc<Domain>,
}

/// How the drain of what a killed group left behind went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Bytes that were in queues, heads included.
    pub queued_bytes_before: u64,
    /// Bytes that still are, since a file cannot be written.
    pub queued_bytes_after: u64,
    /// Records that were written now.
    pub records: u64,
}

impl Visitor {
    /// Joins the domain of the log at `path` if there is one, living or left behind.
    ///
    /// # Errors
    /// There is none, or its state cannot be used.
    pub fn join(path: &Path) -> Result<Visitor, Error> {
        let directory = directory_of(path)?;
        let state_path = find_state(&directory)?;
        let state_dir = match state_path.parent() {
            Some(parent) if parent == directory => StateDir::Beside,
            Some(parent) => StateDir::Path(parent.to_owned()),
            None => StateDir::Default,
        };
        let options = LogOptions {
            state_dir,
            ..LogOptions::default()
        };
        Ok(Visitor {
            domain: Domain::join(&directory, false, &options)?,
        })
    }

    /// Drains what living and dead processes have in their queues, waiting at most `wait` for the lease.
    pub fn recover(&self, wait: Duration) -> Option<Recovered> {
        let state = &self.domain.state;
        let written = || state.control().counters.written.load(Ordering::Relaxed);
        let (before, queued) = (written(), queued_bytes(state));
        self.domain
            .with_lease(wait, |drain| crate::slots::reap(drain.state, drain.local))?;
        if let Some(log) = Shadow::of_teller(&self.domain) {
            log.in_domain(self.domain.clone()).harvest_left();
        }
        Some(Recovered {
            queued_bytes_before: queued,
            queued_bytes_after: queued_bytes(state),
            records: written().saturating_sub(before),
        })
    }

    /// Rotates a log of the domain now.
    ///
    /// # Errors
    /// The log is not registered in the domain, the lease was not free in time, or the directory refuses.
    pub fn rotate(&self, path: &Path, wait: Duration) -> Result<RotateOutcome, Error> {
        let resolved = directory_of(path)?.join(path.file_name().unwrap_or_default());
        let Some(file) = register::find(&self.domain, &resolved) else {
            let text = format!(
                "failed to rotate `{}`: no process has opened it with logboom",
                resolved.display()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        };
        match self
            .domain
            .with_lease(wait, |drain| drain.rotate_on_demand(file))
        {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(errno)) => Err(Error::io(
                "rotate",
                &resolved,
                &std::io::Error::from_raw_os_error(errno),
            )),
            None => {
                let who = describe_holder(&self.domain);
                let text = format!(
                    "failed to rotate `{}`: the drain lease was not free in time ({who})",
                    resolved.display()
                );
                Err(Error::new(ErrorKind::Busy, text))
            }
        }
    }

    /// How the domain is now.
    pub fn status(&self) -> Status {
        of_domain(&self.domain)
    }
}

pub(crate) fn of_domain(domain: &Domain) -> Status {
    let local = domain.local();
    of_state(&domain.state, |slot| local.is_alive(&domain.state, slot))
}

/// How the domain of the log at `path` is now, without joining it.
///
/// # Errors
/// There is no domain, or its state cannot be read.
pub fn status(path: &Path) -> Result<Status, Error> {
    let directory = directory_of(path)?;
    let state = open_state(&directory)?;
    let locks = state.file.raw();
    Ok(of_state(&state, |slot| {
        liveness::is_alive(locks, slot, state.slot(slot), state.identity())
    }))
}

/// The black boxes of the workers of the domain at `path` that died lately, oldest first, without joining it: their
/// numbers, and each as a JSON object with the names that docs/formats.md explains.
///
/// # Errors
/// There is no domain, or its state cannot be read.
pub fn black_boxes(path: &Path) -> Result<Vec<(u64, String)>, Error> {
    let state = open_state(&directory_of(path)?)?;
    Ok(crate::blackbox::kept(&state))
}

/// What the domain knows of one file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownContent {
    /// The log that the file is, or is an archive of.
    pub log: PathBuf,
    /// Runs of bytes, in order.
    pub runs: Vec<Run>,
    /// It is the file that is being written now: it may have grown since.
    pub is_current: bool,
}

/// What the domain in `directory` knows of the file that is the inode `ino`. None: nothing.
///
/// # Errors
/// There is no domain, or its state cannot be read.
pub fn known_content(directory: &Path, ino: u64) -> Result<Option<KnownContent>, Error> {
    let state = open_state(directory)?;
    let entries = (0..state.files_used())
        .map(|file| state.file_entry(file))
        .filter(|entry| entry.state.load(Ordering::Acquire) == FILE_READY);
    let mut archived: Option<(u64, KnownContent)> = None;
    for entry in entries {
        let log = entry.path.to_path();
        // The inode of a log that was deleted is another file's by now.
        let is_current = entry.live.ino.load(Ordering::Acquire) == ino
            && crate::fs::look(&log).is_ok_and(|facts| facts.identity.ino == ino);
        if is_current {
            return Ok(Some(KnownContent {
                log,
                runs: ledger::runs(entry),
                is_current,
            }));
        }
        // The same for archives: who had the inode last counts.
        if let Some((closed_ns, runs)) = ledger::archive_runs(entry, ino)
            && archived
                .as_ref()
                .is_none_or(|(other_ns, _)| *other_ns < closed_ns)
        {
            archived = Some((
                closed_ns,
                KnownContent {
                    log,
                    runs,
                    is_current,
                },
            ));
        }
    }
    Ok(archived.map(|(_, known)| known))
}

pub(crate) fn directory_of(path: &Path) -> Result<PathBuf, Error> {
    let directory = if path.is_dir() {
        path
    } else {
        crate::fs::parent(path)
    };
    directory
        .canonicalize()
        .map_err(|error| Error::io("open the directory", directory, &error))
}

/// Where the state of the logs in `directory` lies: what a claim says, else where it would be made.
pub fn find_state(directory: &Path) -> Result<PathBuf, Error> {
    let own = rustix::process::geteuid().as_raw();
    let claims = std::iter::once(own).chain(claimants(directory));
    if let Some(contents) = claims
        .filter_map(|uid| Contents::of(directory, uid))
        .find(|c| c.state.exists())
    {
        return Ok(contents.state);
    }
    if let Some(path) = place::usual_path(directory) {
        return Ok(path);
    }
    let text = format!(
        "failed to find a domain for `{}`: no process of this user has logged there with logboom, or its state is gone \
         (a reboot, another container)",
        directory.display()
    );
    Err(Error::new(ErrorKind::Invalid, text))
}

/// The users that have a claim in a directory.
pub fn claimants(directory: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix(".logboom-")?.parse().ok())
        .collect()
}

/// The claim file of a user in a directory.
pub fn claim_path(directory: &Path, uid: u32) -> PathBuf {
    claim::path_in(directory, uid)
}

/// The state of the logs in `directory`, to be looked at and not changed.
pub(crate) fn open_state(directory: &Path) -> Result<State, Error> {
    open_with(directory, State::open_to_look)
}

/// The same, to be changed where this user may.
pub(crate) fn open_state_to_change(directory: &Path) -> Result<State, Error> {
    open_with(directory, |path| match State::open_to_change(path) {
        Err(Unusable::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            State::open_to_look(path)
        }
        other => other,
    })
}

fn open_with(
    directory: &Path,
    open: impl FnOnce(&Path) -> Result<State, Unusable>,
) -> Result<State, Error> {
    let path = find_state(directory)?;
    open(&path).map_err(|why| {
        let kind = if matches!(why, Unusable::Version(_)) {
            ErrorKind::Version
        } else {
            ErrorKind::Io
        };
        Error::new(
            kind,
            format!("failed to read the state `{}`: {why}", path.display()),
        )
    })
}

/// The process that ships the spools in `directory` now, if there is one.
pub fn relay_of(directory: &Path) -> Option<u32> {
    let state = open_state(directory).ok()?;
    let locks = state.reopen().ok()?;
    let is_held = liveness::has_relay(locks.raw()).ok()?;
    is_held.then(|| state.control().relay_process.load(Ordering::Relaxed) as u32)
}

fn queued_bytes(state: &State) -> u64 {
    (0..state.slots_used())
        .map(|slot| queued_in(state, slot))
        .sum()
}

fn queued_in(state: &State, slot: u16) -> u64 {
    let words = state.slot(slot);
    words
        .tail
        .load(Ordering::Acquire)
        .saturating_sub(words.drained.load(Ordering::Acquire))
}

pub(crate) fn of_state(state: &State, is_alive: impl Fn(u16) -> bool) -> Status {
    let in_use = |slot: &u16| {
        let live = state.slot(*slot).is_live();
        queued_in(state, *slot) > 0 || (live && *slot != HOLDER_SLOT)
    };
    let worker = |slot: u16| worker(state, slot, is_alive(slot));
    let owner = state
        .lease()
        .peek()
        .owner()
        .filter(|owner| owner.slot < state.slots_used());
    Status {
        directory: state.directory(),
        state: state.path.clone(),
        domain_id: state.head().domain_id.load(Ordering::Relaxed),
        queue_bytes: state.queue_len(),
        phase: format!("{:?}", journal::phase(state.control())),
        holder: owner.map(|owner| worker(owner.slot)),
        workers: (0..state.slots_used()).filter(in_use).map(worker).collect(),
        files: (0..state.files_used())
            .filter_map(|file| file_status(state, file))
            .collect(),
        ledger: totals(state),
    }
}

fn worker(state: &State, slot: u16, alive: bool) -> Worker {
    let words = state.slot(slot);
    Worker {
        slot,
        epoch: (words.state.load(Ordering::Acquire) >> 32) as u32,
        pid: words.pid.load(Ordering::Relaxed),
        alive,
        state: Process::of(words).state(),
        queued_bytes: queued_in(state, slot),
        published: words.published.load(Ordering::Relaxed),
        dropped: DropReason::ALL
            .map(|reason| words.dropped[reason as usize].load(Ordering::Relaxed)),
    }
}

fn file_status(state: &State, file: u16) -> Option<FileStatus> {
    let entry = state.file_entry(file);
    (entry.state.load(Ordering::Acquire) == FILE_READY).then_some(())?;
    let live = &entry.live;
    let errno = live.errno.load(Ordering::Relaxed) as i32;
    let rollover_at_s = live.rollover_at.load(Ordering::Relaxed);
    let config = config::Config::load(&entry.config);
    Some(FileStatus {
        path: entry.path.to_path(),
        bytes: ledger::end(entry),
        records: ledger::runs(entry).iter().map(|run| run.count).sum(),
        rotations: live.rotations.load(Ordering::Relaxed),
        outside_rotations: live.outside_rotations.load(Ordering::Relaxed),
        rollover_at_s: (rollover_at_s != 0).then_some(rollover_at_s),
        errno: (errno != 0).then_some(errno),
        error_at_ns: live.error_at_ns.load(Ordering::Relaxed),
        errors: live.errors.load(Ordering::Relaxed),
        foreign_bytes: live.foreign_bytes.load(Ordering::Relaxed),
        truncations: live.truncations.load(Ordering::Relaxed),
        has_hooks: config.flags & config::FLAG_HOOKS != 0,
        schedule: config::schedule(&entry.config),
        compress: config.compress(),
        spool: config.spool().map(|when_full| SpoolStatus {
            when_full,
            is_full: live.spool_full.load(Ordering::Relaxed) != 0,
            evicted_records: live.evicted_records.load(Ordering::Relaxed),
            evicted_bytes: live.evicted_bytes.load(Ordering::Relaxed),
        }),
    })
}

fn totals(state: &State) -> LedgerTotals {
    let counters = &state.control().counters;
    let load = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
    let slots = || (0..state.slots_used()).map(|slot| state.slot(slot));
    LedgerTotals {
        published: load(&counters.departed_published)
            + slots().map(|slot| load(&slot.published)).sum::<u64>(),
        written: load(&counters.written),
        dropped: DropReason::ALL.map(|reason| {
            let index = reason as usize;
            load(&counters.departed_dropped[index])
                + slots().map(|slot| load(&slot.dropped[index])).sum::<u64>()
        }),
        cut: load(&counters.cut),
        steals: load(&counters.steals),
        recoveries: load(&counters.recoveries),
        undone: load(&counters.undone),
        left_misplaced: load(&counters.left_misplaced),
        corrupt_queues: load(&counters.corrupt_rings),
        hold_ns_max: load(&counters.hold_ns_max),
        holds: load(&counters.holds),
    }
}

/// Who holds the lease, in words, for messages.
pub(crate) fn describe_holder(domain: &Domain) -> String {
    let Some(owner) = domain.state.lease().peek().owner() else {
        return "nobody holds the drain lease".into();
    };
    if owner.slot >= domain.state.slots_used() {
        return "the drain lease names a place that does not exist".into();
    }
    let process = Process::of(domain.state.slot(owner.slot));
    let state = match process.state() {
        Some('T' | 't') => "is stopped: continue it with SIGCONT",
        Some('D') => "waits for a disk",
        Some('Z') => "is a zombie",
        Some(_) => "runs",
        None => "is not visible from here",
    };
    format!("process {} holds the drain lease and {state}", process.pid)
}
