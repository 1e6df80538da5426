//! Writing one file's part of a window: intent, write, look whether the file was moved meanwhile, account.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use super::window::Window;
use super::{Drain, MISSING_NS};
use crate::files::config::{FLAG_DURABLE, FLAG_WATCH};
use crate::files::ledger::{self, Run};
use crate::files::rotate::{self, LIVE_FRAGMENT};
use crate::fs::{self, Facts, Identity, Missing};
use crate::journal::{self, IntentValues, Phase};

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// None of it is in the file; it stays in the queues.
    Nothing,
    /// The journal says what is known; it must be settled before anything else.
    Unclear,
}

/// What a batch begins with, beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    None,
    /// A line end, since the file ends with a fragment.
    Newline,
    /// The byte order mark of an empty file.
    Preamble,
}

impl Lead {
    /// Packed with the number of records to skip into the intent's `skip` word.
    pub fn pack(self, skip: u32) -> u32 {
        skip & 0xff_ffff | (self as u32) << 24
    }
    pub fn unpack(word: u32) -> (Lead, usize) {
        let lead = match word >> 24 {
            1 => Lead::Newline,
            2 => Lead::Preamble,
            _ => Lead::None,
        };
        (lead, (word & 0xff_ffff) as usize)
    }
}

/// A write that is about to happen.
pub(super) struct Planned<'b> {
    pub file: u16,
    pub bytes: &'b [u8],
    pub records: u64,
    pub start: u64,
    pub identity: Identity,
    pub after: Run,
    pub copy: usize,
}

impl<'a> Drain<'a> {
    /// Writes the lines of `file` in the window.
    pub(super) fn write_part(&mut self, window: &Window, file: u16) -> Written {
        let mut copy = self.other_copy();
        for _attempt in 0..4 {
            let (fd, facts) = match self.open_log(file) {
                Ok(opened) => opened,
                Err(error) => return self.refused(file, "open", &error),
            };
            if !facts.is_regular {
                return self.write_special(window, file, fd);
            }
            self.adopt(file, facts);
            let lead = self.lead_for(file, facts.len);
            let mut batch = std::mem::take(&mut self.holder.batch);
            let bytes = self.compose(window, file, lead, 0, &mut batch);
            let records = window.items_of(file).count() as u64;
            let planned = self.intend(file, bytes, records, lead, 0, facts, copy);
            let answer = self.write_planned(fd, &planned);
            batch.clear();
            self.holder.batch = batch;
            match answer {
                Attempt::Done(written) => return written,
                Attempt::Again => copy = 1 - copy,
            }
        }
        Written::Nothing
    }

    fn other_copy(&self) -> usize {
        match journal::phase(self.state.control()) {
            Phase::Writing(copy) | Phase::Undo(copy) => 1 - copy,
            _ => 0,
        }
    }

