//! A log that takes nothing for a while: a full disk, a disk that hangs, a process that holds it up.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::site::{
    Pipe, all_lines, arguments, check_code, content, reading, run, said, start, took_less, wait_for,
};
use crate::verbs_site::{Site, Worker, wait_until};

const SECOND: Duration = Duration::from_secs(1);
/// 4 MB, four times what a queue holds.
const MANY_LINES: &str = "seq -f 'line %08g of those that are too many to wait in a queue' 70000";

/// A worker that has the lease and is stopped: the log takes nothing until it goes on.
fn stopped_holder(site: &Site) -> Worker {
    let mut worker = site.worker("");
    worker.serve();
    worker.signal(libc::SIGSTOP);
    worker
}

fn exists(site: &Site, name: &str) -> bool {
    site.root().join(name).exists()
}

/// While the log takes nothing, first its queue is filled and then the command waits; afterwards it goes on, and nothing is lost.
#[test]
fn a_stalled_log_holds_its_command_up_and_loses_nothing() {
    let site = Site::new();
    let holder = stopped_holder(&site);
    let mut pipe = start(&site, "", &format!("{MANY_LINES}; touch done"));
    std::thread::sleep(3 * SECOND);
    assert!(!exists(&site, "done") && !pipe.has_ended());
    holder.signal(libc::SIGCONT);
    let output = pipe.wait();
    check_code(&output, 0);
    assert!(exists(&site, "done"));
    assert!(
        said(&output).contains("takes nothing more for now"),
        "{}",
        said(&output)
    );
    let lines = all_lines(&site);
    assert_eq!(lines.len(), 70_000);
    assert!(lines.is_sorted());
    drop(holder);
}

/// With --drop the command is not held up; what is dropped is counted, and said in the log when it goes on.
#[test]
fn a_stalled_log_drops_and_says_so_where_nothing_may_wait() {
    let site = Site::new();
    let holder = stopped_holder(&site);
    let script = format!(
        "{MANY_LINES}; touch done; while [ -d log -a ! -e go ]; do sleep 0.05; done; echo afterwards; exit 3"
    );
    let pipe = start(&site, "--drop", &script);
    wait_until(|| exists(&site, "done"));
    holder.signal(libc::SIGCONT);
    // What waited makes room first.
    wait_until(|| !all_lines(&site).is_empty());
    std::thread::sleep(SECOND / 2);
    std::fs::write(site.root().join("go"), "").unwrap();
    let output = pipe.wait();
    check_code(&output, 3);
    let lines = all_lines(&site);
    let notices: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("[logboom: "))
        .collect();
    let dropped: usize = notices.iter().map(|notice| dropped_in(notice)).sum();
    assert!(dropped > 10_000, "{notices:?}");
    assert_eq!(lines.len(), 70_000 - dropped + 1 + notices.len());
    assert_eq!(lines.last().unwrap(), "afterwards");
    let whole = format!("{} lines dropped", grouped(dropped));
    assert!(said(&output).contains(&whole), "{whole}: {}", said(&output));
    let status = site.logboom(&["status", "--json", "log"]).json(0);
    assert_eq!(status["ledger"]["dropped"]["full"], dropped, "{status:#}");
    drop(holder);
}

