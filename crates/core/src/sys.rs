//! The seam to the operating system where neither std nor rustix has a safe call.
//!
//! Open-file-description locks, the page that a fork wipes, the at-fork hooks, a futex on shared memory. Each function
//! is total: it answers with a value or an error number and keeps no state of its own, except for the fork page and for
//! what `senders` notes of signals.

pub mod senders;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Waits until nobody is in the middle of making, moving or removing a name in a directory, which is open for reading: whoever
/// reads it has to, even if nothing fits (getdents64(2)). False: that cannot be asked of this descriptor.
pub(crate) fn await_changes(folder: BorrowedFd<'_>) -> bool {
    let mut nothing = [0_u8; 8];
    // SAFETY: the kernel writes at most 0 bytes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            folder.as_raw_fd(),
            nothing.as_mut_ptr(),
            0,
        )
    };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// What to do with a lock on a byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockKind {
    Shared,
    Exclusive,
    None,
}

fn flock_of(kind: LockKind, start: u64, len: u64) -> libc::flock {
    let kind = match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
        LockKind::None => libc::F_UNLCK,
    };
    // SAFETY: `flock` is a plain C structure for which all zeroes is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start as libc::off_t;
    lock.l_len = len as libc::off_t;
    lock
}

/// Sets an open-file-description lock (fcntl(2), F_OFD_SETLK) without waiting. `Ok(false)`: somebody else has it.
pub(crate) fn try_lock(
    file: impl AsRawFd,
    kind: LockKind,
    start: u64,
    len: u64,
) -> io::Result<bool> {
    let lock = flock_of(kind, start, len);
    // SAFETY: the structure outlives the call and the descriptor is only a number to it.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            error => Err(error),
        },
    }
}

/// True when another open file description has an exclusive lock on the byte at `start` (F_OFD_GETLK).
pub(crate) fn is_locked_elsewhere(file: impl AsRawFd, start: u64) -> io::Result<bool> {
    let mut lock = flock_of(LockKind::Shared, start, 1);
    // SAFETY: as in `try_lock`; the kernel writes the structure.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A descriptor number that may have been closed and reused under us, seen as borrowed for one call.
pub(crate) fn borrow(fd: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: not -1; callers pass it to calls that only ask about it or write after `fstat` said it is ours.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Closes a descriptor number that has just been found to be ours.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: the caller compared device and inode; nothing else in this process owns the number.
    unsafe { libc::close(fd) };
}

/// Sends without waiting and without SIGPIPE (send(2)).
pub(crate) fn send_at_once(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: reads `bytes.len()` bytes of a living slice.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Bytes written to a connected socket that have not arrived: of TCP, those that the peer's kernel has not acknowledged; of a
/// Unix socket, those that no process at the other end has read, each message with what the kernel needs for it (ioctl(2)
/// `SIOCOUTQ`, in tcp(7)). For who has to know what is lost when a connection breaks; std and rustix have no safe call.
///
/// # Errors
/// The kernel's. Not every kind of socket, and not every system that looks like Linux, can tell.
pub fn bytes_unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one `int`; the descriptor is open while it is borrowed.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(u64::try_from(bytes).unwrap_or(0)),
    }
}

