//! Any bytes laid over a sound state file that a killed worker left: opening it, looking at it, recovering and
//! publishing neither panic nor hang nor touch a file outside of the two directories, and a record that was published
//! and flushed is in a file.
//!
//! An input begins with a byte. Odd: the rest is laid raw over one of the first eight pages, which the next three bits
//! choose. Even: the rest is patches of 11 bytes: where (low three bits: the region, see `fuzzing::regions`) and what
//! (the next two bits: these 8 bytes, or their first alone, or the real device or inode of the log), which word of the
//! region (2 bytes), and 8 bytes. The highest bit of the first byte: a tool recovers before a worker opens the log.
//!
//! The path in the file's entry is left alone: what it names is written, and the state's directory is private to the
//! user for that reason.

#![no_main]

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use logboom::fuzzing;
use logboom::status::{self, Visitor};
use logboom::{Log, LogOptions, Outcome, Severity, StateDir};

const PAGE: u64 = 4096;
const LEFT: [&[u8]; 3] = [b"left one\n", b"left two, longer\n", b"left three\n"];
/// The log as the killed worker left it: foreign bytes, a record, and a part of the next.
const CONTENT: &[u8] = b"foreign\nleft one\nleft t";
const PUBLISHED: &[u8] = b"published after the damage\n";
const HANG_S: u64 = 30;

fuzz_target!(
    init: prepare(),
    |bytes: &[u8]| {
        let Some((&choice, damage)) = bytes.split_first() else {
            return;
        };
        let place = Place::new();
        let state = fuzzing::leave_behind(&place.log, &place.options, &LEFT).expect("a sound state");
        lay_over(&state, choice, damage, &place);
        watched(|| {
            let mut visitor = None;
            if choice & 0x80 != 0 {
                visitor = look_and_recover(&place);
            }
            publish(&place);
            look_and_recover(&place);
            drop(visitor);
        });
        place.is_all_there_is();
    }
);

struct Place {
    root: tempfile::TempDir,
    log: PathBuf,
    options: LogOptions,
}

impl Place {
    fn new() -> Place {
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("logboom-fuzz-");
        let root = if memory.is_dir() {
            builder.tempdir_in(memory)
        } else {
            builder.tempdir()
        };
        let root = root.expect("a temporary directory");
        let (logs, state) = (root.path().join("logs"), root.path().join("state"));
        for path in [&logs, &state] {
            fs::create_dir(path).expect("a new directory");
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its mode");
        }
        let log = logs.join("app.log");
        fs::write(&log, CONTENT).expect("a new file");
        let options = LogOptions {
            state_dir: StateDir::Path(state),
            queue_bytes: 16 << 10,
            on_full_wait_ms: 5,
            ..LogOptions::default()
        };
        Place { root, log, options }
    }

    /// Every file that was made is where it belongs.
    fn is_all_there_is(&self) {
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).expect("a directory").flatten();
            entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        };
        let mut top = names(self.root.path());
        top.sort();
        assert_eq!(top, ["logs", "state"]);
        let foreign: Vec<String> = names(&self.root.path().join("logs"))
            .into_iter()
            .filter(|name| {
                !name.trim_start_matches('.').starts_with("app.log")
                    && !name.starts_with(".logboom-")
            })
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }

    fn holds(&self, wanted: &[u8]) -> bool {
        let logs = fs::read_dir(self.root.path().join("logs"))
            .expect("a directory")
            .flatten();
        logs.filter_map(|entry| fs::read(entry.path()).ok())
            .any(|content| content.windows(wanted.len()).any(|there| there == wanted))
    }
}

fn lay_over(state: &Path, choice: u8, damage: &[u8], place: &Place) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(state)
        .expect("the state");
    let put = |bytes: &[u8], at: u64| file.write_all_at(bytes, at).expect("room in memory");
    if choice & 1 == 1 {
        let len = damage.len().min(2 * PAGE as usize);
        return put(&damage[..len], u64::from(choice >> 1 & 7) * PAGE);
    }
    let regions = fuzzing::regions(&place.options);
    let log = fs::metadata(&place.log).expect("the log");
    for patch in damage.chunks_exact(11).take(64) {
        let region = &regions[usize::from(patch[0] & 7)];
        let word = usize::from(u16::from_le_bytes([patch[1], patch[2]])) % (region.len() / 8);
        let value = match patch[0] >> 3 & 3 {
            0 => u64::from_le_bytes(patch[3..].try_into().expect("8 bytes")),
            1 => u64::from(patch[3]),
            2 => log.dev(),
            _ => log.ino(),
        };
        put(&value.to_le_bytes(), (region.start + word * 8) as u64);
    }
}

fn look_and_recover(place: &Place) -> Option<Visitor> {
    let _ = status::status(&place.log);
    let visitor = Visitor::join(&place.log).ok()?;
    visitor.status();
    visitor.recover(Duration::from_millis(20));
    Some(visitor)
}

fn publish(place: &Place) {
    // A state that is no longer one is moved aside; a lease that seems held is a refusal.
    let Ok(log) = Log::open(&place.log, &place.options) else {
        return;
    };
    let outcome = log.publish(Severity::INFO, PUBLISHED);
    let flushed = log.flush(Duration::from_millis(20));
    if flushed && outcome == Outcome::Published {
        assert!(place.holds(PUBLISHED), "a published record is in no file");
    }
}

/// When the present input began, in milliseconds of `clock`; 0: none is running.
static BEGAN_MS: AtomicU64 = AtomicU64::new(0);
static STDERR: OnceLock<OwnedFd> = OnceLock::new();

fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// What core says of the damage goes nowhere while `work` runs, and a hang of it ends the process.
fn watched(work: impl FnOnce()) {
    BEGAN_MS.store(clock(), Ordering::Relaxed);
    hush();
    work();
    speak();
    BEGAN_MS.store(0, Ordering::Relaxed);
}

fn prepare() {
    // SAFETY: a new descriptor, which is ours.
    let kept = unsafe { OwnedFd::from_raw_fd(libc::dup(2)) };
    STDERR.get_or_init(|| kept);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        speak();
        hook(panic);
    }));
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let began_ms = BEGAN_MS.load(Ordering::Relaxed);
            let hangs = began_ms != 0 && clock() - began_ms > HANG_S * 1000;
            assert!(!hangs, "it hangs for {HANG_S} seconds");
        }
    });
}

fn hush() {
    static NOWHERE: OnceLock<fs::File> = OnceLock::new();
    let nowhere = NOWHERE.get_or_init(|| {
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .expect("/dev/null")
    });
    // SAFETY: both descriptors are open.
    unsafe { libc::dup2(nowhere.as_raw_fd(), 2) };
}

fn speak() {
    if let Some(kept) = STDERR.get() {
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(kept.as_raw_fd(), 2) };
    }
}
