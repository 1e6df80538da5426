//! Leaving whoever started the relay on demand: a worker of some server, which must neither wait for it nor lend it its files.
//!
//! Call it with one thread. The process that was started ends at once; what goes on has a session of its own, no terminal, and none of
//! the descriptors and blocked signals that the worker did not mean to hand on.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process;

use crate::exit::{Context, Failure};

/// Goes on in the background, with `root` as the working directory.
///
/// # Errors
/// The system refuses; nothing has changed then, or the process that was started has ended already.
pub fn detach(root: &Path) -> Result<(), Failure> {
    leave_parent().or_failed("detach", "relay")?;
    rustix::process::setsid().or_failed("detach", "relay")?;
    // No leader of a session: it can never get a terminal again.
    leave_parent().or_failed("detach", "relay")?;
    close_others();
    hear_signals();
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.or_failed("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).or_failed("redirect", "standard input")?;
    rustix::stdio::dup2_stdout(&null).or_failed("redirect", "standard output")?;
    rustix::stdio::dup2_stderr(&null).or_failed("redirect", "standard error")?;
    std::env::set_current_dir(root).or_failed("go to", root.display())
}

#[allow(unsafe_code, reason = "fork(2)")]
fn leave_parent() -> io::Result<()> {
    // SAFETY: there is one thread, so the child finds every lock free and may do what its parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        _ => process::exit(0),
    }
}

/// The thread of the worker that started this one blocks all signals, and who starts a program hands that on.
#[allow(unsafe_code, reason = "sigprocmask(2)")]
fn hear_signals() {
    // SAFETY: a signal set is plain data, initialized by sigemptyset.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Sockets and files that the starting process left open to its children are nothing of ours.
#[allow(unsafe_code, reason = "close_range(2)")]
fn close_others() {
    // SAFETY: nothing is open yet that this process knows of beyond standard input, output and error.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}
