//! Ships records off the box: reads spools and log files, and delivers them without loss.
//!
//! Two interfaces meet here. A [`source`] gives records in order, with positions, and remembers up to where they are settled; a
//! [`sink`] knows one protocol: it connects, sends a batch, and learns which records were delivered or refused. What lies between
//! (windows, retries, back-off) knows neither a file nor a protocol. A new sink is one file and one line in [`sink::KINDS`].
//!
//! What always holds: a record is settled when the receiver said that it has it (as far as its protocol can say so) or that it
//! never will; what is not settled is sent again after any failure, so each record arrives at least once and in order.

#![forbid(unsafe_code)]

/// A point at which dying leaves a state with a name; see `SPOOL.md`. Only with the feature `crash-points`.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        logboom::crash::point($name);
    };
}

pub mod admin;
#[cfg(feature = "crash-points")]
pub mod crash;
pub mod cursor;
pub mod destination;
pub mod figures;
pub mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hex;
mod lines;
mod listing;
pub mod metrics;
mod net;
pub mod plan;
pub mod received;
mod recent;
pub mod record;
pub mod relay;
pub mod serving;
pub mod shipper;
pub mod sink;
mod sinks;
pub mod source;
pub mod spool;
pub mod stop;
pub mod telling;
