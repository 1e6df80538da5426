//! Nothing that a viewer does, or that happens to it, slows, blocks or harms a worker.

#[allow(dead_code, reason = "each test program uses its part")]
mod viewing_site;

use std::time::{Duration, Instant};

use logboom::{Log, Severity};
use viewing_site::{DEBUG, Site, wait_until};

const RECORDER: u64 = 64 << 10;

/// From the start of the command to the rule in force, with empty recorders and with those of 8 workers full: a person does
/// not notice it.
#[test]
fn a_rule_is_in_force_soon() {
    let site = Site::new(1 << 20);
    site.log.record(DEBUG, "shop", "", b"", b"x");
    let empty = time_to_force(&site);
    let workers: Vec<_> = (0..8)
        .map(|_| {
            site.worker(|log| {
                for number in 0..12_000 {
                    let line = format!("record {number} {:-<100}", "");
                    log.record(DEBUG, "shop", "", b"", line.as_bytes());
                }
            })
        })
        .collect();
    workers.iter().for_each(|worker| worker.done());
    let full = time_to_force(&site);
    println!("in force after {empty:?} at the median, {full:?} with full recorders");
    assert!(empty < Duration::from_millis(500) && full < Duration::from_secs(1));
}

fn time_to_force(site: &Site) -> Duration {
    let mut took: Vec<_> = (0..9)
        .map(|_| {
            let generation = site.log.rules_generation();
            let started = Instant::now();
            let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_logboom"))
                .args(["debug", "shop.pay", "--log"])
                .arg(site.logs())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            while site.log.rules_generation() == generation {
                std::hint::spin_loop();
            }
            let took = started.elapsed();
            child.kill().unwrap();
            child.wait().unwrap();
            site.log.forget_ended_rules();
            took
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

/// Ten viewers that are stopped, and then killed, keep no worker from recording, and leave nothing behind; the seventeenth
/// is refused.
#[test]
fn viewers_that_stand_still_disturb_nobody() {
    let site = Site::new(RECORDER);
    let record = || {
        let started = Instant::now();
        for number in 0..50_000 {
            let line = format!("record {number} {:-<80}", "");
            site.log.record(DEBUG, "shop", "", b"", line.as_bytes());
        }
        started.elapsed()
    };
    let alone = record();
    let views: Vec<_> = (0..10).map(|_| site.view(&["tail", "nothing"])).collect();
    views.iter().for_each(|view| view.signal(libc::SIGSTOP));
    let watched = record();
    assert!(
        watched < alone * 5 + Duration::from_millis(200),
        "{alone:?} alone, {watched:?} watched"
    );

    let more: Vec<_> = (0..6).map(|_| site.view(&["debug", "nothing"])).collect();
    let (_, error, code) = site.run(&["tail"]);
    assert_eq!(code, 3);
    assert!(error.contains("as many as fit (16)"), "{error}");
    drop((views, more));
    wait_until(|| {
        site.log.forget_ended_rules();
        site.log.rules().is_empty()
    });
}

/// What a viewer has mapped vanishes under it: the worker is killed, its place and its recorder are the next one's, the pages
/// are given back, and at last the state itself is removed. The viewer goes on, and no worker notices.
#[test]
fn a_ring_may_vanish_under_a_viewer() {
    let site = Site::new(RECORDER);
    let record = |log: &Log, life: &str, number: u32| {
        let line = format!("life {life} record {number:03} {:-<400}", "");
        log.record_published(Severity::INFO, "shop", "", b"", line.as_bytes());
    };
    let view = site.view(&["tail", "shop"]);
    let first = site.worker(|log| (0..500).for_each(|number| record(log, "a", number)));
    first.done();
    view.wait_for("life a record 499");
    view.signal(libc::SIGSTOP);
    let pid = first.pid;
    drop(first);
    site.log.harvest(pid as u32, None, "");
    // The whole recorder, several times over.
    let second = site.worker(|log| (0..2000).for_each(|number| record(log, "b", number)));
    second.done();
    view.signal(libc::SIGCONT);
    view.wait_for("life b record 1999");

    // It finds that there are records, and where they were nothing is.
    view.signal(libc::SIGSTOP);
    (0..20).for_each(|number| record(&site.log, "c", number));
    for entry in std::fs::read_dir(site.state()).unwrap() {
        let path = entry.unwrap().path();
        give_back_pages(&path, 2 << 20);
        std::fs::remove_file(path).unwrap();
    }
    record(&site.log, "d", 1);
    view.signal(libc::SIGCONT);
    view.wait_for("the server's state is gone");
    let (out, error, code) = view.interrupt();
    assert_eq!(code, Some(0), "{error}");
    let is_whole =
        |line: &&str| line.ends_with(&"-".repeat(400)) && line.matches("life").count() == 1;
    assert!(out.lines().all(|line| is_whole(&line)), "{out}");
    drop(second);
}

/// Punches all behind the first `kept` bytes out of a file, as if it had been given back.
fn give_back_pages(path: &std::path::Path, kept: i64) {
    use std::os::fd::AsRawFd;

    let file = std::fs::File::options().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len() as i64 - kept;
    let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: a plain system call on a living descriptor.
    let punched = len <= 0 || unsafe { libc::fallocate(file.as_raw_fd(), flags, kept, len) } == 0;
    assert!(punched, "{}", std::io::Error::last_os_error());
}
