//! Steps that run a test runner and read its summary.

use super::checks::cargo;
use super::nextest as nextest_files;
use super::report::{Counts, Report};
use super::workbench::Workbench;
use crate::paths;
use crate::process::{self, Ended};
use crate::screen::Progress;
use anyhow::Result;
use std::env;
use std::fs;
use std::iter;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1200);
const PYTEST_LIMIT: Duration = Duration::from_secs(600);
const CPYTHON_LIMIT: Duration = Duration::from_secs(240);
/// Files of tests/python that mostly start servers: in the normal run they run on the newest CPython alone.
const SERVER_TESTS: [&str; 4] = [
    "test_gunicorn_",
    "test_others_",
    "test_guide",
    "test_relay_",
];
const FULL_LIMIT: Duration = Duration::from_secs(12 * 3600);
const FUZZ_S_MAX: u32 = 60;
const DEMO_REQUESTS: u32 = 2000;

/// Runs a command with the limit of this kind of run; tests learn from `LOGBOOM_FULL` that they may take long.
fn run(bench: &Workbench, command: Command, progress: &Progress) -> Result<Ended> {
    run_within(LIMIT, bench, command, progress)
}

/// The same with a limit of its own for the short run.
fn run_within(
    limit: Duration,
    bench: &Workbench,
    mut command: Command,
    progress: &Progress,
) -> Result<Ended> {
    if bench.full {
        command.env("LOGBOOM_FULL", "1");
    }
    let limit = if bench.full { FULL_LIMIT } else { limit };
    process::run(command, limit, &|line| progress.note(line))
}

/// Lets the crash tests die at named points; no release has it.
const CRASH_POINTS: &str = "logboom/crash-points,logboom-relay/crash-points";

/// The Rust tests, `cargo nextest run`; nextest is installed if it is missing.
pub fn nextest(bench: &Workbench, progress: &Progress) -> Result<Report> {
    if process::on_path("cargo-nextest").is_none() {
        progress.note("installing cargo-nextest");
        process::run_ok(
            cargo(&["install", "cargo-nextest", "--locked"]),
            LIMIT,
            &|line| progress.note(line),
        )?;
    }
    let build = run(
        bench,
        cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--features",
            CRASH_POINTS,
            "--no-run",
        ]),
        progress,
    )?;
    if !build.ok {
        return Ok(Report::failure(build.output));
    }
    bench.prepare(); // compilers beside the tests would disturb those that measure time
    let profile = if bench.full { "full" } else { "default" };
    nextest_files::forget_report(profile);
    let mut command = cargo(&[
        "nextest",
        "run",
        "--workspace",
        "--features",
        CRASH_POINTS,
        "--no-fail-fast",
        "--tool-config-file",
    ]);
    command.arg(format!(
        "xtask:{}",
        paths::root().join("xtask/nextest.toml").display()
    ));
    command.args(["--profile", profile]);
    let ended = run(bench, command, progress)?;
    let mut counts = Counts::of_lines(&ended.output, "Summary [");
    let mut reasons = nextest_files::ignored(counts.skipped);
    let by_themselves = nextest_files::self_skipped(profile);
    counts.passed -= by_themselves.len().min(counts.passed);
    counts.skipped += by_themselves.len();
    reasons.extend(by_themselves);
    Ok(Report::of_runner(ended.ok, counts, reasons, ended.output))
}

/// The examples in the documentation.
pub fn doctest(bench: &Workbench, progress: &Progress) -> Result<Report> {
    libtest(
        bench,
        cargo(&[
            "test",
            "--workspace",
            "--features",
            CRASH_POINTS,
            "--doc",
            "--no-fail-fast",
        ]),
        progress,
    )
}

/// The loom models, in a target directory of their own: the flag makes every crate another one.
pub fn loom(bench: &Workbench, progress: &Progress) -> Result<Report> {
    let mut command = cargo(&["test", "--package", "logboom", "--release", "--lib", "loom"]);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    command
        .env("RUSTFLAGS", format!("{flags} --cfg loom"))
        .env("CARGO_TARGET_DIR", paths::target().join("loom"));
    libtest(bench, command, progress)
}

fn libtest(bench: &Workbench, command: Command, progress: &Progress) -> Result<Report> {
    let ended = run(bench, command, progress)?;
    let counts = Counts::of_lines(&ended.output, "test result:");
    let ignored = ended
        .output
        .lines()
        .filter(|line| line.starts_with("test ") && line.contains("... ignored"));
    let reasons = ignored
        .map(|line| line.trim_start_matches("test ").to_owned())
        .collect();
    Ok(Report::of_runner(ended.ok, counts, reasons, ended.output))
}

