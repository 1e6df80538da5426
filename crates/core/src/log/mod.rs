//! A log as a program uses it: open, publish, rotate.
//!
//! Publishing is two steps, so that a host with an interpreter lock can let go of it in between: [`Log::enqueue`]
//! copies the line into this process's queue and never waits; [`Log::settle`] does what the ticket says is left, drains
//! mostly, within bounds. Neither raises: what happens to a record is an [`Outcome`].

mod aside;
mod beside;
mod big;
mod ending;
mod exit;
pub(crate) mod harvest;
mod inside;
mod join;
mod patient;
pub(crate) mod printed;
mod publish;
pub(crate) mod relay;
mod rotating;
pub(crate) mod rules;
pub(crate) mod shadow;
mod waiting;

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use self::beside::Beside;
use self::ending::Ending;
use self::harvest::Teller;
use self::inside::Inside;
use self::join::join;
use self::publish::Next;
pub use self::publish::Ticket;
pub use self::relay::Relaying;
use crate::domain::Domain;
use crate::error::{Error, ErrorKind};
use crate::fs::{self, Missing, Newborn};
use crate::options::{Durability, LogOptions, OnFull, OpenMode, SpoolFull};
use crate::register;

/// How long opening a log waits for the lease.
const OPEN_WAIT: Duration = Duration::from_millis(20);
const LEASE_WAIT: Duration = Duration::from_millis(200);

/// Why a record was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was full for longer than the bound, or at all where the policy is to drop.
    Full = 0,
    /// A thread published while it was publishing (a signal handler).
    Reentrant = 1,
    /// There was no place for this process, and the lease was not free within the bound.
    NoPlace = 2,
    /// The queue's memory was damaged.
    Corrupt = 3,
}

impl DropReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [DropReason; 4] = [
        DropReason::Full,
        DropReason::Reentrant,
        DropReason::NoPlace,
        DropReason::Corrupt,
    ];

    /// The reason as it is written in `status`.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::Full => "full",
            DropReason::Reentrant => "reentrant",
            DropReason::NoPlace => "no place",
            DropReason::Corrupt => "corrupt",
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in its file, or in shared memory whose drain outlives this process.
    Published,
    /// It is published, and this process must now rotate the file with its own code
    /// ([`Log::begin_hook_rotation`]).
    RotationDue,
    /// It is lost, and counted.
    Dropped(DropReason),
}

/// How a rotation that was asked for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The file was rotated.
    Rotated,
    /// A living process has code of its own for that, and was asked.
    Asked,
}

/// One log file of a domain, open for publishing. Dropping the last one of a process leaves the domain.
pub struct Log {
    domain: Arc<Domain>,
    file: u16,
    path: PathBuf,
    ending: Ending,
    hooks: AtomicBool,
    durable: bool,
    spool: Option<SpoolFull>,
    on_full: OnFull,
    on_full_wait: Duration,
    recorder: AtomicBool,
    judge: Mutex<rules::KnownRules>,
    teller: Teller,
    beside: Arc<[Beside]>,
    /// What this process prints comes back through this log.
    captures: AtomicBool,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.release_output();
        self.tell_before_leaving();
    }
}

impl Log {
    /// Opens the log at `path`, joining (or making) the domain of its directory. The file is created if it is missing.
    ///
    /// # Errors
    /// The directory is missing or cannot be written, the state cannot be made or reached, or a living group of
    /// processes has claimed the directory with a state that cannot be reached from here.
    pub fn open(path: impl AsRef<Path>, options: &LogOptions) -> Result<Log, Error> {
        Log::open_beside(path, options, Vec::new())
    }

    /// The same for a log whose own records (black boxes, what the process prints) are copied to other logs, of other domains.
    ///
    /// # Errors
    /// As for [`Log::open`].
    pub fn open_beside(
        path: impl AsRef<Path>,
        options: &LogOptions,
        beside: Vec<Beside>,
    ) -> Result<Log, Error> {
        Log::open_with(path.as_ref(), options, beside, true)
    }

    /// Opens a log for a process that only takes part: what its owners have asked it to be stays in force, and `options` count where
    /// nobody has asked for anything.
    ///
    /// # Errors
    /// As for [`Log::open`].
    pub fn open_as_it_is(path: impl AsRef<Path>, options: &LogOptions) -> Result<Log, Error> {
        Log::open_with(path.as_ref(), options, Vec::new(), false)
    }

