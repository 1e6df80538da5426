//! The sinks, a file for each protocol, and what several of them share: `syslog` makes messages of records, `stream` and
//! `datagrams` send those over connections and in packets.

mod datagrams;
pub(crate) mod relp;
mod stream;
mod syslog;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;
pub(crate) mod unix;
