//! Whether a record is of a request that the conditions of a command line mean.
//!
//! Conditions are read by the library (`logboom::rules::Condition`), and workers judge a request by them before any record is
//! made; a record says which rules wanted it. Where it does not, it is judged by what it says of its request. Of what was
//! recorded before anybody asked, all records of a request together say what it is: its path, and at its end its status.

use std::collections::HashMap;

use logboom::rules::{Condition, Field};
use logboom::viewer::Seen;

use super::seen::Look;

/// Where it is known from whether the conditions hold.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// The worker has judged by them.
    Judged(bool),
    /// The record says, and what it does not say holds: the worker that revealed it knew better.
    ByRecord,
    /// The record says, or another one of its request, and what nobody says does not hold.
    ByRequest(&'a Requests),
}

/// What records say of their requests, by their ids.
#[derive(Default)]
pub(crate) struct Requests(HashMap<String, HashMap<String, String>>);

impl Requests {
    /// What these records say, as far as these conditions ask.
    pub(crate) fn of(seen: &[Seen], conditions: &[Condition]) -> Requests {
        let mut requests = Requests::default();
        if conditions.is_empty() {
            return requests;
        }
        let names = conditions.iter().map(|one| one.field.name_in_records());
        let names: Vec<_> = names.collect();
        for seen in seen {
            let record = Look::of(seen);
            let id = record.request();
            if id.is_empty() || !record.has_fields() {
                continue;
            }
            let known = requests.0.entry(id).or_default();
            for name in &names {
                if let Some(value) = record.text(name) {
                    known.insert(name.clone(), value);
                }
            }
        }
        requests
    }

    fn say(&self, record: &Look<'_>, name: &str) -> Option<String> {
        self.0.get(&record.request())?.get(name).cloned()
    }
}

/// What a record says of a field of its request; an empty text for what it would say. None: it says nothing.
fn said(record: &Look<'_>, field: &Field) -> Option<String> {
    if *field == Field::Id {
        return Some(record.request());
    }
    let is_told_always = !matches!(field, Field::Status | Field::Header(_));
    record.text(&field.name_in_records()).or_else(|| {
        let told = record.has_fields() && is_told_always;
        told.then(String::new)
    })
}

fn holds(condition: &Condition, record: &Look<'_>, known: Known<'_>) -> bool {
    let found = said(record, &condition.field);
    match known {
        Known::Judged(wanted) => wanted,
        Known::ByRecord => found.is_none_or(|found| condition.holds(Some(&found))),
        Known::ByRequest(requests) => {
            let name = condition.field.name_in_records();
            // The user is named in the course of a request, its route perhaps, and its status at the end.
            let found = match found.filter(|found| !found.is_empty()) {
                None => requests
                    .say(record, &name)
                    .or(said(record, &condition.field)),
                found => found,
            };
            condition.holds(found.as_deref())
        }
    }
}

/// Whether a record is of a request for which all conditions hold; without conditions, every record is meant.
pub(crate) fn all_admit(conditions: &[Condition], record: &Look<'_>, known: Known<'_>) -> bool {
    if let (Known::Judged(wanted), false) = (known, conditions.is_empty()) {
        return wanted;
    }
    let of_request = || !record.request().is_empty() || record.text("url.path").is_some();
    conditions.is_empty() || of_request() && conditions.iter().all(|one| holds(one, record, known))
}

/// The conditions as a rule has them.
pub(crate) fn of_rule(conditions: &[Condition]) -> String {
    let lines: Vec<_> = conditions.iter().map(Condition::to_string).collect();
    lines.join("\n")
}

/// The conditions that no record says anything about: they say nothing of the past.
pub(crate) fn only_live(conditions: &[Condition]) -> Vec<String> {
    let of_headers = conditions
        .iter()
        .filter(|one| matches!(one.field, Field::Header(_)));
    of_headers.map(Condition::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewing::seen::tests::seen;

    fn conditions(texts: &[&str]) -> Vec<Condition> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_record_is_judged_by_what_it_says() {
        let of = r#"{"url.path":"/checkout/7","http.request.method":"GET","request_id":"9f2c"}"#;
        for (text, by_record, by_request) in [
            ("path^=/checkout", true, true),
            ("path^=/cart", false, false),
            ("path=/checkout", false, false),
            ("path*=out/", true, true),
            ("method!=GET", false, false),
            ("id=9f2c", true, true),
            ("user=", true, true),
            ("user=bob", false, false),
            // It does not say: live, the worker has decided; of the past, nobody has.
            ("status=500", true, false),
            ("header.x-debug=1", true, false),
        ] {
            let record = seen("9f2c", of, "a line");
            let one = conditions(&[text]);
            let requests = Requests::of(std::slice::from_ref(&record), &one);
            let admits = |known| all_admit(&one, &Look::of(&record), known);
            assert_eq!(admits(Known::ByRecord), by_record, "{text}");
            assert_eq!(admits(Known::ByRequest(&requests)), by_request, "{text}");
            assert!(admits(Known::Judged(true)) && !admits(Known::Judged(false)));
        }
        let none = seen("", r#"{"body":"x"}"#, "a line");
        let admits =
            |texts: &[&str]| all_admit(&conditions(texts), &Look::of(&none), Known::ByRecord);
        assert!(!admits(&["user="]), "it is of no request");
        assert!(admits(&[]));
    }

    /// The access record has the status, and so the others of its request are known by it.
    #[test]
    fn records_of_a_request_tell_of_each_other() {
        let records = [
            seen("a", r#"{"url.path":"/x","request_id":"a"}"#, "early"),
            seen("b", r#"{"url.path":"/x","request_id":"b"}"#, "other"),
            seen(
                "a",
                r#"{"url.path":"/x","user.id":"bob","http.response.status_code":503}"#,
                "access",
            ),
        ];
        let of = |texts: &[&str]| -> Vec<String> {
            let wanted = conditions(texts);
            let requests = Requests::of(&records, &wanted);
            let admitted = records
                .iter()
                .filter(|seen| all_admit(&wanted, &Look::of(seen), Known::ByRequest(&requests)));
            admitted.map(|seen| seen.record.line.clone()).collect()
        };
        assert_eq!(of(&["status^=5"]), ["early", "access"]);
        assert_eq!(of(&["user=bob"]), ["early", "access"]);
        assert_eq!(of(&["path=/x", "status!=200"]), ["early", "access"]);
        assert_eq!(of(&["path=/x"]).len(), 3);
    }
}
