//! `logboom pipe` with real programs at its other end: what they print is in the log, each line once and whole, whatever ends first.
//!
//! [`lines`]: what becomes of bytes. [`ends`]: signals, exit codes, what a command leaves behind. [`sharing`]: several writers of one
//! log, rotation, kills. [`stalls`]: a log that takes nothing for a while.

mod ends;
mod lines;
mod sharing;
mod site;
mod stalls;
#[path = "../verbs_site/mod.rs"]
#[allow(dead_code, reason = "made for the tests of the other verbs, too")]
mod verbs_site;

/// A process that is told to publish has published when it answers. (The other tests start this one as their workers.)
#[test]
fn a_worker_writes_what_it_is_told() {
    if verbs_site::is_worker() {
        return verbs_site::work();
    }
    let site = verbs_site::Site::new();
    let mut worker = site.worker("");
    worker.publish(10);
    worker.leave();
    assert_eq!(site.text("app.log").lines().count(), 10);
}
