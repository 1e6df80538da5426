//! Log files: their configuration, rotation, retention, compression and ledger.
//!
//! Nothing here knows queues or the lease; whoever calls it holds the lease where that is said.

pub mod compress;
pub(crate) mod config;
pub mod escape;
pub mod ledger;
pub mod naming;
pub mod retention;
pub(crate) mod rotate;
pub mod schedule;
pub(crate) mod tidy;
