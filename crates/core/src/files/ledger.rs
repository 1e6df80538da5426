//! What the domain knows of a file's content: runs of bytes with their count of records and their checksum.
//!
//! The last segment is open: a batch extends it, by values that the intent holds in advance, so that storing them twice is
//! the same as storing them once. A segment that has grown past the granule is closed; when the table is full,
//! neighbours are merged into the other copy of the table, which then takes over in one store. Bytes that others wrote
//! (`echo >>`) are segments without a checksum. Checksums are CRC-32 (ISO-HDLC), which can be combined.

use std::sync::atomic::Ordering;

use crc32fast::Hasher;

use crate::fs::Identity;
use crate::layout::{
    ARCHIVE_SEGMENTS, ARCHIVES, ArchiveLedger, FileEntry, Ledger, SEGMENT_FOREIGN, SEGMENTS,
    Segment,
};

const GRANULE_START: u64 = 256 << 10;

/// A segment as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// Number of records.
    pub count: u64,
    /// CRC-32 of the bytes; None: somebody else wrote them.
    pub crc: Option<u32>,
}

impl Run {
    fn empty_at(start: u64) -> Run {
        Run {
            start,
            len: 0,
            count: 0,
            crc: Some(0),
        }
    }

    /// The byte after the last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// The run with `bytes`, which are `records` records, behind it.
    pub(crate) fn extended(self, bytes: &[u8], records: u64) -> Run {
        let mut hasher = Hasher::new_with_initial(self.crc.unwrap_or(0));
        hasher.update(bytes);
        let crc = Some(hasher.finalize());
        Run {
            len: self.len + bytes.len() as u64,
            count: self.count + records,
            crc,
            ..self
        }
    }

    fn joins(&self, next: &Run) -> bool {
        self.end() == next.start && self.crc.is_some() == next.crc.is_some()
    }

    fn joined(self, next: Run) -> Run {
        let crc = self.crc.zip(next.crc).map(|(left, right)| {
            let mut hasher = Hasher::new_with_initial_len(left, self.len);
            hasher.combine(&Hasher::new_with_initial_len(right, next.len));
            hasher.finalize()
        });
        Run {
            start: self.start,
            len: self.len + next.len,
            count: self.count + next.count,
            crc,
        }
    }
}

impl Segment {
    fn load(&self) -> Run {
        let crc = self.crc.load(Ordering::Relaxed);
        Run {
            start: self.start.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            count: self.count.load(Ordering::Relaxed),
            crc: (crc & SEGMENT_FOREIGN == 0).then_some(crc as u32),
        }
    }

    fn store(&self, run: Run) {
        self.start.store(run.start, Ordering::Relaxed);
        self.len.store(run.len, Ordering::Relaxed);
        self.count.store(run.count, Ordering::Relaxed);
        self.crc.store(
            run.crc.map_or(SEGMENT_FOREIGN, u64::from),
            Ordering::Relaxed,
        );
    }
}

fn current(entry: &FileEntry) -> &Ledger {
    &entry.ledgers[entry.live.ledger_at.load(Ordering::Relaxed) as usize & 1]
}

fn used(ledger: &Ledger) -> usize {
    (ledger.used.load(Ordering::Relaxed) as usize).min(SEGMENTS - 1)
}

/// The open run.
#[inline]
pub(crate) fn open_run(entry: &FileEntry) -> Run {
    let ledger = current(entry);
    match used(ledger) {
        0 => Run::empty_at(0),
        used => ledger.segments[used - 1].load(),
    }
}

/// Where the next byte is expected.
#[inline]
pub(crate) fn end(entry: &FileEntry) -> u64 {
    open_run(entry).end()
}

/// Stores the open run as it is after a batch.
#[inline]
pub(crate) fn set_open_run(entry: &FileEntry, len: u64, count: u64, crc: u32) {
    let ledger = current(entry);
    if let Some(segment) = used(ledger)
        .checked_sub(1)
        .map(|last| &ledger.segments[last])
    {
        segment.len.store(len, Ordering::Relaxed);
        segment.count.store(count, Ordering::Relaxed);
        segment.crc.store(u64::from(crc), Ordering::Relaxed);
    }
}

/// Begins the ledger of a file whose first `start` bytes are not ours.
pub(crate) fn begin(entry: &FileEntry, start: u64) {
    let ledger = current(entry);
    ledger.used.store(0, Ordering::Relaxed);
    ledger.granule.store(GRANULE_START, Ordering::Relaxed);
    ledger.segments[0].store(Run::empty_at(start));
    // ORDERING: the segment is complete before it counts.
    ledger.used.store(1, Ordering::Release);
}

