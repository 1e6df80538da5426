//! What following log files promises, case by case: which lines come, of how many logs, and where it goes on after an end. What
//! rotation does to them is in follow_rotation.rs.

mod spool_support;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use logboom_relay::follow::{Begin, Follower, Format, Options};
use logboom_relay::source::{Began, Damage, Lag, Source};
use spool_support::read;
use spool_support::site::{Site, eager, expected, lines, nothing, ship};

#[test]
fn lines_come_as_they_are_written_and_empty_ones_are_passed_over() {
    let site = Site::new();
    let mut follower = site.open();
    assert_eq!(ship(&mut follower), nothing(), "the log does not exist yet");
    site.append("app.log", "one\ntwo\r\n\n\r\nthree");
    assert_eq!(ship(&mut follower), ["one", "two"]);
    assert_eq!(ship(&mut follower), nothing());
    site.append("app.log", " and its end\n");
    assert_eq!(ship(&mut follower), ["three and its end"]);
    assert_eq!(follower.damage(), Damage::default());
    assert_eq!(
        follower.lag(),
        Lag {
            records: Some(0),
            bytes: 0
        }
    );
}

#[test]
fn json_by_logboom_is_taken_apart_and_anything_else_is_a_message() {
    let site = Site::new();
    let json = r#"{"timestamp":"2026-11-20T16:30:01Z","severity_number":9,"body":"paid","order":7} [lb=c0ffee.1.2a]"#;
    let other = r#"{"time":"2026-11-20T16:30:01Z","msg":"x"}"#;
    site.append(
        "app.log",
        &format!("{json}\n{other}\nplain [lb=c0ffee.1.2b]\n"),
    );
    let options = Options {
        name_files: true,
        ..eager()
    };
    let records: Vec<_> = read(&mut site.open_with(options), 9)
        .into_iter()
        .map(|parcel| parcel.record)
        .collect();
    assert_eq!(
        (
            records[0].body.as_str(),
            records[0].id.as_str(),
            records[0].severity
        ),
        ("paid", "c0ffee.1.2a", 9)
    );
    assert_eq!(records[0].fields["order"], 7);
    assert_eq!((records[1].body.as_str(), records[1].time_ns), (other, 0));
    assert_eq!(
        (records[2].body.as_str(), records[2].id.as_str()),
        ("plain", "c0ffee.1.2b")
    );
    for record in &records {
        assert_eq!(
            record.fields["log.file.path"],
            site.at("app.log").to_str().unwrap()
        );
    }
    let plain = Options {
        format: Format::Plain,
        begin_anew: true,
        ..eager()
    };
    let first = read(&mut site.open_with(plain), 1).remove(0).record;
    assert_eq!(
        (first.body.as_str(), first.id.as_str()),
        (
            json.strip_suffix(" [lb=c0ffee.1.2a]").unwrap(),
            "c0ffee.1.2a"
        )
    );
}

#[test]
fn from_now_on_only_new_lines_come_after_a_restart_as_well() {
    let site = Site::new();
    let now = || Options {
        begin: Begin::Now,
        ..eager()
    };
    site.append("app.log.1", &lines(0..10));
    site.append("app.log", &(lines(10..20) + "a half"));
    let follower = site.open_with(now());
    drop(follower);
    site.append("app.log", " line\n");
    site.append("app.log", &lines(20..30));
    let mut follower = site.open_with(now());
    let mut wanted = expected(20..30);
    wanted.insert(0, "a half line".to_owned());
    assert_eq!(ship(&mut follower), wanted);

    let site = Site::new();
    site.append("app.log.1", &lines(0..10));
    let mut follower = site.open_with(now());
    assert_eq!(ship(&mut follower), nothing());
    drop(follower);
    site.append("app.log", &lines(10..20));
    assert_eq!(
        ship(&mut site.open_with(now())),
        expected(10..20),
        "the log was made after the first start"
    );
}

#[test]
fn several_logs_have_one_cursor_and_take_turns() {
    let site = Site::new();
    let paths: Vec<PathBuf> = ["a.log", "b.log", "c.log"]
        .map(|name| site.at(name))
        .to_vec();
    for name in ["a.log", "b.log"] {
        site.append(
            name,
            &(0..3000)
                .map(|number| format!("{name} {number}\n"))
                .collect::<String>(),
        );
    }
    let mut follower = Follower::open(&paths, &site.cursor(), eager()).unwrap();
    let parcels = read(&mut follower, 1500);
    let of = |name: &str, parcels: &[logboom_relay::source::Parcel]| {
        parcels
            .iter()
            .filter(|parcel| parcel.record.body.starts_with(name))
            .count()
    };
    assert!(
        of("a.log", &parcels) >= 500 && of("b.log", &parcels) >= 500,
        "neither waits for the other"
    );
    follower.settle(parcels[1199].end).unwrap();
    let settled = &parcels[..1200];
    drop(follower);
    site.append("c.log", "c.log 0\n");
    // One is not followed for a while: its place is kept.
    let mut follower = Follower::open(&paths[1..], &site.cursor(), eager()).unwrap();
    let shipped = ship(&mut follower);
    let begins = of("b.log", settled);
    let wanted: Vec<String> = (begins..3000)
        .map(|number| format!("b.log {number}"))
        .collect();
    assert_eq!(
        shipped
            .iter()
            .filter(|body| body.starts_with("b.log"))
            .cloned()
            .collect::<Vec<_>>(),
        wanted
    );
    assert!(shipped.contains(&"c.log 0".to_owned()));
    drop(follower);
    let mut follower = Follower::open(&paths, &site.cursor(), eager()).unwrap();
    let begins = of("a.log", settled);
    let wanted: Vec<String> = (begins..3000)
        .map(|number| format!("a.log {number}"))
        .collect();
    assert_eq!(ship(&mut follower), wanted);
    assert!(follower.began().all(|(_, began)| *began == Began::AtCursor));
}