/// The Python tests without a server.
pub fn pytest(bench: &Workbench, index: usize, progress: &Progress) -> Result<Report> {
    let with_servers = server_tests()?;
    let left_out = with_servers.iter().map(|file| format!("--ignore={file}"));
    let selection = iter::once("tests/python".to_owned()).chain(left_out);
    run_pytest(bench, index, selection, progress)
}

/// The halves of [`servers`]; they wait more than they work, so one may run beside the other.
pub const HALVES: [&str; 2] = ["even", "odd"];

/// Every second file of the Python tests with servers.
pub fn servers(bench: &Workbench, index: usize, half: &str, progress: &Progress) -> Result<Report> {
    let first = HALVES.iter().position(|&name| name == half).unwrap_or(0);
    let files = server_tests()?
        .into_iter()
        .skip(first)
        .step_by(HALVES.len());
    run_pytest(bench, index, files, progress)
}

/// Files of tests that start servers: those of many seconds each.
fn server_tests() -> Result<Vec<String>> {
    let folder = paths::root().join("tests/python");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if SERVER_TESTS.iter().any(|begin| name.starts_with(begin)) {
            found.push(format!("tests/python/{name}"));
        }
    }
    found.sort();
    Ok(found)
}

fn run_pytest(
    bench: &Workbench,
    index: usize,
    selection: impl Iterator<Item = String>,
    progress: &Progress,
) -> Result<Report> {
    let mut command = bench.venv(index)?.command("python");
    command.args([
        "-m",
        "pytest",
        "-q",
        "-rfEsx",
        "--color=no",
        "-p",
        "no:cacheprovider",
    ]);
    command.args(selection).current_dir(paths::root());
    let ended = run_within(PYTEST_LIMIT, bench, command, progress)?;
    let reasons = pytest_reasons(&ended.output);
    Ok(Report::of_runner(
        ended.ok,
        Counts::of_last_line(&ended.output),
        reasons,
        ended.output,
    ))
}

/// Gunicorn's own tests of its loggers, with ours in their place.
pub fn gunicorn(bench: &Workbench, index: usize, progress: &Progress) -> Result<Report> {
    let mut command = bench.venv(index)?.command("python");
    command
        .arg("tests/gunicorn_suite/run.py")
        .current_dir(paths::root());
    let ended = run_within(CPYTHON_LIMIT, bench, command, progress)?;
    Ok(Report::of_runner(
        ended.ok,
        Counts::of_last_line(&ended.output),
        Vec::new(),
        ended.output,
    ))
}

/// The lines `SKIPPED [n] <place>: <reason>`, n times each, and `XFAIL <test> - <reason>`.
fn pytest_reasons(output: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    for line in output.lines() {
        if let Some((times, reason)) = line
            .strip_prefix("SKIPPED [")
            .and_then(|rest| rest.split_once("] "))
        {
            reasons.extend(std::iter::repeat_n(
                reason.to_owned(),
                times.parse().unwrap_or(1),
            ));
        } else if let Some(reason) = line.strip_prefix("XFAIL ") {
            reasons.push(format!("expected to fail: {reason}"));
        }
    }
    reasons
}

/// CPython's own tests of the handlers, with ours in place of its own.
pub fn cpython(bench: &Workbench, index: usize, progress: &Progress) -> Result<Report> {
    let mut command = bench.venv(index)?.command("python");
    command
        .arg("tests/cpython/run.py")
        .current_dir(paths::root());
    let ended = run_within(CPYTHON_LIMIT, bench, command, progress)?;
    let reasons = ended
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("SKIP "))
        .map(str::to_owned)
        .collect();
    Ok(Report::of_runner(
        ended.ok,
        Counts::of_last_line(&ended.output),
        reasons,
        ended.output,
    ))
}

/// Every example of every crate; each ends with 0 only if what it shows is true. They are built as the tests are: other features
/// would build all the crates anew.
pub fn examples(bench: &Workbench, progress: &Progress) -> Result<Report> {
    let build = cargo(&[
        "build",
        "--workspace",
        "--examples",
        "--features",
        CRASH_POINTS,
    ]);
    let build = run(bench, build, progress)?;
    if !build.ok {
        return Ok(Report::failure(build.output));
    }
    let mut report = Report::default();
    for package in ["core", "cli", "python", "relay"] {
        let folder = paths::root().join("crates").join(package).join("examples");
        let mut files: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.path())
            .collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
        files.sort();
        for name in files.iter().filter_map(|file| file.file_stem()) {
            let mut command = Command::new(paths::target().join("debug/examples").join(name));
            command.current_dir(paths::root());
            let ended = run(bench, command, progress)?;
            let name = name.to_string_lossy();
            report.add(&Report::check(
                ended.ok,
                format!("example {name}:\n{}", ended.output),
            ));
        }
    }
    if report.passed + report.failed == 0 {
        return Ok(Report::failure(
            "there is no example in crates/*/examples\n".to_owned(),
        ));
    }
    Ok(report)
}

