//! What this process prints, on its way into a log: offered line by line, and drained together.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::beside::Copies;
use super::shadow::Shadow;
use super::{LEASE_WAIT, Log, Outcome, Ticket};
use crate::capture::{Capture, Stream};
use crate::clock;
use crate::domain::Domain;
use crate::error::Error;
use crate::format::{Encoder, Record};
use crate::mark::{Mark, Step};

/// The captured output of this process, and where it goes.
pub(crate) struct Captured {
    capture: Capture,
    to: Shadow,
    /// Up to where, of each stream, logs of other domains have their copies: a line may be offered more than once.
    copied: [u64; 2],
}

impl Log {
    /// From now on, what this process prints to these descriptors (1 and 2) goes to bounded files in the state and comes
    /// back as records of this log, with the component `stdout` or `stderr`; until this `Log` is dropped or the process
    /// dies, also in children that inherit the descriptors. Once for each process.
    ///
    /// # Errors
    /// The files cannot be made; everything is as it was before.
    pub fn capture_output(&self, fds: &[RawFd], bytes_max: u64) -> Result<(), Error> {
        let _inside = self.enter_to("capture output for")?;
        let (state, local) = (&self.domain.state, self.domain.local());
        let fail = |error: std::io::Error| Error::io("capture output beside", &state.path, &error);
        let place = local
            .place(state)
            .ok_or_else(|| fail(std::io::ErrorKind::StorageFull.into()))?;
        let mut kept = local.captured();
        if kept.is_none() {
            *kept = Some(Captured {
                capture: Capture::begin(state, place, fds, bytes_max).map_err(fail)?,
                to: Shadow::of(self),
                copied: [0; 2],
            });
            drop(kept);
            self.captures.store(true, Ordering::Relaxed);
            local.chores.watch(self.domain.weak());
        }
        Ok(())
    }

    /// Ends what [`Log::capture_output`] began, with all that was printed until now published.
    pub(super) fn release_output(&self) {
        if !self.captures.swap(false, Ordering::Relaxed) {
            return;
        }
        let local = self.domain.local();
        local.chores.pause_watching();
        let kept = local.captured().take();
        if let Some(captured) = kept {
            captured.finish(&self.domain);
        }
    }
}

/// Publishes what was printed since the last time. True: there was something, and there may be more.
pub(crate) fn read_output(domain: &Arc<Domain>) -> bool {
    let mut kept = domain.local().captured();
    kept.as_mut().is_some_and(|captured| captured.tick(domain))
}

impl Captured {
    /// A line for which there is no room, even after a drain, waits in its file for the next time.
    fn tick(&mut self, domain: &Arc<Domain>) -> bool {
        let log = self.to.in_domain(domain.clone());
        let mut printing = Printing::to(&log, &mut self.copied);
        let mut no_room = false;
        let moved = self.capture.tick(&domain.state, &mut |stream, line, step| {
            let taken = printing.offer_within(Duration::ZERO, stream, line, step);
            no_room |= !taken;
            taken
        });
        printing.drain();
        moved || no_room
    }

    /// There is no next time: it is waited for room, once, and what does not fit then is counted as dropped.
    fn finish(mut self, domain: &Arc<Domain>) {
        let log = self.to.in_domain(domain.clone());
        let mut printing = Printing::to(&log, &mut self.copied);
        let mut patience = log.on_full_wait;
        self.capture
            .finish(&domain.state, &mut |stream, line, step| {
                if !printing.offer_within(patience, stream, line, step) {
                    patience = Duration::ZERO;
                    log.give_up();
                }
                true
            });
        printing.drain();
    }
}

/// Lines on their way.
struct Printing<'a> {
    log: &'a Log,
    copied: &'a mut [u64; 2],
    ticket: Ticket,
}

impl<'a> Printing<'a> {
    fn to(log: &'a Log, copied: &'a mut [u64; 2]) -> Printing<'a> {
        Printing {
            log,
            copied,
            ticket: Ticket::default(),
        }
    }

    /// Enqueues a line, after a drain of at most `wait` if need be. False: there is no room for it now.
    fn offer_within(&mut self, wait: Duration, stream: Stream, text: &str, step: &Step) -> bool {
        self.offer(stream, text, step) || {
            self.log.flush(wait);
            self.offer(stream, text, step)
        }
    }

    fn offer(&mut self, stream: Stream, text: &str, step: &Step) -> bool {
        let (log, process) = (self.log, std::process::id());
        let (severity, component) = (stream.severity().0, stream.component());
        let line = |encoder: &Encoder| printed_line(encoder, stream, process, text);
        // Copies first: a kill in between lets them come twice, and does not lose them.
        let copied = &mut self.copied[stream as usize];
        if *copied < step.upto {
            *copied = step.upto;
            let mut copies = Copies::default();
            copies.enqueue(&log.beside, component, severity, line);
            copies.settle();
        }
        let own = line(&log.teller.encoder);
        let wait = log.on_full_wait.max(LEASE_WAIT);
        let Some(ticket) = log.offer_marked(severity, &own, wait, Some(&Mark::Step(step))) else {
            return false;
        };
        self.ticket.add(ticket);
        log.record_published(severity, component, "", b"", &own);
        true
    }

    fn drain(&mut self) {
        let _: Outcome = self.log.drain(std::mem::take(&mut self.ticket));
    }
}

/// The line of a record of something printed.
pub(super) fn printed_line(encoder: &Encoder, stream: Stream, process: u32, text: &str) -> Vec<u8> {
    let (severity, level) = stream.severity();
    encoder.line(&Record {
        time_ns: clock::wall_ns(),
        severity,
        level,
        component: stream.component(),
        message: text.into(),
        process: Some(process),
        ..Record::default()
    })
}
