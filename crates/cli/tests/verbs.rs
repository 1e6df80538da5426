//! `status`, `rotate`, `verify`, `recover` and `doctor` as a user runs them, on logs that real processes write, hold, damage and
//! leave behind.
//!
//! The processes are this test program itself, started again with one test's name and told what to do over its standard
//! input (see [`Worker`]). Every site has directories of its own for logs and state, so tests do not meet.

mod verbs_site;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use verbs_site::{Answer, Site, Worker, wait_until};

/// A process that is told to publish has published when it answers. (The other tests start this one as their workers.)
#[test]
fn a_worker_writes_what_it_is_told() {
    if verbs_site::is_worker() {
        return verbs_site::work();
    }
    let site = Site::new();
    let mut worker = site.worker("");
    worker.publish(10);
    worker.leave();
    assert_eq!(site.text("app.log").lines().count(), 10);
}

/// `status` names each living worker and what it has published, in words and as JSON, and the ledger adds up.
#[test]
fn status_shows_two_living_workers() {
    let site = Site::new();
    let (mut first, mut second) = (site.worker(""), site.worker(""));
    first.publish(30);
    second.publish(12);
    let status = site.logboom(&["status", "--json", "log/app.log"]).json(0);
    let workers = status["workers"].as_array().unwrap();
    let mut seen: Vec<_> = workers
        .iter()
        .map(|worker| {
            (
                worker["pid"].as_u64().unwrap(),
                worker["published"].as_u64().unwrap(),
            )
        })
        .collect();
    seen.sort_unstable();
    let mut expected = vec![(first.pid(), 30), (second.pid(), 12)];
    expected.sort_unstable();
    assert_eq!(seen, expected, "{status:#}");
    assert!(
        workers.iter().all(|worker| worker["alive"] == true),
        "{status:#}"
    );
    let ledger = &status["ledger"];
    assert_eq!(
        (&ledger["published"], &ledger["written"], &ledger["adds_up"]),
        (&42.into(), &42.into(), &true.into())
    );
    let text = site.logboom(&["status", "log"]).text(0);
    for part in [
        &format!("{}", first.pid()),
        "42 published = 42 written + 0 queued",
        "adds up",
        "app.log",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'), "colour without a terminal: {text}");
}

/// Where there is no domain, `status`, `recover` and `rotate` say so with 3, and a directory that does not exist is 3 for all.
#[test]
fn what_cannot_be_looked_at_says_why() {
    let site = Site::new();
    for verb in ["status", "recover", "rotate"] {
        let said = site.logboom(&[verb, "log/app.log"]).error(3);
        assert!(said.contains("failed to find a domain"), "{verb}: {said}");
    }
    for verb in ["status", "recover", "rotate", "doctor", "verify"] {
        let said = site.logboom(&[verb, "nonesuch/app.log"]).error(3);
        assert!(said.contains("nonesuch"), "{verb}: {said}");
    }
    let said = site.logboom(&["status", "--watch", "log"]).error(2);
    assert!(said.contains("terminal"), "{said}");
}

/// A group that was killed while its holder was stopped: `doctor` names the stopped holder, then the dead workers with records,
/// `recover` writes all of them once, and afterwards there is nothing to be done.
#[test]
fn records_of_a_killed_group_are_drained_by_recover() {
    let site = Site::new();
    let (mut holder, mut other) = (site.worker(""), site.worker(""));
    other.publish(5);
    holder.serve();
    holder.signal(libc::SIGSTOP);
    other.publish(100);
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(
        found.contains(&format!("process {}", holder.pid()))
            && found.contains("stopped")
            && found.contains("kill -CONT"),
        "{found}"
    );
    let stuck = site.logboom(&["recover", "--wait", "0", "log"]).text(0);
    assert!(
        stuck.contains("nothing to recover"),
        "the living keep their records: {stuck}"
    );
    other.kill();
    let left = site.logboom(&["recover", "--wait", "0", "log"]).text(1);
    assert!(
        left.contains("not recovered") && left.contains("SIGCONT"),
        "{left}"
    );
    holder.kill();
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(
        found.contains(&format!("process {}", other.pid())) && found.contains("logboom recover"),
        "{found}"
    );
    let said = site.logboom(&["recover", "log/app.log"]).text(0);
    assert!(said.contains("100 records written"), "{said}");
    assert_eq!(site.text("app.log").lines().count(), 105);
    assert!(
        site.logboom(&["recover", "log"])
            .text(0)
            .contains("nothing was left")
    );
    site.logboom(&["doctor", "log"]).text(0);
}

/// `rotate` moves what was written to an archive and names it; the next record makes the new file.
#[test]
fn rotate_rotates() {
    let site = Site::new();
    let mut worker = site.worker("");
    worker.publish(7);
    let said = site.logboom(&["rotate", "log/app.log"]).text(0);
    assert!(
        said.contains("rotated") && said.contains("app.log.1"),
        "{said}"
    );
    worker.publish(2);
    wait_until(|| site.path("app.log").exists());
    assert_eq!(
        (
            site.text("app.log.1").lines().count(),
            site.text("app.log").lines().count()
        ),
        (7, 2)
    );
    let status = site.logboom(&["status", "--json", "log"]).json(0);
    assert_eq!(status["files"][0]["rotations"], 1, "{status:#}");
    let said = site.logboom(&["rotate", "log/other.log"]).error(3);
    assert!(said.contains("other.log"), "{said}");
    site.logboom(&["rotate", "log"]).error(2);
}

/// A log whose processes have code of their own for it is not rotated behind their back: `rotate` says whom it asked.
#[test]
fn rotate_asks_the_process_that_has_the_hooks() {
    let site = Site::new();
    let mut worker = site.worker("hooks");
    worker.publish(7);
    let said = site
        .logboom(&["rotate", "--wait", "0", "log/app.log"])
        .text(1);
    assert!(said.contains("asked"), "{said}");
    assert!(!site.path("app.log.1").exists());
}

/// A log of 600 records in archives and a current file, whose writer has left.
fn archived(options: &str) -> Site {
    let site = Site::new();
    let mut worker = site.worker(&format!("max=8000 {options}"));
    worker.publish(600);
    worker.leave();
    assert!(site.path("app.log.3").exists() || site.path("app.log.3.gz").exists());
    site
}

fn verify(site: &Site, code: i32) -> Value {
    let files = site.log_files();
    let files: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    site.logboom(&[&["verify", "--json"], &files[..]].concat())
        .json(code)
}

fn file<'a>(report: &'a Value, name: &str) -> &'a Value {
    let files = report["files"].as_array().unwrap();
    files
        .iter()
        .find(|file| file["path"].as_str().unwrap().ends_with(name))
        .unwrap()
}

