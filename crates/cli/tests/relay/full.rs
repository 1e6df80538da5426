//! Where there is no room: a full disk, and a spool that is as long as it may be, with each policy. What is dropped is counted, status
//! and log say how much; whoever logs waits no longer than was said; and when the receiver is back everything arrives that was not
//! dropped.

use std::time::Duration;

use serde_json::Value;

use crate::count::Count;
use crate::processes::machine::{Need, has, in_own_mounts, mount_tmpfs, unmount};
use crate::proxy::{Manner, Proxy};
use crate::site::{Site, within};
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::{millis, secs};
use crate::worker::{Work, Worker};

const SOON: [&str; 4] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"1 s\"",
    "say_after = \"500 ms\"",
];
/// More than fits into any of the spools.
const RECORDS: u64 = 6000;
/// How long a worker waits for room, once per stall.
const WAIT_MS: u64 = 100;

struct Shortage {
    rsyslog: Rsyslog,
    proxy: Proxy,
    site: Site,
}

impl Shortage {
    /// A destination that is away, with a spool of so many bytes.
    fn new(full: &str, spool_bytes: u64, disk: Option<&str>) -> Shortage {
        let rsyslog = Rsyslog::start(&Setup::default());
        let proxy = Proxy::before(&rsyslog.address("relp"));
        let mut more = SOON.map(str::to_owned).to_vec();
        more.push(format!("spool.bytes = {spool_bytes}"));
        more.push(format!("spool.full = \"{full}\""));
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let place = |root: &std::path::Path| {
            if let Some(size) = disk {
                std::fs::create_dir(root).unwrap();
                mount_tmpfs(root, size);
            }
        };
        let mut site = Site::prepared(&proxy.address(), &more, place);
        site.work = Work {
            starts_relay: false,
            spool_bytes,
            full: full.to_owned(),
            wait_ms: WAIT_MS,
            per_second: 0,
            body_bytes: 400,
            insists: false,
            ..site.work.clone()
        };
        Shortage {
            rsyslog,
            proxy,
            site,
        }
    }

    /// Logs more than there is room for, lets the receiver come back, and gives the figures in the end.
    fn run(&mut self) -> Outcome {
        let _relay = self.site.start_relay();
        self.proxy.behave(Manner::Away);
        let mut first = self.log(RECORDS);
        first.join();
        within(&self.site, secs(20), "the log says that it is down", || {
            self.site.says(" is down for ") == 1
        });
        let while_down = self.figures();
        self.proxy.behave(Manner::Well);
        within(&self.site, secs(20), "the log says that it is back", || {
            self.site.says(" is back after ") == 1
        });
        self.wait_until_shipped();
        // There is room again.
        let refused_before = self.site.account.dropped();
        self.log(100).join();
        assert_eq!(self.site.account.dropped(), refused_before, "recovered");
        self.wait_until_shipped();
        self.judge(while_down)
    }

    /// Waits until nothing waits in a queue or in the spool, and rsyslog has written what it acknowledged.
    fn wait_until_shipped(&self) {
        let root = self.site.root().display().to_string();
        within(&self.site, secs(30), "all that waits is shipped", || {
            let queued = self.site.json(&["status", "--json", &root])["ledger"]["queued"].clone();
            // A count that was begun when the last record was in the spool.
            std::thread::sleep(millis(60));
            queued == 0 && self.site.live()["waiting"] == 0
        });
        let mut before = 0;
        within(&self.site, secs(30), "rsyslog is done", || {
            std::thread::sleep(millis(200));
            std::mem::replace(&mut before, self.rsyslog.count()) == before
        });
    }

    fn log(&self, records: u64) -> Worker {
        self.site.start(&Work {
            records,
            ..self.site.work.clone()
        })
    }

    /// What `logboom status` says as soon as it knows of everything.
    fn figures(&self) -> Value {
        let dropped = self.site.live()["dropped"].clone();
        within(
            &self.site,
            secs(20),
            "status knows what was dropped",
            || self.site.destination()["dropped"] == dropped,
        );
        self.site.destination()
    }

