//! Reading on: from line to line, from segment to segment.

use std::io;
use std::path::PathBuf;

use super::line::{self, HEADER};
use super::reader::{Mark, Reader, Segment};
use super::segments::Name;
use super::stand::is_behind;
use crate::cursor::failed;
use crate::lines::{More, Next, read_at};
use crate::record::Record;
use crate::source::{Parcel, Position};

/// What the bytes of a line are.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and mostly it is a record"
)]
enum Judged {
    /// A record, its checksum, and with how many of the bytes it is done.
    Record(Record, u32, usize),
    /// Damage, a part of which may have been seen before.
    Damage,
    /// A part of damage: the line goes on.
    PartOfDamage,
}

impl Reader {
    /// Reads on where lines are used up; false: there is nothing now.
    pub(super) fn go_on(&mut self) -> io::Result<bool> {
        let Some(segment) = self.segments.get(self.reading) else {
            return self.discover();
        };
        let file = segment.file.clone();
        let more = self.lines.more(read_at(&file));
        match more.map_err(|cause| failed("read", &self.path_of_reading(), &cause))? {
            More::Some => Ok(true),
            More::Changed => self.begin_anew_after_a_cut().map(|()| true),
            More::End => self.at_the_end(),
        }
    }

    /// Nothing more is in the segment for now.
    fn at_the_end(&mut self) -> io::Result<bool> {
        if !self.segments[self.reading].is_closed {
            return self.notice_closing();
        }
        if self.is_ending {
            return self.advance();
        }
        self.is_ending = true;
        Ok(true)
    }

    /// Looks whether the segment still is the current one; true: it is not, and what came meanwhile is to be read.
    fn notice_closing(&mut self) -> io::Result<bool> {
        let id = self.segments[self.reading].id;
        let io = |cause: io::Error| failed("look at", &self.place.path(Name::Current), &cause);
        if self.place.current().map_err(io)? == Some(id) {
            return Ok(false);
        }
        let listing = self.look()?;
        let name = listing
            .iter()
            .find(|entry| entry.file == id)
            .map(|entry| entry.name);
        if name == Some(Name::Current) {
            return Ok(false);
        }
        let segment = &mut self.segments[self.reading];
        segment.is_closed = true;
        if let Some(Name::Closed(number)) = name {
            segment.closed_as = Some(number);
        }
        Ok(true)
    }

    /// Leaves the segment, of which everything was read, for the next one.
    fn advance(&mut self) -> io::Result<bool> {
        let segment = &mut self.segments[self.reading];
        segment.is_complete = true;
        let last = segment.last;
        let next = self.reading + 1;
        if next < self.segments.len() {
            self.segments[next].last = self.segments[next].last.max(last);
            self.read_from(next);
            return Ok(true);
        }
        self.discover()
    }

    /// Reads the segment again from the last record on that still is where it was: its writer took back what it could not
    /// write to the end, and wrote again. What had been read of that may come twice.
    fn begin_anew_after_a_cut(&mut self) -> io::Result<()> {
        let segment = &self.segments[self.reading];
        let mut start = 0;
        for mark in self.marks_in_order(segment) {
            let is_there = is_behind(&segment.file, mark.end.offset, mark.crc);
            if !is_there.map_err(|cause| failed("read", &self.path_of_reading(), &cause))? {
                break;
            }
            start = mark.end.offset;
        }
        let again = Segment {
            number: self.next_number(),
            file: self.segments[self.reading].file.clone(),
            is_complete: false,
            is_superseded: false,
            start,
            lines: 0,
            ..self.segments[self.reading]
        };
        self.settled.marks.retain(|mark| mark.end.offset <= start);
        self.segments[self.reading].is_superseded = true;
        self.segments.truncate(self.reading + 1);
        self.segments.push_back(again);
        self.read_from(self.reading + 1);
        Ok(())
    }

    /// The records of this file that are known by their place, in the order of the file. Of what was read before an earlier cut,
    /// only what lay before the cut counts.
    fn marks_in_order(&self, segment: &Segment) -> impl Iterator<Item = Mark> {
        let same_file = self.segments.iter().filter(|other| other.id == segment.id);
        let begun: Vec<(u64, u64)> = same_file.map(|other| (other.number, other.start)).collect();
        let files: Vec<u64> = begun.iter().map(|(number, _)| *number).collect();
        let in_flight = self
            .in_flight
            .iter()
            .filter(move |mark| files.contains(&mark.end.file));
        let counts = move |mark: &Mark| {
            let mut later = begun.iter().filter(|(number, _)| *number > mark.end.file);
            later.all(|(_, start)| mark.end.offset <= *start)
        };
        self.settled
            .marks_in(segment.id)
            .chain(in_flight.copied())
            .filter(counts)
    }

