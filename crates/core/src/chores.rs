//! What is done outside the lease: trying again what could not be written, and compressing archives.
//!
//! At most one native thread per process and domain, started when there is something to do, with all signals blocked. It is stopped
//! before a fork and started again by the next one who has work for it, so that a forking master never has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;
use crate::domain::Domain;
use crate::drain::Afterwards;
use crate::drain::window::FileSet;
use crate::files::compress::{self, Committed, Compress};
use crate::files::{ledger, tidy};
use crate::liveness;
use crate::log::printed::read_output;
use crate::sys::{self, LockKind};

/// The chores of one process for one domain.
#[derive(Default)]
pub(crate) struct Chores {
    list: Mutex<List>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct List {
    /// When to drain again (monotonic); 0: not.
    retry_at_ns: u64,
    compress: FileSet,
    /// What this process prints is read now and then.
    watching: bool,
    /// The program to start as the relay.
    relay: Option<PathBuf>,
    running: bool,
}

impl List {
    fn is_empty(&self) -> bool {
        self.retry_at_ns == 0 && self.compress.is_empty() && !self.watching && self.relay.is_none()
    }

    /// 0 asks for nothing; of two times the earlier one counts.
    fn retry_by(&mut self, at_ns: u64) {
        if at_ns != 0 && (self.retry_at_ns == 0 || at_ns < self.retry_at_ns) {
            self.retry_at_ns = at_ns;
        }
    }
}

/// Does what a hold left to do: at once what is quick, by the thread what is not.
#[inline]
pub(crate) fn after_hold(domain: &Domain, afterwards: &Afterwards) {
    if afterwards.retry_at_ns != 0 || !afterwards.tidy.is_empty() {
        note(domain, afterwards);
    }
}

/// For a holder that keeps the lease: what can wait is left to the thread, which then needs no lease for long.
pub(crate) fn hand_on(domain: &Domain, afterwards: &Afterwards) {
    for file in afterwards.tidy.iter() {
        let entry = domain.state.file_entry(file);
        tidy::delete_expired(entry).close(entry);
    }
    let mut list = domain.local().chores.list();
    list.compress.insert_all(afterwards.tidy);
}

/// What a predecessor left uncompressed is done by whoever opens the log next.
pub(crate) fn look_at_archives(domain: &Domain, file: u16) {
    let entry = domain.state.file_entry(file);
    if tidy::compresses(entry) && !tidy::to_compress(entry).is_empty() {
        let chores = &domain.local().chores;
        let mut list = chores.list();
        list.compress.insert(file);
        chores.wake(list, domain.weak());
    }
}

#[cold]
fn note(domain: &Domain, afterwards: &Afterwards) {
    let mut compress = FileSet::default();
    for file in afterwards.tidy.iter() {
        let entry = domain.state.file_entry(file);
        let deleted = domain.with_lease_quietly(|| tidy::delete_expired(entry));
        // Without the lease now, the thread does it.
        if deleted.is_none() || tidy::compresses(entry) {
            compress.insert(file);
        }
        deleted.into_iter().for_each(|deleted| deleted.close(entry));
    }
    let chores = &domain.local().chores;
    let mut list = chores.list();
    list.retry_by(afterwards.retry_at_ns);
    list.compress.insert_all(compress);
    if !list.is_empty() {
        chores.wake(list, domain.weak());
    }
}

impl Chores {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Reads from now on what this process prints.
    pub fn watch(&self, domain: Weak<Domain>) {
        let mut list = self.list();
        list.watching = true;
        self.wake(list, domain);
    }

    /// Starts a relay for the domain; it detaches itself.
    pub fn start_relay(&self, program: &Path, domain: Weak<Domain>) {
        let mut list = self.list();
        list.relay = Some(program.to_owned());
        self.wake(list, domain);
    }

    /// Stops reading what this process prints, and waits for a reading that is under way.
    pub fn pause_watching(&self) {
        self.list().watching = false;
        self.pause();
    }

    /// Puts what a hold left to do on the list. Who calls this looks at the list afterwards.
    pub fn leave(&self, afterwards: &Afterwards) {
        let mut list = self.list();
        list.retry_by(afterwards.retry_at_ns);
        list.compress.insert_all(afterwards.tidy);
    }

    fn wake(&self, mut list: MutexGuard<'_, List>, domain: Weak<Domain>) {
        if list.running {
            self.changed.notify_one();
            return;
        }
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        list.running = true;
        drop(list);
        let started = sys::with_signals_blocked(|| {
            std::thread::Builder::new()
                .name("logboom".into())
                .stack_size(256 << 10)
                .spawn(move || run(&domain))
        });
        match started {
            Ok(thread) => {
                *self
                    .thread
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(thread)
            }
            // No thread can be had: the next publisher drains, the next rotation compresses.
            Err(_) => self.list().running = false,
        }
    }

    /// Stops the thread and waits for it; it goes on when there is something new to do.
    pub fn pause(&self) {
        self.stop();
        self.stopping.store(false, Ordering::Release);
    }

    /// Goes on after a fork, if there is something to do.
    pub fn resume(&self, domain: Weak<Domain>) {
        let list = self.list();
        if !list.is_empty() {
            self.wake(list, domain);
        }
    }

