//! What always holds of an encoded record, tried with records of any content: read back, it is what it was, and nothing in
//! it has become a field, a line or a record of its own.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Number, Value as Json};

use super::redact::{Names, REDACTED};
use super::*;

const TIME_NS: u64 = 1_795_192_201_123_456_789;

fn lines_of(encoder: &Encoder, record: &Record<'_>) -> String {
    let mut out = b"before\n".to_vec();
    encoder.encode(record, &mut out);
    let text = String::from_utf8(out).unwrap();
    let line = text.strip_prefix("before\n").unwrap();
    line.strip_suffix('\n').unwrap().to_string()
}

fn encoded(format: Format, record: &Record<'_>) -> String {
    lines_of(&Encoder::new(format).utc(true), record)
}

fn full_record<'a>() -> Record<'a> {
    Record {
        time_ns: TIME_NS,
        severity: Severity::WARN,
        level: "WARNING",
        component: "shop.payments",
        message: "paid 12 for | 7".into(),
        template: "paid %s for | %s",
        process: Some(4711),
        process_name: "MainProcess",
        thread: Some(140_000),
        thread_name: "gthread_0",
        file: "/srv/shop/pay.py",
        line: 12,
        function: "pay",
        request: Request {
            id: "9f2c",
            method: "GET",
            path: "/pay me",
            client: "127.0.0.1",
            endpoint: "/pay/<int:n>",
            user: "bob",
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            span_id: "b7ad6b7169203331",
        },
        fields: vec![
            ("order".into(), Value::Int(7)),
            ("total".into(), Value::Float(12.5)),
            ("note".into(), Value::Text("a \"b\"".into())),
        ],
        exception: Some(Exception {
            type_name: "shop.Refused".into(),
            message: "no money".into(),
            traceback: "Traceback:\n  File x\nshop.Refused: no money".into(),
        }),
        stack: "".into(),
    }
}

#[test]
fn text_for_people() {
    let record = full_record();
    assert_eq!(
        encoded(Format::Text { colour: false }, &record),
        "2026-11-20 16:30:01.123Z WARNING  [4711] shop.payments: paid 12 for \\x7c 7 | order=7 total=12.5 \
         note=\"a \\\"b\\\"\" request_id=9f2c\n    Traceback:\n      File x\n    shop.Refused: no money"
    );
    assert_eq!(
        encoded(
            Format::Text { colour: true },
            &Record {
                level: "INFO",
                severity: Severity::INFO,
                ..Record::default()
            }
        ),
        "1970-01-01 00:00:00.000Z \x1b[32mINFO\x1b[0m     "
    );
}

#[test]
fn json_line() {
    assert_eq!(
        encoded(Format::Json, &full_record()),
        r#"{"timestamp":"2026-11-20T16:30:01.123456789Z","severity_text":"WARNING","severity_number":13,"otel.scope.name":"shop.payments","body":"paid 12 for | 7","log.record.template":"paid %s for | %s","request_id":"9f2c","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","http.request.method":"GET","url.path":"/pay me","http.route":"/pay/<int:n>","client.address":"127.0.0.1","user.id":"bob","order":7,"total":12.5,"note":"a \"b\"","code.file.path":"/srv/shop/pay.py","code.line.number":12,"code.function.name":"pay","process.pid":4711,"thread.id":140000,"thread.name":"gthread_0","exception.type":"shop.Refused","exception.message":"no money","exception.stacktrace":"Traceback:\n  File x\nshop.Refused: no money"}"#
    );
}

#[test]
fn logfmt_line() {
    assert_eq!(
        encoded(Format::Logfmt, &full_record()),
        r#"timestamp=2026-11-20T16:30:01.123456789Z severity_text=WARNING severity_number=13 otel.scope.name=shop.payments body="paid 12 for | 7" log.record.template="paid %s for | %s" request_id=9f2c trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331 http.request.method=GET url.path="/pay me" http.route=/pay/<int:n> client.address=127.0.0.1 user.id=bob order=7 total=12.5 note="a \"b\"" code.file.path=/srv/shop/pay.py code.line.number=12 code.function.name=pay process.pid=4711 thread.id=140000 thread.name=gthread_0 exception.type=shop.Refused exception.message="no money" exception.stacktrace="Traceback:\n  File x\nshop.Refused: no money""#
    );
}

