//! The local socket: queues that are full, sockets that are made anew, messages that are too long, and streams.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use logboom_relay::destination::{Destination, Long};
use logboom_relay::record::Record;
use logboom_relay::sink::{self, Verdict};

use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::shipper::Shipper;
use crate::support::{destination, eventually, millis, numbered, secs};

fn to(path: &Path) -> Destination {
    let mut destination = destination(&format!("unix:{}", path.display()));
    destination.timeout = secs(1);
    destination
}

fn listener(path: &Path) -> UnixDatagram {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(secs(10))).unwrap();
    socket
}

fn received(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 1 << 20];
    let count = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

/// A record is delivered when the receiver has read it, not when it is in its queue.
#[test]
fn what_is_not_read_is_not_delivered() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log.sock");
    let socket = listener(&path);
    let mut sink = sink::make(&to(&path)).unwrap();
    sink.connect().unwrap();
    let records: Vec<Record> = (0..3).map(numbered).collect();
    sink.send(&records).unwrap();
    let mut verdicts = Vec::new();
    sink.settle(millis(50), &mut verdicts).unwrap();
    assert_eq!(verdicts, []);
    // How many it has read is known to within a few; never too many, and in the end all.
    for count in 1..=3 {
        received(&socket);
        sink.settle(millis(50), &mut verdicts).unwrap();
        assert!(verdicts.len() <= count);
    }
    eventually("all verdicts", || {
        sink.settle(millis(50), &mut verdicts).unwrap();
        verdicts.len() == 3
    });
}

/// A receiver that dies with records in its queue, and comes back with a new socket, gets them again.
#[test]
fn a_socket_that_is_made_anew_gets_what_was_not_read() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log.sock");
    let mut shipper = Shipper::new(&to(&path));
    shipper.add((0..5).map(numbered));
    let text = shipper.step(millis(50)).unwrap_err().text;
    assert!(
        text.starts_with("failed to connect to `unix:/") && text.contains("No such file"),
        "{text}"
    );

    let socket = listener(&path);
    shipper.step(millis(50)).unwrap();
    for number in 0..4 {
        assert!(received(&socket).contains(&format!("record {number} ")));
    }
    eventually("verdicts", || {
        shipper.step(millis(50)).is_ok() && !shipper.verdicts.is_empty()
    });
    drop(socket);
    assert!(shipper.step(millis(50)).is_err());
    assert!(shipper.verdicts.len() <= 4);

    let socket = listener(&path);
    let again = shipper.verdicts.len();
    eventually("a step", || shipper.step(millis(50)).is_ok());
    for number in again..5 {
        assert!(received(&socket).contains(&format!("record {number} ")));
    }
    shipper.finish();
    assert_eq!(shipper.verdicts, vec![Verdict::Delivered; 5]);
}

/// A receiver that stands still is trouble after the timeout, and gets everything when it goes on.
#[test]
fn a_stopped_receiver_gets_everything_later() {
    if !rsyslog::is_installed(&[]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let mut destination = destination(&rsyslog.address("unix"));
    destination.timeout = secs(1);
    let mut shipper = Shipper::new(&destination);
    rsyslog.stop();
    shipper.add((0..500).map(numbered));
    eventually("trouble", || shipper.step(millis(100)).is_err());
    let text = &shipper.troubles[0].text;
    assert!(
        text.ends_with("the receiver took no message for 1 s"),
        "{text}"
    );
    assert_eq!(shipper.verdicts, []);
    rsyslog.go_on();
    shipper.finish();
    let mut ids: Vec<_> = rsyslog
        .wait_for(500)
        .iter()
        .map(|received| received.id().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 500);
}

/// A message that is longer than what the socket takes is cut, or split, as the destination wants it.
#[test]
fn messages_longer_than_the_socket_takes() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log.sock");
    let socket = listener(&path);
    let body = "0123456789".repeat(100_000);
    let mut record = numbered(0);
    record.body.clone_from(&body);
    let mut destination = to(&path);
    destination.syslog.message_bytes_max = 2_000_000;
    let reader = std::thread::spawn(move || {
        let cut = received(&socket);
        assert!(cut.ends_with(" [logboom: cut, 1000000 bytes in all]") && cut.len() > 100_000);
        let first = received(&socket);
        let (_, count) = first.split_once(" part=\"1/").unwrap();
        let count: usize = count.split('"').next().unwrap().parse().unwrap();
        let text_of = |part: &str| part.split_once("] ").unwrap().1.to_owned();
        let rest = (1..count).map(|_| text_of(&received(&socket)));
        let text = text_of(&first) + &rest.collect::<String>();
        // It lives until the last verdict.
        (text, socket)
    });
    Shipper::new(&destination).ship([record.clone()]);
    destination.syslog.long = Long::Split;
    Shipper::new(&destination).ship([record]);
    assert_eq!(reader.join().unwrap().0, body);
}

/// Where the socket wants a stream it gets one, in lines; one whose queue of connections is full is trouble after the timeout.
#[test]
fn a_stream_socket_that_is_full() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut held = Vec::new();
    let begun = std::time::Instant::now();
    let trouble = loop {
        let mut sink = sink::make(&to(&path)).unwrap();
        match sink.connect() {
            Ok(()) => held.push(sink),
            Err(trouble) => break trouble,
        }
        assert!(held.len() < 10_000, "no queue is so long");
    };
    assert!(begun.elapsed() >= secs(1));
    assert!(
        trouble.text.starts_with("failed to connect to `unix:/"),
        "{}",
        trouble.text
    );
}
