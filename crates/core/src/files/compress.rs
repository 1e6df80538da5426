//! Compresses an archive, outside of any lock, and puts the result in its place, under the caller's lease.
//!
//! The work goes into `.<archive>.gz.part` in the same directory. Making it needs no lock, takes as long as it takes
//! and changes nothing else: on any error, and when a [`Compressed`] is dropped, the part is removed and the archive is
//! as it was. [`Compressed::commit`] then renames the part and removes the archive, if that still is the file that was
//! read. Memory is bounded: buffers of 64 KiB and the encoder's window (about 256 KiB for gzip, 4 MiB for zstd).
//!
//! ```text
//! archive                       before, and while the part is written
//! archive + .archive.gz.part    a process that dies here leaves a part: removed by `remove_abandoned`
//! archive + archive.gz          a process that dies here leaves both: `Family::unfinished_copies` names the copy, to be
//!                               removed under the lease: a living commit passes through this state
//! archive.gz                    after
//! ```
//!
//! A part is locked (`flock`) by the process that writes it, and the kernel drops the lock with the process. A child
//! forked meanwhile keeps the lock while it lives: the leftover then stays until the child has ended, no harm is done.

#![cfg_attr(
    not(any(feature = "gzip", feature = "zstd")),
    allow(dead_code, unused_variables)
)]

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::naming::{self, Scheme};
use crate::error::{Error, ErrorKind};
use crate::fs::{rename_new, sync_directory};

/// How archives are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compress {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952), `.gz`. Needs the feature `gzip`.
    Gzip,
    /// Zstandard (RFC 8878) with a checksum, `.zst`. Needs the feature `zstd`.
    Zstd,
}

impl Compress {
    /// What a compressed archive adds to its name, with the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Compress::None => "",
            Compress::Gzip => ".gz",
            Compress::Zstd => ".zst",
        }
    }

    /// Whether this build can compress so.
    pub fn is_available(self) -> bool {
        match self {
            Compress::None => true,
            Compress::Gzip => cfg!(feature = "gzip"),
            Compress::Zstd => cfg!(feature = "zstd"),
        }
    }
}

const PART_EXTENSION: &[u8] = b".part";
const BUFFER_BYTES: usize = 64 * 1024;

/// A compressed archive that is not in place yet. Dropping it removes it.
#[derive(Debug)]
#[must_use = "dropping it throws the work away"]
pub struct Compressed {
    part: PathBuf,
    /// Holds the lock that says the part is alive.
    file: File,
    source: Facts,
    compress: Compress,
    sync: bool,
    in_place: bool,
}

/// What tells whether a file still is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    device: u64,
    inode: u64,
    len_bytes: u64,
    mtime_ns: (i64, i64),
}

impl Facts {
    fn of(file: &Metadata) -> Facts {
        let mtime_ns = (file.mtime(), file.mtime_nsec());
        Facts {
            device: file.dev(),
            inode: file.ino(),
            len_bytes: file.len(),
            mtime_ns,
        }
    }
}

/// What [`Compressed::commit`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The archive now has this path.
    InPlace(PathBuf),
    /// The file there is another by now, has been written to, or its compressed name is taken. Nothing was changed and
    /// the work was thrown away.
    Discarded,
}

