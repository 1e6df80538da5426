//! Syslog to a socket of this machine, `/dev/log` by custom: packets, or where the socket wants one a stream.
//!
//! What always holds: a record is delivered when the receiver's process has read its last message, not when it was put into the
//! receiver's queue, and the receiver lived after that was asked: what a receiver had not read when it died is sent again. Where
//! the system cannot tell what was read, sent is delivered.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::datagrams::{Datagrams, Obstacle};
use super::stream::Stream;
use super::syslog::{Messages, Transport};
use crate::destination::{Address, Destination, Framing};
use crate::net::wire::Wire;
use crate::net::{deadline_in, left_until, trouble};
use crate::record::Record;
use crate::sink::{Sink, Trouble, Verdict};

/// Bytes of the socket's buffer that a message may not use (unix_dgram_sendmsg in the kernel).
const BUFFER_BYTES_RESERVED: usize = 32;
/// Longer messages are of no use to any receiver, and the kernel may have no memory for a packet of them.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// What the kernel counts for a message beside its bytes, at least.
const MESSAGE_OVERHEAD_BYTES_MIN: u64 = 512;
/// Reading wakes nobody who only wants to know of it, so it is asked for: after this time, and then ever less often.
const ASK_AFTER: Duration = Duration::from_micros(100);
const ASK_AFTER_MAX: Duration = Duration::from_millis(10);

struct Unix {
    address: Address,
    path: PathBuf,
    timeout: Duration,
    /// As configured; the socket may take less.
    bytes_max: usize,
    messages: Messages,
    queue: Option<Queue>,
    /// For a receiver that wants a stream.
    stream: Stream,
}

/// The way into the queue of a datagram socket.
struct Queue {
    datagrams: Datagrams,
    path: PathBuf,
    receiver: Receiver,
    /// What the kernel counted for the unread when it was last asked.
    unread_bytes: u64,
}

/// Which socket stands at a path: device, inode, and when it was put there. A name that is used again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Receiver(u64, u64, i64, i64);

pub(crate) fn make(destination: &Destination) -> Result<Box<dyn Sink>, Trouble> {
    Ok(Box::new(prepare(destination)?))
}

fn prepare(destination: &Destination) -> Result<Unix, Trouble> {
    let address = destination.address.clone();
    let path = PathBuf::from(address.rest());
    if !path.is_absolute() {
        return Err(trouble(
            "use",
            &address,
            "its path is not absolute; write it as `unix:/dev/log`",
        ));
    }
    let transport = |ended_by_line_feed: bool| Transport {
        local: true,
        is_datagram: !ended_by_line_feed,
        ended_by_line_feed,
        bytes_max: MESSAGE_BYTES_MAX,
    };
    let messages = |ended| Messages::new(&destination.syslog, transport(ended));
    let dial = {
        let (address, path) = (address.clone(), path.clone());
        let timeout = destination.timeout;
        move || {
            connect_stream(&path, deadline_in(timeout))
                .map_err(|error| trouble("connect to", &address, std::io::Error::from(error)))
        }
    };
    // Who listens on a stream of this kind does not count octets, but all take lines.
    let stream = Stream::new(
        destination,
        Framing::LineFeed,
        messages(true),
        Box::new(dial),
    );
    let messages = messages(false);
    Ok(Unix {
        address,
        path,
        timeout: destination.timeout,
        bytes_max: messages.bytes_max(),
        messages,
        queue: None,
        stream,
    })
}

impl Unix {
    /// Gives the queue up, and says why.
    fn give_up(&mut self, obstacle: Obstacle) -> Trouble {
        self.queue = None;
        let (cause, shorter) = obstacle.cause();
        if let Some(bytes_max) = shorter {
            self.bytes_max = bytes_max;
        }
        trouble("send to", &self.address, cause)
    }
}

impl Sink for Unix {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.queue = None;
        self.stream.close();
        match Queue::open(&self.path, self.timeout, self.bytes_max) {
            Ok((queue, bytes_max)) => {
                self.messages.limit(bytes_max);
                self.queue = Some(queue);
                Ok(())
            }
            Err(Errno::PROTOTYPE) => self.stream.connect(),
            Err(error) => {
                let cause = std::io::Error::from(error);
                Err(trouble("connect to", &self.address, cause))
            }
        }
    }

    fn send(&mut self, records: &[Record]) -> Result<(), Trouble> {
        let Some(queue) = &mut self.queue else {
            return self.stream.send(records);
        };
        match queue.datagrams.send(records, &mut self.messages) {
            Ok(_) => Ok(()),
            Err(obstacle) => Err(self.give_up(obstacle)),
        }
    }

    fn settle(&mut self, wait: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), Trouble> {
        let Some(queue) = &mut self.queue else {
            return self.stream.settle(wait, verdicts);
        };
        let until = deadline_in(wait.min(self.timeout));
        let settled = queue.settle(until);
        let settled = settled.map_err(|obstacle| self.give_up(obstacle))?;
        verdicts.extend(std::iter::repeat_n(Verdict::Delivered, settled));
        Ok(())
    }

    fn close(&mut self) {
        self.queue = None;
        self.stream.close();
    }
}

