//! Steps that check: each counts as one test.

use super::report::Report;
use super::workbench::Workbench;
use crate::paths;
use crate::process;
use crate::screen::Progress;
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(900);
/// Programs that tests use, and the Debian package of each.
const TOOLS: [(&str, &str); 8] = [
    ("logrotate", "logrotate"),
    ("strace", "strace"),
    ("gdb", "gdb"),
    ("zstd", "zstd"),
    ("rsyslogd", "rsyslog"),
    ("mkfs.xfs", "xfsprogs"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
];
/// Plug-ins of rsyslog that tests use, and the Debian package of each.
const PLUGINS: [(&str, &str); 2] = [("imrelp", "rsyslog-relp"), ("lmnsd_gtls", "rsyslog-gnutls")];

/// A cargo command in the repository.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(paths::root())
        .env("CARGO_TERM_COLOR", "never");
    command
}

/// Runs a command as one check.
pub fn check(command: Command, progress: &Progress) -> Result<Report> {
    let ended = process::run(command, LIMIT, &|line| progress.note(line))?;
    Ok(Report::check(ended.ok, ended.output))
}

/// Names the programs that are missing, each as a skip: the tests that need them cannot run.
pub fn tools(_: &Workbench, _: &Progress) -> Result<Report> {
    let mut report = Report::default();
    let mut count = |is_there: bool, name: &str, remedy: &str| match is_there {
        true => report.passed += 1,
        false => report.skipped.push(format!(
            "`{name}` is not installed, tests that need it cannot run; {remedy}"
        )),
    };
    for (program, package) in TOOLS {
        let is_there = process::on_path(program).is_some();
        count(
            is_there,
            program,
            &format!("install it: apt install {package}"),
        );
    }
    for (plugin, package) in PLUGINS {
        let remedy = format!("install it: apt install {package}");
        count(has_plugin(plugin), plugin, &remedy);
    }
    // Debian's package excludes rsyslog's: it is unpacked where its tests look for it.
    let unpacked = paths::target().join("receivers/syslog-ng/usr/sbin/syslog-ng");
    let is_there = unpacked.is_file() || process::on_path("syslog-ng").is_some();
    count(is_there, "syslog-ng", "run .ci/run, which unpacks it");
    Ok(report)
}

fn has_plugin(plugin: &str) -> bool {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let file = format!("rsyslog/{plugin}.so");
    folders
        .into_iter()
        .any(|folder| folder.path().join(&file).exists())
}

/// `cargo fmt --check`.
pub fn fmt(_: &Workbench, progress: &Progress) -> Result<Report> {
    check(
        cargo(&["fmt", "--all", "--", "--check", "--color=never"]),
        progress,
    )
}

/// `cargo clippy`, warnings are errors; what only the fuzz targets use is there, too.
pub fn clippy(_: &Workbench, progress: &Progress) -> Result<Report> {
    check(
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "logboom/fuzzing,logboom-relay/fuzzing",
            "--",
            "-D",
            "warnings",
        ]),
        progress,
    )
}

/// `cargo doc`, warnings are errors: the public face of the library for its users, the rest, which is no library to
/// anybody, for those who work on it.
pub fn doc(_: &Workbench, progress: &Progress) -> Result<Report> {
    let mut report = Report::default();
    let others = [
        "--workspace",
        "--exclude",
        "logboom",
        "--document-private-items",
    ];
    for scope in [&["--package", "logboom"][..], &others] {
        let mut command = cargo(&["doc", "--lib", "--no-deps"]);
        command.args(scope).env("RUSTDOCFLAGS", "-D warnings");
        report.add(&check(command, progress)?);
    }
    Ok(report)
}

/// `ruff check` and `ruff format --check`.
pub fn ruff(bench: &Workbench, progress: &Progress) -> Result<Report> {
    let mut report = Report::default();
    for arguments in [&["check"][..], &["format", "--check", "--diff"]] {
        let mut command = bench.tools()?.command("ruff");
        command
            .args(arguments)
            .arg("--no-cache")
            .args(["python", "tests", "examples", "bench"])
            .current_dir(paths::root());
        report.add(&check(command, progress)?);
    }
    Ok(report)
}

/// Builds the wheel and looks at its name: built once, it serves every CPython from 3.10 on.
pub fn wheel(bench: &Workbench, _: &Progress) -> Result<Report> {
    let wheel = bench.wheel()?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    let mut report = Report::check(
        name.contains("-cp310-abi3-linux_"),
        format!("the wheel is called {name}\n"),
    );
    for (index, _) in bench.pythons.iter().enumerate() {
        let venv = bench.venv(index)?;
        let mut import = venv.command("python");
        import.args(["-c", "import logboom._native, logboom.handlers"]);
        let mut version = venv.command("logboom");
        version.arg("--version");
        for command in [import, version] {
            let ended = process::run(command, Duration::from_secs(60), &|_| ())?;
            report.add(&Report::check(ended.ok, ended.output));
        }
    }
    Ok(report)
}

/// mypy's stubtest: `_native.pyi` says what the extension module is.
pub fn stubtest(bench: &Workbench, progress: &Progress) -> Result<Report> {
    let tools = bench.tools()?;
    tools.install_wheel(bench.wheel()?)?;
    let mut command = tools.command("python");
    command
        .args(["-m", "mypy.stubtest", "logboom._native"])
        .current_dir(paths::work());
    check(command, progress)
}
