//! `logging.Logger.isEnabledFor` without the interpreter, as long as no level rule is about the logger that asks.
//!
//! The method is a native method descriptor of the class, so that a call of it costs no more than the standard library's own.
//! It looks at the word of the shared memory that changes with the rules, then does what the standard library does: `disabled`,
//! and the logger's `_cache`. While rules are in force the cache also says what they mean for this logger: nothing (the token
//! of these rules), or who is to be asked whether they want a record (a tuple of the token and a function of the level).
//! Whatever that cannot answer goes to a Python function, `ask`.
//!
//! What always holds: all calls into this file have the interpreter lock, and nothing between a look at [`WORD`] and the use
//! of it lets it go; so what they share needs no lock of its own. The word's mapping lives as long as the pointer is set. A
//! rule only ever reveals more: an answer of the cache that says yes stands.

use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::inside::Inside;
use crate::log::Log;
use crate::method;
use crate::name::name;

/// What the word is where there are no rules to look for.
static NOTHING: AtomicU64 = AtomicU64::new(0);
/// The word that changes with the rules.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::from_ref(&NOTHING).cast_mut());
/// What the word was when this process read the rules last.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// What these rules have put into the caches of loggers; null: there is no rule. Compared with, and never followed.
static TOKEN: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
/// Keeps the mapping of the word, and the token.
static KEPT: Mutex<Option<(Arc<logboom::Log>, Py<PyAny>)>> = Mutex::new(None);

/// What the method needs of Python; set once, and never taken back, since whoever has the method may call it for ever.
struct Words {
    ask: Py<PyAny>,
    disabled: Py<PyAny>,
    cache: Py<PyAny>,
    key: Py<PyAny>,
    level: Py<PyAny>,
}

static WORDS: std::sync::OnceLock<Words> = std::sync::OnceLock::new();

const NAME: &CStr = c"isEnabledFor";
const DOC: &CStr = c"isEnabledFor($self, level)\n--\n\nIs this logger enabled for level 'level'? Level rules of logboom count.";

/// The rules are those that the caches of loggers know.
pub(crate) fn is_current() -> bool {
    // SAFETY: the mapping lives while the pointer is set, and this is called with the interpreter lock.
    let word = unsafe { &*WORD.load(Ordering::Relaxed) };
    word.load(Ordering::Relaxed) == SEEN.load(Ordering::Relaxed)
}

/// What the cache of a logger has that no rule is about; null: there are no rules.
pub(crate) fn token() -> *const PyObject {
    TOKEN.load(Ordering::Relaxed)
}

/// The method for the class `logger`. `ask` is called with a logger and a level where more has to be known; `key` is that of
/// the token in a logger's cache. The first call counts.
#[pyfunction]
pub(crate) fn gate_method<'py>(
    logger: &Bound<'py, PyType>,
    ask: Py<PyAny>,
    key: Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = logger.py();
    WORDS.get_or_init(|| Words {
        ask,
        disabled: name!(py, "disabled").to_owned().into_any().unbind(),
        cache: name!(py, "_cache").to_owned().into_any().unbind(),
        key,
        level: name!(py, "level").to_owned().into_any().unbind(),
    });
    // SAFETY: the function takes any arguments.
    unsafe { method::define(logger, NAME, DOC, is_enabled_for) }
}

/// From now on the word of `log` counts (None: no rules), read last when it was `seen`; `token`: see the method.
#[pyfunction]
pub(crate) fn gate_follow(
    py: Python<'_>,
    log: Option<&Bound<'_, Log>>,
    seen: u64,
    token: Option<Py<PyAny>>,
) -> PyResult<()> {
    let log = log.map(|log| log.get().log()).transpose()?;
    let word = log.as_ref().map_or(&NOTHING, |log| log.rules_word());
    WORD.store(ptr::from_ref(word).cast_mut(), Ordering::Relaxed);
    SEEN.store(seen, Ordering::Relaxed);
    let pointer = token
        .as_ref()
        .map_or(ptr::null_mut(), |token| token.as_ptr());
    TOKEN.store(pointer, Ordering::Relaxed);
    let kept = log.map(|log| (log, token.unwrap_or_else(|| py.None())));
    // Dropped behind the lock: leaving a log may take its time, and a token may be the last of its kind.
    let before = std::mem::replace(
        &mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner),
        kept,
    );
    drop(before);
    Ok(())
}

