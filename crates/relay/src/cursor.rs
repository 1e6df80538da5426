//! The file that remembers up to where a source is settled. `SPOOL.md` specifies it.
//!
//! Two slots are written in turn, each with a number that counts on and a checksum, and each followed by a sync: while one is being
//! written the other is whole, so that a crash or a power cut at any moment leaves the text stored last or the one before it. No
//! file is made or renamed for that: where the disk is full a delivered segment can still be settled, and deleted, which is what
//! makes room. Only a text that has outgrown the slots needs a new file.
//!
//! What always holds: one process has a cursor at a time (`flock`). A cursor that cannot be read costs doubles, never records:
//! whoever finds it damaged begins at the oldest record. One of an unknown version is refused and left as it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::hex;

/// What each slot begins with: a magic and the version.
const MAGIC: &[u8; 4] = b"LC1 ";
/// `LC1 SEQUENCE LENGTH CRC\n`, see [`encode`].
const HEAD_BYTES: usize = 4 + 16 + 1 + 8 + 1 + 8 + 1;
/// Of the head, what the checksum covers.
const COUNTED_BYTES: usize = HEAD_BYTES - 10;
/// Slots are multiples of this, so that no page of the file has bytes of both.
const SLOT_BYTES: usize = 4096;
/// The longest text is less than this by the head.
const SLOT_BYTES_MAX: usize = 8 << 20;

/// What a cursor file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever stored.
    Nothing,
    /// The text that was stored last, as far as it is whole.
    Text(Vec<u8>),
    /// Neither slot can be believed.
    Damaged,
    /// It is of this version, which nothing here reads.
    Unknown(u8),
}

/// An open cursor file, held by this process alone.
#[derive(Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    file: File,
    slot_bytes: usize,
    /// Number of the text stored last, and its slot.
    sequence: u64,
}

impl CursorFile {
    /// Opens the file, or makes it (0600), and says what it holds.
    ///
    /// # Errors
    /// Another process has it (`WouldBlock`), its version is unknown (`InvalidData`), or it cannot be read or made.
    pub(crate) fn open(path: &Path) -> io::Result<(CursorFile, Found)> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(|cause| failed("open", path, &cause))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(path)),
                Err(TryLockError::Error(cause)) => return Err(failed("lock", path, &cause)),
            }
            // The holder may just have put a longer file in its place.
            let is_there = std::fs::metadata(path)
                .is_ok_and(|facts| file.metadata().is_ok_and(|own| own.ino() == facts.ino()));
            if is_there {
                return CursorFile::read(path, file);
            }
        }
    }

    fn read(path: &Path, file: File) -> io::Result<(CursorFile, Found)> {
        let io = |cause: io::Error| failed("read", path, &cause);
        let len = file.metadata().map_err(io)?.len();
        let mut bytes = vec![0; (len as usize).min(2 * SLOT_BYTES_MAX)];
        file.read_exact_at(&mut bytes, 0).map_err(io)?;
        let (found, sequence) = decode(&bytes);
        if let Found::Unknown(version) = found {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "failed to read `{}`: its version is {}, this program knows version 1; ship with the program that wrote \
                     it, or move the file away to begin at the oldest record",
                    path.display(),
                    char::from(version)
                ),
            ));
        }
        let mut cursor = CursorFile {
            path: path.to_owned(),
            file,
            slot_bytes: slot_bytes_of(bytes.len()).unwrap_or(SLOT_BYTES),
            sequence,
        };
        if !matches!(found, Found::Text(_)) {
            cursor.clear()?;
        }
        Ok((cursor, found))
    }

    /// Takes the room that storing needs, so that it is there when the disk is full.
    fn clear(&mut self) -> io::Result<()> {
        let io = |cause: io::Error| failed("write", &self.path, &cause);
        self.file.set_len(2 * self.slot_bytes as u64).map_err(io)?;
        let zeros = vec![0; 2 * self.slot_bytes];
        self.file.write_all_at(&zeros, 0).map_err(io)?;
        // CRASH(cursor-created): no slot can be read, nothing was ever stored.
        crash_point!("cursor-created");
        self.file.sync_all().map_err(io)?;
        sync_directory_of(&self.path)
    }

    /// Stores a text. When this returns it is on the disk.
    ///
    /// # Errors
    /// The disk refuses, or the text is longer than 8 MiB. What was stored before is still there; it may be tried again.
    pub(crate) fn store(&mut self, text: &[u8]) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let slot = encode(sequence, text);
        if slot.len() > self.slot_bytes {
            return self.grow(&slot, sequence);
        }
        let io = |cause: io::Error| failed("write", &self.path, &cause);
        let at = sequence % 2 * self.slot_bytes as u64;
        // CRASH(cursor-torn): this slot is of no use, the other one is whole. Within the write; a test cuts the file.
        self.file.write_all_at(&slot, at).map_err(io)?;
        // CRASH(cursor-written): as cursor-torn after a power cut, else as cursor-synced.
        crash_point!("cursor-written");
        self.file.sync_data().map_err(io)?;
        self.sequence = sequence;
        Ok(())
    }

    /// Stores a text that does not fit in a longer file, which is then put in place of this one.
    fn grow(&mut self, slot: &[u8], sequence: u64) -> io::Result<()> {
        let io = |cause: io::Error| failed("write a longer", &self.path, &cause);
        let slot_bytes = slot.len().next_multiple_of(SLOT_BYTES) * 2;
        if slot_bytes > SLOT_BYTES_MAX {
            return Err(io(io::Error::other("it is longer than 8 MiB")));
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let draft = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(io)?;
        file.lock().map_err(io)?;
        file.write_all_at(&vec![0; 2 * slot_bytes], 0).map_err(io)?;
        let at = sequence % 2 * slot_bytes as u64;
        file.write_all_at(slot, at).map_err(io)?;
        file.sync_all().map_err(io)?;
        // CRASH(cursor-copied): the old file counts; the draft is overwritten by the next.
        crash_point!("cursor-copied");
        std::fs::rename(&draft, &self.path).map_err(io)?;
        sync_directory_of(&self.path)?;
        self.file = file;
        self.slot_bytes = slot_bytes;
        self.sequence = sequence;
        Ok(())
    }
}

