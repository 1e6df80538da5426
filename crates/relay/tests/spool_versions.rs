//! Spools that older versions wrote are read for ever: the files of `tests/fixtures`, each in a copy.

mod spool_support;

use std::path::Path;

use logboom_relay::record::Record;
use logboom_relay::source::{Began, Damage, Source};
use spool_support::{Spool, copy_all, eager, read};

fn fixture(name: &str) -> Spool {
    let spool = Spool::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/spool-v1")
        .join(name);
    copy_all(&from, &spool.root);
    spool
}

/// The hour in which each round of four records was logged, and which of the four it is.
fn what(record: &Record) -> (u64, &'static str) {
    let hour = record.time_ns / 3_600_000_000_000 % 24 - 10;
    let which = match record.body.as_str() {
        "paid" => "paid",
        "größer als \"100 €\"\nand a second line\t\u{1b}[31m\u{202e}" => "text",
        "failed" => "failed",
        "" => "empty",
        other => panic!("{other:?}"),
    };
    (hour, which)
}

#[test]
fn a_sound_spool_of_version_1_is_gone_on_with() {
    let spool = fixture("sound");
    let mut reader = spool.open();
    assert_eq!(reader.began(), &Began::AtCursor);
    let parcels = read(&mut reader, 100);
    let found: Vec<_> = parcels.iter().map(|parcel| what(&parcel.record)).collect();
    let round = ["paid", "text", "failed", "empty"];
    let expected: Vec<_> = (0..4)
        .flat_map(|hour| round.map(|which| (hour, which)))
        .skip(6)
        .collect();
    assert_eq!(found, expected);
    let failed = &parcels[0].record;
    assert_eq!(
        (failed.severity, failed.level.as_str(), failed.process),
        (17, "ERROR", Some(4712))
    );
    assert_eq!(failed.component, "shop.orders");
    assert_eq!(failed.fields["exception.type"], "ValueError");
    assert_eq!(failed.id, "d37dfbe1647bf6f4.3.7");
    reader.settle(parcels[9].end).unwrap();
    assert_eq!(reader.damage(), Damage::default());
    assert!(spool.numbers().is_empty());
}

#[test]
fn of_a_damaged_spool_of_version_1_everything_is_read_that_can_be() {
    let spool = fixture("damaged");
    let mut reader = spool.open_with(eager());
    assert!(matches!(reader.began(), Began::CursorLost(why) if why.contains("is gone")));
    let parcels = read(&mut reader, 100);
    let found: Vec<_> = parcels.iter().map(|parcel| what(&parcel.record)).collect();
    let expected = [
        (1, "paid"),
        (1, "text"),
        (1, "empty"),
        (2, "paid"),
        (2, "text"),
        (2, "failed"),
        (3, "paid"),
        (3, "text"),
        (3, "failed"),
        (3, "empty"),
    ];
    assert_eq!(found, expected);
    let damage = reader.damage();
    assert_eq!((damage.lines_skipped, damage.files_missed), (3, 1));
}
