//! What a spool's reader makes of bytes that are not as they should be: what is damage, what only is not there yet, what was taken
//! back by its writer, and what another version wrote.

mod spool_support;

use std::fs;
use std::io::ErrorKind;

use logboom_relay::source::{Damage, Source};
use logboom_relay::spool::{Options, Reader};
use spool_support::{Spool, crash, eager, is_full, lazy, numbers, read, record_line, ship_all};

const NO_RECORD: [u64; 0] = [];
const NO_SEGMENT: [u32; 0] = [];

#[test]
fn a_line_without_its_end_is_not_there_yet() {
    let spool = Spool::new();
    let mut reader = spool.open();
    spool.write([0]);
    assert_eq!(ship_all(&mut reader), [0]);
    for byte in record_line(1) {
        assert_eq!(ship_all(&mut reader), NO_RECORD);
        spool.append(&[byte]);
    }
    assert_eq!(ship_all(&mut reader), [1]);
    fs::write(spool.closed(7), "").unwrap();
    assert_eq!(ship_all(&mut reader), NO_RECORD, "a segment may be empty");
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn a_header_without_its_end_is_not_there_yet() {
    let spool = Spool::new();
    let mut reader = spool.open();
    for len in 0..4 {
        fs::write(spool.current(), &b"LS1\n"[..len]).unwrap();
        assert_eq!(ship_all(&mut reader), NO_RECORD, "{len} bytes");
    }
    fs::write(spool.current(), [&b"LS1\n"[..], &record_line(1)].concat()).unwrap();
    assert_eq!(ship_all(&mut reader), [1]);
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn an_unterminated_line_of_a_closed_segment_is_damage_and_counted_once() {
    let spool = Spool::new();
    spool.write([0]);
    spool.append(&record_line(1)[..50]);
    let mut reader = spool.open();
    assert_eq!(numbers(&read(&mut reader, 9)), [0]);
    assert_eq!(reader.damage(), Damage::default(), "the writer may go on");
    spool.rotate();
    spool.write([2]);
    for _ in 0..3 {
        assert_eq!(numbers(&read(&mut reader, 9)).last(), Some(&2));
        assert_eq!(
            (reader.damage().lines_skipped, reader.damage().bytes_skipped),
            (1, 50)
        );
        reader.rewind();
    }
}

#[test]
fn a_fragment_that_the_next_writer_ended_costs_that_line_only() {
    let spool = Spool::new();
    let mut reader = spool.open();
    let line = record_line(1);
    spool.write([0]);
    spool.append(&line[..40]);
    spool.append(b"\n");
    spool.append(&[line, record_line(2)].concat());
    assert_eq!(ship_all(&mut reader), [0, 1, 2]);
    assert_eq!(
        (reader.damage().lines_skipped, reader.damage().bytes_skipped),
        (1, 41)
    );
}

#[test]
fn what_was_cut_back_and_written_again_comes_again_and_nothing_is_missed() {
    let line_bytes = record_line(0).len() as u64;
    // Cut at each byte of three records of which none, one, two or all are settled; then others are written, or the same.
    for settled in 0..=3 {
        for cut in (4..4 + 3 * line_bytes).step_by(if is_full() { 1 } else { 23 }) {
            for again in [[10, 11, 12, 13], [0, 1, 2, 3]] {
                let spool = Spool::new();
                let mut reader = spool.open();
                spool.write([0, 1, 2]);
                let parcels = read(&mut reader, 9);
                if settled > 0 {
                    reader.settle(parcels[settled - 1].end).unwrap();
                }
                spool.cut(cut);
                spool.append(b"\n");
                spool.write(again);
                let what = format!("{settled} settled, cut at {cut}, then {again:?}");
                let more = numbers(&read(&mut reader, 99));
                assert_in_order(&[0, 1, 2], &more, &again, &what);
                // After a crash what was settled may be there or not; what is there and was not settled comes.
                crash(&spool, reader);
                let all = numbers(&read(&mut spool.open(), 99));
                assert_in_order(&parcels_up_to(settled), &all, &again, &what);
            }
        }
    }
}

fn parcels_up_to(settled: usize) -> Vec<u64> {
    (0..settled as u64).collect()
}

/// What was not seen before comes, in order, and behind it nothing else.
fn assert_in_order(seen: &[u64], more: &[u64], wanted: &[u64], what: &str) {
    let unseen: Vec<u64> = wanted
        .iter()
        .copied()
        .filter(|number| !seen.contains(number))
        .collect();
    assert!(more.ends_with(&unseen), "{what}: {more:?}");
    let known = |number: &u64| *number < 3 || wanted.contains(number);
    assert!(more.iter().all(known), "{what}: {more:?}");
}

#[test]
fn a_cut_within_a_long_segment_costs_few_doubles() {
    let spool = Spool::new();
    let mut reader = spool.open_with(lazy());
    for batch in 0..300 {
        spool.write(batch * 10..batch * 10 + 10);
        ship_all(&mut reader);
    }
    let whole = spool.len();
    spool.write(3000..3010);
    assert_eq!(ship_all(&mut reader).len(), 10);
    spool.cut(whole);
    spool.write(4000..4005);
    let again = ship_all(&mut reader);
    assert!(again.ends_with(&[4000, 4001, 4002, 4003, 4004]));
    assert!(again.len() < 120, "{} records came again", again.len() - 5);
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn a_cut_and_a_rewind_lose_no_record_before_the_cut() {
    let spool = Spool::new();
    let mut reader = spool.open();
    spool.write([0, 1, 2]);
    let kept = spool.len();
    spool.write([3, 4]);
    let parcels = read(&mut reader, 9);
    reader.settle(parcels[0].end).unwrap();
    spool.cut(kept);
    spool.write([5, 6]);
    assert_eq!(
        numbers(&read(&mut reader, 9)),
        [5, 6],
        "1 and 2 are in flight"
    );
    reader.rewind();
    let parcels = read(&mut reader, 9);
    assert_eq!(numbers(&parcels), [1, 2, 5, 6]);
    reader.settle(parcels[1].end).unwrap();
    reader.rewind();
    assert_eq!(ship_all(&mut reader), [5, 6]);
    spool.rotate();
    spool.write([7]);
    assert_eq!(ship_all(&mut reader), [7]);
    assert_eq!(spool.numbers(), NO_SEGMENT);
}

/// Three records in a closed segment, a fourth one in the current one; a bit of each byte of the closed one is turned.
#[test]
fn any_damaged_byte_costs_the_line_that_it_is_in() {
    let whole = [
        b"LS1\n".to_vec(),
        record_line(0),
        record_line(1),
        record_line(2),
    ]
    .concat();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for at in 0..whole.len() {
        for bit in (0..8).filter(|bit| is_full() || *bit == at % 8) {
            let spool = Spool::new();
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            fs::write(spool.closed(1), &damaged).unwrap();
            spool.write([3]);
            let mut reader = spool.open_with(lazy());
            if at < 4
                && damaged.starts_with(b"LS")
                && damaged[2].is_ascii_digit()
                && damaged[3] == b'\n'
            {
                let refused = reader.read(9, &mut Default::default()).unwrap_err();
                assert_eq!(
                    refused.kind(),
                    ErrorKind::InvalidData,
                    "byte {at}, bit {bit}"
                );
                continue;
            }
            // The line feed of the line before it ends the header.
            let line = ends.iter().filter(|end| **end < at).count();
            let is_end = ends.contains(&at);
            let lost = (line >= 1 && !is_end).then(|| line as u64 - 1);
            let expected: Vec<u64> = (0..4).filter(|number| Some(*number) != lost).collect();
            assert_eq!(ship_all(&mut reader), expected, "byte {at}, bit {bit}");
            let damage = reader.damage();
            let parts = 1 + u64::from(damaged[at] == b'\n');
            let lines = if line == 0 {
                1
            } else if is_end {
                0
            } else {
                parts
            };
            assert_eq!(
                damage.lines_skipped, lines,
                "byte {at}, bit {bit}: {damage:?}"
            );
            assert_eq!(
                spool.numbers(),
                NO_SEGMENT,
                "what could not be read is not kept"
            );
        }
    }
}

#[test]
fn an_unknown_version_is_refused_and_left_untouched() {
    let spool = Spool::new();
    spool.write([0]);
    spool.rotate();
    let future = [&b"LS2\n"[..], &record_line(1)].concat();
    fs::write(spool.closed(2), &future).unwrap();
    spool.write([2]);
    let mut reader = spool.open();
    let parcels = read_until_refused(&mut reader);
    reader.settle(parcels.back().unwrap().end).unwrap();
    for _ in 0..2 {
        let refused = reader.read(9, &mut Default::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        let text = refused.to_string();
        assert!(
            text.contains("central.spool.2") && text.contains("`LS2`"),
            "{text}"
        );
        reader.rewind();
    }
    drop(reader);
    assert_eq!(fs::read(spool.closed(2)).unwrap(), future);
    assert_eq!(spool.numbers(), [2]);
    // Whoever can read it takes it away; then it goes on.
    fs::remove_file(spool.closed(2)).unwrap();
    assert_eq!(ship_all(&mut spool.open()), [2]);
}

fn read_until_refused(
    reader: &mut Reader,
) -> std::collections::VecDeque<logboom_relay::source::Parcel> {
    let mut parcels = Default::default();
    while reader.read(9, &mut parcels).is_ok() {}
    parcels
}

#[test]
fn a_line_that_is_too_long_costs_that_line_and_bounded_memory() {
    let spool = Spool::new();
    let options = Options {
        line_bytes_max: 1000,
        ..eager()
    };
    let mut reader = spool.open_with(options);
    for (round, len) in [1001, 1999, 5000, 700_000].into_iter().enumerate() {
        let number = round as u64;
        spool.write([number]);
        // In two parts, so that it is met before it ends.
        spool.append(&vec![b'x'; len / 2]);
        assert_eq!(ship_all(&mut reader), [number]);
        spool.append(&vec![b'x'; len - len / 2]);
        spool.append(b"\n");
        spool.write([number + 100]);
        assert_eq!(ship_all(&mut reader), [number + 100], "{len}");
        assert_eq!(reader.damage().lines_skipped, number + 1);
    }
    assert_eq!(
        reader.damage().bytes_skipped,
        1001 + 1999 + 5000 + 700_000 + 4
    );
    spool.append(&[b'x'; 3000]);
    assert_eq!(ship_all(&mut reader), NO_RECORD);
    spool.rotate();
    assert_eq!(ship_all(&mut reader), NO_RECORD);
    assert_eq!(reader.damage().lines_skipped, 5);
}

#[test]
fn a_record_of_sixteen_mebibytes_is_read_and_a_call_is_bounded_in_bytes() {
    let spool = Spool::new();
    let big = |number: u64, len: usize| {
        let fill = "y".repeat(len);
        let payload = format!(r#"{{"timestamp":"2026-11-20T16:30:01Z","body":"{fill}"}}"#);
        let mut line = Vec::new();
        logboom_relay::spool::line::encode(
            payload.as_bytes(),
            &format!("c0ffee.1.{number:x}"),
            &mut line,
        );
        line
    };
    spool.append(&big(1, (16 << 20) - 60));
    for number in 2..22 {
        spool.append(&big(number, 1 << 20));
    }
    let mut reader = spool.open();
    let mut parcels = Default::default();
    assert_eq!(reader.read(1000, &mut parcels).unwrap(), 1);
    assert_eq!(parcels[0].record.body.len(), (16 << 20) - 60);
    assert_eq!(reader.read(1000, &mut parcels).unwrap(), 4);
    assert_eq!(
        parcels.iter().map(|parcel| parcel.bytes).sum::<u64>() + 4,
        parcels[4].end.offset
    );
    assert_eq!(read(&mut reader, 1000).len(), 16);
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn only_regular_files_are_segments_and_foreign_files_are_left_alone() {
    let spool = Spool::new();
    spool.write([0]);
    spool.rotate();
    fs::create_dir(spool.closed(2)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", spool.closed(3)).unwrap();
    fs::write(spool.root.join("central.spool.4.gz"), "x").unwrap();
    fs::write(spool.root.join("other.spool"), "x").unwrap();
    assert_eq!(ship_all(&mut spool.open()), [0]);
    let mut names: Vec<_> = fs::read_dir(&spool.root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let expected = [
        "central.cursor",
        "central.spool.2",
        "central.spool.3",
        "central.spool.4.gz",
        "other.spool",
    ];
    assert_eq!(names, expected);
}
