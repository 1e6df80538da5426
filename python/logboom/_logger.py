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

_method: Any = None
_before: Any = None
_users: set[str] = set()


def use(user: str) -> None:
    """Put the native method in place, unless somebody has put another there, or the process is ending."""
    global _method, _before
    _users.add(user)
    now = logging.Logger._log
    if _before is None and is_standard(now) and not _exit.has_begun():
        _before = now
        _method = _method or log_method(logging.Logger, now, RECORDING, RULES, _STANDARD)
        logging.Logger._log = _method  # type: ignore[method-assign]
        _exit.remember(logging.Logger, "_log", _method, now)


def leave(user: str) -> None:
    """The standard library's comes back with the last user. Below a replacement, ours stays and passes all on."""
    global _before
    _users.discard(user)
    if not _users and _before is not None and logging.Logger._log is _method:
        logging.Logger._log = _before  # type: ignore[method-assign]
        _before = None


def is_standard(function: Any) -> bool:
    """Whether it is the standard library's own, and not what some package has put in its place."""
    code = getattr(function, "__code__", None)
    return getattr(code, "co_filename", None) == logging.Logger.info.__code__.co_filename


_Logger: Any = logging.Logger
# Whether what would see a `LogRecord` is what the native method was written against.
_STANDARD = all(
    map(
        is_standard,
        (
            *(_Logger.findCaller, _Logger.makeRecord, _Logger.handle, _Logger.filter, _Logger.callHandlers),
            *(logging.LogRecord.__init__, logging.LogRecord.getMessage),
        ),
    )
)
