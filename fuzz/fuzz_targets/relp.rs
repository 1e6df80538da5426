//! Any bytes of a RELP server are frames, the beginning of one, or refused: the same ones in whatever pieces they come, none
//! longer than it may be; and they make no more verdicts than there are records, whatever they answer.
//!
//! An input begins with the number of the first message (4 bytes), the count of records (1) and, for each, how many messages it
//! has (1 each); then a byte for the length of pieces; the rest is what the server says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logboom_relay::fuzzing::{
    RELP_DATA_BYTES_MAX, RelpFrame, relp_answer, relp_frame, relp_verdicts,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let Some((count, rest)) = rest.split_first() else {
        return;
    };
    let Some((records, rest)) = rest.split_at_checked(usize::from(count % 32)) else {
        return;
    };
    let Some((piece, said)) = rest.split_first() else {
        return;
    };
    let whole = frames(said, said.len().max(1));
    assert_eq!(whole, frames(said, usize::from(*piece).max(1)));
    for (number, command, data) in &whole.0 {
        assert!(*number <= 999_999_999 && (1..=32).contains(&command.len()));
        assert!(data.len() <= RELP_DATA_BYTES_MAX);
        read_back(*number, command, data);
        if let Some((code, text)) = relp_answer(data) {
            assert!(code <= 999 && text.chars().count() <= 80);
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    let (verdicts, _) = relp_verdicts(u32::from_le_bytes(*first), records, said);
    assert!(verdicts.len() <= records.len());
    assert!(verdicts.len() <= whole.0.len());
});

/// The frames of bytes that come in pieces, and whether they ended in something that is none.
fn frames(bytes: &[u8], piece: usize) -> (Vec<RelpFrame>, bool) {
    let (mut inbox, mut all) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        inbox.extend_from_slice(piece);
        loop {
            match relp_frame(&inbox) {
                Ok(Some((frame, len))) => {
                    assert!(len <= inbox.len() && len >= frame.2.len() + 4);
                    inbox.drain(..len);
                    all.push(frame);
                }
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
        // What waits for its end is a frame that may still come to it.
        assert!(inbox.len() <= RELP_DATA_BYTES_MAX + 64);
    }
    (all, false)
}

/// A frame that is written as it was read is read as the same.
fn read_back(number: u32, command: &str, data: &[u8]) {
    let mut frame = format!("{number} {command} {}", data.len()).into_bytes();
    if !data.is_empty() {
        frame.push(b' ');
        frame.extend_from_slice(data);
    }
    frame.push(b'\n');
    let expected = ((number, command.to_owned(), data.to_vec()), frame.len());
    assert_eq!(relp_frame(&frame), Ok(Some(expected)));
}
