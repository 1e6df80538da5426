"""Gunicorn servers for the tests: started on a free port, asked by HTTP, read by their records, ended by their pid."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gunicorn
import pytest
from accounts import archives, wait_until

VERSION: tuple[int, ...] = tuple(gunicorn.version_info)
ASGI_APP = """
import logging, os, sys
log = logging.getLogger("shop")
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    number = scope["path"].rpartition("/")[2]
    if number == "boom":
        raise ValueError("boom")
    log.info("order %s", number)
    print("printed", number)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
FLASK_APP = """
import logging, os, sys
from flask import Flask
log = logging.getLogger("shop")
app = Flask("app")
@app.get("/buy/<number>")
def buy(number):
    log.info("order %s", number)
    print("printed", number)
    return "ok"
@app.get("/boom")
def boom():
    raise ValueError("boom")
"""


class Server:
    """A running Gunicorn. `output` is what it wrote to stdout and stderr; without other settings, the stream."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port

    @property
    def output(self) -> str:
        return (self.folder / "out.txt").read_text()

    def get(self, path: str, headers: dict[str, str] | None = None, timeout_s: float = 20) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answers(self, path: str = "/buy/0") -> bool:
        try:
            return self.get(path, timeout_s=5)[0] < 500
        except (OSError, http.client.HTTPException):
            return False

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """The pids of the master's children."""
        return children(self.process.pid)

    def records(self, name: str = "out.txt") -> list[dict[str, Any]]:
        """All records of a JSON stream, archives included; a line that is no record fails the test."""
        return [json.loads(line) for line in self.lines(name)]

    def lines(self, name: str = "out.txt") -> list[str]:
        path = self.folder / name
        found: list[str] = []
        for each in [*archives(path), path]:
            text = each.read_text()
            if self.process.poll() is None:
                # A reader of a growing file sees half lines.
                text = text[: text.rfind("\n") + 1]
            # Not `splitlines`, which would also split at characters inside a record.
            found += text.split("\n")
        return [line for line in found if line]

    def messages(self, component: str, name: str = "out.txt") -> list[str]:
        """The messages of one component."""
        return [record["body"] for record in self.records(name) if record["otel.scope.name"] == component]

    def wait_for(self, text: str, limit_s: float = 20) -> None:
        wait_until(lambda: text in self.output, f"{text!r} in the output:\n{self.output}", limit_s)


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(*options: str) -> list[str]:
    """Gunicorn's command line with our class."""
    # Its place is in the home folder, which the tests do not touch.
    control = ["--no-control-socket"] if VERSION >= (25, 1) else []
    # A worker that gets SIGTERM before it has its signal handlers is only ended by the graceful timeout.
    ours = ["--logger-class", "logboom.gunicorn.Logger", "--graceful-timeout", "8"]
    # The installed command: of older versions, a server that was started with `-m` cannot start itself again (USR2).
    script = Path(sys.executable).with_name("gunicorn")
    start = [str(script)] if script.exists() else ["-m", "gunicorn"]
    return [sys.executable, *start, *ours, *control, *options]


def environment(json_lines: bool, **more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOGBOOM_")}
    env["LOGBOOM_STATE_DIR"] = os.environ["LOGBOOM_STATE_DIR"]
    env["PYTHONUNBUFFERED"] = "1"
    if json_lines:
        env["LOGBOOM_FORMAT"] = "json"
    return env | more


def worker_options(worker: str) -> list[str]:
    """`-k` and what belongs to it; the test is left out where this Gunicorn has no such worker."""
    if worker == "asgi":
        if VERSION < (26,):
            pytest.skip("Gunicorn has ASGI workers from 25 on, and they are supported from 26 on")
    elif worker == "uvicorn":
        pytest.importorskip("uvicorn_worker", reason="uvicorn-worker is in tests/python/requirements.txt")
        worker = "uvicorn_worker.UvicornWorker"
    elif worker == "gevent":
        pytest.importorskip("gevent", reason="gevent is in tests/python/requirements.txt")
    return ["-k", worker, *(["--threads", "4"] if worker == "gthread" else [])]


def app_for(worker: str) -> str:
    return ASGI_APP if worker in ("asgi", "uvicorn") else FLASK_APP


@contextlib.contextmanager
def serve(
    folder: Path,
    app: str,
    *options: str,
    config: str | None = None,
    toml: str | None = None,
    json_lines: bool = True,
    path: str = "/buy/0",
    **env: str,
) -> Iterator[Server]:
    """Gunicorn with the module `app` on a free port, from when it answers `path`; ended by its own pid."""
    (folder / "app.py").write_text(app)
    if toml is not None:
        (folder / "logboom.toml").write_text(toml)
    if config is not None:
        (folder / "conf.py").write_text(config)
        options = ("-c", "conf.py", *options)
    port = free_port()
    with open(folder / "out.txt", "ab") as out:
        process = subprocess.Popen(
            [*command("-b", f"127.0.0.1:{port}", *options), "app:app"],
            cwd=folder,
            stdout=out,
            stderr=out,
            env=environment(json_lines, **env),
        )
    server = Server(folder, process, port)
    try:
        wait_until(lambda: process.poll() is not None or server.answers(path), "Gunicorn answers", 30)
        assert process.poll() is None, f"Gunicorn has ended:\n{server.output}"
        yield server
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and see that none of its workers stays behind."""
    workers = children(process.pid)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    # One that the master had to kill is still on its way.
    end = time.monotonic() + 3
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert left == [], "workers outlived their master"


def refused(folder: Path, app: str, *options: str, toml: str) -> str:
    """Start a server that is to refuse its configuration; gives what it said."""
    (folder / "app.py").write_text(app)
    (folder / "logboom.toml").write_text(toml)
    done = subprocess.run(
        [*command("-b", f"127.0.0.1:{free_port()}", *options), "app:app"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(False),
        check=False,
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def lines_with(server: Server, text: str) -> list[str]:
    return [line for line in server.lines() if text in line]
