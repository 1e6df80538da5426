//! Rotation times and archive names are those of CPython 3.13's own `TimedRotatingFileHandler`, except where the header
//! of `files/schedule.rs` says that CPython is wrong; there the test requires the evidence.
//!
//! Thousands of cases are drawn with a fixed seed, most of them around changes of the clocks, in zones that change by
//! an hour, by half an hour, backwards, by a whole day and never. `schedule_vs_cpython.py` asks the real class. Skipped,
//! with the reason printed, where there is no CPython 3.13 or newer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logboom::files::naming::Suffix;
use logboom::files::schedule::{Civil, Schedule, When, Zone};

/// Zones whose every change since 2000 is one hour, forwards in summer and flagged as daylight saving.
const HOUR_ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "NZST-12NZDT,M9.5.0,M4.1.0/3",
    "<+0330>-3:30",
];

/// Zones with other changes: half an hour, a skipped day, no flag, negative daylight saving.
const ODD_ZONES: [&str; 6] = [
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Europe/Moscow",
    "Europe/Dublin",
    "Africa/Casablanca",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
];

const CASES_PER_ZONE: usize = 4_000;

#[test]
fn boundaries_are_those_of_cpython() {
    let Some(python) = python_3_13() else { return };
    for (zone_name, is_odd) in zones() {
        let Some((zone, cases)) = cases_of(zone_name) else {
            continue;
        };
        let questions = cases.iter().map(|case| {
            let ours = case.schedule.first_rollover(case.now_s, &zone);
            format!("next\t{}\t{}\t{ours}", fields(&case.schedule), case.now_s)
        });
        let mut others = 0;
        for (case, answer) in cases.iter().zip(ask(&python, zone_name, questions)) {
            let ours = case.schedule.first_rollover(case.now_s, &zone);
            if ours.to_string() != answer[0] {
                others += 1;
                check_other_boundary(case, zone_name, is_odd, ours, &answer);
            }
        }
        println!(
            "{zone_name}: {} boundaries, {others} where CPython is not followed",
            cases.len()
        );
    }
}

/// CPython's boundary is at another time of day than asked, or the second one of its day, and ours is right.
fn check_other_boundary(case: &Case, zone_name: &str, is_odd: bool, ours: i64, answer: &[String]) {
    let numbers: Vec<i64> = answer.iter().map(|field| field.parse().unwrap()).collect();
    let [theirs, their_second, our_second, their_repeat] = numbers[..] else {
        panic!("{answer:?}")
    };
    let asked = i64::from(case.schedule.at_time_s.unwrap_or(0));
    let shown = format!("{zone_name} {case:?}: ours {ours}, CPython {theirs}");
    assert!(
        matches!(case.schedule.when, When::Midnight | When::Weekday(_)),
        "{shown}"
    );
    if their_repeat == 1 {
        assert!(our_second == asked || is_odd, "{shown}");
        return;
    }
    assert!(is_odd, "{shown}");
    assert_ne!(their_second, asked, "{shown}");
    assert!(
        (ours - theirs).abs() <= 2 * 3_600 || our_second == asked,
        "{shown}"
    );
}

#[test]
fn archives_are_named_as_by_cpython() {
    let Some(python) = python_3_13() else { return };
    let suffix = Suffix::parse(When::Second.default_suffix()).unwrap();
    for (zone_name, is_odd) in zones() {
        let Some((zone, cases)) = cases_of(zone_name) else {
            continue;
        };
        let ends: Vec<i64> = cases
            .iter()
            .map(|case| case.schedule.first_rollover(case.now_s, &zone))
            .collect();
        let questions = cases
            .iter()
            .zip(&ends)
            .map(|(case, end)| format!("name\t{}\t{end}", fields(&case.schedule)));
        let mut others = 0;
        for ((case, &end), answer) in cases
            .iter()
            .zip(&ends)
            .zip(ask(&python, zone_name, questions))
        {
            let ours = suffix.format(&case.schedule.archive_time(end, &zone));
            if ours != answer[0] {
                others += 1;
                check_other_name(case, zone_name, is_odd, &ours, &answer);
            }
        }
        println!(
            "{zone_name}: {} names, {others} where CPython is not followed",
            cases.len()
        );
    }
}

