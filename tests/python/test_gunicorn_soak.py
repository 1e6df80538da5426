"""A server under load for half an hour while rules come and go, workers are recycled and viewers die: nothing is left.

At the end the counts of rules, places, rings, descriptors and threads are those of the beginning, memory has not
grown, no record was dropped, and `logboom verify` finds nothing missing. Beside the server another program logs into
the same folder all the time: in contrast to the workers it lives from the beginning to the end, so that its memory can
be compared.

LOGBOOM_FULL=1: thirty minutes, memory compared from the fifth on. Else half a minute, which shows that all of it runs
and that nothing is left behind at once. `pytest -s` shows the figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import archives, wait_until
from servers import Server, environment, serve

FULL = bool(os.environ.get("LOGBOOM_FULL"))
RUN_S, WARM_S = (1800.0, 300.0) if FULL else (24.0, 8.0)
# The short form begins before Python has all of its caches, and every worker has had a place.
GROWTH_BYTES_MAX = (1 << 20) if FULL else (4 << 20)
PROGRAM = shutil.which("logboom")
WORKERS = 3
VIEWERS_MAX = 6

APP = """
import logging, os
import logboom
from flask import Flask
app = Flask("app")
pay, stock = logging.getLogger("shop.pay"), logging.getLogger("shop.stock")
@app.get("/buy/<int:number>")
def buy(number):
    pay.debug("paying %d", number)
    stock.debug("taking %d", number)
    pay.info("paid %d", number)
    if number % 50 == 0:
        with logboom.debug("shop.stock", where="path^=/buy", keep=False):
            stock.debug("counted %d", number)
    return "ok"
@app.get("/fails")
def fails():
    pay.debug("before the failure")
    raise ValueError("meant")
"""
TOML = """
[files.main]
path = "app.log"
rotate = { size = "12 MB" }
keep = { count = 1000 }
[format]
kind = "json"
[recorder]
level = "debug"
bytes = "256 kB"
rewind_on = "error"
[app]
debug_signal = "SIGRTMIN+1"
debug_components = ["shop.stock"]
debug_for = "5 s"
"""
# Logs beside the server, recorded and written, and serves requests of its own.
NEIGHBOUR = """
import logging, time
import logboom
from logboom import context
logboom.configure()
log = logging.getLogger("shop.clock")
number = 0
while True:
    number += 1
    request = context.make_request({"HTTP_X_DEBUG": "1"}.get, (), "GET", "/buy/clock", "192.0.2.1")
    context.begin(request)
    log.debug("tick %d", number)
    log.info("tock %d", number)
    context.end(request)
    time.sleep(0.01)
"""


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *arguments],
        cwd=server.folder,
        capture_output=True,
        text=True,
        env=environment(False),
        check=False,
        timeout=60,
    )


class Trouble:
    """What is done to the server meanwhile, one thing after the other, by chance."""

    def __init__(self, server: Server, neighbour: int) -> None:
        self.server = server
        self.pids = [neighbour]
        self.done: dict[str, int] = {}
        self.viewers: list[subprocess.Popen[bytes]] = []
        self.chance = random.Random(4)
        self.reloaded = time.monotonic()

    def step(self) -> None:
        deeds = [self.rule, self.rule, self.reset, self.view, self.view, self.view, self.kill, self.kill, self.stop]
        deeds += [self.look, self.signal, self.workers]
        deed = self.chance.choice(deeds)
        self.done[deed.__name__] = self.done.get(deed.__name__, 0) + 1
        deed()

    def rule(self) -> None:
        """One that ends by itself, of many kinds. A full table is refused, which is right as well."""
        component = self.chance.choice(["shop", "shop.pay", "*", "elsewhere", "shop.clock"])
        where = self.chance.choice([[], ["--where", "path^=/buy"], ["--where", "header.x-debug=1"]])
        lasting = self.chance.choice(["200ms", "1s", "3s"])
        done = command(self.server, "level", f"{component}=debug", "--for", lasting, *where)
        assert done.returncode == 0 or "as many as fit" in done.stderr, done.stderr

    def reset(self) -> None:
        assert command(self.server, "level", "--reset").returncode == 0

    def view(self) -> None:
        if len(self.viewers) >= VIEWERS_MAX:
            return self.kill()
        verb = self.chance.choice(
            [["debug", "shop"], ["debug", "--where", "path^=/buy", "--rewind", "5s"], ["tail"], ["tail", "--recorded"]]
        )
        self.viewers.append(
            subprocess.Popen(
                [str(PROGRAM), *verb],
                cwd=self.server.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(False),
            )
        )
        return None

    def kill(self) -> None:
        if self.viewers:
            viewer = self.viewers.pop(self.chance.randrange(len(self.viewers)))
            viewer.kill()
            viewer.wait()

    def stop(self) -> None:
        if self.viewers:
            self.chance.choice(self.viewers).send_signal(signal.SIGSTOP)

    def look(self) -> None:
        verb = self.chance.choice([["top"], ["rewind", "--last", "1s"], ["level"], ["status"], ["rewind", "--json"]])
        done = command(self.server, *verb)
        assert done.returncode == 0, done.stderr

    def signal(self) -> None:
        os.kill(self.chance.choice([self.server.process.pid, *self.pids]), signal.SIGRTMIN + 1)

    def workers(self) -> None:
        """One more and one less; now and then all anew."""
        if time.monotonic() - self.reloaded > 120:
            self.reloaded = time.monotonic()
            self.server.signal(signal.SIGHUP)
            return
        self.server.signal(signal.SIGTTIN)
        time.sleep(1)
        self.server.signal(signal.SIGTTOU)

    def end(self) -> None:
        while self.viewers:
            self.kill()


class Clients:
    """Who order all the time."""

    def __init__(self, server: Server) -> None:
        self._stop = threading.Event()
        self.served = 0
        self._threads = [threading.Thread(target=self._work, args=(server, at)) for at in range(2)]
        for thread in self._threads:
            thread.start()

    def _work(self, server: Server, at: int) -> None:
        number = at
        while not self._stop.is_set():
            number += 2
            # An order that is cut off by a worker's end was served or not.
            with contextlib.suppress(OSError, Exception):
                path = "/fails" if number % 97 == 0 else f"/buy/{number}"
                server.get(path, headers={"X-Debug": str(number % 2)}, timeout_s=10)
                self.served += 1
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def counts(server: Server, neighbour: int) -> dict[str, Any]:
    """What must be at the end what it was at the beginning, with nobody asking and nobody viewing."""
    status = json.loads(command(server, "status", "--json").stdout)
    alive = [worker for worker in status["workers"] if worker["alive"]]
    dead = [worker for worker in status["workers"] if not worker["alive"]]
    # What is printed natively has files there, a worker's each; a place is a queue and a recorder of the state itself.
    state = Path(status["state"])
    lasting = {"master": server.process.pid, "neighbour": neighbour}
    workers = server.workers()
    return {
        "rules": json.loads(command(server, "level", "--json").stdout)["rules"],
        "places": len(alive),
        "places of the dead": len(dead),
        "files of the state": len(list(state.parent.glob(state.name + "*"))),
        "descriptors": {name: descriptors(pid) for name, pid in lasting.items()},
        "descriptors of a worker": max(descriptors(pid) for pid in workers),
        "threads": {name: threads(pid) for name, pid in lasting.items()},
        "threads of a worker": max(threads(pid) for pid in workers),
        "workers": len(workers),
    }


def descriptors(pid: int) -> int:
    """How many are open. A log's directory, which is kept open once by whoever has written much, does not count."""
    targets = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(descriptor))
    return len(targets) - len({target for target in targets if os.path.isdir(target)})


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def memory(server: Server, neighbour: int) -> dict[str, int]:
    """Bytes: of the two processes that stay, what they have written to; of the state, what is allocated of it."""

    def own(pid: int) -> int:
        # With what is swapped out, and without pages of files, which the kernel takes and gives.
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Anonymous:", "Swap:"))) << 10

    status = json.loads(command(server, "status", "--json").stdout)
    state = Path(status["state"]).stat().st_blocks * 512
    return {"master": own(server.process.pid), "neighbour": own(neighbour), "state": state}


