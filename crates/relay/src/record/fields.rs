//! The fields of a record, taken apart only when somebody asks for them: most receivers do not, and it is most of the work.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// What a record says beyond what has a place of its own: a map, in the order in which it was written.
#[derive(Clone, Default)]
pub struct Fields {
    /// Pairs of names and values as JSON, with a comma between them. Counts as long as there is no map.
    pairs: String,
    map: OnceLock<Map<String, Value>>,
}

const PAIRS_BYTES_USUALLY: usize = 256;

impl Fields {
    /// Adds a value that is JSON already. Of two with the same name the last one counts.
    pub(crate) fn push(&mut self, name: &str, value: &RawValue) {
        if let Some(map) = self.map.get_mut() {
            map.insert(name.to_owned(), parse(value));
            return;
        }
        if self.pairs.is_empty() {
            self.pairs.reserve(PAIRS_BYTES_USUALLY);
        } else {
            self.pairs.push(',');
        }
        let is_plain = |byte: u8| !matches!(byte, 0..=0x1f | b'"' | b'\\');
        if name.bytes().all(is_plain) {
            self.pairs.push('"');
            self.pairs.push_str(name);
            self.pairs.push('"');
        } else {
            self.pairs.push_str(&Value::from(name).to_string());
        }
        self.pairs.push(':');
        self.pairs.push_str(value.get());
    }

    /// The value of this name, if it is a whole number; where it is not there, the others are not taken apart for it. The name needs
    /// no escapes in JSON.
    pub fn peek_number(&self, name: &str) -> Option<u64> {
        let is_named = || {
            let key = format!("\"{name}\":");
            memchr::memmem::find(self.pairs.as_bytes(), key.as_bytes()).is_some()
        };
        if self.map.get().is_none() && !is_named() {
            return None;
        }
        self.map().get(name)?.as_u64()
    }

    fn map(&self) -> &Map<String, Value> {
        self.map.get_or_init(|| {
            let object = format!("{{{}}}", self.pairs);
            serde_json::from_str(&object).unwrap_or_else(|_| by_pairs(&object))
        })
    }
}

/// The same where a value is JSON and yet cannot be taken apart: a number or a depth beyond all bounds, half a character.
fn by_pairs(object: &str) -> Map<String, Value> {
    let pairs = serde_json::from_str::<Pairs<'_>>(object).map(|Pairs(pairs)| pairs);
    let pairs = pairs.unwrap_or_default().into_iter();
    pairs.map(|(name, value)| (name, parse(value))).collect()
}

/// The value, or its text.
fn parse(value: &RawValue) -> Value {
    serde_json::from_str(value.get()).unwrap_or_else(|_| Value::from(value.get()))
}

/// Names and values that are not taken apart.
#[derive(Default)]
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs<'de>, D::Error> {
        from.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Pairs::default();
        while let Some(pair) = map.next_entry()? {
            pairs.0.push(pair);
        }
        Ok(pairs)
    }
}

impl Deref for Fields {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        self.map()
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut Map<String, Value> {
        self.map();
        self.pairs.clear();
        self.map.get_mut().expect("it was just made")
    }
}

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Fields {
        Fields::from(pairs.into_iter().collect::<Map<String, Value>>())
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Fields {
        Fields {
            pairs: String::new(),
            map: OnceLock::from(map),
        }
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a String, &'a Value);
    type IntoIter = serde_json::map::Iter<'a>;

    fn into_iter(self) -> serde_json::map::Iter<'a> {
        self.map().iter()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.map() == other.map()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.push(name, &RawValue::from_string((*value).to_owned()).unwrap());
        }
        fields
    }

    #[test]
    fn fields_are_a_map_in_their_order() {
        let fields = fields(&[
            ("b", "1"),
            ("a \"\\\n\u{1}é", r#""\u0041""#),
            ("c", "{}"),
            ("b", "2"),
        ]);
        let expected = serde_json::json!({"b": 2, "a \"\\\n\u{1}é": "A", "c": {}});
        assert_eq!(Some(&*fields), expected.as_object());
        let names: Vec<&String> = fields.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "a \"\\\n\u{1}é", "c"]);
        assert_eq!(Fields::default().len(), 0);
    }

    #[test]
    fn a_field_can_be_added_before_and_after_they_are_taken_apart() {
        let mut some = fields(&[("a", "1")]);
        some.insert("b".to_owned(), Value::from(2));
        some.push("c", &RawValue::from_string("3".to_owned()).unwrap());
        let expected = serde_json::json!({"a": 1, "b": 2, "c": 3});
        assert_eq!(some, Fields::from(expected.as_object().unwrap().clone()));
        assert_eq!(some.clone(), some);
    }

    #[test]
    fn a_number_is_seen_without_taking_the_rest_apart() {
        let some = fields(&[
            ("text", r#""\"p\":1""#),
            ("p", "11"),
            ("q", "-1"),
            ("r", "1.5"),
            ("s", "7"),
        ]);
        let seen = ["p", "q", "r", "s", "t"].map(|name| some.peek_number(name));
        assert_eq!(seen, [Some(11), None, None, Some(7), None]);
        let nested = fields(&[("map", r#"{"o":0,"p":1}"#)]);
        assert_eq!(nested.peek_number("p"), None);
        assert_eq!(Fields::default().peek_number("p"), None);
    }

    #[test]
    fn a_value_that_cannot_be_taken_apart_is_its_text() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let fields = fields(&[
            ("far", "1e999"),
            ("half", r#""\ud800""#),
            ("deep", &deep),
            ("sound", "[1]"),
        ]);
        assert_eq!(fields["far"], "1e999");
        assert_eq!(fields["half"], r#""\ud800""#);
        assert_eq!(fields["deep"], Value::from(deep));
        assert_eq!(fields["sound"], serde_json::json!([1]));
    }
}
