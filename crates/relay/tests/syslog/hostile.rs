//! Whatever a receiver does, a call ends within its timeout, in trouble that says why or in verdicts that are true, and nothing
//! grows.
//!
//! How it works: small servers in the test misbehave in one way each. The timeout is short, and each call is measured against it
//! with much room for a slow machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use logboom_relay::destination::Destination;
use logboom_relay::record::Record;
use logboom_relay::sink::{self, Sink, Trouble, Verdict};

use crate::support::hostile::{dribble, open_relp, say, serve, serve_with_buffer, swallow};
use crate::support::shipper::Shipper;
use crate::support::{destination, millis, numbered, secs};

pub const TIMEOUT: Duration = Duration::from_secs(1);
/// What a call may take longer on a machine that is busy; one that hangs takes longer.
const ROOM: Duration = Duration::from_secs(20);

fn to(scheme: &str, address: SocketAddr) -> Destination {
    let mut destination = destination(&format!("{scheme}://{address}"));
    destination.timeout = TIMEOUT;
    destination
}

pub fn sink_to(scheme: &str, address: SocketAddr) -> Box<dyn Sink> {
    sink::make(&to(scheme, address)).unwrap()
}

pub fn connected(scheme: &str, address: SocketAddr) -> Box<dyn Sink> {
    let mut sink = sink_to(scheme, address);
    sink.connect().unwrap();
    sink
}

/// Runs a call, which must end in time.
pub fn timed<T>(call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let answer = call();
    let took = begun.elapsed();
    assert!(took < TIMEOUT + ROOM, "took {took:?}");
    answer
}

/// Settles until there is trouble, or so many verdicts; gives the trouble and the verdicts.
pub fn settled(sink: &mut dyn Sink, count: usize) -> (Option<String>, Vec<Verdict>) {
    let mut verdicts = Vec::new();
    while verdicts.len() < count {
        if let Err(trouble) = timed(|| sink.settle(secs(60), &mut verdicts)) {
            return (Some(trouble.text), verdicts);
        }
    }
    (None, verdicts)
}

pub fn text_of(outcome: Result<(), Trouble>) -> String {
    outcome.expect_err("no trouble").text
}

