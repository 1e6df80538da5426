//! What a domain knows of its files' content and of its workers' numbers, read at one moment without joining it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::Packing;
use super::sums::Sums;
use crate::Error;
use crate::files::config::{Config, FLAG_HOOKS};
use crate::files::ledger::{self, Run};
use crate::journal::{self, Phase};
use crate::layout::{ARCHIVE_SEGMENTS, ArchiveLedger, FILE_READY, SEGMENT_FOREIGN, SLOT_LIVE};
use crate::liveness;
use crate::log::DropReason;
use crate::state::State;

/// All that verification asks of a domain.
pub(super) struct Known {
    pub contents: Vec<Content>,
    pub sequences: Vec<Sequence>,
    /// Why the numbers may not be of one moment.
    pub note: Option<String>,
    created_ns: u64,
    /// Logs whose archives the host's own code may change at will.
    hooked: Vec<PathBuf>,
}

/// The runs of one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub log: PathBuf,
    pub ino: u64,
    pub compressed_ino: u64,
    /// When it was rotated out; the current file has the greatest number.
    pub closed_ns: u64,
    pub is_current: bool,
    pub runs: Vec<Run>,
}

/// How many records of a log a worker has published, and what else its place says.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    pub log: PathBuf,
    pub domain: u64,
    pub epoch: u32,
    pub pid: u32,
    pub alive: bool,
    pub published: u64,
    pub queued_bytes: u64,
    pub dropped: [u64; 4],
}

impl Known {
    pub fn read(directory: &Path) -> Result<Known, Error> {
        let state = crate::status::open_state(directory)?;
        let mut known = Known {
            contents: Vec::new(),
            sequences: Vec::new(),
            note: note(&state),
            created_ns: state.head().created_ns.load(Ordering::Relaxed),
            hooked: Vec::new(),
        };
        for file in 0..state.files_used() {
            let entry = state.file_entry(file);
            if entry.state.load(Ordering::Acquire) != FILE_READY {
                continue;
            }
            let log = entry.path.to_path();
            if Config::load(&entry.config).flags & FLAG_HOOKS != 0 {
                known.hooked.push(log.clone());
            }
            known.contents.push(Content {
                log: log.clone(),
                ino: entry.live.ino.load(Ordering::Acquire),
                compressed_ino: 0,
                closed_ns: u64::MAX,
                is_current: true,
                runs: ledger::runs(entry),
            });
            known.contents.extend(in_order(&log, &entry.archives));
            known.sequences.extend(sequences(&state, file, &log));
        }
        Ok(known)
    }

    /// The content of a file by its inode: the current file first, then the youngest archive, since numbers are used again.
    pub fn by_inode(&self, ino: u64, packing: Packing) -> Option<&Content> {
        let is_it = |content: &&Content| match packing {
            Packing::Plain => content.ino == ino,
            _ => content.compressed_ino == ino,
        };
        let known = self.contents.iter().filter(|_| ino != 0).filter(is_it);
        known.max_by_key(|content| content.closed_ns)
    }

    /// The log that a file of this name is, or is an archive of.
    pub fn log_named(&self, name: &OsStr) -> Option<PathBuf> {
        let name = name.as_encoded_bytes();
        let logs = self.contents.iter().map(|content| &content.log);
        let mine = logs.filter(|log| {
            let base = log.file_name().unwrap_or_default().as_encoded_bytes();
            name.strip_prefix(base)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
        });
        mine.max_by_key(|log| log.as_os_str().len()).cloned()
    }

    /// True when a file that was last changed then can only be one that the domain wrote, or damage.
    pub fn should_know(&self, path: &Path, mtime_ns: u64) -> bool {
        let Some(name) = path.file_name() else {
            return false;
        };
        let Some(log) = self.log_named(name) else {
            return false;
        };
        let base_len = log.file_name().map_or(0, OsStr::len);
        let rest = &name.as_encoded_bytes()[base_len..];
        let named_like_one = rest.is_empty() || rest.get(1).is_some_and(u8::is_ascii_digit);
        let of_log = self.contents.iter().filter(|content| content.log == log);
        let oldest_ns = of_log.map(|content| content.closed_ns).min();
        named_like_one
            && !self.hooked.contains(&log)
            && mtime_ns > self.created_ns
            && (rest.is_empty() || oldest_ns.is_some_and(|oldest| oldest < mtime_ns))
    }
}

impl Content {
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(0, Run::end)
    }

    /// Bytes whose checksum is known.
    pub fn len(&self) -> u64 {
        let ours = self.runs.iter().filter(|run| run.crc.is_some());
        ours.map(|run| run.len).sum()
    }

    /// Bytes of it that a stream has at their places.
    pub fn matching(&self, sums: &Sums) -> u64 {
        let right = self.runs.iter().filter(|run| {
            run.len > 0 && run.crc.is_some() && sums.between(run.start, run.end()) == run.crc
        });
        right.map(|run| run.len).sum()
    }

    pub fn is_whole_in(&self, sums: &Sums, len: u64) -> bool {
        self.end() <= len && self.matching(sums) == self.len()
    }
}

