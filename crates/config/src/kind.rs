//! What a key may hold: from what stands in the file, or from the text of a variable, to a checked [`Value`].

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::value::{BYTES, SECONDS, Value, level_of, quoted};

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Level,
    OffOrLevel,
    Choice(&'static [&'static str]),
    Bytes,
    Seconds,
    Count(u64, u64),
    When,
    TimeOfDay,
    Suffix,
    Mode,
    Path,
    StateDir,
    Group,
    Components,
    Names,
    Patterns,
    Headers,
    Paths,
    Address,
    /// A path, or nothing.
    OptionalPath,
    /// Printable ASCII without spaces, at most so long, or nothing.
    Word(usize),
}

/// Why a value cannot be, and where exactly if that is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) text: String,
    pub(crate) remedy: String,
    pub(crate) span: Option<Range<usize>>,
}

const TEXT_BYTES_MAX: usize = 4096;
const LIST_LENGTH_MAX: usize = 256;
const SIZE_BYTES_MAX: f64 = 1e15;
const TIME_S_MAX: f64 = 3.2e9;

/// What an address may begin with. Each has a sink in the relay.
pub const SCHEMES: &[&str] = &["unix", "udp", "tcp", "tls", "relp", "relp+tls"];

impl Kind {
    /// Whether its text is the path of a file or directory.
    pub(crate) fn is_path(self) -> bool {
        matches!(self, Kind::Path | Kind::OptionalPath | Kind::StateDir)
    }

