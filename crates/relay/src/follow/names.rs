//! What rotated files of a log are called, by whatever rotates them, and in which order they were written.
//!
//! `app.log.1`, `app.log-20261127`, `app.log.2026-11-27_16-30-00.2.gz`, and with logrotate's `extension`: `app.1.log`,
//! `app-20261127.log.zst`. Nothing here touches a file or can fail: a name is one of those, or belongs to something else.

use std::cmp::Ordering;

/// How a file is packed, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
    /// In a way that nothing here can read.
    Unknown,
}

/// What a file's name says of its age.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Age {
    /// It is the newest.
    Current,
    /// The higher, the older.
    Number(u32),
    /// Its time, as the digits of the name, and which of several with the same time: the later, and the higher, the newer.
    Time(String, u32),
}

const PACKINGS: [(&[u8], Packing); 7] = [
    (b".gz", Packing::Gzip),
    (b".zst", Packing::Zstd),
    (b".bz2", Packing::Unknown),
    (b".xz", Packing::Unknown),
    (b".lz4", Packing::Unknown),
    (b".Z", Packing::Unknown),
    (b".zip", Packing::Unknown),
];

/// What a file with this name has to do with the log `base`; None: nothing.
pub(super) fn parse(base: &[u8], name: &[u8]) -> Option<(Age, Packing)> {
    if name == base {
        return Some((Age::Current, Packing::Plain));
    }
    let packed = PACKINGS
        .iter()
        .find_map(|(end, packing)| Some((name.strip_suffix(*end)?, *packing)));
    let (name, packing) = packed.unwrap_or((name, Packing::Plain));
    let between = name.strip_prefix(base).or_else(|| {
        // Before the extension.
        let dot = base
            .iter()
            .rposition(|byte| *byte == b'.')
            .filter(|dot| *dot > 0)?;
        name.strip_prefix(&base[..dot])?.strip_suffix(&base[dot..])
    })?;
    Some((age(std::str::from_utf8(between).ok()?)?, packing))
}

/// `.1`, `-20261127`, `.2026-11-27_16-30-00.2`.
fn age(text: &str) -> Option<Age> {
    let (separator, text) = text.split_at_checked(1)?;
    if !matches!(separator, "." | "-" | "_") || text.is_empty() {
        return None;
    }
    let is_number = |text: &str| {
        text.len() <= 5 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if is_number(text) {
        let is_plain = text == "0" || !text.starts_with('0');
        return Some(Age::Number(text.parse().ok().filter(|_| is_plain)?));
    }
    let clash = text.rsplit_once('.').filter(|(_, clash)| is_number(clash));
    let (time, clash) = clash.unwrap_or((text, "0"));
    is_time(time).then(|| {
        let digits = time.chars().filter(char::is_ascii_digit).collect();
        Age::Time(digits, clash.parse().unwrap_or(0))
    })
}

/// A year, a month, and whatever digits follow: a day, a time, seconds since 1970.
fn is_time(text: &str) -> bool {
    let starts_and_ends = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit());
    let is_part =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b':' | b'T' | b'.');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_date = digits.len() >= 6
        && ("1970".."2200").contains(&&digits[..4])
        && ("01"..="12").contains(&&digits[4..6]);
    starts_and_ends && text.bytes().all(is_part) && is_date && digits.len() <= 24
}

