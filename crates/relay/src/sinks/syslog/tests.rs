//! What must hold for messages, whatever a record says, judged by a strict reader of its own. Real receivers' judgement is in
//! `tests/`.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::destination::Framing;

const TIME_NS: u64 = 1_763_656_201_123_456_789;

fn syslog() -> Syslog {
    Syslog {
        hostname: "web1".into(),
        ..Syslog::default()
    }
}

fn record() -> Record {
    Record {
        time_ns: TIME_NS,
        severity: 9,
        level: "INFO".into(),
        component: "shop.payments".into(),
        body: "paid".into(),
        process: Some(4711),
        id: "5f3c.1.2a".into(),
        fields: Default::default(),
    }
}

fn with_fields(fields: Value) -> Record {
    Record {
        fields: fields.as_object().cloned().unwrap().into(),
        ..record()
    }
}

fn messages_of(syslog: &Syslog, transport: Transport, record: &Record) -> Vec<Vec<u8>> {
    let mut messages = Messages::new(syslog, transport);
    let mut all = Vec::new();
    messages.write(record, |message| all.push(message.to_vec()));
    all
}

fn line(syslog: &Syslog, record: &Record) -> String {
    let mut all = messages_of(syslog, Transport::default(), record);
    assert_eq!(all.len(), 1);
    String::from_utf8(all.remove(0)).unwrap()
}

/// A message as a receiver reads it, by RFC 5424 to the letter.
#[derive(Debug, PartialEq)]
struct Read {
    header: [String; 6],
    sd_id: Option<String>,
    params: Vec<(String, String)>,
    text: String,
}

impl Read {
    fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn read(message: &[u8]) -> Read {
    let mut rest = str::from_utf8(message).expect("UTF-8");
    let header = std::array::from_fn(|_| {
        let (word, behind) = rest.split_once(' ').expect("a header field");
        rest = behind;
        assert!(!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()));
        word.to_owned()
    });
    let [first, _, host, app_name, procid, msgid] = &header;
    for (word, bytes_max) in [(host, 255), (app_name, 48), (procid, 128), (msgid, 32)] {
        assert!(word.len() <= bytes_max, "{word}");
    }
    let priority = first
        .strip_prefix('<')
        .and_then(|word| word.strip_suffix(">1"));
    assert!(priority.unwrap().parse::<u8>().unwrap() <= 191);
    let (sd_id, params, rest) = structured_data(rest);
    let text = match rest.strip_prefix(' ') {
        Some(text) => text,
        None if rest.is_empty() => "",
        None => panic!("no space before {rest:?}"),
    };
    let marked = text.strip_prefix('\u{feff}');
    assert!(
        marked.is_some() || text.is_ascii(),
        "no mark before {text:?}"
    );
    Read {
        header,
        sd_id,
        params,
        text: marked.unwrap_or(text).to_owned(),
    }
}

fn structured_data(text: &str) -> (Option<String>, Vec<(String, String)>, &str) {
    if let Some(rest) = text.strip_prefix('-') {
        return (None, Vec::new(), rest);
    }
    let (id, mut rest) = name(text.strip_prefix('[').expect("structured data"));
    let mut params = Vec::new();
    while let Some(behind) = rest.strip_prefix(' ') {
        let (name, behind) = name(behind);
        let (value, behind) = value(behind.strip_prefix("=\"").expect("a value"));
        params.push((name, value));
        rest = behind;
    }
    let rest = rest.strip_prefix(']').expect("the end of structured data");
    (Some(id), params, rest)
}

fn name(text: &str) -> (String, &str) {
    let end = text.find([' ', '=', ']', '"']).expect("the end of a name");
    let name = &text[..end];
    assert!((1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()));
    (name.to_owned(), &text[end..])
}

fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next().expect("the end of a value") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, ']') => panic!("a bracket that is not escaped"),
            (_, '\\') => {
                let (_, escaped) = characters.next().expect("an escaped character");
                assert!(matches!(escaped, '"' | '\\' | ']'), "escaped {escaped:?}");
                value.push(escaped);
            }
            (_, character) => value.push(character),
        }
    }
}

