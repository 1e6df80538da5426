"""One `[ship.NAME]`: the spool in which records wait for the relay, and which records go there.

A record is shipped whatever file it goes to, as JSON, redacted. What always holds: the application never waits for a
receiver; what is full is dropped or waited for as `spool.full` says, within its bound.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import _relay
from ._native import Log, keep_destination

ON_DEMAND = "on-demand"


class Ship:
    """An open spool and what it takes. Raises `OSError` if it cannot be opened."""

    def __init__(self, name: str, values: dict[str, Any], start: str, encode: Callable[..., str]) -> None:
        self.name = name
        self.encode = encode
        self._components = tuple(values["components"])
        self._except = tuple(values["except"])
        self._level: int = values["level"]
        self.log = open_spool(name, values, start)

    def takes(self, name: str, levelno: int) -> bool:
        if levelno < self._level and self._level > 1:
            return False
        if self._components and not any(is_below(name, component) for component in self._components):
            return False
        return not any(is_below(name, component) for component in self._except)

    @property
    def beside(self) -> tuple[Any, Any, list[str], list[str], int]:
        """The same for the records that the native side makes itself."""
        encoder = self.encode.__self__  # type: ignore[attr-defined]
        return (self.log, encoder, list(self._components), list(self._except), self._level)


def open_spool(name: str, values: dict[str, Any], start: str) -> Log:
    """The spool of a destination, with what the relay has to know of it beside it."""
    root, spool = values["root"], values["spool"]
    options: dict[str, Any] = {
        "spool_bytes": spool["bytes"],
        "spool_full": spool["full"],
        "on_full_wait_ms": int(spool["wait"] * 1000),
        "durability": spool["durability"],
        "state_dir": values["state_dir"],
        "relay_program": _relay.program() if start == ON_DEMAND else None,
    }
    try:
        keep_destination(root, name, values["text"])
        if "owner" in values:
            options["owner"] = _give_away(root, name, values["owner"])
        return Log(os.path.join(root, f"{name}.spool"), options)
    except OSError as error:
        raise OSError(error.errno, f"failed to open the spool of `ship.{name}`: {error.strerror or error}") from error


def _give_away(root: str, name: str, owner: tuple[int, int]) -> tuple[int, int]:
    """The spool belongs to whom the workers will be; as far as this user may say so."""
    try:
        for path in (root, os.path.join(root, f"{name}.toml")):
            os.chown(path, *owner)
    except PermissionError:
        return (os.geteuid(), os.getegid())
    return owner


def is_below(name: str, component: str) -> bool:
    """Whether the logger `name` is `component` or one of its children."""
    return name == component or (name.startswith(component) and name[len(component)] == ".")
