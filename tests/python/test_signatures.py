"""A program that changes its import need not change its calls: signatures, attributes and kinship are the library's."""

from __future__ import annotations

import inspect
import logging
import logging.handlers
import subprocess
import sys

import logboom
import pytest
from logboom import handlers

PAIRS = [
    (handlers.FileHandler, logging.FileHandler),
    (handlers.RotatingFileHandler, logging.handlers.RotatingFileHandler),
    (handlers.TimedRotatingFileHandler, logging.handlers.TimedRotatingFileHandler),
    (handlers.WatchedFileHandler, logging.handlers.WatchedFileHandler),
]
IDS = [theirs.__name__ for _, theirs in PAIRS]


def positional(cls: type) -> list[tuple[str, object]]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return [(p.name, p.default) for p in inspect.signature(cls).parameters.values() if p.kind in kinds]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_the_positional_arguments_are_the_librarys_in_order_and_default(ours: type, theirs: type) -> None:
    assert positional(ours) == positional(theirs)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_ours_is_a_subclass_and_carries_its_name(ours: type, theirs: type) -> None:
    assert issubclass(ours, theirs)
    assert (ours.__name__, ours.__module__) == (theirs.__name__, "logboom.handlers")


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_every_public_method_takes_the_librarys_arguments(ours: type, theirs: type) -> None:
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_"):
            assert list(inspect.signature(getattr(ours, name)).parameters) == list(
                inspect.signature(method).parameters
            ), name


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_every_attribute_of_an_instance_is_there_with_the_same_value(ours: type, theirs: type, tmp_path) -> None:
    mine, model = ours(tmp_path / "a.log"), theirs(tmp_path / "b.log")
    try:
        for name, value in vars(model).items():
            if name in ("stream", "lock", "baseFilename", "dev", "ino", "_builtin_open", "rolloverAt"):
                assert hasattr(mine, name), name
            else:
                assert getattr(mine, name) == value, name
    finally:
        mine.close()
        model.close()


def test_a_wrong_option_is_a_type_error_that_names_it(tmp_path) -> None:
    with pytest.raises(TypeError, match="'compres'"):
        handlers.FileHandler(tmp_path / "a.log", compres="gzip")


def test_the_package_names_what_is_public() -> None:
    assert set(handlers.__all__) <= set(logboom.__all__)
    assert all(hasattr(logboom, name) for name in logboom.__all__)


def test_the_stub_of_the_native_module_is_true() -> None:
    pytest.importorskip("mypy", reason="mypy is in tests/python/requirements.txt")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "logboom._native"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_encoding_warning_points_at_the_callers_line(tmp_path) -> None:
    code = (
        "import warnings, logboom.handlers as h, sys\n"
        "warnings.simplefilter('always')\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    for cls in (h.FileHandler, h.RotatingFileHandler, h.TimedRotatingFileHandler, h.WatchedFileHandler):\n"
        "        cls(sys.argv[1]).close()\n"
        "print([(w.category.__name__, w.filename) for w in seen])\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", code, str(tmp_path / "a.log")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == repr([("EncodingWarning", "<string>")] * 4)
