//! What the archives of a log are called, and which files of a directory are its archives.
//!
//! Names are those of the standard library: `app.log.1` (newest) to `app.log.N`, or `app.log.<time>`; a compressed
//! archive adds `.gz` or `.zst`. When a time is taken already, the archive becomes `app.log.<time>.1`, `.2` and so on,
//! counting on from the highest present, so that the order of the names stays the order of the records.
//!
//! A name is ours only if this log could have given it, to the last byte: `app.log.bak`, `app.log.1.orig` and
//! `app.log.01` are foreign and never renamed, counted or deleted. Nothing here touches a file or can fail: a listing
//! of a directory goes in, names and steps come out. The caller lists the directory under its lease.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::compress::Compress;
use super::schedule::Civil;

/// A file of a directory, as listed (not following symbolic links).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name within the directory.
    pub name: OsString,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub len_bytes: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Whether it is a regular file. Others are never archives, but their names are taken.
    pub is_file: bool,
}

/// How a log names its archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `app.log.1` is the newest.
    Numbered,
    /// `app.log.` and the start of the archive's interval.
    Timed(Suffix),
    /// `app.spool.1` is the oldest: an archive keeps its name for life. For spools.
    Counted,
}

/// What tells two archives of one log apart. Compressing does not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveId {
    /// Position in a numbered series, from 1.
    Number(u32),
    /// Time and, if several archives have the same time, which of them: 0 has no number in its name.
    Time {
        /// The time as written in the name.
        stamp: String,
        /// Number after the time.
        clash: u32,
    },
}

/// An archive of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The file.
    pub entry: Entry,
    /// Which archive it is.
    pub id: ArchiveId,
    /// How its content is compressed.
    pub compress: Compress,
}

/// A log's files in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Name of the log.
    pub base: OsString,
    /// The file now written to, if it is there and a regular file.
    pub current: Option<Entry>,
    /// Its archives, newest first.
    pub archives: Vec<Archive>,
    /// Names that an archive could have but that something else occupies, a directory for instance.
    occupied: Vec<ArchiveId>,
}

impl Family {
    /// Sorts out the listing of a directory: which files belong to the log `base`, and in which order.
    ///
    /// Timed archives are ordered by the time in their name if that is a full date or time, else by their modification
    /// time; then by the number after it.
    pub fn read(base: &OsStr, scheme: &Scheme, listing: Vec<Entry>) -> Family {
        let mut family = Family {
            base: base.to_owned(),
            current: None,
            archives: Vec::new(),
            occupied: Vec::new(),
        };
        for entry in listing {
            if entry.name == base {
                family.current = entry.is_file.then_some(entry);
            } else if let Some((id, compress)) = parse_archive_name(base, scheme, &entry.name) {
                if entry.is_file {
                    family.archives.push(Archive {
                        entry,
                        id,
                        compress,
                    });
                } else {
                    family.occupied.push(id);
                }
            }
        }
        sort_newest_first(&mut family.archives, scheme);
        family
    }

    /// The steps of a numbered rotation in the order in which they must happen; none of them overwrites a file.
    ///
    /// As in the standard library the archives move up by one, the one in the way at `backup_count` is deleted, the
    /// current file becomes number 1, and archives above `backup_count` (left from a larger count) stay;
    /// [`expired`](super::retention::expired) names those. Compressed archives move alike. With `backup_count` 0 or no
    /// current file nothing moves: the standard library then closes and reopens the file.
    ///
    /// Only the archives below the first free number move; the standard library moves those above a gap as well. So a
    /// rotation cut short anywhere is continued by asking again: each step done has moved the free number down, and
    /// what lies above it is not moved a second time. For the same reason a copy whose original is there
    /// ([`Family::unfinished_copies`]) is deleted first: moved one after the other they would be taken for two.
    pub fn numbered_rotation(&self, backup_count: u32) -> Vec<Step> {
        if backup_count == 0 || self.current.is_none() {
            return Vec::new();
        }
        let copies = self.unfinished_copies();
        let mut moving: Vec<(u32, &Archive)> = self
            .numbered()
            .filter(|(_, archive)| !copies.contains(archive))
            .collect();
        moving.sort_by_key(|(number, _)| Reverse(*number));
        let is_taken = |wanted| moving.iter().any(|(number, _)| *number == wanted);
        let free = (1..=backup_count).find(|number| !is_taken(*number));
        let in_the_way = moving
            .iter()
            .filter(|(number, _)| free.is_none() && *number == backup_count);
        let removed = copies
            .iter()
            .copied()
            .chain(in_the_way.map(|(_, archive)| *archive));
        let mut steps: Vec<Step> = removed
            .map(|archive| Step::Remove(archive.entry.name.clone()))
            .collect();
        moving.retain(|(number, _)| *number < free.unwrap_or(backup_count));
        steps.extend(moving.into_iter().map(|(number, archive)| Step::Rename {
            from: archive.entry.name.clone(),
            to: numbered_name(&self.base, number + 1, archive.compress),
        }));
        steps.push(Step::Rename {
            from: self.base.clone(),
            to: numbered_name(&self.base, 1, Compress::None),
        });
        steps
    }

