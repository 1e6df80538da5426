//! A record as a viewer looks at it: its fields are read when something asks for them, and once.

use std::cell::OnceCell;

use logboom::viewer::Seen;
use serde_json::{Map, Value};

/// A record and, when they were asked for, its fields.
pub(crate) struct Look<'a> {
    pub(crate) seen: &'a Seen,
    fields: OnceCell<Option<Map<String, Value>>>,
}

impl<'a> Look<'a> {
    pub(crate) fn of(seen: &'a Seen) -> Look<'a> {
        Look {
            seen,
            fields: OnceCell::new(),
        }
    }

    /// The record as a JSON object, as its program wrote it.
    pub(crate) fn object(&self) -> Option<&'a str> {
        let record = &self.seen.record;
        let text = match record.json.is_empty() {
            true => &record.line,
            false => &record.json,
        };
        self.fields().map(|_| text.trim())
    }

    /// The fields of that object.
    pub(crate) fn fields(&self) -> Option<&Map<String, Value>> {
        let read = || {
            let record = &self.seen.record;
            let text = match record.json.is_empty() {
                true => &record.line,
                false => &record.json,
            };
            let object = text.trim_start().starts_with('{');
            object.then(|| serde_json::from_str(text).ok()).flatten()
        };
        self.fields.get_or_init(read).as_ref()
    }

    pub(crate) fn has_fields(&self) -> bool {
        self.fields().is_some()
    }

    /// The line is that object: there is no text beside it.
    pub(crate) fn is_json_line(&self) -> bool {
        self.seen.record.json.is_empty() && self.has_fields()
    }

    /// A field by its name; with dots also a value inside of maps.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        within(self.fields()?, name)
    }

    /// A field as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.field(name).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// The id of its request; empty: it belongs to none.
    pub(crate) fn request(&self) -> String {
        let told = &self.seen.record.request;
        match told.is_empty() {
            true => self.text("request_id").unwrap_or_default(),
            false => told.clone(),
        }
    }

    /// The logger's name; empty if it is not known.
    pub(crate) fn component(&self) -> String {
        let told = &self.seen.record.component;
        match told.is_empty() {
            true => self.text("otel.scope.name").unwrap_or_default(),
            false => told.clone(),
        }
    }
}

fn within<'m>(map: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    map.get(name).or_else(|| {
        name.match_indices('.').find_map(|(at, _)| {
            let inner = map.get(&name[..at])?.as_object()?;
            within(inner, &name[at + 1..])
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use logboom::{Recorded, Severity};

    /// A record of process 7, of the component `shop.db`.
    pub(crate) fn seen(request: &str, json: &str, line: &str) -> Seen {
        Seen {
            process: 7,
            record: Recorded {
                time_ns: 1_000_000_000_123_456_789,
                severity: Severity::INFO,
                component: "shop.db".into(),
                request: request.into(),
                line: line.into(),
                json: json.into(),
                kept: true,
                rules: None,
                number: 1,
            },
        }
    }

    #[test]
    fn fields_come_from_the_object_or_from_a_line_that_is_one() {
        let beside = seen("", r#"{"order":7,"cart":{"a.b":{"c":"x"}}}"#, "a line");
        let look = Look::of(&beside);
        assert_eq!(look.text("order").as_deref(), Some("7"));
        assert_eq!(look.text("cart.a.b.c").as_deref(), Some("x"));
        assert_eq!(look.text("cart.a"), None);
        assert!(!look.is_json_line());

        let itself = seen("", "", r#"{"request_id":"9f2c"}"#);
        assert_eq!(Look::of(&itself).request(), "9f2c");
        assert!(Look::of(&itself).is_json_line());

        for damaged in [r#"{"half"#, "[1]", "text"] {
            let none = seen("", "", damaged);
            assert!(!Look::of(&none).has_fields(), "{damaged}");
        }
    }
}