/// Makes room for another batch in the open run: closes it when it is long, merges when the table is full.
#[inline]
pub(crate) fn make_room(entry: &FileEntry) {
    let ledger = current(entry);
    let open = open_run(entry);
    let is_long = open.len >= ledger.granule.load(Ordering::Relaxed).max(GRANULE_START);
    if used(ledger) == 0 || open.crc.is_none() || is_long {
        push(entry, Run::empty_at(open.end()));
    }
}

/// Replaces all that the ledger says from `start` on by `runs`. Doing it twice is the same as doing it once.
pub(crate) fn rewrite_from(entry: &FileEntry, start: u64, runs: &[Run]) {
    let ledger = current(entry);
    let keep = (0..used(ledger))
        .take_while(|index| ledger.segments[*index].load().start < start)
        .count();
    // ORDERING: later segments are out of use before they are overwritten.
    ledger.used.store(keep as u64, Ordering::Release);
    for run in runs {
        push(entry, *run);
    }
}

fn push(entry: &FileEntry, run: Run) {
    let mut ledger = current(entry);
    if used(ledger) == SEGMENTS - 1 {
        merge(entry);
        ledger = current(entry);
    }
    let last = used(ledger);
    ledger.segments[last.min(SEGMENTS - 2)].store(run);
    // ORDERING: as in `begin`.
    ledger.used.store(last as u64 + 1, Ordering::Release);
}

/// Merges neighbours into the other table and puts that in force.
fn merge(entry: &FileEntry) {
    let at = entry.live.ledger_at.load(Ordering::Relaxed) & 1;
    let (from, to) = (&entry.ledgers[at as usize], &entry.ledgers[1 - at as usize]);
    let runs = fold(runs_of(from), (SEGMENTS - 1) / 2);
    for (segment, run) in to.segments.iter().zip(&runs) {
        segment.store(*run);
    }
    to.used.store(runs.len() as u64, Ordering::Relaxed);
    to.granule.store(
        from.granule
            .load(Ordering::Relaxed)
            .max(GRANULE_START)
            .saturating_mul(2),
        Ordering::Relaxed,
    );
    // CRASH: either table is complete, whichever is in force. ORDERING: the copy is complete before it is.
    entry.live.ledger_at.store(1 - at, Ordering::Release);
}

fn runs_of(ledger: &Ledger) -> Vec<Run> {
    ledger.segments[..used(ledger)]
        .iter()
        .map(Segment::load)
        .collect()
}

/// Joins neighbours, the shortest pair first, until at most `most` runs are left. Foreign bytes between ours make a
/// longer run of unknown content where nothing else helps.
fn fold(mut runs: Vec<Run>, most: usize) -> Vec<Run> {
    runs.retain(|run| run.len > 0);
    while runs.len() > most.max(1) {
        let pairs = || 0..runs.len() - 1;
        let weight = |index: &usize| runs[*index].len + runs[*index + 1].len;
        let index = pairs()
            .filter(|index| runs[*index].joins(&runs[*index + 1]))
            .min_by_key(weight);
        match index.or_else(|| pairs().min_by_key(weight)) {
            Some(index) => {
                let next = runs.remove(index + 1);
                let run = runs[index];
                runs[index] = if run.joins(&next) {
                    run.joined(next)
                } else {
                    unknown(run, next)
                };
            }
            None => break,
        }
    }
    runs
}

fn unknown(run: Run, next: Run) -> Run {
    Run {
        start: run.start,
        len: next.end().saturating_sub(run.start),
        count: run.count + next.count,
        crc: None,
    }
}

/// The runs of the current file.
pub(crate) fn runs(entry: &FileEntry) -> Vec<Run> {
    runs_of(current(entry))
}

/// Keeps what is known of the file that is rotated out under its rotation number. Doing it twice is harmless.
pub(crate) fn archive(entry: &FileEntry, number: u64, identity: Identity) {
    let runs = fold(runs(entry), ARCHIVE_SEGMENTS);
    let archive = &entry.archives[number as usize % ARCHIVES];
    archive.number.store(0, Ordering::Release);
    archive.ino.store(identity.ino, Ordering::Relaxed);
    archive.compressed_ino.store(0, Ordering::Relaxed);
    archive
        .closed_ns
        .store(crate::clock::wall_ns(), Ordering::Relaxed);
    for (segment, run) in archive.segments.iter().zip(&runs) {
        segment.store(*run);
    }
    archive.used.store(runs.len() as u64, Ordering::Relaxed);
    // ORDERING: the number is stored last; 0 means that the entry is not to be read.
    archive.number.store(number, Ordering::Release);
}

