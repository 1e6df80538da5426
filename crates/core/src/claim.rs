//! The claim: a small file beside the logs that names their domain, `.logboom-UID`.
//!
//! Every member holds a shared open-file-description lock on it for life. An unlocked claim means that nobody lives:
//! it is taken over, with the state that it names if that can be reached. A locked claim whose state cannot be reached
//! is refused: two groups must never write the same files unawares. The last member that leaves removes the claim, so
//! that nothing is left in the directory.
//!
//! Where the directory cannot be written there is no claim; members then meet at the state's path alone.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::StateDir;
use crate::error::{Error, ErrorKind};
use crate::fds::FdCell;
use crate::fs::{self, Descriptor};
use crate::place;
use crate::state::{State, Unusable, Wanted};
use crate::stderr;
use crate::sys::{self, LockKind};

const PATIENCE: Duration = Duration::from_secs(5);

/// What joining a domain gives.
pub(crate) struct Joined {
    pub state: State,
    pub claim: Option<Descriptor>,
}

/// What a claim says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub state: PathBuf,
    pub domain_id: u64,
}

impl Contents {
    pub fn parse(text: &str) -> Option<Contents> {
        let mut lines = text.lines();
        (lines.next()? == "logboom claim 1").then_some(())?;
        let state = lines.next()?.strip_prefix("state ")?.into();
        let domain_id = u64::from_str_radix(lines.next()?.strip_prefix("domain ")?, 16).ok()?;
        Some(Contents { state, domain_id })
    }

    pub fn text(&self) -> String {
        format!(
            "logboom claim 1\nstate {}\ndomain {:016x}\n",
            self.state.display(),
            self.domain_id
        )
    }

    /// What the claim in `directory` of the user `uid` says, for tools that only look.
    pub fn of(directory: &Path, uid: u32) -> Option<Contents> {
        Contents::parse(&std::fs::read_to_string(path_in(directory, uid)).ok()?)
    }
}

pub(crate) fn path_in(directory: &Path, uid: u32) -> PathBuf {
    directory.join(format!(".logboom-{uid}"))
}

/// Joins the domain of the logs in `directory`, making it if nobody lives.
pub(crate) fn join(directory: &Path, wanted: &StateDir, lengths: Wanted) -> Result<Joined, Error> {
    let path = path_in(directory, rustix::process::geteuid().as_raw());
    let until = Instant::now() + PATIENCE;
    loop {
        let Some(claim) = open_claim(&path)? else {
            return join_without_claim(directory, wanted, lengths);
        };
        match sys::try_lock(claim.raw_fd(), LockKind::Exclusive, 0, 0) {
            Ok(true) if claim.is_still_at(&path) => {
                return take_over(claim, directory, wanted, lengths);
            }
            Ok(true) => {}
            Ok(false) => {
                let shared = sys::try_lock(claim.raw_fd(), LockKind::Shared, 0, 0).unwrap_or(false);
                if shared && claim.is_still_at(&path) {
                    return join_the_living(claim, &path, lengths.group);
                }
            }
            Err(_) => return join_without_claim(directory, wanted, lengths),
        }
        if Instant::now() > until {
            let text = format!(
                "failed to join the domain claimed by `{}`: its lock is held by a process that does not \
                                finish; `logboom doctor` shows which",
                path.display()
            );
            return Err(Error::new(ErrorKind::Busy, text));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Claim {
    file: std::fs::File,
}

impl Claim {
    fn raw_fd(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.file)
    }

    /// False when the claim was removed, and perhaps made anew, between our open and our lock.
    fn is_still_at(&self, path: &Path) -> bool {
        let Ok(ours) = self.file.metadata() else {
            return false;
        };
        path.symlink_metadata()
            .is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev())
    }

    fn contents(&mut self) -> Option<Contents> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        std::io::Read::by_ref(&mut self.file)
            .take(8192)
            .read_to_string(&mut text)
            .ok()?;
        Contents::parse(&text)
    }

    fn write(&mut self, contents: &Contents) -> io::Result<()> {
        let text = contents.text();
        self.file.rewind()?;
        // CRASH(claim-written): what an earlier, longer text leaves behind the new one is not read.
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)
    }
}

/// None: a claim cannot be kept here (read-only directory or volume).
fn open_claim(path: &Path) -> Result<Option<Claim>, Error> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    match options
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
    {
        Ok(file) => Ok(Some(Claim { file })),
        Err(error) => match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOSPC | libc::EDQUOT) => {
                Ok(None)
            }
            _ => Err(Error::io("open the claim", path, &error)),
        },
    }
}

/// Nobody lives: the state that the claim names is taken over if it can be believed, else a new one is made.
fn take_over(
    mut claim: Claim,
    directory: &Path,
    wanted: &StateDir,
    lengths: Wanted,
) -> Result<Joined, Error> {
    let path = place::choose_path(directory, wanted, lengths.group)?;
    let named = claim.contents().filter(|contents| contents.state != path);
    let left_elsewhere = named.and_then(|contents| {
        let state = State::open(&contents.state).ok()?;
        (state.head().domain_id.load(Ordering::Relaxed) == contents.domain_id && state.has_queued())
            .then_some(state)
    });
    let state = match left_elsewhere {
        Some(state) => state,
        None => open_or_create(&path, directory, lengths)?,
    };
    let domain_id = state.head().domain_id.load(Ordering::Relaxed);
    grant(&claim, &state, lengths.group, true)?;
    // A full disk leaves the claim empty: it still excludes, it only names nothing.
    let _ = claim.write(&Contents {
        state: state.path.clone(),
        domain_id,
    });
    let _ = sys::try_lock(claim.raw_fd(), LockKind::Shared, 0, 0);
    finish(state, Some(claim))
}

