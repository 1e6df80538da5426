//! Shipping from end to end, with real parts: workers that are processes, the `logboom` command as their relay, the real rsyslog as
//! the receiver; and everything that kills, fills, cuts and delays them.
//!
//! What is asserted in the end is always the same: each record whose call had returned is in the receiver's file or still waits in
//! the spool, in its worker's order, or was dropped by a stated policy and counted. `logboom verify --received` says so, and a count
//! of numbered records in `count`, which knows nothing of ledgers.

#[path = "../../../relay/tests/support/mod.rs"]
mod support;

#[path = "../../../core/tests/support/mod.rs"]
mod processes;

mod count;
mod full;
mod harm;
mod life;
mod link;
mod plain;
mod power;
mod proxy;
mod receivers;
mod seen;
mod site;
mod storm;
mod worker;
