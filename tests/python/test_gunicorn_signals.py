"""While workers come, go, are exchanged and reopen their files, no record of a served request is lost or doubled."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import wait_until
from servers import ASGI_APP, Server, children, command, environment, serve, worker_options

ORDERS = """
import logging, sys
log = logging.getLogger("shop")
def app(environ, start_response):
    number = environ["PATH_INFO"].rpartition("/")[2]
    log.info("order %s part 1", number)
    print("order", number, "part 2")
    log.warning("order %s part 3", number)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
ORDERS_ASGI = ASGI_APP.replace(
    '    log.info("order %s", number)\n    print("printed", number)\n',
    '    log.info("order %s part 1", number)\n    print("order", number, "part 2")\n'
    '    log.warning("order %s part 3", number)\n',
)
# Small enough that the log rotates many times.
TOML = """
[files.main]
path = "stream.log"
rotate = { size = "40 kB" }
keep = { count = 100000 }
"""


# Between two orders of a client: faster ones would test the machine.
PAUSE_S = 0.005


class Load:
    """Clients that order again and again and remember what was served."""

    def __init__(self, server: Server, clients: int = 3) -> None:
        self.server = server
        self.served: set[str] = set()
        self._clients = clients
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self.go_on()

    def go_on(self) -> None:
        self._stop.clear()
        self._threads = [threading.Thread(target=self._work) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            order = f"a{next(self._numbers):06}"
            # An order that was cut off may have been served or not.
            with contextlib.suppress(OSError, Exception):
                if self.server.get(f"/buy/{order}", timeout_s=10) == (200, b"ok"):
                    self.served.add(order)
            time.sleep(PAUSE_S)

    def more(self, orders: int = 30) -> None:
        """Wait until so many more were served."""
        wanted = len(self.served) + orders
        wait_until(lambda: len(self.served) >= wanted, f"{orders} more orders are served\n{self.server.output}", 60)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def under_load(folder: Path, worker: str, *options: str) -> Iterator[tuple[Server, Load]]:
    app = ORDERS_ASGI if worker in ("asgi", "uvicorn") else ORDERS
    options = (*worker_options(worker), "-w", "4", "--pid", "pid", *options)
    with serve(folder, app, *options, path="/buy/probe", toml=TOML) as server:
        load = Load(server)
        try:
            load.more()
            yield server, load
        finally:
            load.stop()


def assert_all_there(server: Server, served: set[str]) -> None:
    """All three records of each order that was served, and its access record: each once."""
    assert len(served) > 100
    told: dict[str, int] = {}
    paths: dict[str, int] = {}
    for record in server.records("stream.log"):
        if record["body"].startswith("order a"):
            told[record["body"]] = told.get(record["body"], 0) + 1
        elif record["otel.scope.name"] == "gunicorn.access":
            paths[record["url.path"]] = paths.get(record["url.path"], 0) + 1
    lost = [
        f"order {order} part {part}"
        for order in served
        for part in (1, 2, 3)
        if f"order {order} part {part}" not in told
    ]
    lost += [order for order in served if f"/buy/{order}" not in paths]
    doubled = [
        text for text, count in (told | {p: c for p, c in paths.items() if "probe" not in p}).items() if count > 1
    ]
    assert (sorted(lost)[:5], sorted(doubled)[:5]) == ([], [])
    assert "Traceback" not in server.output
    verify = shutil.which("logboom")
    if verify:
        done = subprocess.run(
            [verify, "verify", str(server.folder / "stream.log")],
            capture_output=True,
            text=True,
            env=environment(False),
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent", "asgi", "uvicorn"])
def test_more_and_fewer_workers_reloads_and_reopened_files(tmp_path: Path, worker: str) -> None:
    with under_load(tmp_path, worker) as (server, load):
        for number in (signal.SIGTTIN, signal.SIGUSR1, signal.SIGTTOU, signal.SIGHUP, signal.SIGUSR1):
            before = set(server.workers())
            server.signal(number)
            if number == signal.SIGHUP:
                wait_until(lambda before=before: not before & set(server.workers()), "new workers", 60)
            load.more()
        load.stop()
    assert_all_there(server, load.served)


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent", "uvicorn"])
def test_workers_that_are_recycled(tmp_path: Path, worker: str) -> None:
    with under_load(tmp_path, worker, "--max-requests", "15", "--max-requests-jitter", "10") as (server, load):
        first = set(server.workers())
        load.more(200)
        wait_until(lambda: not first & set(server.workers()), "all workers are others", 60)
        load.stop()
    assert_all_there(server, load.served)


def test_a_file_that_was_moved_away_is_made_anew_at_usr1(tmp_path: Path) -> None:
    """The stream's, and that of a handler that the application has on the root logger."""
    app = (
        """
import logging
own = logging.FileHandler("own.log")
logging.getLogger().addHandler(own)
"""
        + ORDERS
    )
    with serve(tmp_path, app, "-w", "2", "--preload", "--error-logfile", "stream.log", path="/buy/probe") as server:
        for name in ("stream.log", "own.log"):
            (tmp_path / name).rename(tmp_path / f"{name}.moved")
        server.signal(signal.SIGUSR1)
        wait_until((tmp_path / "own.log").exists, "the application's log is there again")
        time.sleep(0.3)
        server.get("/buy/z1")
        server.get("/buy/z2")
    for name in ("stream.log", "own.log"):
        assert "order z1 part 1" in (tmp_path / name).read_text()
        assert "order z1 part 1" not in (tmp_path / f"{name}.moved").read_text()


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_binary_upgrade(tmp_path: Path, worker: str) -> None:
    """USR2: a new master beside the old one, which then goes."""
    with under_load(tmp_path, worker) as (server, load):
        server.signal(signal.SIGUSR2)
        new = tmp_path / "pid.2"
        wait_until(lambda: new.exists() and new.read_text().strip(), "the new master has its pid", 30)
        upgraded = int(new.read_text())
        try:
            wait_until(lambda: len(children(upgraded)) >= 4, "the new master has workers", 30)
            load.more()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(30)
            load.more()
            load.stop()
            found = [int(pid) for pid in re.findall(r'"process.pid":(\d+)', "\n".join(server.lines("stream.log")))]
            assert upgraded in found
        finally:
            os.kill(upgraded, signal.SIGTERM)
            wait_until(lambda: not Path(f"/proc/{upgraded}").exists(), "the new master is gone", 30)
    assert_all_there(server, load.served)


def test_a_master_that_is_killed_and_started_again(tmp_path: Path) -> None:
    """Its workers notice and go; the next master writes to the same log."""
    with under_load(tmp_path, "sync") as (server, load):
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        # A worker that is kept busy does not look for its master.
        load.stop()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the orphans are gone", 30)
        with open(tmp_path / "out.txt", "ab") as out:
            again = subprocess.Popen(
                [*command("-b", f"127.0.0.1:{server.port}", "-w", "4"), "app:app"],
                cwd=tmp_path,
                stdout=out,
                stderr=out,
                env=environment(True),
            )
        try:
            wait_until(lambda: server.answers("/buy/probe"), "an answer", 30)
            load.go_on()
            load.more(100)
            load.stop()
        finally:
            again.terminate()
            again.wait(30)
    assert_all_there(server, load.served)


def test_a_server_leaves_no_process_no_thread_and_no_file_behind(tmp_path: Path) -> None:
    with under_load(tmp_path, "sync") as (server, load):
        # A thread of the log compresses and retries; without either there is none.
        for pid in [server.process.pid, *server.workers()]:
            with contextlib.suppress(FileNotFoundError):
                assert len(list(Path(f"/proc/{pid}/task").iterdir())) <= 2
        load.stop()
    left = {re.sub(r"\.log\.\d+$", ".log.N", path.name) for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left <= {"app.py", "logboom.toml", "out.txt", "stream.log", "stream.log.N"}, left


def test_the_workers_may_be_another_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may start workers as another user")
    prefix = Path(sys.base_prefix).resolve()
    if not all(place.stat().st_mode & 0o001 for place in (prefix, *prefix.parents)):
        pytest.skip("the interpreter lies where other users may not look")
    os.chmod(tmp_path, 0o755)
    for parent in list(tmp_path.parents)[:-2]:
        if parent.stat().st_uid == os.geteuid():
            os.chmod(parent, parent.stat().st_mode | 0o055)
    options = ["--user", "65534", "--group", "65534", "--error-logfile", "stream.log", "-w", "2"]
    with serve(tmp_path, ORDERS, *options, path="/buy/probe") as server:
        for number in range(20):
            assert server.get(f"/buy/a{number}") == (200, b"ok")
        server.signal(signal.SIGUSR1)
        assert server.get("/buy/b") == (200, b"ok")
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in server.workers()}
    assert owners == {65534}
    told = [record["body"] for record in server.records("stream.log")]
    for order in [*(f"a{number}" for number in range(20)), "b"]:
        for part in (1, 2, 3):
            assert told.count(f"order {order} part {part}") == 1
