//! A domain as one process sees it: the mapped state, and what is this process's own.
//!
//! What a fork must not share (lock descriptions, buffers, the place in the slot table) is a [`Local`]. A child gets a
//! new one, eagerly by the at-fork hook or at the latest at its first record, when it finds that the process token has
//! changed; nothing that another thread held at the fork is ever waited for.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError, Weak};
use std::time::{Duration, Instant};

use crate::chores::Chores;
use crate::claim;
use crate::drain::{self, First, Holder};
use crate::error::Error;
use crate::fds::{FdCell, LogFds};
use crate::fs::{self, Descriptor};
use crate::lease::Owner;
use crate::liveness;
use crate::log::printed::Captured;
use crate::log::relay::{self, Watch};
use crate::options::LogOptions;
use crate::requests::Numbers;
use crate::slots::{self, Place};
use crate::state::{State, Wanted};
use crate::sys;

/// How long one attempt to drain waits for the lease.
const LEASE_WAIT: Duration = Duration::from_millis(200);
/// How long a process that leaves waits for its records, and for those of the dead.
const LEAVE_WAIT: Duration = Duration::from_millis(250);

/// The processes that log together, seen from one of them.
pub(crate) struct Domain {
    pub state: State,
    pub directory: PathBuf,
    alone: bool,
    claim_path: PathBuf,
    first: Local,
    weak: Weak<Domain>,
}

/// What belongs to this process alone.
pub(crate) struct Local {
    token: u64,
    /// Our own description of the state file: locks on it are ours.
    locks: FdCell,
    claim: Option<FdCell>,
    place: OnceLock<Place>,
    /// When to look for a place again after there was none (monotonic).
    no_place_until_ns: AtomicU64,
    producer: Mutex<Producer>,
    holder: Mutex<Holder>,
    /// Threads of a process without a place use the holder's slot one after the other.
    pub placeless: Mutex<()>,
    pub logs: LogFds,
    hooks: [AtomicU64; 2],
    pub request_numbers: Numbers,
    captured: Mutex<Option<Captured>>,
    /// When this process looked for dead workers last (monotonic).
    pub looked_for_dead_ns: AtomicU64,
    /// The kernel's count as far as this process has told of it; `u64::MAX`: this process has not looked yet.
    pub out_of_memory_kills: AtomicU64,
    pub relay_watch: Watch,
    pub chores: Chores,
    /// The same for the child that was forked last in this line.
    next: OnceLock<Box<Local>>,
}

/// The producer's side of this process's queue.
#[derive(Default)]
pub(crate) struct Producer {
    pub tail: u64,
    pub drained_seen: u64,
    /// Owner, own cursor and time at the last record that found the lease held.
    pub owner_seen: u64,
    pub owner_drained: u64,
    pub owner_since_ns: u64,
    pub stalled: bool,
}

impl Local {
    fn new(locks: Option<Descriptor>, claim: Option<Descriptor>) -> Local {
        Local {
            token: sys::process_token(),
            locks: locks.map_or_else(FdCell::empty, FdCell::with),
            claim: claim.map(FdCell::with),
            place: OnceLock::new(),
            no_place_until_ns: AtomicU64::new(0),
            producer: Mutex::default(),
            holder: Mutex::new(Holder::new()),
            placeless: Mutex::new(()),
            logs: LogFds::new(),
            hooks: Default::default(),
            request_numbers: Numbers::default(),
            captured: Mutex::default(),
            looked_for_dead_ns: AtomicU64::new(0),
            out_of_memory_kills: AtomicU64::new(u64::MAX),
            relay_watch: Watch::default(),
            chores: Chores::default(),
            next: OnceLock::new(),
        }
    }

    /// What a forked child begins with: lock descriptions of its own, and its parent's copies closed (never unlocked:
    /// that would free the parent's).
    fn inherit(&self, state: &State, claim_path: &Path) -> Local {
        let locks = state.reopen().ok();
        let claim = self
            .claim
            .as_ref()
            .and_then(|claim| claim::inherit(claim, claim_path).ok());
        if locks.is_some() {
            self.locks.forget();
        }
        if let Some(parents) = self.claim.as_ref().filter(|_| claim.is_some()) {
            parents.forget();
        }
        let local = Local {
            relay_watch: self.relay_watch.inherited(),
            ..Local::new(locks, claim)
        };
        local.logs.inherit(&self.logs);
        for (to, from) in local.hooks.iter().zip(&self.hooks) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        local
    }

    /// The descriptor whose locks are this process's. An application that closed it under us gets a new one made, with
    /// the lock on our place taken again.
    pub fn locks(&self, state: &State) -> RawFd {
        if self.locks.check().is_none() {
            // The number may be another file's by now: it is forgotten, not closed.
            if let Ok(fresh) = state.reopen() {
                self.locks.set(fresh);
                if let Some(place) = self.place.get() {
                    let _ = liveness::lock_slot(self.locks.raw(), place.slot);
                }
            } else {
                self.locks.forget();
            }
        }
        self.locks.raw()
    }

