//! How fast a spool is read: records are written to segments, then read and settled; the time that each part takes is told.
//!
//! `cargo run --release -p logboom-relay --example read_speed [RECORDS]`. The files are in the page cache; what is measured is the
//! work of one core.

use std::collections::VecDeque;
use std::time::Instant;

use logboom_relay::record::Record;
use logboom_relay::source::Source;
use logboom_relay::spool::{Options, Reader, line};

const SEGMENT_RECORDS: usize = 50_000;

fn payload(number: usize) -> String {
    format!(
        r#"{{"timestamp":"2026-11-20T16:30:01.{number:09}Z","severity_text":"INFO","severity_number":9,"otel.scope.name":"shop.payments","body":"paid order {number}","order":{number},"total":12.5,"note":"second try","code.file.path":"/srv/shop/pay.py","code.line.number":12,"code.function.name":"pay","process.pid":4711,"thread.id":140000,"thread.name":"MainThread"}}"#
    )
}

fn main() -> std::io::Result<()> {
    let records: usize = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(500_000);
    let root = tempfile::tempdir()?;
    let mut number = 0;
    let mut bytes = 0;
    for segment in 1..=records.div_ceil(SEGMENT_RECORDS) {
        let mut content = line::HEADER.to_vec();
        for _ in 0..SEGMENT_RECORDS.min(records - number) {
            line::encode(
                payload(number).as_bytes(),
                &format!("c0ffee.1.{number:x}"),
                &mut content,
            );
            number += 1;
        }
        bytes += content.len();
        std::fs::write(
            root.path().join(format!("central.spool.{segment}")),
            content,
        )?;
    }
    let tell = |what: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{what:<28} {:>10.0} records/s {:>8.0} MB/s {:>7.0} ns/record",
            records as f64 / seconds,
            bytes as f64 / seconds / 1e6,
            seconds * 1e9 / records as f64
        );
    };

    let one = payload(7).into_bytes();
    let started = Instant::now();
    for _ in 0..records {
        std::hint::black_box(Record::from_json_line(std::hint::black_box(&one)));
    }
    tell("JSON to record", started);

    let mut encoded = Vec::new();
    line::encode(&one, "c0ffee.1.7", &mut encoded);
    encoded.pop();
    let started = Instant::now();
    for _ in 0..records {
        std::hint::black_box(line::decode(std::hint::black_box(&encoded)));
    }
    tell("line checked", started);

    let started = Instant::now();
    let mut reader = Reader::open(root.path(), "central", Options::default())?;
    let mut parcels = VecDeque::new();
    let mut read = 0;
    loop {
        let got = reader.read(1000, &mut parcels)?;
        if got == 0 {
            break;
        }
        read += got;
        let last = parcels.back().map(|parcel| parcel.end).unwrap_or_default();
        reader.settle(last)?;
        parcels.clear();
    }
    assert_eq!(read, records);
    tell("read, parsed, settled", started);
    Ok(())
}
