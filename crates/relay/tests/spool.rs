//! What a spool's reader promises, case by case: in which order records come, what is deleted and when, where reading begins after
//! any end, and how much is left. What it makes of damage is in spool_damage.rs.

mod spool_support;

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use logboom_relay::record::Record;
use logboom_relay::source::{Began, Damage, Lag, Source};
use logboom_relay::spool::{Options, Reader};
use spool_support::{Spool, crash, eager, lazy, number_of, numbers, read, record_line, ship_all};

const NO_RECORD: [u64; 0] = [];
const NO_SEGMENT: [u32; 0] = [];

#[test]
fn records_come_in_order_over_all_segments_and_delivered_segments_are_deleted() {
    let spool = Spool::new();
    let mut reader = spool.open();
    assert_eq!(ship_all(&mut reader), NO_RECORD);
    for segment in 0..4 {
        spool.write(segment * 10..segment * 10 + 10);
        spool.rotate();
    }
    spool.write(40..45);
    let parcels = read(&mut reader, usize::MAX);
    assert_eq!(numbers(&parcels), (0..45).collect::<Vec<_>>());
    assert_eq!(spool.numbers(), [1, 2, 3, 4], "nothing is settled");
    reader.settle(parcels[24].end).unwrap();
    assert_eq!(
        spool.numbers(),
        [3, 4],
        "the third one has unsettled records"
    );
    reader.settle(parcels[29].end).unwrap();
    assert_eq!(spool.numbers(), [4]);
    reader.settle(parcels[44].end).unwrap();
    assert_eq!(spool.numbers(), NO_SEGMENT);
    assert!(
        spool.current().exists(),
        "the file that is written to is never deleted"
    );
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn a_reader_goes_on_behind_the_last_settled_record() {
    let spool = Spool::new();
    spool.write(0..10);
    spool.rotate();
    spool.write(10..20);
    for settled in 0..20 {
        let mut reader = spool.open();
        let parcels = read(&mut reader, usize::MAX);
        assert_eq!(numbers(&parcels), (settled..20).collect::<Vec<_>>());
        reader.settle(parcels[0].end).unwrap();
        drop(reader);
    }
    assert_eq!(ship_all(&mut spool.open()), NO_RECORD);
    spool.write(20..22);
    let mut reader = spool.open();
    assert_eq!(ship_all(&mut reader), [20, 21]);
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn a_segment_that_was_being_read_when_it_was_closed_is_read_to_its_end() {
    let spool = Spool::new();
    let mut reader = spool.open();
    for round in 0..20 {
        spool.write([round * 3]);
        assert_eq!(ship_all(&mut reader), [round * 3]);
        spool.write([round * 3 + 1]);
        spool.rotate();
        if round % 2 == 0 {
            spool.write([round * 3 + 2]);
            assert_eq!(ship_all(&mut reader), [round * 3 + 1, round * 3 + 2]);
        } else {
            assert_eq!(ship_all(&mut reader), [round * 3 + 1]);
            assert_eq!(spool.numbers(), NO_SEGMENT);
        }
    }
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn segments_that_retention_deletes_under_the_reader_are_counted_and_the_rest_is_read() {
    let spool = Spool::new();
    let mut reader = spool.open();
    for segment in 0..6 {
        spool.write(segment * 10..segment * 10 + 10);
        spool.rotate();
    }
    spool.write([60]);
    let parcels = read(&mut reader, 5);
    reader.settle(parcels[2].end).unwrap();
    let bytes = |number| fs::metadata(spool.closed(number)).unwrap().len();
    let missed = bytes(2) + bytes(3);
    for number in 1..=3 {
        fs::remove_file(spool.closed(number)).unwrap();
    }
    // The one that was being read is read to its end, since it is open.
    let rest = ship_all(&mut reader);
    assert_eq!(rest, (5..10).chain(30..61).collect::<Vec<_>>());
    assert_eq!(
        (reader.damage().files_missed, reader.damage().bytes_missed),
        (2, missed)
    );
    assert_eq!(spool.numbers(), NO_SEGMENT);
}

#[test]
fn a_cursor_whose_segment_is_gone_begins_at_the_oldest_record_and_says_so() {
    let spool = Spool::new();
    for segment in 0..3 {
        spool.write(segment * 10..segment * 10 + 10);
        spool.rotate();
    }
    let mut reader = spool.open();
    let parcels = read(&mut reader, 5);
    reader.settle(parcels[4].end).unwrap();
    drop(reader);
    fs::remove_file(spool.closed(1)).unwrap();
    let mut reader = spool.open();
    assert_eq!(ship_all(&mut reader), (10..30).collect::<Vec<_>>());
    assert_eq!(reader.damage().files_missed, 1);
    assert!(matches!(reader.began(), Began::CursorLost(why) if why.contains("is gone")));
}

#[test]
fn numbering_may_begin_at_one_again_and_inodes_be_used_again() {
    let spool = Spool::new();
    let mut reader = spool.open();
    let mut next = 0;
    for round in 0..30 {
        for _ in 0..round % 3 + 1 {
            spool.write(next..next + 3);
            spool.rotate();
            next += 3;
        }
        spool.write([next]);
        next += 1;
        if round % 4 == 0 {
            drop(reader);
            reader = spool.open();
        }
        let shipped = ship_all(&mut reader);
        assert_eq!(shipped.last(), Some(&(next - 1)));
        assert_eq!(spool.numbers(), NO_SEGMENT);
        spool.rotate();
        assert_eq!(spool.numbers(), [1]);
        assert_eq!(ship_all(&mut reader), NO_RECORD);
        assert_eq!(spool.numbers(), NO_SEGMENT);
    }
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn each_record_is_read_once_when_nothing_goes_wrong() {
    let spool = Spool::new();
    let (mut seen, mut next) = (Vec::new(), 0);
    for round in 0..200u64 {
        spool.write(next..next + round % 5);
        next += round % 5;
        if round % 7 == 0 {
            spool.rotate();
        }
        let mut reader = spool.open_with(lazy());
        seen.extend(ship_all(&mut reader));
        assert_eq!(reader.damage(), Damage::default(), "round {round}");
    }
    assert_eq!(seen, (0..next).collect::<Vec<_>>());
}

#[test]
fn a_damaged_or_missing_cursor_begins_at_the_oldest_record_and_says_so() {
    for garbage in [None, Some(&b""[..]), Some(b"garbage"), Some(&[0xff; 8192])] {
        let spool = Spool::new();
        spool.write(0..10);
        spool.rotate();
        spool.write(10..20);
        let mut reader = spool.open();
        let parcels = read(&mut reader, 15);
        reader.settle(parcels[14].end).unwrap();
        drop(reader);
        match garbage {
            None => fs::remove_file(spool.cursor()).unwrap(),
            Some(bytes) => fs::write(spool.cursor(), bytes).unwrap(),
        }
        let mut reader = spool.open();
        let expected = match garbage {
            None | Some(b"") => Began::Anew,
            Some(_) => Began::CursorLost("it is damaged".to_owned()),
        };
        assert_eq!(reader.began(), &expected, "{garbage:?}");
        assert_eq!(
            ship_all(&mut reader),
            (10..20).collect::<Vec<_>>(),
            "{garbage:?}"
        );
        drop(reader);
        assert_eq!(
            spool.open().damage(),
            Damage::default(),
            "the new cursor is sound"
        );
    }
}

/// After a power cut the disk may have the cursor and not the records before it, which the writer then writes anew.
#[test]
fn a_cursor_beyond_its_records_begins_at_the_oldest_record() {
    let spool = Spool::new();
    spool.write(0..10);
    let half = spool.len();
    spool.write(10..20);
    assert_eq!(ship_all(&mut spool.open()).len(), 20);
    for more in [0, 3, 10, 200] {
        spool.cut(half);
        spool.write(100..100 + more);
        let mut reader = spool.open();
        assert!(matches!(reader.began(), Began::CursorLost(why) if why.contains("is not")));
        let expected: Vec<u64> = (0..10).chain(100..100 + more).collect();
        assert_eq!(numbers(&read(&mut reader, usize::MAX)), expected);
    }
    // The file is empty: nothing of it is known again.
    spool.cut(0);
    spool.write([300]);
    assert_eq!(ship_all(&mut spool.open()), [300]);
}

#[test]
fn a_spool_that_was_copied_to_another_disk_is_gone_on_with() {
    let (spool, copy) = (Spool::new(), Spool::new());
    spool.write(0..10);
    spool.rotate();
    spool.write(10..20);
    let mut reader = spool.open();
    let parcels = read(&mut reader, 99);
    reader.settle(parcels[13].end).unwrap();
    drop(reader);
    spool_support::copy_all(&spool.root, &copy.root);
    let mut reader = copy.open();
    assert_eq!(ship_all(&mut reader), (14..20).collect::<Vec<_>>());
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn one_process_reads_a_spool_at_a_time() {
    let spool = Spool::new();
    let reader = spool.open();
    let refused = Reader::open(&spool.root, "central", eager())
        .map(drop)
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    drop(reader);
    spool.open();
    let missing = spool.root.join("nothing");
    assert_eq!(
        Reader::open(&missing, "central", eager())
            .map(drop)
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn lag_is_what_is_not_settled() {
    let spool = Spool::new();
    let mut reader = spool.open();
    assert_eq!(
        reader.lag(),
        Lag {
            records: Some(0),
            bytes: 0
        }
    );
    spool.write(0..10);
    spool.rotate();
    spool.write(10..20);
    spool.rotate();
    spool.write(20..25);
    let bytes = |numbers: std::ops::Range<u64>| {
        numbers
            .map(|number| record_line(number).len() as u64)
            .sum::<u64>()
    };
    let lag = |from: u64, to: u64| Lag {
        records: Some(to - from),
        bytes: bytes(from..to),
    };
    assert_eq!(reader.lag(), lag(0, 25));
    let parcels = read(&mut reader, 13);
    assert_eq!(reader.lag(), lag(0, 25), "nothing is settled");
    reader.settle(parcels[3].end).unwrap();
    assert_eq!(reader.lag(), lag(4, 25));
    reader.settle(parcels[11].end).unwrap();
    assert_eq!(reader.lag(), lag(12, 25));
    spool.write(25..30);
    assert_eq!(reader.lag(), lag(12, 30));
    reader.rewind();
    assert_eq!(reader.lag(), lag(12, 30));
    drop(reader);
    let mut reader = spool.open();
    assert_eq!(reader.lag(), lag(12, 30));
    assert_eq!(ship_all(&mut reader).len(), 18);
    assert_eq!(reader.lag(), lag(0, 0));
    spool.rotate();
    assert_eq!(reader.lag(), lag(0, 0));
    spool.append(&record_line(30)[..20]);
    assert_eq!(
        reader.lag().records,
        Some(0),
        "a record is one when it is whole"
    );
}

#[test]
fn an_answer_that_is_asked_for_again_at_once_counts_down_and_nothing_left_is_never_guessed() {
    let spool = Spool::new();
    spool.write(0..10);
    let mut reader = spool.open_with(Options {
        count_every: Duration::from_secs(3600),
        ..eager()
    });
    let before = reader.lag();
    let parcels = read(&mut reader, 99);
    reader.settle(parcels[7].end).unwrap();
    let settled: u64 = parcels[..8].iter().map(|parcel| parcel.bytes).sum();
    let left = Lag {
        records: Some(2),
        bytes: before.bytes - settled,
    };
    assert_eq!(reader.lag(), left);
    spool.write(10..13);
    assert_eq!(reader.lag(), left, "what was written since is not in it");
    reader.settle(parcels[9].end).unwrap();
    assert_eq!(reader.lag().records, Some(3));
}

#[test]
fn counting_many_records_is_spread_over_calls() {
    let spool = Spool::new();
    let mut number = 0;
    while spool.len() < 40 << 20 {
        let lines: Vec<u8> = (number..number + 1000).flat_map(record_line).collect();
        spool.append(&lines.repeat(20));
        number += 20_000;
    }
    let reader = spool.open();
    assert_eq!(reader.lag().records, None);
    assert_eq!(reader.lag().records, None);
    assert_eq!(reader.lag().records, Some(number));
    spool.write([1, 2]);
    assert_eq!(reader.lag().records, Some(number + 2));
}

#[test]
fn the_cursor_is_stored_now_and_then_and_at_the_end() {
    let spool = Spool::new();
    spool.write(0..100);
    let options = |every_ms, records| Options {
        store_every: Duration::from_millis(every_ms),
        store_records: records,
        ..Options::default()
    };
    let stored = || fs::read(spool.cursor()).unwrap();
    let mut reader = spool.open_with(options(3_600_000, 10));
    let parcels = read(&mut reader, 99);
    let mut changes = 0;
    for parcel in &parcels[..50] {
        let before = stored();
        reader.settle(parcel.end).unwrap();
        changes += u32::from(stored() != before);
    }
    assert_eq!(changes, 5);
    reader.settle(parcels[50].end).unwrap();
    let before = stored();
    reader.flush().unwrap();
    assert_ne!(stored(), before);
    let before = stored();
    reader.flush().unwrap();
    assert_eq!(stored(), before, "it has not moved");
    reader.settle(parcels[51].end).unwrap();
    crash(&spool, reader);
    let mut reader = spool.open_with(options(1, u64::MAX));
    let parcels = read(&mut reader, 99);
    assert_eq!(number_of(&parcels[0]), 51, "51 was settled and comes again");
    std::thread::sleep(Duration::from_millis(2));
    let before = stored();
    reader.settle(parcels[0].end).unwrap();
    assert_ne!(stored(), before);
    reader.settle(parcels[1].end).unwrap();
    drop(reader);
    assert_eq!(ship_all(&mut spool.open())[0], 53);
}

#[test]
fn settling_what_is_settled_or_unknown_changes_nothing() {
    let spool = Spool::new();
    spool.write(0..10);
    let mut reader = spool.open();
    let parcels = read(&mut reader, 5);
    reader.settle(parcels[4].end).unwrap();
    reader.settle(parcels[1].end).unwrap();
    reader.settle(Default::default()).unwrap();
    reader.rewind();
    assert_eq!(ship_all(&mut reader), [5, 6, 7, 8, 9]);
}

/// What waits behind the cursor, told while another process reads: neither what is delivered nor what was deleted meanwhile.
#[test]
fn what_waits_is_behind_the_cursor() {
    let waits = |spool: &Spool| {
        let mut text = String::new();
        for mut segment in logboom_relay::spool::waiting(&spool.root, "central").unwrap() {
            std::io::Read::read_to_string(&mut segment, &mut text).unwrap();
        }
        let bodies = text.lines().filter_map(|line| {
            let record = Record::from_json_line(line.split('\t').next()?.as_bytes());
            record.body.strip_prefix("record ")?.parse::<u64>().ok()
        });
        bodies.collect::<Vec<_>>()
    };
    let spool = Spool::new();
    assert_eq!(waits(&spool), NO_RECORD);
    spool.write(0..5);
    assert_eq!(waits(&spool), [0, 1, 2, 3, 4], "nothing was ever settled");
    let mut reader = spool.open();
    let parcels = read(&mut reader, 100);
    reader.settle(parcels[2].end).unwrap();
    assert_eq!(waits(&spool), [3, 4]);
    spool.rotate();
    spool.write(5..7);
    assert_eq!(waits(&spool), [3, 4, 5, 6]);
    spool.rotate();
    spool.write(7..9);
    let more = read(&mut reader, 100);
    reader.settle(more[0].end).unwrap();
    assert_eq!(waits(&spool), [6, 7, 8]);
    reader.settle(more.last().unwrap().end).unwrap();
    assert_eq!(waits(&spool), NO_RECORD);
    std::fs::write(spool.cursor(), "damaged").unwrap();
    assert_eq!(waits(&spool), [7, 8], "as its reader would begin anew");
}
