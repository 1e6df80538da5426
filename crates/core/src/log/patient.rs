//! For a publisher that rather waits than loses, and has many lines at once: it reads a pipe, and who writes there waits in turn.
//!
//! [`Log::offer`] takes a line or leaves it with its caller; it never drops, never shortens what fits a record at all, and counts
//! nothing that it did not take. Lines that were taken are published, whatever becomes of this process; they are drained together by
//! one [`Log::drain`].

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{DropReason, Log, Next, Outcome, Ticket};
use crate::layout::HOLDER_SLOT;
use crate::mark::Mark;
use crate::options::Severity;

impl Ticket {
    /// What is left to do for several lines: the ticket of a later one is added to this.
    pub fn add(&mut self, later: Ticket) {
        // An owner that was seen with a later line drains the earlier ones too, and a sync covers them.
        if !later.is_settled() {
            *self = later;
        }
    }
}

impl Default for Ticket {
    /// Nothing is left to do.
    fn default() -> Ticket {
        Ticket(Next::Nothing)
    }
}

impl Log {
    /// Stores a line if there is room for it. None: there is none now, and the line was neither taken nor counted; offer it again
    /// after [`Log::flush`], say, or [`Log::give_up`].
    ///
    /// A line too long for this process's queue, or of a process without one, needs the drain lease, for which this waits at most
    /// `wait`; any other line waits for nothing. A line that no record can hold (8 MiB) is cut with a mark.
    pub fn offer(&self, severity: Severity, line: &[u8], wait: Duration) -> Option<Ticket> {
        self.offer_marked(severity, line, wait, None)
    }

    /// The same, and something is noted of the record in the moment in which it counts.
    pub(super) fn offer_marked(
        &self,
        severity: Severity,
        line: &[u8],
        wait: Duration,
        mark: Option<&Mark>,
    ) -> Option<Ticket> {
        let ticket = self.enqueue_marked(severity, line, mark);
        match ticket.0 {
            Next::Full | Next::SpoolFull => {
                // It may be full because the relay was killed.
                self.look_for_relay();
                None
            }
            Next::Big | Next::Placeless => self
                .store_under_lease(severity, line, wait, mark)
                .then(Ticket::default),
            _ => Some(ticket),
        }
    }

    /// Drains what was offered, if nobody else is at it; with [`Durability::Disk`](crate::Durability), waits until the disk has it.
    pub fn drain(&self, ticket: Ticket) -> Outcome {
        if ticket.is_settled() {
            return Outcome::Published;
        }
        // The line is in its queue: what is left needs neither it nor its severity.
        self.settle(ticket, Severity::INFO, b"")
    }

    /// Counts a line that was offered in vain and will not be offered again as dropped.
    pub fn give_up(&self) {
        let place = self.domain.local().place_if_taken();
        let slot = place.map_or(HOLDER_SLOT, |place| place.slot);
        let _counted = self.dropped(&self.domain.state, slot, DropReason::Full);
    }

    /// Counts a line of which its publisher keeps the first part only.
    pub fn count_cut(&self) {
        let counters = &self.domain.state.control().counters;
        counters.cut.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogOptions, StateDir};

    fn log(place: &tempfile::TempDir, options: LogOptions) -> Log {
        let options = LogOptions {
            state_dir: StateDir::Beside,
            ..options
        };
        Log::open(place.path().join("a.log"), &options).unwrap()
    }

    fn text(place: &tempfile::TempDir) -> String {
        std::fs::read_to_string(place.path().join("a.log")).unwrap()
    }

    /// Many lines are offered, one call drains all of them, in their order.
    #[test]
    fn lines_that_were_offered_are_drained_together() {
        let place = tempfile::tempdir().unwrap();
        let log = log(&place, LogOptions::default());
        let mut ticket = Ticket::default();
        let lines: Vec<_> = (0..100).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            ticket.add(
                log.offer(Severity::INFO, line.as_bytes(), Duration::ZERO)
                    .unwrap(),
            );
        }
        assert_eq!(text(&place), "");
        assert_eq!(log.drain(ticket), Outcome::Published);
        assert_eq!(text(&place), lines.concat());
    }

    /// A full queue leaves the line with its caller and counts nothing, until the caller gives it up; what was taken is
    /// written once.
    #[test]
    fn a_line_without_room_is_neither_taken_nor_counted() {
        let place = tempfile::tempdir().unwrap();
        let options = LogOptions {
            queue_bytes: 128 << 10,
            ..LogOptions::default()
        };
        let log = log(&place, options);
        let line = [b'x'; 1000];
        let mut ticket = Ticket::default();
        let mut taken = 0;
        while let Some(next) = log.offer(Severity::INFO, &line, Duration::ZERO) {
            ticket.add(next);
            taken += 1;
        }
        let dropped = |log: &Log| log.status().ledger.dropped.iter().sum::<u64>();
        assert!((100..=131).contains(&taken), "{taken}");
        assert_eq!(dropped(&log), 0);
        log.give_up();
        assert_eq!(dropped(&log), 1);
        assert!(log.flush(Duration::from_secs(5)));
        assert_eq!(text(&place).len(), taken * line.len());
        assert!(log.offer(Severity::INFO, &line, Duration::ZERO).is_some());
        log.drain(ticket);
    }

    /// A line that is too long for the queue is stored whole under the lease, behind what was offered before; while another has
    /// the lease it is left with its caller.
    #[test]
    fn a_line_too_long_for_the_queue_is_whole_or_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let options = LogOptions {
            queue_bytes: 128 << 10,
            ..LogOptions::default()
        };
        let log = log(&place, options);
        let long = ["y".repeat(100_000), "\n".into()].concat();
        let offer = |line: &str| log.offer(Severity::INFO, line.as_bytes(), Duration::ZERO);
        assert!(offer("before\n").is_some());
        assert!(offer(&long).is_some());
        assert_eq!(text(&place), ["before\n", &long].concat());
        std::thread::scope(|scope| {
            let (said, heard) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel();
            let log = &log;
            scope.spawn(move || {
                log.serve(|| {
                    let _ = said.send(());
                    ended.try_recv() != Ok(())
                })
            });
            heard.recv().unwrap();
            let refused = log.offer(Severity::INFO, long.as_bytes(), Duration::ZERO);
            end.send(()).unwrap();
            assert!(refused.is_none());
        });
        assert!(offer(&long).is_some());
        assert_eq!(text(&place).len(), 7 + 2 * long.len());
        assert_eq!(log.status().ledger.cut, 0);
    }
}
