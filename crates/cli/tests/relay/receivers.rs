//! Receivers that misbehave, from end to end: the destination is down, the log says so once and says once that it is back, memory
//! stays within its bound, the relay ends in time, and in the end everything has arrived.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::processes::machine::{Need, has, in_own_mounts, mount};
use crate::proxy::{Manner, Proxy};
use crate::site::Site;
use crate::support::certificates::Authorities;
use crate::support::program::Program;
use crate::support::rsyslog::{self, Rsyslog, Security, Setup};
use crate::support::{eventually, millis, secs};
use crate::worker::{Work, Worker};

/// Short patience, and the log is told soon.
const SOON: [&str; 4] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"1 s\"",
    "say_after = \"1 s\"",
];
/// The relay ends within four seconds of being told to; the rest is for a machine that has other things to do.
const END_WITHIN: Duration = Duration::from_millis(5000);

struct Trial {
    rsyslog: Rsyslog,
    proxy: Proxy,
    site: Site,
    relay: Program,
    worker: Worker,
}

impl Trial {
    fn new() -> Trial {
        Trial::with(true, &SOON)
    }

    fn with(durable: bool, more: &[&str]) -> Trial {
        let rsyslog = Rsyslog::start(&Setup {
            durable,
            ..Setup::default()
        });
        let proxy = Proxy::before(&rsyslog.address("relp"));
        let mut site = Site::new(&proxy.address(), more);
        site.work.starts_relay = false;
        site.work.per_second = 300;
        let trial = Trial {
            relay: site.start_relay(),
            worker: site.start_worker(),
            rsyslog,
            proxy,
            site,
        };
        trial.wait_for_more();
        trial
    }

    fn wait_for_more(&self) {
        self.site.more_arrives(&self.rsyslog, 50);
    }

    /// Told to end, the relay is gone in time; gives how long that took.
    fn ends_in_time(&mut self) -> Duration {
        let begun = Instant::now();
        self.relay.signal(Signal::TERM);
        eventually("the relay ends", || !self.relay.runs());
        let took = begun.elapsed();
        assert!(took < END_WITHIN, "{took:?}");
        took
    }

    /// The worker leaves, and all that it has logged arrives.
    fn end(&mut self) {
        self.site.account.stop();
        self.worker.join();
        self.site.all_arrives(&self.rsyslog);
    }
}

fn is_survived(manner: Manner) {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let mut trial = Trial::new();
    trial.proxy.behave(manner);
    trial.site.goes_down();
    trial.proxy.behave(Manner::Well);
    trial.site.comes_back();
    trial.wait_for_more();
    trial.proxy.behave(manner);
    // Somewhere in the middle of being connected, or of waiting for it.
    std::thread::sleep(millis(fastrand::u64(200..1500)));
    let took = trial.ends_in_time();
    trial.proxy.behave(Manner::Well);
    trial.relay = trial.site.start_relay();
    trial.end();
    println!("{manner:?}: the relay ended within {} ms", took.as_millis());
}

/// A receiver that accepts and never says a word costs nothing but time.
#[test]
fn one_that_is_silent() {
    is_survived(Manner::Silent);
}

/// One that takes everything and never acknowledges it: all is sent again.
#[test]
fn one_that_never_acknowledges() {
    is_survived(Manner::Mute);
}

/// One that answers a byte a second is given up, and nothing of it is believed.
#[test]
fn one_that_answers_a_byte_a_second() {
    is_survived(Manner::Trickle);
}

/// One that closes in the middle of a frame.
#[test]
fn one_that_closes_in_the_middle_of_a_frame() {
    is_survived(Manner::Cut);
}

/// One that refuses every record is in trouble itself: no record is given up for it.
#[test]
fn one_that_refuses_everything() {
    is_survived(Manner::Refuse);
}

/// One where nobody listens.
#[test]
fn one_that_is_away() {
    is_survived(Manner::Away);
}

