"""What the tests count with: the records of a log with all its archives, and Python programs run beside the test."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

RUN_LIMIT_S = 120


def record(text: str = "x", level: int = logging.INFO) -> logging.LogRecord:
    """A record whose formatted line is `text`."""
    return logging.LogRecord("test", level, "test.py", 1, text, None, None)


def archives(path: Path) -> list[Path]:
    """The archives of the log `path`, in no order."""
    return [found for found in path.parent.glob(path.name + ".*") if ".logboom" not in found.name]


def lines(path: Path) -> list[str]:
    """All lines of the log `path` and its archives."""
    found: list[str] = []
    for each in [*archives(path), path]:
        data = each.read_bytes()
        if each.suffix == ".gz":
            data = gzip.decompress(data)
        found += data.decode().splitlines()
    return found


def assert_each_once(path: Path, expected: list[str]) -> None:
    """Nothing lost, nothing doubled, nothing torn."""
    found = lines(path)
    lost = set(expected) - set(found)
    foreign = set(found) - set(expected)
    doubled = len(found) - len(set(found))
    assert (sorted(lost)[:5], sorted(foreign)[:5], doubled) == ([], [], 0)


def run(code: str, *args: object, expect: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end, in this interpreter's kind, and require its exit status."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 20) -> None:
    """Wait for `condition`; after `limit_s` the test fails and says `what` did not happen."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        time.sleep(0.02)