/// A record as it is on the wire.
#[test]
fn a_record_is_a_message() {
    let fields = json!({"order": 7, "total": 12.5, "note": "a \"b\" [c] \\", "tags": ["x", null], "paid": true});
    let line_of = |syslog: &Syslog| line(syslog, &with_fields(fields.clone()));
    assert_eq!(
        line_of(&syslog()),
        "<14>1 2025-11-20T16:30:01.123456Z web1 shop.payments 4711 - [logboom@32473 id=\"5f3c.1.2a\" order=\"7\" \
         total=\"12.5\" note=\"a \\\"b\\\" [c\\] \\\\\" tags=\"[\\\"x\\\",null\\]\" paid=\"true\"] paid"
    );
    let named = Syslog {
        app_name: "shop".into(),
        structured_data_id: String::new(),
        facility: 17,
        ..syslog()
    };
    assert_eq!(
        line_of(&named),
        "<142>1 2025-11-20T16:30:01.123456Z web1 shop 4711 shop.payments - paid"
    );
    assert_eq!(line(&syslog(), &Record::default()), "<13>1 - web1 - - - -");
}

/// A record in the older format; on the machine's own socket without a name of the machine.
#[test]
fn a_record_is_a_message_of_the_older_format() {
    let mut older = Syslog {
        dialect: Dialect::Rfc3164,
        ..syslog()
    };
    let stamp_and_more = line(&older, &record());
    let (stamp, rest) = stamp_and_more.split_at("<14>Nov 20 16:30:01".len());
    assert!(stamp.starts_with("<14>Nov 2"), "{stamp}");
    assert_eq!(rest, " web1 shop.payments[4711]: paid");
    older.hostname.clear();
    let local = Transport {
        local: true,
        ..Transport::default()
    };
    let message = messages_of(&older, local, &record()).remove(0);
    assert_eq!(&message[stamp.len()..], b" shop.payments[4711]: paid");
    let nameless = Record {
        component: "a b/c:d".into(),
        process: None,
        ..record()
    };
    let message = messages_of(&older, local, &nameless).remove(0);
    assert_eq!(&message[stamp.len()..], b" a_b_c_d: paid");
    assert!(messages_of(&older, local, &Record::default())[0].ends_with(b" logboom: "));
}

/// Severities follow OpenTelemetry's bands; a level with a name of its own is sent by that name.
#[test]
fn severities_and_names_of_levels() {
    let severities: Vec<u8> = (0..=25).map(severity).collect();
    let expected = "57777777766664444333322225";
    assert_eq!(
        severities.iter().map(u8::to_string).collect::<String>(),
        expected
    );
    let level = |severity, level: &str| {
        let level = level.to_owned();
        let record = Record {
            severity,
            level,
            ..record()
        };
        let message = messages_of(&syslog(), Transport::default(), &record).remove(0);
        read(&message).param("severity_text").map(str::to_owned)
    };
    assert_eq!(level(9, "INFO"), None);
    assert_eq!(level(13, "warning"), None);
    assert_eq!(level(21, "FATAL"), None);
    assert_eq!(level(0, ""), None);
    assert_eq!(level(12, "NOTICE"), Some("NOTICE".into()));
    assert_eq!(level(1, "TRACE"), Some("TRACE".into()));
}

/// A component that the header cannot have as it is is a field.
#[test]
fn a_component_that_is_no_name_is_sent_whole() {
    let component = "Bücher und mehr, viel mehr als achtundvierzig Zeichen".to_owned();
    let record = Record {
        component: component.clone(),
        ..record()
    };
    let read = read(&messages_of(&syslog(), Transport::default(), &record)[0]);
    assert_eq!(
        read.header[3],
        "B_cher_und_mehr,_viel_mehr_als_achtundvierzig_Ze"
    );
    assert_eq!(read.param("otel.scope.name"), Some(component.as_str()));
}

