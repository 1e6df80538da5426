"""The configuration as Python has it: `logboom.toml`, the environment, and what a program says itself.

What always holds: a wrong configuration is one `ValueError` with a line for each mistake, raised before anything is
changed. docs/configuration.md has every key.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._native import load_config

_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch


@dataclass(frozen=True)
class Configuration:
    """One configuration, checked.

    `values` is nested as in the file; sizes are bytes, times seconds, levels numbers of `logging`, None is "off".
    `sources` says for each dotted key where its value came from, `path` which file was read, `notes` what deserves a
    look.
    """

    values: dict[str, Any]
    sources: dict[str, str]
    path: str | None
    notes: list[str]


def load(path: str | os.PathLike[str] | None = None, overrides: Mapping[str, Any] | None = None) -> Configuration:
    """Read the file, `LOGBOOM_*` over it, and `overrides` (nested as in the file) over both.

    Without `path` it is the file that `LOGBOOM_CONFIG` names, else `logboom.toml` in the working directory, if there
    is one.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("LOGBOOM_")}
    return Configuration(**load_config(path, variables, flattened(overrides or {})))


def flattened(overrides: Mapping[str, Any]) -> dict[str, str]:
    """`{"files": {"main": {"path": "a.log"}}}` as `{"files.main.path": "a.log"}`; None means: nothing is said."""
    flat: dict[str, str] = {}
    for name, value in overrides.items():
        key = name if _bare(name) else json.dumps(name, ensure_ascii=False)
        if isinstance(value, Mapping):
            flat.update((f"{key}.{below}", text) for below, text in flattened(value).items())
        elif value is not None:
            flat[key] = _text(value)
    return flat


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.timedelta):
        return repr(value.total_seconds())
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return json.dumps([str(item) for item in value], ensure_ascii=False)
    return str(value)
