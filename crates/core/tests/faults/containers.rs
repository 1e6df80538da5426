//! Two containers with one log volume: mount and pid namespaces of their own, shared memory of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use logboom::{ErrorKind, Log, LogOptions, StateDir};

use crate::publish;
use crate::support::machine::{self, Heard, Need, child, end_well, kill_and_wait, secs, within};
use crate::support::{Counters, open, publish_numbered, read_strictly};

/// Runs `body` in a container: its first process, with its own mounts, /proc and shared memory. Gives the pid outside.
fn container(body: impl FnOnce() -> i32) -> libc::pid_t {
    child(|| {
        machine::own_mounts().unwrap();
        // SAFETY: the next child is the first process of a new pid namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        let first = child(|| {
            machine::mount("proc", Path::new("/proc"), "proc", 0, "").unwrap();
            machine::mount("tmpfs", Path::new("/dev/shm"), "tmpfs", 0, "size=64m").unwrap();
            // SAFETY: the container has one thread.
            unsafe { std::env::remove_var("XDG_RUNTIME_DIR") };
            assert_eq!(std::process::id(), 1);
            body()
        });
        i32::from(!crate::support::exited_well(machine::wait_within(
            first,
            secs(80),
        )))
    })
}

fn volume() -> Option<(tempfile::TempDir, PathBuf)> {
    machine::has(&[Need::Mounts]).then(|| {
        let volume = tempfile::tempdir().unwrap();
        let path = volume.path().join("app.log");
        (volume, path)
    })
}

fn read_archives(path: &Path) -> String {
    let mut names: Vec<(u32, String)> = machine::names_in(path.parent().unwrap())
        .into_iter()
        .filter_map(|name| match name.strip_prefix("app.log")? {
            "" => Some((0, name)),
            number => Some((number.strip_prefix('.')?.parse().ok()?, name)),
        })
        .collect();
    names.sort();
    names
        .iter()
        .rev()
        .map(|(_, name)| std::fs::read_to_string(path.with_file_name(name)).unwrap())
        .collect()
}

#[test]
fn two_containers_with_the_state_beside_the_log_lose_double_and_misplace_nothing() {
    let Some((_keep, path)) = volume() else {
        return;
    };
    let options = LogOptions {
        state_dir: StateDir::Beside,
        queue_bytes: 128 << 10,
        max_bytes: 200_000,
        backup_count: 10_000,
        on_full_wait_ms: 5_000,
        ..LogOptions::default()
    };
    let ready = Counters::new(1);
    let containers: Vec<_> = [1, 3]
        .map(|first| {
            container(|| {
                let log = open(&path, &options);
                ready.at(0).fetch_add(1, SeqCst);
                within(secs(20), "both are up", || ready.at(0).load(SeqCst) >= 2);
                let workers = [0, 1].map(|more| {
                    child(|| {
                        publish(&log, first + more, 1, 20_000, 100);
                        assert!(log.flush(secs(10)));
                        0
                    })
                });
                for worker in workers {
                    end_well(worker, secs(60));
                }
                0
            })
        })
        .into();
    for pid in containers {
        end_well(pid, secs(85));
    }
    let reading = read_strictly(&read_archives(&path));
    reading.assert_complete(&(1..=4).map(|worker| (worker, 20_000)).collect(), &[]);
    assert_eq!(reading.found.len(), 80_000);
    let archives = machine::names_in(path.parent().unwrap())
        .iter()
        .filter(|name| name.starts_with("app.log."))
        .count();
    assert!(archives >= 30, "{archives} archives");
}