/// What is known of a log's archives, in the order in which they were closed: a clock that is set back does not change that.
fn in_order(log: &Path, archives: &[ArchiveLedger]) -> Vec<Content> {
    let known = archives.iter().filter_map(|one| archive(log, one));
    let mut known: Vec<(u64, Content)> = known.collect();
    known.sort_by_key(|(number, _)| *number);
    let mut last_ns = 0;
    let in_order = known.into_iter().map(|(_, mut content)| {
        content.closed_ns = content.closed_ns.max(last_ns + 1);
        last_ns = content.closed_ns;
        content
    });
    in_order.collect()
}

/// The archive's number and content.
fn archive(log: &Path, archive: &ArchiveLedger) -> Option<(u64, Content)> {
    // ORDERING: pairs with `ledger::archive`, which stores the number last.
    let number = archive.number.load(Ordering::Acquire);
    (number != 0).then_some(())?;
    let used = (archive.used.load(Ordering::Relaxed) as usize).min(ARCHIVE_SEGMENTS);
    let runs = archive.segments[..used].iter().map(|segment| {
        let crc = segment.crc.load(Ordering::Relaxed);
        Run {
            start: segment.start.load(Ordering::Relaxed),
            len: segment.len.load(Ordering::Relaxed),
            count: segment.count.load(Ordering::Relaxed),
            crc: (crc & SEGMENT_FOREIGN == 0).then_some(crc as u32),
        }
    });
    let content = Content {
        log: log.to_owned(),
        ino: archive.ino.load(Ordering::Relaxed),
        compressed_ino: archive.compressed_ino.load(Ordering::Relaxed),
        closed_ns: archive.closed_ns.load(Ordering::Relaxed),
        is_current: false,
        runs: runs.collect(),
    };
    (archive.number.load(Ordering::Acquire) == number).then_some((number, content))
}

fn sequences(state: &State, file: u16, log: &Path) -> Vec<Sequence> {
    let domain = state.head().domain_id.load(Ordering::Relaxed);
    let locks = state.file.raw();
    let mut found = Vec::new();
    for slot in 0..state.slots_used() {
        let words = state.slot(slot);
        let life = words.state.load(Ordering::Acquire);
        let published = words.file_seq[usize::from(file)].load(Ordering::Relaxed);
        if life & 0xff != SLOT_LIVE || published == 0 {
            continue;
        }
        let tail = words.tail.load(Ordering::Acquire);
        found.push(Sequence {
            log: log.to_owned(),
            domain,
            epoch: (life >> 32) as u32,
            pid: words.pid.load(Ordering::Relaxed),
            alive: liveness::is_alive(locks, slot, words, state.identity()),
            published,
            queued_bytes: tail.saturating_sub(words.drained.load(Ordering::Acquire)),
            dropped: DropReason::ALL
                .map(|reason| words.dropped[reason as usize].load(Ordering::Relaxed)),
        });
    }
    found
}

fn note(state: &State) -> Option<String> {
    let owner = state.lease().peek().owner();
    let owner = owner.filter(|owner| owner.slot < state.slots_used())?;
    let words = state.slot(owner.slot);
    let alive = liveness::is_alive(state.file.raw(), owner.slot, words, state.identity());
    let is_open = journal::phase(state.control()) != Phase::Idle;
    (is_open && !alive).then(|| {
        format!(
            "process {} died while it wrote to the logs in `{}`: run `logboom recover` there first, then verify again",
            words.pid.load(Ordering::Relaxed),
            state.directory().display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Identity;
    use crate::layout::{FILES_AT, FileEntry};
    use crate::shm::Shm;

    #[test]
    fn archives_are_in_the_order_of_their_rotations_though_the_clock_was_set_back() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILES_AT as u64).unwrap();
        let mapping = Shm::map(&file, FILES_AT).unwrap();
        let entry: &FileEntry = mapping.at(0);
        for number in [3, 1, 2] {
            let (dev, ino) = (1, 10 + number);
            ledger::archive(entry, number, Identity { dev, ino });
            let closed_ns = &entry.archives[number as usize].closed_ns;
            closed_ns.store(1000 - 100 * number, Ordering::Relaxed);
        }
        let mut found = in_order(Path::new("app.log"), &entry.archives);
        found.sort_by_key(|content| content.closed_ns);
        let inodes: Vec<_> = found.iter().map(|content| content.ino).collect();
        assert_eq!(inodes, [11, 12, 13]);
    }
}
