"""Puts a configuration in force in this process: a handler on the root logger, levels, warnings, requests, access log.

What always holds: everything of a configuration is built before anything of it is put in force, so that one that cannot
be leaves the one from before as it was; `remove` leaves the process as it was found; handlers of the application stay.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

from . import _access, _configuration, _logger, _requests, _toggle, context
from ._levels import Levels
from ._routes import Routes
from ._rules import Rules
from ._stream_handler import Handler

# What is in force; there is one, since loggers are the process's.
_current: Installation | None = None


class Installation:
    """A configuration in force. `handler` is on the root logger and may be added to loggers that do not propagate."""

    def __init__(self, values: dict[str, Any], routes: Routes, by_program: bool) -> None:
        self.values = values
        # Whether the program called `configure`, and not its server.
        self.by_program = by_program
        self.handler = Handler(routes)
        self.handler.held = True
        self._levels = Levels()
        self._rules = Rules(self.handler, self._levels)
        self._captured_before = _captures_warnings()
        self._put_in_force()
        logging.root.addHandler(self.handler)
        _logger.use("installation")
        logging.captureWarnings(True)
        atexit.register(self._leave)

    @property
    def log(self) -> Any:
        """The native log of `main`: requests in flight, captured output and black boxes are there."""
        return self.handler.routes.log

    def reconfigure(self, values: dict[str, Any], *, main_path: str | None = None) -> None:
        """Put `values` in force instead. Raises `OSError` if a file cannot be opened; then nothing has changed."""
        before = self.handler.routes
        routes = Routes(values, main_path or before.main_path, before)
        self.values = values
        self.handler.replace_routes(routes)
        self._put_in_force()
        before.close(keep=routes)

    def with_formatter(self, formatter: logging.Formatter | None) -> Handler:
        """Another handler on the same files, whose text `formatter` makes."""
        return self.handler.with_formatter(formatter)

    def remove(self) -> None:
        """Take everything back. May be called twice."""
        global _current
        if _current is self:
            _current = None
        atexit.unregister(self._leave)
        for logger in _loggers():
            if self.handler in logger.handlers:
                logger.removeHandler(self.handler)
        _toggle.remove()
        self._rules.remove()
        self._levels.remove()
        _logger.leave("installation")
        if not self._captured_before:
            logging.captureWarnings(False)
        if _requests.log is self.log:
            _requests.log = None
        self.handler.held = False
        self.handler.close()

    def _put_in_force(self) -> None:
        values = self.values
        _requests.log = self.log
        context.configure(values["request"]["id_headers"])
        _access.configure(values["access"]["enabled"], values["access"]["quiet"])
        # The rules are asked first: theirs comes on top of what the levels put on the loggers.
        self._rules.remove()
        self._levels.apply(values["level"], values["levels"], values["recorder"]["level"])
        self._tell_levels()
        self._rules.apply(values["recorder"]["level"] is not None)
        self._rules.install()
        _toggle.configure(values["app"], self.handler)
        _toggle.install()

    def _tell_levels(self) -> None:
        """For `logboom level`, which cannot look into the loggers of a process."""
        values, recorder = self.values, self.values["recorder"]["level"]
        told = [("", values["level"]), *values["levels"].items()]
        tell = getattr(self.log, "tell_levels", None)
        # A descriptor that is no log has nobody to tell.
        if tell is not None:
            tell(told if recorder is None else [*told, ("*", recorder)])

    def _leave(self) -> None:
        """At the end of the process: the logs are left in order. A record that still comes opens them again."""
        self.handler.flush()
        # Whoever looks at the rules holds the log.
        self._rules.remove()
        self.handler.routes.close()


def install(values: dict[str, Any], *, main_path: str | None = None) -> Installation:
    """Put `values` (of `_native.load_config`) in force; what was in force before is replaced.

    `main_path` is what the path `-` stands for, if not the descriptor 2.
    """
    return _install(values, main_path, by_program=False)


def configure(path: str | os.PathLike[str] | None = None, overrides: Mapping[str, Any] | None = None) -> Installation:
    """`logboom.configure`. Under a server that has installed its configuration, that one stays in force."""
    if _current is not None and not _current.by_program:
        return _current
    configuration = _configuration.load(path, overrides)
    for note in configuration.notes:
        warnings.warn(f"logboom: {note}", stacklevel=3)
    if _current is not None:
        _current.reconfigure(configuration.values)
        return _current
    return _install(configuration.values, None, by_program=True)


def _install(values: dict[str, Any], main_path: str | None, by_program: bool) -> Installation:
    global _current
    routes = Routes(values, main_path)
    if _current is not None:
        _current.remove()
    _current = Installation(values, routes, by_program)
    return _current


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]


def _captures_warnings() -> bool:
    return getattr(logging, "_warnings_showwarning", None) is not None
