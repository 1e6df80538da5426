//! When a log is rotated by time, and for which moment its archive is named.
//!
//! Pure arithmetic: the caller brings the clock and keeps the next boundary. The rule is that of CPython 3.13's
//! `TimedRotatingFileHandler` (`computeRollover`, and `doRollover` for the name), for every `when`, with `interval`,
//! `atTime` and `utc`. A boundary is always later than the moment it was computed from, so a rotation cannot repeat.
//! Nothing here fails: times no calendar can express saturate, and an unknown time zone counts as UTC, as in the C
//! library.
//!
//! # Where CPython is not followed
//!
//! CPython counts seconds and then adds or takes off one hour when the daylight-saving flag differs. That is the
//! calendar's answer wherever a change is one hour, forwards in summer and flagged; there the results are identical.
//! Elsewhere it is not, and then the calendar wins:
//!
//! - **Changes of half an hour, changes without a flag, negative daylight saving** (Lord Howe, Moscow 2014, Dublin):
//!   `MIDNIGHT` and `W0`..`W6` keep their time of day. CPython rotates at 23:30, say, and again at midnight, under the
//!   same name; its `doRollover` returns when the name exists, so it rotates no more until the clocks change again or
//!   the process restarts.
//! - **A time of day that happens twice** (the hour repeated in autumn) is a boundary once, the first time. CPython
//!   takes the second time as another boundary when it computes within the repeated hour.
//! - **The name for `S`, `M`, `H` and `D`**: these intervals are plain seconds, so the archive is named for exactly
//!   one interval before the boundary. CPython shifts the name by an hour across a change, which gives the hours
//!   before and after it the same name: it stops rotating as above.
//! - **A start that the clocks skipped** (midnight in Brazil's spring) is named for its own day, not the day before.
//! - **The name does not depend on when the rotation happens**: the daylight saving in force at the boundary decides,
//!   not that of the first record after it, which may come months later in a quiet log.
//! - `interval` 0 counts as 1; in CPython it means a rotation for each record.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::error::{Error, ErrorKind};

const HOUR_S: i64 = 60 * 60;
const DAY_S: i64 = 24 * HOUR_S;
const WEEK_S: i64 = 7 * DAY_S;

/// The unit of a schedule, `when` in the standard library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// `S`: seconds, counted from the last rotation.
    Second,
    /// `M`: minutes, counted from the last rotation.
    Minute,
    /// `H`: hours, counted from the last rotation.
    Hour,
    /// `D`: spans of 24 hours, counted from the last rotation.
    Day,
    /// `MIDNIGHT`: at midnight, or at the time of day given.
    Midnight,
    /// `W0` to `W6`: at the end of that day of the week (0 is Monday), or on that day at the time given. Larger
    /// numbers count on from Monday again.
    Weekday(u8),
}

impl When {
    /// Seconds of one unit.
    fn unit_s(self) -> i64 {
        match self {
            When::Second => 1,
            When::Minute => 60,
            When::Hour => HOUR_S,
            When::Day | When::Midnight => DAY_S,
            When::Weekday(_) => WEEK_S,
        }
    }

    /// The `strftime` pattern the standard library names archives with.
    pub fn default_suffix(self) -> &'static str {
        match self {
            When::Second => "%Y-%m-%d_%H-%M-%S",
            When::Minute => "%Y-%m-%d_%H-%M",
            When::Hour => "%Y-%m-%d_%H",
            When::Day | When::Midnight | When::Weekday(_) => "%Y-%m-%d",
        }
    }

    /// The regular expression, in Python's syntax and for `fullmatch`, that CPython 3.13 recognises archives with
    /// (`extMatch`).
    pub fn ext_match(self) -> &'static str {
        match self {
            When::Second => r"(?<!\d)\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}(?!\d)",
            When::Minute => r"(?<!\d)\d{4}-\d{2}-\d{2}_\d{2}-\d{2}(?!\d)",
            When::Hour => r"(?<!\d)\d{4}-\d{2}-\d{2}_\d{2}(?!\d)",
            When::Day | When::Midnight | When::Weekday(_) => r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)",
        }
    }

    /// Number of this unit in the shared state; never changes its meaning.
    fn code(self) -> u64 {
        match self {
            When::Second => 1,
            When::Minute => 2,
            When::Hour => 3,
            When::Day => 4,
            When::Midnight => 5,
            When::Weekday(day) => 16 + u64::from(day % 7),
        }
    }

    fn from_code(code: u64) -> Option<When> {
        Some(match code {
            1 => When::Second,
            2 => When::Minute,
            3 => When::Hour,
            4 => When::Day,
            5 => When::Midnight,
            16..=22 => When::Weekday((code - 16) as u8),
            _ => return None,
        })
    }
}

