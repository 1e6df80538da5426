//! The life of a relay: it comes when it is needed and goes when it is not, there is one at a time, it does what its owner says and
//! nothing that anybody else says, and it tells nobody what is secret.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::count::Count;
use crate::processes::machine::{Need, become_nobody, child, has, wait_within};
use crate::site::{NAME, Site, end, is_logboom, within};
use crate::support::certificates::{Authorities, Files};
use crate::support::rsyslog::{self, Rsyslog, Security, Setup};
use crate::support::{eventually, is_full, millis, secs};
use crate::worker::Work;

const IMPATIENT: [&str; 3] = [
    "retry.first = \"20 ms\"",
    "retry.most = \"100 ms\"",
    "timeout = \"2 s\"",
];

fn receiver() -> Option<Rsyslog> {
    let setup = Setup {
        durable: true,
        ..Setup::default()
    };
    rsyslog::is_installed(&["imrelp"]).then(|| Rsyslog::start(&setup))
}

fn root(site: &Site) -> String {
    site.root().display().to_string()
}

/// The first worker starts it; it ends when the last one has left and all is shipped, and takes its socket along.
#[test]
fn it_comes_with_the_first_worker_and_goes_with_the_last() {
    let Some(rsyslog) = receiver() else { return };
    let site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    assert_eq!(site.relay(), None);
    let (mut first, mut second) = (site.start_worker(), site.start_worker());
    first.wait_for(&site.account, 1);
    within(&site, secs(20), "a relay", || site.relay().is_some());
    let relay = site.relay();
    site.account.stop();
    first.join();
    second.join();
    site.all_arrives(&rsyslog);
    assert_eq!(
        site.relay(),
        relay,
        "one did it all, and has just seen them leave"
    );
    let socket = site.root().join("relay.sock");
    within(&site, secs(20), "it leaves", || {
        site.relay().is_none() && !socket.exists()
    });
    let figures = site.destination();
    assert_eq!(
        (&figures["waiting"], &figures["state"]),
        (&0.into(), &"up".into())
    );
    let delivered = figures["delivered"].as_u64();
    assert!(delivered >= Some(site.account.acknowledged()), "{figures}");
}

/// There is one at a time: a second one says who is, and leaves everything as it is.
#[test]
fn a_second_one_says_who_is() {
    let Some(rsyslog) = receiver() else { return };
    let site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    let mut relay = site.start_relay();
    let configuration = site.configuration().display().to_string();
    for arguments in [
        &["relay", "--config", &configuration][..],
        &["relay", &root(&site)],
    ] {
        let second = site.logboom(arguments);
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(3), "{said}");
        let who = format!("process {} does so already", relay.pid().as_raw_nonzero());
        assert!(said.contains(&who), "{said}");
    }
    assert!(relay.runs());
    site.start(&Work {
        records: 10,
        ..site.work.clone()
    })
    .join();
    site.all_arrives(&rsyslog);
}

/// Whenever a worker comes while the relay is leaving, its record is shipped without another worker's help.
///
/// How it works: a worker logs one record and is gone; the next one comes about when the relay leaves, a second after the last one.
/// Several applications do so at the same time.
#[test]
fn nothing_is_left_behind_when_it_leaves() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let address = rsyslog.address("relp");
    let rounds = if is_full() { 20 } else { 3 };
    let places: Vec<String> = (0..10).map(|place| format!("place{place}")).collect();
    std::thread::scope(|threads| {
        for place in &places {
            let (rsyslog, address) = (&rsyslog, &address);
            threads.spawn(move || come_when_it_leaves(rsyslog, address, place, rounds));
        }
    });
    println!("{} workers came when the relay left", rounds * places.len());
}

fn come_when_it_leaves(rsyslog: &Rsyslog, address: &str, place: &str, rounds: usize) {
    let app_name = format!("syslog.app_name = \"{place}\"");
    let site = Site::new(address, &[&IMPATIENT[..], &[&app_name]].concat());
    let work = Work {
        records: 1,
        ..site.work.clone()
    };
    for round in 1..=rounds {
        site.start(&work).join();
        let left = Instant::now();
        let arrived = || {
            rsyslog
                .received()
                .iter()
                .filter(|received| received.app_name == *place)
                .count()
        };
        let what = format!("record {round} of {place} arrives without another worker's help");
        within(&site, secs(20), &what, || arrived() >= round);
        let pause = Duration::from_micros(fastrand::u64(850_000..1_250_000));
        std::thread::sleep(pause.saturating_sub(left.elapsed()));
    }
}

