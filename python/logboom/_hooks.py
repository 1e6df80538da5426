"""Which of the standard library's hooks a handler uses, and how they rotate a file.

A handler whose hooks are the standard library's own is rotated natively. As soon as one is set or overridden, Python
names and renames: this module says so, live, because users set `namer`, `suffix` and the like after construction.
"""

from __future__ import annotations

import os
import re
import time

# Taken once: some programs put our classes in the library's place.
from logging.handlers import RotatingFileHandler as _StdRotating
from logging.handlers import TimedRotatingFileHandler as _StdTimed
from typing import Any

# Methods that shape how a file is rotated, and methods that decide when; asked before each record when overridden.
NAMING = ("rotation_filename", "rotate", "doRollover", "getFilesToDelete", "computeRollover")
ASKED = ("shouldRollover", "computeRollover", "reopenIfNeeded", "flush")

# Everything else in a suffix is text; these are the directives the native side knows, and the length it has room for.
_NATIVE_DIRECTIVES = frozenset("YmdHMS%")
_NATIVE_SUFFIX_BYTES = 56


def is_own(handler: object, name: str) -> bool:
    """Whether the method `name` of `handler` was replaced by somebody: in a subclass, or on the object."""
    if name in vars(handler):
        return True
    method = getattr(type(handler), name, None)
    module = getattr(method, "__module__", None) or ""
    return method is not None and module.partition(".")[0] not in ("logging", "logboom")


def names_by_python(handler: Any) -> bool:
    """Whether archives of `handler` get their names from Python code."""
    if callable(handler.namer) or callable(handler.rotator):
        return True
    return any(is_own(handler, name) for name in NAMING)


def suffix_is_native(suffix: str) -> bool:
    """Whether the native side can write `suffix` (a strftime format)."""
    if not suffix or "/" in suffix or len(os.fsencode(suffix)) > _NATIVE_SUFFIX_BYTES:
        return False
    return all(directive in _NATIVE_DIRECTIVES for directive in re.findall(r"%(.?)", suffix, re.DOTALL))


def roll_numbered(handler: Any) -> None:
    """Rotate by the standard library's numbers: `.1` is the newest."""
    _StdRotating.doRollover(handler)


def roll_timed(handler: Any) -> None:
    """Rotate by the standard library's dates.

    One case differs: where the archive of this interval exists already (a rotation by hand, or by size as well), older
    versions of the standard library delete it and newer ones do not rotate. Here the next free number is appended.
    """
    archive = _dated(handler)
    if not os.path.exists(handler.rotation_filename(archive)):
        _StdTimed.doRollover(handler)
        return
    number = 1
    while os.path.exists(free := handler.rotation_filename(f"{archive}.{number}")):
        number += 1
    if handler.stream:
        handler.stream.close()
        handler.stream = None
    handler.rotate(handler.baseFilename, free)
    if handler.backupCount > 0:
        for path in handler.getFilesToDelete():
            os.remove(path)
    if not handler.delay:
        handler.stream = handler._open()
    handler.rolloverAt = handler.computeRollover(int(time.time()))


def _dated(handler: Any) -> str:
    """Path of the archive of the interval that ends at `rolloverAt`, before `namer`."""
    start = handler.rolloverAt - handler.interval
    if handler.utc:
        parts = time.gmtime(start)
    else:
        parts = time.localtime(start)
        summer_now = time.localtime(time.time()).tm_isdst
        if summer_now != parts.tm_isdst:
            parts = time.localtime(start + (3600 if summer_now else -3600))
    return f"{handler.baseFilename}.{time.strftime(handler.suffix, parts)}"


def dated_archives_beyond(handler: Any, keep: int) -> list[str]:
    """Dated archives of `handler` older than the newest `keep`, those with an appended number included."""
    folder, base = os.path.split(handler.baseFilename)
    found = []
    for name in os.listdir(folder):
        if not name.startswith(base + "."):
            continue
        date, _, number = name[len(base) + 1 :].rpartition(".")
        if not number.isdigit() or not handler.extMatch.fullmatch(date):
            date, number = name[len(base) + 1 :], "0"
        if handler.extMatch.fullmatch(date):
            found.append((date, int(number), os.path.join(folder, name)))
    return [path for _, _, path in sorted(found)[: max(0, len(found) - keep)]]