impl FromStr for When {
    type Err = Error;

    /// Reads the standard library's forms, in any case.
    fn from_str(text: &str) -> Result<When, Error> {
        match text.to_ascii_uppercase().as_bytes() {
            b"S" => Ok(When::Second),
            b"M" => Ok(When::Minute),
            b"H" => Ok(When::Hour),
            b"D" => Ok(When::Day),
            b"MIDNIGHT" => Ok(When::Midnight),
            [b'W', day @ b'0'..=b'6'] => Ok(When::Weekday(day - b'0')),
            [b'W', ..] => Err(unreadable(
                ErrorKind::Invalid,
                text,
                "a weekly rotation names one day; use W0 (Monday) to W6 (Sunday)",
            )),
            _ => Err(unreadable(
                ErrorKind::Invalid,
                text,
                "not a known unit; use S, M, H, D, MIDNIGHT or W0 (Monday) to W6 (Sunday)",
            )),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Second => out.write_str("S"),
            When::Minute => out.write_str("M"),
            When::Hour => out.write_str("H"),
            When::Day => out.write_str("D"),
            When::Midnight => out.write_str("MIDNIGHT"),
            When::Weekday(day) => write!(out, "W{}", day % 7),
        }
    }
}

/// The error of a schedule that cannot be read; `cause` says what is accepted.
fn unreadable(kind: ErrorKind, schedule: &str, cause: &str) -> Error {
    Error::new(
        kind,
        format!("failed to read rotation schedule `{schedule}`: {cause}"),
    )
}

/// When a log is rotated by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The unit.
    pub when: When,
    /// How many units lie between rotations; 0 counts as 1.
    pub interval: u32,
    /// Seconds after midnight at which `MIDNIGHT` and `W0`..`W6` rotate, below 86,400 (a larger number counts as the
    /// last second of the day); the other units ignore it, as in CPython.
    pub at_time_s: Option<u32>,
    /// Count and name in UTC instead of local time.
    pub utc: bool,
}

/// First byte of an encoded schedule.
const WORDS_VERSION: u64 = 1;
const FLAG_UTC: u64 = 1;
const FLAG_AT_TIME: u64 = 2;

impl Schedule {
    /// One rotation per unit, in local time.
    pub fn every(when: When) -> Schedule {
        Schedule {
            when,
            interval: 1,
            at_time_s: None,
            utc: false,
        }
    }

    /// The next boundary of a log whose history is unknown. `reference_s` is the modification time of the file if
    /// there is one, else the present; a result in the past means that a rotation is due. Seconds since 1970.
    pub fn first_rollover(&self, reference_s: i64, zone: &Zone) -> i64 {
        self.boundary_after(reference_s, zone)
    }

    /// The boundary after a rotation at `now_s` that was due at `previous_s`. However late the rotation came, missed
    /// boundaries are passed over and the cost is the same.
    ///
    /// A clock set back between the two cannot rotate the same boundary twice: the later of both times counts, so the
    /// result lies after `previous_s` too. The log then waits until the clock has passed `previous_s` again, however
    /// far it was set back, as it does in CPython.
    pub fn next_rollover(&self, previous_s: i64, now_s: i64, zone: &Zone) -> i64 {
        self.boundary_after(previous_s.max(now_s), zone)
    }

    /// Start of the interval that ends at the boundary `rollover_at_s`: the time an archive is named for.
    pub fn interval_start(&self, rollover_at_s: i64, zone: &Zone) -> i64 {
        let plain_s = rollover_at_s.saturating_sub(self.interval_s());
        if !self.has_time_of_day() {
            return plain_s;
        }
        let zone = self.zone(zone);
        let end = zone.local(rollover_at_s);
        let start_s = match (end.dst, zone.local(plain_s).dst) {
            (true, false) => plain_s.saturating_add(HOUR_S),
            (false, true) => plain_s.saturating_sub(HOUR_S),
            _ => plain_s,
        };
        if zone.local(start_s).second_of_day() == end.second_of_day() {
            return start_s;
        }
        let days = self.interval_s() / DAY_S;
        date_after(end.wall.date(), -days)
            .and_then(|date| zone.first_instant(date, end.second_of_day()))
            .unwrap_or(start_s)
    }

