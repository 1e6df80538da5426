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
mod join;
mod patient;
pub(crate) mod printed;
pub(crate) mod relay;
pub(crate) mod rules;
pub(crate) mod shadow;

use std::cell::Cell;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use self::beside::Beside;
use self::ending::{Ending, Id};
use self::harvest::Teller;
use self::join::join;
pub use self::relay::Relaying;
use crate::clock;
use crate::domain::{Domain, Local, Producer};
use crate::drain::{self, Afterwards};
use crate::error::{Error, ErrorKind};
use crate::fs::{self, Missing, Newborn};
use crate::layout::HOLDER_SLOT;
use crate::lease::Word;
use crate::mark::Mark;
use crate::options::{Durability, LogOptions, OnFull, OpenMode, Severity, SpoolFull};
use crate::register;
use crate::ring::{self, Entry};
use crate::slots::{self, HEIR_WAIT, Place};
use crate::state::State;

/// How long an owner of the lease may be seen without progress before the kernel is asked whether it lives.
const PROBE_NS: u64 = 10_000_000;
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

/// What is left to do after [`Log::enqueue`]: to be given to [`Log::settle`].
#[derive(Debug)]
#[must_use = "a ticket that is not settled leaves the record to the next publisher"]
pub struct Ticket(Next);

#[derive(Debug)]
enum Next {
    Nothing,
    Dropped(DropReason),
    Drain,
    Inherit,
    Probe,
    /// The queue is full: the record is not in it.
    Full,
    /// The spool is full: the record is not in the queue.
    SpoolFull,
    /// Too long for the queue: it goes through the holder's.
    Big,
    Placeless,
    RotationDue,
    /// Published at this position; the disk must have it.
    Sync(u64),
}

impl Ticket {
    /// True: nothing is left to do.
    #[inline]
    pub fn is_settled(&self) -> bool {
        matches!(self.0, Next::Nothing)
    }
}

