"""Runs Gunicorn's own tests for its logger, of the installed version, with logboom's class in place of theirs.

The tests are those of Gunicorn's source distribution, `tests/test_logger.py` and `tests/test_statsd.py`, unchanged.
The source distribution is taken from `--source FILE_OR_FOLDER`, or fetched with pip. The class is exchanged before any
of them is imported (`exchange.py`).

It prints pytest's report and ends with `N passed, N failed, N skipped`; deviations are named in `deviations.py`, and
one that passes is a failure. Usage: `python tests/gunicorn_suite/run.py [--source PLACE] [NAME...]`, where NAME is a
part of a test's name.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import gunicorn
import pytest
from deviations import DEVIATIONS

FILES = ("test_logger.py", "test_statsd.py")


def source(place: str | None, folder: Path) -> Path:
    """The folder `tests` of the source distribution."""
    if place is None:
        wanted = f"gunicorn=={gunicorn.__version__}"
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "gunicorn", "-d", str(folder)]
        if subprocess.run([*pip, wanted], check=False).returncode != 0:
            sys.exit(f"failed to fetch the source distribution of {wanted}; give it with --source")
        place = str(next(folder.glob("gunicorn-*.tar.gz")))
    found = Path(place)
    if found.is_file():
        with tarfile.open(found) as archive:
            archive.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(folder)
        found = next(path for path in folder.glob("gunicorn-*") if path.is_dir())
    if not (found / "tests" / FILES[0]).exists():
        sys.exit(f"failed to find Gunicorn's tests in `{found}`: it is no source distribution")
    return found / "tests"


class Report:
    """Counts, and holds the deviations against what happened."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}
        self.left_out: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::", 1)[-1]
        if report.failed:
            self.failed[name] = report.longreprtext
        elif report.skipped:
            self.left_out.append(name)
        elif report.when == "call":
            self.passed.append(name)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext


def outcome(report: Report) -> int:
    """Print a line per test that did not simply pass; gives the number of failures."""
    failed = dict(report.failed)
    for name, reason in DEVIATIONS.items():
        if failed.pop(name, None) is not None:
            report.left_out.append(name)
            print(f"SKIP {name}: deviation: {reason}")
        elif name in report.passed:
            failed[name] = "listed as a deviation, but it passes: take it off the list"
    for name, text in sorted(failed.items()):
        print(f"FAIL {name}: {text.splitlines()[-1]}")
    passed = [name for name in report.passed if name not in failed]
    print(
        f"gunicorn {gunicorn.__version__}: {len(passed)} passed, {len(failed)} failed, {len(report.left_out)} skipped"
    )
    return len(failed) if passed else 1


def main(args: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", help="the source distribution of the installed Gunicorn, packed or not")
    parser.add_argument("names", nargs="*", help="parts of the names of tests")
    asked = parser.parse_args(args)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="logboom-gunicorn-") as name:
        folder = Path(name)
        tests = source(asked.source and os.path.abspath(asked.source), folder)
        os.environ.setdefault("LOGBOOM_STATE_DIR", str(folder))
        os.chdir(folder)
        chosen = ["-k", " or ".join(asked.names)] if asked.names else []
        paths = [str(tests / file) for file in FILES if (tests / file).exists()]
        pytest.main(
            ["-q", "-p", "exchange", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, *chosen, *paths],
            plugins=[report],
        )
    return 1 if outcome(report) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