    /// The calendar fields an archive is named with: those of [`Schedule::interval_start`], local or UTC as the
    /// schedule says.
    pub fn archive_time(&self, rollover_at_s: i64, zone: &Zone) -> Civil {
        self.zone(zone)
            .civil(self.interval_start(rollover_at_s, zone))
    }

    /// Fixed-size form for the shared state: version, unit, flags and interval in the first word, the time of day in
    /// the second. Never all zero, so zeros can stand for "no schedule".
    ///
    /// ```text
    /// word 0   bits 0-7 version (1) | 8-15 unit | 16-23 flags (1 utc, 2 time of day) | 24-31 zero | 32-63 interval
    /// word 1   bits 0-31 time of day in seconds, 0 without | 32-63 zero
    /// ```
    pub fn to_words(&self) -> [u64; 2] {
        let at = self
            .at_time_s
            .map(|at_s| u64::from(at_s).min(DAY_S as u64 - 1));
        let utc_flag = if self.utc { FLAG_UTC } else { 0 };
        let at_flag = if at.is_some() { FLAG_AT_TIME } else { 0 };
        let first = WORDS_VERSION
            | self.when.code() << 8
            | (utc_flag | at_flag) << 16
            | u64::from(self.interval.max(1)) << 32;
        [first, at.unwrap_or(0)]
    }

    /// Reads [`Schedule::to_words`]. Anything it cannot have written is refused.
    pub fn from_words(words: [u64; 2]) -> Result<Schedule, Error> {
        let [first, at] = words;
        let refuse = |kind, cause| unreadable(kind, &format!("{first:#018x} {at:#018x}"), cause);
        if first & 0xff != WORDS_VERSION {
            let cause = "written by another version; restart all processes of this group";
            return Err(refuse(ErrorKind::Version, cause));
        }
        let damaged = || {
            refuse(
                ErrorKind::Invalid,
                "damaged; remove the state of this group and restart it",
            )
        };
        let flags = first >> 16 & 0xffff;
        let interval = (first >> 32) as u32;
        let has_at = flags & FLAG_AT_TIME != 0;
        let at_ok = if has_at { at < DAY_S as u64 } else { at == 0 };
        if flags & !(FLAG_UTC | FLAG_AT_TIME) != 0 || interval == 0 || !at_ok {
            return Err(damaged());
        }
        Ok(Schedule {
            when: When::from_code(first >> 8 & 0xff).ok_or_else(damaged)?,
            interval,
            at_time_s: has_at.then_some(at as u32),
            utc: flags & FLAG_UTC != 0,
        })
    }

    fn interval_s(&self) -> i64 {
        self.when.unit_s() * i64::from(self.interval.max(1))
    }

    fn has_time_of_day(&self) -> bool {
        matches!(self.when, When::Midnight | When::Weekday(_))
    }

    /// Second of the day at which a day's boundary lies; without a time given the end of the day, 86,400.
    fn rotate_second(&self) -> i64 {
        self.at_time_s
            .map_or(DAY_S, |at_s| i64::from(at_s).min(DAY_S - 1))
    }

