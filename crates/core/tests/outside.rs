//! Rotation from outside (`mv`, logrotate, deletion, copytruncate, a directory renamed) is followed at once by all workers,
//! and nothing is lost, doubled, torn or misplaced; foreign lines survive.
//!
//! How it works: four forked workers publish numbered records while the test meddles with the files; a record is misplaced
//! when it was begun after a rotation had returned and is found in the file rotated out.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use logboom::{Durability, LogOptions};
use support::machine::{self, Heard, Need, child, kill_and_wait, millis, secs, within};
use support::{Counters, Place, Reading, open, publish_numbered, read_strictly, record};

const WORKERS: u64 = 4;

fn rounds(short: u64) -> u64 {
    if std::env::var_os("LOGBOOM_FULL").is_some() {
        short * 20
    } else {
        short
    }
}

/// Four workers that publish until they are told to stop.
struct Crew {
    pids: Vec<libc::pid_t>,
    counters: &'static Counters,
}

impl Crew {
    fn start(path: &Path, options: &LogOptions) -> Crew {
        Crew::start_with(path, options, |_| {})
    }

    /// `also`: what each worker does beside, now and then.
    fn start_with(path: &Path, options: &LogOptions, also: fn(&logboom::Log)) -> Crew {
        let counters: &'static Counters =
            Box::leak(Box::new(Counters::new(2 * WORKERS as usize + 1)));
        let pids = (0..WORKERS)
            .map(|worker| {
                child(|| {
                    let log = open(path, options);
                    let (begun, acked) = counters_of(counters, worker);
                    while counters.at(2 * WORKERS as usize).load(SeqCst) == 0 {
                        let number = begun.load(SeqCst) + 1;
                        begun.store(number, SeqCst);
                        let line = record(worker, number, 80 + (number % 300) as usize);
                        while log.publish(logboom::Severity::INFO, line.as_bytes())
                            != logboom::Outcome::Published
                        {}
                        acked.store(number, SeqCst);
                        if number % 7 == 0 {
                            also(&log);
                        }
                        if number % 20 == 0 {
                            std::thread::sleep(Duration::from_micros(300));
                        }
                    }
                    i32::from(!log.flush(secs(10)))
                })
            })
            .collect();
        let crew = Crew { pids, counters };
        within(secs(20), "all publish", || {
            crew.acked().values().all(|acked| *acked > 100)
        });
        crew
    }

    fn acked(&self) -> HashMap<u64, u64> {
        (0..WORKERS)
            .map(|worker| (worker, counters_of(self.counters, worker).1.load(SeqCst)))
            .collect()
    }

    fn begun(&self) -> HashMap<u64, u64> {
        (0..WORKERS)
            .map(|worker| (worker, counters_of(self.counters, worker).0.load(SeqCst)))
            .collect()
    }

    /// All have published at least this many more.
    fn go_on(&self, more: u64) {
        let before = self.acked();
        within(secs(20), "all go on", || {
            self.acked()
                .iter()
                .all(|(worker, acked)| *acked >= before[worker] + more)
        });
    }

    fn end(self) -> HashMap<u64, u64> {
        self.counters.at(2 * WORKERS as usize).store(1, SeqCst);
        for pid in &self.pids {
            machine::end_well(*pid, secs(30));
        }
        self.acked()
    }
}

fn counters_of(
    counters: &'static Counters,
    worker: u64,
) -> (
    &'static std::sync::atomic::AtomicU64,
    &'static std::sync::atomic::AtomicU64,
) {
    (
        counters.at(2 * worker as usize),
        counters.at(2 * worker as usize + 1),
    )
}

fn read(path: &Path) -> String {
    String::from_utf8(fs::read(path).unwrap_or_default()).unwrap()
}

fn ours(text: &str) -> String {
    text.split_inclusive('\n')
        .filter(|line| !line.starts_with("foreign"))
        .collect()
}

/// Fails if a record that was begun after a rotation is in the file rotated out by it.
fn assert_nothing_misplaced(rotated: &[(PathBuf, HashMap<u64, u64>)]) {
    for (path, begun_before) in rotated {
        let reading = read_strictly(&ours(&read(path)));
        let misplaced: Vec<_> = reading
            .found
            .keys()
            .filter(|(worker, number)| *number > begun_before[worker])
            .collect();
        assert!(misplaced.is_empty(), "in {}: {misplaced:?}", path.display());
    }
}

