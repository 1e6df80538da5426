"""Runs what a page of docs/others says: its code blocks become files of a folder, its commands are run there.

A block of a page that is a file has the file's name behind the language: "```python app.py". The command of a server is
the line after `$ ` in a `console` block. The port 8000 of a page becomes a free one.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from seen import free_port, serving, whole_lines

ROOT = Path(__file__).parents[2]
PORT = "8000"
RUN_LIMIT_S = 60

Records = list[dict[str, Any]]


class Page:
    """The files and commands of one page, in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        text = (ROOT / "docs/others" / f"{name}.md").read_text()
        blocks = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        self.files = {file: body for _, file, body in blocks if file}
        said = [line for _, file, body in blocks if not file for line in body.split("\n")]
        self.commands = [line[2:] for line in said if line.startswith("$ ")]
        self.folder = folder
        self.port = free_port()
        for file, body in self.files.items():
            (folder / file).write_text(body.replace(PORT, str(self.port)))

    def command(self, beginning: str) -> list[str]:
        """The one command of the page that begins with these words, as a list of words."""
        (found,) = [command for command in self.commands if f"{command} ".startswith(f"{beginning} ")]
        return shlex.split(found.replace(PORT, str(self.port)))

    def run(self, command: list[str], **env: str) -> str:
        """Run a program of the page to its end; gives what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextlib.contextmanager
    def serve(self, command: list[str], **env: str) -> Iterator[None]:
        """A server of the page, from when it listens; ended by its own pid, and no worker stays behind.

        uWSGI and granian can miss the end of a worker that is still starting when SIGTERM comes; those are killed.
        """
        workers: list[int] = []
        try:
            with serving(command, self.folder, self.port, environment(**env)) as process:
                yield
                workers = children(process.pid)
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def buy(self, numbers: range) -> None:
        """Send these orders to the server, four at a time, each with a request id of its own."""
        with ThreadPoolExecutor(4) as clients:
            assert set(clients.map(self._buy, numbers)) <= {200}

    def _buy(self, number: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"/buy/{number}", headers={"X-Request-ID": f"request-{number}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def output(self) -> str:
        """What a server has printed beside its log."""
        return (self.folder / "out.txt").read_text()

    def records(self, name: str = "shop.log") -> Records:
        """All records of a log; a line that is none fails the test. A log that does not exist has none."""
        path = self.folder / name
        if not path.exists():
            return []
        return [json.loads(line) for line in whole_lines(path)]


def environment(**more: str) -> dict[str, str]:
    """This environment without settings of logboom, with the programs of this interpreter first."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOGBOOM_")}
    env["LOGBOOM_STATE_DIR"] = os.environ["LOGBOOM_STATE_DIR"]
    env["PATH"] = sysconfig.get_path("scripts") + os.pathsep + env.get("PATH", "")
    env["PYTHONUNBUFFERED"] = "1"
    return env | more


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def program(name: str) -> str:
    """The program `name` of this interpreter's environment; the test is skipped without it."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip(f"{name} is not installed beside {sys.executable}: pip install {name}", allow_module_level=True)
    return found


def needed(module: str) -> None:
    """Skip the tests of this file without the package `module`."""
    pytest.importorskip(module, reason=f"{module} is not installed beside {sys.executable}: pip install {module}")


def of(records: Records, component: str) -> Records:
    """The records of a component and its children."""
    return [
        record
        for record in records
        if record["otel.scope.name"] == component or record["otel.scope.name"].startswith(component + ".")
    ]


def pids(records: Records) -> set[int]:
    return {record["process.pid"] for record in records}


def assert_none_doubled(records: Records) -> None:
    """No record stands there twice: the same words of the same thread at the same microsecond."""
    names = ("process.pid", "thread.id", "otel.scope.name", "body", "timestamp")
    keys = collections.Counter(tuple(record[name] for name in names) for record in records)
    doubled = [key for key, count in keys.items() if count > 1]
    assert doubled == [], doubled


def assert_orders(records: Records, numbers: range, debug: bool = False) -> None:
    """Each order has one record of the application and one access record, and both know their request."""
    assert_none_doubled(records)
    shop, access = of(records, "shop"), of(records, "logboom.access")
    names = ("body", "request_id", "url.path", "http.request.method")
    said = [tuple(record[name] for name in names) for record in shop]
    wanted = [(f"order {number}", f"request-{number}", f"/buy/{number}", "GET") for number in numbers]
    if debug:
        wanted += [("written at the level debug only", *rest) for _, *rest in wanted]
    assert sorted(said) == sorted(wanted), difference(said, wanted)
    served = [(record["url.path"], record["request_id"], record["http.response.status_code"]) for record in access]
    wanted_access = [(f"/buy/{number}", f"request-{number}", 200) for number in numbers]
    assert sorted(served) == sorted(wanted_access), difference(served, wanted_access)


def difference(found: list[Any], wanted: list[Any]) -> str:
    """What is missing and what is too much, for the message of a failed test."""
    lost = collections.Counter(wanted) - collections.Counter(found)
    more = collections.Counter(found) - collections.Counter(wanted)
    return f"lost: {sorted(lost.elements())[:5]}, too much: {sorted(more.elements())[:5]}"


def assert_quiet(page: Page, records: Records) -> None:
    """At the level warning neither the server nor the application has written anything below it, anywhere."""
    assert [record["body"] for record in records if record["severity_number"] < 13] == []
    assert of(records, "shop") + of(records, "logboom.access") == []
    assert "INFO" not in page.output()
    assert "order " not in page.output()


def example(folder: str) -> dict[str, str]:
    """The files of examples/others/`folder`."""
    return {path.name: path.read_text() for path in (ROOT / "examples/others" / folder).iterdir() if path.is_file()}