/// Names that are none, or that we use, are changed; no two become one, and a good one stays what it is.
#[test]
fn names_of_fields_do_not_collide() {
    let long = "a.name.that.is.far.too.long.for.an.sd.name";
    let record = with_fields(json!({
        "order id": 1, "order_id": 2, "order=id": 3, "id": 4, "part": 5, "": 6, "-": 7, "severity_text": 8,
        long: 9, format!("{long}!"): 10, "ü": 11, "id~2": 12,
    }));
    let read = read(&messages_of(&syslog(), Transport::default(), &record)[0]);
    let names: Vec<_> = read.params.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "id",
        "order_id~2",
        "order_id",
        "order_id~3",
        "id~3",
        "part~2",
        "-~2",
        "-",
        "severity_text~2",
        "a.name.that.is.far.too.long.for.",
        "a.name.that.is.far.too.long.fo~2",
        "_",
        "id~2",
    ];
    assert_eq!(names, expected);
}

/// A message that is too long is cut: fields keep their share, what is missing is said, and small fields stay whole.
#[test]
fn a_long_record_is_cut_with_a_mark() {
    let bounded = Syslog {
        message_bytes_max: 1000,
        ..syslog()
    };
    let mut record = with_fields(json!({"order": 7, "trace": "t".repeat(5000), "note": "small"}));
    record.body = "ä".repeat(3000);
    let message = messages_of(&bounded, Transport::default(), &record).remove(0);
    assert!((960..=1000).contains(&message.len()), "{}", message.len());
    let read_back = read(&message);
    assert_eq!(read_back.param("order"), Some("7"));
    assert_eq!(read_back.param("note"), Some("small"));
    let trace = read_back.param("trace").unwrap();
    assert!(trace.starts_with("ttt") && trace.ends_with("t [logboom: cut, 5000 bytes in all]"));
    let text = read_back
        .text
        .strip_suffix(" [logboom: cut, 6000 bytes in all]")
        .unwrap();
    assert!(text.len() > 300 && record.body.starts_with(text));

    record.fields = (0..100)
        .map(|n| (format!("field{n}"), json!("some value")))
        .collect();
    let read_back = read(&messages_of(&bounded, Transport::default(), &record)[0]);
    let left_out: usize = read_back.param("fields_left_out").unwrap().parse().unwrap();
    assert_eq!(read_back.params.len() - 2 + left_out, 100);
}

/// The older format cuts too, to its 1024 bytes unless told otherwise, and names parts in the text.
#[test]
fn a_long_record_of_the_older_format() {
    let mut older = Syslog {
        dialect: Dialect::Rfc3164,
        ..syslog()
    };
    let record = Record {
        body: "x".repeat(2000),
        ..record()
    };
    let message = line(&older, &record);
    assert_eq!(message.len(), 1024);
    assert!(message.ends_with("x [logboom: cut, 2000 bytes in all]"));
    older.long = Long::Split;
    let parts = messages_of(&older, Transport::default(), &record);
    let texts = parts.iter().enumerate().map(|(index, part)| {
        let (_, text) = str::from_utf8(part).unwrap().split_once(": ").unwrap();
        let mark = format!("[logboom: part {}/{}] ", index + 1, parts.len());
        text.strip_prefix(&mark).unwrap()
    });
    assert_eq!(texts.collect::<String>(), record.body);
}

/// More parts than there may be end in one that is cut.
#[test]
fn there_is_a_last_part() {
    let small = Syslog {
        message_bytes_max: 480,
        long: Long::Split,
        ..syslog()
    };
    let record = Record {
        body: "y".repeat(1 << 20),
        ..record()
    };
    let parts = messages_of(&small, Transport::default(), &record);
    assert_eq!(parts.len(), 999);
    let last = read(parts.last().unwrap());
    assert_eq!(last.param("part"), Some("999/999"));
    assert!(
        last.text
            .ends_with("y [logboom: cut, 1048576 bytes in all]")
    );
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,40}",
        2 => r#"["\\\]\[ \n\r\x00=a\u{feff}ü€🦀]{0,60}"#,
        1 => "\\PC{0,300}",
        1 => (0..6000usize, any::<char>()).prop_map(|(len, c)| String::from_iter(std::iter::repeat_n(c, len / c.len_utf8()))),
        1 => (0..70_000usize).prop_map(|len| "0123456789".chars().cycle().take(len).collect()),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => any_text().prop_map(Value::String),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let name = prop_oneof![Just(String::new()), "[a-z.]{1,12}", any_text()];
    let fields = prop::collection::vec((name.clone(), any_value()), 0..12);
    let numbers = (any::<u64>(), any::<u8>(), any::<Option<u32>>());
    let texts = (name.clone(), name.clone(), any_text(), name);
    (numbers, texts, fields).prop_map(
        |((time_ns, severity, process), (level, component, body, id), fields)| Record {
            time_ns,
            severity,
            level,
            component,
            body,
            process,
            id,
            fields: fields.into_iter().collect(),
        },
    )
}