#[test]
fn a_field_never_takes_a_name_that_is_taken() {
    let mut record = full_record();
    record.fields = vec![
        ("body".into(), Value::Text("forged".into())),
        ("extra.body".into(), Value::Text("forged too".into())),
        ("user.id".into(), Value::Text("root".into())),
        ("order".into(), Value::Int(1)),
        ("order".into(), Value::Int(2)),
    ];
    let line: Json = serde_json::from_str(&encoded(Format::Json, &record)).unwrap();
    assert_eq!(line["body"], "paid 12 for | 7");
    assert_eq!(line["extra.body"], "forged");
    assert_eq!(line["extra.extra.body"], "forged too");
    assert_eq!(
        (&line["user.id"], &line["extra.user.id"]),
        (&"bob".into(), &"root".into())
    );
    assert_eq!(line["order"], 1);
    // Without a request, the field is all there is.
    record.request = Request::default();
    let line: Json = serde_json::from_str(&encoded(Format::Json, &record)).unwrap();
    assert_eq!(line["user.id"], "root");
}

/// Hides names, and two patterns: a word and a number.
struct Hides(Names);

impl Redact for Hides {
    fn name(&self, field: &str) -> bool {
        self.0.matches(field)
    }

    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = self.0.hide_in(text);
        if text.contains("SECRET") || text.contains("4111") {
            Cow::Owned(text.replace("SECRET", REDACTED).replace("4111", REDACTED))
        } else {
            text
        }
    }
}

fn redacting(format: Format) -> Encoder {
    let names = Names::new(["password", "body-part", "user.id"]);
    Encoder::new(format).redact(Some(Arc::new(Hides(names))))
}

const FORMATS: [Format; 4] = [
    Format::Text { colour: false },
    Format::Text { colour: true },
    Format::Json,
    Format::Logfmt,
];

#[test]
fn a_secret_is_hidden_wherever_it_stands() {
    let nested = Value::Map(vec![
        (
            "db_password".into(),
            Value::List(vec![Value::Text("HUNTER".into())]),
        ),
        (
            "list".into(),
            Value::List(vec![Value::Text("a SECRET".into()), Value::Int(4111)]),
        ),
        ("SECRET".into(), Value::Null),
    ]);
    for format in FORMATS {
        let mut record = full_record();
        record.message = "password=HUNTER and SECRET".into();
        record.template = "SECRET %s";
        record.request.path = "/SECRET";
        record.request.user = "HUNTER";
        record.fields = vec![
            ("Password".into(), Value::Text("HUNTER".into())),
            ("card".into(), Value::Int(4111)),
            ("share".into(), Value::Float(0.4111)),
            ("nested".into(), nested.clone()),
            ("SECRET".into(), Value::Bool(true)),
        ];
        record.exception = Some(Exception {
            type_name: "SECRET".into(),
            message: "SECRET".into(),
            traceback: "line\nSECRET: {'password': 'HUNTER'}".into(),
        });
        record.stack = "stack SECRET".into();
        let lines = lines_of(&redacting(format), &record);
        for secret in ["HUNTER", "SECRET", "4111"] {
            assert!(!lines.contains(secret), "{secret} in {lines}");
        }
    }
}

#[test]
fn a_secret_that_lies_across_the_cut_is_hidden_too() {
    for format in FORMATS {
        for shift in 0..8 {
            let long = |bytes: usize| {
                let mut text = "x".repeat(bytes - shift);
                text.push_str("SECRET");
                text.push_str(&"y".repeat(60_000));
                text.push_str("SECRET");
                text.push_str(&"z".repeat(bytes - shift));
                text
            };
            let max = RECORD_BYTES_LEAST;
            let message = long(max / 4);
            let mut record = Record {
                message: message.into(),
                fields: vec![("field".into(), Value::Text(long(max / 16).into()))],
                ..Record::default()
            };
            for share in [max / 24, max / 12, max / 8] {
                record.stack = long(share).into();
                let encoder = redacting(format).record_bytes_max(max);
                let lines = lines_of(&encoder, &record);
                for part in ["SEC", "CRET"] {
                    assert!(!lines.contains(part), "{part}, {shift}, {share}");
                }
                assert!(lines.len() < max && lines.contains("[logboom: cut, "));
            }
        }
    }
}

