"""Measures handlers of Python's `logging`: `handlers.py DIRECTORY` prints the figures as JSON.

Every handler is measured in each round, so that a change of the machine's speed meets all of them. A measurement
forks its processes; each makes its own handler, warms it up, waits for the others, and logs a message with two
arguments, in the default format where nothing else is said. Rates and times of calls come from runs of their own, so
that reading the clock does not spoil the rate. The clock of a rate stops when the records are in the file; lines of
the file are counted. Progress goes to stderr."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import logging.handlers
import multiprocessing
import os
import platform
import queue
import shutil
import statistics
import sys
import time
from array import array
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import logboom.handlers
from concurrent_log_handler import ConcurrentRotatingFileHandler

FORK = multiprocessing.get_context("fork")
# So large that no rotation comes into the figures.
SIZE = {"maxBytes": 1 << 40, "backupCount": 3}
WARM_RECORDS = 500
PLAIN = "logging.FileHandler"
QUEUE = "logging.handlers.QueueHandler + QueueListener"
# What `logging` itself takes for a record, before any handler does anything.
NOTHING = "logging.NullHandler"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

HANDLERS: dict[str, Callable[[str], logging.Handler]] = {
    PLAIN: logging.FileHandler,
    "logging.handlers.RotatingFileHandler": lambda path: logging.handlers.RotatingFileHandler(path, **SIZE),
    "logging.handlers.WatchedFileHandler": logging.handlers.WatchedFileHandler,
    "logboom.handlers.FileHandler": logboom.handlers.FileHandler,
    "logboom.handlers.RotatingFileHandler": lambda path: logboom.handlers.RotatingFileHandler(path, **SIZE),
    "logboom.handlers.WatchedFileHandler": logboom.handlers.WatchedFileHandler,
    "concurrent_log_handler.ConcurrentRotatingFileHandler": lambda path: ConcurrentRotatingFileHandler(
        path, "a", **SIZE
    ),
    QUEUE: logging.FileHandler,
    NOTHING: lambda path: logging.NullHandler(),
}
# What else is set up, by what stands behind the name of the handler; measured with one process.
SETUPS: dict[str, Callable[[logging.Logger, logging.Handler], None]] = {
    "": lambda logger, handler: None,
    "with time, level and name": lambda logger, handler: handler.setFormatter(logging.Formatter(FORMAT)),
    "with a filter": lambda logger, handler: logger.addFilter(lambda record: True),
}
BOTH = (PLAIN, "logboom.handlers.FileHandler")
# Records of each process in a round; the slow ones log fewer.
RECORDS = {1: 16_000, 4: 8_000}
SLOW = {"concurrent_log_handler.ConcurrentRotatingFileHandler": 4, QUEUE: 2}


class Cell:
    """One handler with one number of processes, and what was measured of it."""

    def __init__(self, name: str, processes: int, shrink: int) -> None:
        self.name = name
        self.handler, _, self.setup = name.partition(", ")
        self.processes = processes
        self.each = RECORDS[processes] // SLOW.get(name, 1) // shrink
        self.rates: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.lost = 0

    def measure(self, directory: Path) -> None:
        elapsed_ns, _ = self.run(directory, timed=False)
        self.rates.append(self.each * self.processes / (elapsed_ns / 1e9))
        _, calls = self.run(directory, timed=True)
        cuts = statistics.quantiles(calls, n=100)
        self.p50.append(cuts[49])
        self.p99.append(cuts[98])

    def run(self, directory: Path, timed: bool) -> tuple[int, list[int]]:
        """One run; gives nanoseconds from the first start to the last end, and the times of all calls."""
        directory.mkdir()
        try:
            path = directory / "app.log"
            answer = Crew(self, str(path), timed).run()
            if self.name != NOTHING:
                with path.open("rb") as file:
                    found = sum(1 for _ in file)
                self.lost += self.processes * (self.each + WARM_RECORDS) - found
            return answer
        finally:
            shutil.rmtree(directory)


class Crew:
    """The processes of one run."""

    def __init__(self, cell: Cell, path: str, timed: bool) -> None:
        self.cell, self.path, self.timed = cell, path, timed
        self.barrier = FORK.Barrier(cell.processes)
        self.queue: Any = FORK.Queue() if cell.name == QUEUE and cell.processes > 1 else None

    def run(self) -> tuple[int, list[int]]:
        listener = self.queue and FORK.Process(target=listen, args=(self.queue, self.path))
        if listener:
            listener.start()
        pipes = [FORK.Pipe(duplex=False) for _ in range(self.cell.processes)]
        workers = [FORK.Process(target=self.work, args=(end,)) for _, end in pipes]
        for worker in workers:
            worker.start()
        results = [receiver.recv() for receiver, _ in pipes]
        for worker in workers:
            worker.join()
        last = max(end for _, end, _ in results)
        if listener:
            self.queue.put(None)
            listener.join()
            last = time.monotonic_ns()
        if any(worker.exitcode for worker in workers):
            raise SystemExit(f"a process that measured {self.cell.name} failed")
        return last - min(start for start, _, _ in results), [ns for _, _, calls in results for ns in calls]

    def work(self, results: Connection) -> None:
        logger, finish = self.open()
        for number in range(WARM_RECORDS):
            logger.info("order %s paid in %d ms", "4711-ab", number)
        self.barrier.wait()
        start = time.monotonic_ns()
        calls = log_timed(logger, self.cell.each) if self.timed else log(logger, self.cell.each)
        finish()
        results.send((start, time.monotonic_ns(), calls))

    def open(self) -> tuple[logging.Logger, Callable[[], None]]:
        """A logger with the handler, and what brings all of its records into the file."""
        logger = logging.getLogger("shop")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        if self.cell.name != QUEUE:
            handler = HANDLERS[self.cell.handler](self.path)
            logger.addHandler(handler)
            SETUPS[self.cell.setup](logger, handler)
            return logger, handler.flush
        if self.queue:
            logger.addHandler(logging.handlers.QueueHandler(self.queue))
            return logger, lambda: None
        own: queue.SimpleQueue[Any] = queue.SimpleQueue()
        listener = logging.handlers.QueueListener(own, logging.FileHandler(self.path))
        listener.start()
        logger.addHandler(logging.handlers.QueueHandler(own))
        return logger, listener.stop


def listen(records: Any, path: str) -> None:
    """The process that writes what the others put into the queue, as the standard library's cookbook has it."""
    handler = logging.FileHandler(path)
    while (record := records.get()) is not None:
        handler.handle(record)
    handler.close()


