//! The cases of `conditions.json` hold for whoever judges a request: here for a program in Rust, through a real log and its
//! table of rules; `tests/python/test_conditions.py` asks the same of a worker in Python.

use logboom::rules::{Condition, Facts, Rule};
use logboom::{Log, LogOptions, Severity, StateDir};
use serde_json::Value;

fn cases() -> Value {
    serde_json::from_str(include_str!("conditions.json")).unwrap()
}

fn log(place: &tempfile::TempDir) -> Log {
    let options = LogOptions {
        state_dir: StateDir::Path(place.path().join("state")),
        ..LogOptions::default()
    };
    Log::open(place.path().join("app.log"), &options).unwrap()
}

#[test]
fn conditions_hold_as_the_table_says() {
    let (place, cases) = (tempfile::tempdir().unwrap(), cases());
    let log = log(&place);
    for case in cases["cases"].as_array().unwrap() {
        let request = &cases["requests"][case["request"].as_str().unwrap()];
        let text = |name: &str| request[name].as_str().unwrap();
        let header = |name: &str| {
            let found = request["headers"][name].as_str();
            found.unwrap_or_default().to_owned()
        };
        let facts = Facts {
            path: text("path"),
            method: text("method"),
            id: text("id"),
            user: text("user"),
            client: text("client"),
            endpoint: text("endpoint"),
            status: request["status"].as_u64().map(|status| status as u16),
            header: request["headers"].is_object().then_some(&header),
        };
        let rule = Rule {
            condition: case["condition"].as_str().unwrap().to_owned(),
            ..Rule::default()
        };
        let held = log.hold_rule(&rule).unwrap();
        let verdict = log.judge("shop", Severity(5), Some(&facts));
        assert_eq!(verdict.revealed, case["holds"].as_bool().unwrap(), "{case}");
        drop(held);
        assert!(!log.judge("shop", Severity(5), Some(&facts)).revealed);
    }
}

#[test]
fn what_cannot_be_read_is_refused_where_it_is_made() {
    let (place, cases) = (tempfile::tempdir().unwrap(), cases());
    let log = log(&place);
    for case in cases["refused"].as_array().unwrap() {
        let condition = case["condition"].as_str().unwrap();
        let why = Condition::all_of(condition).unwrap_err();
        assert!(why.contains(case["why"].as_str().unwrap()), "{case}: {why}");
        let rule = Rule {
            condition: condition.to_owned(),
            ..Rule::default()
        };
        let error = log.add_rule(&rule).unwrap_err().to_string();
        assert!(error.contains(&why), "{error}");
    }
    assert!(log.rules().is_empty());
}

/// What is shown of a condition can be typed.
#[test]
fn conditions_are_written_as_they_are_read() {
    for case in cases()["cases"].as_array().unwrap() {
        for condition in Condition::all_of(case["condition"].as_str().unwrap()).unwrap() {
            assert_eq!(condition.to_string().parse(), Ok(condition));
        }
    }
}
