//! Telling of dead workers, and catching what this one prints.
//!
//! A dead worker is told of once, under the lease: first the lines that it printed last, then its black box. The holder's
//! queue takes them, and the place says what is told in the same moment (`mark`): whoever is killed on the way is followed by
//! another who goes on behind it. A place is given away only when its worker is told of.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::beside::{Beside, Copies};
use super::ending::Ending;
use super::{Log, Outcome, Ticket};
use crate::blackbox::{self, Death, Printed};
use crate::capture::{self, Capture, Stream};
use crate::clock;
use crate::domain::Domain;
use crate::drain;
use crate::error::Error;
use crate::files::config::Config;
use crate::format::{Encoder, Format, RECORD_BYTES_MAX, Record};
use crate::layout::{HOLDER_SLOT, Progress, SLOT_LIVE};
use crate::liveness::Process;
use crate::mark::Mark;
use crate::options::{LogOptions, OnFull, Severity};
use crate::recorder;
use crate::requests::{self, RequestInFlight};
use crate::slots::{self, Place};
use crate::state::State;

const LEASE_WAIT: Duration = Duration::from_millis(1000);
/// For so long a dead worker is left to its parent, who knows how it ended.
const PARENTS_TIME_NS: u64 = 2_000_000_000;
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Who writes the access records of requests that died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    ByTheCaller,
    Here,
}

/// How the native side writes the records that it makes itself.
#[derive(Clone)]
pub(crate) struct Teller {
    pub encoder: Encoder,
    pub records_max: usize,
}

impl Teller {
    pub fn of(options: &LogOptions) -> Teller {
        let encoder = options.encoder.clone();
        Teller {
            encoder: encoder.unwrap_or_else(|| Encoder::new(Format::Text { colour: false })),
            records_max: options.blackbox_records as usize,
        }
    }
}

impl Log {
    /// Tells of the worker with this process id, which has ended with this status of waitpid(2): its black box is
    /// written to this log, if there is something to tell. Gives the requests that died with it.
    ///
    /// For the parent; one who does not know the status calls [`Log::harvest_dead`].
    /// `cause` is what the parent knows beyond that (a timeout), empty for nothing.
    pub fn harvest(&self, process: u32, status: Option<i32>, cause: &str) -> Vec<RequestInFlight> {
        let Ok(_inside) = self.enter_to("tell of a dead worker in") else {
            return Vec::new();
        };
        let state = &self.domain.state;
        let this = Process::this();
        let dead = (1..state.slots_used()).filter(|slot| {
            let of = Process::of(state.slot(*slot));
            of.pid == process && of.namespace == this.namespace
        });
        let dead: Vec<_> = dead.collect();
        for slot in &dead {
            let words = state.slot(*slot);
            let said = !words.aside.dying.to_vec().is_empty();
            if !cause.is_empty() && !said && !self.domain.local().is_alive(state, *slot) {
                blackbox::expect(words, cause);
            }
        }
        self.tell_of_all(dead, status, Access::ByTheCaller)
    }

    /// Tells of all workers that are dead for two seconds or more and nobody has told of. Looks once a second at most,
    /// so it can be called often. Gives the requests that died.
    pub fn harvest_dead(&self) -> Vec<RequestInFlight> {
        let Ok(_inside) = self.enter_to("tell of dead workers in") else {
            return Vec::new();
        };
        let (state, local) = (&self.domain.state, self.domain.local());
        let now_ns = clock::monotonic_ns();
        let looked = local.looked_for_dead_ns.load(Ordering::Relaxed);
        if now_ns.saturating_sub(looked) < LOOK_EVERY_NS
            || local
                .looked_for_dead_ns
                .compare_exchange(looked, now_ns, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return Vec::new();
        }
        let mut due = self.untold();
        due.retain(|slot| is_long_dead(&state.slot(*slot).aside.dead_since_ns, now_ns));
        self.tell_of_all(due, None, Access::ByTheCaller)
    }

    /// The dead workers that there is something to tell of.
    fn untold(&self) -> Vec<u16> {
        let (state, local) = (&self.domain.state, self.domain.local());
        let untold = (1..state.slots_used()).filter(|slot| {
            state.slot(*slot).is_live()
                && blackbox::is_due(state, *slot)
                && !local.is_alive(state, *slot)
        });
        untold.collect()
    }

