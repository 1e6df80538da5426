"""A real Gunicorn, with each kind of worker, loses no record while it reopens, rotates and recycles its workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import archives, lines, wait_until

pytest.importorskip("gunicorn", reason="gunicorn is in tests/python/requirements.txt")
pytest.importorskip("flask", reason="flask is in tests/python/requirements.txt")

APP = """
import logging
from flask import Flask
from logboom import handlers
handler = handlers.RotatingFileHandler({path!r}, maxBytes=20_000, backupCount=1000)
handler.setFormatter(logging.Formatter("%(message)s"))
log = logging.getLogger("shop")
log.setLevel(logging.INFO)
log.addHandler(handler)
app = Flask("shop")
@app.get("/buy/<int:number>")
def buy(number):
    for part in range(5):
        log.info("order %06d part %d", number, part)
    return "ok"
"""

CONFIG = """
import logging
logconfig_dict = {{
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {{"plain": {{"format": "%(message)s"}}}},
    "handlers": {{
        "access": {{"class": "logboom.handlers.WatchedFileHandler", "filename": {access!r}, "formatter": "plain"}},
        "error": {{"class": "logboom.handlers.FileHandler", "filename": {error!r}, "formatter": "plain"}},
    }},
    "loggers": {{
        "gunicorn.access": {{"handlers": ["access"], "level": "INFO", "propagate": False}},
        "gunicorn.error": {{"handlers": ["error"], "level": "INFO", "propagate": False}},
    }},
    "root": {{"handlers": ["error"], "level": "INFO"}},
}}
accesslog = "-"
# A worker that gets SIGTERM before it has its signal handlers is only ended by this.
graceful_timeout = 8
access_log_format = "%(U)s"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Gunicorn with three workers on a free port; ended by its own pid."""
    (folder / "shop.py").write_text(APP.format(path=str(folder / "shop.log")))
    (folder / "conf.py").write_text(CONFIG.format(access=str(folder / "access.log"), error=str(folder / "error.log")))
    port = free_port()
    import gunicorn as package

    control = ["--no-control-socket"] if int(package.__version__.split(".")[0]) >= 26 else []
    command = [sys.executable, "-m", "gunicorn", "-c", "conf.py", "-w", "3", "-b", f"127.0.0.1:{port}", *control]
    with open(folder / "out.txt", "wb") as out:
        process = subprocess.Popen([*command, *options, "shop:app"], cwd=folder, stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}/buy/"
        wait_until(lambda: answers(url + "999999"), f"Gunicorn answers\n{(folder / 'out.txt').read_text()}", 30)
        yield process, url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("preload", [False, True], ids=["forked", "preloaded"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_every_served_request_is_in_the_log(tmp_path: Path, worker: str, preload: bool) -> None:
    if worker == "gevent":
        pytest.importorskip("gevent", reason="gevent is in tests/python/requirements.txt")
    options = ["-k", worker, "--max-requests", "40", "--max-requests-jitter", "20"]
    options += ["--threads", "4"] if worker == "gthread" else []
    options += ["--preload"] if preload else []
    served = []
    with gunicorn(tmp_path, *options) as (process, url):
        for number in range(240):
            if number in (60, 120, 180):
                moved = tmp_path / f"access.log.moved{number}"
                wait_until((tmp_path / "access.log").exists, "the access log is there again", 5)
                (tmp_path / "access.log").rename(moved)
                process.send_signal(signal.SIGUSR1)
            if answers(f"{url}{number}"):
                served.append(number)
    assert len(served) >= 230
    errors = "".join(lines(tmp_path / "error.log")) + (tmp_path / "out.txt").read_text()
    assert "Traceback" not in errors
    assert "Logging error" not in errors
    found = lines(tmp_path / "shop.log")
    wanted = [f"order {number:06} part {part}" for number in served for part in range(5)]
    assert set(wanted) - set(found) == set()
    assert len(found) == len(set(found)) or found.count("order 999999 part 0") > 1
    assert len(archives(tmp_path / "shop.log")) >= 1
    accesses = lines(tmp_path / "access.log")
    assert {f"/buy/{number}" for number in served} - set(accesses) == set()
    assert (tmp_path / "access.log").exists()


def test_no_descriptor_of_a_log_is_passed_to_a_program_that_a_worker_starts(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as (process, url):
        assert answers(url + "1")
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            workers = [int(pid) for pid in children.read().split()]
        assert workers
        for pid in workers:
            for number in os.listdir(f"/proc/{pid}/fd"):
                try:
                    target = os.readlink(f"/proc/{pid}/fd/{number}")
                    flags = Path(f"/proc/{pid}/fdinfo/{number}").read_text().split("flags:")[1].split()[0]
                except FileNotFoundError:
                    continue
                if target.endswith(".log"):
                    assert int(flags, 8) & os.O_CLOEXEC, target
