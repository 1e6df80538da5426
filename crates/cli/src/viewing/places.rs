//! Which domain is meant: the one that is named, that of the current directory, or the only one that lives.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use logboom::files::escape::escape;
use logboom::status::{self, Status};
use logboom::viewer::Viewer;

use crate::exit::Failure;
use crate::owner;

/// The head of a state file is the same in all versions (STATE.md of the library): its first bytes, and where the log
/// directory's length and bytes are.
const MAGIC: &[u8; 8] = b"LOGBOOM\0";
const DIRECTORY_AT: u64 = 192;
const DIRECTORY_BYTES_MAX: usize = 960;

/// Where to look, as an option of a command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// A log file, or its directory [default: this directory, else the only domain of this user that lives]
    #[arg(long, value_name = "PATH")]
    log: Option<PathBuf>,
}

impl Place {
    /// The log directory of the domain that is meant.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(crate) fn find(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.log {
            let directory = owner::directory_of(path)?;
            status::find_state(&directory).map_err(|error| owner::refusal(&directory, &error))?;
            return Ok(directory);
        }
        let here = Path::new(".").canonicalize().unwrap_or_default();
        let Err(error) = status::find_state(&here) else {
            return Ok(here);
        };
        match status::claimants(&here).is_empty() {
            true => only(living(), &here),
            false => Err(owner::refusal(&here, &error)),
        }
    }
}

/// Opens the domain of the logs in `directory`, to look and, where this user may, to change its rules.
///
/// # Errors
/// There is none, or it cannot be read.
pub(crate) fn open(directory: &Path) -> Result<Viewer, Failure> {
    Viewer::open(directory).map_err(|error| owner::refusal(directory, &error))
}

fn only(mut living: Vec<Status>, here: &Path) -> Result<PathBuf, Failure> {
    match living.len() {
        0 => Err(Failure::could_not_run(format!(
            "failed to find a domain: nothing has logged in `{}` with logboom, and no process of this user does elsewhere; \
             name a log with --log PATH",
            here.display()
        ))),
        1 => Ok(living.remove(0).directory),
        count => {
            let mut text =
                format!("failed to choose a domain: {count} live; name one with --log PATH:");
            for status in &living {
                let pids: Vec<_> = alive(status).map(|pid| pid.to_string()).collect();
                let _ = write!(
                    text,
                    "\n  {}  (process {})",
                    escape(&status.directory.to_string_lossy(), false),
                    pids.join(", ")
                );
            }
            Err(Failure::could_not_run(text))
        }
    }
}

fn alive(status: &Status) -> impl Iterator<Item = u32> {
    let workers = status.workers.iter().chain(&status.holder);
    let pids: BTreeSet<_> = workers
        .filter(|worker| worker.alive)
        .map(|worker| worker.pid)
        .collect();
    pids.into_iter()
}

/// The domains in the usual places that have a living process.
fn living() -> Vec<Status> {
    let directories: BTreeSet<_> = usual_places()
        .iter()
        .flat_map(|place| directories_of(place))
        .collect();
    let known = directories
        .iter()
        .filter_map(|directory| status::status(directory).ok());
    known
        .filter(|status| alive(status).next().is_some())
        .collect()
}

/// Where states are made unless somebody asks for another place.
fn usual_places() -> Vec<PathBuf> {
    let named = std::env::var_os("LOGBOOM_STATE_DIR")
        .filter(|place| place != "beside")
        .map(PathBuf::from);
    if let Some(named) = named {
        return vec![named];
    }
    let own = format!("logboom-{}", rustix::process::geteuid().as_raw());
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(|place| PathBuf::from(place).join("logboom"));
    let others = [
        Path::new("/dev/shm").join(&own),
        std::env::temp_dir().join(&own),
    ];
    runtime.into_iter().chain(others).collect()
}

/// The log directories of the states in a place. Those of pipes and terminals are directories there themselves.
fn directories_of(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            match name.starts_with("special-") && path.is_dir() {
                true => Some(path),
                false => name.ends_with(".state").then(|| directory_in(&path))?,
            }
        })
        .collect()
}

fn directory_in(state: &Path) -> Option<PathBuf> {
    let mut head = vec![0; DIRECTORY_AT as usize + 8 + DIRECTORY_BYTES_MAX];
    File::open(state).ok()?.read_exact_at(&mut head, 0).ok()?;
    if !head.starts_with(MAGIC) {
        return None;
    }
    let (len, text) = head[DIRECTORY_AT as usize..].split_first_chunk::<8>()?;
    let text = text.get(..u64::from_le_bytes(*len) as usize)?.to_vec();
    Some(PathBuf::from(std::ffi::OsString::from_vec(text)))
}