/// CPython shifted the name across a change of the clocks: of plain seconds, or to another time of day.
fn check_other_name(case: &Case, zone_name: &str, is_odd: bool, ours: &str, answer: &[String]) {
    let [theirs, one_interval_before, same_dst, end_second] = answer else {
        panic!("{answer:?}")
    };
    let shown = format!("{zone_name} {case:?}: ours {ours}, CPython {theirs}");
    if matches!(case.schedule.when, When::Midnight | When::Weekday(_)) {
        let end_second: u32 = end_second.parse().unwrap();
        assert_ne!(second_in_name(theirs), end_second, "{shown}");
        // A start that the clocks skipped is named by what they showed instead; in the zones of whole hours there is no
        // other reason.
        let later = second_in_name(ours).checked_sub(end_second);
        let allowed: &[u32] = if is_odd { &[0, 1_800, 3_600] } else { &[3_600] };
        assert!(
            later.is_some_and(|later| allowed.contains(&later)),
            "{shown}"
        );
        return;
    }
    assert_eq!(same_dst, "0", "{shown}");
    assert_eq!(ours, one_interval_before, "{shown}");
}

/// Second of the day in `2024-03-31_02-00-00`.
fn second_in_name(name: &str) -> u32 {
    let (_, time) = name.split_once('_').unwrap();
    time.split('-').fold(0, |seconds, part| {
        seconds * 60 + part.parse::<u32>().unwrap()
    })
}

#[test]
fn suffixes_match_as_in_cpython() {
    let Some(python) = python_3_13() else { return };
    let units = [
        When::Second,
        When::Minute,
        When::Hour,
        When::Day,
        When::Weekday(3),
    ];
    let mut texts: Vec<String> = [
        "",
        "1",
        "2024-13-99",
        "24-01-01",
        "12024-01-01",
        "2024-01-011",
        "2024-1-01",
    ]
    .into_iter()
    .chain([
        "2024-01-01.gz",
        "2024-01-01.1",
        "2024-01-01_",
        "x2024-01-01",
        "2024-01-01_1",
        "٢٠٢٤-01-01",
    ])
    .map(str::to_owned)
    .collect();
    let moment = Civil {
        year: 2024,
        month: 2,
        day: 29,
        hour: 23,
        minute: 59,
        second: 58,
    };
    texts.extend(units.iter().map(|when| {
        Suffix::parse(when.default_suffix())
            .unwrap()
            .format(&moment)
    }));
    let pairs: Vec<(When, &String)> = units
        .iter()
        .flat_map(|when| texts.iter().map(move |text| (*when, text)))
        .collect();
    let questions = pairs
        .iter()
        .map(|(when, text)| format!("match\t{when}\t{text}"));
    for ((when, text), answer) in pairs.iter().zip(ask(&python, "UTC", questions)) {
        let ours = Suffix::parse(when.default_suffix()).unwrap().matches(text);
        assert_eq!(u8::from(ours).to_string(), answer[0], "{when} {text:?}");
    }
}

#[derive(Debug)]
struct Case {
    schedule: Schedule,
    now_s: i64,
}

fn zones() -> impl Iterator<Item = (&'static str, bool)> {
    HOUR_ZONES
        .into_iter()
        .map(|name| (name, false))
        .chain(ODD_ZONES.into_iter().map(|name| (name, true)))
}

/// The zone and its cases; None, with the reason printed, where the machine does not know it.
fn cases_of(zone_name: &str) -> Option<(Zone, Vec<Case>)> {
    let file = Path::new("/usr/share/zoneinfo").join(zone_name);
    let is_rule = zone_name.contains([',', '<']);
    if !is_rule && !file.is_file() {
        println!("skipped {zone_name}: the machine has no such time zone; install tzdata");
        return None;
    }
    let changes = changes_of(if is_rule {
        TimeZone::posix(zone_name).unwrap()
    } else {
        TimeZone::tzif(zone_name, &std::fs::read(file).unwrap()).unwrap()
    });
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let cases = (0..CASES_PER_ZONE)
        .map(|_| draw_case(&mut dice, &changes))
        .collect();
    Some((Zone::from_tz(zone_name).unwrap(), cases))
}

