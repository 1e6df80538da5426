//! `debug`, `level`, `tail` and `rewind` as a user runs them, on what real forked workers record.

mod viewing_site;

use std::time::{Duration, Instant};

use logboom::Log;
use logboom::Severity;
use logboom::rules::Rule;
use serde_json::Value;
use viewing_site::{DEBUG, Site, wait_until};

const RECORDER: u64 = 64 << 10;

/// What a worker with rules does: while one reveals `shop.pay`, its debug records are made.
fn obey(log: &Log) {
    let mut number = 0;
    loop {
        log.forget_ended_rules();
        let rules = log.rules();
        let reveals = |rule: &Rule| rule.component == "shop.pay" && rule.severity <= DEBUG;
        if rules.iter().any(reveals) {
            number += 1;
            let path = if number % 2 == 0 {
                "/cart"
            } else {
                "/checkout"
            };
            let json =
                format!(r#"{{"body":"detail {number}","url.path":"{path}","order":{number}}}"#);
            let line = format!("detail {number} of {path}");
            log.record(DEBUG, "shop.pay", "9f2c", json.as_bytes(), line.as_bytes());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `debug` puts a rule in force, shows what it reveals, and with Ctrl-C everything is as before.
#[test]
fn debug_reveals_and_undoes() {
    let site = Site::new(RECORDER);
    let _worker = site.worker(obey);
    let view = site.view(&[
        "debug",
        "shop.pay",
        "--for",
        "5m",
        "--where",
        "path^=/checkout",
    ]);
    view.wait_for("detail 1 of /checkout");

    let rule = site.log.rules().remove(0);
    assert_eq!(
        (rule.component.as_str(), rule.condition.as_str()),
        ("shop.pay", "path^=/checkout")
    );
    assert_eq!((rule.held, rule.kept, rule.severity), (true, false, DEBUG));
    let (listed, ..) = site.run(&["level", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let listed = &listed["rules"][0];
    assert_eq!(listed["pid"], view.child.id(), "{listed:#}");
    let left = listed["left_seconds"].as_f64().unwrap();
    assert!((200.0..=300.0).contains(&left), "{listed:#}");
    assert!(
        listed["by"]
            .as_str()
            .unwrap()
            .contains("without a terminal"),
        "{listed:#}"
    );

    let (out, error, code) = view.interrupt();
    assert_eq!(code, Some(0), "{error}");
    assert!(!out.contains("/cart"), "another request is shown: {out}");
    assert!(
        error.contains(
            "debug and above of shop.pay, for requests with path^=/checkout; only here, until "
        ),
        "{error}"
    );
    assert!(error.contains("back to normal: "), "{error}");
    assert!(site.log.rules().is_empty());
}

/// A rule of a viewer that is killed is gone, and nobody had to clean up.
#[test]
fn a_killed_viewer_takes_its_rule_along() {
    let site = Site::new(RECORDER);
    let view = site.view(&["debug", "shop.pay"]);
    view.signal(libc::SIGKILL);
    let (_, _, code) = view.ended();
    assert_eq!(code, None);
    wait_until(|| {
        site.log.forget_ended_rules();
        site.log.rules().is_empty()
    });
}

/// The rule ends when its time is over, and the command with it.
#[test]
fn debug_ends_with_its_time() {
    let site = Site::new(RECORDER);
    let started = Instant::now();
    let view = site.view(&["debug", "shop.pay", "--for", "1s", "--keep"]);
    assert!(site.log.rules()[0].kept);
    let (_, error, code) = view.ended();
    assert_eq!(code, Some(0));
    assert!(
        error.contains("the time is over; back to normal"),
        "{error}"
    );
    assert!(started.elapsed() >= Duration::from_secs(1) && site.log.rules().is_empty());
}

/// What was recorded before comes first, then what is recorded meanwhile, and nothing twice.
#[test]
fn debug_begins_with_what_was_recorded() {
    let site = Site::new(4 << 20);
    let _worker = site.worker(|log| {
        for number in 0.. {
            log.record(
                DEBUG,
                "shop.pay",
                "",
                b"",
                format!("record {number}").as_bytes(),
            );
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    let view = site.view(&["debug", "shop.pay", "--rewind", "60s"]);
    view.wait_for("from here on live");
    let before = view.out().lines().count();
    wait_until(|| view.out().lines().count() > before + 500);
    let (out, error, _) = view.interrupt();
    let count = out.lines().count();
    let expected: Vec<_> = (0..count)
        .map(|number| format!("record {number}"))
        .collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    assert!(error.contains(" records from before"), "{error}");
}

/// `tail` merges what several workers record by time, and shows all of it once.
#[test]
fn tail_merges_workers_by_time() {
    let site = Site::new(1 << 20);
    let view = site.view(&["tail", "--json"]);
    assert_eq!(site.log.rules()[0].severity, Rule::NOTHING_MORE);
    let workers: Vec<_> = (0..3)
        .map(|name| {
            site.worker(move |log| {
                for number in 0..200 {
                    let line = format!("worker {name} record {number}");
                    log.record_published(Severity::INFO, "shop", "", b"", line.as_bytes());
                    std::thread::sleep(Duration::from_micros(300));
                }
            })
        })
        .collect();
    workers.iter().for_each(|worker| worker.done());
    wait_until(|| view.out().lines().count() == 600);
    let (out, error, _) = view.interrupt();
    let records: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times: Vec<_> = records
        .iter()
        .map(|record| record["timestamp"].as_str().unwrap().to_owned())
        .collect();
    assert!(times.is_sorted(), "out of order");
    let pids = records
        .iter()
        .map(|record| record["process.pid"].as_u64().unwrap());
    assert_eq!(pids.collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert!(error.contains("600 records shown\n"), "{error}");
}

/// A worker dies, another takes its place, the file is rotated: `tail` shows all of it.
#[test]
fn tail_goes_on_when_workers_come_and_go() {
    let site = Site::new(RECORDER);
    let view = site.view(&["tail"]);
    for life in 0..5 {
        let worker = site.worker(|log| {
            for number in 0..20 {
                let line = format!("life {life} record {number:02}");
                log.record_published(Severity::INFO, "shop", "", b"", line.as_bytes());
                log.publish(Severity::INFO, format!("{line}\n").as_bytes());
            }
        });
        worker.done();
        view.wait_for(&format!("life {life} record 19"));
        let pid = worker.pid;
        drop(worker);
        site.log.harvest(pid as u32, None, "");
        site.log.rotate(Duration::from_secs(5)).unwrap();
    }
    let (slots, ..) = site.run(&["status", "--json"]);
    let slots: Value = serde_json::from_str(&slots).unwrap();
    let (out, error, _) = view.interrupt();
    let expected: Vec<_> = (0..100)
        .map(|all| format!("life {} record {:02}", all / 20, all % 20))
        .collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), expected, "{slots:#}");
    assert!(!error.contains("missed"), "{error}");
}

/// What is overwritten before a slow viewer reads it is counted: shown and missed are all there were.
#[test]
fn tail_counts_what_it_missed() {
    let site = Site::new(RECORDER);
    let view = site.view(&["tail", "shop.pay"]);
    let record = |number: u32| {
        let line = format!("record {number} {:-<80}", "");
        site.log
            .record_published(Severity::INFO, "shop.pay", "", b"", line.as_bytes());
    };
    record(0);
    view.wait_for("record 0 ");
    view.signal(libc::SIGSTOP);
    (1..10_000).for_each(record);
    view.signal(libc::SIGCONT);
    view.wait_for("record 9999 ");
    let (out, error, _) = view.interrupt();
    let shown = out.lines().count();
    let missed = error
        .split(" records missed")
        .next()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap();
    let missed: usize = missed
        .replace(',', "")
        .parse()
        .unwrap_or_else(|_| panic!("{error}"));
    assert_eq!(shown + missed, 10_000, "{error}");
    assert!(
        missed > 5_000 && error.contains(&format!("{shown} records shown, ")),
        "{error}"
    );
}

/// The server starts anew with another state: the viewer says so, its rule is in force there, and it shows what is recorded.
#[test]
fn tail_survives_a_new_state() {
    let site = Site::new(RECORDER);
    let view = site.view(&["tail", "shop"]);
    let record = |site: &Site, text: &str| {
        site.log
            .record_published(Severity::INFO, "shop", "", b"", text.as_bytes())
    };
    record(&site, "before");
    view.wait_for("before");
    let site = site.start_anew(RECORDER);
    record(&site, "first of the new server");
    view.wait_for("started anew");
    wait_until(|| site.log.rules().len() == 1);
    record(&site, "after");
    view.wait_for("after");
    let (out, error, _) = view.interrupt();
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        ["before", "first of the new server", "after"],
        "{error}"
    );
    assert!(site.log.rules().is_empty());
}

/// Somebody ends all rules: `tail` has its own again, `debug` ends.
#[test]
fn a_reset_ends_debug_and_not_tail() {
    let site = Site::new(RECORDER);
    let tail = site.view(&["tail"]);
    let debug = site.view(&["debug", "*"]);
    let (said, ..) = site.run(&["level", "--reset"]);
    assert_eq!(said, "2 rules ended\n");
    let (_, error, code) = debug.ended();
    assert_eq!(code, Some(0));
    assert!(error.contains("somebody has ended the rule"), "{error}");
    wait_until(|| site.log.rules().len() == 1);
    tail.interrupt();
}

/// A closed pipe ends a viewer without noise.
#[test]
fn tail_ends_when_nobody_reads() {
    let site = Site::new(RECORDER);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_logboom"))
        .args(["tail", "--log"])
        .arg(site.logs())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| site.log.rules().len() == 1);
    drop(child.stdout.take());
    site.log
        .record_published(Severity::INFO, "shop", "", b"", b"x");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// `rewind` shows what living and dead workers recorded, filtered, and says what is no longer there.
#[test]
fn rewind_shows_the_dead_too() {
    let site = Site::new(4096);
    let record = |text: &[u8]| {
        site.log
            .record(Severity::INFO, "shop.web", "9f2c", b"", text)
    };
    record(b"begun");
    let dead = site.worker(|log| {
        log.record(
            DEBUG,
            "shop.db",
            "9f2c",
            br#"{"body":"b","order":7}"#,
            b"SELECT \x1b[2J\nforged",
        );
        log.record(DEBUG, "shop.web", "77aa", b"", b"rendered");
    });
    dead.done();
    let pid = dead.pid.to_string();
    drop(dead);
    record(b"served");

    let (out, error, code) = site.run(&["rewind", "--last", "60s"]);
    assert_eq!(
        (out.as_str(), code),
        ("begun\nSELECT \\x1b[2J\n    forged\nrendered\nserved\n", 0),
        "{error}"
    );
    assert_eq!(error, "");
    for (filter, expected) in [
        (vec!["shop.db"], "SELECT \\x1b[2J\n    forged\n"),
        (vec!["--request", "9f2c", "shop.web"], "begun\nserved\n"),
        (vec!["order=7"], "SELECT \\x1b[2J\n    forged\n"),
        (vec!["-e", "^s[a-z]+$"], "served\n"),
        (vec!["--worker", &pid, "--level", "info"], ""),
        (vec!["--last", "1ms"], ""),
    ] {
        let arguments: Vec<_> = std::iter::once("rewind").chain(filter).collect();
        assert_eq!(site.run(&arguments).0, expected, "{arguments:?}");
    }

    for number in 0..500 {
        site.log.record(
            Severity::INFO,
            "shop.web",
            "",
            b"",
            format!("record {number}").as_bytes(),
        );
    }
    let (out, error, _) = site.run(&["rewind", "shop.web", "--compact"]);
    let shown = out
        .lines()
        .filter(|line| line.contains(": record "))
        .count();
    let gone = 502 - shown;
    assert!(
        error.contains(&format!("{gone} records overwritten by newer ones\n")),
        "{shown}: {error}"
    );
    assert!(
        error.contains(&format!(
            "worker {} is complete only since ",
            std::process::id()
        )),
        "{error}"
    );
}

/// Rules that stay, a list of them, a full table, and an end to all.
#[test]
fn level_makes_lists_and_ends_rules() {
    let site = Site::new(RECORDER);
    site.log.record(DEBUG, "shop.db", "", b"", b"x");
    let (said, _, code) = site.run(&[
        "level",
        "shop.db=debug",
        "*=info",
        "--for",
        "5m",
        "--where",
        "user=bob",
    ]);
    assert_eq!(code, 0);
    assert!(
        said.contains("debug and above of shop.db, for requests with user=bob; until "),
        "{said}"
    );
    let rules = site.log.rules();
    assert_eq!(rules.len(), 2);
    assert!(
        rules
            .iter()
            .all(|rule| rule.kept && !rule.held && rule.condition == "user=bob")
    );
    assert_eq!(
        (rules[1].component.as_str(), rules[1].severity),
        ("", Severity::INFO)
    );

    site.log
        .tell_levels([("", 20), ("shop.db\x1b", 30), ("*", 10)]);
    let (listed, ..) = site.run(&["level"]);
    for part in [
        "Levels that are set",
        "all others                        info and above",
        "shop.db\\x1b                       warning and above",
        "the recorder                      debug and above",
        "Components heard of",
        "shop.db",
        "1 record\n",
        "Rules in force",
        "also in the files; since ",
        " left)\n      by ",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    for _ in 0..14 {
        assert_eq!(site.run(&["level", "x=debug", "--for", "ever"]).2, 0);
    }
    let (_, error, code) = site.run(&["level", "x=debug"]);
    assert_eq!(code, 3);
    assert!(
        error.contains("as many as fit (16)") && error.contains("--reset"),
        "{error}"
    );
    assert_eq!(site.run(&["level", "--reset"]).0, "16 rules ended\n");
    assert!(site.log.rules().is_empty());
}

/// What cannot be meant is refused before anything is changed.
#[test]
fn wrong_usage_says_what_to_write() {
    let site = Site::new(RECORDER);
    let long = "x".repeat(200);
    let condition = format!("path={long}");
    for (arguments, part) in [
        (vec!["debug"], "required"),
        (vec!["debug", "shop", "--where", "pth=/x"], "no field `pth`"),
        (vec!["debug", "shop", "--for", "soon"], "no span of time"),
        (vec!["debug", "shop", "--level", "loud"], "no such level"),
        (vec!["debug", &long], "longer than 120 bytes"),
        (
            vec!["debug", "shop", "--where", &condition],
            "longer than 192 bytes",
        ),
        (vec!["level", "shop.db"], "a level is missing"),
        (vec!["level", "shop.db=debug", "--reset"], "cannot be used"),
        (vec!["tail", "-e", "("], "regex"),
    ] {
        let (_, error, code) = site.run(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    assert!(site.log.rules().is_empty());
}

/// Without a log of this directory, the only living domain is meant; of several, none is guessed.
#[test]
fn the_only_living_domain_is_found() {
    let site = Site::new(RECORDER);
    site.log.record(Severity::INFO, "shop", "", b"", b"found");
    let elsewhere = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_logboom"));
        command
            .env("LOGBOOM_STATE_DIR", site.state())
            .current_dir(elsewhere.path());
        let output = command.arg("rewind").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            text(output.stdout),
            text(output.stderr),
            output.status.code(),
        )
    };
    assert_eq!(run().0, "found\n");

    let second = elsewhere.path().join("second\x1b");
    std::fs::create_dir(&second).unwrap();
    let options = logboom::LogOptions {
        state_dir: logboom::StateDir::Path(site.state()),
        ..Default::default()
    };
    let other = Log::open(second.join("app.log"), &options).unwrap();
    other.publish(Severity::INFO, b"x\n");
    let (_, error, code) = run();
    assert_eq!(code, Some(3));
    assert!(
        error.contains("2 live; name one with --log PATH:")
            && error.contains("/second\\x1b  (process "),
        "{error}"
    );
    drop(other);
    assert_eq!(
        run().0,
        "found\n",
        "one that nobody lives in does not count"
    );

    drop(site.log);
    assert_eq!(site_less(&site_state(&elsewhere)).1, Some(3));
}

fn site_state(elsewhere: &tempfile::TempDir) -> std::path::PathBuf {
    let place = elsewhere.path().join("empty");
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(&place)
        .unwrap();
    place
}

fn site_less(state: &std::path::Path) -> (String, Option<i32>) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_logboom"));
    let output = command
        .arg("tail")
        .env("LOGBOOM_STATE_DIR", state)
        .current_dir(state)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("name a log with --log PATH"), "{error}");
    (error, output.status.code())
}

/// Who may not open the state is told whose it is, and changes nothing. (As root, which can be somebody else.)
#[test]
fn another_user_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be another user");
        return;
    }
    let site = Site::new(RECORDER);
    site.log.publish(Severity::INFO, b"x\n");
    let logs = site.logs();
    let everybody = std::fs::Permissions::from_mode(0o755);
    let program = logs.join("logboom");
    std::fs::copy(env!("CARGO_BIN_EXE_logboom"), &program).unwrap();
    for path in [logs.parent().unwrap(), &logs, &program] {
        std::fs::set_permissions(path, everybody.clone()).unwrap();
    }
    for verb in ["level", "tail", "rewind", "top"] {
        let mut command = std::process::Command::new(&program);
        command.arg(verb).current_dir(&logs).uid(65_534).gid(65_534);
        let output = command
            .env("LOGBOOM_STATE_DIR", site.state())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{verb}: {error}");
        assert!(
            error.contains("user 0 (root) logs there")
                && error.contains("run this command as that user"),
            "{verb}: {error}"
        );
    }
    assert!(site.log.rules().is_empty());
}