    /// What is expected, in words that end "write ...".
    pub(crate) fn expects(self) -> String {
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Level => level_words(""),
            Kind::OffOrLevel => level_words("\"off\", "),
            Kind::Choice(words) => one_of(words),
            Kind::Bytes => "a size such as \"100 MB\" or \"64 KiB\", or a number of bytes".into(),
            Kind::Seconds => {
                "a time such as \"14 days\", \"36 hours\" or \"200 ms\", or a number of seconds"
                    .into()
            }
            Kind::Count(min, max) => format!("a whole number from {min} to {max}"),
            Kind::When => {
                "\"never\", \"S\", \"M\", \"H\", \"D\", \"midnight\" or \"W0\" (Monday) to \"W6\""
                    .into()
            }
            Kind::TimeOfDay => "a time of day such as \"03:00\"".into(),
            Kind::Suffix => {
                "text with %Y, %m, %d, %H, %M and %S, such as \"%Y-%m-%d\", at most 56 bytes".into()
            }
            Kind::Mode => "permissions such as \"0640\"".into(),
            Kind::Path => "a path, or \"-\" for standard error".into(),
            Kind::StateDir => "a directory, or \"beside\"".into(),
            Kind::Group => "the name of a group of users such as \"ops\", or its number".into(),
            Kind::Components => "a list of names of loggers such as [\"shop.db\"]".into(),
            Kind::Names => "a list of names such as [\"password\"]".into(),
            Kind::Patterns => r"a list of regular expressions such as ['\b\d{16}\b']".into(),
            Kind::Headers => "a list of names of headers such as [\"X-Request-ID\"]".into(),
            Kind::Paths => "a list of paths such as [\"/healthz\"]".into(),
            Kind::Address => format!(
                "an address such as \"relp+tls://logs.example.com:2514\" or \"unix:/dev/log\", with one of the schemes {}",
                SCHEMES.join(", ")
            ),
            Kind::OptionalPath => "a path".into(),
            Kind::Word(most) => format!("a word of at most {most} printable ASCII characters"),
        }
    }

    /// The value that stands in a file.
    pub(crate) fn read(self, given: &Spanned<DeValue<'_>>) -> Result<Value, Wrong> {
        match given.get_ref() {
            DeValue::String(text) => self.text(text),
            DeValue::Integer(number) => {
                let digits = number.as_str();
                match i64::from_str_radix(digits, number.radix()) {
                    Ok(number) => self.number(number as f64, digits),
                    Err(_) => Err(self.wrong(digits)),
                }
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(float) if self == Kind::Seconds => self.number(float, number.as_str()),
                _ => Err(self.wrong(number.as_str())),
            },
            DeValue::Boolean(yes) if self == Kind::Bool => Ok(Value::Bool(*yes)),
            DeValue::Boolean(yes) => Err(self.wrong(&yes.to_string())),
            DeValue::Array(items) => self.list(items),
            DeValue::Datetime(time) => Err(self.wrong(&time.to_string())),
            DeValue::Table(_) => Err(self.wrong("a table")),
        }
    }

    /// The value that a variable or a flag has: the same text, without quotes; lists with commas or as in the file.
    pub(crate) fn read_override(self, text: &str) -> Result<Value, Wrong> {
        let trimmed = text.trim();
        match self {
            Kind::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Bool(false)),
                _ => Err(self.wrong(&quoted(text))),
            },
            Kind::Components | Kind::Names | Kind::Patterns | Kind::Headers | Kind::Paths => {
                if trimmed.starts_with('[') {
                    return self.default_value(trimmed).map_err(|wrong| Wrong {
                        span: None,
                        ..wrong
                    });
                }
                // A pattern has commas of its own.
                let parts: Vec<_> = match self {
                    Kind::Patterns => vec![trimmed],
                    _ => trimmed.split(',').map(str::trim).collect(),
                };
                let parts = parts.into_iter().filter(|part| !part.is_empty());
                parts
                    .map(|part| self.item(part))
                    .collect::<Result<Vec<_>, _>>()
                    .map(Value::Texts)
            }
            Kind::Path
            | Kind::OptionalPath
            | Kind::Address
            | Kind::Word(_)
            | Kind::StateDir
            | Kind::Group
            | Kind::Suffix
            | Kind::TimeOfDay
            | Kind::Mode
            | Kind::When
            | Kind::Choice(_) => self.text(text),
            _ => match trimmed.parse::<f64>() {
                Ok(number) if !trimmed.is_empty() => self.number(number, trimmed),
                _ => self.text(trimmed),
            },
        }
    }

    /// The value of text in the language of the file.
    pub(crate) fn default_value(self, text: &str) -> Result<Value, Wrong> {
        match DeValue::parse(text) {
            Ok(value) => self.read(&value),
            Err(_) => Err(self.wrong(text)),
        }
    }

    fn text(self, text: &str) -> Result<Value, Wrong> {
        let wrong = || self.wrong(&quoted(text));
        if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(wrong());
        }
        match self {
            Kind::OffOrLevel if text.eq_ignore_ascii_case("off") => Ok(Value::None("off")),
            Kind::Level | Kind::OffOrLevel => level_of(text).map(Value::Level).ok_or_else(wrong),
            Kind::Choice(words) => match words.iter().find(|word| **word == text) {
                Some(word) => Ok(Value::Text((*word).to_owned())),
                None => Err(wrong()),
            },
            Kind::Bytes => with_unit(text, &BYTES)
                .filter(|size| *size <= SIZE_BYTES_MAX)
                .map(|size| Value::Bytes(size.round() as u64))
                .ok_or_else(wrong),
            Kind::Seconds => seconds(text).map(Value::Seconds).ok_or_else(wrong),
            Kind::When => when(text).ok_or_else(wrong),
            Kind::TimeOfDay if text.is_empty() => Ok(Value::None("")),
            Kind::TimeOfDay => time_of_day(text).map(Value::TimeOfDay).ok_or_else(wrong),
            Kind::Suffix if text.is_empty() => Ok(Value::None("")),
            Kind::Suffix => {
                if is_suffix(text) {
                    Ok(Value::Text(text.into()))
                } else {
                    Err(wrong())
                }
            }
            Kind::Mode if text.is_empty() => Ok(Value::None("")),
            Kind::Mode => {
                let octal = text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
                u32::from_str_radix(text, 8)
                    .ok()
                    .filter(|mode| octal && *mode <= 0o777)
                    .map(Value::Mode)
                    .ok_or_else(wrong)
            }
            Kind::StateDir | Kind::Group | Kind::OptionalPath | Kind::Word(_)
                if text.is_empty() =>
            {
                Ok(Value::None(""))
            }
            Kind::OptionalPath => Ok(Value::Text(text.into())),
            Kind::Word(most) => {
                let fine = text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic());
                fine.then(|| Value::Text(text.into())).ok_or_else(wrong)
            }
            Kind::Address => {
                if is_address(text) {
                    Ok(Value::Text(text.into()))
                } else {
                    Err(wrong())
                }
            }
            Kind::Group => {
                let is_part = |letter: char| letter.is_alphanumeric() || "_-.$".contains(letter);
                let is_name = text.len() <= 64 && text.chars().all(is_part);
                is_name.then(|| Value::Text(text.into())).ok_or_else(wrong)
            }
            Kind::Path | Kind::StateDir if text.is_empty() => Err(wrong()),
            Kind::Path | Kind::StateDir => Ok(Value::Text(text.into())),
            _ => Err(wrong()),
        }
    }

    fn number(self, number: f64, shown: &str) -> Result<Value, Wrong> {
        let whole = number.fract() == 0.0 && number >= 0.0;
        match self {
            Kind::Count(min, max) if whole && (min as f64..=max as f64).contains(&number) => {
                Ok(Value::Count(number as u64))
            }
            Kind::Bytes if whole && number <= SIZE_BYTES_MAX => Ok(Value::Bytes(number as u64)),
            Kind::Seconds if (0.0..=TIME_S_MAX).contains(&number) => Ok(Value::Seconds(number)),
            Kind::Group if whole => Ok(Value::Text(shown.into())),
            Kind::Level | Kind::OffOrLevel if whole && (1.0..=1000.0).contains(&number) => {
                Ok(Value::Level(number as i64))
            }
            _ => Err(self.wrong(shown)),
        }
    }

    fn list(self, items: &[Spanned<DeValue<'_>>]) -> Result<Value, Wrong> {
        if !matches!(
            self,
            Kind::Components | Kind::Names | Kind::Patterns | Kind::Headers | Kind::Paths
        ) {
            return Err(self.wrong("a list"));
        }
        if items.len() > LIST_LENGTH_MAX {
            return Err(Wrong {
                text: format!("has {} items", items.len()),
                remedy: format!("write at most {LIST_LENGTH_MAX}"),
                span: None,
            });
        }
        let mut texts = Vec::new();
        for item in items {
            let read = match item.get_ref() {
                DeValue::String(text) => self.item(text),
                _ => Err(Wrong {
                    text: "has an item that is no text".into(),
                    remedy: format!("write {}", self.expects()),
                    span: None,
                }),
            };
            texts.push(read.map_err(|wrong| Wrong {
                span: Some(item.span()),
                ..wrong
            })?);
        }
        Ok(Value::Texts(texts))
    }

    /// One item of a list.
    fn item(self, text: &str) -> Result<String, Wrong> {
        let refused = |text: String, remedy: &str| {
            Err(Wrong {
                text,
                remedy: remedy.into(),
                span: None,
            })
        };
        let shown = quoted(text);
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return refused(
                format!("has the item {shown}"),
                &format!("write {}", self.expects()),
            );
        }
        match self {
            Kind::Patterns => {
                if let Err(error) = regex::Regex::new(text) {
                    // The last line says why; those before it point into the expression.
                    let why = error.to_string();
                    let why = why
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ")
                        .to_owned();
                    return refused(
                        format!("has the expression {shown}, which cannot be used: {why}"),
                        "write a regular expression of the Rust crate `regex` (no look-around, no back-references)",
                    );
                }
            }
            Kind::Headers
                if !text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) =>
            {
                return refused(
                    format!("has {shown}, which is no name of a header"),
                    &format!("write {}", self.expects()),
                );
            }
            Kind::Paths if !text.starts_with('/') => {
                return refused(
                    format!("has {shown}, which does not begin with `/`"),
                    &format!("write {}", self.expects()),
                );
            }
            _ => {}
        }
        Ok(text.to_owned())
    }

    fn wrong(self, given: &str) -> Wrong {
        let given: String = given.chars().take(100).collect();
        let nearest = match self {
            Kind::Choice(words) => nearest(given.trim_matches('"'), words.iter().copied()),
            Kind::Level | Kind::OffOrLevel => nearest(
                &given.trim_matches('"').to_lowercase(),
                [
                    "all", "trace", "debug", "info", "warning", "error", "critical",
                ]
                .into_iter(),
            ),
            _ => None,
        };
        let text = match nearest {
            Some(word) => format!("cannot be {given} (is \"{word}\" meant?)"),
            None => format!("cannot be {given}"),
        };
        Wrong {
            text,
            remedy: format!("write {}", self.expects()),
            span: None,
        }
    }
}