    /// The name for an archive of the time `stamp` (from [`Suffix::format`]): `base.stamp`, or with the next number
    /// when that time is taken, compressed or not. Nothing else of a timed log is renamed.
    ///
    /// CPython 3.13 does not rotate at all in that case, which leaves the interval to whoever rotated first; in a group
    /// that rotates once a taken name is another rotation of the same interval (by size, by hand, in the hour that
    /// autumn repeats) and must not be dropped.
    pub fn timed_name(&self, stamp: &str) -> OsString {
        let ids = self
            .archives
            .iter()
            .map(|archive| &archive.id)
            .chain(&self.occupied);
        let highest = ids
            .filter_map(|id| match id {
                ArchiveId::Time {
                    stamp: taken,
                    clash,
                } if taken == stamp => Some(*clash),
                _ => None,
            })
            .max();
        let mut name = joined(&self.base, stamp);
        if let Some(highest) = highest {
            name.push(format!(".{}", u64::from(highest) + 1));
        }
        name
    }

    /// The name for the next archive of a counted log: one more than the highest number present.
    pub fn counted_name(&self) -> OsString {
        let taken = self.archives.iter().map(|archive| &archive.id);
        let highest = taken
            .chain(&self.occupied)
            .filter_map(|id| match id {
                ArchiveId::Number(number) => Some(*number),
                ArchiveId::Time { .. } => None,
            })
            .max();
        numbered_name(
            &self.base,
            highest.map_or(1, |highest| highest + 1),
            Compress::None,
        )
    }

    /// The archive that is this inode now, whatever it has been renamed to meanwhile.
    pub fn by_inode(&self, inode: u64) -> Option<&Archive> {
        self.archives
            .iter()
            .find(|archive| archive.entry.inode == inode)
    }

    /// Compressed archives whose uncompressed original is still there: a process died between the two steps that put
    /// one in place of the other. The original is complete, so these may be deleted (and made again). Both have the
    /// same modification time; a pair that differs in it is left alone.
    ///
    /// Look and delete under the lease: between its two steps a living
    /// [`commit`](super::compress::Compressed::commit), which holds it, is in this very state.
    pub fn unfinished_copies(&self) -> Vec<&Archive> {
        let is_original = |copy: &Archive, other: &Archive| {
            other.compress == Compress::None
                && other.id == copy.id
                && other.entry.mtime_ns == copy.entry.mtime_ns
        };
        self.archives
            .iter()
            .filter(|copy| copy.compress != Compress::None)
            .filter(|copy| self.archives.iter().any(|other| is_original(copy, other)))
            .collect()
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &Archive)> {
        self.archives.iter().filter_map(|archive| match archive.id {
            ArchiveId::Number(number) => Some((number, archive)),
            ArchiveId::Time { .. } => None,
        })
    }
}

/// One step of a rotation, by names within the log's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Delete this archive.
    Remove(OsString),
    /// Rename a file; nothing has the new name.
    Rename {
        /// Name before.
        from: OsString,
        /// Name after.
        to: OsString,
    },
}

/// Name of archive `number` of a numbered log.
pub fn numbered_name(base: &OsStr, number: u32, compress: Compress) -> OsString {
    joined(base, &format!("{number}{}", compress.extension()))
}