    fn open_with(
        path: &Path,
        options: &LogOptions,
        beside: Vec<Beside>,
        configures: bool,
    ) -> Result<Log, Error> {
        options.check()?;
        let _inside = Inside::enter();
        exit::prepare();
        let (path, domain) = join(path, options)?;
        let file = register::file(&domain, &path, options, configures)?;
        domain.local().set_hooks(&domain.state, file, options.hooks);
        let log = Log {
            file,
            path,
            ending: Ending::of(options),
            hooks: AtomicBool::new(options.hooks),
            durable: options.durability == Durability::Disk,
            spool: options.spool,
            on_full: options.on_full,
            on_full_wait: Duration::from_millis(options.on_full_wait_ms),
            recorder: AtomicBool::new(options.recorder_bytes > 0),
            judge: Mutex::default(),
            teller: Teller::of(options),
            beside: beside.into(),
            captures: AtomicBool::new(false),
            domain,
        };
        log.open_file(options.mode == OpenMode::Truncate)?;
        crate::chores::look_at_archives(&log.domain, file);
        if options.encoder.is_some() && !options.black_box_copies {
            log.begin_to_tell();
        }
        if let (Some(_), Some(program)) = (log.spool, &options.relay_program) {
            log.watch_relay(program);
        }
        Ok(log)
    }

    /// Refuses what would wait, in a signal handler that interrupted this thread inside a log.
    fn enter_to(&self, verb: &str) -> Result<Inside, Error> {
        let inside = Inside::enter();
        if inside.nested {
            let text = format!(
                "failed to {verb} `{}`: called from a signal handler inside a log",
                self.path.display()
            );
            return Err(Error::new(ErrorKind::Busy, text));
        }
        Ok(inside)
    }

    fn open_file(&self, truncate: bool) -> Result<(), Error> {
        let truncate = truncate && self.domain.is_sole_member();
        let opened = match truncate {
            true => self.domain.with_lease(OPEN_WAIT, |drain| {
                drain
                    .open_now(self.file)
                    .inspect(|()| drain.truncate(self.file))
            }),
            false => self
                .domain
                .with_lease_at_once(OPEN_WAIT, |drain| drain.open_now(self.file)),
        };
        // Where somebody holds the lease for long, whether the file can be opened is found out all the same.
        let opened = opened.unwrap_or_else(|| {
            fs::open_log(&self.path, Newborn::default(), Missing::Make).map(drop)
        });
        opened.map_err(|error| Error::io("open", &self.path, &error))
    }

    /// The absolute path of the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Drains until all that this process published is out of its queue, waiting at most `wait`. False: something is
    /// still there (a file cannot be written, or another process holds the lease and is stopped).
    pub fn flush(&self, wait: Duration) -> bool {
        let inside = Inside::enter();
        if inside.nested {
            return false;
        }
        self.domain.drain_until(wait, || {
            let place = self.domain.local().place_if_taken();
            place.is_none_or(|place| self.domain.state.slot(place.slot).is_drained())
        })
    }

    /// Changes what the log was asked to be, for all members of the domain.
    ///
    /// # Errors
    /// An option that cannot be used; another process that is registering a file does not finish.
    pub fn reconfigure(&self, options: &LogOptions) -> Result<(), Error> {
        options.check()?;
        register::reconfigure(&self.domain, self.file, options)?;
        self.domain
            .local()
            .set_hooks(&self.domain.state, self.file, options.hooks);
        self.hooks.store(options.hooks, Ordering::Relaxed);
        self.set_recording(options.recorder_bytes > 0);
        self.ending.change(options);
        Ok(())
    }

    /// How the domain of this log is now.
    pub fn status(&self) -> crate::status::Status {
        crate::status::of_domain(&self.domain)
    }

    /// Bytes of the current file, together with what this process has published for any file and is not drained yet.
    pub fn size(&self) -> u64 {
        let state = &self.domain.state;
        let queued = self.domain.local().place_if_taken().map_or(0, |place| {
            let slot = state.slot(place.slot);
            slot.tail
                .load(Ordering::Relaxed)
                .wrapping_sub(slot.drained.load(Ordering::Acquire))
        });
        crate::fs::look(&self.path).map_or(0, |facts| facts.len) + queued
    }

    /// The descriptor of the current file, opened if need be. It stays this log's: ask about it, do not close it.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn fd(&self) -> Result<RawFd, Error> {
        let _inside = self.enter_to("open")?;
        let logs = &self.domain.local().logs;
        if logs.of(self.file).check().is_none() {
            self.open_file(false)?;
        }
        match logs.of(self.file).check() {
            Some(_) => Ok(logs.of(self.file).raw()),
            None => {
                let who = crate::status::describe_holder(&self.domain);
                let text = format!("failed to open `{}`: {who}", self.path.display());
                Err(Error::new(ErrorKind::Busy, text))
            }
        }
    }

    /// Holds the lease and drains until `goes_on` says no: for a process that does nothing else. Publishers then only
    /// copy memory; the longest a record waits is about a millisecond.
    ///
    /// # Errors
    /// The lease was not to be had: another process drains for good.
    pub fn serve(&self, mut goes_on: impl FnMut() -> bool) -> Result<(), Error> {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let served = self.domain.serve(&mut goes_on);
            if served || !goes_on() {
                return Ok(());
            }
            if Instant::now() > until {
                let who = crate::status::describe_holder(&self.domain);
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("failed to serve `{}`: {who}", self.path.display()),
                ));
            }
        }
    }
}
