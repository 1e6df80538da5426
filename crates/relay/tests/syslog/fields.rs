//! Every field comes back through the parsers of rsyslog and syslog-ng, whatever is in it, in each dialect and over each transport.

use logboom_relay::destination::{Destination, Dialect, Framing, Long, Syslog};
use logboom_relay::record::Record;
use serde_json::{Map, Value, json};

use crate::support::certificates::Authorities;
use crate::support::rsyslog::{self, Rsyslog, Security, Setup};
use crate::support::shipper::Shipper;
use crate::support::syslog_ng::{self, SyslogNg};
use crate::support::{Received, destination, numbered};

/// Room for the longest of [`difficult`] over TCP.
const MESSAGE_BYTES_MAX: usize = 100_000;
/// The longest message that goes into a packet of UDP with its header.
const UDP_BODY_BYTES: usize = 65_000;

fn with(number: u64, body: &str, fields: Value) -> Record {
    Record {
        body: body.to_owned(),
        fields: fields.as_object().cloned().unwrap().into(),
        ..numbered(number)
    }
}

/// Records that are hard to send, in the order of their ids.
fn difficult() -> Vec<Record> {
    let quoted = r#"a "quoted" [text] with \ and \" and \] and ]"#;
    let mut records = vec![
        with(
            0,
            "paid",
            json!({"order": 7, "total": 12.5, "paid": true, "note": null}),
        ),
        with(
            1,
            quoted,
            json!({"quoted": quoted, "end": "\\", "bracket": "]", "quote": "\"", "pair": "\\\""}),
        ),
        with(
            2,
            "first\nsecond\r\n\tthird\n",
            json!({"lines": "first\nsecond\n", "tab": "\t"}),
        ),
        with(
            3,
            "größer als 5 €: 🦀",
            json!({"größe": "größer als 5 €: 🦀", "mark": "\u{feff}x"}),
        ),
        with(4, "", json!({"empty": "", "after": "x"})),
        with(5, "no fields", json!({})),
        with(
            6,
            "nested",
            json!({"list": [1, "two", null], "map": {"a\"b": {"c": [true]}}}),
        ),
        with(
            7,
            "escapes \u{1b}[31m\u{7f}\u{1}",
            json!({"control": "\u{1b}[31m\u{7f}\u{1}"}),
        ),
        with(
            8,
            "<13>1 - - - - - [x@1 y=\"z\"] not a header",
            json!({"sd": "[x@1 y=\"z\"] "}),
        ),
        with(
            9,
            "names",
            json!({"a name": 1, "a=name": 2, "id": "mine", &"n".repeat(40): 3}),
        ),
        with(10, "  spaces around  ", json!({"spaces": "  around  "})),
        with(
            11,
            &"0123456789abcde\n".repeat(4096),
            json!({"long": "x".repeat(20_000)}),
        ),
    ];
    (records[0].severity, records[0].level) = (17, "ERROR".into());
    (records[1].severity, records[1].level) = (21, "CRITICAL".into());
    records[1].process = None;
    records[2].time_ns = 951_868_799_999_999_999;
    records[4].component = "a component with spaces and a very long name, indeed".into();
    records
}

/// The fields as a receiver should have them.
fn expected_fields(record: &Record) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("id".into(), record.id.as_str().into());
    if record.component.contains(' ') {
        fields.insert("otel.scope.name".into(), record.component.as_str().into());
    }
    let names = [
        ("a name", "a_name"),
        ("a=name", "a_name~2"),
        ("id", "id~2"),
        ("größe", "gr__e"),
    ];
    for (name, value) in &record.fields {
        let changed = names.iter().find(|(known, _)| known == name);
        let name = changed.map_or(name.as_str(), |(_, changed)| changed);
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        fields.insert(name[..name.len().min(32)].to_owned(), text.into());
    }
    fields
}

/// What an end by line feeds does to a text.
fn in_a_line(text: &str, ended_by_line_feed: bool) -> String {
    match ended_by_line_feed {
        true => text.replace('\n', "\\n"),
        false => text.to_owned(),
    }
}

