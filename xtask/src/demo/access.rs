//! Accounts for the access records: each request of the traffic has an id of its own, and a request that was answered
//! must have exactly one record with that id, whatever happened to its worker afterwards.

use super::count::log_files;
use anyhow::Result;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The account.
#[derive(Debug, Default, PartialEq)]
pub struct Access {
    /// Answered requests that have their record.
    pub found: usize,
    /// Answered requests without one.
    pub missing: usize,
    /// Records beyond the first of each request. A record that is marked as unfinished does not count: a worker that is
    /// killed when it has just written the record is not known to have ended the request.
    pub doubled: usize,
    /// Lines that are no JSON object.
    pub torn: usize,
    /// Records that are marked as unfinished.
    pub unfinished: usize,
    /// Of these: of the request that was to die.
    pub unfinished_victim: usize,
}

impl Access {
    /// True if every answered request has its record, and so has the one that died.
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.torn == 0 && self.unfinished_victim == 1
    }
}

/// Accounts for the records of `<folder>/access.log` and its archives.
pub fn count(folder: &Path, answered: &[String], victim: &str) -> Result<Access> {
    let mut finished: HashMap<String, usize> = HashMap::new();
    let mut unfinished: HashMap<String, usize> = HashMap::new();
    let mut access = Access::default();
    for file in log_files(folder, "access.log")? {
        let bytes = fs::read(&file)?;
        for line in String::from_utf8_lossy(&bytes).split_inclusive('\n') {
            if !(line.starts_with("{\"timestamp\":\"") && line.ends_with("}\n")) {
                access.torn += 1;
                continue;
            }
            let by_id = if line.contains("\"unfinished\":true") {
                &mut unfinished
            } else {
                &mut finished
            };
            *by_id
                .entry(text_of(line, "request_id").unwrap_or_default().to_owned())
                .or_default() += 1;
        }
    }
    for id in answered {
        match (finished.get(id), unfinished.get(id)) {
            (None, None) => access.missing += 1,
            (times, _) => {
                access.found += 1;
                access.doubled += times.map_or(0, |times| times - 1);
            }
        }
    }
    access.unfinished = unfinished.values().sum();
    access.unfinished_victim = unfinished.get(victim).copied().unwrap_or(0);
    Ok(access)
}

/// The value of a text field that needs no escapes.
fn text_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = line.split_once(&format!("\"{name}\":\""))?;
    after.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, more: &str) -> String {
        format!("{{\"timestamp\":\"2026\",\"request_id\":\"{id}\"{more}}}\n")
    }

    fn account(name: &str, log: &[String]) -> Access {
        let folder =
            std::env::temp_dir().join(format!("xtask-access-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        fs::write(folder.join("access.log.1"), &log[0]).expect("the archive");
        fs::write(folder.join("access.log"), log[1..].concat()).expect("the log");
        let answered = ["a".to_owned(), "b".to_owned()];
        let access = count(&folder, &answered, "v").expect("an account");
        fs::remove_dir_all(&folder).expect("removable");
        access
    }

    const UNFINISHED: &str = ",\"unfinished\":true";

    /// Each answered request has one record, in whichever file, and the killed one is marked.
    #[test]
    fn whole() {
        let access = account(
            "whole",
            &[record("a", ""), record("b", ""), record("v", UNFINISHED)],
        );
        assert!(access.is_whole(), "{access:?}");
        assert_eq!((access.found, access.unfinished), (2, 1));
    }

    /// What is missing, doubled or torn is told apart.
    #[test]
    fn not_whole() {
        let doubled = account(
            "doubled",
            &[record("a", ""), record("a", ""), record("b", UNFINISHED)],
        );
        assert_eq!((doubled.found, doubled.doubled, doubled.missing), (2, 1, 0));
        let missing = account("missing", &[record("a", ""), record("v", UNFINISHED)]);
        assert_eq!((missing.found, missing.missing), (1, 1));
        let torn = account("torn", &[record("a", "")[5..].to_owned(), record("b", "")]);
        assert_eq!((torn.torn, torn.missing), (1, 1));
    }
}
