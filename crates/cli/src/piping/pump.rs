//! Reads what is printed, line by line, and hands it to the publisher, until it ends.
//!
//! What always holds: one thread reads all streams, each once in turn; the time of a line is that of the read that ended it; no more
//! than a read and an unfinished line of each stream is held. While the publisher has no room nothing is read, so writers
//! find their pipes full.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::ends::{Ends, Reading};
use super::form::{Printed, Stream};
use super::lines::{Extent, Lines, Long, READ_BYTES};
use super::publisher::Publisher;
use super::tee::Tee;
use crate::viewing::spans::now_ns;

/// How often a command that has closed its output is asked whether it has ended, should its signal be missed.
const TICK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// One stream that is read.
pub(crate) struct Input {
    /// None: it is at its end.
    fd: Option<OwnedFd>,
    stream: Stream,
    lines: Lines,
    tee: Option<Tee>,
    /// Bytes that are still to be read; None: all that come.
    left: Option<u64>,
}

impl Input {
    /// The lines of a stream.
    pub(crate) fn new(
        fd: OwnedFd,
        stream: Stream,
        (line_max, long): (usize, Long),
        tee: Option<Tee>,
    ) -> Input {
        Input {
            fd: Some(fd),
            stream,
            lines: Lines::new(line_max, long),
            tee,
            left: None,
        }
    }

    /// Only what is there now is to be read.
    fn limit(&mut self) {
        if let (None, Some(fd)) = (self.left, &self.fd) {
            self.left = Some(rustix::io::ioctl_fionread(fd).unwrap_or(0));
        }
    }

    fn is_readable(&self) -> bool {
        let Some(fd) = &self.fd else { return false };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// How much to read at once: behind the limit a byte at a time, so that whoever reads on finds the next line whole.
    fn step(&self) -> usize {
        match self.left {
            None => READ_BYTES,
            Some(left) => left.clamp(1, READ_BYTES as u64) as usize,
        }
    }
}

/// Moves lines from the streams to the publisher.
pub(crate) struct Pump {
    pub(crate) inputs: Vec<Input>,
    pub(crate) publisher: Publisher,
    pub(crate) ends: Ends,
}

impl Pump {
    /// Pumps until the end. The last thing it does is to publish what no line feed has ended.
    pub(crate) fn run(&mut self) {
        loop {
            let reading = self.ends.reading();
            if let Reading::WhatIsThere { line_until } = reading {
                self.limit(line_until);
            }
            let open: Vec<_> = (0..self.inputs.len())
                .filter(|index| self.inputs[*index].fd.is_some())
                .collect();
            if open.is_empty() && !self.ends.is_command_running() {
                return;
            }
            for index in self.wait(&open, reading) {
                self.read(index);
            }
        }
    }

    /// Ends each stream of which all that is to be read has been read.
    fn limit(&mut self, line_until: Option<Instant>) {
        let waits = line_until.is_none_or(|until| Instant::now() < until);
        for index in 0..self.inputs.len() {
            let input = &mut self.inputs[index];
            input.limit();
            let is_read = input.left == Some(0) && !(waits && input.lines.is_unfinished());
            if is_read || !waits && !input.is_readable() {
                self.close(index);
            }
        }
    }

    /// Waits until something can be read, a signal was heard or the time is over; those of the open inputs that can be read.
    fn wait(&mut self, open: &[usize], reading: Reading) -> Vec<usize> {
        let until = match reading {
            Reading::On { until } => until,
            Reading::WhatIsThere { line_until } => line_until,
        };
        let timeout = match until {
            Some(until) => Some(span_until(until)),
            None if open.is_empty() => Some(TICK),
            None => None,
        };
        let wake = self.ends.signals().wake();
        let mut fds = vec![PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        let of_inputs = open
            .iter()
            .filter_map(|index| self.inputs[*index].fd.as_ref());
        fds.extend(of_inputs.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let heard = match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => true,
            Ok(_) => !fds[0].revents().is_empty(),
            Err(_) => return Vec::new(),
        };
        let ready = open.iter().zip(&fds[1..]);
        let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
        let ready = ready.map(|(index, _)| *index).collect();
        if heard {
            self.ends.signals().clear();
            self.ends.look();
        }
        ready
    }

    /// Reads once, and publishes the lines that are finished by that.
    fn read(&mut self, index: usize) {
        let input = &mut self.inputs[index];
        let step = input.step();
        let Some(fd) = &input.fd else { return };
        let count = match rustix::io::read(fd, &mut input.lines.space()[..step]) {
            Ok(0) => return self.close(index),
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => return,
            Err(error) => {
                // A terminal that is gone says EIO, as an end of input.
                if error != Errno::IO {
                    logboom::say(&format!("failed to read more of the output: {error}"));
                }
                return self.close(index);
            }
        };
        let time_ns = now_ns();
        input.lines.filled(count);
        if let Some(left) = &mut input.left {
            *left = left.saturating_sub(count as u64);
        }
        if let Some(tee) = &mut input.tee {
            let ends = &mut self.ends;
            tee.write(input.lines.last(count), &mut || !ends.is_too_late());
        }
        while let Some(line) = input.lines.next() {
            let printed = Printed {
                line,
                stream: input.stream,
                time_ns,
            };
            put(&mut self.publisher, &mut self.ends, &printed);
        }
        self.publisher.drain();
    }

    /// The stream is at its end. What has no line feed is a record, too.
    fn close(&mut self, index: usize) {
        let input = &mut self.inputs[index];
        input.fd = None;
        if let Some(line) = input.lines.rest() {
            let printed = Printed {
                line,
                stream: input.stream,
                time_ns: now_ns(),
            };
            put(&mut self.publisher, &mut self.ends, &printed);
            self.publisher.drain();
        }
    }
}

/// Publishes a line, waiting for room as long as that makes sense.
fn put(publisher: &mut Publisher, ends: &mut Ends, printed: &Printed<'_>) {
    if matches!(printed.line.extent, Extent::Cut { .. }) {
        publisher.count_cut();
    }
    while !publisher.publish(printed) {
        if ends.is_too_late() {
            return publisher.give_up(printed);
        }
        publisher.make_room();
    }
}

fn span_until(moment: Instant) -> Timespec {
    let left = moment.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    }
}
