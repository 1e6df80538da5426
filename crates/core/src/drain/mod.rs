//! Draining: whoever holds the lease moves records from all queues into the files.
//!
//! One hold of the lease (`hold`) is a number of passes, bounded in time. A pass is a number of windows (`window`); a window is
//! written file by file (`part`), and committed by advancing the queues' cursors. Each step can be cut short by SIGKILL;
//! `recover` goes on from the phase that was left (`journal`).

mod hold;
mod part;
pub(crate) mod reconcile;
mod recover;
pub(crate) mod window;

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock;
use crate::domain::Local;
use crate::files::config::{Config, FLAG_HOOKS};
use crate::files::rotate;
use crate::files::schedule::Zone;
use crate::files::tidy;
use crate::fs::Identity;
use crate::journal::{self, Phase};
use crate::layout::{FILES, FileEntry};
use crate::lease::{Lease, Owner};
use crate::log::RotateOutcome;
use crate::ring::{self, Entry};
use crate::state::State;
pub(crate) use hold::{First, hold, inherit, with_lease};
use part::Attempt;
use window::{FileSet, Gate, Range, Window};

/// How long a holder drains before it looks for an heir.
const HOLD_NS: u64 = 1_000_000;
/// How long a path may be missing, in the middle of an outside rotation, before the file is made anew.
pub(crate) const MISSING_NS: u64 = 100_000_000;
const RETRY_FIRST_NS: u64 = 10_000_000;
const RETRY_MAX_NS: u64 = 1_000_000_000;
/// How often a serving holder looks when nothing has come for [`BUSY_NS`].
const TICK: Duration = Duration::from_millis(1);
const BUSY_NS: u64 = 2_000_000;
/// The same failure of a file is spoken of again after this long.
const SAY_AGAIN_NS: u64 = 60_000_000_000;
const ROTATE_RETRY_NS: u64 = 1_000_000_000;

/// What a hold leaves to do for its caller, outside the lease.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Afterwards {
    /// Files that were rotated: retention and compression are due.
    pub tidy: FileSet,
    /// Files that this process must rotate with its own code.
    pub hooks_due: FileSet,
    /// When some file that could not be written is to be tried again (monotonic); 0: never.
    pub retry_at_ns: u64,
}

/// The buffers and the memory of this process as a holder.
pub(crate) struct Holder {
    window: Window,
    batch: Vec<u8>,
    plans: Vec<Plan>,
    pub zone: Zone,
    stamp: u64,
    holds: u64,
    afterwards: Afterwards,
}

impl Holder {
    pub fn new() -> Holder {
        Holder {
            window: Window::default(),
            batch: Vec::new(),
            plans: (0..FILES).map(|_| Plan::default()).collect(),
            zone: Zone::system(),
            stamp: 0,
            holds: 0,
            afterwards: Afterwards::default(),
        }
    }
}

/// What is known of a file for the next window.
#[derive(Default)]
struct Plan {
    stamp: u64,
    config: Config,
    path: std::path::PathBuf,
    keep: bool,
    special: bool,
    size: u64,
    pending: u64,
    rollover_at: u64,
    may_rotate: bool,
    blocked_until_ns: u64,
    backoff_ns: u64,
    /// The hold in which it could not be written: it is not tried again in the same.
    failed_in: u64,
    rotate_again_ns: u64,
}

/// What a window came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WindowOutcome {
    Written,
    /// There was nothing, or nothing could be written: going on would not help.
    Nothing,
    /// The journal is left open.
    Unclear,
}

/// One hold of the lease.
pub(crate) struct Drain<'a> {
    pub state: &'a State,
    pub local: &'a Local,
    pub me: Owner,
    holder: &'a mut Holder,
    /// Blocked files are tried now.
    force: bool,
    /// Somebody opens the log: a missing path is made at once.
    opening: bool,
    /// A pipe whose next record is begun.
    begun: Option<u16>,
    /// Number of this hold, unique in the process.
    hold: u64,
    now_ns: u64,
}

