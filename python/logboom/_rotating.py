"""The rotating handlers and the watching one.

Rotation is native: by size, by time, or both, once for the whole group of processes. Python takes part only where the
user's own code names, renames or decides (`_hooks`). Then the native side says when (or an overridden `shouldRollover`
does), lets one process of the group run the hooks, and holds everybody's records of this file until it is done.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import warnings
from collections.abc import Callable
from io import text_encoding  # type: ignore[attr-defined]
from logging import LogRecord
from logging.handlers import RotatingFileHandler as _StdRotating
from logging.handlers import TimedRotatingFileHandler as _StdTimed
from logging.handlers import WatchedFileHandler as _StdWatched
from typing import TYPE_CHECKING, Any

from . import _hooks
from ._file import FileHandler
from ._options import OptionArgs
from ._schedule import Scheduled
from ._stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack

# A rotation asked for by a call waits at most this long for the process that is just writing.
ROTATE_WAIT_MS = 5_000
# Rotations that one record may lead to at most, when much was waiting.
ROTATIONS_MAX = 256


class _Rotating(Scheduled, FileHandler):
    """What the rotating handlers share. Instances also derive from one of the standard library's."""

    _handles_recursion = True
    _warned = False
    namer: Callable[[str], str] | None
    rotator: Callable[[str, str], None] | None
    maxBytes: int
    backupCount: int

    def doRollover(self) -> None:
        """Rotate the file now, for all processes that write it. What is no regular file is never rotated."""
        if os.path.exists(self.baseFilename) and not os.path.isfile(self.baseFilename):
            return
        if self._in_rotation or not self._is_native():
            self._roll_by_python()
            return
        stream = self._ready_stream()
        self._settle(stream)
        if self._uses_hooks():
            self._run_hooks(self._roll_by_python, on_demand=True)
        elif self.backupCount > 0 or self._is_scheduled():
            assert self._log is not None
            self._log.rotate(ROTATE_WAIT_MS)
        if not self.delay and self._log is not None:
            # The library leaves a new, open file behind; asking for its descriptor makes it.
            # Whoever is writing just now, and cannot be waited for, makes it, too.
            with contextlib.suppress(TimeoutError):
                self._log.fileno()
        self._rolled()

    def shouldRollover(self, record: LogRecord) -> Any:
        """Whether the standard library would rotate before this record. Native rotation does not ask."""
        due = self._size_is_due(record)
        return self._time_is_due(record) if not due and self._is_scheduled() else due

    def _size_is_due(self, record: LogRecord) -> Any:
        return _StdRotating.shouldRollover(self, record)  # type: ignore[arg-type]

    def _uses_hooks(self) -> bool:
        return _hooks.names_by_python(self) or self._asks_when_to_roll() or self._schedule_needs_python()

    def _is_native(self) -> bool:
        return self.stream is None or isinstance(self.stream, Stream)

    def _ready_stream(self) -> Stream:
        """The stream, opened if need be; left closed again with `delay`, as the standard library leaves it."""
        stream = self.stream or self._open()
        if not self.delay:
            self.stream = stream
        return stream

    def _options_for_native(self) -> dict[str, Any]:
        options = super()._options_for_native()
        # Whoever overrides the question rotates when it is answered with yes, and at no other time.
        asks = self._asks_when_to_roll()
        options["max_bytes"] = 0 if asks else max(0, int(self.maxBytes))
        options["backup_count"] = max(0, int(self.backupCount))
        options["hooks"] = self._uses_hooks()
        if options["hooks"] and (options["compress"] or options["keep_age_s"] or options["keep_bytes"]):
            self._warn_of_hooks()
        if self._is_scheduled() and not asks:
            options |= self._schedule_for_native()
        return options

    def _warn_of_hooks(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"logboom: {self!r} has hooks of its own (namer, rotator, an overridden method or a special suffix), "
                "so it names and keeps its archives itself: compress, keep_age and keep_bytes have no effect on them",
                RuntimeWarning,
                stacklevel=2,
            )

    def _asks_when_to_roll(self) -> bool:
        own_question = _hooks.is_own(self, "shouldRollover") or _hooks.is_own(self, "computeRollover")
        return own_question or self._time_was_set

    def _settle(self, stream: Stream) -> None:
        if self._settled:
            return
        super()._settle(stream)
        if self._time_was_set:
            self._asks, self._publish, self._quick = True, None, None

    def _ask(self, record: LogRecord) -> None:
        if not self._in_rotation and self._asks_when_to_roll() and self.shouldRollover(record):
            # Asked again once no other process can rotate: one of them may have been first.
            self._run_hooks(self.doRollover, on_demand=True, still=lambda: self.shouldRollover(record))

    def _rotation_due(self) -> None:
        # A hook that logs to this very handler comes by here while it runs.
        # What waited for a rotation may make the next one due, and this may be the last call of the group.
        for _ in range(ROTATIONS_MAX):
            if self._in_rotation or not self._run_hooks(self.doRollover, on_demand=False):
                return

    def _run_hooks(
        self, rollover: Callable[[], None], *, on_demand: bool, still: Callable[[], Any] | None = None
    ) -> bool:
        """Run `rollover` as the only process of the group that may rename the file. True: another rotation is due."""
        log = self._log
        if log is None or not log.begin_hook_rotation(ROTATE_WAIT_MS, on_demand):
            return False
        self._learn_rollover()
        rotated = False
        self._hold(True)
        try:
            if still is None or still():
                rollover()
                rotated = True
        finally:
            self._hold(False)
            again = log.end_hook_rotation(rotated)
        return again

    def _hold(self, held: bool) -> None:
        self._in_rotation = held
        if isinstance(self.stream, Stream):
            self.stream.held = held

    def _roll_by_python(self) -> None:
        if self._is_scheduled():
            with self._library_sets_time():
                _hooks.roll_timed(self)
        else:
            _hooks.roll_numbered(self)

    def _emit_elsewhere(self, record: LogRecord) -> None:
        if self.shouldRollover(record):
            self.doRollover()
        super()._emit_elsewhere(record)