/// A receiver whose certificate ends while it runs is not believed from the next connection on; with a new one it is back.
#[test]
fn one_whose_certificate_expires() {
    if !rsyslog::is_installed(&["imrelp", "lmnsd_gtls"]) {
        return;
    }
    const VALID: Duration = Duration::from_secs(6);
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let certified = Instant::now();
    let files = authorities.certify_for("localhost", VALID.as_secs());
    let ca = format!("tls.ca = \"{}\"", files.ca.display());
    let mut rsyslog = Rsyslog::start(&Setup {
        durable: true,
        tls: Some(Security {
            files,
            client: None,
        }),
        ..Setup::default()
    });
    let mut site = Site::new(&rsyslog.address("relp+tls"), &[&SOON[..], &[&ca]].concat());
    site.work.per_second = 300;
    let mut worker = site.start_worker();
    site.more_arrives(&rsyslog, 50);
    assert!(certified.elapsed() < VALID, "this machine is too slow");
    // It is looked at when a connection is made, so one that is open goes on.
    std::thread::sleep((VALID + secs(1)).saturating_sub(certified.elapsed()));
    site.more_arrives(&rsyslog, 50);
    rsyslog.restart();
    site.goes_down();
    site.wait_for("last_error", "is that the certificate has expired", |why| {
        why.as_str().unwrap().contains("expired")
    });
    authorities.certify("localhost");
    rsyslog.restart();
    site.comes_back();
    site.account.stop();
    worker.join();
    site.all_arrives(&rsyslog);
}

/// One whose name has no address for a while.
#[test]
fn one_whose_name_cannot_be_found() {
    let needs = [Need::Root, Need::Mounts];
    if !rsyslog::is_installed(&["imrelp"]) || !has(&needs) {
        return;
    }
    // The machine's own tables of names are covered by others.
    in_own_mounts(|| {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let cover = |file: &str, with: &Path| {
            mount(
                with.to_str().unwrap(),
                Path::new(file),
                "",
                libc::MS_BIND,
                "",
            )
            .unwrap();
        };
        let names = "127.0.0.1 localhost\n";
        let servers = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
        cover("/etc/hosts", &write("hosts", names));
        cover("/etc/resolv.conf", &write("resolv.conf", servers));
        let rsyslog = Rsyslog::start(&Setup {
            durable: true,
            ..Setup::default()
        });
        let address = rsyslog
            .address("relp")
            .replace("127.0.0.1", "receiver.example");
        let mut site = Site::new(&address, &SOON);
        site.work.per_second = 300;
        let mut worker = site.start_worker();
        // Before that, there is nothing to look at.
        worker.wait_for(&site.account, 1);
        site.goes_down();
        let why = site.destination()["last_error"].to_string();
        assert!(
            why.contains("no address found for `receiver.example`"),
            "{why}"
        );
        write("hosts", &format!("{names}127.0.0.1 receiver.example\n"));
        site.comes_back();
        site.account.stop();
        worker.join();
        site.all_arrives(&rsyslog);
    });
}

/// A relay that is waiting to be connected ends in time, too, however long it would have waited.
#[test]
fn a_relay_that_is_connecting_ends_in_time() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let patient = ["timeout = \"60 s\"", "retry.first = \"20 ms\""];
    let mut trial = Trial::with(true, &patient);
    trial.proxy.behave(Manner::Silent);
    trial
        .site
        .wait_for("state", "is down", |state| state == "down");
    std::thread::sleep(millis(300));
    let took = trial.ends_in_time();
    println!("it ended within {} ms", took.as_millis());
    trial.proxy.behave(Manner::Well);
    trial.relay = trial.site.start_relay();
    trial.end();
}

/// However long records are and however many wait, the relay's memory is bounded while a receiver takes nothing, or takes all and
/// acknowledges nothing.
#[test]
fn memory_is_bounded() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let mut trial = Trial::with(false, &SOON);
    let before = peak_kb(&trial.relay);
    for manner in [Manner::Mute, Manner::Stalled] {
        trial.proxy.behave(manner);
        let long = Work {
            body_bytes: 60_000,
            records: 800,
            per_second: 0,
            ..trial.site.work.clone()
        };
        trial.site.start(&long).join();
        std::thread::sleep(secs(2));
    }
    let grown = peak_kb(&trial.relay).saturating_sub(before);
    println!("the relay's memory has grown by {grown} kB from {before} kB with 96 MB waiting");
    assert!(grown < 60_000, "{grown} kB");
    trial.proxy.behave(Manner::Well);
    trial.end();
}

/// The most memory that a process has had at once.
fn peak_kb(program: &Program) -> u64 {
    let pid = program.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
