//! Levels as they are typed, and severities as they are shown.

use logboom::Severity;
use logboom::rules::Rule;

/// The names, each with the lowest severity that it means.
const NAMES: [(&str, u8); 9] = [
    ("all", 0),
    ("trace", 1),
    ("debug", 5),
    ("info", 9),
    ("warning", 13),
    ("warn", 13),
    ("error", 17),
    ("critical", 21),
    ("fatal", 21),
];

/// A level: a name in any case, or a number of Python's `logging` (`15`).
///
/// # Errors
/// It is neither.
pub(crate) fn parse(text: &str) -> Result<Severity, String> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Severity::from_python(number));
    }
    let found = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, number)| Severity(*number)).ok_or_else(|| {
        "there is no such level; write all, trace, debug, info, warning, error, critical or a number of Python's (15)"
            .into()
    })
}

/// The name of a severity, as Python has it.
pub(crate) fn name(severity: Severity) -> &'static str {
    match severity.0 {
        0 => "all",
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warning",
        17..=20 => "error",
        21..=24 => "critical",
        _ if severity == Rule::NOTHING_MORE => "nothing more",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_names_or_numbers_of_python() {
        for (text, number) in [
            ("debug", Some(5)),
            ("DEBUG", Some(5)),
            ("Warning", Some(13)),
            ("15", Some(8)),
            ("20", Some(9)),
            ("all", Some(0)),
            ("loud", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok().map(|level| level.0), number, "{text}");
        }
        for (text, _) in NAMES {
            let again = parse(name(parse(text).unwrap())).unwrap();
            assert_eq!(again, parse(text).unwrap(), "{text}");
        }
    }
}
