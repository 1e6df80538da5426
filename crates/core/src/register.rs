//! The domain's table of files: finding a log's entry, making it, and changing what it was asked to be.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::clock;
use crate::domain::Domain;
use crate::error::{Error, ErrorKind};
use crate::files::config;
use crate::files::rotate;
use crate::files::schedule::{Schedule, Zone};
use crate::layout::{FILE_FREE, FILE_READY, FILES, FILES_AT, FileEntry};
use crate::liveness;
use crate::options::LogOptions;
use crate::sys::LockKind;

const PATIENCE: Duration = Duration::from_secs(2);

/// The number of the log at `path` (absolute), registered if it is new, with `options` in force if it is new or `configures` says so.
pub(crate) fn file(
    domain: &Domain,
    path: &Path,
    options: &LogOptions,
    configures: bool,
) -> Result<u16, Error> {
    let locked = Registration::begin(domain, path)?;
    let known = find(domain, path);
    let file = match known {
        Some(file) => file,
        None => locked.add(path)?,
    };
    if configures || known.is_none() {
        let alone = domain.is_sole_member();
        locked.configure(file, options, known.is_none() || alone);
    }
    Ok(file)
}

/// Puts other options in force for a registered file.
pub(crate) fn reconfigure(domain: &Domain, file: u16, options: &LogOptions) -> Result<(), Error> {
    let path = domain.state.file_entry(file).path.to_path();
    Registration::begin(domain, &path)?.configure(file, options, false);
    Ok(())
}

/// The number of a registered log.
pub(crate) fn find(domain: &Domain, path: &Path) -> Option<u16> {
    (0..domain.state.files_used()).find(|file| {
        let entry = domain.state.file_entry(*file);
        entry.state.load(Ordering::Acquire) == FILE_READY && entry.path.to_path() == path
    })
}

/// The right to change the table; the kernel takes it back when its owner dies.
struct Registration<'a> {
    domain: &'a Domain,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let _ = liveness::lock_registration(
            self.domain.local().locks(&self.domain.state),
            LockKind::None,
        );
    }
}

impl<'a> Registration<'a> {
    fn begin(domain: &'a Domain, path: &Path) -> Result<Registration<'a>, Error> {
        let until = Instant::now() + PATIENCE;
        let locks = domain.local().locks(&domain.state);
        while !liveness::lock_registration(locks, LockKind::Exclusive).unwrap_or(true) {
            if Instant::now() > until {
                let text = format!(
                    "failed to register `{}`: another process of the domain does not finish registering a file; \
                     `logboom doctor` shows which",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Busy, text));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Registration { domain })
    }

    fn add(&self, path: &Path) -> Result<u16, Error> {
        let state = &self.domain.state;
        let used = state.files_used();
        let free = (0..used)
            .find(|file| state.file_entry(*file).state.load(Ordering::Acquire) == FILE_FREE);
        let file = free.unwrap_or(used);
        if usize::from(file) >= FILES {
            let text = format!(
                "failed to open `{}`: {FILES} log files are registered in this directory already; \
                 use another directory for some of them",
                path.display()
            );
            return Err(Error::new(ErrorKind::Full, text));
        }
        let at = FILES_AT + usize::from(file) * size_of::<FileEntry>();
        let allocated = state.allocate(at, size_of::<FileEntry>());
        allocated.map_err(|error| Error::io("make room in the state", &state.path, &error))?;
        let entry = state.file_entry(file);
        entry
            .path
            .set(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        // ORDERING: the entry is complete before it is found, and found before it counts.
        entry.state.store(FILE_READY, Ordering::Release);
        state
            .control()
            .files_used
            .fetch_max(u32::from(file) + 1, Ordering::AcqRel);
        Ok(file)
    }

    /// `anew`: nobody has been using the file, so its next boundary comes from its age, as in the standard library.
    fn configure(&self, file: u16, options: &LogOptions, anew: bool) {
        let entry = self.domain.state.file_entry(file);
        let before = config::schedule(&entry.config);
        config::store(&entry.config, options);
        let changed = before.as_ref().map(Schedule::to_words)
            != options.schedule.as_ref().map(Schedule::to_words);
        if changed || anew {
            let now_s = (clock::wall_ns() / 1_000_000_000) as i64;
            let modified = std::fs::metadata(entry.path.to_path())
                .ok()
                .filter(std::fs::Metadata::is_file);
            let reference_s = modified.map_or(now_s, |m| std::os::unix::fs::MetadataExt::mtime(&m));
            rotate::schedule_first(entry, &Zone::system(), reference_s);
        }
        if anew {
            // What kept the file from being written concerned those who are gone.
            entry.live.errno.store(0, Ordering::Relaxed);
            entry.live.missing_since.store(0, Ordering::Relaxed);
            entry.live.due_since.store(0, Ordering::Relaxed);
        }
    }
}
