//! Signals while output is piped into a log: passed on to the command, or a wish that reading ends.
//!
//! A thread of its own hears them, so that a command is told to stop also while the log's disk hangs. What always holds: a process
//! that was waited for gets no signal (its number may be another's by then); a signal that was ignored when this process was
//! started (`nohup`, a background job) stays ignored; what the terminal sends to all processes in front of it is not passed
//! on, since the command has it already.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;

/// What a command is told of.
const PASSED_ON: [i32; 7] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH];
/// What asks for an end.
const ENDS: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];
/// What a terminal sends to its whole foreground group (termios(3), tty_ioctl(4)).
const OF_TERMINAL: [i32; 3] = [SIGINT, SIGQUIT, SIGWINCH];

/// Somebody wants an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Since when.
    pub(crate) since: Instant,
    /// From the terminal: all writers of the pipe have heard it, too.
    pub(crate) of_terminal: bool,
    /// It was said more than once.
    pub(crate) again: bool,
}

/// The signals of this process, from now on.
pub(crate) struct Signals(Arc<Shared>);

struct Shared {
    /// Readable when there was a signal.
    wake: OwnedFd,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    command: Option<Pid>,
    stop: Option<(Stop, i32)>,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The signals cannot be caught, or there is no thread to be had.
    pub(crate) fn listen() -> std::io::Result<Signals> {
        let shared = Arc::new(Shared {
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            heard: Mutex::default(),
        });
        let ignored = ignored_now();
        let wanted = PASSED_ON
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0)
            // A file at its size limit is an error of the write then, not the end of this process.
            .chain([SIGCHLD, SIGXFSZ]);
        let mut signals = SignalsInfo::<WithRawSiginfo>::new(wanted)?;
        let listener = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("signals".into())
            .stack_size(256 << 10)
            .spawn(move || {
                for info in signals.forever() {
                    listener.hear(info.si_signo, info.si_code == libc::SI_KERNEL);
                }
            })?;
        Ok(Signals(shared))
    }

    /// Readable when something was heard, until [`Signals::clear`].
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    /// All that was heard is looked at from here on.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0.wake, &mut count);
    }

    /// Whether somebody wants an end.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.0.heard().stop.map(|(stop, _)| stop)
    }

    /// From now on signals are passed on to this process, also one that came before.
    pub(crate) fn pass_on_to(&self, command: Pid) {
        let mut heard = self.0.heard();
        heard.command = Some(command);
        if let Some((_, signal)) = heard.stop {
            pass_on(signal, command);
        }
    }

    /// Asks with `wait` whether the command has ended. If it says so, no signal is passed on any more.
    pub(crate) fn wait_for_command<T>(&self, wait: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut heard = self.0.heard();
        let ended = wait();
        if ended.is_some() {
            heard.command = None;
        }
        ended
    }
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn hear(&self, signal: i32, of_kernel: bool) {
        let of_terminal = of_kernel && OF_TERMINAL.contains(&signal);
        let mut heard = self.heard();
        if let Some(command) = heard.command
            && PASSED_ON.contains(&signal)
            && !of_terminal
        {
            pass_on(signal, command);
        }
        // To many a command HUP says to read its configuration again.
        if ENDS.contains(&signal) && (signal != SIGHUP || heard.command.is_none()) {
            let before = heard.stop.is_some();
            let stop = Stop {
                since: Instant::now(),
                of_terminal,
                again: before,
            };
            heard.stop = Some((stop, signal));
        }
        drop(heard);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

fn pass_on(signal: i32, command: Pid) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = kill_process(command, signal);
    }
}

/// The signals that this process ignores, a bit each (proc(5), `SigIgn`); none if that cannot be found out.
fn ignored_now() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap_or_default();
    u64::from_str_radix(line.trim(), 16).unwrap_or(0)
}