#[test]
fn what_is_too_deep_or_too_much_is_left_out_with_a_mark() {
    let mut deep = Value::Int(1);
    for _ in 0..100 {
        deep = Value::List(vec![deep]);
    }
    let many = Value::List(vec![Value::Null; 100_000]);
    let map = Value::Map(vec![
        ("key".into(), Value::Text("v".repeat(100).into()));
        10_000
    ]);
    for format in FORMATS {
        for (field, mark) in [
            (&deep, "too deep"),
            (&many, "more left out"),
            (&map, "more left out"),
        ] {
            let record = Record {
                fields: vec![("field".into(), field.clone())],
                ..full_record()
            };
            let lines = encoded(format, &record);
            assert!(lines.contains(mark), "{lines}");
            assert!(lines.len() <= RECORD_BYTES_MAX);
        }
        let names: Vec<String> = (0..20_000).map(|number| format!("f{number}")).collect();
        let record = Record {
            fields: names
                .iter()
                .map(|name| (name.as_str().into(), Value::Null))
                .collect(),
            ..full_record()
        };
        assert!(encoded(format, &record).contains("logboom.fields_left_out"));
    }
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/ .]{0,12}",
        "[\\x00-\\x22=|a\\\\\u{7f}-\u{a0}\u{2027}-\u{206a}]{0,24}",
        any::<String>(),
        Just(String::from(
            "x\n2026-11-20 16:30:01.123 INFO     [1] root: forged | user=root"
        )),
        Just(String::from("\",\"body\":\"forged\"}\n{")),
        Just(String::from(" body=forged")),
        Just(String::from("12")),
        Just(String::from("null")),
    ]
}

fn values() -> impl Strategy<Value = Value<'static>> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Uint),
        any::<f64>().prop_map(Value::Float),
        texts().prop_map(|text| Value::Text(text.into())),
    ];
    plain.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(texts(), inner, 0..4).prop_map(|map| {
                Value::Map(
                    map.into_iter()
                        .map(|(name, value)| (name.into(), value))
                        .collect(),
                )
            }),
        ]
    })
}

fn fields() -> impl Strategy<Value = Vec<(Cow<'static, str>, Value<'static>)>> {
    let names = prop_oneof![
        texts(),
        prop::sample::select(&names::ALL[..]).prop_map(String::from),
        "[a-z]{1,8}",
    ];
    prop::collection::btree_map(names, values(), 0..6).prop_map(|map| {
        map.into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect()
    })
}

