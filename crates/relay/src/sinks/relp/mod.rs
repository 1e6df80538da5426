//! RELP, rsyslog's protocol with an answer for each message ([specification][spec]): over TCP, or over TLS.
//!
//! What always holds: a record is delivered when the server answered 200 to each message of it, in whatever order the answers
//! came. What has no answer when a connection breaks is in flight. A server that refuses everything is trouble; a record is
//! refused for good only if the server took a later one.
//!
//! [spec]: https://github.com/rsyslog/librelp/blob/master/doc/relp.md

pub(crate) mod flight;
pub(crate) mod response;

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::syslog::{Messages, Transport};
use crate::destination::{Address, Destination};
use crate::net::dial::{Host, Resolver, connect};
use crate::net::patience::Patience;
use crate::net::tls::{Security, thrown_out};
use crate::net::wire::Wire;
use crate::net::{deadline_in, in_words, left_until, trouble};
use crate::record::Record;
use crate::sink::{Sink, Trouble, Verdict};

use flight::Flight;
use response::Frame;

/// The scheme whose connections are secure.
const SECURE: &str = "relp+tls";
/// What we tell of ourselves; the version is that of librelp's protocol.
const OFFERS: &str = concat!(
    "relp_version=0\nrelp_software=logboom,",
    env!("CARGO_PKG_VERSION"),
    "\ncommands=syslog"
);
/// Beyond this the buffer of frames is given back.
const FRAMES_BYTES_KEPT: usize = 1 << 20;
/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

struct Relp {
    address: Address,
    timeout: Duration,
    resolver: Resolver,
    security: Option<Security>,
    messages: Messages,
    connection: Option<Connection>,
}

struct Connection {
    wire: Wire,
    /// The frames that are being made.
    frames: Vec<u8>,
    /// What was read and is no whole frame yet.
    inbox: Vec<u8>,
    flight: Flight,
    patience: Patience,
    /// Why nothing more can be sent; told once the answers that came before it are.
    broken: Option<String>,
}

/// Why a session was not opened.
enum Unopened {
    /// The connection ended.
    Broken(String),
    /// What was answered, or that nothing was.
    Refused(String),
}

pub(crate) fn make(destination: &Destination) -> Result<Box<dyn Sink>, Trouble> {
    let address = destination.address.clone();
    // It has no port of its own.
    let host = Host::of(&address, None)?;
    let security = match address.scheme() == SECURE {
        true => Some(
            Security::new(&destination.tls, &host.name)
                .map_err(|cause| trouble("prepare for", &address, cause))?,
        ),
        false => None,
    };
    Ok(Box::new(Relp {
        address,
        timeout: destination.timeout,
        resolver: Resolver::new(host),
        security,
        messages: Messages::new(&destination.syslog, Transport::default()),
        connection: None,
    }))
}

impl Sink for Relp {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.connection = None;
        let opened = self.open();
        let opened = opened.map_err(|cause| trouble("connect to", &self.address, cause))?;
        self.connection = Some(opened);
        Ok(())
    }

    fn send(&mut self, records: &[Record]) -> Result<(), Trouble> {
        let Some(connection) = &mut self.connection else {
            return Err(trouble("send to", &self.address, "not connected"));
        };
        connection.send(records, &mut self.messages);
        Ok(())
    }

    fn settle(&mut self, wait: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), Trouble> {
        let Some(connection) = &mut self.connection else {
            return Err(trouble("send to", &self.address, "not connected"));
        };
        let until = deadline_in(wait.min(self.timeout));
        connection.settle(until, verdicts).map_err(|cause| {
            self.connection = None;
            trouble("send to", &self.address, cause)
        })
    }

    fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.say_goodbye(deadline_in(GOODBYE.min(self.timeout)));
        }
    }
}

impl Relp {
    /// A connection whose `open` was answered. The error is a cause.
    fn open(&mut self) -> Result<Connection, String> {
        let deadline = deadline_in(self.timeout);
        let addresses = self.resolver.addresses(deadline)?;
        let mut wire = Wire::new(OwnedFd::from(connect(&addresses, deadline)?));
        if let Some(security) = &self.security {
            security.shake_hands(&mut wire, deadline)?;
        }
        let mut connection = Connection {
            wire,
            frames: Vec::new(),
            inbox: Vec::new(),
            flight: Flight::default(),
            patience: Patience::new(self.timeout),
            broken: None,
        };
        let transaction = connection.flight.next_transaction();
        connection.put_frame(transaction, "open", OFFERS.as_bytes());
        match connection.wait_for_open(transaction, deadline, self.timeout) {
            Ok(()) => Ok(connection),
            Err(Unopened::Broken(cause)) if self.security.is_some() => Err(thrown_out(cause)),
            Err(Unopened::Broken(cause) | Unopened::Refused(cause)) => Err(cause),
        }
    }
}

impl Connection {
    fn put_frame(&mut self, transaction: u32, command: &str, data: &[u8]) {
        push_frame(transaction, command, data, &mut self.frames);
        self.put_frames();
    }

    fn put_frames(&mut self) {
        self.wire.put(&self.frames);
        self.frames.clear();
        self.frames.shrink_to(FRAMES_BYTES_KEPT);
    }