/// The number in `[logboom: 12,345 lines (...) dropped within ...]`.
fn dropped_in(notice: &str) -> usize {
    let number = notice
        .strip_prefix("[logboom: ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    number.replace(',', "").parse().unwrap()
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let (head, tail) = digits.split_at(digits.len() - 3);
    format!("{head},{tail}")
}

/// A reader that is told to stop while the log takes nothing ends in time, and says what that cost.
#[test]
fn a_stop_during_a_stall_ends_in_time() {
    let site = Site::new();
    let holder = stopped_holder(&site);
    let mut pipe = reading(&site, "--linger 500ms");
    let mut input = pipe.input();
    std::thread::spawn(move || {
        let line = "x".repeat(999) + "\n";
        while input.write_all(line.as_bytes()).is_ok() {}
    });
    std::thread::sleep(2 * SECOND);
    assert!(!pipe.has_ended());
    let begun = Instant::now();
    pipe.signal(libc::SIGTERM);
    let output = pipe.wait_at_most(40 * SECOND);
    check_code(&output, 1);
    took_less(begun, 30 * SECOND);
    assert!(
        said(&output).contains("dropped") && said(&output).contains("logboom recover"),
        "{}",
        said(&output)
    );
    holder.signal(libc::SIGCONT);
    // What was in the queue is written by those who go on.
    wait_until(|| all_lines(&site).len() > 500);
}

/// A burst is no stall: with --drop, too, the log is waited for, as long as it goes on and no longer than `on_full_wait`.
#[test]
fn a_burst_is_not_dropped() {
    let dropped = |wait: &str| {
        let site = Site::new();
        // A queue that such a burst fills over and over.
        let toml =
            format!("files.main.queue_bytes = \"128 KiB\"\nfiles.main.on_full_wait = \"{wait}\"\n");
        std::fs::write(site.root().join("logboom.toml"), toml).unwrap();
        check_code(&run(&site, "--drop", MANY_LINES), 0);
        let lines = all_lines(&site);
        let dropped: usize = lines
            .iter()
            .filter(|line| line.starts_with("[logboom: "))
            .map(|notice| dropped_in(notice))
            .sum();
        // What was dropped is spoken of, and seldom.
        let notices = (lines.len() + dropped).checked_sub(70_000).unwrap();
        assert!(notices <= 20, "{notices} notices");
        dropped
    };
    assert_eq!(dropped("30 s"), 0);
    for _ in 0..3 {
        dropped("0 s");
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        println!("skipped: there is no {program}");
    }
    found
}

/// A write of the log that hangs holds a command up, and with --drop it does not.
#[test]
fn a_hanging_disk_holds_nobody_up_who_must_not_wait() {
    if !has("strace") {
        return;
    }
    let took = |option: &str| {
        let site = Site::new();
        let hang = "inject=write:delay_enter=5s:when=2";
        let log = site.path("app.log");
        std::fs::write(&log, "").unwrap();
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(&log)
            .args([
                "-e",
                "trace=write",
                "-e",
                hang,
                env!("CARGO_BIN_EXE_logboom"),
            ])
            .args(arguments(&site, &format!("{option} -- sh -c")))
            .arg(format!("date +%s%N >begun; {MANY_LINES}; date +%s%N >done"))
            .current_dir(site.root())
            .env("LOGBOOM_STATE_DIR", site.root().join("state"));
        check_code(&Pipe::start(command.stdin(Stdio::null())).wait(), 0);
        let moment = |name: &str| -> u64 {
            let text = std::fs::read_to_string(site.root().join(name)).unwrap();
            text.trim().parse().unwrap()
        };
        Duration::from_nanos(moment("done") - moment("begun"))
    };
    let (held_up, free) = (took(""), took("--drop"));
    assert!(held_up >= 4 * SECOND, "{held_up:?}");
    assert!(free < held_up * 3 / 4, "{free:?} against {held_up:?}");
}

/// The log directory as a small volume of its own, for this process and those it starts; false: that cannot be had here.
fn mount(directory: &Path) -> bool {
    // SAFETY: changes this thread's view of the mounts alone, and nextest runs each test in a process of its own.
    let is_own = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let run = |arguments: &[&str]| {
        let mut command = Command::new("mount");
        command.args(arguments).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let directory = directory.to_str().unwrap();
    let mounted = is_own
        && run(&["--make-rprivate", "/"])
        && run(&["-t", "tmpfs", "-o", "size=1m", "tmpfs", directory]);
    if !mounted {
        println!("skipped: a volume cannot be mounted here (only root can)");
    }
    mounted
}

/// Unmounts, so that the place can be removed.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A full disk holds the command up when the queue is full, too; with space again all is written, each line once and whole.
#[test]
fn a_full_disk_holds_its_command_up_and_loses_nothing() {
    let site = Site::new();
    if !mount(&site.path("")) {
        return;
    }
    let _mounted = Mounted(site.path(""));
    std::fs::write(site.path("ballast"), vec![1; 900_000]).unwrap();
    let script = "seq -f 'line %08g' 150000; touch done; echo the end; exit 4";
    let mut pipe = start(&site, "--keep-bytes 0", script);
    std::thread::sleep(3 * SECOND);
    assert!(!exists(&site, "done") && !pipe.has_ended());
    // Archives and all, the volume holds a third of it: it is rotated away as fast as it comes.
    std::fs::remove_file(site.path("ballast")).unwrap();
    let mut moved = Vec::new();
    let begun = Instant::now();
    while !pipe.has_ended() {
        took_less(begun, 60 * SECOND);
        site.logboom(&["rotate", "log/app.log"]);
        for number in (1..=20).rev() {
            let archive = site.path(&format!("app.log.{number}"));
            if archive.exists() {
                moved.push(std::fs::read_to_string(&archive).unwrap());
                std::fs::remove_file(&archive).unwrap();
            }
        }
        std::thread::sleep(SECOND / 20);
    }
    let output = pipe.wait();
    check_code(&output, 4);
    assert!(
        said(&output).contains("No space left on device"),
        "{}",
        said(&output)
    );
    let moved = moved.concat();
    let left = all_lines(&site);
    let lines: Vec<_> = moved
        .lines()
        .chain(left.iter().map(String::as_str))
        .collect();
    assert_eq!(lines.len(), 150_001);
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(*last, "the end");
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("line {:08}", number + 1));
    }
}