impl<'a> Drain<'a> {
    fn new(
        state: &'a State,
        local: &'a Local,
        me: Owner,
        holder: &'a mut Holder,
        force: bool,
    ) -> Drain<'a> {
        holder.afterwards = Afterwards::default();
        holder.holds += 1;
        let hold = holder.holds;
        Drain {
            state,
            local,
            me,
            holder,
            force,
            opening: false,
            begun: None,
            hold,
            now_ns: clock::monotonic_ns(),
        }
    }

    /// Goes on where a dead holder stopped. False: it cannot be done now.
    #[inline]
    fn settle_journal(&mut self) -> bool {
        match journal::phase(self.state.control()) {
            Phase::Idle => true,
            phase => self.recover(phase),
        }
    }

    /// Drains window after window until nothing is left, or until the deadline (one window at least). True: more is left.
    pub fn pass(&mut self, deadline_ns: u64) -> bool {
        loop {
            // A write that was cut short leaves the journal open, and the same hold may come here again.
            if !self.settle_journal() {
                return false;
            }
            let (window, rotate_first) = self.collect();
            let outcome = self.write_window(&window);
            let exhausted = window.exhausted;
            self.holder.window = window;
            match (outcome, rotate_first) {
                (WindowOutcome::Unclear, _) => return false,
                (_, Some(file)) => self.rotate_or_ask(file),
                (WindowOutcome::Nothing, None) => return self.other_files_are_left(),
                // What came since sets the pending bit, so the lease cannot be let go of unawares.
                (WindowOutcome::Written, None) if exhausted => return false,
                (WindowOutcome::Written, None) => {}
            }
            self.now_ns = clock::monotonic_ns();
            if self.now_ns > deadline_ns {
                return true;
            }
        }
    }

    /// Drains all that was published before now; what comes meanwhile does not keep it from ending.
    pub fn pass_published(&mut self) {
        let state = self.state;
        let tails: Vec<(u16, u64)> = (0..state.slots_used())
            .map(|slot| (slot, state.slot(slot).tail.load(Ordering::Acquire)))
            .collect();
        let is_behind = |(slot, tail): &(u16, u64)| {
            // A cursor that has passed the tail has wrapped far beyond it as a difference.
            let left = tail.wrapping_sub(state.slot(*slot).drained.load(Ordering::Relaxed));
            left != 0 && left <= i64::MAX as u64
        };
        self.now_ns = clock::monotonic_ns();
        while tails.iter().any(is_behind) && self.pass(0) {}
    }

    /// Drains again and again: at once while records come, every [`TICK`] when none do. True: it has ended because somebody queues up
    /// who cannot leave without the lease (a record too long for its queue, a rotation by hand). That may be another thread of this
    /// process, so whoever serves lets go of everything before it goes on.
    pub fn serve(
        &mut self,
        goes_on: &mut dyn FnMut() -> bool,
        hand_on: &mut dyn FnMut(&Afterwards),
    ) -> bool {
        self.force = false;
        let mut idle_since_ns = 0;
        while goes_on() {
            let before = self
                .state
                .control()
                .counters
                .written
                .load(Ordering::Relaxed);
            self.now_ns = clock::monotonic_ns();
            self.pass(self.now_ns + HOLD_NS);
            hand_on(&std::mem::take(&mut self.holder.afterwards));
            if self.state.lease().peek().heir().is_some() {
                return true;
            }
            if self
                .state
                .control()
                .counters
                .written
                .load(Ordering::Relaxed)
                != before
            {
                idle_since_ns = self.now_ns;
            } else if self.now_ns - idle_since_ns > BUSY_NS {
                std::thread::sleep(TICK);
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        false
    }

    /// After a window of which nothing could be written: its files are left alone for now, and the records behind them
    /// may be for others.
    fn other_files_are_left(&mut self) -> bool {
        let failed = self
            .holder
            .window
            .files
            .iter()
            .any(|file| self.holder.plans[usize::from(file)].failed_in == self.hold);
        failed && !self.holder.window.items.is_empty()
    }

    /// The next window, and the file that must be rotated before its next record.
    fn collect(&mut self) -> (Window, Option<u16>) {
        let mut window = std::mem::take(&mut self.holder.window);
        self.holder.stamp += 1;
        let mut rotate_first = None;
        let state = self.state;
        self.begun = None;
        window.collect(state, |entry| self.gate(entry, &mut rotate_first));
        if let Some(file) = self.begun.filter(|_| window.items.is_empty()) {
            self.collect_begun(&mut window, file);
        }
        self.drop_corrupt(&window);
        (window, rotate_first)
    }

    /// The window of the one record that a pipe has a part of.
    fn collect_begun(&mut self, window: &mut Window, file: u16) {
        let live = &self.state.file_entry(file).live;
        let (slot, end) = (
            live.pipe_record_slot.load(Ordering::Relaxed),
            live.pipe_record_end.load(Ordering::Relaxed),
        );
        let slot = (slot as u16).min(self.state.slots_used().saturating_sub(1));
        let drained = self.state.slot(slot).drained.load(Ordering::Relaxed);
        let ahead = end.wrapping_sub(drained);
        if ahead == 0 || ahead > self.state.queue(slot).len {
            // The queue was given up: what the pipe has is all it gets of that record.
            live.pipe_record_end.store(0, Ordering::Relaxed);
            live.pipe_written.store(0, Ordering::Relaxed);
            return;
        }
        let range = Range {
            slot,
            from: drained,
            to: end,
        };
        window.collect_ranges(self.state, &[range], |entry| {
            if entry.file == file {
                Gate::Take
            } else {
                Gate::Keep
            }
        });
        window.exhausted = false;
    }

    #[inline]
    fn gate(&mut self, entry: &Entry, rotate_first: &mut Option<u16>) -> Gate {
        if self.holder.plans[usize::from(entry.file)].stamp != self.holder.stamp {
            self.plan(entry.file);
        }
        let plan = &mut self.holder.plans[usize::from(entry.file)];
        if plan.keep {
            return Gate::Keep;
        }
        if plan.special {
            let begun = self
                .state
                .file_entry(entry.file)
                .live
                .pipe_record_end
                .load(Ordering::Relaxed);
            if begun != 0 {
                self.begun = Some(entry.file);
                return Gate::Stop;
            }
            return if plan.pending > 0 {
                Gate::Stop
            } else {
                plan.take(entry)
            };
        }
        if plan.may_rotate && plan.is_due(entry) {
            *rotate_first = Some(entry.file);
            return Gate::Stop;
        }
        plan.take(entry)
    }

    /// Looks at a file's state and configuration, once for each window that has a record of it.
    fn plan(&mut self, file: u16) {
        let entry = self.state.file_entry(file);
        let plan = &mut self.holder.plans[usize::from(file)];
        if plan.path.as_os_str().is_empty() {
            plan.path = entry.path.to_path();
        }
        plan.stamp = self.holder.stamp;
        plan.config = Config::load(&entry.config);
        plan.special = entry.live.flags.load(Ordering::Relaxed) & rotate::LIVE_SPECIAL != 0;
        plan.pending = 0;
        plan.size = crate::files::ledger::end(entry);
        plan.rollover_at = entry.live.rollover_at.load(Ordering::Relaxed);
        plan.may_rotate = self.now_ns >= plan.rotate_again_ns;
        let blocked = self.now_ns < plan.blocked_until_ns;
        // Who was asked to rotate by code of its own does so after this hold, forced or not.
        let asked = plan.config.flags & FLAG_HOOKS != 0
            && entry.live.due_since.load(Ordering::Relaxed) != 0;
        let keep = blocked && (!self.force || asked || plan.failed_in == self.hold);
        plan.keep = keep || plan.path.as_os_str().is_empty();
        if keep {
            self.retry_at(self.holder.plans[usize::from(file)].blocked_until_ns);
        }
        if entry.live.rotating_by.load(Ordering::Relaxed) != 0 && self.is_rotated_by_its_host(file)
        {
            self.holder.plans[usize::from(file)].keep = true;
        }
    }

    fn retry_at(&mut self, at_ns: u64) {
        let retry = &mut self.holder.afterwards.retry_at_ns;
        *retry = if *retry == 0 {
            at_ns
        } else {
            at_ns.min(*retry)
        };
    }

    /// A process rotates the file with code of its own, and lives.
    fn is_rotated_by_its_host(&self, file: u16) -> bool {
        let live = &self.state.file_entry(file).live;
        let word = crate::lease::Word(live.rotating_by.load(Ordering::Acquire));
        let Some(owner) = word.owner() else {
            return false;
        };
        if crate::slots::is_living_owner(self.state, self.local, owner) {
            return true;
        }
        // CRASH(host-rotation): it died in its own code: records are in the queues, the path is what it left.
        live.rotating_by.store(0, Ordering::Release);
        false
    }

    /// The rest of a queue that cannot be read is given up, and counted.
    fn drop_corrupt(&mut self, window: &Window) {
        for slot in &window.corrupt {
            let counters = &self.state.control().counters;
            counters.corrupt_rings.fetch_add(1, Ordering::Relaxed);
            let words = self.state.slot(*slot);
            words.dropped[crate::log::DropReason::Corrupt as usize].fetch_add(1, Ordering::Relaxed);
            if !window.ranges.iter().any(|range| range.slot == *slot) {
                words
                    .drained
                    .store(words.tail.load(Ordering::Acquire), Ordering::Release);
            }
        }
    }

    /// Writes a window and commits what could be written.
    fn write_window(&mut self, window: &Window) -> WindowOutcome {
        let control = self.state.control();
        if window.items.is_empty() {
            if !window.keeps_some {
                // Nothing but fillers and records that are in their files.
                advance(self.state, &window.ranges);
            }
            return WindowOutcome::Nothing;
        }
        self.record_ranges(window);
        let mut done = FileSet::default();
        for file in window.files.iter() {
            match self.write_part(window, file) {
                part::Written::All => {
                    done.insert(file);
                    let word = usize::from(file) / 64;
                    control.window_done[word].store(done.words()[word], Ordering::Relaxed);
                }
                part::Written::Nothing => {}
                part::Written::Unclear => return WindowOutcome::Unclear,
            }
        }
        let written = match done == window.files {
            true => window.items.len(),
            false => window
                .items
                .iter()
                .filter(|item| done.contains(item.file))
                .count(),
        };
        let simple = done == window.files && !window.keeps_some;
        self.commit(&window.ranges, done, simple, written as u64);
        if written > 0 {
            WindowOutcome::Written
        } else {
            WindowOutcome::Nothing
        }
    }

    fn record_ranges(&self, window: &Window) {
        let control = self.state.control();
        let mut slots = [0_u64; 4];
        for range in &window.ranges {
            let slot = self.state.slot(range.slot);
            slot.window_from.store(range.from, Ordering::Relaxed);
            slot.window_to.store(range.to, Ordering::Relaxed);
            slots[usize::from(range.slot) / 64] |= 1 << (range.slot % 64);
        }
        for (word, bits) in control.window_slots.iter().zip(slots) {
            word.store(bits, Ordering::Relaxed);
        }
        for word in &control.window_done {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Advances the cursors over what is written; the phase says so first, so that a successor only repeats this.
    fn commit(&mut self, ranges: &[Range], done: FileSet, simple: bool, written: u64) {
        let control = self.state.control();
        let counters = &control.counters;
        control.written_after.store(
            counters.written.load(Ordering::Relaxed) + written,
            Ordering::Relaxed,
        );
        // CRASH(window-written): all that could be written is in the files; cursors stand before it.
        journal::enter(control, Phase::Commit);
        crash_point!("window-written");
        match simple {
            true => advance(self.state, ranges),
            false => ranges
                .iter()
                .for_each(|range| walk(self.state, *range, done)),
        }
        // CRASH(cursors-advanced): only the phase is left to clear.
        crash_point!("cursors-advanced");
        counters.written.store(
            control.written_after.load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
        journal::enter(control, Phase::Idle);
    }

    /// Rotates, or asks the process that has the hooks to.
    fn rotate_or_ask(&mut self, file: u16) {
        let entry = self.state.file_entry(file);
        if self.holder.plans[usize::from(file)].config.flags & FLAG_HOOKS == 0 {
            self.rotate(file);
        } else if self.local.has_hooks(file) {
            self.holder.afterwards.hooks_due.insert(file);
            self.is_due_for_long(entry);
            self.block_until(file, self.now_ns + RETRY_FIRST_NS);
        } else if self.somebody_has_hooks(file) && !self.is_due_for_long(entry) {
            self.block_until(file, self.now_ns + RETRY_FIRST_NS);
        } else {
            crate::stderr::say(&format!(
                "`{}` is rotated with the default names: no process that has its namer or rotator did it in time",
                entry.path.to_path().display()
            ));
            self.rotate(file);
        }
    }

    fn is_due_for_long(&self, entry: &FileEntry) -> bool {
        let due = &entry.live.due_since;
        let since = due.load(Ordering::Relaxed);
        if since == 0 {
            due.store(self.now_ns, Ordering::Release);
        }
        since != 0 && self.now_ns.saturating_sub(since) > ROTATE_RETRY_NS
    }

    fn somebody_has_hooks(&self, file: u16) -> bool {
        (1..self.state.slots_used()).any(|slot| {
            let words = self.state.slot(slot);
            let has =
                words.hooks[usize::from(file) / 64].load(Ordering::Relaxed) & 1 << (file % 64) != 0;
            has && words.is_live() && self.local.is_alive(self.state, slot)
        })
    }

    /// Rotates natively; what goes wrong postpones the rotation, and the file is written on.
    pub fn rotate(&mut self, file: u16) -> bool {
        let plan = &self.holder.plans[usize::from(file)];
        let entry = self.state.file_entry(file);
        let config = if plan.stamp == 0 {
            Config::load(&entry.config)
        } else {
            plan.config
        };
        let done = rotate::rotate(
            self.state.control(),
            entry,
            file,
            &config,
            &self.holder.zone,
        );
        match done {
            Ok(()) => {
                self.local.logs.of(file).forget();
                entry.live.rotation_errno.store(0, Ordering::Relaxed);
                self.holder.afterwards.tidy.insert(file);
                true
            }
            Err(error) => {
                // The file stays open: a process that may not rename it may not be able to open it again either.
                self.note_rotation_error(file, &error);
                let plan = &mut self.holder.plans[usize::from(file)];
                plan.rotate_again_ns = self.now_ns + ROTATE_RETRY_NS;
                journal::enter(self.state.control(), Phase::Idle);
                false
            }
        }
    }

    fn note_rotation_error(&self, file: u16, error: &std::io::Error) {
        let entry = self.state.file_entry(file);
        let errno = error.raw_os_error().unwrap_or(libc::EIO) as u32;
        entry.live.errors.fetch_add(1, Ordering::Relaxed);
        entry
            .live
            .error_at_ns
            .store(clock::wall_ns(), Ordering::Relaxed);
        if entry.live.rotation_errno.swap(errno, Ordering::Relaxed) != errno {
            let told = crate::Error::io("rotate", &entry.path.to_path(), error);
            crate::stderr::say(&format!(
                "{told} (it is written on and tried again; this is said once)"
            ));
        }
    }

    fn block_until(&mut self, file: u16, until_ns: u64) {
        let plan = &mut self.holder.plans[usize::from(file)];
        plan.blocked_until_ns = until_ns;
        plan.failed_in = self.hold;
        self.retry_at(until_ns);
    }

    /// Leaves a file alone for a while that could not be written, and says so once.
    fn block(&mut self, file: u16, verb: &'static str, error: &std::io::Error) {
        self.note_error(file, verb, error);
        let is_full = matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT));
        if is_full && tidy::evict_oldest(self.state.file_entry(file)) {
            return self.block_until(file, self.now_ns);
        }
        let plan = &mut self.holder.plans[usize::from(file)];
        plan.backoff_ns = (plan.backoff_ns * 2).clamp(RETRY_FIRST_NS, RETRY_MAX_NS);
        let until_ns = self.now_ns + plan.backoff_ns;
        self.block_until(file, until_ns);
    }

    /// Counts a failure, and says so: the same one at most once a minute.
    fn note_error(&self, file: u16, verb: &'static str, error: &std::io::Error) {
        let entry = self.state.file_entry(file);
        let live = &entry.live;
        let errno = error.raw_os_error().unwrap_or(libc::EIO) as u32;
        let now_ns = clock::wall_ns();
        live.errors.fetch_add(1, Ordering::Relaxed);
        live.error_at_ns.store(now_ns, Ordering::Relaxed);
        live.errno.store(errno, Ordering::Relaxed);
        let said_ago_ns = now_ns.saturating_sub(live.said_at_ns.load(Ordering::Relaxed));
        if live.said_errno.load(Ordering::Relaxed) != errno || said_ago_ns > SAY_AGAIN_NS {
            live.said_errno.store(errno, Ordering::Relaxed);
            live.said_at_ns.store(now_ns, Ordering::Relaxed);
            live.said_and_open.store(1, Ordering::Relaxed);
            let told = crate::Error::io(verb, &entry.path.to_path(), error);
            crate::stderr::say(&format!(
                "{told} (records wait in the queues; this is said once)"
            ));
        }
    }

    fn note_success(&mut self, file: u16) {
        let entry = self.state.file_entry(file);
        if entry.live.errno.load(Ordering::Relaxed) != 0 {
            entry.live.errno.store(0, Ordering::Relaxed);
            if entry.live.said_and_open.swap(0, Ordering::Relaxed) != 0 {
                crate::stderr::say(&format!(
                    "`{}` is written again",
                    entry.path.to_path().display()
                ));
            }
        }
        let plan = &mut self.holder.plans[usize::from(file)];
        plan.backoff_ns = 0;
        plan.blocked_until_ns = 0;
    }

    /// Rotates because somebody asked, or asks the living process that has code of its own for it.
    pub fn rotate_on_demand(&mut self, file: u16) -> Result<RotateOutcome, i32> {
        let entry = self.state.file_entry(file);
        let hooked = Config::load(&entry.config).flags & FLAG_HOOKS != 0;
        if hooked && !self.local.has_hooks(file) && self.somebody_has_hooks(file) {
            entry.live.due_since.store(self.now_ns, Ordering::Release);
            return Ok(RotateOutcome::Asked);
        }
        match self.rotate(file) {
            true => Ok(RotateOutcome::Rotated),
            false => Err(entry.live.rotation_errno.load(Ordering::Relaxed) as i32),
        }
    }

    /// From now on only this process touches the file: its own code renames it. False: another is doing so, or has
    /// done so, and it was not asked for on demand.
    pub fn begin_host_rotation(&mut self, file: u16, on_demand: bool) -> bool {
        let live = &self.state.file_entry(file).live;
        if !on_demand && live.due_since.load(Ordering::Acquire) == 0 {
            return false;
        }
        if live.rotating_by.load(Ordering::Acquire) != 0 && self.is_rotated_by_its_host(file) {
            return false;
        }
        self.local.logs.of(file).forget();
        // CRASH(host-rotation): the file is left alone until we are done, or dead.
        live.rotating_by
            .store(Lease::word_of(self.me).0, Ordering::Release);
        true
    }

    /// The host's code is done: the path is what it left.
    pub fn end_host_rotation(&mut self, file: u16, rotated: bool) {
        let entry = self.state.file_entry(file);
        if rotated {
            rotate::adopt_after_host(entry, &self.holder.zone);
        }
        entry.live.due_since.store(0, Ordering::Relaxed);
        entry.live.rotating_by.store(0, Ordering::Release);
        let plan = &mut self.holder.plans[usize::from(file)];
        plan.blocked_until_ns = 0;
        plan.rotate_again_ns = if rotated {
            0
        } else {
            self.now_ns + ROTATE_RETRY_NS
        };
    }

    /// Empties the file, for an owner that asked to begin anew.
    pub fn truncate(&mut self, file: u16) {
        let entry = self.state.file_entry(file);
        let Ok((fd, facts)) = self.open_log(file) else {
            return;
        };
        if facts.is_regular && facts.len > 0 && crate::fs::truncate(fd, 0).is_ok() {
            crate::files::ledger::begin(entry, 0);
        }
    }

    /// Opens the file now, so that a wrong path is an error of the one who opens the log.
    pub fn open_now(&mut self, file: u16) -> std::io::Result<()> {
        self.opening = true;
        self.plan(file);
        let opened = self.open_log(file);
        self.opening = false;
        let (_, facts) = opened?;
        let entry = self.state.file_entry(file);
        entry
            .live
            .flags
            .store(rotate::kind_of(facts), Ordering::Relaxed);
        self.adopt(file, facts);
        Ok(())
    }

    fn preamble(&self, file: u16) -> Vec<u8> {
        self.holder.plans[usize::from(file)]
            .config
            .preamble()
            .collect()
    }

    pub fn identity_of(&self, file: u16) -> Identity {
        rotate::identity_of(self.state.file_entry(file))
    }
}

impl Plan {
    #[inline]
    fn take(&mut self, entry: &Entry) -> Gate {
        self.pending += u64::from(entry.len).max(1);
        Gate::Take
    }

    #[inline]
    fn is_due(&self, entry: &Entry) -> bool {
        let written = self.size + self.pending;
        let by_size = self.config.rotates_by_size()
            && written > 0
            && written + u64::from(entry.len) >= self.config.max_bytes;
        by_size || (self.rollover_at != 0 && entry.time_ns / 1_000_000_000 >= self.rollover_at)
    }
}

/// Everything in the ranges has left the queues.
#[inline]
fn advance(state: &State, ranges: &[Range]) {
    for range in ranges {
        // ORDERING: pairs with the producer's look for space: the bytes have been read.
        state
            .slot(range.slot)
            .drained
            .store(range.to, Ordering::Release);
    }
}

/// Advances over what is written and marks what is written behind something that is not. Repeatable.
fn walk(state: &State, range: Range, done: FileSet) {
    let slot = state.slot(range.slot);
    let area = state.queue(range.slot);
    let mut position = slot.drained.load(Ordering::Relaxed);
    let mut first_kept = None;
    while position < range.to {
        let Some(entry) = ring::load(&state.shm, area, position, range.to) else {
            break;
        };
        let gone = entry.flags & (ring::FLAG_FILLER | ring::FLAG_DONE) != 0
            || usize::from(entry.file) >= FILES;
        match (gone || done.contains(entry.file), first_kept) {
            (false, None) => first_kept = Some(position),
            (true, Some(_)) if !gone => ring::mark_done(&state.shm, area, position),
            _ => {}
        }
        position = ring::after(position, &entry);
    }
    // ORDERING: as in `advance`.
    slot.drained
        .store(first_kept.unwrap_or(range.to), Ordering::Release);
}
