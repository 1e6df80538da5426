//! A link that is cut, that loses a fifth of its packets, that is reset by somebody in between: over RELP nothing is lost.
//!
//! How it works: the test has a network of its own, with two hosts and a cable between them (network namespaces, veth). Workers and
//! relay are on the near one, rsyslog on the far one; nftables drops and resets.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use crate::processes::machine::{Need, child, has, wait_within};
use crate::site::Site;
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::{millis, secs};
use crate::worker::Worker;

const SOON: [&str; 4] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"200 ms\"",
    "timeout = \"1 s\"",
    "say_after = \"500 ms\"",
];
const FAR: &str = "10.9.0.2";
const PORT: u16 = 2514;

type Job = Box<dyn FnOnce() + Send>;

/// The far host: a thread with a network of its own.
struct Far {
    jobs: Sender<Job>,
    /// Its network, for `ip`.
    network: PathBuf,
}

impl Far {
    fn new() -> Far {
        let (jobs, to_do) = channel::<Job>();
        let (ready, is_ready) = channel();
        std::thread::spawn(move || {
            have_own_network();
            ready.send(rustix::thread::gettid()).unwrap();
            to_do.into_iter().for_each(|job| job());
        });
        let thread = is_ready.recv().unwrap().as_raw_nonzero();
        let process = std::process::id();
        Far {
            jobs,
            network: format!("/proc/{process}/task/{thread}/ns/net").into(),
        }
    }

    /// Does something there.
    fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, answer) = channel();
        let job = Box::new(move || done.send(what()).unwrap());
        self.jobs.send(job).unwrap();
        answer.recv().unwrap()
    }

    fn sh(&self, command: &str) {
        let command = command.to_owned();
        self.run(move || sh(&command));
    }
}

fn have_own_network() {
    // SAFETY: affects this thread only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
    sh("ip link set lo up");
}

fn sh(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
}

/// True if the machine lets a test have such a network; otherwise says what is missing.
fn is_possible() -> bool {
    let needs = [Need::Root, Need::Tool("ip"), Need::Tool("nft")];
    if !rsyslog::is_installed(&["imrelp"]) || !has(&needs) {
        return false;
    }
    let try_all =
        "ip link set lo up; ip link add near type veth peer name far; nft add table inet t";
    let may = child(|| {
        // SAFETY: affects this child only.
        let own = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
        let tried = Command::new("sh").args(["-ec", try_all]).output();
        i32::from(!own || !tried.is_ok_and(|output| output.status.success()))
    });
    let may = wait_within(may, secs(20)) == 0;
    if !may {
        println!("skipped: network namespaces, veth or nftables are not allowed here");
    }
    may
}

struct Trial {
    far: Far,
    rsyslog: Rsyslog,
    site: Site,
    worker: Worker,
    _relay: crate::support::program::Program,
}

impl Trial {
    fn new() -> Trial {
        have_own_network();
        let far = Far::new();
        let network = far.network.display();
        sh(&format!(
            "ip link add near type veth peer name far; ip link set far netns {network};
             ip addr add 10.9.0.1/24 dev near; ip link set near up;
             nft add table inet t; nft 'add chain inet t in {{ type filter hook input priority 0; }}'"
        ));
        far.sh(&format!(
            "ip addr add {FAR}/24 dev far; ip link set far up;
             nft add table inet t; nft 'add chain inet t in {{ type filter hook input priority 0; }}'"
        ));
        let rsyslog = far.run(|| {
            Rsyslog::start(&Setup {
                durable: true,
                more: format!(
                    r#"input(type="imrelp" address="{FAR}" port="{PORT}" ruleset="all" maxDataSize="256k")"#
                ),
                ..Setup::default()
            })
        });
        let mut site = Site::new(&format!("relp://{FAR}:{PORT}"), &SOON);
        site.work.starts_relay = false;
        site.work.per_second = 300;
        let trial = Trial {
            far,
            rsyslog,
            _relay: site.start_relay(),
            worker: site.start_worker(),
            site,
        };
        trial.wait_for_more(50);
        trial
    }

    fn wait_for_more(&self, records: usize) {
        self.site.more_arrives(&self.rsyslog, records);
    }

    fn goes_down(&self) {
        self.site
            .wait_for("state", "is down", |state| state == "down");
    }

    /// All that was logged is there.
    fn end(mut self, what: &str) {
        self.site.account.stop();
        self.worker.join();
        let count = self.site.all_arrives(&self.rsyslog);
        let figures = self.site.destination();
        println!(
            "{what}: {} records, {} of them again, {} failures",
            count.distinct(),
            count.doubled,
            figures["failures"]
        );
    }
}

/// A cable that is pulled out, on either side, for longer than the relay's patience, and put in again.
#[test]
fn a_link_that_is_cut() {
    if !is_possible() {
        return;
    }
    let trial = Trial::new();
    sh("ip link set near down");
    trial.goes_down();
    sh("ip link set near up");
    trial.wait_for_more(50);
    trial.far.sh("ip link set far down");
    trial.goes_down();
    trial.far.sh(&format!(
        "ip link set far up; ip addr replace {FAR}/24 dev far"
    ));
    trial.wait_for_more(50);
    trial.end("cut twice");
}

/// One that drops each fifth packet, in both directions.
#[test]
fn a_link_that_loses_packets() {
    if !is_possible() {
        return;
    }
    let trial = Trial::new();
    let lose = |interface: &str| {
        format!(
            "nft add rule inet t in iifname {interface} numgen random mod 100 '<' 20 counter drop"
        )
    };
    sh(&lose("near"));
    trial.far.sh(&lose("far"));
    trial.wait_for_more(600);
    let table = Command::new("nft")
        .args(["list", "table", "inet", "t"])
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("counter packets ") && !table.contains("counter packets 0 "),
        "{table}"
    );
    trial.end("a fifth of the packets lost");
}

/// Somebody in between who resets the connection, and refuses new ones, again and again.
#[test]
fn a_link_that_is_reset() {
    if !is_possible() {
        return;
    }
    let trial = Trial::new();
    for _ in 0..4 {
        trial.far.sh(&format!(
            "nft add rule inet t in tcp dport {PORT} reject with tcp reset"
        ));
        std::thread::sleep(millis(fastrand::u64(100..500)));
        trial.far.sh("nft flush chain inet t in");
        trial.wait_for_more(20);
    }
    let figures = trial.site.destination();
    assert!(figures["failures"].as_u64() > Some(3), "{figures}");
    trial.end("reset four times");
}
