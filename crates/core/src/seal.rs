//! An entry of a few fields in shared memory that anybody may make, change the end of, and remove, and that many read
//! without a lock: its *seal*, one word, says whether it counts.
//!
//! The seal is [`FREE`], the mark of whoever fills the entry, or a token, from [`TOKEN_MIN`] on. Neither a mark nor a token is
//! ever the same for two entries. What always holds:
//!
//! - Of several that want a free entry one gets it.
//! - What is read under a token is what that token's maker stored, all of it ([`Seal::read`]).
//! - A token is replaced or ended by compare-exchange with the token that was looked at: a renewal and an end at the same
//!   moment cannot both succeed, and neither hits the entry's next owner.
//!
//! A maker that dies while it fills leaves its mark, which the caller finds out about and ends.

use crate::atomics::{AtomicU64, Ordering, fence};

pub(crate) const FREE: u64 = 0;
pub(crate) const TOKEN_MIN: u64 = 1 << 40;

/// The seal of one entry.
#[derive(Clone, Copy)]
pub(crate) struct Seal<'a> {
    word: &'a AtomicU64,
}

impl<'a> Seal<'a> {
    pub fn of(word: &'a AtomicU64) -> Seal<'a> {
        Seal { word }
    }

    /// Takes a free entry, to be filled. False: it is somebody's.
    pub fn take(self, mark: u64) -> bool {
        debug_assert!((FREE + 1..TOKEN_MIN).contains(&mark));
        let taken = self.exchange(FREE, mark);
        // ORDERING: whoever reads a field that is stored from here on finds that the token it looked at is gone; pairs with
        // the fence in `read`.
        fence(Ordering::Release);
        taken
    }

    /// The entry that was taken is filled, and counts. False: its maker was taken for dead.
    pub fn close(self, mark: u64, token: u64) -> bool {
        debug_assert!(token >= TOKEN_MIN);
        // ORDERING (in `exchange`): the fields are stored before they count; pairs with `peek`.
        self.exchange(mark, token)
    }

    /// The token, and what `fields` reads under it. None: nothing counts, or that changed meanwhile.
    pub fn read<T>(self, fields: impl FnOnce() -> T) -> Option<(u64, T)> {
        let token = self.peek();
        if token < TOKEN_MIN {
            return None;
        }
        let read = fields();
        // ORDERING: the fields are read before the second look; pairs with the fence in `take`.
        fence(Ordering::Acquire);
        (self.word.load(Ordering::Relaxed) == token).then_some((token, read))
    }

    /// What the seal is now.
    pub fn peek(self) -> u64 {
        // ORDERING: what is read afterwards is at least as new as this token; pairs with `close`.
        self.word.load(Ordering::Acquire)
    }

    /// Gives the entry another token, its fields unchanged. False: `seen` is not its token any more.
    pub fn replace(self, seen: u64, token: u64) -> bool {
        self.exchange(seen, token)
    }

    /// The entry counts no more, or is given back unfilled. False: `seen` is not its token, or mark, any more.
    pub fn end(self, seen: u64) -> bool {
        self.exchange(seen, FREE)
    }

    fn exchange(self, seen: u64, value: u64) -> bool {
        // ORDERING: release hands the fields on to readers and to the next owner; acquire orders them before what follows.
        self.word
            .compare_exchange(seen, value, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_from_its_closing_to_its_end() {
        let word = AtomicU64::new(FREE);
        let seal = Seal::of(&word);
        let token = |number: u64| number << 40;
        assert!(seal.take(1) && !seal.take(2));
        assert_eq!(seal.read(|| 7), None, "it is being filled");
        assert!(seal.close(1, token(4)));
        assert_eq!(seal.read(|| 7), Some((token(4), 7)));
        assert!(!seal.replace(token(3), token(5)) && seal.replace(token(4), token(5)));
        assert_eq!(seal.read(|| seal.end(token(5))), None, "it ended meanwhile");
        assert!(!seal.end(token(5)) && seal.take(6));
        assert!(seal.end(6) && seal.take(7), "given back unfilled");
        assert!(!seal.close(6, token(6)), "taken for dead");
    }
}

/// Each fails when an ordering or a fence is weakened.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    const A: u64 = 1 << 40;
    const A_LATER: u64 = A + 1;
    const B: u64 = 2 << 40;
    const C: u64 = 3 << 40;

    /// An entry with two fields, and the word that grows with each change.
    struct Entry {
        seal: AtomicU64,
        fields: [AtomicU64; 2],
        generation: AtomicU64,
    }

    impl Entry {
        fn new() -> Arc<Entry> {
            Arc::new(Entry {
                seal: AtomicU64::new(FREE),
                fields: [AtomicU64::new(0), AtomicU64::new(0)],
                generation: AtomicU64::new(0),
            })
        }

        fn seal(&self) -> Seal<'_> {
            Seal::of(&self.seal)
        }

        fn make(&self, token: u64) -> bool {
            if !self.seal().take(token >> 40) {
                return false;
            }
            for field in &self.fields {
                field.store(token, Ordering::Relaxed);
            }
            assert!(self.seal().close(token >> 40, token));
            self.generation.fetch_add(1, Ordering::AcqRel);
            true
        }

        fn read(&self) -> Option<(u64, [u64; 2])> {
            self.seal()
                .read(|| [0, 1].map(|index: usize| self.fields[index].load(Ordering::Relaxed)))
        }
    }

    /// Publication against reading: whoever sees the new generation sees the rule, whole.
    #[test]
    fn loom_who_sees_the_generation_sees_the_rule() {
        loom::model(|| {
            let entry = Entry::new();
            let maker = entry.clone();
            let thread = thread::spawn(move || assert!(maker.make(A)));
            let generation = entry.generation.load(Ordering::Acquire);
            let read = entry.read();
            if generation == 1 {
                assert_eq!(read, Some((A, [A, A])));
            }
            thread.join().unwrap();
            assert_eq!(entry.read(), Some((A, [A, A])));
        });
    }

    /// The same at its end: whoever sees that something changed does not go on with a rule that was ended.
    #[test]
    fn loom_who_sees_the_generation_sees_the_end() {
        loom::model(|| {
            let entry = Entry::new();
            assert!(entry.make(A));
            let ender = entry.clone();
            let thread = thread::spawn(move || {
                assert!(ender.seal().end(A));
                ender.generation.fetch_add(1, Ordering::AcqRel);
            });
            if entry.generation.load(Ordering::Acquire) == 2 {
                assert_eq!(entry.read(), None);
            }
            thread.join().unwrap();
        });
    }

    /// An entry that is given to another rule while it is read is not read as a mixture.
    #[test]
    fn loom_fields_are_of_one_rule() {
        loom::model(|| {
            let entry = Entry::new();
            assert!(entry.make(A));
            let other = entry.clone();
            let thread = thread::spawn(move || {
                assert!(other.seal().end(A));
                assert!(other.make(B));
            });
            if let Some((token, fields)) = entry.read() {
                assert_eq!(fields, [token, token]);
            }
            thread.join().unwrap();
        });
    }

    /// Of two that want the last free entry one gets it, and what it stored stays.
    #[test]
    fn loom_an_entry_has_one_maker() {
        loom::model(|| {
            let entry = Entry::new();
            let other = entry.clone();
            let thread = thread::spawn(move || other.make(A));
            let made = entry.make(B);
            assert!(made != thread.join().unwrap());
            let expected = if made { B } else { A };
            assert_eq!(entry.read(), Some((expected, [expected, expected])));
        });
    }

    /// The entry's next owner writes after its last one, so that what stays is the next one's.
    #[test]
    fn loom_the_next_owner_writes_last() {
        loom::model(|| {
            let entry = Entry::new();
            let (first, second) = (entry.clone(), entry.clone());
            let threads = [
                thread::spawn(move || first.make(A)),
                thread::spawn(move || second.seal().end(A) && second.make(B)),
            ];
            let made = threads.map(|thread| thread.join().unwrap());
            let expected = if made[1] { B } else { A };
            assert_eq!(entry.read(), Some((expected, [expected, expected])));
        });
    }

    /// Expiry against renewal: a rule that was renewed is in force, one that was ended was not renewed, and its entry's
    /// next rule is not touched.
    #[test]
    fn loom_a_rule_is_renewed_or_ended() {
        loom::model(|| {
            let entry = Entry::new();
            assert!(entry.make(A));
            let other = entry.clone();
            let thread = thread::spawn(move || {
                let ended = other.seal().end(A);
                (ended, ended && other.make(C))
            });
            let renewed = entry.seal().replace(A, A_LATER);
            let (ended, made) = thread.join().unwrap();
            assert!(renewed != ended);
            let expected = match (renewed, made) {
                (true, _) => Some((A_LATER, [A, A])),
                (_, true) => Some((C, [C, C])),
                _ => None,
            };
            assert_eq!(entry.read(), expected);
        });
    }
}
