"""However a worker dies in the middle of a request, the stream says how, which request it was, and has the request's
access record, marked as unfinished; at a timeout also where the code was."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

import pytest
from accounts import wait_until
from servers import Server, serve, worker_options

DIE = """
import ctypes, logging, os, signal, sys, time
log = logging.getLogger("shop")
def die(kind):
    log.info("before %s", kind)
    if kind == "python":
        while True:
            time.sleep(0.01)
    if kind == "c":
        # Long, and without ever looking for a signal.
        sum(range(10**12))
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "segv":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(3)
"""
WSGI = (
    DIE
    + """
def app(environ, start_response):
    die(environ["PATH_INFO"][1:])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
)
ASGI = (
    DIE
    + """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    die(scope["path"][1:])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
)
HOW = {"kill": "SIGKILL", "segv": "SIGSEGV", "exit": "exit code 3", "python": "timeout", "c": "SIGKILL"}
CASES = [
    *(
        (worker, kind)
        for worker in ("sync", "gthread", "gevent", "asgi", "uvicorn")
        for kind in ("kill", "segv", "exit")
    ),
    *(("sync", kind) for kind in ("python", "c")),
    *((worker, "c") for worker in ("gevent", "asgi", "uvicorn")),
]


def boxes(server: Server, worker: int) -> list[dict[str, Any]]:
    told = [record for record in server.records() if record["otel.scope.name"] == "logboom.blackbox"]
    return [record for record in told if record["process.pid"] == worker]


@pytest.mark.parametrize(("worker", "kind"), CASES)
def test_a_worker_that_dies_leaves_a_black_box_that_names_its_request(tmp_path: Path, worker: str, kind: str) -> None:
    options = [*worker_options(worker), "--timeout", "2", "--graceful-timeout", "5"]
    app = ASGI if worker in ("asgi", "uvicorn") else WSGI
    with serve(tmp_path, app, *options, path="/none") as server:
        (dying,) = server.workers()
        # The client has its answer a moment before the server is done with the request.
        wait_until(lambda: '"GET /none ' in server.output.replace("\\", ""), "the first request is finished")
        try:
            status, _ = server.get(f"/{kind}", {"X-Request-ID": "the-one"}, timeout_s=15)
        except (OSError, http.client.HTTPException):
            status = None
        assert status != 200
        wait_until(lambda: boxes(server, dying), f"a black box\n{server.output}", 15)
    (box,) = boxes(server, dying)
    assert f"worker {dying} " in box["body"]
    # A uvicorn worker has no handler for SIGABRT, so the first signal of a timeout ends it.
    assert ("SIGABRT" if (worker, kind) == ("uvicorn", "c") else HOW[kind]) in box["body"]
    assert f"/{kind}" in str(box)
    assert "the-one" in str(box)
    unfinished = [record for record in server.records() if "unfinished" in record["body"] and "access" in scope(record)]
    told = [(record["request_id"], record["url.path"], record["severity_text"]) for record in unfinished]
    assert told == [("the-one", f"/{kind}", "ERROR")]
    finished = [
        record for record in server.records() if scope(record) == "gunicorn.access" and record not in unfinished
    ]
    assert f"/{kind}" not in [record["url.path"] for record in finished]
    if kind in ("python", "c", "segv"):
        said = "\n".join(record["body"] + str(record) for record in server.records())
        assert "in die" in said
        assert "app.py" in said


def scope(record: dict[str, Any]) -> str:
    return record["otel.scope.name"]


def test_a_worker_that_is_recycled_or_stopped_leaves_none(tmp_path: Path) -> None:
    with serve(tmp_path, WSGI, "--max-requests", "3", path="/none") as server:
        for _ in range(12):
            assert server.answers("/none")
        time.sleep(0.5)
    assert "blackbox" not in server.output
