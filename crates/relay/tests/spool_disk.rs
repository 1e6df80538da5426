//! What a spool's reader does when the disk does not do what it is asked to: it goes on reading, and makes up for it later.

#[path = "../../core/tests/support/mod.rs"]
mod processes;
mod spool_support;

use std::fs;

use logboom_relay::source::Source;
use processes::machine::{Need, cover_read_only, fill, has, in_own_mounts, mount_tmpfs, unmount};
use spool_support::{Spool, read, ship_all};

/// Five segments; the last one is the current one.
fn filled() -> Spool {
    let spool = Spool::new();
    for segment in 0..4 {
        spool.write(segment * 100..segment * 100 + 100);
        spool.rotate();
    }
    spool.write(400..410);
    spool
}

#[test]
fn on_a_full_disk_the_cursor_moves_and_delivered_segments_make_room() {
    if !has(&[Need::Mounts]) {
        return;
    }
    let outside = filled();
    let spool = Spool::new();
    in_own_mounts(|| {
        mount_tmpfs(&spool.root, "400k");
        spool_support::copy_all(&outside.root, &spool.root);
        let mut reader = spool.open();
        let parcels = read(&mut reader, 150);
        let filler = spool.root.join("filler");
        fill(&filler, 0);
        assert!(
            fs::write(spool.root.join("more"), [1; 4096]).is_err(),
            "the disk is full"
        );
        reader.settle(parcels[149].end).unwrap();
        assert_eq!(spool.numbers(), [2, 3, 4]);
        fs::write(spool.root.join("more"), [1; 4096]).expect("there is room again");
        drop(reader);
        assert_eq!(ship_all(&mut spool.open()), (150..410).collect::<Vec<_>>());
        assert!(spool.numbers().is_empty());
    });
}

#[test]
fn what_cannot_be_stored_or_deleted_is_tried_again_and_reading_goes_on() {
    if !has(&[Need::Mounts]) {
        return;
    }
    let spool = filled();
    in_own_mounts(|| {
        let mut reader = spool.open();
        let parcels = read(&mut reader, 250);
        reader.settle(parcels[49].end).unwrap();
        cover_read_only(&spool.root);
        // Its cursor is open, its directory is as if somebody had withdrawn the right to write to it.
        let failure = reader.settle(parcels[249].end).unwrap_err();
        assert!(failure.to_string().contains("central.spool.1"), "{failure}");
        assert_eq!(spool.numbers(), [1, 2, 3, 4]);
        let more = read(&mut reader, 1000);
        assert_eq!(more.len(), 160);
        assert!(reader.settle(more[159].end).is_err());
        assert_eq!(reader.lag().records, Some(0));
        unmount(&spool.root);
        reader.flush().unwrap();
        assert!(spool.numbers().is_empty());
        drop(reader);
        assert_eq!(ship_all(&mut spool.open()), Vec::<u64>::new());
    });
}
