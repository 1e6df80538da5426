//! The table: what is put in is read back, ends are exact, and nobody's death or haste leaves an entry taken or mixed up.

use super::*;
use crate::fs::Descriptor;
use crate::state::Wanted;

/// A table, and a description of the state beside the one that holds rules.
fn table() -> (tempfile::TempDir, State, Descriptor) {
    let place = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        queue_bytes: 4096,
        recorder_bytes: 4096,
        group: None,
    };
    let state = State::create(&place.path().join("x.state"), place.path(), wanted).unwrap();
    let looks = state.reopen().unwrap();
    (place, state, looks)
}

fn rule(component: &str) -> Rule {
    Rule {
        component: component.into(),
        ..Rule::default()
    }
}

fn in_force(rules: Rules<'_>) -> Vec<String> {
    let all = rules.in_force().into_iter();
    all.map(|rule| rule.component).collect()
}

#[test]
fn a_rule_is_read_as_it_was_made() {
    let (_place, state, _) = table();
    let rules = Rules::of(&state);
    let made = Rule {
        component: "shop.db".into(),
        condition: "path^=/a\nuser=bob".into(),
        worker: 4711,
        severity: Severity(9),
        kept: true,
        made_by: "bob".into(),
        expires_ns: clock::wall_ns() + 60_000_000_000,
        ..Rule::default()
    };
    let generation = rules.generation();
    let number = rules.add(&made, state.file.raw()).unwrap();
    assert!(rules.generation() > generation);
    let found = rules.in_force().remove(0);
    assert!(
        found.expires_ns >= made.expires_ns && found.expires_ns - made.expires_ns < END_UNIT_NS
    );
    assert_eq!(found.maker, std::process::id());
    assert!(found.made_ns > 0);
    let expected = Rule {
        number,
        made_ns: found.made_ns,
        expires_ns: found.expires_ns,
        maker: found.maker,
        ..made
    };
    assert_eq!(found, expected);
}

