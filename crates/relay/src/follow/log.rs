//! One log that is followed: its files from the oldest that is not settled to the one at its path.
//!
//! How it works: a list of parts, each an open file. The oldest are read first; the next file is opened when the newest part was
//! read to its end and is not at the log's path any more. A part that was rotated away stays in the list for a while, since
//! whoever writes may have it open; it is read before newer ones, and of the newest only what was there before it was looked at, so
//! that a writer's records stay in order when it changes from one file to the next.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use super::Options;
use super::content::Content;
use super::family::{self, Member};
use super::names::Packing;
use super::part::{Line, Part};
use super::stand::{HEAD_BYTES, LogStand, Stand, Tail};
use crate::cursor::failed;
use crate::listing::FileId;
use crate::source::Damage;

/// A log.
pub(super) struct Log {
    pub(super) path: PathBuf,
    parts: Vec<Part>,
    parts_opened: u64,
    /// Files that were changed last before this are settled, where no part tells more.
    after_ns: i64,
    /// Files that are still to be opened, as they were listed last.
    unread: Vec<Member>,
    /// The beginnings of files that were listed, by which they are known again when they are packed.
    heads: HashMap<FileId, Vec<u8>>,
    /// Files that nothing here can unpack, and that were counted.
    passed: HashSet<FileId>,
    /// A part goes on in another file.
    has_changed: bool,
    pub(super) damage: Damage,
}

/// A line that was read.
pub(super) struct Given<'a> {
    pub(super) text: &'a [u8],
    pub(super) part: u64,
    /// Where it ends, and what stands before that.
    pub(super) offset: u64,
    pub(super) tail: Tail,
    pub(super) bytes: u64,
}

impl Log {
    /// A log of which nothing is settled but what was changed last before `after_ns`.
    pub(super) fn new(path: PathBuf, after_ns: i64) -> Log {
        Log {
            path,
            parts: Vec::new(),
            parts_opened: 0,
            after_ns,
            unread: Vec::new(),
            heads: HashMap::new(),
            passed: HashSet::new(),
            has_changed: false,
            damage: Damage::default(),
        }
    }

    /// Stands at the end of the file at the path: behind its last line that has an end.
    pub(super) fn begin_at_end(&mut self, options: &Options) -> io::Result<()> {
        let members = self.list()?;
        let Some(current) = members.iter().find(|member| member.is_current()) else {
            return Ok(());
        };
        let Some(mut content) = self.open_member(current)? else {
            return Ok(());
        };
        let from = current.bytes.saturating_sub(LINE_LOOKED_FOR_BYTES);
        let last = content.bytes_at(from, LINE_LOOKED_FOR_BYTES as usize)?;
        let end = memchr::memrchr(b'\n', &last).map_or(0, |at| at + 1);
        let offset = from + end as u64;
        let tail = Tail::of(&last[end.saturating_sub(64)..end], offset);
        self.enter(current, content, offset, tail, options)
    }

    /// Goes on where the cursor stood; gives why it cannot, if so.
    pub(super) fn resume(
        &mut self,
        stand: &LogStand,
        options: &Options,
    ) -> io::Result<Option<String>> {
        let members = self.list()?;
        let mut lost = None;
        for stand in &stand.parts {
            match self.find(stand, &members)? {
                Some((member, content)) => {
                    self.enter(&member, content, stand.offset, stand.tail, options)?
                }
                None => {
                    self.damage.files_missed += 1;
                    lost = Some(format!(
                        "the file that was read of `{}` is gone, or has other content",
                        self.path.display()
                    ));
                    self.after_ns = self.after_ns.max(stand.mtime_ns);
                }
            }
        }
        Ok(lost)
    }

    /// The file of a place: that with its inode if it fits, else the oldest that does.
    fn find(&self, stand: &Stand, members: &[Member]) -> io::Result<Option<(Member, Content)>> {
        let mut candidates: Vec<&Member> = members
            .iter()
            .filter(|member| !self.is_open(member))
            .collect();
        candidates.sort_by_key(|member| member.id.inode != stand.inode);
        for member in candidates {
            if let Some(mut content) = self.open_member(member)?
                && stand.fits(&mut content)?
            {
                return Ok(Some((member.clone(), content)));
            }
        }
        Ok(None)
    }

