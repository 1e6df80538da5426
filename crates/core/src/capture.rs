//! What a worker prints: its standard output and error, caught in files beside the state.
//!
//! Whoever writes to the descriptors (C code, `faulthandler`, a child process) appends to a file and never waits for a
//! reader. The worker's own thread (`chores`) turns the lines into records and gives the pages behind them back; what a
//! dead worker left is turned into records by the survivors (`blackbox`). The file of worker and stream is called
//! `STATE.SLOT-EPOCH.out` or `.err` and goes with the worker.
//!
//! What always holds: `output_taken` in the worker's slot says how many bytes are records already. It is stored after they
//! are published: a worker that is killed between the two gets one batch of printed lines twice, and none is lost.
//! More than [`Capture::bytes_max`] waiting bytes are cut, with a mark.
//!
//! A fatal error of Python is left where it is, with all that follows, for the black box of a worker that has not long to
//! live; also when it then ends in order. Of one that lives on, it becomes records like everything else.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;

use crate::clock;
use crate::layout::ASIDE_OUTPUT;
use crate::options::Severity;
use crate::slots::Place;
use crate::state::State;
use crate::sys;

const READ_BYTES: usize = 64 << 10;
/// How CPython (Modules/faulthandler.c, Python/pylifecycle.c) begins to tell of a signal or an error that is the end.
pub(crate) const FATAL_ERROR: &str = "Fatal Python error: ";
/// For so long a worker that told of a fatal error is expected to die.
const DYING_NS: u64 = 30_000_000_000;

/// Where a fatal error is told in `text`.
pub(crate) fn fatal_error(text: &str) -> Option<usize> {
    text.find(FATAL_ERROR)
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

    /// Gives the whole lines printed since the last time to `publish`. True: there were some.
    pub fn tick(&mut self, state: &State, publish: &mut dyn FnMut(Stream, &str)) -> bool {
        let mut moved = false;
        for caught in &mut self.caught {
            moved |= caught.take(state, &self.place, self.bytes_max, false, publish);
        }
        moved
    }

    /// The same with what has no line end yet, before the capture ends.
    pub fn finish(mut self, state: &State, publish: &mut dyn FnMut(Stream, &str)) {
        for caught in &self.caught {
            let _ = sys::redirect(caught.before.as_fd(), caught.stream as RawFd + 1);
        }
        for caught in &mut self.caught {
            caught.take(state, &self.place, self.bytes_max, true, publish);
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
    slot.output_taken[stream as usize].store(0, Ordering::Relaxed);
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
    fn take(
        &mut self,
        state: &State,
        place: &Place,
        bytes_max: u64,
        all: bool,
        publish: &mut dyn FnMut(Stream, &str),
    ) -> bool {
        let taken = &state.slot(place.slot).aside.output_taken[self.stream as usize];
        let start = taken.load(Ordering::Relaxed);
        let Ok(end) = self.file.metadata().map(|file| file.len()) else {
            return false;
        };
        let mut at = start;
        if end.saturating_sub(at) > bytes_max {
            let skip = end - at - bytes_max / 2;
            publish(
                self.stream,
                &format!("[logboom: {skip} bytes of output were too many, and are left out]"),
            );
            at += skip;
        }
        let now_ns = clock::monotonic_ns();
        let waits = |since_ns: u64| {
            (since_ns == 0 || now_ns.saturating_sub(since_ns) < DYING_NS)
                && end - start <= bytes_max
        };
        while at < end {
            let stop_at_fatal = waits(self.fatal_since_ns);
            let (step, fatal) = lines(&self.file, at..end, all, stop_at_fatal, &mut |line| {
                publish(self.stream, line)
            });
            at += step;
            if step > 0 {
                taken.store(at, Ordering::Release);
            }
            if fatal && self.fatal_since_ns == 0 {
                self.fatal_since_ns = now_ns.max(1);
            }
            if fatal || step == 0 {
                break;
            }
            self.fatal_since_ns = 0;
        }
        if at - self.given_back.min(at) >= READ_BYTES as u64 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&self.file, flags, 0, at & !4095);
            self.given_back = at;
        }
        at != start
    }
}

/// Gives whole lines from the range's start on, one read's worth: how many bytes that was, and whether it ended at a fatal
/// error, if it was to. `all`: the end of the file ends a line. A line that is longer than a read is given in parts.
fn lines(
    file: &File,
    range: Range<u64>,
    all: bool,
    stop_at_fatal: bool,
    give: &mut dyn FnMut(&str),
) -> (u64, bool) {
    let mut buffer = vec![0; READ_BYTES.min((range.end - range.start) as usize)];
    let Ok(count) = file.read_at(&mut buffer, range.start) else {
        return (0, false);
    };
    let read = &buffer[..count];
    let whole = match read.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if all || count == READ_BYTES => count,
        None => return (0, false),
    };
    let fatal = read[..whole]
        .windows(FATAL_ERROR.len())
        .position(|window| stop_at_fatal && window == FATAL_ERROR.as_bytes());
    let whole = fatal.unwrap_or(whole);
    let text = String::from_utf8_lossy(&read[..whole]);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        give(line);
    }
    (whole as u64, fatal.is_some())
}

/// What a dead worker printed and nobody has made records of, the last `most` bytes of it; and up to where that is.
pub(crate) fn rest(state: &State, place: &Place, stream: Stream, most: u64) -> (String, u64) {
    let aside = &state.slot(place.slot).aside;
    let taken = aside.output_taken[stream as usize].load(Ordering::Acquire);
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
        Ok((bytes, end))
    };
    let (bytes, end) = read().unwrap_or_default();
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}
