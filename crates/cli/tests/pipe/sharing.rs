//! Several writers of one log, rotation, and kills.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::site::{
    Pipe, all_lines, arguments, check_code, logboom, reading, run, start, verify, wait_for,
};
use crate::verbs_site::Site;

/// Two commands and a process that logs by itself share a log that rotates all the time: each line is there once, in its writer's
/// order, and the ledger agrees.
#[test]
fn two_pipes_and_a_worker_share_a_rotated_log() {
    let site = Site::new();
    let options = "--size 200000 --keep-count 1000 --ledger-ids";
    let mut worker = site.worker("max=200000 ids");
    worker.publish_in_background(20_000);
    let shell = start(&site, options, "seq -f 'shell %08g of 30000' 30000");
    let python = "for number in range(1, 30001): print(f'python {number:08} of 30000', flush=number % 100 == 0)";
    std::fs::write(site.root().join("prints.py"), python).unwrap();
    let python = start(&site, options, "exec python3 prints.py");
    check_code(&shell.wait(), 0);
    check_code(&python.wait(), 0);
    worker.leave();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut files = site.log_files();
    assert!(files.len() > 10, "{files:?}");
    // The oldest first.
    files.sort_by_key(|path| {
        let number = path.extension().and_then(|end| end.to_str()).unwrap();
        std::cmp::Reverse(number.parse::<u32>().unwrap_or(0))
    });
    for path in files {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let mut words = line.split_whitespace();
            let who = words.next().unwrap().to_owned();
            let number: u64 = words.next().unwrap().parse().unwrap();
            let before = last.insert(who, number);
            let first = u64::from(!line.starts_with("record"));
            assert_eq!(number, before.map_or(first, |before| before + 1), "{line}");
        }
    }
    let expected = [("python", 30_000), ("record", 19_999), ("shell", 30_000)];
    let expected = expected.map(|(who, number)| (who.to_owned(), number));
    assert_eq!(last, BTreeMap::from(expected));
    assert_eq!(verify(&site), 80_000);
}

/// What went through compressed archives is counted by `verify`, to the last line.
#[test]
fn compressed_archives_hold_every_line() {
    for method in ["gzip", "zstd"] {
        let site = Site::new();
        let options = format!("--size 100kB --keep-count 1000 --compress {method}");
        check_code(
            &run(
                &site,
                &options,
                "yes 'a line like any other' | head -n 100000",
            ),
            0,
        );
        assert!(site.log_files().len() > 20);
        assert_eq!(verify(&site), 100_000);
    }
}

/// Records are synced in batches, one for each read, before more is read.
#[test]
fn on_disk_means_synced() {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        println!("skipped: there is no strace");
        return;
    }
    let site = Site::new();
    let trace = site.root().join("trace");
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_logboom"))
        .args(arguments(&site, "--durability disk -- seq 100000"))
        .env("LOGBOOM_STATE_DIR", site.root().join("state"));
    check_code(&Pipe::start(command.stdin(Stdio::null())).wait(), 0);
    assert_eq!(all_lines(&site).len(), 100_000);
    let syncs = std::fs::read_to_string(trace)
        .unwrap()
        .lines()
        .filter(|line| line.contains("fdatasync("))
        .count();
    // 589 kB are nine reads of a full pipe at least.
    assert!((9..5_000).contains(&syncs), "{syncs}");
}

/// `logboom tail` shows what is printed, as that of any worker, from when it is called until it ends.
#[test]
fn viewers_see_what_is_printed() {
    let site = Site::new();
    let mut pipe = reading(&site, "--component shop");
    let mut input = pipe.input();
    input.write_all(b"before\n").unwrap();
    wait_for(&site, "before\n");
    for round in 0..2 {
        let mut tail = logboom(
            &site,
            &["tail", "shop", "--json", "--log", "log"].map(str::to_owned),
        );
        let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        let (said, heard) = std::sync::mpsc::channel();
        let first = std::thread::spawn(move || said.send(lines.next().unwrap().unwrap()));
        // It has its rule after a while, and what was printed before is not shown.
        let shown = loop {
            writeln!(input, "line of round {round}").unwrap();
            match heard.recv_timeout(Duration::from_millis(50)) {
                Ok(shown) => break shown,
                Err(cause) => assert_eq!(cause, std::sync::mpsc::RecvTimeoutError::Timeout),
            }
        };
        let _ = first.join();
        tail.kill().unwrap();
        tail.wait().unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["body"], format!("line of round {round}"), "{shown:#}");
        assert_eq!(
            (&shown["otel.scope.name"], &shown["severity_text"]),
            (&"shop".into(), &"INFO".into())
        );
    }
    drop(input);
    check_code(&pipe.wait(), 0);
}