/// Which archive of the log `base` has this name, and how it is compressed; None for the log itself and for foreign
/// files.
pub fn parse_archive_name(
    base: &OsStr,
    scheme: &Scheme,
    name: &OsStr,
) -> Option<(ArchiveId, Compress)> {
    let rest = name
        .as_bytes()
        .strip_prefix(base.as_bytes())?
        .strip_prefix(b".")?;
    let rest = std::str::from_utf8(rest).ok()?;
    let compressed = [Compress::Gzip, Compress::Zstd]
        .into_iter()
        .find_map(|compress| Some((rest.strip_suffix(compress.extension())?, compress)));
    compressed
        .and_then(|(rest, compress)| Some((parse_id(scheme, rest)?, compress)))
        .or_else(|| Some((parse_id(scheme, rest)?, Compress::None)))
}

fn parse_id(scheme: &Scheme, text: &str) -> Option<ArchiveId> {
    match scheme {
        Scheme::Numbered | Scheme::Counted => parse_number(text).map(ArchiveId::Number),
        Scheme::Timed(suffix) => {
            let (_, rest) = suffix.read(text)?;
            let clash = if rest.is_empty() {
                0
            } else {
                parse_number(rest.strip_prefix('.')?)?
            };
            let stamp = text[..text.len() - rest.len()].to_owned();
            Some(ArchiveId::Time { stamp, clash })
        }
    }
}

/// A number as this log writes it: from 1, no sign, no leading zero, at most nine digits.
fn parse_number(text: &str) -> Option<u32> {
    let plain =
        text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

fn joined(base: &OsStr, rest: &str) -> OsString {
    let mut bytes = base.as_bytes().to_vec();
    bytes.push(b'.');
    bytes.extend_from_slice(rest.as_bytes());
    OsString::from_vec(bytes)
}

fn sort_newest_first(archives: &mut [Archive], scheme: &Scheme) {
    let age = |archive: &Archive| match (&archive.id, scheme) {
        (ArchiveId::Number(number), Scheme::Counted) => {
            (Civil::default(), 0, Reverse(u32::MAX - number))
        }
        (ArchiveId::Number(number), _) => (Civil::default(), 0, Reverse(*number)),
        (ArchiveId::Time { stamp, clash }, Scheme::Timed(suffix)) if suffix.is_ordered() => {
            let time = suffix.read(stamp).map(|(time, _)| time).unwrap_or_default();
            (time, 0, Reverse(u32::MAX - clash))
        }
        (ArchiveId::Time { clash, .. }, _) => (
            Civil::default(),
            archive.entry.mtime_ns,
            Reverse(u32::MAX - clash),
        ),
    };
    archives.sort_by(|one, other| {
        let by_age = age(other).cmp(&age(one));
        by_age.then_with(|| one.entry.name.cmp(&other.entry.name))
    });
}

/// The pattern of timed names, `suffix` in the standard library: `%Y %m %d %H %M %S`, `%%` and literal text.
///
/// With other directives (or a slash in the text) the names are the host's to make, see [`Suffix::is_native`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl Suffix {
    /// Reads a `strftime` pattern; None when it is empty or has a directive not supported here.
    pub fn parse(pattern: &str) -> Option<Suffix> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = pattern.chars();
        while let Some(letter) = rest.next() {
            let field = match letter {
                '/' | '\0' => return None,
                '%' => Field::of(rest.next()?),
                other => Some(Err(other)),
            };
            match field? {
                Err(letter) => text.push(letter),
                Ok(field) => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Field(field));
                }
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        (!parts.is_empty()).then_some(Suffix { parts })
    }

    /// Whether a `strftime` pattern can be formatted and recognised without the host.
    pub fn is_native(pattern: &str) -> bool {
        Suffix::parse(pattern).is_some()
    }

    /// The text for a time. A year has at least four digits.
    pub fn format(&self, time: &Civil) -> String {
        let mut out = String::new();
        for part in &self.parts {
            let written = match part {
                Part::Text(text) => out.write_str(text),
                Part::Field(Field::Year) => write!(out, "{:04}", time.year),
                Part::Field(field) => write!(out, "{:02}", field.of_time(time)),
            };
            debug_assert!(written.is_ok(), "writing to a string cannot fail");
        }
        out
    }

    /// Whether a text has this form: four digits for the year, two for the rest, whatever number they make. For the
    /// default suffixes this is `extMatch.fullmatch` of CPython 3.13.
    pub fn matches(&self, text: &str) -> bool {
        self.read(text).is_some_and(|(_, rest)| rest.is_empty())
    }

    /// Takes the time from the front of a text: its fields (0 where not given) and what follows it.
    fn read<'a>(&self, text: &'a str) -> Option<(Civil, &'a str)> {
        let mut time = Civil::default();
        let mut rest = text;
        for part in &self.parts {
            rest = match part {
                Part::Text(text) => rest.strip_prefix(text.as_str())?,
                Part::Field(field) => field.read(rest, &mut time)?,
            };
        }
        Some((time, rest))
    }

    /// Whether two names can be ordered by their fields: the year is given, and no field without the one above it.
    fn is_ordered(&self) -> bool {
        let given = |field| self.parts.contains(&Part::Field(field));
        let mut fields = [
            Field::Year,
            Field::Month,
            Field::Day,
            Field::Hour,
            Field::Minute,
            Field::Second,
        ]
        .into_iter()
        .map(given)
        .skip_while(|given| *given);
        given(Field::Year) && !fields.any(|given| given)
    }
}