#[test]
fn lag_is_what_is_not_settled_before_anything_was_read_as_well() {
    let site = Site::new();
    site.append("app.log.2", &lines(0..10));
    site.append("app.log.1", &lines(10..20));
    site.append("app.log", &lines(20..30));
    let bytes = |numbers| lines(numbers).len() as u64;
    let lag = |records, bytes| Lag { records, bytes };
    let mut follower = site.open();
    assert_eq!(follower.lag(), lag(None, bytes(0..30)));
    let parcels = read(&mut follower, 15);
    follower.settle(parcels[11].end).unwrap();
    assert_eq!(follower.lag(), lag(None, bytes(12..30)));
    drop(follower);
    let mut follower = site.open();
    assert_eq!(follower.lag(), lag(None, bytes(12..30)));
    let parcels = read(&mut follower, 99);
    assert_eq!(follower.lag(), lag(Some(18), bytes(12..30)));
    follower.settle(parcels[17].end).unwrap();
    assert_eq!(follower.lag(), lag(Some(0), 0));
    let now = Options {
        begin: Begin::Now,
        begin_anew: true,
        ..eager()
    };
    drop(follower);
    assert_eq!(site.open_with(now).lag().bytes, 0);
}

#[test]
fn what_was_not_settled_comes_again_and_nothing_else() {
    let site = Site::new();
    site.append("app.log.1", &lines(0..50));
    site.pack("app.log.1", ".gz");
    site.append("app.log", &lines(50..100));
    for settled in [0, 1, 20, 49, 50, 51, 80, 100] {
        let options = Options {
            begin_anew: true,
            ..eager()
        };
        let mut follower = site.open_with(options);
        let parcels = read(&mut follower, 999);
        assert_eq!(parcels.len(), 100);
        if settled > 0 {
            follower.settle(parcels[settled - 1].end).unwrap();
        }
        follower.rewind();
        assert_eq!(read(&mut follower, 999).len(), 100 - settled);
        drop(follower);
        assert_eq!(ship(&mut site.open()), expected(settled as u32..100));
    }
}

#[test]
fn a_long_line_comes_in_pieces_and_a_hole_is_passed_over() {
    let site = Site::new();
    let options = Options {
        line_bytes_max: 100,
        ..eager()
    };
    let mut follower = site.open_with(options);
    site.append("app.log", &format!("{}\nshort\n", "x".repeat(250)));
    let shipped = ship(&mut follower);
    let lengths: Vec<usize> = shipped.iter().map(String::len).collect();
    assert_eq!(lengths, [100, 100, 50, 5]);
    // Its writer does not append, and goes on where it was when the log is emptied.
    let mut writer = File::options()
        .write(true)
        .open(site.at("app.log"))
        .unwrap();
    std::io::Seek::seek(&mut writer, std::io::SeekFrom::End(0)).unwrap();
    site.copy_and_empty("app.log", "app.log.1");
    assert_eq!(ship(&mut follower), nothing());
    writer.write_all(b"behind the hole\n").unwrap();
    assert_eq!(ship(&mut follower), ["behind the hole"]);
}

#[test]
fn the_cursor_of_many_logs_is_longer_than_a_page_and_one_process_has_it() {
    let site = Site::new();
    let paths: Vec<PathBuf> = (0..100)
        .map(|number| site.at(&format!("{number}.log")))
        .collect();
    for path in &paths {
        fs::write(path, lines(0..3)).unwrap();
    }
    let mut follower = Follower::open(&paths, &site.cursor(), eager()).unwrap();
    assert_eq!(ship(&mut follower).len(), 300);
    assert!(fs::metadata(site.cursor()).unwrap().len() > 20_000);
    let refused = Follower::open(&paths, &site.cursor(), eager())
        .map(drop)
        .unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    drop(follower);
    let mut follower = Follower::open(&paths, &site.cursor(), eager()).unwrap();
    assert_eq!(ship(&mut follower), nothing());
    drop(follower);
    fs::write(site.cursor(), "garbage").unwrap();
    let mut follower = Follower::open(&paths, &site.cursor(), eager()).unwrap();
    assert!(
        follower
            .began()
            .all(|(_, began)| matches!(began, Began::CursorLost(_)))
    );
    assert_eq!(ship(&mut follower).len(), 300);
}

#[test]
fn a_log_that_cannot_be_read_does_not_hold_up_the_others() {
    let site = Site::new();
    // A directory cannot be listed where a file is.
    fs::write(site.at("file"), "").unwrap();
    let paths = [site.at("file/app.log"), site.at("good.log")];
    let mut follower = Follower::open(&paths, &site.cursor(), eager()).unwrap();
    site.append("good.log", "one\n");
    let mut parcels = Default::default();
    assert_eq!(follower.read(9, &mut parcels).unwrap(), 1);
    let failure = follower.read(9, &mut Default::default()).unwrap_err();
    assert!(failure.to_string().contains("file/app.log"), "{failure}");
}
