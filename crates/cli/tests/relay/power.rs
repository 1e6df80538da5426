//! A power cut: what was acknowledged with `durability = "disk"` is in the spool afterwards and is shipped; the cursor skips nothing that
//! was not shipped.
//!
//! How it works: the spool lies on an ext4 of its own, whose image is a file on an XFS. A copy of that file that shares its blocks is made
//! in one step while everything runs: it has what the ext4 had put on its disk at that moment, and nothing of what was only in memory.
//! Then the processes are killed, the shared memory is removed, and everything goes on with the copy, as after a boot. Which records
//! had been acknowledged is read before the copy is made.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::count::Count;
use crate::processes::machine::{Need, has, in_own_mounts, unmount};
use crate::site::{Site, within};
use crate::support::program::Program;
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::{is_full, millis, secs};
use crate::worker::Worker;

const IMPATIENT: [&str; 3] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"2 s\"",
];

/// A file system on whose files other file systems lie.
struct Disks {
    place: tempfile::TempDir,
}

impl Disks {
    fn new() -> Disks {
        let place = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        let disks = Disks { place };
        std::fs::create_dir(disks.path("h")).unwrap();
        sh(
            &disks.path(""),
            "truncate -s 2G h.xfs; mkfs.xfs -q -m reflink=1 h.xfs; mount -o loop h.xfs h;
             truncate -s 512M h/now; mkfs.ext4 -q -F h/now",
        );
        disks
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn mount(&self, at: &Path) {
        let at = at.display();
        sh(
            &self.path(""),
            &format!("mount -o loop h/now {at}; chmod 700 {at}"),
        );
    }

    /// What is on the disk now is all there is from now on.
    fn cut_power(&self, at: &Path, end_all: impl FnOnce()) {
        sh(&self.path(""), "cp --reflink=always h/now h/then");
        end_all();
        let at_path = at.display();
        sh(
            &self.path(""),
            &format!("umount -l {at_path}; mv h/then h/now"),
        );
        self.mount(at);
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        unmount(&self.path("h"));
    }
}

fn sh(directory: &Path, command: &str) {
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
}

struct Trial {
    disks: Disks,
    rsyslog: Rsyslog,
    site: Site,
    /// Number of the last record of each worker that must not be lost.
    acknowledged: Vec<(usize, u64)>,
    waited: u64,
}

impl Trial {
    fn new() -> Trial {
        let disks = Disks::new();
        let rsyslog = Rsyslog::start(&Setup {
            durable: true,
            ..Setup::default()
        });
        let mut more = IMPATIENT.to_vec();
        more.push("spool.durability = \"disk\"");
        let prepare = |root: &Path| {
            std::fs::create_dir(root).unwrap();
            disks.mount(root);
        };
        let mut site = Site::prepared(&rsyslog.address("relp"), &more, prepare);
        site.work.starts_relay = false;
        site.work.durable = true;
        site.work.per_second = 2000;
        // Segments are closed and deleted all the time.
        site.work.spool_bytes = 2 << 20;
        site.work.full = "block".to_owned();
        Trial {
            disks,
            rsyslog,
            site,
            acknowledged: Vec::new(),
            waited: 0,
        }
    }

    /// One life of the machine, at the end of which its power is cut.
    fn live(&mut self, receiver_is_there: bool) {
        let relay = self.site.start_relay();
        let workers: Vec<Worker> = (0..2).map(|_| self.site.start_worker()).collect();
        let account = &self.site.account;
        let first = || {
            workers
                .iter()
                .all(|worker| account.of(worker.number).acknowledged() > 20)
        };
        within(&self.site, secs(30), "records are acknowledged", first);
        if !receiver_is_there {
            self.rsyslog.stop();
        }
        std::thread::sleep(millis(fastrand::u64(500..2000)));
        let acknowledged = workers
            .iter()
            .map(|worker| (worker.number, account.of(worker.number).acknowledged()));
        self.acknowledged.extend(acknowledged);
        let received = self.rsyslog.count() as u64;
        self.waited += self
            .acknowledged
            .iter()
            .map(|(_, last)| last)
            .sum::<u64>()
            .saturating_sub(received);
        let state = self.site.work.state.clone();
        self.disks.cut_power(self.site.root(), || {
            drop((relay, workers));
            // Shared memory is no more.
            for entry in std::fs::read_dir(state).unwrap().flatten() {
                std::fs::remove_file(entry.path()).unwrap();
            }
        });
        self.rsyslog.go_on();
    }

    /// After the last boot, everything that had been acknowledged before a cut arrives.
    fn check(&self) -> Count {
        let _relay: Program = self.site.start_relay();
        let missing = |count: &Count| {
            let nothing = Default::default();
            let mut missing = Vec::new();
            for (worker, last) in &self.acknowledged {
                let there = count.numbers.get(worker).unwrap_or(&nothing);
                missing.extend(
                    (1..=*last)
                        .filter(|number| !there.contains(number))
                        .map(|number| (*worker, number)),
                );
            }
            missing
        };
        let count = || Count::of(&self.rsyslog.received());
        let what = "all that was acknowledged arrives";
        within(&self.site, secs(60), what, || missing(&count()).is_empty());
        let count = count();
        assert!(count.wrong.is_empty(), "{:?}", count.wrong);
        count
    }
}

/// Power is cut again and again, while records are shipped and while the receiver stands still.
#[test]
fn what_was_acknowledged_is_shipped_after_a_power_cut() {
    let needs = [
        Need::Root,
        Need::Mounts,
        Need::Tool("mkfs.xfs"),
        Need::Tool("mkfs.ext4"),
    ];
    if !rsyslog::is_installed(&["imrelp"]) || !has(&needs) {
        return;
    }
    in_own_mounts(|| {
        let mut trial = Trial::new();
        let cuts = if is_full() { 30 } else { 3 };
        for cut in 0..cuts {
            trial.live(cut % 2 == 0);
        }
        let count = trial.check();
        let expected: u64 = trial.acknowledged.iter().map(|(_, last)| last).sum();
        println!(
            "{cuts} power cuts: {expected} records had been acknowledged, {} of them not shipped by then, all arrived; {} came again",
            trial.waited, count.doubled
        );
        assert!(trial.waited > 0, "nothing had to survive");
        unmount(trial.site.root());
    });
}