pub fn records(count: u64) -> Vec<Record> {
    (0..count).map(numbered).collect()
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Where nobody listens, connecting is trouble that names the address, and so is a call without a connection.
#[test]
fn nobody_listens() {
    for scheme in ["tcp", "relp"] {
        let address = nobody();
        let mut sink = sink_to(scheme, address);
        let text = text_of(timed(|| sink.connect()));
        assert!(
            text.starts_with(&format!(
                "failed to connect to `{scheme}://{address}`: {address}: "
            )),
            "{text}"
        );
        assert!(sink.send(&records(1)).is_err());
        assert!(sink.settle(TIMEOUT, &mut Vec::new()).is_err());
        sink.close();
    }
}

/// A name without an address is trouble that says so.
#[test]
fn names_without_an_address() {
    for scheme in ["udp", "tcp", "tls", "relp", "relp+tls"] {
        let mut destination = destination(&format!("{scheme}://nothing.invalid:1"));
        destination.timeout = TIMEOUT;
        destination.tls.ca = None;
        let Ok(mut sink) = sink::make(&destination) else {
            // Without any authority on the machine the schemes with TLS end here.
            continue;
        };
        let text = text_of(timed(|| sink.connect()));
        assert!(
            text.contains("no address found for `nothing.invalid`: "),
            "{text}"
        );
    }
}

/// A server that accepts and says nothing, or one byte after the other, is trouble where an answer is due.
#[test]
fn no_answer_to_the_first_word() {
    let place = tempfile::tempdir().unwrap();
    let authorities = crate::support::certificates::Authorities::new(place.path());
    let answer = b"1 rsp 30 200 OK\nrelp_version=0\n";
    let tls_hello = [0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3, 0, 0, 0, 0, 0];
    let silent = serve(swallow);
    let slow = serve(move |stream| dribble(stream, answer, 200));
    let slow_hello = serve(move |stream| dribble(stream, &tls_hello, 200));
    let cases = [
        ("relp", silent, "no answer to `open` within 1 s"),
        ("relp", slow, "no answer to `open` within 1 s"),
        ("tls", silent, "the TLS handshake did not end within 1 s"),
        (
            "tls",
            slow_hello,
            "the TLS handshake did not end within 1 s",
        ),
        (
            "relp+tls",
            silent,
            "the TLS handshake did not end within 1 s",
        ),
    ];
    for (scheme, address, expected) in cases {
        let mut destination = to(scheme, address);
        destination.tls.ca = Some(authorities.ca());
        let mut sink = sink::make(&destination).unwrap();
        let text = text_of(timed(|| sink.connect()));
        assert!(text.ends_with(expected), "{text}");
    }
}

/// A receiver of plain messages that talks without end is not listened to: what is sent is delivered, and memory stays.
#[test]
fn a_receiver_that_floods() {
    let address = serve(|mut stream| {
        let mut reading = stream.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let mut sink = connected("tcp", address);
    let before = resident_kb();
    for _ in 0..50 {
        sink.send(&records(10)).unwrap();
        let (trouble, verdicts) = settled(&mut *sink, 10);
        assert_eq!((trouble, verdicts.len()), (None, 10));
    }
    let grown = resident_kb().saturating_sub(before);
    assert!(grown < 20_000, "{grown} kB more");
}

/// A receiver that accepts and does not read is trouble once it acknowledges nothing more, and memory stays within the window.
#[test]
fn a_receiver_that_does_not_read() {
    let address = serve(|stream| {
        std::thread::sleep(secs(60));
        drop(stream);
    });
    let mut destination = to("tcp", address);
    destination.window = 100_000;
    destination.batch = 1000;
    let mut shipper = Shipper::new(&destination);
    shipper.add(records(60_000).into_iter().map(|mut record| {
        record.body = "x".repeat(1000);
        record
    }));
    let until = Instant::now() + secs(60);
    while timed(|| shipper.step(secs(60))).is_ok() {
        assert!(Instant::now() < until, "no trouble");
    }
    assert!(
        shipper.troubles[0]
            .text
            .ends_with("the receiver acknowledged nothing for 1 s"),
        "{:?}",
        shipper.troubles
    );
    assert!(!shipper.kept.is_empty());
}

/// What the receiver's kernel has not acknowledged is not delivered, though ours has taken it.
#[test]
fn what_is_not_acknowledged_is_not_delivered() {
    let address = serve_with_buffer(SMALL_BUFFER_BYTES, |stream| {
        std::thread::sleep(secs(60));
        drop(stream);
    });
    let mut sink = connected("tcp", address);
    let records: Vec<_> = records(1000)
        .into_iter()
        .map(|mut record| {
            record.body = "x".repeat(1000);
            record
        })
        .collect();
    sink.send(&records).unwrap();
    let (trouble, verdicts) = settled(&mut *sink, 1000);
    assert!(
        trouble
            .unwrap()
            .ends_with("the receiver acknowledged nothing for 1 s")
    );
    // The kernel takes up to twice what it was told, and what was under way.
    assert!(
        verdicts.len() < 200,
        "{} records in {SMALL_BUFFER_BYTES} bytes",
        verdicts.len()
    );
}

/// A slow link comes to an end: a receiver that takes some kilobytes in each timeout is waited for, though the whole takes longer,
/// be it many records or one.
#[test]
fn a_slow_receiver_is_waited_for() {
    let many = serve_with_buffer(SMALL_BUFFER_BYTES, |mut stream| {
        while read_slowly(&mut stream).is_some() {}
    });
    let begun = Instant::now();
    Shipper::new(&to("tcp", many)).ship((0..400).map(|number| {
        let mut record = numbered(number);
        record.body = "x".repeat(5000);
        record
    }));
    assert!(begun.elapsed() > TIMEOUT, "not slow");

    let one = serve_with_buffer(SMALL_BUFFER_BYTES, |mut stream| {
        open_relp(&mut stream);
        while !read_slowly(&mut stream).is_none_or(|bytes| bytes.ends_with(b"the end\n")) {}
        say(&mut stream, "2 rsp 6 200 OK\n");
        swallow(stream);
    });
    let mut destination = to("relp", one);
    destination.syslog.message_bytes_max = 4 << 20;
    let mut record = numbered(0);
    record.body = "x".repeat(2 << 20) + "the end";
    let begun = Instant::now();
    Shipper::new(&destination).ship([record]);
    assert!(begun.elapsed() > TIMEOUT, "not slow");
}

/// What the kernel keeps of what a slow receiver has not read, so that it does not read ahead for it.
const SMALL_BUFFER_BYTES: usize = 32 << 10;

/// What is there, and then a nap; None: nothing comes any more.
fn read_slowly(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    let count = stream.read(&mut buffer).ok()?;
    std::thread::sleep(millis(50));
    buffer.truncate(count);
    (count > 0).then_some(buffer)
}

/// A connection that the receiver closed while nothing was sent is noticed before a record is sent into it.
#[test]
fn a_closed_connection_is_noticed_before_sending() {
    let address = serve(drop);
    let mut sink = connected("tcp", address);
    std::thread::sleep(millis(200));
    let text = text_of(sink.send(&records(1)));
    assert!(
        text.contains("the receiver closed the connection") || text.contains("reset"),
        "{text}"
    );
}

/// UDP says trouble when nobody listens, and goes on with the name's next address.
#[test]
fn packets_to_nobody() {
    let held = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = held.local_addr().unwrap();
    let mut sink = connected("udp", address);
    sink.send(&records(3)).unwrap();
    assert_eq!(settled(&mut *sink, 3).1.len(), 3);
    drop(held);
    let sent = sink.send(&records(3));
    let (trouble, verdicts) = settled(&mut *sink, 3);
    assert!(sent.is_err() || trouble.is_some());
    assert_eq!(verdicts, []);

    // `localhost` may be two addresses, of which one listens.
    let held = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let mut destination = destination(&format!(
        "udp://localhost:{}",
        held.local_addr().unwrap().port()
    ));
    destination.timeout = TIMEOUT;
    let mut shipper = Shipper::new(&destination);
    shipper.add(records(3));
    shipper.finish();
    held.set_read_timeout(Some(secs(10))).unwrap();
    assert!(held.recv(&mut [0; 1000]).is_ok());
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
