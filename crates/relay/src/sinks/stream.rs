//! Messages over a connection: RFC 6587's two framings, over TCP, TLS or a Unix stream socket.
//!
//! What always holds: a record is delivered when the receiver's kernel has acknowledged every byte of it, on a Unix socket when
//! its process has read them, and the connection was sound after that was asked. What was not settled when a connection breaks
//! is in flight, although some of it will have arrived. A receiver answers nothing in this protocol; what it sends is dropped.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use super::syslog::Messages;
use crate::destination::{Address, Destination, Framing};
use crate::net::patience::Patience;
use crate::net::wire::Wire;
use crate::net::{deadline_in, left_until, trouble};
use crate::record::Record;
use crate::sink::{Sink, Trouble, Verdict};

/// The acknowledgement of bytes wakes nobody, so it is asked for: after this time, and then ever less often.
const ASK_AFTER: Duration = Duration::from_micros(200);
const ASK_AFTER_MAX: Duration = Duration::from_millis(10);
/// Frames are put on the wire in chunks of about this size; the records of one are delivered together.
const CHUNK_BYTES: usize = 64 << 10;
/// Beyond this the buffer of a chunk is given back.
const FRAMES_BYTES_KEPT: usize = 1 << 20;

/// Makes a connection, or says why not.
pub(super) type Dial = Box<dyn FnMut() -> Result<Wire, Trouble> + Send>;

/// A sink that sends messages over a connection.
pub(super) struct Stream {
    address: Address,
    timeout: Duration,
    dial: Dial,
    messages: Messages,
    framing: Framing,
    connection: Option<Connection>,
}

struct Connection {
    wire: Wire,
    /// The chunk that is being made.
    frames: Vec<u8>,
    /// Where in the stream the records in flight end, oldest first.
    ends: VecDeque<u64>,
    patience: Patience,
}

impl Stream {
    pub(super) fn new(
        destination: &Destination,
        framing: Framing,
        messages: Messages,
        dial: Dial,
    ) -> Stream {
        Stream {
            address: destination.address.clone(),
            timeout: destination.timeout,
            dial,
            messages,
            framing,
            connection: None,
        }
    }

    /// Gives the connection up; the cause becomes trouble.
    fn give_up(&mut self, cause: impl Display) -> Trouble {
        self.connection = None;
        trouble("send to", &self.address, cause)
    }
}

impl Sink for Stream {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.connection = None;
        self.connection = Some(Connection {
            wire: (self.dial)()?,
            frames: Vec::new(),
            ends: VecDeque::new(),
            patience: Patience::new(self.timeout),
        });
        Ok(())
    }

    fn send(&mut self, records: &[Record]) -> Result<(), Trouble> {
        let Some(connection) = &mut self.connection else {
            return Err(trouble("send to", &self.address, "not connected"));
        };
        match connection.send(records, &mut self.messages, self.framing) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn settle(&mut self, wait: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), Trouble> {
        let Some(connection) = &mut self.connection else {
            return Err(trouble("send to", &self.address, "not connected"));
        };
        match connection.settle(wait.min(self.timeout), verdicts) {
            Ok(()) => Ok(()),
            Err(cause) => Err(self.give_up(cause)),
        }
    }

    fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.wire.close();
        }
    }
}

impl Connection {
    fn send(
        &mut self,
        records: &[Record],
        messages: &mut Messages,
        framing: Framing,
    ) -> io::Result<()> {
        // A receiver that is gone is noticed before anything is sent to it.
        self.wire.receive(None)?;
        if self.ends.is_empty() {
            self.patience.renew();
        }
        let mut unplaced = 0;
        for record in records {
            messages.write(record, |message| {
                push_frame(message, framing, &mut self.frames)
            });
            unplaced += 1;
            if self.frames.len() >= CHUNK_BYTES {
                self.place(&mut unplaced);
            }
        }
        self.place(&mut unplaced);
        self.wire.flush()?;
        Ok(())
    }

    /// Puts the chunk on the wire; the records in it end where it does.
    fn place(&mut self, records: &mut usize) {
        self.wire.put(&self.frames);
        let end = self.wire.end();
        self.ends.extend(std::iter::repeat_n(end, *records));
        *records = 0;
        self.frames.clear();
        self.frames.shrink_to(FRAMES_BYTES_KEPT);
    }

    /// The error is a cause.
    fn settle(&mut self, wait: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), String> {
        let until = deadline_in(wait);
        let mut ask_after = ASK_AFTER;
        loop {
            let settled = self.pump().map_err(|error| error.to_string())?;
            verdicts.extend(std::iter::repeat_n(Verdict::Delivered, settled));
            if settled > 0 || self.ends.is_empty() {
                return Ok(());
            }
            if let Some(cause) = self.patience.over("acknowledged nothing") {
                return Err(cause);
            }
            let Some(left) = left_until(until.min(self.patience.end())) else {
                return Ok(());
            };
            self.wire
                .wait(left.min(ask_after))
                .map_err(|error| error.to_string())?;
            ask_after = (ask_after * 2).min(ASK_AFTER_MAX);
        }
    }

    /// Sends what goes, and gives the number of records that were acknowledged.
    fn pump(&mut self) -> io::Result<usize> {
        self.wire.flush()?;
        let acknowledged = self.wire.acknowledged();
        // After the question: bytes that count as read since their reader died are noticed here.
        self.wire.receive(None)?;
        self.patience.taken(acknowledged);
        let settled = self.ends.partition_point(|end| *end <= acknowledged);
        if settled > 0 {
            self.ends.drain(..settled);
            self.patience.renew();
        }
        Ok(settled)
    }
}

/// Appends a message as a frame (RFC 6587, section 3.4).
fn push_frame(message: &[u8], framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Octets => {
            out.extend_from_slice(itoa::Buffer::new().format(message.len()).as_bytes());
            out.push(b' ');
            out.extend_from_slice(message);
        }
        Framing::LineFeed => {
            out.extend_from_slice(message);
            out.push(b'\n');
        }
    }
}