    fn zone<'a>(&self, local: &'a Zone) -> &'a Zone {
        static UTC: Zone = Zone {
            time_zone: TimeZone::UTC,
        };
        if self.utc { &UTC } else { local }
    }

    fn boundary_after(&self, now_s: i64, zone: &Zone) -> i64 {
        if !self.has_time_of_day() {
            return now_s.saturating_add(self.interval_s());
        }
        let zone = self.zone(zone);
        let counted_s = self.counted_boundary(now_s, zone);
        let found_s = if self.is_on_the_clock(counted_s, zone) {
            counted_s
        } else {
            self.calendar_boundary(now_s, zone).unwrap_or(counted_s)
        };
        found_s.max(now_s.saturating_add(1))
    }

    /// CPython 3.13's `computeRollover` for `MIDNIGHT` and `W0`..`W6`.
    fn counted_boundary(&self, now_s: i64, zone: &Zone) -> i64 {
        let here = zone.local(now_s);
        let mut wait_s = self.rotate_second() - here.second_of_day();
        let mut weekday = here.weekday();
        if wait_s <= 0 {
            wait_s += DAY_S;
            weekday = (weekday + 1) % 7;
        }
        wait_s += self.days_to_weekday(weekday) * DAY_S + self.interval_s() - self.when.unit_s();
        let result_s = now_s.saturating_add(wait_s);
        match (here.dst, zone.local(result_s).dst) {
            (false, true) if zone.local(result_s.saturating_sub(HOUR_S)).dst => {
                result_s.saturating_sub(HOUR_S)
            }
            (true, false) => result_s.saturating_add(HOUR_S),
            _ => result_s,
        }
    }

    /// Whether a boundary is at the time of day asked for, and the first such moment of its day.
    fn is_on_the_clock(&self, boundary_s: i64, zone: &Zone) -> bool {
        let there = zone.local(boundary_s);
        there.second_of_day() == self.rotate_second() % DAY_S
            && zone.first_instant(there.wall.date(), there.second_of_day()) == Some(boundary_s)
    }

    /// The boundary by dates and time of day. None when no calendar has it.
    fn calendar_boundary(&self, now_s: i64, zone: &Zone) -> Option<i64> {
        let here = zone.local(now_s);
        let today_is_over = self.rotate_second() <= here.second_of_day();
        let mut day = date_after(here.wall.date(), i64::from(today_is_over))?;
        day = date_after(
            day,
            self.days_to_weekday(i64::from(day.weekday().to_monday_zero_offset())),
        )?;
        let step_days = self.when.unit_s() / DAY_S;
        // Only a repeated or skipped time of day makes the first candidate lie in the past, and the next is then good.
        for _ in 0..2 {
            if zone.first_instant(day, self.rotate_second())? <= now_s {
                day = date_after(day, step_days)?;
            }
        }
        let more_days = (self.interval_s() - self.when.unit_s()) / DAY_S;
        zone.first_instant(date_after(day, more_days)?, self.rotate_second())
    }

    /// Days from `weekday` (0 is Monday) until the day asked for; 0 for a daily schedule.
    fn days_to_weekday(&self, weekday: i64) -> i64 {
        match self.when {
            When::Weekday(wanted) => (i64::from(wanted % 7) - weekday).rem_euclid(7),
            _ => 0,
        }
    }
}

/// Calendar fields of a moment in some time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil {
    /// Year, -9999 to 9999.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute.
    pub minute: u8,
    /// Second, 0 to 59: leap seconds are not counted.
    pub second: u8,
}

/// The rules by which local time is told. Loaded once, then kept: a clone shares them, and a later change of `TZ` or
/// of `/etc/localtime` is seen only by a new [`Zone::system`].
#[derive(Clone, Debug)]
pub struct Zone {
    time_zone: TimeZone,
}

/// Largest file read as a time zone; real ones are below 4 KiB.
const ZONE_BYTES_MAX: u64 = 1 << 20;

impl Zone {
    /// UTC.
    pub fn utc() -> Zone {
        Zone {
            time_zone: TimeZone::UTC,
        }
    }

    /// The time zone of this process, found as the C library finds it: the variable `TZ`, else `/etc/localtime`, else
    /// UTC. A `TZ` that means nothing is UTC as well.
    pub fn system() -> Zone {
        let found = match std::env::var_os("TZ") {
            Some(value) => value.to_str().and_then(Zone::from_tz),
            None => zone_file(Path::new("/etc/localtime")),
        };
        found.unwrap_or_else(Zone::utc)
    }

    /// The zone that a value of `TZ` means: the name of a zone, the path of a zone file (either with or without a colon
    /// before it), or the rule itself in the POSIX form (`CET-1CEST,M3.5.0,M10.5.0/3`; without dates the American ones
    /// hold, as in the C library). Empty is UTC; None when it is none of these.
    pub fn from_tz(value: &str) -> Option<Zone> {
        let name = value.strip_prefix(':').unwrap_or(value);
        if name.is_empty() {
            return Some(Zone::utc());
        }
        zone_file(&zone_directory().join(name))
            .or_else(|| TimeZone::get(name).ok().map(|time_zone| Zone { time_zone }))
            .or_else(|| posix_zone(name))
            .or_else(|| posix_zone(&format!("{name},M3.2.0,M11.1.0")))
    }