    /// This process tells of the dead from now on, and of those whose group is dead as a whole at once.
    pub(super) fn begin_to_tell(&self) {
        let known = &self.domain.local().out_of_memory_kills;
        known.store(
            blackbox::out_of_memory_kills().unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if self.domain.is_sole_member() {
            self.harvest_left();
        }
    }

    /// Tells of the workers of a group that is dead as a whole, with an access record for each request of theirs.
    pub(crate) fn harvest_left(&self) {
        self.tell_of_all(self.untold(), None, Access::Here);
    }

    /// Whoever leaves last tells of the dead: their parent leaves as well, and the next start may be long in coming, or
    /// never come where the state goes with the last member.
    pub(super) fn tell_before_leaving(&self) {
        let state = &self.domain.state;
        let due = || (1..state.slots_used()).any(|slot| blackbox::is_due(state, slot));
        if Arc::strong_count(&self.domain) > 1 || !due() {
            return;
        }
        let Ok(_inside) = self.enter_to("tell of dead workers in") else {
            return;
        };
        if self.domain.is_sole_member()
            && let Some(mut shadow) = Shadow::of_teller(&self.domain)
        {
            shadow.beside = self.beside.clone();
            shadow.in_domain(self.domain.clone()).harvest_left();
        }
    }

    fn tell_of_all(
        &self,
        slots: Vec<u16>,
        status: Option<i32>,
        access: Access,
    ) -> Vec<RequestInFlight> {
        if slots.is_empty() {
            return Vec::new();
        }
        let out_of_memory = status.is_some_and(|status| self.was_out_of_memory(status));
        let mut copies = Copies::default();
        let told = self.domain.with_lease(LEASE_WAIT, |drain| {
            let how = (status, out_of_memory);
            let died: Vec<_> = slots
                .into_iter()
                .flat_map(|slot| self.tell_of(drain, slot, how, access, &mut copies))
                .collect();
            slots::reap(drain.state, drain.local);
            died
        });
        copies.settle();
        told.unwrap_or_default()
    }

    /// Whether the kernel has killed for lack of memory once more than this process knows of: that was this worker.
    fn was_out_of_memory(&self, status: i32) -> bool {
        if !libc::WIFSIGNALED(status) || libc::WTERMSIG(status) != libc::SIGKILL {
            return false;
        }
        let known = &self.domain.local().out_of_memory_kills;
        let more = blackbox::out_of_memory_kills()
            .is_some_and(|kills| kills > known.load(Ordering::Relaxed));
        if more {
            known.fetch_add(1, Ordering::Relaxed);
        }
        more
    }

    /// The lease is held and everything drained.
    fn tell_of(
        &self,
        drain: &mut drain::Drain<'_>,
        slot: u16,
        (status, out_of_memory): (Option<i32>, bool),
        access: Access,
        copies: &mut Copies,
    ) -> Vec<RequestInFlight> {
        let (state, local) = (drain.state, drain.local);
        let word = state.slot(slot).state.load(Ordering::Acquire);
        if word & 0xff != SLOT_LIVE || local.is_alive(state, slot) {
            return Vec::new();
        }
        let place = Place {
            slot,
            epoch: (word >> 32) as u32,
            area: state.queue(slot),
        };
        let records_max = self.teller.records_max;
        let (death, printed) = blackbox::collect(state, &place, status, out_of_memory, records_max);
        if !is_told(state, &place) {
            for printed in &printed {
                self.tell_printed(drain, &place, &death, printed, copies);
            }
            if access == Access::Here {
                self.tell_unfinished(drain, &place, &death, copies);
            }
            if death.is_worth_telling() {
                self.tell(drain, &place, &death, copies);
            }
        }
        // CRASH(told): the box is published, the place still says that there is something to tell; `is_told` knows.
        crash_point!("told");
        clear(state, &place);
        death.requests
    }

    fn tell_printed(
        &self,
        drain: &mut drain::Drain<'_>,
        place: &Place,
        death: &Death,
        printed: &Printed,
        copies: &mut Copies,
    ) {
        let Printed { stream, text, upto } = printed;
        let told = &drain.state.slot(place.slot).aside.output_told[*stream as usize];
        let (severity, component) = (stream.severity().0, stream.component());
        let line = |encoder: &Encoder| printed_line(encoder, *stream, death.process, text);
        if self.tell_once(
            drain,
            place,
            told,
            *upto,
            severity,
            &line(&self.teller.encoder),
        ) {
            copies.enqueue(&self.beside, component, severity, line);
        }
    }

    /// The access records of the requests that died.
    fn tell_unfinished(
        &self,
        drain: &mut drain::Drain<'_>,
        place: &Place,
        death: &Death,
        copies: &mut Copies,
    ) {
        let told = &drain.state.slot(place.slot).aside.requests_told;
        for (request, upto) in death.requests.iter().zip(1..) {
            let line = |encoder: &Encoder| death.encode_unfinished(request, encoder);
            let severity = Severity::ERROR;
            if self.tell_once(
                drain,
                place,
                told,
                upto,
                severity,
                &line(&self.teller.encoder),
            ) {
                copies.enqueue(&self.beside, blackbox::ACCESS, severity, line);
            }
        }
    }

    /// Stores what brings the progress to `upto`. False: another teller has done so, who was killed after it.
    fn tell_once(
        &self,
        drain: &mut drain::Drain<'_>,
        place: &Place,
        progress: &Progress,
        upto: u64,
        severity: Severity,
        line: &[u8],
    ) -> bool {
        let done = progress.done(drain.state, place.slot);
        progress.set(done);
        if done >= upto {
            return false;
        }
        let mark = Mark::Done { progress, upto };
        self.store_in_holder_queue(drain, severity, line, Some(&mark));
        true
    }

    fn tell(
        &self,
        drain: &mut drain::Drain<'_>,
        place: &Place,
        death: &Death,
        copies: &mut Copies,
    ) {
        blackbox::keep(drain.state, place, death, &self.teller.encoder);
        // CRASH(kept): the death has its entry, which the next teller takes again.
        crash_point!("kept");
        let room = drain.state.queue(HOLDER_SLOT).len as usize / 4;
        let most = RECORD_BYTES_MAX.min(room);
        let copied = &drain.state.slot(place.slot).aside.copies_told;
        for (copy, upto) in Shadow::of_copies(drain.state, &self.teller).iter().zip(1..) {
            let log = copy.in_domain(self.domain.clone());
            let line = death.encode(&log.teller.encoder, most);
            log.tell_once(drain, place, copied, upto, Severity::ERROR, &line);
        }
        copies.enqueue(
            &self.beside,
            blackbox::COMPONENT,
            Severity::ERROR,
            |encoder| death.encode(encoder, most),
        );
        let line = death.encode(&self.teller.encoder, most);
        let told_until = &drain.state.slot(place.slot).aside.told_until;
        self.store_in_holder_queue(
            drain,
            Severity::ERROR,
            &line,
            Some(&Mark::Until(told_until)),
        );
    }

    /// The worker sees its death coming (a timeout): the reason is kept for its black box, also when it then ends
    /// regularly. 120 bytes are kept.
    pub fn expect_death(&self, cause: &str) {
        if let Some(place) = self.domain.local().place_if_taken() {
            blackbox::expect(self.domain.state.slot(place.slot), cause);
        }
    }

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
            let capture = Capture::begin(state, place, fds, bytes_max).map_err(fail)?;
            *kept = Some((capture, self.shadow()));
            drop(kept);
            self.captures.store(true, Ordering::Relaxed);
            local.chores.watch(self.domain.weak());
        }
        Ok(())
    }

    /// This log, as the thread that reads what was printed knows it: without the domain, which must not stay for it.
    fn shadow(&self) -> Shadow {
        Shadow {
            file: self.file,
            path: self.path.clone(),
            teller: self.teller.clone(),
            beside: self.beside.clone(),
        }
    }

    /// Ends what [`Log::capture_output`] began, with all that was printed until now published.
    pub(super) fn release_output(&self) {
        if !self.captures.swap(false, Ordering::Relaxed) {
            return;
        }
        let local = self.domain.local();
        local.chores.pause_watching();
        let kept = local.captured().take();
        if let Some((capture, shadow)) = kept {
            let log = shadow.in_domain(self.domain.clone());
            let mut printing = Printing::to(&log);
            let mut patience = log.on_full_wait;
            capture.finish(&self.domain.state, &mut |stream, line, mark| {
                let taken = printing.offer(stream, line, mark) || {
                    log.flush(std::mem::take(&mut patience));
                    printing.offer(stream, line, mark)
                };
                if !taken {
                    log.give_up();
                }
                true
            });
            printing.drain();
        }
    }
}

