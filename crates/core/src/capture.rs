//! What a worker prints: its standard output and error, caught in files beside the state.
//!
//! Whoever writes to the descriptors (C code, `faulthandler`, a child process) appends to a file and never waits for a
//! reader. The worker's own thread (`chores`) turns the lines into records and gives the pages behind them back; what a
//! dead worker left is turned into records by the survivors (`blackbox`). The file of worker and stream is called
//! `STATE.SLOT-EPOCH.out` or `.err` and goes with the worker.
//!
//! What always holds: a line is in the file until it is a record, and the worker's slot says up to where they are, in the same
//! moment (`mark`): wherever it is killed, each line becomes one record. Only a copy in a log of another domain may come twice
//! then. A line for which no queue has room stays; more than [`Capture::bytes_max`] waiting bytes are cut, and that is said.
//!
//! A fatal error of Python is left where it is, with all that follows, for the black box of a worker that has not long to
//! live; also when it then ends in order. Of one that lives on, it becomes records like everything else.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;

use crate::clock;
use crate::layout::{ASIDE_OUTPUT, Progress};
use crate::mark::Step;
use crate::options::Severity;
use crate::slots::Place;
use crate::state::State;
use crate::sys;

const READ_BYTES: usize = 64 << 10;
/// How CPython (Modules/faulthandler.c, Python/pylifecycle.c) begins to tell of a signal or an error that is the end.
pub(crate) const FATAL_ERROR: &str = "Fatal Python error: ";
/// For so long a worker that told of a fatal error is expected to die.
const DYING_NS: u64 = 30_000_000_000;

/// Where a fatal error is told in what was printed.
pub(crate) fn fatal_error(printed: &[u8]) -> Option<usize> {
    let error = FATAL_ERROR.as_bytes();
    printed
        .windows(error.len())
        .position(|window| window == error)
}

/// A captured stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output = 0,
    Error = 1,
}

impl Stream {
    pub const ALL: [Stream; 2] = [Stream::Output, Stream::Error];

    /// The component that its records have.
    pub fn component(self) -> &'static str {
        match self {
            Stream::Output => "stdout",
            Stream::Error => "stderr",
        }
    }

    /// What is printed to standard error mostly is a complaint; it is not said how bad.
    pub fn severity(self) -> (Severity, &'static str) {
        match self {
            Stream::Output => (Severity::INFO, "INFO"),
            Stream::Error => (Severity::WARN, "WARNING"),
        }
    }

    pub fn flag(self) -> u64 {
        ASIDE_OUTPUT << self as u64
    }

    fn of(fd: RawFd) -> Option<Stream> {
        match fd {
            1 => Some(Stream::Output),
            2 => Some(Stream::Error),
            _ => None,
        }
    }

    /// Where what a worker prints lies.
    pub fn path(self, state: &Path, place: &Place) -> PathBuf {
        let end = match self {
            Stream::Output => "out",
            Stream::Error => "err",
        };
        let mut path = state.as_os_str().to_owned();
        path.push(format!(".{}-{}.{end}", place.slot, place.epoch));
        path.into()
    }
}

/// Takes a line, with what is to be noted of it, if it can.
pub(crate) type Offer<'a> = &'a mut dyn FnMut(Stream, &str, &Step) -> bool;

/// The captured streams of this process.
pub(crate) struct Capture {
    place: Place,
    bytes_max: u64,
    caught: Vec<Caught>,
}

struct Caught {
    stream: Stream,
    file: File,
    /// What the descriptor led to before.
    before: OwnedFd,
    /// So many bytes are records already.
    taken: u64,
    given_back: u64,
    /// When a fatal error was first found where reading goes on (monotonic); 0: there is none.
    fatal_since_ns: u64,
}

impl Capture {
    /// Leads the descriptors (1 and 2 alone) into files. An error leaves all of them as they were.
    pub fn begin(
        state: &State,
        place: &Place,
        fds: &[RawFd],
        bytes_max: u64,
    ) -> io::Result<Capture> {
        let mut capture = Capture {
            place: *place,
            bytes_max,
            caught: Vec::new(),
        };
        let streams = fds.iter().filter_map(|fd| Stream::of(*fd));
        for stream in streams {
            match catch(state, place, stream) {
                Ok(caught) => capture.caught.push(caught),
                Err(error) => {
                    capture.end(state);
                    return Err(error);
                }
            }
        }
        Ok(capture)
    }

    /// Offers the whole lines printed since the last time, until one is not taken. True: there were some.
    pub fn tick(&mut self, state: &State, offer: Offer) -> bool {
        let mut moved = false;
        for caught in &mut self.caught {
            moved |= caught.take(state, &self.place, self.bytes_max, false, offer);
        }
        moved
    }

    /// The same with what has no line end yet, before the capture ends.
    pub fn finish(mut self, state: &State, offer: Offer) {
        for caught in &self.caught {
            let _ = sys::redirect(caught.before.as_fd(), caught.stream as RawFd + 1);
        }
        for caught in &mut self.caught {
            caught.take(state, &self.place, self.bytes_max, true, offer);
        }
        // What a dying worker tells of its death stays for the survivors.
        self.caught.retain(|caught| caught.fatal_since_ns == 0);
        self.end(state);
    }

    /// The descriptors lead where they led before, and the files are gone.
    fn end(self, state: &State) {
        for caught in &self.caught {
            let _ = sys::redirect(caught.before.as_fd(), caught.stream as RawFd + 1);
            forget(state, &self.place, caught.stream);
        }
    }
}

