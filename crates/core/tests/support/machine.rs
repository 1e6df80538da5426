//! Faults of the machine, made for one test: small volumes, withdrawn rights, injected errors, children with a time limit.
//!
//! What always holds: mounts are made in a mount namespace of the test's own and vanish with it; children die with the
//! process that started them, and are waited for within a bound.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{exited_well, fork, kill};

pub const NOBODY: u32 = 65534;

/// True when the machine has all that a test needs; otherwise says what is missing, for the test to return.
pub fn has(needs: &[Need]) -> bool {
    for need in needs {
        if let Some(reason) = need.is_missing() {
            println!("skipped: {reason}");
            return false;
        }
    }
    true
}

#[derive(Debug, Clone, Copy)]
pub enum Need {
    Root,
    Mounts,
    Tool(&'static str),
}

impl Need {
    fn is_missing(self) -> Option<String> {
        match self {
            Need::Root => (!is_root()).then(|| "not root".into()),
            Need::Mounts => {
                let may = is_root()
                    && exited_well(wait_within(
                        child(|| i32::from(own_mounts().is_err())),
                        secs(10),
                    ));
                (!may).then(|| "mount namespaces are not allowed here".into())
            }
            Need::Tool(tool) => {
                let paths = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&paths)
                    .chain(["/usr/sbin".into()])
                    .any(|dir| dir.join(tool).exists());
                (!found).then(|| format!("`{tool}` is not installed"))
            }
        }
    }
}

pub fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

pub fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A forked child that dies with the thread that started it.
pub fn child(work: impl FnOnce() -> i32) -> libc::pid_t {
    fork(|| {
        // SAFETY: asks the kernel to end this child with its parent.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        work()
    })
}

/// Waits for a child; one that takes too long is killed, and the test fails.
pub fn wait_within(pid: libc::pid_t, at_most: Duration) -> i32 {
    let until = Instant::now() + at_most;
    loop {
        let mut status = 0;
        // SAFETY: a child of ours that has not been waited for.
        if unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == pid {
            return status;
        }
        if Instant::now() > until {
            kill(pid, libc::SIGKILL);
            super::wait(pid);
            panic!("process {pid} does not end within {at_most:?}");
        }
        std::thread::sleep(millis(2));
    }
}

pub fn end_well(pid: libc::pid_t, at_most: Duration) {
    let status = wait_within(pid, at_most);
    assert!(exited_well(status), "process {pid} ended with {status:#x}");
}

/// Waits until `condition` holds, or fails the test.
pub fn within(at_most: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + at_most;
    while !condition() {
        assert!(Instant::now() < until, "not within {at_most:?}: {what}");
        std::thread::sleep(millis(2));
    }
}

/// Runs a test's body in a child with mounts of its own.
pub fn in_own_mounts(body: impl FnOnce()) {
    let pid = child(|| {
        own_mounts().unwrap();
        body();
        0
    });
    end_well(pid, secs(90));
}

pub fn own_mounts() -> io::Result<()> {
    // SAFETY: affects this process only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(
        "none",
        Path::new("/"),
        "",
        libc::MS_REC | libc::MS_PRIVATE,
        "",
    )
}

pub fn mount(
    source: &str,
    target: &Path,
    kind: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let c = |text: &[u8]| std::ffi::CString::new(text).unwrap();
    let (source, target, kind, data) = (
        c(source.as_bytes()),
        c(target.as_os_str().as_bytes()),
        c(kind.as_bytes()),
        c(data.as_bytes()),
    );
    // SAFETY: four strings that outlive the call.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })
}

pub fn mount_tmpfs(at: &Path, size: &str) {
    mount("tmpfs", at, "tmpfs", 0, &format!("size={size},mode=700")).unwrap();
}

/// Covers a directory with a read-only view of itself.
pub fn cover_read_only(directory: &Path) {
    mount(
        directory.to_str().unwrap(),
        directory,
        "",
        libc::MS_BIND,
        "",
    )
    .unwrap();
    mount(
        "none",
        directory,
        "",
        libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY,
        "",
    )
    .unwrap();
}

