//! Killed at any instruction: one drain of three records and one rotation, single-stepped with ptrace(2), killed, recovered
//! (the recovery is killed as well), and compared byte for byte.
//!
//! How it works: the tracer maps the state file and looks at it after each instruction of the child. Two kills between which
//! neither the shared state nor a system call happened leave the same world, so it is enough to kill once at each
//! change of the state and at each system call: that is every instruction. The default run takes every k-th of these
//! moments, `LOGBOOM_FULL=1` all of them.

#![cfg(target_arch = "x86_64")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logboom::{Log, LogOptions, Severity};
use support::{Counters, Place, fork, open, read_strictly, record};

const SEEN_BYTES: usize = 16 * 1024 + 2 * 2048;
const FILES_AT: usize = 16 * 1024 + 256 * 2048;
const STEPS_MAX: u64 = 5_000_000;

/// The shared state as the tracer sees it: pages 0 to 3, the first slots, the first file.
struct Watched {
    memory: *const u8,
    len: usize,
    last: Vec<u8>,
}

impl Watched {
    fn of(state: &Path) -> Watched {
        let file = std::fs::File::open(state).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        // SAFETY: a read-only shared mapping, never unmapped while the value lives.
        let memory = unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        Watched {
            memory: memory.cast(),
            len,
            last: Vec::new(),
        }
    }

    fn has_changed(&mut self) -> bool {
        // SAFETY: both ranges are inside the mapping; the traced child is stopped while we look.
        let (low, file) = unsafe {
            assert!(FILES_AT + 16 * 1024 <= self.len);
            (
                std::slice::from_raw_parts(self.memory, SEEN_BYTES),
                std::slice::from_raw_parts(self.memory.add(FILES_AT), 4096),
            )
        };
        if self.last.len() == SEEN_BYTES + 4096
            && self.last[..SEEN_BYTES] == *low
            && self.last[SEEN_BYTES..] == *file
        {
            return false;
        }
        self.last.clear();
        self.last.extend_from_slice(low);
        self.last.extend_from_slice(file);
        true
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.memory.cast_mut().cast(), self.len) };
    }
}

