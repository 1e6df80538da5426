//! Records that the package makes itself, such as access records, published without a `logging.LogRecord`.
//!
//! Who calls has made sure that nobody but the handler of the stream would have seen one, and has the message and the fields;
//! time, thread and process are those of now.
//!
//! What always holds: the line is the one that `Encoder::encode` would have made of the `LogRecord`. An exception means that
//! nothing is published.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::encoder::{Encoder, Parts};
use crate::keys::place;
use crate::log::{Log, level};
use crate::moment;

/// How much memory a thread keeps for its next record.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Taken while a record is made and published.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Publishes a record. `to_main`: as `Log.publish_record` does, otherwise as `Log.publish`, with what they answer. `about` is the
/// record's name, level and the level's name, `bound` a mapping with more fields.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "a record has so many parts")]
pub(crate) fn publish_brief<'py>(
    log: &Bound<'py, Log>,
    encoder: &Bound<'py, Encoder>,
    to_main: bool,
    about: (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>),
    message: &Bound<'py, PyString>,
    fields: &Bound<'py, PyDict>,
    bound: &Bound<'py, PyAny>,
    request: &Bound<'py, PyAny>,
) -> PyResult<u8> {
    let py = log.py();
    let (name, number, level_name) = about;
    let levelno = level(&number);
    let mut parts = Parts::new();
    moment::note(py, &mut parts)?;
    parts.slots[place::NAME] = Some(name);
    parts.slots[place::MSG] = Some(message.clone().into_any());
    parts.slots[place::LEVEL_NUMBER] = Some(number);
    parts.slots[place::LEVEL_NAME] = Some(level_name);
    parts.add(fields)?;
    parts.add(bound)?;
    let (log, encoder) = (log.get(), encoder.get());
    // Without one when the thread is at its very end.
    let mut line = BUFFER.try_with(Cell::take).unwrap_or_default();
    line.clear();
    let mut answer = Ok(0);
    let made = encoder.with_record(parts, message, Some(request), None, |record| {
        encoder.native().encode(record, &mut line);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        let names = [record.component, record.request.id];
        answer = match to_main {
            true => log.record_and_publish(py, levelno, names, [b"", &line], true, None),
            false => log.publish_line(py, &line, levelno),
        };
    });
    if line.capacity() <= KEPT_BYTES_MAX {
        let _ = BUFFER.try_with(|buffer| buffer.set(line));
    }
    made.and(answer)
}