class RotatingFileHandler(_Rotating, _StdRotating):
    """`logging.handlers.RotatingFileHandler`, safe for any number of processes.

    With `when` (and `interval`, `utc`, `atTime`) it rotates by time as well as by size, and names archives by date as
    `TimedRotatingFileHandler` does.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        maxBytes: int = 0,
        backupCount: int = 0,
        encoding: str | None = None,
        delay: bool = False,
        errors: str | None = None,
        *,
        when: str | None = None,
        interval: int = 1,
        utc: bool = False,
        atTime: datetime.time | None = None,
        **options: Unpack[OptionArgs],
    ) -> None:
        if "b" not in mode:
            encoding = text_encoding(encoding)
        self._take(options)
        _StdRotating.__init__(self, filename, mode, maxBytes, backupCount, encoding, True, errors)
        if when is not None:
            self.mode = "a"
            self._borrow_schedule(when, interval, utc, atTime)
        self._start(delay)

    # For the schedule; the standard library has them in its timed handler only.
    computeRollover = _StdTimed.computeRollover
    getFilesToDelete = Scheduled._files_to_delete


class TimedRotatingFileHandler(_Rotating, _StdTimed):  # type: ignore[misc]
    """`logging.handlers.TimedRotatingFileHandler`, safe for any number of processes.

    With `maxBytes` it rotates by size as well; a further archive of the same interval gets a number appended.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        when: str = "h",
        interval: int = 1,
        backupCount: int = 0,
        encoding: str | None = None,
        delay: bool = False,
        utc: bool = False,
        atTime: datetime.time | None = None,
        errors: str | None = None,
        *,
        maxBytes: int = 0,
        **options: Unpack[OptionArgs],
    ) -> None:
        encoding = text_encoding(encoding)
        self._take(options)
        with self._library_sets_time():
            _StdTimed.__init__(self, filename, when, interval, backupCount, encoding, True, utc, atTime, errors)
        self.maxBytes = maxBytes
        self._note_schedule()
        self._start(delay)

    getFilesToDelete = Scheduled._files_to_delete

    def shouldRollover(self, record: LogRecord) -> Any:
        """Whether the standard library would rotate before this record. Native rotation does not ask."""
        due = self._time_is_due(record)
        return self._size_is_due(record) if not due and self.maxBytes > 0 else due


class WatchedFileHandler(FileHandler, _StdWatched):
    """`logging.handlers.WatchedFileHandler`, safe for any number of processes.

    The native side watches the path, so nothing is asked per record; `dev` and `ino` always tell the file in use.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        encoding: str | None = None,
        delay: bool = False,
        errors: str | None = None,
        **options: Unpack[OptionArgs],
    ) -> None:
        if "b" not in mode:
            encoding = text_encoding(encoding)
        self._take(options)
        self._seen = (-1, -1)
        _StdWatched.__init__(self, filename, mode, encoding, True, errors)
        self._start(delay)

    @property
    def dev(self) -> int:
        """Device of the file in use; -1 before it is opened."""
        return self._identity()[0]

    @dev.setter
    def dev(self, value: int) -> None:
        self._seen = (value, self._seen[1])

    @property
    def ino(self) -> int:
        """Inode of the file in use; -1 before it is opened."""
        return self._identity()[1]

    @ino.setter
    def ino(self, value: int) -> None:
        self._seen = (self._seen[0], value)

    def _identity(self) -> tuple[int, int]:
        if isinstance(self.stream, Stream) and not self.stream.closed:
            found = os.fstat(self.stream.fileno())
            self._seen = (found.st_dev, found.st_ino)
        return self._seen

    def _emit_elsewhere(self, record: LogRecord) -> None:
        self.reopenIfNeeded()
        super()._emit_elsewhere(record)