fn checked(report: &Value) -> u64 {
    report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["checked_records"].as_u64().unwrap_or(0))
        .sum()
}

/// What was written verifies at both depths, every record of it, and also while it is being written.
#[test]
fn an_untouched_log_verifies() {
    let site = archived("ids");
    let report = verify(&site, 0);
    assert_eq!(
        (checked(&report), &report["logs"][0]["ids"]),
        (600, &600.into()),
        "{report:#}"
    );
    let mut worker = site.worker("max=100000 ids");
    worker.publish_in_background(100_000);
    // These names are always in use from now on, so that no file is missed when a rotation moves them.
    let files = [
        "log/app.log.3",
        "log/app.log",
        "log/app.log.1",
        "log/app.log.2",
        "log/app.log.4",
    ];
    for _ in 0..20 {
        let report = site
            .logboom(&[&["verify", "--json"], &files[..]].concat())
            .json(0);
        assert_eq!(report["damage"], false, "{report:#}");
    }
    worker.kill();
    // It may have died in the middle of a rotation; whoever logs next finishes that, and makes the file anew.
    let mut next = site.worker("max=100000 ids");
    next.publish(1);
    next.leave();
    let without_one = [&["verify"], &files[1..]].concat();
    let said = site.logboom(&without_one).text(1);
    assert!(
        said.contains("app.log.3` lies between the given files"),
        "{said}"
    );
}

