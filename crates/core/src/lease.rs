//! The drain lease: one word that says who drains, whether more has come, and who is next.
//!
//! ```text
//!  63      58   57     56      55 ........ 32  31 ... 16  15 ... 0
//! +----------+-------+---------+--------------+----------+---------+
//! |  unused  | TIRED | PENDING | owner epoch  |   heir   |  owner  |
//! +----------+-------+---------+--------------+----------+---------+
//! ```
//!
//! `owner` and `heir` are slot numbers plus one, so that zero means nobody. Owner, heir and the pending bit
//! share one word that is touched by acquire-release read-modify-writes alone: with two words, or with a plain load
//! as a short cut, a publisher can leave while the holder releases, and a record is stranded (`models` shows it).
//!
//! The protocol:
//!
//! 1. A publisher stores its ring's tail, then calls [`Lease::announce`]. If there is an owner it may leave: the owner
//!    cannot release without seeing the pending bit.
//! 2. With no owner it calls [`Lease::acquire`], drains, and calls [`Lease::release`], which fails while the bit is set.
//! 3. A holder that has drained long enough sets TIRED. A publisher that sees it becomes heir, waits (bounded), and the
//!    holder lets go with [`Lease::hand_over`]; the heir must then take the lease, or withdraw while there is an owner.
//!    Who cannot leave without the lease (a big record, a rotation by hand) queues up as heir of any holder.
//! 4. The lease of a dead owner is taken with [`Lease::steal`]; whether it is dead is the kernel's word, not ours.

use crate::atomics::{AtomicU64, Ordering};

const OWNER: u64 = 0xffff;
const HEIR_SHIFT: u32 = 16;
const HEIR: u64 = 0xffff << HEIR_SHIFT;
const EPOCH_SHIFT: u32 = 32;
const EPOCH: u64 = 0x00ff_ffff << EPOCH_SHIFT;
const PENDING: u64 = 1 << 56;
const TIRED: u64 = 1 << 57;

/// Who may hold the lease: a slot of the domain, in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub slot: u16,
    pub epoch: u32,
}

impl Owner {
    fn bits(self) -> u64 {
        debug_assert!(self.slot < u16::MAX);
        (u64::from(self.slot) + 1) | ((u64::from(self.epoch) << EPOCH_SHIFT) & EPOCH)
    }
}

/// A value that the word had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub u64);

impl Word {
    /// The slot and the low 24 bits of the epoch of the owner, if there is one.
    pub fn owner(self) -> Option<Owner> {
        let slot = self.0 & OWNER;
        (slot != 0).then(|| Owner {
            slot: slot as u16 - 1,
            epoch: ((self.0 & EPOCH) >> EPOCH_SHIFT) as u32,
        })
    }

    /// Owner and epoch in one comparable number, zero for nobody.
    pub fn identity(self) -> u64 {
        self.0 & (OWNER | EPOCH)
    }

    pub fn is_tired(self) -> bool {
        self.0 & TIRED != 0
    }

    #[cfg(test)]
    pub fn is_pending(self) -> bool {
        self.0 & PENDING != 0
    }

    pub fn heir(self) -> Option<u16> {
        let heir = (self.0 & HEIR) >> HEIR_SHIFT;
        (heir != 0).then(|| heir as u16 - 1)
    }
}

/// The lease of one domain, over its word in shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Lease<'a> {
    word: &'a AtomicU64,
}

