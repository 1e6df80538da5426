//! Going on where a dead holder stopped: one arm for each phase of the journal.
//!
//! The batch is still in the queues, the intent says where it was going, and the file is compared with it
//! (`reconcile`). Every step here can itself be cut short, and be done again by the next.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use super::part::{Lead, Planned, Written};
use super::reconcile::{self, Found};
use super::window::{FileSet, Gate, Range, Window};
use super::{Attempt, Drain};
use crate::files::config::{Config, FLAG_WATCH};
use crate::files::ledger::{self, Run};
use crate::files::rotate::{self, LIVE_FRAGMENT};
use crate::fs::{self, Identity};
use crate::journal::{self, IntentValues, Phase};
use crate::layout::{FILES, SLOTS};

/// How much of a file is searched for a batch behind foreign bytes.
const SEARCH_BYTES_MAX: u64 = 64 << 20;

impl Drain<'_> {
    /// Settles what `phase` speaks of. False: it cannot be done now (the disk refuses), and the journal stays open.
    pub(super) fn recover(&mut self, phase: Phase) -> bool {
        let control = self.state.control();
        control.counters.recoveries.fetch_add(1, Ordering::Relaxed);
        match phase {
            Phase::Idle => true,
            Phase::Window => self.finish_window(),
            // A batch that was being taken back out of a moved file is there, or is not: the file tells, as ever.
            Phase::Writing(copy) | Phase::Undo(copy) => {
                self.recover_write(copy) && self.finish_window()
            }
            Phase::Commit => {
                let (ranges, done) = (self.recorded_ranges(), self.recorded_done());
                let written = control.written_after.load(Ordering::Relaxed);
                let so_far = control.counters.written.load(Ordering::Relaxed);
                self.commit(&ranges, done, false, written.saturating_sub(so_far));
                true
            }
            Phase::Rotate | Phase::Rotated => self.resume_rotation(phase),
            Phase::Unknown => {
                control
                    .counters
                    .corrupt_rings
                    .fetch_add(1, Ordering::Relaxed);
                crate::stderr::say(
                    "the journal of a dead holder cannot be read; its last batch may be doubled",
                );
                journal::enter(control, Phase::Idle);
                true
            }
        }
    }

    /// Commits the files of the recorded window that are done; the records of the others stay in their queues.
    fn finish_window(&mut self) -> bool {
        let (ranges, done) = (self.recorded_ranges(), self.recorded_done());
        let window = self.recorded_window(&ranges, |_| true);
        let written = window
            .items
            .iter()
            .filter(|item| done.contains(item.file))
            .count() as u64;
        self.holder.window = window;
        self.commit(&ranges, done, false, written);
        true
    }

    fn recorded_ranges(&self) -> Vec<Range> {
        let bits = &self.state.control().window_slots;
        let in_window = |slot: &u16| {
            bits[usize::from(*slot) / 64].load(Ordering::Relaxed) & 1 << (slot % 64) != 0
        };
        (0..SLOTS as u16)
            .filter(in_window)
            .map(|slot| {
                let words = self.state.slot(slot);
                let (from, to) = (
                    words.window_from.load(Ordering::Relaxed),
                    words.window_to.load(Ordering::Relaxed),
                );
                // Shared memory is input: a window lies between the cursors.
                let drained = words.drained.load(Ordering::Relaxed);
                let tail = words.tail.load(Ordering::Acquire);
                Range {
                    slot,
                    from: from.max(drained.min(to)).min(tail),
                    to: to.min(tail),
                }
            })
            .collect()
    }

    fn recorded_done(&self) -> FileSet {
        let done = &self.state.control().window_done;
        FileSet::from_words([0, 1].map(|word| done[word].load(Ordering::Relaxed)))
    }

    fn recorded_window(&mut self, ranges: &[Range], wanted: impl Fn(u16) -> bool) -> Window {
        let mut window = std::mem::take(&mut self.holder.window);
        window.collect_ranges(self.state, ranges, |entry| {
            if wanted(entry.file) {
                Gate::Take
            } else {
                Gate::Keep
            }
        });
        window
    }

    /// Finds out how much of an intended batch is in its file, and completes it. False: the disk refuses.
    fn recover_write(&mut self, copy: usize) -> bool {
        let control = self.state.control();
        let intent = control.intents[copy].load();
        if usize::from(intent.file) >= FILES || self.recorded_done().contains(intent.file) {
            return true;
        }
        self.holder.stamp += 1;
        self.plan(intent.file);
        let (fd, facts) = match self.open_intended(&intent) {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                // The file is gone, and the batch with it: its records are written again.
                control
                    .counters
                    .recovered_rewritten
                    .fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Err(error) => {
                // It is there, and nothing can be said of it before it can be opened.
                self.block(intent.file, "open", &error);
                return false;
            }
        };
        if !facts.is_regular {
            return true;
        }
        let ranges = self.recorded_ranges();
        let window = self.recorded_window(&ranges, |file| file == intent.file);
        let settled = self.complete(fd, facts, &intent, copy, &window);
        self.holder.window = window;
        settled
    }

    fn complete(
        &mut self,
        fd: BorrowedFd<'static>,
        facts: fs::Facts,
        intent: &IntentValues,
        copy: usize,
        window: &Window,
    ) -> bool {
        let counters = &self.state.control().counters;
        if facts.len < intent.offset {
            counters
                .truncated_under_intent
                .fetch_add(1, Ordering::Relaxed);
            counters.recovered_rewritten.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let (lead, skip) = Lead::unpack(intent.skip);
        let mut batch = Vec::new();
        let bytes = self.compose_owned(window, intent.file, lead, skip, &mut batch);
        let ends = record_ends(window, intent.file, lead_len(self, intent.file, lead), skip);
        let Some(tail) = self.read_tail(fd, intent, facts.len) else {
            return false;
        };
        let identity = Identity {
            dev: intent.dev,
            ino: intent.ino,
        };
        let records = ends.len() as u64;
        let after = Run {
            start: ledger::open_run(self.state.file_entry(intent.file)).start,
            len: intent.after_len,
            count: intent.after_count,
            crc: Some(intent.after_crc as u32),
        };
        let file = intent.file;
        let planned = Planned {
            file,
            bytes,
            records,
            start: intent.offset,
            identity,
            after,
            copy,
        };
        let found = reconcile::find(bytes, &ends, &tail);
        if self.is_moved_away(file, identity) && ends_with_batch(&found, bytes.len(), tail.len()) {
            // As a living holder does when it finds the file moved after its write: the batch belongs into the file at
            // the path. Cut short here, the next finds nothing of the batch, and does the same.
            let at = intent.offset + found.at() as u64;
            counters.undone.fetch_add(1, Ordering::Relaxed);
            if fs::truncate(fd, at).is_ok() {
                self.local.logs.of(file).forget();
                return true;
            }
        }
        match found {
            Found::Nothing => {
                counters.recovered_rewritten.fetch_add(1, Ordering::Relaxed);
                if !tail.is_empty() && !tail.ends_with(b"\n") {
                    self.mark_fragment(file);
                }
                // What was skipped is in the file: only the rest is written again.
                skip == 0 || self.write_rest(fd, file, skip, copy, window)
            }
            Found::Whole { at } => {
                counters.recovered_found.fetch_add(1, Ordering::Relaxed);
                self.account_at(&planned, at, tail.len());
                self.mark_done(file);
                true
            }
            Found::Prefix { at, len } => {
                counters.recovered_completed.fetch_add(1, Ordering::Relaxed);
                if let Some(error) = super::part::append(fd, &bytes[len..]) {
                    self.block(file, "write", &error);
                    return false;
                }
                self.account_at(&planned, at, at + bytes.len());
                self.mark_done(file);
                true
            }
            Found::Interrupted { records, .. } => {
                counters
                    .recovered_after_foreign
                    .fetch_add(1, Ordering::Relaxed);
                if records == ends.len() {
                    self.account_at(&planned, 0, tail.len());
                    self.mark_done(file);
                    return true;
                }
                if !tail.ends_with(b"\n") {
                    self.mark_fragment(file);
                }
                self.write_rest(fd, file, skip + records, copy, window)
            }
        }
    }

    /// The records from `skip` on, under an intent of their own: the ones before are in the file.
    fn write_rest(
        &mut self,
        fd: BorrowedFd<'static>,
        file: u16,
        skip: usize,
        copy: usize,
        window: &Window,
    ) -> bool {
        let Some(facts) = fs::facts_of(fd) else {
            return false;
        };
        self.adopt(file, facts);
        let lead = self.lead_for(file, facts.len);
        let mut batch = Vec::new();
        let bytes = self.compose_owned(window, file, lead, skip, &mut batch);
        let records = (window.items_of(file).count() - skip) as u64;
        let planned = self.intend(file, bytes, records, lead, skip as u32, facts, 1 - copy);
        match self.write_planned(fd, &planned) {
            Attempt::Done(Written::All) => {
                self.mark_done(file);
                true
            }
            // What is there stays; the next attempt begins with what is missing.
            _ => {
                journal::enter(self.state.control(), Phase::Writing(1 - copy));
                false
            }
        }
    }

    fn compose_owned<'b>(
        &self,
        window: &Window,
        file: u16,
        lead: Lead,
        skip: usize,
        batch: &'b mut Vec<u8>,
    ) -> &'b [u8] {
        let mut lines = Vec::new();
        window.lines_of(self.state, file, skip, &mut lines);
        match lead {
            Lead::None => {}
            Lead::Newline => batch.push(b'\n'),
            Lead::Preamble => batch.extend(self.preamble(file)),
        }
        batch.extend(lines);
        batch
    }

    /// The path is not that file any more, where somebody is to look.
    fn is_moved_away(&self, file: u16, identity: Identity) -> bool {
        let plan = &self.holder.plans[usize::from(file)];
        plan.config.flags & FLAG_WATCH != 0
            && fs::look(&plan.path).map_or_else(
                |error| error.kind() == std::io::ErrorKind::NotFound,
                |there| there.identity != identity,
            )
    }

    fn mark_fragment(&self, file: u16) {
        self.state
            .file_entry(file)
            .live
            .flags
            .fetch_or(LIVE_FRAGMENT, Ordering::Relaxed);
    }

    fn mark_done(&self, file: u16) {
        self.state.control().window_done[usize::from(file) / 64]
            .fetch_or(1 << (file % 64), Ordering::Release);
    }

    /// Accounts for a batch that lies at `at` behind the intent's offset, in a file that ends `tail_len` behind it.
    fn account_at(&mut self, planned: &Planned<'_>, at: usize, tail_len: usize) {
        let entry = self.state.file_entry(planned.file);
        if at == 0 && tail_len == planned.bytes.len() {
            return self.account(planned, None);
        }
        let start = planned.start + at as u64;
        let ours = Run {
            start,
            len: 0,
            count: 0,
            crc: Some(0),
        }
        .extended(planned.bytes, planned.records);
        let before = Run {
            start: planned.start,
            len: at as u64,
            count: 0,
            crc: None,
        };
        let runs = [before, ours];
        ledger::rewrite_from(entry, planned.start, &runs[usize::from(at == 0)..]);
    }

    /// The file that the intent was for, wherever it is now. None: it is nowhere.
    fn open_intended(
        &mut self,
        intent: &IntentValues,
    ) -> std::io::Result<Option<(BorrowedFd<'static>, fs::Facts)>> {
        let identity = Identity {
            dev: intent.dev,
            ino: intent.ino,
        };
        let is_it = |facts: &fs::Facts| facts.identity == identity && facts.links > 0;
        if let Some((fd, facts)) = self.local.logs.of(intent.file).check() {
            if is_it(&facts) {
                return Ok(Some((fd, facts)));
            }
            self.local.logs.of(intent.file).forget();
        }
        let path = self.state.file_entry(intent.file).path.to_path();
        let there = fs::look(&path)
            .is_ok_and(|facts| is_it(&facts))
            .then_some(path.clone());
        let Some(place) = there.or_else(|| fs::find_beside(&path, identity)) else {
            return Ok(None);
        };
        let cell = self.local.logs.of(intent.file);
        cell.set(fs::open_existing(&place)?);
        Ok(cell.check().filter(|(_, facts)| is_it(facts)))
    }

    /// The file from the intent's offset on. It is read through the descriptor that is open (a process that dropped its
    /// rights can open no other), or through a new one where that cannot be read.
    fn read_tail(&self, fd: BorrowedFd<'_>, intent: &IntentValues, len: u64) -> Option<Vec<u8>> {
        let mut tail = vec![0; (len - intent.offset).min(SEARCH_BYTES_MAX) as usize];
        let read = fs::read_at(fd, &mut tail, intent.offset).or_else(|_| {
            let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let file = fs::open_to_read(std::path::Path::new(&own))?;
            fs::read_at(file.as_fd(), &mut tail, intent.offset)
        });
        tail.truncate(read.ok()?);
        Some(tail)
    }

    fn resume_rotation(&mut self, phase: Phase) -> bool {
        let control = self.state.control();
        let file = control.rotation.file.load(Ordering::Relaxed) as u16;
        if usize::from(file) >= FILES {
            journal::enter(control, Phase::Idle);
            return true;
        }
        self.local.logs.of(file).forget();
        let entry = self.state.file_entry(file);
        let config = Config::load(&entry.config);
        match rotate::resume(control, entry, &config, &self.holder.zone, phase) {
            Ok(()) => {
                self.holder.afterwards.tidy.insert(file);
                true
            }
            Err(error) => {
                self.note_rotation_error(file, &error);
                self.holder.plans[usize::from(file)].rotate_again_ns =
                    self.now_ns + super::ROTATE_RETRY_NS;
                journal::enter(control, Phase::Idle);
                true
            }
        }
    }
}

/// The batch, or what is there of it, is the last thing in the file.
fn ends_with_batch(found: &Found, batch_len: usize, tail_len: usize) -> bool {
    match found {
        Found::Whole { at } => at + batch_len == tail_len,
        Found::Prefix { at, len } => at + len == tail_len,
        Found::Nothing | Found::Interrupted { .. } => false,
    }
}

fn lead_len(drain: &Drain<'_>, file: u16, lead: Lead) -> usize {
    match lead {
        Lead::None => 0,
        Lead::Newline => 1,
        Lead::Preamble => drain.preamble(file).len(),
    }
}

/// Where each record of the batch ends; what leads the batch belongs to its first record.
fn record_ends(window: &Window, file: u16, lead_len: usize, skip: usize) -> Vec<usize> {
    let mut end = lead_len;
    let lens = window
        .items_of(file)
        .skip(skip)
        .map(|item| item.len as usize);
    lens.map(|len| {
        end += len;
        end
    })
    .collect()
}
