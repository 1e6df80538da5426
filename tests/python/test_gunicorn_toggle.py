"""Debug by a signal under Gunicorn: one toggle for the whole server, whoever it was sent to, and the log says by whom.

The third post's program is here as its author had it, and as it becomes with `logger.debug`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import wait_until
from servers import ASGI_APP, Server, serve, worker_options

TOML = """
[files.main]
path = "app.log"
[format]
kind = "json"
"""
SIGNAL = '[app]\ndebug_signal = "SIGUSR1"\ndebug_components = ["shop"]\n'
# Its detail is printed while a flag is set, which a signal flips; Gunicorn reopens logs at the same signal.
THIRD_POST = """
import signal, time
from flask import Flask
app = Flask(__name__)
verbose = False
def toggle_verbose(signum, frame):
    global verbose
    verbose = not verbose
signal.signal(signal.SIGUSR1, toggle_verbose)
def detail(*words):
    if verbose:
        print(*words)
@app.route("/")
def report():
    for step in range(60):
        time.sleep(0.1)
        detail("detail of step", step)
    return "done"
@app.route("/ping")
def ping():
    return "pong"
"""
THIRD_POST_LOGGING = """
import logging, time
from flask import Flask
app = Flask(__name__)
logger = logging.getLogger("shop.report")
@app.route("/")
def report():
    for step in range(60):
        time.sleep(0.1)
        logger.debug("detail of step %d", step)
    return "done"
@app.route("/ping")
def ping():
    return "pong"
"""
PLAIN = """
from flask import Flask
app = Flask(__name__)
@app.route("/ping")
def ping():
    return "pong"
"""
# The user's hook comes behind ours.
READY = "def post_worker_init(worker):\n    worker.log.info('worker is ready')\n"


@contextlib.contextmanager
def ready(folder: Path, app: str, workers: int, worker: str, toml: str) -> Iterator[Server]:
    """A server all of whose workers have set their signals."""
    options = ["-w", str(workers), *worker_options(worker)]
    with serve(folder, app, *options, config=READY, toml=toml, path="/ping") as server:
        wait_until(lambda: server.messages("gunicorn.error", "app.log").count("worker is ready") == workers, "workers")
        yield server


def kill(name: str, pid: int) -> int:
    """`kill -s NAME PID`, as a person types it; gives the sender's pid."""
    process = subprocess.Popen(["/bin/kill", "-s", name, str(pid)])
    assert process.wait() == 0
    return process.pid


def said(server: Server) -> list[str]:
    """What the log says of toggles."""
    return [body for body in server.messages("logboom", "app.log") if body.startswith("debug ")]


def details(server: Server) -> list[str]:
    return [record["body"] for record in server.records("app.log") if record["body"].startswith("detail of step")]