/// `LC1 SEQUENCE LENGTH CRC`, a line feed, the text: sequence and length in 16 and 8 hexadecimal digits, the checksum, CRC-32
/// (ISO-HDLC), over both and the text.
fn encode(sequence: u64, text: &[u8]) -> Vec<u8> {
    let mut slot = format!("LC1 {sequence:016x} {:08x}", text.len()).into_bytes();
    let crc = slot_crc(&slot, text);
    slot.extend_from_slice(format!(" {crc:08x}\n").as_bytes());
    slot.extend_from_slice(text);
    slot
}

fn slot_crc(counted: &[u8], text: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&counted[MAGIC.len()..]);
    crc.update(text);
    crc.finalize()
}

/// What the content of a cursor file says, and the number of the text.
pub fn decode(bytes: &[u8]) -> (Found, u64) {
    if bytes.iter().all(|byte| *byte == 0) {
        return (Found::Nothing, 0);
    }
    let slots: Vec<&[u8]> = match slot_bytes_of(bytes.len()) {
        Some(slot_bytes) => bytes.chunks(slot_bytes).collect(),
        None => vec![bytes],
    };
    // A sequence at its end could not count on.
    let whole = slots
        .iter()
        .filter_map(|slot| decode_slot(slot))
        .filter(|(sequence, _)| *sequence < u64::MAX);
    if let Some((sequence, text)) = whole.max_by_key(|(sequence, _)| *sequence) {
        return (Found::Text(text.to_vec()), sequence);
    }
    let version_of = |slot: &&[u8]| match slot {
        [b'L', b'C', version @ b'0'..=b'9', b' ', ..] if *version != b'1' => Some(*version),
        _ => None,
    };
    let unknown = slots.iter().find_map(version_of);
    (unknown.map_or(Found::Damaged, Found::Unknown), 0)
}

fn decode_slot(slot: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = slot.split_at_checked(HEAD_BYTES)?;
    if !head.starts_with(MAGIC) || head[20] != b' ' || head[29] != b' ' || head[38] != b'\n' {
        return None;
    }
    let sequence = hex::number(&head[4..20])?;
    let text = rest.get(..hex::number(&head[21..29])? as usize)?;
    let crc = hex::number(&head[30..38])?;
    (u64::from(slot_crc(&head[..COUNTED_BYTES], text)) == crc).then_some((sequence, text))
}

/// The length of each of two slots in a file of this length.
fn slot_bytes_of(bytes: usize) -> Option<usize> {
    (bytes > 0 && bytes.is_multiple_of(2 * SLOT_BYTES) && bytes <= 2 * SLOT_BYTES_MAX)
        .then_some(bytes / 2)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|cause| failed("sync", directory, &cause))
}

fn held(path: &Path) -> io::Error {
    let text = format!(
        "failed to open `{}`: another process ships with it; there can be one at a time",
        path.display()
    );
    io::Error::new(io::ErrorKind::WouldBlock, text)
}