    fn judge(&self, while_down: Value) -> Outcome {
        let account = &self.site.account;
        let count = Count::of(&self.rsyslog.received());
        count.assert_sound(account);
        let logged: u64 = (0..account.workers())
            .map(|worker| account.of(worker).acknowledged())
            .sum();
        let lost = logged - count.distinct();
        let told = while_down["dropped"].as_u64().unwrap();
        let log = self.site.log();
        let back = log
            .lines()
            .find(|line| line.contains(" is back after "))
            .unwrap();
        let in_log = back
            .split("come late, ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        let verdict = self.site.verify(&self.rsyslog);
        assert_eq!(verdict["complete"], true, "{verdict}");
        let longest = (0..account.workers())
            .map(|worker| account.of(worker).longest_ns())
            .max();
        let outcome = Outcome {
            refused: account.dropped(),
            lost,
            told,
            in_log: in_log.unwrap(),
            longest: Duration::from_nanos(longest.unwrap()),
        };
        println!("{outcome:?}");
        outcome
    }
}

#[derive(Debug)]
struct Outcome {
    /// Of what was logged the workers were told at once that they are dropped.
    refused: u64,
    /// Not received.
    lost: u64,
    /// Dropped, according to `logboom status`.
    told: u64,
    /// Dropped, according to the log.
    in_log: u64,
    /// The longest call.
    longest: Duration,
}

impl Outcome {
    /// What the policies have in common.
    fn assert_told(&self) {
        assert!(self.lost > RECORDS / 10, "there was room");
        assert!(self.told >= self.lost, "more are lost than were told");
        assert!(
            self.in_log >= self.lost && self.in_log <= self.told,
            "the log says otherwise"
        );
        // Far more than the bound, for a machine that has other things to do; and far less than all waits together.
        assert!(
            self.longest < Duration::from_millis(WAIT_MS) + secs(2),
            "it had to wait"
        );
    }
}

/// A spool of 1 MiB that drops the oldest: each record is taken, what is evicted is counted (to a segment, since a segment may have been
/// shipped in part).
#[test]
fn a_full_spool_that_drops_the_oldest() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let outcome = Shortage::new("oldest", 1 << 20, None).run();
    outcome.assert_told();
    assert_eq!(outcome.refused, 0);
}

/// One that drops the newest: whoever logs is told at once, and exactly what was refused is missing.
#[test]
fn a_full_spool_that_drops_the_newest() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let outcome = Shortage::new("newest", 1 << 20, None).run();
    outcome.assert_told();
    assert_eq!(
        (outcome.lost, outcome.told),
        (outcome.refused, outcome.refused)
    );
}

/// One that lets whoever logs wait: the bound is waited once, and exactly what was refused then is missing.
#[test]
fn a_full_spool_that_blocks() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let outcome = Shortage::new("block", 1 << 20, None).run();
    outcome.assert_told();
    assert_eq!(
        (outcome.lost, outcome.told),
        (outcome.refused, outcome.refused)
    );
    assert!(outcome.longest >= Duration::from_millis(WAIT_MS));
}

fn on_a_full_disk(full: &str, judge: impl FnOnce(&Outcome)) {
    if !rsyslog::is_installed(&["imrelp"]) || !has(&[Need::Root, Need::Mounts]) {
        return;
    }
    in_own_mounts(|| {
        let mut shortage = Shortage::new(full, 4 << 20, Some("2m"));
        let outcome = shortage.run();
        unmount(shortage.site.root());
        outcome.assert_told();
        judge(&outcome);
    });
}

/// A full disk where the oldest may go: the oldest segment makes room, again and again.
#[test]
fn a_full_disk_where_the_oldest_are_dropped() {
    on_a_full_disk("oldest", |_| ());
}

/// A full disk where nothing may go: records wait in the queue until that is full, too; then they are dropped and counted.
#[test]
fn a_full_disk_where_the_newest_are_dropped() {
    on_a_full_disk("newest", |outcome| {
        assert_eq!(
            (outcome.lost, outcome.told),
            (outcome.refused, outcome.refused)
        );
    });
}

/// The same where whoever logs may wait.
#[test]
fn a_full_disk_where_who_logs_waits() {
    on_a_full_disk("block", |outcome| {
        assert_eq!(
            (outcome.lost, outcome.told),
            (outcome.refused, outcome.refused)
        );
    });
}
