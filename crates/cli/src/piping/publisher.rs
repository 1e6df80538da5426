//! The one way of a printed line into the log: [`Publisher::publish`] gets each, and gives back what there is no room for.
//!
//! What always holds: a line that was taken is published, so it survives this process; lines are taken in order. Without room,
//! whoever reads waits, and so do the writers of the pipe; or, if nothing may hold them up (`--drop`), lines are dropped after a
//! moment (once for each stall), counted, and said in the log when it goes on. Then a thread of its own drains, so that a disk that
//! hangs does not stop reading.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use logboom::{Beside, Log, Ticket};

use super::form::{Form, Printed};
use super::viewers::{self, Viewers};
use crate::viewing::spans::now_ns;
use crate::words;

/// How long a line waits for the lease that is too long for a queue.
const LEASE_WAIT: Duration = Duration::from_millis(200);
/// After so long without room it is said on standard error.
const SAY_AFTER: Duration = Duration::from_secs(1);
/// So long a reader that must not be held up waits for room at a time, while what it may wait in all lasts.
const PAUSE: Duration = Duration::from_micros(500);
/// After so long with room it may wait as long as at first.
const CALM: Duration = Duration::from_secs(1);
/// How long the end waits until all is in the file. What is not stays in shared memory.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// Publishes printed lines.
pub(crate) struct Publisher {
    log: Arc<Log>,
    form: Form,
    /// Where nothing may hold the writers up for longer than a moment.
    hurry: Option<Hurry>,
    ticket: Ticket,
    space: Vec<u8>,
    /// Lines that were dropped and not spoken of yet.
    dropped: Dropped,
    dropped_in_all: u64,
    /// Since when there has been no room, and whether that was said.
    without_room: Option<(Instant, bool)>,
    viewers: Viewers,
    /// Where records are shipped to.
    ships: Vec<Beside>,
}

/// Drops what the log does not take, and waits a moment before it does so: a burst is no stall.
struct Hurry {
    drainer: Drainer,
    /// What may be waited in all, once for each stall.
    patience: Duration,
    waited: Duration,
    /// When there was no room last.
    refused_last: Option<Instant>,
}

#[derive(Default)]
struct Dropped {
    lines: u64,
    bytes: u64,
    since_ns: u64,
    /// Not before this: with hardly any room, it must not fill what there is.
    say_at_ns: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    /// Lines that are lost.
    pub(crate) dropped: u64,
    /// Everything else is in the file. Otherwise some of it waits in shared memory.
    pub(crate) is_written: bool,
}

impl Publisher {
    /// Publishes to `log`. With a patience, what there is no room for when that is at its end is dropped.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new(
        log: Log,
        form: Form,
        patience: Option<Duration>,
        ships: Vec<Beside>,
    ) -> std::io::Result<Publisher> {
        let log = Arc::new(log);
        let hurry = patience
            .map(|patience| Hurry::new(&log, patience))
            .transpose()?;
        Ok(Publisher {
            log,
            form,
            hurry,
            ticket: Ticket::default(),
            space: Vec::new(),
            dropped: Dropped::default(),
            dropped_in_all: 0,
            without_room: None,
            viewers: Viewers::default(),
            ships,
        })
    }

    /// Says whose output this is from here on.
    pub(crate) fn set_process(&mut self, process: u32) {
        self.form.process = Some(process);
    }

    /// Takes a printed line: makes a record of it and publishes that. False: there is no room for it now.
    pub(crate) fn publish(&mut self, printed: &Printed<'_>) -> bool {
        if self.dropped.lines > 0 && printed.time_ns >= self.dropped.say_at_ns {
            self.say_dropped(printed.time_ns);
        }
        let (severity, patience) = (self.form.severity_of(printed.stream), self.patience());
        let line = self.form.finish(printed, &mut self.space);
        let Some(ticket) = self.log.offer(severity, line, patience) else {
            return self.refuse(printed);
        };
        self.ticket.add(ticket);
        self.without_room = None;
        if self.viewers.watch(&self.log, printed.time_ns) {
            let json = self.form.json(printed);
            viewers::record(&self.log, severity, &self.form.component, &json, line);
        }
        self.ship(printed);
        true
    }

    /// A copy for each destination. A spool that is full does what its configuration says, within its bound.
    fn ship(&self, printed: &Printed<'_>) {
        let severity = self.form.severity_of(printed.stream);
        let mut takers = self.ships.iter();
        if let Some(first) = takers.find(|ship| ship.takes(&self.form.component, severity)) {
            let line = first.encoder.line(&self.form.record(printed));
            let _ = first.log.publish(severity, &line);
            for ship in takers.filter(|ship| ship.takes(&self.form.component, severity)) {
                let _ = ship.log.publish(severity, &line);
            }
        }
    }

    /// What was taken since the last time is on its way into the file.
    pub(crate) fn drain(&mut self) {
        let ticket = std::mem::take(&mut self.ticket);
        match &self.hurry {
            Some(hurry) => hurry.drainer.drain(ticket),
            None => {
                let _ = self.log.drain(ticket);
            }
        }
    }

    /// After a line was not taken: makes room, or waits a while for it.
    pub(crate) fn make_room(&mut self) {
        if !self.ticket.is_settled() {
            return self.drain();
        }
        if let Some(hurry) = &mut self.hurry {
            return hurry.wait();
        }
        let (since, said) = *self.without_room.get_or_insert((Instant::now(), false));
        let waited = since.elapsed();
        if waited >= SAY_AFTER && !said {
            self.without_room = Some((since, true));
            logboom::say(&format!(
                "the log `{}` takes nothing more for now, so nothing more is read until it does: see `logboom status`",
                self.log.path().display()
            ));
        }
        // A hundredth of what was waited already, between a millisecond and 50.
        std::thread::sleep(
            (waited / 100).clamp(Duration::from_millis(1), Duration::from_millis(50)),
        );
        let _ = self.log.flush(Duration::ZERO);
    }

    /// A line that was not taken will not be published any more.
    pub(crate) fn give_up(&mut self, printed: &Printed<'_>) {
        if self.dropped.lines == 0 {
            self.dropped.since_ns = printed.time_ns;
        }
        self.dropped.lines += 1;
        self.dropped.bytes += printed.line.bytes.len() as u64;
        self.dropped_in_all += 1;
        self.log.give_up();
    }

    /// A line was cut.
    pub(crate) fn count_cut(&self) {
        self.log.count_cut();
    }

    /// Waits, within a bound, until all is in the file.
    pub(crate) fn finish(mut self) -> Published {
        let until = Instant::now() + FLUSH_WAIT;
        let left = || until.saturating_duration_since(Instant::now());
        self.drain();
        let hurry = self.hurry.take();
        let ended = hurry.is_none_or(|hurry| hurry.drainer.end(left()));
        // A disk that hangs would hang this thread, too.
        if ended && self.dropped.lines > 0 {
            self.say_dropped(now_ns());
            self.drain();
        }
        Published {
            dropped: self.dropped_in_all,
            is_written: ended && self.log.flush(left()),
        }
    }

    fn patience(&self) -> Duration {
        match self.hurry {
            Some(_) => Duration::ZERO,
            None => LEASE_WAIT,
        }
    }

    fn refuse(&mut self, printed: &Printed<'_>) -> bool {
        if self.hurry.as_mut().is_none_or(Hurry::may_wait) {
            return false;
        }
        self.give_up(printed);
        true
    }

    /// Says in the log what was dropped, if there is room for that.
    fn say_dropped(&mut self, now_ns: u64) {
        let Dropped {
            lines,
            bytes,
            since_ns,
            ..
        } = self.dropped;
        let text = format!(
            "{} ({}) dropped within {:.1} s: the log took nothing",
            words::of(lines, "line"),
            words::bytes(bytes),
            now_ns.saturating_sub(since_ns) as f64 / 1e9
        );
        self.form.say(&text, now_ns, &mut self.space);
        // As severe as what was dropped: a queue keeps room for warnings, where this would go in alone, again and again.
        let severity = self.form.severity;
        let offered = self.log.offer(severity, &self.space, self.patience());
        if let Some(ticket) = offered {
            self.ticket.add(ticket);
            self.dropped = Dropped {
                say_at_ns: now_ns + SAY_AFTER.as_nanos() as u64,
                ..Dropped::default()
            };
        }
    }
}

