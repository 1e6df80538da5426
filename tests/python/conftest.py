"""Shared by all tests: the shared state lies in a folder of the run, and loggers are as they were afterwards."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from logboom import _requests
from seen import Seen, Table, seeing


@pytest.fixture(scope="session", autouse=True)
def state_folder() -> Iterator[str]:
    """Keeps this run's shared memory apart from everybody else's, and removes it."""
    home = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="logboom-tests-", dir=home)
    os.environ["LOGBOOM_STATE_DIR"] = folder
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def native() -> None:
    """Every test is about the native handlers; without them none means anything."""
    from logboom._native import Log

    assert callable(Log)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own that passes everything and keeps no handler after the test."""
    found = logging.getLogger("logboom.test")
    found.setLevel(logging.DEBUG)
    found.propagate = False
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)
        handler.close()


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What is logged, by component."""
    with seeing() as found:
        yield found


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table of requests in flight that the test can read."""
    found = Table()
    monkeypatch.setattr(_requests, "log", found)
    return found
