//! Times as text. UTC is computed here; local time comes from the rules of `files::schedule`.

use super::number::pair;
use crate::files::schedule::Zone;

const NS: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;
/// The last second of the year 9999: later times are written as this one.
const LAST_S: u64 = 253_402_300_799;

/// A moment, split as it is written.
struct Fields {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Appends `2026-11-20T16:30:01.123456789Z` (RFC 3339, section 5.6; always nine digits, so that lines sort).
pub fn push_rfc3339(out: &mut Vec<u8>, time_ns: u64) {
    let fields = utc((time_ns / NS).min(LAST_S));
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    fields.write(&mut text);
    let ns = time_ns % NS;
    text[20] = b'0' + (ns / 100_000_000) as u8;
    text[21..23].copy_from_slice(pair(ns / 1_000_000));
    text[23..25].copy_from_slice(pair(ns / 10_000));
    text[25..27].copy_from_slice(pair(ns / 100));
    text[27..29].copy_from_slice(pair(ns));
    out.extend_from_slice(&text);
}

/// Appends `2026-11-20 16:30:01.123`, the time in `zone`, or UTC with a `Z` behind it.
pub fn push_text(out: &mut Vec<u8>, time_ns: u64, zone: Option<&Zone>) {
    let second = (time_ns / NS).min(LAST_S);
    let fields = match zone {
        Some(zone) => local(zone, second),
        None => utc(second),
    };
    let mut text = *b"0000-00-00 00:00:00.000Z";
    fields.write(&mut text);
    let ms = time_ns % NS / 1_000_000;
    text[20] = b'0' + (ms / 100) as u8;
    text[21..23].copy_from_slice(pair(ms));
    let length = text.len() - usize::from(zone.is_some());
    out.extend_from_slice(&text[..length]);
}

impl Fields {
    /// Writes date and time over the first 19 bytes.
    fn write(&self, text: &mut [u8]) {
        text[0..2].copy_from_slice(pair(self.year / 100));
        text[2..4].copy_from_slice(pair(self.year));
        text[5..7].copy_from_slice(pair(self.month));
        text[8..10].copy_from_slice(pair(self.day));
        text[11..13].copy_from_slice(pair(self.hour));
        text[14..16].copy_from_slice(pair(self.minute));
        text[17..19].copy_from_slice(pair(self.second));
    }
}

fn utc(second: u64) -> Fields {
    let (days, rest) = (second / DAY_S, second % DAY_S);
    // Years that begin in March put the leap day last; 719,468 days lie between the March of year 0 and 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    Fields {
        year: era * 400 + year_of_era + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        hour: rest / 3600,
        minute: rest / 60 % 60,
        second: rest % 60,
    }
}

fn local(zone: &Zone, second: u64) -> Fields {
    let civil = zone.civil(i64::try_from(second).unwrap_or(i64::MAX));
    Fields {
        year: u64::try_from(civil.year).unwrap_or(0),
        month: u64::from(civil.month),
        day: u64::from(civil.day),
        hour: u64::from(civil.hour),
        minute: u64::from(civil.minute),
        second: u64::from(civil.second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rfc3339(time_ns: u64) -> String {
        let mut out = Vec::new();
        push_rfc3339(&mut out, time_ns);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments() {
        for (time_ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399 * NS, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400 * NS + 1, "2000-02-29T00:00:00.000000001Z"),
            (1_795_192_201_123_456_789, "2026-11-20T16:30:01.123456789Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(rfc3339(time_ns), text);
        }
    }

    #[test]
    fn local_time_follows_the_zone() {
        let berlin = Zone::from_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut out = Vec::new();
        push_text(&mut out, 1_795_192_201_123_456_789, Some(&berlin));
        out.push(b'|');
        push_text(&mut out, 1_795_192_201_123_456_789, None);
        assert_eq!(out, b"2026-11-20 17:30:01.123|2026-11-20 16:30:01.123Z");
    }

    proptest! {
        /// The calendar agrees with jiff's.
        #[test]
        fn dates_agree_with_another_calendar(second in 0u64..18_000_000_000) {
            let mut ours = Vec::new();
            push_text(&mut ours, second * NS, Some(&Zone::utc()));
            let mut text = Vec::new();
            push_text(&mut text, second * NS, None);
            text.pop();
            prop_assert_eq!(ours, text);
        }
    }
}
