//! Who sent a signal, and when it came: noted in front of the handler that the program has.
//!
//! A handler of an interpreter learns the number of a signal and, perhaps much later, runs. [`note`] puts a handler of ours
//! in front of it (sigaction(2) with SA_SIGINFO), which stores the sender's process and the time, and calls it with the
//! same arguments. What always holds: the program's handler is called once for each signal, with the flags (SA_RESTART,
//! SA_ONSTACK, mask) that it was set with; ours does two stores and a clock read, all of them safe in a signal handler.
//! Whoever sets a handler anew takes ours away; `note` brings it back.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

use crate::clock;

/// One more than the largest signal number of Linux.
const SIGNALS: usize = 65;

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The process that sent it; 0: no process did, or one of another pid namespace.
    pub sender: u32,
    /// When it came, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
}

struct Note {
    /// The handler behind ours; 0: none.
    behind: AtomicUsize,
    takes_info: AtomicBool,
    sender: AtomicU32,
    /// 0: nothing came since the last look.
    at_ns: AtomicU64,
}

static NOTES: [Note; SIGNALS] = [const {
    Note {
        behind: AtomicUsize::new(0),
        takes_info: AtomicBool::new(false),
        sender: AtomicU32::new(0),
        at_ns: AtomicU64::new(0),
    }
}; SIGNALS];

fn note_of(signal: i32) -> io::Result<&'static Note> {
    usize::try_from(signal)
        .ok()
        .and_then(|index| NOTES.get(index))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

/// From now on [`arrival`] tells of this signal. True; or false: the signal has no handler, so there is nobody to tell.
/// May be called again and again, and has to be when somebody has set the signal's handler anew.
///
/// # Errors
/// There is no such signal, or it cannot be caught.
pub fn note(signal: i32) -> io::Result<bool> {
    let note = note_of(signal)?;
    let there = handler(signal)?;
    if there.sa_sigaction == ours() {
        return Ok(true);
    }
    if there.sa_sigaction == libc::SIG_DFL || there.sa_sigaction == libc::SIG_IGN {
        return Ok(false);
    }
    let takes_info = there.sa_flags & libc::SA_SIGINFO != 0;
    note.takes_info.store(takes_info, Ordering::Relaxed);
    // ORDERING: what is called is known before ours can be; pairs with `came`.
    note.behind.store(there.sa_sigaction, Ordering::Release);
    let in_front = libc::sigaction {
        sa_sigaction: ours(),
        sa_flags: there.sa_flags | libc::SA_SIGINFO,
        ..there
    };
    set_handler(signal, &in_front)?;
    Ok(true)
}

/// The last of these signals that came since the last call; None: none did, or it was not noted.
pub fn arrival(signal: i32) -> Option<Arrival> {
    let note = note_of(signal).ok()?;
    // ORDERING: the sender was stored before the time; pairs with `came`.
    let at_ns = note.at_ns.swap(0, Ordering::Acquire);
    (at_ns != 0).then(|| Arrival {
        sender: note.sender.load(Ordering::Relaxed),
        at_ns,
    })
}

fn ours() -> libc::sighandler_t {
    came as *const () as libc::sighandler_t
}

extern "C" fn came(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Ok(note) = note_of(signal) else { return };
    note.sender.store(sender(info), Ordering::Relaxed);
    // ORDERING: pairs with `arrival`.
    note.at_ns.store(clock::monotonic_ns(), Ordering::Release);
    let behind = note.behind.load(Ordering::Acquire);
    if behind == 0 {
        return;
    }
    // SAFETY: the number was the signal's handler, of the kind that its flags said, until we put ours in front; handlers
    // are functions that live for ever.
    unsafe {
        if note.takes_info.load(Ordering::Relaxed) {
            let behind: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = mem::transmute(behind);
            behind(signal, info, context);
        } else {
            let behind: extern "C" fn(c_int) = mem::transmute(behind);
            behind(signal);
        }
    }
}

fn sender(info: *const siginfo_t) -> u32 {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a whole structure; of signals that a process sent (these three
    // codes) it holds that process.
    let sender = unsafe {
        match (*info).si_code {
            libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL => (*info).si_pid(),
            _ => 0,
        }
    };
    u32::try_from(sender).unwrap_or(0)
}

fn handler(signal: i32) -> io::Result<libc::sigaction> {
    // SAFETY: a plain C structure for which all zeroes is a valid value, written by the call.
    unsafe {
        let mut there: libc::sigaction = mem::zeroed();
        match libc::sigaction(signal, std::ptr::null(), &mut there) {
            0 => Ok(there),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn set_handler(signal: i32, handler: &libc::sigaction) -> io::Result<()> {
    // SAFETY: the structure holds a handler of ours that is safe at any moment, with flags and mask that the kernel gave.
    match unsafe { libc::sigaction(signal, handler, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI32;

    static CALLED: AtomicI32 = AtomicI32::new(0);

    extern "C" fn plain(signal: c_int) {
        CALLED.fetch_add(signal, Ordering::Relaxed);
    }

    fn set(signal: i32, function: libc::sighandler_t, flags: c_int) {
        let mut wanted = handler(signal).unwrap();
        wanted.sa_sigaction = function;
        wanted.sa_flags = flags;
        set_handler(signal, &wanted).unwrap();
    }

    fn raise(signal: i32) {
        // SAFETY: a signal to this thread, which has a handler for it.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
    }

    /// The program's handler is called once for each signal, with its flags, and the sender is known until it is asked for.
    #[test]
    fn a_signal_is_told_with_its_sender() {
        let signal = libc::SIGUSR2;
        assert!(!note(signal).unwrap(), "nobody takes it");
        set(
            signal,
            plain as *const () as libc::sighandler_t,
            libc::SA_RESTART,
        );
        assert!(note(signal).unwrap() && note(signal).unwrap());
        assert_eq!(arrival(signal), None);
        let before_ns = clock::monotonic_ns();
        raise(signal);
        assert_eq!(CALLED.load(Ordering::Relaxed), signal);
        let came = arrival(signal).unwrap();
        assert_eq!(came.sender, std::process::id());
        assert!(came.at_ns >= before_ns && came.at_ns <= clock::monotonic_ns());
        assert_eq!(arrival(signal), None, "each is told once");
        assert_ne!(handler(signal).unwrap().sa_flags & libc::SA_RESTART, 0);

        set(signal, plain as *const () as libc::sighandler_t, 0);
        raise(signal);
        assert_eq!(
            arrival(signal),
            None,
            "set anew: ours is not in front any more"
        );
        assert!(note(signal).unwrap());
        raise(signal);
        assert!(arrival(signal).is_some());
        assert_eq!(CALLED.load(Ordering::Relaxed), 3 * signal);
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for signal in [-1, 0, 65, libc::SIGKILL] {
            assert!(note(signal).is_err() || !note(signal).unwrap(), "{signal}");
            assert_eq!(arrival(signal), None);
        }
    }
}