    /// Calendar fields of a moment, in seconds since 1970. Moments outside the years -9999 to 9999 give the nearest
    /// one inside.
    pub fn civil(&self, moment_s: i64) -> Civil {
        let wall = self.local(moment_s).wall;
        Civil {
            year: wall.year(),
            month: wall.month().unsigned_abs(),
            day: wall.day().unsigned_abs(),
            hour: wall.hour().unsigned_abs(),
            minute: wall.minute().unsigned_abs(),
            second: wall.second().unsigned_abs(),
        }
    }

    fn local(&self, moment_s: i64) -> Local {
        let moment = Timestamp::from_second(moment_s).unwrap_or(if moment_s < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        let info = self.time_zone.to_offset_info(moment);
        Local {
            wall: info.offset().to_datetime(moment),
            dst: info.dst().is_dst(),
        }
    }

    /// The first moment at which the clock shows this second of this day; 86,400 is the midnight that ends it. A time
    /// the clocks skip is found as far after the gap as it lies behind its start.
    fn first_instant(&self, date: Date, second_of_day: i64) -> Option<i64> {
        let date = date_after(date, second_of_day / DAY_S)?;
        let second = second_of_day % DAY_S;
        let time = Time::new(
            (second / HOUR_S) as i8,
            (second / 60 % 60) as i8,
            (second % 60) as i8,
            0,
        )
        .ok()?;
        let moment = self
            .time_zone
            .to_ambiguous_timestamp(date.to_datetime(time))
            .compatible()
            .ok()?;
        Some(moment.as_second())
    }
}

/// A moment as a clock on the wall shows it.
struct Local {
    wall: DateTime,
    dst: bool,
}

impl Local {
    fn second_of_day(&self) -> i64 {
        i64::from(self.wall.hour()) * HOUR_S
            + i64::from(self.wall.minute()) * 60
            + i64::from(self.wall.second())
    }

