//! The account that workers keep while they write, in a file they map and share; it stays true when they are killed.
//!
//! ```text
//! word 0       magic "LBTORT01"          word 2   rotations asked of worker 0
//! word 1       1: the workers shall end  word 3-7 unused
//! word 8 + 8 k thread k: begun, acknowledged, bytes, errors, rotations done, 3 unused
//! ```
//! Words are 64 bits, in the machine's byte order. Thread k is thread `k % threads` of the `k / threads`-th worker process
//! started in this round. This side reads and writes by `pread` and `pwrite`, which see what the workers' mappings hold.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::evaluate;
use super::record::Source;

const MAGIC: u64 = u64::from_ne_bytes(*b"LBTORT01");
const WORD_LEN: u64 = 8;
pub(super) const STOP: u64 = 1;
pub(super) const ROTATE: u64 = 2;
pub(super) const FIRST: u64 = 8;
pub(super) const STRIDE: u64 = 8;

/// The shared account of one round.
#[derive(Debug)]
pub struct Account {
    file: File,
    thread_count: u64,
}

/// The words of one thread, or their sum over several.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Records whose emitting call was about to begin.
    pub begun: u64,
    /// Records whose emitting call had returned.
    pub acknowledged: u64,
    /// Bytes of the acknowledged records.
    pub bytes: u64,
    /// Errors that the handler reported.
    pub errors: u64,
    /// Rotations done by hand.
    pub rotations: u64,
}

impl Account {
    /// Makes the file, with room for `spawns_max` processes of `thread_count` threads.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn create(path: &Path, spawns_max: u32, thread_count: u32) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        let thread_count = u64::from(thread_count);
        file.set_len((FIRST + STRIDE * thread_count * u64::from(spawns_max)) * WORD_LEN)?;
        let account = Self { file, thread_count };
        account.write(0, MAGIC)?;
        Ok(account)
    }

    /// Tells all workers to end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn stop(&self) -> io::Result<()> {
        self.write(STOP, 1)
    }

    /// Asks worker 0 for its next rotation by hand.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn ask_rotation(&self, count: u64) -> io::Result<()> {
        self.write(ROTATE, count)
    }

    /// The words of one thread of the process that was started as number `spawn`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn thread(&self, spawn: u32, thread: u32) -> io::Result<Words> {
        let slot = FIRST + STRIDE * (u64::from(spawn) * self.thread_count + u64::from(thread));
        let mut bytes = [0; 40];
        self.file.read_exact_at(&mut bytes, slot * WORD_LEN)?;
        let word = |index: usize| {
            bytes[index * 8..]
                .first_chunk()
                .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        Ok(Words {
            begun: word(0),
            acknowledged: word(1),
            bytes: word(2),
            errors: word(3),
            rotations: word(4),
        })
    }

    /// The sum over the threads of one process.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn process(&self, spawn: u32) -> io::Result<Words> {
        let mut sum = Words::default();
        for thread in 0..self.thread_count {
            sum.add(self.thread(spawn, thread as u32)?);
        }
        Ok(sum)
    }

    /// What the evaluator is told of one process.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn expected(
        &self,
        spawn: u32,
        worker: u32,
        incarnation: u32,
    ) -> io::Result<Vec<evaluate::Account>> {
        let of_thread = |thread| {
            let words = self.thread(spawn, thread)?;
            let source = Source {
                worker,
                incarnation,
                thread,
            };
            Ok(evaluate::Account {
                source,
                begun: words.begun,
                acknowledged: words.acknowledged,
            })
        };
        (0..self.thread_count as u32).map(of_thread).collect()
    }

    fn write(&self, word: u64, value: u64) -> io::Result<()> {
        self.file
            .write_all_at(&value.to_ne_bytes(), word * WORD_LEN)
    }
}

impl Words {
    /// Adds the words of another thread.
    pub fn add(&mut self, other: Self) {
        self.begun += other.begun;
        self.acknowledged += other.acknowledged;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.rotations += other.rotations;
    }
}