def log(logger: logging.Logger, records: int) -> array[int]:
    for number in range(records):
        logger.info("order %s paid in %d ms", "4711-ab", number)
    return array("q")


def log_timed(logger: logging.Logger, records: int) -> array[int]:
    calls = array("q")
    clock = time.perf_counter_ns
    for number in range(records):
        begun = clock()
        logger.info("order %s paid in %d ms", "4711-ab", number)
        calls.append(clock() - begun)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the logs go; must exist")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=120, help="no further round when they would not suffice")
    parser.add_argument("--shrink", type=int, default=1, help="divides the numbers of records")
    args = parser.parse_args()
    cells = [Cell(name, processes, args.shrink) for processes in RECORDS for name in HANDLERS]
    cells += [Cell(f"{name}, {setup}", 1, args.shrink) for setup in SETUPS if setup for name in BOTH]
    begun = time.monotonic()
    for number in range(args.rounds):
        spent = time.monotonic() - begun
        if number >= 2 and spent + spent / number > args.seconds:
            break
        print(f"python: round {number + 1}", file=sys.stderr)
        for at in range(len(cells)):
            # Each round begins with another one.
            cells[(at + 3 * number) % len(cells)].measure(args.directory / f"python-{os.getpid()}")
    figures = {
        "version": platform.python_version(),
        "rival_version": importlib.metadata.version("concurrent-log-handler"),
        "cells": [vars(cell) for cell in cells],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
