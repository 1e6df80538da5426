//! Time stamps of syslog messages: RFC 3339 in UTC with microseconds, and the local time of RFC 3164.
//!
//! What always holds: the text of a second is made once for all records of it in a row; any number is a time.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

const NS_PER_S: u64 = 1_000_000_000;

/// Writes stamps, with the last second's text at hand.
#[derive(Debug)]
pub(super) struct Stamps {
    zone: TimeZone,
    second: u64,
    utc: String,
    local: String,
}

impl Stamps {
    /// Local times are those of `zone`.
    pub(super) fn new(zone: TimeZone) -> Stamps {
        Stamps {
            zone,
            second: u64::MAX,
            utc: String::new(),
            local: String::new(),
        }
    }

    /// Appends a TIMESTAMP (RFC 5424, section 6.2.3): `2026-11-20T16:30:01.123456Z`, or `-` for 0.
    pub(super) fn push_rfc3339(&mut self, time_ns: u64, out: &mut Vec<u8>) {
        if time_ns == 0 {
            out.push(b'-');
            return;
        }
        self.renew(time_ns / NS_PER_S);
        out.extend_from_slice(self.utc.as_bytes());
        let mut micros = time_ns % NS_PER_S / 1000;
        let mut fraction = *b".000000Z";
        for digit in fraction[1..7].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        out.extend_from_slice(&fraction);
    }

    /// Appends a TIMESTAMP of RFC 3164, section 4.1.2: `Nov  2 16:30:01`, local; for 0, which it has no word for, the present.
    pub(super) fn push_rfc3164(&mut self, time_ns: u64, out: &mut Vec<u8>) {
        let second = match time_ns {
            0 => now_s(),
            _ => time_ns / NS_PER_S,
        };
        self.renew(second);
        out.extend_from_slice(self.local.as_bytes());
    }

    fn renew(&mut self, second: u64) {
        if self.second == second {
            return;
        }
        // Never fails: 64 bits of nanoseconds end in 2554, what jiff knows in 9999.
        let time = i64::try_from(second)
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok())
            .unwrap_or_default();
        self.second = second;
        self.utc = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let local = time.to_zoned(self.zone.clone());
        self.local = local.strftime("%b %e %H:%M:%S").to_string();
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(zone: &str) -> Stamps {
        Stamps::new(TimeZone::get(zone).unwrap())
    }

    fn rfc3339(stamps: &mut Stamps, time_ns: u64) -> String {
        let mut out = Vec::new();
        stamps.push_rfc3339(time_ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn rfc3164(stamps: &mut Stamps, time_ns: u64) -> String {
        let mut out = Vec::new();
        stamps.push_rfc3164(time_ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Microseconds, cut off and not rounded; an unknown time is `-`; the last second that 64 bits have is a time.
    #[test]
    fn a_stamp_has_microseconds() {
        let mut stamps = stamps("UTC");
        let cases = [
            (1_763_656_201_123_456_789, "2025-11-20T16:30:01.123456Z"),
            (1_763_656_201_000_000_999, "2025-11-20T16:30:01.000000Z"),
            (1_763_656_202_999_999_999, "2025-11-20T16:30:02.999999Z"),
            (1, "1970-01-01T00:00:00.000000Z"),
            (0, "-"),
            (u64::MAX, "2554-07-21T23:34:33.709551Z"),
        ];
        for (time_ns, text) in cases {
            assert_eq!(rfc3339(&mut stamps, time_ns), text);
        }
    }

    /// The older format tells local time, and pads a day with a space.
    #[test]
    fn the_older_stamp_is_local() {
        let second_of_november = 1_762_095_601 * NS_PER_S;
        let text = rfc3164(&mut stamps("Asia/Tokyo"), second_of_november);
        assert_eq!(text, "Nov  3 00:00:01");
        let text = rfc3164(&mut stamps("America/New_York"), second_of_november);
        assert_eq!(text, "Nov  2 10:00:01");
        assert_ne!(rfc3164(&mut stamps("UTC"), 0), "Jan  1 00:00:00");
    }
}