/// Says that the archive `ino` was compressed into `compressed_ino`: the youngest with that number, which an older one may have
/// had before it was compressed and deleted.
pub(crate) fn note_compressed(entry: &FileEntry, ino: u64, compressed_ino: u64) {
    let number = |archive: &&ArchiveLedger| archive.number.load(Ordering::Acquire);
    let is_it = |archive: &&ArchiveLedger| archive.ino.load(Ordering::Relaxed) == ino;
    let of_it = entry.archives.iter().filter(|archive| number(archive) != 0);
    if let Some(archive) = of_it.filter(is_it).max_by_key(number) {
        archive
            .compressed_ino
            .store(compressed_ino, Ordering::Relaxed);
    }
}

/// What is known of the archive that now is the inode `ino`, and when it was closed (nanoseconds since 1970).
pub(crate) fn archive_runs(entry: &FileEntry, ino: u64) -> Option<(u64, Vec<Run>)> {
    let known = |archive: &&ArchiveLedger| {
        let is_it = archive.ino.load(Ordering::Relaxed) == ino
            || archive.compressed_ino.load(Ordering::Relaxed) == ino;
        archive.number.load(Ordering::Acquire) != 0 && is_it
    };
    let newest = entry
        .archives
        .iter()
        .filter(known)
        .max_by_key(|archive| archive.number.load(Ordering::Relaxed))?;
    let used = (newest.used.load(Ordering::Relaxed) as usize).min(ARCHIVE_SEGMENTS);
    let runs = newest.segments[..used].iter().map(Segment::load);
    Some((newest.closed_ns.load(Ordering::Relaxed), runs.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::FILES_AT;
    use crate::shm::Shm;

    fn with_entry(test: impl FnOnce(&FileEntry)) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILES_AT as u64).unwrap();
        test(Shm::map(&file, FILES_AT).unwrap().at(0));
    }

    fn append(entry: &FileEntry, bytes: &[u8]) {
        make_room(entry);
        let after = open_run(entry).extended(bytes, 1);
        set_open_run(entry, after.len, after.count, after.crc.unwrap());
    }

    #[test]
    fn merged_runs_still_add_up_to_the_checksum_of_the_bytes() {
        with_entry(|entry| {
            begin(entry, 100);
            let mut content = Vec::new();
            for number in 0..3000_u32 {
                let bytes = vec![number as u8; 64 << 10];
                append(entry, &bytes);
                content.extend(bytes);
            }
            let runs = runs(entry);
            assert!(runs.len() < SEGMENTS);
            assert_eq!(runs.iter().map(|run| run.count).sum::<u64>(), 3000);
            assert_eq!(end(entry), 100 + content.len() as u64);
            for run in runs {
                let bytes = &content[run.start as usize - 100..][..run.len as usize];
                assert_eq!(run.crc, Some(crc32fast::hash(bytes)), "{run:?}");
            }
        });
    }

    /// What an archive was before it was compressed is deleted, and its inode number is the next file's.
    #[test]
    fn an_inode_number_that_is_used_again_is_the_youngest_archives() {
        with_entry(|entry| {
            let identity = |ino| Identity { dev: 1, ino };
            archive(entry, 1, identity(7));
            note_compressed(entry, 7, 100);
            archive(entry, 2, identity(7));
            note_compressed(entry, 7, 200);
            let packed = |number: usize| {
                let compressed_ino = &entry.archives[number].compressed_ino;
                compressed_ino.load(Ordering::Relaxed)
            };
            assert_eq!((packed(1), packed(2)), (100, 200));
        });
    }

    #[test]
    fn foreign_bytes_stay_apart_and_an_archive_keeps_them() {
        with_entry(|entry| {
            begin(entry, 0);
            append(entry, b"ours\n");
            for _twice in 0..2 {
                let foreign = Run {
                    start: 5,
                    len: 8,
                    count: 0,
                    crc: None,
                };
                rewrite_from(entry, 5, &[foreign, Run::empty_at(13)]);
            }
            append(entry, b"ours again\n");
            archive(entry, 1, Identity { dev: 1, ino: 77 });
            let (_, runs) = archive_runs(entry, 77).unwrap();
            assert_eq!(
                runs.iter()
                    .map(|run| (run.start, run.len))
                    .collect::<Vec<_>>(),
                [(0, 5), (5, 8), (13, 11)]
            );
            assert_eq!(runs[1].crc, None);
            assert!(archive_runs(entry, 78).is_none());
        });
    }
}
