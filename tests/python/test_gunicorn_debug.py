"""Debug on demand in a running Gunicorn: no restart, the very next record, all workers, back to normal by itself.

The command `logboom` and the server are real processes; the application sleeps, as the posts' programs do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import wait_until
from servers import Server, serve, worker_options

APP = """
import logging, time
from flask import Flask, abort
app = Flask("app")
payments, stock = logging.getLogger("shop.payments"), logging.getLogger("shop.stock")
@app.get("/buy/<int:number>")
def buy(number):
    payments.debug("paying %d", number)
    stock.debug("taking %d", number)
    payments.info("paid %d", number)
    return "ok"
@app.get("/slow")
def slow():
    for step in range(40):
        payments.debug("step %d", step)
        print("printed", step)
        time.sleep(0.25)
    return "ok"
@app.get("/fails")
def fails():
    payments.debug("before the failure")
    abort(503)
"""
TOML = """
[files.main]
path = "app.log"
[format]
kind = "json"
"""
PROGRAM = shutil.which("logboom")
needs_program = pytest.mark.skipif(PROGRAM is None, reason="the command `logboom` is not on the path")


@contextlib.contextmanager
def command(server: Server, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`logboom` with the server's log, ended as by Ctrl-C."""
    env = os.environ | {"LOGBOOM_STATE_DIR": os.environ["LOGBOOM_STATE_DIR"]}
    process = subprocess.Popen(
        [str(PROGRAM), *arguments, "--log", str(server.folder / "app.log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def read(server: Server) -> list[dict[str, Any]]:
    return server.records("app.log")


def bodies(server: Server, component: str = "shop.payments") -> list[str]:
    return [record["body"] for record in read(server) if record["otel.scope.name"] == component]


def rules(server: Server) -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(PROGRAM), "level", "--json", "--log", str(server.folder / "app.log")],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["rules"]
    return found


@needs_program
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_component_is_revealed_live_and_no_longer_than_its_viewer_lives(tmp_path: Path, worker: str) -> None:
    with serve(tmp_path, APP, "-w", "2", *worker_options(worker), toml=TOML) as server:
        server.get("/buy/1")
        with command(server, "debug", "shop.payments", "--json") as viewer:
            wait_until(lambda: len(rules(server)) == 1, "the rule is in force")
            for number in range(2, 12):
                server.get(f"/buy/{number}")
            assert viewer.stdout is not None
            seen = [json.loads(viewer.stdout.readline())["body"] for _ in range(20)]
            assert [body for body in seen if body.startswith("paying")] == [f"paying {n}" for n in range(2, 12)]
            assert not any("taking" in body for body in seen)
            viewer.kill()
            viewer.wait(10)
            server.get("/buy/12")
            time.sleep(1.1)
            server.get("/buy/13")
            wait_until(lambda: rules(server) == [], "the rule of a killed viewer ends")
        wait_until(lambda: "paid 13" in bodies(server), "the last order is in the file")
        assert not any("paying" in body for body in bodies(server)), "what a viewer alone asked for is in no file"


def test_the_trail_of_a_failed_request_is_in_the_log(tmp_path: Path) -> None:
    toml = TOML + '[recorder]\nlevel = "debug"\nrewind_on = "error"\n'
    with serve(tmp_path, APP, "-w", "2", toml=toml) as server:
        for number in range(5):
            server.get(f"/buy/{number}")
        assert server.get("/fails")[0] == 503
        wait_until(lambda: "before the failure" in bodies(server), "the trail is there")
        trail = [record for record in read(server) if record.get("rewound")]
        assert [record["body"] for record in trail] == ["before the failure"]
        assert not any("paying" in body for body in bodies(server))


@needs_program
def test_level_shows_what_the_configuration_has_set(tmp_path: Path) -> None:
    """And after a reload what it sets now."""
    toml = TOML + '[levels]\n"shop.stock" = "error"\n[recorder]\nlevel = "debug"\n'

    def levels() -> dict[str, str]:
        done = subprocess.run(
            [str(PROGRAM), "level", "--json", "--log", str(tmp_path / "app.log")],
            capture_output=True,
            text=True,
            check=True,
        )
        return {level["component"]: level["level"] for level in json.loads(done.stdout)["levels"]}

    with serve(tmp_path, APP, "-w", "1", "--log-level", "warning", toml=toml, path="/buy/0") as server:
        assert levels() == {"": "warning", "shop.stock": "error", "*": "debug"}
        (tmp_path / "logboom.toml").write_text(TOML + '[levels]\n"shop.payments" = "info"\n')
        server.signal(signal.SIGHUP)
        wait_until(lambda: levels().get("shop.payments") == "info", "the new levels")
        assert levels().keys() & {"shop.stock", "*"} == set()


@needs_program
def test_what_was_recorded_is_seen_afterwards_also_of_a_dead_worker(tmp_path: Path) -> None:
    toml = TOML + '[recorder]\nlevel = "debug"\n'
    with serve(tmp_path, APP, "-w", "1", toml=toml) as server:
        server.get("/buy/1")
        (pid,) = server.workers()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server.workers() not in ([], [pid]) and server.answers("/buy/2"), "another worker serves")
        done = subprocess.run(
            [str(PROGRAM), "rewind", "shop", "--json", "--log", str(tmp_path / "app.log")],
            capture_output=True,
            text=True,
            check=True,
        )
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        found = {(record["process.pid"], record["body"]) for record in seen}
        assert (pid, "paying 1") in found, found
        assert "paying 2" in {body for process, body in found if process != pid}