    /// Stops the thread for good.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        drop(self.list());
        self.changed.notify_all();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        if let Some(thread) =
            thread.filter(|thread| thread.thread().id() != std::thread::current().id())
        {
            let _ = thread.join();
        }
    }

    fn goes_on(&self) -> bool {
        !self.stopping.load(Ordering::Acquire)
    }
}

/// How often printed output is looked for: while there is some, and when there was none for long.
const LOOK_EVERY_MS: std::ops::RangeInclusive<u64> = 20..=500;

/// The thread: sleeps until something is due, does it, and ends when the list has been empty for a while.
fn run(domain: &Weak<Domain>) {
    let mut look_again_ms = *LOOK_EVERY_MS.start();
    while let Some(domain) = domain.upgrade() {
        let chores = &domain.local().chores;
        let mut list = chores.list();
        if list.is_empty() || !chores.goes_on() {
            list.running = false;
            return;
        }
        let now_ns = clock::monotonic_ns();
        let drain_now = list.retry_at_ns != 0 && list.retry_at_ns <= now_ns;
        let compress = std::mem::take(&mut list.compress);
        let relay = list.relay.take();
        let watching = list.watching;
        if drain_now {
            list.retry_at_ns = 0;
        }
        if drain_now || !compress.is_empty() || relay.is_some() {
            drop(list);
            if let Some(program) = relay {
                start_relay(&program, &domain);
            }
            if drain_now {
                domain.drain_again();
            }
            let left = compress_all(&domain, chores, compress);
            chores.list().compress.insert_all(left);
            continue;
        }
        let mut pause = Duration::from_millis(look_again_ms);
        if list.retry_at_ns != 0 {
            let until_retry = Duration::from_nanos(list.retry_at_ns - now_ns);
            pause = pause.min(until_retry.min(Duration::from_millis(50)));
        }
        let _ = chores.changed.wait_timeout(list, pause);
        if watching && chores.goes_on() {
            look_again_ms = match read_output(&domain) {
                true => *LOOK_EVERY_MS.start(),
                false => (look_again_ms * 2).min(*LOOK_EVERY_MS.end()),
            };
        }
    }
}

/// Runs the program until it has detached itself. The application may have taken its end for that of a child of its own.
pub(crate) fn start_relay(program: &Path, domain: &Domain) {
    let directory = &domain.directory;
    let domain_id = domain.state.head().domain_id.load(Ordering::Relaxed);
    let started = Command::new(program)
        .args(["relay", "--on-demand"])
        .arg(directory)
        // Another user, or another container, would make a domain of its own there.
        .args(["--domain", &format!("{domain_id:x}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match started {
        Err(error) if error.raw_os_error() != Some(libc::ECHILD) => {
            crate::stderr::say(&format!(
                "failed to start `{} relay`: {error}; records wait in `{}` until a relay is started",
                program.display(),
                directory.display()
            ));
        }
        _ => {}
    }
}

/// Compresses what is left of the files' archives; gives the files that an interruption left undone.
fn compress_all(domain: &Domain, chores: &Chores, files: FileSet) -> FileSet {
    let mut left = FileSet::default();
    let locks = domain.local().locks(&domain.state);
    for file in files.iter() {
        if !liveness::lock_compression(locks, file, LockKind::Exclusive).unwrap_or(false) {
            // Another process is at it, and may have looked before there was what we saw.
            std::thread::sleep(Duration::from_millis(20));
            left.insert(file);
            continue;
        }
        domain.with_lease_quietly(|| tidy::remove_leftovers(domain.state.file_entry(file)));
        let mut done = true;
        for (path, with) in tidy::to_compress(domain.state.file_entry(file)) {
            done &= chores.goes_on() && compress_one(domain, chores, file, &path, with);
        }
        let _ = liveness::lock_compression(locks, file, LockKind::None);
        // Rotations went on meanwhile, and what they left to delete may have been left.
        let entry = domain.state.file_entry(file);
        let deleted = domain.with_lease_quietly(|| tidy::delete_expired(entry));
        if !done || deleted.is_none() {
            left.insert(file);
        }
        deleted.into_iter().for_each(|deleted| deleted.close(entry));
    }
    left
}

/// False: the lease was not to be had, or the work was interrupted; it is to be done again. What failed is said, and
/// tried again after the next rotation.
fn compress_one(domain: &Domain, chores: &Chores, file: u16, path: &Path, with: Compress) -> bool {
    let entry = domain.state.file_entry(file);
    let compressed =
        match compress::compress(path, with, tidy::is_durable(entry), &|| chores.goes_on()) {
            Ok(compressed) => compressed,
            Err(error) if chores.goes_on() && path.exists() => {
                crate::stderr::say(&error.to_string());
                return true;
            }
            Err(_) => return chores.goes_on(),
        };
    let inode = compressed.source_inode();
    // Under the lease no rotation renames the archive between our look and the commit.
    let committed = domain.with_lease(Duration::from_millis(500), |_| {
        let Some(now) = tidy::present_path(entry, inode) else {
            return;
        };
        match compressed.commit(&now) {
            Ok(Committed::InPlace(target)) => {
                let compressed_inode =
                    crate::fs::look(&target).map_or(0, |facts| facts.identity.ino);
                ledger::note_compressed(entry, inode, compressed_inode);
            }
            Ok(Committed::Discarded) => {}
            Err(error) => crate::stderr::say(&error.to_string()),
        }
    });
    committed.is_some()
}