impl Field {
    /// The directive `%letter`: a field, or the letter it stands for; None when not supported.
    fn of(letter: char) -> Option<Result<Field, char>> {
        Some(match letter {
            'Y' => Ok(Field::Year),
            'm' => Ok(Field::Month),
            'd' => Ok(Field::Day),
            'H' => Ok(Field::Hour),
            'M' => Ok(Field::Minute),
            'S' => Ok(Field::Second),
            '%' => Err('%'),
            _ => return None,
        })
    }

    /// The field of a time; the year is written apart.
    fn of_time(self, time: &Civil) -> i16 {
        match self {
            Field::Year => time.year,
            Field::Month => time.month.into(),
            Field::Day => time.day.into(),
            Field::Hour => time.hour.into(),
            Field::Minute => time.minute.into(),
            Field::Second => time.second.into(),
        }
    }

    /// Reads the field's digits into `time` and gives what follows them.
    fn read<'a>(self, text: &'a str, time: &mut Civil) -> Option<&'a str> {
        let (digits, rest) = text.split_at_checked(if self == Field::Year { 4 } else { 2 })?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if self == Field::Year {
            time.year = digits.parse().ok()?;
            return Some(rest);
        }
        let place = match self {
            Field::Year | Field::Month => &mut time.month,
            Field::Day => &mut time.day,
            Field::Hour => &mut time.hour,
            Field::Minute => &mut time.minute,
            Field::Second => &mut time.second,
        };
        *place = digits.parse().ok()?;
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.into(),
            inode: 1,
            len_bytes: 10,
            mtime_ns: 0,
            is_file: true,
        }
    }

    fn family(scheme: &Scheme, names: &[&str]) -> Family {
        Family::read(
            OsStr::new("app.log"),
            scheme,
            names.iter().map(|name| entry(name)).collect(),
        )
    }

    fn daily() -> Scheme {
        Scheme::Timed(Suffix::parse("%Y-%m-%d").unwrap())
    }

    fn archive_names(family: &Family) -> Vec<&str> {
        family
            .archives
            .iter()
            .map(|archive| archive.entry.name.to_str().unwrap())
            .collect()
    }

    /// Steps as text: `-a` deletes, `a>b` renames.
    fn shown(steps: &[Step]) -> Vec<String> {
        let text = |name: &OsString| {
            name.to_str()
                .unwrap()
                .strip_prefix("app.log")
                .unwrap()
                .to_owned()
        };
        steps
            .iter()
            .map(|step| match step {
                Step::Remove(name) => format!("-{}", text(name)),
                Step::Rename { from, to } => format!("{}>{}", text(from), text(to)),
            })
            .collect()
    }

    #[test]
    fn numbered_archives_are_ordered_by_number_and_foreign_names_are_left_alone() {
        let foreign = [
            "app.log.bak",
            "app.log.1.orig",
            "app.log.01",
            "app.log.0",
            "app.log.+1",
            "app.log.",
            "app.log.1.gz.part",
            "app.log.1.bz2",
            "app.log1",
            "xapp.log.1",
            "app.log.1 ",
            "app.log.12345678901",
            "app.log.2024-01-01",
            ".1",
            "app.log.1.gz.gz",
            "app.log..gz",
            "app.log.gz",
        ];
        let ours = [
            "app.log.10",
            "app.log.2.gz",
            "app.log",
            "app.log.1",
            "app.log.3.zst",
        ];
        let family = family(&Scheme::Numbered, &[&foreign[..], &ours].concat());
        assert_eq!(family.current.as_ref().unwrap().name, "app.log");
        assert_eq!(
            archive_names(&family),
            ["app.log.1", "app.log.2.gz", "app.log.3.zst", "app.log.10"]
        );
        let kinds: Vec<Compress> = family
            .archives
            .iter()
            .map(|archive| archive.compress)
            .collect();
        assert_eq!(
            kinds,
            [
                Compress::None,
                Compress::Gzip,
                Compress::Zstd,
                Compress::None
            ]
        );
    }

    #[test]
    fn timed_archives_are_ordered_by_time_then_number() {
        let family = family(
            &daily(),
            &[
                "app.log.2024-02-01",
                "app.log.2024-01-31.2",
                "app.log.2024-01-31.10.gz",
                "app.log",
                "app.log.2023-12-31",
                "app.log.2024-01-31",
                "app.log.1",
                "app.log.2024-1-31",
                "app.log.2024-01-31.0",
                "app.log.2024-01-31x",
                "app.log.2024-01-31.orig",
            ],
        );
        assert_eq!(
            archive_names(&family),
            [
                "app.log.2024-02-01",
                "app.log.2024-01-31.10.gz",
                "app.log.2024-01-31.2",
                "app.log.2024-01-31",
                "app.log.2023-12-31",
            ]
        );
    }

    #[test]
    fn days_written_first_are_still_ordered_by_date() {
        let scheme = Scheme::Timed(Suffix::parse("%d.%m.%Y").unwrap());
        let family = family(
            &scheme,
            &[
                "app.log.02.01.2024",
                "app.log.31.12.2023",
                "app.log.01.02.2024.1",
            ],
        );
        assert_eq!(
            archive_names(&family),
            [
                "app.log.01.02.2024.1",
                "app.log.02.01.2024",
                "app.log.31.12.2023"
            ]
        );
    }

    #[test]
    fn a_suffix_without_a_full_time_is_ordered_by_modification_time() {
        let scheme = Scheme::Timed(Suffix::parse("%d").unwrap());
        let mut listing = vec![
            entry("app.log.01"),
            entry("app.log.31"),
            entry("app.log.15"),
        ];
        for (file, mtime_ns) in listing.iter_mut().zip([3, 2, 9]) {
            file.mtime_ns = mtime_ns;
        }
        let family = Family::read(OsStr::new("app.log"), &scheme, listing);
        assert_eq!(
            archive_names(&family),
            ["app.log.15", "app.log.01", "app.log.31"]
        );
    }

    #[test]
    fn a_numbered_rotation_moves_the_oldest_first_and_deletes_the_one_beyond() {
        let full = family(
            &Scheme::Numbered,
            &["app.log", "app.log.1", "app.log.2.gz", "app.log.3.gz"],
        );
        assert_eq!(
            shown(&full.numbered_rotation(3)),
            ["-.3.gz", ".2.gz>.3.gz", ".1>.2", ">.1"]
        );
        assert_eq!(
            shown(&full.numbered_rotation(5)),
            [".3.gz>.4.gz", ".2.gz>.3.gz", ".1>.2", ">.1"]
        );
        assert_eq!(shown(&full.numbered_rotation(1)), ["-.1", ">.1"]);
        assert_eq!(
            shown(&full.numbered_rotation(2)),
            ["-.2.gz", ".1>.2", ">.1"]
        );
    }

    #[test]
    fn without_a_count_or_a_current_file_nothing_is_renamed() {
        let full = family(&Scheme::Numbered, &["app.log", "app.log.1"]);
        assert_eq!(full.numbered_rotation(0), []);
        assert_eq!(
            family(&Scheme::Numbered, &["app.log.1"]).numbered_rotation(3),
            []
        );
    }

    #[test]
    fn what_lies_above_a_free_number_stays() {
        let gap = family(
            &Scheme::Numbered,
            &["app.log", "app.log.1", "app.log.3", "app.log.7"],
        );
        assert_eq!(shown(&gap.numbered_rotation(3)), [".1>.2", ">.1"]);
        assert_eq!(shown(&gap.numbered_rotation(1)), ["-.1", ">.1"]);
        assert_eq!(shown(&gap.numbered_rotation(u32::MAX)), [".1>.2", ">.1"]);
    }

    #[test]
    fn a_copy_whose_original_is_there_is_deleted_and_other_pairs_move_together() {
        let names = ["app.log", "app.log.1", "app.log.1.gz", "app.log.2.gz"];
        let twins = family(&Scheme::Numbered, &names);
        let unfinished: Vec<_> = twins
            .unfinished_copies()
            .iter()
            .map(|copy| &copy.entry.name)
            .collect();
        assert_eq!(unfinished, ["app.log.1.gz"]);
        assert_eq!(
            shown(&twins.numbered_rotation(2)),
            ["-.1.gz", "-.2.gz", ".1>.2", ">.1"]
        );
        let mut listing: Vec<Entry> = names.iter().map(|name| entry(name)).collect();
        listing[1].mtime_ns = 5;
        let pair = Family::read(OsStr::new("app.log"), &Scheme::Numbered, listing);
        assert_eq!(pair.unfinished_copies(), Vec::<&Archive>::new());
        assert_eq!(
            shown(&pair.numbered_rotation(2)),
            ["-.2.gz", ".1>.2", ".1.gz>.2.gz", ">.1"]
        );
    }

    #[test]
    fn counted_archives_keep_their_names_and_the_next_is_the_newest() {
        let names = [
            "app.log",
            "app.log.9",
            "app.log.10",
            "app.log.2",
            "app.log.x",
        ];
        let spool = family(&Scheme::Counted, &names);
        assert_eq!(
            archive_names(&spool),
            ["app.log.10", "app.log.9", "app.log.2"]
        );
        assert_eq!(spool.counted_name(), "app.log.11");
        assert_eq!(
            family(&Scheme::Counted, &["app.log"]).counted_name(),
            "app.log.1"
        );
    }

    #[test]
    fn a_taken_time_gets_the_number_after_the_highest() {
        let name = |names: &[&str]| family(&daily(), names).timed_name("2024-01-31");
        assert_eq!(name(&["app.log.2024-01-30"]), "app.log.2024-01-31");
        assert_eq!(name(&["app.log.2024-01-31"]), "app.log.2024-01-31.1");
        assert_eq!(name(&["app.log.2024-01-31.zst"]), "app.log.2024-01-31.1");
        assert_eq!(
            name(&["app.log.2024-01-31.4.gz", "app.log.2024-01-31.2"]),
            "app.log.2024-01-31.5"
        );
    }

    #[test]
    fn a_directory_is_no_archive_but_its_name_is_taken() {
        let directory = Entry {
            is_file: false,
            ..entry("app.log.2024-01-31")
        };
        let family = Family::read(OsStr::new("app.log"), &daily(), vec![directory]);
        assert_eq!(family.archives, []);
        assert_eq!(family.timed_name("2024-01-31"), "app.log.2024-01-31.1");
    }

    #[test]
    fn an_archive_is_found_by_its_inode() {
        let renamed = Entry {
            inode: 42,
            ..entry("app.log.2")
        };
        let family = Family::read(
            OsStr::new("app.log"),
            &Scheme::Numbered,
            vec![entry("app.log.1"), renamed],
        );
        assert_eq!(family.by_inode(42).unwrap().id, ArchiveId::Number(2));
        assert_eq!(family.by_inode(7), None);
    }

    #[test]
    fn only_digits_directives_and_text_are_native() {
        for pattern in ["%Y-%m-%d_%H-%M-%S", "%d", "old", "100%%", "%Y%m%dT%H"] {
            assert!(Suffix::is_native(pattern), "{pattern}");
        }
        for pattern in ["", "%j", "%y", "%", "a%", "%Y/%m", "%-d", "%b", "%f", "\0"] {
            assert!(!Suffix::is_native(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_formatted_time_matches_and_is_read_back() {
        let time = Civil {
            year: 987,
            month: 6,
            day: 5,
            hour: 4,
            minute: 3,
            second: 2,
        };
        let suffix = Suffix::parse("%Y-%m-%d_%H-%M-%S%%é").unwrap();
        assert_eq!(suffix.format(&time), "0987-06-05_04-03-02%é");
        assert_eq!(suffix.read("0987-06-05_04-03-02%é.1"), Some((time, ".1")));
        assert!(!suffix.matches("0987-06-05_04-03-02%é.1"));
    }

    #[test]
    fn names_need_not_be_text() {
        let base = OsStr::from_bytes(b"l\xffg");
        let name = numbered_name(base, 3, Compress::Gzip);
        assert_eq!(name.as_bytes(), b"l\xffg.3.gz");
        let parsed = parse_archive_name(base, &Scheme::Numbered, &name);
        assert_eq!(parsed, Some((ArchiveId::Number(3), Compress::Gzip)));
        assert_eq!(
            parse_archive_name(base, &Scheme::Numbered, OsStr::from_bytes(b"l\xffg.\xff")),
            None
        );
    }

    type Files = std::collections::BTreeMap<OsString, u32>;

    /// Carries out the first `most` steps of a rotation, on names and contents.
    fn run(files: &mut Files, backup_count: u32, most: usize) {
        let listing = files
            .keys()
            .map(|name| entry(name.to_str().unwrap()))
            .collect();
        let family = Family::read(OsStr::new("app.log"), &Scheme::Numbered, listing);
        for step in family
            .numbered_rotation(backup_count)
            .into_iter()
            .take(most)
        {
            match step {
                Step::Remove(name) => assert!(files.remove(&name).is_some()),
                Step::Rename { from, to } => {
                    let content = files.remove(&from).unwrap();
                    assert_eq!(files.insert(to, content), None);
                }
            }
        }
    }

    proptest::proptest! {
        /// The steps never overwrite a file, leave each archive one further up to the first free number, and may be
        /// cut short anywhere and asked for again.
        #[test]
        fn a_rotation_may_be_cut_short_anywhere(
            numbers in proptest::collection::btree_set(1_u32..9, 0..9), count in 1_u32..10, gzip in 0_u32..9, cut in 0_usize..12,
        ) {
            let compress = |number: u32| if number != 0 && number >= gzip { Compress::Gzip } else { Compress::None };
            let base = OsStr::new("app.log");
            let mut files: Files = numbers.iter().map(|n| (numbered_name(base, *n, compress(*n)), *n)).collect();
            files.insert(base.into(), 0);
            run(&mut files, count, cut);
            run(&mut files, count, usize::MAX);
            let free = (1..=count).find(|number| !numbers.contains(number));
            let moved = |number: u32| number < free.unwrap_or(count);
            let wanted: Files = numbers
                .iter()
                .filter(|number| free.is_some() || **number != count)
                .chain([&0])
                .map(|n| (numbered_name(base, n + u32::from(moved(*n)), compress(*n)), *n))
                .collect();
            proptest::prop_assert_eq!(files, wanted);
        }

        /// Any name is either refused or a name this log would give to just that archive.
        #[test]
        fn any_name_is_read_or_refused(rest in "[0-9.gzst_%-]{0,24}", timed: bool) {
            let scheme = if timed { daily() } else { Scheme::Numbered };
            let base = OsStr::new("app.log");
            let name = joined(base, &rest);
            if let Some((id, compress)) = parse_archive_name(base, &scheme, &name) {
                let again = match id {
                    ArchiveId::Number(number) => number.to_string(),
                    ArchiveId::Time { stamp, clash: 0 } => stamp,
                    ArchiveId::Time { stamp, clash } => format!("{stamp}.{clash}"),
                };
                proptest::prop_assert_eq!(name, joined(base, &format!("{again}{}", compress.extension())));
            }
        }
    }
}