/// The known name that is most like `name`, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, known) = scored.min_by_key(|(distance, _)| *distance)?;
    let near = (known.len().max(3) / 3).min(3);
    let begins =
        name.len() >= 3 && (known.starts_with(name) || name.starts_with(known) && known.len() >= 3);
    (distance <= near || begins).then_some(known)
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn level_words(first: &str) -> String {
    format!(
        "{first}\"trace\", \"debug\", \"info\", \"warning\", \"error\", \"critical\", \"all\", or a number from 1 to 1000"
    )
}

/// A span of time as it is written in the file (`10 minutes`, `10m`, `90`), in seconds. None: it is none.
#[must_use]
pub fn seconds(text: &str) -> Option<f64> {
    with_unit(text, &SECONDS).filter(|time| *time <= TIME_S_MAX)
}

/// "100 MB" in the unit's own measure. Units are known by their beginning ("day", "min"), sizes in any case.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let unit = match unit.as_str() {
        "sec" | "second" | "seconds" => "s",
        "m" | "min" => "minutes",
        "h" => "hours",
        "d" => "days",
        "w" => "weeks",
        other => other,
    };
    if unit.is_empty() {
        return Some(number);
    }
    let is_it = |name: &str| {
        name.eq_ignore_ascii_case(unit) || (name.len() > 3 && name.strip_suffix('s') == Some(unit))
    };
    units
        .iter()
        .find(|(name, _)| is_it(name))
        .map(|(_, factor)| number * factor)
}

