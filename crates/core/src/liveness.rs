//! Whether a worker lives: the kernel's word.
//!
//! A worker holds an open-file-description lock on its slot's byte of the state file for its life; the kernel drops it
//! however the worker dies. Two things blur that picture and are looked at too: a raw `clone` can leave a copy of
//! the description in another process (then the worker's pid is gone although the byte is locked), and a daemonizer can
//! close the description under a living worker (then its pid still maps the state although the byte is free).

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::fs::Identity;
use crate::layout::Slot;
use crate::sys::{self, LockKind};

/// Where the lock bytes lie: beyond any length the state file can have.
const LOCKS_AT: u64 = 1 << 40;
const REGISTRATION_AT: u64 = LOCKS_AT + (1 << 20);
const COMPRESSION_AT: u64 = LOCKS_AT + (2 << 20);
const RULES_AT: u64 = LOCKS_AT + (3 << 20);
const RELAY_AT: u64 = LOCKS_AT + (4 << 20);

/// Who a process is, beyond its pid, which is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: u32,
    /// Clock ticks since boot, field 22 of proc(5)'s stat.
    pub start_time: u64,
    /// Inode of the pid namespace, 0 when unknown.
    pub namespace: u64,
}

impl Process {
    pub fn this() -> Process {
        let pid = std::process::id();
        Process {
            pid,
            start_time: start_time(pid).unwrap_or(0),
            namespace: own_namespace(),
        }
    }

    pub fn of(slot: &Slot) -> Process {
        Process {
            pid: slot.pid.load(Ordering::Relaxed),
            start_time: slot.start_time.load(Ordering::Relaxed),
            namespace: slot.pid_namespace.load(Ordering::Relaxed),
        }
    }

    fn is_visible_here(self) -> bool {
        self.namespace != 0 && self.namespace == own_namespace()
    }

    /// True while a process with this pid and start time exists (a zombie counts). Of one that /proc hides (`hidepid`, systemd's
    /// `ProtectProc`), only the pid counts: who is taken for dead by mistake would be robbed of the lease.
    fn exists(self) -> bool {
        match start_time(self.pid) {
            Some(start_time) => start_time == self.start_time,
            None => has_process(self.pid),
        }
    }

    /// The state letter of proc(5): `T` stopped, `R` running, `D` waiting for a disk ...
    pub fn state(self) -> Option<char> {
        if !self.is_visible_here() || !self.exists() {
            return None;
        }
        stat_fields(self.pid)?.chars().next()
    }

    fn maps(self, state: Identity) -> bool {
        let Ok(maps) = fs::read_to_string(format!("/proc/{}/maps", self.pid)) else {
            return false;
        };
        let ino = state.ino.to_string();
        maps.lines()
            .any(|line| line.split_ascii_whitespace().nth(4) == Some(&ino))
    }
}

fn own_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

/// The fields of /proc/PID/stat after the command name, which may contain anything.
fn stat_fields(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    Some(text[text.rfind(')')? + 1..].trim_start().to_owned())
}

/// Whether there is a process with this pid, also where /proc does not show it.
fn has_process(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

fn start_time(pid: u32) -> Option<u64> {
    stat_fields(pid)?
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// Locks the byte of a slot for the life of the description. False: another process has it.
pub(crate) fn lock_slot(locks: impl AsRawFd, slot: u16) -> io::Result<bool> {
    sys::try_lock(locks, LockKind::Exclusive, LOCKS_AT + u64::from(slot), 1)
}

pub(crate) fn unlock_slot(locks: impl AsRawFd, slot: u16) {
    let _ = sys::try_lock(locks, LockKind::None, LOCKS_AT + u64::from(slot), 1);
}

/// Makes this process the domain's relay, or no longer.
pub(crate) fn lock_relay(locks: impl AsRawFd, kind: LockKind) -> io::Result<bool> {
    sys::try_lock(locks, kind, RELAY_AT, 1)
}

/// Whether another process is the domain's relay.
pub(crate) fn has_relay(locks: impl AsRawFd) -> io::Result<bool> {
    sys::is_locked_elsewhere(locks, RELAY_AT)
}

/// Keeps others from registering a file at the same time.
pub(crate) fn lock_registration(locks: impl AsRawFd, kind: LockKind) -> io::Result<bool> {
    sys::try_lock(locks, kind, REGISTRATION_AT, 1)
}

/// Keeps others from compressing the archives of the same file at the same time.
pub(crate) fn lock_compression(locks: impl AsRawFd, file: u16, kind: LockKind) -> io::Result<bool> {
    sys::try_lock(locks, kind, COMPRESSION_AT + u64::from(file), 1)
}

/// Locks the byte of the rule of this number for the life of the description, or gives it back. False: another process has it.
pub(crate) fn lock_rule(locks: impl AsRawFd, number: u64, hold: bool) -> bool {
    let kind = if hold {
        LockKind::Exclusive
    } else {
        LockKind::None
    };
    sys::try_lock(locks, kind, RULES_AT + number, 1).unwrap_or(false)
}

/// Whether another process holds a rule. `locks` is not that process's own description.
pub(crate) fn is_rule_held(locks: impl AsRawFd, number: u64) -> bool {
    sys::is_locked_elsewhere(locks, RULES_AT + number).unwrap_or(true)
}

/// Whether the worker in `slot` lives. `locks` is a description of the state file that is not the worker's own.
pub(crate) fn is_alive(
    locks: impl AsRawFd,
    slot_number: u16,
    slot: &Slot,
    state: Identity,
) -> bool {
    let process = Process::of(slot);
    match sys::is_locked_elsewhere(locks, LOCKS_AT + u64::from(slot_number)) {
        Ok(true) => !process.is_visible_here() || process.exists(),
        Ok(false) => process.is_visible_here() && process.exists() && process.maps(state),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_exists_and_is_running() {
        let this = Process::this();
        assert!(this.exists() && this.is_visible_here());
        assert!(this.state().is_some());
        assert!(
            !Process {
                start_time: this.start_time + 1,
                ..this
            }
            .exists(),
            "a reused pid is another process"
        );
    }
}