    /// The next record of what was read.
    ///
    /// # Errors
    /// The segment is of an unknown version (`InvalidData`).
    pub(super) fn next_record(&mut self) -> io::Result<Option<Parcel>> {
        while !self.segments.is_empty() && self.pass_header()? {
            let begin = self.lines.at();
            let Some(judged) = self.next_line() else {
                return Ok(None);
            };
            let bytes = self.lines.at() - begin;
            match judged {
                Judged::Record(record, crc, used) => {
                    // Behind a damaged line feed another record may follow.
                    self.lines.back(bytes as usize - used);
                    return Ok(Some(self.give(record, crc, begin)));
                }
                Judged::Damage => {
                    let before = self.long_bytes.take().unwrap_or(0);
                    self.count_damage(before + bytes);
                }
                Judged::PartOfDamage => *self.long_bytes.get_or_insert(0) += bytes,
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Option<Judged> {
        let is_within_long = self.long_bytes.is_some();
        match self.lines.next() {
            Next::Line(_) if is_within_long => return Some(Judged::Damage),
            Next::Line(line) => return Some(judge(line, 1)),
            Next::Piece(_) => return Some(Judged::PartOfDamage),
            Next::None => {}
        }
        let rest = self.lines.rest();
        if !self.is_ending || rest.is_empty() {
            return None;
        }
        let judged = if is_within_long {
            Judged::Damage
        } else {
            judge(rest, 0)
        };
        self.lines.skip(self.lines.rest().len());
        Some(judged)
    }

    fn give(&mut self, record: Record, crc: u32, begin: u64) -> Parcel {
        let segment = &mut self.segments[self.reading];
        let end = Position {
            file: segment.number,
            offset: self.lines.at(),
        };
        segment.last = segment.last.max(end);
        segment.lines += 1;
        let bytes = end.offset - begin;
        self.in_flight.push_back(Mark { end, crc, bytes });
        Parcel { record, end, bytes }
    }

    /// True when the lines begin; false: the header is not there yet.
    fn pass_header(&mut self) -> io::Result<bool> {
        if self.lines.at() >= HEADER.len() as u64 {
            return Ok(true);
        }
        let rest = self.lines.rest();
        let Some(header) = rest.first_chunk::<4>() else {
            if self.is_ending && !rest.is_empty() {
                let bytes = rest.len();
                self.lines.skip(bytes);
                self.count_damage(bytes as u64);
            }
            return Ok(false);
        };
        match header {
            header if header == HEADER => self.lines.skip(HEADER.len()),
            [b'L', b'S', b'1', b'0'..=b'9'] => return Err(self.unknown_version()),
            [b'L', b'S', version, _] if version.is_ascii_digit() && *version != b'1' => {
                return Err(self.unknown_version());
            }
            _ => {
                self.lines.skip(HEADER.len());
                self.count_damage(HEADER.len() as u64);
            }
        }
        Ok(true)
    }

    fn unknown_version(&self) -> io::Error {
        let header = String::from_utf8_lossy(&self.lines.rest()[..HEADER.len()])
            .trim_end()
            .to_owned();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "failed to read `{}`: it is a spool of version `{header}`, this program reads `LS1`; ship it with the program that wrote it",
                self.path_of_reading().display()
            ),
        )
    }

    fn path_of_reading(&self) -> PathBuf {
        let closed_as = self
            .segments
            .get(self.reading)
            .and_then(|segment| segment.closed_as);
        self.place
            .path(closed_as.map_or(Name::Current, Name::Closed))
    }

    /// Counts a line that was just passed, unless it was met before.
    fn count_damage(&mut self, bytes: u64) {
        let segment = &mut self.segments[self.reading];
        segment.lines += 1;
        let end = Position {
            file: segment.number,
            offset: self.lines.at(),
        };
        if end > self.damage_counted_to {
            self.damage_counted_to = end;
            self.damage.lines_skipped += 1;
            self.damage.bytes_skipped += bytes;
        }
    }
}

/// What a line is, behind which an end of so many bytes stands.
fn judge(bytes: &[u8], end_bytes: usize) -> Judged {
    if let Some(line) = line::decode(bytes) {
        return Judged::Record(record_of(&line), line.crc, bytes.len() + end_bytes);
    }
    let Some((line, len)) = line::decode_first(bytes) else {
        return Judged::Damage;
    };
    // What stands in the line feed's place is passed over, unless a record begins there.
    let used = match bytes.get(len) {
        None | Some(b'{') => len,
        Some(_) if len + 1 == bytes.len() => len + 1 + end_bytes,
        Some(_) => len + 1,
    };
    Judged::Record(record_of(&line), line.crc, used)
}

fn record_of(line: &line::Line<'_>) -> Record {
    Record {
        id: line.id.to_owned(),
        ..Record::from_json_line(line.payload)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::source::Source;
    use crate::spool::Options;

    fn write(root: &Path, number: u32, bytes: impl Fn(&[u8]) -> &[u8]) {
        let payload = format!(r#"{{"timestamp":"2026-11-20T16:30:01Z","body":"{number}"}}"#);
        let mut line = Vec::new();
        line::encode(payload.as_bytes(), &format!("1.1.{number:x}"), &mut line);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(root.join("s.spool"))
            .unwrap();
        if file.metadata().unwrap().len() == 0 {
            file.write_all(HEADER).unwrap();
        }
        file.write_all(bytes(&line)).unwrap();
    }

    fn read(reader: &mut Reader) -> Vec<String> {
        let mut parcels = Default::default();
        while reader.read(9, &mut parcels).unwrap() > 0 {}
        parcels
            .into_iter()
            .map(|parcel: Parcel| parcel.record.body)
            .collect()
    }

    /// The writer writes and closes the segment just when the reader has seen its end, and not yet that it is closed.
    #[test]
    fn what_comes_between_the_end_and_the_closing_is_read() {
        for cut in [0, 20] {
            let root = tempfile::tempdir().unwrap();
            let mut reader = Reader::open(root.path(), "s", Options::default()).unwrap();
            write(root.path(), 1, |line| line);
            write(root.path(), 2, |line| &line[..cut]);
            assert_eq!(read(&mut reader), ["1"]);
            let file = reader.segments[0].file.clone();
            assert_eq!(reader.lines.more(read_at(&file)).unwrap(), More::End);
            write(root.path(), 2, |line| &line[cut..]);
            write(root.path(), 3, |line| line);
            fs::rename(root.path().join("s.spool"), root.path().join("s.spool.1")).unwrap();
            write(root.path(), 4, |line| line);
            assert!(reader.at_the_end().unwrap());
            assert_eq!(read(&mut reader), ["2", "3", "4"]);
            assert_eq!(reader.damage().lines_skipped, 0);
        }
    }
}
