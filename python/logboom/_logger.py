"""`logging.Logger._log`, in which every enabled call of a logger ends, as a native method (`_native.log_method`).

It leaves out the `LogRecord` where nobody would see one: what is only recorded (`_levels`), and what a single file
handler writes (`_file`). Everything else it passes on to the standard library's, which it takes the place of as long as
somebody uses it.
"""

from __future__ import annotations

import logging
from typing import Any

from . import _exit
from ._native import log_method

# Beside a logger's answers to `isEnabledFor`, which `setLevel` on any logger makes it forget: who records what is below
# its level without a `LogRecord`, and what `_rules` keeps there.
RECORDING: Any = "logboom.recording"
RULES: Any = "logboom.rules"


def is_standard(function: Any) -> bool:
    """Whether it is the standard library's own, and not what some package has put in its place."""
    code = getattr(function, "__code__", None)
    return getattr(code, "co_filename", None) == logging.Logger.info.__code__.co_filename


_Logger: Any = logging.Logger
# Made before anything is replaced, also by us: what it finds now is what it takes for the library's.
_PLAIN: Any = _Logger._log
_NATIVE: Any = log_method(
    logging.Logger,
    _PLAIN,
    RECORDING,
    RULES,
    all(
        map(
            is_standard,
            (
                *(_Logger.findCaller, _Logger.makeRecord, _Logger.handle, _Logger.filter, _Logger.callHandlers),
                *(logging.LogRecord.__init__, logging.LogRecord.getMessage),
            ),
        )
    ),
)
_users: set[str] = set()


def use(user: str) -> None:
    """Put the native method in place, unless somebody has put another there, or the process is ending."""
    _users.add(user)
    if logging.Logger._log is _PLAIN and is_standard(_PLAIN) and not _exit.has_begun():
        logging.Logger._log = _NATIVE  # type: ignore[method-assign]
        _exit.remember(logging.Logger, "_log", _NATIVE, _PLAIN)


def leave(user: str) -> None:
    """The standard library's comes back with the last user. Below a replacement, ours stays and passes all on."""
    _users.discard(user)
    if not _users and logging.Logger._log is _NATIVE:
        logging.Logger._log = _PLAIN  # type: ignore[method-assign]
