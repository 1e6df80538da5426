//! Numbers, times and states as a person reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logboom::DropReason;

/// A moment in local time, ISO 8601 with its offset.
#[must_use]
pub fn time(second: i64) -> String {
    let zoned = Timestamp::from_second(second).map(|moment| moment.to_zoned(TimeZone::system()));
    zoned.map_or_else(
        |_| format!("second {second}"),
        |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    )
}

/// [`time`] of a number of nanoseconds since 1970.
#[must_use]
pub fn time_ns(ns: u64) -> String {
    time((ns / 1_000_000_000) as i64)
}

/// Seconds since 1970.
#[must_use]
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// A count with its digits in groups of three.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 record", "2 records".
#[must_use]
pub fn of(number: u64, noun: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {noun}{end}", count(number))
}

/// A size in the unit that fits.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut value, mut unit) = (number as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// How full something is, as a bar of `width` characters. Anything at all shows.
#[must_use]
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let share = part as f64 / whole.max(1) as f64 * width as f64;
    let full = (share.ceil() as usize).min(width);
    format!("[{}{}]", "#".repeat(full), ".".repeat(width - full))
}

/// What a worker is doing, from the state letter of proc(5).
#[must_use]
pub fn process_state(alive: bool, letter: Option<char>) -> &'static str {
    match (alive, letter) {
        (false, _) => "dead",
        (true, Some('R')) => "running",
        (true, Some('S' | 'I')) => "sleeping",
        (true, Some('D')) => "waiting for a disk",
        (true, Some('T')) => "stopped",
        (true, Some('t')) => "stopped by a debugger",
        (true, Some('Z' | 'X' | 'x')) => "ending",
        (true, Some(_)) => "alive",
        (true, None) => "alive elsewhere",
    }
}

/// An errno in words.
#[must_use]
pub fn errno(number: i32) -> String {
    std::io::Error::from_raw_os_error(number).to_string()
}

/// The drops that happened, by reason: "3 full, 1 reentrant"; "0" if there were none.
#[must_use]
pub fn drops(dropped: &[u64]) -> String {
    let reasons = dropped.iter().zip(DropReason::ALL);
    let parts: Vec<_> = reasons
        .filter(|(number, _)| **number > 0)
        .map(|(number, reason)| format!("{} {}", count(*number), reason.name()))
        .collect();
    match parts.is_empty() {
        true => "0".into(),
        false => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let counts = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (number, text) in counts {
            assert_eq!(count(number), text);
        }
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
        ];
        for (number, text) in sizes {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(of(1, "record") + &of(2, "file"), "1 record2 files");
    }

    #[test]
    fn a_bar_shows_the_first_byte_and_never_overflows() {
        assert_eq!(bar(0, 100, 10), "[..........]");
        assert_eq!(bar(1, 1 << 20, 10), "[#.........]");
        assert_eq!(bar(500, 100, 4), "[####]");
        assert_eq!(bar(1, 0, 4), "[####]");
    }

    #[test]
    fn times_have_their_offset() {
        let text = time(1_000_000_000);
        assert_eq!((text.len(), &text[..9]), (25, "2001-09-0"), "{text}");
    }
}