/// What serde_json makes of a value.
fn as_json(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => {
            Number::from_f64(*number).map_or_else(|| json::not_finite(*number).into(), Json::Number)
        }
        Value::Text(text) => text.as_ref().into(),
        Value::List(values) => values.iter().map(as_json).collect(),
        Value::Map(values) => values
            .iter()
            .map(|(name, value)| (name.to_string(), as_json(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// One pair of a logfmt line: name, value as it was written.
fn pairs_of(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').expect("each pair has a value");
        assert!(!name.contains([' ', '"']), "{name:?} in {line:?}");
        let length = if after.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(after).into_iter::<String>();
            stream.next().unwrap().unwrap();
            stream.byte_offset()
        } else {
            after.find(' ').unwrap_or(after.len())
        };
        pairs.push((name.to_string(), after[..length].to_string()));
        rest = after[length..]
            .strip_prefix(' ')
            .unwrap_or(&after[length..]);
    }
    pairs
}

/// How logfmt shows a value.
fn as_logfmt(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => {
            let mut out = Vec::new();
            scan::push_value(&mut out, text, true);
            String::from_utf8(out).unwrap()
        }
        Value::Float(number) if !number.is_finite() => json::not_finite(*number).to_string(),
        plain => as_json(plain).to_string(),
    }
}

proptest! {
    /// serde_json reads a JSON line back as exactly what the record was.
    #[test]
    fn json_lines_read_back(message in texts(), component in texts(), path in texts(), trace in texts(), fields in fields()) {
        let record = Record {
            time_ns: TIME_NS,
            level: "INFO",
            component: &component,
            message: message.as_str().into(),
            request: Request { path: &path, ..Request::default() },
            fields: fields.clone(),
            exception: Some(Exception { traceback: trace.as_str().into(), ..Exception::default() }),
            ..Record::default()
        };
        let line = encoded(Format::Json, &record);
        prop_assert_eq!(crate::files::escape::escape(&line, false), line.as_str());
        let mut expected = Map::new();
        for (name, value) in &fields {
            expected.insert(names::given(name, &record.request).into_owned(), as_json(value));
        }
        expected.insert("timestamp".into(), "2026-11-20T16:30:01.123456789Z".into());
        expected.insert("body".into(), message.into());
        expected.insert("severity_text".into(), "INFO".into());
        for (name, text) in [("otel.scope.name", component), ("url.path", path.clone()), ("exception.stacktrace", trace)] {
            if !text.is_empty() {
                expected.insert(name.into(), text.into());
            }
        }
        prop_assert_eq!(serde_json::from_str::<Json>(&line).unwrap(), Json::Object(expected));
    }

    /// A logfmt line has the pairs of the record and no other.
    #[test]
    fn logfmt_lines_read_back(message in texts(), component in "[a-z ]{1,8}", fields in fields()) {
        let record = Record {
            component: &component,
            message: message.as_str().into(),
            fields: fields.clone(),
            ..Record::default()
        };
        let line = encoded(Format::Logfmt, &record);
        prop_assert_eq!(crate::files::escape::escape(&line, false), line.as_str());
        let pairs = pairs_of(&line);
        prop_assert_eq!(pairs.len(), 3 + fields.len(), "{}", line);
        let given: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(&given[..3], ["timestamp", "otel.scope.name", "body"]);
        for ((name, shown), (_, value)) in pairs[3..].iter().zip(&fields) {
            prop_assert!(!names::ALL[..5].contains(&name.as_str()));
            match value {
                Value::List(_) | Value::Map(_) => {
                    let nested: String = serde_json::from_str(shown).unwrap();
                    prop_assert_eq!(serde_json::from_str::<Json>(&nested).unwrap(), as_json(value));
                }
                Value::Float(number) if number.is_finite() => {
                    prop_assert_eq!(shown.parse::<f64>().unwrap().to_bits(), number.to_bits());
                }
                plain => prop_assert_eq!(shown, &as_logfmt(plain)),
            }
        }
    }

    /// A line for people: one line, message before the first divider, fields behind it, traces indented.
    #[test]
    fn text_cannot_be_forged(level in texts(), component in texts(), message in texts(), trace in texts(), id in "[a-z0-9]{0,8}", fields in fields()) {
        let record = Record {
            level: &level,
            process: Some(1),
            component: &component,
            message: message.as_str().into(),
            request: Request { id: &id, ..Request::default() },
            fields: fields.clone(),
            exception: Some(Exception { traceback: trace.as_str().into(), ..Exception::default() }),
            ..Record::default()
        };
        let lines = encoded(Format::Text { colour: false }, &record);
        let (first, rest) = lines.split_once('\n').unwrap_or((&lines, ""));
        prop_assert!(first.starts_with("1970-01-01 00:00:00.000Z "));
        prop_assert_eq!(crate::files::escape::escape(first, false), first);
        for line in lines.lines().skip(1) {
            prop_assert!(line.starts_with("    "), "{}", lines);
        }
        prop_assert_eq!(rest.split('\n').filter(|line| !line.is_empty()).count(), if trace.is_empty() { 0 } else { trace.split('\n').count() });
        // The component may be quoted, and then has anything inside of its quotes.
        if !component.contains(' ') {
            let behind = first.split_once(" | ").map_or("", |(_, behind)| behind);
            let pairs = pairs_of(behind);
            prop_assert_eq!(pairs.len(), fields.len() + usize::from(!id.is_empty()), "{}", first);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However long, deep and full of control characters: the record is as long as it may be and no longer.
    #[test]
    fn a_record_is_never_longer_than_it_may_be(
        letter in prop::sample::select(&["\0", "\"", "\\", "\n", "\u{85}", "\u{2028}", "é", "x", "\u{202e}😀"][..]),
        length in 0usize..400_000,
        count in 0usize..400,
        bytes_max in RECORD_BYTES_LEAST..200_000,
    ) {
        let text = letter.repeat(length / letter.len());
        let short = letter.repeat(length / letter.len() / 100);
        let nested = Value::List(vec![Value::Map(vec![(short.as_str().into(), Value::Text(text.as_str().into()))]); 20]);
        let record = Record {
            level: &short,
            component: &text,
            message: text.as_str().into(),
            template: &short,
            process_name: &text,
            thread_name: &text,
            file: &text,
            function: &text,
            request: Request { id: &text, method: &text, path: &text, client: &text, endpoint: &text, user: &text, trace_id: &text, span_id: &text },
            fields: (0..count).map(|index| (Cow::Owned(format!("{index}{short}")), nested.clone())).collect(),
            exception: Some(Exception { type_name: text.as_str().into(), message: text.as_str().into(), traceback: text.as_str().into() }),
            stack: text.as_str().into(),
            ..full_record()
        };
        for format in FORMATS {
            let mut out = Vec::new();
            Encoder::new(format).record_bytes_max(bytes_max).encode(&record, &mut out);
            prop_assert!(out.len() <= bytes_max, "{} > {}", out.len(), bytes_max);
            prop_assert!(out.len() > 300 || length < 10_000);
            let text = String::from_utf8(out).unwrap();
            if format == Format::Json {
                prop_assert!(serde_json::from_str::<Json>(&text).is_ok());
            }
        }
    }
}
