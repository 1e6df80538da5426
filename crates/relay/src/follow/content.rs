//! The content of a file, packed or not, from any byte of it on.
//!
//! What is packed can only be read from its beginning: the bytes before the one that is asked for are unpacked and thrown away,
//! unless reading goes on where it stopped. A packed file that is damaged or cut off gives what comes before that, and then an error
//! that [`is_damage`] tells from one of the disk.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::names::Packing;

/// Bytes of a packed file that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// An open file.
pub(super) struct Content {
    pub(super) file: Arc<File>,
    packing: Packing,
    /// Unpacks, and up to which byte it has.
    stream: Option<(Box<dyn Read + Send>, u64)>,
}

impl Content {
    pub(super) fn new(file: File, packing: Packing) -> Content {
        Content {
            file: Arc::new(file),
            packing,
            stream: None,
        }
    }

    pub(super) fn is_packed(&self) -> bool {
        self.packing != Packing::Plain
    }

    /// Bytes from `offset` on, as many as there are at once; 0: the end.
    pub(super) fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if !self.is_packed() {
            return self.file.read_at(into, offset);
        }
        let (mut stream, mut at) = match self.stream.take() {
            Some((stream, at)) if at <= offset => (stream, at),
            _ => (self.unpack()?, 0),
        };
        let mut passed = [0; 16 << 10];
        while at < offset {
            let most = passed.len().min((offset - at) as usize);
            match stream.read(&mut passed[..most])? {
                0 => return Ok(0),
                got => at += got as u64,
            }
        }
        let got = stream.read(into)?;
        self.stream = Some((stream, at + got as u64));
        Ok(got)
    }

    fn unpack(&self) -> io::Result<Box<dyn Read + Send>> {
        let packed = Packed {
            file: self.file.clone(),
            at: 0,
        };
        Ok(match self.packing {
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(
                BufReader::with_capacity(PIECE_BYTES, packed),
            )),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(packed)?),
            Packing::Plain | Packing::Unknown => {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
        })
    }

    /// Reads at most so many bytes from `offset` on; fewer if there are no more, or if they cannot be unpacked.
    pub(super) fn bytes_at(&mut self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match self.read_at(offset + filled as u64, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) if is_damage(&cause) => break,
                Err(cause) => return Err(cause),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// Whether the content is to blame, not the disk.
pub(super) fn is_damage(cause: &io::Error) -> bool {
    cause.raw_os_error().is_none()
}

struct Packed {
    file: Arc<File>,
    at: u64,
}

impl Read for Packed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(into, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn content(bytes: &[u8], packing: Packing) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Content::new(file, packing)
    }

    #[test]
    fn packed_or_not_the_content_is_the_same_from_any_byte_on() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (one, two) = text.split_at(70_000);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
        for (bytes, packing) in [
            (text.clone(), Packing::Plain),
            (gzip(&text), Packing::Gzip),
            ([gzip(one), gzip(two)].concat(), Packing::Gzip),
            (zstd(&text), Packing::Zstd),
            ([zstd(one), zstd(two)].concat(), Packing::Zstd),
        ] {
            let mut content = content(&bytes, packing);
            for offset in [0, 100, 100_000, 5, 69_999, 70_001, 799_990] {
                let found = content.bytes_at(offset, 1000).unwrap();
                let to = text.len().min(offset as usize + 1000);
                assert!(
                    found == text[offset as usize..to],
                    "{packing:?} from {offset}"
                );
            }
            assert_eq!(content.bytes_at(800_000, 10).unwrap(), b"");
            assert_eq!(content.bytes_at(900_000, 10).unwrap(), b"");
        }
    }

    #[test]
    fn what_is_packed_and_damaged_gives_what_comes_before_that() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for (bytes, packing) in [
            (gzip(&text), Packing::Gzip),
            (zstd::encode_all(&text[..], 3).unwrap(), Packing::Zstd),
        ] {
            let mut cut = content(&bytes[..bytes.len() / 2], packing);
            let found = cut.bytes_at(0, text.len()).unwrap();
            assert!(
                !found.is_empty() && found.len() < text.len() && text.starts_with(&found),
                "{packing:?}"
            );
            let failure = cut.read_at(found.len() as u64, &mut [0; 10]);
            assert!(failure.is_err_and(|cause| is_damage(&cause)), "{packing:?}");
        }
        assert!(
            content(b"no gzip", Packing::Gzip)
                .bytes_at(0, 10)
                .unwrap()
                .is_empty()
        );
        assert!(
            content(b"any", Packing::Unknown)
                .bytes_at(0, 10)
                .unwrap()
                .is_empty()
        );
    }
}