fn any_syslog() -> impl Strategy<Value = Syslog> {
    let bytes_max = prop_oneof![Just(0), 0..600usize, 480..3000usize, Just(65_536)];
    let texts = (
        any_text(),
        any_text(),
        prop_oneof![Just("logboom@32473".to_owned()), any_text()],
    );
    (texts, bytes_max, any::<u8>(), any::<[bool; 2]>()).prop_map(
        |(
            (hostname, app_name, structured_data_id),
            message_bytes_max,
            facility,
            [older, split],
        )| Syslog {
            dialect: if older {
                Dialect::Rfc3164
            } else {
                Dialect::Rfc5424
            },
            framing: Framing::Octets,
            facility,
            hostname,
            app_name,
            structured_data_id,
            message_bytes_max,
            long: if split { Long::Split } else { Long::Cut },
        },
    )
}

fn field_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

proptest! {
    /// Any record in any dress is one message or several that keep their bound, are UTF-8 and have no NUL, and with line feeds
    /// for ends none inside.
    #[test]
    fn any_record_is_messages_within_their_bound(record in any_record(), syslog in any_syslog(), [local, lines] in any::<[bool; 2]>()) {
        let transport = Transport { local, is_datagram: local && !lines, ended_by_line_feed: lines, bytes_max: 65_507 };
        let bytes_max = syslog.message_bytes_max().clamp(480, 65_507);
        let all = messages_of(&syslog, transport, &record);
        prop_assert!((1..=999).contains(&all.len()));
        prop_assert!(syslog.long == Long::Split || all.len() == 1);
        for message in &all {
            prop_assert!(message.len() <= bytes_max, "{} bytes", message.len());
            prop_assert!(!message.contains(&0));
            prop_assert!(!lines || !message.contains(&b'\n'));
            prop_assert!(str::from_utf8(message).is_ok());
            if syslog.dialect == Dialect::Rfc5424 {
                read(message);
            }
        }
    }

    /// The parts of a record give everything back: each field under one name, the text in order.
    #[test]
    fn parts_give_the_record_back(record in any_record(), bytes_max in 480..5000usize) {
        let split = Syslog { message_bytes_max: bytes_max, long: Long::Split, ..syslog() };
        let parts = messages_of(&split, Transport::default(), &record);
        prop_assume!(parts.len() < 999);
        let parts: Vec<Read> = parts.iter().map(|part| read(part)).collect();
        let text: String = parts.iter().map(|part| part.text.as_str()).collect();
        prop_assert_eq!(text, record.body.replace('\0', "\\x00"));
        let mut values: Map<String, Value> = Map::new();
        for (index, part) in parts.iter().enumerate() {
            let number = format!("{}/{}", index + 1, parts.len());
            prop_assert_eq!(part.param("part"), (parts.len() > 1).then_some(number.as_str()));
            for (name, value) in &part.params {
                let so_far = values.entry(name.clone()).or_insert("".into());
                *so_far = Value::String(field_text(so_far) + value);
            }
        }
        for name in ["id", "part", "severity_text", "otel.scope.name"] {
            values.shift_remove(name);
        }
        let sent: Vec<String> = values.values().map(field_text).collect();
        let expected: Vec<String> = record.fields.values().map(|value| field_text(value).replace('\0', "\\x00")).collect();
        prop_assert_eq!(sent, expected);
    }
}
