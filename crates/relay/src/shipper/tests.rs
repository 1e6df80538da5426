//! Whatever a receiver does, every record is delivered or refused once it was, in order, and again only after a failure; memory is
//! bounded by the window; the pauses grow; and an end is an end.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::source::{Damage, Lag};

/// Records `0..count`, in memory.
#[derive(Clone)]
struct Numbers {
    count: u64,
    next: u64,
    settled: Arc<Mutex<u64>>,
}

impl Numbers {
    fn new(count: u64) -> Numbers {
        Numbers {
            count,
            next: 0,
            settled: Arc::default(),
        }
    }

    fn settled(&self) -> u64 {
        *self.settled.lock().unwrap()
    }
}

impl Source for Numbers {
    fn read(&mut self, most: usize, out: &mut VecDeque<Parcel>) -> io::Result<usize> {
        let until = self.count.min(self.next + most as u64);
        let read = (until - self.next) as usize;
        out.extend((self.next..until).map(|number| Parcel {
            record: Record {
                body: number.to_string(),
                time_ns: 1 + number,
                ..Record::default()
            },
            end: Position {
                file: 0,
                offset: number + 1,
            },
            bytes: 1,
        }));
        self.next = until;
        Ok(read)
    }

    fn settle(&mut self, end: Position) -> io::Result<()> {
        let mut settled = self.settled.lock().unwrap();
        assert!(end.offset >= *settled, "the cursor never goes back");
        *settled = end.offset;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn rewind(&mut self) {
        self.next = self.settled();
    }

    fn lag(&self) -> Lag {
        let records = self.count - self.settled();
        Lag {
            records: Some(records),
            bytes: records,
        }
    }

    fn damage(&self) -> Damage {
        Damage::default()
    }
}

/// What a receiver does at one call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    /// Works; answers so many at most.
    Answer(usize),
    /// Takes what is sent, and breaks the connection.
    TakeAndBreak,
    /// Breaks the connection at once.
    Break,
    /// Refuses the next record for good.
    Refuse,
}

/// A receiver that follows a script, and then works.
#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<VecDeque<Act>>>,
    /// What it has, and "!" before what it refused.
    got: Arc<Mutex<Vec<String>>>,
    in_flight: Arc<Mutex<VecDeque<String>>>,
    most_in_flight: Arc<Mutex<usize>>,
    connects: Arc<Mutex<Vec<Instant>>>,
}

impl Scripted {
    fn of(script: impl IntoIterator<Item = Act>) -> Scripted {
        let scripted = Scripted::default();
        scripted.script.lock().unwrap().extend(script);
        scripted
    }

    fn act(&self) -> Act {
        let next = self.script.lock().unwrap().pop_front();
        next.unwrap_or(Act::Answer(usize::MAX))
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

impl Sink for Scripted {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.connects.lock().unwrap().push(Instant::now());
        self.in_flight.lock().unwrap().clear();
        match self.act() {
            Act::Break => Err(Trouble::new("failed to connect")),
            _ => Ok(()),
        }
    }

    fn send(&mut self, records: &[Record]) -> Result<(), Trouble> {
        let mut in_flight = self.in_flight.lock().unwrap();
        in_flight.extend(records.iter().map(|record| record.body.clone()));
        let mut most = self.most_in_flight.lock().unwrap();
        *most = in_flight.len().max(*most);
        match self.act() {
            Act::Break => Err(Trouble::new("broken")),
            Act::TakeAndBreak => {
                self.got.lock().unwrap().extend(in_flight.drain(..));
                Err(Trouble::new("broken after it was taken"))
            }
            _ => Ok(()),
        }
    }

    fn settle(&mut self, _: Duration, verdicts: &mut Vec<Verdict>) -> Result<(), Trouble> {
        let mut in_flight = self.in_flight.lock().unwrap();
        let mut got = self.got.lock().unwrap();
        let act = self.act();
        let count = match act {
            Act::Answer(most) => most.min(in_flight.len()),
            Act::Refuse => in_flight.len().min(1),
            _ => 0,
        };
        for record in in_flight.drain(..count) {
            if act == Act::Refuse {
                got.push(format!("!{record}"));
                verdicts.push(Verdict::Refused("no".to_owned()));
            } else {
                got.push(record);
                verdicts.push(Verdict::Delivered);
            }
        }
        match act {
            Act::Break | Act::TakeAndBreak => Err(Trouble::new("broken while answering")),
            _ => Ok(()),
        }
    }

    fn close(&mut self) {}
}

struct Scene {
    source: Numbers,
    sink: Scripted,
    gauge: Gauge,
    said: Arc<Mutex<Vec<String>>>,
    stop: Arc<Stop>,
    terms: Terms,
}

impl Scene {
    fn new(count: u64, sink: Scripted) -> Scene {
        let ms = Duration::from_millis;
        Scene {
            source: Numbers::new(count),
            sink,
            gauge: Gauge::new("central", "tcp://logs:514"),
            said: Arc::default(),
            stop: Arc::default(),
            terms: Terms {
                window: 7,
                batch: 3,
                timeout: ms(5_000),
                retry: Retry {
                    first: Duration::from_micros(10),
                    most: Duration::from_micros(50),
                    deadline: None,
                },
                say_after: Duration::from_nanos(1),
            },
        }
    }

