//! One request's detail out of a server under traffic: `logboom debug --where id=...` looks on while the request is
//! served among hundreds of others, and is ended as by Ctrl-C. Every line that it shows must be of that request, the
//! debug records among them in no file, and afterwards no rule may be left.

use super::count::{Head, log_files};
use super::traffic::{self, Request};
use crate::process::{self, signal};
use crate::python::Venv;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATH: &str = "/stock/2";
/// What the request says of itself below the level of the log, and what comes last.
const DETAIL: [&str; 2] = [
    "GET /stock/2 from 127.0.0.1",
    "asking the supplier for Pike pole",
];
const LAST: &str = "GET /stock/2 -> 200";
const BEGUN_MAX: Duration = Duration::from_secs(20);
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// How long records of others could still come.
const MORE: Duration = Duration::from_millis(300);
const END_MAX: Duration = Duration::from_secs(20);
const TOOL_MAX: Duration = Duration::from_secs(60);

/// What the viewer showed.
pub struct Detail {
    /// The command, as one would type it.
    pub command: String,
    /// The lines that it wrote, records only.
    pub shown: Vec<String>,
    id: String,
    rules_left: bool,
}

impl Detail {
    /// Looks at one request of the server whose logs are in `folder`.
    pub fn look(venv: &Venv, folder: &Path, port: u16) -> Result<Detail> {
        let id = format!("detail-{}", std::process::id());
        let viewer = Viewer::start(venv, folder, &id)?;
        viewer.wait_for("the rule to be in force", BEGUN_MAX, || {
            viewer.said().contains("Ctrl-C ends it")
        })?;
        let answer = traffic::send(port, &Request::get(PATH), &id, &mut String::new());
        if !matches!(answer, Ok(200)) {
            bail!("failed to send the request that is looked at: the shop said {answer:?}");
        }
        // What is missing then is missing in the account.
        let _ = viewer.wait_for("the request's last record", SHOWN_MAX, || {
            viewer.shown().iter().any(|line| line.contains(LAST))
        });
        thread::sleep(MORE);
        let (command, shown) = viewer.end()?;
        Ok(Detail {
            command,
            shown,
            rules_left: are_rules_left(venv, folder)?,
            id,
        })
    }

    /// Lines that name another request, or none.
    pub fn of_others(&self) -> usize {
        let is_other = |line: &&String| !line.contains(&self.id);
        self.shown.iter().filter(is_other).count()
    }

    /// True if what the request said below the level was shown, and all that followed, and nothing is left.
    pub fn is_right(&self) -> bool {
        let is_shown = |text: &&str| self.shown.iter().any(|line| line.contains(*text));
        DETAIL.iter().all(is_shown) && is_shown(&LAST) && self.of_others() == 0 && !self.rules_left
    }

    /// How many of the files' lines say what only the viewer was to see.
    pub fn in_the_files(&self, folder: &Path) -> Result<usize> {
        let mut found = 0;
        for file in log_files(folder, "shop.log")? {
            let bytes =
                fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            // What a black box repeats is indented, and no record of its own.
            let records = text
                .split_inclusive('\n')
                .filter(|line| Head::parse(line).is_some());
            let is_detail = |line: &&str| line.contains(" DEBUG ") && line.contains(&self.id);
            found += records.filter(is_detail).count();
        }
        Ok(found)
    }
}

fn are_rules_left(venv: &Venv, folder: &Path) -> Result<bool> {
    let mut command = venv.command("logboom");
    command.args(["level", "--json", "--log"]).arg(folder);
    let told = process::run_ok(command, TOOL_MAX, &|_| ())?;
    Ok(!told.contains("\"rules\": []"))
}

/// `logboom debug` under way; killed when dropped.
struct Viewer {
    child: Child,
    command: String,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Viewer {
    fn start(venv: &Venv, folder: &Path, id: &str) -> Result<Viewer> {
        let mut command: Command = venv.command("logboom");
        let condition = format!("id={id}");
        command
            .args(["debug", "--where", &condition, "--compact", "--log"])
            .arg(folder);
        let shown = format!("logboom debug --where {condition} --compact");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("failed to start `logboom debug`")?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        Ok(Viewer {
            out: lines_of(out.expect("it is piped")),
            err: lines_of(err.expect("it is piped")),
            child,
            command: shown,
        })
    }

    fn shown(&self) -> Vec<String> {
        self.out.lock().expect("not poisoned").clone()
    }

    fn said(&self) -> String {
        self.err.lock().expect("not poisoned").join("\n")
    }

    fn wait_for(&self, what: &str, most: Duration, is_there: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !is_there() {
            if started.elapsed() > most {
                bail!(
                    "failed to wait for {what}; `{}` says: {}",
                    self.command,
                    self.said()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// As by Ctrl-C; what it has shown.
    fn end(mut self) -> Result<(String, Vec<String>)> {
        signal(self.child.id(), Signal::INT);
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > END_MAX {
                bail!("failed to end `{}` by SIGINT", self.command);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.wait_for("its farewell", END_MAX, || {
            self.said().contains("back to normal")
        })?;
        Ok((self.command.clone(), self.shown()))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().expect("not poisoned").push(line);
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(lines: &[&str], rules_left: bool) -> Detail {
        Detail {
            command: String::new(),
            shown: lines.iter().map(|line| (*line).to_owned()).collect(),
            id: "detail-7".into(),
            rules_left,
        }
    }

    /// The whole request, nothing of another one, and no rule afterwards; else it is not right.
    #[test]
    fn what_must_be_shown_and_what_must_not() {
        let [first, second] = DETAIL;
        let lines =
            [first, second, LAST].map(|text| format!("12:00 DEBUG 1 shop detail-7: {text}"));
        let [first, second, last] = [&lines[0], &lines[1], &lines[2]].map(String::as_str);
        assert!(detail(&[first, second, last], false).is_right());
        assert!(!detail(&[first, second, last], true).is_right());
        assert!(!detail(&[first, last], false).is_right());
        assert!(!detail(&[first, second], false).is_right());
        let stray = "12:00 INFO 1 shop visit-9: GET / -> 200";
        let with_stray = detail(&[first, stray, second, last], false);
        assert_eq!((with_stray.of_others(), with_stray.is_right()), (1, false));
    }
}
