//! What RELP servers answer: in any order, wrongly, slowly, in part, or not at all; and what becomes of the records.
//!
//! How it works: as in `hostile`.

use std::io::{Read, Write};

use logboom_relay::sink::Verdict;

use crate::hostile::{TIMEOUT, connected, records, settled, sink_to, text_of, timed};
use crate::support::hostile::{dribble, open_relp, read_relp, say, serve, swallow};
use crate::support::secs;

/// What is no answer of the protocol is trouble at once, and shows nothing that a terminal would obey.
#[test]
fn wrong_first_answers() {
    let cases: [(&'static str, &str); 8] = [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "the receiver does not speak RELP",
        ),
        ("1 rsp 999999999 ", "longer than any answer"),
        ("1 rsp 6 200 OK\n", "has no version"),
        ("2 rsp 6 200 OK\n", "answered `rsp` to `open`"),
        (
            "1 rsp 12 500 \u{1b}[31mnot\n",
            "refused `open`: 500 ?[31mnot",
        ),
        (
            "1 rsp 39 200 OK\nrelp_version=0\ncommands=eventlog\n",
            "does not take syslog",
        ),
        ("0 serverclose 0\n", "answered `serverclose` to `open`"),
        ("", "closed the connection"),
    ];
    for (answer, expected) in cases {
        let address = serve(move |mut stream| {
            read_relp(&mut stream);
            say(&mut stream, answer);
        });
        let text = text_of(timed(|| sink_to("relp", address).connect()));
        assert!(text.contains(expected), "{text}");
    }
}

/// A RELP server that stops answering is trouble after the timeout; the answers before count.
#[test]
fn answers_that_stop() {
    let address = serve(|mut stream| {
        open_relp(&mut stream);
        for _ in 0..3 {
            let (number, _, _) = read_relp(&mut stream).unwrap();
            say(&mut stream, &format!("{number} rsp 6 200 OK\n"));
        }
        swallow(stream);
    });
    let mut sink = connected("relp", address);
    sink.send(&records(10)).unwrap();
    let (trouble, verdicts) = settled(&mut *sink, 10);
    assert_eq!(verdicts, vec![Verdict::Delivered; 3]);
    assert!(
        trouble
            .unwrap()
            .ends_with("the receiver answered nothing for 1 s")
    );
    assert!(sink.settle(TIMEOUT, &mut Vec::new()).is_err());
}

/// A RELP server that answers a byte at a time, too slowly for any answer to come to its end, is trouble after the timeout.
#[test]
fn answers_a_byte_at_a_time() {
    let address = serve(|mut stream| {
        open_relp(&mut stream);
        dribble(stream, b"2 rsp 6 200 OK\n3 rsp 6 200 OK\n", 200);
    });
    let mut sink = connected("relp", address);
    sink.send(&records(2)).unwrap();
    let (trouble, verdicts) = settled(&mut *sink, 2);
    assert_eq!(verdicts, []);
    assert!(
        trouble
            .unwrap()
            .ends_with("the receiver answered nothing for 1 s")
    );
}

/// A connection that ends in the middle of an answer, or with a goodbye, is trouble; the whole answers before it count.
#[test]
fn connections_that_end_within_an_answer() {
    let endings = ["3 rsp 6 20", "0 serverclose 0\n", ""];
    let expected = [
        "closed the connection",
        "ended the session",
        "closed the connection",
    ];
    for (ending, expected) in endings.into_iter().zip(expected) {
        let address = serve(move |mut stream| {
            open_relp(&mut stream);
            for _ in 0..4 {
                read_relp(&mut stream);
            }
            say(&mut stream, "2 rsp 6 200 OK\n");
            say(&mut stream, ending);
        });
        let mut sink = connected("relp", address);
        sink.send(&records(4)).unwrap();
        let (trouble, verdicts) = settled(&mut *sink, 4);
        assert_eq!(verdicts, [Verdict::Delivered], "{ending}");
        let text = trouble.unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

/// Answers that belong to nothing are trouble, huge ones and floods, too; none makes memory grow.
#[test]
fn answers_of_nonsense() {
    let nonsense: [&'static [u8]; 5] = [
        b"77 rsp 6 200 OK\n",
        b"2 rsp 6 200 OK\n2 rsp 6 200 OK\n",
        b"2 rsp 3 yes\n",
        b"2 rsp 99999999 ",
        b"\xff\x00\xfe",
    ];
    for answer in nonsense {
        let address = serve(move |mut stream| {
            open_relp(&mut stream);
            let _ = stream.write_all(answer);
            swallow(stream);
        });
        let mut sink = connected("relp", address);
        sink.send(&records(2)).unwrap();
        let (trouble, verdicts) = settled(&mut *sink, 2);
        assert!(trouble.is_some(), "{}", answer.escape_ascii());
        assert!(verdicts.len() <= 1);
    }
}

/// Answers in any order are verdicts in order; a record that is refused while a later one is taken is refused for good.
#[test]
fn answers_out_of_order_and_refusals() {
    let address = serve(|mut stream| {
        open_relp(&mut stream);
        let frames: Vec<_> = (0..5).map_while(|_| read_relp(&mut stream)).collect();
        for (number, _, data) in frames.iter().rev() {
            let data = String::from_utf8_lossy(data);
            let answer = match data.contains("record 2 ") {
                true => "500 I do not like it",
                false => "200 OK",
            };
            say(
                &mut stream,
                &format!("{number} rsp {} {answer}\n", answer.len()),
            );
        }
        swallow(stream);
    });
    let mut sink = connected("relp", address);
    sink.send(&records(5)).unwrap();
    let (trouble, verdicts) = settled(&mut *sink, 5);
    assert_eq!(trouble, None);
    let mut expected = vec![Verdict::Delivered; 5];
    expected[2] = Verdict::Refused("500 I do not like it".into());
    assert_eq!(verdicts, expected);
}

/// A server that refuses everything is in trouble itself: no record is given up.
#[test]
fn a_server_that_refuses_everything() {
    let address = serve(|mut stream| {
        open_relp(&mut stream);
        let mut taken = 0;
        while let Some((number, _, _)) = read_relp(&mut stream) {
            let answer = if taken < 2 {
                "200 OK"
            } else {
                "500 the disk is full"
            };
            taken += 1;
            say(
                &mut stream,
                &format!("{number} rsp {} {answer}\n", answer.len()),
            );
        }
    });
    let mut sink = connected("relp", address);
    sink.send(&records(10)).unwrap();
    let (trouble, verdicts) = settled(&mut *sink, 10);
    assert_eq!(verdicts, vec![Verdict::Delivered; 2]);
    assert!(
        trouble
            .unwrap()
            .ends_with("the receiver takes nothing: 500 the disk is full")
    );
}

/// Closing says goodbye as the protocol wants it, and waits for a server that does not only for a moment.
#[test]
fn goodbyes() {
    let (said, heard) = std::sync::mpsc::channel();
    for answers in [true, false] {
        let said = said.clone();
        let address = serve(move |mut stream| {
            open_relp(&mut stream);
            let (number, command, _) = read_relp(&mut stream).unwrap();
            if answers {
                say(&mut stream, &format!("{number} rsp 6 200 OK\n"));
                say(&mut stream, "0 serverclose 0\n");
            }
            let at_the_end = stream.read(&mut [0]).unwrap();
            said.send((command, at_the_end)).unwrap();
        });
        let mut sink = connected("relp", address);
        timed(|| sink.close());
        assert_eq!(
            heard.recv_timeout(secs(10)).unwrap(),
            ("close".to_owned(), 0)
        );
        assert!(sink.send(&records(1)).is_err());
    }
}