impl Queue {
    /// The way into the queue of the socket at `path`, and the longest message it takes, at most `bytes_max`.
    fn open(path: &Path, timeout: Duration, bytes_max: usize) -> Result<(Queue, usize), Errno> {
        let receiver = Receiver::at(path)?;
        let socket = UnixDatagram::unbound().map_err(errno)?;
        socket.set_nonblocking(true).map_err(errno)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let mut buffer = sockopt::socket_send_buffer_size(&socket)?;
        if buffer < bytes_max + BUFFER_BYTES_RESERVED {
            // The system may give less than this; what it gives is what counts.
            let _ = sockopt::set_socket_send_buffer_size(&socket, bytes_max);
            buffer = sockopt::socket_send_buffer_size(&socket)?;
        }
        let bytes_max = bytes_max.min(buffer.saturating_sub(BUFFER_BYTES_RESERVED));
        let queue = Queue {
            datagrams: Datagrams::new(OwnedFd::from(socket), timeout),
            path: path.to_owned(),
            receiver,
            unread_bytes: 0,
        };
        Ok((queue, bytes_max))
    }

    /// Waits for records to have been read; gives how many were.
    fn settle(&mut self, until: Instant) -> Result<usize, Obstacle> {
        let mut ask_after = ASK_AFTER;
        loop {
            let flushed = self.datagrams.flush()?;
            let read = self.packets_read()?;
            let settled = self.datagrams.settle(read);
            let is_done = settled > 0 || self.datagrams.is_idle();
            if is_done || !self.datagrams.wait(flushed, ask_after, until)? {
                return Ok(settled);
            }
            ask_after = (ask_after * 2).min(ASK_AFTER_MAX);
        }
    }

    /// Packets that the receiver has read, since the beginning.
    fn packets_read(&mut self) -> Result<u64, Obstacle> {
        let socket = self.datagrams.socket();
        let bytes = logboom::bytes_unacknowledged(socket).unwrap_or(0);
        // After the question: a receiver that died took its queue with it, which then looks as if it had been read.
        self.check_receiver(socket).map_err(Obstacle::Failed)?;
        if bytes < self.unread_bytes {
            self.datagrams.renew();
        }
        self.unread_bytes = bytes;
        let unread = self
            .datagrams
            .unread_at_most(bytes, MESSAGE_OVERHEAD_BYTES_MIN);
        Ok(self.datagrams.sent() - unread)
    }

    /// An error unless the receiver that we connected to still listens.
    fn check_receiver(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::net::connect(socket, &SocketAddrUnix::new(&self.path)?)?;
        match Receiver::at(&self.path)? == self.receiver {
            true => Ok(()),
            false => Err(Errno::CONNRESET),
        }
    }
}

impl Receiver {
    fn at(path: &Path) -> Result<Receiver, Errno> {
        let found = std::fs::metadata(path).map_err(errno)?;
        Ok(Receiver(
            found.dev(),
            found.ino(),
            found.ctime(),
            found.ctime_nsec(),
        ))
    }
}

/// A listener whose queue is full is asked again until the deadline; waiting in connect(2) would have no end.
fn connect_stream(path: &Path, deadline: Instant) -> Result<Wire, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(Wire::new(socket)),
            Err(Errno::AGAIN) if left_until(deadline).is_some() => {
                std::thread::sleep(ASK_AFTER_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that the socket does not take after all is trouble once, and then cut to what it takes.
    #[test]
    fn a_message_that_is_too_long_lowers_the_bound() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log.sock");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut destination =
            crate::destination::tests::destination(&format!("unix:{}", path.display()));
        destination.syslog.message_bytes_max = 100_000;
        let mut unix = prepare(&destination).unwrap();
        unix.connect().unwrap();
        let socket = unix.queue.as_ref().unwrap().datagrams.socket();
        sockopt::set_socket_send_buffer_size(socket, 5000).unwrap();
        let record = Record {
            body: "x".repeat(20_000),
            ..Record::default()
        };
        let records = std::slice::from_ref(&record);
        let text = unix.send(records).unwrap_err().text;
        assert!(
            text.contains("a message of 200") && text.contains("from now on they have 15"),
            "{text}"
        );

        unix.connect().unwrap();
        unix.send(records).unwrap();
        let mut buffer = [0; 30_000];
        let bytes = receiver.recv(&mut buffer).unwrap();
        assert!((14_900..=15_100).contains(&bytes));
        assert!(buffer[..bytes].ends_with(b"[logboom: cut, 20000 bytes in all]"));
    }
}
