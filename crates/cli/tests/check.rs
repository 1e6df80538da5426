//! `logboom check` as a user runs it: what is right is shown with its source, what is wrong with its line, and the exit code
//! says which.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const RIGHT: &str = "\
level = \"warning\"
[levels]
\"shop.db\" = \"debug\"

[files.main]
path = \"app.log\"
rotate = { size = \"100 MB\", when = \"midnight\" }
[files.access]
path = \"access.log\"
";

fn check(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logboom"));
    command.arg("check").args(arguments).current_dir(folder);
    for name in ["LOGBOOM_CONFIG", "LOGBOOM_LEVEL", "LOGBOOM_LEVELS"] {
        command.env_remove(name);
    }
    command.envs(env.iter().copied()).output().unwrap()
}

fn site(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logboom.toml"), text).unwrap();
    folder
}

#[track_caller]
fn said(output: Output, code: i32) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}{error}");
    text + &error
}

/// Each value in force is there with where it came from: the file's line, the variable, the flag, or that it is a default.
#[test]
fn what_is_in_force_is_shown_with_its_source() {
    let site = site(RIGHT);
    let env = [("LOGBOOM_LEVEL", "error")];
    let text = said(
        check(site.path(), &["--set", "files.access.keep.count=3"], &env),
        0,
    );
    let line = |begin: &str| {
        let line = text.lines().find(|line| line.starts_with(begin));
        line.unwrap_or_else(|| panic!("no {begin} in {text}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("right:"), "right: logboom.toml");
    assert_eq!(
        line("level ="),
        "level = \"error\" # environment LOGBOOM_LEVEL"
    );
    assert_eq!(
        line("levels."),
        "levels.\"shop.db\" = \"debug\" # logboom.toml:3"
    );
    assert_eq!(
        line("files.main.rotate.when"),
        "files.main.rotate.when = \"MIDNIGHT\" # logboom.toml:7"
    );
    assert_eq!(
        line("files.access.keep.count"),
        "files.access.keep.count = 3 # argument files.access.keep.count"
    );
    assert_eq!(
        line("files.access.alone"),
        "files.access.alone = true # default"
    );
    assert!(
        !text.contains('\u{1b}'),
        "colour without a terminal: {text}"
    );
    let changed = said(check(site.path(), &["--changed"], &env), 0);
    assert!(
        !changed.contains("# default") && changed.contains("LOGBOOM_LEVEL"),
        "{changed}"
    );
}

/// Every mistake is told in one run, with its line and what to write; the exit code is 1.
#[test]
fn mistakes_have_their_lines() {
    let site = site("level = \"loud\"\n[format]\nknd = \"json\"\n");
    let text = said(check(site.path(), &[], &[]), 1);
    assert!(
        text.contains("wrong: logboom.toml:1: `level` cannot be \"loud\"; write "),
        "{text}"
    );
    assert!(text.contains("wrong: logboom.toml:3: `format.knd` is no key of `[format]`; did you mean `format.kind`?"), "{text}");
    let json: Value = serde_json::from_str(&said(check(site.path(), &["--json"], &[]), 1)).unwrap();
    let lines: Vec<_> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["line"].as_u64())
        .collect();
    assert_eq!(lines, [Some(1), Some(3)]);
}

#[test]
fn json_has_numbers_and_sources() {
    let site = site(RIGHT);
    let json: Value = serde_json::from_str(&said(check(site.path(), &["--json"], &[]), 0)).unwrap();
    assert_eq!(json["file"], "logboom.toml");
    assert_eq!(json["values"]["level"], 30);
    assert_eq!(json["values"]["files.main.rotate.size"], 100_000_000);
    assert_eq!(json["values"]["recorder.level"], Value::Null);
    assert_eq!(json["sources"]["files.main.rotate.size"], "logboom.toml:7");
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(0));
}

/// A file that is not there is 3, a command line that is wrong 2, no file at all are the defaults.
#[test]
fn the_other_exit_codes() {
    let empty = tempfile::tempdir().unwrap();
    let text = said(check(empty.path(), &["nonesuch.toml"], &[]), 3);
    assert!(text.contains("nonesuch.toml: cannot be read"), "{text}");
    let text = said(
        check(empty.path(), &[], &[("LOGBOOM_CONFIG", "other.toml")]),
        3,
    );
    assert!(text.contains("other.toml"), "{text}");
    said(check(empty.path(), &["--set", "level"], &[]), 2);
    let text = said(check(empty.path(), &[], &[("LOGBOOM_LEVL", "info")]), 0);
    assert!(
        text.contains("no logboom.toml") && text.contains("did you mean LOGBOOM_LEVEL?"),
        "{text}"
    );
}
