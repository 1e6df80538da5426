//! Messages in packets: over UDP, or to a Unix datagram socket.
//!
//! What always holds: messages leave in order, many with one system call; a socket that takes none now is asked again within the
//! bounds of patience. A message that is too long for the socket (EMSGSIZE) lowers the bound for messages; it, and what was sent
//! with it, is then made anew for the next connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::syslog::{MESSAGE_BYTES_MIN, Messages};
use crate::net::left_until;
use crate::net::patience::Patience;
use crate::net::wire::wait_for;
use crate::record::Record;

/// Packets handed to the kernel at once.
const AT_ONCE: usize = 64;
/// The kernel has no memory for a packet, and does not say when it has.
const NO_MEMORY_WAIT: Duration = Duration::from_millis(2);

/// Sent bytes are dropped from the buffer once there are so many of them.
const SENT_BYTES_KEPT: usize = 256 << 10;

/// Packets on their way through one connected socket.
pub(super) struct Datagrams {
    socket: OwnedFd,
    /// The messages, one behind the other; those before `start` were sent.
    bytes: Vec<u8>,
    start: usize,
    /// Lengths of the packets in flight, oldest first.
    lens: VecDeque<usize>,
    /// Packets that are no longer in flight, since the beginning.
    settled: u64,
    /// Packets sent, since the beginning.
    sent: u64,
    /// Behind which packet each record in flight ends, oldest first.
    ends: VecDeque<u64>,
    patience: Patience,
}

/// How far sending came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing is left to be sent.
    All,
    /// The queue is full; the socket becomes writable when it is no more.
    QueueFull,
    /// The kernel has no memory for a packet, and will not say when it has.
    NoMemory,
}

/// Why packets cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The socket takes none as long as this.
    TooLong(usize),
    /// The system's answer.
    Failed(Errno),
    /// None was taken for so long that patience is over; the cause.
    Stuck(String),
}

impl Datagrams {
    /// Through a connected socket that does not block.
    pub(super) fn new(socket: OwnedFd, timeout: Duration) -> Datagrams {
        Datagrams {
            socket,
            bytes: Vec::new(),
            start: 0,
            lens: VecDeque::new(),
            settled: 0,
            sent: 0,
            ends: VecDeque::new(),
            patience: Patience::new(timeout),
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Packets sent since the beginning.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// True if no record is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.ends.is_empty()
    }

    /// Puts records in flight and sends what goes at once.
    pub(super) fn send(
        &mut self,
        records: &[Record],
        messages: &mut Messages,
    ) -> Result<Flushed, Obstacle> {
        if self.is_idle() {
            self.patience.renew();
        }
        for record in records {
            messages.write(record, |message| {
                self.bytes.extend_from_slice(message);
                self.lens.push_back(message.len());
            });
            self.ends.push_back(self.settled + self.lens.len() as u64);
        }
        self.flush()
    }

    /// Sends what the socket takes now.
    pub(super) fn flush(&mut self) -> Result<Flushed, Obstacle> {
        while self.waiting().len() > 0 {
            match self.send_some() {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Flushed::QueueFull),
                Ok(0) | Err(Errno::NOBUFS | Errno::NOMEM) => return Ok(Flushed::NoMemory),
                Ok(count) => {
                    let bytes: usize = self.waiting().take(count).sum();
                    self.start += bytes;
                    self.sent += count as u64;
                    self.patience.renew();
                }
                Err(Errno::MSGSIZE) => {
                    return Err(Obstacle::TooLong(self.waiting().next().unwrap_or(0)));
                }
                Err(error) => return Err(Obstacle::Failed(error)),
            }
        }
        Ok(Flushed::All)
    }