    /// Day of the week, 0 is Monday.
    fn weekday(&self) -> i64 {
        i64::from(self.wall.date().weekday().to_monday_zero_offset())
    }
}

fn date_after(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn posix_zone(rule: &str) -> Option<Zone> {
    TimeZone::posix(rule)
        .ok()
        .map(|time_zone| Zone { time_zone })
}

fn zone_directory() -> PathBuf {
    std::env::var_os("TZDIR").map_or_else(|| PathBuf::from("/usr/share/zoneinfo"), PathBuf::from)
}

/// Reads a zone file; None when there is none. Only a regular file is opened, so a pipe cannot make this wait.
fn zone_file(path: &Path) -> Option<Zone> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut data = Vec::new();
    std::fs::File::open(path)
        .ok()?
        .take(ZONE_BYTES_MAX)
        .read_to_end(&mut data)
        .ok()?;
    TimeZone::tzif(&path.to_string_lossy(), &data)
        .ok()
        .map(|time_zone| Zone { time_zone })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(value: &str) -> Zone {
        Zone::from_tz(value).unwrap()
    }

    /// Seconds since 1970 of a UTC time written `2024-03-31T01:00:00Z`.
    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn berlin() -> Zone {
        zone("CET-1CEST,M3.5.0,M10.5.0/3")
    }

    fn lord_howe() -> Zone {
        zone("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")
    }

    fn schedule(when: When, at_time_s: Option<u32>) -> Schedule {
        Schedule {
            at_time_s,
            ..Schedule::every(when)
        }
    }

    #[test]
    fn every_form_of_the_standard_library_is_read_in_any_case() {
        for text in [
            "S", "M", "H", "D", "MIDNIGHT", "W0", "W1", "W2", "W3", "W4", "W5", "W6",
        ] {
            assert_eq!(text.parse::<When>().unwrap().to_string(), text);
            assert_eq!(
                text.to_lowercase().parse::<When>().unwrap().to_string(),
                text
            );
        }
    }

    #[test]
    fn other_forms_are_refused_with_the_forms_that_are_accepted() {
        for text in [
            "",
            "X",
            "W",
            "W7",
            "W00",
            "w-1",
            "MIDNIGHT ",
            "SS",
            "\u{17f}",
        ] {
            let message = text.parse::<When>().unwrap_err().to_string();
            assert!(message.contains(&format!("`{text}`")), "{message}");
            assert!(message.contains("W0 (Monday)"), "{message}");
        }
    }

    #[test]
    fn a_schedule_survives_its_encoding_and_is_never_all_zero() {
        let units = [
            When::Second,
            When::Minute,
            When::Hour,
            When::Day,
            When::Midnight,
        ];
        for when in units.into_iter().chain((0..7).map(When::Weekday)) {
            for (interval, at_time_s, utc) in [
                (1, None, false),
                (7, Some(0), true),
                (u32::MAX, Some(86_399), false),
            ] {
                let schedule = Schedule {
                    when,
                    interval,
                    at_time_s,
                    utc,
                };
                assert_ne!(schedule.to_words()[0], 0);
                assert_eq!(Schedule::from_words(schedule.to_words()).unwrap(), schedule);
            }
        }
    }

    #[test]
    fn words_that_no_schedule_has_are_refused() {
        let good = Schedule {
            at_time_s: Some(60),
            ..Schedule::every(When::Midnight)
        }
        .to_words();
        let bad = [
            [0, 0],
            [good[0] ^ 3, good[1]],
            [good[0] | 0xf0 << 8, good[1]],
            [good[0] | 4 << 16, good[1]],
            [good[0] | 1 << 24, good[1]],
            [good[0] & 0xffff_ffff, good[1]],
            [good[0], 86_400],
            [good[0], good[1] | 1 << 32],
            [good[0] & !(2 << 16), good[1]],
        ];
        for words in bad {
            assert!(Schedule::from_words(words).is_err(), "{words:x?}");
        }
    }

    #[test]
    fn plain_intervals_count_from_the_rotation() {
        let hours = Schedule {
            interval: 6,
            ..Schedule::every(When::Hour)
        };
        assert_eq!(
            hours.next_rollover(100, 1_000, &berlin()),
            1_000 + 6 * 3_600
        );
        assert_eq!(hours.interval_start(30_000, &berlin()), 30_000 - 6 * 3_600);
    }

    #[test]
    fn midnight_follows_the_change_to_summer_and_to_winter() {
        let daily = Schedule::every(When::Midnight);
        let spring = daily.first_rollover(at("2024-03-31T00:30:00Z"), &berlin());
        assert_eq!(spring, at("2024-03-31T22:00:00Z"));
        assert_eq!(
            daily.interval_start(spring, &berlin()),
            at("2024-03-30T23:00:00Z")
        );
        let autumn = daily.first_rollover(at("2024-10-26T22:00:00Z"), &berlin());
        assert_eq!(autumn, at("2024-10-27T23:00:00Z"));
        assert_eq!(
            daily.interval_start(autumn, &berlin()),
            at("2024-10-26T22:00:00Z")
        );
    }

    #[test]
    fn a_weekly_schedule_ends_its_day_or_takes_the_time_given() {
        let friday = at("2024-01-05T12:00:00Z");
        assert_eq!(
            schedule(When::Weekday(0), None).first_rollover(friday, &Zone::utc()),
            at("2024-01-09T00:00:00Z")
        );
        let noon = schedule(When::Weekday(4), Some(12 * 3_600));
        assert_eq!(
            noon.first_rollover(friday, &Zone::utc()),
            at("2024-01-12T12:00:00Z")
        );
        assert_eq!(noon.first_rollover(friday - 1, &Zone::utc()), friday);
    }

    #[test]
    fn a_skipped_time_of_day_rotates_once_after_the_gap() {
        let half_past_two = schedule(When::Midnight, Some(2 * 3_600 + 1_800));
        let first = half_past_two.first_rollover(at("2024-03-30T12:00:00Z"), &berlin());
        assert_eq!(first, at("2024-03-31T01:30:00Z"));
        assert_eq!(
            half_past_two.next_rollover(first, first, &berlin()),
            at("2024-04-01T00:30:00Z")
        );
    }

    #[test]
    fn a_repeated_time_of_day_rotates_the_first_time_only() {
        let half_past_two = schedule(When::Midnight, Some(2 * 3_600 + 1_800));
        let first = half_past_two.first_rollover(at("2024-10-26T12:00:00Z"), &berlin());
        assert_eq!(first, at("2024-10-27T00:30:00Z"));
        let late = at("2024-10-27T01:10:00Z");
        assert_eq!(
            half_past_two.next_rollover(first, late, &berlin()),
            at("2024-10-28T01:30:00Z")
        );
    }

    #[test]
    fn half_an_hour_of_daylight_saving_still_rotates_at_midnight_under_distinct_names() {
        let daily = Schedule::every(When::Midnight);
        for start in ["2024-10-01T00:00:00Z", "2024-04-01T00:00:00Z"] {
            let mut boundary = daily.first_rollover(at(start), &lord_howe());
            for _ in 0..14 {
                let local = lord_howe().civil(boundary);
                assert_eq!((local.hour, local.minute, local.second), (0, 0, 0));
                let named = daily.archive_time(boundary, &lord_howe());
                let next = daily.next_rollover(boundary, boundary, &lord_howe());
                assert_eq!(
                    daily.archive_time(next, &lord_howe()),
                    lord_howe().civil(boundary)
                );
                assert!(named < daily.archive_time(next, &lord_howe()));
                boundary = next;
            }
        }
    }

    #[test]
    fn hours_around_a_change_are_named_for_their_own_start() {
        let hourly = Schedule::every(When::Hour);
        let boundary = at("2024-03-31T01:30:00Z");
        let names: Vec<u8> = (0..4)
            .map(|n| hourly.archive_time(boundary + n * 3_600, &berlin()).hour)
            .collect();
        assert_eq!(names, [1, 3, 4, 5]);
    }

    #[test]
    fn a_clock_set_back_never_repeats_a_boundary() {
        let daily = Schedule::every(When::Midnight);
        let midnight = at("2024-06-01T22:00:00Z");
        assert_eq!(
            daily.next_rollover(midnight, midnight - 3_600, &berlin()),
            midnight + 86_400
        );
        assert_eq!(
            Schedule::every(When::Second).next_rollover(100, 50, &berlin()),
            101
        );
    }

    #[test]
    fn utc_ignores_the_zone() {
        let daily = Schedule {
            utc: true,
            ..Schedule::every(When::Midnight)
        };
        let boundary = daily.first_rollover(at("2024-07-01T23:30:00Z"), &berlin());
        assert_eq!(boundary, at("2024-07-02T00:00:00Z"));
        assert_eq!(daily.archive_time(boundary, &berlin()).day, 1);
    }

    #[test]
    fn a_value_of_tz_is_a_name_a_path_a_rule_or_nothing() {
        let summer = at("2024-07-01T12:00:00Z");
        assert_eq!(zone("").civil(summer).hour, 12);
        assert_eq!(zone("CET-1CEST").civil(summer).hour, 14);
        assert_eq!(zone("<+0330>-3:30").civil(summer).minute, 30);
        assert!(Zone::from_tz("No/Such_Zone").is_none());
        assert!(Zone::from_tz("/dev/zero").is_none());
        if Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            assert_eq!(zone(":Europe/Berlin").civil(summer).hour, 14);
            assert_eq!(
                zone("/usr/share/zoneinfo/Europe/Berlin").civil(summer).hour,
                14
            );
        }
    }

