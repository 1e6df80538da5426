//! Names, addresses and TCP connections.
//!
//! What always holds: looking a name up, and connecting to all addresses that it has, ends at the deadline. A look-up that the
//! system does not end is left to a thread, and asked for again before another is started.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::{in_words, left_until};
use crate::destination::Address;
use crate::sink::Trouble;

/// Addresses of a name that are tried at most.
const ADDRESSES_MAX: usize = 16;
/// An idle connection is asked after this time whether it still is one, three times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_BETWEEN: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// A host and a port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name or an address, without brackets.
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Host {
    /// Of `host:port`, `[address]:port`, or without a port the usual one, if there is one.
    pub(crate) fn of(address: &Address, usual_port: Option<u16>) -> Result<Host, Trouble> {
        let wrong = |what: &str| {
            let scheme = address.scheme();
            Trouble::new(format!(
                "failed to read the address `{address}`: {what}; write it as `{scheme}://host:port`"
            ))
        };
        let (name, port) = split(address.rest()).ok_or_else(|| wrong("it names no host"))?;
        let port = match port {
            Some(port) => Some(port.parse().map_err(|_| wrong("its port is none"))?),
            None => usual_port,
        };
        let port = port.filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("it names no port"))?;
        let is_name = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]\"'".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(wrong("it names no host"));
        }
        Ok(Host {
            name: name.to_owned(),
            port,
        })
    }
}

/// Host and, if it has one, port.
fn split(rest: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (name, behind) = bracketed.split_once(']')?;
        return match behind {
            "" => Some((name, None)),
            behind => Some((name, Some(behind.strip_prefix(':')?))),
        };
    }
    if rest.parse::<Ipv6Addr>().is_ok() {
        return Some((rest, None));
    }
    match rest.split_once(':') {
        Some((name, port)) => Some((name, Some(port))),
        None => Some((rest, None)),
    }
}

type Addresses = io::Result<Vec<SocketAddr>>;

/// Finds the addresses of a host.
#[derive(Debug)]
pub(crate) struct Resolver {
    host: Host,
    /// A look-up that has not ended.
    running: Option<Receiver<Addresses>>,
}

impl Resolver {
    pub(crate) fn new(host: Host) -> Resolver {
        Resolver {
            host,
            running: None,
        }
    }

    /// All addresses, in the system's order; at least one. The error is a cause.
    pub(crate) fn addresses(&mut self, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.host.name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.host.port)]);
        }
        let not_found =
            |why: &dyn Display| format!("no address found for `{}`: {why}", self.host.name);
        let running = match self.running.take() {
            Some(running) => running,
            None => look_up(&self.host).map_err(|error| not_found(&error))?,
        };
        let left = left_until(deadline).unwrap_or_default();
        let mut addresses = match running.recv_timeout(left) {
            Ok(answer) => answer.map_err(|error| not_found(&error))?,
            Err(RecvTimeoutError::Timeout) => {
                let why = format!("no answer within {}", in_words(left));
                let text = not_found(&why);
                self.running = Some(running);
                return Err(text);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(not_found(&"the look-up failed")),
        };
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(not_found(&"it has none"));
        }
        Ok(addresses)
    }
}

/// getaddrinfo(3) knows no deadline, so it is waited for on a thread that may outlive the waiting.
fn look_up(host: &Host) -> io::Result<Receiver<Addresses>> {
    let (answer, running) = sync_channel(1);
    let target = (host.name.clone(), host.port);
    std::thread::Builder::new()
        .name("logboom-resolve".into())
        .spawn(move || {
            let addresses = target.to_socket_addrs().map(Iterator::collect);
            let _ = answer.send(addresses);
        })?;
    Ok(running)
}

/// Connects to the first address that answers; each has its share of the time. The error is a cause that names all.
pub(crate) fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, String> {
    let mut causes = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let Some(left) = left_until(deadline) else {
            causes.push("no time left for more".to_owned());
            break;
        };
        let share = left / (addresses.len() - index) as u32;
        match TcpStream::connect_timeout(address, share).and_then(prepared) {
            Ok(stream) => return Ok(stream),
            Err(error) => causes.push(format!("{address}: {error}")),
        }
    }
    Err(causes.join("; "))
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    // Batches are written whole; nothing is gained by waiting for more.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_BETWEEN)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_COUNT)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn host(text: &str, usual_port: Option<u16>) -> Result<(String, u16), String> {
        let host = Host::of(&text.parse().unwrap(), usual_port);
        host.map(|host| (host.name, host.port))
            .map_err(|trouble| trouble.text)
    }

    /// An address names a host, and a port if there is no usual one; what does not is refused with the remedy.
    #[test]
    fn hosts_and_ports_are_read() {
        let ok = |name: &str, port| Ok((name.to_owned(), port));
        assert_eq!(
            host("tcp://logs.example.com:601", None),
            ok("logs.example.com", 601)
        );
        assert_eq!(host("tls://logs", Some(6514)), ok("logs", 6514));
        assert_eq!(host("tcp://[::1]:601", None), ok("::1", 601));
        assert_eq!(
            host("tcp://[fe80::1%eth0]", Some(514)),
            ok("fe80::1%eth0", 514)
        );
        assert_eq!(host("tcp://::1", Some(514)), ok("::1", 514));
        for wrong in [
            "tcp://a",
            "tcp://a:",
            "tcp://a:0",
            "tcp://a:70000",
            "tcp://a:1:2",
            "tcp://:1",
            "tcp://[::1",
            "tcp://a/b:1",
            "tcp://u@a:1",
            "tcp:///x",
        ] {
            let text = host(wrong, None).unwrap_err();
            assert!(text.contains("write it as `tcp://host:port`"), "{text}");
        }
    }

    /// A name that has no address is said to have none, within the deadline.
    #[test]
    fn a_name_without_an_address_is_a_clear_cause() {
        let host = Host::of(&"tcp://nothing.invalid:1".parse().unwrap(), None).unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let cause = Resolver::new(host).addresses(deadline).unwrap_err();
        assert!(
            cause.starts_with("no address found for `nothing.invalid`: "),
            "{cause}"
        );
        assert!(Instant::now() < deadline + Duration::from_secs(5));
    }

    /// A look-up that does not end is waited for until the deadline, and no other is started beside it.
    #[test]
    fn a_look_up_without_an_end_is_left_alone() {
        let (answer, running) = sync_channel(1);
        let mut resolver = Resolver {
            host: Host {
                name: "slow.example.com".into(),
                port: 514,
            },
            running: Some(running),
        };
        let soon = || Instant::now() + Duration::from_millis(20);
        for _ in 0..2 {
            let cause = resolver.addresses(soon()).unwrap_err();
            assert!(cause.contains("no answer within "), "{cause}");
        }
        let late = SocketAddr::from(([192, 0, 2, 1], 514));
        answer.send(Ok(vec![late])).unwrap();
        assert_eq!(resolver.addresses(soon()), Ok(vec![late]));
    }

    /// All addresses are tried, and all are named when none answers.
    #[test]
    fn every_address_is_tried() {
        let free = |listener: TcpListener| listener.local_addr().unwrap();
        let dead = free(TcpListener::bind(("127.0.0.1", 0)).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let alive = listener.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = connect(&[dead, alive], deadline).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        drop(listener);
        let cause = connect(&[dead, alive], deadline).unwrap_err();
        assert!(
            cause.contains(&dead.to_string()) && cause.contains(&alive.to_string()),
            "{cause}"
        );
    }
}
