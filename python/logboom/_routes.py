"""The open files of one configuration, and which record goes to which of them.

A file takes the records of its components (of all, if it names none) from its level on. What a file takes `alone` does
not go to `main`; everything else does. What always holds: the decision for a component and a level is made once and
kept, for a bounded number of them; a configuration is opened as a whole or not at all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from ._descriptor import Descriptor
from ._native import Encoder, Log, Way
from ._options import group_id
from ._ships import Ship, is_below

# Where a record goes: the encoder of the first file, `publish_record` of the main log or None, and (encode, publish) of
# the other files. The fourth says whether the record is to be recorded although the main log does not get it, the last
# is for the native side, where one file alone takes the record.
Encode = Callable[..., str]
Publish = Callable[[str, Any], int]
Look = tuple[str, bool, bool, tuple[str, ...], tuple[str, ...]]
Route = tuple[Encode, Any, tuple[tuple[Encode, Publish], ...], bool, Way | None]

STANDARD_ERROR = "-"
BLACK_BOX = "logboom.blackbox"
# Decisions that are kept. Names of loggers that are made up per request must not fill the memory.
NAMES_MAX = 4096
LEVELS_MAX = 64
# Printed lines come from no logger, so a level for them is applied here.
PRINTED = ("stdout", "stderr")


class File:
    """One `[files.NAME]`: its log, its encoder, and what it takes."""

    def __init__(self, name: str, values: dict[str, Any], encode: Encode, log: Any) -> None:
        self.name = name
        self.encode = encode
        self.log = log
        self._components = tuple(values["components"])
        self.alone: bool = values["alone"]
        self._level: int = values["level"]

    def takes(self, name: str, levelno: int) -> bool:
        if levelno < self._level and self._level > 1:
            return False
        return not self._components or any(is_below(name, component) for component in self._components)


class Routes:
    """The files of `values`, open. Raises `OSError` if one cannot be opened, and nothing stays open then."""

    def __init__(self, values: dict[str, Any], main_path: str | None = None, before: Routes | None = None) -> None:
        self.values = values
        self.main_path = main_path
        self._logs: dict[str, tuple[str, dict[str, Any], Any]] = {}
        # By what they look like: files with the same look share one, and a record is encoded once for them.
        self._encoders: dict[Look, Encode] = {}
        self.found: dict[str, dict[int, Route]] = {}
        self.ships: list[Ship] = []
        try:
            # The spools first: what the native side makes itself goes from the log of `main` to them.
            for name in values["ship"]:
                self.ships.append(self._ship(name, before))
            files = [self._open(name, before) for name in values["files"]]
        except BaseException:
            self.close(keep=before)
            raise
        self.main = next(file for file in files if file.name == "main")
        self._others = [file for file in files if file is not self.main]
        self._recorded = values["recorder"]["level"] is not None
        # Makes JSON of a record for the recorder, where that is on and `main` is not JSON itself.
        self.json: Encode | None = None
        # Which level rules want a record of this component, level and request; None: there are none.
        self.judge: Callable[[str, int, Any], int] | None = None
        # What `main` looks like, if the trail of a request is written when it ends in an error.
        on_error = values["recorder"]["rewind_on"] == "error"
        self.rewinds: str | None = self._kind_of(self.main.encode) if on_error else None
        self._printed_levels = {name: values["levels"][name] for name in PRINTED if name in values["levels"]}

    @property
    def log(self) -> Any:
        """The log of `main`: requests in flight, recorder and black boxes are there."""
        return self.main.log

    def decide(self, name: str, levelno: int) -> Route:
        """The route of records of this component and level; kept in `found`."""
        route = self._decide(str(name), levelno if isinstance(levelno, int) else 0)
        if len(self.found) >= NAMES_MAX:
            self.found = {}
        levels = self.found.setdefault(name, {})
        if len(levels) < LEVELS_MAX:
            levels[levelno] = route
        return route

    def _decide(self, name: str, levelno: int) -> Route:
        if levelno < self._printed_levels.get(name, 0):
            return (self.main.encode, None, (), False, None)
        files = [file for file in self._others if file.takes(name, levelno)]
        to_main = self.main.takes(name, levelno) and not any(file.alone for file in files)
        others: list[Any] = [*files, *(ship for ship in self.ships if ship.takes(name, levelno))]
        first = self.main if to_main or not files else files[0]
        main = self.main.log.publish_record if to_main or self._recorded else None
        takers = [self.main, *others] if main is not None else others
        way = _way(takers[0], to_main) if len(takers) == 1 and (to_main or main is None) else None
        return (first.encode, main, tuple((other.encode, other.log.publish) for other in others), to_main, way)

    def record(self, on: bool) -> None:
        """Switch the recorder of this process on or off."""
        self.log.recording = on
        if self._recorded != on:
            self._recorded = on
            self.found = {}
        look = next(look for look, encode in self._encoders.items() if encode is self.main.encode)
        self.json = self._encoder(("json", False, *look[2:])) if on and look[0] != "json" else None

    def _kind_of(self, encode: Encode) -> str:
        return next(look[0] for look, other in self._encoders.items() if other is encode)

    def is_text(self, encode: Encode) -> bool:
        """Whether this encoder writes text for people."""
        return any(encode is other and look[0] == "text" for look, other in self._encoders.items())

    def _open(self, name: str, before: Routes | None) -> File:
        values = self.values["files"][name]
        path, options = self._path(values["path"]), _options(values, name == "main", self.values)
        look = self._look(values, path)
        encode = self._encoder(look)
        if name == "main":
            options["encoder"] = encode.__self__  # type: ignore[attr-defined]
        elif File(name, values, encode, None).takes(BLACK_BOX, logging.ERROR):
            options |= {"encoder": encode.__self__, "black_box_copies": True}  # type: ignore[attr-defined]
        ships = self.ships if name == "main" else []
        log = self._reuse(name, path, options, look, before, ships)
        if log is None:
            try:
                log = _open_log(path, options, values["path"] == STANDARD_ERROR, [ship.beside for ship in ships])
            except OSError as error:
                text = f"failed to open the log of `files.{name}.path`: {error.strerror or error}"
                raise OSError(error.errno, text) from error
        self._logs[name] = (path, {**options, "encoder": look}, log)
        return File(name, values, encode, log)

    def _ship(self, name: str, before: Routes | None) -> Ship:
        """The destination of this name; that of the configuration before, if it is the same."""
        values, redact = self.values["ship"][name], self.values["redact"]
        look: Look = ("json", False, False, tuple(redact["names"]), tuple(redact["patterns"]))
        key = f"ship {name}"
        ship = before._same_ship(name, self.values) if before is not None else None
        if ship is None:
            ship = Ship(name, values, self.values["relay"]["start"], self._encoder(look))
        self._encoders.setdefault(look, ship.encode)
        self._logs[key] = (values["root"], {}, ship.log)
        return ship

    def _same_ship(self, name: str, values: dict[str, Any]) -> Ship | None:
        """The destination of this name, if `values` say the same of it."""
        same = all(self.values[key] == values[key] for key in ("relay", "redact"))
        if not same or self.values["ship"].get(name) != values["ship"][name]:
            return None
        return next(ship for ship in self.ships if ship.name == name)

    def _reuse(
        self,
        name: str,
        path: str,
        options: dict[str, Any],
        look: Look,
        before: Routes | None,
        ships: list[Ship],
    ) -> Any:
        """The open log of the configuration before, if it is the same file with the same options and copies."""
        if before is None or name not in before._logs:
            return None
        if name == "main" and ships != before.ships:
            return None
        same_path, same_options, log = before._logs[name]
        return log if (same_path, same_options) == (path, {**options, "encoder": look}) else None

    def _path(self, path: str) -> str:
        if path != STANDARD_ERROR:
            return os.path.abspath(path)
        return self.main_path or "/proc/self/fd/2"

    def _look(self, values: dict[str, Any], path: str) -> Look:
        form, redact = self.values["format"], self.values["redact"]
        kind = form["kind"] if values["format"] == "default" else values["format"]
        coloured = kind == "text" and values["path"] == STANDARD_ERROR and _is_coloured(form["colour"], path)
        return (kind, coloured, form["utc"], tuple(redact["names"]), tuple(redact["patterns"]))

    def _encoder(self, look: Look) -> Encode:
        if look in self._encoders:
            return self._encoders[look]
        kind, colour, utc, names, patterns = look
        encoder = Encoder(kind, colour=colour, utc=utc, redact_names=names, redact_patterns=patterns)
        self._encoders[look] = encoder.encode
        return self._encoders[look]

    def flush(self, wait_ms: int) -> None:
        """Wait, within the bound for each, until the records of this process are in their files."""
        for _, _, log in self._logs.values():
            log.flush(wait_ms)

    def close(self, keep: Routes | None = None) -> None:
        """Leave the logs, but for those that `keep` has, too."""
        kept = [log for _, _, log in keep._logs.values()] if keep is not None else []
        for _, _, log in self._logs.values():
            if not any(log is other for other in kept):
                log.close()


def _way(only: Any, to_main: bool) -> Way | None:
    """That of a record that only this file or destination takes. None: it is no native log."""
    return Way(only.log, only.encode.__self__, to_main) if isinstance(only.log, Log) else None


def _open_log(path: str, options: dict[str, Any], is_standard_error: bool, beside: list[Any]) -> Any:
    try:
        return Log(path, options, beside)
    except OSError:
        if not is_standard_error:
            raise
        return Descriptor(int(path.rpartition("/")[2]) if path.startswith("/proc/self/fd/") else 2)


def _options(file: dict[str, Any], is_main: bool, values: dict[str, Any]) -> dict[str, Any]:
    """The options of `_native.Log`. Standard error is never rotated, also where it leads into a file."""
    options: dict[str, Any] = {
        name: file[name] for name in ("durability", "state_dir", "on_full", "queue_bytes", "ledger_ids")
    }
    options["state_group"] = None if file["state_group"] is None else group_id(file["state_group"])
    options["on_full_wait_ms"] = int(file["on_full_wait"] * 1000)
    if file["path"] != STANDARD_ERROR:
        rotate, keep = file["rotate"], file["keep"]
        options |= {
            "watch": file["watch"],
            "max_bytes": rotate["size"],
            "when": rotate["when"],
            "interval": rotate["interval"],
            "utc": rotate["utc"],
            "at_time_s": rotate["at"],
            "suffix": rotate["suffix"],
            "backup_count": keep["count"],
            # A part of a second still means "older than that", so it is rounded up.
            "keep_age_s": -int(-keep["age"] // 1),
            "keep_bytes": keep["bytes"],
            "compress": None if file["compress"] == "none" else file["compress"],
            "create_mode": file["mode"],
        }
    if is_main:
        recorder = values["recorder"]
        options["recorder_bytes"] = recorder["bytes"] if recorder["level"] is not None else 0
        options["blackbox_records"] = values["blackbox"]["records"]
    return options


def _is_coloured(colour: str, path: str) -> bool:
    if colour != "auto":
        return colour == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)