fn catch(state: &State, place: &Place, stream: Stream) -> io::Result<Caught> {
    let fd = stream as RawFd + 1;
    let path = stream.path(&state.path, place);
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&path)?;
    let before = sys::borrow(fd).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    let before = rustix::io::fcntl_dupfd_cloexec(before, 3);
    let slot = &state.slot(place.slot).aside;
    slot.output_read[stream as usize].set(0);
    slot.flags.fetch_or(stream.flag(), Ordering::AcqRel);
    let caught = before.map_err(io::Error::from).and_then(|before| {
        sys::redirect(file.as_fd(), fd)?;
        Ok(before)
    });
    match caught {
        Ok(before) => Ok(Caught {
            stream,
            file,
            before,
            taken: 0,
            given_back: 0,
            fatal_since_ns: 0,
        }),
        Err(error) => {
            forget(state, place, stream);
            Err(error)
        }
    }
}

/// A stream of a worker is no longer captured.
pub(crate) fn forget(state: &State, place: &Place, stream: Stream) {
    let _ = crate::fs::remove(&stream.path(&state.path, place));
    let flags = &state.slot(place.slot).aside.flags;
    flags.fetch_and(!stream.flag(), Ordering::AcqRel);
}

impl Caught {
    /// True: there was something to take.
    fn take(
        &mut self,
        state: &State,
        place: &Place,
        bytes_max: u64,
        all: bool,
        offer: Offer,
    ) -> bool {
        let progress = &state.slot(place.slot).aside.output_read[self.stream as usize];
        let start = self.taken;
        let Ok(end) = self.file.metadata().map(|file| file.len()) else {
            return false;
        };
        let waiting = end.saturating_sub(start);
        if waiting > bytes_max && !self.leave_out(waiting - bytes_max / 2, progress, offer) {
            return true;
        }
        let now_ns = clock::monotonic_ns();
        let waits = |since_ns: u64| {
            (since_ns == 0 || now_ns.saturating_sub(since_ns) < DYING_NS) && waiting <= bytes_max
        };
        while self.taken < end {
            let stop_at_fatal = waits(self.fatal_since_ns);
            let whole = Whole::read(&self.file, self.taken..end, all, stop_at_fatal);
            let took_all = self.take_lines(&whole, progress, offer);
            if whole.is_before_fatal && self.fatal_since_ns == 0 {
                self.fatal_since_ns = now_ns.max(1);
            }
            if whole.is_before_fatal || whole.bytes.is_empty() || !took_all {
                break;
            }
            self.fatal_since_ns = 0;
        }
        self.give_back();
        self.taken != start
    }

    /// Leaves out so many bytes, and says so.
    fn leave_out(&mut self, bytes: u64, progress: &Progress, offer: Offer) -> bool {
        let upto = self.taken + bytes;
        let text = format!("[logboom: {bytes} bytes of output were too many, and are left out]");
        let said = offer(self.stream, &text, &Step::new(progress, upto));
        if said {
            self.taken = upto;
            progress.set(upto);
        }
        said
    }

    /// False: a line is left, since it was not taken.
    fn take_lines(&mut self, whole: &Whole, progress: &Progress, offer: Offer) -> bool {
        let mut took_all = true;
        for (line, upto) in lines(&whole.bytes, self.taken) {
            took_all =
                line.trim().is_empty() || offer(self.stream, &line, &Step::new(progress, upto));
            if !took_all {
                break;
            }
            // CRASH(taken): the line is a record, which the queue's tail alone tells.
            crash_point!("taken");
            self.taken = upto;
        }
        progress.set(self.taken);
        took_all
    }

    /// The file system gets back the pages behind what was read.
    fn give_back(&mut self) {
        if self.taken - self.given_back >= READ_BYTES as u64 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&self.file, flags, 0, self.taken & !4095);
            self.given_back = self.taken;
        }
    }
}

/// Whole lines, one read's worth.
#[derive(Default)]
struct Whole {
    bytes: Vec<u8>,
    /// A fatal error follows at once.
    is_before_fatal: bool,
}

impl Whole {
    /// From the range's start on. `all`: the end of the file ends a line. A line that is longer than a read is given in parts.
    fn read(file: &File, range: Range<u64>, all: bool, stop_at_fatal: bool) -> Whole {
        let mut bytes = vec![0; READ_BYTES.min((range.end - range.start) as usize)];
        let Ok(count) = file.read_at(&mut bytes, range.start) else {
            return Whole::default();
        };
        let whole = match bytes[..count].iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if all || count == READ_BYTES => count,
            None => 0,
        };
        bytes.truncate(whole);
        let fatal = fatal_error(&bytes).filter(|_| stop_at_fatal);
        bytes.truncate(fatal.unwrap_or(whole));
        Whole {
            bytes,
            is_before_fatal: fatal.is_some(),
        }
    }
}

/// The lines of `bytes`, without their ends, each with where it ends in the file, if they begin at `start` in it.
pub(crate) fn lines(bytes: &[u8], start: u64) -> impl Iterator<Item = (Cow<'_, str>, u64)> {
    let mut upto = start;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(move |line| {
            upto += line.len() as u64;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            (String::from_utf8_lossy(text), upto)
        })
}

/// What a dead worker printed and nobody has made records of, the last `most` bytes of it; and where in the file that begins.
pub(crate) fn rest(state: &State, place: &Place, stream: Stream, most: u64) -> (Vec<u8>, u64) {
    let progress = &state.slot(place.slot).aside.output_read[stream as usize];
    let taken = progress.done(state, place.slot);
    let path = stream.path(&state.path, place);
    let read = || -> io::Result<(Vec<u8>, u64)> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(&path)?;
        let end = file.metadata()?.len();
        let start = taken.min(end).max(end.saturating_sub(most));
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start)?;
        Ok((bytes, start))
    };
    read().unwrap_or_default()
}
