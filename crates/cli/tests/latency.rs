//! How soon a rule counts: from the start of the command, as a person types it, to the next record of every worker.
//!
//! The times are reported, and held against the bounds (5 ms at the median, 50 ms at the 99th percentile) with a margin,
//! since this is no release build. Where it can be had, the command gets a real-time priority, so that other programs of the
//! machine are not what is measured. `cargo nextest run -p logboom-cli --test latency --no-capture` shows the figures.

#[allow(dead_code, reason = "each test program uses its part")]
mod viewing_site;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use logboom::Log;
use viewing_site::{DEBUG, Site, Worker};

const WORKERS: usize = 16;
const MEDIAN: Duration = Duration::from_millis(5);
const P99: Duration = Duration::from_millis(50);
/// For builds without optimization.
const MARGIN: u32 = 4;
/// And where others have the processors, too.
const MARGIN_IN_TURN: u32 = 40;

fn rounds() -> usize {
    match std::env::var_os("LOGBOOM_FULL") {
        Some(_) => 1000,
        None => 60,
    }
}

/// True: from here on, this process and what it starts come first.
fn come_first() -> bool {
    let priority = libc::sched_param { sched_priority: 20 };
    // SAFETY: a plain system call with a living structure.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &priority) == 0 }
}

/// Puts a rule in force as a person does; when the domain's word changed, from the start of the command on.
fn command_took(site: &Site) -> Duration {
    let generation = site.log.rules_generation();
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_logboom"))
        .args(["level", "shop.pay=debug", "--log"])
        .arg(site.logs())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while site.log.rules_generation() == generation {
        std::hint::spin_loop();
    }
    let took = started.elapsed();
    assert!(child.wait().unwrap().success());
    took
}

fn end_all(log: &Log) {
    for rule in log.rules() {
        assert!(log.remove_rule(rule.number));
    }
}

fn report(what: &str, mut took: Vec<Duration>, margin: Option<u32>) {
    took.sort();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "{what}: {median:?} at the median, {p99:?} at the 99th percentile, of {}",
        took.len()
    );
    if let Some(margin) = margin {
        assert!(median < MEDIAN * margin && p99 < P99 * margin, "{what}");
    }
}

/// Sixteen workers wait in a read of a socket. When the rule is in force, the very next record of each obeys it, and so does
/// the one after its end.
#[test]
fn workers_that_wait_obey_with_their_next_record() {
    let site = Site::new(64 << 10);
    let pairs: Vec<_> = (0..WORKERS).map(|_| UnixStream::pair().unwrap()).collect();
    let workers: Vec<Worker> = pairs
        .iter()
        .map(|(_, theirs)| {
            let mut theirs = theirs.try_clone().unwrap();
            site.worker(move |log| {
                let mut woken = [0];
                while theirs.read_exact(&mut woken).is_ok() {
                    let revealed = log.judge("shop.pay.card", DEBUG, None).revealed;
                    theirs.write_all(&[u8::from(revealed)]).unwrap();
                }
            })
        })
        .collect();
    let answers = || -> Vec<u8> {
        for (ours, _) in &pairs {
            (&mut &*ours).write_all(b"?").unwrap();
        }
        let mut answers = vec![0; WORKERS];
        for ((ours, _), answer) in pairs.iter().zip(answers.chunks_mut(1)) {
            (&mut &*ours).read_exact(answer).unwrap();
        }
        answers
    };
    assert_eq!(answers(), [0; WORKERS]);
    let margin = if come_first() { MARGIN } else { MARGIN_IN_TURN };
    let took = (0..rounds()).map(|_| {
        let took = command_took(&site);
        assert_eq!(answers(), [1; WORKERS], "all obey with their next record");
        end_all(&site.log);
        assert_eq!(answers(), [0; WORKERS]);
        took
    });
    report("16 workers that wait", took.collect(), Some(margin));
    drop(workers);
}

/// Sixteen workers that never rest share the processors with the command: when the first and the last of them obeys is
/// reported, and that all of them do.
#[test]
fn workers_that_never_rest_obey_as_well() {
    let site = Site::new(64 << 10);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let workers: Vec<Worker> = (0..WORKERS)
        .map(|_| {
            let mut theirs = theirs.try_clone().unwrap();
            site.worker(move |log| {
                let mut before = false;
                loop {
                    let revealed = log.judge("shop.pay.card", DEBUG, None).revealed;
                    if revealed != before {
                        theirs.write_all(b"!").unwrap();
                    }
                    before = revealed;
                }
            })
        })
        .collect();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..(rounds() / 6).min(100) {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_logboom"))
            .args(["level", "shop.pay=debug", "--log"])
            .arg(site.logs())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = [0];
        ours.read_exact(&mut said).unwrap();
        first.push(started.elapsed());
        let mut rest = [0; WORKERS - 1];
        ours.read_exact(&mut rest).unwrap();
        last.push(started.elapsed());
        assert!(child.wait().unwrap().success());
        end_all(&site.log);
        let mut all = [0; WORKERS];
        ours.read_exact(&mut all).unwrap();
    }
    report("16 workers that never rest, the first", first, None);
    report("16 workers that never rest, the last", last, None);
    drop(workers);
}
