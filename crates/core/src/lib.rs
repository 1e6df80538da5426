//! Logging for programs that run as several worker processes: no record is lost, doubled, torn or misplaced.
//!
//! Every process that logs owns a queue in shared memory. Publishing copies a finished line into it; whoever holds the
//! domain's *drain lease* moves the lines of all queues into the files, in time order, and is the only one that touches
//! a file. No daemon is needed: a publisher that finds the lease free drains for everybody.
//!
//! ```no_run
//! use logboom::{Log, LogOptions, Severity};
//!
//! let options = LogOptions { max_bytes: 10 << 20, backup_count: 5, ..LogOptions::default() };
//! let log = Log::open("/var/log/shop/app.log", &options)?;
//! // Fork as many workers as you like here; each may publish, and none needs to do anything else.
//! log.publish(Severity::INFO, b"the shop is open\n");
//! # Ok::<(), logboom::Error>(())
//! ```
//!
//! # What holds
//! When [`Log::publish`] has returned [`Outcome::Published`], the record is in the file, or in shared memory that
//! outlives this process. SIGKILL at any instruction of any process loses no such record, writes none twice and tears
//! none. Nothing here panics or raises into the caller while publishing; every wait is bounded.
//!
//! # Not here
//! This crate opens no socket, uses no async runtime, and starts no thread unless a file could not be written, an archive is
//! to be compressed or output is captured. Linux on 64-bit little-endian machines.

#![cfg_attr(loom, allow(dead_code, unused_imports))]

mod atomics;
mod lease;
mod overwrite;
mod seal;

/// A point at which dying leaves a state with a name; see `journal` and STATE.md. Only with the feature `crash-points`.
#[cfg(not(loom))]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        crate::crash::point($name);
    };
}

#[cfg(not(loom))]
mod blackbox;
#[cfg(not(loom))]
mod capture;
#[cfg(not(loom))]
mod chores;
#[cfg(not(loom))]
mod claim;
#[cfg(not(loom))]
mod clock;
#[cfg(all(not(loom), feature = "crash-points"))]
pub mod crash;
#[cfg(not(loom))]
mod domain;
#[cfg(not(loom))]
mod drain;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fds;
#[cfg(not(loom))]
pub mod files;
#[cfg(not(loom))]
pub mod format;
#[cfg(not(loom))]
mod fs;
#[cfg(all(not(loom), feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(loom))]
mod journal;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod liveness;
#[cfg(not(loom))]
mod log;
#[cfg(not(loom))]
mod mark;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod place;
#[cfg(not(loom))]
mod recorder;
#[cfg(not(loom))]
mod register;
#[cfg(not(loom))]
mod requests;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
pub mod rules;
#[cfg(not(loom))]
mod shm;
#[cfg(not(loom))]
mod slots;
#[cfg(not(loom))]
mod state;
#[cfg(not(loom))]
pub mod status;
#[cfg(not(loom))]
mod stderr;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
pub mod verify;
#[cfg(not(loom))]
pub mod viewer;
#[cfg(not(loom))]
mod watch;

#[cfg(not(loom))]
pub use error::{Error, ErrorKind};
#[cfg(not(loom))]
pub use files::compress::Compress;
#[cfg(not(loom))]
pub use files::schedule::{Schedule, When};
#[cfg(not(loom))]
pub use log::{Beside, DropReason, Log, Outcome, Relaying, RotateOutcome, Ticket};
#[cfg(not(loom))]
pub use options::{Durability, LogOptions, OnFull, OpenMode, Severity, SpoolFull, StateDir};
#[cfg(not(loom))]
pub use recorder::Recorded;
#[cfg(not(loom))]
pub use requests::RequestInFlight;
#[cfg(not(loom))]
pub use stderr::say;
#[cfg(not(loom))]
pub use sys::{bytes_unacknowledged, senders};