thread_local! {
    /// How deep this thread is inside the functions of a log: more than once only in a signal handler.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// A record was published from inside: whoever is outermost makes sure that it is drained.
    static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// This thread is inside a function of a log. A signal handler that publishes finds that out here, and then takes no
/// lock that its own thread may have: it stores its record if that is possible at once, and leaves the draining to the
/// call that it interrupted.
struct Inside {
    nested: bool,
}

impl Inside {
    #[inline]
    fn enter() -> Inside {
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        Inside { nested: depth > 0 }
    }

    /// Leaves, with all locks given back before. True: something was published from inside.
    #[inline]
    fn leave(self) -> bool {
        let nested = self.nested;
        drop(self);
        !nested && INTERRUPTED.replace(false)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
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

    /// Publishes a line (with its terminator): [`Log::enqueue`] and [`Log::settle`] in one.
    #[inline]
    pub fn publish(&self, severity: Severity, line: &[u8]) -> Outcome {
        let ticket = self.enqueue(severity, line);
        if ticket.is_settled() {
            Outcome::Published
        } else {
            self.settle(ticket, severity, line)
        }
    }

    /// Copies a line into this process's queue. Never waits, and enters the kernel only at the first record of a process.
    #[inline]
    pub fn enqueue(&self, severity: Severity, line: &[u8]) -> Ticket {
        self.enqueue_marked(severity, line, None)
    }

    /// The same, and something is noted of the record in the moment in which it counts.
    #[inline]
    fn enqueue_marked(&self, severity: Severity, line: &[u8], mark: Option<&Mark>) -> Ticket {
        let inside = Inside::enter();
        if inside.nested {
            return self.enqueue_interrupting(severity, line, mark);
        }
        let next = self.enqueue_alone(severity, line, mark);
        match next {
            Next::Nothing if inside.leave() => Ticket(Next::Drain),
            next => Ticket(next),
        }
    }

    #[inline]
    fn enqueue_alone(&self, severity: Severity, line: &[u8], mark: Option<&Mark>) -> Next {
        let state = &self.domain.state;
        let local = self.domain.local();
        let Some(place) = local.place(state) else {
            return Next::Placeless;
        };
        if self.spool.is_some() && self.is_spool_full() {
            return Next::SpoolFull;
        }
        if self.is_big(place, line) {
            return Next::Big;
        }
        let mut producer = local.producer();
        let Some((position, now_ns)) =
            self.store(state, place, &mut producer, severity, line, mark)
        else {
            return Next::Full;
        };
        let seen = state.lease().announce();
        match seen.owner() {
            _ if self.durable => Next::Sync(position),
            None => Next::Drain,
            Some(_) if seen.is_tired() && seen.heir().is_none() => Next::Inherit,
            Some(_) => match producer.suspect(state, place, seen, now_ns) {
                Next::Nothing if self.is_rotation_due(local) => Next::RotationDue,
                next => next,
            },
        }
    }

    #[inline]
    fn is_big(&self, place: &Place, line: &[u8]) -> bool {
        let ending_len = if self.ending.is_plain() {
            0
        } else {
            Ending::BYTES_MAX
        };
        ring::footprint((line.len() + ending_len) as u64) > place.area.len / 4
    }

    /// From a signal handler that interrupted this thread inside a log: only what can be had at once.
    #[cold]
    fn enqueue_interrupting(&self, severity: Severity, line: &[u8], mark: Option<&Mark>) -> Ticket {
        let state = &self.domain.state;
        let local = self.domain.local();
        let stored = local
            .place_if_taken()
            .filter(|place| !self.is_big(place, line))
            .and_then(|place| {
                let mut producer = local.try_producer()?;
                self.store(state, place, &mut producer, severity, line, mark)
            });
        if stored.is_none() {
            let slot = local
                .place_if_taken()
                .map_or(HOLDER_SLOT, |place| place.slot);
            return self.dropped(state, slot, DropReason::Reentrant);
        }
        state.lease().announce();
        INTERRUPTED.set(true);
        Ticket(Next::Nothing)
    }

    /// The copy itself: position and time, or None when there is no room.
    #[inline]
    fn store(
        &self,
        state: &State,
        place: &Place,
        producer: &mut Producer,
        severity: Severity,
        line: &[u8],
        mark: Option<&Mark>,
    ) -> Option<(u64, u64)> {
        let slot = state.slot(place.slot);
        let seq = slot.file_seq[usize::from(self.file)].load(Ordering::Relaxed) + 1;
        let mut space = Vec::new();
        let (line, more) = self.end(line, place.epoch, seq, &mut space);
        let len = (line.len() + more.len()) as u64;
        let (position, tail) =
            self.make_room(state, place, producer, severity, ring::footprint(len))?;
        let time_ns = clock::wall_ns();
        let entry = Entry {
            len: len as u32,
            file: self.file,
            severity: severity.0,
            flags: 0,
            time_ns,
            seq,
        };
        ring::store(
            &state.shm,
            place.area,
            producer.tail,
            position,
            entry,
            line,
            more,
        );
        slot.file_seq[usize::from(self.file)].store(seq, Ordering::Relaxed);
        slot.published.store(
            slot.published.load(Ordering::Relaxed) + 1,
            Ordering::Relaxed,
        );
        slot.published_bytes.store(
            slot.published_bytes.load(Ordering::Relaxed) + len,
            Ordering::Relaxed,
        );
        if let Some(mark) = mark {
            mark.set(place.slot, tail);
        }
        // ORDERING: the entry is complete before the tail covers it; pairs with `Window::collect`.
        slot.tail.store(tail, Ordering::Release);
        producer.tail = tail;
        producer.stalled = false;
        Some((position, time_ns))
    }

    #[inline]
    fn make_room(
        &self,
        state: &State,
        place: &Place,
        producer: &mut Producer,
        severity: Severity,
        footprint: u64,
    ) -> Option<(u64, u64)> {
        let reserve = match self.on_full {
            OnFull::Drop if severity < Severity::WARN => place.area.len / 8,
            _ => 0,
        };
        let fits = |drained: u64| {
            let (position, tail) = ring::place(place.area, producer.tail, drained, footprint)?;
            (tail.wrapping_sub(drained) <= place.area.len - reserve).then_some((position, tail))
        };
        if let Some(placed) = fits(producer.drained_seen) {
            return Some(placed);
        }
        // ORDERING: pairs with the holder's advance: it has read what we are about to overwrite.
        let drained = state.slot(place.slot).drained.load(Ordering::Acquire);
        let placed = fits(drained);
        producer.drained_seen = drained;
        placed
    }

    /// Does what the ticket says is left. Waits within bounds; call it without an interpreter lock.
    pub fn settle(&self, ticket: Ticket, severity: Severity, line: &[u8]) -> Outcome {
        let mut inside = Inside::enter();
        if inside.nested {
            return self.settle_interrupting(ticket);
        }
        let outcome = self.settle_alone(ticket, severity, line);
        if self.spool.is_some() {
            self.look_for_relay();
        }
        while inside.leave() {
            inside = Inside::enter();
            self.drain_once(&self.domain.state, self.domain.local(), &Next::Drain);
        }
        outcome
    }

    /// In a signal handler: nothing can be waited for, and the interrupted call drains.
    fn settle_interrupting(&self, ticket: Ticket) -> Outcome {
        match ticket.0 {
            Next::Dropped(reason) => Outcome::Dropped(reason),
            Next::Full | Next::SpoolFull | Next::Big | Next::Placeless => {
                let slot = self
                    .domain
                    .local()
                    .place_if_taken()
                    .map_or(HOLDER_SLOT, |place| place.slot);
                let _counted = self.dropped(&self.domain.state, slot, DropReason::Reentrant);
                Outcome::Dropped(DropReason::Reentrant)
            }
            Next::RotationDue => Outcome::RotationDue,
            _ => {
                INTERRUPTED.set(true);
                Outcome::Published
            }
        }
    }

    fn settle_alone(&self, ticket: Ticket, severity: Severity, line: &[u8]) -> Outcome {
        let state = &self.domain.state;
        let local = self.domain.local();
        match ticket.0 {
            Next::Nothing => Outcome::Published,
            Next::Dropped(reason) => Outcome::Dropped(reason),
            Next::RotationDue => Outcome::RotationDue,
            Next::Placeless | Next::Big => self.publish_under_lease(severity, line),
            Next::Full => self.wait_for_room(severity, line),
            Next::SpoolFull => self.wait_for_spool(severity, line),
            Next::Sync(position) => self.wait_for_disk(state, local, position),
            Next::Drain | Next::Inherit | Next::Probe => self.drain_once(state, local, &ticket.0),
        }
    }

    fn drain_once(&self, state: &State, local: &Local, next: &Next) -> Outcome {
        let Some(place) = local.place_if_taken() else {
            return Outcome::Published;
        };
        let (me, lease) = (place.owner(), state.lease());
        let mine = match next {
            Next::Inherit => lease.become_heir(me) && drain::inherit(state, me, HEIR_WAIT),
            Next::Probe => slots::steal_from_the_dead(state, local, me),
            _ => lease.acquire(me),
        };
        if !mine {
            return Outcome::Published;
        }
        self.outcome(&self.domain.hold(local, me))
    }

    fn outcome(&self, afterwards: &Afterwards) -> Outcome {
        if afterwards.hooks_due.contains(self.file) {
            Outcome::RotationDue
        } else {
            Outcome::Published
        }
    }

    fn is_rotation_due(&self, local: &Local) -> bool {
        let due = self.hooks.load(Ordering::Relaxed)
            && self
                .domain
                .state
                .file_entry(self.file)
                .live
                .due_since
                .load(Ordering::Relaxed)
                != 0;
        due && local.has_hooks(self.file)
    }

    /// The line as it is stored: what stays of it, and what follows, made in `space`.
    #[inline]
    fn end<'a>(
        &self,
        line: &'a [u8],
        epoch: u32,
        seq: u64,
        space: &'a mut Vec<u8>,
    ) -> (&'a [u8], &'a [u8]) {
        if self.ending.is_plain() {
            return (line, &[]);
        }
        let id = Id {
            domain: self.domain.state.head().domain_id.load(Ordering::Relaxed),
            epoch,
            seq,
        };
        self.ending.split(line, id, space)
    }

    fn dropped(&self, state: &State, slot: u16, reason: DropReason) -> Ticket {
        state.slot(slot).dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
        Ticket(Next::Dropped(reason))
    }

    /// The queue is full: drain it, or wait for who does, once per stall and bounded.
    #[cold]
    fn wait_for_room(&self, severity: Severity, line: &[u8]) -> Outcome {
        let state = &self.domain.state;
        let local = self.domain.local();
        let Some(place) = local.place_if_taken() else {
            return self.publish_under_lease(severity, line);
        };
        let stalled = local.producer().stalled;
        let patience = if self.on_full == OnFull::Drop || stalled {
            Duration::ZERO
        } else {
            self.on_full_wait
        };
        let until = Instant::now() + patience;
        let mut pause = Duration::from_micros(50);
        loop {
            if state.lease().acquire(place.owner())
                || slots::steal_from_the_dead(state, local, place.owner())
            {
                let _ = self.domain.hold(local, place.owner());
            }
            match self.enqueue_alone(severity, line, None) {
                Next::Full => {}
                next => return self.settle_alone(Ticket(next), severity, line),
            }
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
        let told = std::mem::replace(&mut local.producer().stalled, true);
        if !told {
            self.say_stalled();
        }
        state.slot(place.slot).dropped[DropReason::Full as usize].fetch_add(1, Ordering::Relaxed);
        Outcome::Dropped(DropReason::Full)
    }

    /// Whether this spool refuses new records, since it is as long as it may be.
    pub fn is_spool_full(&self) -> bool {
        let live = &self.domain.state.file_entry(self.file).live;
        live.spool_full.load(Ordering::Acquire) != 0
    }

    /// The spool is as long as it may be and keeps what it has: waits for its reader where that is the policy, once per stall.
    #[cold]
    fn wait_for_spool(&self, severity: Severity, line: &[u8]) -> Outcome {
        let local = self.domain.local();
        let stalled = local.producer().stalled;
        let patience = match self.spool {
            Some(SpoolFull::Block) if !stalled => self.on_full_wait,
            _ => Duration::ZERO,
        };
        let until = Instant::now() + patience;
        while self.is_spool_full() {
            if Instant::now() >= until {
                return self.refuse(stalled);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let next = self.enqueue_alone(severity, line, None);
        match next {
            Next::SpoolFull => self.refuse(stalled),
            next => self.settle_alone(Ticket(next), severity, line),
        }
    }

    fn refuse(&self, told: bool) -> Outcome {
        let (state, local) = (&self.domain.state, self.domain.local());
        local.producer().stalled = true;
        if !told {
            crate::stderr::say(&format!(
                "the spool `{}` is as long as it may be; records for it are dropped and counted until its receiver has taken some: \
                 see `logboom status`",
                self.path.display()
            ));
        }
        let slot = local
            .place_if_taken()
            .map_or(HOLDER_SLOT, |place| place.slot);
        let _counted = self.dropped(state, slot, DropReason::Full);
        Outcome::Dropped(DropReason::Full)
    }

    /// A reader of this spool has deleted segments: finds out whether there is room again.
    pub fn look_for_room(&self) {
        let entry = self.domain.state.file_entry(self.file);
        let deleted = self
            .domain
            .with_lease_quietly(|| crate::files::tidy::delete_expired(entry));
        deleted.into_iter().for_each(|deleted| deleted.close(entry));
    }

    fn say_stalled(&self) {
        let who = crate::status::describe_holder(&self.domain);
        crate::stderr::say(&format!(
            "the queue of process {} for `{}` is full and nobody drains it ({who}); records are dropped and counted \
             until there is room: see `logboom status` and `logboom doctor`",
            std::process::id(),
            self.path.display()
        ));
    }

    /// Group commit: whoever drains syncs, and everybody whose record was in the batch goes on.
    fn wait_for_disk(&self, state: &State, local: &Local, position: u64) -> Outcome {
        let Some(place) = local.place_if_taken() else {
            return Outcome::Published;
        };
        let slot = state.slot(place.slot);
        let until = Instant::now() + self.on_full_wait.max(Duration::from_secs(5));
        let mut answer = Outcome::Published;
        while slot.drained.load(Ordering::Acquire) <= position && Instant::now() < until {
            let lease = state.lease();
            if lease.acquire(place.owner())
                || slots::steal_from_the_dead(state, local, place.owner())
            {
                answer = self.outcome(&self.domain.hold(local, place.owner()));
                if answer == Outcome::RotationDue || slot.drained.load(Ordering::Acquire) > position
                {
                    break;
                }
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        answer
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

    /// Rotates now, after all that was published before, waiting at most `wait` for the lease.
    ///
    /// # Errors
    /// The lease was not free in time, or the directory refuses the renames.
    pub fn rotate(&self, wait: Duration) -> Result<RotateOutcome, Error> {
        let _inside = self.enter_to("rotate")?;
        let done = self
            .domain
            .with_lease(wait, |drain| drain.rotate_on_demand(self.file));
        match done {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(errno)) => Err(Error::io(
                "rotate",
                &self.path,
                &std::io::Error::from_raw_os_error(errno),
            )),
            None => Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "failed to rotate `{}`: the drain lease was not free for {} ms ({}); try again, or see `logboom doctor`",
                    self.path.display(),
                    wait.as_millis(),
                    crate::status::describe_holder(&self.domain)
                ),
            )),
        }
    }

    /// Drains, and keeps everybody from writing the file until [`Log::end_hook_rotation`] or this process's death:
    /// the host may now rename it with its own code. `on_demand`: whether or not a rotation is due. False: another process
    /// does so already, or has done what was due.
    ///
    /// # Errors
    /// The lease was not free within `wait`.
    pub fn begin_hook_rotation(&self, wait: Duration, on_demand: bool) -> Result<bool, Error> {
        let _inside = self.enter_to("rotate")?;
        if self.domain.local().place(&self.domain.state).is_none() {
            return Ok(false);
        }
        let begun = self.domain.with_lease(wait, |drain| {
            drain.begin_host_rotation(self.file, on_demand)
        });
        begun.ok_or_else(|| {
            Error::new(
                ErrorKind::Busy,
                format!(
                    "failed to rotate `{}`: the drain lease was not free in time; try again",
                    self.path.display()
                ),
            )
        })
    }

    /// The host's code is done: the file at the path is the log again. `rotated`: it did rename it.
    /// True: what was waiting has made another rotation due, and nobody else may come by to find that out.
    pub fn end_hook_rotation(&self, rotated: bool) -> bool {
        for _ in 0..50 {
            let ended = self.domain.with_lease(LEASE_WAIT, |drain| {
                drain.end_host_rotation(self.file, rotated)
            });
            if ended.is_some() {
                return self.is_rotation_due(self.domain.local());
            }
        }
        false
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

impl Producer {
    /// The same owner, and no progress of our own, for a while: is it alive?
    #[inline]
    fn suspect(&mut self, state: &State, place: &Place, seen: Word, now_ns: u64) -> Next {
        if self.owner_seen != seen.identity() {
            self.owner_seen = seen.identity();
            self.owner_since_ns = now_ns;
        }
        // The cursor is on a line that the holder writes: it is looked at once in a while only.
        if now_ns.wrapping_sub(self.owner_since_ns) < PROBE_NS {
            return Next::Nothing;
        }
        self.owner_since_ns = now_ns;
        let drained = state.slot(place.slot).drained.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.owner_drained, drained) == drained {
            Next::Probe
        } else {
            Next::Nothing
        }
    }
}