/// `logboom torture`, short or full; each case of its table is one test. Cases that are shown but not judged, because
/// what they do destroys records of any handler, count nowhere.
pub fn torture(bench: &Workbench, progress: &Progress) -> Result<Report> {
    let mut command = bench.newest_venv()?.command("logboom");
    command.arg("torture").current_dir(paths::work());
    if bench.full {
        command.arg("--full");
    }
    let ended = run(bench, command, progress)?;
    let (counts, skipped) = torture_table(&ended.output);
    Ok(Report::of_runner(ended.ok, counts, skipped, ended.output))
}

/// Counts the rows by their last word; a row of a case that could not run ends with `skipped: <reason>`.
fn torture_table(output: &str) -> (Counts, Vec<String>) {
    let mut counts = Counts::default();
    let mut reasons = Vec::new();
    for line in output
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.starts_with(' '))
    {
        if let Some((case, reason)) = line.split_once(" skipped: ") {
            counts.skipped += 1;
            reasons.push(format!(
                "{}: {reason}",
                case.split_whitespace().collect::<Vec<_>>().join(" ")
            ));
        } else if line.ends_with(" clean") {
            counts.passed += 1;
        } else if line.ends_with(" FAILED") {
            counts.failed += 1;
        }
    }
    (counts, reasons)
}

/// The demo, with fewer requests.
pub fn demo(bench: &Workbench, progress: &Progress) -> Result<Report> {
    // Two builds of it at a time are in each other's way; what this one compiled the command's own finds.
    bench.wheel()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["demo", "--requests", &DEMO_REQUESTS.to_string()]);
    let ended = run(bench, command, progress)?;
    Ok(Report::check(ended.ok, ended.output))
}

/// The picture of the README, recorded beside the one that is kept.
pub fn picture(bench: &Workbench, progress: &Progress) -> Result<Report> {
    bench.wheel()?;
    let mut command = Command::new(env::current_exe()?);
    let output = paths::work().join("picture.svg");
    command.arg("picture").arg("--output").arg(output);
    let ended = run(bench, command, progress)?;
    Ok(Report::check(ended.ok, ended.output))
}

/// Each fuzz target for a minute.
pub fn fuzz(bench: &Workbench, progress: &Progress) -> Result<Report> {
    if process::on_path("cargo-fuzz").is_none() {
        return Ok(Report::skip(
            "cargo-fuzz is not installed: cargo install cargo-fuzz --locked",
        ));
    }
    let folder = paths::root().join("fuzz");
    let list = process::run_ok(fuzz_command(&["list"]), LIMIT, &|_| ())?;
    let mut report = Report::default();
    for target in list
        .lines()
        .map(str::trim)
        .filter(|line| folder.join(format!("fuzz_targets/{line}.rs")).exists())
    {
        let mut command = fuzz_command(&["run", "--sanitizer", "none", target, "--"]);
        command.arg(format!("-max_total_time={FUZZ_S_MAX}"));
        let ended = run(bench, command, progress)?;
        report.add(&Report::check(
            ended.ok,
            format!("fuzz target {target}:\n{}", ended.output),
        ));
    }
    if report.passed + report.failed == 0 {
        return Ok(Report::failure("there is no fuzz target\n".to_owned()));
    }
    Ok(report)
}

/// cargo-fuzz wants a nightly compiler; without a sanitizer the stable one will do when told so.
fn fuzz_command(arguments: &[&str]) -> Command {
    let mut command = cargo(&["fuzz"]);
    command.args(arguments).env("RUSTC_BOOTSTRAP", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each case of the table counts once; what is told below a row, and cases that are not judged, count nowhere.
    #[test]
    fn table_of_torture() {
        let output = "logboom.handlers\nscenario  start  verdict\nsize  fork  0  clean  \nhand  fork, preload  1  FAILED\n\
                      \x20   lost: worker 3 FAILED\ncopytruncate  fork  7  not judged\n\
                      logrotate        fork           skipped: logrotate is not installed\n";
        let (counts, reasons) = torture_table(output);
        assert_eq!(
            counts,
            Counts {
                passed: 1,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(reasons, ["logrotate fork: logrotate is not installed"]);
    }

    /// A reason stands once for each test that it skipped.
    #[test]
    fn reasons_of_pytest() {
        let output = "..s\nSKIPPED [2] tests/python/test_a.py:3: no gevent\nXFAIL test_b - bug\n1 passed, 2 skipped in 1s";
        let place = "tests/python/test_a.py:3: no gevent";
        assert_eq!(
            pytest_reasons(output),
            [place, place, "expected to fail: test_b - bug"]
        );
    }
}
