//! Each fault, planted by hand in files, must be found, counted and named; each harmless thing must not be.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;

const THREAD: Source = Source {
    worker: 1,
    incarnation: 0,
    thread: 0,
};
const OTHER: Source = Source {
    worker: 2,
    incarnation: 3,
    thread: 1,
};

/// A log directory written by hand, and what the evaluator is told about it.
struct Planted {
    directory: tempfile::TempDir,
    expected: Expectation,
}

impl Planted {
    fn new(acknowledged: u64, begun: u64) -> Self {
        let account = |source| Account {
            source,
            begun,
            acknowledged,
        };
        let expected = Expectation {
            accounts: vec![account(THREAD), account(OTHER)],
            ..Expectation::default()
        };
        Self {
            directory: tempfile::tempdir().unwrap(),
            expected,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(self, name: &str, lines: &[Vec<u8>]) -> Self {
        fs::write(self.path(name), lines.concat()).unwrap();
        self
    }

    fn rotated_out(mut self, name: &str, complete_ns: u64) -> Self {
        let inode = fs::metadata(self.path(name)).unwrap().ino();
        // In this test's clock the file was born long before: the wall clock is far ahead.
        self.expected.wall_ahead_ns = i128::MAX / 2;
        self.expected.rotations.push(Rotation {
            complete_ns,
            inode,
            first: None,
        });
        self
    }

    fn findings(&self) -> Findings {
        evaluate(&self.path("app.log"), &self.expected).unwrap()
    }

    /// Exactly the faults given, and an example of each that contains the text.
    fn check(&self, faults: &[(Fault, u64, &str)]) {
        let findings = self.findings();
        for fault in Fault::ALL {
            let expected = faults
                .iter()
                .find(|(kind, ..)| *kind == fault)
                .map_or(0, |(_, count, _)| *count);
            assert_eq!(
                findings.count(fault),
                expected,
                "{}: {:?}",
                fault.name(),
                findings.examples
            );
        }
        for (fault, _, text) in faults {
            let named = findings
                .examples
                .iter()
                .any(|e| e.fault == *fault && format!("{e:?}").contains(text));
            assert!(
                named,
                "no example of {} with {text:?}: {:?}",
                fault.name(),
                findings.examples
            );
        }
        assert_eq!(findings.clean(), faults.is_empty());
    }
}

fn line(source: Source, number: u64) -> Vec<u8> {
    let record = Record {
        source,
        number,
        begun_ns: 1000 + number,
    };
    [record.line(b"some payload of some length"), b"\n".to_vec()].concat()
}

fn lines(source: Source, numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|number| line(source, number))
        .collect()
}

/// All four records of both threads, in two files.
fn whole() -> Planted {
    let old = [lines(THREAD, 0..2), lines(OTHER, 0..4)].concat();
    Planted::new(4, 4)
        .file("app.log.1", &old)
        .file("app.log", &lines(THREAD, 2..4))
}

#[test]
fn a_whole_log_is_clean() {
    let planted = whole();
    planted.check(&[]);
    let findings = planted.findings();
    assert_eq!(
        (
            findings.acknowledged,
            findings.found,
            findings.found_in_flight,
            findings.archives
        ),
        (8, 8, 0, 1)
    );
}

#[test]
fn a_lost_record_is_found() {
    whole()
        .file("app.log", &lines(THREAD, [2]))
        .check(&[(Fault::Lost, 1, "w1.0 t0 n3")]);
}

#[test]
fn a_lost_file_is_found() {
    let planted = whole();
    fs::remove_file(planted.path("app.log.1")).unwrap();
    planted.check(&[(Fault::Lost, 6, "w2.3 t1 n0")]);
}

#[test]
fn a_doubled_record_is_found_across_files() {
    let planted = whole().file("app.log", &lines(THREAD, [0, 2, 3]));
    planted.check(&[(Fault::Duplicated, 1, "app.log")]);
    assert_eq!(planted.findings().found, 8);
}

#[test]
fn a_record_found_three_times_is_doubled_twice() {
    whole()
        .file("app.log", &lines(THREAD, [2, 2, 2, 3]))
        .check(&[(Fault::Duplicated, 2, "w1.0 t0 n2")]);
}

#[test]
fn a_torn_record_is_found_with_its_place() {
    let mut cut = line(THREAD, 2);
    cut.truncate(20);
    cut.push(b'\n');
    let planted = whole().file("app.log", &[cut, line(THREAD, 2), line(THREAD, 3)]);
    planted.check(&[(Fault::Torn, 1, "offset: Some(0)")]);
}

#[test]
fn a_fragment_that_swallows_its_neighbour_tears_one_and_loses_one() {
    let fragment = line(THREAD, 3)[..20].to_vec();
    let planted = whole().file("app.log", &[fragment, line(THREAD, 2), line(THREAD, 3)]);
    planted.check(&[(Fault::Torn, 1, "app.log"), (Fault::Lost, 1, "n2")]);
}

#[test]
fn a_record_without_its_line_feed_is_torn() {
    let mut end = line(THREAD, 3);
    end.pop();
    let planted = whole().file("app.log", &[line(THREAD, 2), end]);
    planted.check(&[(Fault::Torn, 1, "line feed"), (Fault::Lost, 1, "n3")]);
}

#[test]
fn an_empty_line_is_torn() {
    whole()
        .file(
            "app.log",
            &[line(THREAD, 2), b"\n".to_vec(), line(THREAD, 3)],
        )
        .check(&[(Fault::Torn, 1, "")]);
}

#[test]
fn a_changed_byte_is_torn() {
    let mut changed = line(THREAD, 3);
    let middle = changed.len() - 15;
    changed[middle] ^= 1;
    let planted = whole().file("app.log", &[line(THREAD, 2), changed]);
    planted.check(&[(Fault::Torn, 1, "checksum"), (Fault::Lost, 1, "n3")]);
}

#[test]
fn a_record_that_nobody_began_is_torn() {
    whole()
        .file("app.log", &lines(THREAD, 2..5))
        .check(&[(Fault::Torn, 1, "no worker began")]);
    let stranger = Source {
        worker: 9,
        incarnation: 0,
        thread: 0,
    };
    let planted = whole().file(
        "app.log",
        &[lines(THREAD, 2..4), lines(stranger, [0])].concat(),
    );
    planted.check(&[(Fault::Torn, 1, "w9.0")]);
}

#[test]
fn a_reordered_record_is_found_within_a_file() {
    whole()
        .file("app.log", &lines(THREAD, [3, 2]))
        .check(&[(Fault::OutOfOrder, 1, "w1.0 t0 n2")]);
}

#[test]
fn a_reordered_record_is_found_across_files() {
    let old = [lines(THREAD, [0, 3]), lines(OTHER, 0..4)].concat();
    let planted = whole()
        .file("app.log.1", &old)
        .file("app.log", &lines(THREAD, [1, 2]));
    planted.check(&[(Fault::OutOfOrder, 2, "comes after n3")]);
}

#[test]
fn a_misplaced_record_is_found() {
    // Records are begun at 1000 + number: n1 and, of the other thread, n1 to n3 come after the rotation.
    whole()
        .rotated_out("app.log.1", 1000)
        .check(&[(Fault::Misplaced, 4, "w1.0 t0 n1")]);
    whole().rotated_out("app.log.1", 1003).check(&[]);
}

#[test]
fn a_rotation_older_than_the_file_does_not_concern_it() {
    let mut planted = whole().rotated_out("app.log.1", 1000);
    planted.expected.wall_ahead_ns = 0;
    planted.check(&[]);
}

#[test]
fn a_misplaced_record_is_found_in_a_compressed_archive() {
    let planted = whole();
    let content = fs::read(planted.path("app.log.1")).unwrap();
    fs::remove_file(planted.path("app.log.1")).unwrap();
    fs::write(
        planted.path("app.log.1.zst"),
        zstd::encode_all(&content[..], 1).unwrap(),
    )
    .unwrap();
    let mut planted = planted;
    planted.check(&[]);
    let first = Record {
        source: THREAD,
        number: 0,
        begun_ns: 1000,
    };
    planted.expected.rotations.push(Rotation {
        complete_ns: 1002,
        inode: 0,
        first: Some(first),
    });
    planted.check(&[(Fault::Misplaced, 1, "w2.3 t1 n3")]);
}

#[test]
fn an_oversize_file_is_found_and_one_record_too_many_is_allowed() {
    let record_len = line(THREAD, 0).len() as u64;
    let mut planted = whole();
    planted.expected.bytes_max = Some(5 * record_len);
    planted.check(&[]);
    planted.expected.bytes_max = Some(5 * record_len - 1);
    planted.check(&[(Fault::Oversize, 1, "app.log.1")]);
}

#[test]
fn a_record_in_flight_may_be_found_or_not_but_not_twice() {
    let mut planted = whole();
    for account in &mut planted.expected.accounts {
        account.begun = 5;
    }
    planted.check(&[]);
    let planted = planted.file("app.log", &lines(THREAD, 2..5));
    planted.check(&[]);
    assert_eq!(
        (planted.findings().found, planted.findings().found_in_flight),
        (9, 1)
    );
    planted
        .file("app.log", &lines(THREAD, [2, 3, 4, 4]))
        .check(&[(Fault::Duplicated, 1, "n4")]);
}

#[test]
fn a_gap_is_one_example_and_counts_each_record() {
    let planted = whole().file("app.log.1", &lines(OTHER, [0, 3]));
    planted.check(&[
        (Fault::Lost, 4, "w2.3 t1 n1 to n2"),
        (Fault::Lost, 4, "w1.0 t0 n0 to n1"),
    ]);
}

#[test]
fn examples_are_bounded_and_rounds_add_up() {
    let planted = whole().file("app.log", &lines(THREAD, [2, 2, 2, 2, 3, 3, 3, 3]));
    let mut sum = planted.findings();
    assert_eq!(sum.duplicated, 6);
    sum.add(planted.findings());
    assert_eq!(
        (sum.duplicated, sum.acknowledged, sum.examples.len()),
        (12, 16, EXAMPLES_MAX)
    );
}