fn when(text: &str) -> Option<Value> {
    let word = text.to_ascii_uppercase();
    match word.as_str() {
        "NEVER" => Some(Value::None("never")),
        "S" | "M" | "H" | "D" | "MIDNIGHT" | "W0" | "W1" | "W2" | "W3" | "W4" | "W5" | "W6" => {
            Some(Value::Text(word))
        }
        _ => None,
    }
}

fn time_of_day(text: &str) -> Option<u32> {
    let parts: Vec<_> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    let mut seconds = 0;
    for (index, limit) in [24, 60, 60].into_iter().enumerate() {
        let part = parts.get(index).copied().unwrap_or("0");
        let number = part
            .parse::<u32>()
            .ok()
            .filter(|_| part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit()))?;
        if number >= limit {
            return None;
        }
        seconds = seconds * 60 + number;
    }
    Some(seconds)
}

/// `SCHEME://HOST:PORT` (a port from 1, an IPv6 address in brackets), or `unix:/PATH`. All schemes but RELP have a usual port, which
/// may be left out.
fn is_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    if !SCHEMES.contains(&scheme) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if scheme == "unix" {
        return rest.strip_prefix("//").unwrap_or(rest).starts_with('/');
    }
    let Some(place) = rest.strip_prefix("//") else {
        return false;
    };
    let (is_host, port) = match place.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) => (host.contains(':') && !host.contains('['), port),
        Some(None) => return false,
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            (!host.is_empty(), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty() && !scheme.starts_with("relp"),
    };
    is_host && is_port && !place.contains(['/', '@', '?', '#'])
}

