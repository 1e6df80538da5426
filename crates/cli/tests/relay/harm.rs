//! What a dead, slow or stopped receiver costs the application: nothing. A trace of a worker's system calls shows no network and no
//! waiting, and a logging call takes as long as it does while the receiver takes everything.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::processes::machine::{Need, has};
use crate::site::{Site, within};
use crate::support::program::Program;
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::{millis, secs};
use crate::worker::{Work, Worker};

const SOON: [&str; 3] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"1 s\"",
];
/// How much longer a call may take while the receiver is stopped. What is measured is 1.0; a machine that does other things at the
/// same time is given more. `cargo xtask bench` has the demand.
const RATIO_MAX: f64 = 1.5;
const ROUNDS: usize = 15;

/// System calls of the network.
const NETWORK: [&str; 18] = [
    "socket",
    "socketpair",
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "shutdown",
    "getsockopt",
    "setsockopt",
    "getpeername",
    "getsockname",
];
/// Those with which one process waits for another, or for a file to be ready.
const WAITING: [&str; 11] = [
    "flock",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "wait4",
    "waitid",
    "pause",
    "semtimedop",
];
/// The longest that one call was seen to take, and far below any timeout of the relay; the machine may be busy.
const LONGEST_S: f64 = 0.5;

/// A worker's system calls for a while: how often each, and the longest time of each.
fn trace(worker: &Worker, site: &Site) -> BTreeMap<String, (u64, f64)> {
    let output = site.path("trace");
    let pid = worker.program.pid().as_raw_nonzero().to_string();
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-T", "-p", &pid, "-o"])
        .arg(&output)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(millis(1200));
    let process = rustix::process::Pid::from_child(&strace);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    strace.wait().unwrap();
    let mut calls: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for line in std::fs::read_to_string(&output).unwrap().lines() {
        // `4711  write(5, "..."..., 120) = 120 <0.000021>`
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let Some((name, _)) = call.split_once('(') else {
            continue;
        };
        // Whether standard error takes a line is asked, and not waited for.
        if line.contains("{tv_sec=0, tv_nsec=0}") {
            continue;
        }
        let took = line
            .rsplit_once('<')
            .and_then(|(_, took)| took.strip_suffix('>')?.parse().ok());
        let call = calls.entry(name.to_owned()).or_default();
        call.0 += 1;
        call.1 = call.1.max(took.unwrap_or(0.0));
    }
    calls
}

/// The trace of a worker has nothing of a network, and nothing that waits.
fn assert_harmless(calls: &BTreeMap<String, (u64, f64)>, when: &str) {
    let total: u64 = calls.values().map(|(count, _)| count).sum();
    println!("{when}: {calls:?}");
    assert!(total > 200, "{when}: hardly anything was traced");
    for name in NETWORK.iter().chain(&WAITING) {
        assert!(!calls.contains_key(*name), "{when}: {name}");
    }
    // It sleeps to keep its pace, and that is all it waits for.
    for (name, (_, longest)) in calls.iter().filter(|(name, _)| *name != "clock_nanosleep") {
        assert!(*longest < LONGEST_S, "{when}: {name} took {longest} s");
    }
}

/// With the receiver stopped, dead, and with the spool full of what it does not take, a worker makes no system call of the network and
/// waits for nobody.
#[test]
fn a_trace_of_a_worker_shows_no_network_and_no_waiting() {
    if !rsyslog::is_installed(&["imrelp"]) || !has(&[Need::Tool("strace")]) {
        return;
    }
    let mut rsyslog = Rsyslog::start(&Setup::default());
    let mut site = Site::new(&rsyslog.address("relp"), &SOON);
    site.work.per_second = 300;
    site.work.spool_bytes = 1 << 20;
    site.work.body_bytes = 1000;
    site.work.full = "newest".to_owned();
    site.work.insists = false;
    let worker = site.start_worker();
    within(&site, secs(20), "records arrive", || rsyslog.count() > 50);
    rsyslog.stop();
    assert_harmless(&trace(&worker, &site), "receiver stopped");
    rsyslog.go_on();
    rsyslog.kill();
    site.wait_for("state", "is down", |state| state == "down");
    assert_harmless(&trace(&worker, &site), "receiver dead");
    within(&site, secs(30), "the spool is full", || {
        site.account.dropped() > 0
    });
    assert_harmless(&trace(&worker, &site), "spool full");
}

/// A logging call takes no longer while the receiver stands still than while it takes everything: the median of each, by turns.
#[test]
fn a_call_takes_as_long_with_the_receiver_stopped() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let mut site = Site::new(&rsyslog.address("relp"), &SOON);
    site.work.starts_relay = false;
    let _relay: Program = site.start_relay();
    let worker = site.start(&Work {
        samples: 300,
        per_second: 5000,
        ..site.work.clone()
    });
    within(&site, secs(20), "records arrive", || rsyslog.count() > 1000);
    let line = site.account.of(worker.number);
    let median = || {
        // One that was begun after now.
        let before = line.medians();
        within(&site, secs(20), "a median", || line.medians() >= before + 2);
        line.median_ns()
    };
    let (mut running, mut stopped) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        running.push(median());
        rsyslog.stop();
        std::thread::sleep(millis(20));
        stopped.push(median());
        rsyslog.go_on();
    }
    running.sort_unstable();
    stopped.sort_unstable();
    let ratio = stopped[ROUNDS / 2] as f64 / running[ROUNDS / 2] as f64;
    println!(
        "a call takes {} ns with the receiver stopped, {} ns with it running: {ratio:.2} times as long",
        stopped[ROUNDS / 2],
        running[ROUNDS / 2]
    );
    assert!(
        ratio < RATIO_MAX,
        "{ratio}: {stopped:?} against {running:?}"
    );
}
