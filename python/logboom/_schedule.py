"""The time half of a rotating handler: its schedule as the standard library's attributes, and `rolloverAt`.

The native side keeps the group's own boundary. `rolloverAt` shows what the standard library's would: it moves on when
the file shows that the boundary was passed, whichever process rotated. Setting it by hand, as some programs do to force
or shift a rotation, is honoured: from then until the next rotation this handler asks before each record.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import stat
import time
from collections.abc import Iterator
from logging import LogRecord
from logging.handlers import TimedRotatingFileHandler as _StdTimed
from typing import TYPE_CHECKING, Any

from . import _hooks

_UNIT_S = {"S": 1, "M": 60, "H": 3600, "D": 86_400, "MIDNIGHT": 86_400, "W": 604_800}


class Scheduled:
    """Mixin of the rotating handlers; without a schedule it does nothing."""

    if TYPE_CHECKING:
        baseFilename: str
        when: str
        interval: int
        utc: bool
        atTime: datetime.time | None
        suffix: str
        extMatch: Any
        backupCount: int
        maxBytes: int
        namer: Any
        delay: bool
        _in_rotation: bool

        def computeRollover(self, currentTime: int) -> int: ...

    # None: no schedule. Else what the standard library chose for this `when`.
    _default_suffix: str | None = None
    _default_match: Any = None
    _rollover_at: float = 0
    # Whether `rolloverAt` was set by somebody else than the standard library's code or ours.
    _time_was_set: bool = False
    # The time it was set to was in the past: rotate with the next record, whatever the file says.
    _time_is_forced: bool = False
    _library_depth: int = 0

    @property
    def rolloverAt(self) -> float:
        """When the next rotation by time is due, in seconds since 1970."""
        if "_rollover_at" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'rolloverAt'")
        self._learn_rollover()
        return self._rollover_at

    @rolloverAt.setter
    def rolloverAt(self, value: float) -> None:
        self._rollover_at = value
        # Without a schedule the attribute is a subclass's own and means nothing here.
        self._time_was_set = self._library_depth == 0 and self._default_suffix is not None
        self._time_is_forced = self._time_was_set and value <= time.time()

    def _learn_rollover(self) -> None:
        """Move on past a boundary at which another process, or the native side, has rotated already.

        Every process rotates before it writes after a boundary. So a file that was written since then is a new one.
        """
        if self._default_suffix is None or self._in_rotation or self._time_is_forced:
            return
        if time.time() < self._rollover_at:
            return
        try:
            found = os.stat(self.baseFilename)
        except OSError:
            return
        if stat.S_ISREG(found.st_mode) and found.st_size and found.st_mtime >= self._rollover_at:
            self._rollover_at = self.computeRollover(int(found.st_mtime))

    @contextlib.contextmanager
    def _library_sets_time(self) -> Iterator[None]:
        """Inside, `rolloverAt` is set by the standard library's own code."""
        self._library_depth += 1
        try:
            yield
        finally:
            self._library_depth -= 1

    def _is_scheduled(self) -> bool:
        return self._default_suffix is not None

    def _note_schedule(self) -> None:
        self._default_suffix, self._default_match = self.suffix, self.extMatch

    def _borrow_schedule(self, when: str, interval: int, utc: bool, at: datetime.time | None) -> None:
        """Give a handler that has none in the standard library the schedule that a timed one would have."""
        with contextlib.closing(
            _StdTimed(self.baseFilename, when, interval, delay=True, utc=utc, atTime=at, encoding="utf-8")
        ) as model:
            for name in ("when", "interval", "utc", "atTime", "suffix", "extMatch", "dayOfWeek"):
                if hasattr(model, name):
                    setattr(self, name, getattr(model, name))
            self._note_schedule()
            with self._library_sets_time():
                self.rolloverAt = model.rolloverAt

    def _time_is_due(self, record: LogRecord) -> Any:
        with self._library_sets_time():
            return _StdTimed.shouldRollover(self, record)  # type: ignore[arg-type]

    def _rolled(self) -> None:
        """After a native rotation by hand: the standard library starts a new interval."""
        if self._is_scheduled():
            with self._library_sets_time():
                self.rolloverAt = self.computeRollover(int(time.time()))

    def _files_to_delete(self) -> list[str]:
        """Dated archives beyond `backupCount`; used by the hooks only, the native side has its own retention."""
        if callable(self.namer) or self.maxBytes <= 0:
            return _StdTimed.getFilesToDelete(self)  # type: ignore[arg-type]
        return _hooks.dated_archives_beyond(self, self.backupCount)

    def _schedule_needs_python(self) -> bool:
        if self._default_suffix is None:
            return False
        return self.extMatch is not self._default_match or not _hooks.suffix_is_native(self.suffix)

    def _schedule_for_native(self) -> dict[str, Any]:
        unit = "W" if self.when.startswith("W") else self.when
        when, count = self.when, self.interval // _UNIT_S[unit]
        suffix = None if self.suffix == self._default_suffix else self.suffix
        if self.interval % _UNIT_S[unit] and unit in ("M", "H", "D"):
            # Half an hour, or an interval set by hand: plain seconds under the same name.
            when, count, suffix = "S", self.interval, self.suffix
        at = self.atTime
        return {
            "when": when,
            "interval": max(1, int(count)),
            "at_time_s": None if at is None else (at.hour * 60 + at.minute) * 60 + at.second,
            "utc": bool(self.utc),
            "suffix": suffix,
        }
