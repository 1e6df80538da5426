//! Records that are too long for one message: what of them is sent, and in which message.
//!
//! What always holds: what is planned for a message fits into its room; a cut record is one message that says how much it
//! was, a split one is in its parts whole and in order, unless it would be more than [`PARTS_MAX`], the last of which is cut.

use std::borrow::Cow;
use std::ops::Range;

use super::fields::{AROUND_BYTES, LEFT_OUT, VALUE_BYTES_MAX};
use super::text::Escapes;

/// Parts of a record at most.
pub(super) const PARTS_MAX: usize = 999;
/// Bytes that a part's number takes at most: ` part="999/999"`, or `[logboom: part 999/999] ` in a message.
pub(super) const NUMBER_BYTES_MAX: usize = 24;
/// Bytes that ` fields_left_out="18446744073709551615"` takes.
const LEFT_OUT_BYTES_MAX: usize = AROUND_BYTES + LEFT_OUT.len() + 20;
/// Less of a value is not worth its name.
const PIECE_BYTES_MIN: usize = 32;

/// A field with its name as it is sent.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) text: Cow<'a, str>,
}

/// What a message of a record that is too long says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) fields: Vec<Taken>,
    /// Fields that are in no message.
    pub(super) fields_left_out: usize,
    /// Bytes of the record's body.
    pub(super) message: Range<usize>,
    /// The rest of the body is in no message.
    pub(super) message_is_cut: bool,
}

/// A field, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Which.
    pub(super) field: usize,
    /// Bytes of its text.
    pub(super) text: Range<usize>,
    /// The rest of it is in no message.
    pub(super) is_cut: bool,
}

/// Where a message's fields and text have to fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// Bytes for both.
    pub(super) room: usize,
    pub(super) message: Escapes,
    pub(super) field: Escapes,
}

/// Stands behind a text that was cut.
pub(super) fn mark(bytes_in_all: usize) -> String {
    format!(" [logboom: cut, {bytes_in_all} bytes in all]")
}

/// One message with the beginning of everything. Fields may take what the text leaves, half of the room at least.
pub(super) fn cut(fields: &[Field<'_>], body: &str, space: Space) -> Part {
    cut_from(fields, (0, 0), body, 0, space)
}

/// Like [`cut`], from a piece of a field and a byte of the body on.
fn cut_from(
    fields: &[Field<'_>],
    from: (usize, usize),
    body: &str,
    body_from: usize,
    space: Space,
) -> Part {
    let rest = &body[body_from..];
    let room = space.room.saturating_sub(space.message.len(rest));
    let mut part = Part::default();
    let mut left = room.max(space.room / 2);
    let used = take_cut(fields, from, &mut left, space.field, &mut part);
    let room = space.room.saturating_sub(used);
    part.message = body_from..body.len();
    if space.message.len(rest) > room {
        let room = room.saturating_sub(mark(body.len()).len());
        part.message.end = body_from + space.message.fit(rest, room);
        part.message_is_cut = true;
    }
    part
}

/// Takes of each field what fits; a long one leaves half of the room to those behind it. Gives the bytes used.
fn take_cut(
    fields: &[Field<'_>],
    (first, at): (usize, usize),
    room: &mut usize,
    escapes: Escapes,
    part: &mut Part,
) -> usize {
    let all = *room;
    *room = room.saturating_sub(LEFT_OUT_BYTES_MAX);
    for (index, field) in fields.iter().enumerate().skip(first) {
        let start = if index == first { at } else { 0 };
        let rest = &field.text[start..];
        let around = AROUND_BYTES + field.name.len();
        let is_last = index + 1 == fields.len();
        let share = if is_last { *room } else { *room / 2 };
        let len = around + escapes.len(rest);
        if len <= share && rest.len() <= VALUE_BYTES_MAX {
            *room -= len;
            part.take(index, start..field.text.len(), false);
            continue;
        }
        let mark = mark(field.text.len());
        let beside = around + escapes.len(&mark);
        if share < beside + PIECE_BYTES_MIN {
            part.fields_left_out += 1;
            continue;
        }
        let value = (share - beside).min(VALUE_BYTES_MAX - mark.len());
        let end = start + escapes.fit(rest, value);
        *room -= beside + escapes.len(&field.text[start..end]);
        part.take(index, start..end, true);
    }
    let reserved = if part.fields_left_out > 0 {
        0
    } else {
        LEFT_OUT_BYTES_MAX
    };
    all - (*room + reserved).min(all)
}

impl Part {
    fn take(&mut self, field: usize, text: Range<usize>, is_cut: bool) {
        self.fields.push(Taken {
            field,
            text,
            is_cut,
        });
    }
}

/// As many messages as it takes, each filled up; the body begins in the first.
pub(super) fn split(fields: &[Field<'_>], body: &str, space: Space) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut next, mut at) = ((0, 0), 0);
    while next.0 < fields.len() || at < body.len() {
        if parts.len() + 1 == PARTS_MAX {
            parts.push(cut_from(fields, next, body, at, space));
            break;
        }
        let mut part = Part::default();
        let room = space.room.saturating_sub(body.len() - at);
        let room = room.max(space.room / 2);
        let used = take_pieces(fields, &mut next, room, space.field, &mut part);
        let end = at
            + space
                .message
                .fit(&body[at..], space.room.saturating_sub(used));
        part.message = at..end;
        if part.fields.is_empty() && part.message.is_empty() {
            debug_assert!(false, "no room in {space:?}");
            parts.push(cut_from(fields, next, body, at, space));
            break;
        }
        at = end;
        parts.push(part);
    }
    parts
}

/// Takes fields from `next` on, in order, until the room is used; the last one may be a piece. Gives the bytes used.
fn take_pieces(
    fields: &[Field<'_>],
    next: &mut (usize, usize),
    room: usize,
    escapes: Escapes,
    part: &mut Part,
) -> usize {
    let mut used = 0;
    while let Some(field) = fields.get(next.0) {
        let start = next.1;
        let rest = &field.text[start..];
        let around = AROUND_BYTES + field.name.len();
        let left = (room - used).saturating_sub(around);
        // Escaped it is not shorter, so what cannot fit is not measured.
        let fits = |len: usize| around + len <= room - used;
        if fits(rest.len()) && fits(escapes.len(rest)) && rest.len() <= VALUE_BYTES_MAX {
            used += around + escapes.len(rest);
            part.take(next.0, start..field.text.len(), false);
            *next = (next.0 + 1, 0);
            continue;
        }
        if left >= PIECE_BYTES_MIN {
            let end = start + escapes.fit(rest, left.min(VALUE_BYTES_MAX));
            used += around + escapes.len(&field.text[start..end]);
            part.take(next.0, start..end, false);
            next.1 = end;
        }
        break;
    }
    used
}