/// A flipped byte is found at depth 1 with its file and a range that it lies in, and nothing else is blamed.
#[test]
fn a_flipped_byte_is_named_with_file_and_range() {
    let site = archived("");
    let archive = OpenOptions::new()
        .write(true)
        .open(site.path("app.log.3"))
        .unwrap();
    archive.write_at(b"!", 4321).unwrap();
    let report = verify(&site, 1);
    let finding = &file(&report, "app.log.3")["findings"][0];
    let (from, to) = (
        finding["from"].as_u64().unwrap(),
        finding["to"].as_u64().unwrap(),
    );
    assert!(
        finding["kind"] == "differs" && (from..to).contains(&4321),
        "{report:#}"
    );
    for other in report["files"].as_array().unwrap() {
        assert_eq!(
            other["findings"] != Value::Array(vec![]),
            other["path"].as_str().unwrap().ends_with("app.log.3"),
            "{report:#}"
        );
    }
    assert!(
        report["depth_2"].as_str().unwrap().contains("not possible"),
        "{report:#}"
    );
}

/// Rewrites the lines of an archive in place, as the same file.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<_> = fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    change(&mut lines);
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// The worker of the report, after a change of one archive that both depths find.
fn worker_after(change: impl FnOnce(&mut Vec<String>)) -> (Value, Value) {
    let site = archived("ids");
    edit(&site.path("app.log.2"), change);
    let report = verify(&site, 1);
    assert_eq!(
        file(&report, "app.log.2")["findings"][0]["kind"],
        "differs",
        "{report:#}"
    );
    (report["logs"][0]["workers"][0].clone(), report)
}

fn number_of(line: &str) -> u64 {
    u64::from_str_radix(line.trim_end_matches(']').rsplit('.').next().unwrap(), 16).unwrap()
}

/// A removed line is missing, by its number.
#[test]
fn a_removed_line_is_missing_by_its_number() {
    let mut removed = 0;
    let (worker, report) = worker_after(|lines| removed = number_of(&lines.remove(10)));
    assert_eq!(
        worker["missing_numbers"],
        serde_json::json!([[removed, removed]]),
        "{report:#}"
    );
    assert_eq!(
        (&worker["doubled"], &worker["out_of_order"]),
        (&0.into(), &0.into()),
        "{report:#}"
    );
}

/// A line that is there again is doubled, by its number.
#[test]
fn a_doubled_line_is_doubled_by_its_number() {
    let mut doubled = 0;
    let (worker, report) = worker_after(|lines| {
        doubled = number_of(&lines[10]);
        lines.insert(20, lines[10].clone());
    });
    assert_eq!(
        worker["doubled_examples"][0]["number"], doubled,
        "{report:#}"
    );
    assert_eq!(
        (&worker["missing"], &worker["doubled"]),
        (&0.into(), &1.into()),
        "{report:#}"
    );
}

/// Two lines that changed places are out of order and nothing else.
#[test]
fn lines_that_changed_places_are_out_of_order() {
    let (worker, report) = worker_after(|lines| lines.swap(10, 11));
    let counts = (
        &worker["missing"],
        &worker["doubled"],
        &worker["out_of_order"],
    );
    assert_eq!(counts, (&0.into(), &0.into(), &1.into()), "{report:#}");
}

/// A line whose id is cut is torn, and its record is missing.
#[test]
fn a_torn_line_is_torn() {
    let (worker, report) = worker_after(|lines| {
        let keep = lines[10].len() - 9;
        lines[10].truncate(keep);
    });
    assert_eq!(
        (&report["logs"][0]["torn"], &worker["missing"]),
        (&1.into(), &1.into()),
        "{report:#}"
    );
}

/// A truncated archive: the missing range is named.
#[test]
fn a_truncated_archive_names_what_is_missing() {
    let site = archived("");
    let path = site.path("app.log.2");
    let len = path.metadata().unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(5000)
        .unwrap();
    let report = verify(&site, 1);
    let findings = file(&report, "app.log.2")["findings"].as_array().unwrap();
    let missing = findings
        .iter()
        .find(|finding| finding["kind"] == "missing")
        .unwrap();
    assert_eq!(
        (&missing["from"], &missing["to"]),
        (&5000.into(), &len.into()),
        "{report:#}"
    );
}

