"""A rule counts for a worker that waits, whatever it waits in, with its very next record; and no event loop waits.

The servers are real: Gunicorn with each kind of worker, and uvicorn by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import wait_until
from seen import free_port
from servers import Server, environment, serve, stop, worker_options

PROGRAM = shutil.which("logboom")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="the command `logboom` is not on the path")

# The first post's request sleeps in a loop; the others wait once, in the kernel or in C. A thread measures how long it
# was kept from its work.
WSGI = """
import logging, os, socket, threading, time
from flask import Flask
app = Flask("app")
pay = logging.getLogger("shop.pay")
late = [0.0]
def beat():
    while True:
        begun = time.monotonic()
        time.sleep(0.01)
        late[0] = max(late[0], time.monotonic() - begun - 0.01)
@app.get("/beat")
def begin():
    late[0] = 0.0
    threading.Thread(target=beat, daemon=True).start()
    return "ok"
@app.get("/ping")
def ping():
    return str(late[0])
@app.get("/loop")
def loop():
    for step in range(9):
        pay.info("before step %d", step)
        time.sleep(0.4)
        pay.debug("step %d", step)
    return "ok"
@app.get("/sleep")
def sleep():
    pay.info("waits")
    time.sleep(4)
    pay.debug("slept")
    return "ok"
@app.get("/fifo")
def fifo():
    pay.info("waits")
    with open("fifo", "rb", buffering=0) as pipe:
        pipe.read(1)
    pay.debug("read a pipe")
    return "ok"
@app.get("/socket")
def blocked():
    connection = socket.create_connection(("127.0.0.1", int(open("port").read())))
    pay.info("waits")
    connection.recv(1)
    pay.debug("read a socket")
    return "ok"
"""
# An event loop that measures how long it was kept from its work, and a request that waits in it.
ASGI = """
import asyncio, logging, os, time
import logboom
from logboom import asgi
if os.environ.get("BY_ITSELF"):
    logboom.configure()
pay = logging.getLogger("shop.pay")
late = [0.0]
async def beat():
    while True:
        begun = time.monotonic()
        await asyncio.sleep(0.01)
        late[0] = max(late[0], time.monotonic() - begun - 0.01)
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/beat":
        late[0] = 0.0
        asyncio.ensure_future(beat())
    elif path == "/loop":
        for step in range(9):
            pay.info("before step %d", step)
            await asyncio.sleep(0.4)
            pay.debug("step %d", step)
    body = str(late[0]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
app = asgi.Middleware(application) if os.environ.get("BY_ITSELF") else application
"""
TOML = """
[files.main]
path = "app.log"
[format]
kind = "json"
"""


def command(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(PROGRAM), *arguments, "--log", str(folder / "app.log")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def said(server: Server) -> list[str]:
    return server.messages("shop.pay", "app.log")


@contextlib.contextmanager
def a_request(server: Server, path: str) -> Iterator[None]:
    request = threading.Thread(target=server.get, args=(path,))
    request.start()
    yield
    request.join()


def assert_the_next_record_obeys(server: Server) -> None:
    """A request loops through waiting and a debug record: the first one after the rule is there, the first one after
    its end is not."""
    with a_request(server, "/loop"):
        wait_until(lambda: "before step 1" in said(server), "the request is under way")
        assert not any(text.startswith("step") for text in said(server))
        command(server.folder, "level", "shop.pay=debug", "--for", "1m")
        begun = [text for text in said(server) if text.startswith("before")]
        step = int(begun[-1].rpartition(" ")[2])
        wait_until(lambda: f"step {step + 1}" in said(server), "its next records are there", 5)
        command(server.folder, "level", "--reset")
        ended = [text for text in said(server) if text.startswith("before")]
        last = int(ended[-1].rpartition(" ")[2])
        wait_until(lambda: f"before step {last + 2}" in said(server), "it goes on", 5)
    steps = [int(text.rpartition(" ")[2]) for text in said(server) if text.startswith("step")]
    # The command may have been as quick as the look at the log: the step under way then is in one or the other.
    assert steps[0] in (step - 1, step), (steps, step)
    assert steps[-1] in (last - 1, last), (steps, last)
    assert steps == list(range(steps[0], steps[-1] + 1))


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_request_that_sleeps_in_a_loop_obeys_with_its_very_next_record(tmp_path: Path, worker: str) -> None:
    with serve(tmp_path, WSGI, "-w", "1", *worker_options(worker), toml=TOML, path="/ping") as server:
        assert_the_next_record_obeys(server)
        if worker == "gevent":
            # Its threads are greenlets: the beat is one of the loop's.
            assert_the_loop_goes_on(server)


@pytest.mark.parametrize("where", ["sleep", "fifo", "socket"])
def test_a_worker_that_is_blocked_in_the_kernel_obeys_when_it_comes_back(tmp_path: Path, where: str) -> None:
    """Nothing wakes it: it has the rule when its call returns."""
    os.mkfifo(tmp_path / "fifo")
    listener = socket.create_server(("127.0.0.1", 0))
    (tmp_path / "port").write_text(str(listener.getsockname()[1]))
    with serve(tmp_path, WSGI, "-w", "1", toml=TOML, path="/ping") as server, listener:
        with a_request(server, f"/{where}"):
            wait_until(lambda: "waits" in said(server), "the request is under way")
            (pid,) = server.workers()
            before = switches(pid)
            command(server.folder, "level", "shop.pay=debug")
            time.sleep(0.5)
            assert switches(pid) == before, "the worker was not woken"
            if where == "fifo":
                (tmp_path / "fifo").write_bytes(b"x")
            elif where == "socket":
                connection, _ = listener.accept()
                connection.sendall(b"x")
        assert said(server)[-1] in ("slept", "read a pipe", "read a socket")


def switches(pid: int) -> int:
    """How often a process has given up the processor: a sleeping one has not until it is woken."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


def assert_the_loop_goes_on(server: Server) -> None:
    """While rules come and go, nothing else of the loop is late."""
    server.get("/beat")
    for _ in range(10):
        command(server.folder, "level", "shop.pay=debug", "*=info", "--where", "path=/elsewhere")
        server.get("/ping")
        command(server.folder, "level", "--reset")
    late = float(server.get("/ping")[1])
    # What a machine with other things to do makes of ten milliseconds; a call that waits would take longer.
    assert late < 0.5, late


@pytest.mark.parametrize("worker", ["asgi", "uvicorn"])
def test_an_event_loop_obeys_and_waits_for_nothing(tmp_path: Path, worker: str) -> None:
    with serve(tmp_path, ASGI, "-w", "1", *worker_options(worker), toml=TOML, path="/ping") as server:
        assert_the_next_record_obeys(server)
        assert_the_loop_goes_on(server)


def test_uvicorn_by_itself_obeys_and_waits_for_nothing(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is in tests/python/requirements.txt")
    (tmp_path / "app.py").write_text(ASGI)
    (tmp_path / "logboom.toml").write_text(TOML)
    port = free_port()
    with open(tmp_path / "out.txt", "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--no-access-log"],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            env=environment(False, BY_ITSELF="1"),
        )
    server = Server(tmp_path, process, port)
    try:
        wait_until(lambda: process.poll() is not None or server.answers("/ping"), "uvicorn answers", 30)
        assert process.poll() is None, server.output
        assert_the_next_record_obeys(server)
        assert_the_loop_goes_on(server)
    finally:
        stop(process)
