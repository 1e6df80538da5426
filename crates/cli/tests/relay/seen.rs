//! What one sees: `logboom status`, in words and as JSON, and `logboom check --connect`.

use crate::proxy::{Manner, Proxy};
use crate::site::{Site, within};
use crate::support::rsyslog::{self, Rsyslog, Setup};
use crate::support::secs;
use crate::worker::Work;

const SOON: [&str; 3] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"100 ms\"",
    "timeout = \"1 s\"",
];

fn words(site: &Site, arguments: &[&str]) -> (String, Option<i32>) {
    let output = site.logboom(arguments);
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}

/// Each destination is shown with its state, lag, spool, retries, last error and rate, whether a relay runs or not; and the log's
/// directory shows it as well as the spool's own.
#[test]
fn status_shows_each_destination() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let mut proxy = Proxy::before(&rsyslog.address("relp"));
    let mut site = Site::new(&proxy.address(), &SOON);
    site.work.starts_relay = false;
    let root = site.root().display().to_string();
    site.start(&Work {
        records: 5,
        ..site.work.clone()
    })
    .join();
    let (said, _) = words(&site, &["status", &root]);
    assert!(
        said.contains("not shipped yet") && said.contains("`logboom relay "),
        "{said}"
    );

    let relay = site.start_relay();
    let mut worker = site.start_worker();
    site.wait_for("rate", "is that of the worker", |rate| {
        rate.as_u64() > Some(100)
    });
    site.wait_for("state", "is up", |state| state == "up");
    let (said, _) = words(&site, &["status", &root]);
    assert!(
        said.contains(&format!("central  {}  up", proxy.address())),
        "{said}"
    );

    proxy.behave(Manner::Away);
    site.wait_for("state", "is down", |state| state == "down");
    site.wait_for("lag_s", "grows", |lag| lag.as_f64() > Some(1.0));
    site.wait_for("last_error", "is that nobody listens", |why| {
        why.as_str().unwrap().contains("refused")
    });
    let figures = site.destination();
    assert_eq!(figures["state"], "down");
    for name in [
        "failures",
        "since_ns",
        "last_error_ns",
        "waiting",
        "waiting_bytes",
        "spool_bytes",
        "spool_bytes_max",
        "relay",
    ] {
        assert!(figures[name].as_u64() > Some(0), "{name}: {figures}");
    }
    let (said, _) = words(&site, &["status", &root]);
    for part in [
        "down since ",
        " wait, ",
        "the oldest for ",
        "spool ",
        " of 244.1 MiB",
        " failures so far",
        "Connection refused",
    ] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    let log = site.path("logs").display().to_string();
    assert!(words(&site, &["status", &log]).0.contains("down since "));

    drop(relay);
    site.account.stop();
    worker.join();
    let (said, _) = words(&site, &["status", &root]);
    assert!(
        said.contains("no relay") && said.contains("starts a relay, or run `logboom relay "),
        "{said}"
    );
    let figures = site.destination();
    assert!(
        figures["relay"].is_null() && figures["lag_s"].as_f64() > Some(1.0),
        "{figures}"
    );
}

/// `check --connect` reaches a receiver that is there, and says of one that is not which it is, and why.
#[test]
fn check_tries_each_destination() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let mut proxy = Proxy::before(&rsyslog.address("relp"));
    let site = Site::new(&proxy.address(), &SOON);
    let configuration = site.configuration().display().to_string();
    let check = || words(&site, &["check", "--connect", &configuration]);
    let (said, code) = check();
    assert!(
        code == Some(0) && said.contains(&format!("reached: `central` ({})", proxy.address())),
        "{said}"
    );
    for (manner, why) in [
        (Manner::Away, "Connection refused"),
        (Manner::Silent, "no answer to `open` within 1 s"),
    ] {
        proxy.behave(manner);
        let (said, code) = check();
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("not reached: `central`") && said.contains(why),
            "{said}"
        );
    }
    assert_eq!(rsyslog.count(), 0, "nothing was sent");
    let to_nobody = [
        ("first", "relp://nothing.invalid:2514", &SOON[..]),
        ("second", "udp://127.0.0.1:9", &SOON),
    ];
    site.write_configuration(&to_nobody);
    let (said, code) = check();
    assert!(
        code == Some(1) && said.contains("no address found for `nothing.invalid`"),
        "{said}"
    );
    within(
        &site,
        secs(1),
        "it is said of UDP what can be known",
        || said.contains("reached: `second`"),
    );
}
