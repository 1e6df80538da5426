//! Entries that their only writer overwrites, oldest first, while others copy them: two cursors that only grow.
//!
//! What lies between `oldest` and `tail` is whole. The writer moves `oldest` past what it is about to overwrite, and `tail`
//! when the new entry is whole; it waits for nobody. A reader copies first and looks afterwards whether `oldest` has passed
//! what it copied: then the copy may be anything, and is thrown away. A writer that dies leaves whole entries between the two,
//! which are there until the next writer of the same memory begins; the cursors go on from where they were, so that a reader
//! of the dead one's finds out, too.

use crate::atomics::{AtomicU64, Ordering, fence};

/// The cursors of one writer.
#[derive(Clone, Copy)]
pub(crate) struct Cursors<'a> {
    oldest: &'a AtomicU64,
    tail: &'a AtomicU64,
}

impl<'a> Cursors<'a> {
    pub fn of(oldest: &'a AtomicU64, tail: &'a AtomicU64) -> Cursors<'a> {
        Cursors { oldest, tail }
    }

    /// The writer: everything before `oldest` is about to be overwritten.
    pub fn give_up(self, oldest: u64) {
        self.oldest.store(oldest, Ordering::Relaxed);
        // ORDERING: whoever copies a byte that is stored from here on finds the new `oldest`; pairs with the fence in `copy`.
        fence(Ordering::Release);
    }

    /// The writer: the entries before `tail` are whole.
    pub fn close(self, tail: u64) {
        // ORDERING: they are stored before they count; pairs with `tail`.
        self.tail.store(tail, Ordering::Release);
    }

    /// The next writer of this memory: what the last one has left is about to be overwritten. `is_sound`: whether a
    /// cursor can be believed; otherwise it begins at 0.
    pub fn begin(self, is_sound: impl FnOnce(u64) -> bool) {
        let tail = self.tail.load(Ordering::Relaxed);
        let start = if is_sound(tail) { tail } else { 0 };
        self.tail.store(start, Ordering::Relaxed);
        self.give_up(start);
    }

    /// Where the entries end.
    pub fn tail(self) -> u64 {
        // ORDERING: pairs with `close`.
        self.tail.load(Ordering::Acquire)
    }

    /// Where the oldest entry is that is not overwritten; it may be by the time it is read.
    pub fn oldest(self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// What `copy` copies of the entry at `position`, which is not past `tail`.
    ///
    /// # Errors
    /// It was overwritten meanwhile, perhaps: from where on to go on.
    pub fn copy<T>(self, position: u64, copy: impl FnOnce() -> T) -> Result<T, u64> {
        let copied = copy();
        // ORDERING: the copy is done before the look; pairs with the fence in `give_up`.
        fence(Ordering::Acquire);
        let oldest = self.oldest.load(Ordering::Relaxed);
        match position < oldest {
            true => Err(oldest),
            false => Ok(copied),
        }
    }
}

/// It fails when a fence is missing or an ordering weakened.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// What the next writer's words have more.
    const NEXT: u64 = 100;

    /// A ring of two entries of two words; an entry's words are its position plus one, and who wrote it.
    #[derive(Default)]
    struct Ring {
        oldest: AtomicU64,
        tail: AtomicU64,
        words: [[AtomicU64; 2]; 2],
    }

    impl Ring {
        fn cursors(&self) -> Cursors<'_> {
            Cursors::of(&self.oldest, &self.tail)
        }

        fn write(&self, writer: u64) {
            let cursors = self.cursors();
            let tail = self.tail.load(Ordering::Relaxed);
            let oldest = self.oldest.load(Ordering::Relaxed);
            cursors.give_up(oldest.max((tail + 1).saturating_sub(2)));
            for word in &self.words[tail as usize % 2] {
                word.store(writer + tail + 1, Ordering::Relaxed);
            }
            cursors.close(tail + 1);
        }

        fn read(&self) {
            let cursors = self.cursors();
            let (tail, mut position) = (cursors.tail(), 0);
            while position < tail {
                let words = &self.words[position as usize % 2];
                let copied = cursors.copy(position, || {
                    [0, 1].map(|index: usize| words[index].load(Ordering::Relaxed))
                });
                match copied {
                    Ok(copied) => {
                        assert_eq!(copied[0], copied[1], "one entry, whole");
                        assert_eq!(copied[0] % NEXT, position + 1);
                        position += 1;
                    }
                    Err(oldest) => {
                        assert!(oldest > position, "it goes on, and never back");
                        position = oldest;
                    }
                }
            }
        }
    }

    /// A viewer's copy against overwriting: what counts as read is the entry that was there.
    #[test]
    fn loom_a_copy_is_whole_or_thrown_away() {
        loom::model(|| {
            let ring = Arc::new(Ring::default());
            let (writer, reader) = (ring.clone(), ring.clone());
            let threads = [
                thread::spawn(move || (0..3).for_each(|_| writer.write(0))),
                thread::spawn(move || reader.read()),
            ];
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert_eq!(ring.tail.load(Ordering::Relaxed), 3);
        });
    }
    /// A viewer's copy of what a dead worker left, against the next worker of the same place.
    #[test]
    fn loom_a_copy_of_the_dead_is_whole_or_thrown_away() {
        loom::model(|| {
            let ring = Arc::new(Ring::default());
            (0..2).for_each(|_| ring.write(0));
            let (next, reader) = (ring.clone(), ring.clone());
            let threads = [
                thread::spawn(move || {
                    next.cursors().begin(|_| true);
                    next.write(NEXT);
                }),
                thread::spawn(move || reader.read()),
            ];
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            let cursors = ring.cursors();
            assert_eq!((cursors.oldest(), cursors.tail()), (2, 3));
        });
    }
}
