//! `logboom rotate`: rotates a log now, from a process that does not write it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logboom::status::{FileStatus, Visitor};
use logboom::{Compress, ErrorKind, RotateOutcome};

use crate::exit::{Ending, Failure};
use crate::owner;
use crate::terminal::{GOOD, NOTE};
use crate::verbs::status::look;

const EXAMPLES: &str = "\
Examples:
  logboom rotate /var/log/shop/app.log
  logboom rotate --wait 30 app.log && rsync -a --exclude app.log /var/log/shop/ backup:

All that was published before goes into the archive. The new file is made by the next record.
A log whose processes rotate it with code of their own (a namer, a rotator, overrides) is not
rotated by this command: one of them is asked to, and does so at its next record.

Exit codes:
  0  rotated, or there was nothing to rotate
  1  not rotated: asked of a process with code of its own, not done within --wait
  2  wrong usage
  3  could not: no domain, the directory refuses, the lease was not free within --wait";

/// Rotate a log now.
///
/// Run as root, this goes on as the user whose processes write the log.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The log file
    file: PathBuf,
    /// How long to wait at most, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait: u64,
}

/// Rotates, and says what became of it.
///
/// # Errors
/// The log is not one of a domain, or cannot be rotated now.
pub fn run(args: Args) -> Result<Ending, Failure> {
    if args.file.is_dir() {
        return Err(Failure::usage(format!(
            "failed to rotate `{}`: it is a directory; name a log file in it",
            args.file.display()
        )));
    }
    owner::become_owner(&args.file)?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let before = entry(&args.file)?;
    let inode = std::fs::metadata(&args.file)
        .ok()
        .map(|metadata| metadata.ino());
    let visitor =
        Visitor::join(&args.file).map_err(|error| Failure::could_not_run(error.to_string()))?;
    let outcome = visitor
        .rotate(&args.file, Duration::from_secs(args.wait))
        .map_err(|error| match error.kind() {
            ErrorKind::Busy => Failure::could_not_run(format!(
                "{error}; wait longer (--wait), or see `logboom doctor`"
            )),
            _ => Failure::could_not_run(error.to_string()),
        })?;
    let rotations = || entry(&args.file).map_or(0, |now| now.rotations);
    let name = args.file.display();
    if outcome == RotateOutcome::Asked {
        while rotations() == before.rotations {
            if Instant::now() >= until {
                anstream::println!(
                    "{NOTE}asked:{NOTE:#} `{name}` is rotated by the code of its own processes, at the next record of one that has it"
                );
                return Ok(Ending::FoundWrong);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if rotations() == before.rotations {
        anstream::println!(
            "{NOTE}nothing to rotate:{NOTE:#} `{name}` does not exist now, or is no regular file"
        );
        return Ok(Ending::Fine);
    }
    wait_for_compression(&args.file, inode, before.compress, until);
    let to = inode.and_then(|inode| find(&args.file, inode));
    match to {
        Some(archive) => anstream::println!(
            "{GOOD}rotated:{GOOD:#} `{name}` is now `{}`",
            archive.display()
        ),
        None => anstream::println!("{GOOD}rotated:{GOOD:#} `{name}`"),
    }
    Ok(Ending::Fine)
}

fn entry(file: &Path) -> Result<FileStatus, Failure> {
    let path = owner::directory_of(file)?.join(file.file_name().unwrap_or_default());
    let known = look(file)?
        .files
        .into_iter()
        .find(|entry| entry.path == path);
    known.ok_or_else(|| {
        Failure::could_not_run(format!("failed to rotate `{}`: no process has opened it with logboom; `logboom status` lists the logs", path.display()))
    })
}

/// Compression goes on in this process, outside the lease; what is not done by then is left to the next rotation.
fn wait_for_compression(file: &Path, inode: Option<u64>, compress: Compress, until: Instant) {
    if compress == Compress::None {
        return;
    }
    while Instant::now() < until && inode.is_some_and(|inode| find(file, inode).is_some()) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The name beside `file` that is the inode.
fn find(file: &Path, inode: u64) -> Option<PathBuf> {
    let directory = owner::directory_of(file).ok()?;
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let is_it = |path: &PathBuf| {
        path.symlink_metadata()
            .is_ok_and(|metadata| metadata.ino() == inode)
    };
    entries.map(|entry| entry.path()).find(is_it)
}
