#![doc = include_str!("STATE.md")]
//!
//! The structures below are that document as code; the assertions keep the two from drifting.

use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::shm::Shared;

/// "LOGBOOM" and a NUL, little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"LOGBOOM\0");
pub(crate) const VERSION: u32 = 1;

pub(crate) const SLOTS: usize = 256;
pub(crate) const FILES: usize = 128;
pub(crate) const PATH_BYTES_MAX: usize = 960;
pub(crate) const SEGMENTS: usize = 32;
pub(crate) const ARCHIVES: usize = 48;
pub(crate) const ARCHIVE_SEGMENTS: usize = 6;

/// Requests in flight that are known of a worker.
pub(crate) const REQUESTS: usize = 64;
/// Black boxes that are kept.
pub(crate) const DEATHS: usize = 64;
/// Level rules in force at a time.
pub(crate) const RULES: usize = 16;
/// What is told of the levels of a configuration.
pub(crate) const LEVELS_BYTES_MAX: usize = 2040;
pub(crate) const DEATH_BYTES_MAX: usize = 65536 - 32;

pub(crate) const CONTROL_AT: usize = 4096;
pub(crate) const SLOTS_AT: usize = 16 * 1024;
pub(crate) const FILES_AT: usize = SLOTS_AT + SLOTS * size_of::<Slot>();
pub(crate) const QUEUES_AT: usize = FILES_AT + FILES * size_of::<FileEntry>();

/// Slot 0 belongs to whoever holds the lease: big records, and records of processes without a slot.
pub(crate) const HOLDER_SLOT: u16 = 0;
/// Length of the holder's queue; a record takes half of it at most, so that it fits wherever the cursors stand.
pub(crate) const HOLDER_QUEUE: u64 = 16 << 20;

/// Page 0: frozen for ever, so that any version can read who wrote the rest.
#[repr(C)]
pub(crate) struct Head {
    pub magic: AtomicU64,
    pub version: AtomicU32,
    pub slots: AtomicU32,
    pub files: AtomicU32,
    _reserved0: AtomicU32,
    pub queue_len: AtomicU64,
    pub total_len: AtomicU64,
    pub domain_id: AtomicU64,
    pub created_ns: AtomicU64,
    pub recorder_len: AtomicU64,
    _reserved1: [AtomicU64; 8],
    /// Alone on its cache line; see `lease`.
    pub lease: AtomicU64,
    _reserved2: [AtomicU64; 7],
    pub directory: Text<960>,
    _reserved3: [AtomicU64; 367],
}

/// Page 1: the journal of the holder and the counters of the domain.
#[repr(C)]
pub(crate) struct Control {
    /// What is under way; see `journal`.
    pub phase: AtomicU64,
    pub intents: [Intent; 2],
    /// Bit per slot: its entries from `window_from` to `window_to` belong to the window.
    pub window_slots: [AtomicU64; 4],
    /// Bit per file: its part of the window is in the file.
    pub window_done: [AtomicU64; 2],
    pub rotation: RotationStep,
    pub written_after: AtomicU64,
    pub epochs: AtomicU64,
    pub slots_used: AtomicU32,
    pub files_used: AtomicU32,
    pub counters: DomainCounters,
    /// Grows with each change of a rule; see `rules`.
    pub rules_generation: AtomicU64,
    /// Numbers of rules given out so far.
    pub rules_made: AtomicU64,
    /// Monotonic time of the last toggle by a signal.
    pub toggled_ns: AtomicU64,
    pub rules: [RuleEntry; RULES],
    /// The levels that the configuration sets, for people: `COMPONENT=LEVEL` a line, levels as numbers of Python's; without
    /// a component the level of all others, with `*` that of the recorder.
    pub levels: Text<LEVELS_BYTES_MAX>,
    /// Process id of whoever was the relay last; the lock says whether it is.
    pub relay_process: AtomicU64,
}

/// A level rule: 512 bytes.
#[repr(C)]
pub(crate) struct RuleEntry {
    /// See `seal`; a token has the rule's number in its high 24 bits, below when it ends (1/64 s, wall clock; 0: never).
    pub state: AtomicU64,
    /// Lowest severity that the rule reveals.
    pub severity: AtomicU64,
    pub flags: AtomicU64,
    pub made_ns: AtomicU64,
    _reserved2: AtomicU64,
    /// The worker that it is for; 0: all.
    pub worker: AtomicU64,
    pub maker: AtomicU64,
    _reserved0: AtomicU64,
    pub component: Text<120>,
    pub condition: Text<192>,
    pub made_by: Text<64>,
    _reserved1: [AtomicU64; 6],
}

