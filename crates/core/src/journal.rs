//! The phase word: what the holder of the lease is in the middle of.
//!
//! It is stored last when something begins and changed first when it is over, so that whoever takes the lease of a
//! dead holder knows which state it left. Each phase is a named crash state; `recover` has one arm for each.

use std::sync::atomic::Ordering;

use crate::layout::{Control, Intent};

/// What is under way. The names are those of STATE.md and of the crash tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing: every record before a queue's `drained` is in its file, none after it is.
    Idle,
    /// A window is chosen; files marked done are written, no other is.
    Window,
    /// The intent with this index is being written to its file: none, a part or all of it is there.
    Writing(usize),
    /// The intent with this index went to a file that had been moved away, and is being taken back.
    Undo(usize),
    /// All files of the window that could be written are; cursors are being advanced.
    Commit,
    /// A rotation is under way; its steps find out by themselves how far it went.
    Rotate,
    /// The rotated file's ledger is archived; the ledger of the new file begins.
    Rotated,
    /// A word that this version does not know: nothing can be said of the window.
    Unknown,
}

impl Phase {
    fn word(self) -> u64 {
        match self {
            Phase::Idle => 0,
            Phase::Window => 1,
            Phase::Writing(copy) => 2 + copy as u64,
            Phase::Commit => 4,
            Phase::Undo(copy) => 5 + copy as u64,
            Phase::Rotate => 7,
            Phase::Rotated => 8,
            Phase::Unknown => u64::MAX,
        }
    }

    fn from_word(word: u64) -> Phase {
        match word {
            0 => Phase::Idle,
            1 => Phase::Window,
            2 | 3 => Phase::Writing(word as usize - 2),
            4 => Phase::Commit,
            5 | 6 => Phase::Undo(word as usize - 5),
            7 => Phase::Rotate,
            8 => Phase::Rotated,
            _ => Phase::Unknown,
        }
    }
}

pub(crate) fn phase(control: &Control) -> Phase {
    // ORDERING: pairs with `enter`: what the phase speaks of was stored before it.
    Phase::from_word(control.phase.load(Ordering::Acquire))
}

/// Begins a phase. All that it speaks of has been stored before.
#[inline]
pub(crate) fn enter(control: &Control, phase: Phase) {
    // ORDERING: release, so that a successor that sees the phase sees what it speaks of.
    control.phase.store(phase.word(), Ordering::Release);
}

/// An intent as values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IntentValues {
    pub file: u16,
    pub skip: u32,
    pub dev: u64,
    pub ino: u64,
    pub offset: u64,
    pub len: u64,
    pub after_len: u64,
    pub after_count: u64,
    pub after_crc: u64,
}

impl Intent {
    #[inline]
    pub fn store(&self, values: &IntentValues) {
        self.file.store(u32::from(values.file), Ordering::Relaxed);
        self.skip.store(values.skip, Ordering::Relaxed);
        self.dev.store(values.dev, Ordering::Relaxed);
        self.ino.store(values.ino, Ordering::Relaxed);
        self.offset.store(values.offset, Ordering::Relaxed);
        self.len.store(values.len, Ordering::Relaxed);
        self.after_len.store(values.after_len, Ordering::Relaxed);
        self.after_count
            .store(values.after_count, Ordering::Relaxed);
        self.after_crc.store(values.after_crc, Ordering::Relaxed);
    }

    pub fn load(&self) -> IntentValues {
        IntentValues {
            file: self.file.load(Ordering::Relaxed) as u16,
            skip: self.skip.load(Ordering::Relaxed),
            dev: self.dev.load(Ordering::Relaxed),
            ino: self.ino.load(Ordering::Relaxed),
            offset: self.offset.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            after_len: self.after_len.load(Ordering::Relaxed),
            after_count: self.after_count.load(Ordering::Relaxed),
            after_crc: self.after_crc.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_survives_its_word_and_an_unknown_one_is_named_so() {
        let known = [
            Phase::Idle,
            Phase::Window,
            Phase::Writing(0),
            Phase::Writing(1),
            Phase::Undo(0),
            Phase::Undo(1),
            Phase::Commit,
            Phase::Rotate,
            Phase::Rotated,
        ];
        for phase in known {
            assert_eq!(Phase::from_word(phase.word()), phase);
        }
        assert_eq!(Phase::from_word(99), Phase::Unknown);
    }
}