    /// How many of the packets that were sent last can be unread if the kernel counts so many bytes for those that are; each
    /// counts at least its length and `overhead`.
    pub(super) fn unread_at_most(&self, mut bytes: u64, overhead: u64) -> u64 {
        let sent = (self.sent - self.settled) as usize;
        let at_least = u64::from(bytes > 0);
        let mut count = 0;
        for len in self.lens.range(..sent).rev() {
            let Some(rest) = bytes.checked_sub(*len as u64 + overhead) else {
                break;
            };
            bytes = rest;
            count += 1;
        }
        count.max(at_least)
    }

    /// The receiver has done something: patience begins anew.
    pub(super) fn renew(&mut self) {
        self.patience.renew();
    }

    /// Takes the records that end with the packet of that number, or before it, out of flight; gives how many.
    pub(super) fn settle(&mut self, packet: u64) -> usize {
        let settled = self.ends.partition_point(|end| *end <= packet);
        self.ends.drain(..settled);
        let packets = packet.min(self.sent).saturating_sub(self.settled);
        self.lens.drain(..packets as usize);
        self.settled += packets;
        if packets > 0 {
            self.patience.renew();
        }
        settled
    }

    /// Waits for what can be waited for: that the queue takes a packet again, or else for `nap`; but not beyond `until`. False:
    /// that is over.
    pub(super) fn wait(
        &self,
        flushed: Flushed,
        nap: Duration,
        until: Instant,
    ) -> Result<bool, Obstacle> {
        if let Some(cause) = self.patience.over("took no message") {
            // Memory that does not come back may be memory for a message as long as this.
            return Err(match (flushed, self.waiting().next()) {
                (Flushed::NoMemory, Some(len)) if len > MESSAGE_BYTES_MIN => Obstacle::TooLong(len),
                _ => Obstacle::Stuck(cause),
            });
        }
        let Some(left) = left_until(until.min(self.patience.end())) else {
            return Ok(false);
        };
        match flushed {
            Flushed::QueueFull => wait_for(self.socket(), PollFlags::OUT, left)
                .map_err(|_| Obstacle::Failed(Errno::IO))?,
            Flushed::NoMemory => std::thread::sleep(NO_MEMORY_WAIT.min(left)),
            Flushed::All => std::thread::sleep(nap.min(left)),
        }
        Ok(true)
    }

    /// Lengths of the packets that are yet to be sent.
    fn waiting(&self) -> impl ExactSizeIterator<Item = usize> {
        let sent = (self.sent - self.settled) as usize;
        self.lens.range(sent..).copied()
    }

    fn send_some(&mut self) -> Result<usize, Errno> {
        if self.start > SENT_BYTES_KEPT {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let mut rest = &self.bytes[self.start..];
        let mut slices = Vec::with_capacity(AT_ONCE);
        for len in self.waiting().take(AT_ONCE) {
            let (message, behind) = rest.split_at(len);
            slices.push([IoSlice::new(message)]);
            rest = behind;
        }
        let mut controls: Vec<_> = slices
            .iter()
            .map(|_| SendAncillaryBuffer::new(&mut []))
            .collect();
        let mut headers: Vec<_> = slices
            .iter()
            .zip(&mut controls)
            .map(|(slice, control)| MMsgHdr::new(slice, control))
            .collect();
        sendmmsg(&self.socket, &mut headers, SendFlags::NOSIGNAL)
    }
}

impl Obstacle {
    /// The cause for people, and the bound for messages from now on, if one was too long.
    pub(super) fn cause(self) -> (String, Option<usize>) {
        match self {
            Obstacle::TooLong(bytes) if bytes > MESSAGE_BYTES_MIN => {
                let shorter = (bytes / 4 * 3).max(MESSAGE_BYTES_MIN);
                let text = format!(
                    "a message of {bytes} bytes is too long, from now on they have {shorter} at most"
                );
                (text, Some(shorter))
            }
            Obstacle::TooLong(bytes) => {
                let text = format!("even {bytes} bytes are too long for a message");
                (text, None)
            }
            Obstacle::Failed(error) => (std::io::Error::from(error).to_string(), None),
            Obstacle::Stuck(cause) => (cause, None),
        }
    }
}