#[test]
fn a_container_killed_whole_is_recovered_by_the_other() {
    let Some((_keep, path)) = volume() else {
        return;
    };
    let options = LogOptions {
        state_dir: StateDir::Beside,
        queue_bytes: 128 << 10,
        ..LogOptions::default()
    };
    let counters = Counters::new(4);
    let killed = container(|| {
        let log = open(&path, &options);
        let _worker = child(|| {
            publish_numbered(&log, 1, counters.at(0), counters.at(1), |_| 200);
            0
        });
        publish_numbered(&log, 2, counters.at(2), counters.at(3), |_| 200);
        0
    });
    within(secs(20), "it publishes", || {
        counters.at(1).load(SeqCst) > 2000 && counters.at(3).load(SeqCst) > 2000
    });
    // Its first process dies with the one outside; the kernel kills the rest.
    kill_and_wait(killed);
    let status = |index: usize| counters.at(index).load(SeqCst);
    let mut before = [0; 2];
    within(secs(10), "it is dead", || {
        let now = [status(1), status(3)];
        let still = now == before;
        before = now;
        std::thread::sleep(machine::millis(50));
        still
    });
    let other = container(|| {
        let log = open(&path, &options);
        publish(&log, 3, 1, 10, 100);
        assert!(log.flush(secs(5)));
        0
    });
    end_well(other, secs(30));
    let reading = read_strictly(&read_archives(&path));
    let unsure = [(1, status(0)), (2, status(2))];
    reading.assert_complete(&[(1, status(1)), (2, status(3)), (3, 10)].into(), &unsure);
}

#[test]
fn a_second_container_with_a_state_of_its_own_is_refused_while_the_first_lives() {
    let Some((_keep, path)) = volume() else {
        return;
    };
    let _heard = Heard::listen();
    let options = LogOptions {
        queue_bytes: 128 << 10,
        ..LogOptions::default()
    };
    let counters = Counters::new(2);
    let first = container(|| {
        let log = open(&path, &options);
        publish(&log, 1, 1, 10, 100);
        counters.at(0).store(1, SeqCst);
        within(secs(30), "the test says end", || {
            counters.at(1).load(SeqCst) == 1
        });
        0
    });
    within(secs(20), "the first is up", || {
        counters.at(0).load(SeqCst) == 1
    });
    let second = container(|| {
        let error = Log::open(&path, &options)
            .err()
            .expect("it writes alongside");
        assert_eq!(error.kind(), ErrorKind::Claimed, "{error}");
        assert!(
            error
                .to_string()
                .contains("state_dir=\"beside\" puts it on the log's own volume"),
            "{error}"
        );
        0
    });
    end_well(second, secs(30));
    counters.at(1).store(1, SeqCst);
    end_well(first, secs(30));
    let third = container(|| {
        publish(&open(&path, &options), 2, 1, 10, 100);
        0
    });
    end_well(third, secs(30));
    let reading = read_strictly(&read_archives(&path));
    reading.assert_complete(&[(1, 10), (2, 10)].into(), &[]);
}

/// Where /proc is mounted with `hidepid`, a worker that changed its user is invisible to others of that user.
#[test]
fn a_worker_that_proc_hides_is_not_taken_for_dead() {
    let Some((keep, path)) = volume() else {
        return;
    };
    machine::give_to_nobody(keep.path());
    let options = LogOptions {
        state_dir: StateDir::Beside,
        queue_bytes: 128 << 10,
        ..LogOptions::default()
    };
    let ready = Counters::new(2);
    let worker = child(|| {
        machine::become_nobody();
        let log = open(&path, &options);
        publish(&log, 1, 1, 10, 100);
        ready.at(0).store(1, SeqCst);
        within(secs(30), "it was looked at", || {
            ready.at(1).load(SeqCst) == 1
        });
        0
    });
    within(secs(20), "it logs", || ready.at(0).load(SeqCst) == 1);
    let other = child(|| {
        machine::own_mounts().unwrap();
        machine::mount("proc", Path::new("/proc"), "proc", 0, "hidepid=2").unwrap();
        machine::become_nobody();
        assert!(!Path::new(&format!("/proc/{worker}/stat")).exists());
        let workers = logboom::status::status(&path).unwrap().workers;
        assert!(workers.len() == 1 && workers[0].alive, "{workers:?}");
        0
    });
    end_well(other, secs(30));
    ready.at(1).store(1, SeqCst);
    end_well(worker, secs(30));
}
