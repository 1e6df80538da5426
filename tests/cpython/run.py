"""Runs CPython's own `test.test_logging`, of the running interpreter, with logboom's handlers in the library's place.

`logging.FileHandler`, the rotating and watching classes of `logging.handlers` and its `SysLogHandler` (in its
compatible format) are exchanged before the suite is loaded, so that everything that looks them up there (`basicConfig`,
`dictConfig`, `fileConfig`, the tests) gets ours. The whole module runs. One limit is the suite's own: tests that start
another interpreter in isolated mode run the library's classes there (`tests/python/test_shutdown.py` has them for us).

It prints a line per failed or skipped test and ends with `N passed, N failed, N skipped`; it exits with 0 only if
nothing failed. Usage: `python tests/cpython/run.py [--table] [NAME...]`, where NAME is a part of a test's name.
"""

from __future__ import annotations

import importlib
import logging
import logging.handlers
import os
import stat
import sys
import tempfile
import unittest

from deviations import DEVIATIONS

NAMES = ("RotatingFileHandler", "TimedRotatingFileHandler", "WatchedFileHandler")


def exchange_handlers() -> None:
    """Put logboom's classes where programs find the standard library's."""
    import logboom.handlers

    if not logboom.handlers.FileHandler.__mro__[0].__init__.__module__.startswith("logboom._file"):
        sys.exit("failed to test logboom: its native part is missing; build it (`pip install .`) first")
    logging.FileHandler = logboom.handlers.FileHandler  # type: ignore[misc]
    for name in NAMES:
        setattr(logging.handlers, name, getattr(logboom.handlers, name))

    class SysLogHandler(logboom.handlers.SysLogHandler):
        """In the format that the suite looks for: the standard library's."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, format="plain", **options)

    logging.handlers.SysLogHandler = SysLogHandler  # type: ignore[misc]


def short(test: object) -> str:
    """`Class.method` of a test."""
    return ".".join(str(getattr(test, "id", lambda: test)()).split(".")[-2:])


class Result(unittest.TestResult):
    """Counts, and one line per test that did not simply pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []
        self.wrong: dict[str, str] = {}
        self.left_out: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.passed.append(short(test))

    def addError(self, test: object, err: object) -> None:
        self._add(test, err)

    def addFailure(self, test: object, err: object) -> None:
        self._add(test, err)

    def addSubTest(self, test: object, subtest: object, err: object) -> None:
        if err is not None:
            self._add(test, err)

    def addSkip(self, test: object, reason: str) -> None:
        self.left_out[short(test)] = reason

    def _add(self, test: object, err: object) -> None:
        text = self._exc_info_to_string(err, test).rstrip()  # type: ignore[attr-defined]
        self.wrong[short(test)] = text


def chosen(suite: unittest.TestSuite, parts: list[str]) -> unittest.TestSuite:
    """The tests of `suite` whose name contains one of `parts`; all of them without any."""
    tests = unittest.TestSuite()
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            tests.addTest(chosen(item, parts))
        elif not parts or any(part in item.id() for part in parts):
            tests.addTest(item)
    return tests


def report(result: Result, verbose: bool) -> int:
    """Print the lines and return the number of failures."""
    failed = dict(result.wrong)
    left_out = dict(result.left_out)
    for name, reason in DEVIATIONS.items():
        if failed.pop(name, None) is not None:
            left_out[name] = f"deviation: {reason}"
        elif name in result.passed:
            failed[name] = "listed as a deviation, but it passes: take it off the list"
    for name, reason in sorted(left_out.items()):
        print(f"SKIP {name}: {reason}")
    for name, text in sorted(failed.items()):
        print(f"FAIL {name}: {text if verbose else text.splitlines()[-1]}")
    passed = [name for name in result.passed if name not in failed and name not in result.wrong]
    print(f"{len(passed)} passed, {len(failed)} failed, {len(left_out)} skipped")
    return len(failed)


def null_device_stands() -> bool:
    """A handler that rotated the null device would have renamed it."""
    return stat.S_ISCHR(os.stat(os.devnull).st_mode)


def main(args: list[str]) -> int:
    if "--table" in args:
        print("| test | why it cannot hold |\n|---|---|")
        for name, reason in sorted(DEVIATIONS.items()):
            print(f"| `{name}` | {reason} |")
        return 0
    exchange_handlers()
    with tempfile.TemporaryDirectory(prefix="logboom-cpython-") as folder:
        os.chdir(folder)
        tempfile.tempdir = folder
        # Spools lie here.
        os.environ["XDG_STATE_HOME"] = folder
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module("test.test_logging"))
        result = Result()
        chosen(suite, [arg for arg in args if not arg.startswith("-")]).run(result)
        os.chdir("/")
    failures = report(result, "-v" in args)
    if not null_device_stands():
        print(f"FAIL {os.devnull}: it is no device any more; restore it with `mknod -m 666 /dev/null c 1 3`")
        failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