/// SIGHUP: a new address is used from then on, a new destination is served, and a configuration that is wrong changes nothing.
#[test]
fn hup_reads_the_configuration_anew() {
    let (Some(rsyslog), Some(other)) = (receiver(), receiver()) else {
        return;
    };
    let mut site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    site.work.starts_relay = false;
    let mut relay = site.start_relay();
    let log = |name: &str| {
        let work = Work {
            records: 20,
            name: name.to_owned(),
            ..site.work.clone()
        };
        let mut worker = site.start(&work);
        worker.join();
        worker.number
    };
    let arrives = |worker: usize, at: &Rsyslog| {
        let there = || {
            Count::of(&at.received())
                .numbers
                .get(&worker)
                .map_or(0, |numbers| numbers.len())
        };
        within(
            &site,
            secs(20),
            &format!("the records of worker {worker}"),
            || there() == 20,
        );
    };
    arrives(log(NAME), &rsyslog);

    std::fs::write(site.configuration(), "[ship.central]\nto = \"nowhere\"\n").unwrap();
    relay.signal(Signal::HUP);
    let refused = || {
        site.relay_words()
            .contains("the configuration stays as it was")
    };
    within(&site, secs(20), "the wrong configuration is told", refused);
    arrives(log(NAME), &rsyslog);

    let (here, there) = (rsyslog.address("relp"), other.address("relp"));
    site.write_configuration(&[(NAME, &there, &IMPATIENT), ("second", &here, &IMPATIENT)]);
    relay.signal(Signal::HUP);
    within(&site, secs(20), "the new address is in force", || {
        site.json(&["relay", "--status", &root(&site)])["destinations"]
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    arrives(log(NAME), &other);
    arrives(log("second"), &rsyslog);

    site.write_configuration(&[(NAME, &there, &IMPATIENT)]);
    relay.signal(Signal::HUP);
    let gone = || {
        site.relay_words()
            .contains("`second` is no destination any more")
    };
    within(
        &site,
        secs(20),
        "a destination that was removed is told",
        gone,
    );
    arrives(log(NAME), &other);
    assert!(relay.runs());
}

/// A relay on demand sees by itself what a newly configured worker wants.
#[test]
fn one_on_demand_goes_by_what_the_workers_say() {
    let (Some(rsyslog), Some(other)) = (receiver(), receiver()) else {
        return;
    };
    let site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    let mut first = site.start_worker();
    within(&site, secs(20), "the first receiver gets records", || {
        rsyslog.count() > 0
    });
    let relay = site.relay();
    site.configure(&other.address("relp"), &IMPATIENT);
    within(&site, secs(20), "the second receiver gets records", || {
        other.count() > 0
    });
    assert_eq!(site.relay(), relay, "it is the same relay");
    site.account.stop();
    first.join();
    let both = || Count::of(&[rsyslog.received(), other.received()].concat());
    within(&site, secs(20), "all arrives", || {
        both().missing(&site.account).0 == 0
    });
}

/// One on demand has the environment of a worker, which may speak of files that its own plan does not know, and an address for
/// Prometheus that another relay has already: it ships all the same.
#[test]
fn one_on_demand_ships_whatever_its_environment_says() {
    let Some(rsyslog) = receiver() else { return };
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let metrics = format!("[relay]\nmetrics = \"{}\"", taken.local_addr().unwrap());
    let site = Site::new(
        &rsyslog.address("relp"),
        &[&IMPATIENT[..], &[&metrics]].concat(),
    );
    let mut worker = site.start(&Work {
        records: 10,
        starts_relay: false,
        ..site.work.clone()
    });
    worker.join();
    let variables = [
        ("LOGBOOM_FILES_ACCESS_LEVEL", "info"),
        ("LOGBOOM_LEVEL", "loud"),
    ];
    // Named as it is from here, and it goes elsewhere.
    let mut command = site.command(&["relay", "--on-demand", ".logboom-spool"]);
    command.current_dir(site.path("logs")).envs(variables);
    assert!(command.status().unwrap().success());
    site.all_arrives(&rsyslog);
    let socket = site.root().join("relay.sock");
    within(&site, secs(20), "it leaves", || {
        site.relay().is_none() && !socket.exists()
    });
    assert_eq!(site.destination()["delivered"], 10);
}

/// One on demand that cannot run has nobody to tell; `logboom status` says why, until one runs. A second one that finds the first is no
/// failure.
#[test]
fn why_one_on_demand_could_not_run_is_said() {
    let Some(rsyslog) = receiver() else { return };
    let site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    let socket = site.root().join("relay.sock");
    std::fs::create_dir(&socket).unwrap();
    let mut worker = site.start_worker();
    worker.wait_for(&site.account, 1);
    site.wait_for("relay_error", "names the socket", |why| {
        why.as_str().is_some_and(|why| why.contains("listen in"))
    });
    let told = site.logboom(&["status", &root(&site)]).stdout;
    let told = String::from_utf8_lossy(&told);
    assert!(
        told.contains("the last relay could not run: failed to listen in"),
        "{told}"
    );
    std::fs::remove_dir(&socket).unwrap();
    site.wait_for("relay_error", "is gone", serde_json::Value::is_null);
    within(&site, secs(20), "a relay", || site.relay().is_some());
    assert!(
        site.logboom(&["relay", "--on-demand", &root(&site)])
            .status
            .success()
    );
    std::thread::sleep(millis(300));
    assert!(!site.root().join("relay.error").exists());
    site.account.stop();
    worker.join();
    site.all_arrives(&rsyslog);
}

/// Its owner asks it: how the destinations fare, to read its configuration again, to end; and it ends within its time.
#[test]
fn it_does_what_its_owner_says() {
    let Some(rsyslog) = receiver() else { return };
    let mut site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    site.work.starts_relay = false;
    let asked = site.logboom(&["relay", "--stop", &root(&site)]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(
        asked.status.code() == Some(3) && said.contains("is one running?"),
        "{said}"
    );

    let mut relay = site.start_relay();
    site.start(&Work {
        records: 10,
        ..site.work.clone()
    })
    .join();
    site.all_arrives(&rsyslog);
    let status = site.json(&["relay", "--status", &root(&site)]);
    assert_eq!(
        status["relay"],
        relay.pid().as_raw_nonzero().get(),
        "{status}"
    );
    assert_eq!(status["destinations"][0]["state"], "up", "{status}");
    let reloaded = site.logboom(&["relay", "--reload", &root(&site)]);
    assert!(reloaded.status.success());
    within(&site, secs(20), "it has begun anew", || {
        site.json(&["relay", "--status", &root(&site)])["destinations"][0]["state"] == "idle"
    });
    let begun = Instant::now();
    assert!(
        site.logboom(&["relay", "--stop", &root(&site)])
            .status
            .success()
    );
    eventually("it ends", || !relay.runs());
    assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
    assert_eq!(site.relay(), None);
}

/// SIGTERM in the middle of the traffic: it is gone in time, with the cursor where it should be, so that the next one sends hardly
/// anything twice.
#[test]
fn term_ends_it_in_the_middle_of_the_traffic() {
    let Some(rsyslog) = receiver() else { return };
    let mut site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    site.work.starts_relay = false;
    let mut relay = site.start_relay();
    let mut worker = site.start_worker();
    for round in 0..5 {
        let before = rsyslog.count();
        within(&site, secs(20), "records arrive", || {
            rsyslog.count() > before + 50
        });
        let begun = Instant::now();
        relay.signal(if round % 2 == 0 {
            Signal::TERM
        } else {
            Signal::INT
        });
        eventually("it ends", || !relay.runs());
        assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
        relay = site.start_relay();
    }
    site.account.stop();
    worker.join();
    let count = site.all_arrives(&rsyslog);
    assert_eq!(count.doubled, 0, "all that was under way had been answered");
}

/// Prometheus can scrape it.
#[test]
fn metrics_can_be_scraped() {
    let Some(rsyslog) = receiver() else { return };
    let mut site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    site.work.starts_relay = false;
    let _relay = site.start_relay_with(&["--metrics", "127.0.0.1:0"]);
    let told = || {
        let words = site.relay_words();
        let address = words.split("http://").nth(1)?.split("/metrics").next()?;
        Some(address.to_owned())
    };
    within(&site, secs(20), "the address", || told().is_some());
    site.start(&Work {
        records: 10,
        ..site.work.clone()
    })
    .join();
    let scrape = || {
        let mut stream = TcpStream::connect(told().unwrap()).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let delivered = format!(
        "logboom_ship_delivered_records_total{{destination=\"{NAME}\",to=\"{}\"}} 10\n",
        rsyslog.address("relp")
    );
    within(&site, secs(20), "ten records in the metrics", || {
        scrape().contains(&delivered)
    });
    assert!(scrape().contains("# TYPE logboom_ship_up gauge\n"));
}

/// Whoever is neither the relay's user nor root is refused, be it by the file's mode or, where somebody has changed that, by the relay.
#[test]
fn others_are_refused() {
    if !has(&[Need::Root]) {
        return;
    }
    let Some(rsyslog) = receiver() else { return };
    let site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    let mut relay = site.start_relay();
    let socket = site.root().join("relay.sock");
    let path = site.path("answer");
    let ask = |asked: &Path| {
        let pid = child(|| {
            let answer = std::fs::File::create(&path).unwrap();
            become_nobody();
            let mut answer = &answer;
            let Ok(mut stream) = UnixStream::connect(asked) else {
                return 1;
            };
            stream.write_all(b"{\"do\":\"stop\"}\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            answer.write_all(line.as_bytes()).unwrap();
            0
        });
        let status = wait_within(pid, secs(20));
        (status == 0).then(|| std::fs::read_to_string(&path).unwrap())
    };
    assert_eq!(ask(&socket), None, "the file lets nobody in");
    let mut folder = socket.as_path();
    while let Some(parent) = folder
        .parent()
        .filter(|parent| *parent != std::env::temp_dir())
    {
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder = parent;
    }
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let answer = ask(&socket).unwrap();
    assert!(
        answer.contains("only the user of the relay, or root, may ask"),
        "{answer}"
    );
    assert!(relay.runs());
}

/// Whatever lies in a spool's directory is its owner's alone.
#[test]
fn what_lies_there_is_its_owners() {
    let Some(rsyslog) = receiver() else { return };
    let mut site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    site.work.spool_bytes = 1 << 20;
    site.work.body_bytes = 1000;
    let mut worker = site.start(&Work {
        records: 500,
        per_second: 0,
        ..site.work.clone()
    });
    worker.join();
    site.all_arrives(&rsyslog);
    let mode = |path: &Path| {
        std::fs::symlink_metadata(path)
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(site.root()), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(site.root()).unwrap().flatten() {
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    for name in [
        "central.spool",
        "central.cursor",
        "central.toml",
        "relay.sock",
    ] {
        assert!(names.iter().any(|there| there == name), "{names:?}");
    }
}

/// A key is in no process list, no log, no figures and no error, whatever is wrong with it.
#[test]
fn a_key_is_told_to_nobody() {
    if !rsyslog::is_installed(&["imrelp", "lmnsd_gtls"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let rsyslog = Rsyslog::start(&Setup {
        durable: true,
        tls: Some(Security {
            files: authorities.certify("localhost"),
            client: Some("client".to_owned()),
        }),
        ..Setup::default()
    });
    let client = authorities.certify("client");
    let more = tls_lines(&client);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let site = Site::new(&rsyslog.address("relp+tls"), &more);
    let secret = std::fs::read_to_string(&client.key).unwrap();
    let mut worker = site.start_worker();
    within(&site, secs(20), "records arrive", || rsyslog.count() > 0);
    let relay = site.relay().unwrap();
    let command_line = std::fs::read_to_string(format!("/proc/{relay}/cmdline")).unwrap();
    assert!(
        !command_line.contains(&client.key.display().to_string()),
        "{command_line}"
    );
    let mut said = command_line;
    for key in ["", &secret[..secret.len() / 2], &secret.replace('A', "B")] {
        let before = site.says("cannot be used as it is configured now");
        std::fs::write(&client.key, key).unwrap();
        site.logboom(&["relay", "--reload", &root(&site)]);
        within(&site, secs(20), "that the key is of no use", || {
            site.says("cannot be used as it is configured now") > before
                || site.destination()["state"] == "down"
        });
        let configuration = site.configuration().display().to_string();
        let checked = site.logboom(&["check", "--connect", &configuration]);
        said += &String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat());
        said += &site.destination().to_string();
    }
    std::fs::write(&client.key, &secret).unwrap();
    site.logboom(&["relay", "--reload", &root(&site)]);
    site.account.stop();
    worker.join();
    site.all_arrives(&rsyslog);
    said += &(site.log() + &site.workers_words() + &site.relay_words());
    for line in secret.lines().filter(|line| !line.contains("-----")) {
        assert!(!said.contains(&line[..line.len().min(16)]), "{said}");
    }
    assert!(said.contains("failed to read the key"), "{said}");
}

/// What a destination with these certificates has in its configuration.
pub fn tls_lines(files: &Files) -> Vec<String> {
    let line = |key: &str, path: &Path| format!("tls.{key} = \"{}\"", path.display());
    let mut lines = IMPATIENT.map(str::to_owned).to_vec();
    lines.push(line("ca", &files.ca));
    lines.push(line("certificate", &files.certificate));
    lines.push(line("key", &files.key));
    lines
}

/// A spool whose directory is taken away under it keeps nobody from going on, and no relay alive that nobody needs.
#[test]
fn a_spool_that_is_removed_ends_it() {
    let Some(rsyslog) = receiver() else { return };
    let site = Site::new(&rsyslog.address("relp"), &IMPATIENT);
    let mut worker = site.start_worker();
    within(&site, secs(20), "records arrive", || rsyslog.count() > 0);
    let relay = site.relay().unwrap();
    std::fs::remove_dir_all(site.root()).unwrap();
    let until = Instant::now() + secs(20);
    while is_logboom(relay) && Instant::now() < until {
        std::thread::sleep(millis(50));
    }
    let is_over = !is_logboom(relay);
    // It cannot be found by the site any more.
    end(relay);
    site.account.stop();
    worker.join();
    assert!(is_over, "process {relay} still runs");
}
