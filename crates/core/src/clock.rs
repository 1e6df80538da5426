//! The only place that asks the time.
//!
//! Wall time stamps records and decides timed rotation; monotonic time bounds every wait.

use rustix::time::{ClockId, clock_gettime};

/// Wall time in nanoseconds since the epoch.
#[inline]
pub(crate) fn wall_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// The kernel's clock for the times of files, in nanoseconds since the epoch: wall time as of its last tick. What is changed
/// from now on gets no earlier time (where the kernel itself gives it; clock_gettime(2), `CLOCK_REALTIME_COARSE`).
#[inline]
pub(crate) fn file_ns() -> u64 {
    nanoseconds(ClockId::RealtimeCoarse)
}

/// Monotonic time in nanoseconds since an arbitrary point, the same for all processes of a host.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

#[inline]
fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64)
}