    fn shipper(&self) -> Shipper {
        let said = self.said.clone();
        let connects = self.sink.connects.clone();
        Shipper {
            terms: self.terms.clone(),
            source: Box::new(self.source.clone()),
            sink: Box::new(self.sink.clone()),
            gauge: self.gauge.clone(),
            say: Arc::new(move |_, text| said.lock().unwrap().push(text.to_owned())),
            // Four were dropped as the receiver went away.
            dropped: Arc::new(move || {
                if connects.lock().unwrap().is_empty() {
                    0
                } else {
                    4
                }
            }),
            may_send: Arc::new(|| true),
            stop: self.stop.clone(),
        }
    }

    fn ship_all(&self) {
        assert!(self.shipper().run_to_the_end());
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_usize..5).prop_map(Act::Answer),
        1 => Just(Act::TakeAndBreak),
        1 => Just(Act::Break),
        1 => Just(Act::Refuse),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_record_is_delivered_or_refused_in_order(count in 0_u64..30, script in acts()) {
        let scene = Scene::new(count, Scripted::of(script));
        scene.ship_all();
        prop_assert_eq!(scene.source.settled(), count);
        prop_assert!(*scene.sink.most_in_flight.lock().unwrap() <= scene.terms.window);
        let mut next = 0;
        for got in scene.sink.got() {
            let number: u64 = got.trim_start_matches('!').parse().unwrap();
            prop_assert!(number <= next, "{} came before {}", number, next);
            next = next.max(number + 1);
        }
        prop_assert_eq!(next, count);
        let figures = scene.gauge.read();
        prop_assert_eq!(figures.delivered + figures.refused, count);
        prop_assert_eq!(figures.waiting_bytes, 0);
    }
}

#[test]
fn without_a_failure_nothing_is_sent_twice() {
    let scene = Scene::new(100, Scripted::default());
    scene.ship_all();
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(scene.sink.got(), expected);
    assert_eq!(scene.gauge.read().state, State::Up);
    assert!(scene.said.lock().unwrap().is_empty());
}

#[test]
fn being_down_and_back_is_said_once_each_with_what_it_cost() {
    let scene = Scene::new(10, Scripted::of([Act::Break; 5]));
    scene.ship_all();
    let said = scene.said.lock().unwrap().clone();
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(
        said[0].contains("`central` (tcp://logs:514) is down for")
            && said[0].contains("failed to connect")
    );
    assert!(
        said[1].contains("is back after")
            && said[1].contains("10 records come late, 4 were dropped"),
        "{}",
        said[1]
    );
    assert_eq!(scene.gauge.read().failures, 5);
}

#[test]
fn a_receiver_that_never_answers_is_given_up_after_the_timeout() {
    let mut scene = Scene::new(3, Scripted::of([Act::Answer(0); 200]));
    scene.terms.timeout = Duration::from_micros(1);
    scene.ship_all();
    let figures = scene.gauge.read();
    assert!(
        figures.failures > 0 && figures.sent_again > 0,
        "{figures:?}"
    );
    assert!(figures.last_error.contains("without an answer"));
}

#[test]
fn pauses_grow_up_to_the_longest() {
    let mut scene = Scene::new(1, Scripted::of([Act::Break; 7]));
    let ms = Duration::from_millis;
    scene.terms.retry = Retry {
        first: ms(4),
        most: ms(32),
        deadline: None,
    };
    scene.ship_all();
    let connects = scene.sink.connects.lock().unwrap().clone();
    let pauses: Vec<Duration> = connects.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Half of each pause is certain: 2, 4, 8, 16, 16, 16, 16.
    let least: Vec<Duration> = [2, 4, 8, 16, 16, 16, 16].map(ms).to_vec();
    assert!(
        pauses
            .iter()
            .zip(&least)
            .all(|(pause, least)| pause >= least),
        "{pauses:?}"
    );
}

#[test]
fn what_is_older_than_the_deadline_is_given_up_and_counted() {
    let mut scene = Scene::new(10, Scripted::of([Act::Break]));
    scene.terms.retry.deadline = Some(Duration::from_secs(3600));
    scene.ship_all();
    // All were logged in 1970.
    assert_eq!(scene.gauge.read().given_up, 10);
    assert_eq!(scene.source.settled(), 10);
    assert!(scene.sink.got().is_empty());
}

#[test]
fn it_ends_when_told_to_although_the_receiver_is_down() {
    let mut scene = Scene::new(1, Scripted::of([Act::Break; 1000]));
    scene.terms.retry.first = Duration::from_secs(600);
    scene.terms.retry.most = Duration::from_secs(600);
    let (shipper, stop) = (scene.shipper(), scene.stop.clone());
    let thread = std::thread::spawn(move || shipper.run());
    while scene.gauge.read().failures == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    stop.set();
    thread.join().unwrap();
    assert_eq!(
        scene.source.settled(),
        0,
        "nothing is settled that was not delivered"
    );
}
