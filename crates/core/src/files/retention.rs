//! Which archives of a log are deleted: too many, too old, or too large together.
//!
//! A pure function over a [`Family`]. The file being written to is never deleted, nor is any foreign file; the caller
//! deletes oldest first, so that stopping half-way leaves the newest.

use super::naming::{Archive, ArchiveId, Family};

/// How much of a log is kept. 0 sets no limit; an archive goes as soon as one limit says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Archives, `backupCount` in the standard library. An archive and its compressed copy count as one.
    pub count: u32,
    /// Seconds since an archive was last written to. A time in the future (a clock set back) is not old.
    pub age_s: u64,
    /// Bytes of the archives and the current file together: what the log takes on disk. The newest are kept, up to the
    /// first archive that does not fit; it and all older ones go. The current file counts with its length at this
    /// moment, just after a rotation usually none.
    pub total_bytes: u64,
}

impl Retention {
    /// Whether anything is ever deleted.
    pub fn is_unlimited(&self) -> bool {
        *self == Retention::default()
    }
}

/// The archives to delete, oldest first. `now_ns` is the present in nanoseconds since 1970.
pub fn expired<'a>(family: &'a Family, limits: &Retention, now_ns: i64) -> Vec<&'a Archive> {
    let mut walk = Walk {
        seen: 0,
        last: None,
        bytes: family
            .current
            .as_ref()
            .map_or(0, |current| current.len_bytes),
    };
    let mut gone: Vec<&Archive> = family
        .archives
        .iter()
        .filter(|archive| walk.is_expired(archive, limits, now_ns))
        .collect();
    gone.reverse();
    gone
}

/// What lies on the way from the newest archive to the one looked at.
struct Walk<'a> {
    seen: u64,
    last: Option<&'a ArchiveId>,
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn is_expired(&mut self, archive: &'a Archive, limits: &Retention, now_ns: i64) -> bool {
        if self.last != Some(&archive.id) {
            self.seen += 1;
            self.last = Some(&archive.id);
        }
        self.bytes = self.bytes.saturating_add(archive.entry.len_bytes);
        let age_s = now_ns.saturating_sub(archive.entry.mtime_ns) / 1_000_000_000;
        is_over(self.seen, limits.count.into())
            || is_over(self.bytes, limits.total_bytes)
            || is_over(u64::try_from(age_s).unwrap_or(0), limits.age_s)
    }
}

fn is_over(value: u64, limit: u64) -> bool {
    limit != 0 && value > limit
}

#[cfg(test)]
mod tests {
    use super::super::naming::{Entry, Scheme};
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;

    const NOW_S: i64 = 1_000_000;

    /// A numbered log with archives of these (length, age in seconds), newest first, and a current file.
    fn family(current_len_bytes: u64, archives: &[(u64, i64)]) -> Family {
        let entry = |name: String, len_bytes, age_s: i64| Entry {
            name: name.into(),
            inode: 1,
            len_bytes,
            mtime_ns: (NOW_S - age_s) * 1_000_000_000,
            is_file: true,
        };
        let numbered = archives
            .iter()
            .zip(1..)
            .map(|((len, age), number)| entry(format!("a.{number}"), *len, *age));
        let listing = numbered
            .chain([entry("a".to_owned(), current_len_bytes, 0)])
            .collect();
        Family::read(OsStr::new("a"), &Scheme::Numbered, listing)
    }

    fn gone(family: &Family, limits: Retention) -> Vec<&str> {
        let archives = expired(family, &limits, NOW_S * 1_000_000_000);
        archives
            .iter()
            .map(|archive| archive.entry.name.to_str().unwrap())
            .collect()
    }

    #[test]
    fn without_limits_everything_is_kept() {
        assert!(Retention::default().is_unlimited());
        assert!(
            gone(
                &family(1, &[(u64::MAX, i64::from(i32::MAX)); 9]),
                Retention::default()
            )
            .is_empty()
        );
    }

    #[test]
    fn the_oldest_beyond_the_count_go_first() {
        let limits = Retention {
            count: 2,
            ..Retention::default()
        };
        assert_eq!(gone(&family(0, &[(1, 0); 4]), limits), ["a.4", "a.3"]);
    }

    #[test]
    fn age_counts_from_the_last_change_and_the_future_is_young() {
        let limits = Retention {
            age_s: 60,
            ..Retention::default()
        };
        assert_eq!(
            gone(&family(0, &[(1, -5_000), (1, 60), (1, 61)]), limits),
            ["a.3"]
        );
    }

    #[test]
    fn bytes_include_the_current_file_and_nothing_older_than_the_first_too_large_is_kept() {
        let limits = Retention {
            total_bytes: 100,
            ..Retention::default()
        };
        assert!(gone(&family(0, &[(50, 0), (50, 0)]), limits).is_empty());
        assert_eq!(
            gone(&family(1, &[(50, 0), (50, 0), (1, 0)]), limits),
            ["a.3", "a.2"]
        );
    }

    #[test]
    fn an_archive_and_its_copy_count_as_one() {
        let mut listing: Vec<Entry> = Vec::new();
        for name in ["a.1", "a.1.gz", "a.2"] {
            listing.push(Entry {
                name: name.into(),
                inode: 1,
                len_bytes: 1,
                mtime_ns: 0,
                is_file: true,
            });
        }
        let family = Family::read(OsStr::new("a"), &Scheme::Numbered, listing);
        assert!(
            gone(
                &family,
                Retention {
                    count: 2,
                    ..Retention::default()
                }
            )
            .is_empty()
        );
        assert_eq!(
            gone(
                &family,
                Retention {
                    count: 1,
                    ..Retention::default()
                }
            ),
            ["a.2"]
        );
    }

    proptest! {
        /// An archive is kept if and only if it is among the newest, young enough, and fits with all newer ones.
        #[test]
        fn kept_is_what_the_plain_model_keeps(
            current in 0_u64..100,
            archives in prop::collection::vec((0_u64..100, -10_i64..100), 0..12),
            count in 0_u32..8, age_s in 0_u64..80, total_bytes in 0_u64..400,
        ) {
            let family = family(current, &archives);
            let names = gone(&family, Retention { count, age_s, total_bytes });
            let mut wanted = Vec::new();
            for (index, (_, age)) in archives.iter().enumerate() {
                let total: u64 = current + archives[..=index].iter().map(|(len, _)| len).sum::<u64>();
                let kept = (count == 0 || index < count as usize)
                    && (age_s == 0 || *age <= age_s as i64)
                    && (total_bytes == 0 || total <= total_bytes);
                if !kept {
                    wanted.insert(0, format!("a.{}", index + 1));
                }
            }
            prop_assert_eq!(names, wanted);
        }

        /// Extreme numbers neither panic nor delete what no limit names.
        #[test]
        fn any_numbers_are_survived(len: u64, mtime_ns: i64, now_ns: i64, count: u32, age_s: u64, total_bytes: u64) {
            let file = |name: &str| Entry { name: name.into(), inode: 1, len_bytes: len, mtime_ns, is_file: true };
            let family = Family::read(OsStr::new("a"), &Scheme::Numbered, vec![file("a"), file("a.1"), file("a.2")]);
            let limits = Retention { count, age_s, total_bytes };
            let gone = expired(&family, &limits, now_ns);
            prop_assert!(gone.len() <= 2);
            prop_assert!(!limits.is_unlimited() || gone.is_empty());
        }
    }
}
