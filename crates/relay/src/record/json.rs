//! Takes a line of JSON by logboom apart, in one pass and without a copy of what is not kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::Record;

/// The record of an object as logboom writes it; None: it is something else.
pub(super) fn parse(object: &[u8]) -> Option<Record> {
    if object.first() != Some(&b'{') {
        return None;
    }
    // Looking at the whole once is faster than at each text.
    let object = std::str::from_utf8(object).ok()?;
    serde_json::from_str::<Parsed>(object).ok()?.0
}

/// None inside: an object without a time.
struct Parsed(Option<Record>);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Parsed, D::Error> {
        from.deserialize_map(ObjectVisitor).map(Parsed)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Option<Record>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Option<Record>, A::Error> {
        let mut record = Record::default();
        while let Some(Given::Text(name)) = pairs.next_key::<Given<'de>>()? {
            let Some(place) = Place::of(&name) else {
                record.fields.push(&name, pairs.next_value()?);
                continue;
            };
            let value = match place.fill(&mut record, pairs.next_value()?) {
                Ok(()) => continue,
                Err(Given::Text(text)) => Value::String(text.into_owned()),
                Err(Given::Other(value)) => value,
            };
            record.fields.insert(name.into_owned(), value);
        }
        Ok((record.time_ns > 0).then_some(record))
    }
}

/// The names that have a place of their own in a record.
#[derive(Clone, Copy)]
enum Place {
    Time,
    Severity,
    Level,
    Component,
    Body,
    Process,
}

impl Place {
    fn of(name: &str) -> Option<Place> {
        Some(match name {
            "timestamp" => Place::Time,
            "severity_number" => Place::Severity,
            "severity_text" => Place::Level,
            "otel.scope.name" => Place::Component,
            "body" => Place::Body,
            "process.pid" => Place::Process,
            _ => return None,
        })
    }

    /// Puts the value there; gives it back if it does not fit.
    fn fill<'v>(self, record: &mut Record, value: Given<'v>) -> Result<(), Given<'v>> {
        match (self, value) {
            (Place::Level, Given::Text(text)) => record.level = text.into_owned(),
            (Place::Component, Given::Text(text)) => record.component = text.into_owned(),
            (Place::Body, Given::Text(text)) => record.body = text.into_owned(),
            (Place::Body, Given::Other(value)) => record.body = value.to_string(),
            (Place::Time, Given::Text(text)) => match time_ns(&text) {
                Some(time_ns) => record.time_ns = time_ns,
                None => return Err(Given::Text(text)),
            },
            (Place::Severity, Given::Other(value)) => match value.as_u64() {
                Some(number @ 1..=24) => record.severity = number as u8,
                _ => return Err(Given::Other(value)),
            },
            (Place::Process, Given::Other(value)) => match value.as_u64().map(u32::try_from) {
                Some(Ok(number)) => record.process = Some(number),
                _ => return Err(Given::Other(value)),
            },
            (_, value) => return Err(value),
        }
        Ok(())
    }
}

/// Nanoseconds since 1970 of a time by RFC 3339; None for one before that or after 2554.
fn time_ns(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond())
        .ok()
        .filter(|ns| *ns > 0)
}

/// A value, borrowed if it is a text without escapes.
enum Given<'v> {
    Text(Cow<'v, str>),
    Other(Value),
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Given<'de>, D::Error> {
        from.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Given<'de>, E> {
        Ok(Given::Other(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Given<'de>, E> {
        Ok(Given::Other(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Given<'de>, E> {
        let number = Number::from_f64(number).map_or(Value::Null, Value::Number);
        Ok(Given::Other(number))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given<'de>, E> {
        Ok(Given::Other(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Given<'de>, E> {
        Ok(Given::Other(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Given<'de>, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(values)).map(Given::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, pairs: A) -> Result<Given<'de>, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(pairs)).map(Given::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Record;

    /// The line of docs/formats.md.
    const LINE: &str = r#"{"timestamp":"2026-11-20T16:30:01.123000000Z","severity_text":"INFO","severity_number":9,"otel.scope.name":"shop.payments","body":"paid","order":7,"total":12.5,"note":"second try","code.file.path":"/srv/shop/pay.py","code.line.number":12,"code.function.name":"pay","process.pid":4711,"thread.id":140000,"thread.name":"MainThread"}"#;

    fn parsed(line: &str) -> Record {
        Record::from_json_line(line.as_bytes())
    }

    #[test]
    fn every_name_of_the_format_has_its_place() {
        let record = parsed(LINE);
        assert_eq!(record.time_ns, 1_795_192_201_123_000_000);
        assert_eq!((record.severity, record.level.as_str()), (9, "INFO"));
        assert_eq!(record.component, "shop.payments");
        assert_eq!((record.body.as_str(), record.process), ("paid", Some(4711)));
        let fields = serde_json::to_string(&*record.fields).unwrap();
        let expected = r#"{"order":7,"total":12.5,"note":"second try","code.file.path":"/srv/shop/pay.py","code.line.number":12,"code.function.name":"pay","thread.id":140000,"thread.name":"MainThread"}"#;
        assert_eq!(fields, expected);
        assert_eq!(record.id, "");
    }

    #[test]
    fn escapes_and_types_are_those_of_the_program_that_logged() {
        let record = parsed(
            r#"{"timestamp":"2026-11-20T16:30:01Z","body":"a\n\"b\"\u0007\ud83d\ude00é","\u0061":[1,-2,0.1,null,true,{"x":""}],"deep":{"a":{"b":[]}},"big":18446744073709551615,"small":-9223372036854775808}"#,
        );
        assert_eq!(record.body, "a\n\"b\"\u{7}😀é");
        let fields = serde_json::to_string(&*record.fields).unwrap();
        let expected = r#"{"a":[1,-2,0.1,null,true,{"x":""}],"deep":{"a":{"b":[]}},"big":18446744073709551615,"small":-9223372036854775808}"#;
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_value_that_does_not_fit_its_name_is_a_field() {
        let record = parsed(
            r#"{"timestamp":"2026-11-20T16:30:01+01:00","severity_number":99,"severity_text":7,"otel.scope.name":null,"process.pid":-1,"body":{"a":[1]}}"#,
        );
        assert_eq!((record.severity, record.level.as_str()), (0, ""));
        assert_eq!(
            (record.process, record.body.as_str()),
            (None, r#"{"a":[1]}"#)
        );
        let names: Vec<&String> = record.fields.keys().collect();
        let wrong = [
            "severity_number",
            "severity_text",
            "otel.scope.name",
            "process.pid",
        ];
        assert_eq!(names, wrong);
    }

    #[test]
    fn any_other_line_is_its_own_message() {
        for line in [
            r#"{"time":"2026-11-20T16:30:01Z","msg":"of another program"}"#,
            r#"{"timestamp":"yesterday","body":"x"}"#,
            r#"{"timestamp":7,"body":"x"}"#,
            r#"{"timestamp":"1969-01-01T00:00:00Z","body":"x"}"#,
            r#"{"timestamp":"2026-11-20T16:30:01Z","body":"x""#,
            r#"{"timestamp":"2026-11-20T16:30:01Z","body":"x"} and more"#,
            r#"{"timestamp":"2026-11-20T16:30:01Z","body":"\ud800"}"#,
            r#"["timestamp"]"#,
            r#"{"timestamp":"2026-11-20T16:30:01Z","a":[}"#,
            "{}",
            "",
        ] {
            let record = parsed(line);
            let expected = Record {
                body: line.to_owned(),
                ..Record::default()
            };
            assert_eq!(record, expected);
        }
    }
}
