//! `Formatter.formatTime`, which asks the C library for a text only once in a second.
//!
//! What always holds: the text is the one that the standard library would have made. So only what depends on nothing but the second
//! is kept, under everything that it was made of: the function that takes the second apart, the template, and the time zone.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString, PyType};

use crate::name::name;

/// What stands behind a `%` in templates whose text is the same in every locale.
const PLAIN_DIRECTIVES: &[u8] = b"YmdHMSjyzZ%";

/// The standard library's own functions.
pub(crate) struct Standard {
    class: Py<PyType>,
    format_time: Py<PyAny>,
    /// What the module `time` has now.
    time: Py<PyDict>,
    strftime: Py<PyAny>,
    converters: [Py<PyAny>; 2],
}

/// All that the text of a second depends on.
struct Second {
    number: i64,
    converter: Py<PyAny>,
    template: Py<PyString>,
    zone: Py<PyAny>,
}

/// The last one, and its text. Held with the interpreter's lock, and only to copy what is in it.
static LAST: Mutex<Option<(Second, Py<PyString>)>> = Mutex::new(None);

impl Standard {
    /// `formatter`: the class of that name.
    pub fn new(formatter: &Bound<'_, PyType>) -> PyResult<Standard> {
        let time = PyModule::import(formatter.py(), "time")?;
        let function = |name: &str| -> PyResult<Py<PyAny>> { Ok(time.getattr(name)?.unbind()) };
        Ok(Standard {
            format_time: formatter.getattr("formatTime")?.unbind(),
            class: formatter.clone().unbind(),
            strftime: function("strftime")?,
            converters: [function("localtime")?, function("gmtime")?],
            time: time.dict().unbind(),
        })
    }

    /// When a record was made, as `formatter`, an instance of just that class, has it. None: its own method has to be asked.
    pub fn text<'py>(
        &self,
        formatter: &Bound<'py, PyAny>,
        created: f64,
        milliseconds: f64,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = formatter.py();
        let class = self.class.bind(py);
        let is_standard = class
            .getattr(name!(py, "formatTime"))?
            .is(&self.format_time);
        let converter = class.getattr(name!(py, "converter"))?;
        if !is_standard || !self.converters.iter().any(|known| converter.is(known)) {
            return Ok(None);
        }
        let own = formatter.getattr(name!(py, "datefmt"))?;
        let is_own = own.is_truthy()?;
        let template = match is_own {
            true => own,
            false => class.getattr(name!(py, "default_time_format"))?,
        };
        let Ok(template) = template.cast_into_exact::<PyString>() else {
            return Ok(None);
        };
        let Some(text) = self.second(&converter, &template, created)? else {
            return Ok(None);
        };
        let form = match is_own {
            true => return Ok(Some(text)),
            false => class.getattr(name!(py, "default_msec_format"))?,
        };
        if !form.is_truthy()? {
            return Ok(Some(text));
        }
        let whole = form.rem((text, milliseconds))?;
        Ok(whole.cast_into().ok())
    }

    /// The second in which `created` lies. None: somebody has replaced what makes the text.
    fn second<'py>(
        &self,
        converter: &Bound<'py, PyAny>,
        template: &Bound<'py, PyString>,
        created: f64,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = converter.py();
        let time = self.time.bind(py);
        let (Some(strftime), Some(zone)) = (
            time.get_item(name!(py, "strftime"))?,
            // Made anew by each `time.tzset`.
            time.get_item(name!(py, "tzname"))?,
        ) else {
            return Ok(None);
        };
        if !strftime.is(&self.strftime) {
            return Ok(None);
        }
        let second = Second {
            number: created.floor() as i64,
            converter: converter.clone().unbind(),
            template: template.clone().unbind(),
            zone: zone.unbind(),
        };
        if let Some(text) = second.known_text(py) {
            return Ok(Some(text));
        }
        let text = strftime.call1((template, converter.call1((created,))?))?;
        let text = text.cast_into::<PyString>()?;
        if is_plain(template.to_str()?.as_bytes()) {
            second.keep(&text);
        }
        Ok(Some(text))
    }
}

impl Second {
    fn known_text<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let (second, text) = last.as_ref()?;
        second.is(self).then(|| text.bind(py).clone())
    }

    fn is(&self, other: &Second) -> bool {
        self.number == other.number
            && self.converter.is(&other.converter)
            && self.template.is(&other.template)
            && self.zone.is(&other.zone)
    }

    fn keep(self, text: &Bound<'_, PyString>) {
        let made = Some((self, text.clone().unbind()));
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, made);
        // In this order: what is dropped may be the last of its kind, and run code.
        drop(last);
        drop(before);
    }
}

/// The text of a template depends on the second alone.
fn is_plain(template: &[u8]) -> bool {
    let mut bytes = template.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'%'
            && !bytes
                .next()
                .is_some_and(|next| PLAIN_DIRECTIVES.contains(next))
        {
            return false;
        }
    }
    true
}
