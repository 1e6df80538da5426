//! What is lost over TCP and UDP, where a receiver cannot say what it has: figures for docs/shipping.md, measured with rsyslog as Debian
//! configures it and killed under load. That something is lost is no failure here, nor that nothing is.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::count::{Count, read};
use crate::site::{Site, within};
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::{eventually, is_full, millis, secs};
use crate::worker::Work;

const IMPATIENT: [&str; 3] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"2 s\"",
];

/// More than rsyslog takes, so that its queues and the kernel's are full.
const PER_SECOND: u64 = 60_000;

fn kills() -> usize {
    if is_full() { 40 } else { 2 }
}

/// How long it is sent to rsyslog before it is killed.
fn between() -> Duration {
    millis(fastrand::u64(200..500))
}

/// Waits until nothing more is written.
fn settle_down(rsyslog: &Rsyslog) {
    let (mut count, mut since) = (rsyslog.count(), Instant::now());
    while since.elapsed() < secs(1) {
        std::thread::sleep(millis(50));
        let now = rsyslog.count();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
}

/// From workers over the relay to rsyslog, which is killed again and again.
fn through_the_relay(input: &str) -> String {
    let mut rsyslog = Rsyslog::start(&Setup::default());
    let mut site = Site::new(&rsyslog.address(input), &IMPATIENT);
    site.work.starts_relay = false;
    let _relay = site.start_relay();
    let mut worker = site.start(&Work {
        per_second: PER_SECOND,
        ..site.work.clone()
    });
    for _ in 0..kills() {
        let before = rsyslog.count();
        within(&site, secs(20), "records arrive", || {
            rsyslog.count() > before
        });
        std::thread::sleep(between());
        rsyslog.restart();
    }
    site.account.stop();
    worker.join();
    site.wait_for("waiting", "is nothing", |waiting| *waiting == 0);
    settle_down(&rsyslog);
    let count = Count::of(&rsyslog.received());
    let logged = site.account.acknowledged();
    let lost = logged - count.distinct();
    assert!(count.distinct() > 0, "nothing arrived");
    format!(
        "{lost} of {logged} records lost in {} kills, {} came twice",
        kills(),
        count.doubled
    )
}

/// Who writes each record into a connection, and begins a new one when that fails: what the standard library's handler and many others do.
fn by_a_plain_sender() -> String {
    let mut rsyslog = Rsyslog::start(&Setup::default());
    let address = rsyslog.address("tcp").replace("tcp://", "");
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sending = {
        let over = over.clone();
        std::thread::spawn(move || send_plainly(&address, &over))
    };
    for _ in 0..kills() {
        let before = rsyslog.count();
        eventually("records arrive", || rsyslog.count() > before);
        std::thread::sleep(between());
        rsyslog.restart();
    }
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    let sent = sending.join().unwrap();
    settle_down(&rsyslog);
    let received = rsyslog.received();
    let there = received
        .iter()
        .filter(|received| read(&received.message).is_some())
        .count() as u64;
    format!(
        "{} of {sent} records lost in {} kills",
        sent - there,
        kills()
    )
}

/// How many were written without an error.
fn send_plainly(address: &str, over: &std::sync::atomic::AtomicBool) -> u64 {
    let (mut connection, mut sent, mut number) = (None, 0, 0);
    let begun = Instant::now();
    while !over.load(std::sync::atomic::Ordering::SeqCst) {
        let Some(stream) = &mut connection else {
            connection = TcpStream::connect(address).ok();
            std::thread::sleep(millis(5));
            continue;
        };
        number += 1;
        let message = format!("<14>1 - host shop 1 - - w0 n{number} {}\n", "x".repeat(100));
        match stream.write_all(message.as_bytes()) {
            Ok(()) => sent += 1,
            Err(_) => connection = None,
        }
        let due = Duration::from_secs_f64(number as f64 / PER_SECOND as f64);
        let ahead = due.saturating_sub(begun.elapsed());
        if ahead > millis(5) {
            std::thread::sleep(ahead);
        }
    }
    sent
}

/// The figures for the documentation.
#[test]
fn what_tcp_and_udp_lose_is_measured() {
    if !rsyslog::is_installed(&[]) {
        return;
    }
    println!("tcp, through the relay: {}", through_the_relay("tcp"));
    println!("tcp, a plain sender:    {}", by_a_plain_sender());
    println!("udp, through the relay: {}", through_the_relay("udp"));
}
