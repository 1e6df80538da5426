//! Any file name, suffix pattern, unit or schedule words: read or refused, and what is read is what would be written.
//!
//! An input is up to 24 bytes of numbers (two schedule words, then the fields of a time), and from the 25th on a text of
//! lines: a log's name, a suffix pattern, a unit of time, and the names in its directory.

#![no_main]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use logboom::files::compress::{Compress, part_source};
use logboom::files::naming::{
    ArchiveId, Entry, Family, Scheme, Step, Suffix, numbered_name, parse_archive_name,
};
use logboom::files::schedule::{Civil, Schedule, When, Zone};

fuzz_target!(|bytes: &[u8]| {
    let Some((numbers, text)) = bytes.split_at_checked(24) else {
        return;
    };
    let mut lines = text.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
    let mut line = || lines.next().unwrap_or_default();
    let (base, pattern, unit) = (line(), line(), line());
    let names: Vec<&OsStr> = lines.take(64).collect();
    words(numbers);
    if let Some(when) = unit.to_str().and_then(|unit| unit.parse::<When>().ok()) {
        assert_eq!(when.to_string().parse::<When>().ok(), Some(when));
    }
    let suffix = pattern.to_str().and_then(Suffix::parse);
    assert_eq!(
        suffix.is_some(),
        pattern.to_str().is_some_and(Suffix::is_native)
    );
    if let Some(suffix) = suffix {
        timed(base, &suffix, time(numbers));
        directory(base, &Scheme::Timed(suffix), &names);
    }
    directory(base, &Scheme::Numbered, &names);
});

fn word(numbers: &[u8], index: usize) -> u64 {
    let bytes = &numbers[index * 8..index * 8 + 8];
    u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}

fn words(numbers: &[u8]) {
    let words = [word(numbers, 0), word(numbers, 1)];
    let Ok(schedule) = Schedule::from_words(words) else {
        return;
    };
    assert_eq!(schedule.to_words(), words);
    let (previous_s, now_s) = (word(numbers, 2) as i64, word(numbers, 1) as i64);
    let next_s = schedule.next_rollover(previous_s, now_s, &Zone::utc());
    assert!(next_s > previous_s.max(now_s) || next_s == i64::MAX);
    schedule.archive_time(next_s, &Zone::utc());
}

/// Years that the calendar writes with four digits; the other fields need not be a time of any day.
fn time(numbers: &[u8]) -> Civil {
    let fields = &numbers[16..];
    let two_digits = |at: usize| fields[at] % 100;
    Civil {
        year: i16::from_le_bytes([fields[0], fields[1]]).unsigned_abs() as i16 & 0x1fff,
        month: two_digits(2),
        day: two_digits(3),
        hour: two_digits(4),
        minute: two_digits(5),
        second: two_digits(6),
    }
}

/// A name that the log gives is read as what it was given for, whatever compressed it.
fn timed(base: &OsStr, suffix: &Suffix, time: Civil) {
    let stamp = suffix.format(&time);
    assert!(suffix.matches(&stamp), "{stamp:?}");
    let scheme = Scheme::Timed(suffix.clone());
    for clash in [0, 1, 17] {
        let id = ArchiveId::Time {
            stamp: stamp.clone(),
            clash,
        };
        for compress in [Compress::None, Compress::Gzip, Compress::Zstd] {
            let name = name_of(base, &id, compress);
            let read = parse_archive_name(base, &scheme, &name);
            assert_eq!(read, Some((id.clone(), compress)), "{name:?}");
        }
    }
}

/// The one name of an archive.
fn name_of(base: &OsStr, id: &ArchiveId, compress: Compress) -> OsString {
    let mut name = base.to_owned();
    match id {
        ArchiveId::Number(number) => return numbered_name(base, *number, compress),
        ArchiveId::Time { stamp, clash: 0 } => name.push(format!(".{stamp}")),
        ArchiveId::Time { stamp, clash } => name.push(format!(".{stamp}.{clash}")),
    }
    name.push(compress.extension());
    name
}

fn directory(base: &OsStr, scheme: &Scheme, names: &[&OsStr]) {
    for name in names {
        if let Some((id, compress)) = parse_archive_name(base, scheme, name) {
            assert_eq!(name_of(base, &id, compress), **name);
        }
        if let Some(source) = part_source(base, scheme, name) {
            let read = parse_archive_name(base, scheme, &source);
            assert!(
                matches!(read, Some((_, Compress::None))),
                "{source:?} of {name:?}"
            );
        }
    }
    let there: BTreeSet<OsString> = names.iter().map(|name| OsString::from(*name)).collect();
    let family = Family::read(base, scheme, there.iter().map(entry).collect());
    if *scheme == Scheme::Numbered {
        for backup_count in [0, 1, 3, u32::MAX] {
            rotate(there.clone(), &family.numbered_rotation(backup_count));
        }
        return;
    }
    for archive in &family.archives {
        let ArchiveId::Time { stamp, clash } = &archive.id else {
            panic!("a number in a timed log");
        };
        // No log comes to the end of the numbers for one time.
        if *clash < 999_999_999 {
            let free = family.timed_name(stamp);
            let highest = family.archives.iter().any(|other| is_last(&other.id));
            assert!(highest || !there.contains(&free), "{free:?} is taken");
        }
    }
}

fn is_last(id: &ArchiveId) -> bool {
    matches!(
        id,
        ArchiveId::Time {
            clash: 999_999_999,
            ..
        }
    )
}

fn entry(name: &OsString) -> Entry {
    Entry {
        name: name.clone(),
        inode: 1,
        len_bytes: 1,
        mtime_ns: name.len() as i64 / 8,
        is_file: true,
    }
}

/// No step overwrites a file or names one that is not there.
fn rotate(mut there: BTreeSet<OsString>, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Remove(name) => assert!(there.remove(name), "{name:?} is not there"),
            Step::Rename { from, to } => {
                assert!(there.remove(from), "{from:?} is not there");
                assert!(there.insert(to.clone()), "{to:?} is overwritten");
            }
        }
    }
}