    fn wait_for_open(
        &mut self,
        transaction: u32,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<(), Unopened> {
        let broken = |error| Unopened::Broken(cause(error));
        loop {
            self.wire.flush().map_err(broken)?;
            let received = self.wire.receive(Some(&mut self.inbox));
            let first =
                response::parse(&self.inbox).map_err(|why| Unopened::Refused(cause(why)))?;
            if let Some((frame, len)) = first {
                check_open(frame, transaction).map_err(Unopened::Refused)?;
                self.inbox.drain(..len);
                return Ok(());
            }
            received.map_err(broken)?;
            let Some(left) = left_until(deadline) else {
                let waited = in_words(timeout);
                let cause = format!("no answer to `open` within {waited}");
                return Err(Unopened::Refused(cause));
            };
            self.wire.wait(left).map_err(broken)?;
        }
    }

    fn send(&mut self, records: &[Record], messages: &mut Messages) {
        if self.flight.is_empty() {
            self.patience.renew();
        }
        for record in records {
            let (flight, frames) = (&mut self.flight, &mut self.frames);
            flight.begin_record();
            messages.write(record, |message| {
                push_frame(flight.begin_message(), "syslog", message, frames);
            });
        }
        self.put_frames();
        // The answers that came before the failure are worth reading: `settle` tells of both.
        if let Err(error) = self.wire.flush() {
            self.broken = Some(cause(error));
        }
    }

    /// The error is a cause.
    fn settle(&mut self, until: Instant, verdicts: &mut Vec<Verdict>) -> Result<(), String> {
        let before = verdicts.len();
        loop {
            let state = self.pump();
            self.flight.take_verdicts(verdicts);
            state?;
            if verdicts.len() > before || self.flight.is_empty() {
                return Ok(());
            }
            if let Some(text) = self.flight.all_refused() {
                return Err(format!("the receiver takes nothing: {text}"));
            }
            if let Some(cause) = self.patience.over("answered nothing") {
                return Err(cause);
            }
            let Some(left) = left_until(until.min(self.patience.end())) else {
                return Ok(());
            };
            self.wire.wait(left).map_err(cause)?;
        }
    }

    /// Sends what goes and reads the answers that are there. The error, a cause, comes after them.
    fn pump(&mut self) -> Result<(), String> {
        let sent = match self.broken.take() {
            Some(cause) => Err(cause),
            None => self.wire.flush().map(drop).map_err(cause),
        };
        let received = self.wire.receive(Some(&mut self.inbox)).map_err(cause);
        self.read_answers()?;
        received?;
        sent?;
        self.patience.taken(self.wire.acknowledged());
        Ok(())
    }

    fn read_answers(&mut self) -> Result<(), String> {
        let mut at = 0;
        let outcome = loop {
            let (frame, len) = match response::parse(&self.inbox[at..]) {
                Ok(Some(found)) => found,
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed.to_string()),
            };
            if let Err(cause) = self.flight.answer(frame) {
                break Err(cause);
            }
            self.patience.renew();
            at += len;
        };
        self.inbox.drain(..at);
        outcome
    }

    fn say_goodbye(&mut self, deadline: Instant) {
        let transaction = self.flight.next_transaction();
        self.put_frame(transaction, "close", b"");
        while self.broken.is_none() {
            let Some(left) = left_until(deadline) else {
                break;
            };
            // Its answer, or the end of the connection, which is what an answer is followed by.
            if self.wire.flush().is_err()
                || self.wire.wait(left).is_err()
                || self.wire.receive(Some(&mut self.inbox)).is_err()
                || self.read_answers().is_err()
            {
                break;
            }
        }
        self.wire.close();
    }
}

/// The answer to `open` must be that the server is one, and takes syslog messages.
fn check_open(frame: Frame<'_>, transaction: u32) -> Result<(), String> {
    if frame.command != "rsp" || frame.transaction != transaction {
        return Err(format!(
            "the receiver answered `{}` to `open`",
            frame.command
        ));
    }
    let answer =
        response::answer(frame.data).ok_or("the receiver's answer to `open` has no code")?;
    if answer.code != 200 {
        return Err(format!("the receiver refused `open`: {}", answer.text));
    }
    let offers = String::from_utf8_lossy(answer.more);
    let mut offers = offers
        .lines()
        .map(|line| line.split_once('=').unwrap_or((line, "")));
    let (mut has_version, mut takes_syslog) = (false, true);
    for (name, value) in &mut offers {
        match name {
            "relp_version" => has_version = true,
            "commands" => takes_syslog = value.split(',').any(|command| command == "syslog"),
            _ => {}
        }
    }
    match (has_version, takes_syslog) {
        (false, _) => Err("the receiver's answer to `open` has no version".into()),
        (_, false) => Err("the receiver does not take syslog messages".into()),
        (true, true) => Ok(()),
    }
}

/// Appends a frame: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`.
fn push_frame(transaction: u32, command: &str, data: &[u8], out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(transaction).as_bytes());
    out.push(b' ');
    out.extend_from_slice(command.as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(data.len()).as_bytes());
    if !data.is_empty() {
        out.push(b' ');
        out.extend_from_slice(data);
    }
    out.push(b'\n');
}

fn cause(error: impl Display) -> String {
    error.to_string()
}
