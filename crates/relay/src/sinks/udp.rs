//! Syslog over UDP (RFC 5426): one message a packet. Nobody says whether it arrived: a record counts as delivered when it was sent
//! and nothing came back that says that nobody listens.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::datagrams::{Datagrams, Obstacle};
use super::syslog::{Messages, Transport};
use crate::destination::{Address, Destination};
use crate::net::dial::{Host, Resolver};
use crate::net::{deadline_in, trouble};
use crate::record::Record;
use crate::sink::{Sink, Trouble, Verdict};

/// RFC 5426, section 3.3.
const PORT: u16 = 514;
/// What an IPv4 packet has room for behind its headers and that of UDP.
const MESSAGE_BYTES_MAX: usize = 65_507;

struct Udp {
    address: Address,
    timeout: Duration,
    resolver: Resolver,
    /// Of the name's addresses, the one to begin with: behind the one that refused.
    turn: usize,
    messages: Messages,
    datagrams: Option<Datagrams>,
}

pub(crate) fn make(destination: &Destination) -> Result<Box<dyn Sink>, Trouble> {
    Ok(Box::new(prepare(destination)?))
}

fn prepare(destination: &Destination) -> Result<Udp, Trouble> {
    let transport = Transport {
        is_datagram: true,
        bytes_max: MESSAGE_BYTES_MAX,
        ..Transport::default()
    };
    Ok(Udp {
        address: destination.address.clone(),
        timeout: destination.timeout,
        resolver: Resolver::new(Host::of(&destination.address, Some(PORT))?),
        turn: 0,
        messages: Messages::new(&destination.syslog, transport),
        datagrams: None,
    })
}

impl Udp {
    /// Gives the socket up, and says why.
    fn give_up(&mut self, obstacle: Obstacle) -> Trouble {
        self.datagrams = None;
        if matches!(obstacle, Obstacle::Failed(_)) {
            self.turn += 1;
        }
        let (cause, shorter) = obstacle.cause();
        if let Some(bytes_max) = shorter {
            self.messages.limit(bytes_max);
        }
        trouble("send to", &self.address, cause)
    }

    fn settle_sent(datagrams: &mut Datagrams, until: Instant) -> Result<usize, Obstacle> {
        loop {
            let flushed = datagrams.flush()?;
            // A router's or the receiver's kernel's word that nobody listens (ICMP) shows as an error of the socket.
            sockopt::socket_error(datagrams.socket())
                .and_then(|word| word)
                .map_err(Obstacle::Failed)?;
            let settled = datagrams.settle(datagrams.sent());
            let is_done = settled > 0 || datagrams.is_idle();
            if is_done || !datagrams.wait(flushed, Duration::ZERO, until)? {
                return Ok(settled);
            }
        }
    }
}

impl Sink for Udp {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.datagrams = None;
        let deadline = deadline_in(self.timeout);
        let failed = |cause: String| trouble("connect to", &self.address, cause);
        let mut addresses = self.resolver.addresses(deadline).map_err(failed)?;
        let turn = self.turn % addresses.len();
        addresses.rotate_left(turn);
        let socket = open(&addresses).map_err(failed)?;
        self.datagrams = Some(Datagrams::new(socket, self.timeout));
        Ok(())
    }

    fn send(&mut self, records: &[Record]) -> Result<(), Trouble> {
        let Some(datagrams) = &mut self.datagrams else {
            return Err(trouble("send to", &self.address, "not connected"));
        };
        match datagrams.send(records, &mut self.messages) {
            Ok(_) => Ok(()),
            Err(obstacle) => Err(self.give_up(obstacle)),
        }
    }

    fn settle(&mut self, wait: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), Trouble> {
        let Some(datagrams) = &mut self.datagrams else {
            return Err(trouble("send to", &self.address, "not connected"));
        };
        let until = deadline_in(wait.min(self.timeout));
        let settled = Udp::settle_sent(datagrams, until);
        let settled = settled.map_err(|obstacle| self.give_up(obstacle))?;
        verdicts.extend(std::iter::repeat_n(Verdict::Delivered, settled));
        Ok(())
    }

    fn close(&mut self) {
        self.datagrams = None;
    }
}

/// A socket that sends to the first address to which there is a way.
fn open(addresses: &[SocketAddr]) -> Result<OwnedFd, String> {
    let mut causes = Vec::new();
    for address in addresses {
        match connected(address) {
            Ok(socket) => return Ok(OwnedFd::from(socket)),
            Err(error) => causes.push(format!("{address}: {error}")),
        }
    }
    Err(causes.join("; "))
}

fn connected(address: &SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a refusal it is the turn of the name's next address.
    #[test]
    fn a_refusal_makes_it_the_next_ones_turn() {
        let nobody = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("udp://{}", nobody.local_addr().unwrap());
        drop(nobody);
        let mut udp = prepare(&crate::destination::tests::destination(&address)).unwrap();
        for turn in 0..3 {
            assert_eq!(udp.turn, turn);
            udp.connect().unwrap();
            let sent = udp.send(&[Record::default()]);
            let told = sent.and_then(|()| udp.settle(Duration::ZERO, &mut Vec::new()));
            assert!(told.is_err());
        }
    }
}