fn assert_same(received: &Received, record: &Record, ended_by_line_feed: bool) {
    let what = format!("{} through {}", record.id, received.input);
    let expected = in_a_line(&record.body, ended_by_line_feed);
    assert_eq!(received.message, expected, "{what}");
    let fields = expected_fields(record);
    let mut names: Vec<_> = fields.keys().collect();
    let mut received_names: Vec<_> = received.fields.keys().collect();
    names.sort();
    received_names.sort();
    assert_eq!(received_names, names, "{what}");
    for (name, value) in &fields {
        let expected = in_a_line(value.as_str().unwrap(), ended_by_line_feed);
        assert_eq!(
            received.field(name),
            Some(expected.as_str()),
            "{name} of {what}"
        );
    }
    assert_eq!(received.host, "web1.example.com");
    let process = record
        .process
        .map_or("-".to_owned(), |process| process.to_string());
    assert_eq!(received.procid, process, "{what}");
    let severities = [(9, 14), (17, 11), (21, 10)];
    let (_, priority) = severities
        .iter()
        .find(|(severity, _)| *severity == record.severity)
        .unwrap();
    assert_eq!(received.priority, *priority, "{what}");
}

fn shipped(address: &str, records: &[Record], change: impl FnOnce(&mut Destination)) {
    let mut destination = destination(address);
    destination.syslog.hostname = "web1.example.com".into();
    destination.syslog.message_bytes_max = MESSAGE_BYTES_MAX;
    change(&mut destination);
    Shipper::new(&destination).ship(records.iter().cloned());
}

/// Of what was received, those that came last, in the order of their ids.
fn last(mut received: Vec<Received>, count: usize) -> Vec<Received> {
    let mut last = received.split_off(received.len() - count);
    last.sort_by_key(|received| crate::support::number_of(received.id()));
    last
}

/// The text that rsyslog keeps the mark of UTF-8 in front of.
fn without_mark(mut received: Received) -> Received {
    if let Some(text) = received.message.strip_prefix('\u{feff}') {
        received.message = text.to_owned();
    }
    received
}

fn security(authorities: &Authorities) -> Security {
    Security {
        files: authorities.certify("localhost"),
        client: Some("client".into()),
    }
}

fn with_certificate(destination: &mut Destination, authorities: &Authorities) {
    let client = authorities.certify("client");
    destination.tls.ca = Some(client.ca);
    destination.tls.certificate = Some(client.certificate);
    destination.tls.key = Some(client.key);
}