    /// This process's place in the slot table, taken at its first record. None: there is no room, it goes through the
    /// holder's slot.
    #[inline]
    pub fn place(&self, state: &State) -> Option<&Place> {
        self.place.get().or_else(|| self.take_place(state))
    }

    pub fn place_if_taken(&self) -> Option<&Place> {
        self.place.get()
    }

    #[cold]
    fn take_place(&self, state: &State) -> Option<&Place> {
        let now_ns = crate::clock::monotonic_ns();
        if now_ns < self.no_place_until_ns.load(Ordering::Relaxed) {
            return None;
        }
        let mut producer = self.producer();
        if let Some(place) = self.place.get() {
            return Some(place);
        }
        match slots::take(state, self) {
            Ok(place) => {
                producer.tail = state.slot(place.slot).tail.load(Ordering::Relaxed);
                producer.drained_seen = state.slot(place.slot).drained.load(Ordering::Acquire);
                self.store_hooks(state, place.slot);
                // Before another thread gets the producer's side: it must not take a place as well.
                let taken = self.place.get_or_init(|| place);
                drop(producer);
                Some(taken)
            }
            Err(why) => {
                self.no_place_until_ns
                    .store(now_ns + 1_000_000_000, Ordering::Relaxed);
                slots::say_no_place(state, &why);
                None
            }
        }
    }