/// One write that is about to happen.
#[repr(C)]
pub(crate) struct Intent {
    pub file: AtomicU32,
    /// Items of the file's part that are in the file already, after a torn prefix was found.
    pub skip: AtomicU32,
    pub dev: AtomicU64,
    pub ino: AtomicU64,
    pub offset: AtomicU64,
    pub len: AtomicU64,
    /// The open segment of the file's ledger as it will be.
    pub after_len: AtomicU64,
    pub after_count: AtomicU64,
    pub after_crc: AtomicU64,
}

/// A rotation that is under way.
#[repr(C)]
pub(crate) struct RotationStep {
    pub file: AtomicU32,
    _reserved: AtomicU32,
    /// The inode that is being rotated out: a step is done when the path is no longer it.
    pub dev: AtomicU64,
    pub ino: AtomicU64,
    pub number: AtomicU64,
    /// The boundary for which the archive is named.
    pub boundary_s: AtomicU64,
}

/// What happened in the domain, for `status`.
#[repr(C)]
pub(crate) struct DomainCounters {
    pub holds: AtomicU64,
    pub hold_ns_max: AtomicU64,
    pub steals: AtomicU64,
    pub recoveries: AtomicU64,
    pub recovered_found: AtomicU64,
    pub recovered_completed: AtomicU64,
    pub recovered_rewritten: AtomicU64,
    pub recovered_after_foreign: AtomicU64,
    pub truncated_under_intent: AtomicU64,
    pub undone: AtomicU64,
    pub left_misplaced: AtomicU64,
    pub corrupt_rings: AtomicU64,
    pub departed_published: AtomicU64,
    pub departed_dropped: [AtomicU64; 8],
    pub written: AtomicU64,
    pub cut: AtomicU64,
    /// Black boxes that were written.
    pub deaths: AtomicU64,
}

/// A worker's place in the domain: 2 KiB.
#[repr(C)]
pub(crate) struct Slot {
    /// Epoch in the high 32 bits, `SLOT_*` in the low ones.
    pub state: AtomicU64,
    pub pid: AtomicU32,
    _reserved0: AtomicU32,
    /// Start time of the process in clock ticks since boot (proc(5), field 22).
    pub start_time: AtomicU64,
    /// Inode of its pid namespace.
    pub pid_namespace: AtomicU64,
    pub joined_ns: AtomicU64,
    /// Bit per file: this process rotates it with its own code.
    pub hooks: [AtomicU64; 2],
    _reserved1: AtomicU64,
    /// Written by the worker alone.
    pub tail: AtomicU64,
    pub published: AtomicU64,
    pub published_bytes: AtomicU64,
    _reserved4: [AtomicU64; 5],
    /// Written by the holder alone.
    pub drained: AtomicU64,
    pub window_from: AtomicU64,
    pub window_to: AtomicU64,
    _reserved2: [AtomicU64; 5],
    /// By `DropReason`.
    pub dropped: [AtomicU64; 8],
    pub aside: Aside,
    /// Records of each file so far: the sequence numbers of ledger ids.
    pub file_seq: [AtomicU64; FILES],
}

impl Slot {
    /// A worker has the place, living or dead.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state.load(Ordering::Acquire) & 0xff == SLOT_LIVE
    }

    /// Nobody has it.
    pub fn is_free(&self) -> bool {
        self.state.load(Ordering::Acquire) & 0xff == SLOT_FREE
    }

    /// Everything that was published is out of the queue.
    #[inline]
    pub fn is_drained(&self) -> bool {
        self.tail.load(Ordering::Acquire) == self.drained.load(Ordering::Acquire)
    }
}

/// What is told of a worker when it is dead; see `blackbox`.
#[repr(C)]
pub(crate) struct Aside {
    /// `ASIDE_*`: what this worker uses.
    pub flags: AtomicU64,
    /// Monotonic time when the worker was first found dead; 0: it was not.
    pub dead_since_ns: AtomicU64,
    /// Requests for which there was no room.
    pub requests_missed: AtomicU64,
    /// The recorder's oldest whole entry, its end, and how many entries were overwritten.
    pub recorder_oldest: AtomicU64,
    pub recorder_tail: AtomicU64,
    pub recorder_overwritten: AtomicU64,
    /// Entries recorded so far in this life of the place: the number of the last one.
    pub recorder_number: AtomicU64,
    /// Where the queue stood when this worker took the place.
    pub queue_start: AtomicU64,
    /// Bytes of captured standard output and error that this worker has made records of.
    pub output_read: [Progress; 2],
    /// Bytes of them that others have, since it is dead.
    pub output_told: [Progress; 2],
    /// Requests that died and have their access record; logs that have their copy of the black box.
    pub requests_told: Progress,
    pub copies_told: Progress,
    /// 1: its black box is told.
    pub box_told: Progress,
    /// Why the worker expects to die; empty: it does not.
    pub dying: Text<120>,
    _reserved: [AtomicU64; 51],
}