impl<'a> Lease<'a> {
    pub fn new(word: &'a AtomicU64) -> Lease<'a> {
        Lease { word }
    }

    /// The word of a holder, as another field may keep it.
    pub fn word_of(owner: Owner) -> Word {
        Word(owner.bits())
    }

    /// What the word is now: for display and for bounded waits, never for a decision to leave.
    pub fn peek(self) -> Word {
        // ORDERING: pairs with the release half of every read-modify-write below.
        Word(self.word.load(Ordering::Acquire))
    }

    /// Says that a record has been published. With an owner in the answer, the record will be drained.
    #[inline]
    pub fn announce(self) -> Word {
        // ORDERING: release publishes the tail stored before; pairs with the swap in `release` and with `acquire`.
        Word(self.word.fetch_or(PENDING, Ordering::AcqRel))
    }

    /// Takes the lease if nobody has it. An heir other than `me` goes first only while it is named: the named
    /// heir is written out by whoever takes the lease.
    #[inline]
    pub fn acquire(self, me: Owner) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen & OWNER != 0 {
                return false;
            }
            // ORDERING: acquire pairs with `announce`, so every tail announced before is visible; release orders nothing.
            match self.word.compare_exchange_weak(
                seen,
                me.bits(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the lease from an owner that the kernel says is dead, if it still is the owner.
    pub fn steal(self, dead: Owner, me: Owner) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        while Word(seen).identity() == dead.bits() {
            // ORDERING: acquire pairs with the dead holder's releases of its intent and with `announce`.
            match self.word.compare_exchange_weak(
                seen,
                me.bits(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Lets go if nothing was announced since the last look and nobody waits as heir. On false `me` still holds, the
    /// pending bit has been cleared, and it must drain again.
    #[inline]
    pub fn release(self, me: Owner) -> bool {
        let mut seen = me.bits();
        loop {
            // ORDERING: release publishes the drained cursors to the next holder; pairs with its `acquire`.
            match self
                .word
                .compare_exchange_weak(seen, 0, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) if now & (PENDING | HEIR) == 0 => seen = now,
                Err(_) => break,
            }
        }
        // ORDERING: acquire pairs with `announce`: what was announced is visible to the pass that follows.
        self.word.fetch_and(!(PENDING | TIRED), Ordering::AcqRel);
        false
    }

    /// Says that the pass which follows is the last one, if somebody wants to go on. Clears the pending bit: the pass
    /// sees all that was announced before.
    pub fn tire(self) {
        self.word.fetch_or(TIRED, Ordering::AcqRel);
        // ORDERING: acquire pairs with `announce`, as in `release`.
        self.word.fetch_and(!PENDING, Ordering::AcqRel);
    }

    /// Lets go in favour of the heir, if one is named; the pending bit stays for it. False: nobody waits.
    pub fn hand_over(self, me: Owner) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            debug_assert_eq!(Word(seen).identity(), me.bits());
            if seen & HEIR == 0 {
                return false;
            }
            let next = seen & HEIR | PENDING;
            // ORDERING: release publishes the drained cursors; pairs with the heir's `acquire`.
            match self
                .word
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Names `me` as heir of a tired holder. False: there is no tired holder, or another heir.
    pub fn become_heir(self, me: Owner) -> bool {
        self.name_heir(me, TIRED)
    }

    /// Names `me` as heir of any holder, for one who cannot leave without the lease: the holder hands over after its
    /// present batch. False: there is no holder, or another heir.
    pub fn queue_up(self, me: Owner) -> bool {
        self.name_heir(me, 0)
    }

    fn name_heir(self, me: Owner, needed: u64) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen & OWNER == 0 || seen & needed != needed || seen & HEIR != 0 {
                return false;
            }
            let next = seen | (u64::from(me.slot) + 1) << HEIR_SHIFT;
            match self
                .word
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives up being heir, if there still is an owner (who then drains what is pending). False: the owner has let go
    /// already, and `me` must take the lease.
    pub fn withdraw(self, me: Owner) -> bool {
        let mine = (u64::from(me.slot) + 1) << HEIR_SHIFT;
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen & HEIR != mine {
                return true;
            }
            if seen & OWNER == 0 {
                return false;
            }
            match self.word.compare_exchange_weak(
                seen,
                seen & !HEIR,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const A: Owner = Owner { slot: 0, epoch: 1 };
    const B: Owner = Owner {
        slot: 6,
        epoch: 0x00ab_cdef,
    };

    #[test]
    fn release_fails_while_something_is_pending() {
        let word = AtomicU64::new(0);
        let lease = Lease::new(&word);
        assert!(lease.announce().owner().is_none());
        assert!(lease.acquire(A));
        assert!(!lease.acquire(B));
        assert_eq!(lease.announce().owner(), Some(A));
        assert!(!lease.release(A));
        assert!(lease.release(A));
        assert_eq!(word.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_heir_gets_the_lease_and_what_is_pending() {
        let word = AtomicU64::new(0);
        let lease = Lease::new(&word);
        assert!(lease.acquire(A));
        assert!(!lease.become_heir(B), "nobody is tired yet");
        lease.tire();
        assert!(lease.announce().is_tired());
        assert!(lease.become_heir(B));
        assert!(lease.hand_over(A));
        assert_eq!(lease.peek().heir(), Some(B.slot));
        assert!(lease.peek().is_pending());
        assert!(
            !lease.withdraw(B),
            "the owner is gone: the heir must take it"
        );
        assert!(lease.acquire(B));
        assert!(lease.release(B));
    }

    #[test]
    fn only_the_lease_of_the_named_life_is_stolen() {
        let word = AtomicU64::new(0);
        let lease = Lease::new(&word);
        assert!(lease.acquire(B));
        assert!(!lease.steal(A, A));
        assert!(!lease.steal(
            Owner {
                slot: B.slot,
                epoch: 5
            },
            A
        ));
        assert!(lease.steal(B, A));
        assert_eq!(lease.peek().owner(), Some(A));
    }
}

/// Loom explores every interleaving of these short programs, under its weak memory model.
/// Each fails when the protocol is weakened (a relaxed `announce`, a plain load in place of it, a `release` that
/// stores instead of exchanging).
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    struct Shared {
        word: AtomicU64,
        tails: [AtomicU64; 3],
        drained: [AtomicU64; 3],
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared {
                word: AtomicU64::new(0),
                tails: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)],
                drained: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)],
            })
        }

        fn pass(&self) {
            for (tail, drained) in self.tails.iter().zip(&self.drained) {
                drained.store(tail.load(Ordering::Acquire), Ordering::Release);
            }
        }

        fn publish(&self, slot: u16) {
            let me = Owner { slot, epoch: 1 };
            let lease = Lease::new(&self.word);
            let tail = &self.tails[usize::from(slot)];
            tail.store(tail.load(Ordering::Relaxed) + 1, Ordering::Release);
            let seen = lease.announce();
            if seen.owner().is_none() && lease.acquire(me) {
                self.hold(me);
            } else if (seen.is_tired() && lease.become_heir(me))
                || (slot == 1 && lease.queue_up(me))
            {
                self.inherit(me);
            }
        }

        fn hold(&self, me: Owner) {
            let lease = Lease::new(&self.word);
            self.pass();
            if lease.release(me) {
                return;
            }
            loop {
                lease.tire();
                self.pass();
                if lease.hand_over(me) || lease.release(me) {
                    return;
                }
            }
        }

        /// Waits for one look, as if its time had run out at once: both ways out are explored.
        fn inherit(&self, me: Owner) {
            let lease = Lease::new(&self.word);
            if !lease.acquire(me) && lease.withdraw(me) {
                return;
            }
            if lease.peek().owner().is_none() && lease.acquire(me) {
                self.hold(me);
            } else if lease.peek().owner() == Some(me) {
                self.hold(me);
            }
        }

        fn assert_nothing_stranded(&self) {
            for (tail, drained) in self.tails.iter().zip(&self.drained) {
                assert_eq!(
                    tail.load(Ordering::Acquire),
                    drained.load(Ordering::Acquire),
                    "a record is stranded"
                );
            }
            assert_eq!(
                self.word.load(Ordering::Acquire),
                0,
                "the lease is left held"
            );
        }
    }

    #[test]
    fn loom_no_record_is_stranded_between_two_publishers() {
        loom::model(|| {
            let shared = Shared::new();
            let other = shared.clone();
            let thread = thread::spawn(move || other.publish(0));
            shared.publish(1);
            thread.join().unwrap();
            shared.assert_nothing_stranded();
        });
    }

    #[test]
    fn loom_no_record_is_stranded_when_an_heir_waits() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let shared = Shared::new();
            let threads: Vec<_> = (0..2)
                .map(|slot| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        shared.publish(slot);
                    })
                })
                .collect();
            shared.publish(2);
            for thread in threads {
                thread.join().unwrap();
            }
            shared.assert_nothing_stranded();
        });
    }
}