@contextlib.contextmanager
def a_request(server: Server) -> Iterator[threading.Thread]:
    """One that takes six seconds, under way."""
    request = threading.Thread(target=server.get, args=("/",))
    request.start()
    time.sleep(0.5)
    yield request
    request.join()


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_the_third_posts_program_as_it_was_written(tmp_path: Path, worker: str) -> None:
    """Its prints are records in the middle of the request, from one signal to the next, and logs are reopened."""
    with ready(tmp_path, THIRD_POST, 2, worker, TOML) as server:
        with a_request(server) as request:
            assert details(server) == []
            (tmp_path / "app.log").rename(tmp_path / "moved")
            kill("USR1", server.process.pid)
            wait_until(lambda: (tmp_path / "app.log").exists() and details(server), "detail of a running request", 3)
            assert request.is_alive()
            time.sleep(0.5)
            kill("USR1", server.process.pid)
            time.sleep(0.3)
            seen = details(server)
            time.sleep(1)
            assert request.is_alive()
            assert details(server) == seen, "and no more"
        numbers = [int(body.rpartition(" ")[2]) for body in seen]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), numbers
        records = [record for record in server.records("app.log") if record["body"] in seen]
        assert {record["otel.scope.name"] for record in records} == {"stdout"}
        assert len({record["request_id"] for record in records}) == 1
        assert {record["url.path"] for record in records} == {"/"}
        assert "detail" not in (tmp_path / "moved").read_text()


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_the_third_posts_program_with_a_logger(tmp_path: Path, worker: str) -> None:
    """The same, by `logger.debug` and `debug_signal`, without a handler or a flag of its own."""
    with ready(tmp_path, THIRD_POST_LOGGING, 2, worker, TOML + SIGNAL) as server:
        with a_request(server) as request:
            assert details(server) == []
            (tmp_path / "app.log").rename(tmp_path / "moved")
            first = kill("USR1", server.process.pid)
            wait_until(lambda: (tmp_path / "app.log").exists() and details(server), "detail of a running request", 3)
            time.sleep(1.1)
            assert request.is_alive()
            second = kill("USR1", server.process.pid)
            wait_until(lambda: len(said(server)) == 2, "the second toggle", 5)
            time.sleep(0.15)
            seen = details(server)
            time.sleep(1)
            assert request.is_alive()
            assert details(server) == seen, "and no more"
        on, off = said(server)
        assert re.fullmatch(rf"debug on for shop\.\* until \d\d:\d\d, by signal from pid {first}", on), on
        assert off == f"debug off for shop.*, by signal from pid {second}"
        records = [record for record in server.records("app.log") if record["body"] in seen]
        assert len({record["request_id"] for record in records}) == 1


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent", "asgi", "uvicorn"])
def test_a_signal_that_the_master_passes_on_is_the_same_toggle(tmp_path: Path, worker: str) -> None:
    """However late a worker gets it: one was stopped meanwhile, and told by the sender."""
    app = ASGI_APP if worker in ("asgi", "uvicorn") else PLAIN
    with ready(tmp_path, app, 2, worker, TOML + SIGNAL) as server:
        stopped = server.workers()[0]
        os.kill(stopped, signal.SIGSTOP)
        by = [kill("USR1", server.process.pid)]
        wait_until(lambda: len(said(server)) == 1, "the toggle", 5)
        time.sleep(1.2)
        os.kill(stopped, signal.SIGCONT)
        time.sleep(0.7)
        assert [text.rpartition(" ")[2] for text in said(server)] == list(map(str, by)), said(server)


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent", "asgi", "uvicorn"])
def test_a_signal_to_any_worker_is_a_toggle_for_all(tmp_path: Path, worker: str) -> None:
    app = ASGI_APP if worker in ("asgi", "uvicorn") else PLAIN
    with ready(tmp_path, app, 2, worker, TOML + SIGNAL) as server:
        by = []
        for pid in server.workers():
            by.append(kill("USR1", pid))
            wait_until(lambda: len(said(server)) == len(by), "the toggle", 5)
            time.sleep(1.1)
        on, off = said(server)
        assert on.startswith("debug on for shop.* until "), on
        assert on.endswith(f", by signal from pid {by[0]}")
        assert off == f"debug off for shop.*, by signal from pid {by[1]}"


def test_a_signal_to_all_processes_at_once_is_one_toggle(tmp_path: Path) -> None:
    """As `pkill -USR1 gunicorn` sends it, to a master and to workers that its master tells as well."""
    with ready(tmp_path, PLAIN, 3, "sync", TOML + SIGNAL) as server:
        pids = [server.process.pid, *server.workers()]
        subprocess.run(["/bin/kill", "-s", "USR1", *map(str, pids)], check=True)
        wait_until(lambda: said(server), "the toggle", 5)
        time.sleep(0.7)
        assert len(said(server)) == 1, said(server)


def test_a_signal_that_the_program_has_set_itself_still_toggles(tmp_path: Path) -> None:
    """Its own handler is called as well, once for each signal."""
    app = PLAIN + "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('own handler'))\n"
    with ready(tmp_path, app, 1, "sync", TOML + SIGNAL) as server:
        (pid,) = server.workers()
        by = kill("USR1", pid)
        wait_until(lambda: said(server), "the toggle", 5)
        wait_until(lambda: server.messages("stdout", "app.log"), "the program's own", 5)
        assert server.messages("stdout", "app.log") == ["own handler"]
        assert said(server)[0].endswith(f"by signal from pid {by}")


def test_a_real_time_signal_reaches_every_process(tmp_path: Path) -> None:
    """One that Gunicorn does not know: it passes nothing on, and rotates nothing."""
    toml = TOML + SIGNAL.replace("SIGUSR1", "SIGRTMIN+1")
    with ready(tmp_path, PLAIN, 2, "sync", toml) as server:
        for count, pid in enumerate([server.process.pid, *server.workers()], 1):
            by = kill("RTMIN+1", pid)
            wait_until(lambda count=count: len(said(server)) == count, "the toggle", 5)
            assert said(server)[-1].endswith(f"by signal from pid {by}")
            time.sleep(1.1)
        assert [text.split()[1] for text in said(server)] == ["on", "off", "on"]
