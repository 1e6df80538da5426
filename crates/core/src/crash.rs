//! Dying at a named point, for tests: `LOGBOOM_CRASH_AT=name[:count]` kills this process with SIGKILL when it passes the
//! point for the given time (1 by default).

use std::collections::HashMap;
use std::sync::Mutex;

/// The names of all points, in the order of a drain, an outside rotation, a rotation and the telling of a death and of
/// what was printed.
pub const POINTS: [&str; 15] = [
    "intent-stored",
    "batch-written",
    "ledger-stored",
    "window-written",
    "cursors-advanced",
    "undo",
    "undone",
    "rotation-recorded",
    "shifted",
    "renamed",
    "rotation-archived",
    "kept",
    "marked",
    "taken",
    "told",
];

/// Dies here if this is the point and the time.
pub fn point(name: &str) {
    static PASSED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);
    // Asked every time: a forked child has a plan of its own.
    let Ok(plan) = std::env::var("LOGBOOM_CRASH_AT") else {
        return;
    };
    let (wanted, count) = plan.split_once(':').unwrap_or((&plan, "1"));
    let count: u32 = count.parse().unwrap_or(1);
    if wanted != name {
        return;
    }
    let mut passed = PASSED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let times = passed
        .get_or_insert_default()
        .entry(name.to_owned())
        .or_default();
    *times += 1;
    if *times == count {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
