"""The handlers where the native half cannot run: another system than Linux, or a sub-interpreter.

They are the standard library's, under the same names and with the same arguments, so that a program still starts on a
developer's laptop. logboom's own options are accepted and have no effect; one warning says so.
"""

from __future__ import annotations

import logging
import logging.handlers as std
import warnings
from typing import Any

from ._options import Options

_warned = False


def _warn(cause: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"logboom: the native part is not available here ({cause}), so its handlers are the standard library's: "
            "several processes must not share a log file, and logboom's own options have no effect",
            RuntimeWarning,
            stacklevel=4,
        )


def handlers(cause: str) -> dict[str, type[logging.Handler]]:
    """The public classes by name, with `cause` in the warning of the first one used."""

    def plain(name: str, base: type[Any]) -> type[Any]:
        def init(self: Any, *args: Any, **options: Any) -> None:
            _warn(cause)
            ours = {key: options.pop(key) for key in list(options) if key in Options.__dataclass_fields__}
            self.logboom_options = Options.of(self, ours)
            for key in _SCHEDULE if base is std.RotatingFileHandler else ("maxBytes",):
                options.pop(key, None)
            base.__init__(self, *args, **options)

        return type(name, (base,), {"__init__": init, "__module__": "logboom.handlers", "__doc__": base.__doc__})

    return {
        "FileHandler": plain("FileHandler", logging.FileHandler),
        "RotatingFileHandler": plain("RotatingFileHandler", std.RotatingFileHandler),
        "TimedRotatingFileHandler": plain("TimedRotatingFileHandler", std.TimedRotatingFileHandler),
        "WatchedFileHandler": plain("WatchedFileHandler", std.WatchedFileHandler),
        "SysLogHandler": _syslog(cause),
        "ConcurrentRotatingFileHandler": _concurrent_rotating(cause),
        "ConcurrentTimedRotatingFileHandler": _concurrent_timed(cause),
    }


def _syslog(cause: str) -> type[logging.Handler]:
    class SysLogHandler(std.SysLogHandler):
        """The standard library's; logboom's own options have no effect."""

        def __init__(
            self,
            address: Any = ("localhost", std.SYSLOG_UDP_PORT),
            facility: Any = std.SysLogHandler.LOG_USER,
            socktype: Any = None,
            timeout: float | None = None,
            *,
            format: str = "auto",
            **options: Any,
        ) -> None:
            _warn(cause)
            super().__init__(address, facility, socktype)

    SysLogHandler.__module__ = "logboom.handlers"
    return SysLogHandler


_SCHEDULE = ("when", "interval", "utc", "atTime")


def _concurrent_rotating(cause: str) -> type[logging.Handler]:
    class ConcurrentRotatingFileHandler(std.RotatingFileHandler):
        """The standard library's rotation by size, with the arguments of concurrent-log-handler."""

        def __init__(
            self,
            filename: Any,
            mode: str = "a",
            maxBytes: int = 0,
            backupCount: int = 0,
            encoding: str | None = None,
            *ignored: Any,
            terminator: str = "\n",
            **options: Any,
        ) -> None:
            _warn(cause)
            super().__init__(filename, mode, maxBytes, backupCount, encoding, delay=True)
            self.terminator = terminator

    ConcurrentRotatingFileHandler.__module__ = "logboom.handlers"
    return ConcurrentRotatingFileHandler


def _concurrent_timed(cause: str) -> type[logging.Handler]:
    class ConcurrentTimedRotatingFileHandler(std.TimedRotatingFileHandler):
        """The standard library's rotation by time, with the arguments of concurrent-log-handler."""

        def __init__(
            self,
            filename: Any,
            when: str = "h",
            interval: int = 1,
            backupCount: int = 0,
            encoding: str | None = None,
            delay: bool = False,
            utc: bool = False,
            atTime: Any = None,
            errors: str | None = None,
            *ignored: Any,
            terminator: str = "\n",
            **options: Any,
        ) -> None:
            _warn(cause)
            super().__init__(filename, when, interval, backupCount, encoding, True, utc, atTime, errors)
            self.terminator = terminator
            self.finalize_handler_configuration()

        def finalize_handler_configuration(self) -> None:
            """For subclasses: called once, before the first record."""

    ConcurrentTimedRotatingFileHandler.__module__ = "logboom.handlers"
    return ConcurrentTimedRotatingFileHandler
