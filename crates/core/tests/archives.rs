//! When the publishers rest, no archive that should be compressed is left plain: whoever made it, and however the
//! thread that compresses was interrupted. That thread takes the lease for short steps, and drains (and rotates) what
//! others published meanwhile; what comes of that must be done as well.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use logboom::{Compress, Log, LogOptions, Severity};
use support::Place;
use support::machine::{secs, within};

/// Names of the archives that are not compressed.
fn plain_archives(logs: &Path) -> Vec<String> {
    std::fs::read_dir(logs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("app.log.") && !name.ends_with(".gz"))
        .collect()
}

#[test]
fn after_each_burst_of_rotations_every_archive_is_compressed() {
    let place = Place::new();
    let options = LogOptions {
        max_bytes: 500,
        backup_count: 5,
        compress: Compress::Gzip,
        ..place.options()
    };
    let log = Log::open(place.log(), &options).unwrap();
    let line = [&b"x".repeat(599)[..], b"\n"].concat();
    for burst in 0..600u64 {
        // Each record is longer than the limit, so each one but the first rotates. The pauses let the thread take the
        // lease, so that it is the one that drains, and rotates for, some of them.
        for number in 0..3 {
            let _ = log.publish(Severity::INFO, &line);
            std::thread::sleep(Duration::from_micros((burst * 37 + number * 101) % 400));
        }
        within(secs(5), "all archives are compressed", || {
            plain_archives(&place.logs).is_empty()
        });
    }
}

/// What the domain knows of a file is known by the inode. That of a log that was deleted is another file's by now.
#[test]
fn an_archive_is_not_taken_for_a_deleted_log_whose_inode_it_has() {
    let place = Place::new();
    let other = place.logs.join("other.log");
    let log = Log::open(&other, &place.options()).unwrap();
    let _ = log.publish(Severity::INFO, b"of the other log\n");
    assert!(log.flush(secs(5)));
    let inode = std::fs::metadata(&other).unwrap().ino();
    drop(log);
    std::fs::remove_file(&other).unwrap();
    let options = LogOptions {
        max_bytes: 500,
        backup_count: 40,
        ..place.options()
    };
    let log = Log::open(place.log(), &options).unwrap();
    for number in 0..1000 {
        let _ = log.publish(Severity::INFO, format!("record {number:06}\n").as_bytes());
    }
    assert!(log.flush(secs(5)));
    // SAFETY: sets a variable of this process, whose only thread this is.
    unsafe { std::env::set_var("LOGBOOM_STATE_DIR", &place.state) };
    let mut met = false;
    for entry in std::fs::read_dir(&place.logs).unwrap().flatten() {
        let facts = entry.metadata().unwrap();
        met |= facts.ino() == inode;
        if !entry.file_name().to_string_lossy().starts_with("app.log") {
            continue;
        }
        let known = logboom::status::known_content(&place.logs, facts.ino())
            .unwrap()
            .unwrap();
        assert_eq!(known.log, place.log().canonicalize().unwrap());
        let len: u64 = known.runs.iter().map(|run| run.len).sum();
        assert_eq!(len, facts.len(), "{:?}", entry.file_name());
    }
    if !met {
        println!("skipped: this file system did not use the inode again");
    }
}
