//! One line on standard error, for what a person must hear of: never blocking, never raising.
//!
//! It is written only when the stream takes it at once (poll(2)), since a full pipe must not hang the application.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys;

/// Writes "logboom: `text`" and a line end, if standard error takes it now.
pub fn say(text: &str) {
    let line = format!("logboom: {text}\n");
    let Some(fd) = sys::borrow(2) else { return };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut fds, Some(&at_once)) == Ok(1) && fds[0].revents().contains(PollFlags::OUT) {
        let cut = &line.as_bytes()[..line.len().min(4096)];
        let _ = rustix::io::write(fd, cut);
    }
}