/// When the clocks change from 2000 to 2045.
fn changes_of(zone: TimeZone) -> Vec<i64> {
    let from = Timestamp::from_second(946_684_800).unwrap();
    zone.following(from)
        .map(|change| change.timestamp().as_second())
        .take_while(|&change_s| change_s < 2_366_841_600)
        .collect()
}

fn draw_case(dice: &mut Dice, changes: &[i64]) -> Case {
    let when = [
        When::Second,
        When::Minute,
        When::Hour,
        When::Day,
        When::Midnight,
        When::Midnight,
    ];
    let when = *dice.pick(
        &when
            .into_iter()
            .chain((0..7).map(When::Weekday))
            .collect::<Vec<_>>(),
    );
    let half_hours: Vec<u32> = (0..10).map(|n| n * 1_800).collect();
    let at_time_s = match dice.below(4) {
        0 | 1 => None,
        2 => Some(*dice.pick(&half_hours)),
        _ => Some(dice.below(86_400) as u32),
    };
    let utc = dice.below(8) == 0;
    Case {
        schedule: Schedule {
            when,
            interval: *dice.pick(&[1, 1, 1, 2, 3, 7, 30]),
            at_time_s,
            utc,
        },
        now_s: draw_moment(dice, changes),
    }
}

/// Mostly within days of a change, often at the very second; else anywhere from 2000 to 2045.
fn draw_moment(dice: &mut Dice, changes: &[i64]) -> i64 {
    if changes.is_empty() || dice.below(8) == 0 {
        return 946_684_800 + dice.below(1_420_000_000) as i64;
    }
    let edges = [
        -86_400, -7_201, -7_200, -3_600, -1_800, -1, 0, 1, 1_799, 1_800, 3_599, 3_600, 5_400,
        7_200, 86_400,
    ];
    let offset = match dice.below(3) {
        0 => *dice.pick(&edges),
        1 => dice.below(4 * 3_600) as i64 - 2 * 3_600,
        _ => dice.below(6 * 86_400) as i64 - 4 * 86_400,
    };
    dice.pick(changes) + offset
}

/// A small generator with a fixed seed: each run draws the same cases.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

fn fields(schedule: &Schedule) -> String {
    let at = schedule
        .at_time_s
        .map_or("-".to_owned(), |at_s| at_s.to_string());
    format!(
        "{}\t{}\t{at}\t{}",
        schedule.when,
        schedule.interval,
        u8::from(schedule.utc)
    )
}

/// One answer for each question, split at its tabs.
fn ask(
    python: &Path,
    zone_name: &str,
    questions: impl Iterator<Item = String>,
) -> Vec<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedule_vs_cpython.py");
    let questions: Vec<String> = questions.collect();
    let text = format!("zone\t{zone_name}\n{}\n", questions.join("\n"));
    let mut child = Command::new(python)
        .arg("-I")
        .args(["-X", "utf8"])
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "the script ended with {}",
        output.status
    );
    let answers: Vec<Vec<String>> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// A CPython 3.13 or newer; None, with the reason printed, when there is none.
fn python_3_13() -> Option<PathBuf> {
    let named = ["python3.13", "python3.14", "python3"]
        .into_iter()
        .map(PathBuf::from);
    let found = named.chain(pyenv_pythons()).find(|python| is_3_13(python));
    if found.is_none() {
        println!(
            "skipped: no CPython 3.13 or newer as python3.13, python3.14, python3 or in pyenv"
        );
    }
    found
}

fn is_3_13(python: &Path) -> bool {
    let check =
        "import sys; sys.exit(sys.implementation.name != 'cpython' or sys.version_info < (3, 13))";
    let status = Command::new(python)
        .args(["-I", "-c", check])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn pyenv_pythons() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let Some(root) = root.or(home) else {
        return Vec::new();
    };
    let Ok(versions) = std::fs::read_dir(root.join("versions")) else {
        return Vec::new();
    };
    versions
        .flatten()
        .map(|version| version.path().join("bin/python3"))
        .collect()
}