/// rsyslog gives back every field of RFC 5424 over every transport that it listens on.
#[test]
fn rsyslog_reads_back_every_field() {
    if !rsyslog::is_installed(&["imrelp", "lmnsd_gtls"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let tls = Some(security(&authorities));
    let rsyslog = Rsyslog::start(&Setup {
        tls,
        ..Setup::default()
    });
    let records = difficult();
    let mut shorter = difficult();
    let body = &mut shorter.last_mut().unwrap().body;
    body.truncate(UDP_BODY_BYTES);
    shorter.last_mut().unwrap().fields.clear();
    for input in [
        "unix", "udp", "tcp", "ptcp", "stream", "tls", "relp", "relp+tls",
    ] {
        let sent = if input == "udp" { &shorter } else { &records };
        let before = rsyslog.count();
        shipped(&rsyslog.address(input), sent, |destination| {
            with_certificate(destination, &authorities);
        });
        let received = last(rsyslog.wait_for(before + sent.len()), sent.len());
        for (received, record) in received.into_iter().map(without_mark).zip(sent) {
            assert_same(&received, record, input == "stream");
        }
    }
}

/// Both receivers read messages that end with a line feed; line breaks inside come as `\n`.
#[test]
fn lines_are_read_back() {
    if !rsyslog::is_installed(&[]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let records = difficult();
    for input in ["tcp", "ptcp"] {
        let before = rsyslog.count();
        shipped(&rsyslog.address(input), &records, |destination| {
            destination.syslog.framing = Framing::LineFeed;
        });
        let received = last(rsyslog.wait_for(before + records.len()), records.len());
        for (received, record) in received.into_iter().map(without_mark).zip(&records) {
            assert_same(&received, record, true);
        }
    }
}

/// syslog-ng, which shares no code with rsyslog, gives back every field, too.
#[test]
fn syslog_ng_reads_back_every_field() {
    if !syslog_ng::is_there() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let syslog_ng = SyslogNg::start(&authorities.certify("localhost"));
    // It drops the line feeds at the end of a message,
    let mut records = difficult();
    for record in &mut records {
        record
            .body
            .truncate(record.body.trim_end_matches('\n').len());
    }
    // and reads 64 kB of a packet.
    let mut shorter = records.clone();
    shorter.pop();
    let mut count = 0;
    for input in ["tcp", "lines", "tls", "unix", "udp", "stream"] {
        let is_packet = matches!(input, "unix" | "udp");
        let sent = if is_packet {
            &mut shorter
        } else {
            &mut records
        };
        shipped(&syslog_ng.address(input), sent, |destination| {
            with_certificate(destination, &authorities);
            if input == "lines" {
                destination.syslog.framing = Framing::LineFeed;
            }
        });
        count += sent.len();
        let received = last(syslog_ng.wait_for(count), sent.len());
        for (received, record) in received.iter().zip(sent.iter()) {
            assert_same(received, record, matches!(input, "lines" | "stream"));
        }
    }
}

/// A record that is split comes back whole from its parts, which say which they are and share its id; one that is cut says so.
#[test]
fn long_records_come_in_parts() {
    if !rsyslog::is_installed(&["imrelp"]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let long = "größer \"als\" [das]\n".repeat(3000);
    let record = with(1, &long, json!({"order": 7, "trace": long}));
    let mut destination = destination(&rsyslog.address("relp"));
    destination.syslog.long = Long::Split;
    Shipper::new(&destination).ship([record.clone()]);
    let count = long.len() * 2 / 8192;
    let parts = rsyslog.wait_for(count);
    let count = parts[0]
        .field("part")
        .unwrap()
        .split_once('/')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let parts: Vec<_> = rsyslog
        .wait_for(count)
        .into_iter()
        .map(without_mark)
        .collect();
    for (part, number) in parts.iter().zip(1..) {
        assert_eq!(
            part.field("part"),
            Some(format!("{number}/{count}").as_str())
        );
        assert_eq!(part.id(), record.id);
    }
    let text: String = parts.iter().map(|part| part.message.as_str()).collect();
    assert_eq!(text, long);
    let trace: String = parts
        .iter()
        .filter_map(|part| part.field("trace"))
        .collect();
    assert_eq!(trace, long);
    assert_eq!(parts[0].field("order"), Some("7"));

    destination.syslog.long = Long::Cut;
    Shipper::new(&destination).ship([record]);
    let cut = rsyslog.wait_for(count + 1).split_off(count).remove(0);
    let mark = format!(" [logboom: cut, {} bytes in all]", long.len());
    assert!(cut.message.ends_with(&mark) && cut.field("trace").unwrap().ends_with(&mark));
}

/// RFC 3164: time, host, tag, pid and text are read, on the machine's own socket without a host.
#[test]
fn the_older_format_is_read() {
    if !rsyslog::is_installed(&[]) {
        return;
    }
    let rsyslog = Rsyslog::start(&Setup::default());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let texts = ["paid", "a \"b\" [c] \\ größer", "first\nsecond", ""];
    let records: Vec<_> = texts
        .iter()
        .zip(0..)
        .map(|(text, number)| {
            let mut record = with(number, text, json!({"order": 7}));
            record.time_ns = now.as_nanos() as u64;
            record
        })
        .collect();
    for input in ["local", "udp", "tcp", "ptcp"] {
        let before = rsyslog.count();
        shipped(&rsyslog.address(input), &records, |destination| {
            destination.syslog = Syslog {
                dialect: Dialect::Rfc3164,
                hostname: if input == "local" {
                    String::new()
                } else {
                    "web1".into()
                },
                ..Syslog::default()
            };
        });
        let received = rsyslog.wait_for(before + records.len()).split_off(before);
        for (received, text) in received.iter().zip(texts) {
            assert_eq!(received.message, format!(" {text}"), "{input}");
            assert_eq!(received.app_name, "shop.payments");
            assert_eq!(received.procid, "4711");
            assert_eq!(received.priority, 14);
            let time: jiff::Timestamp = received.timestamp.parse().unwrap();
            assert_eq!(time.as_second() as u64, now.as_secs(), "{input}");
            if input != "local" {
                assert_eq!(received.host, "web1");
            }
        }
    }
}
