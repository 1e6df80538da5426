//! A part of a log: one of its files, open, and read from some byte on.
//!
//! What always holds: what is read of it is the content that it had when it was opened, with what was appended since. When something
//! else is there (the file was emptied, or written anew) it is noticed before any of that is given. An unterminated line is given
//! only when nobody will end it.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::content::{Content, is_damage};
use super::family::{Member, mtime_ns};
use super::stand::{HEAD_BYTES, Stand, Tail};
use crate::lines::{Lines, More};
use crate::listing::FileId;

/// One file of a log.
pub(super) struct Part {
    /// Tells the parts of one log apart.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) content: Content,
    lines: Lines,
    line_bytes_max: usize,
    /// The first bytes, at most `HEAD_BYTES`.
    head: Vec<u8>,
    /// It is not at the log's path any more.
    pub(super) is_rotated: bool,
    /// Nothing will ever be appended to this content: it is packed, damaged, or was destroyed.
    pub(super) is_over: bool,
    /// The file has other content by now, and this one is nowhere.
    pub(super) is_destroyed: bool,
    /// From here on it cannot be unpacked.
    broken_at: Option<u64>,
    is_broken_told: bool,
    /// When it was looked at last, there was nothing more to read.
    is_at_end: bool,
    /// Up to where it is settled.
    pub(super) settled: u64,
    settled_tail: Tail,
    /// Records that were given and are not settled.
    pub(super) in_flight: u64,
    /// Length on the disk and last change when it was looked at last; and when it was known to have this content.
    looked: Look,
    pub(super) known: Look,
    grown: Instant,
}

/// What a file was like at some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    bytes: u64,
    /// Nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

impl Look {
    fn at(member: &Member) -> Look {
        Look {
            bytes: member.bytes,
            mtime_ns: member.mtime_ns,
        }
    }
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end, or a piece of one that is too long, or the last one, which will never end: `text` gives it.
    Text(Range<usize>),
    /// Nothing now.
    None,
    /// The content is another one.
    Changed,
}

impl Part {
    /// Reads a file from `offset` on; `tail` is what stands before that.
    pub(super) fn new(
        number: u64,
        member: &Member,
        mut content: Content,
        offset: u64,
        tail: Tail,
        line_bytes_max: usize,
    ) -> io::Result<Part> {
        let head = content.bytes_at(0, HEAD_BYTES)?;
        let is_packed = content.is_packed();
        let mut part = Part {
            number,
            path: member.path.clone(),
            id: member.id,
            content,
            lines: Lines::from(offset, line_bytes_max),
            line_bytes_max,
            head,
            is_rotated: !member.is_current(),
            is_over: is_packed,
            is_destroyed: false,
            broken_at: None,
            is_broken_told: false,
            is_at_end: false,
            settled: offset,
            settled_tail: tail,
            in_flight: 0,
            looked: Look::at(member),
            known: Look::at(member),
            grown: Instant::now(),
        };
        part.read_from(offset);
        Ok(part)
    }

    /// Goes on in another file, which has the same content.
    pub(super) fn move_to(&mut self, member: &Member, content: Content) {
        self.path.clone_from(&member.path);
        self.id = member.id;
        self.is_over = content.is_packed();
        self.is_rotated = true;
        self.content = content;
        self.looked = Look::at(member);
        self.known = self.looked;
        self.read_from(self.lines.at());
    }

    fn read_from(&mut self, offset: u64) {
        self.is_at_end = false;
        self.lines = match self.content.is_packed() {
            true => Lines::of_stream(offset, self.line_bytes_max),
            false => Lines::from(offset, self.line_bytes_max),
        };
    }

    /// Begins again behind what is settled. Gives the bytes that cannot be had again, since the content is nowhere any more.
    pub(super) fn rewind(&mut self) -> u64 {
        self.in_flight = 0;
        if !self.is_destroyed {
            self.read_from(self.settled);
            return 0;
        }
        let lost = self.lines.at() - self.settled;
        self.settle(self.lines.at(), self.tail());
        lost
    }

    /// Up to where it was given.
    pub(super) fn at(&self) -> u64 {
        self.lines.at()
    }

    /// What stands before the next line.
    pub(super) fn tail(&self) -> Tail {
        Tail::of(self.lines.before(), self.lines.at())
    }

