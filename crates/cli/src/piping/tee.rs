//! A copy of what is read, to our own standard output or standard error (`--tee`), as tee(1) makes it.
//!
//! What always holds: a reader of the copy that is gone ends the copy, not the log; one that is slow holds reading up, as any pipe
//! does, unless nothing may hold it up: then what it does not take at once is left out.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A pipe that polls writable takes this much at once (pipe(7), PIPE_BUF).
const AT_ONCE: usize = 4096;
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Where one stream is copied to.
pub(crate) struct Tee {
    to: Box<dyn AsFd>,
    /// What is not taken at once is left out.
    never_waits: bool,
    is_over: bool,
}

impl Tee {
    /// A copy to `to`.
    pub(crate) fn new(to: impl AsFd + 'static, never_waits: bool) -> Tee {
        Tee {
            to: Box::new(to),
            never_waits,
            is_over: false,
        }
    }

    /// Writes `bytes`, waiting for the reader as long as it `goes_on`.
    pub(crate) fn write(&mut self, mut bytes: &[u8], goes_on: &mut dyn FnMut() -> bool) {
        while !bytes.is_empty() && !self.is_over {
            let to = self.to.as_fd();
            let wait = if self.never_waits { &NOW } else { &LOOK_EVERY };
            if !is_writable(to, wait) {
                if self.never_waits || !goes_on() {
                    return;
                }
                continue;
            }
            match rustix::io::write(to, &bytes[..bytes.len().min(AT_ONCE)]) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.is_over = true,
            }
        }
    }
}

/// Also true where an error waits to be told by a write.
fn is_writable(fd: BorrowedFd<'_>, wait: &Timespec) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut fds, Some(wait)).is_ok_and(|ready| ready > 0)
}
