//! The files of one log: the current one and its archives, under any naming, plain or compressed, oldest first.
//!
//! Everything in the log's directory belongs to the family except hidden files and `*.lock` (locks and claims of handlers).
//! The order is read from the names where they say it (`.1` is newer than `.2`, dates rise), else from the records' times.
//! A compressed file that is cut gives the bytes before the cut, and says that it is damaged.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::record::Record;

/// One file of the family, read whole.
#[derive(Debug)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its inode number.
    pub inode: u64,
    /// Its birth in nanoseconds of the wall clock, where the file system keeps it.
    pub born_wall_ns: Option<i128>,
    /// True for gzip and zstd: its inode is not the one the records were written to.
    pub compressed: bool,
    /// What it holds, decompressed.
    pub content: Vec<u8>,
    /// Why it could not be decompressed to its end.
    pub damage: Option<String>,
}

impl LogFile {
    /// The file's name without its directory.
    #[must_use]
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The first whole record, from which a file is known again after it was compressed.
    #[must_use]
    pub fn first_record(&self) -> Option<Record> {
        first_record(&self.content)
    }

    /// The middle one of the times at which its records were begun. The first would not do: a record may have waited for long
    /// before it was written.
    fn middle_ns(&self) -> Option<u64> {
        let lines = self.content.split(|&byte| byte == b'\n');
        let mut begun: Vec<_> = lines
            .filter_map(Record::parse_header)
            .map(|record| record.begun_ns)
            .collect();
        begun.sort_unstable();
        begun.get(begun.len() / 2).copied()
    }
}

/// The first record in the bytes of a log, by its header alone.
#[must_use]
pub fn first_record(content: &[u8]) -> Option<Record> {
    content
        .split(|&byte| byte == b'\n')
        .find_map(Record::parse_header)
}

/// Reads all files of the family of the log at `log`, oldest first, the current one last.
///
/// # Errors
/// A file or the directory cannot be read.
pub fn read(log: &Path) -> io::Result<Vec<LogFile>> {
    let directory = log.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !name.starts_with('.') && !name.ends_with(".lock") {
            files.push(read_file(&entry.path())?);
        }
    }
    sort(&mut files, log);
    Ok(files)
}

fn read_file(path: &Path) -> io::Result<LogFile> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?;
    file.read_to_end(&mut bytes)?;
    let inode = file.metadata()?.ino();
    let (content, compressed, damage) = match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => decompress(flate2::read::MultiGzDecoder::new(&bytes[..])),
        Some("zst") => match zstd::Decoder::new(&bytes[..]) {
            Ok(decoder) => decompress(decoder),
            Err(cause) => (Vec::new(), true, Some(cause.to_string())),
        },
        _ => (bytes, false, None),
    };
    Ok(LogFile {
        path: path.to_owned(),
        inode,
        born_wall_ns: born_wall_ns(path),
        compressed,
        content,
        damage,
    })
}

fn decompress(mut decoder: impl Read) -> (Vec<u8>, bool, Option<String>) {
    let mut content = Vec::new();
    let damage = decoder
        .read_to_end(&mut content)
        .err()
        .map(|cause| cause.to_string());
    (content, true, damage)
}

fn born_wall_ns(path: &Path) -> Option<i128> {
    let facts = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).ok()?;
    let known = facts.stx_mask & StatxFlags::BTIME.bits() != 0;
    known.then(|| {
        i128::from(facts.stx_btime.tv_sec) * 1_000_000_000 + i128::from(facts.stx_btime.tv_nsec)
    })
}

/// What a name says about the age of an archive.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// `.1` is the newest: higher numbers come first.
    Number(Reverse<u64>),
    /// A date or a rising counter: as text.
    Text(String),
}

/// Names first; a file whose name says nothing goes before the first one that is younger by its records.
fn sort(files: &mut Vec<LogFile>, log: &Path) {
    let mut named = Vec::new();
    let mut unnamed = Vec::new();
    for file in files.drain(..) {
        match age(&file.path, log) {
            age if age.is_some() || file.path == log => named.push(((file.path == log, age), file)),
            _ => unnamed.push(file),
        }
    }
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let of_one_kind = |pair: &[((bool, Option<Age>), LogFile)]| match (&pair[0].0.1, &pair[1].0.1) {
        (Some(one), Some(other)) => {
            std::mem::discriminant(one) == std::mem::discriminant(other) && one != other
        }
        _ => true,
    };
    let by_name = named.windows(2).all(of_one_kind);
    files.extend(named.into_iter().map(|(_, file)| file));
    if !by_name {
        files.sort_by_cached_key(|file| (file.path == log, file.middle_ns()));
    }
    for file in unnamed {
        let middle_ns = file.middle_ns();
        let younger = |other: &LogFile| other.path == log || other.middle_ns() > middle_ns;
        let index = files.iter().position(younger).unwrap_or(files.len());
        files.insert(index, file);
    }
}