/// On a full disk, too, a command that must not wait runs to its end, and what is missing is counted.
#[test]
fn a_full_disk_drops_where_nothing_may_wait() {
    let site = Site::new();
    if !mount(&site.path("")) {
        return;
    }
    let _mounted = Mounted(site.path(""));
    std::fs::write(site.path("ballast"), vec![1; 900_000]).unwrap();
    let script = format!(
        "{MANY_LINES}; touch done; while [ -d log -a ! -e go ]; do sleep 0.05; done; seq -f 'after %g' 3"
    );
    let pipe = start(&site, "--drop --size 400kB --keep-count 1", &script);
    wait_until(|| exists(&site, "done"));
    std::fs::remove_file(site.path("ballast")).unwrap();
    wait_until(|| all_lines(&site).len() > 5000);
    std::thread::sleep(SECOND);
    std::fs::write(site.root().join("go"), "").unwrap();
    check_code(&pipe.wait(), 0);
    wait_for(&site, "after 3\n");
    let text = content(&site.path("app.log.1")) + &site.text("app.log");
    let (before, after) = text.split_once("after 1\n").unwrap();
    assert!(before.contains(" dropped within "), "{after}");
    assert_eq!(after, "after 2\nafter 3\n");
}

/// A file at its size limit is a full disk, not the end of us.
#[test]
fn a_file_size_limit_is_a_full_disk() {
    let site = Site::new();
    // Has no limit itself, and makes the state.
    let mut worker = site.worker("");
    worker.publish(1);
    let limited = |more: &str| {
        let mut command = Command::new("sh");
        let script = "ulimit -f 200; exec \"$0\" \"$@\"";
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_logboom")])
            .args(arguments(&site, more))
            .env("LOGBOOM_STATE_DIR", site.root().join("state"));
        Pipe::start(command.stdin(Stdio::null())).wait()
    };
    check_code(
        &limited("--size 40kB --keep-count 1000 -- seq 100000 120000"),
        0,
    );
    assert_eq!(all_lines(&site).len(), 1 + 20_001);
    let output = limited("-- seq 100000 120000");
    check_code(&output, 0);
    let said = said(&output);
    assert!(
        said.contains("File too large") && said.contains("logboom recover"),
        "{said}"
    );
    worker.publish(1);
    site.logboom(&["recover", "log"]).text(0);
    assert_eq!(all_lines(&site).len(), 2 + 2 * 20_001);
}