    /// The producer's side. Another thread that has it copies a record: memory is all it waits for. This thread does not
    /// have it (see `log::Inside`).
    #[inline]
    pub fn producer(&self) -> MutexGuard<'_, Producer> {
        self.producer
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The producer's side if nobody has it, for a record that interrupts this thread.
    pub fn try_producer(&self) -> Option<MutexGuard<'_, Producer>> {
        match self.producer.try_lock() {
            Ok(producer) => Some(producer),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What this process drains with; whoever has the lease finds it free.
    pub fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What this process prints, and where it goes.
    pub fn captured(&self) -> MutexGuard<'_, Option<Captured>> {
        self.captured
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn is_alive(&self, state: &State, slot: u16) -> bool {
        let own = self.place.get().is_some_and(|place| place.slot == slot);
        own || liveness::is_alive(self.locks(state), slot, state.slot(slot), state.identity())
    }

    pub fn has_hooks(&self, file: u16) -> bool {
        self.hooks[usize::from(file) / 64].load(Ordering::Relaxed) & 1 << (file % 64) != 0
    }

    pub fn set_hooks(&self, state: &State, file: u16, has: bool) {
        let (word, bit) = (&self.hooks[usize::from(file) / 64], 1 << (file % 64));
        if has {
            word.fetch_or(bit, Ordering::Relaxed)
        } else {
            word.fetch_and(!bit, Ordering::Relaxed)
        };
        if let Some(place) = self.place.get() {
            self.store_hooks(state, place.slot);
        }
    }

    fn forget_hooks(&self, state: &State) {
        for word in &self.hooks {
            word.store(0, Ordering::Relaxed);
        }
        if let Some(place) = self.place.get() {
            self.store_hooks(state, place.slot);
        }
    }

    fn store_hooks(&self, state: &State, slot: u16) {
        for (to, from) in state.slot(slot).hooks.iter().zip(&self.hooks) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl Domain {
    /// Joins the domain of the logs in `directory`; one that this process is in already is used again.
    /// `alone`: the directory was made for this domain only, and goes with its last member.
    pub fn join(directory: &Path, alone: bool, options: &LogOptions) -> Result<Arc<Domain>, Error> {
        register_fork_hooks();
        let mut known = registry();
        known.retain(|domain| domain.strong_count() > 0);
        if let Some(domain) = known
            .iter()
            .filter_map(Weak::upgrade)
            .find(|domain| domain.directory == directory)
        {
            return Ok(domain);
        }
        let joined = claim::join(directory, &options.state_dir, Wanted::of(options))?;
        let domain = Domain::with(joined, directory, alone)?;
        known.push(Arc::downgrade(&domain));
        drop(known);
        domain.recover_on_arrival();
        Ok(domain)
    }

    fn with(joined: claim::Joined, directory: &Path, alone: bool) -> Result<Arc<Domain>, Error> {
        let claim::Joined { state, claim } = joined;
        let locks = state
            .reopen()
            .map_err(|error| Error::io("open for locking", &state.path, &error))?;
        let claim_path = claim::path_in(directory, rustix::process::geteuid().as_raw());
        let first = Local::new(Some(locks), claim);
        let directory = directory.to_owned();
        Ok(Arc::new_cyclic(|weak| Domain {
            state,
            directory,
            alone,
            claim_path,
            first,
            weak: weak.clone(),
        }))
    }

    /// What belongs to this process: the last in the line of forks that led to it.
    #[inline]
    pub fn local(&self) -> &Local {
        let token = sys::process_token();
        let mut local = &self.first;
        while local.token != token {
            local = local
                .next
                .get_or_init(|| Box::new(local.inherit(&self.state, &self.claim_path)));
        }
        local
    }

    /// True when no other process is in the domain, as far as its claim can tell.
    pub fn is_sole_member(&self) -> bool {
        let Some(claim) = &self.local().claim else {
            return false;
        };
        let alone = claim::is_sole_member(claim);
        claim::share_again(claim);
        alone && !slots::somebody_else_lives(&self.state, self.local())
    }

    /// A group that was killed has left records: they are drained before anything new is written.
    fn recover_on_arrival(&self) {
        let left = self.state.has_queued();
        let held = self.state.lease().peek().owner().is_some();
        if left || held {
            // A living holder drains what was left; only a dead one is taken over from.
            self.with_lease(Duration::ZERO, |_| ());
        }
    }

    /// Runs `work` as the holder of the lease with everything drained, waiting for it at most `at_most`.
    /// None: the lease was not to be had.
    pub fn with_lease<T>(
        &self,
        at_most: Duration,
        work: impl FnOnce(&mut drain::Drain<'_>) -> T,
    ) -> Option<T> {
        self.with_lease_after(First::Drain, at_most, work)
    }

    /// The same, whatever there is in the queues.
    pub fn with_lease_at_once<T>(
        &self,
        at_most: Duration,
        work: impl FnOnce(&mut drain::Drain<'_>) -> T,
    ) -> Option<T> {
        self.with_lease_after(First::Nothing, at_most, work)
    }

    fn with_lease_after<T>(
        &self,
        first: First,
        at_most: Duration,
        work: impl FnOnce(&mut drain::Drain<'_>) -> T,
    ) -> Option<T> {
        let local = self.local();
        let mut held = slots::take_lease(&self.state, local, at_most)?;
        let me = held.me;
        let (answer, afterwards) =
            drain::with_lease(&self.state, local, me, &mut held.holder, first, work);
        drop(held);
        crate::chores::after_hold(self, &afterwards);
        answer
    }

    /// Runs `work` while nobody rotates, and puts what comes of draining on the list of chores, for the caller to look at.
    /// None: no lease in time.
    pub fn with_lease_quietly<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let local = self.local();
        let mut held = slots::take_lease(&self.state, local, Duration::from_millis(200))?;
        let me = held.me;
        let (answer, afterwards) = drain::with_lease(
            &self.state,
            local,
            me,
            &mut held.holder,
            First::Drain,
            |_| work(),
        );
        drop(held);
        local.chores.leave(&afterwards);
        answer
    }

    /// Drains with the lease that this process has just taken with its place.
    #[inline]
    pub fn hold(&self, local: &Local, me: Owner) -> drain::Afterwards {
        let mut holder = local.holder();
        let afterwards = drain::hold(&self.state, local, me, &mut holder, false);
        drop(holder);
        crate::chores::after_hold(self, &afterwards);
        afterwards
    }

    /// Keeps the lease and drains until `goes_on` says no, but for whoever cannot leave without it. False: it was not to be had.
    pub fn serve(&self, goes_on: &mut dyn FnMut() -> bool) -> bool {
        let mut served = false;
        loop {
            match self.serve_until_wanted(goes_on) {
                Some(is_wanted) if !is_wanted => return true,
                None if !served => return false,
                _ => served = true,
            }
            if !goes_on() {
                return true;
            }
            self.let_heir_come();
        }
    }

    /// It was woken a moment ago, and would find the lease taken again.
    fn let_heir_come(&self) {
        let until = Instant::now() + slots::HEIR_WAIT;
        loop {
            let seen = self.state.lease().peek();
            if seen.owner().is_some() || seen.heir().is_none() || Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// True: somebody else wants the lease, and has it now. None: it was not to be had, or could not be used.
    fn serve_until_wanted(&self, goes_on: &mut dyn FnMut() -> bool) -> Option<bool> {
        let local = self.local();
        local.place(&self.state);
        let mut held = slots::take_lease(&self.state, local, Duration::from_millis(500))?;
        let me = held.me;
        let (is_wanted, afterwards) = drain::with_lease(
            &self.state,
            local,
            me,
            &mut held.holder,
            First::Drain,
            |drain| {
                drain.serve(goes_on, &mut |afterwards| {
                    crate::chores::hand_on(self, afterwards)
                })
            },
        );
        drop(held);
        crate::chores::after_hold(self, &afterwards);
        is_wanted
    }

    /// Drains if the lease is to be had soon, trying again what could not be written.
    pub fn drain_again(&self) {
        let local = self.local();
        if let Some(mut held) = slots::take_lease(&self.state, local, Duration::from_millis(50)) {
            let me = held.me;
            let afterwards = drain::hold(&self.state, local, me, &mut held.holder, false);
            drop(held);
            crate::chores::after_hold(self, &afterwards);
        }
    }

    pub fn weak(&self) -> Weak<Domain> {
        self.weak.clone()
    }

    /// Drains again and again until it is `done`, waiting at most `at_most`; says whether it is. What keeps a record in its
    /// queue may pass: a path in the middle of an outside rotation, another process that holds the lease.
    pub fn drain_until(&self, at_most: Duration, done: impl Fn() -> bool) -> bool {
        let until = Instant::now() + at_most;
        while !done() {
            let left = until.saturating_duration_since(Instant::now());
            self.with_lease_at_once(left.min(LEASE_WAIT), |_| ());
            if done() {
                break;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Stops this process's thread, and drains what nobody may come for: what it published, and as the last one what the dead left.
    fn finish(&self, local: &Local) {
        local.chores.stop();
        // Nobody needs to wait for this process's own code any more.
        local.forget_hooks(&self.state);
        self.drain_until(LEAVE_WAIT, || {
            !self.state.has_queued() || slots::somebody_else_lives(&self.state, local)
        });
        if let Some(place) = local.place.get() {
            self.drain_until(LEAVE_WAIT, || self.state.slot(place.slot).is_drained());
        }
        relay::before_leaving(self, local);
    }

    /// Frees this process's place: everything it published has been drained, or stays for whoever comes.
    fn leave(&self) {
        let local = self.local();
        self.finish(local);
        if let Some(place) = local.place.get() {
            self.with_lease_at_once(Duration::from_millis(200), |drain| {
                slots::free(drain.state, place)
            });
            liveness::unlock_slot(local.locks(&self.state), place.slot);
        }
        let Some(claim) = &local.claim else { return };
        if claim::is_sole_member(claim) && !slots::somebody_else_lives(&self.state, local) {
            slots::tidy_for_nobody(&self.state);
            if self.alone {
                // State, claim, and what dead workers printed.
                let _ = std::fs::remove_dir_all(&self.directory);
            }
            // Where nobody would look for the state, the claim stays: it is the only thing that leads there.
            if crate::place::is_at_usual_place(&self.state.path, &self.directory) {
                let _ = fs::remove(&self.claim_path);
            }
        }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Place {
    pub fn owner(&self) -> Owner {
        Owner {
            slot: self.slot,
            epoch: self.epoch,
        }
    }
}

static REGISTRY: Mutex<Vec<Weak<Domain>>> = Mutex::new(Vec::new());

fn registry() -> MutexGuard<'static, Vec<Weak<Domain>>> {
    REGISTRY
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The process exits with its logs open. One that is just joining or leaving a domain is not waited for.
pub(crate) fn finish_all() {
    let known = match REGISTRY.try_lock() {
        Ok(known) => known.clone(),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().clone(),
        Err(TryLockError::WouldBlock) => return,
    };
    for domain in known.iter().filter_map(Weak::upgrade) {
        domain.finish(domain.local());
    }
}

thread_local! {
    /// Held by the forking thread from before the fork until after it, in parent and child.
    static FORKING: std::cell::RefCell<Option<MutexGuard<'static, Vec<Weak<Domain>>>>> = const { std::cell::RefCell::new(None) };
}

fn register_fork_hooks() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| sys::at_fork(before_fork, after_fork_in_parent, after_fork_in_child));
}

/// No thread of ours runs across a fork, and nobody is inside the registry.
extern "C" fn before_fork() {
    let _ = std::panic::catch_unwind(|| {
        let known = registry();
        let domains: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        domains
            .iter()
            .for_each(|domain| domain.local().chores.pause());
        FORKING.with(|forking| forking.borrow_mut().replace(known));
    });
}

extern "C" fn after_fork_in_parent() {
    let _ = std::panic::catch_unwind(|| {
        let known = FORKING.with(|forking| forking.borrow_mut().take());
        let domains: Vec<_> = known
            .iter()
            .flat_map(|known| known.iter())
            .filter_map(Weak::upgrade)
            .collect();
        drop(known);
        domains
            .iter()
            .for_each(|domain| domain.local().chores.resume(domain.weak()));
    });
}

/// The child's own lock descriptions are opened now, while it still has its parent's rights.
extern "C" fn after_fork_in_child() {
    let _ = std::panic::catch_unwind(|| {
        FORKING.with(|forking| {
            let known = forking.borrow_mut().take();
            for domain in known.iter().flat_map(|known| known.iter()) {
                if let Some(domain) = domain.upgrade() {
                    domain.local();
                }
            }
        })
    });
}