/// An archive that an editor wrote anew, as another file, does not pass as unknown; a copy with the same bytes is recognised.
#[test]
fn an_archive_that_was_replaced_is_named_and_a_copy_is_recognised() {
    let site = archived("");
    let (path, copy) = (site.path("app.log.2"), site.path("copy"));
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert_eq!(checked(&verify(&site, 0)), 600);
    fs::write(
        &copy,
        fs::read_to_string(&path)
            .unwrap()
            .replace("record", "rekord"),
    )
    .unwrap();
    fs::rename(&copy, &path).unwrap();
    let report = verify(&site, 1);
    // A file system may give the new file the number of the old one: then its bytes differ.
    let kind = &file(&report, "app.log.2")["findings"][0]["kind"];
    assert!(kind == "replaced" || kind == "differs", "{report:#}");
}

/// Lines of others are named with their range; they are no damage.
#[test]
fn foreign_lines_are_named_but_are_no_damage() {
    let site = Site::new();
    fs::write(site.path("app.log"), "older than the domain\n").unwrap();
    let mut worker = site.worker("");
    worker.publish(10);
    let before = site.text("app.log").len();
    fs::write(site.path("app.log"), site.text("app.log") + "by hand\n").unwrap();
    worker.publish(10);
    let report = verify(&site, 0);
    let findings = file(&report, "app.log")["findings"].as_array().unwrap();
    let ranges: Vec<_> = findings
        .iter()
        .map(|finding| {
            (
                finding["kind"].as_str().unwrap(),
                finding["from"].as_u64().unwrap(),
                finding["to"].as_u64().unwrap(),
            )
        })
        .collect();
    let before = before as u64;
    assert_eq!(
        ranges,
        [("foreign", 0, 22), ("foreign", before, before + 8)],
        "{report:#}"
    );
    assert_eq!(checked(&report), 20);
}