@contextlib.contextmanager
def neighbour(folder: Path) -> Iterator[int]:
    (folder / "clock.py").write_text(NEIGHBOUR)
    with open(folder / "clock.txt", "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "clock.py"], cwd=folder, stdout=out, stderr=out, env=environment(False)
        )
    try:
        yield process.pid
        assert process.poll() is None, (folder / "clock.txt").read_text()
    finally:
        process.terminate()
        process.wait(20)


def at_rest(server: Server, pid: int, workers: int) -> dict[str, Any]:
    """The counts when all rules are over, all that were to end have ended and are told of, and each has a place."""
    command(server, "level", "--reset")
    found: dict[str, Any] = {}

    def is_settled() -> bool:
        # One that has just begun has not logged yet, and has no place.
        for _ in range(8):
            server.get("/buy/1")
        try:
            found.update(counts(server, pid))
        except FileNotFoundError:
            # Recycled between two looks.
            return False
        return (found["workers"], found["places"], found["places of the dead"]) == (workers, workers + 2, 0)

    wait_until(is_settled, "the right number of workers, each with a place", 60)
    return found


@pytest.mark.skipif(PROGRAM is None, reason="the command `logboom` is not on the path")
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    recycled = ["--max-requests", "150", "--max-requests-jitter", "50"]
    with (
        serve(tmp_path, APP, "-w", str(WORKERS), *recycled, toml=TOML, path="/buy/1") as server,
        neighbour(tmp_path) as pid,
    ):
        wait_until(lambda: "tock 3" in server.messages("shop.clock", "app.log"), "the neighbour logs")
        beginning = at_rest(server, pid, WORKERS)
        assert beginning["rules"] == []
        clients, trouble = Clients(server), Trouble(server, pid)
        started, seen, warm = time.monotonic(), set(server.workers()), None
        try:
            while (now := time.monotonic() - started) < RUN_S:
                trouble.step()
                seen.update(server.workers())
                if warm is None and now > WARM_S:
                    warm = memory(server, pid)
                time.sleep(0.1)
        finally:
            trouble.end()
            clients.stop()
        end = at_rest(server, pid, WORKERS)
        grown = {name: number - warm[name] for name, number in memory(server, pid).items()} if warm else {}
        status = json.loads(command(server, "status", "--json").stdout)
        print(f"\n{clients.served} requests, {len(seen)} workers, {trouble.done}")
        print(f"beginning {beginning}\nend       {end}\nmemory    {warm}, grown by {grown}")
        assert end == beginning
        assert all(number < GROWTH_BYTES_MAX for number in grown.values()), grown
        assert sum(status["ledger"]["dropped"].values()) == 0, status["ledger"]
        assert clients.served > 100
        assert len(seen) > WORKERS, "workers were recycled"
    files = [path for path in [tmp_path / "app.log", *archives(tmp_path / "app.log")] if path.exists()]
    verified = command(server, "verify", *map(str, files))
    assert verified.returncode == 0, verified.stdout + verified.stderr
