"""The levels in force, on the loggers where the standard library looks for them.

The root logger gets `level`, each component of `[levels]` its own. What always holds: a level that the application sets
later is the application's and is neither changed at the next configuration nor when this one is taken back.

With the recorder on, records below the level have to be made as well. Then the loggers are opened down to the level of
the recorder, and `logging.Logger.callHandlers` is replaced by one that gives such a record to our handler, for the
recorder, and to no other handler: the application's console must not be flooded. `Logger._log` is replaced by a native
method, which records what is plain without making a `LogRecord` of it (`_logger`).
`Logger.isEnabledFor` and `getEffectiveLevel` then answer with the recorder's level.
"""

from __future__ import annotations

import logging
from typing import Any

from . import _logger, context
from ._descriptor import Descriptor
from ._logger import RECORDING
from ._native import Recording
from ._stream_handler import Handler

# Beside a logger's answers to `isEnabledFor`, which `setLevel` on any logger makes it forget: the level from which on
# its records are written.
_KEY: Any = "logboom"

# Whose levels are in force; one set at a time, since loggers are the process's.
_active: Levels | None = None
_replaced: Any = None


class Levels:
    """What was set on which logger."""

    def __init__(self) -> None:
        # By logger: its level before, the level that was set, and the level from which on its records are written.
        self._set: dict[logging.Logger, tuple[int, int, int]] = {}

    def apply(self, level: int, levels: dict[str, int], recorder_level: int | None) -> None:
        """Put these levels in force, in place of those from the last time."""
        global _active
        wanted = {logging.getLogger(name): number for name, number in levels.items()}
        wanted[logging.root] = level
        for logger in [logger for logger in self._set if logger not in wanted]:
            self._restore(logger)
        for logger, number in wanted.items():
            opened = number if recorder_level is None else min(number, recorder_level)
            before = self._set.get(logger)
            if before is not None and logger.level != before[1]:
                # The application has set another since.
                continue
            self._set[logger] = (logger.level if before is None else before[0], opened, number)
            logger.setLevel(opened)
        _active = self
        if recorder_level is None:
            _stop_sorting()
        else:
            _sort()
        _forget()

    def remove(self) -> None:
        """Every logger has the level that it had before, unless the application has changed it."""
        global _active
        for logger in list(self._set):
            self._restore(logger)
        if _active is self:
            _active = None
            _stop_sorting()

    def written_from(self, logger: logging.Logger) -> int:
        """The level from which on the records of `logger` are written, and not only recorded."""
        found: logging.Logger | None = logger
        while found is not None and not found.level:
            found = found.parent
        if found is None:
            return logging.NOTSET
        _, opened, number = self._set.get(found, (0, None, 0))
        return number if opened == found.level else found.level

    def _restore(self, logger: logging.Logger) -> None:
        before, opened, _ = self._set.pop(logger)
        if logger.level == opened:
            logger.setLevel(before)


def _call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    """`logging.Logger.callHandlers` while the recorder is on."""
    levels = _active
    if levels is not None:
        cache: dict[Any, int] = self._cache  # type: ignore[attr-defined]
        written_from = cache.get(_KEY)
        if written_from is None:
            written_from = cache[_KEY] = levels.written_from(self)
        if record.levelno < written_from:
            handler = _handler_of(self)
            if handler is not None:
                if RECORDING not in cache:
                    cache[RECORDING] = _recording(self, handler, written_from)
                _keep(handler, record)
            return
    _replaced(self, record)


def _keep(handler: Handler, record: logging.LogRecord) -> None:
    try:
        handler.keep(record)
    except Exception:
        handler.handleError(record)


def _handler_of(logger: logging.Logger) -> Handler | None:
    found: logging.Logger | None = logger
    while found is not None:
        for handler in found.handlers:
            if isinstance(handler, Handler):
                return handler
        found = found.parent if found.propagate else None
    return None


def _recording(logger: logging.Logger, handler: Handler, below: int) -> Any:
    """Who records from now on without a `LogRecord`; None where the application has a say in how records are made."""
    kind = type(logger)
    plain = kind.makeRecord is logging.Logger.makeRecord and kind.handle is logging.Logger.handle
    flags = ("logThreads", "logMultiprocessing", "logProcesses")
    if not plain or not logging._srcfile or not all(getattr(logging, flag, False) for flag in flags):
        return None
    routes = handler.routes
    if isinstance(routes.log, Descriptor):
        # It has no recorder.
        return None
    encoder, json = routes.main.encode.__self__, routes.json  # type: ignore[attr-defined]
    own = None if json is None else json.__self__  # type: ignore[attr-defined]
    return Recording(routes.log, below, encoder, own, handler, context.current, context.bound)


def _sort() -> None:
    global _replaced
    if _replaced is None:
        _replaced = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]
    _logger.use("recorder")


def _stop_sorting() -> None:
    global _replaced
    _logger.leave("recorder")
    # If somebody has replaced it on top of ours, ours stays below and passes everything on.
    if _replaced is not None and logging.Logger.callHandlers is _call_handlers:
        logging.Logger.callHandlers = _replaced  # type: ignore[method-assign]
        _replaced = None


def _forget() -> None:
    """Make the loggers ask again."""
    clear = getattr(logging.root.manager, "_clear_cache", None)
    if clear is not None:
        clear()
