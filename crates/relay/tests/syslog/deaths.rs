//! Receivers that are killed, stopped, and come back: what was called delivered is there, as far as the protocol can tell; what
//! was not is sent again, and everything arrives.
//!
//! How it works: a thread ships numbered records through a sink while rsyslog is killed with SIGKILL, again and again, and started
//! again with the same files. Then the numbers in its file are compared with those that were called delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use logboom_relay::destination::Destination;
use logboom_relay::sink::Verdict;

use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::shipper::Shipper;
use crate::support::{destination, eventually, is_full, millis, number_of, numbered, secs};

/// What a storm left.
struct Aftermath {
    sent: usize,
    /// Called delivered and not in the file.
    lost: usize,
    /// In the file more than once.
    doubled: usize,
    troubles: usize,
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Aftermath {
            sent,
            lost,
            doubled,
            troubles,
        } = self;
        write!(
            f,
            "{sent} records delivered, {lost} lost, {doubled} doubled, {troubles} troubles"
        )
    }
}

/// Ships records without end while rsyslog is killed `kills` times, each after `between`; then ships the rest.
fn storm(
    rsyslog: &mut Rsyslog,
    destination: &Destination,
    kills: usize,
    between: Duration,
) -> Aftermath {
    let over = Arc::new(AtomicBool::new(false));
    let delivered = Arc::new(AtomicUsize::new(0));
    let shipping = {
        let (over, delivered) = (over.clone(), delivered.clone());
        let mut shipper = Shipper::new(destination);
        let at_once = destination.window;
        std::thread::spawn(move || {
            let mut sent = 0;
            while !over.load(SeqCst) {
                if shipper.kept.len() < at_once {
                    shipper.add((sent..sent + at_once as u64).map(numbered));
                    sent += at_once as u64;
                }
                if shipper.step(millis(100)).is_err() {
                    std::thread::sleep(millis(10));
                }
                delivered.store(shipper.verdicts.len(), SeqCst);
            }
            shipper.finish();
            assert!(
                shipper
                    .verdicts
                    .iter()
                    .all(|verdict| *verdict == Verdict::Delivered)
            );
            (shipper.verdicts.len(), shipper.troubles.len())
        })
    };
    for _ in 0..kills {
        let before = delivered.load(SeqCst);
        eventually("records are delivered", || {
            delivered.load(SeqCst) > before + 100
        });
        std::thread::sleep(between);
        rsyslog.restart();
    }
    over.store(true, SeqCst);
    let (sent, troubles) = shipping.join().unwrap();
    settle_down(rsyslog);
    let mut found: HashMap<u64, usize> = HashMap::new();
    for received in rsyslog.received() {
        *found.entry(number_of(received.id())).or_default() += 1;
    }
    Aftermath {
        sent,
        lost: (0..sent as u64)
            .filter(|number| !found.contains_key(number))
            .count(),
        doubled: found.values().filter(|times| **times > 1).count(),
        troubles,
    }
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

fn kills() -> usize {
    if is_full() { 200 } else { 8 }
}

/// Over RELP, to an rsyslog that writes before it answers, every record that was called delivered is in its file, however often
/// it is killed.
#[test]
fn relp_loses_nothing() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let mut rsyslog = Rsyslog::start(&Setup {
        durable: true,
        ..Setup::default()
    });
    let mut destination = destination(&rsyslog.address("relp"));
    destination.window = 128;
    let aftermath = storm(&mut rsyslog, &destination, kills(), millis(50));
    println!("{aftermath}");
    assert_eq!(aftermath.lost, 0);
    assert!(aftermath.troubles >= kills());
}

/// Over the local socket, what rsyslog had not read when it was killed is sent again: what is lost is what it had read and not
/// written, at most one batch of its own for each kill. Records that were in the socket's queue are not.
#[test]
fn the_local_socket_loses_little() {
    if !rsyslog::is_installed(&[]) {
        return;
    }
    let mut rsyslog = Rsyslog::start(&Setup {
        durable: true,
        ..Setup::default()
    });
    let mut destination = destination(&rsyslog.address("unix"));
    destination.window = 128;
    let aftermath = storm(&mut rsyslog, &destination, kills(), millis(50));
    println!("{aftermath}");
    // It reads one message at a time, and writes it before it reads the next.
    assert!(aftermath.lost <= kills(), "{aftermath}");
}

/// What is lost over TCP when rsyslog is killed, its queues and the kernel's full of what was acknowledged: a figure for the
/// documentation. All that is asserted is that what was not called delivered comes again.
#[test]
fn what_tcp_loses_is_measured() {
    if !rsyslog::is_installed(&[]) {
        return;
    }
    let mut rsyslog = Rsyslog::start(&Setup::default());
    let destination = destination(&rsyslog.address("tcp"));
    let aftermath = storm(&mut rsyslog, &destination, kills(), millis(200));
    println!("{aftermath}");
    assert!(rsyslog.count() + aftermath.lost >= aftermath.sent);
    assert!(aftermath.lost < aftermath.sent);
}
