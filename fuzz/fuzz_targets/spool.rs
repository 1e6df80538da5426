//! Any bytes as a line and as a segment: they are decoded or passed over. A record is one only with its checksum, the same ones are
//! found whether the bytes are there at once or come in two parts, and all bytes are accounted for.
//!
//! The first two bytes of an input say where the second part begins, the rest is the segment.

#![no_main]

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use logboom_relay::record::Record;
use logboom_relay::source::{Parcel, Source};
use logboom_relay::spool::{Options, Reader, line};

thread_local! {
    static ROOT: tempfile::TempDir = in_memory();
}

/// A directory that is synced at no cost, where there is such a thing.
fn in_memory() -> tempfile::TempDir {
    let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    made.expect("a temporary directory can be made")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((at, segment)) = bytes.split_at_checked(2) else {
        return;
    };
    for one in segment.split(|byte| *byte == b'\n') {
        check_line(one);
    }
    let at = usize::from(u16::from_le_bytes([at[0], at[1]])) % (segment.len() + 1);
    ROOT.with(|root| {
        let at_once = read_in_parts(root.path(), &[segment]);
        let in_parts = read_in_parts(root.path(), &[&segment[..at], &segment[at..]]);
        assert_eq!(at_once, in_parts);
    });
});

fn check_line(bytes: &[u8]) {
    if let Some(found) = line::decode(bytes) {
        let mut again = Vec::new();
        line::encode(found.payload, found.id, &mut again);
        assert_eq!(again.strip_suffix(b"\n"), Some(bytes));
    }
    if let Some((found, len)) = line::decode_first(bytes) {
        assert_eq!(line::decode(&bytes[..len]), Some(found));
    }
    Record::from_json_line(bytes);
    let mut encoded = Vec::new();
    let payload: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| *byte != b'\t')
        .collect();
    line::encode(&payload, "c0ffee.1.2a", &mut encoded);
    let found = line::decode(&encoded[..encoded.len() - 1]).expect("what was written");
    assert_eq!((found.payload, found.id), (&payload[..], "c0ffee.1.2a"));
}

/// The records of a segment that is written in parts and then closed; none if it is of another version.
fn read_in_parts(root: &Path, parts: &[&[u8]]) -> Option<Vec<Record>> {
    let (current, closed) = (root.join("f.spool"), root.join("f.spool.1"));
    for old in [&current, &closed, &root.join("f.cursor")] {
        let _ = fs::remove_file(old);
    }
    let options = Options {
        line_bytes_max: 4096,
        ..Options::default()
    };
    let mut reader = Reader::open(root, "f", options).expect("the directory is there");
    let mut parcels = VecDeque::new();
    let mut read = |reader: &mut Reader| -> Option<()> {
        loop {
            match reader.read(3, &mut parcels) {
                Ok(0) => return Some(()),
                Ok(_) => {}
                Err(cause) if cause.kind() == std::io::ErrorKind::InvalidData => return None,
                Err(cause) => panic!("{cause}"),
            }
        }
    };
    for part in parts {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&current)
            .expect("it can be made");
        file.write_all(part).expect("there is room");
        read(&mut reader)?;
    }
    fs::rename(&current, &closed).expect("it can be renamed");
    read(&mut reader)?;
    check_account(&reader, &parcels, parts.concat().len());
    if let Some(last) = parcels.back() {
        reader.settle(last.end).expect("it can be settled");
    }
    assert!(!closed.exists(), "a segment that was read is deleted");
    Some(parcels.into_iter().map(|parcel| parcel.record).collect())
}

fn check_account(reader: &Reader, parcels: &VecDeque<Parcel>, len: usize) {
    let damage = reader.damage();
    let records: u64 = parcels.iter().map(|parcel| parcel.bytes).sum();
    let known = records + damage.bytes_skipped;
    assert!(
        known == len as u64 || known + 4 == len as u64,
        "{known} of {len} bytes"
    );
    assert_eq!(damage.lines_skipped == 0, damage.bytes_skipped == 0);
}