fn is_suffix(text: &str) -> bool {
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        let ok = match c {
            '%' => letters.next().is_some_and(|c| "YmdHMS".contains(c)),
            '/' => false,
            c => !c.is_control(),
        };
        if !ok {
            return false;
        }
    }
    text.len() <= 56
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, text: &str, expected: Option<Value>) {
        assert_eq!(kind.default_value(text).ok(), expected, "{kind:?} {text}");
    }

    #[test]
    fn sizes_and_times_have_units() {
        let sizes = [
            ("\"100 MB\"", 100_000_000),
            ("\"64KiB\"", 65_536),
            ("\"1.5 gb\"", 1_500_000_000),
            ("4096", 4096),
            ("\"12\"", 12),
        ];
        for (text, bytes) in sizes {
            check(Kind::Bytes, text, Some(Value::Bytes(bytes)));
        }
        for text in [
            "\"100 XB\"",
            "\"\"",
            "-1",
            "1.5",
            "\"1e9 GB\"",
            "\"MB\"",
            "\"999999 TB\"",
            "true",
        ] {
            check(Kind::Bytes, text, None);
        }
        let times = [
            ("\"14 days\"", 1_209_600.0),
            ("\"1 day\"", 86_400.0),
            ("\"200 ms\"", 0.2),
            ("0.5", 0.5),
            ("\"2h\"", 7200.0),
            ("\"5 min\"", 300.0),
        ];
        for (text, seconds) in times {
            check(Kind::Seconds, text, Some(Value::Seconds(seconds)));
        }
        for text in ["\"2 months\"", "nan", "-1", "inf", "\"1 day 2 h\""] {
            check(Kind::Seconds, text, None);
        }
    }

    #[test]
    fn levels_are_names_or_numbers() {
        for (text, level) in [
            ("\"info\"", 20),
            ("\"WARN\"", 30),
            ("\"all\"", 1),
            ("15", 15),
            ("\"trace\"", 5),
        ] {
            check(Kind::Level, text, Some(Value::Level(level)));
        }
        for text in ["\"loud\"", "0", "-10", "1001", "\"off\"", "2.5"] {
            check(Kind::Level, text, None);
        }
        check(Kind::OffOrLevel, "\"off\"", Some(Value::None("off")));
    }

    #[test]
    fn times_of_day_and_permissions_are_exact() {
        check(Kind::TimeOfDay, "\"03:00\"", Some(Value::TimeOfDay(10_800)));
        check(
            Kind::TimeOfDay,
            "\"23:59:59\"",
            Some(Value::TimeOfDay(86_399)),
        );
        for text in [
            "\"24:00\"",
            "\"3\"",
            "\"03:60\"",
            "\"+3:00\"",
            "\"03:00:00:00\"",
        ] {
            check(Kind::TimeOfDay, text, None);
        }
        check(Kind::Mode, "\"0640\"", Some(Value::Mode(0o640)));
        for text in ["\"0888\"", "\"7777\"", "640", "\"rw\""] {
            check(Kind::Mode, text, None);
        }
        for text in ["\"%Q\"", "\"a/b\"", "\"%\""] {
            check(Kind::Suffix, text, None);
        }
    }

    #[test]
    fn variables_are_written_without_quotes() {
        let read = |kind: Kind, text: &str| kind.read_override(text).ok();
        let texts = |list: &[&str]| {
            Some(Value::Texts(
                list.iter().map(|&text| text.to_owned()).collect(),
            ))
        };
        assert_eq!(read(Kind::Bool, "Yes"), Some(Value::Bool(true)));
        assert_eq!(read(Kind::Bool, "maybe"), None);
        assert_eq!(read(Kind::Bytes, "10 MB"), Some(Value::Bytes(10_000_000)));
        assert_eq!(read(Kind::Count(0, 9), "7"), Some(Value::Count(7)));
        assert_eq!(read(Kind::Level, "15"), Some(Value::Level(15)));
        assert_eq!(read(Kind::Names, "a, b,"), texts(&["a", "b"]));
        assert_eq!(read(Kind::Names, "[\"a\", \"b\"]"), texts(&["a", "b"]));
        assert_eq!(read(Kind::Patterns, r"\d{3,4}"), texts(&[r"\d{3,4}"]));
        assert_eq!(read(Kind::Path, "-"), Some(Value::Text("-".into())));
    }

    #[test]
    fn the_nearest_name_is_only_one_that_is_near() {
        let known = ["names", "patterns", "rotate", "kind"];
        for (name, found) in [
            ("name", Some("names")),
            ("pattern", Some("patterns")),
            ("roatte", Some("rotate")),
            ("quux", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), found, "{name}");
        }
    }
}
