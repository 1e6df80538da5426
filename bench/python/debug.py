"""What debug on demand costs: disabled calls with and without logboom, and records that are only recorded; and what a
request's context costs a record that is written.

    python debug.py FOLDER [--rounds N] [--shrink N]

Each way to log is a process of its own, since loggers are the process's; all of them stand at the same time and are
asked in turn, so that what else the machine does hits them alike. Writes one JSON object: the nanoseconds of a call in
each round, for each way.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The first of a group is what the others are compared with.
DISABLED = {
    "without logboom": "level INFO, a `NullHandler`",
    "logboom, no rule": "",
    "logboom, a rule for another component": "",
    "logboom, a rule for other requests of this component": "its condition is on the path, and asked for each call",
    "logboom, two rules for other requests": "the second's is on a header",
}
RECORDED = {
    "a `NullHandler` that gets it": "level DEBUG, without logboom",
    "logboom, text, recorded only": "level INFO, `recorder.level = debug`",
    "logboom, JSON, recorded only": "the same",
    "logboom, text, recorded only, in a request": "the same, with the request's fields",
}
WRITTEN = {
    "text, without context": "level DEBUG, `logboom.configure`",
    "text, with a request's context": "the same, with the request's fields",
    "JSON, without context": "",
    "JSON, with a request's context": "",
}
CALLS = {"disabled": 200_000, "recorded": 10_000, "written": 10_000}
BATCHES = 10


def set_up(way: str, folder: str) -> None:
    """Make this process one that logs in this way."""
    if way in ("without logboom", "a `NullHandler` that gets it"):
        logging.root.addHandler(logging.NullHandler())
        logging.root.setLevel(logging.INFO if way in DISABLED else logging.DEBUG)
        return
    import logboom
    from logboom import _setup, context

    os.chdir(folder)
    recorder = {"level": "debug"} if way in RECORDED else {}
    kind = "json" if "JSON" in way else "text"
    level = "debug" if way in WRITTEN else "info"
    logboom.configure(level=level, files={"main": {"path": "app.log"}}, recorder=recorder, format={"kind": kind})
    log = _setup._current.log
    if "another component" in way:
        log.add_rule("other", kept=True, for_s=0)
    if "requests" in way:
        log.add_rule("shop", kept=True, for_s=0, condition="path^=/checkout")
    if "two rules" in way:
        log.add_rule("shop", kept=True, for_s=0, condition="header.x-debug=1")
    if "request" in way:
        environ = {"HTTP_ACCEPT": "*/*"}
        context.begin(context.make_request(environ.get, (), "GET", "/cart/7", "192.0.2.1"))


def loop(calls: int) -> float:
    """Nanoseconds of processor time of a call, in the fastest of some batches, since others use the machine, too."""
    logger = logging.getLogger("shop.db")
    fastest = float("inf")
    for _ in range(BATCHES):
        begun = time.process_time_ns()
        for number in range(calls // BATCHES):
            logger.debug("order %s paid in %d ms", "4711-ab", number)
        fastest = min(fastest, (time.process_time_ns() - begun) / (calls // BATCHES))
    return fastest


def serve(way: str, folder: str) -> None:
    """The process of one way: measures as often as it is asked to."""
    set_up(way, folder)
    loop(2_000)
    for line in sys.stdin:
        print(loop(int(line)), flush=True)


class Way:
    """A process that logs in one way, seen from here."""

    def __init__(self, name: str, note: str, folder: Path) -> None:
        self.name, self.note = name, note
        self.ns: list[float] = []
        folder.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), "--way", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, calls: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"`{self.name}` has failed")
        return float(answer)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


def measure(group: str, names: dict[str, str], folder: Path, rounds: int, shrink: int) -> list[dict[str, Any]]:
    print(f"debug: {group}", file=sys.stderr)
    ways = [Way(name, note, folder / f"{group}-{number}") for number, (name, note) in enumerate(names.items())]
    try:
        ask: Callable[[Way], float] = lambda way: way.ask(max(CALLS[group] // shrink, 1000))  # noqa: E731
        for way in ways:
            ask(way)
        for number in range(rounds):
            for at in range(len(ways)):
                # Each round begins with another one.
                way = ways[(at + number) % len(ways)]
                way.ns.append(ask(way))
    finally:
        for way in ways:
            way.end()
    return [{"name": way.name, "note": way.note, "ns": way.ns} for way in ways]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the logs go; must exist")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shrink", type=int, default=1, help="divides the numbers of calls")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        serve(args.way, str(args.folder))
        return
    folder = args.folder / f"debug-{os.getpid()}"
    folder.mkdir()
    figures = {
        "version": platform.python_version(),
        "disabled": measure("disabled", DISABLED, folder, args.rounds, args.shrink),
        "recorded": measure("recorded", RECORDED, folder, args.rounds, args.shrink),
        "written": measure("written", WRITTEN, folder, args.rounds, args.shrink),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