fn read_all(rotated: &[(PathBuf, HashMap<u64, u64>)], path: &Path) -> Reading {
    let mut content: String = rotated.iter().map(|(path, _)| read(path)).collect();
    content += &read(path);
    read_strictly(&ours(&content))
}

#[test]
fn after_mv_all_following_records_are_in_the_new_file_and_none_is_lost() {
    let place = Place::new();
    let crew = Crew::start(&place.log(), &place.options());
    let mut rotated = Vec::new();
    for round in 0..rounds(60) {
        let to = place.logs.join(format!("moved-{round}"));
        assert!(
            Command::new("mv")
                .arg(place.log())
                .arg(&to)
                .status()
                .unwrap()
                .success()
        );
        rotated.push((to, crew.begun()));
        within(secs(5), "the new file is there", || place.log().exists());
        crew.go_on(300);
    }
    let acked = crew.end();
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
    let ledger = logboom::status::status(&place.log()).unwrap().ledger;
    println!("{} records, {ledger:?}", acked.values().sum::<u64>());
    assert_eq!(ledger.left_misplaced, 0);
}

/// Rotates as logrotate's `create` does, which fails where somebody else makes the file first. That is so once a queue is half
/// full: here in four milliseconds, for which the scheduler may well take this process's processor away.
fn rotate_as_logrotate_does(place: &Place, to: &Path, between: Duration) {
    let moved = Instant::now();
    fs::rename(place.log(), to).unwrap();
    std::thread::sleep(between);
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create_new(true).open(place.log());
    assert!(
        made.is_ok() || moved.elapsed() > millis(3),
        "the path was taken before its owner could make it"
    );
}

#[test]
fn a_file_made_at_once_by_whoever_moved_it_is_the_one_that_is_written() {
    let place = Place::new();
    let crew = Crew::start(&place.log(), &place.options());
    let mut rotated = Vec::new();
    for round in 0..rounds(600) {
        let to = place.logs.join(format!("moved-{round}"));
        rotate_as_logrotate_does(&place, &to, Duration::ZERO);
        rotated.push((to, crew.begun()));
        crew.go_on(40);
    }
    let acked = crew.end();
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
}

#[test]
fn a_flush_does_not_take_the_path_from_whoever_is_rotating() {
    let place = Place::new();
    let crew = Crew::start_with(&place.log(), &place.options(), |log| {
        log.flush(millis(500));
    });
    let mut rotated = Vec::new();
    for round in 0..rounds(100) {
        let to = place.logs.join(format!("moved-{round}"));
        rotate_as_logrotate_does(&place, &to, millis(1));
        rotated.push((to, crew.begun()));
        crew.go_on(40);
    }
    let acked = crew.end();
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
}

/// Runs the real logrotate ten times with these lines in its configuration; gives the rotated files, the oldest first.
fn logrotate(place: &Place, crew: &Crew, lines: &str) -> Vec<(PathBuf, HashMap<u64, u64>)> {
    let (config, state) = (
        place.state.join("logrotate.conf"),
        place.state.join("logrotate.state"),
    );
    let text = format!(
        "{} {{\n su root root\n rotate 100\n nodateext\n missingok\n{lines}\n}}\n",
        place.log().display()
    );
    fs::write(&config, text).unwrap();
    let mut begun = Vec::new();
    for _ in 0..10 {
        let run = Command::new("logrotate")
            .args(["-f", "-s"])
            .arg(&state)
            .arg(&config)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success() && said.is_empty(), "{said}");
        begun.push(crew.begun());
        crew.go_on(200);
    }
    let archive = |age: usize| place.logs.join(format!("app.log.{age}"));
    (0..10)
        .map(|round| (archive(10 - round), begun[round].clone()))
        .collect()
}

fn only_expected_names(place: &Place) {
    for name in machine::names_in(&place.logs) {
        let number = name.strip_prefix("app.log").and_then(|rest| {
            if rest.is_empty() {
                Some("0")
            } else {
                rest.strip_prefix('.')
            }
        });
        let expected = number.is_some_and(|number| number.parse::<u32>().is_ok())
            || name.starts_with(".logboom-");
        assert!(expected, "a leftover: {name}");
    }
}