impl Hurry {
    fn new(log: &Arc<Log>, patience: Duration) -> std::io::Result<Hurry> {
        Ok(Hurry {
            drainer: Drainer::start(Arc::clone(log))?,
            patience,
            waited: Duration::ZERO,
            refused_last: None,
        })
    }

    /// There was no room. True: it may be waited for.
    fn may_wait(&mut self) -> bool {
        let now = Instant::now();
        let last = self.refused_last.replace(now);
        if last.is_none_or(|last| now.duration_since(last) >= CALM) {
            self.waited = Duration::ZERO;
        }
        self.waited < self.patience
    }

    fn wait(&mut self) {
        let before = Instant::now();
        std::thread::sleep(PAUSE);
        self.waited += before.elapsed();
    }
}

/// A thread that drains, for a reader that must not wait for a disk.
struct Drainer(Arc<Todo>);

#[derive(Default)]
struct Todo {
    list: Mutex<List>,
    changed: Condvar,
}

#[derive(Default)]
struct List {
    ticket: Ticket,
    is_busy: bool,
    ends: bool,
    ended: bool,
}

impl Drainer {
    fn start(log: Arc<Log>) -> std::io::Result<Drainer> {
        let todo = Arc::new(Todo::default());
        let own = Arc::clone(&todo);
        std::thread::Builder::new()
            .name("drain".into())
            .stack_size(512 << 10)
            .spawn(move || own.work(&log))?;
        Ok(Drainer(todo))
    }

    fn drain(&self, ticket: Ticket) {
        if !ticket.is_settled() {
            let mut list = self.0.list();
            list.ticket.add(ticket);
            // Whoever is at it looks again before it sleeps.
            if !list.is_busy {
                self.0.changed.notify_all();
            }
        }
    }

    /// Waits at most `wait` until all is drained. False: it is not.
    fn end(self, wait: Duration) -> bool {
        let mut list = self.0.list();
        list.ends = true;
        self.0.changed.notify_all();
        let (list, _) = self
            .0
            .changed
            .wait_timeout_while(list, wait, |list| !list.ended)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        list.ended
    }
}

impl Todo {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn work(&self, log: &Log) {
        let mut list = self.list();
        loop {
            let ticket = std::mem::take(&mut list.ticket);
            if !ticket.is_settled() {
                list.is_busy = true;
                drop(list);
                let _ = log.drain(ticket);
                list = self.list();
                list.is_busy = false;
            } else if list.ends {
                list.ended = true;
                return self.changed.notify_all();
            } else {
                list = self
                    .changed
                    .wait(list)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
            }
        }
    }
}
