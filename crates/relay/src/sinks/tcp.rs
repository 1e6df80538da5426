//! Syslog over TCP (RFC 6587). What the receiver's kernel has acknowledged is lost if the receiver is killed before it reads it,
//! and nobody is told: RELP exists for that.

use std::os::fd::OwnedFd;

use super::stream::Stream;
use super::syslog::{Messages, Transport};
use crate::destination::{Destination, Framing};
use crate::net::dial::{Host, Resolver, connect};
use crate::net::wire::Wire;
use crate::net::{deadline_in, trouble};
use crate::sink::{Sink, Trouble};

/// IANA has no port for it; this is where receivers listen, as they do for UDP.
const PORT: u16 = 514;

pub(crate) fn make(destination: &Destination) -> Result<Box<dyn Sink>, Trouble> {
    let host = Host::of(&destination.address, Some(PORT))?;
    let (address, timeout) = (destination.address.clone(), destination.timeout);
    let mut resolver = Resolver::new(host);
    let dial = move || {
        let deadline = deadline_in(timeout);
        let stream = resolver
            .addresses(deadline)
            .and_then(|addresses| connect(&addresses, deadline));
        match stream {
            Ok(stream) => Ok(Wire::new(OwnedFd::from(stream))),
            Err(cause) => Err(trouble("connect to", &address, cause)),
        }
    };
    let framing = destination.syslog.framing;
    let transport = Transport {
        ended_by_line_feed: framing == Framing::LineFeed,
        ..Transport::default()
    };
    let messages = Messages::new(&destination.syslog, transport);
    Ok(Box::new(Stream::new(
        destination,
        framing,
        messages,
        Box::new(dial),
    )))
}
