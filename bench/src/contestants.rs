//! The contestants of the native measurements: each opens a log and takes finished lines.
//!
//! Each process opens its own, as programs without a common parent do. A write that is refused fails the measurement.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use log4rs::append::Append as _;
use logboom::{Log, LogOptions, Outcome, Severity};

/// Length of every record, its line end included.
pub const RECORD_BYTES: usize = 120;

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    /// One `write(2)` with `O_APPEND` for each record.
    Append,
    /// The same after one `stat` of the path: what any safe watcher pays.
    AppendStat,
    /// The same within `flock`.
    AppendFlock,
    /// logboom that does not look for outside rotation.
    Ours,
    /// logboom as it comes.
    OursWatching,
    /// `tracing-appender`, non-blocking and not lossy.
    TracingAppender,
    /// The file appender of `log4rs`.
    Log4rs,
}

impl Contestant {
    /// Everybody, in the order of the tables.
    pub const ALL: [Contestant; 7] = [
        Contestant::Append,
        Contestant::AppendStat,
        Contestant::AppendFlock,
        Contestant::Ours,
        Contestant::OursWatching,
        Contestant::TracingAppender,
        Contestant::Log4rs,
    ];

    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Append => "`write(2)` with `O_APPEND`",
            Contestant::AppendStat => "the same + one `stat` of the path",
            Contestant::AppendFlock => "the same + `flock`",
            Contestant::Ours => "**logboom**, `watch: false`",
            Contestant::OursWatching => "**logboom** (`watch: true`)",
            Contestant::TracingAppender => "`tracing-appender` 0.2, non-blocking",
            Contestant::Log4rs => "`log4rs` 1.4, `FileAppender`",
        }
    }

    /// Whether it is measured with several processes, too.
    pub fn is_for_several_processes(self) -> bool {
        !matches!(self, Contestant::TracingAppender | Contestant::Log4rs)
    }

    /// Opens the log at `path`; ours keep their state in `state`.
    pub fn open(self, path: &Path, state: &logboom::StateDir) -> Result<Box<dyn Writer>> {
        Ok(match self {
            Contestant::Append => Box::new(Append::open(path)?),
            Contestant::AppendStat => Box::new(AppendStat::open(path)?),
            Contestant::AppendFlock => Box::new(AppendFlock(Append::open(path)?)),
            Contestant::Ours => Box::new(Ours::open(path, state, false)?),
            Contestant::OursWatching => Box::new(Ours::open(path, state, true)?),
            Contestant::TracingAppender => Box::new(Tracing::open(path)?),
            Contestant::Log4rs => Box::new(Log4rs::open(path)?),
        })
    }
}

/// An open log.
pub trait Writer {
    /// Takes one line; false: it was refused.
    fn write(&mut self, line: &[u8]) -> bool;

    /// Returns when every line is in the file.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The record of a worker: [`RECORD_BYTES`] long.
pub fn record_of(worker: usize) -> Vec<u8> {
    let mut line =
        format!("INFO shop.checkout worker {worker:02} order 4711 paid in 37 ms ").into_bytes();
    line.resize(RECORD_BYTES - 1, b'.');
    line.push(b'\n');
    line
}

/// Options of our log in the measurements.
pub fn options(state: &logboom::StateDir, watch: bool) -> LogOptions {
    LogOptions {
        watch,
        state_dir: state.clone(),
        ..LogOptions::default()
    }
}

struct Append {
    file: File,
}

impl Append {
    fn open(path: &Path) -> Result<Append> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.with_context(|| format!("failed to open `{}`", path.display()))?;
        Ok(Append { file })
    }
}

impl Writer for Append {
    fn write(&mut self, line: &[u8]) -> bool {
        self.file.write(line).is_ok_and(|n| n == line.len())
    }
}

struct AppendStat {
    append: Append,
    path: CString,
    ino: u64,
}

