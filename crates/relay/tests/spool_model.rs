//! A spool under random treatment against a plain model: whatever writer, retention and ends of the reader do, nothing that is
//! settled is lost, nothing that is not settled is skipped, the order is kept, and a record comes twice only after a crash, a lost
//! cursor, or when its writer took it back and wrote it again.
//!
//! How it works: the model is the list of segments with the numbers of their records, and up to where they are settled. After
//! each step the reader's answers and the directory are compared with it.

mod spool_support;

use std::collections::VecDeque;
use std::fs;

use logboom_relay::source::{Began, Parcel, Source};
use logboom_relay::spool::{Options, Reader};
use proptest::prelude::*;
use spool_support::{Spool, crash, eager, is_full, lazy, number_of, record_line};

#[derive(Debug, Clone)]
enum Step {
    Write(u64),
    /// A writer dies within a record; the next one does `Mend` before it goes on.
    WritePart(usize, Mend),
    /// The writer takes its last records back, and writes them again later.
    TakeBack(usize),
    Rotate,
    /// Retention deletes the oldest closed segment.
    DeleteOldest,
    Read(usize),
    /// Settles a part of what is in flight.
    Settle(usize),
    Flush,
    Rewind,
    Reopen,
    Crash,
    LoseCursor(Loss),
}

#[derive(Debug, Clone, Copy)]
enum Mend {
    Finish,
    CutBack,
    EndTheLine,
}

#[derive(Debug, Clone, Copy)]
enum Loss {
    Deleted,
    Garbage,
    TornSlot,
}

fn step() -> impl Strategy<Value = Step> {
    let mend = prop_oneof![
        Just(Mend::Finish),
        Just(Mend::CutBack),
        Just(Mend::EndTheLine)
    ];
    let loss = prop_oneof![
        Just(Loss::Deleted),
        Just(Loss::Garbage),
        Just(Loss::TornSlot)
    ];
    prop_oneof![
        6 => (1_u64..8).prop_map(Step::Write),
        2 => ((1_usize..300), mend).prop_map(|(len, mend)| Step::WritePart(len, mend)),
        2 => (1_usize..6).prop_map(Step::TakeBack),
        4 => Just(Step::Rotate),
        1 => Just(Step::DeleteOldest),
        6 => (1_usize..15).prop_map(Step::Read),
        6 => (1_usize..15).prop_map(Step::Settle),
        1 => Just(Step::Flush),
        1 => Just(Step::Rewind),
        1 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        1 => loss.prop_map(Step::LoseCursor),
    ]
}

/// A segment that the reader has not deleted.
#[derive(Debug)]
struct Segment {
    /// None: the current one.
    closed: Option<u32>,
    records: Vec<u64>,
    /// Retention deleted it: whether its records come depends on whether it was open.
    is_deleted: bool,
}

struct Model {
    spool: Spool,
    options: Options,
    reader: Option<Reader>,
    segments: Vec<Segment>,
    next: u64,
    mend: Option<(u64, usize, Mend)>,
    /// Numbers up to these, exclusively, are settled; are known to be by the reader; are known to be by the cursor. The reader
    /// may always know more than the latter two: they are 0 when it need not know anything.
    settled: u64,
    known: u64,
    stored: u64,
    /// What was read and is not settled, as numbers and as parcels.
    in_flight: VecDeque<Parcel>,
    /// How many of them were read before the reader noticed that the writer took records back: something else may stand there.
    doubtful: usize,
    /// The highest number that was taken back: until it is written again and everything was read, records may come twice.
    taken_back: Option<u64>,
    /// The next number that must come, at the least and at the most.
    next_least: u64,
    next_most: u64,
}

