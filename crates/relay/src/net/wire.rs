//! A stream of bytes to a receiver, in the clear or through TLS, that never waits unless told to.
//!
//! What always holds: bytes go out in the order in which they were put; what the socket does not take is kept until it does,
//! so callers bound what they put; places in the stream count the bytes as they are on the wire, TLS included. An error means
//! that the connection is of no use any more.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::ClientConnection;

/// Bytes that are read in one go at most, so that who sends without end does not hold us.
const READ_BYTES_MAX: usize = 64 << 10;
/// Bytes that are encrypted at once: what one TLS record carries (RFC 8446, section 5.1).
const FRAGMENT_BYTES: usize = 16 << 10;
/// Beyond this an empty buffer is given back.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// A connection.
pub(crate) struct Wire {
    socket: OwnedFd,
    tls: Option<Box<ClientConnection>>,
    /// What is to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Bytes put, as they are on the wire, since the beginning.
    put: u64,
}

impl Wire {
    /// Over a connected socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> Wire {
        Wire {
            socket,
            tls: None,
            out: Vec::new(),
            sent: 0,
            put: 0,
        }
    }

    /// Everything from now on goes through `tls`.
    pub(crate) fn encrypt(&mut self, mut tls: ClientConnection) {
        // Its buffers are emptied into ours at once; ours is bounded by our callers.
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        self.collect_tls();
    }

    /// True until the TLS handshake is done.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Appends bytes to what is to be sent; waits for nothing.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else {
            self.out.extend_from_slice(bytes);
            self.put += bytes.len() as u64;
            return;
        };
        for fragment in bytes.chunks(FRAGMENT_BYTES) {
            // Into memory without a limit: it takes everything.
            let _ = tls.writer().write_all(fragment);
            let before = self.out.len();
            write_tls(tls, &mut self.out);
            self.put += (self.out.len() - before) as u64;
        }
    }

    /// The place in the stream behind everything that was put.
    pub(crate) fn end(&self) -> u64 {
        self.put
    }

    /// The place up to which the peer has acknowledged the bytes; where that cannot be known, up to which they were sent.
    pub(crate) fn acknowledged(&self) -> u64 {
        let sent = self.put - (self.out.len() - self.sent) as u64;
        sent.saturating_sub(logboom::bytes_unacknowledged(self.as_fd()).unwrap_or(0))
    }

    /// Sends what the socket takes now. True: nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.out.len() {
            match send(&self.socket, &self.out[self.sent..], SendFlags::NOSIGNAL) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.compact();
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.compact();
        Ok(true)
    }

    /// Reads what is there now, at most [`READ_BYTES_MAX`], and appends it to `inbox`; without one it is dropped.
    ///
    /// # Errors
    /// Also when the receiver has closed the connection.
    pub(crate) fn receive(&mut self, mut inbox: Option<&mut Vec<u8>>) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut left = READ_BYTES_MAX;
        while left > 0 {
            let count = match self.read(&mut buffer) {
                Ok(0) => return Err(closed()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(closed()),
                Err(error) => return Err(error),
            };
            if let Some(inbox) = &mut inbox {
                inbox.extend_from_slice(&buffer[..count]);
            }
            left = left.saturating_sub(count);
        }
        Ok(())
    }

    /// Waits until something can be read, or also until something can be sent if something is to be, but at most this long.
    pub(crate) fn wait(&self, at_most: Duration) -> io::Result<()> {
        let mut events = PollFlags::IN;
        if self.sent < self.out.len() {
            events |= PollFlags::OUT;
        }
        wait_for(self.as_fd(), events, at_most)
    }

    /// Says goodbye: the TLS alert, if there is TLS, and the end of what we send. Waits for nothing.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.collect_tls();
        let _ = self.flush();
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = Bytes(&self.socket);
        let Some(tls) = &mut self.tls else {
            return socket.read(buffer);
        };
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            answer => return answer,
        }
        tls.read_tls(&mut socket)?;
        let state = tls.process_new_packets();
        self.collect_tls();
        if let Err(error) = state {
            // The alert that tells the receiver why.
            let _ = self.flush();
            return Err(io::Error::other(error));
        }
        match &mut self.tls {
            Some(tls) => tls.reader().read(buffer),
            None => Ok(0),
        }
    }

    /// Takes over what TLS wants to send by itself.
    fn collect_tls(&mut self) {
        if let Some(tls) = &mut self.tls {
            let before = self.out.len();
            write_tls(tls, &mut self.out);
            self.put += (self.out.len() - before) as u64;
        }
    }

    fn compact(&mut self) {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.out.capacity() > BUFFER_BYTES_KEPT {
                self.out = Vec::new();
            }
        } else if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket's bytes, for TLS.
struct Bytes<'a>(&'a OwnedFd);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(self.0, &mut *buffer, RecvFlags::empty()) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn write_tls(tls: &mut ClientConnection, out: &mut Vec<u8>) {
    // Into memory: it does not fail.
    while tls.wants_write() && tls.write_tls(out).is_ok() {}
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the receiver closed the connection",
    )
}

/// Waits for one of `events`, an error or a hang-up on a descriptor, but at most this long.
pub(crate) fn wait_for(
    descriptor: BorrowedFd<'_>,
    events: PollFlags,
    at_most: Duration,
) -> io::Result<()> {
    let timeout = Timespec::try_from(at_most).ok();
    let mut descriptors = [PollFd::new(&descriptor, events)];
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