impl AppendStat {
    fn open(path: &Path) -> Result<AppendStat> {
        let append = Append::open(path)?;
        Ok(AppendStat {
            ino: append.file.metadata()?.ino(),
            path: CString::new(path.as_os_str().as_bytes())?,
            append,
        })
    }

    fn is_in_place(&self) -> bool {
        // SAFETY: `stat` is plain data for which zeroes are a value; the kernel writes it, and the path ends with a zero.
        unsafe {
            let mut facts: libc::stat = std::mem::zeroed();
            libc::stat(self.path.as_ptr(), &mut facts) == 0 && facts.st_ino == self.ino
        }
    }
}

impl Writer for AppendStat {
    fn write(&mut self, line: &[u8]) -> bool {
        self.is_in_place() && self.append.write(line)
    }
}

struct AppendFlock(Append);

impl Writer for AppendFlock {
    fn write(&mut self, line: &[u8]) -> bool {
        let fd = self.0.file.as_raw_fd();
        // SAFETY: the descriptor is open as long as `self`.
        let locked = unsafe { libc::flock(fd, libc::LOCK_EX) } == 0;
        let written = self.0.write(line);
        // SAFETY: as above.
        locked && written && unsafe { libc::flock(fd, libc::LOCK_UN) } == 0
    }
}

struct Ours(Log);

impl Ours {
    fn open(path: &Path, state: &logboom::StateDir, watch: bool) -> Result<Ours> {
        Ok(Ours(Log::open(path, &options(state, watch))?))
    }
}

impl Writer for Ours {
    #[inline]
    fn write(&mut self, line: &[u8]) -> bool {
        self.0.publish(Severity::INFO, line) == Outcome::Published
    }

    fn finish(&mut self) -> Result<()> {
        ensure!(
            self.0.flush(Duration::from_secs(10)),
            "logboom did not empty its queue in 10 s"
        );
        Ok(())
    }
}

struct Tracing {
    writer: tracing_appender::non_blocking::NonBlocking,
    guard: Option<tracing_appender::non_blocking::WorkerGuard>,
}

impl Tracing {
    fn open(path: &Path) -> Result<Tracing> {
        let (directory, name) = (path.parent(), path.file_name());
        let file = tracing_appender::rolling::never(
            directory.context("a path with a directory")?,
            name.context("a path with a name")?,
        );
        let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
            .lossy(false)
            .finish(file);
        Ok(Tracing {
            writer,
            guard: Some(guard),
        })
    }
}

impl Writer for Tracing {
    fn write(&mut self, line: &[u8]) -> bool {
        self.writer.write(line).is_ok_and(|n| n == line.len())
    }

    fn finish(&mut self) -> Result<()> {
        self.guard = None;
        Ok(())
    }
}

struct Log4rs(log4rs::append::file::FileAppender);

impl Log4rs {
    fn open(path: &Path) -> Result<Log4rs> {
        let encoder = log4rs::encode::pattern::PatternEncoder::new("{m}");
        let appender = log4rs::append::file::FileAppender::builder()
            .encoder(Box::new(encoder))
            .build(path)?;
        Ok(Log4rs(appender))
    }
}

impl Writer for Log4rs {
    fn write(&mut self, line: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(line) else {
            return false;
        };
        let mut record = log::Record::builder();
        record.level(log::Level::Info);
        let appended = self.0.append(&record.args(format_args!("{text}")).build());
        appended.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every contestant's records are in its file when it is finished, and they are the same bytes.
    #[test]
    fn all_contestants_write_the_same() {
        for contestant in Contestant::ALL {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("app.log");
            let mut writer = contestant.open(&path, &logboom::StateDir::Beside).unwrap();
            for worker in 0..3 {
                assert!(writer.write(&record_of(worker)), "{contestant:?} refused");
            }
            writer.finish().unwrap();
            let expected = [record_of(0), record_of(1), record_of(2)].concat();
            assert_eq!(std::fs::read(&path).unwrap(), expected, "{contestant:?}");
            assert_eq!(expected.len(), 3 * RECORD_BYTES);
        }
    }
}