/// Compresses the archive `source` into a part beside it, with its mode, owner (as far as permitted) and modification
/// time; with `sync` it is on the disk before this returns. Call it without any lock.
///
/// Only a regular file that nobody writes to is compressed: a link is refused, and so is a file that changes meanwhile.
///
/// `goes_on` is asked between buffers; when it says no the work is given up with [`ErrorKind::Busy`] (a fork must not wait
/// for a long archive).
pub fn compress(
    source: &Path,
    compress: Compress,
    sync: bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<Compressed, Error> {
    if compress == Compress::None || !compress.is_available() {
        let cause = "this build cannot compress so; build with the feature `gzip` or `zstd`";
        return Err(refused(ErrorKind::Invalid, "compress", source, cause));
    }
    let (mut input, before) = open_source(source)?;
    let part = part_path(source, compress);
    let file = create_part(&part)?;
    let compressed = Compressed {
        part,
        file,
        source: Facts::of(&before),
        compress,
        sync,
        in_place: false,
    };
    let mut reader = Source {
        file: &mut input,
        goes_on,
    };
    encode(&mut reader, &compressed).map_err(|failure| failure.named(source, &compressed.part))?;
    let after = input
        .metadata()
        .map_err(|cause| Error::io("examine", source, &cause))?;
    if Facts::of(&after) != compressed.source {
        return Err(refused(
            ErrorKind::Busy,
            "compress",
            source,
            "it is still being written to; try again later",
        ));
    }
    compressed
        .finish(&before)
        .map_err(|cause| Error::io("finish", &compressed.part, &cause))?;
    Ok(compressed)
}

impl Compressed {
    /// Inode of the archive that was read; [`Family::by_inode`](super::naming::Family::by_inode) finds its present name.
    pub fn source_inode(&self) -> u64 {
        self.source.inode
    }

    /// The file with the result.
    pub fn part_path(&self) -> &Path {
        &self.part
    }

    /// Puts the result in place of the archive, which is called `source_now` by now (a rotation may have renamed it),
    /// and removes the archive. Call it under the lease. After an error the archive is there as before.
    pub fn commit(mut self, source_now: &Path) -> Result<Committed, Error> {
        let Some(target) = self.target(source_now)? else {
            return Ok(Committed::Discarded);
        };
        match rename_new(&self.part, &target) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(Committed::Discarded);
            }
            Err(cause) => return Err(Error::io("rename", &self.part, &cause)),
            Ok(()) => self.in_place = true,
        }
        // CRASH: archive-and-copy; both are complete, `Family::unfinished_copies` names the copy.
        let removed = self
            .sync_names(&target)
            .and_then(|()| std::fs::remove_file(source_now));
        if let Err(cause) = removed {
            // Two copies would be read twice: back to the archive alone. If this fails too, it is the state above.
            let _ = std::fs::remove_file(&target);
            return Err(Error::io("remove", source_now, &cause));
        }
        Ok(Committed::InPlace(target))
    }

    /// Throws the work away, as dropping it does.
    pub fn discard(self) {}

    /// The name to take, if archive and part still are what they were.
    fn target(&self, source_now: &Path) -> Result<Option<PathBuf>, Error> {
        let source = match source_now.symlink_metadata() {
            Ok(found) => found,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::io("examine", source_now, &cause)),
        };
        if Facts::of(&source) != self.source || !is_at(&self.file, &self.part) {
            return Ok(None);
        }
        Ok(Some(with_extension(source_now, self.compress.extension())))
    }

    /// Gives the part the looks of the archive and, if asked, puts it on the disk.
    fn finish(&self, source: &Metadata) -> io::Result<()> {
        copy_owner_and_mode(&self.file, source)?;
        self.file.set_times(
            FileTimes::new()
                .set_accessed(source.accessed()?)
                .set_modified(source.modified()?),
        )?;
        if self.sync {
            self.file.sync_all()
        } else {
            Ok(())
        }
    }

    /// With `sync`, the new name must be on the disk before the old one goes.
    fn sync_names(&self, target: &Path) -> io::Result<()> {
        if self.sync {
            sync_directory(target)
        } else {
            Ok(())
        }
    }
}