/// Which of two files is older, as far as their names tell; None: they do not.
pub(super) fn older(one: &Age, other: &Age) -> Option<Ordering> {
    match (one, other) {
        (Age::Current, Age::Current) => Some(Ordering::Equal),
        (Age::Current, _) => Some(Ordering::Greater),
        (_, Age::Current) => Some(Ordering::Less),
        (Age::Number(one), Age::Number(other)) => Some(other.cmp(one)),
        (Age::Time(one, first), Age::Time(other, second)) => {
            Some((one, first).cmp(&(other, second)))
        }
        (Age::Number(_), Age::Time(..)) | (Age::Time(..), Age::Number(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(Age, Packing)> {
        parse(b"app.log", name.as_bytes())
    }

    #[test]
    fn rotated_files_are_known_by_their_names() {
        let time = |digits: &str, clash| Age::Time(digits.to_owned(), clash);
        for (name, age, packing) in [
            ("app.log", Age::Current, Packing::Plain),
            ("app.log.0", Age::Number(0), Packing::Plain),
            ("app.log.12.gz", Age::Number(12), Packing::Gzip),
            ("app.log-3", Age::Number(3), Packing::Plain),
            ("app.1.log", Age::Number(1), Packing::Plain),
            ("app.2.log.zst", Age::Number(2), Packing::Zstd),
            ("app.log.2026-11-27", time("20261127", 0), Packing::Plain),
            ("app.log-20261127", time("20261127", 0), Packing::Plain),
            ("app.log-20261127.gz", time("20261127", 0), Packing::Gzip),
            (
                "app.log-20261127-1795804201",
                time("202611271795804201", 0),
                Packing::Plain,
            ),
            ("app.log_202611", time("202611", 0), Packing::Plain),
            (
                "app.log.2026-11-27_16-30-00.2.gz",
                time("20261127163000", 2),
                Packing::Gzip,
            ),
            (
                "app.log.20261127T163000",
                time("20261127163000", 0),
                Packing::Plain,
            ),
            (
                "app-20261127.log.bz2",
                time("20261127", 0),
                Packing::Unknown,
            ),
        ] {
            assert_eq!(parsed(name), Some((age, packing)), "{name}");
        }
    }

    #[test]
    fn other_files_are_none_of_the_log_s() {
        for name in [
            "app.log.old",
            "app.log.1.orig",
            "app.log.01",
            "app.log.",
            "app.log1",
            "app.logger",
            "xapp.log.1",
            "app.log.gz",
            "app.log.1.gz.part",
            "app.log.1234567",
            "app.log.20261327",
            "app.log.2026-11-27x",
            "app.log.-2026-11-27",
            "app.err.log",
            "app.log.1 ",
            "other.1.log",
            "log",
            "",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
        assert_eq!(
            parse(b"l\xffg", b"l\xffg.3.gz"),
            Some((Age::Number(3), Packing::Gzip))
        );
        assert_eq!(
            parse(b"log", b"log.1"),
            Some((Age::Number(1), Packing::Plain))
        );
        assert_eq!(parse(b".log", b".1.log"), None);
    }

    #[test]
    fn files_are_in_the_order_in_which_they_were_written() {
        let sorted = |names: &[&str]| {
            let mut ages: Vec<(Age, String)> = names
                .iter()
                .map(|name| (parsed(name).unwrap().0, (*name).to_owned()))
                .collect();
            ages.sort_by(|one, other| older(&one.0, &other.0).unwrap());
            ages.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            sorted(&["app.log.2", "app.log", "app.log.10.gz", "app.log.1"]),
            ["app.log.10.gz", "app.log.2", "app.log.1", "app.log"]
        );
        assert_eq!(
            sorted(&[
                "app.log.2026-11-28",
                "app.log",
                "app.log.2026-11-27.10",
                "app.log.2026-11-27.2",
                "app.log.2026-11-27"
            ]),
            [
                "app.log.2026-11-27",
                "app.log.2026-11-27.2",
                "app.log.2026-11-27.10",
                "app.log.2026-11-28",
                "app.log"
            ]
        );
        assert_eq!(
            older(&Age::Number(1), &Age::Time("20261127".into(), 0)),
            None
        );
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_read_or_refused(name: Vec<u8>, end in "[0-9.gzstT_-]{0,20}") {
            parse(b"app.log", &name);
            parse(&name, &name);
            parse(&name, b"app.log.1");
            parsed(&format!("app.log{end}"));
            parsed(&format!("app{end}.log"));
        }
    }
}
