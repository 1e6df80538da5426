//! Python values of any kind as values of a record.
//!
//! It takes two steps. A [`Tree`] is what a value consists of, taken out of its containers before any code of the
//! application runs, so that nobody changes them meanwhile; it is bounded in depth and number, whatever refers to itself.
//! Then each leaf is read: exact numbers and texts as they are, everything else is asked for its `str()`, and an answer that
//! does not come is a mark: `<unprintable shop.Order: ValueError>`. Only what is no `Exception` comes out as an error.

use std::borrow::Cow;

use crate::name::name;
use logboom::format::Value;
use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

/// How deep containers are followed.
const DEPTH_MAX: usize = 6;

/// How many values a record has, those in containers included.
const VALUES_MAX: usize = 4096;

/// What is left for one record, and which containers it is in.
pub(crate) struct Room {
    values: usize,
    inside: [usize; DEPTH_MAX],
    depth: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            values: VALUES_MAX,
            inside: [0; DEPTH_MAX],
            depth: 0,
        }
    }
}

impl Room {
    fn take(&mut self) -> bool {
        let enough = self.values > 0;
        self.values -= usize::from(enough);
        enough
    }
}

/// A value, taken out of its containers.
pub(crate) enum Tree<'py> {
    Leaf(Bound<'py, PyAny>),
    /// What there was no room for is a number.
    List(Vec<Tree<'py>>, usize),
    Map(Vec<(Bound<'py, PyAny>, Tree<'py>)>, usize),
    Mark(&'static str),
}

impl<'py> Tree<'py> {
    /// Runs no code of the application: containers are read as they lie in memory. (A set has no such way in, so that one
    /// of a class of its own is a leaf.)
    pub(crate) fn of(value: Bound<'py, PyAny>, room: &mut Room) -> Tree<'py> {
        if !is_container(&value) {
            return Tree::Leaf(value);
        }
        let identity = value.as_ptr() as usize;
        if room.inside[..room.depth].contains(&identity) {
            return Tree::Mark("[logboom: contains itself]");
        }
        if room.depth == DEPTH_MAX {
            return Tree::Mark("[logboom: too deep]");
        }
        room.inside[room.depth] = identity;
        room.depth += 1;
        let tree = Tree::of_container(value, room);
        room.depth -= 1;
        tree
    }

    /// All that is in a container is held before any of it is followed: following may allocate, allocating may collect
    /// garbage, and a finalizer may change the container.
    fn of_container(value: Bound<'py, PyAny>, room: &mut Room) -> Tree<'py> {
        let most = room.values;
        if let Ok(map) = value.cast::<PyDict>() {
            let count = map.len();
            return Tree::of_map(map.iter().take(most).collect(), count, room);
        }
        let (values, count): (Vec<_>, _) = if let Ok(list) = value.cast::<PyList>() {
            (list.iter().take(most).collect(), list.len())
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            (tuple.iter().take(most).collect(), tuple.len())
        } else if let Ok(set) = value.cast_exact::<PySet>() {
            (set.iter().take(most).collect(), set.len())
        } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            (set.iter().take(most).collect(), set.len())
        } else {
            return Tree::Leaf(value);
        };
        let mut taken = Vec::with_capacity(values.len());
        for value in values {
            if room.take() {
                taken.push(Tree::of(value, room));
            }
        }
        let left = count.saturating_sub(taken.len());
        Tree::List(taken, left)
    }

    fn of_map(
        values: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
        count: usize,
        room: &mut Room,
    ) -> Tree<'py> {
        let mut taken = Vec::with_capacity(values.len());
        for (name, value) in values {
            if room.take() {
                taken.push((name, Tree::of(value, room)));
            }
        }
        let left = count.saturating_sub(taken.len());
        Tree::Map(taken, left)
    }

    /// The value for the record. Texts are borrowed from their objects.
    pub(crate) fn value(&self) -> PyResult<Value<'_>> {
        match self {
            Tree::Leaf(value) => value_of(value),
            Tree::Mark(text) => Ok(Value::Text(Cow::Borrowed(text))),
            Tree::List(trees, left) => {
                let mut values = Vec::with_capacity(trees.len() + 1);
                for tree in trees {
                    values.push(tree.value()?);
                }
                if *left > 0 {
                    values.push(more_left_out(*left));
                }
                Ok(Value::List(values))
            }
            Tree::Map(trees, left) => {
                let mut values = Vec::with_capacity(trees.len() + 1);
                for (name, tree) in trees {
                    values.push((shown(name)?, tree.value()?));
                }
                if *left > 0 {
                    values.push((Cow::Borrowed("logboom"), more_left_out(*left)));
                }
                Ok(Value::Map(values))
            }
        }
    }
}

fn is_container(value: &Bound<'_, PyAny>) -> bool {
    // Text first: most values are.
    !value.is_instance_of::<PyString>()
        && (value.is_instance_of::<PyDict>()
            || value.is_instance_of::<PyList>()
            || value.is_instance_of::<PyTuple>()
            || value.is_exact_instance_of::<PySet>()
            || value.is_exact_instance_of::<PyFrozenSet>())
}

fn value_of<'v>(value: &'v Bound<'_, PyAny>) -> PyResult<Value<'v>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::Text(text_of(text)));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if let Ok(number) = value.cast::<PyInt>() {
        return whole_number(number);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Value::Float(number.value()));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::Text(text_of_bytes(bytes.as_bytes())));
    }
    Ok(Value::Text(shown(value)?))
}