/// Reads `log.N` and `log.DATE`, compressed or not; any other name says nothing.
fn age(path: &Path, log: &Path) -> Option<Age> {
    let name = path.file_name()?.to_str()?;
    let rest = name
        .strip_prefix(log.file_name()?.to_str()?)?
        .strip_prefix('.')?;
    let rest = rest
        .strip_suffix(".gz")
        .or_else(|| rest.strip_suffix(".zst"))
        .unwrap_or(rest);
    if let Ok(number) = rest.parse::<u64>() {
        return Some(Age::Number(Reverse(number)));
    }
    (!rest.contains('.')).then(|| Age::Text(rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::record::Source;
    use super::*;
    use std::io::Write;

    fn line(begun_ns: u64) -> Vec<u8> {
        let source = Source {
            worker: 0,
            incarnation: 0,
            thread: 0,
        };
        [
            Record {
                source,
                number: 0,
                begun_ns,
            }
            .line(b"x"),
            b"\n".to_vec(),
        ]
        .concat()
    }

    fn check_order(names: &[(&str, u64)], expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        for (name, begun_ns) in names {
            fs::write(directory.path().join(name), line(*begun_ns)).unwrap();
        }
        let files = read(&directory.path().join("app.log")).unwrap();
        assert_eq!(
            files.iter().map(LogFile::name).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn files_come_oldest_first() {
        check_order(
            &[
                ("app.log", 1),
                ("app.log.1", 2),
                ("app.log.2", 3),
                ("app.log.10", 4),
            ],
            &["app.log.10", "app.log.2", "app.log.1", "app.log"],
        );
        check_order(
            &[
                ("app.log", 1),
                ("app.log.2026-01-02_03", 2),
                ("app.log.2026-01-02_04", 1),
            ],
            &["app.log.2026-01-02_03", "app.log.2026-01-02_04", "app.log"],
        );
        check_order(
            &[("app.log", 9), ("second.txt", 5), ("app.log.1", 3)],
            &["app.log.1", "second.txt", "app.log"],
        );
        // The names that say something keep their order even where the records' times do not rise.
        check_order(
            &[
                ("app.log.1", 2),
                ("app.log.2", 7),
                ("app.log.3", 1),
                ("left.over", 5),
            ],
            &["app.log.3", "left.over", "app.log.2", "app.log.1"],
        );
        check_order(
            &[
                ("app.log.1", 6),
                ("app.log.2026-01-02_03", 2),
                ("app.log.2026-01-02_04", 4),
            ],
            &[
                "app.log.2026-01-02_03",
                "app.log.2026-01-02_04",
                "app.log.1",
            ],
        );
    }

    #[test]
    fn locks_and_claims_are_no_logs() {
        check_order(
            &[("app.log", 1), (".app.log.claim", 2), ("app.lock", 2)],
            &["app.log"],
        );
    }

    #[test]
    fn compressed_archives_are_read_and_a_cut_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("app.log");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&line(1)).unwrap();
        let gzip = gzip.finish().unwrap();
        fs::write(directory.path().join("app.log.3.gz"), &gzip).unwrap();
        fs::write(
            directory.path().join("app.log.2.gz"),
            &gzip[..gzip.len() - 4],
        )
        .unwrap();
        fs::write(
            directory.path().join("app.log.1.zst"),
            zstd::encode_all(&line(3)[..], 1).unwrap(),
        )
        .unwrap();
        let files = read(&log).unwrap();
        let damaged: Vec<_> = files
            .iter()
            .map(|f| (f.name(), f.content == line(1), f.damage.is_some()))
            .collect();
        let expected = [
            ("app.log.3.gz", true, false),
            ("app.log.2.gz", true, true),
            ("app.log.1.zst", false, false),
        ];
        assert_eq!(
            damaged,
            expected.map(|(name, same, cut)| (name.to_owned(), same, cut))
        );
        assert_eq!(files[2].content, line(3));
    }
}
