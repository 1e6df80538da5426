"""Native methods that may call Python code do not outlive the interpreter.

Before CPython 3.14 a daemon thread that asks for the interpreter's lock while the interpreter ends is ended where it
stands; inside a native method that aborts the process. So before the end Python's own methods are put back in their
place, and the exit waits, within a bound, until no thread is inside.
"""

from __future__ import annotations

import atexit
import os
import time
from typing import Any

from ._native import forget_threads_inside, threads_inside

WAIT_S_MAX = 1.0
_LOOK_EVERY_S = 0.001

_native: dict[tuple[type, str], tuple[Any, Any]] = {}
_has_begun = False


def remember(owner: type, name: str, native: Any, plain: Any) -> None:
    """At the end of the process `plain` takes the place of `native`, now or later the method `name` of `owner`."""
    _native[owner, name] = (native, plain)


def has_begun() -> bool:
    """Native methods were put back: from now on, no other one may be put in place."""
    return _has_begun


def _put_back() -> None:
    global _has_begun
    _has_begun = True
    for (owner, name), (native, plain) in _native.items():
        if vars(owner).get(name) is native:
            setattr(owner, name, plain)
    end = time.monotonic() + WAIT_S_MAX
    while threads_inside() and time.monotonic() < end:
        time.sleep(_LOOK_EVERY_S)


atexit.register(_put_back)
os.register_at_fork(after_in_child=forget_threads_inside)