/// Compressed archives are verified by their content, and one that is damaged is named.
#[test]
fn compressed_archives_verify() {
    for method in ["gzip", "zstd"] {
        let extension = if method == "gzip" { "gz" } else { "zst" };
        let site = Site::new();
        let mut worker = site.worker(&format!("max=8000 ids {method}"));
        worker.publish(600);
        wait_until(|| !compressed(&site, extension).is_empty());
        worker.leave();
        let archive = compressed(&site, extension).remove(0);
        let report = verify(&site, 0);
        assert_eq!(
            (checked(&report), &report["logs"][0]["ids"]),
            (600, &600.into()),
            "{report:#}"
        );
        let len = archive.metadata().unwrap().len();
        OpenOptions::new()
            .write(true)
            .open(&archive)
            .unwrap()
            .set_len(len / 2)
            .unwrap();
        let report = verify(&site, 1);
        let kinds: Vec<_> = file(&report, name_of(&archive))["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["kind"].clone())
            .collect();
        assert!(kinds.contains(&"unreadable".into()), "{report:#}");
    }
}

/// The compressed archives. While records are written their names change.
fn compressed(site: &Site, extension: &str) -> Vec<PathBuf> {
    let mut files = site.log_files();
    files.retain(|path| path.extension().is_some_and(|its| its == extension));
    files
}

fn name_of(archive: &Path) -> &str {
    archive.file_name().unwrap().to_str().unwrap()
}

/// Without a domain and without ids nothing can be said: 3, and the reasons.
#[test]
fn files_that_nobody_knows_cannot_be_verified() {
    let site = Site::new();
    fs::write(site.path("app.log"), "a line\n").unwrap();
    let said = site.logboom(&["verify", "log/app.log"]).error(3);
    assert!(said.contains("nothing could be checked"), "{said}");
}

/// A directory that the workers' user cannot write is a finding, for that user and for root who looks on their behalf.
#[test]
fn doctor_names_a_directory_that_cannot_be_written() {
    if !rustix::process::geteuid().is_root() {
        return println!("SKIPPED: needs root, to look as another user");
    }
    const NOBODY: u32 = 65_534;
    let site = Site::new();
    fs::set_permissions(site.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(site.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    chown(site.root().join("state"), Some(NOBODY), Some(NOBODY)).unwrap();
    let program = site.root().join("logboom");
    fs::copy(env!("CARGO_BIN_EXE_logboom"), &program).unwrap();
    let mut command = Command::new(program);
    command
        .args(["doctor", "log"])
        .current_dir(site.root())
        .env("LOGBOOM_STATE_DIR", site.root().join("state"));
    let found = Answer::of(command.uid(NOBODY).gid(NOBODY)).text(1);
    assert!(
        found.contains("finding  directory")
            && found.contains("cannot be written by this user (65534)"),
        "{found}"
    );
    site.logboom(&["doctor", "log"]).text(0);
    fs::write(site.path(".logboom-65534"), "").unwrap();
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(found.contains("cannot be written by user 65534"), "{found}");
}

/// A state volume without room for another worker is a finding with a remedy.
#[test]
fn doctor_names_a_full_state_volume() {
    if !rustix::process::geteuid().is_root() {
        return println!("SKIPPED: needs root, to mount a volume of 1 MB");
    }
    let site = Site::new();
    let volume = site.root().join("state");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "logboom-test"])
        .arg(&volume)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return println!("SKIPPED: this container may not mount a volume");
    }
    let _unmounted = Unmount(&volume);
    let mut worker = site.worker("");
    worker.publish(3);
    let before = site.logboom(&["doctor", "log"]);
    assert!(
        !before.out.contains("finding  state volume"),
        "{}",
        before.out
    );
    let filler = fs::File::create(volume.join("filler")).unwrap();
    for at in 0.. {
        if filler.write_all_at(&[1; 4096], at * 4096).is_err() {
            break;
        }
    }
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(
        found.contains("finding  state volume") && found.contains("--shm-size"),
        "{found}"
    );
    worker.leave();
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// A corrupt state is a finding that says what comes of it; `status` and `recover` refuse it with 3 and leave it alone.
#[test]
fn doctor_names_a_corrupt_state() {
    let site = Site::new();
    let mut worker = site.worker("");
    worker.publish(3);
    worker.kill();
    let state = site.state_file();
    OpenOptions::new()
        .write(true)
        .open(&state)
        .unwrap()
        .write_all_at(b"garbage!", 0)
        .unwrap();
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(
        found.contains("does not begin like a logboom state") && found.contains("what to do"),
        "{found}"
    );
    for verb in ["status", "recover"] {
        let said = site.logboom(&[verb, "log"]).error(3);
        assert!(
            said.contains("does not begin like a logboom state"),
            "{verb}: {said}"
        );
    }
    assert!(state.exists());
}

/// A state that was removed under a living group is found by its claim, with the pids that hold it.
#[test]
fn doctor_names_who_holds_a_claim_whose_state_is_gone() {
    let site = Site::new();
    let mut worker = site.worker("");
    worker.publish(3);
    fs::remove_file(site.state_file()).unwrap();
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(
        found.contains(&format!("held by process {}", worker.pid()))
            && found.contains("is not there"),
        "{found}"
    );
}

/// A log on a full or otherwise refusing path is a finding with the error in words.
#[test]
fn doctor_and_status_tell_why_a_file_cannot_be_written() {
    let site = Site::new();
    let mut worker: Worker = site.worker("");
    worker.publish(3);
    fs::rename(site.path("app.log"), site.path("away")).unwrap();
    fs::create_dir(site.path("app.log")).unwrap();
    worker.publish(3);
    wait_until(|| {
        site.logboom(&["status", "--json", "log"]).json(0)["files"][0]["errno"] == libc::EISDIR
    });
    let text = site.logboom(&["status", "log"]).text(0);
    assert!(text.contains("Is a directory"), "{text}");
    let found = site.logboom(&["doctor", "log"]).text(1);
    assert!(
        found.contains("Is a directory") && found.contains("what to do"),
        "{found}"
    );
    worker.kill();
    let left = site.logboom(&["recover", "log"]).text(1);
    assert!(left.contains("Is a directory"), "{left}");
    fs::remove_dir(site.path("app.log")).unwrap();
    site.logboom(&["recover", "log"]).text(0);
    assert_eq!(site.text("app.log").lines().count(), 3);
}
