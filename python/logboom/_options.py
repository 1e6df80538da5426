"""The options that logboom's handlers take beyond the standard library's.

`Options` is immutable and checked when it is made, so that a mistake in a configuration is reported where it is written
and never while logging. `OptionArgs` names the same options as keyword arguments for editors and type checkers.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict


class OptionArgs(TypedDict, total=False):
    """logboom's keyword arguments; docs/handlers.md explains each."""

    compress: str | None
    keep_age: float | datetime.timedelta
    keep_bytes: int
    durability: str
    escape: bool
    watch: bool
    ledger_ids: bool
    state_dir: str | os.PathLike[str] | None
    state_group: str | int | None
    on_full: str
    on_full_wait: float | datetime.timedelta
    queue_bytes: int


@dataclass(frozen=True)
class Options:
    """What a handler does beyond the standard library's. Change it with `dataclasses.replace`.

    Waits and ages are in seconds or a `timedelta`; 0 means "no limit" for ages and bytes.
    """

    compress: str | None = None
    keep_age: float = 0
    keep_bytes: int = 0
    durability: str = "kernel"
    escape: bool = False
    watch: bool = True
    ledger_ids: bool = False
    state_dir: str | None = None
    state_group: str | int | None = None
    on_full: str = "block"
    on_full_wait: float = 0.2
    queue_bytes: int = 0

    def __post_init__(self) -> None:
        for name in ("keep_age", "on_full_wait"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.state_dir is not None:
            object.__setattr__(self, "state_dir", os.fspath(self.state_dir))
        if self.state_group is not None:
            group_id(self.state_group)
        _one_of("compress", self.compress, (None, "gzip", "zstd"))
        _one_of("durability", self.durability, ("kernel", "disk"))
        _one_of("on_full", self.on_full, ("block", "drop"))
        for name in ("keep_bytes", "queue_bytes"):
            _count(name, getattr(self, name))

    @classmethod
    def of(cls, handler: object, args: Mapping[str, Any]) -> Options:
        """The options among the keyword arguments `args` of `handler`'s constructor."""
        known = [field.name for field in fields(cls)]
        for name in args:
            if name not in known:
                raise TypeError(
                    f"{type(handler).__name__}() got an unexpected keyword argument {name!r}; "
                    f"the options of logboom are {', '.join(known)}"
                )
        return cls(**args)

    def native(self) -> dict[str, Any]:
        """The same as keys of `logboom._native.Log`."""
        return {
            "compress": self.compress,
            # A part of a second still means "older than that", so it is rounded up.
            "keep_age_s": -int(-self.keep_age // 1),
            "keep_bytes": self.keep_bytes,
            "durability": self.durability,
            "watch": bool(self.watch),
            "ledger_ids": bool(self.ledger_ids),
            "state_dir": self.state_dir,
            "state_group": None if self.state_group is None else group_id(self.state_group),
            "on_full": self.on_full,
            "on_full_wait_ms": int(self.on_full_wait * 1000),
            "queue_bytes": self.queue_bytes,
        }


def group_id(group: object) -> int:
    """The number of a group of users that is given by its name or number. Raises `ValueError` if there is none."""
    if isinstance(group, int) and not isinstance(group, bool) and group >= 0:
        return group
    if not isinstance(group, str):
        raise TypeError(f"option 'state_group' must be a group's name or number, not {group!r}")
    if group.isdecimal():
        return int(group)
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ValueError(f"option 'state_group': there is no group {group!r} on this machine") from None


def _seconds(name: str, value: object) -> float:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"option {name!r} must be seconds or a timedelta, not {value!r}")
    if value < 0:
        raise ValueError(f"option {name!r} must not be negative, and is {value!r}")
    return value


def _count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"option {name!r} must be a whole number of bytes, not {value!r}")
    if value < 0:
        raise ValueError(f"option {name!r} must not be negative, and is {value!r}")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"option {name!r} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
