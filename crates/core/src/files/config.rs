//! A file's configuration in shared memory, and as values.
//!
//! Any member may hold the lease and rotate any file of the domain, so what a log was asked to be is stored beside it. The last
//! process that opens a log says what it is; each word is read on its own, so a change half stored is a mixture of two
//! valid configurations for one batch.

use std::sync::atomic::Ordering;

use super::compress::Compress;
use super::naming::{Scheme, Suffix};
use super::retention::Retention;
use super::schedule::Schedule;
use crate::format::{Encoder, Format};
use crate::fs::Newborn;
use crate::layout::FileConfig;
use crate::options::{Durability, LogOptions, SpoolFull};

pub(crate) const FLAG_HOOKS: u64 = 1;
pub(crate) const FLAG_DURABLE: u64 = 2;
pub(crate) const FLAG_WATCH: u64 = 4;
const FLAG_TIMED_NAMES: u64 = 8;
const FLAG_HAS_MODE: u64 = 16;
const FLAG_HAS_OWNER: u64 = 32;
/// The file is a spool: its archives are counted, and deleted only as `SPOOL_SHIFT` says.
const FLAG_SPOOL: u64 = 64;
const COMPRESS_SHIFT: u32 = 8;
const SPOOL_SHIFT: u32 = 16;
const FORMAT_SHIFT: u32 = 12;
/// In the format: black boxes are only copied to this file.
const COPIES: u64 = 8;

/// What is needed for every window, without the parts that only a rotation needs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Config {
    pub flags: u64,
    pub max_bytes: u64,
    pub backup_count: u32,
    pub preamble_len: usize,
    preamble: u64,
    create_mode: u32,
    owner: (u32, u32),
}

impl Config {
    #[inline]
    pub fn load(words: &FileConfig) -> Config {
        Config {
            flags: words.flags.load(Ordering::Acquire),
            max_bytes: words.max_bytes.load(Ordering::Relaxed),
            backup_count: words.backup_count.load(Ordering::Relaxed) as u32,
            preamble_len: (words.preamble_len.load(Ordering::Relaxed) as usize).min(4),
            preamble: words.preamble.load(Ordering::Relaxed),
            create_mode: words.create_mode.load(Ordering::Relaxed),
            owner: (
                words.owner_uid.load(Ordering::Relaxed),
                words.owner_gid.load(Ordering::Relaxed),
            ),
        }
    }

    /// A numbered log without archives has nothing to rotate into: the standard library only reopens its file.
    #[inline]
    pub fn rotates_by_size(&self) -> bool {
        const NAMED_FOR_LIFE: u64 = FLAG_TIMED_NAMES | FLAG_SPOOL;
        self.max_bytes > 0 && (self.backup_count > 0 || self.flags & NAMED_FOR_LIFE != 0)
    }

    pub fn has_timed_names(&self) -> bool {
        self.flags & FLAG_TIMED_NAMES != 0
    }

    /// What happens to a spool that is as long as it may be; None: the file is no spool.
    pub fn spool(&self) -> Option<SpoolFull> {
        let full = match self.flags >> SPOOL_SHIFT & 3 {
            1 => SpoolFull::DropNewest,
            2 => SpoolFull::Block,
            _ => SpoolFull::DropOldest,
        };
        (self.flags & FLAG_SPOOL != 0).then_some(full)
    }

    pub fn is_durable(&self) -> bool {
        self.flags & FLAG_DURABLE != 0
    }

    pub fn compress(&self) -> Compress {
        match self.flags >> COMPRESS_SHIFT & 0xf {
            1 => Compress::Gzip,
            2 => Compress::Zstd,
            _ => Compress::None,
        }
    }

    /// Black boxes are the business of another file, and copied to this one.
    pub fn has_copies(&self) -> bool {
        self.flags >> FORMAT_SHIFT & COPIES != 0
    }

    /// How records are written that logboom makes itself; None: not to this file.
    pub fn format(&self) -> Option<Format> {
        match self.flags >> FORMAT_SHIFT & (COPIES - 1) {
            1 => Some(Format::Text { colour: false }),
            2 => Some(Format::Json),
            3 => Some(Format::Logfmt),
            _ => None,
        }
    }

    /// The bytes that an empty file starts with.
    pub fn preamble(&self) -> impl Iterator<Item = u8> + use<> {
        (self.preamble as u32)
            .to_le_bytes()
            .into_iter()
            .take(self.preamble_len)
    }

