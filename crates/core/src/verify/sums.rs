//! Checksums between chosen positions of a stream that is read once.
//!
//! Only the checksum of everything up to each position is kept; that of a stretch between two of them follows from the
//! arithmetic of CRC-32. So one reading compares a file with any number of run lists.

use crc32fast::Hasher;

/// Checksums of the beginnings of a stream, up to each of some positions.
pub(super) struct Sums {
    positions: Vec<u64>,
    sums: Vec<u32>,
    hasher: Hasher,
    at: u64,
}

impl Sums {
    pub fn at(mut positions: Vec<u64>) -> Sums {
        positions.sort_unstable();
        positions.dedup();
        let mut sums = Sums {
            positions,
            sums: Vec::new(),
            hasher: Hasher::new(),
            at: 0,
        };
        sums.feed(&[]);
        sums
    }

    /// The next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(position) = self.positions.get(self.sums.len()) {
            let ahead = position - self.at;
            if ahead > bytes.len() as u64 {
                break;
            }
            let (before, behind) = bytes.split_at(ahead as usize);
            self.hasher.update(before);
            self.at = *position;
            self.sums.push(self.hasher.clone().finalize());
            bytes = behind;
        }
        if self.sums.len() < self.positions.len() {
            self.hasher.update(bytes);
        }
        self.at += bytes.len() as u64;
    }

    /// The checksum of the bytes between two of the positions. None: the stream ended before, or it is no such position.
    pub fn between(&self, from: u64, to: u64) -> Option<u32> {
        let len = to.checked_sub(from)?;
        let (before, all) = (self.up_to(from)?, self.up_to(to)?);
        let mut shifted = Hasher::new_with_initial_len(before, from);
        shifted.combine(&Hasher::new_with_initial_len(0, len));
        Some(shifted.finalize() ^ all)
    }

    fn up_to(&self, position: u64) -> Option<u32> {
        let index = self.positions.binary_search(&position).ok()?;
        self.sums.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The checksum between any two positions is that of the bytes there, however the stream was cut into pieces.
        #[test]
        fn stretches_have_their_own_checksum(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            positions in prop::collection::vec(0u64..500, 0..8),
            piece in 1usize..90,
        ) {
            let mut sums = Sums::at(positions.clone());
            bytes.chunks(piece).for_each(|chunk| sums.feed(chunk));
            for from in &positions {
                for to in positions.iter().filter(|to| *to >= from) {
                    let expected = bytes.get(*from as usize..*to as usize).map(crc32fast::hash);
                    prop_assert_eq!(sums.between(*from, *to), expected, "{}..{}", from, to);
                }
            }
        }
    }
}