/// The line of this number.
fn numbered(number: u64) -> String {
    format!("{number:08} {}", "-".repeat(number as usize % 100))
}

/// Lines as fast as the pipe takes them, until `kept` has no other reader and the test says so; how many.
fn write_lines(mut to: std::io::PipeWriter, until: &std::sync::atomic::AtomicBool) -> u64 {
    let mut number = 0;
    while !until.load(std::sync::atomic::Ordering::Relaxed) {
        let lines: Vec<_> = (number..number + 100)
            .map(|number| numbered(number) + "\n")
            .collect();
        to.write_all(lines.concat().as_bytes()).unwrap();
        number += 100;
    }
    number
}

fn reading_from(site: &Site, kept: &PipeReader) -> Pipe {
    let options = arguments(site, "--size 1MB --keep-count 10000 --ledger-ids");
    Pipe::start(logboom(site, &options).stdin(Stdio::from(kept.try_clone().unwrap())))
}

/// SIGKILL in the middle of a stream, again and again, under somebody who keeps the pipe as a supervisor does: what was
/// published is in the log, once and whole. What may be missing is what had been read and not published: less than one read
/// for each kill.
#[test]
fn a_kill_costs_at_most_what_was_just_read() {
    let rounds = if std::env::var_os("LOGBOOM_FULL").is_some() {
        200
    } else {
        20
    };
    let site = Site::new();
    let (kept, input) = std::io::pipe().unwrap();
    let end = std::sync::atomic::AtomicBool::new(false);
    let mut random = fastrand::Rng::with_seed(11);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_lines(input, &end));
        for _ in 0..rounds {
            let mut pipe = reading_from(&site, &kept);
            std::thread::sleep(Duration::from_millis(random.u64(20..120)));
            pipe.signal(libc::SIGKILL);
            drop(pipe);
        }
        let last = reading_from(&site, &kept);
        std::thread::sleep(Duration::from_millis(100));
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        let written = writer.join().unwrap();
        drop(kept);
        check_code(&last.wait(), 0);
        written
    });
    let (mut found, mut found_bytes, mut parts) = (Vec::new(), 0, 0);
    for line in all_lines(&site) {
        let line = line.split(" [lb=").next().unwrap();
        let number = line.split(' ').next().unwrap().parse::<u64>();
        match number {
            Ok(number) if line == numbered(number) => {
                found.push(number);
                found_bytes += line.len() as u64 + 1;
            }
            // The next reader began in the middle of a line.
            _ => {
                parts += 1;
                assert!(line.len() < 109, "{line}");
            }
        }
    }
    found.sort_unstable();
    let count = found.len();
    found.dedup();
    assert_eq!(found.len(), count, "a line is there twice");
    assert!(parts <= rounds, "{parts} torn lines after {rounds} kills");
    let written_bytes: u64 = (0..written)
        .map(|number| numbered(number).len() as u64 + 1)
        .sum();
    let missing = written_bytes - found_bytes;
    println!(
        "{written} lines written, {} missing ({missing} bytes) after {rounds} kills",
        written - count as u64
    );
    assert!(
        missing <= rounds * (64 << 10) + (parts + rounds) * 109,
        "{missing} bytes are missing"
    );
    // Each record that had its number in the ledger is there.
    verify(&site);
    let status = site.logboom(&["status", "--json", "log"]).json(0);
    assert_eq!(status["ledger"]["adds_up"], true, "{status:#}");
}