pub fn unmount(at: &Path) {
    let at = std::ffi::CString::new(at.as_os_str().as_bytes()).unwrap();
    // SAFETY: a string that outlives the call.
    check(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }).unwrap();
}

/// Fills the volume of `path` with one file, but for about `leave` bytes.
pub fn fill(path: &Path, leave: usize) {
    let mut file = File::create(path).unwrap();
    let mut len = 0;
    while let Ok(written) = file.write(&[b'x'; 4096]) {
        len += written;
        if written < 4096 {
            break;
        }
    }
    file.set_len(len.saturating_sub(leave) as u64).unwrap();
}

/// Drops root's rights for good, as a server does after its fork.
pub fn become_nobody() {
    // SAFETY: changes this process's ids.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setgid(NOBODY), 0);
        assert_eq!(libc::setuid(NOBODY), 0);
        // A change of ids forgets the wish to die with the parent.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

pub fn give_to_nobody(path: &Path) {
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// The longest file this process may make; SIGXFSZ is ignored, as Python does.
pub fn limit_file_size(bytes: Option<u64>) {
    let soft = bytes.unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: changes this process's own limit and signal.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What is said on standard error from now on by this process and its children, shown again at the end.
pub struct Heard {
    file: File,
    before: File,
}

impl Heard {
    pub fn listen() -> Heard {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: duplicates descriptors of this process.
        let before = unsafe {
            let before = libc::dup(2);
            assert!(
                before > 2 && libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) == 0
            );
            assert_eq!(libc::dup2(file.as_raw_fd(), 2), 2);
            File::from_raw_fd(before)
        };
        Heard { file, before }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut file = OpenOptions::new()
            .read(true)
            .open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
            .unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// Bytes heard so far; needs no descriptor.
    pub fn len(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    /// Every failure that was told comes with a remedy.
    pub fn assert_says_what_to_do(&self) {
        for line in self
            .text()
            .lines()
            .filter(|line| line.starts_with("logboom: failed to"))
        {
            let told = line.split(" (records wait").next().unwrap();
            assert!(told.contains("; "), "no remedy: {line}");
        }
    }

    pub fn count(&self, what: &str) -> usize {
        self.text().matches(what).count()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let text = self.text();
        let _ = self.before.write_all(text.as_bytes());
        // SAFETY: restores the descriptor.
        unsafe { libc::dup2(self.before.as_raw_fd(), 2) };
    }
}

/// strace, attached to a process and making its system calls fail.
pub struct Injection(Child);

impl Injection {
    /// `what`: as in `strace -e inject=WHAT`; only calls that concern `path` are counted and fail.
    pub fn attach(pid: libc::pid_t, path: &Path, what: &[&str]) -> Injection {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string(), "-P"])
            .arg(path);
        for what in what {
            strace.args(["-e", &format!("inject={what}")]);
        }
        let strace = strace.stdin(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{pid}/status");
        within(secs(10), "strace is attached", || {
            std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0\n"))
        });
        Injection(strace)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        kill(self.0.id() as libc::pid_t, libc::SIGTERM);
        let _ = self.0.wait();
    }
}

/// A log's content, looked at again when it seems torn: a write that is being taken back is seen for a moment.
pub fn settled_content(path: &Path) -> String {
    let mut content = String::new();
    for _ in 0..20 {
        content = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        if content.is_empty() || content.ends_with('\n') {
            break;
        }
        std::thread::sleep(millis(10));
    }
    content
}

pub fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn the_state_in(directory: &Path) -> PathBuf {
    let states: Vec<_> = names_in(directory)
        .into_iter()
        .filter(|name| name.ends_with(".state"))
        .collect();
    assert_eq!(states.len(), 1, "{states:?}");
    directory.join(&states[0])
}

pub fn kill_and_wait(pid: libc::pid_t) {
    kill(pid, libc::SIGKILL);
    super::wait(pid);
}
