//! Entry points over private functions for the fuzz targets in `fuzz/`; only with the feature `fuzzing`.
//!
//! Nothing is decided here: values go in, the function under test is called, values come out. What must hold is said in
//! the targets. Not part of the interface: it changes with what it calls.

use crate::sink::Verdict;
use crate::sinks::relp::flight::Flight;
use crate::sinks::relp::response;

/// A frame of RELP: number, command, data.
pub type RelpFrame = (u32, String, Vec<u8>);

/// The first frame of `bytes` and its length; None while its end is missing, an error if there will be none.
#[allow(missing_docs, clippy::missing_errors_doc)]
pub fn relp_frame(bytes: &[u8]) -> Result<Option<(RelpFrame, usize)>, String> {
    let found = response::parse(bytes).map_err(|why| why.to_string())?;
    Ok(found.map(|(frame, len)| {
        let data = frame.data.to_vec();
        ((frame.transaction, frame.command.to_owned(), data), len)
    }))
}

/// Longest data of a frame.
pub const RELP_DATA_BYTES_MAX: usize = response::DATA_BYTES_MAX;

/// Code and text of the data of a `rsp`.
pub fn relp_answer(data: &[u8]) -> Option<(u16, String)> {
    response::answer(data).map(|answer| (answer.code, answer.text))
}

/// The verdicts on records of so many messages each, numbered from `first` on, after the answers in `bytes`; true: the server
/// has kept to the protocol.
pub fn relp_verdicts(first: u32, records: &[u8], bytes: &[u8]) -> (Vec<Verdict>, bool) {
    let mut flight = Flight::from_number(first.clamp(1, 999_999_999));
    for messages in records {
        flight.begin_record();
        for _ in 0..=messages % 4 {
            flight.begin_message();
        }
    }
    let (mut verdicts, mut at) = (Vec::new(), 0);
    let is_sound = loop {
        match response::parse(&bytes[at..]) {
            Ok(Some((frame, len))) => {
                at += len;
                if flight.answer(frame).is_err() {
                    break false;
                }
                flight.take_verdicts(&mut verdicts);
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    (verdicts, is_sound)
}
