"""Requests a second of a trivial Flask app under Gunicorn: the standard set-up with an access log beside logboom's.

    python server.py DRIVER FOLDER ROUNDS SECONDS [WORKER_CLASS...]

Both servers stand at the same time, with the same workers, and are driven in turn by the same client, `DRIVER --drive
PORT PATH SECONDS` (`src/drive.rs`): a few connections, kept alive where the worker does so (`sync` does not). The same
server gives up to a tenth more or less after a new start, so both are started anew every few rounds; a round is several
short turns of each, so that what else the machine does meets both. Writes one JSON object: the requests a second of
each round, for each kind of worker and path.

- `standard`: Gunicorn's own logger, `--access-logfile` and `--error-logfile` to files, Flask's logger to standard error
  (a file), nothing else: what most deployments have. One worker, so that its files are safe.
- `logboom`: `--logger-class logboom.gunicorn.Logger` with the same files: one more thing per request than the standard
  set-up, the request context with an id and the table of requests in flight.
"""

from __future__ import annotations

import json
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

APP = """
from flask import Flask
app = Flask(__name__)
@app.get("/")
def index():
    return "hello"
@app.get("/log")
def log():
    app.logger.warning("an order of %s for %d", "boots", 7)
    return "hello"
"""
# Then both servers are started anew.
ROUNDS_OF_A_SERVER = 3
TURNS = 5
CONTESTANTS = ("standard", "logboom")


class Server:
    """A Gunicorn with one contestant's logging."""

    def __init__(self, name: str, folder: Path, worker_class: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "app.py").write_text(APP)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        logger = ["--logger-class", "logboom.gunicorn.Logger"] if name == "logboom" else []
        files = ["--access-logfile", "access.log", "--error-logfile", "error.log"]
        command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{self.port}", "-k", worker_class]
        # With more than one thread, Gunicorn takes gthread for sync.
        threads = ["--threads", "1" if worker_class == "sync" else "4"]
        command += ["-w", "1", *threads, "--keep-alive", "60", "--no-control-socket", *files, *logger, "app:app"]
        with open(self.folder / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=stderr, stderr=stderr)
        end = time.monotonic() + 30
        while not self.answers():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"{name} does not start:\n{(self.folder / 'stderr').read_text()}")
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return connection.recv(12).endswith(b"200")
        except OSError:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def requests_a_second(driver: str, port: int, path: str, seconds: float) -> float:
    """Drive the server for so long; what it answered a second."""
    run = subprocess.run([driver, "--drive", str(port), path, str(seconds)], stdout=subprocess.PIPE, check=True)
    return float(run.stdout)


def measure(driver: str, folder: Path, rounds: int, seconds: float, worker_class: str) -> list[dict[str, object]]:
    """Both servers with this kind of worker, and for each path the requests a second of each round."""
    found: dict[str, dict[str, list[float]]] = {path: {name: [] for name in CONTESTANTS} for path in ("/", "/log")}
    for first in range(0, rounds, ROUNDS_OF_A_SERVER):
        some = range(first, min(first + ROUNDS_OF_A_SERVER, rounds))
        with tempfile.TemporaryDirectory(dir=folder) as own:
            measure_servers(driver, Path(own), some, seconds, worker_class, found)
    return [{"worker": worker_class, "path": path, **rates} for path, rates in found.items()]


def measure_servers(
    driver: str,
    folder: Path,
    rounds: range,
    seconds: float,
    worker_class: str,
    found: dict[str, dict[str, list[float]]],
) -> None:
    """Start both servers, and add the requests a second of these rounds to what is `found`."""
    servers: dict[str, Server] = {}
    try:
        for name in CONTESTANTS if rounds[0] // ROUNDS_OF_A_SERVER % 2 else CONTESTANTS[::-1]:
            servers[name] = Server(name, folder, worker_class)
        for path, rates in found.items():
            for server in servers.values():
                requests_a_second(driver, server.port, path, seconds / 2)
            for _ in rounds:
                sums = dict.fromkeys(CONTESTANTS, 0.0)
                for turn in range(TURNS):
                    for name in CONTESTANTS if turn % 2 else CONTESTANTS[::-1]:
                        sums[name] += requests_a_second(driver, servers[name].port, path, seconds / TURNS)
                for name, total in sums.items():
                    rates[name].append(total / TURNS)
    finally:
        for server in servers.values():
            server.stop()


def main() -> None:
    driver, base, rounds, seconds, *workers = sys.argv[1:]
    cells: list[dict[str, object]] = []
    for worker_class in workers or ["sync", "gthread"]:
        cells += measure(driver, Path(base), int(rounds), float(seconds), worker_class)
    named = [f"{name} {version(name)}" for name in ("gunicorn", "flask")]
    json.dump({"versions": ", ".join([f"CPython {platform.python_version()}", *named]), "cells": cells}, sys.stdout)


if __name__ == "__main__":
    main()