    /// A record up to `offset` is settled, and all before it.
    pub(super) fn settle(&mut self, offset: u64, tail: Tail) {
        self.settled = offset;
        self.settled_tail = tail;
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Whether everything was read and is settled. What was passed without being a record (empty lines) then counts as settled.
    pub(super) fn is_done(&mut self) -> bool {
        let is_done = self.is_at_end && self.in_flight == 0;
        if is_done && self.settled < self.lines.at() {
            self.settled = self.lines.at();
            self.settled_tail = self.tail();
        }
        is_done
    }

    /// Whether it could not be unpacked to its end. Says so once.
    pub(super) fn tell_broken(&mut self) -> bool {
        self.broken_at.is_some() && !std::mem::replace(&mut self.is_broken_told, true)
    }

    /// Nothing of its content can be had any more beyond what was read. Gives the bytes that are known to be lost by that.
    pub(super) fn destroy(&mut self) -> u64 {
        self.is_destroyed = true;
        self.is_over = true;
        self.known.bytes.saturating_sub(self.lines.read_to())
    }

    pub(super) fn stand(&self) -> Stand {
        let head = &self.head[..self
            .head
            .len()
            .min(self.settled.min(HEAD_BYTES as u64) as usize)];
        Stand {
            inode: self.id.inode,
            head_bytes: head.len() as u64,
            head_crc: crc32fast::hash(head),
            offset: self.settled,
            tail: self.settled_tail,
            mtime_ns: self.known.mtime_ns,
        }
    }

    /// Whether this is the content of the part, as far as that is known.
    pub(super) fn is_content_of(&self, content: &mut Content) -> io::Result<bool> {
        let head = content.bytes_at(0, self.head.len())?;
        Ok(!head.is_empty() && head == self.head && self.tail().is_in(content)?)
    }

    /// Bytes that are not settled, on the disk.
    pub(super) fn unsettled_bytes(&self) -> u64 {
        if self.is_destroyed {
            self.lines.at() - self.settled
        } else if !self.content.is_packed() {
            self.looked.bytes.saturating_sub(self.settled)
        } else if self.is_at_end && self.in_flight == 0 {
            0
        } else {
            // How long it is unpacked is not known.
            self.looked.bytes
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Whether nothing was appended for so long.
    pub(super) fn is_quiet_for(&self, time: Duration) -> bool {
        let now_ns = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos() as i64);
        let unchanged_ns = now_ns.saturating_sub(self.looked.mtime_ns);
        self.is_over || self.grown.elapsed() >= time || unchanged_ns >= time.as_nanos() as i64
    }

    /// Whether the file was empty when it was looked at last, and was changed since.
    pub(super) fn has_come_to_life(&self) -> io::Result<bool> {
        Ok(self.head.is_empty()
            && !self.is_over
            && mtime_ns(&self.content.file.metadata()?) != self.known.mtime_ns)
    }

    /// Finds out the length on the disk anew.
    pub(super) fn look(&mut self) -> io::Result<u64> {
        let facts = self.content.file.metadata()?;
        if facts.len() != self.looked.bytes {
            self.grown = Instant::now();
        }
        self.looked = Look {
            bytes: facts.len(),
            mtime_ns: mtime_ns(&facts),
        };
        Ok(facts.len())
    }

    /// The next line, of what lies before byte `until` of the file; `is_last`: a line without an end will get none.
    pub(super) fn next_line(&mut self, until: u64, is_last: bool) -> io::Result<Line> {
        loop {
            if let Some((range, _)) = self.lines.find() {
                return Ok(Line::Text(range));
            }
            self.is_at_end = false;
            match self.read_on(until)? {
                More::Some => {}
                More::Changed => return Ok(Line::Changed),
                More::End if self.lines.rest().is_empty() => {
                    self.is_at_end = true;
                    return Ok(Line::None);
                }
                // What comes behind `until` may be the end of the line.
                More::End if !self.is_over && (!is_last || self.len()? > until) => {
                    return Ok(Line::None);
                }
                More::End => return Ok(Line::Text(self.lines.find_rest())),
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.file.metadata()?.len())
    }

    pub(super) fn text(&self, range: Range<usize>) -> &[u8] {
        self.lines.bytes(range)
    }

    fn read_on(&mut self, until: u64) -> io::Result<More> {
        let is_broken = self.broken_at.is_some_and(|at| self.lines.read_to() >= at);
        if self.is_destroyed || is_broken {
            return Ok(More::End);
        }
        if !self.is_over && !self.has_same_head()? {
            return Ok(More::Changed);
        }
        let content = &mut self.content;
        let more = self.lines.more(|offset, into| {
            let most = until.saturating_sub(offset).min(into.len() as u64);
            content.read_at(offset, &mut into[..most as usize])
        });
        match more {
            Err(cause) if self.content.is_packed() && is_damage(&cause) => {
                self.broken_at = Some(self.lines.read_to());
                Ok(More::End)
            }
            Ok(More::Changed) => Ok(More::Changed),
            outcome => {
                self.known = self.looked;
                outcome
            }
        }
    }

    /// Reads the beginning again, which may have become longer.
    fn has_same_head(&mut self) -> io::Result<bool> {
        let head = self.content.bytes_at(0, HEAD_BYTES)?;
        let is_same = head.starts_with(&self.head);
        if is_same && head.len() > self.head.len() {
            self.head = head;
        }
        Ok(is_same)
    }
}
