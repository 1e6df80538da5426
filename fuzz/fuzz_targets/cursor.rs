//! Any bytes as a cursor file, and any text in a sound one: reading begins behind a record or at the oldest one, or is refused for
//! the version; nothing that is there is skipped without having been settled according to the cursor.
//!
//! The first byte of an input says what the rest is: a file (even), or the text of a slot (odd).

#![no_main]

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use logboom_relay::cursor::{Found, decode};
use logboom_relay::source::{Began, Source};
use logboom_relay::spool::{Options, Reader, line};

thread_local! {
    static ROOT: tempfile::TempDir = in_memory();
}

const RECORDS: u64 = 9;

/// A directory that is synced at no cost, where there is such a thing.
fn in_memory() -> tempfile::TempDir {
    let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    made.expect("a temporary directory can be made")
}

/// Three segments of three records.
fn write_segments(root: &Path) {
    for segment in 0..3 {
        let mut bytes = line::HEADER.to_vec();
        for number in segment * 3..segment * 3 + 3 {
            let payload = format!(r#"{{"timestamp":"2026-11-20T16:30:01Z","body":"{number}"}}"#);
            line::encode(
                payload.as_bytes(),
                &format!("c0ffee.1.{number:x}"),
                &mut bytes,
            );
        }
        let name = ["f.spool.1", "f.spool.2", "f.spool"][segment as usize];
        fs::write(root.join(name), bytes).expect("there is room");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let file = if kind % 2 == 0 {
        rest.to_vec()
    } else {
        slot(rest)
    };
    let (found, sequence) = decode(&file);
    if let Found::Text(text) = &found {
        assert!(sequence < u64::MAX && text.len() < file.len());
    }
    ROOT.with(|root| {
        write_segments(root.path());
        let path = root.path().join("f.cursor");
        fs::write(&path, &file).expect("there is room");
        match Reader::open(root.path(), "f", Options::default()) {
            Err(cause) => {
                assert_eq!(cause.kind(), ErrorKind::InvalidData);
                assert!(matches!(found, Found::Unknown(_)));
                assert_eq!(
                    fs::read(&path).expect("it is there"),
                    file,
                    "it is left alone"
                );
            }
            Ok(reader) => check_reading(reader, &found),
        }
    });
});

/// What is read are the last records without a gap; all of them, unless the cursor said otherwise.
fn check_reading(mut reader: Reader, found: &Found) {
    let mut parcels = VecDeque::new();
    while reader.read(5, &mut parcels).expect("it can be read") > 0 {}
    let numbers: Vec<u64> = parcels
        .iter()
        .map(|parcel| parcel.record.body.parse().expect("a number"))
        .collect();
    let first = RECORDS - numbers.len() as u64;
    assert_eq!(numbers, (first..RECORDS).collect::<Vec<_>>());
    if first > 0 {
        assert!(matches!(found, Found::Text(_)) && *reader.began() == Began::AtCursor);
    }
}

/// A cursor file whose first slot has this text.
fn slot(text: &[u8]) -> Vec<u8> {
    let counted = format!("{:016x} {:08x}", 2, text.len());
    let crc = crc32fast::hash(&[counted.as_bytes(), text].concat());
    let mut file = [format!("LC1 {counted} {crc:08x}\n").as_bytes(), text].concat();
    file.resize(file.len().next_multiple_of(8192), 0);
    file
}
