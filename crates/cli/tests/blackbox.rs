//! `logboom blackbox` as a user runs it: a real worker is killed while it serves a request, its parent tells, and the
//! command lists the death and shows all of it.

use std::path::Path;
use std::process::{Command, Output};

use logboom::format::{Encoder, Format};
use logboom::{Log, LogOptions, Severity, StateDir};
use serde_json::Value;

fn logboom(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logboom"));
    command.env("LOGBOOM_STATE_DIR", state).args(arguments);
    command.output().unwrap()
}

/// A worker that is killed while it serves `GET /checkout`.
fn kill_a_worker(log: &Log) {
    // SAFETY: nextest runs each test in a process of its own; the child only logs and is killed.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let _ = log.publish(Severity::INFO, b"before the end \x1b[31m\n");
        log.begin_request("id-5", "GET", "/checkout", "192.0.2.1");
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: waits for the child of above.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(log.harvest(pid as u32, Some(status), "").len(), 1);
}

#[test]
fn deaths_are_listed_and_shown() {
    let place = tempfile::tempdir().unwrap();
    let (logs, state) = (place.path().join("logs"), place.path().join("state"));
    std::fs::create_dir(&logs).unwrap();
    let options = LogOptions {
        state_dir: StateDir::Path(state.clone()),
        encoder: Some(Encoder::new(Format::Json)),
        ..LogOptions::default()
    };
    let log = Log::open(logs.join("app.log"), &options).unwrap();
    let path = logs.to_str().unwrap();
    let none = logboom(&state, &["blackbox", path]);
    assert_eq!(String::from_utf8_lossy(&none.stdout), "Nobody died.\n");
    for _ in 0..2 {
        kill_a_worker(&log);
    }

    let listed = logboom(&state, &["blackbox", path]);
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(
        listed
            .matches("was killed by SIGKILL while serving GET /checkout")
            .count(),
        2,
        "{listed}"
    );

    let shown = logboom(&state, &["blackbox", path, "last"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("Requests it was serving\n  GET /checkout for 0."),
        "{shown}"
    );
    assert!(shown.contains("id id-5, client 192.0.2.1"), "{shown}");
    assert!(
        shown.contains("Its last records\n  before the end \\x1b[31m\n"),
        "{shown}"
    );

    let json = logboom(&state, &["blackbox", "--json", path, "1"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let death = &json["deaths"][0];
    assert_eq!(death["number"], 1);
    assert_eq!(death["how"], "was killed by SIGKILL");
    assert_eq!(death["requests"][0]["path"], "/checkout");
    assert!(
        death["pid"].as_u64().is_some() && death["time"].as_str().is_some(),
        "{death:#}"
    );

    let wrong = logboom(&state, &["blackbox", path, "9"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there are 1 to 2"));
}
