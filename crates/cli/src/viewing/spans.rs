//! How long: spans of time as they are typed (`10m`, `90s`, `1h 30m`) and as they are counted down.

use std::time::Duration;

/// The longest span that can be asked for; whoever wants more says `ever`.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A span as it is typed: `500ms`, `90s`, `10m`, `1h 30m`; a number alone is seconds.
///
/// # Errors
/// It is no span, nothing, or more than a year.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let typed = match text.parse::<f64>() {
        Ok(_) => format!("{text}s"),
        Err(_) => text.to_owned(),
    };
    let span = typed
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|span| !span.is_zero() && *span <= LONGEST);
    span.ok_or_else(|| "it is no span of time; write 90s, 10m or 1h (a year at most)".into())
}

/// How long a rule lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// For this long.
    For(Duration),
    /// Until somebody ends it.
    Ever,
}

impl std::str::FromStr for Lasting {
    type Err = String;

    fn from_str(text: &str) -> Result<Lasting, String> {
        match text {
            "ever" => Ok(Lasting::Ever),
            _ => parse(text)
                .map(Lasting::For)
                .map_err(|why| format!("{why}, or `ever`")),
        }
    }
}

impl Lasting {
    /// When it ends, in nanoseconds since 1970; 0: never by itself.
    pub(crate) fn end_ns(self, now_ns: u64) -> u64 {
        match self {
            Lasting::For(span) => now_ns.saturating_add(span.as_nanos() as u64),
            Lasting::Ever => 0,
        }
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// What is left until `end_ns`, to be counted down: `9:58`, `1:00:03`.
pub(crate) fn left(end_ns: u64, now_ns: u64) -> String {
    let seconds = end_ns.saturating_sub(now_ns).div_ceil(1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A moment of today in local time, to the second.
pub(crate) fn clock(ns: u64) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
    let zoned = moment.to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_typed() {
        let spans = [
            ("10m", Some(600_000)),
            ("60s", Some(60_000)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("90", Some(90_000)),
            ("1.5", Some(1_500)),
            ("0", None),
            ("-5s", None),
            ("soon", None),
            ("", None),
            ("99999h", None),
        ];
        for (text, milliseconds) in spans {
            let parsed = parse(text).ok().map(|span| span.as_millis());
            assert_eq!(parsed, milliseconds, "{text}");
        }
        assert_eq!("ever".parse(), Ok(Lasting::Ever));
        assert_eq!(Lasting::Ever.end_ns(7), 0);
        assert_eq!(Lasting::For(Duration::from_nanos(3)).end_ns(7), 10);
    }

    #[test]
    fn what_is_left_is_counted_down_to_nothing() {
        let second = 1_000_000_000;
        for (end_s, text) in [(600, "10:00"), (59, "0:59"), (0, "0:00"), (3603, "1:00:03")] {
            assert_eq!(left(end_s * second, 0), text);
        }
        assert_eq!(left(second, 2 * second), "0:00");
    }
}