impl Drop for Compressed {
    fn drop(&mut self) {
        if !self.in_place && is_at(&self.file, &self.part) {
            // A part that cannot be removed now is one that `remove_abandoned` finds later.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// The archive whose compression `name` is the part of; None for any other file. Whether the part is a leftover, or
/// somebody is writing it, [`remove_abandoned`] finds out.
pub fn part_source(base: &OsStr, scheme: &Scheme, name: &OsStr) -> Option<OsString> {
    let copy = name
        .as_bytes()
        .strip_prefix(b".")?
        .strip_suffix(PART_EXTENSION)?;
    let (_, compress) = naming::parse_archive_name(base, scheme, OsStr::from_bytes(copy))?;
    let source = copy.strip_suffix(compress.extension().as_bytes())?;
    (compress != Compress::None).then(|| OsString::from_vec(source.to_vec()))
}

/// Removes a part that nobody is writing; false if somebody is, or if there is none.
pub fn remove_abandoned(part: &Path) -> Result<bool, Error> {
    let file = match open_plainly(OpenOptions::new().read(true), part) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(Error::io("open", part, &cause)),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !is_at(&file, part) {
        return Ok(false);
    }
    std::fs::remove_file(part).map_err(|cause| Error::io("remove", part, &cause))?;
    Ok(true)
}

fn refused(kind: ErrorKind, verb: &str, object: &Path, cause: &str) -> Error {
    Error::new(
        kind,
        format!("failed to {verb} `{}`: {cause}", object.display()),
    )
}

/// Opens without following a link or waiting for a pipe's other end.
fn open_plainly(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

fn open_source(source: &Path) -> Result<(File, Metadata), Error> {
    let file = open_plainly(OpenOptions::new().read(true), source).map_err(|cause| match cause
        .raw_os_error()
    {
        Some(libc::ELOOP) => refused(
            ErrorKind::Invalid,
            "compress",
            source,
            "it is a link; name the file itself",
        ),
        _ => Error::io("open", source, &cause),
    })?;
    let found = file
        .metadata()
        .map_err(|cause| Error::io("examine", source, &cause))?;
    if !found.is_file() {
        return Err(refused(
            ErrorKind::Invalid,
            "compress",
            source,
            "it is not a regular file; only those can be",
        ));
    }
    Ok((file, found))
}

fn part_path(source: &Path, compress: Compress) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(source.file_name().unwrap_or_default());
    name.push(compress.extension());
    name.push(OsStr::from_bytes(PART_EXTENSION));
    source.with_file_name(name)
}

fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(extension);
    name.into()
}

/// Creates and locks a part. A leftover in the way is removed first.
fn create_part(part: &Path) -> Result<File, Error> {
    let create = || {
        open_plainly(
            OpenOptions::new().write(true).create_new(true).mode(0o600),
            part,
        )
    };
    let in_use = || {
        refused(
            ErrorKind::Busy,
            "create",
            part,
            "another process is writing it; leave it to that one",
        )
    };
    let file = match create() {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            if !remove_abandoned(part)? {
                return Err(in_use());
            }
            create()
        }
        answer => answer,
    };
    let file = file.map_err(|cause| Error::io("create", part, &cause))?;
    // A file system without locks answers with another error; there leftovers are kept, as nobody can tell.
    if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        || !is_at(&file, part)
    {
        return Err(in_use());
    }
    Ok(file)
}

/// Whether the path, not followed, is this open file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), path.symlink_metadata()) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// Without the right to give the file away it stays ours; a group that is not the archive's then gets no access.
fn copy_owner_and_mode(file: &File, source: &Metadata) -> io::Result<()> {
    let mut mode = source.mode() & 0o777;
    let given = fchown(file, Some(source.uid()), Some(source.gid()))
        .or_else(|_| fchown(file, None, Some(source.gid())));
    if given.is_err() && file.metadata()?.gid() != source.gid() {
        mode &= 0o707;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// The archive being read. Remembers which of the two files an error is about.
struct Source<'a> {
    file: &'a mut File,
    goes_on: &'a dyn Fn() -> bool,
}

/// An error while reading the archive or writing the part.
enum Failure {
    Read(io::Error),
    Write(io::Error),
    GivenUp,
}

impl Failure {
    fn named(&self, source: &Path, part: &Path) -> Error {
        match self {
            Failure::Read(cause) => Error::io("read", source, cause),
            Failure::Write(cause) => Error::io("write", part, cause),
            Failure::GivenUp => refused(
                ErrorKind::Busy,
                "compress",
                source,
                "it was given up for now",
            ),
        }
    }
}

impl Source<'_> {
    /// Passes everything on to `encoder`.
    fn copy_to(&mut self, encoder: &mut impl Write) -> Result<(), Failure> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if !(self.goes_on)() {
                return Err(Failure::GivenUp);
            }
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => encoder
                    .write_all(&buffer[..count])
                    .map_err(Failure::Write)?,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(Failure::Read(cause)),
            }
        }
    }
}