/// An error that says what failed with which file, of the same kind.
pub(crate) fn failed(verb: &str, path: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(
        cause.kind(),
        format!("failed to {verb} `{}`: {cause}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("central.cursor");
        (keep, path)
    }

    fn opened(path: &Path) -> (CursorFile, Found) {
        CursorFile::open(path).unwrap()
    }

    fn text(text: &str) -> Found {
        Found::Text(text.into())
    }

    #[test]
    fn the_text_stored_last_is_found() {
        let (_keep, path) = place();
        let (mut cursor, found) = opened(&path);
        assert_eq!(found, Found::Nothing);
        for number in 0..5 {
            cursor.store(format!("text {number}").as_bytes()).unwrap();
            drop(cursor);
            let (again, found) = opened(&path);
            assert_eq!(found, text(&format!("text {number}")));
            cursor = again;
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 8192);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_slot_is_the_head_with_number_length_and_checksum_and_the_text() {
        let slot = encode(0x1f, b"{}");
        assert_eq!(slot, b"LC1 000000000000001f 00000002 39258d93\n{}");
        assert_eq!(crc32fast::hash(b"000000000000001f 00000002{}"), 0x3925_8d93);
        assert_eq!(slot.len(), HEAD_BYTES + 2);
    }

    #[test]
    fn a_write_torn_at_any_byte_leaves_the_text_before_it() {
        let (_keep, path) = place();
        let (mut cursor, _) = opened(&path);
        for number in 1..=2 {
            cursor.store(format!("text {number}").as_bytes()).unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        cursor.store(b"text three").unwrap();
        drop(cursor);
        let after = std::fs::read(&path).unwrap();
        let torn_at = |at: usize| [&after[..at], &before[at..]].concat();
        for at in 0..after.len() {
            let (found, _) = decode(&torn_at(at));
            let whole = after[..at] == torn_at(after.len())[..at] && torn_at(at) == after;
            assert_eq!(
                found,
                text(if whole { "text three" } else { "text 2" }),
                "{at}"
            );
        }
    }

    #[test]
    fn damage_to_one_slot_costs_that_slot_and_to_both_the_cursor() {
        let (_keep, path) = place();
        let (mut cursor, _) = opened(&path);
        cursor.store(b"one").unwrap();
        cursor.store(b"two").unwrap();
        drop(cursor);
        let whole = std::fs::read(&path).unwrap();
        // The second text is in the first slot.
        for at in 0..HEAD_BYTES + 3 {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(&damaged).0, text("one"), "byte {at}, bit {bit}");
                damaged[SLOT_BYTES] = b'?';
                let found = decode(&damaged).0;
                let is_known = matches!(found, Found::Damaged)
                    || matches!(found, Found::Unknown(_)) && at == 2;
                assert!(is_known, "byte {at}, bit {bit}: {found:?}");
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_damaged_and_can_be_stored_to() {
        let (_keep, path) = place();
        for garbage in [&b"x"[..], &[0xff; 8192], b"LC1 ", &[b'L'; 20_000]] {
            std::fs::write(&path, garbage).unwrap();
            let (mut cursor, found) = opened(&path);
            assert_eq!(found, Found::Damaged, "{garbage:?}");
            cursor.store(b"again").unwrap();
            drop(cursor);
            assert_eq!(opened(&path).1, text("again"));
        }
        std::fs::write(&path, [0; 8192]).unwrap();
        assert_eq!(opened(&path).1, Found::Nothing);
        std::fs::write(&path, "").unwrap();
        assert_eq!(opened(&path).1, Found::Nothing);
    }

    #[test]
    fn a_file_cut_anywhere_is_whole_or_damaged() {
        let (_keep, path) = place();
        let (mut cursor, _) = opened(&path);
        cursor.store(b"one").unwrap();
        cursor.store(b"two").unwrap();
        drop(cursor);
        let whole = std::fs::read(&path).unwrap();
        for len in 1..whole.len() {
            let expected = if len >= HEAD_BYTES + 3 {
                text("two")
            } else {
                Found::Damaged
            };
            assert_eq!(decode(&whole[..len]).0, expected, "{len}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused_and_left_alone() {
        let (_keep, path) = place();
        let mut slot = encode(7, b"of the future");
        slot[2] = b'2';
        slot.resize(8192, 0);
        std::fs::write(&path, &slot).unwrap();
        let refused = CursorFile::open(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(
            refused.to_string().contains("its version is 2"),
            "{refused}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), slot);
    }

    #[test]
    fn one_process_has_it_at_a_time() {
        let (_keep, path) = place();
        let held = opened(&path);
        let refused = CursorFile::open(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(refused.to_string().contains("another process"), "{refused}");
        drop(held);
        opened(&path);
    }

    #[test]
    fn a_text_that_outgrows_its_slots_is_stored_and_the_lock_is_kept() {
        let (_keep, path) = place();
        let (mut cursor, _) = opened(&path);
        cursor.store(b"short").unwrap();
        for len in [SLOT_BYTES - HEAD_BYTES, SLOT_BYTES, 100_000, 10] {
            let long = "x".repeat(len);
            cursor.store(long.as_bytes()).unwrap();
            assert_eq!(decode(&std::fs::read(&path).unwrap()).0, text(&long));
            assert!(CursorFile::open(&path).is_err(), "{len}: it is held");
        }
        assert!(cursor.store(&vec![b'x'; SLOT_BYTES_MAX]).is_err());
        drop(cursor);
        assert_eq!(opened(&path).1, text("xxxxxxxxxx"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, sequence: u64, stored: Vec<u8>) {
            decode(&bytes);
            let slot = encode(sequence, &stored);
            proptest::prop_assert_eq!(decode_slot(&slot), Some((sequence, &stored[..])));
        }
    }
}
