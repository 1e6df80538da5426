//! A crew: processes that are forked together, get ready, start at the same moment, and leave their times in shared memory.
//!
//! What always holds: no process of a crew outlives [`run`]; one that fails, dies or hangs makes the run fail, so that no
//! figure comes from a crew that was not complete. The calling process must have one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A crew that takes longer than this hangs.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Words at the front: how many are ready, whether to go, how many are done.
const READY: usize = 0;
const GO: usize = 1;
const DONE: usize = 2;
const HEAD: usize = 3;

/// What a crew measured.
pub struct Measured {
    /// From the first start to the last end, of those processes that said so.
    pub elapsed: Duration,
    /// The samples of each process.
    pub samples: Vec<Vec<u64>>,
}

/// The place of one process in its crew.
pub struct Seat<'a> {
    words: &'a [AtomicU64],
    /// Number of the process, from 0.
    pub worker: usize,
    start_at: usize,
    samples_at: usize,
}

/// Forks `processes`, each of which runs `work`; each may leave `samples_each` samples.
pub fn run(
    processes: usize,
    samples_each: usize,
    work: impl Fn(&Seat<'_>) -> Result<()>,
) -> Result<Measured> {
    let per_process = 3 + samples_each;
    let shared = SharedWords::new(HEAD + processes * per_process)?;
    let words = shared.words();
    let seats: Vec<Seat<'_>> = (0..processes)
        .map(|worker| Seat {
            words,
            worker,
            start_at: HEAD + worker * per_process,
            samples_at: HEAD + worker * per_process + 3,
        })
        .collect();
    let mut running: Vec<libc::pid_t> = seats.iter().map(|seat| fork(seat, &work)).collect();
    let answer = attend(words, &mut running);
    for pid in running.into_iter().filter(|pid| *pid > 0) {
        // SAFETY: a child of ours that has not been waited for, so the number is still its.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        wait(pid, 0);
    }
    answer?;
    Ok(measured(&seats))
}

fn measured(seats: &[Seat<'_>]) -> Measured {
    let word = |at: usize| seats[0].words[at].load(Ordering::Acquire);
    let timed = || seats.iter().filter(|seat| word(seat.start_at + 1) != 0);
    let first = timed().map(|seat| word(seat.start_at)).min().unwrap_or(0);
    let last = timed()
        .map(|seat| word(seat.start_at + 1))
        .max()
        .unwrap_or(0);
    let samples_of = |seat: &Seat<'_>| {
        let count = word(seat.start_at + 2) as usize;
        (0..count).map(|at| word(seat.samples_at + at)).collect()
    };
    Measured {
        elapsed: Duration::from_nanos(last - first),
        samples: seats.iter().map(samples_of).collect(),
    }
}

fn fork(seat: &Seat<'_>, work: &impl Fn(&Seat<'_>) -> Result<()>) -> libc::pid_t {
    // SAFETY: this process has one thread, so the child may do anything; it ends with _exit.
    let pid = unsafe { libc::fork() };
    if pid != 0 {
        return pid;
    }
    let ended = catch_unwind(AssertUnwindSafe(|| work(seat)));
    if let Ok(Err(error)) = &ended {
        eprintln!("process {} of a crew failed: {error:#}", seat.worker);
    }
    // SAFETY: ends the child at once; what it had to do at its end it has done.
    unsafe { libc::_exit(i32::from(!matches!(ended, Ok(Ok(()))))) }
}

/// Starts the crew when all are ready, and waits for all of them; those that still run after an error stay in `running`.
fn attend(words: &[AtomicU64], running: &mut Vec<libc::pid_t>) -> Result<()> {
    ensure!(
        running.iter().all(|pid| *pid > 0),
        "failed to fork: is there a limit on processes?"
    );
    let until = Instant::now() + TIME_MAX;
    let processes = running.len() as u64;
    while !running.is_empty() {
        if words[READY].load(Ordering::Acquire) == processes {
            words[GO].store(1, Ordering::Release);
        }
        let mut failed = None;
        running.retain(|pid| {
            let status = wait(*pid, libc::WNOHANG);
            failed = failed.or(status.filter(|status| *status != 0));
            status.is_none()
        });
        if let Some(status) = failed {
            bail!("a process of the crew ended with wait status {status}");
        }
        ensure!(
            Instant::now() < until,
            "a crew was not done after {TIME_MAX:?}"
        );
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// The wait status of a child; None while it runs.
fn wait(pid: libc::pid_t, flags: libc::c_int) -> Option<libc::c_int> {
    let mut status = 0;
    // SAFETY: waits for a child of ours; `status` outlives the call.
    match unsafe { libc::waitpid(pid, &mut status, flags) } {
        0 => None,
        answer if answer == pid => Some(status),
        _ => Some(-1),
    }
}

impl Seat<'_> {
    /// Says that this process is ready, and waits until all are.
    pub fn wait_for_all(&self) {
        self.say_ready();
        while self.words[GO].load(Ordering::Acquire) == 0 {
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Says that this process is ready, without waiting.
    pub fn say_ready(&self) {
        self.words[READY].fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for all, then starts the clock.
    pub fn start(&self) {
        self.wait_for_all();
        self.words[self.start_at].store(monotonic_ns(), Ordering::Release);
    }

    /// Stops the clock.
    pub fn end(&self) {
        self.words[self.start_at + 1].store(monotonic_ns(), Ordering::Release);
        self.say_done();
    }

    /// Counts this process among those that are done.
    pub fn say_done(&self) {
        self.words[DONE].fetch_add(1, Ordering::AcqRel);
    }

    /// How many processes are done.
    pub fn done(&self) -> u64 {
        self.words[DONE].load(Ordering::Acquire)
    }

    /// Stores a sample; they must come in order.
    #[inline]
    pub fn sample(&self, index: usize, value: u64) {
        self.words[self.samples_at + index].store(value, Ordering::Relaxed);
        self.words[self.start_at + 2].store(index as u64 + 1, Ordering::Relaxed);
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, which all processes share.
#[inline]
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of a clock.
#[inline]
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the structure, which outlives the call.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Words that a fork shares, touched beforehand.
struct SharedWords {
    at: *mut libc::c_void,
    count: usize,
}

impl SharedWords {
    fn new(count: usize) -> Result<SharedWords> {
        // SAFETY: a fresh anonymous mapping; nothing else knows its address.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("failed to map shared memory");
        }
        Ok(SharedWords { at, count })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, holds `count` words, lives as long as `self`, and is only ever used as atomics.
        unsafe { std::slice::from_raw_parts(self.at.cast(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: made by `new`; the slices from it cannot outlive `self`.
        unsafe { libc::munmap(self.at, self.count * 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crew whose process fails gives no figures.
    #[test]
    fn a_failing_process_fails_the_run() {
        let answer = run(2, 0, |seat| {
            ensure!(seat.worker == 0, "as the test wants");
            seat.start();
            seat.end();
            Ok(())
        });
        assert!(answer.is_err());
    }

    /// What each process sampled comes back under its number.
    #[test]
    fn samples_come_back() {
        let measured = run(3, 2, |seat| {
            seat.start();
            seat.sample(0, seat.worker as u64);
            seat.sample(1, 7);
            seat.end();
            Ok(())
        })
        .unwrap();
        assert_eq!(measured.samples, [[0, 7], [1, 7], [2, 7]]);
    }
}