    pub fn newborn(&self) -> Newborn {
        Newborn {
            mode: (self.flags & FLAG_HAS_MODE != 0).then_some(self.create_mode),
            owner: (self.flags & FLAG_HAS_OWNER != 0).then_some(self.owner),
        }
    }
}

/// Stores what a log is asked to be.
pub(crate) fn store(words: &FileConfig, options: &LogOptions) {
    let mut flags = match options.compress {
        Compress::None => 0,
        Compress::Gzip => 1 << COMPRESS_SHIFT,
        Compress::Zstd => 2 << COMPRESS_SHIFT,
    };
    flags |= match options.encoder.as_ref().map(Encoder::format) {
        None => 0,
        Some(Format::Text { .. }) => 1 << FORMAT_SHIFT,
        Some(Format::Json) => 2 << FORMAT_SHIFT,
        Some(Format::Logfmt) => 3 << FORMAT_SHIFT,
    };
    if options.encoder.is_some() && options.black_box_copies {
        flags |= COPIES << FORMAT_SHIFT;
    }
    flags |= match options.spool {
        None => 0,
        Some(SpoolFull::DropOldest) => FLAG_SPOOL,
        Some(SpoolFull::DropNewest) => FLAG_SPOOL | 1 << SPOOL_SHIFT,
        Some(SpoolFull::Block) => FLAG_SPOOL | 2 << SPOOL_SHIFT,
    };
    let switches = [
        (options.hooks, FLAG_HOOKS),
        (options.durability == Durability::Disk, FLAG_DURABLE),
        (options.watch, FLAG_WATCH),
        (options.has_timed_names(), FLAG_TIMED_NAMES),
        (options.create_mode.is_some(), FLAG_HAS_MODE),
        (options.owner.is_some(), FLAG_HAS_OWNER),
    ];
    flags |= switches
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, flag)| flag)
        .sum::<u64>();
    let schedule = options.schedule.as_ref().map_or([0, 0], Schedule::to_words);
    for (word, value) in words.schedule.iter().zip(schedule) {
        word.store(value, Ordering::Relaxed);
    }
    let mut preamble = [0; 8];
    preamble[..options.preamble.len().min(4)]
        .copy_from_slice(&options.preamble[..options.preamble.len().min(4)]);
    words
        .preamble
        .store(u64::from_le_bytes(preamble), Ordering::Relaxed);
    words
        .preamble_len
        .store(options.preamble.len().min(4) as u32, Ordering::Relaxed);
    words.max_bytes.store(options.max_bytes, Ordering::Relaxed);
    words
        .backup_count
        .store(u64::from(options.backup_count), Ordering::Relaxed);
    words
        .keep_age_s
        .store(options.keep_age_s, Ordering::Relaxed);
    words
        .keep_bytes
        .store(options.keep_bytes, Ordering::Relaxed);
    words
        .create_mode
        .store(options.create_mode.unwrap_or(0), Ordering::Relaxed);
    let owner = options.owner.unwrap_or_default();
    words.owner_uid.store(owner.0, Ordering::Relaxed);
    words.owner_gid.store(owner.1, Ordering::Relaxed);
    words.suffix.set(options.suffix_in_force().as_bytes());
    // ORDERING: the flags say which of the others count.
    words.flags.store(flags, Ordering::Release);
}

pub(crate) fn schedule(words: &FileConfig) -> Option<Schedule> {
    let words = [0, 1].map(|index| words.schedule[index].load(Ordering::Relaxed));
    if words == [0, 0] {
        None
    } else {
        Schedule::from_words(words).ok()
    }
}

pub(crate) fn scheme(words: &FileConfig, config: &Config) -> Scheme {
    let suffix = String::from_utf8(words.suffix.to_vec())
        .ok()
        .and_then(|suffix| Suffix::parse(&suffix));
    match suffix {
        _ if config.spool().is_some() => Scheme::Counted,
        Some(suffix) if config.has_timed_names() => Scheme::Timed(suffix),
        _ => Scheme::Numbered,
    }
}

pub(crate) fn retention(words: &FileConfig, config: &Config) -> Retention {
    Retention {
        count: config.backup_count,
        age_s: words.keep_age_s.load(Ordering::Relaxed),
        total_bytes: words.keep_bytes.load(Ordering::Relaxed),
    }
}
