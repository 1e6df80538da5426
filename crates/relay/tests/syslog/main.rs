//! The syslog family against real receivers: rsyslog and syslog-ng judge what is on the wire, and hostile ones get nowhere.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod certificates;
mod deaths;
mod fields;
mod hostile;
mod local;