fn open_or_create(path: &Path, directory: &Path, lengths: Wanted) -> Result<State, Error> {
    let why = match State::open(path) {
        Ok(state) if state.directory() == directory => return Ok(state),
        Ok(state) => format!(
            "it belongs to the logs in `{}`",
            state.directory().display()
        ),
        Err(Unusable::Missing) => return State::create(path, directory, lengths),
        Err(Unusable::Io(error)) => return Err(Error::io("open the state", path, &error)),
        Err(unusable) => unusable.to_string(),
    };
    let aside = path.with_extension(format!("aside-{}", crate::clock::wall_ns() / 1_000_000_000));
    std::fs::rename(path, &aside)
        .map_err(|error| Error::io("move aside the state", path, &error))?;
    stderr::say(&format!(
        "the state `{}` cannot be used: {why}; kept as `{}`",
        path.display(),
        aside.display()
    ));
    State::create(path, directory, lengths)
}

/// Lets the members of the group look at the state, and at the claim, by which they find it. `anew`: nobody lives, and
/// without a group those of the last time may not any more.
fn grant(claim: &Claim, state: &State, group: Option<u32>, anew: bool) -> Result<(), Error> {
    if group.is_none() && !anew {
        return Ok(());
    }
    let shared = place::share(&claim.file, group).and_then(|()| match state.file.check() {
        Some((file, _)) => place::share(file, group),
        None => Ok(()),
    });
    match (shared, group) {
        (Err(error), Some(group)) => Err(place::not_a_member(&state.path, group, &error)),
        _ => Ok(()),
    }
}

/// Somebody lives: only the state that the claim names will do.
fn join_the_living(mut claim: Claim, path: &Path, group: Option<u32>) -> Result<Joined, Error> {
    let refuse = |state: &Path, why: &str| {
        let text = format!(
            "failed to join the domain claimed by `{}`: its members live, but their state `{}` cannot be used ({why}). \
             Stop them first, or let both share the state: state_dir=\"beside\" puts it on the log's own volume",
            path.display(),
            state.display()
        );
        Err(Error::new(ErrorKind::Claimed, text))
    };
    let Some(contents) = claim.contents() else {
        return refuse(Path::new("?"), "the claim names none");
    };
    match State::open(&contents.state) {
        Ok(state) if state.head().domain_id.load(Ordering::Relaxed) == contents.domain_id => {
            grant(&claim, &state, group, false)?;
            finish(state, Some(claim))
        }
        Ok(_) => refuse(&contents.state, "it is another domain's"),
        Err(unusable) => refuse(&contents.state, &unusable.to_string()),
    }
}

fn join_without_claim(
    directory: &Path,
    wanted: &StateDir,
    lengths: Wanted,
) -> Result<Joined, Error> {
    let path = place::choose_path(directory, wanted, lengths.group)?;
    finish(open_or_create(&path, directory, lengths)?, None)
}

fn finish(state: State, claim: Option<Claim>) -> Result<Joined, Error> {
    let claim = claim.map(|claim| Descriptor::new(claim.file)).transpose();
    let claim = claim.map_err(|error| Error::io("look at the claim of", &state.path, &error))?;
    Ok(Joined { state, claim })
}

/// A description of the claim that is this process's own, with its own shared lock, for a forked child.
pub(crate) fn inherit(claim: &FdCell, path: &Path) -> io::Result<Descriptor> {
    let own = fs::reopen(claim.raw(), claim.identity(), path)?;
    // Somebody may be asking just now whether it is alone: that takes it a moment.
    for _ in 0..1000 {
        if sys::try_lock(own.raw(), LockKind::Shared, 0, 0)? {
            return Ok(own);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// True when no other member lives. Leaves the claim locked exclusively in that case: call [`share_again`] to stay.
pub(crate) fn is_sole_member(claim: &FdCell) -> bool {
    claim.check().is_some()
        && sys::try_lock(claim.raw(), LockKind::Exclusive, 0, 0).unwrap_or(false)
}

pub(crate) fn share_again(claim: &FdCell) {
    if claim.check().is_some() {
        let _ = sys::try_lock(claim.raw(), LockKind::Shared, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_says_what_was_written_and_nothing_else_is_believed() {
        let contents = Contents {
            state: "/dev/shm/logboom-0/x.state".into(),
            domain_id: 0xfeed,
        };
        assert_eq!(Contents::parse(&contents.text()), Some(contents));
        for text in [
            "",
            "logboom claim 2\nstate /x\ndomain 1\n",
            "logboom claim 1\nstate /x\n",
            "logboom claim 1\nx\ny\n",
        ] {
            assert_eq!(Contents::parse(text), None, "{text:?}");
        }
    }
}