fn encode(source: &mut Source<'_>, compressed: &Compressed) -> Result<(), Failure> {
    match compressed.compress {
        #[cfg(feature = "gzip")]
        Compress::Gzip => {
            let mtime_s = u32::try_from(compressed.source.mtime_ns.0).unwrap_or(0);
            let header = flate2::GzBuilder::new().mtime(mtime_s);
            let out = buffered(&compressed.file);
            let mut encoder = header.write(out, flate2::Compression::default());
            source.copy_to(&mut encoder)?;
            let finished = encoder.finish();
            finished
                .and_then(|mut out| out.flush())
                .map_err(Failure::Write)
        }
        #[cfg(feature = "zstd")]
        Compress::Zstd => {
            let out = buffered(&compressed.file);
            let mut encoder = zstd::Encoder::new(out, 3).map_err(Failure::Write)?;
            encoder.include_checksum(true).map_err(Failure::Write)?;
            source.copy_to(&mut encoder)?;
            let finished = encoder.finish();
            finished
                .and_then(|mut out| out.flush())
                .map_err(Failure::Write)
        }
        _ => Err(Failure::Read(io::ErrorKind::Unsupported.into())),
    }
}

fn buffered(file: &File) -> io::BufWriter<&File> {
    io::BufWriter::with_capacity(BUFFER_BYTES, file)
}