    proptest::proptest! {
        /// Whatever the numbers, a boundary lies after both times it was computed from and nothing panics.
        #[test]
        fn a_boundary_is_always_later(
            code in 0_u64..24, interval: u32, at_time_s: Option<u32>, previous: i64, now: i64, near: bool,
        ) {
            let Some(when) = When::from_code(code) else { return Ok(()) };
            let (previous, now) = if near { (previous >> 28, now >> 28) } else { (previous, now) };
            let schedule = Schedule { when, interval: if near { interval >> 24 } else { interval }, at_time_s, utc: false };
            for zone in [berlin(), lord_howe(), Zone::utc()] {
                let next = schedule.next_rollover(previous, now, &zone);
                proptest::prop_assert!(next > previous.max(now) || next == i64::MAX);
                schedule.archive_time(next, &zone);
                schedule.interval_start(now, &zone);
            }
        }

        /// Words from anywhere are read as what they encode, or refused.
        #[test]
        fn any_words_are_decoded_or_refused(first: u64, second: u64, shape: bool) {
            let words = if shape { [first & 0xffff_ffff_0003_1f00 | 1, second % 100_000] } else { [first, second] };
            if let Ok(schedule) = Schedule::from_words(words) {
                proptest::prop_assert_eq!(schedule.to_words(), words);
            }
        }
    }
}