    /// The bytes of a part: straight from the queue if it is one record, else put together in `batch`.
    pub(super) fn compose<'b>(
        &self,
        window: &Window,
        file: u16,
        lead: Lead,
        skip: usize,
        batch: &'b mut Vec<u8>,
    ) -> &'b [u8]
    where
        'a: 'b,
    {
        if let ([only], Lead::None, 0) = (&window.items[..], lead, skip) {
            return self.state.shm.bytes(only.at, only.len as usize);
        }
        batch.clear();
        match lead {
            Lead::None => {}
            Lead::Newline => batch.push(b'\n'),
            Lead::Preamble => batch.extend(self.holder.plans[usize::from(file)].config.preamble()),
        }
        window.lines_of(self.state, file, skip, batch);
        batch
    }

    pub(super) fn lead_for(&self, file: u16, file_len: u64) -> Lead {
        let entry = self.state.file_entry(file);
        if file_len == 0 {
            let has = self.holder.plans[usize::from(file)].config.preamble_len > 0;
            return if has { Lead::Preamble } else { Lead::None };
        }
        let fragment = entry.live.flags.load(Ordering::Relaxed) & LIVE_FRAGMENT != 0;
        if fragment { Lead::Newline } else { Lead::None }
    }

    /// Puts the intent into the journal.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn intend<'b>(
        &self,
        file: u16,
        bytes: &'b [u8],
        records: u64,
        lead: Lead,
        skip: u32,
        facts: Facts,
        copy: usize,
    ) -> Planned<'b> {
        let entry = self.state.file_entry(file);
        ledger::make_room(entry);
        let after = ledger::open_run(entry).extended(bytes, records);
        let planned = Planned {
            file,
            bytes,
            records,
            start: facts.len,
            identity: facts.identity,
            after,
            copy,
        };
        let control = self.state.control();
        control.intents[copy].store(&IntentValues {
            file,
            skip: lead.pack(skip),
            dev: facts.identity.dev,
            ino: facts.identity.ino,
            offset: facts.len,
            len: bytes.len() as u64,
            after_len: after.len,
            after_count: after.count,
            after_crc: u64::from(after.crc.unwrap_or(0)),
        });
        // CRASH(intent-stored): none of the batch is in the file yet.
        journal::enter(control, Phase::Writing(copy));
        crash_point!("intent-stored");
        planned
    }

    /// Writes what was intended, and finds out where it went.
    pub(super) fn write_planned(&mut self, fd: BorrowedFd<'_>, planned: &Planned<'_>) -> Attempt {
        // CRASH(batch-torn): a fatal signal stops the write at a page boundary.
        let (written, error) = write_all(fd, planned.bytes, fs::write);
        // CRASH(batch-written): all of it is in the file, nothing says so.
        crash_point!("batch-written");
        if let Some(error) = error {
            return Attempt::Done(self.take_back(fd, planned, written, &error));
        }
        let config = self.holder.plans[usize::from(planned.file)].config;
        let end = if config.flags & FLAG_WATCH == 0 {
            // The next look at the file's length finds what others wrote.
            None
        } else {
            let path = &self.holder.plans[usize::from(planned.file)].path;
            let watch = self.local.logs.watch(planned.file);
            match watch.look(path, self.now_ns, planned.identity) {
                Ok(None) => None,
                Ok(Some(there)) if there.identity == planned.identity => Some(there.len),
                Err(error) if error.kind() != io::ErrorKind::NotFound => None,
                _ => return self.undo(fd, planned),
            }
        };
        if config.flags & FLAG_DURABLE != 0
            && let Err(error) = fs::sync_data(fd)
        {
            self.note_error(planned.file, "sync", &error);
        }
        self.account(planned, end);
        Attempt::Done(Written::All)
    }

    /// Brings the ledger up to date. `end`: where the file ended just after the write, if that is known.
    pub(super) fn account(&mut self, planned: &Planned<'_>, end: Option<u64>) {
        let entry = self.state.file_entry(planned.file);
        let expected = planned.start + planned.bytes.len() as u64;
        match end {
            Some(end) if end != expected => self.account_displaced(planned, end),
            _ => {
                let after = planned.after;
                ledger::set_open_run(entry, after.len, after.count, after.crc.unwrap_or(0));
            }
        }
        let flags = entry.live.flags.load(Ordering::Relaxed);
        if flags & LIVE_FRAGMENT != 0 {
            entry
                .live
                .flags
                .store(flags & !LIVE_FRAGMENT, Ordering::Relaxed);
        }
        if entry.live.missing_since.load(Ordering::Relaxed) != 0 {
            entry.live.missing_since.store(0, Ordering::Relaxed);
        }
        self.note_success(planned.file);
        crash_point!("ledger-stored");
    }

    /// Somebody else wrote to the file, or cut it, while we did: the region is not ours alone.
    fn account_displaced(&self, planned: &Planned<'_>, end: u64) {
        let entry = self.state.file_entry(planned.file);
        if end < planned.start {
            entry.live.truncations.fetch_add(1, Ordering::Relaxed);
            return ledger::begin(entry, end);
        }
        entry.live.foreign_bytes.fetch_add(
            end.saturating_sub(planned.start + planned.bytes.len() as u64),
            Ordering::Relaxed,
        );
        let shared = Run {
            start: planned.start,
            len: end - planned.start,
            count: planned.records,
            crc: None,
        };
        let next = Run {
            start: end,
            len: 0,
            count: 0,
            crc: Some(0),
        };
        ledger::rewrite_from(entry, planned.start, &[shared, next]);
    }

    /// The write failed after `written` bytes: the file must not end with a fragment.
    fn take_back(
        &mut self,
        fd: BorrowedFd<'_>,
        planned: &Planned<'_>,
        written: usize,
        error: &io::Error,
    ) -> Written {
        self.block(planned.file, "write", error);
        let clean = written == 0 || {
            let ours_is_last =
                fs::len_of(fd).is_some_and(|len| len == planned.start + written as u64);
            ours_is_last && fs::truncate(fd, planned.start).is_ok()
        };
        if !clean {
            return Written::Unclear;
        }
        journal::enter(self.state.control(), Phase::Window);
        Written::Nothing
    }

    /// The file was moved or deleted before our write: the batch belongs into the file that is at the path now.
    fn undo(&mut self, fd: BorrowedFd<'_>, planned: &Planned<'_>) -> Attempt {
        let control = self.state.control();
        let facts = fs::facts_of(fd);
        let expected = planned.start + planned.bytes.len() as u64;
        if facts.is_some_and(|facts| facts.links > 0 && facts.len != expected) {
            // Somebody wrote behind us: what is there stays there.
            control
                .counters
                .left_misplaced
                .fetch_add(planned.records, Ordering::Relaxed);
            self.account(planned, facts.map(|facts| facts.len));
            return Attempt::Done(Written::All);
        }
        // CRASH(undo): the batch is in the moved file, or was taken out of it again.
        journal::enter(control, Phase::Undo(planned.copy));
        crash_point!("undo");
        if facts.is_some_and(|facts| facts.links > 0) && fs::truncate(fd, planned.start).is_err() {
            control
                .counters
                .left_misplaced
                .fetch_add(planned.records, Ordering::Relaxed);
            journal::enter(control, Phase::Writing(planned.copy));
            self.account(planned, None);
            return Attempt::Done(Written::All);
        }
        crash_point!("undone");
        control.counters.undone.fetch_add(1, Ordering::Relaxed);
        if facts.is_none_or(|facts| facts.links == 0) {
            self.expect_nobody(planned.file);
        }
        self.local.logs.of(planned.file).forget();
        journal::enter(control, Phase::Window);
        Attempt::Again
    }

    /// Opens the log's file, or finds it open. A path that went missing is given a moment: logrotate's `create` renames
    /// first and creates afterwards, and a file made in between would be in its way.
    pub(super) fn open_log(&mut self, file: u16) -> io::Result<(BorrowedFd<'static>, Facts)> {
        let entry = self.state.file_entry(file);
        if self.holder.plans[usize::from(file)].stamp == 0 {
            self.holder.stamp += 1;
            self.plan(file);
        }
        let cell = self.local.logs.of(file);
        let expected = ledger::end(entry);
        if let Some(known) = cell.check_briefly(self.now_ns, self.identity_of(file), expected) {
            return Ok(known);
        }
        if let Some((fd, facts)) = cell.check_at(self.now_ns) {
            if facts.links == 0 && facts.is_regular {
                self.expect_nobody(file);
                self.local.logs.of(file).forget();
            } else if self.is_present_file(file, facts) {
                return Ok((fd, facts));
            } else {
                self.local.logs.of(file).forget();
            }
        }
        let plan = &self.holder.plans[usize::from(file)];
        let known = entry.live.ino.load(Ordering::Relaxed) != 0;
        let open = |missing| fs::open_log(&plan.path, plan.config.newborn(), missing);
        // Not made where it is not known to be missing: whoever is moving it would find it in his way.
        let may_be_awaited = known && !self.opening;
        let opened = match open(if may_be_awaited {
            Missing::Leave
        } else {
            Missing::Make
        }) {
            Err(error)
                if may_be_awaited
                    && error.kind() == io::ErrorKind::NotFound
                    && !self.is_awaited(file) =>
            {
                open(Missing::Make)?
            }
            found => found?,
        };
        self.local.logs.of(file).set(opened);
        let opened = self.local.logs.of(file).check();
        let (fd, facts) = opened.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        // The same path can be another pipe in another process: its records are not for that one.
        if known && !facts.is_regular && facts.identity != self.identity_of(file) {
            self.local.logs.of(file).forget();
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        Ok((fd, facts))
    }

    /// Whoever has moved the file may still be about to make the next one, and the records can wait.
    fn is_awaited(&self, file: u16) -> bool {
        let since = &self.state.file_entry(file).live.missing_since;
        if since.load(Ordering::Relaxed) == 0 {
            since.store(self.now_ns, Ordering::Relaxed);
        }
        self.now_ns.saturating_sub(since.load(Ordering::Relaxed)) < MISSING_NS && !self.is_pressed()
    }

    /// What this process has open may be from before a rotation that another process did, or saw: then the path tells.
    #[inline]
    fn is_present_file(&self, file: u16, facts: Facts) -> bool {
        facts.identity == self.identity_of(file) || !facts.is_regular || {
            let path = &self.holder.plans[usize::from(file)].path;
            fs::look(path).is_ok_and(|there| there.identity == facts.identity)
        }
    }

    /// The file was deleted, not renamed: nobody is in the middle of a rotation, and the path is made anew at once.
    fn expect_nobody(&self, file: u16) {
        let missing_since = self.now_ns.saturating_sub(MISSING_NS).max(1);
        self.state
            .file_entry(file)
            .live
            .missing_since
            .store(missing_since, Ordering::Relaxed);
    }

    /// Some queue is more than half full: the records cannot wait any longer.
    fn is_pressed(&self) -> bool {
        (1..self.state.slots_used()).any(|slot| {
            let words = self.state.slot(slot);
            let used = words
                .tail
                .load(Ordering::Relaxed)
                .wrapping_sub(words.drained.load(Ordering::Relaxed));
            used > self.state.queue_len() / 2
        })
    }

    /// The file cannot be opened: it is tried again soon, and spoken of unless it is only being rotated.
    fn refused(&mut self, file: u16, verb: &'static str, error: &io::Error) -> Written {
        let missing = self
            .state
            .file_entry(file)
            .live
            .missing_since
            .load(Ordering::Relaxed);
        let being_rotated = missing != 0 && self.now_ns.saturating_sub(missing) < MISSING_NS;
        if being_rotated {
            let until_ns = self.now_ns + 5_000_000;
            self.block_until(file, until_ns);
        } else {
            self.block(file, verb, error);
        }
        journal::enter(self.state.control(), Phase::Window);
        Written::Nothing
    }

    /// Makes the ledger speak of the file that is open: another file, foreign bytes at its end, bytes cut off.
    pub(super) fn adopt(&mut self, file: u16, facts: Facts) {
        let entry = self.state.file_entry(file);
        if self.identity_of(file) != facts.identity {
            return rotate::adopt(entry, facts);
        }
        let expected = ledger::end(entry);
        if facts.len == expected {
            return;
        }
        if facts.len < expected {
            entry.live.truncations.fetch_add(1, Ordering::Relaxed);
            return ledger::begin(entry, facts.len);
        }
        entry
            .live
            .foreign_bytes
            .fetch_add(facts.len - expected, Ordering::Relaxed);
        // They lie behind our last batch, or came before it: the checksum of the open run tells.
        let open = ledger::open_run(entry);
        let (start, count) = if self.is_as_known(file, &open) {
            (expected, 0)
        } else {
            (open.start, open.count)
        };
        let foreign = Run {
            start,
            len: facts.len - start,
            count,
            crc: None,
        };
        let next = Run {
            start: facts.len,
            len: 0,
            count: 0,
            crc: Some(0),
        };
        ledger::rewrite_from(entry, start, &[foreign, next]);
    }

    /// Whether the file has the bytes of a run where the ledger says.
    fn is_as_known(&self, file: u16, run: &Run) -> bool {
        let Some((fd, _)) = self.local.logs.of(file).check() else {
            return false;
        };
        let mut bytes = vec![0; (run.len as usize).min(64 << 20)];
        let read = fs::read_at(fd, &mut bytes, run.start);
        read.is_ok_and(|read| read as u64 == run.len) && run.crc == Some(crc32fast::hash(&bytes))
    }

    /// A pipe took a part of a long record: the rest of that very record comes next.
    fn note_begun(&self, window: &Window, file: u16, written: usize) {
        let live = &self.state.file_entry(file).live;
        if let Some(item) = window.items_of(file).next() {
            live.pipe_written.store(written as u64, Ordering::Relaxed);
            live.pipe_record_slot
                .store(item.slot.into(), Ordering::Relaxed);
            live.pipe_record_end.store(item.end, Ordering::Relaxed);
        }
    }

    /// A pipe or a terminal: one record a write, never blocking, nothing to recover.
    fn write_special(&mut self, window: &Window, file: u16, fd: BorrowedFd<'_>) -> Written {
        let live = &self.state.file_entry(file).live;
        let mut batch = std::mem::take(&mut self.holder.batch);
        batch.clear();
        window.lines_of(self.state, file, 0, &mut batch);
        let before = (live.pipe_written.load(Ordering::Relaxed) as usize).min(batch.len());
        let is_socket = live.flags.load(Ordering::Relaxed) & rotate::LIVE_SOCKET != 0;
        let write = if is_socket { fs::send } else { fs::write };
        let (written, error) = write_all(fd, &batch[before..], write);
        batch.clear();
        self.holder.batch = batch;
        match error {
            None => {
                live.pipe_record_end.store(0, Ordering::Relaxed);
                live.pipe_written.store(0, Ordering::Relaxed);
                self.note_success(file);
                Written::All
            }
            Some(error) => {
                if before + written > 0 {
                    self.note_begun(window, file, before + written);
                }
                if error.kind() == io::ErrorKind::WouldBlock {
                    self.block_until(file, self.now_ns + 1_000_000);
                } else {
                    self.block(file, "write", &error);
                }
                Written::Nothing
            }
        }
    }
}

/// How an attempt at a part ended.
pub(super) enum Attempt {
    Done(Written),
    /// The file was moved: once more, into the one at the path.
    Again,
}

/// Writes until all is written or an error comes; gives the number of bytes written.
fn write_all(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    write: fn(BorrowedFd<'_>, &[u8]) -> io::Result<usize>,
) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match write(fd, &bytes[written..]) {
            Ok(0) => return (written, Some(io::Error::from_raw_os_error(libc::ENOSPC))),
            Ok(more) => written += more,
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Appends the rest of a batch; gives the error that stopped it.
pub(super) fn append(fd: BorrowedFd<'_>, rest: &[u8]) -> Option<io::Error> {
    write_all(fd, rest, fs::write).1
}