    pub(super) fn stand(&self) -> LogStand {
        let there = self
            .parts
            .iter()
            .filter(|part| !part.is_destroyed && part.settled > 0);
        let parts: Vec<Stand> = there.map(Part::stand).collect();
        // Without any of them only the time tells what is new.
        let destroyed = self
            .parts
            .iter()
            .filter(|part| part.is_destroyed && parts.is_empty());
        let times = destroyed.map(|part| part.known.mtime_ns);
        LogStand {
            path: self.path.clone(),
            after_ns: times.fold(self.after_ns, i64::max),
            parts,
        }
    }

    /// Gives at most `most` lines; how many.
    pub(super) fn read(
        &mut self,
        options: &Options,
        most: usize,
        give: &mut dyn FnMut(&Given<'_>),
    ) -> io::Result<usize> {
        let mut given = 0;
        loop {
            let limit = self.look()?;
            for index in 0..self.parts.len() {
                given += self.read_part(index, limit, options, most - given, give)?;
            }
            let has_changed = std::mem::take(&mut self.has_changed);
            if given >= most || !has_changed && !self.advance(options)? {
                break;
            }
        }
        self.let_go(options);
        Ok(given)
    }

    /// Finds out which parts are where; gives how much of the newest may be read, see above.
    fn look(&mut self) -> io::Result<u64> {
        let io = |cause: io::Error| failed("look at", &self.path, &cause);
        let current = family::look_at(&self.path)
            .map_err(io)?
            .map(|facts| FileId::of(&facts));
        // An empty file may have been written, copied and emptied meanwhile: the copy comes before it.
        if let Some(newest) = self.parts.last_mut()
            && newest.has_come_to_life().map_err(io)?
        {
            self.parts.pop();
        }
        let mut limit = None;
        // The newest first: what comes into it while the others are looked at is for the next time.
        for part in self.parts.iter_mut().rev() {
            let len = part.look().map_err(io)?;
            part.is_rotated = part.is_rotated || current != Some(part.id);
            limit.get_or_insert(if part.is_over { u64::MAX } else { len });
        }
        let is_alone = self.parts.len() == 1;
        Ok(limit.filter(|_| !is_alone).unwrap_or(u64::MAX))
    }

    fn read_part(
        &mut self,
        index: usize,
        limit: u64,
        options: &Options,
        most: usize,
        give: &mut dyn FnMut(&Given<'_>),
    ) -> io::Result<usize> {
        let is_newest = index + 1 == self.parts.len();
        let until = if is_newest { limit } else { u64::MAX };
        let mut given = 0;
        while given < most {
            let part = &mut self.parts[index];
            let is_last = options.ends || part.is_rotated && part.is_quiet_for(options.end_wait);
            let before = part.at();
            match part
                .next_line(until, is_last)
                .map_err(|cause| failed("read", &self.path, &cause))?
            {
                Line::Text(range) => {
                    let text = without_hole(part.text(range.clone()));
                    if text.is_empty() || text == b"\r" {
                        continue;
                    }
                    part.in_flight += 1;
                    give(&Given {
                        text: without_hole(part.text(range)),
                        part: part.number,
                        offset: part.at(),
                        tail: part.tail(),
                        bytes: part.at() - before,
                    });
                    given += 1;
                }
                Line::None => {
                    self.damage.lines_skipped += u64::from(part.tell_broken());
                    break;
                }
                Line::Changed => {
                    self.follow_content(index)?;
                    // What may be read of it is to be found out anew.
                    self.has_changed = true;
                    break;
                }
            }
        }
        Ok(given)
    }

    /// The file of a part has other content: somebody has emptied it, mostly after it was copied (`copytruncate`).
    fn follow_content(&mut self, index: usize) -> io::Result<()> {
        let members = self.list()?;
        for member in members.iter().filter(|member| !self.is_open(member)) {
            if let Some(mut content) = self.open_member(member)?
                && self.parts[index].is_content_of(&mut content)?
            {
                self.parts[index].move_to(member, content);
                return Ok(());
            }
        }
        let lost = self.parts[index].destroy();
        if lost > 0 {
            self.damage.files_missed += 1;
            self.damage.bytes_missed += lost;
        }
        Ok(())
    }

    /// Opens the file behind the newest part, if that was left by its writers and read to its end.
    fn advance(&mut self, options: &Options) -> io::Result<bool> {
        if let Some(newest) = self.parts.last()
            && (!newest.is_at_end() || !newest.is_rotated && !newest.is_over)
        {
            return Ok(false);
        }
        if self.advance_as_listed(options)? {
            return Ok(true);
        }
        for _ in 0..ATTEMPTS_MAX {
            let members = self.list()?;
            let Some(next) = self.next(&members)? else {
                return Ok(false);
            };
            let content = self.open_member(&next)?;
            self.note_unread(&members, &next)?;
            if let Some(content) = content {
                self.enter(&next, content, 0, Tail::default(), options)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens the next file as it was listed last. Only the current file may have got another one before it since: a copy of it.
    fn advance_as_listed(&mut self, options: &Options) -> io::Result<bool> {
        while let Some(next) = self
            .unread
            .first()
            .filter(|next| !next.is_current())
            .cloned()
        {
            if next.packing == Packing::Unknown {
                self.unread.remove(0);
                self.count_unknown(&next);
                continue;
            }
            let Some(mut content) = self.open_member(&next)? else {
                return Ok(false);
            };
            // A file that was deleted since may have left its inode, and its name, to another.
            if !self.begins_as_listed(&next, &mut content)? {
                return Ok(false);
            }
            self.unread.remove(0);
            self.enter(&next, content, 0, Tail::default(), options)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn count_unknown(&mut self, member: &Member) {
        if self.passed.insert(member.id) {
            self.damage.files_missed += 1;
            self.damage.bytes_missed += member.bytes;
        }
    }

    fn next(&mut self, members: &[Member]) -> io::Result<Option<Member>> {
        let (from, after_ns) = match self.parts.last() {
            None => (0, self.after_ns),
            Some(newest) => match self.position_of(newest, members)? {
                Some(position) => (position + 1, i64::MIN),
                None => (0, newest.known.mtime_ns),
            },
        };
        for member in &members[from..] {
            if self.is_open(member) || !member.is_current() && member.mtime_ns < after_ns {
                continue;
            }
            if member.packing != Packing::Unknown {
                return Ok(Some(member.clone()));
            }
            self.count_unknown(member);
        }
        Ok(None)
    }

    /// Where a part's content is in a listing: in its own file, or packed in another one.
    fn position_of(&self, part: &Part, members: &[Member]) -> io::Result<Option<usize>> {
        if part.is_destroyed {
            return Ok(None);
        }
        if let Some(position) = members.iter().position(|member| member.id == part.id) {
            return Ok(Some(position));
        }
        for (position, member) in members.iter().enumerate() {
            if matches!(member.packing, Packing::Gzip | Packing::Zstd)
                && let Some(mut content) = self.open_member(member)?
                && part.is_content_of(&mut content)?
            {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    fn is_open(&self, member: &Member) -> bool {
        self.parts
            .iter()
            .any(|part| part.id == member.id && !part.is_destroyed)
    }

    /// Remembers what comes behind `next`, and counts what was to come and is gone.
    fn note_unread(&mut self, members: &[Member], next: &Member) -> io::Result<()> {
        for before in std::mem::take(&mut self.unread) {
            if !self.is_there(&before, members)? {
                self.damage.files_missed += 1;
                self.damage.bytes_missed += before.bytes;
            }
        }
        let behind = members
            .iter()
            .position(|member| member.id == next.id)
            .map_or(members.len(), |at| at + 1);
        self.unread = members[behind..].to_vec();
        let known: HashSet<FileId> = members.iter().map(|member| member.id).collect();
        self.passed.retain(|id| known.contains(id));
        self.heads.retain(|id, _| known.contains(id));
        for member in &self.unread {
            if let Some(mut content) = self.open_member(member)? {
                self.heads
                    .insert(member.id, content.bytes_at(0, HEAD_BYTES)?);
            }
        }
        Ok(())
    }

    /// Whether a file that was listed is one of these: the same one, packed, or a copy of it.
    fn is_there(&self, before: &Member, members: &[Member]) -> io::Result<bool> {
        // By its inode alone: it may be renamed, or emptied behind a copy, at this very moment.
        if members.iter().any(|member| member.id == before.id) {
            return Ok(true);
        }
        let head = self.heads.get(&before.id);
        if head.is_none_or(Vec::is_empty) {
            return Ok(false);
        }
        for member in members {
            if let Some(mut content) = self.open_member(member)?
                && self.begins_as_listed(before, &mut content)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it begins as that file did when it was listed.
    fn begins_as_listed(&self, member: &Member, content: &mut Content) -> io::Result<bool> {
        let head = self.heads.get(&member.id).map_or(&[][..], Vec::as_slice);
        Ok(content.bytes_at(0, head.len())? == head)
    }

    /// Closes files that were rotated away, are settled, and to which nobody appends any more. The newest stays: behind it comes
    /// the next one.
    fn let_go(&mut self, options: &Options) {
        for part in &mut self.parts {
            part.is_done();
        }
        // Behind the last one of which something is settled the others are found again.
        let needed = self
            .parts
            .iter()
            .rposition(|part| part.settled > 0)
            .unwrap_or(0);
        let mut index = 0;
        self.parts.retain_mut(|part| {
            index += 1;
            index > needed || !part.is_done() || !part.is_quiet_for(options.linger)
        });
    }

    pub(super) fn settle(&mut self, part: u64, offset: u64, tail: Tail) {
        if let Some(part) = self.parts.iter_mut().find(|there| there.number == part) {
            part.settle(offset, tail);
        }
    }

    pub(super) fn rewind(&mut self) {
        for part in &mut self.parts {
            let lost = part.rewind();
            self.damage.files_missed += u64::from(lost > 0);
            self.damage.bytes_missed += lost;
        }
    }

    /// Bytes that are not settled, on the disk, and whether all of them were read.
    pub(super) fn unsettled_bytes(&self) -> (u64, bool) {
        let of_parts: u64 = self.parts.iter().map(Part::unsettled_bytes).sum();
        let unread: u64 = self.list().map_or(0, |members| {
            let (from, after_ns) = match self.parts.last() {
                None => (0, self.after_ns),
                Some(newest) if newest.is_destroyed => (0, newest.known.mtime_ns),
                Some(newest) => {
                    let position = members.iter().position(|member| member.id == newest.id);
                    // Where it is packed by now, reading on will tell which file that is.
                    (
                        position.map_or(members.len(), |position| position + 1),
                        i64::MIN,
                    )
                }
            };
            let ahead = members[from..].iter().filter(|member| {
                member.packing != Packing::Unknown
                    && !self.is_open(member)
                    && (member.is_current() || member.mtime_ns >= after_ns)
            });
            ahead.map(|member| member.bytes).sum()
        });
        (
            of_parts + unread,
            unread == 0 && self.parts.iter().all(Part::is_at_end),
        )
    }

    fn list(&self) -> io::Result<Vec<Member>> {
        family::list(&self.path).map_err(|cause| failed("list the files of", &self.path, &cause))
    }

    fn open_member(&self, member: &Member) -> io::Result<Option<Content>> {
        member
            .open()
            .map_err(|cause| failed("open", &member.path, &cause))
    }

    fn enter(
        &mut self,
        member: &Member,
        content: Content,
        offset: u64,
        tail: Tail,
        options: &Options,
    ) -> io::Result<()> {
        self.parts_opened += 1;
        let part = Part::new(
            self.parts_opened,
            member,
            content,
            offset,
            tail,
            options.line_bytes_max,
        );
        self.parts
            .push(part.map_err(|cause| failed("read", &member.path, &cause))?);
        Ok(())
    }
}

/// How far back the end of a line is looked for.
const LINE_LOOKED_FOR_BYTES: u64 = 1 << 20;
/// Attempts to open a file that is renamed at the same time.
const ATTEMPTS_MAX: usize = 20;

/// Where a file was emptied whose writer goes on where it was, it begins with a hole, which reads as zeros.
fn without_hole(line: &[u8]) -> &[u8] {
    let begin = line
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(line.len());
    &line[begin..]
}
