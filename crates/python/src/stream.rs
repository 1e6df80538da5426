//! Records of the stream's handler (`python/logboom/_stream_handler.py`), published without a `logging.LogRecord`.
//!
//! Where a record goes is decided by the handler's routes, once for each component and level; a [`Way`] in their decision says
//! that it is one file alone. Then a call of a logger (`publish`), or what the package says itself, such as an access record
//! (`publish_brief`), goes from its parts into that file. Who calls has made sure that nobody but the handler would have seen a
//! record; time, thread and process are those of now.
//!
//! What always holds: the line is the one that `Encoder::encode` would have made of the `LogRecord`. An exception means that
//! nothing is published.

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::buffer;
use crate::encoder::{Encoder, Parts};
use crate::handling::{attributes, is_empty_list};
use crate::keys::place;
use crate::log::{Log, level};
use crate::logger::{Call, Words};
use crate::moment;
use crate::name::name;

/// From this level on a record may ask for the trail of its request.
const ERROR: i64 = 40;

/// Where records of one component and level go, if that is one file.
#[pyclass(frozen, module = "logboom._native")]
pub(crate) struct Way {
    log: Py<Log>,
    encoder: Py<Encoder>,
    /// As `Log.publish_record` publishes, otherwise as `Log.publish` does.
    to_main: bool,
}

#[pymethods]
impl Way {
    #[new]
    fn new(log: Py<Log>, encoder: Py<Encoder>, to_main: bool) -> Way {
        Way {
            log,
            encoder,
            to_main,
        }
    }
}

impl Way {
    fn publish(
        &self,
        parts: Parts<'_>,
        message: &Bound<'_, PyAny>,
        request: &Bound<'_, PyAny>,
        levelno: i64,
        over: Option<u64>,
    ) -> PyResult<u8> {
        let py = message.py();
        let (log, encoder) = (self.log.get(), self.encoder.get());
        let request = Some(request).filter(|request| !request.is_none());
        let mut answer = Ok(0);
        let made = buffer::with(|line| {
            encoder.with_record(parts, message, request, None, |record| {
                encoder.native().encode(record, line);
                if !line.ends_with(b"\n") {
                    line.push(b'\n');
                }
                let names = [record.component, record.request.id];
                answer = match self.to_main {
                    true => log.record(levelno, names, [b"", line], true, None),
                    false => Ok(()),
                }
                .and_then(|()| log.publish_ending(py, line, levelno, over));
            })
        });
        made.and(answer)
    }
}

/// Publishes a record that the package makes itself. `about` is its name, level and the level's name, `bound` a mapping with more
/// fields, `over` the token of the request that is over with it.
#[pyfunction]
pub(crate) fn publish_brief<'py>(
    way: &Bound<'py, Way>,
    about: (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>),
    message: &Bound<'py, PyString>,
    fields: &Bound<'py, PyDict>,
    bound: &Bound<'py, PyAny>,
    request: &Bound<'py, PyAny>,
    over: Option<u64>,
) -> PyResult<u8> {
    let py = way.py();
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
    way.get().publish(parts, message, request, levelno, over)
}

/// What the handlers of the stream are like, and what else goes into their records.
struct Stream {
    handle: Py<PyAny>,
    emit: Py<PyAny>,
    /// The request of now, and the fields that are bound.
    current: Py<PyAny>,
    bound: Py<PyAny>,
}

static STREAM: OnceLock<Stream> = OnceLock::new();

/// Tells of the class `handler` of the stream's handlers, and of the functions that give the request of now and the fields that are
/// bound. The first call counts.
#[pyfunction]
pub(crate) fn stream_handler(
    handler: &Bound<'_, PyType>,
    current: Py<PyAny>,
    bound: Py<PyAny>,
) -> PyResult<()> {
    let stream = Stream {
        handle: handler.getattr("handle")?.unbind(),
        emit: handler.getattr("emit")?.unbind(),
        current,
        bound,
    };
    let _ = STREAM.set(stream);
    Ok(())
}

/// Publishes the record of a call through `handler`, which alone takes it. False, or an exception: it is not published.
pub(crate) fn publish(
    words: &Words,
    call: &Call<'_>,
    handler: &Bound<'_, PyAny>,
    levelno: i64,
) -> PyResult<bool> {
    let py = handler.py();
    let Some(stream) = STREAM.get() else {
        return Ok(false);
    };
    let Some(way) = stream.way(words, call, handler, levelno)? else {
        return Ok(false);
    };
    let (Some(mut parts), Some(message)) = (words.parts(call)?, words.formatted(call)?) else {
        return Ok(false);
    };
    let request = stream.current.bind(py).call0()?;
    parts.add(&stream.bound.bind(py).call0()?)?;
    way.get()
        .publish(parts, &message, &request, levelno, None)?;
    Ok(true)
}

impl Stream {
    /// Where a record goes that only the handler's own code would see. None: somebody else would, or there is more to it.
    fn way<'py>(
        &self,
        words: &Words,
        call: &Call<'py>,
        handler: &Bound<'py, PyAny>,
        levelno: i64,
    ) -> PyResult<Option<Bound<'py, Way>>> {
        let py = handler.py();
        let own = attributes(handler)?;
        let Some(routes) = own.get_item(name!(py, "routes"))? else {
            return Ok(None);
        };
        if !self.is_plain(handler, &own)? || !words.notes_workers(py)? {
            return Ok(None);
        }
        let routes = attributes(&routes)?;
        let has_none = |name| -> PyResult<bool> {
            let value = routes.get_item(name)?;
            Ok(value.is_some_and(|value| value.is_none()))
        };
        let asks_for_trail = !has_none(name!(py, "rewinds"))? && levelno >= ERROR;
        if asks_for_trail || !has_none(name!(py, "json"))? || !has_none(name!(py, "judge"))? {
            return Ok(None);
        }
        let name = call.logger.getattr(name!(py, "name"))?;
        let mut found = routes.get_item(name!(py, "found"))?;
        for key in [&name, &call.level] {
            let Some(Ok(known)) = found.map(|found| found.cast_into_exact::<PyDict>()) else {
                return Ok(None);
            };
            found = known.get_item(key)?;
        }
        let Some(Ok(route)) = found.map(|found| found.cast_into_exact::<PyTuple>()) else {
            return Ok(None);
        };
        let last = route.get_item(route.len().saturating_sub(1))?;
        Ok(last.cast_into_exact::<Way>().ok())
    }

    /// Nothing was set on the handler, or put in the place of its methods.
    fn is_plain(&self, handler: &Bound<'_, PyAny>, own: &Bound<'_, PyDict>) -> PyResult<bool> {
        let py = handler.py();
        let kind = handler.get_type();
        let (handle, emit) = (name!(py, "handle"), name!(py, "emit"));
        let (filters, formatter) = (
            own.get_item(name!(py, "filters"))?,
            own.get_item(name!(py, "formatter"))?,
        );
        Ok(kind.getattr(handle)?.is(&self.handle)
            && kind.getattr(emit)?.is(&self.emit)
            && !own.contains(handle)?
            && !own.contains(emit)?
            && filters.is_some_and(|filters| is_empty_list(&filters))
            && formatter.is_some_and(|formatter| formatter.is_none()))
    }
}