#[test]
fn a_real_logrotate_with_create_loses_and_misplaces_nothing_and_finds_its_path_free() {
    if !machine::has(&[Need::Root, Need::Tool("logrotate")]) {
        return;
    }
    let place = Place::new();
    fs::set_permissions(
        &place.logs,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let crew = Crew::start(&place.log(), &place.options());
    let rotated = logrotate(&place, &crew, " create 0640 root root");
    let acked = crew.end();
    only_expected_names(&place);
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
}

#[test]
fn a_real_logrotate_with_nocreate_loses_and_misplaces_nothing() {
    if !machine::has(&[Need::Root, Need::Tool("logrotate")]) {
        return;
    }
    let place = Place::new();
    let crew = Crew::start(&place.log(), &place.options());
    let rotated = logrotate(&place, &crew, " nocreate");
    let acked = crew.end();
    only_expected_names(&place);
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
}

#[test]
fn copytruncate_destroys_only_what_was_written_between_its_copy_and_its_truncate() {
    let place = Place::new();
    // With this, a record is in the file when its call returns.
    let options = LogOptions {
        durability: Durability::Disk,
        ..place.options()
    };
    let crew = Crew::start(&place.log(), &options);
    let (mut copies, mut windows) = (String::new(), Vec::new());
    for _ in 0..20 {
        let acked_before = crew.acked();
        let copy = fs::read_to_string(place.log()).unwrap();
        std::thread::sleep(millis(2));
        fs::OpenOptions::new()
            .write(true)
            .open(place.log())
            .unwrap()
            .set_len(0)
            .unwrap();
        windows.push((acked_before, crew.begun()));
        // The copy may end in the middle of a batch: with the line that was being written.
        copies += &copy[..copy.rfind('\n').map_or(0, |end| end + 1)];
        crew.go_on(50);
    }
    let acked = crew.end();
    let now = fs::read(place.log()).unwrap();
    assert!(!now.contains(&0), "a hole");
    let text = String::from_utf8(now).unwrap();
    // A truncate in the middle of a write(2) would leave its rest; writes are atomic towards it.
    let reading = read_strictly(&(copies + &text));
    assert!(
        reading.torn.is_empty(),
        "{:?}",
        &reading.torn[..reading.torn.len().min(3)]
    );
    assert!(reading.disordered.is_empty(), "{:?}", reading.disordered);
    let mut destroyed = 0;
    for (worker, last) in acked {
        for number in (1..=last).filter(|number| !reading.found.contains_key(&(worker, *number))) {
            let excused = windows
                .iter()
                .any(|(from, to)| number > from[&worker] && number <= to[&worker]);
            assert!(
                excused,
                "w{worker} n{number} was lost outside of copytruncate's own window"
            );
            destroyed += 1;
        }
    }
    println!("copytruncate destroyed {destroyed} records");
}

#[test]
fn a_real_logrotate_with_copytruncate_leaves_no_holes_and_no_torn_lines() {
    if !machine::has(&[Need::Root, Need::Tool("logrotate")]) {
        return;
    }
    let place = Place::new();
    let crew = Crew::start(&place.log(), &place.options());
    logrotate(&place, &crew, " copytruncate");
    let last = crew.end();
    let now = fs::read(place.log()).unwrap();
    assert!(!now.contains(&0), "a hole");
    let reading = read_strictly(std::str::from_utf8(&now).unwrap());
    assert!(
        reading.torn.is_empty() && reading.disordered.is_empty(),
        "{:?}",
        reading.torn
    );
    for (worker, last) in last {
        assert!(
            reading.found.contains_key(&(worker, last)),
            "the last record of worker {worker}"
        );
    }
    let truncations = logboom::status::status(&place.log()).unwrap().files[0].truncations;
    assert!(truncations >= 9, "{truncations} are counted");
}

#[test]
fn after_rm_records_go_into_a_new_file() {
    let place = Place::new();
    let options = LogOptions {
        durability: Durability::Disk,
        ..place.options()
    };
    let crew = Crew::start(&place.log(), &options);
    let mut removed = Vec::new();
    for _ in 0..20 {
        let acked_before = crew.acked();
        // What is destroyed is what was in the file.
        let begun = crew.begun();
        fs::remove_file(place.log()).unwrap();
        removed.push((acked_before, begun, crew.begun()));
        within(secs(5), "the new file is there", || place.log().exists());
        crew.go_on(50);
    }
    let (_, _, begun) = removed.pop().unwrap();
    let acked = crew.end();
    let reading = read_strictly(&read(&place.log()));
    assert!(reading.torn.is_empty() && reading.disordered.is_empty());
    for (worker, last) in acked {
        let missing: Vec<_> = (begun[&worker] + 1..=last)
            .filter(|n| !reading.found.contains_key(&(worker, *n)))
            .collect();
        assert!(
            missing.is_empty(),
            "worker {worker} lost {missing:?} although they were begun after the last rm"
        );
    }
}

#[test]
fn a_renamed_directory_is_followed_into_the_new_one() {
    let place = Place::new();
    let crew = Crew::start(&place.log(), &place.options());
    let mut rotated = Vec::new();
    for round in 0..rounds(20) {
        let to = place.state.join(format!("logs-{round}"));
        fs::rename(&place.logs, &to).unwrap();
        fs::create_dir(&place.logs).unwrap();
        rotated.push((to.join("app.log"), crew.begun()));
        within(secs(5), "the new file is there", || place.log().exists());
        crew.go_on(300);
    }
    let acked = crew.end();
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
}

#[test]
fn a_log_behind_a_link_is_followed_when_the_link_is_turned() {
    let place = Place::new();
    let target = |round: u32| place.state.join(format!("real-{round}.log"));
    std::os::unix::fs::symlink(target(0), place.log()).unwrap();
    let crew = Crew::start(&place.log(), &place.options());
    let mut rotated = Vec::new();
    for round in 1..=rounds(50) as u32 {
        let turned = place.logs.join("turned");
        std::os::unix::fs::symlink(target(round), &turned).unwrap();
        fs::rename(&turned, place.log()).unwrap();
        rotated.push((target(round - 1), crew.begun()));
        crew.go_on(300);
    }
    let acked = crew.end();
    assert!(place.log().is_symlink(), "the link is kept");
    read_all(&rotated, &place.log()).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
}

#[test]
fn a_log_behind_a_link_is_rotated_without_a_loss() {
    let place = Place::new();
    let target = place.state.join("real.log");
    std::os::unix::fs::symlink(&target, place.log()).unwrap();
    let options = LogOptions {
        max_bytes: 100_000,
        backup_count: 10_000,
        ..place.options()
    };
    let crew = Crew::start(&place.log(), &options);
    crew.go_on(2_000);
    let acked = crew.end();
    read_strictly(&place.content()).assert_complete(&acked, &[]);
}

#[test]
fn foreign_lines_appended_in_between_survive_and_tear_nothing() {
    let place = Place::new();
    let crew = Crew::start(&place.log(), &place.options());
    let mut rotated = Vec::new();
    let mut lines = Vec::new();
    for round in 0..200 {
        let line = format!("foreign line {round} {}\n", "x".repeat(round + 1));
        // As `echo >>` does: open, one write, close.
        if let Ok(mut file) = fs::OpenOptions::new().append(true).open(place.log()) {
            file.write_all(line.as_bytes()).unwrap();
            lines.push(line);
        }
        if round % 50 == 49 {
            let to = place.logs.join(format!("moved-{round}"));
            fs::rename(place.log(), &to).unwrap();
            rotated.push((to, crew.begun()));
            within(secs(5), "the new file is there", || place.log().exists());
        }
        std::thread::sleep(millis(3));
    }
    let acked = crew.end();
    let whole: String = rotated
        .iter()
        .map(|(path, _)| read(path))
        .chain([read(&place.log())])
        .collect();
    for line in &lines {
        assert!(
            whole
                .lines()
                .filter(|found| *found == line.trim_end())
                .count()
                == 1,
            "{line}"
        );
    }
    read_strictly(&ours(&whole)).assert_complete(&acked, &[]);
    assert_nothing_misplaced(&rotated);
    let foreign = logboom::status::status(&place.log()).unwrap().files[0].foreign_bytes;
    println!("{foreign} foreign bytes counted in the last file's time");
}

/// Says where each record is that is found twice or out of order.
fn tell_doubled(rotated: &[(PathBuf, HashMap<u64, u64>)], path: &Path) {
    let mut places: HashMap<(u64, u64), Vec<(usize, usize)>> = HashMap::new();
    let files: Vec<String> = rotated
        .iter()
        .map(|(path, _)| read(path))
        .chain([read(path)])
        .collect();
    for (file, text) in files.iter().enumerate() {
        for (line, text) in text.split_inclusive('\n').enumerate() {
            for key in read_strictly(text).found.into_keys() {
                places.entry(key).or_default().push((file, line));
            }
        }
    }
    for (key, found) in &places {
        let next = places.get(&(key.0, key.1 + 1)).map(|next| next[0]);
        if found.len() > 1 || next.is_some_and(|next| next < found[0]) {
            println!(
                "{key:?}: {found:?}, its next at {next:?}, of {} files",
                files.len()
            );
        }
    }
}

#[test]
fn mv_and_kills_together_lose_and_misplace_nothing() {
    let place = Place::new();
    let counters: &'static Counters = Box::leak(Box::new(Counters::new(2000)));
    let start = |worker: u64| {
        let (path, options) = (place.log(), place.options());
        child(|| {
            let log = open(&path, &options);
            let (begun, acked) = counters_of(counters, worker);
            publish_numbered(&log, worker, begun, acked, |number| {
                80 + (number % 2000) as usize
            });
            0
        })
    };
    let keeper = open(&place.log(), &place.options());
    let mut alive: Vec<(u64, libc::pid_t)> = (0..4).map(|worker| (worker, start(worker))).collect();
    let (mut next, mut rotated, mut unsure) = (4, Vec::new(), Vec::new());
    for round in 0..60 {
        std::thread::sleep(millis(3 + round % 7));
        let to = place.logs.join(format!("moved-{round:03}"));
        let holder = logboom::status::status(&place.log())
            .ok()
            .and_then(|status| status.holder);
        let victim = holder
            .and_then(|holder| alive.iter().position(|(_, pid)| *pid == holder.pid as i32))
            .unwrap_or(0);
        if fs::rename(place.log(), &to).is_ok() {
            let begun: HashMap<u64, u64> = (0..1000)
                .map(|w| (w, counters_of(counters, w).0.load(SeqCst)))
                .collect();
            rotated.push((to, begun));
        }
        let (worker, pid) = alive.swap_remove(victim);
        kill_and_wait(pid);
        unsure.push((worker, counters_of(counters, worker).0.load(SeqCst)));
        alive.push((next, start(next)));
        next += 1;
    }
    for (worker, pid) in alive {
        kill_and_wait(pid);
        unsure.push((worker, counters_of(counters, worker).0.load(SeqCst)));
    }
    let visitor = logboom::status::Visitor::join(&place.log()).unwrap();
    within(secs(20), "everything is drained", || {
        visitor
            .recover(secs(1))
            .is_some_and(|recovered| recovered.queued_bytes_after == 0)
    });
    drop(keeper);
    let acked: HashMap<u64, u64> = (0..next)
        .map(|worker| (worker, counters_of(counters, worker).1.load(SeqCst)))
        .collect();
    println!(
        "{} records, {:?}",
        acked.values().sum::<u64>(),
        visitor.status().ledger
    );
    tell_doubled(&rotated, &place.log());
    read_all(&rotated, &place.log()).assert_complete(&acked, &unsure);
    assert_nothing_misplaced(&rotated);
}

#[test]
fn a_rotation_from_outside_is_silent() {
    let (place, heard) = (Place::new(), Heard::listen());
    let log = open(&place.log(), &place.options());
    for round in 0..5 {
        log.publish(
            logboom::Severity::INFO,
            record(1, 1 + round, 100).as_bytes(),
        );
        fs::rename(place.log(), place.logs.join(format!("moved-{round}"))).unwrap();
        log.publish(
            logboom::Severity::INFO,
            record(2, 1 + round, 100).as_bytes(),
        );
        within(secs(2), "it is written", || {
            read(&place.log()).contains(&record(2, 1 + round, 100))
        });
    }
    assert_eq!(heard.text(), "");
}
