//! The claims in a log directory: who holds them, and does what they name exist?
//!
//! Members hold open-file-description locks, for which `/proc/locks` has no pid (it says -1): that file tells whether a claim
//! is locked at all, and the open descriptors of the processes that this user may look at tell by whom.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use logboom::status::{self, Status};

use super::Lines;

/// A claim in a directory.
pub(super) struct Claim {
    pub uid: u32,
    pub gid: u32,
    path: PathBuf,
    dev: u64,
    ino: u64,
    /// The state that it names.
    state: Option<PathBuf>,
}

pub(super) fn read(directory: &Path) -> Vec<Claim> {
    let claim = |uid: u32| {
        let path = status::claim_path(directory, uid);
        let metadata = path.symlink_metadata().ok()?;
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let state = text
            .lines()
            .find_map(|line| line.strip_prefix("state "))
            .map(PathBuf::from);
        Some(Claim {
            uid,
            gid: metadata.gid(),
            path,
            dev: metadata.dev(),
            ino: metadata.ino(),
            state,
        })
    };
    status::claimants(directory)
        .into_iter()
        .filter_map(claim)
        .collect()
}

pub(super) fn check(lines: &mut Lines, claims: &[Claim], status: Option<&Status>) {
    if claims.is_empty() {
        let has_living =
            status.is_some_and(|status| status.workers.iter().any(|worker| worker.alive));
        match has_living {
            true => lines.note("claim", status.map_or_else(String::new, |s| s.directory.display().to_string()), "none, although processes log there: the directory could not be written when they began, or somebody removed it"),
            false => lines.good("claim", "none", "no process logs there now"),
        }
    }
    for claim in claims {
        check_one(lines, claim);
    }
}

fn check_one(lines: &mut Lines, claim: &Claim) {
    let object = claim.path.display();
    let locked = is_locked(claim);
    let named = claim.state.as_ref().map(|state| (state, state.exists()));
    match (locked, named) {
        (Some(true), None) => lines.find("claim", object, format!("is held{} but names no state: its volume was full when it was written, or it was damaged", by_whom(claim)), "make room, and restart the processes that log there"),
        (Some(true), Some((state, false))) => lines.find(
            "claim",
            object,
            format!("is held{} but the state `{}` is not there: removed under a living group, or in another container", by_whom(claim), state.display()),
            "restart the processes that log there; for containers that share the volume use state_dir=\"beside\"",
        ),
        (Some(true), Some(_)) => lines.good("claim", object, format!("is held{}", by_whom(claim))),
        (Some(false), Some((state, false))) => lines.note("claim", object, format!("is left over: nobody holds it, and the state `{}` is gone (a reboot, a re-created container)", state.display())),
        (Some(false), _) => lines.note("claim", object, "nobody holds it: its processes were killed, or its state lies at an unusual place and it leads there"),
        (None, _) => lines.note("claim", object, "whether somebody holds it cannot be seen: /proc/locks is not readable"),
    }
}

/// None: it cannot be seen.
fn is_locked(claim: &Claim) -> Option<bool> {
    let text = std::fs::read_to_string("/proc/locks").ok()?;
    // 1: OFDLCK ADVISORY  READ -1 08:01:1234 0 EOF
    let of_claim = |line: &str| {
        let field = line
            .split_ascii_whitespace()
            .find(|field| field.matches(':').count() == 2);
        field.is_some_and(|field| is_file(field, claim))
    };
    Some(text.lines().any(of_claim) || !holders(claim).is_empty())
}

fn is_file(field: &str, claim: &Claim) -> bool {
    let mut parts = field.split(':');
    let mut number = |radix| {
        parts
            .next()
            .and_then(|part| u64::from_str_radix(part, radix).ok())
    };
    let (major, minor, ino) = (number(16), number(16), number(10));
    let dev = rustix::fs::makedev(major.unwrap_or(0) as u32, minor.unwrap_or(0) as u32);
    ino == Some(claim.ino) && dev == claim.dev
}

fn by_whom(claim: &Claim) -> String {
    let pids: Vec<_> = holders(claim).iter().map(u32::to_string).collect();
    match pids.len() {
        0 => " by processes that this user cannot see".into(),
        1 => format!(" by process {}", pids[0]),
        _ => format!(" by processes {}", pids.join(", ")),
    }
}

/// The processes with a descriptor of the claim, as far as this user may look.
fn holders(claim: &Claim) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_it = |pid: &u32| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        descriptors.map(|entry| entry.path()).any(|path| {
            path.metadata()
                .is_ok_and(|metadata| metadata.ino() == claim.ino && metadata.dev() == claim.dev)
        })
    };
    let mut found: Vec<u32> = pids
        .filter(|pid| *pid != std::process::id())
        .filter(has_it)
        .collect();
    found.sort_unstable();
    found
}