/// How much of something is records; see `mark`.
#[repr(C)]
pub(crate) struct Progress {
    /// So much is.
    pub done: AtomicU64,
    /// Where a queue's tail must be for `next` to be: 0 for nowhere, the lowest bit for the holder's queue.
    pub until: AtomicU64,
    pub next: AtomicU64,
}

/// The worker has a table of requests in flight.
pub(crate) const ASIDE_REQUESTS: u64 = 1;
/// The worker has a recorder, which may be off.
pub(crate) const ASIDE_RECORDER: u64 = 2;
/// The worker records what it logs.
pub(crate) const ASIDE_RECORDING: u64 = 16;
/// Its standard output (and, shifted by one, error) is captured in a file beside the state.
pub(crate) const ASIDE_OUTPUT: u64 = 4;
/// Of slot 0: something is noted of a record in its queue that may not count yet.
pub(crate) const ASIDE_MARKING: u64 = 32;

/// A request in flight: 512 bytes.
#[repr(C)]
pub(crate) struct RequestEntry {
    /// 0 free, 1 being filled, else the token of the request.
    pub state: AtomicU64,
    pub started_ns: AtomicU64,
    pub thread: AtomicU64,
    /// Where the tail of the worker's queue must be for the request to be over; 0: nowhere.
    pub over: AtomicU64,
    pub id: Text<120>,
    pub method: Text<24>,
    pub path: Text<248>,
    pub client: Text<56>,
}

/// The black box of a dead worker, as a JSON line: 64 KiB.
#[repr(C)]
pub(crate) struct DeathEntry {
    /// Counts from 1; 0: the entry was never used, or is being written.
    pub number: AtomicU64,
    pub time_ns: AtomicU64,
    /// Slot and epoch of the worker, as a lease word has its owner.
    pub worker: AtomicU64,
    pub text: Text<DEATH_BYTES_MAX>,
}

pub(crate) const SLOT_FREE: u64 = 0;
pub(crate) const SLOT_LIVE: u64 = 1;

/// A log file of the domain: 16 KiB.
#[repr(C)]
pub(crate) struct FileEntry {
    pub state: AtomicU32,
    _reserved0: AtomicU32,
    pub path: Text<PATH_BYTES_MAX>,
    _reserved1: [AtomicU64; 6],
    pub config: FileConfig,
    pub live: FileLive,
    pub ledgers: [Ledger; 2],
    pub archives: [ArchiveLedger; ARCHIVES],
    _reserved2: [AtomicU64; 64],
}

pub(crate) const FILE_FREE: u32 = 0;
pub(crate) const FILE_READY: u32 = 2;

/// What the file's owner asked for; each word is read on its own.
#[repr(C)]
pub(crate) struct FileConfig {
    pub flags: AtomicU64,
    pub max_bytes: AtomicU64,
    pub backup_count: AtomicU64,
    pub schedule: [AtomicU64; 2],
    pub keep_age_s: AtomicU64,
    pub keep_bytes: AtomicU64,
    pub create_mode: AtomicU32,
    pub owner_uid: AtomicU32,
    pub owner_gid: AtomicU32,
    pub preamble_len: AtomicU32,
    pub preamble: AtomicU64,
    pub suffix: Text<56>,
    _reserved: [AtomicU64; 14],
}

