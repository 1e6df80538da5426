"""logboom: log files for programs that run as several worker processes.

What is public is what this module and `logboom.handlers` name in `__all__`, and `logboom_options` of the handlers.
Everything that begins with an underscore may change in any version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._options import Options
from .handlers import (
    ConcurrentRotatingFileHandler,
    ConcurrentTimedRotatingFileHandler,
    FileHandler,
    RotatingFileHandler,
    SysLogHandler,
    TimedRotatingFileHandler,
    WatchedFileHandler,
)

if TYPE_CHECKING:
    import datetime
    import os
    from collections.abc import Sequence

    from ._debug import Debug
    from ._setup import Installation

__version__ = "0.1.0"

__all__ = [
    "ConcurrentRotatingFileHandler",
    "ConcurrentTimedRotatingFileHandler",
    "FileHandler",
    "Options",
    "RotatingFileHandler",
    "SysLogHandler",
    "TimedRotatingFileHandler",
    "WatchedFileHandler",
    "__version__",
    "configure",
    "debug",
    "rules",
]


def configure(path: str | os.PathLike[str] | None = None, **overrides: Any) -> Installation:
    """Put `logboom.toml` in force in this program: its files, formats, levels and redaction, for all loggers.

    Without `path` it is the file that `LOGBOOM_CONFIG` names, else `logboom.toml` in the working directory, if there
    is one, else the defaults: text on standard error from INFO on. Keywords override the file and the environment, with
    keys as in the file: `configure(level="debug", files={"main": {"path": "app.log"}})`; docs/configuration.md has them
    all.

    Call it once, before processes are forked; another call replaces what is in force. Under `logboom.gunicorn.Logger`
    the server's configuration stays in force. Handlers that the program has set up stay. Raises `ValueError` with a
    line for each mistake, and `OSError` if a file cannot be opened; then nothing has changed. The result's `handler` is
    the handler on the root logger, `remove()` takes everything back.
    """
    from . import _setup

    return _setup.configure(path, overrides)


def debug(
    component: str = "",
    *,
    for_: float | str | datetime.timedelta | None = 600.0,
    where: str | Sequence[str] = (),
    level: int | str = "DEBUG",
    keep: bool = True,
    worker: int = 0,
) -> Debug:
    """Reveal `component` and what is below it in all workers while a `with` block runs.

    ``with logboom.debug("shop.db", where="path^=/checkout"):`` writes detail that the levels would hide, from this and
    from all other processes of the server, to the files (with ``keep=False`` for viewers alone). It ends with the
    block, with this process, or after `for_` (seconds, ``"10m"`` or a `timedelta`; None: not before), whichever is
    first. `where` is one condition on requests, or several that must all hold, as docs/debug.md has them; `worker` is
    the pid of the one process that is meant; an empty component is all of them.

    A text that cannot be is a `ValueError` when this is called. Nothing else happens before the block begins; then it
    raises `RuntimeError` where logboom is not set up in this process, and `OSError` when there are as many rules as
    fit.
    """
    from . import _debug

    return _debug.debug(component, for_=for_, where=where, level=level, keep=keep, worker=worker)


def rules() -> list[dict[str, Any]]:
    """The level rules in force, whoever made them, oldest first; RuntimeError where logboom is not set up.

    Of each: `number`, `component`, `condition` (one a line), `worker` (0: all), `level` (of `logging`; None: it reveals
    nothing), `kept`, `held`, `made` and `expires` (seconds since 1970; 0: never), `maker` (its pid), `made_by`.
    """
    from . import _debug

    return _debug.rules()