/// What this process printed, on its way into a log.
struct Printing<'a> {
    log: &'a Log,
    ticket: Ticket,
}

impl Printing<'_> {
    fn to(log: &Log) -> Printing<'_> {
        Printing {
            log,
            ticket: Ticket::default(),
        }
    }

    /// Enqueues a line. False: there is no room for it now.
    fn offer(&mut self, stream: Stream, text: &str, mark: &Mark) -> bool {
        let (log, process) = (self.log, std::process::id());
        let (severity, component) = (stream.severity().0, stream.component());
        let line = |encoder: &Encoder| printed_line(encoder, stream, process, text);
        let own = line(&log.teller.encoder);
        let wait = log.on_full_wait.max(super::LEASE_WAIT);
        let Some(ticket) = log.offer_marked(severity, &own, wait, Some(mark)) else {
            return false;
        };
        self.ticket.add(ticket);
        log.record_published(severity, component, "", b"", &own);
        let mut copies = Copies::default();
        copies.enqueue(&log.beside, component, severity, line);
        copies.settle();
        true
    }

    fn drain(&mut self) {
        let _: Outcome = self.log.drain(std::mem::take(&mut self.ticket));
    }
}

/// The line of a record of something printed.
fn printed_line(encoder: &Encoder, stream: Stream, process: u32, text: &str) -> Vec<u8> {
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

/// What is needed to make a [`Log`] for the thread's use.
pub(crate) struct Shadow {
    file: u16,
    path: std::path::PathBuf,
    teller: Teller,
    beside: Arc<[Beside]>,
}

impl Shadow {
    /// The log of a domain that black boxes are written to; None: no log of it asked for them.
    pub fn of_teller(domain: &Domain) -> Option<Shadow> {
        let state = &domain.state;
        (0..state.files_used()).find_map(|file| {
            let config = Config::load(&state.file_entry(file).config);
            let format = config.format().filter(|_| !config.has_copies())?;
            let teller = Teller {
                encoder: Encoder::new(format),
                records_max: 50,
            };
            Some(Shadow::of_file(state, file, teller))
        })
    }

    /// The logs of a domain that black boxes are copied to; `teller` is the one that tells.
    fn of_copies(state: &State, teller: &Teller) -> Vec<Shadow> {
        let files = (0..state.files_used()).filter_map(|file| {
            let config = Config::load(&state.file_entry(file).config);
            let format = config.format().filter(|_| config.has_copies())?;
            let teller = Teller {
                encoder: teller.encoder.clone().with_format(format),
                records_max: teller.records_max,
            };
            Some(Shadow::of_file(state, file, teller))
        });
        files.collect()
    }

    fn of_file(state: &State, file: u16, teller: Teller) -> Shadow {
        Shadow {
            file,
            path: state.file_entry(file).path.to_path(),
            teller,
            beside: Arc::new([]),
        }
    }

    pub fn in_domain(&self, domain: Arc<Domain>) -> Log {
        let place = domain.local().place_if_taken();
        let recording = place.is_some_and(|place| recorder::is_on(&domain.state, place));
        Log {
            domain,
            file: self.file,
            path: self.path.clone(),
            ending: Ending::plain(),
            hooks: AtomicBool::new(false),
            durable: false,
            spool: None,
            on_full: OnFull::Block,
            on_full_wait: Duration::from_millis(200),
            recorder: AtomicBool::new(recording),
            judge: Default::default(),
            teller: self.teller.clone(),
            beside: self.beside.clone(),
            captures: AtomicBool::new(false),
        }
    }
}

/// Publishes what was printed since the last time. True: there was something.
pub(crate) fn read_output(domain: &Arc<Domain>) -> bool {
    let mut kept = domain.local().captured();
    let Some((capture, shadow)) = kept.as_mut() else {
        return false;
    };
    let log = shadow.in_domain(domain.clone());
    let mut printing = Printing::to(&log);
    let mut no_room = false;
    let moved = capture.tick(&domain.state, &mut |stream, line, mark| {
        let taken = printing.offer(stream, line, mark) || {
            log.flush(Duration::ZERO);
            printing.offer(stream, line, mark)
        };
        no_room |= !taken;
        taken
    });
    printing.drain();
    moved || no_room
}

fn is_long_dead(since: &std::sync::atomic::AtomicU64, now_ns: u64) -> bool {
    match since.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => false,
        Err(since) => now_ns.saturating_sub(since) >= PARENTS_TIME_NS,
    }
}

/// The box is in the holder's queue, or was written from there.
fn is_told(state: &State, place: &Place) -> bool {
    let until = state
        .slot(place.slot)
        .aside
        .told_until
        .load(Ordering::Acquire);
    until != 0 && state.slot(HOLDER_SLOT).tail.load(Ordering::Acquire) >= until
}

/// Nothing is left to be told of this worker.
fn clear(state: &State, place: &Place) {
    requests::clear(state, place.slot);
    for stream in Stream::ALL {
        if state.slot(place.slot).aside.flags.load(Ordering::Relaxed) & stream.flag() != 0 {
            capture::forget(state, place, stream);
        }
    }
    state.slot(place.slot).aside.dying.set(b"");
}