#[test]
fn a_full_table_is_refused_and_an_ended_rule_makes_room() {
    let (_place, state, _) = table();
    let rules = Rules::of(&state);
    let add = |name: &str| rules.add(&rule(name), state.file.raw());
    let remove = |number| rules.remove(number, state.file.raw());
    let numbers: Vec<_> = (0..RULES)
        .map(|number| add(&number.to_string()).unwrap())
        .collect();
    let error = add("one more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("as many as fit (16)"), "{error}");
    assert!(remove(numbers[3]) && !remove(numbers[3]));
    let number = add("in its place").unwrap();
    assert!(numbers.iter().all(|other| *other != number));
    assert_eq!(in_force(rules).len(), RULES);
    assert_eq!(
        in_force(rules).last().unwrap(),
        "in its place",
        "oldest first"
    );
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let (_place, state, _) = table();
    let rules = Rules::of(&state);
    for (wrong, part) in [
        (
            rule(&"x".repeat(121)),
            "the component is longer than 120 bytes",
        ),
        (
            Rule {
                condition: format!("path={}", "x".repeat(200)),
                ..rule("")
            },
            "the conditions together are longer than 192 bytes",
        ),
        (
            Rule {
                condition: "pth=/x".into(),
                ..rule("")
            },
            "no field `pth`",
        ),
    ] {
        let error = rules.add(&wrong, state.file.raw()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(in_force(rules).is_empty());
}

#[test]
fn a_rule_ends_with_its_time_and_a_renewed_one_does_not() {
    let (_place, state, looks) = table();
    let rules = Rules::of(&state);
    let soon = |ms: u64| clock::wall_ns() + ms * 1_000_000;
    let add = |name: &str, ms| {
        let rule = Rule {
            expires_ns: soon(ms),
            ..rule(name)
        };
        rules.add(&rule, state.file.raw()).unwrap()
    };
    let (over, renewed) = (add("over", 50), add("renewed", 50));
    add("lasts", 60_000);
    assert!(rules.extend(renewed, soon(60_000)));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(in_force(rules), ["renewed", "lasts"]);
    assert!(rules.extend(over, soon(1000)), "nobody has removed it yet");
    assert!(rules.extend(over, soon(0)));
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(rules.forget_ended(looks.raw()) && !rules.forget_ended(looks.raw()));
    assert!(!rules.extend(over, soon(60_000)), "it is gone");
    assert_eq!(in_force(rules), ["renewed", "lasts"]);
    assert!(rules.extend(renewed, 0), "for ever");
    assert_eq!(rules.in_force()[0].expires_ns, 0);
}

/// A held rule goes with its maker: with the description that has the lock, that is. In its own process, where locks are not
/// seen, it stays.
#[test]
fn a_held_rule_goes_with_its_maker() {
    let (_place, state, looks) = table();
    let rules = Rules::of(&state);
    let held = Rule {
        held: true,
        ..rule("held")
    };
    let number = rules.add(&held, state.file.raw()).unwrap();
    assert!(!rules.forget_ended(state.file.raw()), "its own maker looks");
    let entry = &state.control().rules[0];
    entry.maker.store(1, Ordering::Relaxed);
    assert!(
        !rules.forget_ended(looks.raw()),
        "somebody else sees the lock"
    );
    assert!(liveness::lock_rule(state.file.raw(), number, false));
    assert!(rules.forget_ended(looks.raw()));
    assert!(!rules.remove(number, state.file.raw()) && in_force(rules).is_empty());
    assert!(rules.add(&held, state.file.raw()).is_ok());
}

/// A process that holds rules one after the other keeps no lock of those that have ended, whoever ended them, and leaves the
/// whole table to others.
#[test]
fn a_holder_leaves_no_lock_behind() {
    let (_place, state, looks) = table();
    let rules = Rules::of(&state);
    let held = Rule {
        held: true,
        ..rule("held")
    };
    for round in 0..40 {
        let number = rules.add(&held, state.file.raw()).unwrap();
        assert!(liveness::is_rule_held(looks.raw(), number));
        if round % 2 == 0 {
            assert!(rules.remove(number, looks.raw()), "somebody else ends it");
        }
        rules.remove(number, state.file.raw());
        assert!(!liveness::is_rule_held(looks.raw(), number));
    }
    for _ in 0..RULES {
        rules.add(&held, looks.raw()).unwrap();
    }
    assert!(rules.add(&held, state.file.raw()).is_err());
}

/// Somebody died in the middle of filling an entry: it is free again when nobody can be filling it any more, and not before.
#[test]
fn an_entry_that_is_never_filled_is_given_up() {
    let (_place, state, looks) = table();
    let rules = Rules::of(&state);
    let entry = rules.take_entry(77).unwrap();
    assert!(!rules.forget_ended(looks.raw()));
    assert!(in_force(rules).is_empty(), "it does not count");
    let long_ago = clock::wall_ns() - ABANDONED_NS - 1;
    entry.made_ns.store(long_ago, Ordering::Relaxed);
    assert!(rules.forget_ended(looks.raw()));
    assert!(
        !Seal::of(&entry.state).close(77, token(77, 0)),
        "whoever was taken for dead finds that out"
    );
    assert_eq!(Seal::of(&entry.state).peek(), seal::FREE);
}

/// Numbers are given out again after sixteen million rules; none is 0, and none is two rules' at a time.
#[test]
fn numbers_come_round() {
    let (_place, state, _) = table();
    let rules = Rules::of(&state);
    let made = &state.control().rules_made;
    made.store(NUMBERS - 1, Ordering::Relaxed);
    let numbers: Vec<_> = ["last", "first"]
        .map(|name| rules.add(&rule(name), state.file.raw()).unwrap())
        .into();
    assert_eq!(numbers, [NUMBERS, 1]);
    assert_eq!(in_force(rules), ["last", "first"]);
    assert!(rules.remove(1, state.file.raw()));
    assert_eq!(in_force(rules), ["last"]);
}

#[test]
fn toggles_within_a_second_are_one() {
    let (_place, state, _) = table();
    let rules = Rules::of(&state);
    let both = [rule("shop"), rule("stock")];
    let second = 1_000_000_000;
    let toggle = |at_ns| rules.toggle(&both, at_ns, state.file.raw());
    assert_eq!(toggle(10 * second), Some(Toggled::On));
    assert_eq!(in_force(rules), ["shop", "stock"]);
    for at_ns in [10 * second, 10 * second + second / 2, 9 * second, second] {
        assert_eq!(
            toggle(at_ns),
            None,
            "part of the first, however late it is acted on"
        );
    }
    assert_eq!(toggle(11 * second), Some(Toggled::Off));
    assert!(in_force(rules).is_empty());
    (0..RULES - 1).for_each(|_| {
        rules.add(&rule("other"), state.file.raw()).unwrap();
    });
    assert_eq!(toggle(13 * second), Some(Toggled::NoRoom));
    assert_eq!(in_force(rules).len(), RULES - 1, "all of it or nothing");
}

#[test]
fn a_component_is_itself_and_what_is_below_it() {
    for (of, name, takes) in [
        ("", "shop", true),
        ("shop", "shop", true),
        ("shop", "shop.db", true),
        ("shop", "shopping", false),
        ("shop.db", "shop", false),
    ] {
        assert_eq!(rule(of).takes(name), takes, "{of} {name}");
    }
}