/// What a value says of itself: `str()`, for dates `isoformat()`, for exceptions `repr()`; or the mark.
pub(crate) fn shown<'v>(value: &'v Bound<'_, PyAny>) -> PyResult<Cow<'v, str>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text_of(text));
    }
    marked(value, said(value)).map(Cow::Owned)
}

/// What an exception says: its `str()`, or the mark.
pub(crate) fn message_of(exception: &Bound<'_, PyAny>) -> PyResult<String> {
    let said = exception.str().map(|text| text_of(&text).into_owned());
    marked(exception, said)
}

fn marked(value: &Bound<'_, PyAny>, said: PyResult<String>) -> PyResult<String> {
    let Err(error) = said else {
        return said;
    };
    let py = value.py();
    let kind = class_name(&error.get_type(py));
    pass_on(py, error)?;
    let class = class_name(&value.get_type());
    Ok(format!("<unprintable {class}: {kind}>"))
}

/// The text of a `str`; lone surrogates, which no file can hold, show as `\udc80`.
pub(crate) fn text_of<'v>(text: &'v Bound<'_, PyString>) -> Cow<'v, str> {
    match text.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(
            text.call_method1(
                name!(text.py(), "encode"),
                (
                    name!(text.py(), "utf-8"),
                    name!(text.py(), "backslashreplace"),
                ),
            )
            .ok()
            .and_then(|bytes| {
                Some(text_of_bytes(bytes.cast::<PyBytes>().ok()?.as_bytes()).into_owned())
            })
            .unwrap_or_else(|| String::from("<unprintable str: UnicodeEncodeError>")),
        ),
    }
}

/// A class with its module; Python's own without.
pub(crate) fn class_name(class: &Bound<'_, PyType>) -> String {
    let text = |name| -> Option<String> { class.getattr(name).ok()?.extract().ok() };
    let name = text(name!(class.py(), "__qualname__")).unwrap_or_else(|| String::from("object"));
    match text(name!(class.py(), "__module__")) {
        Some(module) if module != "builtins" && module != "__main__" => format!("{module}.{name}"),
        _ => name,
    }
}

/// Lets through what no code that logs may swallow: `SystemExit`, `KeyboardInterrupt`, `GreenletExit` and their kin.
pub(crate) fn pass_on(py: Python<'_>, error: PyErr) -> PyResult<()> {
    if error.is_instance_of::<PyException>(py) {
        Ok(())
    } else {
        Err(error)
    }
}

fn said(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = if value.is_instance_of::<PyBaseException>() {
        value.repr()?
    } else if is_of_datetime(value) {
        value.call_method0(name!(value.py(), "isoformat"))?.str()?
    } else {
        value.str()?
    };
    Ok(text_of(&text).into_owned())
}

/// `date`, `time` and `datetime` themselves; what is derived from them says what it likes.
fn is_of_datetime(value: &Bound<'_, PyAny>) -> bool {
    let class = class_name(&value.get_type());
    matches!(
        class.as_str(),
        "datetime.datetime" | "datetime.date" | "datetime.time"
    )
}

fn whole_number<'v>(number: &Bound<'_, PyInt>) -> PyResult<Value<'v>> {
    if let Ok(number) = number.extract::<i64>() {
        return Ok(Value::Int(number));
    }
    if let Ok(number) = number.extract::<u64>() {
        return Ok(Value::Uint(number));
    }
    // Its digits are text: what reads JSON would round it.
    Ok(Value::Text(Cow::Owned(
        shown(number.as_any())?.into_owned(),
    )))
}

fn text_of_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(out)
}

fn more_left_out<'v>(count: usize) -> Value<'v> {
    Value::Text(Cow::Owned(format!("[logboom: {count} more left out]")))
}
