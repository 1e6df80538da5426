//! A checked value, and how it is shown.

use std::fmt;

/// A value as it is used: sizes in bytes, times in seconds, levels as numbers of Python's `logging`.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// Switched off, or left to somebody else; with the word for it in the file.
    None(&'static str),
    /// Yes or no.
    Bool(bool),
    /// A number of things.
    Count(u64),
    /// A size in bytes.
    Bytes(u64),
    /// A length of time in seconds.
    Seconds(f64),
    /// A level of Python's `logging`.
    Level(i64),
    /// Seconds after midnight.
    TimeOfDay(u32),
    /// Permissions of a file.
    Mode(u32),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

const LEVELS: [(&str, i64); 7] = [
    ("all", 1),
    ("trace", 5),
    ("debug", 10),
    ("info", 20),
    ("warning", 30),
    ("error", 40),
    ("critical", 50),
];

/// The name of a level of Python's `logging`, or its number.
#[must_use]
pub fn level_name(level: i64) -> String {
    let named = LEVELS.iter().find(|(_, number)| *number == level);
    named.map_or_else(|| level.to_string(), |(name, _)| (*name).to_owned())
}

/// The level with this name; `warn`, `fatal` and Python's capitals are understood too.
pub(crate) fn level_of(name: &str) -> Option<i64> {
    let name = name.to_ascii_lowercase();
    let name = match name.as_str() {
        "warn" => "warning",
        "fatal" => "critical",
        "notset" => "all",
        other => other,
    };
    LEVELS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// The value as it would stand in the file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None(word) => f.write_str(&quoted(word)),
            Value::Bool(yes) => write!(f, "{yes}"),
            Value::Count(count) => write!(f, "{count}"),
            Value::Bytes(bytes) => f.write_str(&with_unit(*bytes as f64, &BYTES)),
            Value::Seconds(seconds) => f.write_str(&with_unit(*seconds, &SECONDS)),
            Value::Level(level) if level_of(&level_name(*level)).is_none() => write!(f, "{level}"),
            Value::Level(level) => f.write_str(&quoted(&level_name(*level))),
            Value::TimeOfDay(s) => {
                let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
                write!(f, "\"{hour:02}:{minute:02}")?;
                match second {
                    0 => f.write_str("\""),
                    _ => write!(f, ":{second:02}\""),
                }
            }
            Value::Mode(mode) => write!(f, "\"{mode:04o}\""),
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Texts(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
                write!(f, "[{}]", texts.join(", "))
            }
        }
    }
}

pub(crate) const BYTES: [(&str, f64); 9] = [
    ("TB", 1e12),
    ("TiB", 1_099_511_627_776.0),
    ("GB", 1e9),
    ("GiB", 1_073_741_824.0),
    ("MB", 1e6),
    ("MiB", 1_048_576.0),
    ("kB", 1e3),
    ("KiB", 1024.0),
    ("B", 1.0),
];

pub(crate) const SECONDS: [(&str, f64); 6] = [
    ("weeks", 604_800.0),
    ("days", 86_400.0),
    ("hours", 3600.0),
    ("minutes", 60.0),
    ("s", 1.0),
    ("ms", 0.001),
];

/// The number in the largest unit that keeps it whole.
fn with_unit(number: f64, units: &[(&str, f64)]) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let fits = |unit: f64| {
        let count = number / unit;
        count >= 1.0 && (count - count.round()).abs() < 1e-9
    };
    match units.iter().find(|(_, unit)| fits(*unit)) {
        Some((name, unit)) => {
            let count = (number / unit).round();
            let name = if count == 1.0 && name.len() > 2 {
                name.strip_suffix('s').unwrap_or(name)
            } else {
                name
            };
            format!("\"{count} {name}\"")
        }
        None => format!("{number}"),
    }
}

/// Text between double quotes, as TOML writes it; control characters are escaped, so that nothing can pass for
/// another line.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_would_be_written() {
        let shown = [
            (Value::Bytes(100_000_000), "\"100 MB\""),
            (Value::Bytes(1 << 20), "\"1 MiB\""),
            (Value::Bytes(1_048_577), "\"1048577 B\""),
            (Value::Bytes(0), "0"),
            (Value::Seconds(14.0 * 86_400.0), "\"2 weeks\""),
            (Value::Seconds(86_400.0), "\"1 day\""),
            (Value::Seconds(0.2), "\"200 ms\""),
            (Value::Seconds(1.5), "\"1500 ms\""),
            (Value::Level(20), "\"info\""),
            (Value::Level(15), "15"),
            (Value::TimeOfDay(3 * 3600), "\"03:00\""),
            (Value::TimeOfDay(3601), "\"01:00:01\""),
            (Value::Mode(0o640), "\"0640\""),
            (Value::Text("a\"b\n\u{1b}".into()), "\"a\\\"b\\n\\u001B\""),
            (Value::Texts(vec!["a".into(), "b".into()]), "[\"a\", \"b\"]"),
            (Value::None("off"), "\"off\""),
        ];
        for (value, text) in shown {
            assert_eq!(value.to_string(), text);
        }
    }
}
