//! Reads what nextest leaves behind: which tests were skipped, and why. Rust's test harness has no skip at run time, so
//! a test that finds that it cannot run prints a line `skipped: <reason>` and returns; such a test is counted as
//! skipped, not as passed. Tests with `#[ignore = "<reason>"]` are skipped as everywhere.

use crate::paths;
use std::fs;
use std::path::{Path, PathBuf};

const SIGN: &str = "skipped: ";

/// The tests that skipped themselves in the last run with that profile, as `<test>: <reason>`.
pub fn self_skipped(profile: &str) -> Vec<String> {
    let report = fs::read_to_string(report_file(profile)).unwrap_or_default();
    report
        .split("<testcase ")
        .skip(1)
        .filter_map(self_skipped_case)
        .collect()
}

/// Removes the report of an earlier run.
pub fn forget_report(profile: &str) {
    let _ = fs::remove_file(report_file(profile));
}

fn report_file(profile: &str) -> PathBuf {
    paths::root()
        .join("target/nextest")
        .join(profile)
        .join("junit.xml")
}

fn self_skipped_case(case: &str) -> Option<String> {
    let case = case.split("</testcase>").next()?;
    let (_, output) = case.split_once("<system-")?;
    let reason = output
        .split(['\n', '>'])
        .find_map(|line| line.trim_start().strip_prefix(SIGN))?;
    let reason = reason.split('<').next()?;
    let name = case
        .split_once("name=\"")
        .and_then(|(_, rest)| rest.split('"').next())?;
    Some(format!("{name}: {}", unescaped(reason.trim())))
}

fn unescaped(xml: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    pairs
        .iter()
        .fold(xml.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The reasons of the `#[ignore]` attributes in the sources of the workspace.
pub fn ignored(count: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    for folder in ["crates", "xtask"] {
        collect_ignored(&paths::root().join(folder), &mut reasons);
    }
    reasons.truncate(count);
    reasons
}

fn collect_ignored(folder: &Path, reasons: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect_ignored(&path, reasons);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            reasons.extend(ignore_reasons(&text));
        }
    }
}

/// `<test>: <reason>` for each attribute at the start of a line.
fn ignore_reasons(source: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut lines = source.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("#[ignore") else {
            continue;
        };
        let reason = rest.split('"').nth(1).unwrap_or("no reason given");
        let function = lines
            .find_map(|line| line.split_once("fn "))
            .map_or("", |(_, name)| name);
        reasons.push(format!(
            "{}: {reason}",
            function.split('(').next().unwrap_or("")
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test that says so on either stream is skipped, with its reason; any other is not.
    #[test]
    fn self_skipped_tests_are_found() {
        let case =
            |output: &str| format!("name=\"a::b\" classname=\"x\" time=\"0\">{output}</testcase>");
        let said = case(
            "<system-out>\nrunning 1 test\nskipped: no &quot;logrotate&quot;\nok</system-out>",
        );
        assert_eq!(
            self_skipped_case(&said),
            Some("a::b: no \"logrotate\"".to_owned())
        );
        let at_once = case("<system-out></system-out><system-err>skipped: not root</system-err>");
        assert_eq!(
            self_skipped_case(&at_once),
            Some("a::b: not root".to_owned())
        );
        assert_eq!(
            self_skipped_case(&case("<system-out>1 was skipped: not us</system-out>")),
            None
        );
        assert_eq!(self_skipped_case("name=\"a::b\"/>"), None);
    }

    /// An ignored test is named with its reason.
    #[test]
    fn ignored_tests_are_named() {
        let source = "#[test]\n    #[ignore = \"takes an hour\"]\n    fn long() {}\n#[ignore]\nfn bare() {}\n";
        assert_eq!(
            ignore_reasons(source),
            ["long: takes an hour", "bare: no reason given"]
        );
    }
}
