"""Handlers for the standard library's `logging`, safe for programs that run as several worker processes.

`FileHandler`, `RotatingFileHandler`, `TimedRotatingFileHandler` and `WatchedFileHandler` take the place of the standard
library's classes of the same names; `ConcurrentRotatingFileHandler` and `ConcurrentTimedRotatingFileHandler` that of
the package concurrent-log-handler. `SysLogHandler` takes that of the standard library's and ships through the relay
(docs/shipping.md). docs/handlers.md is their guide, docs/deviations.md lists what differs.

In a configuration they are `logboom.handlers.RotatingFileHandler` and so on. Importing this module also publishes the
two `Concurrent` classes in `logging.handlers`, where configuration files written for the other package look for them,
unless that package has put its own there.

`Stream` is for configurations that hand everything over to a `logboom.toml` (docs/configuration.md).
"""

from __future__ import annotations

import logging.handlers as _std
import sys as _sys
from typing import TYPE_CHECKING, Any

__all__ = [
    "ConcurrentRotatingFileHandler",
    "ConcurrentTimedRotatingFileHandler",
    "FileHandler",
    "RotatingFileHandler",
    "SysLogHandler",
    "TimedRotatingFileHandler",
    "WatchedFileHandler",
]

if TYPE_CHECKING:
    from ._concurrent import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler
    from ._file import FileHandler
    from ._rotating import RotatingFileHandler, TimedRotatingFileHandler, WatchedFileHandler
    from ._stream_handler import Stream as Stream
    from ._syslog import SysLogHandler


def _native() -> dict[str, type]:
    if not _sys.platform.startswith("linux"):
        raise ImportError(f"it needs Linux and this is {_sys.platform}")
    from . import _concurrent, _file, _rotating, _syslog

    modules = (_file, _rotating, _concurrent, _syslog)
    return {name: next(vars(module)[name] for module in modules if name in vars(module)) for name in __all__}


def _choose() -> dict[str, type]:
    try:
        return _native()
    except ImportError as error:
        from . import _fallback

        return dict(_fallback.handlers(str(error)))


for _name, _class in _choose().items():
    _class.__module__ = __name__
    globals()[_name] = _class
    if _name.startswith("Concurrent") and not hasattr(_std, _name):
        setattr(_std, _name, _class)


def __getattr__(name: str) -> Any:
    if name == "Stream":
        from ._stream_handler import Stream

        return Stream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
