//! Sinks: each knows one protocol and nothing else.
//!
//! A sink does not retry, wait or count: it says what happened, and the shipper decides. The shipper keeps every record until its
//! verdict and calls, from one thread: `connect`; then `send` and `settle` in any order, with no more records in flight than the
//! destination's window; after a [`Trouble`] `connect` again, and then what was in flight once more.
//!
//! What always holds for a sink: verdicts come in the order in which records were sent, one for each; no call waits longer than the
//! destination's timeout; a receiver cannot make it panic, hang or use memory without a bound, whatever it answers.

use std::time::Duration;

use crate::destination::Destination;
use crate::record::Record;
use crate::sinks;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it, as far as the protocol can tell.
    Delivered,
    /// The receiver will never take this record, for this reason; sending it again is of no use.
    Refused(String),
}

/// Why nothing more can be sent for now. All records in flight are to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// "failed to *verb* `object`: cause", for people. Has no secrets.
    pub text: String,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// Trouble in which the receiver said nothing of when to try again.
    pub fn new(text: impl Into<String>) -> Trouble {
        Trouble {
            text: text.into(),
            retry_after: None,
        }
    }
}

/// One connection to a receiver, in one protocol.
pub trait Sink: Send {
    /// Connects, or connects anew: whatever was in flight is forgotten.
    ///
    /// # Errors
    /// The receiver cannot be reached, or it is not the one it should be.
    fn connect(&mut self) -> Result<(), Trouble>;

    /// Sends records, oldest first. They are in flight when this returns; what the connection does not take at once is kept, and
    /// sent by `settle`, so that a slow receiver holds nobody here.
    ///
    /// # Errors
    /// The connection is of no use any more; some of the records may have arrived.
    fn send(&mut self, records: &[Record]) -> Result<(), Trouble>;

    /// Sends what is kept, and appends the verdicts on the oldest records in flight that are known by now; waits at most `wait` for
    /// the first. With nothing in flight it returns at once, and tells whether the connection still is one.
    ///
    /// # Errors
    /// As for `send`; verdicts that were appended before count.
    fn settle(&mut self, wait: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), Trouble>;

    /// Ends the connection as the protocol wants it. Failures do not matter any more.
    fn close(&mut self);
}

/// A kind of sink, by the scheme of the destination's address.
pub struct Kind {
    /// The schemes that it serves: `relp`, `relp+tls`.
    pub schemes: &'static [&'static str],
    /// Makes one, not connected.
    pub make: fn(&Destination) -> Result<Box<dyn Sink>, Trouble>,
}

/// All kinds of sinks.
pub const KINDS: &[Kind] = &[
    Kind {
        schemes: &["unix"],
        make: sinks::unix::make,
    },
    Kind {
        schemes: &["udp"],
        make: sinks::udp::make,
    },
    Kind {
        schemes: &["tcp"],
        make: sinks::tcp::make,
    },
    Kind {
        schemes: &["tls"],
        make: sinks::tls::make,
    },
    Kind {
        schemes: &["relp", "relp+tls"],
        make: sinks::relp::make,
    },
];

/// The sink for a destination, not connected.
///
/// # Errors
/// Nothing serves the address's scheme, or a file that the destination names (a certificate) cannot be used.
pub fn make(destination: &Destination) -> Result<Box<dyn Sink>, Trouble> {
    let scheme = destination.address.scheme();
    let kind = KINDS.iter().find(|kind| kind.schemes.contains(&scheme));
    let kind = kind.ok_or_else(|| {
        Trouble::new(format!(
            "failed to ship to `{}`: nothing here speaks `{scheme}`",
            destination.address
        ))
    })?;
    (kind.make)(destination)
}