/// `isEnabledFor(self, level)`.
///
/// # Safety
/// Called by the interpreter: `logger` is an instance of the class, `args` has `count` objects, and those that `names` names.
unsafe extern "C" fn is_enabled_for(
    logger: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above; the words are set before the method exists.
    unsafe {
        let Some(words) = WORDS.get() else {
            return ptr::null_mut();
        };
        let level = match (count, names.is_null()) {
            (1, true) => *args,
            (0, false) if is_named(names, words.level.as_ptr()) => *args,
            _ => {
                let text = c"isEnabledFor() takes exactly one argument, `level`";
                ffi::PyErr_SetString(ffi::PyExc_TypeError, text.as_ptr());
                return ptr::null_mut();
            }
        };
        let word = WORD.load(Ordering::Relaxed);
        // Only a hint: who reads the rules looks again, in order.
        if (*word).load(Ordering::Relaxed) == SEEN.load(Ordering::Relaxed) {
            let answer = from_cache(words, logger, level);
            if !answer.is_null() || !ffi::PyErr_Occurred().is_null() {
                return answer;
            }
        }
        let _inside = Inside::enter(Python::assume_attached());
        ffi::PyObject_CallFunctionObjArgs(
            words.ask.as_ptr(),
            logger,
            level,
            ptr::null_mut::<PyObject>(),
        )
    }
}

/// What the logger itself knows. Null without an exception: not enough.
unsafe fn from_cache(words: &Words, logger: *mut PyObject, level: *mut PyObject) -> *mut PyObject {
    // SAFETY: plain calls of the interpreter with living objects; each reference that is taken is given back.
    unsafe {
        let cache = ffi::PyObject_GetAttr(logger, words.cache.as_ptr());
        if cache.is_null() {
            return cache;
        }
        let mut answer = ffi::PyDict_GetItemWithError(cache, level);
        let token = TOKEN.load(Ordering::Relaxed);
        if answer == ffi::Py_False() {
            // Disabled or not.
            if !token.is_null() {
                let known = ffi::PyDict_GetItemWithError(cache, words.key.as_ptr());
                if known != token {
                    answer = match is_disabled(words, logger) {
                        0 => ask_rules(known, token, level),
                        1 => answer,
                        _ => ptr::null_mut(),
                    };
                }
            }
        } else if !answer.is_null() {
            answer = match is_disabled(words, logger) {
                0 => answer,
                1 => ffi::Py_False(),
                _ => ptr::null_mut(),
            };
        }
        if !answer.is_null() {
            ffi::Py_INCREF(answer);
        } else if !ffi::PyErr_Occurred().is_null()
            && ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) != 0
        {
            // No dict, a level that cannot be a key: the standard library says what is wrong with it.
            ffi::PyErr_Clear();
        }
        ffi::Py_DECREF(cache);
        answer
    }
}

/// 1: the logger is disabled; 0: it is not; -1: there is an exception.
unsafe fn is_disabled(words: &Words, logger: *mut PyObject) -> c_int {
    // SAFETY: as above.
    unsafe {
        let disabled = ffi::PyObject_GetAttr(logger, words.disabled.as_ptr());
        if disabled.is_null() {
            return -1;
        }
        let answer = match disabled == ffi::Py_False() {
            true => 0,
            false => ffi::PyObject_IsTrue(disabled),
        };
        ffi::Py_DECREF(disabled);
        answer
    }
}

/// Asks whoever `known` names with this token. Null: nobody is named, or that failed. The answer is borrowed: it is one of the
/// interpreter's two.
unsafe fn ask_rules(
    known: *mut PyObject,
    token: *mut PyObject,
    level: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above; the tuple is held while its function runs, which may change the cache.
    unsafe {
        if known.is_null() || ffi::PyTuple_Check(known) == 0 || ffi::PyTuple_Size(known) != 2 {
            return ptr::null_mut();
        }
        if ffi::PyTuple_GetItem(known, 0) != token {
            return ptr::null_mut();
        }
        ffi::Py_INCREF(known);
        let wants = ffi::PyTuple_GetItem(known, 1);
        let wanted = ffi::PyObject_CallFunctionObjArgs(wants, level, ptr::null_mut::<PyObject>());
        ffi::Py_DECREF(known);
        if wanted.is_null() {
            return wanted;
        }
        ffi::Py_DECREF(wanted);
        match wanted == ffi::Py_True() {
            true => ffi::Py_True(),
            false => ffi::Py_False(),
        }
    }
}

/// Whether a tuple of names is this one alone.
unsafe fn is_named(names: *mut PyObject, name: *mut PyObject) -> bool {
    // SAFETY: the interpreter gives a tuple of texts.
    unsafe {
        ffi::PyTuple_Size(names) == 1
            && ffi::PyUnicode_Compare(ffi::PyTuple_GetItem(names, 0), name) as c_int == 0
    }
}