impl Model {
    fn new(options: Options) -> Model {
        let spool = Spool::new();
        let reader = Some(spool.open_with(options.clone()));
        Model {
            spool,
            options,
            reader,
            segments: Vec::new(),
            next: 0,
            mend: None,
            settled: 0,
            known: 0,
            stored: 0,
            in_flight: VecDeque::new(),
            doubtful: 0,
            taken_back: None,
            next_least: 0,
            next_most: 0,
        }
    }

    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().unwrap()
    }

    fn current(&mut self) -> &mut Segment {
        if self
            .segments
            .last()
            .is_none_or(|last| last.closed.is_some())
        {
            self.segments.push(Segment {
                closed: None,
                records: Vec::new(),
                is_deleted: false,
            });
        }
        self.segments.last_mut().unwrap()
    }

    /// What the next writer does first.
    fn mend(&mut self) {
        let Some((number, written, mend)) = self.mend.take() else {
            return;
        };
        let line = record_line(number);
        match mend {
            Mend::Finish => {
                self.spool.append(&line[written..]);
                self.current().records.push(number);
                self.next = number + 1;
            }
            Mend::CutBack => self.spool.cut(self.spool.len() - written as u64),
            Mend::EndTheLine => self.spool.append(b"\n"),
        }
    }

    fn write(&mut self, count: u64) {
        self.mend();
        let numbers = self.next..self.next + count;
        self.spool.write(numbers.clone());
        self.next = numbers.end;
        self.current().records.extend(numbers);
    }

    fn write_part(&mut self, len: usize, mend: Mend) {
        self.mend();
        let line = record_line(self.next);
        // Without its last digit at least: a line feed alone would make it whole.
        let len = len.min(line.len() - 2);
        self.spool.append(&line[..len]);
        self.current();
        self.mend = Some((self.next, len, mend));
    }

    fn take_back(&mut self, count: usize) {
        self.mend();
        let Some(current) = self
            .segments
            .last_mut()
            .filter(|last| last.closed.is_none())
        else {
            return;
        };
        let kept = current.records.len().saturating_sub(count);
        let taken = current.records.split_off(kept);
        let bytes: usize = taken.iter().map(|number| record_line(*number).len()).sum();
        // A fragment whose line was ended may lie between: then only as much as there is behind it.
        let content = fs::read(self.spool.current()).unwrap();
        let expected: Vec<u8> = taken
            .iter()
            .flat_map(|number| record_line(*number))
            .collect();
        if !content.ends_with(&expected) {
            current.records.extend(taken);
            return;
        }
        self.spool.cut(content.len() as u64 - bytes as u64);
        if let Some(first) = taken.first() {
            self.next = *first;
            // They come again, or for the first time.
            self.next_least = self.next_least.min(*first);
        }
        // Where nothing of the segment can be believed to be as it was, it is read from its beginning; after a crash, from the oldest.
        if !taken.is_empty() {
            (self.next_least, self.known, self.stored) = (0, 0, 0);
            self.doubtful = self.in_flight.len();
            self.taken_back = self.taken_back.max(taken.last().copied());
        }
    }

    fn rotate(&mut self) {
        self.mend();
        if self
            .segments
            .last()
            .is_some_and(|last| last.closed.is_none())
        {
            self.spool.rotate();
            self.segments.last_mut().unwrap().closed = self.spool.numbers().last().copied();
        }
    }

    fn delete_oldest(&mut self) {
        if let Some(oldest) = self.spool.numbers().first() {
            fs::remove_file(self.spool.closed(*oldest)).unwrap();
            let this =
                |segment: &&mut Segment| segment.closed == Some(*oldest) && !segment.is_deleted;
            self.segments.iter_mut().find(this).unwrap().is_deleted = true;
        }
    }

    fn read(&mut self, most: usize) {
        let mut parcels = VecDeque::new();
        let got = self.reader().read(most, &mut parcels).unwrap();
        assert_eq!(got, parcels.len());
        for parcel in parcels {
            let number = number_of(&parcel);
            let is_in_order = number >= self.next_least || self.taken_back.is_some();
            assert!(
                is_in_order,
                "{number} came twice; {} was next",
                self.next_least
            );
            self.assert_nothing_between(self.next_most, number);
            self.in_flight.push_back(parcel);
            (self.next_least, self.next_most) = (number + 1, number + 1);
        }
        if self.taken_back.is_some() {
            self.doubtful = self.in_flight.len();
        }
        if got < most {
            self.taken_back = self.taken_back.filter(|taken| *taken >= self.next);
            self.assert_nothing_between(self.next_most, u64::MAX);
        }
    }

    /// All records from `from` to before `to` were taken back or deleted by retention.
    fn assert_nothing_between(&self, from: u64, to: u64) {
        let there = self.segments.iter().filter(|segment| !segment.is_deleted);
        let skipped: Vec<u64> = there
            .flat_map(|segment| segment.records.iter().copied())
            .filter(|number| (from..to).contains(number))
            .collect();
        assert!(skipped.is_empty(), "{skipped:?} were skipped before {to}");
    }

    fn settle(&mut self, count: usize) {
        let count = count.min(self.in_flight.len());
        if count == 0 {
            return;
        }
        let settled: Vec<Parcel> = self.in_flight.drain(..count).collect();
        let last = settled.last().unwrap();
        self.settled = self.settled.max(number_of(last) + 1);
        self.known = if count > self.doubtful {
            number_of(last) + 1
        } else {
            0
        };
        self.doubtful = self.doubtful.saturating_sub(count);
        let end = last.end;
        self.reader().settle(end).unwrap();
        if self.options.store_every.is_zero() {
            self.stored = self.known;
        }
    }

    /// The reader begins again: at the last settled record at the latest, and no earlier than the cursor knew.
    fn begin_at(&mut self, least: u64) {
        self.in_flight.clear();
        self.doubtful = 0;
        self.taken_back = None;
        self.next_least = least;
        self.next_most = self.settled;
    }

    fn reopen(&mut self) {
        self.reader = None;
        self.stored = self.known;
        self.open();
    }

    fn open(&mut self) {
        self.reader = Some(self.spool.open_with(self.options.clone()));
        self.known = self.stored;
        if matches!(self.reader().began(), Began::CursorLost(_)) {
            self.known = 0;
        }
        self.begin_at(self.known);
    }

    fn crash(&mut self) {
        crash(&self.spool, self.reader.take().unwrap());
        self.open();
    }

    fn lose_cursor(&mut self, loss: Loss) {
        self.reader = None;
        let path = self.spool.cursor();
        let mut bytes = fs::read(&path).unwrap();
        match loss {
            Loss::Deleted => fs::remove_file(&path).unwrap(),
            Loss::Garbage => fs::write(&path, b"LC1 garbage").unwrap(),
            Loss::TornSlot => {
                // The slot with the higher number: what was stored last.
                let newer = usize::from(bytes[4..20] < bytes[4100..4116]) * 4096;
                bytes[newer + 60..newer + 200].fill(0);
                fs::write(&path, &bytes).unwrap();
            }
        }
        self.stored = 0;
        self.open();
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Write(count) => self.write(*count),
            Step::WritePart(len, mend) => self.write_part(*len, *mend),
            Step::TakeBack(count) => self.take_back(*count),
            Step::Rotate => self.rotate(),
            Step::DeleteOldest => self.delete_oldest(),
            Step::Read(most) => self.read(*most),
            Step::Settle(count) => self.settle(*count),
            Step::Flush => {
                self.reader().flush().unwrap();
                self.stored = self.known;
            }
            Step::Rewind => {
                self.reader().rewind();
                self.begin_at(self.known);
            }
            Step::Reopen => self.reopen(),
            Step::Crash => self.crash(),
            Step::LoseCursor(loss) => self.lose_cursor(*loss),
        }
        self.assert_only_delivered_segments_are_gone();
    }

    fn assert_only_delivered_segments_are_gone(&mut self) {
        let there = self.spool.numbers();
        let (settled, in_flight) = (self.settled, self.in_flight.front().map(number_of));
        self.segments.retain(|segment| {
            let is_there =
                segment.closed.is_none_or(|number| there.contains(&number)) && !segment.is_deleted;
            if is_there || segment.is_deleted {
                return true;
            }
            let unsettled = segment.records.iter().find(|number| **number >= settled);
            assert_eq!(
                unsettled, None,
                "its segment was deleted; in flight from {in_flight:?}"
            );
            false
        });
        self.segments.retain(|segment| {
            !segment.is_deleted || segment.records.last().is_some_and(|last| *last >= settled)
        });
    }

    /// In the end everything comes, and nothing is left but the current segment.
    fn finish(&mut self) {
        self.mend();
        for _ in 0..100 {
            self.read(1000);
            if self.in_flight.is_empty() {
                break;
            }
            self.settle(usize::MAX);
        }
        assert!(self.in_flight.is_empty());
        self.assert_nothing_between(self.settled, u64::MAX);
        assert!(
            self.spool.numbers().is_empty(),
            "{:?}",
            self.spool.numbers()
        );
        assert_eq!(self.reader().lag().records, Some(0));
        assert_eq!(
            self.reader().damage().lines_skipped == 0,
            self.reader().damage().bytes_skipped == 0
        );
    }
}

fn cases() -> u32 {
    if is_full() { 5000 } else { 150 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000,
        failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_settled_is_lost_and_nothing_unsettled_is_skipped(
        steps in proptest::collection::vec(step(), 1..60),
        is_eager: bool,
    ) {
        let mut model = Model::new(if is_eager { eager() } else { lazy() });
        for step in &steps {
            model.run(step);
        }
        model.finish();
    }
}
