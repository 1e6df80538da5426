//! What the figures were measured on.

use std::path::Path;
use std::process::Command;

/// The lines of the document that describe the machine.
pub fn describe(logs: &Path) -> Vec<(&'static str, String)> {
    vec![
        (
            "machine",
            format!(
                "{}, {} processors, {} memory",
                processor(),
                processors(),
                memory()
            ),
        ),
        ("kernel", kernel()),
        ("file system of the logs", file_system(logs)),
        ("compiler", compiler()),
        ("load when the run began", load()),
    ]
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.to_owned(),
    )
}

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn memory() -> String {
    let text = read("/proc/meminfo");
    let kib = text
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<f64>().ok());
    kib.map_or_else(
        || "unknown".to_owned(),
        |kib| format!("{:.0} GiB", kib / 1024.0 / 1024.0),
    )
}

/// The release without the name that a distributor or a cloud has appended.
fn kernel() -> String {
    let release = read("/proc/sys/kernel/osrelease");
    format!(
        "Linux {}",
        release.trim().split('-').next().unwrap_or_default()
    )
}

/// Type of the file system that holds `path`: that of the longest mount point above it.
fn file_system(path: &Path) -> String {
    let Ok(path) = path.canonicalize() else {
        return "unknown".to_owned();
    };
    let mounts = read("/proc/self/mounts");
    let fields = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.nth(1)?, words.next()?, words.next()?))
    };
    let above = mounts
        .lines()
        .filter_map(fields)
        .filter(|(at, ..)| path.starts_with(at));
    let found = above.max_by_key(|(at, ..)| at.len());
    found.map_or_else(
        || "unknown".to_owned(),
        |(_, kind, options)| format!("{kind} ({options})"),
    )
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".to_owned())
}

fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}
