//! Messages on their way to a RELP server, and the answers to them.
//!
//! What always holds: verdicts come in the order of the records, whatever the order of the answers; each message has one number,
//! from 1 to 999,999,999 and then from 1 again, and one answer.

use std::collections::VecDeque;

use super::response::{self, Frame};
use crate::sink::Verdict;

/// The number behind which counting begins again (RELP, "RELP FRAME").
const TRANSACTION_MAX: u32 = 999_999_999;

/// What is in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Number of the next command.
    next: u32,
    /// Number of the oldest message in flight.
    oldest: u32,
    /// Place of the oldest message, counted from the beginning of the connection.
    first: u64,
    messages: VecDeque<State>,
    /// How many messages each record in flight has, oldest first.
    records: VecDeque<usize>,
    unanswered: usize,
    /// Place behind the last message that was accepted.
    accepted: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unanswered,
    Accepted,
    Refused(String),
}

impl Default for Flight {
    fn default() -> Flight {
        Flight::from_number(1)
    }
}

impl Flight {
    /// Nothing in flight; the next command has that number.
    pub(crate) fn from_number(next: u32) -> Flight {
        Flight {
            next,
            oldest: next,
            first: 0,
            messages: VecDeque::new(),
            records: VecDeque::new(),
            unanswered: 0,
            accepted: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of a command.
    pub(crate) fn next_transaction(&mut self) -> u32 {
        let number = self.next;
        self.next = after(number);
        if self.messages.is_empty() {
            self.oldest = self.next;
        }
        number
    }

    /// The messages from now on are those of another record.
    pub(crate) fn begin_record(&mut self) {
        self.records.push_back(0);
    }

    /// Puts a message in flight; gives its number.
    pub(crate) fn begin_message(&mut self) -> u32 {
        let number = self.next;
        self.next = after(number);
        self.messages.push_back(State::Unanswered);
        self.unanswered += 1;
        if let Some(messages) = self.records.back_mut() {
            *messages += 1;
        }
        number
    }

    /// Takes an answer. The error is a cause: the server does not keep to the protocol, or ends the session.
    pub(crate) fn answer(&mut self, frame: Frame<'_>) -> Result<(), String> {
        match frame.command {
            "rsp" => {}
            "serverclose" => return Err("the receiver ended the session".into()),
            command => return Err(format!("the receiver sent `{command}`, which is no answer")),
        }
        let number = frame.transaction;
        let index = distance(self.oldest, number);
        let Some(state @ State::Unanswered) = self.messages.get_mut(index) else {
            return Err(format!(
                "the receiver answered number {number}, which awaits no answer"
            ));
        };
        let answer = response::answer(frame.data)
            .ok_or_else(|| format!("the receiver's answer to number {number} has no code"))?;
        self.unanswered -= 1;
        *state = match answer.code {
            200 => {
                self.accepted = self.accepted.max(self.first + index as u64 + 1);
                State::Accepted
            }
            _ => State::Refused(answer.text),
        };
        Ok(())
    }

    /// Appends the verdicts on the oldest records, as far as they are known.
    pub(crate) fn take_verdicts(&mut self, verdicts: &mut Vec<Verdict>) {
        while let Some(verdict) = self.oldest_verdict() {
            let messages = self.records.pop_front().unwrap_or(0);
            self.messages.drain(..messages);
            self.first += messages as u64;
            self.oldest = (0..messages).fold(self.oldest, |number, _| after(number));
            verdicts.push(verdict);
        }
    }

    /// None: not known. A record that was refused waits until the server has taken a later one: until then it may be that the
    /// server cannot take anything.
    fn oldest_verdict(&self) -> Option<Verdict> {
        let count = *self.records.front()?;
        let mut refused = None;
        for (index, state) in self.messages.iter().take(count).enumerate() {
            match state {
                State::Unanswered => return None,
                State::Accepted => {}
                State::Refused(text) => refused = refused.or(Some((index, text))),
            }
        }
        match refused {
            None => Some(Verdict::Delivered),
            Some((index, text)) if self.accepted > self.first + index as u64 + 1 => {
                Some(Verdict::Refused(text.clone()))
            }
            Some(_) => None,
        }
    }

    /// The first refusal, if everything in flight was answered and nothing behind it was taken.
    pub(crate) fn all_refused(&self) -> Option<&str> {
        let texts = self.messages.iter().filter_map(|state| match state {
            State::Refused(text) => Some(text.as_str()),
            _ => None,
        });
        (self.unanswered == 0)
            .then_some(texts)
            .into_iter()
            .flatten()
            .next()
    }
}

fn after(number: u32) -> u32 {
    match number {
        TRANSACTION_MAX.. => 1,
        number => number + 1,
    }
}

/// How many numbers `number` comes behind `oldest`.
fn distance(oldest: u32, number: u32) -> usize {
    match number {
        0 => usize::MAX,
        number if number >= oldest => (number - oldest) as usize,
        number => (TRANSACTION_MAX - oldest + number) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(transaction: u32, data: &str) -> Frame<'_> {
        Frame {
            transaction,
            command: "rsp",
            data: data.as_bytes(),
        }
    }

    /// A flight with records of that many messages, from that number on.
    fn flight(next: u32, records: &[usize]) -> Flight {
        let mut flight = Flight::from_number(next);
        for messages in records {
            flight.begin_record();
            for _ in 0..*messages {
                flight.begin_message();
            }
        }
        flight
    }

    fn verdicts(flight: &mut Flight) -> Vec<Verdict> {
        let mut all = Vec::new();
        flight.take_verdicts(&mut all);
        all
    }

    /// Answers in any order become verdicts in the order of the records; a record needs the answers to all its messages.
    #[test]
    fn answers_out_of_order_are_settled_in_order() {
        let mut flight = flight(2, &[1, 3, 1]);
        for number in [6, 3, 5] {
            flight.answer(frame(number, "200 OK")).unwrap();
            assert_eq!(verdicts(&mut flight), []);
        }
        flight.answer(frame(2, "200 OK")).unwrap();
        assert_eq!(verdicts(&mut flight), [Verdict::Delivered]);
        flight.answer(frame(4, "200 OK")).unwrap();
        assert_eq!(
            verdicts(&mut flight),
            [Verdict::Delivered, Verdict::Delivered]
        );
        assert!(flight.is_empty());
    }

    /// Numbers begin again at 1, and 0 is nobody's.
    #[test]
    fn numbers_begin_again() {
        let mut flight = flight(999_999_998, &[1, 1, 1, 1]);
        assert_eq!(flight.next_transaction(), 3);
        assert!(flight.answer(frame(0, "200 OK")).is_err());
        for number in [2, 999_999_999, 1, 999_999_998] {
            flight.answer(frame(number, "200 OK")).unwrap();
        }
        assert_eq!(verdicts(&mut flight).len(), 4);
    }

    /// A record is refused if a later one was taken; if nothing later was, the server refuses everything.
    #[test]
    fn one_refused_record_is_not_a_refusing_server() {
        let mut flight = flight(2, &[1, 1, 1]);
        flight.answer(frame(2, "500 no")).unwrap();
        flight.answer(frame(4, "500 never")).unwrap();
        assert_eq!(
            (verdicts(&mut flight), flight.all_refused()),
            (vec![], None)
        );
        flight.answer(frame(3, "200 OK")).unwrap();
        assert_eq!(
            verdicts(&mut flight),
            [Verdict::Refused("500 no".into()), Verdict::Delivered]
        );
        assert_eq!(flight.all_refused(), Some("500 never"));
    }

    /// An answer that nobody waits for, or a second one, is refused.
    #[test]
    fn answers_that_nobody_waits_for_are_refused() {
        let mut flight = flight(2, &[1, 1]);
        flight.answer(frame(3, "200 OK")).unwrap();
        for wrong in [
            frame(1, "200 OK"),
            frame(4, "200 OK"),
            frame(3, "200 OK"),
            frame(2, "fine"),
        ] {
            assert!(flight.answer(wrong).is_err(), "{wrong:?}");
        }
        let close = Frame {
            command: "serverclose",
            ..frame(0, "")
        };
        assert_eq!(
            flight.answer(close),
            Err("the receiver ended the session".into())
        );
    }
}