/// Where the file stands.
#[repr(C)]
pub(crate) struct FileLive {
    pub dev: AtomicU64,
    pub ino: AtomicU64,
    /// When timed rotation is next due, seconds since the epoch; 0: not computed.
    pub rollover_at: AtomicU64,
    pub rotations: AtomicU64,
    pub outside_rotations: AtomicU64,
    /// ROTATION_DUE: 0, or the monotonic time since when a process with the hooks is wanted.
    pub due_since: AtomicU64,
    /// A process rotates with its own code: its slot and epoch, as the owner part of a lease word; 0: nobody.
    pub rotating_by: AtomicU64,
    pub missing_since: AtomicU64,
    pub errno: AtomicU32,
    /// Why the last rotation failed; 0: it did not.
    pub rotation_errno: AtomicU32,
    pub error_at_ns: AtomicU64,
    pub errors: AtomicU64,
    /// Which of the two ledgers is in force.
    pub ledger_at: AtomicU32,
    pub flags: AtomicU32,
    pub truncations: AtomicU64,
    pub foreign_bytes: AtomicU64,
    /// Bytes of the first pending record that a pipe has taken already.
    pub pipe_written: AtomicU64,
    /// Where that record ends in which queue; 0: none is begun.
    pub pipe_record_end: AtomicU64,
    pub pipe_record_slot: AtomicU64,
    /// The failure that was spoken of last, when, and whether its end has to be.
    pub said_errno: AtomicU32,
    pub said_and_open: AtomicU32,
    pub said_at_ns: AtomicU64,
    /// A spool is as long as it may be and keeps what it has: new records are refused. 0: there is room.
    pub spool_full: AtomicU64,
    /// What was deleted of a spool before its reader was done with it, to make room.
    pub evicted_records: AtomicU64,
    pub evicted_bytes: AtomicU64,
    _reserved: [AtomicU64; 10],
}

/// A run of bytes of a file whose content is known by its checksum.
#[repr(C)]
pub(crate) struct Segment {
    pub start: AtomicU64,
    pub len: AtomicU64,
    pub count: AtomicU64,
    /// CRC-32 in the low half, `SEGMENT_*` above.
    pub crc: AtomicU64,
}

pub(crate) const SEGMENT_FOREIGN: u64 = 1 << 32;

/// The runs of the current file, the last one open.
#[repr(C)]
pub(crate) struct Ledger {
    pub used: AtomicU64,
    pub granule: AtomicU64,
    pub segments: [Segment; SEGMENTS - 1],
    _reserved: [AtomicU64; 2],
}

/// What is known of a file that was rotated out.
#[repr(C)]
pub(crate) struct ArchiveLedger {
    pub number: AtomicU64,
    pub ino: AtomicU64,
    pub closed_ns: AtomicU64,
    pub used: AtomicU64,
    pub compressed_ino: AtomicU64,
    _reserved: [AtomicU64; 3],
    pub segments: [Segment; ARCHIVE_SEGMENTS],
}

/// A short text in shared memory; a torn read gives garbage text, never a wrong length.
#[repr(C)]
pub(crate) struct Text<const N: usize> {
    len: AtomicU64,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Text<N> {
    pub fn set(&self, text: &[u8]) {
        let text = &text[..text.len().min(N)];
        for (to, from) in self.bytes.iter().zip(text) {
            to.store(*from, Ordering::Relaxed);
        }
        // ORDERING: pairs with `to_vec`.
        self.len.store(text.len() as u64, Ordering::Release);
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let len = (self.len.load(Ordering::Acquire) as usize).min(N);
        self.bytes[..len]
            .iter()
            .map(|byte| byte.load(Ordering::Relaxed))
            .collect()
    }

    pub fn to_path(&self) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(self.to_vec()).into()
    }
}

macro_rules! shared {
    ($($name:ty),*) => {
        $(
            // SAFETY: `repr(C)` and made of atomics only, as the definitions above show.
            unsafe impl Shared for $name {}
        )*
    };
}
shared!(
    Head,
    Control,
    Slot,
    FileEntry,
    EntryWords,
    RequestEntry,
    DeathEntry
);

/// The head of an entry in a queue; see `ring`.
#[repr(C)]
pub(crate) struct EntryWords {
    pub shape: AtomicU64,
    pub time_ns: AtomicU64,
    pub seq: AtomicU64,
    pub check: AtomicU64,
}

const _: () = {
    assert!(size_of::<Head>() == 4096);
    assert!(offset_of!(Head, lease) == 128);
    assert!(offset_of!(Head, directory) == 192);
    assert!(CONTROL_AT + size_of::<Control>() <= SLOTS_AT);
    assert!(size_of::<Slot>() == 2048);
    assert!(offset_of!(Slot, tail) == 64 && offset_of!(Slot, drained) == 128);
    assert!(offset_of!(Slot, aside) == 256 && size_of::<Aside>() == 768);
    assert!(offset_of!(Slot, file_seq) == 1024);
    assert!(size_of::<RuleEntry>() == 512);
    assert!(size_of::<RequestEntry>() == 512);
    assert!(size_of::<DeathEntry>() == 65536);
    assert!(size_of::<Ledger>() == 1024);
    assert!(size_of::<ArchiveLedger>() == 256);
    assert!(size_of::<FileEntry>() == 16384);
    assert!(size_of::<EntryWords>() == 32);
    assert!(QUEUES_AT.is_multiple_of(4096));
};