#[cfg(all(test, any(feature = "gzip", feature = "zstd")))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    const KINDS: [Compress; 2] = [Compress::Gzip, Compress::Zstd];

    fn kinds() -> impl Iterator<Item = Compress> {
        KINDS.into_iter().filter(|kind| kind.is_available())
    }

    /// A directory with an archive `app.log.1`.
    fn archive(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log.1");
        std::fs::write(&path, content).unwrap();
        (directory, path)
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = directory
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn decoded(path: &Path) -> Vec<u8> {
        let mut content = Vec::new();
        match path.extension().and_then(OsStr::to_str) {
            #[cfg(feature = "gzip")]
            Some("gz") => {
                flate2::read::MultiGzDecoder::new(File::open(path).unwrap())
                    .read_to_end(&mut content)
                    .unwrap();
            }
            #[cfg(feature = "zstd")]
            Some("zst") => {
                zstd::stream::copy_decode(File::open(path).unwrap(), &mut content).unwrap()
            }
            other => panic!("{other:?}"),
        }
        content
    }

    #[test]
    fn an_archive_is_replaced_by_its_compressed_self_with_the_same_looks() {
        for kind in kinds() {
            let noise = (0..300_000_u64).map(|n| ((n * n) >> 7) as u8).collect();
            for content in [
                b"".to_vec(),
                b"one\n".to_vec(),
                vec![b'x'; 1_000_000],
                noise,
            ] {
                let (directory, path) = archive(&content);
                std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
                let mtime =
                    SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
                File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(mtime)
                    .unwrap();
                let made = compress(&path, kind, true, &|| true).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), content);
                let Committed::InPlace(place) = made.commit(&path).unwrap() else {
                    panic!("discarded")
                };
                assert_eq!(
                    names(directory.path()),
                    [format!("app.log.1{}", kind.extension())]
                );
                assert_eq!(decoded(&place), content);
                let found = place.metadata().unwrap();
                assert_eq!(
                    (found.mode() & 0o777, found.modified().unwrap()),
                    (0o640, mtime)
                );
            }
        }
    }

    #[test]
    fn an_archive_renamed_meanwhile_is_committed_under_its_new_name() {
        for kind in kinds() {
            let (directory, path) = archive(b"text");
            let made = compress(&path, kind, false, &|| true).unwrap();
            let moved = directory.path().join("app.log.2");
            std::fs::rename(&path, &moved).unwrap();
            assert_eq!(made.source_inode(), moved.metadata().unwrap().ino());
            assert!(matches!(
                made.commit(&moved).unwrap(),
                Committed::InPlace(_)
            ));
            assert_eq!(
                names(directory.path()),
                [format!("app.log.2{}", kind.extension())]
            );
        }
    }

    #[test]
    fn the_work_is_discarded_when_the_archive_is_another_was_written_to_or_is_gone() {
        for kind in kinds() {
            let changes: [fn(&Path); 3] = [
                |path| {
                    std::fs::rename(path, path.with_file_name("moved")).unwrap();
                    std::fs::write(path, "text").unwrap();
                },
                |path| {
                    File::options()
                        .append(true)
                        .open(path)
                        .unwrap()
                        .write_all(b"more")
                        .unwrap()
                },
                |path| std::fs::remove_file(path).unwrap(),
            ];
            for change in changes {
                let (directory, path) = archive(b"text");
                let made = compress(&path, kind, false, &|| true).unwrap();
                change(&path);
                let before: Vec<String> = names(directory.path())
                    .into_iter()
                    .filter(|name| !name.ends_with(".part"))
                    .collect();
                assert_eq!(made.commit(&path).unwrap(), Committed::Discarded);
                assert_eq!(names(directory.path()), before);
            }
        }
    }

    #[test]
    fn a_compressed_name_that_is_taken_is_not_overwritten() {
        for kind in kinds() {
            let (_directory, path) = archive(b"text");
            let taken = with_extension(&path, kind.extension());
            std::fs::write(&taken, "foreign").unwrap();
            assert_eq!(
                compress(&path, kind, false, &|| true)
                    .unwrap()
                    .commit(&path)
                    .unwrap(),
                Committed::Discarded
            );
            assert_eq!(std::fs::read(&taken).unwrap(), b"foreign");
            assert_eq!(std::fs::read(&path).unwrap(), b"text");
        }
    }

    #[test]
    fn dropping_the_work_removes_the_part_only() {
        for kind in kinds() {
            let (directory, path) = archive(b"text");
            let made = compress(&path, kind, false, &|| true).unwrap();
            assert_eq!(
                names(directory.path()),
                [
                    format!(".app.log.1{}.part", kind.extension()),
                    "app.log.1".into()
                ]
            );
            made.discard();
            assert_eq!(names(directory.path()), ["app.log.1"]);
        }
    }

    #[test]
    fn a_leftover_is_removed_and_a_part_being_written_is_not() {
        for kind in kinds() {
            let (directory, path) = archive(b"text");
            let part = part_path(&path, kind);
            assert!(!remove_abandoned(&part).unwrap());
            std::fs::write(&part, "half").unwrap();
            let made = compress(&path, kind, false, &|| true).unwrap();
            assert_eq!(made.part_path(), part);
            assert!(!remove_abandoned(&part).unwrap());
            let second = compress(&path, kind, false, &|| true).unwrap_err();
            assert_eq!(second.kind(), ErrorKind::Busy);
            assert!(part.exists());
            made.discard();
            std::fs::write(&part, "half").unwrap();
            assert!(remove_abandoned(&part).unwrap());
            assert_eq!(names(directory.path()), ["app.log.1"]);
        }
    }

    #[test]
    fn links_pipes_and_missing_files_are_refused_by_name() {
        for kind in kinds() {
            let (directory, path) = archive(b"text");
            let link = directory.path().join("app.log.2");
            symlink(&path, &link).unwrap();
            let pipe = directory.path().join("app.log.3");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &pipe,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap();
            for refused in [
                link,
                pipe,
                directory.path().join("app.log.4"),
                directory.path().to_owned(),
            ] {
                let message = compress(&refused, kind, false, &|| true)
                    .unwrap_err()
                    .to_string();
                assert!(
                    message.contains(&format!("`{}`", refused.display())),
                    "{message}"
                );
            }
            assert_eq!(
                names(directory.path()),
                ["app.log.1", "app.log.2", "app.log.3"]
            );
        }
    }

    #[test]
    fn a_link_planted_in_place_of_the_part_is_not_followed() {
        for kind in kinds() {
            let (directory, path) = archive(b"text");
            let victim = directory.path().join("victim");
            std::fs::write(&victim, "precious").unwrap();
            symlink(&victim, part_path(&path, kind)).unwrap();
            assert!(compress(&path, kind, false, &|| true).is_err());
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
            assert_eq!(std::fs::read(&path).unwrap(), b"text");
        }
    }

    #[test]
    fn nothing_is_compressed_by_none() {
        let (directory, path) = archive(b"text");
        assert_eq!(
            compress(&path, Compress::None, false, &|| true)
                .unwrap_err()
                .kind(),
            ErrorKind::Invalid
        );
        assert_eq!(names(directory.path()), ["app.log.1"]);
    }

    #[test]
    fn only_parts_of_this_log_are_recognised() {
        let source =
            |name: &str| part_source(OsStr::new("app.log"), &Scheme::Numbered, OsStr::new(name));
        assert_eq!(source(".app.log.1.gz.part"), Some("app.log.1".into()));
        assert_eq!(source(".app.log.20.zst.part"), Some("app.log.20".into()));
        for other in [
            "app.log.1.gz.part",
            ".app.log.1.part",
            ".app.log.gz.part",
            ".app.log.1.gz",
            ".x.log.1.gz.part",
        ] {
            assert_eq!(source(other), None, "{other}");
        }
    }
}
