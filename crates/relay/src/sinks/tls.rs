//! Syslog over TLS (RFC 5425): octet counting, whatever framing is asked for (its section 4.3). Verified on both sides; as with
//! plain TCP, what the receiver's kernel has acknowledged counts as delivered.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::stream::Stream;
use super::syslog::{Messages, Transport};
use crate::destination::{Destination, Framing};
use crate::net::dial::{Host, Resolver, connect};
use crate::net::tls::Security;
use crate::net::wire::Wire;
use crate::net::{deadline_in, trouble};
use crate::sink::{Sink, Trouble};

/// RFC 5425, section 4.1.
const PORT: u16 = 6514;

pub(crate) fn make(destination: &Destination) -> Result<Box<dyn Sink>, Trouble> {
    let host = Host::of(&destination.address, Some(PORT))?;
    let (address, timeout) = (destination.address.clone(), destination.timeout);
    let security = Security::new(&destination.tls, &host.name)
        .map_err(|cause| trouble("prepare for", &address, cause))?;
    let mut resolver = Resolver::new(host);
    let dial = move || {
        secure(&mut resolver, &security, timeout)
            .map_err(|cause| trouble("connect to", &address, cause))
    };
    let messages = Messages::new(&destination.syslog, Transport::default());
    Ok(Box::new(Stream::new(
        destination,
        Framing::Octets,
        messages,
        Box::new(dial),
    )))
}

/// A connection that has stood its probation. The error is a cause.
fn secure(resolver: &mut Resolver, security: &Security, timeout: Duration) -> Result<Wire, String> {
    let deadline = deadline_in(timeout);
    let addresses = resolver.addresses(deadline)?;
    let mut wire = Wire::new(OwnedFd::from(connect(&addresses, deadline)?));
    let begun = Instant::now();
    security.shake_hands(&mut wire, deadline)?;
    Security::stand_probation(&mut wire, begun.elapsed(), deadline)?;
    Ok(wire)
}
