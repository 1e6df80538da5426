//! Where the cursor of followed logs stands: for each log the files that are being read, and up to where each is settled.
//!
//! A file is known again by its content: the beginning, and what stands right before the cursor. Its inode only says where to look
//! first, since a file that is packed, or copied and emptied, goes on in another one.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::content::Content;

/// Bytes that a file is known by.
pub(super) const HEAD_BYTES: usize = 256;

/// The cursor's text, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stands {
    pub(super) logs: Vec<LogStand>,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogStand {
    pub(super) path: PathBuf,
    /// Files that were last changed before this are settled, as far as they are not in `parts`: nanoseconds since 1970.
    pub(super) after_ns: i64,
    /// The files that are being read, oldest first.
    pub(super) parts: Vec<Stand>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stand {
    pub(super) inode: u64,
    /// How many bytes the checksum of the file's beginning covers, and that: CRC-32 (ISO-HDLC).
    pub(super) head_bytes: u64,
    pub(super) head_crc: u32,
    /// Up to which byte it is settled, and what stands before that.
    pub(super) offset: u64,
    pub(super) tail: Tail,
    /// When the file was last changed.
    pub(super) mtime_ns: i64,
}

/// Some bytes of a file, by which a place is known again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tail {
    pub(super) from: u64,
    pub(super) bytes: u32,
    pub(super) crc: u32,
}

impl Tail {
    /// Of the bytes that end at `end`.
    pub(super) fn of(bytes: &[u8], end: u64) -> Tail {
        Tail {
            from: end - bytes.len() as u64,
            bytes: bytes.len() as u32,
            crc: crc32fast::hash(bytes),
        }
    }

    pub(super) fn is_in(&self, content: &mut Content) -> io::Result<bool> {
        // More is never stored; a cursor may say anything.
        let bytes = content.bytes_at(self.from, (self.bytes as usize).min(HEAD_BYTES))?;
        Ok(bytes.len() == self.bytes as usize && crc32fast::hash(&bytes) == self.crc)
    }
}

impl Stand {
    /// Whether this content is the file's, with the place in it.
    pub(super) fn fits(&self, content: &mut Content) -> io::Result<bool> {
        let wanted = (self.head_bytes as usize).min(HEAD_BYTES);
        let head = content.bytes_at(0, wanted)?;
        let is_known =
            head.len() as u64 == self.head_bytes && crc32fast::hash(&head) == self.head_crc;
        let ends_there = self.tail.from.checked_add(self.tail.bytes.into()) == Some(self.offset);
        Ok(is_known && ends_there && self.tail.is_in(content)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 writes it; a later version must be able to read it.
    const TEXT: &str = r#"{"logs":[{"path":"/var/log/app.log","after_ns":-9223372036854775808,"parts":[{"inode":1319,"head_bytes":256,"head_crc":1190283,"offset":52011,"tail":{"from":51947,"bytes":64,"crc":4026532},"mtime_ns":1795804201123000000}]}]}"#;

    #[test]
    fn a_cursor_of_version_1_is_read_and_written() {
        let stands: Stands = serde_json::from_str(TEXT).unwrap();
        assert_eq!(stands.logs[0].parts[0].tail.from, 51_947);
        assert_eq!(serde_json::to_string(&stands).unwrap(), TEXT);
    }

    #[test]
    fn a_cursor_may_say_anything_and_fits_only_what_it_was_made_of() {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"one\ntwo\n", 0).unwrap();
        let mut content = Content::new(file, super::super::names::Packing::Plain);
        let sound = Stand {
            inode: 1,
            head_bytes: 4,
            head_crc: crc32fast::hash(b"one\n"),
            offset: 4,
            tail: Tail::of(b"one\n", 4),
            mtime_ns: 0,
        };
        assert!(sound.fits(&mut content).unwrap());
        let others = [
            Stand {
                head_crc: 1,
                ..sound.clone()
            },
            Stand {
                head_bytes: u64::MAX,
                ..sound.clone()
            },
            Stand {
                offset: u64::MAX,
                ..sound.clone()
            },
            Stand {
                tail: Tail {
                    from: 4,
                    ..sound.tail
                },
                ..sound.clone()
            },
            Stand {
                tail: Tail {
                    bytes: u32::MAX,
                    ..sound.tail
                },
                ..sound.clone()
            },
            Stand {
                tail: Tail {
                    from: u64::MAX,
                    ..sound.tail
                },
                ..sound.clone()
            },
        ];
        for stand in others {
            assert!(!stand.fits(&mut content).unwrap(), "{stand:?}");
        }
    }
}
