"""What tests of the request context look at: records with the context they were made in, and a table of requests.

`Seen` is a handler for the test's own process. `report_to` makes one for a server in another process, which writes each
record as a line of JSON; `reported` reads them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from logboom import context


class Record(NamedTuple):
    """A record and what it belonged to when it was made."""

    name: str
    message: str
    id: str | None
    method: str | None
    path: str | None
    client: str | None
    endpoint: str | None
    user: str | None
    trace_id: str | None
    span_id: str | None
    bound: dict[str, Any]
    fields: dict[str, Any]


_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def see(record: logging.LogRecord) -> Record:
    """`record`, with the context that is in force now."""
    request = context.current()
    names = Record._fields[2:10]
    known = [None] * len(names) if request is None else [getattr(request, name) for name in names]
    fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
    return Record(record.name, record.getMessage(), *known, dict(context.bound()), fields)


class Seen(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(see(record))

    def named(self, name: str) -> list[Record]:
        return [record for record in self.records if record.name == name]

    def access(self) -> list[Record]:
        return self.named("logboom.access")

    def message(self, text: str) -> Record:
        """The one record with this message."""
        (found,) = [record for record in self.records if record.message == text]
        return found


@contextlib.contextmanager
def seeing() -> Iterator[Seen]:
    """Everything that is logged inside."""
    seen = Seen()
    root = logging.getLogger()
    level = root.level
    root.addHandler(seen)
    root.setLevel(logging.DEBUG)
    try:
        yield seen
    finally:
        root.removeHandler(seen)
        root.setLevel(level)


class Table:
    """Stands for the native log's table of requests in flight."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple[str, str, str, str]] = {}
        self.begun = 0

    def begin_request(self, *entry: str) -> int:
        self.begun += 1
        self.entries[self.begun] = entry
        return self.begun

    def recorded(self) -> int:
        return 0

    def end_request(self, token: int) -> None:
        del self.entries[token]


class Report(logging.Handler):
    """Writes each record to a file as a line of JSON."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.file = open(path, "a", buffering=1)  # noqa: SIM115

    def emit(self, record: logging.LogRecord) -> None:
        self.file.write(json.dumps(see(record)._asdict(), default=repr) + "\n")


def report_to(path: str) -> None:
    """Called by an application in a server's process: all its records from now on."""
    logging.getLogger().addHandler(Report(path))
    logging.getLogger().setLevel(logging.DEBUG)


def reported(path: Path) -> list[Record]:
    """What a server has reported so far."""
    if not path.exists():
        return []
    return [Record(**json.loads(line)) for line in whole_lines(path)]


def whole_lines(path: Path) -> list[str]:
    """The lines of a file that may be growing, without a last one that is not whole yet."""
    return path.read_text().split("\n")[:-1]


def wait_for(path: Path, count: int, name: str = "logboom.access", seconds: float = 15) -> list[Record]:
    """Everything reported, once there are `count` records called `name`."""
    limit = time.monotonic() + seconds
    while True:
        records = reported(path)
        if sum(record.name == name for record in records) >= count or time.monotonic() > limit:
            return records
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(command: list[str], folder: Path, port: int, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own, once it listens; its output is in `out.txt`."""
    with open(folder / "out.txt", "wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=env)
    try:
        limit = time.monotonic() + 20
        while True:
            assert process.poll() is None, (folder / "out.txt").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < limit, (folder / "out.txt").read_text()
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