fn ptrace(request: libc::c_uint, pid: libc::pid_t) {
    // SAFETY: a traced child of this thread that is stopped.
    let answer = unsafe {
        libc::ptrace(
            request,
            pid,
            std::ptr::null_mut::<u8>(),
            std::ptr::null_mut::<u8>(),
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

/// Is the next instruction of the stopped child `syscall`? Its code is where ours is: it is a fork.
fn is_at_syscall(pid: libc::pid_t) -> bool {
    const RIP: usize = std::mem::offset_of!(libc::user_regs_struct, rip);
    // SAFETY: asks for one register of a stopped traced child, and reads code that is mapped here as it is there.
    unsafe {
        let at = libc::ptrace(
            libc::PTRACE_PEEKUSER,
            pid,
            RIP as *mut u8,
            std::ptr::null_mut::<u8>(),
        );
        std::ptr::read_unaligned(at as *const u16) == 0x050f
    }
}

fn wait_stopped(pid: libc::pid_t) -> Option<i32> {
    let mut status = 0;
    // SAFETY: a child of ours.
    let waited = unsafe { libc::waitpid(pid, &mut status, libc::__WALL) };
    assert_eq!(waited, pid);
    libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
}

fn kill_and_wait(pid: libc::pid_t) {
    support::kill(pid, libc::SIGKILL);
    while wait_stopped(pid).is_some() {}
}

/// Runs `work` in a child, from its SIGSTOP on instruction by instruction; kills it at the `moment`-th moment (a change of
/// the state, or a system call). Gives the number of moments passed, and whether the child came to its end.
fn step_until(moment: u64, state: &Path, work: impl FnOnce()) -> (u64, bool) {
    let pid = fork(|| {
        // SAFETY: asks to be traced by the parent thread.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        work();
        0
    });
    assert_eq!(
        wait_stopped(pid),
        Some(libc::SIGSTOP),
        "the child stops itself where stepping begins"
    );
    let mut watched = Watched::of(state);
    watched.has_changed();
    let mut moments = 0;
    for step in 0..STEPS_MAX {
        let at_syscall = is_at_syscall(pid);
        ptrace(libc::PTRACE_SINGLESTEP, pid);
        match wait_stopped(pid) {
            None => return (moments, true),
            Some(libc::SIGTRAP) => {}
            Some(libc::SIGSTOP) => {
                println!("{moments} moments in {step} instructions");
                kill_and_wait(pid);
                return (moments, true);
            }
            Some(_) => {}
        }
        if watched.has_changed() || at_syscall {
            moments += 1;
            if moments == moment {
                kill_and_wait(pid);
                return (moments, false);
            }
        }
    }
    panic!("the child did not come to its end in {STEPS_MAX} instructions");
}

fn stop_here() {
    // SAFETY: stops this process for its tracer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn drain_and_rotate(log: &Log, acked: &AtomicU64) {
    log.publish(Severity::INFO, record(1, 1, 100).as_bytes());
    acked.store(1, Ordering::SeqCst);
    for number in 2..=3 {
        let _left_to_the_next = log.enqueue(Severity::INFO, record(1, number, 100).as_bytes());
        acked.store(number, Ordering::SeqCst);
    }
    stop_here();
    log.publish(Severity::INFO, record(1, 4, 100).as_bytes());
    acked.store(4, Ordering::SeqCst);
    log.rotate(Duration::from_secs(1)).unwrap();
    stop_here();
}

fn trial(moment: u64, recovery_moment: u64) -> bool {
    let place = Place::new();
    let options = LogOptions {
        backup_count: 3,
        ..place.options()
    };
    let acked = Counters::new(1);
    // Something to be shifted.
    let before = open(&place.log(), &options);
    before.publish(Severity::INFO, record(0, 1, 100).as_bytes());
    before.rotate(Duration::from_secs(1)).unwrap();
    let state = logboom::status::find_state(&place.logs).unwrap();
    let (_, ended) = step_until(moment, &state, || drain_and_rotate(&before, acked.at(0)));
    step_until(recovery_moment, &state, || {
        stop_here();
        logboom::status::Visitor::join(&place.log())
            .unwrap()
            .recover(Duration::from_secs(1));
        stop_here();
    });
    let visitor = logboom::status::Visitor::join(&place.log()).unwrap();
    assert_eq!(
        visitor
            .recover(Duration::from_secs(1))
            .unwrap()
            .queued_bytes_after,
        0
    );
    let content = place.content();
    let acked: HashMap<u64, u64> = [(0, 1), (1, acked.at(0).load(Ordering::SeqCst))].into();
    let reading = read_strictly(&content);
    println!(
        "moment {moment}, recovery {recovery_moment}: {} records",
        reading.found.len()
    );
    reading.assert_complete(&acked, &[]);
    drop(before);
    ended
}

#[test]
fn killed_at_any_instruction_of_a_drain_and_a_rotation_nothing_is_lost_doubled_or_torn() {
    let full = std::env::var_os("LOGBOOM_FULL").is_some();
    let total = {
        let place = Place::new();
        let options = LogOptions {
            backup_count: 3,
            ..place.options()
        };
        let log = open(&place.log(), &options);
        let acked = Counters::new(1);
        let state = logboom::status::find_state(&place.logs).unwrap();
        step_until(u64::MAX, &state, || drain_and_rotate(&log, acked.at(0))).0
    };
    let stride = if full { 1 } else { (total / 20).max(1) };
    println!("{total} moments, every {stride}th is killed");
    assert!(total > 50, "the tracer sees nothing: {total}");
    let mut recovery_moment = 1;
    for moment in (1..=total).step_by(stride as usize) {
        trial(moment, recovery_moment);
        recovery_moment = recovery_moment % 150 + 7;
    }
}
