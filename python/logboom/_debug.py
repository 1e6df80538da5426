"""`logboom.debug` and `logboom.rules`: a level rule for as long as a block runs, and the table of all of them.

What always holds: a rule that is begun here ends with its block, with its time, or with this process, whichever is
first; a forked child that leaves the block as well ends nothing.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from . import _setup
from ._native import read_conditions, read_seconds, severity_of

FOR_S = 600.0
FOR_S_MAX = 366 * 86400.0


class Debug:
    """What `logboom.debug` gives: `number` is the rule's while it is in force, else 0."""

    def __init__(self, rule: dict[str, Any]) -> None:
        self._rule = rule
        self._log: Any = None
        self._process = 0
        self.number = 0

    def __enter__(self) -> Debug:
        self._log = _log()
        self._process = os.getpid()
        self.number = self._log.add_rule(held=True, **self._rule)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        number, self.number = self.number, 0
        if self._process == os.getpid():
            try:
                self._log.remove_rule(number)
            except ValueError:
                # The log was closed in the block, and its rules ended with it.
                return


def debug(
    component: str = "",
    *,
    for_: float | str | datetime.timedelta | None = FOR_S,
    where: str | Sequence[str] = (),
    level: int | str = "DEBUG",
    keep: bool = True,
    worker: int = 0,
) -> Debug:
    """As `logboom.debug` says, which is the public one."""
    condition = "\n".join([where] if isinstance(where, str) else where)
    read_conditions(condition)
    return Debug(
        {
            "component": "" if component in ("*", "root") else component,
            "condition": condition,
            "severity": _severity(level),
            "kept": keep,
            "for_s": seconds(for_),
            "made_by": f"the program, pid {os.getpid()}",
            "worker": worker,
        }
    )


def rules() -> list[dict[str, Any]]:
    """As `logboom.rules` says, which is the public one."""
    from ._rules import NOTHING_MORE, level_of

    found: list[dict[str, Any]] = []
    for rule in _log().rules():
        severity = rule.pop("severity")
        rule.pop("index")
        found.append(rule | {"level": None if severity == NOTHING_MORE else level_of(severity)})
    return found


def seconds(span: float | str | datetime.timedelta | None) -> float:
    """A span of time in seconds; 0 for None. Raises `ValueError` for what is none, or not positive."""
    if span is None:
        return 0.0
    if isinstance(span, datetime.timedelta):
        found = span.total_seconds()
    else:
        found = (read_seconds(span) or 0.0) if isinstance(span, str) else float(span)
    if not 0 < found <= FOR_S_MAX:
        raise ValueError(f"for_ must be a span of time up to a year, such as 90, '10m' or '1 hour': {span!r}")
    return found


def _severity(level: int | str) -> int:
    number = level if isinstance(level, int) else logging.getLevelName(level.upper())
    if not isinstance(number, int):
        raise ValueError(f"there is no level {level!r}")
    return severity_of(number)


def _log() -> Any:
    if _setup._current is None:
        raise RuntimeError("logboom is not set up in this process: call logboom.configure() first")
    return _setup._current.log