/// Makes the descriptor number `fd` lead where `to` leads (dup2(2)).
pub(crate) fn redirect(to: BorrowedFd<'_>, fd: RawFd) -> io::Result<()> {
    // SAFETY: both are only numbers to the call; `fd` is 1 or 2, which belong to the program as a whole.
    match unsafe { libc::dup2(to.as_raw_fd(), fd) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether this process's threads were all born in it: a number that differs in every process of a family of forks.
///
/// The number lives in a page that the kernel wipes in the child (madvise(2), MADV_WIPEONFORK, Linux 4.14), so that a
/// raw `clone` is noticed too. Reading it is one load.
#[inline]
pub(crate) fn process_token() -> u64 {
    static PAGE: OnceLock<&'static AtomicU64> = OnceLock::new();
    let token = PAGE.get_or_init(wiped_page);
    match token.load(Ordering::Relaxed) {
        0 => renew_token(token),
        known => known,
    }
}

#[cold]
fn renew_token(token: &AtomicU64) -> u64 {
    let fresh = crate::clock::monotonic_ns() << 22 | u64::from(std::process::id() & 0x3f_ffff) | 1;
    match token.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(theirs) => theirs,
    }
}

fn wiped_page() -> &'static AtomicU64 {
    // SAFETY: a fresh anonymous page, never unmapped, big and aligned enough for one atomic; zero bytes are a value.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        assert!(page != libc::MAP_FAILED, "no memory for one page");
        libc::madvise(page, 4096, libc::MADV_WIPEONFORK);
        &*page.cast::<AtomicU64>()
    }
}

/// Registers what runs around every `fork` of this process (pthread_atfork(3)).
pub(crate) fn at_fork(prepare: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) {
    // SAFETY: the functions are `extern "C"`, live for ever, and do not unwind.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

/// Registers what runs when this process, or one forked from it, ends by `exit` (atexit(3)).
pub(crate) fn at_exit(finish: extern "C" fn()) {
    // SAFETY: the function is `extern "C"`, does not unwind, and lives as long as the code that registered it.
    unsafe { libc::atexit(finish) };
}

/// Runs `work` with all signals blocked in this thread, which a thread that it starts inherits: the application's signal
/// handlers never run on a thread of ours.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: signal sets are plain data, initialized by sigfillset and by the first pthread_sigmask.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let answer = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        answer
    }
}

/// Sleeps until the low half of `word` is no longer `seen`, somebody wakes it, or the time is over (futex(2)).
pub(crate) fn wait_while(word: &AtomicU64, seen: u64, at_most: Duration) {
    let time = libc::timespec {
        tv_sec: at_most.as_secs() as libc::time_t,
        tv_nsec: at_most.subsec_nanos() as libc::c_long,
    };
    // SAFETY: the address is a live, aligned word (its low half on the little-endian targets this crate builds for).
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            low_half(word),
            libc::FUTEX_WAIT,
            seen as u32,
            &time as *const libc::timespec,
        )
    };
}

/// Wakes everybody who sleeps on `word`.
pub(crate) fn wake_all(word: &AtomicU64) {
    // SAFETY: as in `wait_while`.
    unsafe { libc::syscall(libc::SYS_futex, low_half(word), libc::FUTEX_WAKE, i32::MAX) };
}

const _: () = assert!(
    cfg!(target_endian = "little"),
    "the shared state is defined for little-endian machines"
);

fn low_half(word: &AtomicU64) -> *const u32 {
    std::ptr::from_ref(word).cast()
}

#[cfg(test)]
mod tests {
    use super::bytes_unacknowledged;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    /// What a peer has not read of a Unix socket counts at least with its length, and what it has read does not count.
    #[test]
    fn what_nobody_has_read_is_unacknowledged() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(bytes_unacknowledged(ours.as_fd()).unwrap(), 0);
        ours.write_all(&[7; 1000]).unwrap();
        assert!(bytes_unacknowledged(ours.as_fd()).unwrap() >= 1000);
        theirs.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(bytes_unacknowledged(ours.as_fd()).unwrap(), 0);
    }

    /// The kernel of a TCP peer acknowledges what its program has not read, until its buffer is full; then it counts to the byte.
    #[test]
    fn what_no_kernel_has_taken_is_unacknowledged() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = ours.write(&[7; 65536]) {
            written += count as u64;
        }
        let unacknowledged = bytes_unacknowledged(ours.as_fd()).unwrap();
        assert!((1..written).contains(&unacknowledged));
        theirs.read_exact(&mut vec![0; written as usize]).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while bytes_unacknowledged(ours.as_fd()).unwrap() > 0 {
            assert!(Instant::now() < until, "never acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
